//! One command: look up, gate, handler, settle.
//!
//! ```text
//! gate     which row it is, and whether it may run now
//! settle   what follows from what it did       account  what is told of it
//! express  the short way of all that, where nothing special goes on
//! stint    brief commands that are timed together
//! ```

mod account;
mod express;
mod gate;
mod settle;
mod stint;

use super::error::CmdError;
use super::monitor::{self, Stage};
use super::replication::replica;
use super::session::{Debugging, Session, SessionId};
use super::txn::Multi;
use super::{
    Args, CmdResult, Ctx, Entry, Flow, Origin, ScriptCall, State, acl, alarms, declared, faults,
    pause, replay, tracking, unit,
};
use crate::keyspace::Interest;
use crate::resp::{Mark, ReplyBuf};
use crate::service::acl::Context;
use crate::spec::flag;
use crate::util::clock::Reading;
pub(super) use account::{account, note_spike};
use account::{log_large, note_reads};
pub(crate) use express::{finish_script, hurry, is_free, is_undisturbed, on_keys};
use express::{from_script, hurry_nested};
pub use gate::find;
pub(super) use gate::find_logged;
use gate::{NOT_FROM_SCRIPT, Refusal, gate, script_gate};
pub(super) use settle::{settle, settle_changes};
pub use stint::Stint;
pub(crate) use stint::close as close_stint;

/// What is left to do after a command was started.
#[derive(Debug)]
pub enum Step {
    /// Nothing: it settled.
    Settled,
    /// It waits for a key.
    Blocked {
        /// When to run it again although no key has changed, in unix milliseconds.
        retry_at: Option<i64>,
    },
    /// It waits for the end of a pause.
    Postponed,
    /// A script is to be run by the host, then [`finish`] called.
    Script(ScriptCall, Pending),
    /// The append-only log is to be loaded, then [`finish`] called.
    LoadLog(Pending),
    /// A transaction is to be run, command by command with [`queued`], then [`finish`] called.
    Exec(Box<Multi>, Pending),
}

/// A command whose handler has returned and which has not settled yet.
#[derive(Debug)]
pub struct Pending {
    pub(in crate::exec) row: &'static Entry,
    /// Where its reply begins.
    pub(crate) mark: Mark,
    pub(in crate::exec) origin: Origin,
    sid: SessionId,
    /// When it began. What a script or a transaction calls has a time of its own, though their time stands still.
    began: Reading,
}

/// Starts a command for a client: the client's database is selected and the time frozen at `now_us`.
#[inline]
pub fn start(
    state: &mut State,
    sid: SessionId,
    args: Args<'_>,
    reply: &mut ReplyBuf,
    origin: Origin,
) -> Step {
    match state.sys.faults.are_on() {
        false => begin(state, sid, args, reply, origin),
        true => faults::start(state, sid, args, reply, origin),
    }
}

/// The same, without any of the faults that there may be.
pub(in crate::exec) fn begin(
    state: &mut State,
    sid: SessionId,
    args: Args<'_>,
    reply: &mut ReplyBuf,
    origin: Origin,
) -> Step {
    let now_us = state.sys.now_us;
    let mark = reply.mark();
    let Some(session) = state.sessions.get_mut(sid) else {
        return Step::Settled;
    };
    if session.closing {
        // Killed, or it said goodbye: whatever it sent behind that does not run.
        return Step::Settled;
    }
    let db = session.db;
    state.ks.touch = !session.no_touch;
    state.ks.begin(db, now_us / 1000);
    session.seen = now_us / 1000;
    let debugs = session
        .debug
        .as_deref()
        .is_some_and(Debugging::stands_still);
    state.sys.current = Some(sid);
    if debugs && let Some(row) = state.sys.registry.find(b"eval", None).found() {
        return debugged(state, sid, row, mark, origin);
    }
    let row = match gate(state, sid, args) {
        Ok(row) => row,
        Err(refusal) => {
            refuse(state, sid, args, origin, refusal, reply);
            return Step::Settled;
        }
    };
    let mut queues = false;
    if let Some(session) = state.sessions.get_mut(sid) {
        session.last_cmd = &row.name;
        queues = session.multi.is_some() && !row.flags.has(flag::TXN);
    }
    if state.sys.pause.is_on() && pause::holds(state, sid, row, args) {
        pause::postpone(state, sid, args, origin);
        return Step::Postponed;
    }
    if queues {
        queue(state, sid, row, args, reply);
        mute(state, sid, mark, reply);
        return Step::Settled;
    }
    dispatch(state, sid, db, row, args, reply, origin)
}

