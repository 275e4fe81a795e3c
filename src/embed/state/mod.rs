//! What a server holds, for tests that look at it from the side: snapshots to go back to, dumps to compare, values to read,
//! and a record of the commands that came.
//!
//! Nothing here goes through a client: no key is touched by being looked at, no statistics change, and nothing expires
//! because somebody looked. What is over is not there.
//!
//! ```text
//! snapshot  everything, as an RDB file in memory     dump, diff  everything, as text
//! database  keys and their values, one by one        expect      the same, as assertions
//! stream    a stream with its groups, as data        recorder    commands that were received
//! ```

mod contents;
mod database;
mod diff;
mod dump;
mod expect;
mod offer;
mod recorder;
mod selection;
mod snapshot;
mod stream;

pub use database::{Database, Ttl};
pub use diff::{Diff, diff};
pub use dump::{Dump, DumpOptions};
pub(crate) use expect::assert_dump;
pub(crate) use offer::{database_assertions, database_methods, state_methods};
pub use recorder::{Caller, Kind, Outcome, Recorded, Recorder};
pub use selection::Selection;
pub use snapshot::Snapshot;
pub use stream::{ConsumerView, EntryView, GroupView, PendingView, StreamView};

use super::{Held, LockError, Node};
use crate::engine::NotRestored;
use crate::persist::LoadError;

/// Why something cannot be known of a server, or put back into it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A script runs past its limit, and nobody gets at the data until it ends.
    #[error("a script is running past its limit")]
    Busy,
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
    /// There are fewer databases.
    #[error("there is no database {0}")]
    NoDatabase(usize),
    /// The key holds something else.
    #[error("{key} holds a {is}, not a {wanted}")]
    WrongType {
        /// The key, quoted.
        key: String,
        /// What it holds.
        is: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The snapshot is no RDB file, or there is something wrong in it.
    #[error("the snapshot is damaged: {0}")]
    Damaged(#[from] LoadError),
    /// The snapshot ends before its end.
    #[error("the snapshot is not whole")]
    Truncated,
    /// The snapshot was put back, but the append-only log cannot be written: what is on the disk is what was there before.
    #[error("the snapshot was put back, and the append-only log cannot be written")]
    Unlogged,
    /// The snapshot is not put back.
    #[error("the snapshot is not put back: {0}")]
    NotRestored(#[from] NotRestored),
}

impl From<LockError> for StateError {
    fn from(error: LockError) -> StateError {
        match error {
            LockError::Busy => StateError::Busy,
            LockError::Stopped => StateError::Stopped,
        }
    }
}

/// The engine, to look into.
fn hold(node: &Node) -> Result<Held<'_>, StateError> {
    Ok(node.lock()?)
}
