//! Access control: rules, what clients may do, and where users are kept.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod clients;
#[path = "../common/mod.rs"]
mod common;
#[cfg(unix)]
mod servers;
mod users;
