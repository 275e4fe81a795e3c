//! The directory of a topology.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::embed::topology::Error;
use crate::util::rng::Rng;

/// How often to look for a name that nobody has.
const ATTEMPTS: usize = 32;

/// A directory, which goes when this is dropped if nobody asked for it.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    temporary: bool,
}

impl Home {
    /// That directory, made if it is missing; or a temporary one.
    pub(super) fn of(dir: Option<&Path>) -> Result<Home, Error> {
        let temporary = dir.is_none();
        let path = match dir {
            Some(dir) => lasting(dir).map_err(|e| (dir.to_owned(), e)),
            None => passing().map_err(|e| (std::env::temp_dir(), e)),
        };
        let path = path.map_err(|(path, source)| Error::File { path, source })?;
        Ok(Home { path, temporary })
    }

    /// Absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn lasting(dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = fs::canonicalize(dir)?;
    // As the configuration files are that name it.
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(io::ErrorKind::InvalidFilename.into()),
    }
}

/// What the system keeps in memory, where it does: sentinels wait for their files.
const IN_MEMORY: &str = "/dev/shm";

fn passing() -> io::Result<PathBuf> {
    let elsewhere = std::env::temp_dir();
    let parents = [Path::new(IN_MEMORY), &elsewhere];
    let mut made = Err(io::ErrorKind::NotFound.into());
    for parent in parents {
        made = passing_in(parent);
        if made.is_ok() {
            break;
        }
    }
    made
}

fn passing_in(parent: &Path) -> io::Result<PathBuf> {
    let parent = fs::canonicalize(parent)?;
    let mut rng = Rng::from_entropy();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let path = parent.join(format!("redkeep-{:016x}", rng.next_u64()));
        match private(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempts < ATTEMPTS => {}
            done => return done.map(|()| path),
        }
    }
}

/// Makes a directory for this user alone: passwords may be in it.
fn private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.temporary {
            // Somebody else may have removed it.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
