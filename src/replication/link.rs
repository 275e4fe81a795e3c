//! A replica's side of the link to its leader, up to where the stream begins: bytes in, bytes out, events out.
//!
//! ```text
//! PING            +PONG
//! AUTH …          +OK                     if there is a password
//! REPLCONF …      +OK or an error         several, sent in one go; old leaders know fewer
//! PSYNC id next   +CONTINUE [id]          the stream goes on at `next`
//!                 +FULLRESYNC id offset   a payload, then the stream behind `offset`
//!                 another error           an old leader: SYNC is tried
//! payload         $EOF:<40 bytes>\r\n …   and the same 40 bytes behind it
//!                 $<length>\r\n …         and nothing behind it
//! ```
//!
//! While the leader prepares, it sends line feeds so that nobody takes it for dead.

use crate::resp::{encode_command, quote};
use crate::util::num;
use std::{fmt, mem};

/// The most bytes of a line. Those that leaders write have about a hundred.
const LONGEST_LINE: usize = 64 * 1024;

/// Bytes of an id, and of the mark behind a payload.
const ID_LENGTH: usize = 40;

/// What a replica says of itself, and what it asks for.
#[derive(Debug, Clone, Default)]
pub struct Greeting {
    /// `masteruser`. Empty: AUTH takes the password alone.
    pub user: String,
    /// `masterauth`. Empty: no AUTH.
    pub password: Vec<u8>,
    /// Where the replica can be reached.
    pub port: u16,
    /// `replica-announce-ip`. Empty: the leader goes by where the connection comes from.
    pub address: String,
    /// The version of Redis that the replica stands for.
    pub version: &'static str,
    /// The history that the replica is part of, and the offset of the next byte that it wants; none: it has none.
    pub from: Option<(String, u64)>,
    /// The one that is greeted is to lead from now on (`FAILOVER`): until then it was a replica of this one.
    pub failover: bool,
    /// Only the payload is wanted.
    pub rdb_only: bool,
}

/// Why the link is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was wrong, for the log.
    pub why: String,
    /// The leader says that it cannot serve now, but will.
    pub transient: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Refused {}

/// What the leader's bytes mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// There is nothing to be said before more bytes come.
    Hungry,
    /// A payload will come that holds the history of this id up to this offset; none: the leader knows only SYNC, and
    /// tells neither.
    FullSync(Option<(String, u64)>),
    /// The stream goes on at the offset that was asked for, by another id if one is given.
    Continue(Option<String>),
    /// The next piece of the payload.
    Payload(&'a [u8]),
    /// The payload was all of it.
    PayloadEnd,
    /// From here on everything is the stream; what of it has come already.
    Stream(Vec<u8>),
}

/// A link of which the connection is made.
#[derive(Debug)]
pub struct Link {
    greeting: Greeting,
    phase: Phase,
    /// Bytes of the payload, if the leader has told.
    length: Option<u64>,
    output: Vec<u8>,
    input: Vec<u8>,
    /// Where in the input the bytes begin that have not been read.
    read: usize,
}

#[derive(Debug, Clone)]
enum Phase {
    Ping,
    /// Answers to come to what the replica says of itself; whether the first is that to AUTH.
    Introduction {
        answers: usize,
        auth: bool,
    },
    Psync,
    /// Before the payload. By `SYNC` nothing was said of what it holds.
    Header {
        by_sync: bool,
    },
    /// In a payload with so many bytes to come.
    Counted(u64),
    /// In a payload that ends with this mark.
    Marked([u8; ID_LENGTH]),
    /// The stream begins, and nobody has been told.
    Switch,
    Stream,
    Refused(Refused),
}

impl Link {
    /// The connection was made: PING waits in the output.
    pub fn new(greeting: Greeting) -> Self {
        let mut output = Vec::new();
        encode_command(&mut output, &["PING"]);
        Self {
            greeting,
            phase: Phase::Ping,
            length: None,
            output,
            input: Vec::new(),
            read: 0,
        }
    }

    /// Bytes of the payload all in all, if the leader has told.
    pub const fn payload_length(&self) -> Option<u64> {
        self.length
    }

