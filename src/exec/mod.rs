//! The pipeline that every command takes, whoever sends it.
//!
//! ```text
//! look up ─ gate ─ handler ─ settle ─ (next command of the unit) ─ end of unit: log, wake waiters
//! ```
//! The gate works from the command's row alone; a handler changes values only through edits; settle acts on
//! what the edits logged. See `call.rs`.

pub mod acl;
pub mod admit;
pub mod alarms;
pub mod args;
mod audit;
pub mod block;
pub mod busy;
pub mod call;
pub mod clockwork;
pub mod commands;
pub mod declared;
mod deliver;
pub mod effects;
pub mod error;
pub mod evict;
pub mod faults;
pub mod functions;
pub mod host;
mod limits;
pub mod migrate;
pub mod monitor;
pub(crate) mod notify;
pub mod output;
pub mod pause;
pub mod persist;
pub mod pubsub;
pub mod ready;
pub mod replay;
pub mod replication;
pub mod sentinel;
pub mod session;
pub mod shutdown;
pub mod ticket;
pub mod tracking;
pub mod txn;
pub mod unconfirmed;
pub mod unit;
pub mod weight;

use std::io;
use std::sync::Arc;

pub use args::{Args, Argv, Cursor};
pub use block::{Block, TimeoutReply, Unblock, Wake};
pub use commands::Commands;
pub use effects::Effects;
pub use error::{CmdError, CmdResult};
pub use host::{Facts, Host};
pub use limits::{limits, list_limits};
pub use session::{Session, SessionId, Sessions};

use std::time::Instant;

use functions::{FunctionId, Libraries, Policy};
use migrate::Migrations;

use crate::keyspace::Keyspace;
use crate::persist::aof::Log;
use crate::resp::ReplyBuf;
use crate::service::config::Settings;
use crate::service::latency::Latency;
use crate::service::slowlog::SlowLog;
use crate::service::stats::Stats;
use crate::spec::Row;
use crate::util::clock::{Clock, Reading};
use crate::util::rng::Rng;

/// A function that runs a command.
pub type Handler = fn(&mut Ctx<'_>, Args<'_>) -> CmdResult;

/// A command: its declaration and its handler.
pub type Command = Row<Handler>;

/// A command in the registry, with what is derived from its row.
pub type Entry = crate::spec::Entry<Handler>;

/// How a handler ended.
#[derive(Debug)]
pub enum Flow {
    /// The reply is written.
    Done,
    /// Nothing to answer yet.
    Block(Box<Block>),
    /// A script is to be run; the pipeline hands the state to the script host.
    Script(ScriptCall),
    /// The append-only log is to be loaded again; the pipeline hands that to the engine.
    LoadLog,
    /// EXEC: the header of the reply is written; the queue is to be run.
    Exec(Box<txn::Multi>),
}

/// What the script host is asked to do, with the arguments of the command at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptCall {
    /// EVAL and EVALSHA, also read-only: argument 1 is the body or the SHA, the keys follow argument 2.
    Eval {
        /// Whether argument 1 is a SHA1.
        sha: bool,
        /// How many of the arguments are keys.
        numkeys: usize,
        /// Whether writing is refused.
        read_only: bool,
        /// Whether it is run in the debugger.
        debug: bool,
    },
    /// What a client says to the debugger that its script stands still in: all arguments.
    Debug,
    /// SCRIPT LOAD: compiles argument 2 and answers with its SHA1.
    Load,
    /// FCALL and FCALL_RO: the keys follow argument 2.
    Function {
        /// The function of argument 1.
        id: FunctionId,
        /// How many of the arguments are keys.
        numkeys: usize,
        /// Whether it was asked for by the command that refuses writing.
        read_only: bool,
    },
    /// FUNCTION LOAD: the last argument is the code of a library.
    LoadLibrary {
        /// Whether it may take the place of the library of that name.
        replace: bool,
    },
    /// FUNCTION RESTORE: argument 2 is a payload of FUNCTION DUMP.
    RestoreLibraries(Policy),
    /// DEBUG RELOAD: the libraries of a file. That they are loaded is no change.
    ReloadLibraries {
        /// As FUNCTION DUMP gives them; empty if there are none.
        payload: Vec<u8>,
        /// What becomes of those that are there.
        policy: Policy,
        /// The answer if they cannot be loaded.
        failed: CmdError,
    },
    /// Libraries are gone: what was compiled of them goes too. The reply is written.
    DropFunctions,
}

