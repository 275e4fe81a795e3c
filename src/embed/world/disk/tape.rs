//! What a power cut leaves.
//!
//! A file has what was synced, for good, and changes since: writes and new lengths. A directory has the names that were
//! there when it was synced, and changes since. What becomes of the changes is chosen by a [`Cut`]:
//!
//! - [`Data`]: nothing of them is left; all; the first of them up to any byte; the length but not the bytes, which are
//!   zeros (as ext4 and XFS leave them where blocks were not yet written) or anything (what was in the blocks before, as
//!   file systems without ordered data do); or each page of 4 KiB by itself, since a kernel writes them in any order.
//! - [`Names`]: nothing is left; all; the first of them, as journals that keep an order have it; or any single one
//!   without those before it, as file systems without a journal do.
//!
//! The two are independent: a name may be there before the bytes are. Syncing a file says nothing of its name, whatever
//! ext4 does; renaming one is atomic. Syncing a directory is for the names in it, not for those in directories below. Names
//! in a directory whose own name is lost are lost.

use super::{Entry, Image, plain};
use crate::util::rng::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PAGE: usize = 4096;

/// Bytes that were written, shown shortened.
#[derive(Clone)]
pub struct Bytes(pub Arc<[u8]>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.0[..self.0.len().min(60)];
        write!(f, "{} bytes: {}", self.0.len(), start.escape_ascii())
    }
}

/// Something that changed, or was made lasting.
#[derive(Clone, Debug)]
pub enum Op {
    /// A file was made.
    Create {
        /// Its name.
        path: PathBuf,
        /// Its number from now on.
        file: usize,
    },
    /// Bytes were written.
    Write {
        /// To this file.
        file: usize,
        /// From here on.
        at: u64,
        /// These.
        bytes: Bytes,
    },
    /// A file got another length.
    SetLen {
        /// Which.
        file: usize,
        /// Bytes.
        len: u64,
    },
    /// A file was synced.
    Sync {
        /// Which.
        file: usize,
    },
    /// A sync failed, and what it was to write will never be written.
    Drop {
        /// Of this file.
        file: usize,
    },
    /// Something got another name.
    Rename {
        /// The one that it had.
        from: PathBuf,
        /// The one that it has.
        to: PathBuf,
        /// What it is.
        entry: Entry,
    },
    /// A name is gone.
    Remove {
        /// Which.
        path: PathBuf,
        /// What it stood for.
        entry: Entry,
    },
    /// A directory was made.
    MakeDir {
        /// Its name.
        path: PathBuf,
    },
    /// The names in a directory were synced.
    SyncDir {
        /// Which.
        dir: PathBuf,
    },
}

/// What becomes of bytes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// None of them are there.
    Lost,
    /// All are.
    Kept,
    /// The first of them, up to any byte.
    Torn,
    /// Zeros are in their place.
    Zeros,
    /// Anything is.
    Garbage,
    /// Each page is there or not.
    Pages,
}

/// What becomes of names in a directory that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// None of the changes are there.
    Lost,
    /// All are.
    Kept,
    /// So many of them, the oldest.
    First(usize),
    /// This one alone.
    Only(usize),
}

/// One of the ways in which a power cut may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What becomes of bytes.
    pub data: Data,
    /// What becomes of names.
    pub names: Names,
    /// Of what is left to chance: where a file is torn, which pages are there.
    pub seed: u64,
}

/// The record of a disk.
#[derive(Clone, Debug)]
pub struct Tape {
    /// What there was before.
    pub base: Image,
    /// What was done, in order.
    pub ops: Vec<Op>,
    /// When each was done, if the disk kept time.
    pub times: Vec<i64>,
}

impl Tape {
    /// Before the first operation.
    pub fn start(&self) -> Model {
        let mut model = Model::default();
        for dir in &self.base.dirs {
            model.names.insert(dir.clone(), Entry::Dir);
        }
        for (path, bytes) in &self.base.files {
            let entry = Entry::File(model.files.len());
            model.names.insert(path.clone(), entry);
            model.files.push(Content {
                synced: Arc::clone(bytes),
                changes: Vec::new(),
            });
        }
        model
    }

