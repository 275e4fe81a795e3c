//! FAILOVER: a leader hands its part over to a replica that has everything.
//!
//! Writes are paused until a replica has acknowledged all of the stream. Then this instance becomes a replica of it,
//! and asks it to take over in the same breath (`PSYNC id offset FAILOVER`).

use super::{feed, leader, replica};
use crate::exec::pause::Hold;
use crate::exec::{CmdError, Sessions, State, System, unit};
use crate::keyspace::Keyspace;

/// A part that is being handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// To whom, if it is not all the same.
    pub to: Option<(String, u16)>,
    /// When to give up waiting for it, or to stop waiting if `forced`, in unix milliseconds.
    pub until: Option<i64>,
    /// Whether it is to take over though it does not have everything.
    pub forced: bool,
    /// The replica was asked to take over.
    pub asked: bool,
}

impl Failover {
    /// As INFO calls it.
    pub const fn state(&self) -> &'static str {
        match self.asked {
            false => "waiting-for-sync",
            true => "failover-in-progress",
        }
    }
}

/// How often it is looked whether a replica has everything, in milliseconds.
const LOOK: i64 = 10;

/// Begins to hand over.
pub fn begin(ks: &mut Keyspace, sys: &mut System, failover: Failover) {
    tracing::info!("FAILOVER requested to {}.", whom(&failover));
    unit::hold_writes(ks, sys, Hold::Failover, true);
    sys.repl.failover = Some(failover);
    feed::ask(sys);
}

fn whom(failover: &Failover) -> String {
    match &failover.to {
        Some((host, port)) => format!("{host}:{port}"),
        None => "any replica".to_owned(),
    }
}

/// Gives up; what was paused goes on.
///
/// # Errors
/// When nothing is being handed over.
pub fn abort(state: &mut State, why: &str) -> Result<(), CmdError> {
    let Some(failover) = state.sys.repl.failover.take() else {
        return Err(CmdError::fixed("ERR No failover in progress."));
    };
    tracing::info!("{why}");
    if failover.asked {
        replica::lead(state);
    }
    unit::hold_writes(&mut state.ks, &mut state.sys, Hold::Failover, false);
    Ok(())
}

/// The replica has taken over.
pub(crate) fn succeeded(state: &mut State) {
    if let Some(failover) = state.sys.repl.failover.take() {
        tracing::info!("Failover to {} has succeeded.", whom(&failover));
        unit::hold_writes(&mut state.ks, &mut state.sys, Hold::Failover, false);
    }
}

/// The replica did not take over: everything is as before.
pub(crate) fn refused(state: &mut State) {
    if state.sys.repl.failover.as_ref().is_some_and(|f| f.asked) {
        drop(abort(state, "Failover target rejected psync request"));
    }
}

/// The replica that can take over: it has everything.
fn ready(sys: &System, sessions: &Sessions, failover: &Failover) -> Option<(String, u16)> {
    let end = sys.repl.offset();
    sys.repl.replicas.iter().find_map(|sid| {
        let session = sessions.get(*sid)?;
        let replica = session.replica.as_ref()?;
        let address = leader::address(session);
        let wanted = failover.to.as_ref().is_none_or(|to| *to == address);
        (wanted && replica.phase == leader::Phase::Online && replica.acknowledged >= end)
            .then_some(address)
    })
}

/// Looks how far it has come.
pub(super) fn tick(state: &mut State) {
    let Some(failover) = state.sys.repl.failover.clone().filter(|f| !f.asked) else {
        return;
    };
    let now = state.sys.now_us / 1000;
    if let Some((host, port)) = ready(&state.sys, &state.sessions, &failover) {
        tracing::info!("Failover target {host}:{port} is synced, failing over.");
        return hand_over(state, &host, port);
    }
    if failover.until.is_some_and(|until| until <= now) {
        match (failover.forced, &failover.to) {
            (true, Some((host, port))) => {
                tracing::info!("Failover to {host}:{port} time out exceeded, failing over.");
                hand_over(state, host, *port);
            }
            _ => drop(abort(state, "Failover attempt timed out")),
        }
    }
}

fn hand_over(state: &mut State, host: &str, port: u16) {
    if let Some(failover) = &mut state.sys.repl.failover {
        failover.asked = true;
    }
    replica::follow_as(state, host, port, true);
}

/// When [`tick`] has something to do next.
#[inline]
pub(super) fn next_tick(sys: &System) -> Option<i64> {
    let waits = sys.repl.failover.as_ref().is_some_and(|f| !f.asked);
    waits.then_some(sys.now_us / 1000 + LOOK)
}
