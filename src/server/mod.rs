//! A server on sockets: its own thread, its own runtime, the engine behind it.

mod accept;
mod access;
mod ask;
mod buffers;
mod builder;
mod channel;
mod check;
mod cli;
mod conn;
pub mod daemon;
mod dr;
mod drill;
mod faults;
mod ha;
mod handle;
mod host;
mod json;
mod link;
mod listen;
mod log;
mod metrics;
mod migrate;
mod outgoing;
mod parent;
mod runtime;
mod seldom;
mod sentinel;
mod signal;
mod startup;
mod summons;
mod supervised;
mod switchboard;
#[cfg(unix)]
mod syslog;
mod tls;
pub mod topology;
mod transit;
mod wire;

pub use builder::{Builder, StartError};
pub use faults::Crashed;
pub use handle::Server;
pub use listen::ListenError;
pub use tls::TlsError;
