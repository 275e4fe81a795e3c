//! Data structures that know bytes and nothing of keys or commands.

pub mod bytes;
pub mod chunks;
pub mod deadlines;
pub mod intset;
pub mod listpack;
pub mod lzf;
pub mod ordered;
pub mod pack;
pub mod packed;
pub mod slim;
pub mod table;
