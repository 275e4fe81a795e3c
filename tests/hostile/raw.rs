//! Sockets whose bytes nobody arranges, and what is asked of a server that meets them.

use crate::common::{Client, Server};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long to wait for what must come, on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Raw(pub TcpStream);

impl Raw {
    pub fn to(server: &Server) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Raw(stream)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        self.0.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Reads exactly what is expected.
    pub fn expect(&mut self, expected: &str) -> &mut Raw {
        let mut got = vec![0; expected.len()];
        let read = self.0.read_exact(&mut got);
        let got = String::from_utf8_lossy(&got);
        assert!(
            read.is_ok() && got == expected,
            "{read:?}: {got:?}, not {expected:?}"
        );
        self
    }

    /// The rest of what the server sends before it closes the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut got) {
            assert_eq!(
                error.kind(),
                ErrorKind::ConnectionReset,
                "it is not closed after {:?}",
                String::from_utf8_lossy(&got)
            );
        }
        got
    }

    /// Writes the same again and again until nobody takes it any more, at most so many bytes. How many were taken, and
    /// whether the connection was closed.
    pub fn pour(&mut self, bytes: &[u8], most: usize) -> (usize, bool) {
        /// The server does not read: it would within that time.
        const QUIET: Duration = Duration::from_millis(1500);
        self.0.set_write_timeout(Some(QUIET)).unwrap();
        let mut taken = 0;
        let closed = loop {
            if taken >= most {
                break false;
            }
            // What a write took in part is not written again.
            match self.0.write(&bytes[taken % bytes.len()..]) {
                Ok(n) => taken += n,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    break false;
                }
                Err(_) => break true,
            }
        };
        (taken, closed)
    }

    /// Ends the connection by a reset, whatever is on its way.
    pub fn reset(self) {
        SockRef::from(&self.0)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

/// A field of INFO, as a number.
pub fn info(client: &mut Client, field: &str) -> u64 {
    let text = client.run("INFO everything").text();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}"))
        .parse()
        .unwrap()
}

/// Waits until that is so.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until only the client that asks is connected.
pub fn alone(client: &mut Client) {
    eventually("the others are gone", || {
        info(client, "connected_clients") <= 1
    });
}

/// Bytes that the process has resident.
pub fn resident(server: &Server) -> usize {
    server.resident().unwrap_or_default() as usize
}
