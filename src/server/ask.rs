//! A client that asks one thing at a time and waits for the answer: for the commands of the program that look at servers from
//! outside, real Redis among them. Everything has a time limit.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use super::tls::{Secure, TlsError};
use crate::resp::{ParseError, Value, encode_command, parse_reply};

/// The longest answer that is taken; what is asked for here is far shorter.
const LONGEST: usize = 64 * 1024 * 1024;

/// How much is read at once.
const PIECE: usize = 16 * 1024;

/// A host, by name or by number, and a port: `host:port`, `[::1]:6379`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    pub(super) fn new(host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        Self { host, port }
    }

    /// What the name stands for now.
    pub(super) fn resolve(&self) -> Result<Vec<SocketAddr>, AskError> {
        let found: Vec<_> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| AskError::Unreachable(format!("cannot resolve the name: {error}")))?
            .collect();
        if found.is_empty() {
            return Err(AskError::Unreachable("the name has no address".into()));
        }
        Ok(found)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("this is not HOST:PORT")?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or("the port is no number from 1 to 65535")?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or("a bracket is not closed")?,
            None => host,
        };
        if host.is_empty() {
            return Err("the host is missing");
        }
        Ok(Self::new(host, port))
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    /// No connection comes about, or it ended.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing was heard in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// The answer is an error: its text.
    #[error("{0}")]
    Refused(String),
    /// What came is no answer.
    #[error("this is no Redis: {0}")]
    Foreign(ParseError),
    /// What came is another answer than this command has.
    #[error("an unexpected answer to {0}")]
    Unexpected(String),
    /// More than anybody asked for.
    #[error("the answer does not end")]
    Endless,
    /// TLS cannot be had as it was asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Unreachable("the connection was closed".into()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

/// Who somebody is to a server, and what makes the way there secure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub user: Option<String>,
    pub password: Option<String>,
    pub tls: Option<Secure>,
}

