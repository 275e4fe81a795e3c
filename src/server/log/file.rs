//! Where lines go: standard output, or standard error, or a file.
//!
//! Redis opens its log file anew for each line. So whoever rotates logs may rename the file or cut it off, and need not
//! tell the server. Here the file stays open, and one look at its name per line says whether it is still the one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

/// Takes whole lines.
#[derive(Debug)]
pub(super) enum Output {
    Stdout,
    Stderr,
    File(LogFile),
}

impl Output {
    /// The file of this name, or standard output if it is empty. A file that cannot be opened is no output.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(match path.as_os_str().is_empty() {
            true => Self::Stdout,
            false => Self::File(LogFile::open(path)?),
        })
    }
}

impl Write for &Output {
    /// Like Redis, goes on where a line cannot be written: a full disk is no reason to end, and there is nobody to tell.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Output::Stdout => {
                let mut out = io::stdout().lock();
                let _ = out.write_all(line).and_then(|()| out.flush());
            }
            Output::Stderr => {
                let _ = io::stderr().lock().write_all(line);
            }
            Output::File(file) => file.append(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Output;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// A file that is found again by its name.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    #[cfg(unix)]
    id: (u64, u64),
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            open: Mutex::new(Some(Open::at(path)?)),
        })
    }

    /// Writes a line at the end of the file that has the name now. It is lost where there can be none.
    fn append(&self, line: &[u8]) {
        let mut open = self.open.lock();
        if !open.as_ref().is_some_and(|open| open.is_at(&self.path)) {
            *open = Open::at(&self.path).ok();
        }
        if let Some(Open { file, .. }) = open.as_mut() {
            let _ = file.write_all(line);
        }
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            #[cfg(unix)]
            id: identity(&file.metadata()?),
            file,
        })
    }

    /// Whether the name is still this file's.
    #[cfg(unix)]
    fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|there| identity(&there) == self.id)
    }

    /// Here files are told apart by opening them.
    #[cfg(not(unix))]
    fn is_at(&self, _: &Path) -> bool {
        false
    }
}

#[cfg(unix)]
fn identity(meta: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (meta.dev(), meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_may_be_renamed_removed_and_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let output = Output::open(&path).unwrap();
        let log = |line: &str| (&output).write_all(line.as_bytes()).unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        log("1\n");
        fs::rename(&path, &old).unwrap();
        log("2\n");
        assert_eq!((read(&old), read(&path)), ("1\n".into(), "2\n".into()));
        // As copytruncate does.
        fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        log("3\n");
        assert_eq!(read(&path), "3\n");
        fs::remove_file(&path).unwrap();
        log("4\n");
        assert_eq!(read(&path), "4\n");
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below").join("log");
        assert!(Output::open(&path).is_err());
        fs::create_dir(path.parent().unwrap()).unwrap();
        let output = Output::open(&path).unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        (&output).write_all(b"lost\n").unwrap();
        fs::create_dir(path.parent().unwrap()).unwrap();
        (&output).write_all(b"kept\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept\n");
    }
}
