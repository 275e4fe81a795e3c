//! Hostile scripts and hostile clients, against the server as a process: it stays, its memory is bounded, and others are
//! served meanwhile.
#![cfg(feature = "server")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod broken;
#[path = "../common/mod.rs"]
mod common;
mod deaf;
mod floods;
mod hoarders;
mod raw;
#[cfg(feature = "lua")]
mod scripts;
mod slow;
mod strangers;
mod witness;
