//! Saving: a snapshot written in small steps, as a file of its own or as the base of the append-only log.

use std::io::ErrorKind;
use std::time::Duration;

use super::{STEP, System};
use crate::exec::host::CHILD;
use crate::exec::{Action, CmdError};
use crate::keyspace::Keyspace;
use crate::keyspace::snapshot::{Detail, Form};
use crate::persist::aof::CommandFrame;
use crate::persist::write::directory;
use crate::persist::{Frame, Pending, Target};
use crate::rdb::file::HEADER;
use crate::service::config::Eviction;
use crate::service::info::REDIS_VERSION;

/// What a save is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// SAVE and its like: somebody waits for it.
    Foreground,
    /// BGSAVE, or a save point.
    Background,
    /// To be the base of the append-only log.
    Base,
    /// To be sent to replicas at once.
    Sync {
        /// They want functions and no keys.
        only_functions: bool,
    },
    /// As in the background, and then to be sent to replicas.
    SyncFile,
}

impl Purpose {
    /// Whether the file of the data set is written, without anybody waiting for it.
    pub(super) const fn is_file_in_background(self) -> bool {
        matches!(self, Purpose::Background | Purpose::SyncFile)
    }
}

/// A save in progress.
#[derive(Debug)]
pub struct Saving {
    /// Tells it apart from later ones: who writes it may find another in its place.
    pub(super) id: u64,
    pieces: Pieces,
    /// What it is for.
    pub purpose: Purpose,
    /// When it began, in unix milliseconds.
    pub began: i64,
    /// Changes that it holds which no file had.
    dirty: u64,
    /// Keys that it holds.
    pub keys: usize,
    /// Those written so far.
    pub written: usize,
    /// Bytes written so far.
    bytes: u64,
    /// Those that were waited for.
    waited: usize,
    /// Bytes that clients changed before they were written.
    copied: usize,
    /// It is to be given up.
    pub cancelled: bool,
}

impl Saving {
    /// Tells it apart from later ones.
    pub const fn id(&self) -> u64 {
        self.id
    }
}

/// What is put around the keys.
#[derive(Debug)]
enum Pieces {
    Rdb(Frame),
    Commands(CommandFrame),
}

impl Pieces {
    fn keys(&mut self, out: &mut Vec<u8>, db: usize, keys: &[u8]) {
        match self {
            Pieces::Rdb(frame) => frame.keys(out, db, keys),
            Pieces::Commands(frame) => frame.keys(out, db, keys),
        }
    }

    fn function(&mut self, out: &mut Vec<u8>, code: &[u8]) {
        match self {
            Pieces::Rdb(frame) => frame.function(out, code),
            Pieces::Commands(frame) => frame.function(out, code),
        }
    }
}

/// What a step of saving has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveStep {
    /// There is more.
    More,
    /// That was all; the file must begin with this header, if it has one.
    Done(Option<[u8; HEADER]>),
    /// It was given up: no file is to be made.
    Cancelled,
}

/// What SAVE and BGSAVE are refused with while one is written.
pub(crate) const IN_PROGRESS: CmdError = CmdError::fixed("ERR Background save already in progress");

