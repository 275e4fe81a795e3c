//! Parameters as a program gives them to a builder.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::open::OpenError;
use crate::persist::{Disk, Files as FilesOnDisk};
use crate::service::config::{self, Files, Given, Invocation, Loaded};

/// What is to be saved by itself, whoever starts an instance has to say.
pub(crate) const NOTHING_SAVED: &[&[u8]] = &[b"--save", b""];

/// What both kinds of builder gather.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directives {
    /// Options as on the command line.
    options: Vec<Vec<u8>>,
    /// Where the data set is kept, if it is.
    pub(crate) disk: Option<Arc<dyn Disk>>,
    /// What all randomness begins with, if it is to be repeatable.
    pub(crate) seed: Option<u64>,
}

impl Directives {
    /// Sets a parameter. A later value replaces an earlier one.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.options.push(format!("--{name}").into_bytes());
        let several = config::find(name.as_bytes()).is_some_and(|row| row.multi);
        if several && !value.trim().is_empty() {
            let words = value.split_whitespace();
            self.options
                .extend(words.map(|word| word.as_bytes().to_vec()));
        } else {
            self.options.push(value.as_bytes().to_vec());
        }
        self.may_need_disk(name);
    }

    /// Sets a parameter that is a path.
    pub(crate) fn set_path(&mut self, name: &str, path: &Path) {
        let path = path.as_os_str().as_encoded_bytes().to_vec();
        self.options
            .extend([format!("--{name}").into_bytes(), path]);
        self.may_need_disk(name);
    }

    /// Who says where data is to be kept wants it kept.
    fn may_need_disk(&mut self, name: &str) {
        if name.eq_ignore_ascii_case("dir") {
            self.disk.get_or_insert_with(|| Arc::new(FilesOnDisk));
        }
    }

    /// Gives a command another name.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let words = ["--rename-command", from, to];
        let words = words.map(|word| word.as_bytes().to_vec());
        self.options.extend(words);
    }

    /// The configuration that these make, `first` being what is weaker than they are, and `last` what is stronger.
    ///
    /// # Errors
    /// When a parameter or its value is refused.
    pub(crate) fn load(
        &self,
        given: Given,
        first: &[&[u8]],
        last: &[&[u8]],
        files: &dyn Files,
    ) -> Result<Loaded, OpenError> {
        let owned = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
        let mut argv = owned(first);
        argv.extend_from_slice(&self.options);
        argv.extend(owned(last));
        match config::invocation_as(given, &argv, files)? {
            Invocation::Run(loaded) => Ok(*loaded),
            // Only the first word could ask for that, and it is none of the caller's.
            Invocation::Help | Invocation::Version => {
                Err(io::Error::from(io::ErrorKind::InvalidInput).into())
            }
        }
    }
}
