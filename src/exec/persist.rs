//! Saving and loading as the engine sees them: what runs, how it ended, and the small steps in which it is done, so that
//! clients wait no longer than a step takes.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::time::Duration;

use super::{Action, CmdError, System};
use crate::keyspace::Keyspace;
use crate::keyspace::snapshot::Detail;
use crate::persist::write::directory;
use crate::persist::{Batch, Frame, LoadError, Loaded, Loader, Pending, Target};
use crate::rdb::{library, payload};
use crate::service::config::Eviction;
use crate::service::info::REDIS_VERSION;
use crate::types::dump::Limits;
use crate::util::num;

/// The name of the version that the file is written by.
const BITS: usize = usize::BITS as usize;

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
    /// The load that goes on.
    pub loading: Option<Loading>,
    /// What came of the last load.
    pub loaded: Counts,
    /// Its keys that were waited for.
    waited: usize,
    /// The code of the libraries that it brought.
    functions: Vec<Vec<u8>>,
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
    /// Tells it apart from later ones: who writes it may find another in its place.
    id: u64,
    frame: Frame,
    /// In the background: by BGSAVE or a save point.
    pub background: bool,
    /// When it began, in unix milliseconds.
    pub began: i64,
    /// Changes that it holds which no file had.
    dirty: u64,
    /// Keys that it holds.
    pub keys: usize,
    /// Those written so far.
    pub written: usize,
    /// Those that were waited for.
    waited: usize,
    /// Bytes that clients changed before they were written.
    copied: usize,
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
    /// Memory that was used when the file was written, if it says so.
    pub used_memory: u64,
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

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { keys, expired, .. } = self;
        write!(f, "Done loading RDB, keys loaded: {keys}, keys expired: {expired}")?;
        match self.empty {
            0 => f.write_str("."),
            empty => write!(f, ", empty keys skipped: {empty}."),
        }
    }
}

/// So many empty collections of a file are named in the log; the rest is counted.
const EMPTY_NAMED: u64 = 10;

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
) -> Result<u64, CmdError> {
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
        Eviction::NoEviction
            | Eviction::AllKeysRandom
            | Eviction::VolatileRandom
            | Eviction::VolatileTtl
    );
    for (_, library) in sys.libraries.iter() {
        frame.function(out, &library.code);
    }
    ks.begin_snapshot(Detail {
        compress: sys.cfg.rdbcompression,
        uses,
    });
    sys.persist.next_id += 1;
    let id = sys.persist.next_id;
    sys.persist.saving = Some(Saving {
        id,
        frame,
        background,
        began: now,
        dirty: sys.persist.dirty,
        keys,
        written: 0,
        waited: 0,
        copied: 0,
        cancelled: false,
    });
    if background {
        sys.persist.tried_at = Some(now);
    }
    Ok(id)
}

/// Writes on: about [`STEP`] bytes are appended to `out`.
pub fn save_step(ks: &mut Keyspace, sys: &mut System, id: u64, out: &mut Vec<u8>) -> SaveStep {
    let saving = sys.persist.saving.as_mut();
    let Some(saving) = saving.filter(|saving| saving.id == id && !saving.cancelled) else {
        return SaveStep::Cancelled;
    };
    let frame = &mut saving.frame;
    // Who wants to wait for keys does not want to have many of them at once.
    let bytes = if sys.cfg.rdb_key_save_delay == 0 { STEP } else { 1 };
    let step = ks.walk_snapshot(bytes, |db, keys| frame.keys(out, db, keys));
    frame.needs(step.version);
    saving.written += step.keys;
    if !step.done {
        return SaveStep::More;
    }
    saving.copied = ks.snapshot_copied();
    ks.end_snapshot();
    SaveStep::Done(std::mem::take(frame).end(out))
}

/// Microseconds to wait for the keys written since this was last asked, as `rdb-key-save-delay` has it.
pub fn save_delay(sys: &mut System, id: u64) -> u64 {
    let each = sys.cfg.rdb_key_save_delay;
    let Some(saving) = sys.persist.saving.as_mut().filter(|s| s.id == id) else {
        return 0;
    };
    let keys = saving.written - std::mem::replace(&mut saving.waited, saving.written);
    delay(each, keys)
}

