//! What persistence asks of a disk. The disk of the operating system is [`Files`]; tests have others, which fail and
//! forget.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// An open file.
pub trait DiskFile: Read + Write + Seek + Send {
    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// When it is not; what was written before may be lost then.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file off, or lengthens it with zeros.
    ///
    /// # Errors
    /// Those of the system.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// A disk. Names are paths as the system has them.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file to be read.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::NotFound`] when there is none.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a file, empty also if there was one, to be written.
    ///
    /// # Errors
    /// Those of the system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file, made if there is none, to be written at its end.
    ///
    /// # Errors
    /// Those of the system.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, over whatever has it. It is lasting once the directory is synced.
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns when what was made, renamed and removed in a directory is so for good.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes of a file.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::NotFound`] when there is none.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// Makes a directory, if there is none. It is lasting once the directory above is synced.
    ///
    /// # Errors
    /// Those of the system.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of what is in a directory, in no order; those that are no text are left out.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::NotFound`] when there is none.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Keeps a directory for one instance, until what is returned is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another instance has it; and those of the system.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>>;
}

/// A directory that nobody else has, until this is dropped.
pub trait DirLock: Send + Debug {}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl DiskFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }
}

impl Disk for Files {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Elsewhere than on unix a directory cannot be opened, and need not be.
        if cfg!(unix) {
            File::open(dir)?.sync_all()
        } else {
            Ok(())
        }
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            made => made,
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string()));
        let names: io::Result<Vec<_>> = names.collect();
        Ok(names?.into_iter().filter_map(Result::ok).collect())
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        if !cfg!(unix) {
            // There a directory cannot be opened, and what is open cannot be replaced.
            return Ok(Box::new(Locked(None)));
        }
        let file = File::open(dir)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(Locked(Some(file)))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            // A file system without locks keeps nobody out.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {
                Ok(Box::new(Locked(None)))
            }
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

/// The system's lock, held while the directory is open.
#[derive(Debug)]
struct Locked(#[expect(dead_code, reason = "held for its lock")] Option<File>);

impl DirLock for Locked {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_directory_belongs_to_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = Files.lock(dir.path()).unwrap();
        let kind = Files.lock(dir.path()).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        drop(held);
        assert!(Files.lock(dir.path()).is_ok());
        assert!(Files.make_dir(dir.path()).is_ok());
    }
}
