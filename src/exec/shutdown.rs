//! How an instance comes to its end: SHUTDOWN, and signals.
//!
//! A signal is noted in [`Summons`], which needs no lock, and heeded by the engine as soon as it can be had. Until then
//! SHUTDOWN ABORT takes it back; who interrupts again while it is pending does not want to wait for anything.
//!
//! A leader first waits until its replicas have everything (`shutdown-timeout`), and runs no writes meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::block::{self, TimeoutReply, Unblock};
use super::host::Milestone;
use super::pause::Hold;
use super::persist::save::{self, NotSaved};
use super::replication::{feed, leader};
use super::{Action, CmdError, Session, SessionId, Sessions, State, System, unit};
use crate::keyspace::Keyspace;
use crate::service::config::{Config, ShutdownFlags};

/// What asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Signal {
    /// SIGTERM.
    Terminate = 1,
    /// SIGINT.
    Interrupt = 2,
}

/// Whether a signal has asked for the end; shared with whoever takes signals.
#[derive(Debug, Default)]
pub struct Summons {
    /// The signal, or 0.
    asked: AtomicU8,
    keeps_data: AtomicBool,
    loads: AtomicBool,
}

impl Summons {
    /// A signal asks for the end; returns whether another one was pending.
    pub fn ask(&self, signal: Signal) -> bool {
        self.asked.swap(signal as u8, Ordering::AcqRel) != 0
    }

    /// Whether one is pending.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.asked.load(Ordering::Acquire) != 0
    }

    /// Whether anything is to be saved at the end.
    pub fn keeps_data(&self) -> bool {
        self.keeps_data.load(Ordering::Acquire) && !self.loads.load(Ordering::Acquire)
    }

    /// A data set is being loaded, or no longer: half of it is not to be saved.
    pub(super) fn set_loading(&self, on: bool) {
        self.loads.store(on, Ordering::Release);
    }

    pub(super) fn configure(&self, cfg: &Config) {
        let flags = [cfg.shutdown_on_sigterm, cfg.shutdown_on_sigint];
        let keeps = cfg.appendonly || !cfg.save.is_empty() || flags.iter().any(|flags| flags.save);
        self.keeps_data.store(keeps, Ordering::Release);
    }

    fn pending(&self) -> Option<Signal> {
        match self.asked.load(Ordering::Acquire) {
            0 => None,
            n if n == Signal::Interrupt as u8 => Some(Signal::Interrupt),
            _ => Some(Signal::Terminate),
        }
    }

    fn forget(&self) -> bool {
        self.asked.swap(0, Ordering::AcqRel) != 0
    }
}

/// An end that waits for replicas.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    flags: ShutdownFlags,
    /// When it is waited no longer, in unix milliseconds.
    pub until: i64,
}

/// What a request to end has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The instance ends with the batch.
    Ends,
    /// It waits for replicas first.
    Waits,
}

/// How often it is looked whether replicas have everything, in milliseconds.
const LOOK: i64 = 10;

/// Does what a pending signal asks for; not while DEBUG PAUSE-CRON lasts. Ends what waits for replicas, once they are there.
pub fn heed(state: &mut State) {
    let State {
        ks, sys, sessions, ..
    } = state;
    if let Some(ending) = sys.ending {
        if ending.until <= sys.now_us / 1000 || !is_behind(sys, sessions) {
            // What stands in the way is in the log.
            let _ = end_or_stay(ks, sys, sessions, ending.flags);
        }
        return;
    }
    let Some(signal) = sys.summons.pending().filter(|_| !sys.debug.cron_paused) else {
        return;
    };
    let flags = match signal {
        Signal::Interrupt => sys.cfg.shutdown_on_sigint,
        Signal::Terminate => sys.cfg.shutdown_on_sigterm,
    };
    // What stands in the way is in the log. It stays pending meanwhile, and for ever if it is done.
    let _ = shut_down(ks, sys, sessions, flags);
}

/// When [`heed`] has something to do, in unix milliseconds.
#[inline]
pub(crate) fn next_heed(sys: &System) -> Option<i64> {
    if let Some(ending) = sys.ending {
        return Some(ending.until.min(sys.now_us / 1000 + LOOK));
    }
    let waits = sys.summons.is_pending() && !sys.debug.cron_paused;
    waits.then_some(sys.now_us / 1000)
}

/// SHUTDOWN ABORT: takes back what waits for replicas, or a pending signal.
///
/// # Errors
/// When there is neither.
pub fn abort(ks: &mut Keyspace, sys: &mut System, sessions: &mut Sessions) -> Result<(), CmdError> {
    let waited = stay(ks, sys, sessions);
    if !sys.summons.forget() && !waited {
        return Err(CmdError::fixed("ERR No shutdown in progress."));
    }
    tracing::info!("Shutdown manually aborted.");
    Ok(())
}

/// What whoever asked is told if the instance does not end.
pub(super) const NOT_NOW: CmdError = CmdError::fixed("ERR Errors trying to SHUTDOWN. Check logs.");

