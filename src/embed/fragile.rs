//! A disk that fails when it is told to, and a crash of which only what was synced survives.
//!
//! It stands before another disk, and passes everything on at once: what is written through it is there for everybody. Beside
//! that it remembers what was not synced yet, so that a crash can undo it:
//!
//! - Of each file, how long it was when it was synced last. A crash cuts off what came behind.
//! - What was made and renamed in a directory since that was synced. A crash does it backwards: what was made is gone, what
//!   was replaced is there again. For that the old file is kept open (on unix; elsewhere it could not be replaced then). The
//!   newest [`MOST`] such changes are remembered, older ones count as synced.
//!
//! That a file was cut off or removed, and that a directory was made, counts as synced at once: a disk may do that as well,
//! and whoever relies on what was removed too early finds out.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};

use crate::persist::{DirLock, Disk, DiskFile};
use crate::service::faults::{DiskError, DiskOp, Failure, Rules};

/// How many changes of names are remembered.
const MOST: usize = 256;

/// A disk with faults. Clones are the same one.
#[derive(Clone, Debug)]
pub struct FragileDisk {
    shared: Arc<Shared>,
}

struct Shared {
    below: Arc<dyn Disk>,
    rules: Arc<Rules>,
    /// Nothing reaches it any more. Held while something does.
    severed: RwLock<bool>,
    unsynced: Mutex<Unsynced>,
    /// Who is slow sleeps here; there is nothing to wait for once it is severed.
    asleep: Mutex<bool>,
    awake: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("below", &self.below)
            .finish_non_exhaustive()
    }
}

/// What a crash takes back.
#[derive(Default)]
struct Unsynced {
    /// The files that were opened to be written, by their names now.
    files: HashMap<PathBuf, Arc<Length>>,
    /// Oldest first.
    names: Vec<Renaming>,
}

/// How long a file is, and how long it was when it was synced last.
#[derive(Debug, Default)]
struct Length {
    now: AtomicU64,
    synced: AtomicU64,
}

/// What was done to a name, and what had it before.
enum Renaming {
    Made(PathBuf),
    Moved(PathBuf, PathBuf, Option<Box<dyn DiskFile>>),
}

impl Renaming {
    fn path(&self) -> &Path {
        match self {
            Renaming::Made(path) | Renaming::Moved(_, path, _) => path,
        }
    }
}

impl FragileDisk {
    /// A disk that fails when these rules say so.
    pub fn over(below: Arc<dyn Disk>, rules: Arc<Rules>) -> Self {
        Self {
            shared: Arc::new(Shared {
                below,
                rules,
                severed: RwLock::default(),
                unsynced: Mutex::default(),
                asleep: Mutex::new(false),
                awake: Condvar::new(),
            }),
        }
    }