    /// What is left when the power goes just behind so many operations.
    pub fn cut(&self, behind: usize, cut: &Cut) -> Image {
        let mut model = self.start();
        self.ops[..behind].iter().for_each(|op| model.step(op));
        model.image(cut)
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write {
        at: usize,
        bytes: Arc<[u8]>,
    },
    SetLen(usize),
    /// A write that will never be done.
    Dropped,
}

#[derive(Clone, Debug, Default)]
struct Content {
    synced: Arc<Vec<u8>>,
    changes: Vec<Change>,
}

/// What is on the disk for good after some of the operations, and what may be.
#[derive(Clone, Debug, Default)]
pub struct Model {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, Entry>,
    /// Changes of names, in order, with the directory whose sync makes them last.
    renames: Vec<NameChange>,
}

#[derive(Clone, Debug)]
struct NameChange {
    dir: PathBuf,
    gone: Option<PathBuf>,
    there: Option<PathBuf>,
    entry: Entry,
}

impl Model {
    /// Plays the next operation.
    pub fn step(&mut self, op: &Op) {
        match op {
            Op::Create { path, file } => {
                debug_assert_eq!(*file, self.files.len());
                self.files.push(Content::default());
                self.rename(None, Some(path), Entry::File(*file));
            }
            Op::MakeDir { path } => self.rename(None, Some(path), Entry::Dir),
            Op::Rename { from, to, entry } => self.rename(Some(from), Some(to), *entry),
            Op::Remove { path, entry } => self.rename(Some(path), None, *entry),
            Op::Write { file, at, bytes } => self.files[*file].changes.push(Change::Write {
                at: usize::try_from(*at).unwrap_or_default(),
                bytes: Arc::clone(&bytes.0),
            }),
            Op::SetLen { file, len } => {
                let len = usize::try_from(*len).unwrap_or_default();
                self.files[*file].changes.push(Change::SetLen(len));
            }
            Op::Sync { file } => self.files[*file].sync(),
            Op::Drop { file } => {
                for change in &mut self.files[*file].changes {
                    if matches!(change, Change::Write { .. }) {
                        *change = Change::Dropped;
                    }
                }
            }
            Op::SyncDir { dir } => {
                let (done, open) = std::mem::take(&mut self.renames)
                    .into_iter()
                    .partition(|change| change.dir == *dir);
                self.renames = open;
                done.iter()
                    .for_each(|change: &NameChange| change.apply(&mut self.names));
            }
        }
    }

    fn rename(&mut self, gone: Option<&PathBuf>, there: Option<&PathBuf>, entry: Entry) {
        let path = there.or(gone);
        self.renames.push(NameChange {
            dir: plain(path.and_then(|path| path.parent()).unwrap_or(Path::new(""))),
            gone: gone.cloned(),
            there: there.cloned(),
            entry,
        });
    }

    /// How many changes of names may or may not be there after a cut.
    pub fn open_names(&self) -> usize {
        self.renames.len()
    }

    /// How many files have bytes that may or may not be there after a cut.
    pub fn open_files(&self) -> usize {
        let open = |file: &&Content| !file.changes.is_empty();
        self.files.iter().filter(open).count()
    }

    /// Each file as it is once everything was written that will be.
    pub(super) fn contents(&self) -> Vec<Arc<Vec<u8>>> {
        let mut rng = Rng::seed_from_u64(0);
        let files = self.files.iter();
        files.map(|file| file.after(Data::Kept, &mut rng)).collect()
    }

    /// What a cut leaves.
    pub fn image(&self, cut: &Cut) -> Image {
        let mut names = self.names.clone();
        let kept = match cut.names {
            Names::Lost => &[],
            Names::Kept => &self.renames[..],
            Names::First(n) => &self.renames[..n.min(self.renames.len())],
            Names::Only(n) => self.renames.get(n..=n).unwrap_or_default(),
        };
        kept.iter().for_each(|change| change.apply(&mut names));
        let mut image = Image::default();
        let mut rng = Rng::seed_from_u64(cut.seed);
        // A directory comes before what is in it.
        for (path, entry) in &names {
            let above = path.parent();
            if above.is_some_and(|dir| !image.dirs.contains(dir)) {
                continue;
            }
            match *entry {
                Entry::Dir => {
                    image.dirs.insert(path.clone());
                }
                Entry::File(id) => {
                    let bytes = self.files[id].after(cut.data, &mut rng);
                    image.files.insert(path.clone(), bytes);
                }
            }
        }
        image
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        if let Some(path) = &self.gone
            && names.get(path) == Some(&self.entry)
        {
            names.remove(path);
        }
        if let Some(path) = &self.there {
            names.insert(path.clone(), self.entry);
        }
    }
}

impl Content {
    fn sync(&mut self) {
        if !self.changes.is_empty() {
            let bytes = Arc::make_mut(&mut self.synced);
            self.changes
                .drain(..)
                .for_each(|change| change.apply(bytes));
        }
    }

