//! What the integration tests share: a plain RESP client that knows nothing of the crate, the servers it talks to,
//! and a readable notation for replies.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "each test binary uses its own part of this module, and a test may stop at the first surprise"
)]

pub mod client;
pub mod contents;
pub mod fleet;
pub mod follower;
pub mod history;
pub mod instance;
pub mod listener;
pub mod node;
pub mod notation;
pub mod peer;
pub mod proxy;
pub mod reply;
pub mod scripted;

pub use redkeep::embed::world::disk as sim_disk;

pub use client::Client;
pub use peer::Server;
pub use proxy::Proxy;
pub use reply::Reply;

/// One command, as its arguments.
pub type Argv = Vec<Vec<u8>>;

/// Builds a command from words separated by single spaces.
pub fn argv(line: &str) -> Argv {
    line.split(' ').map(|w| w.as_bytes().to_vec()).collect()
}