    /// Takes bytes of the leader. What they mean is for [`next`](Self::next) to say, until it is hungry: before that no
    /// more than the bytes given at once are kept here.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.drain(..mem::take(&mut self.read));
        self.input.extend_from_slice(bytes);
    }

    /// What comes next. A link that was refused stays so.
    #[expect(
        clippy::should_implement_trait,
        reason = "events borrow from the link, which no iterator can have"
    )]
    pub fn next(&mut self) -> Result<Event<'_>, Refused> {
        while self.phase.goes_by_lines() {
            match self.answer() {
                Ok(None) => {}
                Ok(Some(event)) => return Ok(event),
                Err(refused) => self.phase = Phase::Refused(refused),
            }
        }
        match self.phase {
            Phase::Refused(ref refused) => Err(refused.clone()),
            Phase::Counted(left) => Ok(self.counted(left)),
            Phase::Marked(mark) => Ok(self.marked(&mark)),
            Phase::Stream if self.rest().is_empty() => Ok(Event::Hungry),
            _ => {
                self.phase = Phase::Stream;
                self.input.drain(..mem::take(&mut self.read));
                Ok(Event::Stream(mem::take(&mut self.input)))
            }
        }
    }

    /// What is to be sent; taken by whoever sends it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What the replica waits for, for log lines.
    pub fn is_waiting_for(&self) -> &'static str {
        match self.phase {
            Phase::Ping => "the answer to PING",
            Phase::Introduction { auth: true, .. } => "the answer to AUTH",
            Phase::Introduction { .. } => "the answer to REPLCONF",
            Phase::Psync => "the answer to PSYNC",
            Phase::Header { by_sync: true } => "the answer to SYNC",
            Phase::Header { by_sync: false } => "the beginning of the payload",
            Phase::Counted(_) | Phase::Marked(_) => "more of the payload",
            Phase::Switch | Phase::Stream => "the stream",
            Phase::Refused(_) => "nothing",
        }
    }

    fn rest(&self) -> &[u8] {
        self.input.get(self.read..).unwrap_or_default()
    }

    /// Reads so many bytes.
    fn take(&mut self, bytes: usize) -> &[u8] {
        let start = self.read;
        self.read = self.input.len().min(start + bytes);
        self.input.get(start..self.read).unwrap_or_default()
    }

    /// Reads a line, if there is one, without its end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Refused> {
        let rest = self.rest();
        let window = rest.get(..LONGEST_LINE).unwrap_or(rest);
        match memchr::memchr(b'\n', window) {
            Some(end) => {
                let line = self.take(end + 1);
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                Ok(Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec()))
            }
            None if rest.len() < LONGEST_LINE => Ok(None),
            None => Err(refuse(
                format!("a line without end came, where {}", self.expected()),
                rest,
            )),
        }
    }

    fn expected(&self) -> String {
        format!("{} was expected", self.is_waiting_for())
    }

    /// Reads a line and does what it asks for. None: look again.
    fn answer(&mut self) -> Result<Option<Event<'static>>, Refused> {
        let Some(line) = self.line()? else {
            return Ok(Some(Event::Hungry));
        };
        match self.phase {
            Phase::Ping => self.ping(&line)?,
            Phase::Introduction { answers, auth } => self.introduced(&line, answers, auth)?,
            // The leader is alive.
            _ if line.is_empty() => {}
            Phase::Psync => return self.psync(&line),
            Phase::Header { by_sync } => return self.header(&line, by_sync),
            _ => {}
        }
        Ok(None)
    }

    fn ping(&mut self, line: &[u8]) -> Result<(), Refused> {
        // Those who must say who they are may not PING before; and "operation not permitted" is what Redis before 2.8
        // said then.
        let fine = [
            &b"+"[..],
            b"-NOAUTH",
            b"-NOPERM",
            b"-ERR operation not permitted",
        ];
        if !fine.iter().any(|start| line.starts_with(start)) {
            return Err(self.unexpected(line));
        }
        self.introduce();
        Ok(())
    }

    /// Says everything but what is wanted.
    fn introduce(&mut self) {
        let Greeting {
            user,
            password,
            port,
            address,
            version,
            rdb_only,
            ..
        } = &self.greeting;
        let mut answers = 0;
        let mut say = |words: &[&[u8]]| {
            encode_command(&mut self.output, words);
            answers += 1;
        };
        let auth = !password.is_empty();
        match user.as_bytes() {
            _ if !auth => {}
            b"" => say(&[b"AUTH", password]),
            user => say(&[b"AUTH", user, password]),
        }
        let port = port.to_string();
        say(&[b"REPLCONF", b"listening-port", port.as_bytes()]);
        if !address.is_empty() {
            say(&[b"REPLCONF", b"ip-address", address.as_bytes()]);
        }
        say(&[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
        say(&[b"REPLCONF", b"version", version.as_bytes()]);
        if *rdb_only {
            say(&[b"REPLCONF", b"rdb-only", b"1"]);
        }
        self.phase = Phase::Introduction { answers, auth };
    }

    fn introduced(&mut self, line: &[u8], answers: usize, auth: bool) -> Result<(), Refused> {
        // Old leaders do not understand all that REPLCONF says, and can be followed without.
        match line.first() {
            Some(b'+') => {}
            Some(b'-') if !auth => {}
            Some(b'-') => return Err(refuse("Unable to AUTH to MASTER".to_owned(), line)),
            _ => return Err(self.unexpected(line)),
        }
        if answers > 1 {
            self.phase = Phase::Introduction {
                answers: answers - 1,
                auth: false,
            };
            return Ok(());
        }
        let (id, next) = match &self.greeting.from {
            Some((id, next)) => (&**id, &*next.to_string()),
            None => ("?", "-1"),
        };
        match self.greeting.failover {
            false => encode_command(&mut self.output, &["PSYNC", id, next]),
            true => encode_command(&mut self.output, &["PSYNC", id, next, "FAILOVER"]),
        }
        self.phase = Phase::Psync;
        Ok(())
    }

    fn psync(&mut self, line: &[u8]) -> Result<Option<Event<'static>>, Refused> {
        let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let (verb, first, second) = (words.next(), words.next(), words.next());
        match (verb, first, second, words.next()) {
            (Some(b"+FULLRESYNC"), Some(id), Some(offset), None) => {
                let (Some(id), Some(offset)) = (history(id), number(offset)) else {
                    return Err(self.unexpected(line));
                };
                self.phase = Phase::Header { by_sync: false };
                Ok(Some(Event::FullSync(Some((id, offset)))))
            }
            (Some(b"+CONTINUE"), id, None, None) => {
                let new = id.map(|id| history(id).ok_or_else(|| self.unexpected(line)));
                let new = new.transpose()?;
                if self.greeting.from.is_none() {
                    let why = "the leader goes on where it was asked for everything";
                    return Err(refuse(why.into(), line));
                }
                self.phase = Phase::Switch;
                Ok(Some(Event::Continue(new)))
            }
            _ if !line.starts_with(b"-") || self.greeting.failover || is_transient(line) => {
                Err(self.unexpected(line))
            }
            _ => {
                encode_command(&mut self.output, &["SYNC"]);
                self.phase = Phase::Header { by_sync: true };
                Ok(None)
            }
        }
    }

    fn header(&mut self, line: &[u8], by_sync: bool) -> Result<Option<Event<'static>>, Refused> {
        let told = match line.strip_prefix(b"$") {
            Some(told) => match told.strip_prefix(b"EOF:") {
                Some(mark) => mark.try_into().ok().map(Phase::Marked),
                None => number(told).map(Phase::Counted),
            },
            None => None,
        };
        self.phase = told.ok_or_else(|| self.unexpected(line))?;
        if let Phase::Counted(length) = self.phase {
            self.length = Some(length);
        }
        Ok(by_sync.then_some(Event::FullSync(None)))
    }

    fn counted(&mut self, left: u64) -> Event<'_> {
        if left == 0 {
            self.phase = Phase::Switch;
            return Event::PayloadEnd;
        }
        let size = usize::try_from(left).unwrap_or(usize::MAX);
        let size = size.min(self.rest().len());
        if size == 0 {
            return Event::Hungry;
        }
        self.phase = Phase::Counted(left - size as u64);
        Event::Payload(self.take(size))
    }

    /// What can be the beginning of the mark stays in the input until it is clear what it is.
    fn marked(&mut self, mark: &[u8; ID_LENGTH]) -> Event<'_> {
        let rest = self.rest();
        let size = match memchr::memmem::find(rest, mark) {
            Some(0) => {
                self.take(mark.len());
                self.phase = Phase::Switch;
                return Event::PayloadEnd;
            }
            Some(at) => at,
            None => rest.len() - begun(rest, mark),
        };
        if size == 0 {
            return Event::Hungry;
        }
        Event::Payload(self.take(size))
    }

    /// The refusal of what the leader says now.
    fn unexpected(&self, line: &[u8]) -> Refused {
        let problem = match line.first() {
            Some(b'-') => format!("the leader says no, where {}", self.expected()),
            _ => format!("the leader does not make sense, where {}", self.expected()),
        };
        Refused {
            transient: is_transient(line),
            ..refuse(problem, line)
        }
    }
}

