//! A server on sockets: its own thread, its own runtime, the engine behind it.

mod accept;
mod buffers;
mod check;
mod cli;
mod conn;
pub mod daemon;
mod drill;
mod handle;
mod host;
mod link;
mod listen;
mod log;
mod outgoing;
mod runtime;
mod sentinel;
mod signal;
mod summons;
mod switchboard;
mod wire;

pub use handle::{Builder, Server, StartError};
pub use listen::ListenError;
