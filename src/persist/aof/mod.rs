//! The append-only file: a directory with a manifest, at most one base, and the logs written since.
//!
//! ```text
//! base       a base that is made of commands
//! directory  the files on the disk, and the manifest that names them
//! log        what is added, what was ordered, and how far it has come
//! manifest   which files there are, in which order
//! position   where in a history of writes a log has come to
//! reader     a log taken apart: commands, notes, and where it is torn or damaged
//!   form       what its commands and lines look like
//!   search     what stands behind the place where it cannot be read on
//!   voucher    the line behind a batch that vouches for it
//! writer     what brings the log to the disk
//! ```

mod base;
pub mod directory;
mod form;
pub mod log;
pub mod manifest;
mod position;
pub mod reader;
mod search;
pub mod voucher;
mod writer;

pub use base::{CommandFrame, note_time};
pub use directory::{Directory, DirectoryError, Place};
pub use log::{Log, Policy, Ticket};
pub use manifest::{Kind, Manifest, ManifestError};
pub use position::{Mark, note_position};
pub use reader::{Entry, Reader, Words, Wrong};
pub use writer::{Tail, Writer};
