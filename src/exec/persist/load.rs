//! Loading: what a file holds put into the databases, in small steps.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use super::intake::{Counts, Intake};
use super::save::{delay, give_up, save_now};
use super::{STEP, log, save};
use crate::exec::{self, Action, Entry, State, System, unit};
use crate::keyspace::Keyspace;
use crate::persist::write::directory;
use crate::persist::{Batch, LoadError, Loaded, Loader};
use crate::spec::flag;
use crate::types::dump::Limits;

/// A time at which nothing was over. What is loaded as of then is whole: whatever follows it, a log or a stream, saw it
/// alive, and says itself what came to its end.
pub const LONG_AGO: i64 = 0;

/// A load in progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loading {
    /// When it began, in unix milliseconds.
    pub began: i64,
    /// Bytes of the file.
    pub total: u64,
    /// Bytes read so far.
    pub done: u64,
}

/// What DEBUG RELOAD does, and leaves out.
#[derive(Debug, Clone, Copy)]
pub struct Reload {
    /// Saves first.
    pub save: bool,
    /// Empties the databases before it loads.
    pub flush: bool,
    /// What is loaded takes the place of what is there.
    pub merge: bool,
}

/// Saves the data set and loads it again, by the disk or, where there is none, in memory. Gives the libraries of
/// functions that are to be loaded, as FUNCTION RESTORE takes them.
///
/// # Errors
/// When it cannot be saved, and what is wrong with the file.
pub fn reload(ks: &mut Keyspace, sys: &mut System, how: Reload) -> Result<Option<Vec<u8>>, String> {
    give_up(ks, sys);
    let bytes;
    let mut file: Box<dyn Read> = match sys.host.0.disk() {
        Some(disk) => {
            if how.save {
                save_now(ks, sys).map_err(|e| e.to_string())?;
            }
            let file = disk.open(&file_path(sys));
            Box::new(file.map_err(|e| e.to_string())?)
        }
        None => {
            bytes = save::write_now(ks, sys);
            Box::new(&bytes[..])
        }
    };
    if how.flush {
        for db in 0..ks.databases() {
            ks.flush(db, false);
        }
    }
    let selected = ks.current();
    ks.select(0);
    let loaded = load_now(ks, sys, &mut *file, how.merge);
    ks.select(selected);
    let functions = loaded_functions(sys);
    ks.log.dirty = 0;
    sys.persist.dirty = 0;
    loaded.map(|()| functions)
}

/// The file that the data set is saved to.
pub fn file_path(sys: &System) -> PathBuf {
    directory(&sys.cfg.dir).join(&sys.cfg.dbfilename)
}

/// The libraries of functions that a load has brought, as FUNCTION RESTORE takes them; none if there are none.
pub fn loaded_functions(sys: &mut System) -> Option<Vec<u8>> {
    sys.persist.intake.take_functions()
}

/// A file of so many bytes is going to be loaded.
pub fn begin_load(sys: &mut System, total: u64) {
    sys.persist.intake = Intake::of(total);
    sys.persist.position = None;
    sys.persist.loading = Some(Loading {
        began: sys.now_us / 1000,
        total,
        done: 0,
    });
    sys.summons.set_loading(true);
}

/// The data set is there: from now on clients are served.
pub fn end_load(sys: &mut System) {
    sys.persist.loading = None;
    // What was asked for meanwhile had to wait.
    sys.persist.unsettle();
    sys.summons.set_loading(false);
    if sys.repl.is_replica() {
        // Nobody was followed meanwhile.
        sys.actions.push(Action::Follow);
    }
}

/// A data set that comes from a leader, and is loaded beside the one that is there.
#[derive(Debug, Clone, Copy)]
pub struct Incoming {
    /// How far it is.
    pub progress: Loading,
    /// What clients may do meanwhile.
    pub shows: Shows,
}

/// What clients may do while a data set comes from a leader (`repl-diskless-load`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// They see what is there, which was the leader's once; only what would be in the way of loading is refused.
    OldData,
    /// There is nothing that they could see. What is not about data is done all the same.
    NoData,
    /// They see nothing: what is there, if anything, belongs to another history.
    Nothing,
}

