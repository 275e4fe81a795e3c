//! A disk in memory that forgets what was not synced, as a real one does when the power goes, and fails on demand.
//!
//! Every change is recorded under a number, counted from 1 over the whole disk. A [`Tape`] plays the record back and
//! builds what is left by a power cut just behind any of them: see [`tape`]. Faults and gates are in [`fault`].

pub mod fault;
mod file;
pub mod image;
pub mod tape;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

pub use fault::{Fault, Gate, Kind};
pub use image::Image;
pub use tape::{Cut, Data, Model, Names, Op, Tape};

use crate::persist::{DirLock, Disk, DiskFile};
use crate::util::clock::Clock;
use fault::Faults;
use file::{Access, SimFile};

/// Input/output error, as Linux numbers it.
pub const EIO: i32 = 5;
/// Permission denied.
pub const EACCES: i32 = 13;
/// No space left on device.
pub const ENOSPC: i32 = 28;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file, by its number.
    File(usize),
    /// A directory.
    Dir,
}

/// A disk. Clones are the same one.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something happened: an operation has begun to wait, or a gate was opened.
    changed: Condvar,
}

/// The disk as programs see it, synced or not.
struct State {
    /// By number; a file without a name stays for those who have it open.
    files: Vec<Arc<Vec<u8>>>,
    names: BTreeMap<PathBuf, Entry>,
    base: Image,
    ops: Vec<Op>,
    /// When each of them was done, if there is a clock.
    times: Vec<i64>,
    clock: Option<Arc<dyn Clock>>,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk with one directory.
    pub fn new(dir: &str) -> SimDisk {
        let mut image = Image::default();
        image.add_dir(dir);
        SimDisk::from_image(&image)
    }

    /// A disk with these files, all of them synced.
    pub fn from_image(image: &Image) -> SimDisk {
        let mut state = State {
            files: Vec::new(),
            names: BTreeMap::new(),
            base: image.clone(),
            ops: Vec::new(),
            times: Vec::new(),
            clock: None,
            locks: BTreeSet::new(),
            faults: Faults::default(),
        };
        for dir in &image.dirs {
            state.names.insert(dir.clone(), Entry::Dir);
        }
        for (path, bytes) in &image.files {
            let entry = Entry::File(state.files.len());
            state.names.insert(path.clone(), entry);
            state.files.push(Arc::clone(bytes));
        }
        SimDisk {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
        }
    }

    /// Notes the time of each operation from now on.
    pub fn keep_time(&self, clock: Arc<dyn Clock>) {
        self.shared.state.lock().clock = Some(clock);
    }

    /// How many operations there were so far.
    pub fn ops(&self) -> usize {
        self.shared.state.lock().ops.len()
    }

    /// The record so far.
    pub fn tape(&self) -> Tape {
        let state = self.shared.state.lock();
        Tape {
            base: state.base.clone(),
            ops: state.ops.clone(),
            times: state.times.clone(),
        }
    }

    /// The disk as programs see it now: what a process that is killed leaves behind.
    pub fn image(&self) -> Image {
        let state = self.shared.state.lock();
        let mut image = Image::default();
        for (path, entry) in &state.names {
            match *entry {
                Entry::Dir => {
                    image.dirs.insert(path.clone());
                }
                Entry::File(id) => {
                    let bytes = Arc::clone(&state.files[id]);
                    image.files.insert(path.clone(), bytes);
                }
            }
        }
        image
    }

    /// Forgets the cached pages that a failed sync did not write: whoever reads them now reads what is on the disk.
    pub fn evict(&self) {
        let tape = self.tape();
        let mut model = tape.start();
        tape.ops.iter().for_each(|op| model.step(op));
        self.state().files = model.contents();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Waits at the gates in the way of an operation, then fails if a fault has it so.
    fn enter(&self, kind: Kind, path: &Path) -> Result<MutexGuard<'_, State>, Failed<'_>> {
        let mut state = self.state();
        while let Some(gate) = state.faults.gate(kind, path) {
            state.faults.wait_at(gate, 1);
            self.shared.changed.notify_all();
            self.shared.changed.wait(&mut state);
            state.faults.wait_at(gate, -1);
        }
        match state.faults.strike(kind, path) {
            None => Ok(state),
            Some(hit) => Err(Failed { state, hit }),
        }
    }
}

/// An operation that fails.
struct Failed<'a> {
    state: MutexGuard<'a, State>,
    hit: fault::Hit,
}

