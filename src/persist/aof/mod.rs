//! The append-only file: a directory with a manifest, at most one base, and the logs written since.
//!
//! ```text
//! manifest  which files there are, in which order
//! reader    a log taken apart: commands, notes, and where it is torn or damaged
//! form      … what its commands and lines look like
//! search    … what stands behind the place where it cannot be read on
//! voucher   the line behind a batch that vouches for it
//! ```

mod form;
pub mod manifest;
pub mod reader;
mod search;
pub mod voucher;

pub use manifest::{Kind, Manifest};
pub use reader::{Entry, Reader, Words, Wrong};
