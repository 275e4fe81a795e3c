//! Making room when memory is over `maxmemory`: before a command runs, and between commands until there is room.
//!
//! Each key that goes is a unit of its own: its DEL or UNLINK stands in the log before, and outside of, what the command
//! does that needed the room. Nobody waits for long: after a slice of time, which `maxmemory-eviction-tenacity` measures,
//! the command runs although there is too little room, and the engine's tick goes on. What is evicted by a replica is up
//! to its leader, unless it is told otherwise.

use super::session::Sessions;
use super::{State, System, alarms, call, tracking, unconfirmed, unit, used_memory};
use crate::keyspace::{Keyspace, Policy};

/// After so many keys somebody looks at the clock.
const KEYS_PER_LOOK: usize = 16;

/// How it stands with making room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Eviction {
    /// Memory was over its limit when the last command came, and no key could go: what needs more is refused.
    pub no_room: bool,
    /// There is more to do at the next tick.
    pending: bool,
    /// Since when memory has been over its limit, in microseconds of the clock.
    over_since: Option<i64>,
    /// Microseconds that it was so before.
    over_before: u64,
    /// Bytes that clients have still to be sent of what they are told of keys that have gone. No more keys go for that.
    echo: usize,
}

/// How making room ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There is room, or there need be none.
    Room,
    /// There is not yet.
    Later,
    /// There is none, and no key may go.
    NoRoom,
}

impl Eviction {
    /// Microseconds for which memory has been over its limit now.
    pub fn over_now(&self, now_us: i64) -> u64 {
        let since = self.over_since.map_or(0, |since| now_us - since);
        u64::try_from(since).unwrap_or(0)
    }

    /// Microseconds for which it was over, this time included.
    pub fn over_in_all(&self, now_us: i64) -> u64 {
        self.over_before + self.over_now(now_us)
    }

    /// Forgets what CONFIG RESETSTAT forgets.
    pub fn reset_stats(&mut self) {
        self.over_since = None;
        self.over_before = 0;
    }

    /// `maxmemory` or the policy may have changed: there may be something to do.
    pub(super) fn configure(&mut self, limited: bool) {
        self.pending = limited;
        self.no_room &= limited;
    }
}

/// Bytes in use that no key has to make room for: what the log and the stream hold, since evictions are logged, too, and
/// what is kept for a snapshot, since what is evicted must be in it.
pub fn uncounted_memory(ks: &Keyspace, sys: &System) -> usize {
    sys.persist.log_memory() + sys.repl.memory_of_replicas() + ks.snapshot_memory()
}

/// By how many bytes memory is over its limit.
fn excess(ks: &Keyspace, sessions: &Sessions, sys: &mut System) -> usize {
    let limit = usize::try_from(sys.cfg.maxmemory).unwrap_or(usize::MAX);
    let echo = sessions.in_transit().min(sys.eviction.echo);
    sys.eviction.echo = echo;
    let uncounted = echo + uncounted_memory(ks, sys);
    let used = used_memory(ks, sessions, sys);
    used.saturating_sub(uncounted).saturating_sub(limit)
}

/// Makes room before a command runs; whether a key has gone.
#[cold]
pub(crate) fn before_command(state: &mut State) -> bool {
    let before = state.sys.stats.evicted_keys;
    let end = make_room(state);
    state.sys.eviction.no_room = end == End::NoRoom;
    state.sys.stats.evicted_keys > before
}

/// When [`tick`] has something to do, in unix milliseconds.
#[inline]
pub(crate) fn next_tick(sys: &System) -> Option<i64> {
    sys.eviction.pending.then_some(sys.now_us / 1000)
}

/// Goes on making room.
pub(crate) fn tick(state: &mut State) {
    if state.sys.eviction.pending {
        make_room(state);
        unit::end_unit(state);
        unconfirmed::end_unit(state);
    }
}

/// Whether keys may go at all now.
fn may_evict(sys: &System) -> bool {
    let is_elsewhere = sys.repl.is_replica() && sys.cfg.replica_ignore_maxmemory;
    let is_busy = sys.running.as_ref().is_some_and(|running| running.busy);
    sys.cfg.maxmemory > 0
        && !is_elsewhere
        && !is_busy
        && sys.persist.loading.is_none()
        && !sys.pause.is_on()
}