/// The interpreter of scripts. It gets the state by value, so that commands called by a script run through the
/// same pipeline on the same state, and gives it back in every case.
pub trait ScriptHost: Send {
    /// Does what is asked and writes the reply.
    fn run(
        &mut self,
        state: Box<State>,
        origin: ScriptOrigin,
        call: &ScriptCall,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>);

    /// Bytes that the interpreter uses.
    fn memory(&self) -> usize;
}

/// A script that stands still in the debugger, with the client that debugs it. Dropped, it is over.
pub trait Debuggee: std::fmt::Debug + Send {
    /// Does what it is told and writes the reply. It stays in the session until it is over.
    fn obey(
        self: Box<Self>,
        state: Box<State>,
        words: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>);
}

/// The host of a build without Lua.
#[derive(Debug, Clone, Copy)]
pub struct NoScripts;

impl ScriptHost for NoScripts {
    fn run(
        &mut self,
        state: Box<State>,
        _origin: ScriptOrigin,
        _call: &ScriptCall,
        _args: Args<'_>,
        _reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        let e = CmdError::fixed(
            "ERR this build has no scripting: it was made without the feature 'lua'",
        );
        (state, Err(e))
    }

    fn memory(&self) -> usize {
        0
    }
}

/// Who runs a script.
#[derive(Debug, Clone, Copy)]
pub struct ScriptOrigin {
    /// The client.
    pub sid: SessionId,
    /// Its selected database; a SELECT inside the script does not outlast it.
    pub db: usize,
    /// The short way is free for it: see [`call::hurry`].
    pub is_free: bool,
}

/// Who runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client, by its own request.
    Client,
    /// A client whose blocked command runs again.
    Woken,
    /// A client whose blocked command was to run again while a pause lasted, and now runs.
    Resumed,
    /// A transaction.
    Exec,
    /// A log of effects that is replayed, its transactions included.
    Replay,
    /// A script: `read_only` if it must not write.
    Script {
        /// Whether writing is refused.
        read_only: bool,
    },
}

/// What the outside must do after the lock is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The session's outbox has something to send.
    Wake(SessionId),
    /// The session must end once its output is sent.
    Close(SessionId),
    /// A save in the background is to be written.
    Save {
        /// Which one.
        id: u64,
        /// How the file begins.
        start: Vec<u8>,
    },
    /// This log is to be written from now on, once nobody writes the last one any more.
    Log {
        /// The log.
        log: Arc<Log>,
        /// The last one, if there was any. It is closed.
        last: Option<Arc<Log>>,
    },
    /// There is another leader to follow, or none any more.
    Follow,
    /// The sentinel has orders.
    Sentinel,
    /// The clock is to be moved, and [`clockwork::moved`] called.
    Clock {
        /// The client that waits.
        client: u64,
        /// Where to.
        to: clockwork::Move,
    },
    /// The server must stop.
    Shutdown,
    /// The server is to stand still for a while.
    Freeze(std::time::Duration),
    /// Parameters changed that the outside acts on, by name.
    Reconfigure(Vec<&'static str>),
}

/// A function that runs and is busy.
#[derive(Debug, Clone)]
pub struct RunningFunction {
    /// Its name.
    pub name: Box<str>,
    /// The command that called it.
    pub command: Argv,
    /// When it began.
    pub began: Instant,
}

/// A script that runs.
#[derive(Debug, Clone, Default)]
pub struct RunningScript {
    /// What it calls may take the short way, as long as it calls commands on keys alone and is not busy.
    pub is_free: bool,
    /// When the command before ended, unless it was looked at the clock since: then the next one begins. What the script does
    /// in between is short, or it is looked at the clock.
    pub since: Option<Reading>,
    /// Past the limit: everybody else gets BUSY.
    pub busy: bool,
    /// If it is busy and a function: which.
    pub function: Option<RunningFunction>,
    /// It stands in a log of effects that is replayed.
    pub replays: bool,
    /// Memory was over its limit when it began: it may not begin to write with what needs more.
    pub no_room: bool,
    /// It has written something, so that SCRIPT KILL is refused.
    pub wrote: bool,
    /// SCRIPT KILL was sent.
    pub killed: bool,
    /// SHUTDOWN NOSAVE was sent: the script must end at once.
    pub abort: bool,
    /// A command that it called panicked: once the state is back, the panic goes on.
    pub panicked: bool,
}

/// Scripts by their SHA1 in lower-case hex.
#[derive(Debug, Default)]
pub struct ScriptCache {
    bodies: std::collections::HashMap<[u8; 40], Arc<[u8]>>,
    bytes: usize,
    /// Bytes that the interpreter uses, as of the last script.
    pub interpreter: usize,
    /// Raised by SCRIPT FLUSH, so that the host drops what it compiled.
    pub generation: u64,
}

