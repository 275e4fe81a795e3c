//! Data structures that know bytes and nothing of keys or commands.
pub mod listpack;
