//! Commands of a batch that are timed together.
//!
//! Most commands take a fraction of a microsecond, less than to ask what time it is, and their times are counted in whole
//! microseconds. So a few brief ones in a row share what they took together. One that is not brief is timed by itself, and so
//! is whichever turns out to have been slow: behind each command a clock is looked at that costs little and ticks every few
//! milliseconds.

use super::super::{Args, Entry, State, System};
use super::Pending;
use super::account::{count, move_on, took};
use crate::spec::{Group, flag};

/// Commands of a stint at most, without the one whose end is that of the stint.
const COMMANDS: usize = 15;
/// Arguments and bytes of a brief command at most; and bytes of its reply.
const ARGS: usize = 8;
const BYTES: usize = 1024;
/// A limit of the slow log below this, in microseconds, wants each command timed by itself: no kernel's cheap clock ticks less
/// often, so that whatever takes as long is seen to.
const FINE: i64 = 10_000;

/// The commands that have ended since the clock was read.
#[derive(Debug, Default)]
pub struct Stint {
    /// The number of each in the registry.
    commands: [u16; COMMANDS],
    len: usize,
    /// What the cheap clock said when it was looked at last.
    tick: u64,
}

/// Whether a command may be one of several that are timed together.
#[inline]
pub(super) fn is_brief(state: &State, row: &Entry, args: Args<'_>) -> bool {
    let simple =
        row.flags.has(flag::FAST) || row.row.group == Group::String && row.flags.has(flag::WRITE);
    let slow = state.sys.cfg.slowlog_log_slower_than;
    simple
        && !(0..FINE).contains(&slow)
        && args.len() <= ARGS
        && args.all().iter().map(|arg| arg.len()).sum::<usize>() <= BYTES
}

/// A command has ended that has answered so many bytes. It began with the stint, if there is one, whose last it may be.
#[inline]
pub(super) fn ended(
    state: &mut State,
    pending: &Pending,
    args: Args<'_>,
    brief: bool,
    replied: usize,
) {
    let mut shares = brief && replied <= BYTES;
    if shares {
        let tick = state.sys.clock.0.tick();
        let stint = &mut state.sys.stint;
        // If it has ticked, then during this command. Of the first nobody knows: it may have ticked long before.
        shares = tick == stint.tick;
        stint.tick = tick;
        if shares && let Some(place) = stint.commands.get_mut(stint.len) {
            // No registry has as many commands as that.
            *place = pending.row.id.index() as u16;
            stint.len += 1;
            state.sys.redact.clear();
            return;
        }
    }
    let (ended, usec) = took(state, pending);
    let before = std::mem::take(&mut state.sys.stint.len);
    let share = match shares {
        true => usec / (before as u64 + 1),
        false => 0,
    };
    count_all(state, before, share);
    let own = usec - share * before as u64;
    count(state, pending, args, own, false);
    move_on(state, ended, usec);
}

/// Something else comes: what has ended is timed now.
#[inline]
pub(crate) fn close(state: &mut State) {
    if state.sys.stint.len > 0 {
        close_open(state);
    }
}

fn close_open(state: &mut State) {
    let len = std::mem::take(&mut state.sys.stint.len);
    let ended = state.sys.clock.0.read();
    let usec = u64::try_from(ended.real_us - state.sys.real_us).unwrap_or(0);
    let share = usec / len as u64;
    count_all(state, len - 1, share);
    if let Some(&last) = state.sys.stint.commands.get(len - 1) {
        let rest = usec - share * (len as u64 - 1);
        state.sys.stats.called(usize::from(last), rest, false);
    }
    move_on(state, ended, usec);
}

/// Counts the first commands of a stint.
fn count_all(state: &mut State, len: usize, usec: u64) {
    let System { stint, stats, .. } = &mut state.sys;
    for &command in stint.commands.iter().take(len) {
        stats.called(usize::from(command), usec, false);
    }
}
