//! Clients that wait for a key.
//!
//! A blocking command that finds nothing returns [`Flow::Block`](super::Flow). The client is queued on its keys,
//! and whenever one of them changes, the same argv runs again, in arrival order, each as its own unit of work,
//! until it has something to answer or its time is over.

use std::collections::{BTreeSet, HashMap};

use super::args::{Args, Argv};
use super::error::CmdError;
use super::monitor::{self, Seen, Stage};
use super::replication::leader;
use super::session::{SessionId, Sessions};
use super::{Action, Entry, Origin, System, faults, persist, shutdown, tracking};
use crate::ds::bytes::SmallBytes;
use crate::resp::{Mark, ReplyBuf};
use crate::util::earliest::Earliest;
use crate::util::ext80::Ext80;

/// What a handler asks for when it has nothing to answer yet.
#[derive(Debug)]
pub struct Block {
    /// The keys to wait for, in the selected database.
    pub keys: Vec<Vec<u8>>,
    /// Until when, in unix milliseconds; `None` is for ever.
    pub deadline: Option<i64>,
    /// When to run it again although no key has changed, in unix milliseconds: something is due then.
    pub retry_at: Option<i64>,
    /// What to run again. Anything relative (`$`) is resolved in it.
    pub argv: Argv,
    /// Which changes of a key are worth running it again.
    pub wake: Wake,
    /// The reply when time is over, and inside MULTI and scripts, where nothing blocks.
    pub timeout_reply: TimeoutReply,
}

/// Which changes of a key wake a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The key holds this type afterwards.
    Type(&'static str),
    /// Any: also that the key is gone or holds another type, which is an error to report.
    TypeOrGone(&'static str),
}

/// What a blocked client gets when nothing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutReply {
    /// A null array.
    NullArray,
    /// A null.
    Null,
    /// Zero.
    Zero,
    /// How many replicas have the client's writes.
    Acknowledged,
    /// Whether the client's writes are on the disk, and how many replicas have them on theirs.
    Durable,
    /// None: neither time nor CLIENT UNBLOCK ends the wait.
    Never,
    /// Likewise: another server is to answer.
    Elsewhere,
}

impl TimeoutReply {
    /// Whether CLIENT UNBLOCK ends the wait.
    pub const fn can_be_ended(self) -> bool {
        !matches!(self, TimeoutReply::Never | TimeoutReply::Elsewhere)
    }
}

impl TimeoutReply {
    /// Writes it.
    pub fn write(self, reply: &mut ReplyBuf) {
        match self {
            TimeoutReply::NullArray => reply.null_array(),
            TimeoutReply::Null => reply.null(),
            TimeoutReply::Zero | TimeoutReply::Acknowledged => reply.int(0),
            TimeoutReply::Never | TimeoutReply::Elsewhere => {}
            TimeoutReply::Durable => {
                reply.array(2);
                reply.int(0);
                reply.int(0);
            }
        }
    }
}

/// A client that waits.
#[derive(Debug)]
pub struct Blocked {
    /// The command that waits.
    pub row: &'static Entry,
    /// What it asked for.
    pub block: Block,
    /// The database of its keys.
    pub db: usize,
    /// Since when, unix milliseconds.
    pub since: i64,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub struct Waiters {
    /// Clients in arrival order, per key.
    by_key: HashMap<(usize, SmallBytes), Vec<SessionId>>,
    /// How many of them want to hear that it is gone, where any does.
    on_nokey: HashMap<(usize, SmallBytes), usize>,
    /// Deadlines, ordered.
    deadlines: BTreeSet<(i64, SessionId)>,
    /// When to run commands again, ordered.
    retries: BTreeSet<(i64, SessionId)>,
    /// Keys that changed since waiters were last served, in order and without repetition.
    ready: Vec<(usize, SmallBytes)>,
    count: usize,
}

impl Waiters {
    /// Number of clients that wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of keys waited for.
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// Number of keys of which somebody wants to hear that they are gone.
    pub fn keys_on_nokey(&self) -> usize {
        self.on_nokey.len()
    }

    /// The earliest deadline, or time to run a command again.
    #[inline]
    pub fn next_deadline(&self) -> Option<i64> {
        let at = |first: Option<&(i64, _)>| first.map(|&(at, _)| at);
        Earliest::NEVER
            .or(at(self.deadlines.first()))
            .or(at(self.retries.first()))
            .get()
    }

