//! Random commands of the value types, one file per family.

mod bits;
mod dump;
mod geo;
mod hash;
mod hll;
mod list;
mod set;
mod sort;
mod zset;
