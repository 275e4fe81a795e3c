//! What takes long and is done beside the clients: writing and reading the data set, each on a thread of its own, in small
//! steps under the lock.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::node::{Held, LockError, Node};
use crate::exec::State;
use crate::exec::persist::{self, SaveStep};
use crate::persist::{Batch, Disk, LoadError, Loader, Pending};

/// Bytes read from a file at once.
const READ: usize = 256 * 1024;

/// How long a job waits for a script that is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The disk has its reasons.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The file is damaged: where, and what is wrong.
    #[error("{0}")]
    File(String),
    /// It was cancelled, or the server stops.
    #[error("given up")]
    GivenUp,
}

impl From<LoadError> for JobError {
    fn from(e: LoadError) -> JobError {
        JobError::File(e.to_string())
    }
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
        (disk, persist::target(sys, id))
    };
    let mut file = Pending::create(&*disk, &target)?;
    let header = loop {
        let (step, delay) = {
            let mut engine = lock(node)?;
            let State { ks, sys, .. } = engine.state();
            let step = persist::save_step(ks, sys, id, &mut bytes);
            (step, persist::save_delay(sys, id))
        };
        file.write(&bytes)?;
        bytes.clear();
        wait(delay, || go_on(node, id))?;
        match step {
            SaveStep::More => {}
            SaveStep::Done(header) => break header,
            SaveStep::Cancelled => return Err(JobError::GivenUp),
        }
    };
    file.complete(&header)?;
    {
        // Under the lock: whoever gives it up saves what came later, and that must not be replaced.
        let mut engine = lock(node)?;
        if engine.state().sys.persist.is_over(id) {
            return Err(JobError::GivenUp);
        }
        file.publish()?;
    }
    Ok(file.settle()?)
}

/// Whether a save is not given up.
fn go_on(node: &Node, id: u64) -> Result<(), JobError> {
    match lock(node)?.state().sys.persist.is_over(id) {
        true => Err(JobError::GivenUp),
        false => Ok(()),
    }
}

/// Waits for so many microseconds, and looks now and then whether that still makes sense.
fn wait(
    mut microseconds: u64,
    mut look: impl FnMut() -> Result<(), JobError>,
) -> Result<(), JobError> {
    const SLICE: u64 = 10_000;
    while microseconds > 0 {
        let slice = microseconds.min(SLICE);
        std::thread::sleep(Duration::from_micros(slice));
        microseconds -= slice;
        look()?;
    }
    Ok(())
}

/// Loads a file if there is one. Clients are told meanwhile that the server is loading.
///
/// # Errors
/// When the file is damaged or cannot be read: half of it may be loaded then.
pub fn load(node: &Node, disk: &Arc<dyn Disk>, path: &Path) -> Result<(), JobError> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let total = match disk.size(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            lock(node)?.state().sys.persist.loading = None;
            return Ok(());
        }
        size => size.map_err(named)?,
    };
    let mut file = disk.open(path).map_err(named)?;
    tracing::info!("Loading RDB from {} ({total} bytes)", path.display());
    let checked = {
        let mut engine = lock(node)?;
        let sys = &mut engine.state().sys;
        persist::begin_load(sys, total);
        sys.cfg.rdbchecksum
    };
    // When it fails nobody may see the half of it that is there.
    read(node, &mut *file, checked).map_err(|e| match e {
        JobError::Disk(e) => JobError::Disk(named(e)),
        JobError::File(what) => JobError::File(format!("{} {what}", path.display())),
        JobError::GivenUp => JobError::GivenUp,
    })?;
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
    tracing::info!("{counts}");
    tracing::info!(
        "DB loaded from disk: {}.{:03} seconds",
        took / 1000,
        took % 1000
    );
    Ok(())
}

fn read(node: &Node, file: &mut dyn Read, checked: bool) -> Result<(), JobError> {
    let mut loader = Loader::new(checked);
    let (mut bytes, mut batch, mut db) = (vec![0; READ], Vec::new(), 0);
    let mut plan = {
        let mut engine = lock(node)?;
        let state = engine.state();
        persist::load_plan(&state.ks, &state.sys)
    };
    loop {
        // Values are made without the lock, however long that takes.
        let read = loader.batch(plan.bytes, &plan.limits, plan.now, &mut batch);
        let delay = {
            let mut engine = lock(node)?;
            let State { ks, sys, .. } = engine.state();
            ks.begin(db, sys.now_us / 1000);
            persist::put_batch(ks, sys, &mut batch, loader.position(), false)?;
            db = ks.current();
            plan = persist::load_plan(ks, sys);
            persist::load_delay(sys)
        };
        wait(delay, || lock(node).map(drop))?;
        match read? {
            Batch::More => {}
            Batch::Ended => return Ok(()),
            Batch::Hungry => loader.feed(next_bytes(file, &mut bytes)?),
        }
    }
}

/// The next bytes of a file; none at its end.
fn next_bytes<'a>(file: &mut dyn Read, into: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match file.read(into) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
            Ok(n) => return Ok(into.get(..n).unwrap_or_default()),
        }
    }
}