/// The row of a command that would get past the gate now.
pub(in crate::exec) fn would_run(
    state: &State,
    sid: SessionId,
    args: Args<'_>,
) -> Option<&'static Entry> {
    gate(state, sid, args).ok()
}

/// A command of a client does not get past the gate.
pub(in crate::exec) fn refuse(
    state: &mut State,
    sid: SessionId,
    args: Args<'_>,
    origin: Origin,
    refusal: Refusal,
    reply: &mut ReplyBuf,
) {
    let mark = reply.mark();
    let row = state.sys.registry.find(args.at(0), args.get(1)).found();
    if let (Some(row), Some(session)) = (row, state.sessions.get_mut(sid)) {
        session.last_cmd = &row.name;
    }
    let e = refusal.into_error(state, sid, args);
    spend_caching(state, sid, row);
    let e = fail_multi(state, sid, args, origin, e);
    reject(state, sid, args, origin, &e, reply);
    mute(state, sid, mark, reply);
}

/// A client speaks to the debugger. That counts as a part of its EVAL.
#[cold]
fn debugged(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    mark: Mark,
    origin: Origin,
) -> Step {
    state.fx.begin(state.ks.current());
    let pending = Pending {
        row,
        mark,
        origin,
        sid,
        began: state.sys.reading(),
    };
    Step::Script(ScriptCall::Debug, pending)
}

/// Puts a command into the client's transaction.
fn queue(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
) {
    let flags = declared::flags_of(state, sid, row, args);
    let Some(session) = state.sessions.get_mut(sid) else {
        return;
    };
    // What cannot succeed any more is not worth its memory.
    if let Some(multi) = &mut session.multi
        && !multi.failed
        && !session.watch.broken
    {
        multi.push(row, flags, args);
        // What waits to be run is part of what a client may send without having it run.
        if multi.memory() as u64 > state.sys.cfg.client_query_buffer_limit {
            tracing::warn!(
                size = multi.memory(),
                "Closing a client whose transaction reached the maximum query buffer length"
            );
            state.sys.stats.query_limit_disconnections += 1;
            session.multi = None;
            session.closing = true;
            return;
        }
    }
    reply.simple("QUEUED");
}

/// Runs a command that a script calls, in the database `db`. Time stays frozen as the script began.
pub fn nested(
    state: &mut State,
    sid: SessionId,
    db: usize,
    args: Args<'_>,
    reply: &mut ReplyBuf,
    read_only: bool,
) {
    let origin = Origin::Script { read_only };
    let free = state
        .sys
        .running
        .as_ref()
        .is_some_and(|r| r.is_free && !r.busy);
    let row = if free {
        from_script(state, args, read_only)
    } else {
        None
    };
    if let Some(row) = row {
        begin_nested(state, db, row);
        hurry_nested(state, sid, row, args, reply, origin);
        return;
    }
    if let Some(running) = &mut state.sys.running {
        // Who knows what it will do.
        running.is_free = false;
    }
    let row = match script_gate(state, sid, args, read_only) {
        Ok(row) => row,
        Err(refusal) => {
            let e = match refusal {
                Refusal::Error(e) => e,
                Refusal::Denied(row, denied) => {
                    acl::refuse(state, sid, row, args, denied, Context::Lua)
                }
            };
            reject(state, sid, args, origin, &e, reply);
            return;
        }
    };
    begin_nested(state, db, row);
    // What waits answers as if time were over. No script runs another.
    let step = dispatch(state, sid, db, row, args, reply, origin);
    if matches!(step, Step::Script(..)) {
        reply.error(NOT_FROM_SCRIPT.text());
    }
}

/// A script is about to run a command, in the database `db`.
fn begin_nested(state: &mut State, db: usize, row: &Entry) {
    state.ks.select(db);
    state.sys.persist.is_midway = true;
    if row.flags.has(flag::WRITE)
        && let Some(running) = &mut state.sys.running
    {
        running.wrote = true;
    }
}

/// Runs the handler of a command, and does what follows.
pub(in crate::exec) fn dispatch(
    state: &mut State,
    sid: SessionId,
    db: usize,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
    origin: Origin,
) -> Step {
    state.fx.begin(db);
    if row.flags.has(flag::TOUCHES_ARBITRARY_KEYS) && origin == Origin::Client {
        // What it finds expired has nothing to do with each other.
        state.fx.loosen();
    }
    if row.flags.has(flag::SKIP_MONITOR)
        && !state.sys.monitors.is_empty()
        && origin != Origin::Replay
    {
        // It is shown before what it calls.
        show(state, sid, Some(row), origin, args, Stage::Begins);
    }
    let began = match origin {
        Origin::Exec | Origin::Script { .. } => state.sys.clock.0.read(),
        _ => state.sys.reading(),
    };
    let (pending, result) = handle(state, sid, row, args, reply, (origin, began));
    conclude_flow(state, pending, args, result, reply)
}

