//! A server inside of this process: the engine behind its lock, and a client that needs no socket.

mod client;
mod faults;
mod fragile;
mod ice;
pub mod jobs;
mod message;
mod node;
mod pace;
pub mod simulation;
pub mod state;
pub mod topology;
pub mod world;

pub use client::{CallError, Client};
pub use faults::Faults;
pub use fragile::FragileDisk;
pub use ice::{FreezeError, Frozen};
pub use message::Message;
pub use node::{Event, Held, LockError, Node, Posted, Wake};
pub use state::{
    Caller, ConsumerView, Database, Diff, Dump, DumpOptions, EntryView, GroupView, Kind, Outcome,
    PendingView, Recorded, Recorder, Selection, Snapshot, StateError, StreamView, Ttl, diff,
};
