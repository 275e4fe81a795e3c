//! One command: look up, gate, handler, settle.

use super::error::CmdError;
use super::session::SessionId;
use super::txn::Multi;
use super::{Args, Ctx, Entry, Flow, Origin, ScriptCall, State, monitor, notify, tracking, unit};
use crate::keyspace::{Interest, What};
use crate::resp::{Mark, ReplyBuf};
use crate::spec::{Lookup, Propagate, flag};

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
    /// A script is to be run by the host, then [`finish`] called.
    Script(ScriptCall, Pending),
    /// A transaction is to be run, command by command with [`queued`], then [`finish`] called.
    Exec(Box<Multi>, Pending),
}

/// A command whose handler has returned and which has not settled yet.
#[derive(Debug)]
pub struct Pending {
    row: &'static Entry,
    mark: Mark,
    origin: Origin,
    sid: SessionId,
    began_us: i64,
}

/// Starts a command for a client: the client's database is selected and the time frozen at `now_us`.
pub fn start(
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
    state.sys.current = Some(sid);
    let row = match gate(state, sid, args) {
        Ok(row) => row,
        Err(e) => {
            let e = fail_multi(state, sid, args, e);
            reject(state, args, &e, reply);
            mute(state, sid, mark, reply);
            return Step::Settled;
        }
    };
    if let Some(session) = state.sessions.get_mut(sid) {
        session.last_cmd = &row.name;
        if let Some(multi) = &mut session.multi
            && origin == Origin::Client
            && !row.flags.has(flag::TXN)
        {
            multi.push(row, args);
            reply.simple("QUEUED");
            mute(state, sid, mark, reply);
            return Step::Settled;
        }
    }
    dispatch(state, sid, db, row, args, mark, reply, origin)
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
    let mark = reply.mark();
    let row = match script_gate(state, args, read_only) {
        Ok(row) => row,
        Err(e) => {
            reject(state, args, &e, reply);
            return;
        }
    };
    state.ks.select(db);
    if row.flags.has(flag::WRITE)
        && let Some(running) = &mut state.sys.running
    {
        running.wrote = true;
    }
    // What waits answers as if time were over. No script runs another.
    let step = dispatch(state, sid, db, row, args, mark, reply, origin);
    if matches!(step, Step::Script(..)) {
        reply.error(NOT_FROM_SCRIPT.text());
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one call, split for borrowing"
)]
fn dispatch(
    state: &mut State,
    sid: SessionId,
    db: usize,
    row: &'static Entry,
    args: Args<'_>,
    mark: Mark,
    reply: &mut ReplyBuf,
    origin: Origin,
) -> Step {
    state.fx.begin(db);
    let now_us = state.sys.now_us;
    if !state.sys.monitors.is_empty() {
        show_to_monitors(state, sid, db, row, args, origin);
    }
    let Some(run) = row.row.run else {
        // A container called bare does not get past the arity check.
        return Step::Settled;
    };
    let result = run(
        &mut Ctx {
            ks: &mut state.ks,
            reply,
            fx: &mut state.fx,
            sessions: &mut state.sessions,
            sys: &mut state.sys,
            sid,
            origin,
            row,
            now: now_us / 1000,
        },
        args,
    );
    let pending = Pending {
        row,
        mark,
        origin,
        sid,
        began_us: now_us,
    };
    match result {
        Ok(Flow::Script(call)) => Step::Script(call, pending),
        Ok(Flow::Exec(multi)) => Step::Exec(multi, pending),
        Ok(Flow::Block(block)) if origin == Origin::Client => {
            // It is counted when its wait ends.
            settle(state, row, args);
            let retry_at = block.retry_at;
            unit::wait(state, sid, row, *block);
            Step::Blocked { retry_at }
        }
        Ok(Flow::Block(block)) if origin == Origin::Woken => {
            // Nothing for it yet: it keeps its place in the queues.
            settle(state, row, args);
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

/// Shows a command to those who monitor, unless they are not to see it.
#[cold]
fn show_to_monitors(
    state: &mut State,
    sid: SessionId,
    db: usize,
    row: &'static Entry,
    args: Args<'_>,
    origin: Origin,
) {
    if row.flags.has(flag::SKIP_MONITOR) || row.flags.has(flag::ADMIN) || origin == Origin::Woken {
        return;
    }
    let from = match origin {
        Origin::Script { .. } => "lua".to_owned(),
        _ => {
            let session = state.sessions.get(sid);
            session.map_or_else(String::new, |s| s.peer.addr.clone())
        }
    };
    monitor::feed(&mut state.sys, &mut state.sessions, db, &from, args);
}

/// A command was refused: a transaction that it was meant for fails at EXEC. If it was EXEC, that ends here.
fn fail_multi(state: &mut State, sid: SessionId, args: Args<'_>, e: CmdError) -> CmdError {
    let Some(session) = state.sessions.get_mut(sid) else {
        return e;
    };
    let entry = state.sys.registry.find(args.at(0), args.get(1)).found();
    if entry.is_some_and(|row| row.flags.has(flag::ENDS_TXN)) {
        session.multi = None;
        let watchers = &mut state.sys.watchers;
        watchers.release(&mut session.watch, &state.ks, sid);
        let watched = !watchers.is_empty();
        state.ks.log.interest.set(Interest::WATCHED, watched);
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
    let Some(db) = state.sessions.get(sid).map(|s| s.db) else {
        return Step::Settled;
    };
    state.ks.select(db);
    let mark = reply.mark();
    dispatch(state, sid, db, row, args, mark, reply, Origin::Exec)
}

/// Which row, and whether it may run now. The order of checks is Redis's.
fn gate(state: &State, sid: SessionId, args: Args<'_>) -> Result<&'static Entry, CmdError> {
    let row = find(state, args)?;
    let flags = row.flags;
    let Some(session) = state.sessions.get(sid) else {
        return Ok(row);
    };
    if !session.authenticated && !flags.has(flag::NO_AUTH) {
        return Err(CmdError::fixed("NOAUTH Authentication required."));
    }
    if session.multi.is_some() && flags.has(flag::NO_MULTI) && !flags.has(flag::TXN) {
        return Err(CmdError::fixed(
            "ERR Command not allowed inside a transaction",
        ));
    }
    let busy = state.sys.running.as_ref().is_some_and(|r| r.busy);
    if !busy {
        has_room(state, row)?;
    }
    if session.only_listens() && !flags.has(flag::SUBSCRIBER) {
        let name = row.name.to_ascii_lowercase();
        return Err(CmdError::new(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context"
        )));
    }
    if busy && !flags.has(flag::ALLOW_BUSY) {
        return Err(CmdError::fixed(
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        ));
    }
    Ok(row)
}

/// Refuses what needs memory when there is none left.
#[inline]
fn has_room(state: &State, row: &'static Entry) -> Result<&'static Entry, CmdError> {
    if row.flags.has(flag::DENYOOM) && state.is_out_of_memory() {
        return Err(CmdError::OUT_OF_MEMORY);
    }
    Ok(row)
}

const NOT_FROM_SCRIPT: CmdError =
    CmdError::fixed("ERR This Redis command is not allowed from script");

/// Which row a script calls, and whether it may. The order of checks is Redis's, and so is that the errors tell less
/// than a client gets to know.
fn script_gate(state: &State, args: Args<'_>, read_only: bool) -> Result<&'static Entry, CmdError> {
    let row = match state.sys.registry.find(args.at(0), args.get(1)) {
        Lookup::Found(row) if accepts(row, args.len()) => row,
        Lookup::Found(_) => {
            return Err(CmdError::fixed(
                "ERR Wrong number of args calling Redis command from script",
            ));
        }
        Lookup::Unknown | Lookup::UnknownSub(_) => {
            return Err(CmdError::fixed(
                "ERR Unknown Redis command called from script",
            ));
        }
    };
    if row.flags.has(flag::NOSCRIPT) && !state.sys.debug.scripts_call_all {
        return Err(NOT_FROM_SCRIPT);
    }
    if read_only && (row.flags.has(flag::WRITE) || row.flags.has(flag::MAY_REPLICATE)) {
        return Err(CmdError::fixed(
            "ERR Write commands are not allowed from read-only scripts.",
        ));
    }
    if state.sys.running.as_ref().is_some_and(|r| r.allow_oom) {
        return Ok(row);
    }
    has_room(state, row)
}

/// The row of a command or subcommand, its arity checked.
pub fn find(state: &State, args: Args<'_>) -> Result<&'static Entry, CmdError> {
    match state.sys.registry.find(args.at(0), args.get(1)) {
        Lookup::Found(row) if accepts(row, args.len()) => Ok(row),
        Lookup::Found(row) => Err(CmdError::arity(&row.name)),
        Lookup::Unknown => Err(CmdError::unknown_command(args.all())),
        Lookup::UnknownSub(row) => Err(CmdError::unknown_subcommand(&row.name, args.at(1))),
    }
}

fn accepts(row: &Entry, given: usize) -> bool {
    let arity = row.row.arity;
    let wanted = usize::from(arity.unsigned_abs());
    if arity >= 0 {
        given == wanted
    } else {
        given >= wanted
    }
}

/// Answers a command that did not get past the gate.
fn reject(state: &mut State, args: Args<'_>, e: &CmdError, reply: &mut ReplyBuf) {
    if let Lookup::Found(row) = state.sys.registry.find(args.at(0), args.get(1)) {
        state.sys.stats.rejected(row.id.index());
    }
    state.sys.stats.error(e.code());
    reply.error(e.text());
}

/// Settles a command and counts it. For scripts the host's result comes in here.
pub fn finish(
    state: &mut State,
    pending: &Pending,
    args: Args<'_>,
    result: Result<(), CmdError>,
    reply: &mut ReplyBuf,
) {
    let failed = result.is_err();
    if !state.sys.tracking.is_empty() {
        let State { sys, sessions, .. } = state;
        tracking::remember(sys, sessions, pending.sid, pending.row, args);
    }
    if let Err(e) = result {
        reply.rollback(pending.mark);
        reply.error(e.text());
        if !e.is_counted() {
            state.sys.stats.error(e.code());
        }
    }
    settle(state, pending.row, args);
    if matches!(pending.origin, Origin::Script { .. } | Origin::Exec) {
        // One clock per unit: its commands are counted, the time is the script's or the transaction's.
        state.sys.stats.called(pending.row.id.index(), 0, failed);
        return;
    }
    let now_us = state.sys.clock.0.now_us();
    let usec = u64::try_from(now_us - pending.began_us).unwrap_or(0);
    state.sys.stats.called(pending.row.id.index(), usec, failed);
    let slow = state.sys.cfg.slowlog_log_slower_than;
    if slow >= 0 && usec >= slow.unsigned_abs() {
        log_slow(state, pending, usec, args);
    }
    if state.sys.cfg.latency_monitor_threshold > 0 {
        let fast = pending.row.flags.has(flag::FAST);
        note_spike(state, if fast { "fast-command" } else { "command" }, usec);
    }
    state.sys.redact.clear();
    // The next command of the batch begins when this one ends.
    state.sys.now_us = now_us.max(state.sys.now_us);
    mute(state, pending.sid, pending.mark, reply);
}

/// Takes the reply back if the client wants none.
fn mute(state: &mut State, sid: SessionId, mark: Mark, reply: &mut ReplyBuf) {
    if let Some(session) = state.sessions.get_mut(sid)
        && session.wants_none()
    {
        reply.rollback(mark);
    }
}

/// Tells the latency monitor what took long, if it wants to know.
pub(super) fn note_spike(state: &mut State, event: &'static str, usec: u64) {
    let threshold = state.sys.cfg.latency_monitor_threshold.unsigned_abs();
    if threshold > 0 && usec >= threshold.saturating_mul(1000) {
        let now = state.sys.now_us / 1_000_000;
        state.sys.latency.add(event, now, usec / 1000);
    }
}

/// Notes a slow command, without what must not be logged.
#[cold]
fn log_slow(state: &mut State, pending: &Pending, usec: u64, args: Args<'_>) {
    const REDACTED: &[u8] = b"(redacted)";
    let sys = &mut state.sys;
    let Some(session) = state.sessions.get(pending.sid) else {
        return;
    };
    let hidden: &[usize] = &sys.redact;
    let shown: Vec<&[u8]> = args
        .all()
        .iter()
        .enumerate()
        .map(|(i, arg)| if hidden.contains(&i) { REDACTED } else { arg })
        .collect();
    sys.slowlog.add(
        pending.began_us / 1_000_000,
        i64::try_from(usec).unwrap_or(i64::MAX),
        shown.into_iter(),
        &session.peer.addr,
        &session.name,
        sys.cfg.slowlog_max_len,
    );
}

/// Acts on what the command did: expired keys, emptied keys, waiters, effects.
fn settle(state: &mut State, row: &'static Entry, args: Args<'_>) {
    let State { ks, fx, sys, .. } = state;
    let dirty = std::mem::take(&mut ks.log.dirty);
    debug_assert!(
        dirty == 0 || row.flags.has(flag::WRITE) || row.flags.has(flag::MAY_REPLICATE),
        "{} changed something and is no write command",
        &row.name
    );
    if dirty > 0 {
        sys.stats.dirty(dirty);
    }
    if fx.wanted() {
        let as_sent = match row.row.propagate {
            Propagate::Never | Propagate::Explicit => false,
            Propagate::Verbatim => dirty > 0,
            Propagate::MayRewrite => dirty > 0 && !fx.pushed(),
        };
        debug_assert!(
            dirty == 0 || row.row.propagate != Propagate::Explicit || fx.pushed(),
            "{} changed something and propagated nothing",
            row.name
        );
        if as_sent {
            fx.push(args.all());
        }
    }
    if !ks.log_is_quiet() {
        settle_changes(state);
    }
}

#[cold]
pub(super) fn settle_changes(state: &mut State) {
    let State {
        ks,
        fx,
        sys,
        sessions,
    } = state;
    ks.reap();
    let mut changes = std::mem::take(&mut ks.log.changes);
    for change in &changes {
        if change.what == What::Vanished {
            ks.vanish(change.db, &change.key);
        }
    }
    changes.append(&mut ks.log.changes);
    let expired = std::mem::take(&mut ks.log.expired);
    fx.insert_expired(&expired);
    for change in changes {
        match change.what {
            What::Modified => {
                sys.waiters.signal(change.db, &change.key);
                sys.watchers.signal(sessions, ks, change.db, &change.key);
                tracking::invalidate(sys, sessions, &change.key, sys.current);
            }
            What::AllModified => {
                sys.waiters.signal_all(change.db);
                sys.watchers.signal_all(sessions, ks, change.db);
                tracking::invalidate_all(sys, sessions);
            }
            What::Event(event) => notify::notify(sys, sessions, change.db, &change.key, event),
            What::Vanished => {}
        }
    }
    ks.log.dirty = 0;
}