/// Has a command handled that began then.
#[inline]
fn handle(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
    (origin, began): (Origin, Reading),
) -> (Pending, CmdResult) {
    let pending = Pending {
        row,
        mark: reply.mark(),
        origin,
        sid,
        began,
    };
    let now = state.sys.now_us / 1000;
    let mut cx = Ctx {
        ks: &mut state.ks,
        reply,
        fx: &mut state.fx,
        sessions: &mut state.sessions,
        sys: &mut state.sys,
        sid,
        origin,
        row,
        now,
    };
    let result = match row.row.run {
        Some(run) => run(&mut cx, args),
        // A container called bare does not get past the arity check.
        None => Ok(Flow::Done),
    };
    (pending, result)
}

/// A handler has returned.
fn conclude_flow(
    state: &mut State,
    pending: Pending,
    args: Args<'_>,
    result: Result<Flow, CmdError>,
    reply: &mut ReplyBuf,
) -> Step {
    let Pending {
        row, origin, sid, ..
    } = pending;
    match result {
        Ok(Flow::Script(call)) => Step::Script(call, pending),
        Ok(Flow::Exec(multi)) => Step::Exec(multi, pending),
        Ok(Flow::LoadLog) => Step::LoadLog(pending),
        Ok(Flow::Block(block)) if matches!(origin, Origin::Client | Origin::Resumed) => {
            // It is counted when its wait ends.
            settle(state, row, args);
            if !state.sys.monitors.is_empty() {
                show(state, sid, Some(row), origin, args, Stage::Waits);
            }
            note_reads(state, &pending, args);
            let retry_at = block.retry_at;
            unit::wait(state, sid, row, *block);
            Step::Blocked { retry_at }
        }
        Ok(Flow::Block(block)) if origin == Origin::Woken => {
            // Nothing for it yet: it keeps its place in the queues.
            settle(state, row, args);
            note_reads(state, &pending, args);
            Step::Blocked {
                retry_at: block.retry_at,
            }
        }
        Ok(Flow::Block(block)) => {
            block.timeout_reply.write(reply);
            finish(state, &pending, args, Ok(()), reply);
            Step::Settled
        }
        Ok(Flow::Done) => {
            finish(state, &pending, args, Ok(()), reply);
            Step::Settled
        }
        Err(e) => {
            finish(state, &pending, args, Err(e), reply);
            Step::Settled
        }
    }
}

/// Shows a command to those who monitor.
#[cold]
fn show(
    state: &mut State,
    sid: SessionId,
    row: Option<&'static Entry>,
    origin: Origin,
    args: Args<'_>,
    stage: Stage<'_>,
) {
    let db = match origin {
        Origin::Script { .. } => state.ks.current(),
        _ => state.sessions.get(sid).map_or(0, |s| s.db),
    };
    let seen = monitor::Seen {
        sid,
        row,
        origin,
        db,
        args,
        stage,
    };
    monitor::feed(&mut state.sys, &mut state.sessions, &seen);
}

/// A command was refused: a transaction that it was meant for fails at EXEC. If it was EXEC, that ends here.
fn fail_multi(
    state: &mut State,
    sid: SessionId,
    args: Args<'_>,
    origin: Origin,
    e: CmdError,
) -> CmdError {
    let Some(session) = state.sessions.get_mut(sid) else {
        return e;
    };
    let entry = state.sys.registry.find(args.at(0), args.get(1)).found();
    if let Some(row) = entry
        && row.flags.has(flag::ENDS_TXN)
    {
        session.multi = None;
        let watchers = &mut state.sys.watchers;
        watchers.release(&mut session.watch, &state.ks, sid);
        let watched = !watchers.is_empty();
        state.ks.log.interest.set(Interest::WATCHED, watched);
        if !state.sys.monitors.is_empty() {
            // They have seen MULTI.
            show(state, sid, Some(row), origin, args, Stage::Begins);
        }
        return CmdError::exec_refused(&e);
    }
    if let Some(multi) = session.multi.as_mut() {
        multi.failed = true;
    }
    e
}

