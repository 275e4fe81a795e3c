//! What all topologies have, those on real ports and those in virtual time.
//!
//! ```text
//! builder   what is asked for                   node   a node as its user names it
//! files     the configuration of each node      error  what can go wrong
//! fortress  what may be done with one           view   who leads, and whether all is in order
//! ```
//! With the `server` feature `Topology` is one on real ports. A [`Simulation`](crate::embed::simulation::Simulation) is one in
//! memory. What is written for [`Fortress`] runs on both.

pub(crate) mod builder;
mod error;
pub(crate) mod files;
mod fortress;
pub(crate) mod node;
pub(crate) mod view;

pub use builder::Builder;
pub use error::Error;
pub(crate) use fortress::as_fortress;
pub use fortress::{Caller, Fortress};
pub use node::{Node, Role, State};
