//! Saving and loading as the engine sees them: what runs, how it ended, and the small steps in which it is done, so that
//! clients wait no longer than a step takes.

use super::{Action, CmdError, System};
use crate::keyspace::Keyspace;
use crate::keyspace::snapshot::Detail;
use crate::persist::write::directory;
use crate::persist::{Frame, Loaded, Loader, Target};
use crate::service::config::Eviction;
use crate::service::info::REDIS_VERSION;

/// The name of the version that the file is written by.
const BITS: usize = usize::BITS as usize;

/// Bytes that one step writes or reads.
pub const STEP: usize = 64 * 1024;

/// What is known of saving and loading.
#[derive(Debug, Default)]
pub struct Persistence {
    /// Changes since the data set was last saved.
    pub dirty: u64,
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
    /// The save that is being written.
    pub saving: Option<Saving>,
    /// A save in the background is to begin as soon as nothing is in its way.
    pub scheduled: bool,
    /// The load that goes on.
    pub loading: Option<Loading>,
    /// What came of the last load.
    pub loaded: Counts,
    checked_at: i64,
}

impl Persistence {
    /// Whether any command may have to be refused.
    #[inline]
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.loading.is_some() || self.failed
    }
}

/// What writes are refused with while the data set cannot be saved.
pub(crate) const NOT_SAVED: CmdError = CmdError::fixed(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
     modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
     snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
     error.",
);

/// A save in progress.
#[derive(Debug)]
pub struct Saving {
    frame: Frame,
    /// In the background: by BGSAVE or a save point.
    pub background: bool,
    /// When it began, in unix milliseconds.
    pub began: i64,
    /// Changes that it holds which no file had.
    dirty: u64,
    /// Keys that it holds, and those written so far.
    pub keys: usize,
    /// It is to be given up.
    pub cancelled: bool,
}

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

/// What came of a load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that are there.
    pub keys: u64,
    /// Keys whose time was over.
    pub expired: u64,
    /// Collections without elements.
    pub empty: u64,
}

/// What a step of saving has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveStep {
    /// There is more.
    More,
    /// That was all; the file must begin with this header.
    Done([u8; crate::rdb::file::HEADER]),
    /// It was given up: no file is to be made.
    Cancelled,
}

/// Begins to save: the state of this moment is what will be written. The first bytes are appended to `out`.
///
/// # Errors
/// When a save is being written already.
pub fn begin_save(
    ks: &mut Keyspace,
    sys: &mut System,
    background: bool,
    out: &mut Vec<u8>,
) -> Result<(), CmdError> {
    if sys.persist.saving.is_some() {
        return Err(CmdError::fixed("ERR Background save already in progress"));
    }
    let now = sys.now_us / 1000;
    let facts = [
        ("redis-ver", REDIS_VERSION.to_owned()),
        ("redis-bits", BITS.to_string()),
        ("ctime", (now / 1000).to_string()),
        ("used-mem", ks.memory().to_string()),
        ("aof-base", "0".to_owned()),
    ];
    let mut frame = Frame::begin(out, sys.cfg.rdbchecksum, &facts);
    let mut keys = 0;
    for db in 0..ks.databases() {
        if let Some(contents) = ks.db(db).filter(|db| !db.is_empty()) {
            frame.sizes(out, db, contents.len(), contents.volatile_len());
            keys += contents.len();
        }
    }
    let uses = !matches!(
        sys.cfg.maxmemory_policy,
        Eviction::NoEviction | Eviction::AllKeysRandom | Eviction::VolatileRandom | Eviction::VolatileTtl
    );
    ks.begin_snapshot(Detail {
        compress: sys.cfg.rdbcompression,
        uses,
    });
    sys.persist.saving = Some(Saving {
        frame,
        background,
        began: now,
        dirty: sys.persist.dirty,
        keys,
        cancelled: false,
    });
    if background {
        sys.persist.tried_at = Some(now);
    }
    Ok(())
}

/// Writes on: about [`STEP`] bytes are appended to `out`.
pub fn save_step(ks: &mut Keyspace, sys: &mut System, out: &mut Vec<u8>) -> SaveStep {
    let Some(saving) = &mut sys.persist.saving else {
        return SaveStep::Cancelled;
    };
    if saving.cancelled {
        return SaveStep::Cancelled;
    }
    let frame = &mut saving.frame;
    let step = ks.walk_snapshot(STEP, |db, keys| frame.keys(out, db, keys));
    frame.needs(step.version);
    if !step.done {
        return SaveStep::More;
    }
    ks.end_snapshot();
    SaveStep::Done(std::mem::take(frame).end(out))
}

/// A save has come to its end: the file is in its place, or it is not.
pub fn end_save(ks: &mut Keyspace, sys: &mut System, saved: bool) {
    ks.end_snapshot();
    let Some(saving) = sys.persist.saving.take() else {
        return;
    };
    let now = sys.clock.0.now_us() / 1000;
    let persist = &mut sys.persist;
    if saved {
        persist.dirty = persist.dirty.saturating_sub(saving.dirty);
        persist.saved_at = now;
        persist.saves += 1;
    }
    if saving.background {
        persist.took = Some(now - saving.began);
    }
    if saving.background && !saving.cancelled || saved {
        persist.failed = !saved;
    }
}