    fn after(&self, data: Data, rng: &mut Rng) -> Arc<Vec<u8>> {
        if self.changes.is_empty() || data == Data::Lost {
            return Arc::clone(&self.synced);
        }
        let mut bytes = self.synced.to_vec();
        match data {
            Data::Lost => {}
            Data::Kept => self
                .changes
                .iter()
                .for_each(|change| change.apply(&mut bytes)),
            Data::Torn => self.tear(&mut bytes, rng),
            Data::Zeros => bytes = self.lengthened(|| 0),
            Data::Garbage => bytes = self.lengthened(|| rng.below(256) as u8),
            Data::Pages => {
                self.changes
                    .iter()
                    .for_each(|change| change.apply(&mut bytes));
                let old = self.lengthened(|| 0);
                for (page, old) in bytes.chunks_mut(PAGE).zip(old.chunks(PAGE)) {
                    if rng.chance(0.5) {
                        page.copy_from_slice(old);
                    }
                }
            }
        }
        Arc::new(bytes)
    }

    /// The changes up to some byte of them.
    fn tear(&self, bytes: &mut Vec<u8>, rng: &mut Rng) {
        let size = |change: &Change| match change {
            Change::Write { bytes, .. } => bytes.len(),
            Change::SetLen(_) => 1,
            Change::Dropped => 0,
        };
        let total: usize = self.changes.iter().map(size).sum();
        let mut left = rng.index(total + 1);
        for change in &self.changes {
            match change {
                Change::Write { at, bytes: new } if left < new.len() => {
                    let (at, bytes_there) = (*at, new[..left].into());
                    let part = Change::Write {
                        at,
                        bytes: bytes_there,
                    };
                    return part.apply(bytes);
                }
                Change::SetLen(_) if left == 0 => return,
                change => {
                    change.apply(bytes);
                    left -= size(change);
                }
            }
        }
    }

    /// As long as with all changes, but of the bytes only those that were synced.
    fn lengthened(&self, mut fill: impl FnMut() -> u8) -> Vec<u8> {
        let mut bytes = self.synced.to_vec();
        let mut len = bytes.len();
        for change in &self.changes {
            match change {
                Change::Write { at, bytes } => len = len.max(at + bytes.len()),
                Change::SetLen(new) => {
                    len = *new;
                    bytes.truncate(len);
                }
                Change::Dropped => {}
            }
        }
        bytes.resize_with(len, &mut fill);
        bytes
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes } => {
                let until = at + bytes.len();
                if !bytes.is_empty() && to.len() < until {
                    to.resize(until, 0);
                }
                if let Some(place) = to.get_mut(*at..until) {
                    place.copy_from_slice(bytes);
                }
            }
            Change::SetLen(len) => to.resize(*len, 0),
            Change::Dropped => {}
        }
    }
}

/// The ways in which a cut at this point may end: those that differ most, and some by chance.
pub fn cuts(model: &Model, seed: u64, by_chance: usize) -> Vec<Cut> {
    let cut = |data, names| Cut { data, names, seed };
    let mut all = vec![
        cut(Data::Lost, Names::Lost),
        cut(Data::Kept, Names::Kept),
        cut(Data::Lost, Names::Kept),
        cut(Data::Kept, Names::Lost),
    ];
    for data in [Data::Torn, Data::Zeros, Data::Garbage, Data::Pages] {
        all.push(cut(data, Names::Kept));
    }
    for n in 0..model.open_names() {
        all.push(cut(Data::Kept, Names::Only(n)));
        all.push(cut(Data::Lost, Names::First(n)));
    }
    let mut rng = Rng::seed_from_u64(seed);
    for _ in 0..by_chance {
        let data = [Data::Torn, Data::Torn, Data::Pages, Data::Garbage][rng.index(4)];
        let names = Names::First(rng.index(model.open_names() + 1));
        let seed = rng.next_u64();
        all.push(Cut { data, names, seed });
    }
    all
}
