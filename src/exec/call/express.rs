//! The short way of a command.
//!
//! Nearly all that the long way asks before and after a command is about features that are off: faults, pauses, monitors,
//! limits. No command on keys turns one of them on. So for a run of such commands it is enough to ask once whether the way
//! [is free](is_free) for their client; [`hurry`] then does what is left of the long way, in its order.

use super::super::session::{ReplyMode, Session, SessionId};
use super::super::{Args, Entry, Flow, Origin, State, System, acl};
use super::account::{count, move_on, took, until};
use super::{Pending, Step, conclude_flow, handle, settle, stint};
use crate::keyspace::Interest;
use crate::resp::ReplyBuf;
use crate::service::config::BufferLimit;
use crate::spec::{Flags, Group, Lookup, flag};
use crate::util::clock::Reading;

/// What commands on keys do.
const ON_KEYS: Flags = flag::READONLY.with(flag::WRITE);

/// What has to do with more than keys, or is shown to monitors in another order.
const ON_MORE: Flags = flag::ADMIN
    .with(flag::PUBSUB)
    .with(flag::NOSCRIPT)
    .with(flag::SKIP_MONITOR)
    .with(flag::MAY_REPLICATE)
    .with(flag::TOUCHES_ARBITRARY_KEYS)
    .with(flag::TXN);

/// Of the commands about scripts, those that run one: what they name is a key, if it is anything. Where all that the script calls
/// takes the short way, the rest of theirs is [short](finish_script), too.
const RUNS_SCRIPT: Flags = flag::NO_MANDATORY_KEYS;

/// The row of a command that may take the short way, if it is one.
#[inline]
pub(crate) fn on_keys(state: &State, args: Args<'_>) -> Option<&'static Entry> {
    let row = found(state, args)?;
    let runs_script = row.row.group == Group::Scripting && row.flags.has(RUNS_SCRIPT);
    (is_simple(row) || runs_script).then_some(row)
}

/// The same for what a script calls.
#[inline]
pub(super) fn from_script(
    state: &State,
    args: Args<'_>,
    read_only: bool,
) -> Option<&'static Entry> {
    let row = found(state, args)?;
    let may = is_simple(row) && !(read_only && row.flags.has(flag::WRITE));
    may.then_some(row)
}

