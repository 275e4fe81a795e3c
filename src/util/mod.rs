//! Numbers, globs, digests, clocks and randomness.

pub mod clock;
pub mod digest;
pub mod ext80;
pub mod geohash;
pub mod glob;
pub mod num;
pub mod pqsort;
pub mod rng;
pub mod system;
mod wide;
