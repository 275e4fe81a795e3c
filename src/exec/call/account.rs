//! What is told of a command that is settled: to monitors, in the statistics, in the slow log and its like.

use super::super::monitor::{self, Stage};
use super::super::{Args, Origin, State, System, tracking};
use super::{Pending, show};
use crate::keyspace::Interest;
use crate::service::slowlog::SlowLog;
use crate::spec::flag;
use crate::util::clock::Reading;

/// Tells of a command that is settled and has answered this: to those who monitor, in the statistics, in the slow log.
pub(in crate::exec) fn account(
    state: &mut State,
    pending: &Pending,
    args: Args<'_>,
    failed: bool,
    reply: &[u8],
) {
    let (ended, usec) = took(state, pending);
    if !state.sys.monitors.is_empty() {
        let (row, stage) = (Some(pending.row), Stage::Ends { usec, reply });
        show(state, pending.sid, row, pending.origin, args, stage);
    }
    note_reads(state, pending, args);
    count(state, pending, args, usec, failed);
    if state.sys.cfg.latency_monitor_threshold > 0 {
        note_spike(state, event_of(pending), usec);
    }
    // Of a script or a transaction it is a part, and time stands still until they are over.
    if !matches!(pending.origin, Origin::Script { .. } | Origin::Exec) {
        move_on(state, ended, usec);
    }
}

/// The time by which a command has ended, and the microseconds that it took.
#[inline]
pub(super) fn took(state: &State, pending: &Pending) -> (Reading, u64) {
    let ended = state.sys.clock.0.read();
    (ended, until(ended, pending))
}

/// The microseconds that a command took that has ended then.
#[inline]
pub(super) fn until(ended: Reading, pending: &Pending) -> u64 {
    u64::try_from(ended.real_us - pending.began.real_us).unwrap_or(0)
}

/// Counts a command, and notes it in the slow log if it was slow.
#[inline]
pub(super) fn count(state: &mut State, pending: &Pending, args: Args<'_>, usec: u64, failed: bool) {
    state.sys.stats.called(pending.row.id.index(), usec, failed);
    let slow = state.sys.cfg.slowlog_log_slower_than;
    if slow >= 0 && usec >= slow.unsigned_abs() && !pending.row.flags.has(flag::SKIP_SLOWLOG) {
        log_slow(state, pending, usec, args);
    }
    // What must not be logged of it was for it alone.
    state.sys.redact.clear();
}

/// The next command of the batch begins when this one ends.
#[inline]
pub(super) fn move_on(state: &mut State, ended: Reading, usec: u64) {
    let sys = &mut state.sys;
    sys.stats.turns.command_usec += usec;
    sys.now_us = ended.now_us.max(sys.now_us);
    sys.real_us = ended.real_us;
}

/// What the latency monitor calls a command that took long.
fn event_of(pending: &Pending) -> &'static str {
    match pending.origin {
        Origin::Woken | Origin::Resumed => "command-unblocking",
        _ if pending.row.flags.has(flag::FAST) => "fast-command",
        _ => "command",
    }
}

/// What a command has read is remembered, if its client tracks: after what it found expired was forgotten.
#[inline]
pub(super) fn note_reads(state: &mut State, pending: &Pending, args: Args<'_>) {
    if state.ks.log.interest.has(Interest::TRACKED) {
        let State { sys, sessions, .. } = state;
        tracking::remember(sys, sessions, pending.sid, pending.row, args);
    }
    if state.sys.unconfirmed.is_on() {
        state.sys.unconfirmed.note_reads(pending.row, args);
    }
}

/// Tells the latency monitor what took long, if it wants to know.
pub(in crate::exec) fn note_spike(state: &mut State, event: &'static str, usec: u64) {
    let threshold = state.sys.cfg.latency_monitor_threshold.unsigned_abs();
    if threshold > 0 && usec >= threshold.saturating_mul(1000) {
        let now = state.sys.now_us / 1_000_000;
        state.sys.latency.add(event, now, usec / 1000);
    }
}

/// Notes a slow command.
#[cold]
fn log_slow(state: &mut State, pending: &Pending, usec: u64, args: Args<'_>) {
    let max = state.sys.cfg.slowlog_max_len;
    log_command(state, pending, usec, args, max, |sys| &mut sys.slowlog);
}

/// Notes a command whose request or reply is large, if that is wanted.
#[cold]
pub(super) fn log_large(state: &mut State, pending: &Pending, args: Args<'_>, replied: usize) {
    if matches!(pending.origin, Origin::Script { .. } | Origin::Exec) {
        return;
    }
    let cfg = &state.sys.cfg;
    let exceeds = |n: usize, limit: i64| limit >= 0 && n as u64 >= limit.unsigned_abs();
    let requested = args.encoded_len();
    let of_requests = exceeds(requested, cfg.commandlog_request_larger_than)
        .then_some(cfg.commandlog_large_request_max_len);
    let of_replies = exceeds(replied, cfg.commandlog_reply_larger_than)
        .then_some(cfg.commandlog_large_reply_max_len);
    if let Some(max) = of_requests {
        let bytes = requested as u64;
        log_command(state, pending, bytes, args, max, |sys| {
            &mut sys.large_requests
        });
    }
    if let Some(max) = of_replies {
        let bytes = replied as u64;
        log_command(state, pending, bytes, args, max, |sys| {
            &mut sys.large_replies
        });
    }
}

/// Notes a command in one of the logs, without what must not be logged.
fn log_command(
    state: &mut State,
    pending: &Pending,
    value: u64,
    args: Args<'_>,
    max: u64,
    log: impl FnOnce(&mut System) -> &mut SlowLog,
) {
    let sys = &mut state.sys;
    let Some(session) = state.sessions.get(pending.sid) else {
        return;
    };
    let hidden: &[usize] = &sys.redact;
    let shown: Vec<&[u8]> = args
        .all()
        .iter()
        .enumerate()
        .map(|(i, arg)| {
            if hidden.contains(&i) {
                monitor::REDACTED
            } else {
                arg
            }
        })
        .collect();
    // What a script calls is no client's, as in Redis.
    let (peer, name): (&str, &[u8]) = match pending.origin {
        Origin::Script { .. } => ("?:0", b""),
        _ => (&session.peer.addr, &session.name),
    };
    log(sys).add(
        pending.began.now_us / 1_000_000,
        i64::try_from(value).unwrap_or(i64::MAX),
        shown.into_iter(),
        peer,
        name,
        max,
    );
}
