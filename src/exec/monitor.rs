//! Who is told of every command: clients by MONITOR, and those who record what is received.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use super::deliver::{Message, deliver};
use super::session::{ReplyMode, Session, SessionId, Sessions};
use super::{Args, Entry, Origin, System};
use crate::resp::quote;
use crate::spec::flag;
use crate::spec::flags::category;

/// What stands in the place of an argument that nobody may see.
pub const REDACTED: &[u8] = b"(redacted)";

/// Those who are told.
#[derive(Debug, Default)]
pub struct Monitors {
    clients: BTreeSet<SessionId>,
    recorders: Vec<Arc<dyn Record>>,
    /// There is somebody: all that a command looks at.
    some: bool,
}

impl Monitors {
    /// Whether there is nobody.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        !self.some
    }

    /// A client wants to be shown every command; whether it was not already.
    pub fn insert(&mut self, sid: SessionId) -> bool {
        self.some = true;
        self.clients.insert(sid)
    }

    /// A client does not any more.
    pub fn remove(&mut self, sid: &SessionId) {
        self.clients.remove(sid);
        self.count();
    }

    /// Somebody records from now on.
    pub fn record(&mut self, recorder: Arc<dyn Record>) {
        self.recorders.push(recorder);
        self.some = true;
    }

    /// He does not any more.
    pub fn leave(&mut self, recorder: &Arc<dyn Record>) {
        self.recorders.retain(|other| !Arc::ptr_eq(other, recorder));
        self.count();
    }

    fn count(&mut self) {
        self.some = !self.clients.is_empty() || !self.recorders.is_empty();
    }
}

/// Writes down which commands come, and how they end.
pub trait Record: Debug + Send + Sync {
    /// A command has come, or has come to its end. Called with the engine's lock held.
    fn hear(&self, heard: &Heard<'_>);
}

/// What a recorder hears of a command.
#[derive(Debug)]
pub struct Heard<'a> {
    /// CLIENT ID.
    pub client: u64,
    /// CLIENT SETNAME.
    pub name: &'a [u8],
    /// As CLIENT LIST prints it.
    pub addr: &'a str,
    /// The database that is selected by now.
    pub db: usize,
    /// The command with its arguments; what nobody may see is [`REDACTED`].
    pub argv: Vec<&'a [u8]>,
    /// Its row; none if there is no such command.
    pub row: Option<&'static Entry>,
    /// Who runs it.
    pub origin: Origin,
    /// The time, in unix microseconds.
    pub now_us: i64,
    /// How far it is.
    pub stage: Stage<'a>,
}

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage<'a> {
    /// It is going to call others, which are shown behind it: its end is heard of later.
    Begins,
    /// It waits for a key, or the like: its end is heard of later.
    Waits,
    /// It is over. It may have been heard of before.
    Ends {
        /// Microseconds that it ran.
        usec: u64,
        /// What it answered.
        reply: &'a [u8],
    },
    /// It did not run: this is the answer.
    Refused(&'a str),
}

/// A command, as far as those care.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) sid: SessionId,
    pub(super) row: Option<&'static Entry>,
    pub(super) origin: Origin,
    /// The database that is selected by now.
    pub(super) db: usize,
    pub(super) args: Args<'a>,
    pub(super) stage: Stage<'a>,
}

impl Seen<'_> {
    /// Whether clients are shown it, now. They are shown commands when these have run, and those that run others before that
    /// ([`flag::SKIP_MONITOR`] marks them); and nothing that is for administrators.
    fn is_shown(&self) -> bool {
        let Some(row) = self.row else {
            return false;
        };
        let now = match self.stage {
            Stage::Begins | Stage::Waits => true,
            Stage::Ends { .. } => !row.flags.has(flag::SKIP_MONITOR),
            Stage::Refused(_) => false,
        };
        let again = matches!(self.origin, Origin::Woken | Origin::Resumed);
        now && !again && !row.flags.has(flag::ADMIN)
    }

    /// Whether an argument is nobody's business. What was not run has not said which are: then nothing is told of the
    /// arguments of what may have secrets among them, or what only looks as if it were no command.
    fn is_secret(&self, sys: &System, at: usize) -> bool {
        let secretive =
            |row: &Entry| row.flags.has(flag::NO_AUTH) || row.categories.has(category::DANGEROUS);
        match self.stage {
            Stage::Refused(_) => at > 0 && self.row.is_none_or(secretive),
            _ => sys.redact.contains(&at),
        }
    }

    fn argv(&self, sys: &System) -> Vec<&[u8]> {
        let args = self.args.all().iter().enumerate();
        args.map(|(at, arg)| match self.is_secret(sys, at) {
            true => REDACTED,
            false => arg,
        })
        .collect()
    }
}

/// Tells of a command.
#[cold]
pub(super) fn feed(sys: &mut System, sessions: &mut Sessions, seen: &Seen<'_>) {
    let Some(session) = sessions.get(seen.sid) else {
        return;
    };
    if !sys.monitors.recorders.is_empty() {
        record(sys, session, seen);
    }
    if sys.monitors.clients.is_empty() || !seen.is_shown() {
        return;
    }
    let line = line(sys, session, seen);
    let mut message = Message::new(|out| out.simple_bytes(&line));
    let clients: Vec<SessionId> = sys.monitors.clients.iter().copied().collect();
    for sid in clients {
        // Not a push: CLIENT REPLY OFF silences it.
        let listens = sessions.get(sid);
        if listens.is_some_and(|s| s.reply_mode != ReplyMode::Off) {
            deliver(sys, sessions, sid, &mut message);
        }
    }
}

fn record(sys: &System, session: &Session, seen: &Seen<'_>) {
    let heard = Heard {
        client: session.id,
        name: &session.name,
        addr: &session.peer.addr,
        db: seen.db,
        argv: seen.argv(sys),
        row: seen.row,
        origin: seen.origin,
        now_us: sys.clock.0.now_us(),
        stage: seen.stage,
    };
    for recorder in &sys.monitors.recorders {
        recorder.hear(&heard);
    }
}

/// `1700000000.123456 [0 127.0.0.1:5000] "set" "key" "value"`.
fn line(sys: &System, session: &Session, seen: &Seen<'_>) -> Vec<u8> {
    let now = sys.clock.0.now_us();
    let (seconds, micros) = (now.div_euclid(1_000_000), now.rem_euclid(1_000_000));
    let from = match seen.origin {
        Origin::Script { .. } => "lua".into(),
        _ if session.peer.unix => format!("unix:{}", sys.cfg.unixsocket),
        _ => session.peer.addr.clone(),
    };
    let mut line = format!("{seconds}.{micros:06} [{} {from}]", seen.db).into_bytes();
    for word in seen.argv(sys) {
        line.push(b' ');
        quote(&mut line, word);
    }
    line
}
