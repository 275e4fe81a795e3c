//! Which row a command is, and whether it may run now.

use super::super::error::CmdError;
use super::super::replication::{leader, replica};
use super::super::session::{Session, SessionId};
use super::super::{Args, Entry, State, acl, busy, declared, faults, persist};
use crate::service::acl::{Context, Denied};
use crate::spec::{Flags, Lookup, flag};

/// Why a command does not get past the gate.
pub(in crate::exec) enum Refusal {
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
    pub(super) fn into_error(self, state: &mut State, sid: SessionId, args: Args<'_>) -> CmdError {
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
pub(super) fn gate(
    state: &State,
    sid: SessionId,
    args: Args<'_>,
) -> Result<&'static Entry, Refusal> {
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

pub(super) const NOT_FROM_SCRIPT: CmdError =
    CmdError::fixed("ERR This Redis command is not allowed from script");

/// Which row a script calls, and whether it may. The order of checks is Redis's, and so is that the errors tell less
/// than a client gets to know.
pub(super) fn script_gate(
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
    if state.sys.faults.are_on()
        && !replays
        && let Some(e) = faults::in_script(state, sid, row, args)
    {
        return Err(e.into());
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
pub(in crate::exec) fn find_logged(state: &State, args: Args<'_>) -> Option<&'static Entry> {
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
