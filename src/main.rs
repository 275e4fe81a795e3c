//! The `redkeep` binary.

fn main() {}
