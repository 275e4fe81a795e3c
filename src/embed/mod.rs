//! A server inside of this process: the engine behind its lock, and clients that need no socket.
//!
//! [`Instance`] is the whole of it, without sockets and without a runtime; [`Server`](crate::Server) is that with sockets. Both are
//! made of the same parts and hand out the same clients.

mod async_client;
mod bell;
mod caller;
mod client;
mod crashed;
pub(crate) mod directives;
mod driver;
pub(crate) mod facts;
mod faults;
mod fragile;
mod giving_back;
mod host;
mod ice;
mod instance;
pub mod jobs;
mod message;
mod node;
pub(crate) mod open;
mod pace;
mod pipeline;
pub mod simulation;
pub mod state;
pub(crate) mod storage;
pub mod topology;
mod users;
pub mod world;

pub use async_client::AsyncClient;
pub use client::{CallError, Client};
pub use crashed::Crashed;
pub use faults::Faults;
pub use fragile::FragileDisk;
pub use ice::{FreezeError, Frozen};
pub use instance::{Instance, InstanceBuilder};
pub use message::Message;
pub use node::{Event, Held, LockError, Node, Posted, Wake};
pub use open::OpenError;
pub use state::{
    Caller, ConsumerView, Database, Diff, Dump, DumpOptions, EntryView, GroupView, Kind, Outcome,
    PendingView, Recorded, Recorder, Selection, Snapshot, StateError, StreamView, Ttl, diff,
};
