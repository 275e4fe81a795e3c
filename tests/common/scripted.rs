//! The other end of a replication link, which says what a test tells it to.

use super::Reply;
use super::client::encode;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long anything may take, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(15);

/// Where a replica connects to. What becomes of its connections is told from the test's own thread.
pub struct Listener(TcpListener);

impl Listener {
    pub fn open() -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Listener(listener)
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next connection; none when none has come within this time.
    pub fn accept_within(&self, time: Duration) -> Option<Line> {
        let until = Instant::now() + time;
        loop {
            match self.0.accept() {
                Ok((sock, _)) => return Some(Line::over(sock)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => panic!("{e}"),
            }
            if Instant::now() > until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn accept(&self) -> Line {
        self.accept_within(SOON).expect("a replica connects")
    }
}

/// A connection.
pub struct Line {
    sock: TcpStream,
    heard: Vec<u8>,
}

impl Line {
    fn over(sock: TcpStream) -> Line {
        sock.set_nonblocking(false).unwrap();
        sock.set_nodelay(true).unwrap();
        sock.set_read_timeout(Some(SOON)).unwrap();
        sock.set_write_timeout(Some(SOON)).unwrap();
        let heard = Vec::new();
        Line { sock, heard }
    }

    pub fn connect(port: u16) -> Line {
        Line::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// Sends bytes, to whoever may have gone away in the middle.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.sock.write_all(bytes.as_ref());
    }

    /// Sends a command.
    pub fn command(&mut self, words: &[impl AsRef<[u8]>]) {
        let mut bytes = Vec::new();
        encode(words, &mut bytes);
        self.say(bytes);
    }

    /// Has no more to say.
    pub fn hang_up(&mut self) {
        let _ = self.sock.shutdown(Shutdown::Write);
    }

    /// Waits for more; whether there is any.
    fn hear(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        match self.sock.read(&mut chunk) {
            Ok(n) => {
                self.heard.extend(&chunk[..n]);
                n > 0
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => false,
            Err(e) => panic!("nothing is said: {e}"),
        }
    }

    /// Waits until the other side says something; whether it does, and does not hang up.
    pub fn is_spoken_on(&mut self) -> bool {
        !self.heard.is_empty() || self.hear()
    }

    /// The next reply or command; none if the connection is closed instead.
    pub fn reply(&mut self) -> Option<Reply> {
        loop {
            // What keeps a link alive.
            let feeds = self.heard.iter().take_while(|&&b| b == b'\n').count();
            self.heard.drain(..feeds);
            if let Some((reply, len)) = Reply::parse(&self.heard).unwrap() {
                self.heard.drain(..len);
                return Some(reply);
            }
            if !self.hear() {
                return None;
            }
        }
    }

    /// The words of the next command; none if the connection is closed instead.
    pub fn words(&mut self) -> Option<Vec<String>> {
        let Reply::Array(words) = self.reply()? else {
            panic!("a command is an array");
        };
        Some(words.iter().map(Reply::text).collect())
    }

    /// Sends a command and waits for the answer.
    pub fn ask(&mut self, words: &[impl AsRef<[u8]>]) -> String {
        self.command(words);
        self.reply().map_or_else(String::new, |r| r.text())
    }

    /// Answers a replica as it should be, until it says what it wants: the words of its PSYNC.
    pub fn greet(&mut self) -> Vec<String> {
        loop {
            let words = self.words().expect("the replica greets");
            match &*words[0] {
                "PING" => self.say("+PONG\r\n"),
                "REPLCONF" | "AUTH" => self.say("+OK\r\n"),
                "PSYNC" => return words,
                _ => panic!("{words:?}"),
            }
        }
    }

    /// Waits until the other side hangs up, whatever it says before.
    pub fn is_dropped(&mut self) -> bool {
        while self.hear() {
            self.heard.clear();
        }
        true
    }

    /// Whether the other side does not hang up within this time, whatever it says.
    pub fn lasts(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut chunk = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            self.sock.set_read_timeout(Some(left)).unwrap();
            let read = self.sock.read(&mut chunk);
            self.sock.set_read_timeout(Some(SOON)).unwrap();
            match read {
                Ok(0) => return false,
                Ok(n) => self.heard.extend(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return false,
            }
        }
    }

    /// Reads so many bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        while self.heard.len() < n {
            assert!(self.hear(), "the connection is closed in the middle");
        }
        self.heard.drain(..n).collect()
    }

    /// Reads up to this mark, and what stands before it.
    pub fn up_to(&mut self, mark: &[u8]) -> Vec<u8> {
        let mut from = 0;
        loop {
            let rest = self.heard.get(from..).unwrap_or_default();
            if let Some(at) = memchr::memmem::find(rest, mark) {
                let read: Vec<u8> = self.heard.drain(..from + at).collect();
                self.heard.drain(..mark.len());
                return read;
            }
            from = (self.heard.len() + 1).saturating_sub(mark.len()).max(from);
            assert!(self.hear(), "the connection is closed in the middle");
        }
    }

    /// Reads a line, without its end, behind what keeps a link alive.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.heard.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.is_empty() {
                    return line;
                }
            } else {
                assert!(self.hear(), "the connection is closed in the middle");
            }
        }
    }
}
