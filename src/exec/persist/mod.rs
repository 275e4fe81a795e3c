//! Saving, loading and the append-only log as the engine sees them: what runs, how it ended, and the small steps in which
//! it is done, so that clients wait no longer than a step takes.
//!
//! ```text
//! save     a snapshot on its way into a file
//! load     a file on its way into the databases
//! intake   what comes out of it
//! staging  a data set on its way from a leader, in databases of its own
//! log      what the engine hands to the append-only log, and what it hears of it
//! rewrite  a new base for that log
//! ```

mod intake;
pub mod load;
pub mod log;
mod rewrite;
pub mod save;
pub mod staging;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::intake::Counts;
use self::intake::Intake;
use self::load::{Incoming, Loading};
use self::log::Logging;
use self::rewrite::Rewrites;
use self::save::{Saving, save_in_background};
use super::{CmdError, SessionId, State, System};
use crate::persist::aof::Log;
use crate::replication::Position;
use crate::util::earliest::Earliest;

/// Bytes that one step writes or reads.
pub const STEP: usize = 64 * 1024;

/// What is known of saving and loading.
#[derive(Debug, Default)]
pub struct Persistence {
    /// There is a disk to save to.
    pub lasting: bool,
    /// Changes since the data set was last saved.
    pub dirty: u64,
    /// Changes of the running command that are saved already.
    saved_ahead: u64,
    /// When that was, in unix milliseconds; at first, when the instance started.
    pub saved_at: i64,
    /// When saving in the background was last begun.
    pub tried_at: Option<i64>,
    /// The last attempt in the background failed.
    pub failed: bool,
    /// How often the data set was saved.
    pub saves: u64,
    /// How long the last attempt in the background took, in milliseconds.
    pub took: Option<i64>,
    /// Bytes that clients changed during that attempt before they were written.
    pub copied: usize,
    /// The save that is being written.
    pub saving: Option<Saving>,
    /// A save in the background is to begin as soon as nothing is in its way.
    pub scheduled: bool,
    /// The append-only log, if one is written.
    pub logging: Option<Box<Logging>>,
    /// The last one that was closed. Somebody may still be writing the end of it.
    pub closed: Option<Arc<Log>>,
    /// What is known of rewriting it.
    pub rewrites: Rewrites,
    /// The position at which the last log was closed.
    log_ended: u64,
    /// Clients that wait until what they wrote is on the disk, or with replicas.
    awaiting: BTreeSet<SessionId>,
    /// Something is to be done as soon as no unit of work is half done.
    is_unsettled: bool,
    /// Part of that: to look at those who wait.
    looks: bool,
    /// A unit of work is half done: a data set that is saved now stands nowhere in the stream.
    pub(super) is_midway: bool,
    /// The position that the log was told last.
    noted: Option<Position>,
    /// The load that goes on.
    pub loading: Option<Loading>,
    /// The data set that comes from a leader.
    pub incoming: Option<Incoming>,
    /// What the last load has brought.
    pub intake: Intake,
    /// Where in which history the data set stands that was loaded, if its files say so.
    pub position: Option<Position>,
    /// Its keys that were waited for.
    waited: usize,
    checked_at: i64,
    next_id: u64,
}

impl Persistence {
    /// A command has made so many changes.
    #[inline]
    pub(crate) fn changed(&mut self, changes: u64) {
        self.dirty += changes.saturating_sub(std::mem::take(&mut self.saved_ahead));
    }

    /// Whether this save is not to be written on.
    pub fn is_over(&self, id: u64) -> bool {
        self.saving
            .as_ref()
            .is_none_or(|saving| saving.id != id || saving.cancelled)
    }

    /// Something is to be done as soon as no unit of work is half done.
    pub(crate) const fn unsettle(&mut self) {
        self.is_unsettled = true;
    }

    /// Clients that wait for the disk or for replicas may have got what they wait for.
    pub(crate) const fn look_at_waiting(&mut self) {
        self.looks = true;
        self.is_unsettled = true;
    }

    /// Whether a data set is being loaded.
    pub fn loads(&self) -> bool {
        self.loading.is_some() || self.incoming.is_some()
    }

    /// Whether any command may have to be refused.
    #[inline]
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.loading.is_some()
            || self.incoming.is_some()
            || self.failed
            || self.logging.as_ref().is_some_and(|l| l.log.is_troubled())
    }
}

/// What writes are refused with while the data set cannot be saved.
pub(super) const NOT_SAVED: CmdError = CmdError::fixed(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
     modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
     snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
     error.",
);

/// How long a failed save is not tried again by itself, in milliseconds.
const RETRY: i64 = 5000;
/// How often it is looked whether something is to be saved, in milliseconds.
const LOOK: i64 = 1000;

/// Begins what is due by itself: a save or a rewrite that was put off, or that is asked for by how much has changed.
pub(crate) fn tick(state: &mut State) {
    log::tick(state);
    let State { ks, sys, .. } = state;
    let now = sys.now_us / 1000;
    if look(sys).is_none_or(|at| at > now) {
        return;
    }
    sys.persist.checked_at = now;
    if sys.persist.saving.is_some() || sys.persist.loading.is_some() {
        return;
    }
    if sys.persist.rewrites.scheduled || log::is_rewrite_due(sys) {
        log::schedule_rewrite(sys);
    } else if is_save_due(sys)
        && let Err(e) = save_in_background(ks, sys)
    {
        tracing::warn!("{}", e.text());
    }
}

/// Whether a save in the background was put off, or a save point asks for one.
fn is_save_due(sys: &System) -> bool {
    let (persist, now) = (&sys.persist, sys.now_us / 1000);
    if persist.failed && persist.tried_at.is_some_and(|at| now - at <= RETRY) {
        return false;
    }
    let due = sys.cfg.save.iter().find(|point| {
        let since = (now - persist.saved_at) / 1000;
        persist.dirty >= point.changes.unsigned_abs() && since > point.seconds
    });
    if let Some(point) = due {
        tracing::info!(
            "{} changes in {} seconds. Saving...",
            point.changes,
            point.seconds
        );
    }
    due.is_some() || persist.scheduled
}

/// When [`tick`] may have something to do next.
#[inline]
pub(crate) fn next_look(sys: &System) -> Option<i64> {
    Earliest::NEVER
        .or(look(sys))
        .or(log::next_look(&sys.persist))
        .get()
}

/// When to look whether something is to be saved.
#[inline]
fn look(sys: &System) -> Option<i64> {
    let persist = &sys.persist;
    let waits = persist.lasting
        && (persist.scheduled
            || persist.rewrites.scheduled
            || persist.dirty > 0 && !sys.cfg.save.is_empty()
            || log::is_to_be_watched(sys));
    waits.then_some(persist.checked_at + LOOK)
}

/// Why writes are refused because the data set cannot be saved, if they are.
#[cold]
pub(crate) fn refuses_writes(sys: &System) -> Option<CmdError> {
    let saves = sys.cfg.stop_writes_on_bgsave_error && !sys.cfg.save.is_empty();
    match sys.persist.failed && saves {
        true => Some(NOT_SAVED),
        false => log::refuses_writes(sys),
    }
}
