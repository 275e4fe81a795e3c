//! Writing an RDB file so that it is there whole or not at all.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile};
use crate::rdb::file::HEADER;

/// After so many bytes a file is synced that is still being written, so that its end does not take long.
const SYNC_EVERY: u64 = 4 << 20;

/// Where a file goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The directory.
    pub dir: PathBuf,
    /// The name of the file in it.
    pub name: String,
    /// The name that it has until it is whole.
    pub temporary: String,
    /// It is synced now and then while it is written.
    pub incremental: bool,
}

/// A file that is being written under its temporary name. Dropped before it has its name it is removed.
pub struct Pending<'a> {
    disk: &'a dyn Disk,
    target: &'a Target,
    file: Option<Box<dyn DiskFile>>,
    /// What it takes the place of, held open: to free the blocks of a large file takes long, and it is whoever closes it
    /// last that waits for that.
    replaced: Option<Box<dyn DiskFile>>,
    unsynced: u64,
}

impl std::fmt::Debug for Pending<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl<'a> Pending<'a> {
    /// Makes the file.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create(disk: &'a dyn Disk, target: &'a Target) -> io::Result<Self> {
        let file = disk.create(&target.dir.join(&target.temporary))?;
        Ok(Self {
            disk,
            target,
            file: Some(file),
            replaced: None,
            unsynced: 0,
        })
    }

    /// Writes on.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes)?;
        self.unsynced += bytes.len() as u64;
        if self.target.incremental && self.unsynced >= SYNC_EVERY {
            file.sync()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Everything is written but the header, if it has one: writes that, and returns when all of it is on the disk.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn complete(&mut self, header: Option<&[u8; HEADER]>) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if let Some(header) = header {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(header)?;
        }
        file.sync()?;
        if !self.target.name.is_empty() {
            self.replaced = self.disk.open(&self.name()).ok();
        }
        Ok(())
    }

    /// Gives the file its name, now that it is complete. It keeps it for good once that is [settled](Self::settle).
    ///
    /// # Errors
    /// Those of the disk.
    pub fn publish(&mut self) -> io::Result<()> {
        self.disk.rename(&self.path(), &self.name())?;
        self.file = None;
        Ok(())
    }

    /// Returns when the name is the file's for good.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn settle(self) -> io::Result<()> {
        self.disk.sync_dir(&self.target.dir)
    }

    /// All three.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn finish(mut self, header: Option<&[u8; HEADER]>) -> io::Result<()> {
        self.complete(header)?;
        self.publish()?;
        self.settle()
    }

    /// Completes the file, and leaves it under its temporary name, which is given.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn leave(mut self, header: Option<&[u8; HEADER]>) -> io::Result<String> {
        self.complete(header)?;
        self.file = None;
        Ok(self.target.temporary.clone())
    }

    fn name(&self) -> PathBuf {
        self.target.dir.join(&self.target.name)
    }

    fn path(&self) -> PathBuf {
        self.target.dir.join(&self.target.temporary)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(e) = self.disk.remove(&self.path())
        {
            tracing::warn!("{} is left over: {e}", self.path().display());
        }
    }
}

/// The directory of a path, which may be none.
pub fn directory(path: &str) -> &Path {
    match path {
        "" => Path::new("."),
        path => Path::new(path),
    }
}
