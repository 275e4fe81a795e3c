//! Redkeep: an embedded Redis-protocol server.
//!
//! The crate is laid out in layers; a file imports only from layers below its own.
//!
//! | layer | modules | knows |
//! |---|---|---|
//! | 0 | [`util`] | nothing |
//! | 1 | [`resp`], [`rdb`], [`ds`], [`spec`] | bytes and data structures |
//! | 2 | [`types`] | the value types and their encodings |
//! | 3 | [`keyspace`] | databases, the edit guard, expiry |
//! | 4 | [`service`], [`persist`], [`replication`] | state machines beside the data: configuration, statistics, files, links |
//! | 5 | [`exec`] | the pipeline that every command takes |
//! | 6 | [`script`], [`commands`] | Lua; the command families |
//! | 7 | [`engine`], [`embed`] | the assembled core; the in-process API |
//! | 8 | `server` | tokio, sockets, signals |

pub mod commands;
pub mod ds;
pub mod embed;
pub mod engine;
pub mod exec;
pub mod keyspace;
pub mod persist;
pub mod rdb;
pub mod replication;
pub mod resp;
#[cfg(feature = "lua")]
pub mod script;
pub mod sentinel;
#[cfg(feature = "server")]
pub mod server;
pub mod service;
pub mod spec;
pub mod types;
pub mod util;

pub use embed::simulation::Simulation;
#[cfg(not(feature = "server"))]
pub use embed::topology;
pub use embed::{AsyncClient, Client, Instance};
pub use resp::Value;
#[cfg(feature = "server")]
pub use server::Server;
#[cfg(feature = "server")]
pub use server::topology::{self, Topology};
pub use service::faults;

/// The examples of the README are compiled and run.
#[cfg(all(doctest, feature = "server", feature = "lua"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// And so is that of the document about files.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../docs/PERSISTENCE.md")]
struct Persistence;

/// And so are those of the document about embedding.
#[cfg(all(doctest, feature = "server", feature = "lua"))]
#[doc = include_str!("../docs/EMBEDDING.md")]
struct Embedding;
