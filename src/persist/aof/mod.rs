//! The append-only file: a directory with a manifest, at most one base, and the logs written since.
//!
//! ```text
//! directory  the files on the disk, and the manifest that names them
//! log        what is added, what was ordered, and how far it has come
//! manifest   which files there are, in which order
//! reader     a log taken apart: commands, notes, and where it is torn or damaged
//! writer     what brings the log to the disk
//! ```

pub mod directory;
pub mod log;
pub mod manifest;
pub mod reader;
mod writer;

pub use directory::{Directory, DirectoryError, Place};
pub use log::{Log, Policy, Ticket};
pub use manifest::{Kind, Manifest};
pub use reader::{Reader, Wrong};
pub use writer::Writer;