impl From<Failed<'_>> for io::Error {
    fn from(failed: Failed<'_>) -> io::Error {
        io::Error::from_raw_os_error(failed.hit.errno)
    }
}

impl State {
    fn record(&mut self, op: Op) {
        let syncs = matches!(op, Op::Sync { .. } | Op::SyncDir { .. });
        if syncs && self.faults.forgetful {
            return;
        }
        if let Some(clock) = &self.clock {
            self.times.push(clock.now_ms());
        }
        self.ops.push(op);
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(id)) => Ok(*id),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether there is a directory that a new name may go to.
    fn has_parent(&self, path: &Path) -> io::Result<()> {
        self.has_dir(&parent(path))
    }

    fn has_dir(&self, dir: &Path) -> io::Result<()> {
        match self.names.get(dir) {
            Some(Entry::Dir) => Ok(()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None if dir.parent().is_none() => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The file of this name; made if there is none.
    fn find_or_make(&mut self, path: &Path) -> io::Result<usize> {
        match self.file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.has_parent(path)?;
                let file = self.files.len();
                self.files.push(Arc::default());
                self.names.insert(path.to_owned(), Entry::File(file));
                let path = path.to_owned();
                self.record(Op::Create { path, file });
                Ok(file)
            }
            found => found,
        }
    }

    fn set_len(&mut self, file: usize, len: usize) {
        let bytes = Arc::make_mut(&mut self.files[file]);
        bytes.resize(len, 0);
        self.record(Op::SetLen {
            file,
            len: len as u64,
        });
    }
}

/// Without the parts that say nothing.
pub(super) fn plain(path: &Path) -> PathBuf {
    let parts = path.components();
    parts.filter(|part| *part != Component::CurDir).collect()
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let path = plain(path);
        let file = self.enter(Kind::Open, &path)?.file(&path)?;
        Ok(Box::new(SimFile::new(self, path, file, Access::Read)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let path = plain(path);
        let mut state = self.enter(Kind::Create, &path)?;
        let file = state.find_or_make(&path)?;
        if !state.files[file].is_empty() {
            state.set_len(file, 0);
        }
        drop(state);
        Ok(Box::new(SimFile::new(self, path, file, Access::Write)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let path = plain(path);
        let there = self.state().names.contains_key(&path);
        let kind = if there { Kind::Open } else { Kind::Create };
        let file = self.enter(kind, &path)?.find_or_make(&path)?;
        Ok(Box::new(SimFile::new(self, path, file, Access::Append)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (plain(from), plain(to));
        let mut state = self.enter(Kind::Rename, &to)?;
        state.has_parent(&to)?;
        let entry = Entry::File(state.file(&from)?);
        if state.names.get(&to) == Some(&Entry::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        state.names.remove(&from);
        state.names.insert(to.clone(), entry);
        state.record(Op::Rename { from, to, entry });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        let mut state = self.enter(Kind::Remove, &path)?;
        let entry = Entry::File(state.file(&path)?);
        state.names.remove(&path);
        state.record(Op::Remove { path, entry });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = plain(dir);
        let mut state = self.enter(Kind::SyncDir, &dir)?;
        state.has_dir(&dir)?;
        state.record(Op::SyncDir { dir });
        Ok(())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        let file = state.file(&plain(path))?;
        Ok(state.files[file].len() as u64)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let path = plain(dir);
        let mut state = self.enter(Kind::MakeDir, &path)?;
        match state.names.get(&path) {
            Some(Entry::Dir) => return Ok(()),
            Some(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => state.has_parent(&path)?,
        }
        state.names.insert(path.clone(), Entry::Dir);
        state.record(Op::MakeDir { path });
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let dir = plain(dir);
        let state = self.state();
        state.has_dir(&dir)?;
        let inside = state
            .names
            .keys()
            .filter(|path| path.parent() == Some(&dir));
        let names = inside.filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let dir = plain(dir);
        let mut state = self.state();
        state.has_dir(&dir)?;
        if !state.locks.insert(dir.clone()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let disk = self.clone();
        Ok(Box::new(Locked { disk, dir }))
    }
}

#[derive(Debug)]
struct Locked {
    disk: SimDisk,
    dir: PathBuf,
}

impl DirLock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.dir);
    }
}
