//! The directory of the log: its manifest, and the files that this names.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Kind, Manifest, ManifestError, Part};
use crate::persist::disk::{Disk, DiskFile};
use crate::persist::write::directory;

/// No manifest is larger.
const LARGEST_MANIFEST: u64 = 16 << 20;

/// Where the files of a log are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directory that the log's own is in; an old log is a file in it.
    pub parent: PathBuf,
    /// The log's own.
    pub dir: PathBuf,
    /// What the names of the files begin with.
    pub prefix: String,
}

impl Place {
    /// The place that is configured by `dir`, `appenddirname` and `appendfilename`.
    pub fn new(parent: &str, dir: &str, prefix: &str) -> Place {
        let parent = directory(parent).to_path_buf();
        Place {
            dir: parent.join(dir),
            parent,
            prefix: prefix.to_owned(),
        }
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The manifest.
    pub fn manifest(&self) -> PathBuf {
        self.file(&self.manifest_name())
    }

    fn manifest_name(&self) -> String {
        format!("{}.manifest", self.prefix)
    }

    /// Where a log was kept before there were manifests.
    pub fn old(&self) -> PathBuf {
        self.parent.join(&self.prefix)
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// What the disk says.
    #[error("{0}: {1}")]
    Disk(PathBuf, io::Error),
    /// The manifest says what no manifest says.
    #[error("{0}: {1}")]
    Manifest(PathBuf, ManifestError),
    /// There are files of a log, and nothing tells in which order they belong.
    #[error(
        "{0} is missing, but there are files of an append-only log (such as {1}), which would be overwritten"
    )]
    NoManifest(PathBuf, String),
}

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    disk: Arc<dyn Disk>,
    place: Place,
    /// What the manifest on the disk says, or what it said when that was last known.
    manifest: Manifest,
    /// It is known. It is not while the last attempt to write it has failed.
    is_known: bool,
    /// Files that are no longer needed are kept.
    pub keeps_history: bool,
}