    /// Queues a client.
    pub(crate) fn add(&mut self, sid: SessionId, db: usize, block: &Block) {
        for key in &block.keys {
            let at = (db, SmallBytes::from(&key[..]));
            let queue = self.by_key.entry(at.clone()).or_default();
            // One place in the queue, also for a key named twice: nobody came in between.
            if queue.last() != Some(&sid) {
                queue.push(sid);
                if matches!(block.wake, Wake::TypeOrGone(_)) {
                    *self.on_nokey.entry(at).or_default() += 1;
                }
            }
        }
        if let Some(at) = block.deadline {
            self.deadlines.insert((at, sid));
        }
        if let Some(at) = block.retry_at {
            self.retries.insert((at, sid));
        }
        self.count += 1;
    }

    /// Takes a client out of all queues.
    pub(crate) fn remove(&mut self, sid: SessionId, blocked: &Blocked) {
        for key in &blocked.block.keys {
            let at = (blocked.db, SmallBytes::from(&key[..]));
            let Some(queue) = self.by_key.get_mut(&at) else {
                continue;
            };
            let Some(place) = queue.iter().position(|&s| s == sid) else {
                continue;
            };
            queue.remove(place);
            if queue.is_empty() {
                self.by_key.remove(&at);
            }
            if let Some(count) = self.on_nokey.get_mut(&at)
                && matches!(blocked.block.wake, Wake::TypeOrGone(_))
            {
                *count -= 1;
                if *count == 0 {
                    self.on_nokey.remove(&at);
                }
            }
        }
        if let Some(at) = blocked.block.deadline {
            self.deadlines.remove(&(at, sid));
        }
        if let Some(at) = blocked.block.retry_at {
            self.retries.remove(&(at, sid));
        }
        self.count -= 1;
    }

    /// A command that ran again has to wait on, and is to run again at another time.
    pub(crate) fn reschedule(&mut self, sid: SessionId, block: &mut Block, retry_at: Option<i64>) {
        if let Some(at) = block.retry_at {
            self.retries.remove(&(at, sid));
        }
        block.retry_at = retry_at;
        if let Some(at) = retry_at {
            self.retries.insert((at, sid));
        }
    }

    /// A client whose command is to run again at `now`.
    pub(crate) fn due_again(&self, now: i64) -> Option<SessionId> {
        let &(at, sid) = self.retries.first()?;
        (at <= now).then_some(sid)
    }

    /// A key changed.
    pub(crate) fn signal(&mut self, db: usize, key: &SmallBytes) {
        let at = (db, key.clone());
        if self.by_key.contains_key(&at) && !self.ready.contains(&at) {
            self.ready.push(at);
        }
    }

    /// Every key of a database changed.
    pub(crate) fn signal_all(&mut self, db: usize) {
        let mut keys: Vec<_> = self
            .by_key
            .keys()
            .filter(|(d, _)| *d == db)
            .cloned()
            .collect();
        keys.sort();
        for (db, key) in keys {
            self.signal(db, &key);
        }
    }

    /// Whether there are keys that changed.
    #[inline]
    pub(crate) const fn are_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the keys that changed.
    pub(crate) fn take_ready(&mut self) -> Vec<(usize, SmallBytes)> {
        std::mem::take(&mut self.ready)
    }

    /// The clients that wait for a key, in arrival order.
    pub(crate) fn queue(&self, db: usize, key: &SmallBytes) -> Vec<SessionId> {
        let at = (db, key.clone());
        self.by_key.get(&at).cloned().unwrap_or_default()
    }

    /// A client whose time is over at `now`.
    pub(crate) fn due(&self, now: i64) -> Option<SessionId> {
        let &(at, sid) = self.deadlines.first()?;
        (at <= now).then_some(sid)
    }
}

/// When a wait of so many seconds ends, as the commands take it that allow a fraction; never for 0. Anything above a
/// millisecond counts as the next one.
pub fn deadline(seconds: &[u8], now: i64) -> Result<Option<i64>, CmdError> {
    let seconds = Ext80::parse(seconds).ok_or(CmdError::TIMEOUT_NOT_FLOAT)?;
    match seconds.times(1000).ceil() {
        Some(0) => Ok(None),
        Some(ms @ 1..) => match now.checked_add(ms) {
            Some(at) => Ok(Some(at)),
            None => Err(CmdError::TIMEOUT_RANGE),
        },
        None if !seconds.is_below(Ext80::ZERO) => Err(CmdError::TIMEOUT_RANGE),
        Some(_) | None => Err(CmdError::TIMEOUT_NEGATIVE),
    }
}

/// How a wait ends without the key: time is over, or CLIENT UNBLOCK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unblock {
    /// As if time were over.
    Timeout,
    /// With an error.
    Error,
    /// With the error that the instance is no leader any more.
    RoleChange,
    /// With the error that it does not end after all.
    StaysUp,
}

