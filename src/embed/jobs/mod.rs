//! What takes long and is done beside the clients: writing and reading the data set, each on a thread of its own, in small
//! steps under the lock.
//!
//! ```text
//! save  a snapshot on its way to the disk, and the log
//! sync  a snapshot on its way to replicas
//! load  the data set on its way from it
//! clock  moving it, which takes as long as what is due on the way
//! ```

mod clock;
mod load;
mod save;
mod sync;

use std::io::{self, Read};
use std::time::{Duration, Instant};

pub(super) use clock::shift;
pub use load::{has_data, load_data, load_data_by_hand};
pub(super) use save::{save, write_log};

use super::node::{Held, LockError, Node};
use crate::engine::Engine;
use crate::persist::LoadError;
use crate::persist::aof::DirectoryError;

/// How long a job waits for a script that is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A job goes on for about so long before it pauses.
const PAUSE_EVERY: Duration = Duration::from_micros(200);

/// It pauses no longer than this.
const PAUSE_MOST: Duration = Duration::from_millis(5);

/// When no command came for so long nobody is in a hurry.
const QUIET: Duration = Duration::from_millis(20);

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The disk has its reasons.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The append-only log cannot be opened.
    #[error(transparent)]
    Log(#[from] DirectoryError),
    /// The RDB file is damaged: where, and what is wrong.
    #[error("{0}")]
    File(String),
    /// A file of the append-only log is damaged or missing, or cannot be made: where, and what is wrong.
    #[error("{0}")]
    LogFile(String),
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

/// Steps of a job, each under the lock.
struct Steps<'a> {
    node: &'a Node,
    /// Commands that had been run at the end of the last one.
    commands: u64,
    /// When more of them were seen.
    served: Option<Instant>,
    /// How long the lock was held since there was a pause.
    held: Duration,
}

impl<'a> Steps<'a> {
    fn new(node: &'a Node) -> Self {
        Self {
            node,
            commands: 0,
            served: None,
            held: Duration::ZERO,
        }
    }

    /// Does the next. While clients are served there are pauses, twice as long as what was done between them, in which
    /// they have lock and processor: without these a job that finds the lock free keeps the processor for as long as the
    /// system lets it, which is several milliseconds.
    fn next<T>(&mut self, work: impl FnOnce(&mut Engine) -> T) -> Result<T, JobError> {
        let mut engine = lock(self.node)?;
        let began = Instant::now();
        let done = work(&mut engine);
        let commands = engine.state().sys.stats.commands_processed;
        drop(engine);
        self.held += began.elapsed();
        if std::mem::replace(&mut self.commands, commands) != commands {
            self.served = Some(began);
        }
        if self.held >= PAUSE_EVERY {
            let held = std::mem::take(&mut self.held);
            if self.served.is_some_and(|at| at.elapsed() < QUIET) {
                std::thread::sleep((2 * held).min(PAUSE_MOST));
            }
        }
        Ok(done)
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

/// Waits for so many microseconds, and looks now and then whether that still makes sense.
fn wait(
    mut microseconds: u64,
    mut look: impl FnMut() -> Result<bool, JobError>,
) -> Result<(), JobError> {
    const SLICE: u64 = 10_000;
    while microseconds > 0 {
        let slice = microseconds.min(SLICE);
        std::thread::sleep(Duration::from_micros(slice));
        microseconds -= slice;
        if !look()? {
            break;
        }
    }
    Ok(())
}