impl ScriptCache {
    /// The body of a script. The SHA1 may be in upper case.
    pub fn get(&self, sha: &[u8]) -> Option<&Arc<[u8]>> {
        let mut key: [u8; 40] = sha.try_into().ok()?;
        key.make_ascii_lowercase();
        self.bodies.get(&key)
    }

    /// Remembers a script; gives its body.
    pub fn insert(&mut self, sha: [u8; 40], body: &[u8]) -> Arc<[u8]> {
        let body: Arc<[u8]> = body.into();
        if self.bodies.insert(sha, Arc::clone(&body)).is_none() {
            self.bytes += body.len() + 40;
        }
        body
    }

    /// Forgets one script; gives its body.
    pub fn remove(&mut self, sha: &[u8; 40]) -> Option<Arc<[u8]>> {
        let body = self.bodies.remove(sha)?;
        self.bytes -= body.len() + 40;
        Some(body)
    }

    /// Forgets all scripts.
    pub fn flush(&mut self) {
        self.bodies.clear();
        self.bytes = 0;
        self.generation += 1;
    }

    /// Number of scripts.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Bytes of the bodies.
    pub fn memory(&self) -> usize {
        self.bytes
    }
}

/// Everything beside the data and the clients. Fields only: whoever needs something uses it.
#[derive(Debug)]
pub struct System {
    /// All commands.
    pub registry: Commands,
    /// Configuration.
    pub cfg: Settings,
    /// Counters.
    pub stats: Stats,
    /// Time.
    pub clock: SharedClock,
    /// Frozen time of the running unit, unix microseconds.
    pub now_us: i64,
    /// Real time at the same moment, in microseconds: how long something takes is measured by it.
    pub real_us: i64,
    /// Commands that are still to be timed, together.
    pub stint: call::Stint,
    /// When the instance started, unix milliseconds.
    pub started_ms: i64,
    /// 40 hex digits, new at each start.
    pub run_id: String,
    /// Randomness.
    pub rng: Rng,
    /// Clients that wait for keys.
    pub waiters: Waiters,
    /// Clients that watch keys.
    pub watchers: txn::Watchers,
    /// What clients have queued for transactions.
    pub queued: txn::QueuedBytes,
    /// CLIENT PAUSE.
    pub pause: pause::Pause,
    /// What goes wrong on purpose.
    pub faults: faults::Faults,
    /// Clients for whom the clock was moved.
    pub moves: clockwork::Moves,
    /// Reads what a script declares.
    pub declared: declared::ReadDeclared,
    /// The client whose command runs, if it is a client's.
    pub current: Option<SessionId>,
    /// Who may do what.
    pub acl: acl::Acl,
    /// Describes a client.
    pub describe: acl::Describe,
    /// Saving and loading.
    pub persist: persist::Persistence,
    /// Who follows this instance, and whom it follows.
    pub repl: replication::Replication,
    /// What makes this instance a sentinel, if it is one.
    pub sentinel: Option<Box<crate::sentinel::Sentinel>>,
    /// Signals that ask for the end.
    pub summons: Arc<shutdown::Summons>,
    /// The instance ends once its replicas have everything.
    pub ending: Option<shutdown::Ending>,
    /// Who is subscribed to what.
    pub pubsub: pubsub::PubSub,
    /// Which clients remember which keys.
    pub tracking: tracking::Tracking,
    /// What replicas have not confirmed, and who waits for that.
    pub unconfirmed: unconfirmed::Unconfirmed,
    /// Who is told of every command.
    pub monitors: monitor::Monitors,
    /// Making room when memory is over its limit.
    pub eviction: evict::Eviction,
    /// What clients weigh.
    pub scales: weight::Scales,
    /// Clients that have too much output waiting.
    pub overdue: output::Overdue,
    /// For the outside.
    pub actions: Vec<Action>,
    /// Cached scripts.
    pub scripts: ScriptCache,
    /// Libraries of functions.
    pub libraries: Libraries,
    /// The script that runs, if one does.
    pub running: Option<RunningScript>,
    /// See [`busy`].
    pub gate: Arc<busy::BusyGate>,
    /// The latest slow commands.
    pub slowlog: SlowLog,
    /// The latest commands that were large to send.
    pub large_requests: SlowLog,
    /// The latest commands whose replies were large.
    pub large_replies: SlowLog,
    /// Commands that move keys to other servers.
    pub migrations: Migrations,
    /// Spikes.
    pub latency: Latency,
    /// Positions of arguments of the running command that must not be logged.
    pub redact: Vec<usize>,
    /// Switches of DEBUG.
    pub debug: DebugSwitches,
    /// What the log was told of already.
    pub alarms: alarms::Alarms,
    /// The surroundings.
    pub host: HostBox,
}

