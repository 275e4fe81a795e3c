//! What takes long and is done beside the clients: writing and reading the data set, each on a thread of its own, in small
//! steps under the lock.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::node::{Held, LockError, Node};
use crate::engine::Engine;
use crate::exec::persist::{self, Loading, STEP, SaveStep};
use crate::persist::{Disk, Loader, Pending};

/// Bytes read from a file at once.
const READ: usize = 256 * 1024;

/// How long a job waits for a script that is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A job pauses no longer than this between two steps.
const PAUSE_MOST: Duration = Duration::from_millis(5);

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The disk has its reasons.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The file cannot be loaded.
    #[error("{0}")]
    File(String),
    /// It was cancelled, or the server stops.
    #[error("given up")]
    GivenUp,
}

/// The engine, once no script is in the way.
fn lock(node: &Node) -> Result<Held<'_>, JobError> {
    loop {
        match node.lock() {
            Ok(held) => return Ok(held),
            Err(LockError::Stopped) => return Err(JobError::GivenUp),
            Err(LockError::Busy) => std::thread::sleep(BUSY_PAUSE),
        }
    }
}

/// Steps of a job, each under the lock.
struct Steps<'a> {
    node: &'a Node,
    /// Commands that had been run at the end of the last one.
    commands: u64,
}

impl<'a> Steps<'a> {
    fn new(node: &'a Node) -> Self {
        Self { node, commands: 0 }
    }

    /// Does the next. While clients are served they have lock and processor for twice as long as that took before there
    /// is another: without the pause a job that finds the lock free keeps the processor for as long as the system lets
    /// it, which is several milliseconds.
    fn next<T>(&mut self, work: impl FnOnce(&mut Engine) -> T) -> Result<T, JobError> {
        let mut engine = lock(self.node)?;
        let began = Instant::now();
        let done = work(&mut engine);
        let commands = engine.state().sys.stats.commands_processed;
        drop(engine);
        if std::mem::replace(&mut self.commands, commands) != commands {
            std::thread::sleep((2 * began.elapsed()).min(PAUSE_MOST));
        }
        Ok(done)
    }
}

/// Writes a save that has begun with these bytes.
pub(super) fn save(node: &Node, id: u64, start: Vec<u8>) {
    let written = write(node, id, start);
    if let Ok(mut engine) = lock(node) {
        let state = engine.state();
        persist::end_save(&mut state.ks, &mut state.sys, id, written.is_ok());
    }
    match written {
        Ok(()) => tracing::info!("Background saving terminated with success"),
        Err(JobError::GivenUp) => tracing::warn!("Background saving cancelled"),
        Err(e) => tracing::warn!("Background saving error: {e}"),
    }
}

fn write(node: &Node, id: u64, mut bytes: Vec<u8>) -> Result<(), JobError> {
    let (disk, target) = {
        let mut engine = lock(node)?;
        let sys = &engine.state().sys;
        let disk = sys.host.0.disk().ok_or(JobError::GivenUp)?;
        (disk, persist::target(sys))
    };
    let mut file = Pending::create(&*disk, &target)?;
    let mut steps = Steps::new(node);
    loop {
        let step = steps.next(|engine| {
            let state = engine.state();
            persist::save_step(&mut state.ks, &mut state.sys, id, &mut bytes)
        })?;
        file.write(&bytes)?;
        bytes.clear();
        dawdle(node, id)?;
        match step {
            SaveStep::More => {}
            SaveStep::Done(header) => return Ok(file.finish(&header)?),
            SaveStep::Cancelled => return Err(JobError::GivenUp),
        }
    }
}

/// Waits as `rdb-key-save-delay` has it, for the keys that were written since it last did, unless the save is given up.
fn dawdle(node: &Node, id: u64) -> Result<(), JobError> {
    const SLICE: u64 = 10_000;
    let mut left = {
        let mut engine = lock(node)?;
        let sys = &mut engine.state().sys;
        persist::save_delay(sys, id)
    };
    while left > 0 {
        let slice = left.min(SLICE);
        std::thread::sleep(Duration::from_micros(slice));
        left -= slice;
        if lock(node)?.state().sys.persist.is_over(id) {
            return Err(JobError::GivenUp);
        }
    }
    Ok(())
}

/// Loads a file if there is one. Clients are told meanwhile that the server is loading.
///
/// # Errors
/// When the file is damaged or cannot be read: half of it may be loaded then.
pub fn load(node: &Node, disk: &Arc<dyn Disk>, path: &Path) -> Result<(), JobError> {
    let total = match disk.size(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            lock(node)?.state().sys.persist.loading = None;
            return Ok(());
        }
        size => size?,
    };
    let mut file = disk.open(path)?;
    let checked = {
        let mut engine = lock(node)?;
        let sys = &mut engine.state().sys;
        sys.persist.loading = Some(Loading {
            began: sys.now_us / 1000,
            total,
            done: 0,
        });
        sys.cfg.rdbchecksum
    };
    tracing::info!("Loading RDB from {} ({total} bytes)", path.display());
    // When it fails nobody may see the half of it that is there.
    read(node, &mut *file, checked)?;
    let mut engine = lock(node)?;
    if let Some(functions) = persist::loaded_functions(&mut engine.state().sys) {
        let restored = engine.restore_functions(&functions);
        restored.map_err(JobError::File)?;
    }
    let sys = &mut engine.state().sys;
    let began = sys.persist.loading.take().map(|loading| loading.began);
    let took = began.map_or(0, |began| sys.now_us / 1000 - began);
    let counts = sys.persist.loaded;
    drop(engine);
    tracing::info!(
        "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
        counts.keys,
        counts.expired,
        counts.empty
    );
    tracing::info!(
        "DB loaded from disk: {}.{:03} seconds",
        took / 1000,
        took % 1000
    );
    Ok(())
}

fn read(node: &Node, file: &mut dyn Read, checked: bool) -> Result<(), JobError> {
    let mut loader = Loader::new(checked);
    let mut bytes = vec![0; READ];
    let mut db = 0;
    loop {
        let n = match file.read(&mut bytes) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            n => n?,
        };
        loader.feed(bytes.get(..n).unwrap_or_default());
        loop {
            let mut engine = lock(node)?;
            let state = engine.state();
            let now = state.sys.now_us / 1000;
            state.ks.begin(db, now);
            let before = loader.position();
            let ended = persist::load_step(&mut state.ks, &mut state.sys, &mut loader, false)
                .map_err(JobError::File)?;
            db = state.ks.current();
            if ended {
                return Ok(());
            }
            if loader.position() < before + STEP as u64 {
                break;
            }
        }
    }
}
