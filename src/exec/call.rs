//! One command: look up, gate, handler, settle.

use super::error::CmdError;
use super::replication::{leader, replica};
use super::session::{Debugging, Session, SessionId};
use super::txn::Multi;
use super::{
    Args, Ctx, Entry, Flow, Origin, ScriptCall, State, System, acl, alarms, busy, declared,
    monitor, notify, pause, persist, replay, tracking, unit,
};
use crate::keyspace::event::Event;
use crate::keyspace::{Change, Garbage, Interest, What};
use crate::resp::{Mark, ReplyBuf};
use crate::service::acl::{Context, Denied};
use crate::service::slowlog::SlowLog;
use crate::spec::{Flags, Lookup, Propagate, flag};

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
    pub(super) row: &'static Entry,
    /// Where its reply begins.
    pub(crate) mark: Mark,
    pub(super) origin: Origin,
    sid: SessionId,
    /// When it began. What a script or a transaction calls has a time of its own, though their time stands still.
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
            let row = state.sys.registry.find(args.at(0), args.get(1)).found();
            if let (Some(row), Some(session)) = (row, state.sessions.get_mut(sid)) {
                session.last_cmd = &row.name;
            }
            let e = refusal.into_error(state, sid, args);
            spend_caching(state, sid, row);
            let e = fail_multi(state, sid, args, origin, e);
            reject(state, args, &e, reply);
            mute(state, sid, mark, reply);
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
    dispatch(state, sid, db, row, args, mark, reply, origin)
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
        began_us: state.sys.now_us,
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
    let mark = reply.mark();
    let row = match script_gate(state, sid, args, read_only) {
        Ok(row) => row,
        Err(refusal) => {
            let e = match refusal {
                Refusal::Error(e) => e,
                Refusal::Denied(row, denied) => {
                    acl::refuse(state, sid, row, args, denied, Context::Lua)
                }
            };
            reject(state, args, &e, reply);
            return;
        }
    };
    state.ks.select(db);
    state.sys.persist.is_midway = true;
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
pub(super) fn dispatch(
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
    if row.flags.has(flag::TOUCHES_ARBITRARY_KEYS) && origin == Origin::Client {
        // What it finds expired has nothing to do with each other.
        state.fx.loosen();
    }
    let now_us = state.sys.now_us;
    if row.flags.has(flag::SKIP_MONITOR)
        && !state.sys.monitors.is_empty()
        && origin != Origin::Replay
    {
        // It is shown before what it calls.
        show(state, sid, row, origin, args);
    }
    let Some(run) = row.row.run else {
        // A container called bare does not get past the arity check.
        return Step::Settled;
    };
    let began_us = match origin {
        Origin::Exec | Origin::Script { .. } => state.sys.clock.0.now_us(),
        _ => now_us,
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
        began_us,
    };
    match result {
        Ok(Flow::Script(call)) => Step::Script(call, pending),
        Ok(Flow::Exec(multi)) => Step::Exec(multi, pending),
        Ok(Flow::LoadLog) => Step::LoadLog(pending),
        Ok(Flow::Block(block)) if matches!(origin, Origin::Client | Origin::Resumed) => {
            // It is counted when its wait ends.
            settle(state, row, args);
            if !state.sys.monitors.is_empty() {
                show(state, sid, row, origin, args);
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
fn show(state: &mut State, sid: SessionId, row: &'static Entry, origin: Origin, args: Args<'_>) {
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
    };
    monitor::feed(&mut state.sys, &mut state.sessions, seen);
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
            show(state, sid, row, origin, args);
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
    let mark = reply.mark();
    dispatch(state, sid, db, row, args, mark, reply, Origin::Exec)
}

/// Why a command does not get past the gate.
enum Refusal {
    Error(CmdError),
    /// The client's user may not run this row.
    Denied(&'static Entry, Denied),
}

impl From<CmdError> for Refusal {
    fn from(e: CmdError) -> Self {
        Self::Error(e)
    }
}

impl Refusal {
    #[cold]
    fn into_error(self, state: &mut State, sid: SessionId, args: Args<'_>) -> CmdError {
        match self {
            Self::Error(e) => e,
            Self::Denied(row, denied) => {
                let queues = state.sessions.get(sid).is_some_and(|s| s.multi.is_some());
                let context = if queues {
                    Context::Multi
                } else {
                    Context::Toplevel
                };
                acl::refuse(state, sid, row, args, denied, context)
            }
        }
    }
}

/// Which row, and whether it may run now. The order of checks is Redis's.
fn gate(state: &State, sid: SessionId, args: Args<'_>) -> Result<&'static Entry, Refusal> {
    let row = find(state, args)?;
    let flags = row.flags;
    let Some(session) = state.sessions.get(sid) else {
        return Ok(row);
    };
    if !flags.has(flag::NO_AUTH) && acl::must_log_in(&state.sys, session) {
        return Err(CmdError::fixed("NOAUTH Authentication required.").into());
    }
    if session.multi.is_some() && flags.has(flag::NO_MULTI) && !flags.has(flag::TXN) {
        let text = "ERR Command not allowed inside a transaction";
        return Err(CmdError::fixed(text).into());
    }
    acl::check(&state.sys, session, row, args).map_err(|denied| Refusal::Denied(row, denied))?;
    let busy = state.sys.running.as_ref().is_some_and(|r| r.busy);
    if state.sys.cfg.maxmemory > 0 && !busy && lacks_memory(state, session, sid, row, args) {
        return Err(CmdError::OUT_OF_MEMORY.into());
    }
    let repl = &state.sys.repl;
    if repl.is_replica() || state.sys.cfg.min_replicas_to_write > 0 {
        refused_for_replication(state, sid, row, args)?;
    }
    if session.only_listens() && !flags.has(flag::SUBSCRIBER) {
        let name = row.name.to_ascii_lowercase();
        return Err(CmdError::new(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context"
        ))
        .into());
    }
    if state.sys.persist.is_in_the_way() {
        refused_for_persistence(state, row)?;
    }
    if let Some(running) = state.sys.running.as_ref().filter(|r| r.busy)
        && !flags.has(flag::ALLOW_BUSY)
    {
        return Err(busy::error(running).into());
    }
    if session.monitors || session.is_replica() {
        monitor_may(state, sid, row, args)?;
    }
    Ok(row)
}

/// Refuses writes on a replica, and where too few replicas are near; and what may not be seen of old data.
#[cold]
fn refused_for_replication(
    state: &State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
) -> Result<(), CmdError> {
    let flags = declared::flags_of(state, sid, row, args);
    redirected(state, sid, flags)?;
    if flags.has(flag::WRITE) {
        may_write(state)?;
    }
    if !flags.has(flag::STALE) && replica::is_stale(&state.sys) {
        return Err(CmdError::MASTER_DOWN);
    }
    Ok(())
}

/// Sends a client of a replica on to the leader that understands this.
fn redirected(state: &State, sid: SessionId, flags: Flags) -> Result<(), CmdError> {
    let Some(session) = state.sessions.get(sid).filter(|s| s.redirects) else {
        return Ok(());
    };
    let reads = flags.has(flag::READONLY) && !session.reads_here;
    match &state.sys.repl.upstream {
        Some(leader) if reads || flags.has(flag::WRITE) => {
            let (host, port) = (&leader.host, leader.port);
            Err(CmdError::new(format!("REDIRECT {host}:{port}")))
        }
        _ => Ok(()),
    }
}

/// Whether this instance takes writes.
fn may_write(state: &State) -> Result<(), CmdError> {
    let State { sys, sessions, .. } = state;
    if sys.repl.is_replica() {
        return match sys.cfg.replica_read_only {
            true => Err(CmdError::READ_ONLY),
            false => Ok(()),
        };
    }
    let (least, lag) = (sys.cfg.min_replicas_to_write, sys.cfg.min_replicas_max_lag);
    match least > 0 && lag > 0 && leader::good(sys, sessions) < least as usize {
        true => Err(CmdError::FEW_REPLICAS),
        false => Ok(()),
    }
}

/// Refuses what cannot be done while a data set is loading, and writes that could not be saved.
#[cold]
fn refused_for_persistence(state: &State, row: &Entry) -> Result<(), CmdError> {
    let flags = row.flags;
    if state.sys.persist.loading.is_some() && !flags.has(flag::LOADING) {
        return Err(CmdError::LOADING);
    }
    let incoming = state.sys.persist.incoming.as_ref();
    if incoming.is_some_and(|incoming| incoming.refuses(row)) {
        return Err(CmdError::LOADING);
    }
    if flags.has(flag::WRITE.with(flag::DENYOOM).with(flag::HEALTH)) {
        persist::refuses_writes(&state.sys).map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Whether there is no memory left for a command. Inside of MULTI each needs some, to be queued.
fn lacks_memory(
    state: &State,
    session: &Session,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
) -> bool {
    let at_once = row.flags.has(flag::TXN) && !row.flags.has(flag::NO_MULTI);
    let grows = if session.multi.is_some() && !at_once {
        true
    } else {
        declared::flags_of(state, sid, row, args).has(flag::DENYOOM)
    };
    grows && state.is_out_of_memory()
}

/// Monitors count as a kind of replica: they get at no key.
#[cold]
fn monitor_may(
    state: &State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
) -> Result<(), CmdError> {
    let flags = declared::flags_of(state, sid, row, args);
    let keys = flag::READONLY.with(flag::WRITE).with(flag::MAY_REPLICATE);
    if flags.has(keys) {
        let text = "ERR Replica can't interact with the keyspace";
        return Err(CmdError::fixed(text));
    }
    Ok(())
}

const NOT_FROM_SCRIPT: CmdError =
    CmdError::fixed("ERR This Redis command is not allowed from script");

/// Which row a script calls, and whether it may. The order of checks is Redis's, and so is that the errors tell less
/// than a client gets to know.
fn script_gate(
    state: &State,
    sid: SessionId,
    args: Args<'_>,
    read_only: bool,
) -> Result<&'static Entry, Refusal> {
    let row = match state.sys.registry.find(args.at(0), args.get(1)) {
        Lookup::Found(row) if accepts(row, args.len()) => row,
        Lookup::Found(_) => {
            let text = "ERR Wrong number of args calling Redis command from script";
            return Err(CmdError::fixed(text).into());
        }
        Lookup::Unknown | Lookup::UnknownSub(_) => {
            let text = "ERR Unknown Redis command called from script";
            return Err(CmdError::fixed(text).into());
        }
    };
    if row.flags.has(flag::NOSCRIPT) && !state.sys.debug.scripts_call_all {
        return Err(NOT_FROM_SCRIPT.into());
    }
    let replays = state.sys.running.as_ref().is_some_and(|r| r.replays);
    if !row.flags.has(flag::STALE) && !replays && replica::is_stale(&state.sys) {
        let text = "ERR Can not execute the command on a stale replica";
        return Err(CmdError::fixed(text).into());
    }
    if let Some(session) = state.sessions.get(sid).filter(|_| !replays) {
        acl::check(&state.sys, session, row, args)
            .map_err(|denied| Refusal::Denied(row, denied))?;
    }
    if read_only && (row.flags.has(flag::WRITE) || row.flags.has(flag::MAY_REPLICATE)) {
        let text = "ERR Write commands are not allowed from read-only scripts.";
        return Err(CmdError::fixed(text).into());
    }
    // What has begun to write may go on.
    let wrote = state.sys.running.as_ref().is_some_and(|r| r.wrote);
    if row.flags.has(flag::WRITE) && !replays && !wrote {
        if state.sys.persist.is_in_the_way() {
            persist::refuses_writes(&state.sys).map_or(Ok(()), Err)?;
        }
        if state.sys.repl.is_replica() || state.sys.cfg.min_replicas_to_write > 0 {
            may_write(state)?;
        }
    }
    if row.flags.has(flag::DENYOOM)
        && let Some(running) = &state.sys.running
        && running.no_room
        && !wrote
    {
        return Err(CmdError::OUT_OF_MEMORY.into());
    }
    Ok(row)
}

/// The row of a command or subcommand, its arity checked.
pub fn find(state: &State, args: Args<'_>) -> Result<&'static Entry, CmdError> {
    match state.sys.registry.find(args.at(0), args.get(1)) {
        Lookup::Found(row) if accepts(row, args.len()) => Ok(row),
        Lookup::Found(row) => Err(CmdError::arity(&row.name)),
        Lookup::Unknown => Err(CmdError::unknown_command(args.all())),
        Lookup::UnknownSub(_) => Err(CmdError::unknown_subcommand(args.at(0), args.at(1))),
    }
}

/// The row of what a log says, if it has the right number of arguments.
pub(super) fn find_logged(state: &State, args: Args<'_>) -> Option<&'static Entry> {
    let found = state.sys.registry.find_logged(args.at(0), args.get(1));
    found.found().filter(|row| accepts(row, args.len()))
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
    let mut command = "";
    if let Lookup::Found(row) = state.sys.registry.find(args.at(0), args.get(1)) {
        state.sys.stats.rejected(row.id.index());
        command = &row.name;
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
    account(state, pending, args, failed);
    if !matches!(pending.origin, Origin::Script { .. } | Origin::Exec) {
        spend_caching(state, pending.sid, Some(pending.row));
    }
}

/// Tells of a command that is settled: to those who monitor, in the statistics, in the slow log.
pub(super) fn account(state: &mut State, pending: &Pending, args: Args<'_>, failed: bool) {
    if !state.sys.monitors.is_empty() && !pending.row.flags.has(flag::SKIP_MONITOR) {
        show(state, pending.sid, pending.row, pending.origin, args);
    }
    note_reads(state, pending, args);
    let now_us = state.sys.clock.0.now_us();
    let usec = u64::try_from(now_us - pending.began_us).unwrap_or(0);
    state.sys.stats.called(pending.row.id.index(), usec, failed);
    let slow = state.sys.cfg.slowlog_log_slower_than;
    if slow >= 0 && usec >= slow.unsigned_abs() && !pending.row.flags.has(flag::SKIP_SLOWLOG) {
        log_slow(state, pending, usec, args);
    }
    if state.sys.cfg.latency_monitor_threshold > 0 {
        note_spike(state, event_of(pending), usec);
    }
    state.sys.redact.clear();
    if matches!(pending.origin, Origin::Script { .. } | Origin::Exec) {
        // Its time is a part of the script's or the transaction's, and stands still until they are over.
        return;
    }
    state.sys.stats.turns.command_usec += usec;
    // The next command of the batch begins when this one ends.
    state.sys.now_us = now_us.max(state.sys.now_us);
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
fn note_reads(state: &mut State, pending: &Pending, args: Args<'_>) {
    if state.ks.log.interest.has(Interest::TRACKED) {
        let State { sys, sessions, .. } = state;
        tracking::remember(sys, sessions, pending.sid, pending.row, args);
    }
    if state.sys.unconfirmed.is_on() {
        state.sys.unconfirmed.note_reads(pending.row, args);
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

/// Tells the latency monitor what took long, if it wants to know.
pub(super) fn note_spike(state: &mut State, event: &'static str, usec: u64) {
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
fn log_large(state: &mut State, pending: &Pending, args: Args<'_>, replied: usize) {
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
        pending.began_us / 1_000_000,
        i64::try_from(value).unwrap_or(i64::MAX),
        shown.into_iter(),
        peer,
        name,
        max,
    );
}

/// Acts on what the command did: expired keys, emptied keys, waiters, effects.
pub(super) fn settle(state: &mut State, row: &'static Entry, args: Args<'_>) {
    let State { ks, fx, sys, .. } = state;
    let dirty = std::mem::take(&mut ks.log.dirty);
    debug_assert!(
        dirty == 0 || row.flags.has(flag::WRITE) || row.flags.has(flag::MAY_REPLICATE),
        "{} changed something and is no write command",
        &row.name
    );
    if dirty > 0 {
        sys.stats.dirty(dirty);
        sys.persist.changed(dirty);
        if sys.unconfirmed.is_on() && fx.is_streamed() {
            sys.unconfirmed.note_write();
        }
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
            sys.registry.log(fx, row, args);
        }
    }
    if !ks.log_is_quiet() {
        settle_changes(state, dirty > 0);
    }
}

/// Acts on what was logged: by a command, if it `wrote`, or by time.
#[cold]
pub(super) fn settle_changes(state: &mut State, wrote: bool) {
    let State {
        ks,
        fx,
        sys,
        sessions,
    } = state;
    ks.reap(wrote);
    let mut changes = ks.log.changes.take();
    // Before anybody looks at the keys.
    changes.retain(|change| change.what != What::Vanished || ks.vanish(change.db, &change.key));
    let expired = std::mem::take(&mut ks.log.expired);
    fx.insert_expired(&expired);
    // A script is nobody that a client could be told apart from.
    let by = sys.current.filter(|_| sys.running.is_none());
    let mut all_told = false;
    // What is not propagated, no replica confirms.
    let confirmed = sys.unconfirmed.is_on() && fx.is_streamed();
    for Change { db, key, what } in &changes {
        if confirmed {
            match *what {
                What::Modified | What::Quiet | What::Vanished => sys.unconfirmed.note_key(key),
                What::AllModified => sys.unconfirmed.note_every_key(),
                // Time has done it, as it will with whoever leads next.
                What::Lapsed | What::Event(_) => {}
            }
        }
        match *what {
            What::Modified | What::Lapsed => {
                sys.waiters.signal(*db, key);
                sys.watchers.signal(sessions, ks, *db, key);
                let by = by.filter(|_| *what == What::Modified);
                tracking::invalidate(sys, sessions, key, by);
            }
            What::AllModified => {
                sys.waiters.signal_all(*db);
                sys.watchers.signal_all(sessions, ks, *db);
                if !std::mem::replace(&mut all_told, true) {
                    let dropped = tracking::invalidate_all(sys, sessions);
                    ks.garbage.extend(dropped.map(Garbage::other));
                }
            }
            What::Event(event) => notify::notify(sys, sessions, *db, key, event),
            // The edit itself counts as the change.
            What::Vanished if ks.log.notify.intersects(Event::DEL.class) => {
                notify::notify(sys, sessions, *db, key, Event::DEL);
            }
            What::Vanished | What::Quiet => {}
        }
    }
    // The last listener may have gone.
    notify::listen(ks, sys);
    ks.log.dirty = 0;
}
