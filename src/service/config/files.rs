//! The file system as far as the configuration needs it.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use crate::util::glob;

/// The most bytes of a file that are read: more than any configuration has, and less than what a device gives.
pub(super) const LARGEST_FILE: u64 = 64 << 20;

/// Where configuration files come from.
pub trait Files {
    /// The contents of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// All of standard input.
    fn stdin(&self) -> io::Result<Vec<u8>>;

    /// The files that a pattern with wildcards matches, in the order of their names; a path without wildcards
    /// stands for itself, whether or not it exists.
    fn expand(&self, pattern: &Path) -> Vec<PathBuf>;

    /// The absolute path of a directory that exists.
    fn directory(&self, path: &Path) -> io::Result<PathBuf>;

    /// The absolute path of a file.
    fn absolute(&self, path: &Path) -> PathBuf;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        whole(fs::File::open(path)?)
    }

    fn stdin(&self) -> io::Result<Vec<u8>> {
        whole(io::stdin().lock())
    }

    fn expand(&self, pattern: &Path) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::new()];
        for component in pattern.components() {
            match component {
                Component::Normal(name) if is_pattern(name.as_encoded_bytes()) => {
                    found = found
                        .iter()
                        .flat_map(|dir| matching(dir, name.as_encoded_bytes()))
                        .collect();
                }
                _ => found.iter_mut().for_each(|path| path.push(component)),
            }
        }
        if is_pattern(pattern.as_os_str().as_encoded_bytes()) {
            found.retain(|path| path.exists());
        }
        found
    }

    fn directory(&self, path: &Path) -> io::Result<PathBuf> {
        let path = fs::canonicalize(path)?;
        if path.is_dir() {
            Ok(path)
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }
}

/// Everything that is there to be read, within bounds.
fn whole(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LARGEST_FILE {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(text),
    }
}

/// The file system of the machine, with a text in place of standard input.
#[derive(Clone, Debug)]
pub struct WithInput(pub Vec<u8>);

impl Files for WithInput {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        SystemFiles.read(path)
    }

    fn stdin(&self) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn expand(&self, pattern: &Path) -> Vec<PathBuf> {
        SystemFiles.expand(pattern)
    }

    fn directory(&self, path: &Path) -> io::Result<PathBuf> {
        SystemFiles.directory(path)
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        SystemFiles.absolute(path)
    }
}

fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|b| b"*?[".contains(b))
}

/// Entries of `dir` that `pattern` matches, sorted. As in a shell, a leading dot must be written out.
fn matching(dir: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let listed = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let Ok(entries) = fs::read_dir(listed) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| {
            let name = name.as_encoded_bytes();
            (!name.starts_with(b".") || pattern.starts_with(b"."))
                && glob::matches(pattern, name, false)
        })
        .collect();
    names.sort();
    names.into_iter().map(|name| dir.join(name)).collect()
}

/// Replaces a file as a whole: readers see the old or the new contents, also after a crash.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written =
        write_through(&temporary, contents, path).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    match path.parent().map(fs::File::open) {
        Some(Ok(dir)) => dir.sync_all(),
        _ => Ok(()),
    }
}

fn write_through(temporary: &Path, contents: &[u8], like: &Path) -> io::Result<()> {
    let mut file = fs::File::create(temporary)?;
    if let Ok(old) = fs::metadata(like) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_patterns_in_every_component() {
        let root = tempfile::tempdir().unwrap();
        for file in ["a/1.conf", "a/2.conf", "b/1.conf", "b/.h.conf", "c"] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let expand = |pattern: &str| -> Vec<String> {
            let found = SystemFiles.expand(&root.path().join(pattern));
            found
                .iter()
                .map(|p| p.strip_prefix(root.path()).unwrap().display().to_string())
                .collect()
        };
        assert_eq!(expand("*/*.conf"), ["a/1.conf", "a/2.conf", "b/1.conf"]);
        assert_eq!(expand("[ab]/1.conf"), ["a/1.conf", "b/1.conf"]);
        assert_eq!(expand("x*/1"), [""; 0]);
        assert_eq!(expand("gone"), ["gone"]);
    }

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x.conf");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert!(replace(&root.path().join("no/such"), b"x").is_err());
    }
}