impl Directory {
    /// Opens a directory, made if there is none. What it holds is in [`manifest`](Self::manifest), nothing perhaps.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open(disk: Arc<dyn Disk>, place: Place) -> Result<Directory, DirectoryError> {
        let path = place.manifest();
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |e| DirectoryError::Disk(path, e)
        };
        let known = match read(&*disk, &path).map_err(failed(&path))? {
            Some(text) => {
                let manifest = Manifest::parse(&text);
                let manifest = manifest.map_err(|e| DirectoryError::Manifest(path.clone(), e))?;
                // Who wrote it may have been killed before it was lasting, and what comes now relies on it.
                for dir in [&place.dir, &place.parent] {
                    disk.sync_dir(dir).map_err(failed(dir))?;
                }
                Some(manifest)
            }
            None => {
                disk.make_dir(&place.dir).map_err(failed(&place.dir))?;
                disk.sync_dir(&place.parent)
                    .map_err(failed(&place.parent))?;
                let names = disk.list(&place.dir).map_err(failed(&place.dir))?;
                if let Some(name) = names.into_iter().find(|name| is_part(name, &place.prefix)) {
                    return Err(DirectoryError::NoManifest(path, name));
                }
                None
            }
        };
        let is_new = known.is_none();
        let mut directory = Directory {
            disk,
            place,
            manifest: known.unwrap_or_default(),
            is_known: true,
            keeps_history: false,
        };
        if is_new {
            // Before any file, so that no file is ever there without it.
            let written = directory.persist(Manifest::default());
            written.map_err(failed(&path))?;
        }
        Ok(directory)
    }

    /// An old log, one file beside the directory, becomes the base of this one, if there is one and this is empty; its
    /// name then.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn adopt(&mut self) -> Result<Option<&str>, DirectoryError> {
        let prefix = self.place.prefix.clone();
        let (old, new) = (self.place.old(), self.place.file(&prefix));
        let failed = |e| DirectoryError::Disk(old.clone(), e);
        let is_new = self.manifest.is_empty();
        let is_there = |path: &PathBuf| match self.disk.size(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(DirectoryError::Disk(path.clone(), e)),
        };
        // The manifest comes first, so that whoever is interrupted here goes on next time.
        let interrupted = self.manifest.is_only(&prefix) && !is_there(&new)?;
        if !(is_new || interrupted) || !is_there(&old)? {
            return Ok(None);
        }
        if is_new {
            let mut manifest = self.manifest.clone();
            manifest.adopt(prefix);
            self.persist(manifest).map_err(failed)?;
        }
        self.disk.rename(&old, &new).map_err(failed)?;
        self.disk.sync_dir(&self.place.dir).map_err(failed)?;
        self.disk.sync_dir(&self.place.parent).map_err(failed)?;
        Ok(Some(&self.place.prefix))
    }

    /// Which files there are.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The disk that it is on.
    pub const fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Where it is.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Bytes of the files that are loaded.
    pub fn size(&self) -> u64 {
        let sizes = self.manifest.parts().map(|(part, _)| self.size_of(part));
        sizes.sum()
    }

    /// Bytes of a file; none if it is not there.
    pub fn size_of(&self, part: &Part) -> u64 {
        let size = self.disk.size(&self.place.file(&part.name));
        size.unwrap_or(0)
    }

    /// Makes a file for a further log; the manifest does not name it yet.
    pub(super) fn create(&mut self) -> io::Result<(Part, Box<dyn DiskFile>)> {
        let part = self.manifest.claim_increment(&self.place.prefix);
        let file = self.disk.create(&self.place.file(&part.name))?;
        self.disk.sync_dir(&self.place.dir)?;
        Ok((part, file))
    }

    /// A log is begun: the manifest names it from now on.
    pub(super) fn add(&mut self, part: Part) -> io::Result<()> {
        let mut manifest = self.manifest.clone();
        manifest.add_increment(part);
        self.persist(manifest)
    }

    /// Sees that the manifest on the disk is the one that is known, after another could not be written.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        match self.is_known {
            true => Ok(()),
            false => self.persist(self.manifest.clone()),
        }
    }

    /// Removes a log that the manifest never named.
    pub(super) fn discard(&mut self, part: &Part) {
        // A manifest that names it may be on the disk all the same.
        if self.restore().is_err() {
            return;
        }
        tracing::info!("Removing the temp incr aof file {}", part.name);
        if let Err(e) = self.disk.remove(&self.place.file(&part.name)) {
            tracing::warn!("Cannot remove {}: {e}", part.name);
        }
    }

    /// The file under a temporary name becomes the base. What follows it is the log `then`, which the manifest may name
    /// already or not, if there is one.
    ///
    /// # Errors
    /// Those of the disk: then everything is as it was.
    pub fn rebase(&mut self, temporary: &str, rdb: bool, then: Option<&Part>) -> io::Result<()> {
        let part = self.manifest.claim_base(&self.place.prefix, rdb);
        let (from, to) = (self.place.file(temporary), self.place.file(&part.name));
        self.disk.rename(&from, &to)?;
        self.disk.sync_dir(&self.place.dir)?;
        let mut manifest = self.manifest.clone();
        manifest.set_base(part, 0);
        if let Some(then) = then {
            manifest.add_increment(then.clone());
        }
        self.persist(manifest)?;
        self.clean();
        Ok(())
    }

    /// Removes what is no longer needed. When that fails it is tried again next time.
    pub fn clean(&mut self) {
        if self.keeps_history || self.manifest.history.is_empty() {
            return;
        }
        for part in &self.manifest.history {
            let removed = self.disk.remove(&self.place.file(&part.name));
            match removed {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("Cannot remove {}: {e}", part.name);
                    return;
                }
                _ => tracing::info!("Removed the history file {}", part.name),
            }
        }
        let mut manifest = self.manifest.clone();
        manifest.history.clear();
        if let Err(e) = self.persist(manifest) {
            tracing::warn!("Cannot write the manifest of the append-only file: {e}");
        }
    }

    /// Writes a manifest so that either the old one or this is there.
    fn persist(&mut self, manifest: Manifest) -> io::Result<()> {
        let name = self.place.manifest_name();
        let temporary = self.place.file(&format!("temp-{name}"));
        let mut file = self.disk.create(&temporary)?;
        file.write_all(manifest.text().as_bytes())?;
        file.sync()?;
        drop(file);
        self.disk.rename(&temporary, &self.place.file(&name))?;
        // Until this has ended, whether that lasts is unknown.
        self.is_known = false;
        self.disk.sync_dir(&self.place.dir)?;
        self.is_known = true;
        self.manifest = manifest;
        Ok(())
    }
}

/// What a file says, if there is one.
fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = Vec::new();
    file.take(LARGEST_MANIFEST).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// Whether a file is named as a part of a log is.
fn is_part(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix).and_then(|r| r.strip_prefix('.'));
    let Some((seq, kind)) = rest.and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    seq.parse::<u64>().is_ok() && matches!(kind, "base.rdb" | "base.aof" | "incr.aof")
}

impl Kind {
    /// As messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Base => "BASE",
            Kind::Increment => "INCR",
            Kind::History => "HISTORY",
        }
    }
}
