//! Why there is no configuration, and how an operator reads it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::service::info::REDIS_VERSION;
use crate::util::system::reason;

/// Where a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line of the file named on the command line.
    File(usize),
    /// Line of a file that was included.
    Included(PathBuf, usize),
    /// Line of standard input.
    Stdin(usize),
    /// Among the options.
    CommandLine,
}

/// Why there is no configuration. Displays as what the operator should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A line was refused.
    Directive {
        /// Where it stands.
        place: Place,
        /// The line.
        line: String,
        /// Why.
        why: String,
    },
    /// An option that Redis has, and that is for something else than running a server.
    Option(String),
    /// A file could not be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => {
                write!(
                    f,
                    "Fatal error, can't open config file '{}': {why}",
                    path.display()
                )
            }
            Self::Option(name) => {
                write!(
                    f,
                    "'{name}' is not supported: the machine is tested by other programs"
                )
            }
            Self::Directive { place, line, why } => {
                writeln!(
                    f,
                    "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***"
                )?;
                match place {
                    Place::File(n) => writeln!(f, "Reading the configuration file, at line {n}")?,
                    Place::Included(path, n) => {
                        writeln!(
                            f,
                            "Reading the configuration file {}, at line {n}",
                            path.display()
                        )?;
                    }
                    Place::Stdin(n) => writeln!(f, "Reading standard input, at line {n}")?,
                    Place::CommandLine => writeln!(f, "Reading the command line")?,
                }
                write!(f, ">>> '{line}'\n{why}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// A line was refused, or a file that it includes.
pub(super) enum LineFault {
    Here(String),
    Below(LoadError),
}

impl From<&str> for LineFault {
    fn from(why: &str) -> Self {
        Self::Here(why.to_owned())
    }
}

impl From<String> for LineFault {
    fn from(why: String) -> Self {
        Self::Here(why)
    }
}

impl From<LoadError> for LineFault {
    fn from(error: LoadError) -> Self {
        Self::Below(error)
    }
}

/// A file could not be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> LoadError {
    LoadError::Unreadable {
        path: path.to_owned(),
        why: reason(error),
    }
}
