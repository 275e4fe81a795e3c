//! Output that waits for clients: how much of it there is, and what becomes of clients that do not take theirs.
//!
//! What a client is to get waits in its session's outbox until its connection takes it over, and with the connection
//! until the peer has room for it. Both count. A client with more than the hard limit of its class
//! (`client-output-buffer-limit`), or more than the soft limit for too long, is cut off: nobody waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::acl;
use super::session::{Session, SessionId, Sessions};
use super::{Action, System};
use crate::service::config::BufferLimit;

/// Output up to this size does not count: in Redis it stands in the buffer that each client has for its replies.
pub const REPLY_BUFFER: usize = 16 * 1024;

/// A client that has not said yet who it is may have that much waiting, and no more.
const UNAUTHENTICATED: BufferLimit = BufferLimit {
    hard: REPLY_BUFFER as u64 + 1024,
    soft: 0,
    soft_seconds: 0,
};

/// Bytes that the connections of one instance hold, all together: of their clients' requests, and of what is to be sent.
#[derive(Debug, Clone, Default)]
pub struct UnsentTotal(Arc<OfAll>);

#[derive(Debug, Default)]
struct OfAll {
    bytes: AtomicUsize,
    limited: AtomicBool,
}

impl UnsentTotal {
    /// How many.
    pub fn get(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Says whether there is a limit to what clients may take.
    pub(crate) fn set_limited(&self, limited: bool) {
        if self.0.limited.load(Ordering::Relaxed) != limited {
            self.0.limited.store(limited, Ordering::Relaxed);
        }
    }

    fn change(&self, from: usize, to: usize) {
        self.0
            .bytes
            .fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
    }

    /// What a further connection holds.
    pub fn connection(&self) -> Unsent {
        Unsent(Arc::new(OfOne {
            bytes: AtomicUsize::new(0),
            unparsed: AtomicUsize::new(0),
            parsed: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            heard: AtomicBool::new(false),
            total: self.clone(),
        }))
    }
}

/// Bytes of a client that only its connection knows: what it has taken over to be sent and not yet sent, and what it has
/// received that cannot run yet. The connection says so, whenever it changes and without any lock; the engine looks.
#[derive(Debug, Clone, Default)]
pub struct Unsent(Arc<OfOne>);

#[derive(Debug, Default)]
struct OfOne {
    bytes: AtomicUsize,
    unparsed: AtomicUsize,
    parsed: AtomicUsize,
    spare: AtomicUsize,
    heard: AtomicBool,
    total: UnsentTotal,
}

/// Requests of a client that cannot run yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Input {
    /// Bytes received that nobody has looked at, or that are part of an argument whose end is to come.
    pub unparsed: usize,
    /// Bytes before these.
    pub parsed: usize,
    /// Room for more.
    pub spare: usize,
}

impl Input {
    const fn held(self) -> usize {
        self.unparsed + self.parsed + self.spare
    }
}

impl Unsent {
    /// How many wait to be sent.
    pub fn get(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// So many wait to be sent now. To be called by one thread at a time.
    #[inline]
    pub fn set(&self, bytes: usize) {
        let known = self.get();
        if bytes != known {
            self.0.bytes.store(bytes, Ordering::Relaxed);
            self.0.total.change(known, bytes);
        }
    }

    /// Whether a part of a request has come since this was asked last.
    pub fn was_heard(&self) -> bool {
        self.0.heard.swap(false, Ordering::Relaxed)
    }

    /// What has come and cannot run.
    pub fn input(&self) -> Input {
        let get = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        Input {
            unparsed: get(&self.0.unparsed),
            parsed: get(&self.0.parsed),
            spare: get(&self.0.spare),
        }
    }

    /// So much has come now. To be called by one thread at a time.
    pub fn set_input(&self, input: Input) {
        let known = self.input();
        let set = |number: &AtomicUsize, to| number.store(to, Ordering::Relaxed);
        set(&self.0.unparsed, input.unparsed);
        set(&self.0.parsed, input.parsed);
        set(&self.0.spare, input.spare);
        self.0.total.change(known.held(), input.held());
        if input.unparsed + input.parsed > 0 {
            self.0.heard.store(true, Ordering::Relaxed);
        }
    }

    /// All that the connection holds.
    pub fn held(&self) -> usize {
        self.get() + self.input().held()
    }

    /// Whether the engine is to be asked if the connection may hold what it does.
    pub fn is_limited(&self) -> bool {
        self.0.total.0.limited.load(Ordering::Relaxed)
    }
}

impl Drop for OfOne {
    fn drop(&mut self) {
        let held = [
            &mut self.bytes,
            &mut self.unparsed,
            &mut self.parsed,
            &mut self.spare,
        ];
        let held = held.map(|number| *number.get_mut()).iter().sum();
        self.total.change(held, 0);
    }
}

/// Clients that have too much output waiting.
#[derive(Debug, Default)]
pub struct Overdue {
    /// Above the soft limit when last looked at.
    above_soft: BTreeSet<SessionId>,
    /// When to look at those next, unix milliseconds.
    next_look: i64,
    /// Cut off in the running unit of work. They are parted with when it is over: until then somebody may be counting
    /// on them.
    cut_off: Vec<SessionId>,
}

impl Overdue {
    /// When to look next at the clients that are above their soft limit, unix milliseconds.
    #[inline]
    pub fn next_look(&self) -> Option<i64> {
        (!self.above_soft.is_empty()).then_some(self.next_look)
    }

