//! How an instance comes to its end: SHUTDOWN, and signals.
//!
//! A signal is noted in [`Summons`], which needs no lock, and heeded by the engine as soon as it can be had. Until then
//! SHUTDOWN ABORT takes it back; who interrupts again while it is pending does not want to wait for anything.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::persist::save::{self, NotSaved};
use super::{Action, CmdError, State, System};
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

/// Does what a pending signal asks for; not while DEBUG PAUSE-CRON lasts.
pub fn heed(state: &mut State) {
    let State { ks, sys, .. } = state;
    let Some(signal) = sys.summons.pending().filter(|_| !sys.debug.cron_paused) else {
        return;
    };
    let flags = match signal {
        Signal::Interrupt => sys.cfg.shutdown_on_sigint,
        Signal::Terminate => sys.cfg.shutdown_on_sigterm,
    };
    // What stands in the way is in the log. It stays pending meanwhile, and for ever if it is done.
    let _ = shut_down(ks, sys, flags);
}

/// When [`heed`] has something to do, in unix milliseconds.
pub(crate) fn next_heed(sys: &System) -> Option<i64> {
    let waits = sys.summons.is_pending() && !sys.debug.cron_paused;
    waits.then_some(sys.now_us / 1000)
}

/// SHUTDOWN ABORT: takes a pending signal back.
///
/// # Errors
/// When there is none.
pub fn abort(sys: &System) -> Result<(), CmdError> {
    if !sys.summons.forget() {
        return Err(CmdError::fixed("ERR No shutdown in progress."));
    }
    tracing::info!("Shutdown manually aborted.");
    Ok(())
}

const NOT_NOW: CmdError = CmdError::fixed("ERR Errors trying to SHUTDOWN. Check logs.");

/// Ends the instance: saves what is to be saved.
///
/// # Errors
/// When that fails and is no reason to stay (`force`).
pub fn shut_down(
    ks: &mut Keyspace,
    sys: &mut System,
    flags: ShutdownFlags,
) -> Result<(), CmdError> {
    tracing::info!("User requested shutdown...");
    end(ks, sys, flags).inspect_err(|_| {
        sys.summons.forget();
        if !sys.gate.is_stopped() {
            let text =
                "Errors trying to shut down the server. Check the logs for more information.";
            tracing::warn!("{text}");
        }
    })
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
    // What is not yet loaded must not take the place of the file.
    if wanted && sys.persist.loading.is_none() {
        save_last(ks, sys, flags)?;
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
    match save::save_now(ks, sys) {
        Ok(()) => return Ok(()),
        Err(NotSaved::NoDisk) if !flags.save => return Ok(()),
        Err(_) if flags.force => {
            tracing::warn!("Error trying to save the DB. Exit anyway.");
            return Ok(());
        }
        Err(NotSaved::Stopped) => {}
        Err(_) => tracing::warn!("Error trying to save the DB, can't exit."),
    }
    Err(NOT_NOW)
}
