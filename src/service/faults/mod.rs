//! Faults on purpose: rules that say what goes wrong, where, for whom and how often.
//!
//! A rule is a [`Fault`]. The [`Rules`] of an instance say which of them strike; what happens then is up to who asks: the
//! pipeline of commands, the door for new connections, the disk. Nothing here waits, sends or writes.
//!
//! ```text
//! words   the same rules in words: what REDKEEP FAULT ADD takes and LIST shows
//! rules   the rules that there are, what they have met, and which strike
//! ```

mod rules;
mod words;

use std::io;
use std::time::Duration;

pub use rules::{Call, Caller, Door, End, FaultId, Listed, Rules, Strike, Striking};

/// Something that is to go wrong. It is described from where it happens to what happens, and then how often:
///
/// ```
/// use std::time::Duration;
/// use redkeep::faults::{DiskError, DiskOp, Fault};
///
/// // The first two commands that write to a lock are told that the server is loading.
/// let loading = Fault::category("write").key("lock:*").fail("LOADING").times(2);
/// // The lock is taken, and nobody hears of it: its client's connection ends instead.
/// let ambiguous = Fault::command("SET").key("lock:*").drop_after().once();
/// // One reply in ten is late, and always the same ones.
/// let slow = Fault::any_command().client_name("worker-*").delay(Duration::from_millis(50)).chance(0.1, 42);
/// let full = Fault::disk(DiskOp::Write).path("*.aof").fail(DiskError::NoSpace);
/// # let _ = (loading, ambiguous, slow, full);
/// ```
///
/// It does nothing until it is added to the faults of a server ([`Faults::add`](crate::embed::Faults::add)).
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a fault does nothing until it is added"]
pub struct Fault {
    kind: Kind,
    when: When,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Commands(OnCommands, Effect),
    Connections(OnConnections, Entry),
    Disk(OnDisk, Failure),
}

/// What happens to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    Fail(String),
    Delay(Duration),
    End(End, Moment),
}

/// Before a command has run, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// What happens to a connection that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Refuse,
    Fail(String),
    Hang,
}

/// What happens to an operation of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It fails, and nothing is done.
    Fail(DiskError),
    /// So many bytes are written, and then it fails for want of space.
    Short(u64),
    /// It takes so long, and is done.
    Slow(Duration),
}

/// Which of those that it could strike.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct When {
    /// So many are let through first.
    skip: u64,
    /// So many are struck, and no more.
    times: Option<u64>,
    /// Each with this probability, by randomness from this seed.
    chance: Option<(f64, u64)>,
}

impl Fault {
    /// Something for all calls of a command, `SET` say, or of one subcommand, `XGROUP|CREATE`. Names that the server gives
    /// its commands otherwise (`rename-command`) do not matter.
    pub fn command(name: impl Into<String>) -> OnCommands {
        OnCommands::new(What::Named(name.into()))
    }

    /// Something for all commands of a category of access control: `write`, `blocking`, `stream` and so on.
    pub fn category(name: impl Into<String>) -> OnCommands {
        OnCommands::new(What::Category(name.into()))
    }

    /// Something for all commands, but for those by which tests and DEBUG look into a server.
    pub fn any_command() -> OnCommands {
        OnCommands::new(What::Any)
    }

    /// Something for new connections. Clients inside of this process have none.
    pub fn connection() -> OnConnections {
        OnConnections { addr: None }
    }

    /// Something for an operation of the disk that the data set is kept on.
    pub const fn disk(op: DiskOp) -> OnDisk {
        OnDisk { op, path: None }
    }

    /// Strikes so many times, and never again. The rule stays, so that it can be asked for.
    pub const fn times(mut self, n: u64) -> Self {
        self.when.times = Some(n);
        self
    }

    /// Strikes the next time only.
    pub const fn once(self) -> Self {
        self.times(1)
    }

    /// Lets so many through first.
    pub const fn skip(mut self, n: u64) -> Self {
        self.when.skip = n;
        self
    }

    /// Strikes each time with a probability between 0 and 1. The same seed gives the same sequence, whatever else happens
    /// on the server.
    pub const fn chance(mut self, p: f64, seed: u64) -> Self {
        self.when.chance = Some((p, seed));
        self
    }
}

/// Which commands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Any,
    Named(String),
    Category(String),
}

