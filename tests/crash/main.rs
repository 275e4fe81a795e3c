//! Power cuts at every operation on the disk: nothing that was acknowledged is lost, and the server starts again.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod aof;
#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod disk;
mod history;
mod log;
mod rdb;
mod workload;

/// How often each record is made anew, with other chances: `REDKEEP_CRASH_ROUNDS`, or once.
fn rounds() -> u64 {
    let rounds = std::env::var("REDKEEP_CRASH_ROUNDS").ok();
    rounds.map_or(1, |n| n.parse().expect("REDKEEP_CRASH_ROUNDS is a number"))
}