/// Runs one queued command of a transaction, in the database that is selected by then.
pub fn queued(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
) -> Step {
    let Some(session) = state.sessions.get(sid) else {
        return Step::Settled;
    };
    let db = session.db;
    // The rules may have changed since it was queued.
    if let Err(denied) = acl::check(&state.sys, session, row, args) {
        let e = acl::refuse_queued(state, sid, row, args, denied);
        state.sys.stats.error(e.code());
        reply.error(e.text());
        return Step::Settled;
    }
    state.ks.select(db);
    state.sys.persist.is_midway = true;
    dispatch(state, sid, db, row, args, reply, Origin::Exec)
}

/// Answers a command that did not get past the gate.
fn reject(
    state: &mut State,
    sid: SessionId,
    args: Args<'_>,
    origin: Origin,
    e: &CmdError,
    reply: &mut ReplyBuf,
) {
    let mut command = "";
    let row = state.sys.registry.find(args.at(0), args.get(1)).found();
    if let Some(row) = row {
        state.sys.stats.rejected(row.id.index());
        command = &row.name;
    }
    if !state.sys.monitors.is_empty() {
        show(state, sid, row, origin, args, Stage::Refused(e.text()));
    }
    state.sys.stats.error(e.code());
    alarms::answered(state, state.sys.current, command, e.code());
    reply.error(e.text());
}

/// Settles a command and counts it, and takes its reply back if the client wants none. For scripts the host's result
/// comes in here.
pub fn finish(
    state: &mut State,
    pending: &Pending,
    args: Args<'_>,
    result: Result<(), CmdError>,
    reply: &mut ReplyBuf,
) {
    if pending.origin == Origin::Replay {
        return replay::conclude(state, pending, args, result, reply);
    }
    conclude(state, pending, args, result, reply);
    match pending.origin {
        Origin::Script { .. } | Origin::Replay => {}
        // Whether the next one is answered is up to EXEC.
        Origin::Exec => silence(state, pending.sid, pending.mark, reply),
        _ => mute(state, pending.sid, pending.mark, reply),
    }
}

/// Settles EXEC behind the last command of its transaction. What was unwanted of its reply is gone by now.
pub fn finish_exec(state: &mut State, pending: &Pending, args: Args<'_>, reply: &mut ReplyBuf) {
    conclude(state, pending, args, Ok(()), reply);
    if let Some(session) = state.sessions.get_mut(pending.sid) {
        session.wants_none();
    }
}

fn conclude(
    state: &mut State,
    pending: &Pending,
    args: Args<'_>,
    result: Result<(), CmdError>,
    reply: &mut ReplyBuf,
) {
    let failed = result.is_err();
    if let Err(e) = result {
        reply.rollback(pending.mark);
        reply.error(e.text());
        if !e.is_counted() {
            state.sys.stats.error(e.code());
            alarms::answered(state, Some(pending.sid), &pending.row.name, e.code());
        }
    }
    settle(state, pending.row, args);
    if matches!(pending.origin, Origin::Script { .. })
        && state.sys.running.as_ref().is_some_and(|r| r.replays)
    {
        // Nobody is told what a script calls that is replayed.
        return state.sys.redact.clear();
    }
    if state.sys.repl.is_replica() && pending.row.flags.has(flag::WRITE) {
        replica::note_deadlines(&state.ks, &mut state.sys.repl, pending.row, args);
    }
    let cfg = &state.sys.cfg;
    // The sign is lost where one of them is not negative: so one test is enough where neither log is kept.
    if cfg.commandlog_request_larger_than & cfg.commandlog_reply_larger_than >= 0 {
        log_large(state, pending, args, reply.since(pending.mark).len());
    }
    account(state, pending, args, failed, reply.since(pending.mark));
    if !matches!(pending.origin, Origin::Script { .. } | Origin::Exec) {
        spend_caching(state, pending.sid, Some(pending.row));
    }
}

/// A command is over, or was refused: what CLIENT CACHING said held for it.
#[inline]
fn spend_caching(state: &mut State, sid: SessionId, row: Option<&Entry>) {
    if state.ks.log.interest.has(Interest::TRACKED)
        && let Some(session) = state.sessions.get_mut(sid)
    {
        tracking::spend_caching(session, row);
    }
}

/// Takes the reply of a command back if the client wants none.
fn mute(state: &mut State, sid: SessionId, mark: Mark, reply: &mut ReplyBuf) {
    if let Some(session) = state.sessions.get_mut(sid)
        && session.wants_none()
    {
        reply.rollback(mark);
    }
}

/// Takes a part of a reply back if the client wants none now.
pub fn silence(state: &State, sid: SessionId, mark: Mark, reply: &mut ReplyBuf) {
    if state.sessions.get(sid).is_some_and(Session::is_mute) {
        reply.rollback(mark);
    }
}