/// Commands that something is to happen to: those of [`Fault::command`] and its like, of which each of these methods leaves
/// fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it is still to be said what happens"]
pub struct OnCommands {
    what: What,
    key: Option<Vec<u8>>,
    client: Option<u64>,
    name: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    addr: Option<Vec<u8>>,
}

impl OnCommands {
    const fn new(what: What) -> Self {
        Self {
            what,
            key: None,
            client: None,
            name: None,
            user: None,
            addr: None,
        }
    }

    /// Those with a key that a pattern matches, as that of KEYS does.
    pub fn key(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.key = Some(pattern.as_ref().to_vec());
        self
    }

    /// Those of the client with this CLIENT ID.
    pub const fn client_id(mut self, id: u64) -> Self {
        self.client = Some(id);
        self
    }

    /// Those of clients whose name (CLIENT SETNAME) a pattern matches.
    pub fn client_name(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.name = Some(pattern.as_ref().to_vec());
        self
    }

    /// Those of clients that have logged in as this user.
    pub fn user(mut self, name: impl AsRef<[u8]>) -> Self {
        self.user = Some(name.as_ref().to_vec());
        self
    }

    /// Those of clients from an address that a pattern matches: `127.0.0.1:*`, say, as CLIENT LIST shows them.
    pub fn addr(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.addr = Some(pattern.as_ref().to_vec());
        self
    }

    /// They are refused with this error, and do not run. `LOADING`, `READONLY`, `OOM`, `MISCONF`, `MASTERDOWN` and
    /// `NOREPLICAS` alone stand for what Redis says then. Commands that scripts call are refused as well.
    pub fn fail(self, text: impl Into<String>) -> Fault {
        self.with(Effect::Fail(text.into()))
    }

    /// They run, and are answered so much later by the server's clock. Other clients are not held up; what the client sends
    /// meanwhile runs after that.
    pub fn delay(self, by: Duration) -> Fault {
        self.with(Effect::Delay(by))
    }

    /// They do not run: the connection ends instead.
    pub fn drop_before(self) -> Fault {
        self.with(Effect::End(End::Drop, Moment::Before))
    }

    /// They run, and instead of the reply the connection ends: the client cannot know whether they have.
    pub fn drop_after(self) -> Fault {
        self.with(Effect::End(End::Drop, Moment::After))
    }

    /// They do not run, and nothing the client says is heard from then on, nor is it told anything; its connection stays
    /// open, as if a cable were cut.
    pub fn hang_before(self) -> Fault {
        self.with(Effect::End(End::Hang, Moment::Before))
    }

    /// The same, and they have run.
    pub fn hang_after(self) -> Fault {
        self.with(Effect::End(End::Hang, Moment::After))
    }

    const fn with(self, effect: Effect) -> Fault {
        Fault::new(Kind::Commands(self, effect))
    }
}

/// New connections: those of [`Fault::connection`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it is still to be said what happens"]
pub struct OnConnections {
    addr: Option<Vec<u8>>,
}

impl OnConnections {
    /// Those from an address that a pattern matches.
    pub fn addr(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.addr = Some(pattern.as_ref().to_vec());
        self
    }

    /// They are closed at once.
    pub const fn refuse(self) -> Fault {
        Fault::new(Kind::Connections(self, Entry::Refuse))
    }

    /// They are told this error, and closed: `ERR max number of clients reached`, say.
    pub fn fail(self, text: impl Into<String>) -> Fault {
        Fault::new(Kind::Connections(self, Entry::Fail(text.into())))
    }

    /// They are open, and nobody hears what is said there.
    pub const fn hang(self) -> Fault {
        Fault::new(Kind::Connections(self, Entry::Hang))
    }
}

/// What a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Whatever it does.
    Any,
    /// Opening a file, or making one.
    Open,
    /// Reading from one.
    Read,
    /// Writing to one, or cutting it off.
    Write,
    /// Having what was written to a file or a directory last (fsync).
    Sync,
    /// Giving a file another name.
    Rename,
    /// Removing one.
    Remove,
}

impl DiskOp {
    const ALL: &[(&str, DiskOp)] = &[
        ("*", DiskOp::Any),
        ("OPEN", DiskOp::Open),
        ("READ", DiskOp::Read),
        ("WRITE", DiskOp::Write),
        ("FSYNC", DiskOp::Sync),
        ("RENAME", DiskOp::Rename),
        ("REMOVE", DiskOp::Remove),
    ];
}