/// Begins to save: the state of this moment is what will be written. The first bytes are appended to `out`.
///
/// # Errors
/// When a save is being written already.
pub fn begin_save(
    ks: &mut Keyspace,
    sys: &mut System,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<u64, CmdError> {
    if sys.persist.saving.is_some() {
        return Err(IN_PROGRESS);
    }
    let now = sys.now_us / 1000;
    let rdb = purpose != Purpose::Base || sys.cfg.aof_use_rdb_preamble;
    let mut pieces = match rdb {
        true => Pieces::Rdb(frame(ks, sys, purpose, out)),
        false => {
            let time = sys.cfg.aof_timestamp_enabled.then_some(now / 1000);
            Pieces::Commands(CommandFrame::begin(out, time))
        }
    };
    for (_, library) in sys.libraries.iter() {
        pieces.function(out, &library.code);
    }
    if let Pieces::Commands(frame) = &pieces {
        frame.vouch(out);
    }
    if !has_no_keys(purpose) {
        let began = sys.clock.0.real_us();
        ks.begin_snapshot(Detail {
            form: if rdb { Form::Rdb } else { Form::Commands },
            compress: sys.cfg.rdbcompression,
            uses: keeps_uses(sys.cfg.maxmemory_policy),
        });
        let took = sys.clock.0.real_us() - began;
        sys.stats.snapshot_usec = u64::try_from(took).unwrap_or(0);
    }
    sys.persist.next_id += 1;
    let id = sys.persist.next_id;
    sys.persist.saving = Some(Saving {
        id,
        pieces,
        purpose,
        began: now,
        dirty: sys.persist.dirty,
        keys: (0..ks.databases())
            .map(|db| ks.db(db).map_or(0, |db| db.len()))
            .sum(),
        written: 0,
        bytes: out.len() as u64,
        waited: 0,
        copied: 0,
        cancelled: false,
    });
    if purpose.is_file_in_background() {
        sys.persist.tried_at = Some(now);
    }
    Ok(id)
}

/// The data set of this moment as an RDB file in memory, whatever else is being saved. What is long is not compressed: it
/// is to be quick.
pub fn write_now(ks: &Keyspace, sys: &System) -> Vec<u8> {
    let mut out = Vec::new();
    let mut frame = frame(ks, sys, Purpose::Foreground, &mut out);
    for (_, library) in sys.libraries.iter() {
        frame.function(&mut out, &library.code);
    }
    let detail = Detail {
        form: Form::Rdb,
        compress: false,
        uses: keeps_uses(sys.cfg.maxmemory_policy),
    };
    let version = ks.write_all(detail, |db, keys| frame.keys(&mut out, db, keys));
    frame.needs(version);
    let header = frame.end(&mut out);
    if let Some(place) = out.first_chunk_mut() {
        *place = header;
    }
    out
}

const fn has_no_keys(purpose: Purpose) -> bool {
    matches!(
        purpose,
        Purpose::Sync {
            only_functions: true
        }
    )
}

/// The beginning of an RDB file.
fn frame(ks: &Keyspace, sys: &System, purpose: Purpose, out: &mut Vec<u8>) -> Frame {
    let mut facts = vec![
        ("redis-ver", REDIS_VERSION.to_owned()),
        ("redis-bits", usize::BITS.to_string()),
        ("ctime", (sys.now_us / 1_000_000).to_string()),
        ("used-mem", ks.memory().to_string()),
    ];
    // A log says itself where it is.
    let position = sys.repl.position().filter(|_| purpose != Purpose::Base);
    if let Some(position) = position.filter(|_| !sys.persist.is_midway) {
        let db = position.db.unwrap_or(0);
        facts.push(("repl-stream-db", db.to_string()));
        facts.push(("repl-id", position.id));
        facts.push(("repl-offset", position.offset.to_string()));
    }
    facts.push(("aof-base", u8::from(purpose == Purpose::Base).to_string()));
    let mut frame = match purpose {
        // Its beginning is sent before anybody knows what is to come.
        Purpose::Sync { .. } => Frame::begin_for_good(out, sys.cfg.rdbchecksum, &facts),
        _ => Frame::begin(out, sys.cfg.rdbchecksum, &facts),
    };
    if has_no_keys(purpose) {
        return frame;
    }
    for db in 0..ks.databases() {
        if let Some(contents) = ks.db(db).filter(|db| !db.is_empty()) {
            frame.sizes(out, db, contents.len(), contents.volatile_len());
        }
    }
    frame
}

/// Whether it is saved how keys were used: the policy chooses by it.
const fn keeps_uses(policy: Eviction) -> bool {
    !matches!(
        policy,
        Eviction::NoEviction
            | Eviction::AllKeysRandom
            | Eviction::VolatileRandom
            | Eviction::VolatileTtl
    )
}

/// Writes on: about [`STEP`] bytes are appended to `out`, which must be empty.
pub fn save_step(ks: &mut Keyspace, sys: &mut System, id: u64, out: &mut Vec<u8>) -> SaveStep {
    let saving = sys.persist.saving.as_mut();
    let Some(saving) = saving.filter(|saving| saving.id == id && !saving.cancelled) else {
        return SaveStep::Cancelled;
    };
    let pieces = &mut saving.pieces;
    // Who wants to wait for keys does not want to have many of them at once.
    let bytes = if sys.cfg.rdb_key_save_delay == 0 {
        STEP
    } else {
        1
    };
    // Where no snapshot was begun there are no keys.
    let step = ks.walk_snapshot(bytes, |db, keys| pieces.keys(out, db, keys));
    saving.written += step.keys;
    match pieces {
        Pieces::Rdb(frame) => frame.needs(step.version),
        Pieces::Commands(frame) => frame.vouch(out),
    }
    let mut header = None;
    if step.done {
        saving.copied = ks.snapshot_copied();
        ks.end_snapshot();
        if let Pieces::Rdb(frame) = pieces {
            header = Some(std::mem::take(frame).end(out));
        }
    }
    saving.bytes += out.len() as u64;
    match step.done {
        true => SaveStep::Done(header),
        false => SaveStep::More,
    }
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
pub(crate) fn delay(each: i64, keys: usize) -> u64 {
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
    if saved {
        tell(&saving, now, copied);
    }
    let persist = &mut sys.persist;
    if saving.purpose == Purpose::Base {
        persist.rewrites.copied = copied;
        persist.rewrites.ended(now, saving.began, saved);
        persist.log_was_rewritten(saved);
        super::log::apply_policy(sys);
        return;
    }
    let is_file = !matches!(saving.purpose, Purpose::Sync { .. });
    if saved && is_file {
        persist.dirty = persist.dirty.saturating_sub(saving.dirty);
        persist.saved_at = now;
        persist.saves += 1;
    }
    if let Purpose::Sync { .. } = saving.purpose {
        return super::log::apply_policy(sys);
    }
    let background = saving.purpose.is_file_in_background();
    if background {
        persist.took = Some(now - saving.began);
        persist.copied = copied;
    }
    if background && !saving.cancelled || saved {
        persist.failed = !saved;
    }
    super::log::apply_policy(sys);
}

/// Says what was saved, as Redis's child does.
fn tell(saving: &Saving, now: i64, copied: usize) {
    let Saving { written, bytes, .. } = *saving;
    let (keys, ms) = (written, now - saving.began);
    match saving.purpose {
        Purpose::Background | Purpose::Foreground | Purpose::SyncFile => {
            tracing::info!(target: CHILD, keys, bytes, ms, copied, "DB saved on disk");
        }
        Purpose::Base => {
            tracing::info!(target: CHILD, keys, bytes, ms, copied, "SYNC append only file rewrite performed");
        }
        Purpose::Sync { .. } => {
            tracing::info!(target: CHILD, keys, bytes, ms, copied, "DB sent to replicas");
        }
    }
}

/// Where the data set is saved by this save.
pub fn target(sys: &System, id: u64) -> Target {
    // Another instance may have the same directory, and who writes a save that was given up may not know it yet.
    let instance = match sys.host.0.process() {
        Some(pid) => pid.to_string(),
        None => sys.run_id.get(..16).unwrap_or_default().to_owned(),
    };
    let saving = sys.persist.saving.as_ref();
    let in_front = saving.is_some_and(|saving| saving.purpose == Purpose::Foreground);
    Target {
        dir: directory(&sys.cfg.dir).to_path_buf(),
        name: sys.cfg.dbfilename.clone(),
        // The first is the name that Redis gives it.
        temporary: match in_front {
            true => format!("temp-{instance}.rdb"),
            false => format!("temp-{instance}-{id}.rdb"),
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
    let id = begin_save(ks, sys, Purpose::Background, &mut start)?;
    sys.persist.scheduled = false;
    sys.stats.background_saves += 1;
    super::log::apply_policy(sys);
    let pid = std::process::id();
    tracing::info!("Background saving started by pid {pid}");
    sys.actions.push(Action::Save { id, start });
    Ok(())
}

/// Gives up what is saved in the background, and what was put off.
pub fn give_up(ks: &mut Keyspace, sys: &mut System) {
    sys.persist.scheduled = false;
    give_up_running(ks, sys);
}

/// Gives up the save in the background, if there is one: its file is not made. If it was to be the base of the
/// append-only log, there will be another.
pub fn give_up_running(ks: &mut Keyspace, sys: &mut System) {
    let Some(saving) = &mut sys.persist.saving else {
        return;
    };
    saving.cancelled = true;
    let (id, purpose) = (saving.id, saving.purpose);
    match purpose {
        // Tools look for these words.
        Purpose::Base => tracing::info!("Killing running AOF rewrite child"),
        Purpose::Background | Purpose::SyncFile | Purpose::Sync { .. } => {
            tracing::info!("Killing running RDB save child");
        }
        Purpose::Foreground => {}
    }
    end_save(ks, sys, id, false);
    sys.persist.rewrites.scheduled |= purpose == Purpose::Base;
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
    let rewrites = |saving: &Saving| saving.purpose == Purpose::Base;
    if sys.persist.saving.as_ref().is_some_and(rewrites) {
        give_up(ks, sys);
    }
    let mut bytes = Vec::new();
    let purpose = Purpose::Foreground;
    let id = begin_save(ks, sys, purpose, &mut bytes).map_err(|_| NotSaved::Busy)?;
    let target = target(sys, id);
    let written = Pending::create(&*disk, &target).and_then(|mut file| {
        loop {
            let step = match bytes.is_empty() {
                true => save_step(ks, sys, id, &mut bytes),
                false => SaveStep::More,
            };
            file.write(&bytes)?;
            bytes.clear();
            dawdle(sys, id);
            match step {
                _ if sys.gate.is_stopped() => return Err(ErrorKind::Interrupted.into()),
                SaveStep::More => {}
                SaveStep::Done(header) => return file.finish(header.as_ref()),
                SaveStep::Cancelled => return Err(ErrorKind::Interrupted.into()),
            }
        }
    });
    end_save(ks, sys, id, written.is_ok());
    match written {
        Ok(()) => Ok(()),
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
    let saves = |saving: &Saving| !matches!(saving.purpose, Purpose::Base | Purpose::Foreground);
    if sys.persist.saving.as_ref().is_some_and(saves) {
        // Replicas, too, are not to be sent what is gone.
        give_up(ks, sys);
    }
    // What it does is not in the stream yet.
    let midway = std::mem::replace(&mut sys.persist.is_midway, true);
    save_flushed(ks, sys);
    sys.persist.is_midway = midway;
}

fn save_flushed(ks: &mut Keyspace, sys: &mut System) {
    let persist = &sys.persist;
    if persist.lasting && persist.loading.is_none() && !sys.cfg.save.is_empty() {
        // It is in the log if that failed; the command itself did what it was to do.
        if save_now(ks, sys).is_ok() {
            sys.persist.saved_ahead = ks.log.dirty;
        }
    }
}
