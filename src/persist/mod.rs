//! What outlives the process: formats and state machines of the files. Threads and the disk itself are elsewhere.
//!
//! ```text
//! aof    the append-only file
//! disk   what a disk can do, and the one of the operating system
//! frame  an RDB file in the making: header, databases, checksum
//! load   an RDB file taken apart as it comes in
//! write  a file that is there whole or not at all
//! ```

pub mod aof;
pub mod disk;
pub mod frame;
mod input;
pub mod load;
pub mod write;

pub use disk::{DirLock, Disk, DiskFile, Files};
pub use frame::Frame;
pub use load::{Batch, LoadError, Loaded, Loader};
pub use write::{Pending, Target};