impl Phase {
    fn goes_by_lines(&self) -> bool {
        matches!(
            self,
            Self::Ping | Self::Introduction { .. } | Self::Psync | Self::Header { .. }
        )
    }
}

/// A refusal that quotes what came.
fn refuse(problem: String, line: &[u8]) -> Refused {
    const SHOWN: usize = 128;
    let mut quoted = Vec::new();
    quote(&mut quoted, line.get(..SHOWN).unwrap_or(line));
    let quoted = String::from_utf8_lossy(&quoted);
    let more = if line.len() > SHOWN { "…" } else { "" };
    Refused {
        why: format!("{problem}: {quoted}{more}"),
        transient: false,
    }
}

/// An error that will be over: the leader loads its data, or has no leader itself.
fn is_transient(line: &[u8]) -> bool {
    line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING")
}

/// A replication id.
fn history(id: &[u8]) -> Option<String> {
    let whole = id.len() == ID_LENGTH && id.iter().all(u8::is_ascii_hexdigit);
    whole.then(|| String::from_utf8_lossy(id).into_owned())
}

/// An offset or a length: what Redis keeps in 63 bits.
fn number(text: &[u8]) -> Option<u64> {
    num::parse_u64(text).filter(|&n| i64::try_from(n).is_ok())
}

/// The most bytes at the end of some that the mark begins with.
fn begun(bytes: &[u8], mark: &[u8; ID_LENGTH]) -> usize {
    let most = bytes.len().min(mark.len() - 1);
    (1..=most)
        .rev()
        .find(|&n| mark.get(..n).is_some_and(|start| bytes.ends_with(start)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
