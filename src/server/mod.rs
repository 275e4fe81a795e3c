//! A server on sockets: its own thread, its own runtime, the engine behind it.

mod accept;
mod ask;
mod buffers;
mod builder;
mod channel;
mod check;
mod cli;
mod conn;
mod connection;
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
mod url;
mod wire;

pub use builder::{Builder, StartError};
pub use connection::Connection;
pub use handle::Server;
pub use listen::ListenError;
pub use tls::TlsError;
