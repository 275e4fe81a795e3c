//! Where the data set of an instance is kept, and that nobody else keeps one there.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::persist::aof::{Directory, Place};
use crate::persist::write::directory;
use crate::persist::{DirLock, Disk};
use crate::service::config::{ApplyError, Change, Config};
use crate::util::system::reason;

/// Why a directory cannot be had.
pub(super) const IN_USE: &str = "another server keeps its data in this directory";

/// The disk of an instance, if it has one, and its directory on that.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    disk: Option<Arc<dyn Disk>>,
    /// The directory, if data sets are saved there without being asked for.
    locked: Option<Box<dyn DirLock>>,
}

/// A directory for what is to be kept elsewhere, or to be kept.
#[derive(Debug)]
pub(crate) struct Elsewhere(Option<Box<dyn DirLock>>);

impl Storage {
    pub(crate) fn on(disk: Option<Arc<dyn Disk>>) -> Self {
        Self { disk, locked: None }
    }

    pub(crate) fn disk(&self) -> Option<Arc<dyn Disk>> {
        self.disk.clone()
    }

    /// Keeps the directory for this instance, if data sets are saved there without being asked for.
    pub(crate) fn lock_dir(&mut self, config: &Config) -> io::Result<()> {
        let locked = self.lock(config)?;
        self.take(Elsewhere(locked));
        Ok(())
    }

    /// Finds the directory that a change asks for, and makes it an absolute path; it is taken by [`take`](Self::take), when
    /// nothing else has failed.
    pub(crate) fn prepare(
        &self,
        old: &Config,
        new: &mut Config,
        changes: &[Change],
    ) -> Result<Elsewhere, ApplyError> {
        let mut changed = changes.iter().map(|change| change.row.name);
        if let Some(name) = changed.clone().find(|name| *name == "dir") {
            new.dir = absolute(old, &new.dir).map_err(|e| ApplyError {
                name,
                why: reason(&e),
            })?;
        }
        match changed.find(|name| ["dir", "appendonly", "save"].contains(name)) {
            Some(name) => self.keep_data(old, new, name).map(Elsewhere),
            None => Ok(Elsewhere(None)),
        }
    }

    /// Keeps data there from now on.
    pub(crate) fn take(&mut self, elsewhere: Elsewhere) {
        if elsewhere.0.is_some() {
            self.locked = elsewhere.0;
        }
    }

    fn lock(&self, config: &Config) -> io::Result<Option<Box<dyn DirLock>>> {
        let lasts = config.appendonly || !config.save.is_empty();
        let disk = self.disk.as_ref().filter(|_| lasts);
        disk.map(|disk| disk.lock(directory(&config.dir)))
            .transpose()
    }

    /// Whether the append-only log can be opened where it is to be.
    fn can_log(&self, config: &Config) -> Result<(), String> {
        let disk = self.disk.clone();
        let disk = disk.ok_or("this server keeps its data in memory only")?;
        let place = Place::new(&config.dir, &config.appenddirname, &config.appendfilename);
        Directory::open(disk, place).map_err(|e| {
            warn!("{e}");
            "Unable to turn on AOF. Check server logs.".to_owned()
        })?;
        Ok(())
    }

    /// The data set is to be kept elsewhere, or to be kept: the directory for it, if that is another one.
    fn keep_data(
        &self,
        old: &Config,
        new: &Config,
        name: &'static str,
    ) -> Result<Option<Box<dyn DirLock>>, ApplyError> {
        let refused = |why: String| ApplyError { name, why };
        if new.appendonly && (!old.appendonly || name == "dir") {
            self.can_log(new).map_err(refused)?;
        }
        if old.dir == new.dir && self.locked.is_some() {
            return Ok(None);
        }
        self.lock(new).map_err(|e| {
            refused(match e.kind() {
                io::ErrorKind::WouldBlock => IN_USE.to_owned(),
                _ => reason(&e),
            })
        })
    }
}

fn absolute(old: &Config, dir: &str) -> io::Result<String> {
    let path = fs::canonicalize(Path::new(&old.dir).join(dir))?;
    if !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let utf8 = path.into_os_string().into_string();
    utf8.map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))
}
