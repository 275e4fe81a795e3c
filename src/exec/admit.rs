//! Who is let in, and who is let go.

use super::acl;
use super::alarms::{self, Alarm};
use super::faults;
use super::replication::leader;
use super::session::{Peer, Session, SessionId, Sessions};
use super::{Action, State, System};
use crate::keyspace::Keyspace;
use crate::resp::ReplyBuf;
use crate::service::faults::Door;

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `maxclients` are connected.
    #[error("ERR max number of clients reached")]
    Full,
    /// Protected mode: without a password only this machine may connect.
    #[error("{}", PROTECTED)]
    Protected,
    /// A fault tells it so.
    #[error("{0}")]
    Faulty(String),
    /// A fault has it closed without a word.
    #[error("closed by a fault")]
    Dropped,
}

const PROTECTED: &str = "DENIED Redis is running in protected mode: no password is set for the default user, and \
    this connection does not come from the machine itself. To let others in, set a password (requirepass), or turn \
    the mode off: CONFIG SET protected-mode no from the machine itself, or protected-mode no in its configuration.";

/// What a connection has to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The smaller limits of whoever has not said yet who it is.
    pub unauthenticated: bool,
    /// `proto-max-bulk-len`.
    pub max_bulk: usize,
    /// `client-query-buffer-limit`.
    pub max_query: usize,
    /// `tcp-keepalive`.
    pub keepalive: u64,
}

impl Terms {
    /// What holds for a client now.
    #[inline]
    pub fn of(sys: &System, session: &Session) -> Terms {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Terms {
            unauthenticated: acl::must_log_in(sys, session),
            max_bulk: size(sys.cfg.proto_max_bulk_len),
            max_query: size(sys.cfg.client_query_buffer_limit),
            keepalive: sys.cfg.tcp_keepalive,
        }
    }
}

/// Lets a client in, if it may, on these terms. Whoever cannot be found has none: it is gone already.
pub fn admit_on_terms(state: &mut State, peer: Peer) -> Result<(SessionId, Terms), Refusal> {
    let sid = admit(state, peer)?;
    let State { sys, sessions, .. } = state;
    let session = sessions.get(sid).ok_or(Refusal::Full)?;
    Ok((sid, Terms::of(sys, session)))
}

/// Lets a client in, if it may. Nothing keeps those inside of this process out.
pub fn admit(state: &mut State, peer: Peer) -> Result<SessionId, Refusal> {
    if peer.trusted {
        return Ok(connect(state, peer));
    }
    let door = state.sys.faults.rules.at_door(&peer.addr);
    if let Some(refusal) = match &door {
        Some(Door::Refuse) => Some(Refusal::Dropped),
        Some(Door::Fail(text)) => Some(Refusal::Faulty(text.clone())),
        Some(Door::Hang) | None => None,
    } {
        state.sys.stats.rejected_connections += 1;
        return Err(refusal);
    }
    let cfg = &state.sys.cfg;
    if state.sessions.len() >= cfg.maxclients as usize {
        state.sys.stats.rejected_connections += 1;
        alarms::turned_away(&mut state.sys, Alarm::Full, &peer);
        return Err(Refusal::Full);
    }
    if cfg.protected_mode && !peer.local && !state.sys.acl.users.needs_password() {
        alarms::turned_away(&mut state.sys, Alarm::Protected, &peer);
        return Err(Refusal::Protected);
    }
    let sid = connect(state, peer);
    if let (Some(Door::Hang), Some(session)) = (door, state.sessions.get_mut(sid)) {
        faults::deafen(&state.sys, session);
    }
    Ok(sid)
}

/// A client connects.
pub fn connect(state: &mut State, peer: Peer) -> SessionId {
    let open = state.sys.acl.users.is_open();
    let now = state.sys.now_us / 1000;
    state.sys.stats.connection();
    tracing::debug!(unix = peer.unix, "Accepted {}", peer.addr);
    state.sessions.connect(peer, open, now)
}

/// Takes a client out of everything that knows it: its connection has ended.
pub fn forget(state: &mut State, sid: SessionId) {
    if let Some(mut session) = state.sessions.remove(sid) {
        tracing::debug!("Client closed connection {}", session.who());
        part(&state.ks, &mut state.sys, &mut session, sid);
    }
}

/// Counts a client as gone at once, whatever it waits for or had still to be sent, and ends its connection.
pub(crate) fn expel(sys: &mut System, sessions: &mut Sessions, ks: &Keyspace, sid: SessionId) {
    if let Some(session) = sessions.expel(sid) {
        part(ks, sys, session, sid);
        session.closing = true;
        session.cut_off = true;
        session.outbox = ReplyBuf::new(session.proto);
        sessions.recount(sid);
        sys.actions.push(Action::Close(sid));
    }
}

/// Takes a client out of everything that knows it. If it is to go, its session stays until its connection has ended.
fn part(ks: &Keyspace, sys: &mut System, session: &mut Session, sid: SessionId) {
    sys.pubsub.forget(session, sid);
    leader::forget(sys, session, sid);
    sys.monitors.remove(&sid);
    session.monitors = false;
    sys.tracking.leave(session);
    sys.pause.forget(session);
    faults::forget(sys, session, sid);
    if let Some(blocked) = session.blocked.take() {
        sys.waiters.remove(sid, &blocked);
    }
    session.multi = None;
    sys.watchers.release(&mut session.watch, ks, sid);
}
