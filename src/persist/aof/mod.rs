//! The append-only file: a directory with a manifest, at most one base, and the logs written since.
//!
//! ```text
//! manifest  which files there are, in which order
//! reader    a log taken apart: commands, notes, and where it is torn or damaged
//! ```

pub mod manifest;
pub mod reader;

pub use manifest::{Kind, Manifest};
pub use reader::{Reader, Wrong};