    /// The rules that it obeys.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.shared.rules
    }

    /// Returns when nothing reaches the disk any more: what was written stays, as it does when a process is killed.
    pub fn sever(&self) {
        *self.shared.severed.write() = true;
        *self.shared.asleep.lock() = true;
        self.shared.awake.notify_all();
    }

    /// Takes back what was not synced, as the machine does that loses its power. It is to be severed before, and nobody may
    /// have one of its files open.
    ///
    /// # Errors
    /// Those of the disk below.
    pub fn lose_unsynced(&self) -> io::Result<()> {
        let below = &*self.shared.below;
        let Unsynced { files, names } = std::mem::take(&mut *self.shared.unsynced.lock());
        for (path, length) in files {
            let synced = length.synced.load(Ordering::Acquire);
            if length.now.load(Ordering::Acquire) > synced {
                let mut file = below.append(&path)?;
                file.set_len(synced)?;
                file.sync()?;
            }
        }
        for name in names.into_iter().rev() {
            match name {
                Renaming::Made(path) => unless_gone(below.remove(&path))?,
                Renaming::Moved(from, to, before) => {
                    unless_gone(below.rename(&to, &from))?;
                    if let Some(before) = before {
                        restore(below, &to, before)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins an operation: fails if it is to, and waits if it is slow. While what is returned is held, the disk is not
    /// severed.
    fn begin(&self, op: DiskOp, path: &Path) -> io::Result<RwLockReadGuard<'_, bool>> {
        match self.shared.strike(op, path)? {
            None => self.shared.reach(),
            Some(_) => Err(DiskError::NoSpace.to_io()),
        }
    }

    /// A file, and where it is written, if it is.
    fn file(
        &self,
        path: &Path,
        file: Box<dyn DiskFile>,
        written: Option<Place>,
    ) -> Box<dyn DiskFile> {
        let written = written.map(|place| {
            let mut unsynced = self.shared.unsynced.lock();
            let known = unsynced.files.entry(path.to_owned());
            let length = known.or_insert_with(|| {
                let len = self.shared.below.size(path).unwrap_or(0);
                Arc::new(Length {
                    now: AtomicU64::new(len),
                    synced: AtomicU64::new(len),
                })
            });
            (Arc::clone(length), place)
        });
        Box::new(FragileFile {
            disk: self.clone(),
            path: path.to_owned(),
            file,
            written,
        })
    }

    fn exists(&self, path: &Path) -> bool {
        self.shared.below.size(path).is_ok()
    }
}

/// What was removed since need not be there.
fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Puts a file back where it was.
fn restore(below: &dyn Disk, path: &Path, mut before: Box<dyn DiskFile>) -> io::Result<()> {
    let mut file = below.create(path)?;
    before.seek(SeekFrom::Start(0))?;
    io::copy(&mut before, &mut file)?;
    file.sync()
}

impl Shared {
    /// What a rule has an operation do that is not just slow. An operation that is slow has waited.
    fn strike(&self, op: DiskOp, path: &Path) -> io::Result<Option<u64>> {
        match self.rules.on_disk(op, path) {
            None => Ok(None),
            Some(Failure::Fail(error)) => Err(error.to_io()),
            Some(Failure::Short(bytes)) => Ok(Some(bytes)),
            Some(Failure::Slow(by)) => {
                self.sleep(by);
                Ok(None)
            }
        }
    }

    fn sleep(&self, by: Duration) {
        let until = Instant::now().checked_add(by);
        let mut over = self.asleep.lock();
        while !*over {
            match until {
                Some(until) if self.awake.wait_until(&mut over, until).timed_out() => return,
                Some(_) => {}
                None => self.awake.wait(&mut over),
            }
        }
    }

    fn reach(&self) -> io::Result<RwLockReadGuard<'_, bool>> {
        let severed = self.severed.read();
        match *severed {
            true => Err(io::Error::other("the server has crashed")),
            false => Ok(severed),
        }
    }

    /// Remembers what was done to a name.
    fn note(&self, renaming: Renaming) {
        let names = &mut self.unsynced.lock().names;
        if names.len() >= MOST {
            names.remove(0);
        }
        names.push(renaming);
    }
}

impl Disk for FragileDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let _reached = self.begin(DiskOp::Open, path)?;
        let file = self.shared.below.open(path)?;
        Ok(self.file(path, file, None))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let _reached = self.begin(DiskOp::Open, path)?;
        let is_new = !self.exists(path);
        let file = self.shared.below.create(path)?;
        self.shared.unsynced.lock().files.remove(path);
        if is_new {
            self.shared.note(Renaming::Made(path.to_owned()));
        }
        Ok(self.file(path, file, Some(Place::At(0))))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let _reached = self.begin(DiskOp::Open, path)?;
        let is_new = !self.exists(path);
        let file = self.shared.below.append(path)?;
        if is_new {
            self.shared.unsynced.lock().files.remove(path);
            self.shared.note(Renaming::Made(path.to_owned()));
        }
        Ok(self.file(path, file, Some(Place::End)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _reached = self.begin(DiskOp::Rename, to)?;
        // Kept open, it outlasts its name.
        let before = cfg!(unix).then(|| self.shared.below.open(to).ok());
        self.shared.below.rename(from, to)?;
        let mut unsynced = self.shared.unsynced.lock();
        unsynced.files.remove(to);
        if let Some(length) = unsynced.files.remove(from) {
            unsynced.files.insert(to.to_owned(), length);
        }
        drop(unsynced);
        let (from, to) = (from.to_owned(), to.to_owned());
        self.shared
            .note(Renaming::Moved(from, to, before.flatten()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let _reached = self.begin(DiskOp::Remove, path)?;
        self.shared.below.remove(path)?;
        let mut unsynced = self.shared.unsynced.lock();
        unsynced.files.remove(path);
        unsynced.names.retain(|renaming| renaming.path() != path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let _reached = self.begin(DiskOp::Sync, dir)?;
        self.shared.below.sync_dir(dir)?;
        let names = &mut self.shared.unsynced.lock().names;
        names.retain(|renaming| renaming.path().parent() != Some(dir));
        Ok(())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let _reached = self.shared.reach()?;
        self.shared.below.size(path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let _reached = self.begin(DiskOp::Open, dir)?;
        self.shared.below.make_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let _reached = self.shared.reach()?;
        self.shared.below.list(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let _reached = self.shared.reach()?;
        self.shared.below.lock(dir)
    }
}

/// Where a file is written. It is kept here, so that nobody has to ask the system.
enum Place {
    At(u64),
    /// Always at the end.
    End,
}

struct FragileFile {
    disk: FragileDisk,
    /// The name that it was opened by.
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Of a file that is written.
    written: Option<(Arc<Length>, Place)>,
}

impl FragileFile {
    /// So many bytes were written.
    fn wrote(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        match &mut self.written {
            Some((length, Place::At(at))) => {
                *at += bytes;
                length.now.fetch_max(*at, Ordering::AcqRel);
            }
            Some((length, Place::End)) => {
                length.now.fetch_add(bytes, Ordering::AcqRel);
            }
            None => {}
        }
    }
}

impl Read for FragileFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let _reached = self.disk.begin(DiskOp::Read, &self.path)?;
        let n = self.file.read(into)?;
        if let Some((_, Place::At(at))) = &mut self.written {
            *at += n as u64;
        }
        Ok(n)
    }
}

impl Write for FragileFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let short = self.disk.shared.strike(DiskOp::Write, &self.path)?;
        let shared = Arc::clone(&self.disk.shared);
        let _reached = shared.reach()?;
        match short {
            None => {
                let n = self.file.write(bytes)?;
                self.wrote(n);
                Ok(n)
            }
            Some(short) => {
                let short = usize::try_from(short).unwrap_or(usize::MAX);
                let part = bytes.get(..short).unwrap_or(bytes);
                self.file.write_all(part)?;
                self.wrote(part.len());
                Err(DiskError::NoSpace.to_io())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let _reached = self.disk.shared.reach()?;
        self.file.flush()
    }
}

impl Seek for FragileFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let _reached = self.disk.shared.reach()?;
        let now = self.file.seek(to)?;
        if let Some((_, Place::At(at))) = &mut self.written {
            *at = now;
        }
        Ok(now)
    }
}

impl DiskFile for FragileFile {
    fn sync(&mut self) -> io::Result<()> {
        let _reached = self.disk.begin(DiskOp::Sync, &self.path)?;
        let length = self.written.as_ref().map(|(length, _)| length);
        let until = length.map(|length| length.now.load(Ordering::Acquire));
        self.file.sync()?;
        if let (Some(length), Some(until)) = (length, until) {
            length.synced.fetch_max(until, Ordering::AcqRel);
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let _reached = self.disk.begin(DiskOp::Write, &self.path)?;
        self.file.set_len(len)?;
        if let Some((length, _)) = &self.written {
            length.now.store(len, Ordering::Release);
            length.synced.fetch_min(len, Ordering::AcqRel);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::Files;
    use std::fs;

    struct Bench {
        dir: tempfile::TempDir,
        disk: FragileDisk,
    }

    impl Bench {
        fn new() -> Bench {
            Bench {
                dir: tempfile::tempdir().unwrap(),
                disk: FragileDisk::over(Arc::new(Files), Arc::default()),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// A file that is there for good.
        fn settled(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        /// Writes a file, and syncs it or does not.
        fn write(&self, name: &str, text: &str, sync: bool) {
            let mut file = self.disk.create(&self.path(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            if sync {
                file.sync().unwrap();
            }
        }

        fn sync_dir(&self) {
            self.disk.sync_dir(self.dir.path()).unwrap();
        }

        fn crash(&self) {
            self.disk.sever();
            self.disk.lose_unsynced().unwrap();
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.path(name)).ok()
        }
    }

    #[test]
    fn nothing_reaches_a_severed_disk_and_what_was_written_stays() {
        let bench = Bench::new();
        let path = bench.path("file");
        let mut file = bench.disk.append(&path).unwrap();
        file.write_all(b"before").unwrap();
        bench.disk.sever();
        assert!(file.write_all(b"after").is_err() && file.set_len(0).is_err());
        assert!(bench.disk.remove(&path).is_err() && bench.disk.append(&path).is_err());
        drop(file);
        assert_eq!(bench.read("file").as_deref(), Some("before"));
    }

    #[test]
    fn a_crash_cuts_off_what_was_not_synced() {
        let bench = Bench::new();
        bench.settled("log", "old ");
        let mut log = bench.disk.append(&bench.path("log")).unwrap();
        log.write_all(b"synced ").unwrap();
        log.sync().unwrap();
        log.write_all(b"lost").unwrap();
        bench.write("empty", "lost", false);
        bench.sync_dir();
        drop(log);
        bench.crash();
        assert_eq!(bench.read("log").as_deref(), Some("old synced "));
        assert_eq!(bench.read("empty").as_deref(), Some(""));
    }

    #[test]
    fn a_crash_cuts_off_where_it_should_wherever_was_written() {
        let bench = Bench::new();
        let path = bench.path("file");
        let mut file = bench.disk.create(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        file.sync().unwrap();
        // Within what was synced, and then past it.
        file.seek(SeekFrom::Start(2)).unwrap();
        file.write_all(b"ab").unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"lost").unwrap();
        drop(file);
        // Another hand that appends, after it has cut off a part.
        let mut log = bench.disk.append(&path).unwrap();
        log.set_len(8).unwrap();
        log.write_all(b"c").unwrap();
        log.sync().unwrap();
        log.write_all(b"lost").unwrap();
        drop(log);
        bench.sync_dir();
        bench.crash();
        assert_eq!(bench.read("file").as_deref(), Some("01ab4567c"));
    }

    #[test]
    fn a_crash_takes_back_names_whose_directory_was_not_synced() {
        let bench = Bench::new();
        bench.settled("data", "old");
        for name in ["passing", "temp"] {
            bench.write(name, "new", true);
        }
        let (temp, data) = (bench.path("temp"), bench.path("data"));
        bench.disk.rename(&temp, &data).unwrap();
        bench.disk.remove(&bench.path("passing")).unwrap();
        assert_eq!(bench.read("data").as_deref(), Some("new"));
        bench.crash();
        assert_eq!(bench.read("data").as_deref(), Some("old"));
        assert_eq!((bench.read("passing"), bench.read("temp")), (None, None));
    }

    #[test]
    fn what_was_done_before_a_sync_of_the_directory_stays_done() {
        let bench = Bench::new();
        bench.settled("data", "old");
        bench.settled("gone", "was there");
        bench.write("temp", "new", true);
        bench
            .disk
            .rename(&bench.path("temp"), &bench.path("data"))
            .unwrap();
        bench.disk.remove(&bench.path("gone")).unwrap();
        bench.sync_dir();
        bench.crash();
        assert_eq!(bench.read("data").as_deref(), Some("new"));
        assert_eq!((bench.read("gone"), bench.read("temp")), (None, None));
    }
}