/// So many microseconds for each of these keys; a negative number is that of keys for one.
fn delay(each: i64, keys: usize) -> u64 {
    match each {
        0.. => each.unsigned_abs().saturating_mul(keys as u64),
        _ => keys as u64 / each.unsigned_abs(),
    }
}

/// A save has come to its end: the file is in its place, or it is not.
pub fn end_save(ks: &mut Keyspace, sys: &mut System, id: u64, saved: bool) {
    let Some(saving) = sys.persist.saving.take_if(|saving| saving.id == id) else {
        return;
    };
    let copied = saving.copied.max(ks.snapshot_copied());
    ks.end_snapshot();
    let now = sys.clock.0.now_us() / 1000;
    let persist = &mut sys.persist;
    if saved {
        persist.dirty = persist.dirty.saturating_sub(saving.dirty);
        persist.saved_at = now;
        persist.saves += 1;
    }
    if saving.background {
        persist.took = Some(now - saving.began);
        persist.copied = copied;
    }
    if saving.background && !saving.cancelled || saved {
        persist.failed = !saved;
    }
}

/// Where the data set is.
pub fn place(sys: &System) -> PathBuf {
    directory(&sys.cfg.dir).join(&sys.cfg.dbfilename)
}

/// Where a save goes. One in the background that was given up may still be there when the next begins: each has a
/// temporary file of its own.
pub fn target(sys: &System, id: u64) -> Target {
    // Another instance may have the same directory. What a crash leaves there has the name that Redis would give it.
    let who = match sys.host.0.process() {
        Some(pid) => pid.to_string(),
        None => sys.run_id.get(..16).unwrap_or_default().to_owned(),
    };
    let background = sys.persist.saving.as_ref().is_some_and(|s| s.background);
    Target {
        dir: directory(&sys.cfg.dir).to_path_buf(),
        name: sys.cfg.dbfilename.clone(),
        temporary: match background {
            true => format!("temp-{who}-{id}.rdb"),
            false => format!("temp-{who}.rdb"),
        },
        incremental: sys.cfg.rdb_save_incremental_fsync,
    }
}

/// Begins to save in the background.
///
/// # Errors
/// As [`begin_save`].
pub fn save_in_background(ks: &mut Keyspace, sys: &mut System) -> Result<(), CmdError> {
    let mut start = Vec::new();
    let id = begin_save(ks, sys, true, &mut start)?;
    sys.persist.scheduled = false;
    sys.actions.push(Action::Save { id, start });
    Ok(())
}

/// Gives up the save in the background, if there is one: its file is not made.
pub fn give_up(ks: &mut Keyspace, sys: &mut System) {
    sys.persist.scheduled = false;
    if let Some(Saving { id, .. }) = sys.persist.saving {
        if let Some(saving) = &mut sys.persist.saving {
            saving.cancelled = true;
        }
        end_save(ks, sys, id, false);
    }
}