#[inline]
fn found(state: &State, args: Args<'_>) -> Option<&'static Entry> {
    let Lookup::Found(row) = state.sys.registry.find(args.at(0), args.get(1)) else {
        return None;
    };
    row.arity_ok(args.len()).then_some(row)
}

#[inline]
fn is_simple(row: &Entry) -> bool {
    row.flags.has(ON_KEYS) && !row.flags.has(ON_MORE)
}

/// Whether nothing special goes on, nor is there anything special about this client. It stays so until somebody has done
/// something else with the state than to [`hurry`] commands that ended in [`Step::Settled`].
pub(crate) fn is_free(state: &State, sid: SessionId) -> bool {
    let State {
        ks, sys, sessions, ..
    } = state;
    let aside = Interest::TRACKED.with(Interest::UNCONFIRMED);
    !ks.log.interest.has(aside)
        && sessions
            .get(sid)
            .is_some_and(|client| is_plain(sys, client))
        && is_quiet(sys)
}

/// Whether a client only sends commands and reads their replies.
fn is_plain(sys: &System, client: &Session) -> bool {
    let knows = client.authenticated || !acl::must_log_in(sys, client);
    let may = client.unrestricted || !sys.acl.users.limits(client.user);
    let ends = client.closing || client.cut_off;
    let listens = client.subscriptions.is_some() || client.tracking.is_some() || client.monitors;
    let is_other = client.replica.is_some() || client.replays || client.debug.is_some();
    let held = client.multi.is_some() || client.doom.is_some() || client.waits();
    let reads = client.reply_mode == ReplyMode::On && client.outbox.is_empty();
    knows && may && reads && !ends && !listens && !is_other && !held
}

/// Whether commands have nothing to heed but the keys.
fn is_quiet(sys: &System) -> bool {
    let System { cfg, repl, .. } = sys;
    let BufferLimit { hard, soft, .. } = cfg.client_output_buffer_limit.normal;
    let limits = sys.scales.is_on() || hard > 0 || soft > 0;
    let waits = sys.pause.is_on() || sys.pause.has_ready() || sys.running.is_some();
    let replicates = repl.is_replica() || repl.is_to_change() || cfg.min_replicas_to_write > 0;
    let tells = !sys.monitors.is_empty()
        || cfg.latency_monitor_threshold > 0
        || cfg.commandlog_request_larger_than >= 0
        || cfg.commandlog_reply_larger_than >= 0;
    !limits && !waits && !replicates && !tells && !sys.overdue.has_cut_off()
}

/// Whether nothing is in the way that others may put there at any time, whoever has the state: it may be asked for as often as
/// is convenient.
pub(crate) fn is_undisturbed(state: &State) -> bool {
    !state.sys.faults.are_on() && !state.sys.persist.is_in_the_way()
}

/// Begins a command that is [`on_keys`], for a client whose way [`is_free`]. Unless it settles the way is free no longer.
#[inline]
pub(crate) fn hurry(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
) -> Step {
    let brief = stint::is_brief(state, row, args);
    if !brief {
        stint::close(state);
    }
    let Some(session) = state.sessions.get_mut(sid) else {
        return Step::Settled;
    };
    let now = state.sys.now_us / 1000;
    let db = session.db;
    session.seen = now;
    session.last_cmd = &row.name;
    state.ks.touch = !session.no_touch;
    state.ks.begin(db, now);
    state.fx.begin(db);
    state.sys.current = Some(sid);
    let origin = Origin::Client;
    let began = state.sys.reading();
    match handle_and_settle(state, sid, row, args, reply, (origin, began)) {
        Ok(pending) => {
            let replied = reply.since(pending.mark).len();
            stint::ended(state, &pending, args, brief, replied);
            Step::Settled
        }
        Err(step) => step,
    }
}

/// Runs a command that a script calls, one that is good [`from_script`], while the way is free for the script. Time stands still.
#[inline]
pub(super) fn hurry_nested(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
    origin: Origin,
) -> Step {
    state.fx.begin(state.ks.current());
    let since = state.sys.running.as_mut().and_then(|r| r.since.take());
    let began = since.unwrap_or_else(|| state.sys.clock.0.read());
    match handle_and_settle(state, sid, row, args, reply, (origin, began)) {
        Ok(pending) => {
            let (ended, usec) = took(state, &pending);
            count(state, &pending, args, usec, false);
            if let Some(running) = &mut state.sys.running {
                running.since = Some(ended);
            }
            Step::Settled
        }
        Err(step) => step,
    }
}

/// Does what is left of the command that ran a script, once the host has answered it: the way was free for all that the script
/// called, and so it is for who comes next.
#[inline]
pub(crate) fn finish_script(state: &mut State, pending: &Pending, args: Args<'_>) {
    settle(state, pending.row, args);
    let since = state.sys.running.as_ref().and_then(|r| r.since);
    let (ended, usec) = match since {
        Some(ended) => (ended, until(ended, pending)),
        None => took(state, pending),
    };
    count(state, pending, args, usec, false);
    move_on(state, ended, usec);
}

/// Has a command handled and settles it; it is still to be counted. What ends otherwise than well takes the long way from there.
#[inline]
fn handle_and_settle(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
    begins: (Origin, Reading),
) -> Result<Pending, Step> {
    let (pending, result) = handle(state, sid, row, args, reply, begins);
    if !matches!(result, Ok(Flow::Done)) {
        return Err(conclude_flow(state, pending, args, result, reply));
    }
    settle(state, row, args);
    Ok(pending)
}
