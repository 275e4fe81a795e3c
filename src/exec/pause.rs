//! CLIENT PAUSE: for a while no client's writes are run, or nothing at all is. While the part of a leader is handed over,
//! or an instance waits for its replicas before it ends, writes are held up in the same way.
//!
//! A command that must wait is not run: a copy of it is kept with its client, which waits like one that is blocked.
//! When the pause is over, the engine runs what was kept, in the order in which it came, each command through the
//! whole pipeline as if it had just arrived.
//!
//! While a pause lasts, no key is deleted because its time is over: it is only not there for those who look.

use std::collections::BTreeMap;

use super::args::Argv;
use super::session::{Session, SessionId, Sessions};
use super::{Args, Entry, Origin, State, declared};
use crate::spec::flag;

/// What a pause holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Writes, and what may have effects without being one.
    Writes,
    /// Everything.
    All,
}

/// A command that waits for the end of a pause.
#[derive(Debug)]
pub struct Postponed {
    /// The command.
    pub argv: Argv,
    /// As what it runs then.
    pub origin: Origin,
    ticket: u64,
}

/// For what writes are held up, besides CLIENT PAUSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A replica is to take over.
    Failover,
    /// Replicas are to have everything before the instance ends.
    Shutdown,
}

/// The pause, if there is one, and who waits for its end.
#[derive(Debug, Default)]
pub struct Pause {
    /// What CLIENT PAUSE holds up, and until when.
    now: Option<(Scope, i64)>,
    failover: bool,
    shutdown: bool,
    /// Less is held up than before: who waits may go on.
    ended: bool,
    /// By ticket: in the order of arrival.
    queue: BTreeMap<u64, SessionId>,
    next_ticket: u64,
}

impl Pause {
    /// Whether something is held up.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.now.is_some() || self.failover || self.shutdown
    }

    /// What is held up.
    fn scope(&self) -> Option<Scope> {
        let held = (self.failover || self.shutdown).then_some(Scope::Writes);
        held.max(self.now.map(|(scope, _)| scope))
    }

    /// Holds writes up, or does so no longer.
    pub(crate) const fn hold(&mut self, why: Hold, on: bool) {
        match why {
            Hold::Failover => self.failover = on,
            Hold::Shutdown => self.shutdown = on,
        }
        self.ended |= !on;
    }

    /// What CLIENT PAUSE holds up, and until when in unix milliseconds.
    pub const fn current(&self) -> Option<(Scope, i64)> {
        self.now
    }

    /// Whether the pause should have ended by `now`.
    #[inline]
    pub fn is_over(&self, now: i64) -> bool {
        self.now.is_some_and(|(_, until)| until <= now)
    }

    /// Begins a pause. Of two that overlap the wider scope counts, and the later end.
    pub(crate) fn begin(&mut self, scope: Scope, until: i64, now: i64) {
        let (scope, until) = match self.now {
            Some((before, end)) if end > now => (scope.max(before), until.max(end)),
            _ => (scope, until),
        };
        self.now = (until > now).then_some((scope, until));
    }

    /// Ends the pause. What waits for that runs at the end of the unit.
    pub(crate) const fn end(&mut self) {
        self.now = None;
        self.ended = true;
    }

    /// Number of clients that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether somebody waits for what has come: the end of the pause.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        self.ended && !self.queue.is_empty()
    }

    /// The ticket of whoever comes next: those before it are waiting by now, and are going to be taken.
    pub(crate) const fn last_call(&mut self) -> u64 {
        self.ended = false;
        self.next_ticket
    }

    /// Takes a client out of the queue.
    pub(crate) fn forget(&mut self, session: &mut Session) {
        if let Some(postponed) = session.postponed.take() {
            self.queue.remove(&postponed.ticket);
        }
    }

    /// Takes the first of those that came before a ticket, and its command.
    pub(crate) fn take(
        &mut self,
        sessions: &mut Sessions,
        before: u64,
    ) -> Option<(SessionId, Postponed)> {
        loop {
            let first = self.queue.first_entry()?;
            if *first.key() >= before {
                return None;
            }
            let sid = first.remove();
            let postponed = sessions.get_mut(sid).and_then(|s| s.postponed.take());
            if let Some(postponed) = postponed {
                return Some((sid, *postponed));
            }
        }
    }
}

/// Whether a command must wait. Monitors and replicas do not: they get at no key, and it must be heard how far these are.
/// Nor does what is allowed while a script is busy: the script may be waiting for it.
#[cold]
pub(super) fn holds(state: &State, sid: SessionId, row: &'static Entry, args: Args<'_>) -> bool {
    let sys = &state.sys;
    let Some(scope) = sys.pause.scope() else {
        return false;
    };
    let session = state.sessions.get(sid);
    if sys.running.is_some() || session.is_none_or(|s| s.monitors || s.is_replica()) {
        return false;
    }
    scope == Scope::All || {
        let flags = declared::flags_of(state, sid, row, args);
        flags.has(flag::WRITE) || flags.has(flag::MAY_REPLICATE)
    }
}

/// Keeps a command until the pause is over.
pub(super) fn postpone(state: &mut State, sid: SessionId, args: Args<'_>, origin: Origin) {
    let pause = &mut state.sys.pause;
    if let Some(session) = state.sessions.get_mut(sid) {
        let ticket = pause.next_ticket;
        pause.next_ticket += 1;
        pause.queue.insert(ticket, sid);
        session.postponed = Some(Box::new(Postponed {
            argv: args.to_argv(),
            origin: match origin {
                Origin::Woken => Origin::Resumed,
                _ => origin,
            },
            ticket,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_pauses_the_wider_and_the_longer_counts() {
        let mut pause = Pause::default();
        pause.begin(Scope::Writes, 100, 50);
        pause.begin(Scope::Writes, 60, 50);
        assert_eq!(pause.current(), Some((Scope::Writes, 100)));
        pause.begin(Scope::All, 0, 50);
        assert_eq!(pause.current(), Some((Scope::All, 100)));
        pause.begin(Scope::Writes, 200, 50);
        assert_eq!(pause.current(), Some((Scope::All, 200)));
        assert!(!pause.is_over(199) && pause.is_over(200));
    }

    #[test]
    fn what_is_held_up_for_another_reason_does_not_end_with_the_pause() {
        let mut pause = Pause::default();
        pause.begin(Scope::All, 100, 50);
        pause.hold(Hold::Shutdown, true);
        assert_eq!(pause.scope(), Some(Scope::All));
        pause.end();
        assert_eq!(pause.scope(), Some(Scope::Writes));
        pause.hold(Hold::Failover, true);
        pause.hold(Hold::Shutdown, false);
        assert!(pause.is_on());
        pause.hold(Hold::Failover, false);
        assert!(!pause.is_on());
    }

    #[test]
    fn a_pause_that_is_over_widens_none() {
        let mut pause = Pause::default();
        pause.begin(Scope::All, 100, 50);
        pause.begin(Scope::Writes, 150, 100);
        assert_eq!(pause.current(), Some((Scope::Writes, 150)));
        pause.begin(Scope::All, 0, 150);
        assert!(!pause.is_on());
    }
}
