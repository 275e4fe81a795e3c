//! A blocking RESP connection.

use super::Reply;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What a read brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Reply(Reply),
    /// Nothing within the time given.
    Nothing,
    /// The server closed the connection.
    Closed,
}

pub struct Client {
    sock: TcpStream,
    buf: Vec<u8>,
    at: usize,
}

/// The bytes of one command.
pub fn encode<A: AsRef<[u8]>>(args: &[A], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for a in args {
        let a = a.as_ref();
        out.extend_from_slice(format!("${}\r\n", a.len()).as_bytes());
        out.extend_from_slice(a);
        out.extend_from_slice(b"\r\n");
    }
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        Client::over(TcpStream::connect(("127.0.0.1", port))?)
    }

    /// Speaks over a connection that there is.
    pub fn over(sock: TcpStream) -> io::Result<Client> {
        sock.set_nodelay(true)?;
        Ok(Client {
            sock,
            buf: Vec::new(),
            at: 0,
        })
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sock.write_all(bytes)
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        let mut out = Vec::new();
        encode(args, &mut out);
        self.send_raw(&out)
    }

    /// Waits up to `timeout` for one reply.
    pub fn receive(&mut self, timeout: Duration) -> io::Result<Got> {
        let until = Instant::now() + timeout;
        let mut chunk = vec![0u8; 64 * 1024];
        loop {
            match Reply::parse(&self.buf[self.at..]).map_err(io::Error::other)? {
                Some((reply, len)) => {
                    self.at += len;
                    if self.at == self.buf.len() {
                        self.buf.clear();
                        self.at = 0;
                    }
                    return Ok(Got::Reply(reply));
                }
                None => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Got::Nothing);
                    }
                    self.sock.set_read_timeout(Some(left))?;
                    match self.sock.read(&mut chunk) {
                        Ok(0) => return Ok(Got::Closed),
                        Ok(n) => self.buf.extend_from_slice(&chunk[..n]),
                        Err(e)
                            if matches!(
                                e.kind(),
                                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                            ) => {}
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {
                            return Ok(Got::Closed);
                        }
                        Err(e) => return Err(e),
                    }
                }
            }
        }
    }

    /// A reply that has come already.
    pub fn poll(&mut self) -> io::Result<Option<Reply>> {
        self.sock.set_nonblocking(true)?;
        let mut chunk = [0u8; 16 * 1024];
        let read = loop {
            match self.sock.read(&mut chunk) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.buf.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        self.sock.set_nonblocking(false)?;
        let parsed = Reply::parse(&self.buf[self.at..]).map_err(io::Error::other)?;
        if parsed.is_none() {
            read?;
        }
        Ok(parsed.map(|(reply, len)| {
            self.at += len;
            reply
        }))
    }

    /// One reply, or an error that says why there is none.
    pub fn reply(&mut self) -> io::Result<Reply> {
        match self.receive(Duration::from_secs(30))? {
            Got::Reply(r) => Ok(r),
            Got::Nothing => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no reply within 30 s",
            )),
            Got::Closed => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            )),
        }
    }

    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(args)?;
        self.reply()
    }

    /// A command written as words separated by single spaces.
    pub fn run(&mut self, line: &str) -> Reply {
        self.call(&super::argv(line))
            .unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// Sends all commands at once and collects their replies, reading while writing so that neither side waits for the
    /// other. Stops at the first failure and returns what had come until then.
    pub fn pipeline(&mut self, commands: &[super::Argv]) -> (Vec<Reply>, io::Result<()>) {
        let mut replies = Vec::with_capacity(commands.len());
        for part in commands.chunks(256) {
            let mut out = Vec::new();
            part.iter().for_each(|c| encode(c, &mut out));
            if let Err(e) = self.send_raw(&out) {
                return (replies, Err(e));
            }
            for _ in part {
                match self.reply() {
                    Ok(r) => replies.push(r),
                    Err(e) => return (replies, Err(e)),
                }
            }
        }
        (replies, Ok(()))
    }
}