pub use block::Waiters;

/// What DEBUG switches off for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugSwitches {
    /// Scripts may call what they otherwise may not.
    pub scripts_call_all: bool,
    /// No work is done between commands.
    pub cron_paused: bool,
    /// RESTORE does not look at the checksum.
    pub checksums_skipped: bool,
    /// From how many bytes on an element of a list stands alone.
    pub packed_threshold: Option<usize>,
    /// After how many milliseconds a reply is no longer a recent one, where that is not the usual time.
    pub reply_peak_ms: Option<i64>,
    /// What the recent replies were does not matter: CLIENT LIST shows the largest buffer.
    pub reply_size_fixed: bool,
    /// Microseconds that whoever writes the append-only log waits before.
    pub log_delay: u64,
}

impl DebugSwitches {
    /// After how many milliseconds a reply is no longer a recent one; `None` is never.
    pub fn recent_reply_ms(&self) -> Option<i64> {
        let ms = self.reply_peak_ms.unwrap_or(session::NetCounters::PEAK_MS);
        (ms >= 0).then_some(ms)
    }
}

/// The surroundings of an instance.
pub struct HostBox(pub Box<dyn Host>);

impl std::fmt::Debug for HostBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostBox")
    }
}

impl System {
    /// Reads the clock.
    #[inline]
    pub fn refresh_time(&mut self) {
        let now = self.clock.0.read();
        self.set_time(now);
    }

    /// What the clock said when it was read last.
    #[inline]
    pub const fn reading(&self) -> Reading {
        Reading {
            now_us: self.now_us,
            real_us: self.real_us,
        }
    }

    pub(crate) const fn set_time(&mut self, now: Reading) {
        self.now_us = now.now_us;
        self.real_us = now.real_us;
    }
}

/// The clock of an instance.
#[derive(Clone)]
pub struct SharedClock(pub Arc<dyn Clock>);

impl std::fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedClock")
    }
}

/// Everything that commands work on.
#[derive(Debug)]
pub struct State {
    /// The data.
    pub ks: Keyspace,
    /// The clients.
    pub sessions: Sessions,
    /// The log of effects.
    pub fx: Effects,
    /// The rest.
    pub sys: System,
}

impl State {
    /// Bytes that this instance uses: data, scripts, clients.
    pub fn used_memory(&self) -> usize {
        used_memory(&self.ks, &self.sessions, &self.sys)
    }

    /// Whether a client must log in before it may do anything else.
    pub fn must_log_in(&self, sid: SessionId) -> bool {
        let session = self.sessions.get(sid);
        session.is_some_and(|session| acl::must_log_in(&self.sys, session))
    }

    /// Whether there was no room for more when the command at hand came.
    pub fn is_out_of_memory(&self) -> bool {
        self.sys.cfg.maxmemory > 0 && self.sys.eviction.no_room
    }
}

/// What follows from the configuration inside of the engine: at its start, and whenever a parameter has changed.
pub fn configure(ks: &mut Keyspace, sys: &mut System) {
    sys.stats.track_latency = sys.cfg.latency_tracking;
    sys.slowlog.trim(sys.cfg.slowlog_max_len);
    sys.large_requests
        .trim(sys.cfg.commandlog_large_request_max_len);
    sys.large_replies
        .trim(sys.cfg.commandlog_large_reply_max_len);
    sys.summons.configure(&sys.cfg);
    ks.count_uses(sys.cfg.lfu());
    sys.eviction.configure(sys.cfg.maxmemory > 0);
    weight::configure(sys);
    acl::configure(sys);
    notify::listen(ks, sys);
    persist::log::configure(sys);
    replication::configure(sys);
    unconfirmed::configure(ks, sys);
    sentinel::configure(sys);
}

/// Writes the configuration into the file that it came from, every parameter if `all`; does nothing without a file.
///
/// # Errors
/// When the file cannot be read or replaced; then it is as it was.
pub fn save_config(sys: &System, all: bool) -> io::Result<()> {
    let Some(path) = sys.cfg.file() else {
        return Ok(());
    };
    let old = sys.host.0.read_file(path)?.unwrap_or_default();
    let users = match acl::file(sys) {
        Some(_) => Vec::new(),
        None => sys.acl.users.lines_beside_requirepass(),
    };
    let mut text = sys.cfg.rewritten(&old, &users, all, sys.sentinel.is_some());
    if let Some(sentinel) = &sys.sentinel {
        text = sentinel.rewritten(&text);
    }
    sys.host.0.replace_file(path, &text)
}