impl Incoming {
    /// Whether a command is refused meanwhile.
    pub(crate) fn refuses(&self, row: &Entry) -> bool {
        let in_the_way = row.flags.has(flag::NO_ASYNC_LOADING);
        match self.shows {
            Shows::OldData => in_the_way,
            Shows::NoData => !row.flags.has(flag::LOADING) && !in_the_way,
            Shows::Nothing => !row.flags.has(flag::LOADING),
        }
    }
}

/// Deletes some of the keys whose time was over when they were loaded, and tells that to the stream; returns how many keys
/// and fields. As Redis has it they count as expired while loading.
pub(crate) fn part_with_past(state: &mut State) -> usize {
    /// Deleted together.
    const SOME: usize = 1000;
    let keys = |ks: &Keyspace| -> usize {
        let dbs = (0..ks.databases()).filter_map(|db| ks.db(db));
        dbs.map(|db| db.len()).sum()
    };
    let before = keys(&state.ks);
    let parted = unit::expire_keys(state, SOME);
    let gone = before.saturating_sub(keys(&state.ks)) as u64;
    let counts = &mut state.sys.persist.intake.counts;
    counts.expired += gone;
    counts.keys = counts.keys.saturating_sub(gone);
    let _ = log::settle(state);
    parted
}

/// How the next step of loading is to read.
#[derive(Debug, Clone, Copy)]
pub struct LoadPlan {
    /// For values.
    pub limits: Limits,
    /// The time by which it is judged what is over, in unix milliseconds.
    pub now: i64,
    /// Bytes to read: never more than `loading-process-events-interval-bytes`, so that clients are served as often as
    /// that asks for.
    pub bytes: u64,
}

/// Tells how to read on. What stands at a position in a history is whole: that its keys are over is said by what follows
/// there, or found out as usual.
pub fn load_plan(ks: &Keyspace, sys: &System) -> LoadPlan {
    let interval = sys.cfg.loading_process_events_interval_bytes;
    let position = sys.persist.intake.position(ks.databases());
    LoadPlan {
        limits: exec::limits(sys, ks.seed()),
        now: match position {
            Some(_) => LONG_AGO,
            None => sys.now_us / 1000,
        },
        bytes: interval.min(STEP as u64),
    }
}

/// Microseconds to wait for the keys loaded since this was last asked, as `key-load-delay` has it.
pub fn load_delay(sys: &mut System) -> u64 {
    let Counts { keys, expired, .. } = sys.persist.intake.counts;
    let all = usize::try_from(keys + expired).unwrap_or(usize::MAX);
    let waited = std::mem::replace(&mut sys.persist.waited, all);
    delay(sys.cfg.key_load_delay, all.saturating_sub(waited))
}

/// Puts what was read, up to `done` bytes of the file, into the databases, in place of keys that are there if `merge`.
/// Keys whose time was over at `now` are left out.
///
/// # Errors
/// What is wrong with the file.
pub fn put_batch(
    ks: &mut Keyspace,
    sys: &mut System,
    batch: &mut Vec<(u64, Loaded)>,
    done: u64,
    merge: bool,
    now: i64,
) -> Result<(), LoadError> {
    if let Some(loading) = &mut sys.persist.loading {
        loading.done = done;
    }
    sys.persist.intake.put(ks, batch, merge, now)
}

/// Reads what is left of a file and puts it into the databases, here and now.
fn load_now(
    ks: &mut Keyspace,
    sys: &mut System,
    file: &mut dyn Read,
    merge: bool,
) -> Result<(), String> {
    let mut loader = Loader::new(sys.cfg.rdbchecksum);
    let (mut piece, mut batch) = (vec![0; STEP], Vec::new());
    sys.persist.intake = Intake::default();
    loop {
        let LoadPlan { limits, now, bytes } = load_plan(ks, sys);
        let read = loader.batch(bytes, &limits, now, &mut batch);
        let done = loader.position();
        put_batch(ks, sys, &mut batch, done, merge, now).map_err(|e| e.to_string())?;
        match read.map_err(|e| e.to_string())? {
            Batch::More => {}
            Batch::Ended => {
                ks.loaded();
                return Ok(());
            }
            Batch::Hungry => {
                let n = file.read(&mut piece).map_err(|e| e.to_string())?;
                loader.feed(piece.get(..n).unwrap_or_default());
            }
        }
        let delay = load_delay(sys);
        if delay > 0 {
            sys.host.0.sleep(Duration::from_micros(delay));
        }
    }
}