/// Why a disk does not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// It is full (ENOSPC).
    NoSpace,
    /// It is broken (EIO).
    Io,
    /// It must not be done (EACCES).
    Denied,
    /// It is only to be read from (EROFS).
    ReadOnly,
}

impl DiskError {
    const ALL: &[(&str, DiskError)] = &[
        ("ENOSPC", DiskError::NoSpace),
        ("EIO", DiskError::Io),
        ("EACCES", DiskError::Denied),
        ("EROFS", DiskError::ReadOnly),
    ];

    /// As the system says it.
    pub fn to_io(self) -> io::Error {
        if !cfg!(unix) {
            return io::Error::from(match self {
                DiskError::NoSpace => io::ErrorKind::StorageFull,
                DiskError::Io => io::ErrorKind::Other,
                DiskError::Denied => io::ErrorKind::PermissionDenied,
                DiskError::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            });
        }
        // The same numbers on all systems of this kind.
        io::Error::from_raw_os_error(match self {
            DiskError::NoSpace => 28,
            DiskError::Io => 5,
            DiskError::Denied => 13,
            DiskError::ReadOnly => 30,
        })
    }
}

/// Operations of the disk: those of [`Fault::disk`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it is still to be said what happens"]
pub struct OnDisk {
    op: DiskOp,
    path: Option<Vec<u8>>,
}

impl OnDisk {
    /// Those on a file or directory whose path a pattern matches: `*.aof`, say.
    pub fn path(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.path = Some(pattern.as_ref().to_vec());
        self
    }

    /// They fail, and nothing is done.
    pub const fn fail(self, error: DiskError) -> Fault {
        Fault::new(Kind::Disk(self, Failure::Fail(error)))
    }

    /// Of a write so many bytes get to the disk, and then it is full. What is no write fails.
    pub const fn short(self, bytes: u64) -> Fault {
        Fault::new(Kind::Disk(self, Failure::Short(bytes)))
    }

    /// They take so much longer, of real time: a disk knows no other.
    pub const fn slow(self, by: Duration) -> Fault {
        Fault::new(Kind::Disk(self, Failure::Slow(by)))
    }
}

impl Fault {
    const fn new(kind: Kind) -> Self {
        let when = When {
            skip: 0,
            times: None,
            chance: None,
        };
        Self { kind, when }
    }

    /// Whether it makes sense.
    fn check(&self) -> Result<(), FaultError> {
        const LONGEST: usize = 1024;
        let text = match &self.kind {
            Kind::Commands(_, Effect::Fail(text)) | Kind::Connections(_, Entry::Fail(text)) => text,
            _ => "ERR",
        };
        if text.is_empty() || text.len() > LONGEST || text.contains(['\r', '\n']) {
            return Err(FaultError::Text);
        }
        let patterns = match &self.kind {
            Kind::Commands(on, _) => vec![&on.key, &on.name, &on.user, &on.addr],
            Kind::Connections(on, _) => vec![&on.addr],
            Kind::Disk(on, _) => vec![&on.path],
        };
        if patterns.into_iter().flatten().any(|p| p.len() > LONGEST) {
            return Err(FaultError::Pattern);
        }
        match self.when.chance {
            Some((p, _)) if !(0.0..=1.0).contains(&p) => Err(FaultError::Chance),
            _ => Ok(()),
        }
    }
}

/// Why there can be no such fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The server has no such command.
    #[error("unknown command '{0}'")]
    UnknownCommand(String),
    /// There is no such category of commands.
    #[error("unknown category '{0}'")]
    UnknownCategory(String),
    /// The text of an error is one line of at most 1,024 bytes.
    #[error("the text of an error is one line of at most 1024 bytes")]
    Text,
    /// A pattern has at most 1,024 bytes.
    #[error("a pattern has at most 1024 bytes")]
    Pattern,
    /// A probability is between 0 and 1.
    #[error("a probability is between 0 and 1")]
    Chance,
    /// There are 1,000 faults already.
    #[error("there are too many faults")]
    TooMany,
    /// In words: what is wrong with this one.
    #[error("syntax error at '{0}'")]
    Word(String),
    /// In words: something is missing at the end.
    #[error("syntax error: {0} expected")]
    Missing(&'static str),
}