/// Where the data set is saved.
pub fn target(sys: &System) -> Target {
    Target {
        dir: directory(&sys.cfg.dir).to_path_buf(),
        name: sys.cfg.dbfilename.clone(),
        // Another instance may have the same directory.
        temporary: format!("temp-{}.rdb", sys.run_id.get(..16).unwrap_or_default()),
        incremental: sys.cfg.rdb_save_incremental_fsync,
    }
}

/// Begins to save in the background.
///
/// # Errors
/// As [`begin_save`].
pub fn save_in_background(ks: &mut Keyspace, sys: &mut System) -> Result<(), CmdError> {
    // The bytes before the first key are written by the job, from the start it is given here.
    let mut start = Vec::new();
    begin_save(ks, sys, true, &mut start)?;
    sys.persist.scheduled = false;
    sys.actions.push(Action::Save(start));
    Ok(())
}

/// How long a failed save is not tried again by itself, in milliseconds.
const RETRY: i64 = 5000;
/// How often save points are looked at, in milliseconds.
const LOOK: i64 = 1000;

/// Begins what is due by itself: a save that was put off, or that a save point asks for.
pub(crate) fn tick(ks: &mut Keyspace, sys: &mut System) {
    let now = sys.now_us / 1000;
    if next_look(sys).is_none_or(|at| at > now) {
        return;
    }
    sys.persist.checked_at = now;
    let persist = &sys.persist;
    if persist.saving.is_some() || persist.loading.is_some() {
        return;
    }
    let may_try = !persist.failed || persist.tried_at.is_none_or(|at| now - at > RETRY);
    let due = sys.cfg.save.iter().find(|point| {
        let since = (now - persist.saved_at) / 1000;
        persist.dirty >= point.changes.unsigned_abs() && since > point.seconds
    });
    if let Some(point) = due
        && may_try
    {
        tracing::info!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
    } else if !persist.scheduled || !may_try {
        return;
    }
    if let Err(e) = save_in_background(ks, sys) {
        tracing::warn!("{}", e.text());
    }
}

/// When [`tick`] may have something to do next.
pub(crate) fn next_look(sys: &System) -> Option<i64> {
    let persist = &sys.persist;
    let waits = persist.scheduled || persist.dirty > 0 && !sys.cfg.save.is_empty();
    waits.then_some(persist.checked_at + LOOK)
}

/// Whether writes are refused because the data set cannot be saved.
pub(crate) fn refuses_writes(sys: &System) -> bool {
    sys.persist.failed && sys.cfg.stop_writes_on_bgsave_error && !sys.cfg.save.is_empty()
}

/// Reads on: puts what has been fed to `loader` into the databases, for about [`STEP`] bytes. Returns whether the
/// file has come to its end.
///
/// # Errors
/// What is wrong with the file.
pub fn load_step(
    ks: &mut Keyspace,
    sys: &mut System,
    loader: &mut Loader,
    merge: bool,
) -> Result<bool, String> {
    let now = sys.now_us / 1000;
    let until = loader.position() + STEP as u64;
    let ended = loop {
        let limits = super::limits(sys, ks.seed());
        match loader.next(&limits, now).map_err(|e| e.to_string())? {
            None => break false,
            Some(Loaded::End) => break true,
            Some(loaded) => put(ks, sys, loaded, merge, now)?,
        }
        if loader.position() >= until {
            break false;
        }
    };
    if let Some(loading) = &mut sys.persist.loading {
        loading.done = loader.position();
    }
    Ok(ended)
}

fn put(
    ks: &mut Keyspace,
    sys: &mut System,
    loaded: Loaded,
    merge: bool,
    now: i64,
) -> Result<(), String> {
    let counts = &mut sys.persist.loaded;
    match loaded {
        Loaded::Key(key) if key.deadline.is_some_and(|at| at < now) => counts.expired += 1,
        Loaded::Key(key) => {
            let uses = (key.idle, key.frequency);
            if !ks.load(&key.name, key.value, key.deadline, uses, merge) {
                let name = String::from_utf8_lossy(&key.name);
                return Err(format!("the key '{name}' comes twice"));
            }
            counts.keys += 1;
        }
        Loaded::Empty(name) => {
            counts.empty += 1;
            tracing::info!("Skipping empty key: {}", String::from_utf8_lossy(&name));
        }
        Loaded::Select(db) => {
            let index = usize::try_from(db).ok().filter(|db| *db < ks.databases());
            ks.select(index.ok_or(format!(
                "the file has a database {db}, and only {} are configured",
                ks.databases()
            ))?);
        }
        Loaded::Sizes(_) | Loaded::Fact(..) => {}
        Loaded::Function(_) => {}
        Loaded::Module(name) => {
            tracing::warn!("What the module '{name}' wrote into the file is not loaded");
        }
        Loaded::End => {}
    }
    Ok(())
}