fn make_room(state: &mut State) -> End {
    state.sys.eviction.pending = false;
    if !may_evict(&state.sys) {
        return End::Room;
    }
    let State {
        ks, sessions, sys, ..
    } = state;
    let excess = excess(ks, sessions, sys);
    let end = match (excess, sys.cfg.eviction_policy()) {
        (0, _) => End::Room,
        (_, None) => End::NoRoom,
        (_, Some(policy)) => {
            alarms::evicting(sys, excess);
            evict(state, policy, excess)
        }
    };
    note_time(&mut state.sys, end);
    end
}

/// How long memory is over its limit is counted.
fn note_time(sys: &mut System, end: End) {
    let now_us = sys.now_us;
    sys.eviction.pending = end == End::Later;
    match end {
        End::Later | End::NoRoom => _ = sys.eviction.over_since.get_or_insert(now_us),
        End::Room => {
            sys.eviction.over_before += sys.eviction.over_now(now_us);
            sys.eviction.over_since = None;
        }
    }
}

/// Has keys go until so many bytes are free or the time is over: those first whose own time is.
fn evict(state: &mut State, policy: Policy, excess: usize) -> End {
    /// Keys whose time is over that go at once.
    const EXPIRED: usize = 1000;
    // Nobody in particular does this; who runs the command hears of it as of what others do, before the reply.
    let current = state.sys.current.take();
    let began_us = state.sys.clock.0.real_us();
    let patience_us = i64::try_from(state.sys.cfg.eviction_patience_us()).unwrap_or(i64::MAX);
    let now = state.sys.now_us / 1000;
    state.ks.begin(0, now);
    let (mut freed, mut keys) = (0, 0);
    let in_transit = state.sessions.in_transit();
    state.fx.begin(0);
    if state.ks.next_expiry().is_some_and(|at| at <= now) {
        let before = state.ks.memory();
        state.ks.expire_due(now, EXPIRED);
        call::settle_changes(state, false);
        freed += before.saturating_sub(state.ks.memory());
    }
    let end = loop {
        if freed >= excess {
            break End::Room;
        }
        let Some(bytes) = evict_one(state, policy, now) else {
            break End::NoRoom;
        };
        freed += bytes;
        keys += 1;
        if keys % KEYS_PER_LOOK == 0
            && state.sys.clock.0.real_us().saturating_sub(began_us) > patience_us
        {
            break End::Later;
        }
    };
    state.sys.eviction.echo += state.sessions.in_transit().saturating_sub(in_transit);
    // Each of them has gone for itself.
    state.fx.loosen();
    state.fx.end_unit();
    let took = state.sys.clock.0.real_us().saturating_sub(began_us);
    call::note_spike(state, "eviction-cycle", u64::try_from(took).unwrap_or(0));
    state.sys.current = current;
    end
}

/// Has one key go; gives how many bytes that has freed.
fn evict_one(state: &mut State, policy: Policy, now: i64) -> Option<usize> {
    let watched = state.sys.cfg.latency_monitor_threshold > 0;
    let began_us = if watched {
        state.sys.clock.0.real_us()
    } else {
        0
    };
    let before = state.ks.databases_memory();
    let (db, key) = state.ks.evict(policy, now)?;
    let freed = before.saturating_sub(state.ks.databases_memory());
    if watched {
        let took = state.sys.clock.0.real_us().saturating_sub(began_us);
        call::note_spike(state, "eviction-del", u64::try_from(took).unwrap_or(0));
    }
    state.sys.stats.evicted_keys += 1;
    state.fx.begin(db);
    if state.fx.wanted() {
        let name: &[u8] = if policy.lazy { b"UNLINK" } else { b"DEL" };
        state.fx.push(&[name, &key]);
    }
    if state.sys.unconfirmed.is_on() && state.fx.is_streamed() {
        state.sys.unconfirmed.note_write();
    }
    if !state.ks.log_is_quiet() {
        call::settle_changes(state, false);
    }
    tracking::end_command(&mut state.sys, &mut state.sessions);
    Some(freed)
}
