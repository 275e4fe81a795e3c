//! What happens at the edges of replication: in the middle of batches, transactions and snapshots, and while an instance
//! changes its part. In one process and on one thread, so that every moment can be chosen.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;
mod own_log;
mod position;
mod roles;
mod snapshots;
mod world;
