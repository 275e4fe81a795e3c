//! What is on a disk, for good.

use super::plain;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files and directories.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// Files, by their names.
    pub files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
    /// Directories.
    pub dirs: BTreeSet<PathBuf>,
}

impl Image {
    /// There is this directory, and those above it.
    pub fn add_dir(&mut self, dir: &str) {
        let dir = plain(Path::new(dir));
        self.dirs.extend(dir.ancestors().map(Path::to_owned));
    }

    /// There is a file with these bytes.
    pub fn add_file(&mut self, path: &str, bytes: &[u8]) {
        let path = plain(Path::new(path));
        self.files.insert(path, Arc::new(bytes.to_vec()));
    }

    /// The contents of a file; of none, nothing.
    pub fn file(&self, path: &str) -> &[u8] {
        let found = self.files.get(&plain(Path::new(path)));
        found.map_or(&[], |bytes| bytes)
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(&plain(Path::new(path)))
    }

    /// Two with the same are the same.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, bytes) in &self.files {
            let (path, len) = (path.display(), bytes.len());
            let start = &bytes[..len.min(100)];
            let end = &bytes[start.len().max(len.saturating_sub(200))..];
            let gap = len - start.len() - end.len();
            let (start, end) = (start.escape_ascii(), end.escape_ascii());
            writeln!(f, "{path} ({len}): {start} ...{gap}... {end}")?;
        }
        Ok(())
    }
}
