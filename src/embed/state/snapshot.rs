//! A data set of one moment, and putting it back.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{StateError, hold};
use crate::embed::{LockError, Node};
use crate::exec::State;
use crate::exec::persist::log::{self, Beginning};
use crate::exec::persist::save;
use crate::exec::persist::staging::{Fed, Staging};

/// Everything that a server held at one moment: all databases with deadlines of keys and of fields, streams with their groups
/// and what is pending in them, and libraries of functions. Configuration, users, scripts and clients are no part of it.
///
/// It is an RDB file in memory. A real Redis loads it as its `dump.rdb`, if it knows what is in it (fields with deadlines it
/// knows from version 7.4 on), and the `dump.rdb` of a real Redis is one. Deadlines are points in time: what is over when a
/// snapshot is put back expires.
///
/// Clones share the bytes, so that one snapshot serves for many tests.
///
/// ```
/// use redkeep::embed::Snapshot;
///
/// let server = redkeep::Server::builder().start()?;
/// server.client()?.call(["SET", "stock", "3"])?;
/// let before = server.snapshot()?;
///
/// server.client()?.call(["DECR", "stock"])?;
/// server.restore(&before)?;
/// server.assert_string("stock", "3");
///
/// // Another server, another day.
/// let file = std::env::temp_dir().join(format!("stock-{}.rdb", std::process::id()));
/// before.save(&file)?;
/// let other = redkeep::Server::builder().start()?;
/// other.restore(&Snapshot::load(&file)?)?;
/// other.assert_string("stock", "3");
/// assert_eq!(Snapshot::from_bytes(before.as_bytes()), before);
/// # std::fs::remove_file(&file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} bytes)", self.bytes.len())
    }
}

impl Snapshot {
    /// Takes one of a server. Nobody else gets at the server meanwhile, which takes as long as writing the data set into
    /// memory does.
    ///
    /// # Errors
    /// [`StateError::Busy`] or [`StateError::Stopped`].
    pub fn of(node: &Node) -> Result<Snapshot, StateError> {
        let mut engine = hold(node)?;
        let State { ks, sys, .. } = engine.state();
        ks.begin(0, sys.now_us / 1000);
        Ok(save::write_now(ks, sys).into())
    }

    /// Puts it in place of everything that a server holds: of all databases at once, so that no client sees a part of it.
    ///
    /// For clients it is as if all keys had been flushed and others written in one step: what they watch has changed, what
    /// they have cached is invalid, and who waits for a key that is there now is served. Replicas get the whole data set
    /// anew. An append-only log begins anew, too, and holds what was put back when this returns.
    ///
    /// # Errors
    /// [`StateError::Damaged`], [`StateError::Truncated`], [`StateError::NotRestored`] where the server follows another one or
    /// is still loading, and [`StateError::Busy`] or [`StateError::Stopped`]: nothing has changed then.
    /// [`StateError::Unlogged`] if only the disk is in the way.
    pub fn restore(&self, node: &Node) -> Result<(), StateError> {
        let mut staging = {
            let mut engine = hold(node)?;
            let State { ks, sys, .. } = engine.state();
            Staging::begin(ks, sys)
        };
        // Nobody waits while it is read.
        match staging.feed(&self.bytes).map_err(StateError::Damaged)? {
            Fed::Hungry => return Err(StateError::Truncated),
            Fed::Ended { .. } => {}
        }
        let mut engine = hold(node)?;
        engine.restore(staging)?;
        drop(engine);
        await_log(node)
    }

    /// One that was written before, by whatever server. What is wrong with it is found when it is
    /// [put back](Self::restore).
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Snapshot {
        bytes.into().into()
    }

    /// The RDB file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes it to a file, over what is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, &self.bytes)
    }

    /// Reads one from a file, the `dump.rdb` of a server say.
    ///
    /// # Errors
    /// What the system says.
    pub fn load(path: impl AsRef<Path>) -> io::Result<Snapshot> {
        Ok(std::fs::read(path)?.into())
    }
}

/// Waits until the append-only log holds what there is, if there is one.
fn await_log(node: &Node) -> Result<(), StateError> {
    /// Nobody is told of the log's news but the engine's driver, and there may be none.
    const PAUSE: Duration = Duration::from_micros(500);
    loop {
        let far = match node.lock() {
            Ok(mut engine) => log::beginning(engine.state()),
            Err(LockError::Busy) => Beginning::GoesOn,
            Err(LockError::Stopped) => Beginning::Failed,
        };
        match far {
            Beginning::Over => return Ok(()),
            Beginning::Failed => return Err(StateError::Unlogged),
            Beginning::GoesOn => std::thread::sleep(PAUSE),
        }
    }
}

impl From<Vec<u8>> for Snapshot {
    fn from(bytes: Vec<u8>) -> Snapshot {
        Snapshot {
            bytes: bytes.into(),
        }
    }
}