/// Why the data set was not saved.
#[derive(Debug, thiserror::Error)]
pub enum NotSaved {
    /// Another save is being written.
    #[error("a save is being written")]
    Busy,
    /// The data set is kept in memory only.
    #[error("there is no disk")]
    NoDisk,
    /// The server has stopped meanwhile.
    #[error("the server has stopped")]
    Stopped,
    /// What the disk says.
    #[error(transparent)]
    Disk(#[from] std::io::Error),
}

/// Saves the data set here and now.
///
/// # Errors
/// [`NotSaved`].
pub fn save_now(ks: &mut Keyspace, sys: &mut System) -> Result<(), NotSaved> {
    let disk = sys.host.0.disk().ok_or(NotSaved::NoDisk)?;
    let mut bytes = Vec::new();
    let id = begin_save(ks, sys, false, &mut bytes).map_err(|_| NotSaved::Busy)?;
    let target = target(sys, id);
    let written = Pending::create(&*disk, &target).and_then(|mut file| {
        loop {
            let step = save_step(ks, sys, id, &mut bytes);
            file.write(&bytes)?;
            bytes.clear();
            dawdle(sys, id);
            match step {
                _ if sys.gate.is_stopped() => return Err(ErrorKind::Interrupted.into()),
                SaveStep::More => {}
                SaveStep::Done(header) => return file.finish(&header),
                SaveStep::Cancelled => return Err(ErrorKind::Interrupted.into()),
            }
        }
    });
    end_save(ks, sys, id, written.is_ok());
    match written {
        Ok(()) => {
            tracing::info!("DB saved on disk");
            Ok(())
        }
        Err(_) if sys.gate.is_stopped() => Err(NotSaved::Stopped),
        Err(e) => {
            tracing::warn!("Error saving DB on disk: {e}");
            Err(e.into())
        }
    }
}

/// Waits as `rdb-key-save-delay` has it, unless the server stops.
fn dawdle(sys: &mut System, id: u64) {
    const SLICE: u64 = 10_000;
    let mut left = save_delay(sys, id);
    while left > 0 && !sys.gate.is_stopped() {
        let slice = left.min(SLICE);
        sys.host.0.sleep(Duration::from_micros(slice));
        left -= slice;
    }
}

/// Everything is gone: so it is to be on the disk.
pub fn flushed(ks: &mut Keyspace, sys: &mut System) {
    if sys.persist.saving.as_ref().is_some_and(|s| s.background) {
        give_up(ks, sys);
    }
    let persist = &sys.persist;
    if persist.lasting && persist.loading.is_none() && !sys.cfg.save.is_empty() {
        // It is in the log if that failed; the command itself did what it was to do.
        if save_now(ks, sys).is_ok() {
            sys.persist.saved_ahead = ks.log.dirty;
        }
    }
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
    let mut bytes = Vec::new();
    let mut file: Box<dyn Read> = match sys.host.0.disk() {
        Some(disk) => {
            if how.save {
                save_now(ks, sys).map_err(|e| e.to_string())?;
            }
            let file = disk.open(&place(sys));
            Box::new(file.map_err(|e| e.to_string())?)
        }
        None => {
            let id = begin_save(ks, sys, false, &mut bytes).map_err(|e| e.text().to_owned())?;
            let header = loop {
                match save_step(ks, sys, id, &mut bytes) {
                    SaveStep::More => {}
                    SaveStep::Done(header) => break header,
                    SaveStep::Cancelled => return Err("given up".to_owned()),
                }
            };
            end_save(ks, sys, id, false);
            if let Some(place) = bytes.first_chunk_mut() {
                *place = header;
            }
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
        tracing::info!(
            "{} changes in {} seconds. Saving...",
            point.changes,
            point.seconds
        );
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
    let waits =
        persist.lasting && (persist.scheduled || persist.dirty > 0 && !sys.cfg.save.is_empty());
    waits.then_some(persist.checked_at + LOOK)
}

/// Whether writes are refused because the data set cannot be saved.
pub(crate) fn refuses_writes(sys: &System) -> bool {
    sys.persist.failed && sys.cfg.stop_writes_on_bgsave_error && !sys.cfg.save.is_empty()
}

/// The libraries of functions that a load has brought, as FUNCTION RESTORE takes them; none if there are none.
pub fn loaded_functions(sys: &mut System) -> Option<Vec<u8>> {
    let codes = std::mem::take(&mut sys.persist.functions);
    let mut bytes = Vec::new();
    for code in &codes {
        library::write(&mut bytes, code, false);
    }
    payload::seal(&mut bytes, payload::NEWEST);
    (!codes.is_empty()).then_some(bytes)
}

/// A file of so many bytes is going to be loaded.
pub fn begin_load(sys: &mut System, total: u64) {
    sys.persist.loaded = Counts::default();
    sys.persist.loading = Some(Loading {
        began: sys.now_us / 1000,
        total,
        ..Loading::default()
    });
}

/// How the next step of loading is to read.
#[derive(Debug, Clone, Copy)]
pub struct LoadPlan {
    /// For values.
    pub limits: Limits,
    /// The time, in unix milliseconds.
    pub now: i64,
    /// Bytes to read: never more than `loading-process-events-interval-bytes`, so that clients are served as often as
    /// that asks for.
    pub bytes: u64,
}

/// Tells how to read on.
pub fn load_plan(ks: &Keyspace, sys: &System) -> LoadPlan {
    let interval = sys.cfg.loading_process_events_interval_bytes;
    LoadPlan {
        limits: super::limits(sys, ks.seed()),
        now: sys.now_us / 1000,
        bytes: interval.min(STEP as u64),
    }
}

/// Microseconds to wait for the keys loaded since this was last asked, as `key-load-delay` has it.
pub fn load_delay(sys: &mut System) -> u64 {
    let Counts { keys, expired, .. } = sys.persist.loaded;
    let all = usize::try_from(keys + expired).unwrap_or(usize::MAX);
    let waited = std::mem::replace(&mut sys.persist.waited, all);
    delay(sys.cfg.key_load_delay, all.saturating_sub(waited))
}

/// Puts what was read, up to `done` bytes of the file, into the databases, in place of keys that are there if `merge`.
///
/// # Errors
/// What is wrong with the file.
pub fn put_batch(
    ks: &mut Keyspace,
    sys: &mut System,
    batch: &mut Vec<(u64, Loaded)>,
    done: u64,
    merge: bool,
) -> Result<(), LoadError> {
    let now = sys.now_us / 1000;
    if let Some(loading) = &mut sys.persist.loading {
        loading.done = done;
    }
    for (offset, loaded) in batch.drain(..) {
        put(ks, sys, loaded, merge, now).map_err(|what| LoadError { offset, what })?;
    }
    Ok(())
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
    sys.persist.loaded = Counts::default();
    loop {
        let LoadPlan { limits, now, bytes } = load_plan(ks, sys);
        let read = loader.batch(bytes, &limits, now, &mut batch);
        let done = loader.position();
        put_batch(ks, sys, &mut batch, done, merge).map_err(|e| e.to_string())?;
        match read.map_err(|e| e.to_string())? {
            Batch::More => {}
            Batch::Ended => return Ok(()),
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
            if counts.empty <= EMPTY_NAMED {
                let name = String::from_utf8_lossy(&name);
                tracing::info!("Loading: skipping empty key: {name}");
            }
        }
        Loaded::Select(db) => {
            let index = usize::try_from(db).ok().filter(|db| *db < ks.databases());
            ks.select(index.ok_or(format!(
                "the file has a database {db}, and only {} are configured",
                ks.databases()
            ))?);
        }
        Loaded::Sizes(_) => {}
        Loaded::Fact(name, value) => learn(sys, &name, &value, now),
        Loaded::Function(code) => sys.persist.functions.push(code),
        Loaded::Module(name) => {
            tracing::warn!("What the module '{name}' wrote into the file is not loaded");
        }
        Loaded::End => {}
    }
    Ok(())
}

/// A fact about the file. What begins with % is meant for the log.
fn learn(sys: &mut System, name: &[u8], value: &[u8], now: i64) {
    let text = String::from_utf8_lossy(value);
    let number = num::parse_i64(value).unwrap_or(0);
    match name {
        [b'%', ..] => tracing::info!("RDB '{}': {text}", String::from_utf8_lossy(name)),
        b"redis-ver" => tracing::info!("Loading RDB produced by version {text}"),
        b"ctime" => {
            let age = now / 1000 - number;
            tracing::info!("RDB age {} seconds", age.max(0));
        }
        b"used-mem" => {
            let megabytes = number as f64 / f64::from(1 << 20);
            tracing::info!("RDB memory usage when created {megabytes:.2} Mb");
            if let Some(loading) = &mut sys.persist.loading {
                loading.used_memory = u64::try_from(number).unwrap_or(0);
            }
        }
        _ => {}
    }
}