/// Ends the instance: saves what is to be saved, once replicas have everything.
///
/// # Errors
/// When that fails and is no reason to stay (`force`).
pub fn shut_down(
    ks: &mut Keyspace,
    sys: &mut System,
    sessions: &mut Sessions,
    flags: ShutdownFlags,
) -> Result<Course, CmdError> {
    if sys.ending.is_some() {
        return Ok(Course::Waits);
    }
    tracing::info!("User requested shutdown...");
    sys.host.0.reached(Milestone::Ends);
    let waits = !flags.now && sys.cfg.shutdown_timeout > 0 && sys.running.is_none();
    if waits && sys.repl.leads() && is_behind(sys, sessions) {
        let most = i64::from(sys.cfg.shutdown_timeout) * 1000;
        let until = sys.now_us / 1000 + most;
        sys.ending = Some(Ending { flags, until });
        feed::ask(sys);
        unit::hold_writes(ks, sys, Hold::Shutdown, true);
        tracing::info!("Waiting for replicas before shutting down.");
        return Ok(Course::Waits);
    }
    end_or_stay(ks, sys, sessions, flags).map(|()| Course::Ends)
}

/// Whether a replica has not said that it has everything.
fn is_behind(sys: &System, sessions: &Sessions) -> bool {
    let end = sys.repl.reached();
    let mut all = replicas(sys, sessions);
    sys.repl.leads() && all.any(|(_, replica)| replica.acknowledged != end)
}

fn replicas<'a>(
    sys: &'a System,
    sessions: &'a Sessions,
) -> impl Iterator<Item = (&'a Session, &'a leader::Replica)> {
    let all = sys.repl.replicas.iter();
    let known = all.filter_map(|sid| sessions.get(*sid));
    known.filter_map(|session| Some((session, session.replica.as_deref()?)))
}

/// Says of each replica that does not have everything how far it is behind.
fn tell_lag(sys: &System, sessions: &Sessions) {
    let end = sys.repl.reached();
    let (mut all, mut behind) = (0, 0);
    for (session, replica) in replicas(sys, sessions) {
        all += 1;
        if replica.acknowledged == end {
            continue;
        }
        behind += 1;
        let silent = match replica.phase {
            leader::Phase::Online => (sys.now_us / 1000 - replica.heard).max(0) / 1000,
            _ => 0,
        };
        let (ip, port) = leader::address(session);
        tracing::info!(
            "Lagging replica {ip}:{port} reported offset {} behind master, lag={silent}, state={}.",
            end.saturating_sub(replica.acknowledged),
            replica.state()
        );
    }
    if all > 0 {
        tracing::info!(
            "{} of {all} replicas are in sync when shutting down.",
            all - behind
        );
    }
}

/// The instance does not end: whoever waits for that is told. Whether it was going to.
fn stay(ks: &mut Keyspace, sys: &mut System, sessions: &mut Sessions) -> bool {
    let waited = sys.ending.take().is_some();
    if waited {
        unit::hold_writes(ks, sys, Hold::Shutdown, false);
        let asked = |(_, session): &(SessionId, &Session)| {
            let blocked = session.blocked.as_ref();
            blocked.is_some_and(|b| b.block.timeout_reply == TimeoutReply::Never)
        };
        let all: Vec<SessionId> = sessions.iter().filter(asked).map(|(sid, _)| sid).collect();
        for sid in all {
            block::unblock(sys, sessions, sid, Unblock::StaysUp);
        }
    }
    waited
}

fn end_or_stay(
    ks: &mut Keyspace,
    sys: &mut System,
    sessions: &mut Sessions,
    flags: ShutdownFlags,
) -> Result<(), CmdError> {
    tell_lag(sys, sessions);
    let ended = end(ks, sys, flags);
    if ended.is_ok() {
        // Nothing is written any more.
        sys.ending = None;
        return ended;
    }
    stay(ks, sys, sessions);
    sys.summons.forget();
    if !sys.gate.is_stopped() {
        tracing::warn!(
            "Errors trying to shut down the server. Check the logs for more information."
        );
    }
    ended
}

fn end(ks: &mut Keyspace, sys: &mut System, flags: ShutdownFlags) -> Result<(), CmdError> {
    if sys.persist.logging.as_ref().is_some_and(|l| l.starting) {
        // There is no log yet that the data could be loaded from. While a script is busy there will be none.
        if !flags.force && sys.running.is_none() {
            tracing::warn!("Writing initial AOF, can't exit.");
            return Err(NOT_NOW);
        }
        tracing::warn!("Writing initial AOF. Exit anyway.");
    }
    save::give_up(ks, sys);
    let wanted = flags.save || !sys.cfg.save.is_empty() && !flags.nosave;
    // A sentinel has nothing to save.
    let wanted = wanted && sys.sentinel.is_none();
    // What is not yet loaded must not take the place of the file.
    if wanted && sys.persist.loading.is_none() {
        save_last(ks, sys, flags)?;
    } else if sys.sentinel.is_none() {
        tracing::info!(
            changes = sys.persist.dirty,
            "The data set is not saved before exiting."
        );
    }
    if sys.persist.logging.is_some() {
        // It is when it is closed.
        tracing::info!("Calling fsync() on the AOF file.");
    }
    sys.actions.push(Action::Shutdown);
    Ok(())
}

fn save_last(ks: &mut Keyspace, sys: &mut System, flags: ShutdownFlags) -> Result<(), CmdError> {
    tracing::info!("Saving the final RDB snapshot before exiting.");
    sys.host.0.reached(Milestone::Saves);
    match save::save_now(ks, sys) {
        Ok(()) => return Ok(()),
        Err(NotSaved::NoDisk) if !flags.save => return Ok(()),
        Err(_) if flags.force => {
            tracing::warn!("Error trying to save the DB. Exit anyway.");
            return Ok(());
        }
        Err(NotSaved::Stopped) => {}
        Err(_) => {
            tracing::warn!("Error trying to save the DB, can't exit.");
            sys.host.0.reached(Milestone::CannotSave);
        }
    }
    Err(NOT_NOW)
}