/// Bytes that an instance uses: data, scripts, clients, what they track.
pub fn used_memory(ks: &Keyspace, sessions: &Sessions, sys: &System) -> usize {
    startup_memory(sys)
        + ks.memory()
        + sys.scripts.memory()
        + sys.scripts.interpreter
        + sys.libraries.memory()
        + sys.libraries.interpreter
        + sys.queued.get()
        + sys.pubsub.memory()
        + sys.watchers.memory()
        + sys.tracking.memory()
        + sys.unconfirmed.memory()
        + sys.persist.log_memory()
        + sys.repl.memory()
        + sessions.memory()
}

/// Bytes of those that an instance uses before it is asked for anything.
pub fn startup_memory(sys: &System) -> usize {
    size_of::<State>() + sys.stats.startup_memory()
}

/// What a handler works with.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// The data; the client's database is selected.
    pub ks: &'a mut Keyspace,
    /// Where the reply goes.
    pub reply: &'a mut ReplyBuf,
    /// Where effects go, for commands that are not propagated as they were sent.
    pub fx: &'a mut Effects,
    /// All clients.
    pub sessions: &'a mut Sessions,
    /// The rest.
    pub sys: &'a mut System,
    /// Who asks.
    pub sid: SessionId,
    /// In which way.
    pub origin: Origin,
    /// The row of the running command.
    pub row: &'static Entry,
    /// The frozen time, unix milliseconds.
    pub now: i64,
}

impl Ctx<'_> {
    /// The most bytes that a string may come to. What is replayed was within a limit when it was logged, which may have
    /// been another; still no more than the usual one is made of a few bytes of a file.
    pub fn longest_string(&self) -> u64 {
        const USUAL: u64 = 512 << 20;
        let limit = self.sys.cfg.proto_max_bulk_len;
        match self.ks.replays() {
            true => limit.max(USUAL),
            false => limit,
        }
    }

    /// How a log calls the running command: by its own name, whatever the client may call it.
    pub fn logged_name<'a>(&self, args: Args<'a>) -> &'a [u8] {
        self.sys.registry.logged_name(self.row, args.at(0))
    }

    /// Who asks, for the log.
    pub fn who(&self) -> String {
        let session = self.sessions.get(self.sid);
        session.map_or_else(String::new, |session| acl::who(self.sys, session))
    }

    /// The client that asks. `None` only if it was removed while its command runs, which does not happen to a
    /// command that a client sends.
    pub fn session(&mut self) -> Option<&mut Session> {
        self.sessions.get_mut(self.sid)
    }

    /// Answers OK.
    pub fn ok(&mut self) -> CmdResult {
        self.reply.ok();
        Ok(Flow::Done)
    }

    /// Answers with an integer.
    pub fn int(&mut self, n: i64) -> CmdResult {
        self.reply.int(n);
        Ok(Flow::Done)
    }

    /// Answers with a number of things.
    pub fn count(&mut self, n: usize) -> CmdResult {
        self.int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// Answers with a bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) -> CmdResult {
        self.reply.bulk(bytes);
        Ok(Flow::Done)
    }

    /// Answers with a null.
    pub fn null(&mut self) -> CmdResult {
        self.reply.null();
        Ok(Flow::Done)
    }

    /// The reply would take so many bytes at least, and is refused. A client that may not have as much output waiting is
    /// cut off, as it would be by the reply.
    #[cold]
    pub fn refuse_reply(&mut self, bytes: usize) {
        if !matches!(self.origin, Origin::Script { .. } | Origin::Replay)
            && let Some(session) = self.sessions.get_mut(self.sid)
        {
            output::may_wait(self.sys, session, self.sid, bytes);
        }
    }

    /// Answers with one of the HELP texts: a line each for `lines`, framed as Redis frames it.
    pub fn help(&mut self, lines: &[&str]) -> CmdResult {
        let name = self.row.name.split('|').next().unwrap_or_default();
        let name = name.to_ascii_uppercase();
        self.reply.array(lines.len() + 3);
        self.reply.simple(&format!(
            "{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        ));
        for line in lines {
            self.reply.simple(line);
        }
        self.reply.simple("HELP");
        self.reply.simple("    Prints this help.");
        Ok(Flow::Done)
    }
}
