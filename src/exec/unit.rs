//! Units of work: how one ends, whom it wakes, and those that time itself begins.

use super::block::{self, Blocked, Unblock};
use super::call::{self, Step};
use super::pause::{Hold, Scope};
use super::replication::replica;
use super::session::SessionId;
use super::{Action, Args, Block, Entry, Origin, State, System, output, replication, tracking};
use crate::keyspace::{Interest, Keyspace};
use crate::util::earliest::Earliest;

/// Queues a client on the keys of `block`.
pub(super) fn wait(state: &mut State, sid: SessionId, row: &'static Entry, block: Block) {
    let Some(session) = state.sessions.get_mut(sid) else {
        return;
    };
    state.sys.waiters.add(sid, session.db, &block);
    session.blocked = Some(Box::new(Blocked {
        row,
        block,
        db: session.db,
        since: state.sys.now_us / 1000,
    }));
    state.ks.log.interest.set(Interest::BLOCKED, true);
}

/// The end of a unit of work: its effects are logged, and clients that waited for what it changed are served,
/// each as a unit of its own, until no key is ready.
#[inline]
pub fn end_unit(state: &mut State) {
    state.fx.end_unit();
    tracking::end_command(&mut state.sys, &mut state.sessions);
    if state.sys.waiters.are_ready() {
        serve_ready(state);
    }
    state.sys.repl.note_logged(&state.fx);
    state.sys.persist.is_midway = false;
    state.sys.current = None;
    let waiting = !state.sys.waiters.is_empty();
    let tracked = !state.sys.tracking.is_empty();
    state.ks.log.interest.set(Interest::BLOCKED, waiting);
    state.ks.log.interest.set(Interest::TRACKED, tracked);
}

/// Serves clients until no key is ready.
#[cold]
fn serve_ready(state: &mut State) {
    while state.sys.waiters.are_ready() {
        for (db, key) in state.sys.waiters.take_ready() {
            // Looked up again only when somebody was served: others may wait by the thousand.
            let mut holds = type_at(state, db, &key);
            for sid in state.sys.waiters.queue(db, &key) {
                if wakes(state, sid, holds) {
                    wake(state, sid);
                    holds = type_at(state, db, &key);
                }
            }
        }
    }
}

/// The type of what a key holds, if there is one.
fn type_at(state: &State, db: usize, key: &[u8]) -> Option<&'static str> {
    // That its time is over is for those to find out who want it.
    let record = state.ks.stored_in(db, key)?;
    if record.is_over(state.ks.horizon()) {
        return None;
    }
    Some(record.value().type_name())
}

/// Whether a client may have something to read in a key that holds this type.
fn wakes(state: &State, sid: SessionId, holds: Option<&str>) -> bool {
    let Some(blocked) = state.sessions.get(sid).and_then(|s| s.blocked.as_ref()) else {
        return false;
    };
    match blocked.block.wake {
        block::Wake::TypeOrGone(_) => true,
        block::Wake::Type(name) => holds == Some(name),
    }
}

/// Runs the command of a waiting client again.
pub(super) fn wake(state: &mut State, sid: SessionId) {
    let Some(session) = state.sessions.get_mut(sid) else {
        return;
    };
    let Some(mut blocked) = session.blocked.take() else {
        return;
    };
    let mut outbox = session.lend_outbox();
    let argv: Vec<&[u8]> = blocked.block.argv.iter().map(Vec::as_slice).collect();
    let step = call::start(state, sid, Args::new(&argv), &mut outbox, Origin::Woken);
    state.fx.end_unit();
    let Some(session) = state.sessions.get_mut(sid) else {
        return;
    };
    session.return_outbox(outbox);
    output::may_wait(&mut state.sys, session, sid, 0);
    tracking::end_command(&mut state.sys, &mut state.sessions);
    let Some(session) = state.sessions.get_mut(sid) else {
        return;
    };
    match step {
        Step::Blocked { retry_at } => {
            // Never at once, so that serving what is due comes to an end.
            let soonest = state.sys.now_us / 1000 + 1;
            let retry_at = retry_at.map(|at| at.max(soonest));
            let waiters = &mut state.sys.waiters;
            waiters.reschedule(sid, &mut blocked.block, retry_at);
            session.blocked = Some(blocked);
            if !session.outbox.is_empty() {
                state.sys.actions.push(Action::Wake(sid));
            }
        }
        // From now on it waits for the end of the pause and for no key.
        Step::Postponed => state.sys.waiters.remove(sid, &blocked),
        Step::Settled | Step::Script(..) | Step::Exec(..) | Step::LoadLog(_) => {
            state.sys.waiters.remove(sid, &blocked);
            state.sys.actions.push(Action::Wake(sid));
        }
    }
    state.sessions.recount(sid);
}

/// Runs commands again that are due, and ends the wait of every client whose time is over.
pub fn expire_waits(state: &mut State) {
    let now = state.sys.now_us / 1000;
    while let Some(sid) = state.sys.waiters.due_again(now) {
        wake(state, sid);
        end_unit(state);
    }
    while let Some(sid) = state.sys.waiters.due(now) {
        if !block::unblock(&mut state.sys, &mut state.sessions, sid, Unblock::Timeout) {
            break;
        }
    }
}

/// Begins CLIENT PAUSE. While it lasts, no key is deleted because its time is over.
pub fn begin_pause(ks: &mut Keyspace, sys: &mut System, scope: Scope, until: i64) {
    sys.pause.begin(scope, until, sys.now_us / 1000);
    replication::apply_expiry(ks, sys);
}

/// Ends CLIENT PAUSE. What waits for that runs when the unit is over.
pub fn end_pause(ks: &mut Keyspace, sys: &mut System) {
    sys.pause.end();
    replication::apply_expiry(ks, sys);
    if sys.repl.is_replica() {
        // What the leader sends goes on.
        sys.actions.push(Action::Follow);
    }
}

/// When [`expire_keys`] has something to do, in unix milliseconds.
#[inline]
pub fn next_expiry(state: &State) -> Option<i64> {
    Earliest::NEVER
        .or(state.ks.next_expiry())
        .or(replica::next_lapse(&state.ks, &state.sys))
        .get()
}

/// Holds writes up for another reason than CLIENT PAUSE, or does so no longer.
pub(super) fn hold_writes(ks: &mut Keyspace, sys: &mut System, why: Hold, on: bool) {
    sys.pause.hold(why, on);
    replication::apply_expiry(ks, sys);
}

/// Deletes keys whose time is over, up to `limit`, as a unit of its own; returns how many.
pub fn expire_keys(state: &mut State, limit: usize) -> usize {
    let now = state.sys.now_us / 1000;
    state.fx.begin(0);
    let State { ks, sys, .. } = state;
    let n = ks.expire_due(now, limit) + replica::end_lapsed(ks, sys, limit);
    if n > 0 {
        call::settle_changes(state, false);
        state.fx.loosen();
        end_unit(state);
        let took = state.sys.clock.0.real_us() - state.sys.real_us;
        let took = u64::try_from(took).unwrap_or(0);
        state.sys.stats.expiry_usec += took;
        state.sys.stats.expiry_cut_short += u64::from(n >= limit);
        call::note_spike(state, "expire-cycle", took);
    }
    n
}