    /// Takes the clients that were cut off.
    pub(crate) fn take_cut_off(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.cut_off)
    }

    /// Whether there are clients to be parted with.
    pub(crate) fn has_cut_off(&self) -> bool {
        !self.cut_off.is_empty()
    }
}

impl Session {
    /// Bytes that wait to be sent.
    pub fn waiting(&self) -> usize {
        let stream = self.replica.as_ref().map_or(0, |replica| replica.waiting);
        self.outbox.len() + self.peer.unsent.get() + stream
    }

    /// The limit of its class.
    fn output_limit(&self, sys: &System) -> BufferLimit {
        let limits = &sys.cfg.client_output_buffer_limit;
        let backlog = sys.cfg.repl_backlog_size;
        if self.is_replica() {
            // Whoever may come back for the backlog may have as much.
            let BufferLimit { hard, .. } = limits.replica;
            let hard = if hard > 0 { hard.max(backlog) } else { 0 };
            BufferLimit {
                hard,
                ..limits.replica
            }
        } else if self.subscriptions.is_some() {
            limits.pubsub
        } else if acl::must_log_in(sys, self) {
            UNAUTHENTICATED
        } else {
            limits.normal
        }
    }
}

/// Whether a client may have `more` bytes waiting beside those that are; if not, it is cut off.
#[inline]
pub(crate) fn may_wait(
    sys: &mut System,
    session: &mut Session,
    sid: SessionId,
    more: usize,
) -> bool {
    let limit = session.output_limit(sys);
    if limit.hard == 0 && limit.soft == 0 {
        return true;
    }
    let waiting = session.waiting();
    (waiting + more <= REPLY_BUFFER && session.above_soft.is_none())
        || keeps_limit(sys, session, sid, limit, [waiting, waiting + more])
}

/// Holds what waits, and what will wait, against the limit.
fn keeps_limit(
    sys: &mut System,
    session: &mut Session,
    sid: SessionId,
    limit: BufferLimit,
    waiting: [usize; 2],
) -> bool {
    let reaches = |bytes: usize, limit: u64| {
        limit > 0 && bytes > REPLY_BUFFER && u64::try_from(bytes).unwrap_or(u64::MAX) >= limit
    };
    let [before, after] = waiting;
    if !reaches(before, limit.soft) {
        session.above_soft = None;
    }
    let mut too_long = false;
    if reaches(after, limit.soft) {
        // Whole seconds, as Redis counts them: more than those allowed must have begun.
        let now = sys.now_us / 1_000_000;
        let since = *session.above_soft.get_or_insert(now);
        too_long = u64::try_from(now - since).unwrap_or(0) > limit.soft_seconds;
        sys.overdue.above_soft.insert(sid);
        sys.overdue.next_look = (now + 1) * 1000;
    }
    let keeps = !too_long && !reaches(after, limit.hard);
    if !keeps && !session.cut_off {
        cut_off(sys, session, sid);
    }
    keeps
}

/// Ends a connection without sending what waits.
#[cold]
fn cut_off(sys: &mut System, session: &mut Session, sid: SessionId) {
    session.closing = true;
    session.cut_off = true;
    sys.stats.output_limit_disconnections += 1;
    sys.overdue.cut_off.push(sid);
    sys.actions.push(Action::Close(sid));
}

/// Looks again at the clients that were above their soft limit, once it is time.
pub(crate) fn look_again(sys: &mut System, sessions: &mut Sessions, now: i64) {
    if sys.overdue.next_look().is_none_or(|at| at > now) {
        return;
    }
    for sid in std::mem::take(&mut sys.overdue.above_soft) {
        if let Some(session) = sessions.get_mut(sid).filter(|s| !s.cut_off) {
            let _ = may_wait(sys, session, sid, 0);
        }
    }
}
