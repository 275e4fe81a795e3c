//! What is declared about a command, as pure data: one const [`Row`] each, and the [`Registry`] of all.
//!
//! Everything that must agree about a command (arity gate, COMMAND INFO and DOCS, ACL categories, keys,
//! propagation) is derived from its row. The handler type is a parameter, so that this layer knows
//! nothing of how a command runs.

pub mod flags;
pub mod keys;
mod names;
pub mod registry;
pub mod row;
pub mod syntax;

pub use flags::{Categories, Flags, category, flag};
pub use keys::{Argv, KeyError, KeyFlags, KeyRef, KeySpec, Keys};
pub use registry::{CommandId, Entry, Lookup, Registry};
pub use row::{Channels, Code, Group, Propagate, Row};

#[cfg(test)]
mod tests;
