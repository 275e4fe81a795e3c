//! A server on sockets: its own thread, its own runtime, the engine behind it.

mod accept;
mod access;
mod ask;
mod buffers;
mod builder;
mod channel;
mod check;
mod cli;
mod clock;
mod conn;
pub mod daemon;
mod dr;
mod drill;
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
mod pulse;
mod runtime;
mod seldom;
mod sentinel;
mod signal;
mod startup;
mod state;
mod summons;
mod supervised;
mod switchboard;
#[cfg(unix)]
mod syslog;
mod timer;
mod tls;
pub mod topology;
mod transit;
mod wire;

pub use builder::{Builder, StartError};
pub use handle::Server;
pub use listen::ListenError;
pub use tls::TlsError;
