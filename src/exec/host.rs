//! What only the surroundings of an instance know or can do.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::migrate::Parcel;
use crate::persist::Disk;
use crate::service::config::{self, ApplyError, Change, Config};

/// The target of what a child process of Redis would log.
pub const CHILD: &str = "child";

/// What an operator, or who looks after the process for him, waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The instance leads.
    Leads,
    /// It follows another.
    Follows,
    /// It has the whole data set of the one it follows.
    Synced,
    /// It has gone on where it was.
    Resumed,
    /// It ends.
    Ends,
    /// The data set is saved before the end.
    Saves,
    /// That failed, and the end is off.
    CannotSave,
}

/// The surroundings: a server with sockets, or nothing at all. Calls are made under the engine's lock and must be
/// short.
pub trait Host: Send {
    /// What the operating system knows about the process.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Makes changed parameters take effect that can fail: listening on a new port, say. It may correct the new
    /// configuration (an absolute path in place of a relative one).
    ///
    /// # Errors
    /// When a change cannot take effect; then none has.
    fn apply(
        &mut self,
        _old: &Config,
        _new: &mut Config,
        _changes: &[Change],
    ) -> Result<(), ApplyError> {
        Ok(())
    }

    /// The instance has become a replica, or a leader.
    fn part_changed(&mut self, _config: &Config) {}

    /// Does nothing for a while, as DEBUG SLEEP asks.
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Sends commands to another server, beside the clients; what comes of it is told to the engine. Whether other servers
    /// can be reached at all.
    fn carry(&self, _parcel: Parcel) -> bool {
        false
    }

    /// Where data sets are saved; none if they are kept in memory only.
    fn disk(&self) -> Option<Arc<dyn Disk>> {
        None
    }

    /// The process, if it is this instance's alone.
    fn process(&self) -> Option<u32> {
        None
    }

    /// Reads a configuration file; none if there is none.
    ///
    /// # Errors
    /// Those of the system.
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Puts a configuration file in the place of the one that is there, lasting when this returns.
    ///
    /// # Errors
    /// Those of the system; then the old one is there as it was.
    fn replace_file(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        config::replace(path, contents)
    }

    /// Ends the process at once, as SIGKILL and the loss of power do, and does not return; unless the process is not this
    /// instance's alone.
    fn crash(&self) {}

    /// Tells whoever waits for that.
    fn reached(&self, _milestone: Milestone) {}

    /// Writes to the log, as DEBUG LOG asks.
    fn log(&self, text: &str) {
        tracing::warn!("{text}");
    }
}

/// An instance that stands alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Host for Alone {}

/// What INFO tells of the process. Zero and empty mean unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Name and release of the operating system, and the machine's architecture.
    pub os: String,
    /// The program.
    pub executable: String,
    /// The port that is listened on; differs from the configured one where any free port was asked for.
    pub tcp_port: u16,
    /// How many sockets are listened on for those who do not speak TLS.
    pub tcp_sockets: usize,
    /// The same for those who do.
    pub tls_sockets: usize,
    /// Seconds of processor time spent in the system.
    pub cpu_sys: f64,
    /// Seconds of processor time spent in the program.
    pub cpu_user: f64,
    /// The same of processes that it has started, and waited for.
    pub cpu_sys_children: f64,
    /// The same of processes that it has started, and waited for.
    pub cpu_user_children: f64,
    /// By what time is measured that cannot be set.
    pub monotonic_clock: &'static str,
    /// By what it waits for many sockets at a time.
    pub multiplexing_api: &'static str,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Memory of the machine in bytes.
    pub total_memory: u64,
    /// The memory allocator.
    pub allocator: &'static str,
    /// The service manager that the process reports to.
    pub supervised: &'static str,
}
