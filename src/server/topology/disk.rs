//! The disk of a node that can be killed: from then on nothing reaches it, and what was written stays.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::persist::{DirLock, Disk, DiskFile, Files};

/// The file system, as long as the node lives.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeDisk {
    life: Life,
}

impl NodeDisk {
    /// The node is killed.
    pub(super) fn sever(&self) {
        self.life.0.store(true, Ordering::Release);
    }

    fn file(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        let life = self.life.clone();
        Ok(Box::new(NodeFile { file: file?, life }))
    }
}

/// Whether it is over.
#[derive(Debug, Clone, Default)]
struct Life(Arc<AtomicBool>);

impl Life {
    fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Acquire) {
            true => Err(io::Error::other("the node was killed")),
            false => Ok(()),
        }
    }
}

impl Disk for NodeDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.life.check()?;
        self.file(Files.open(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.life.check()?;
        self.file(Files.create(path))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.life.check()?;
        self.file(Files.append(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.life.check()?;
        Files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.life.check()?;
        Files.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.life.check()?;
        Files.sync_dir(dir)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.life.check()?;
        Files.size(path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.life.check()?;
        Files.make_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.life.check()?;
        Files.list(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        self.life.check()?;
        Files.lock(dir)
    }
}

struct NodeFile {
    file: Box<dyn DiskFile>,
    life: Life,
}

impl Read for NodeFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.life.check()?;
        self.file.read(into)
    }
}

impl Write for NodeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.life.check()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.life.check()?;
        self.file.flush()
    }
}

impl Seek for NodeFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.life.check()?;
        self.file.seek(to)
    }
}

impl DiskFile for NodeFile {
    fn sync(&mut self) -> io::Result<()> {
        self.life.check()?;
        self.file.sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.life.check()?;
        self.file.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_disk_of_a_killed_node_and_what_was_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let disk = NodeDisk::default();
        let mut file = disk.append(&path).unwrap();
        file.write_all(b"before").unwrap();
        disk.sever();
        assert!(file.write_all(b"after").is_err() && file.set_len(0).is_err());
        assert!(disk.remove(&path).is_err() && disk.append(&path).is_err());
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
    }
}
