//! Data structures that know bytes and nothing of keys or commands.

pub mod bytes;
pub mod listpack;
pub mod table;