/// Ends the wait of a client; returns whether it waited.
pub fn unblock(sys: &mut System, sessions: &mut Sessions, sid: SessionId, how: Unblock) -> bool {
    let Some(session) = sessions.get_mut(sid) else {
        return false;
    };
    let Some(blocked) = session.blocked.take() else {
        return false;
    };
    sys.waiters.remove(sid, &blocked);
    sys.stats
        .called(blocked.row.id.index(), 0, how != Unblock::Timeout);
    tracking::spend_caching(session, Some(blocked.row));
    let (here, offset) = (persist::log::is_synced(sys, session), session.wrote_offset);
    let count = |durable| {
        let count = leader::count(sys, sessions, offset, durable);
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    let there = match blocked.block.timeout_reply {
        TimeoutReply::Acknowledged => count(false),
        TimeoutReply::Durable => count(true),
        _ => 0,
    };
    let Some(session) = sessions.get_mut(sid) else {
        return false;
    };
    let mark = session.outbox.mark();
    match how {
        Unblock::Timeout if blocked.block.timeout_reply == TimeoutReply::Durable => {
            session.outbox.array(2);
            session.outbox.int(i64::from(here));
            session.outbox.int(there);
        }
        Unblock::Timeout if blocked.block.timeout_reply == TimeoutReply::Acknowledged => {
            session.outbox.int(there);
        }
        Unblock::Timeout => blocked.block.timeout_reply.write(&mut session.outbox),
        Unblock::Error | Unblock::RoleChange | Unblock::StaysUp => {
            let e = match how {
                Unblock::RoleChange => ROLE_CHANGED,
                Unblock::StaysUp => shutdown::NOT_NOW,
                _ => UNBLOCKED,
            };
            sys.stats.error(e.code());
            session.outbox.error(e.text());
        }
    }
    if !sys.monitors.is_empty() {
        tell(sys, sessions, sid, &blocked, mark);
    }
    if let Some(session) = sessions.get_mut(sid)
        && session.wants_none()
    {
        session.outbox.rollback(mark);
    }
    faults::conclude_outbox(sys, sessions, sid, mark);
    sys.actions.push(Action::Wake(sid));
    sessions.recount(sid);
    true
}

/// Those who record what is received hear how a wait has ended.
#[cold]
fn tell(sys: &mut System, sessions: &mut Sessions, sid: SessionId, blocked: &Blocked, mark: Mark) {
    let reply = sessions.get(sid).map(|s| s.outbox.since(mark).to_vec());
    let argv: Vec<&[u8]> = blocked.block.argv.iter().map(Vec::as_slice).collect();
    let seen = Seen {
        sid,
        row: Some(blocked.row),
        origin: Origin::Woken,
        db: blocked.db,
        args: Args::new(&argv),
        stage: Stage::Ends {
            usec: 0,
            reply: &reply.unwrap_or_default(),
        },
    };
    monitor::feed(sys, sessions, &seen);
}

const ROLE_CHANGED: CmdError = CmdError::fixed(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
);

const UNBLOCKED: CmdError = CmdError::fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_by_redis() {
        const NOW: i64 = 1_700_000_000_000;
        for (text, at) in [
            ("0", Ok(None)),
            ("-0.0001", Ok(None)),
            // A thousand times the nearest float is above -1.
            ("-0.001", Ok(None)),
            ("1", Ok(Some(NOW + 1000))),
            ("0.0001", Ok(Some(NOW + 1))),
            ("0x10", Ok(Some(NOW + 16_000))),
            ("-0.002", Err(CmdError::TIMEOUT_NEGATIVE)),
            ("-inf", Err(CmdError::TIMEOUT_NEGATIVE)),
            ("-1e300", Err(CmdError::TIMEOUT_NEGATIVE)),
            ("inf", Err(CmdError::TIMEOUT_RANGE)),
            ("1e300", Err(CmdError::TIMEOUT_RANGE)),
            ("9223372036854775", Err(CmdError::TIMEOUT_RANGE)),
            ("nan", Err(CmdError::TIMEOUT_NOT_FLOAT)),
            (" 1", Err(CmdError::TIMEOUT_NOT_FLOAT)),
            ("", Err(CmdError::TIMEOUT_NOT_FLOAT)),
        ] {
            assert_eq!(deadline(text.as_bytes(), NOW), at, "{text}");
        }
    }
}
