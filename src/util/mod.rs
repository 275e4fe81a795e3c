//! Numbers, globs, digests, clocks, randomness and what threads wait for.

pub mod clock;
pub mod digest;
pub(crate) mod earliest;
pub mod ext80;
pub mod geohash;
pub mod glob;
pub mod heap;
pub mod num;
pub mod pqsort;
pub mod prefetch;
pub mod rng;
pub mod system;
pub mod waiting;
mod wide;