/// What bytes go through.
#[derive(Debug)]
enum Line {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Line {
    const fn socket(&self) -> &TcpStream {
        match self {
            Line::Plain(socket) => socket,
            Line::Secure(stream) => &stream.sock,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Plain(socket) => socket.read(into),
            Line::Secure(stream) => stream.read(into),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Line::Plain(socket) => socket.write_all(bytes),
            Line::Secure(stream) => {
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Ask {
    line: Line,
    heard: Vec<u8>,
    timeout: Duration,
}

impl Ask {
    /// Connects within a time, which holds for each answer afterwards as well.
    fn connect(
        address: &Address,
        tls: Option<&Secure>,
        timeout: Duration,
    ) -> Result<Self, AskError> {
        let mut last = AskError::Unreachable("the name has no address".into());
        for addr in address.resolve()? {
            match TcpStream::connect_timeout(&addr, timeout) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    socket.set_write_timeout(Some(timeout))?;
                    let line = match tls {
                        Some(tls) => secured(tls, address, socket, timeout)?,
                        None => Line::Plain(socket),
                    };
                    return Ok(Self {
                        line,
                        heard: Vec::new(),
                        timeout,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    last = AskError::Silent(timeout);
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Connects and authenticates. A server that asks for no password takes any.
    pub(super) fn open(
        address: &Address,
        who: &Credentials,
        timeout: Duration,
    ) -> Result<Self, AskError> {
        let mut ask = Self::connect(address, who.tls.as_ref(), timeout)?;
        let Some(password) = &who.password else {
            return Ok(ask);
        };
        let answer = match &who.user {
            Some(user) => ask.call(&["AUTH", user, password]),
            None => ask.call(&["AUTH", password]),
        };
        match answer {
            Err(AskError::Refused(text)) if text.contains("without any password configured") => {
                Ok(ask)
            }
            other => other.map(|_| ask),
        }
    }

    /// Sends a command and waits for the answer; an error that comes as one is an error here.
    pub(super) fn call<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Value, AskError> {
        self.send(words)?;
        self.answer()
    }

    /// Sends commands at once, so that all of them take one way there and back, and waits for their answers.
    pub(super) fn call_all<A: AsRef<[u8]>>(
        &mut self,
        commands: &[&[A]],
    ) -> Result<Vec<Value>, AskError> {
        let mut bytes = Vec::new();
        for words in commands {
            encode_command(&mut bytes, words);
        }
        self.line.send(&bytes)?;
        let (mut answers, mut refused) = (Vec::with_capacity(commands.len()), None);
        for _ in commands {
            match self.answer() {
                Ok(answer) => answers.push(answer),
                // The others are answered all the same.
                Err(error @ AskError::Refused(_)) => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        refused.map_or(Ok(answers), Err)
    }

    fn answer(&mut self) -> Result<Value, AskError> {
        match self.next(Instant::now() + self.timeout)? {
            Some(Value::Error(text)) => {
                Err(AskError::Refused(String::from_utf8_lossy(&text).into()))
            }
            Some(answer) => Ok(answer),
            None => Err(AskError::Silent(self.timeout)),
        }
    }

    /// Sends a command.
    pub(super) fn send<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<(), AskError> {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, words);
        Ok(self.line.send(&bytes)?)
    }

    /// What comes next, an answer or a message; none if nothing whole has come until then.
    pub(super) fn next(&mut self, until: Instant) -> Result<Option<Value>, AskError> {
        loop {
            if let Some((value, len)) = parse_reply(&self.heard).map_err(AskError::Foreign)? {
                self.heard.drain(..len);
                return Ok(Some(value));
            }
            if self.heard.len() > LONGEST {
                return Err(AskError::Endless);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.line.socket().set_read_timeout(Some(left))?;
            let mut piece = [0; PIECE];
            match self.line.read(&mut piece) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(n) => self.heard.extend_from_slice(&piece[..n]),
                Err(error) if is_only_late(error.kind()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// INFO's fields, of these sections.
    pub(super) fn info(&mut self, sections: &[&str]) -> Result<Info, AskError> {
        // Redis 6 takes one section at a time.
        let commands: Vec<_> = sections.iter().map(|section| ["INFO", section]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(|words| &words[..]).collect();
        let mut info = Info::default();
        for answer in self.call_all(&commands)? {
            info.add(&text(&answer).ok_or_else(|| AskError::Unexpected("INFO".into()))?);
        }
        Ok(info)
    }
}

/// Agrees on TLS.
fn secured(
    tls: &Secure,
    address: &Address,
    socket: TcpStream,
    timeout: Duration,
) -> Result<Line, AskError> {
    socket.set_read_timeout(Some(timeout))?;
    let shaken = tls.shake(&address.host, socket, Instant::now() + timeout);
    match shaken {
        Ok(stream) => Ok(Line::Secure(Box::new(stream))),
        Err(error) if is_only_late(error.kind()) => Err(AskError::Silent(timeout)),
        Err(error) => Err(error.into()),
    }
}

const fn is_only_late(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(kind, Interrupted | TimedOut | WouldBlock)
}

/// The text of a string of any kind, or of a number.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Int(n) => Some(n.to_string()),
        other => Some(String::from_utf8_lossy(other.as_bytes()?).into_owned()),
    }
}

/// What INFO tells, or a map in an array: names and what belongs to them, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Info(Vec<(String, String)>);

impl Info {
    /// The lines `name:value` of INFO.
    #[cfg(test)]
    pub(super) fn of_lines(text: &str) -> Self {
        let mut info = Self::default();
        info.add(text);
        info
    }

    pub(super) fn add(&mut self, text: &str) {
        let fields = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim_end().to_owned()));
        self.0.extend(fields);
    }

    /// Names and values in turn, as SENTINEL MASTER and CONFIG GET have them.
    pub(super) fn of_pairs(value: &Value) -> Self {
        let pair = |pair: &[Value]| Some((text(pair.first()?)?, text(pair.get(1)?)?));
        let items = value.as_array().unwrap_or_default();
        Self(items.chunks_exact(2).filter_map(pair).collect())
    }

    /// What belongs to a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(n, _)| n == name)?;
        Some(&field.1)
    }

    /// The number that belongs to a name.
    pub(super) fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        self.get(name)?.parse().ok()
    }

    /// All of them.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read = |text: &str| text.parse::<Address>().map(|a| (a.host, a.port));
        assert_eq!(read("a.example:6379"), Ok(("a.example".into(), 6379)));
        assert_eq!(read("[::1]:7"), Ok(("::1".into(), 7)));
        for bad in ["a", "a:", "a:0", "a:65536", "a:x", ":1", "[::1:7", "[]:7"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Address::new("::1", 7).to_string(), "[::1]:7");
    }

    #[test]
    fn what_info_tells() {
        let info =
            Info::of_lines("# Replication\r\nrole:slave\r\nslave0:ip=::1,port=7\r\nlag:x\r\n");
        assert_eq!(info.get("role"), Some("slave"));
        assert_eq!(info.get("slave0"), Some("ip=::1,port=7"));
        assert_eq!(info.number::<u64>("lag"), None);
        assert_eq!(info.fields().count(), 3);
    }

    #[test]
    fn nobody_who_answers_is_an_error() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = nobody.local_addr().unwrap().port();
        // The system takes the connection; nobody ever says anything.
        let mut ask = Ask::connect(
            &Address::new("127.0.0.1", port),
            None,
            Duration::from_millis(50),
        )
        .unwrap();
        let silent = AskError::Silent(Duration::from_millis(50));
        assert_eq!(ask.call(&["PING"]), Err(silent));
        drop(nobody);
        assert!(matches!(ask.call(&["PING"]), Err(AskError::Unreachable(_))));
    }
}
