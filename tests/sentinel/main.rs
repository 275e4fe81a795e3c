//! Sentinels as they are seen from outside: quorums of our own, of real ones and of both, over servers of either kind.
//!
//! Each scenario is played by several casts, and all scenarios of a file side by side: they mostly wait. With real sentinels
//! over real servers it checks nothing but itself: `cargo test --test sentinel -- --ignored`. What fails says how it is played
//! alone: `SCENARIO=settings_change SENTINELS=2+1 SERVERS=mixed cargo test --test sentinel`.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

/// Plays scenarios `fn(cast: Cast)`: some with all casts; and those of what sentinels do, whoever serves, over servers of
/// both kinds. With `SERVERS=all` these have all of them too.
macro_rules! play {
    (by all: $($all:ident)*; by quorums: $($quorums:ident)*) => {
        #[test]
        fn side_by_side() {
            super::cast::side_by_side(&[
                $((stringify!($all), super::cast::with_ours(), $all),)*
                $((stringify!($quorums), super::cast::over_both(), $quorums),)*
            ]);
        }
        $(play! { alone: $all })*
        $(play! { alone: $quorums })*
    };
    (alone: $name:ident) => {
        mod $name {
            #[test]
            #[ignore = "checks the scenario itself"]
            fn redis_alone() {
                use super::super::cast::{of_redis, side_by_side};
                side_by_side(&[(stringify!($name), of_redis(), super::$name)]);
            }
        }
    };
}

mod addresses;
mod cast;
#[path = "../common/mod.rs"]
mod common;
mod configuration;
mod discovery;
mod ear;
mod failover;
mod node;
mod pair;
mod passwords;
mod process;
mod quorum;
mod reboot;
mod renamed;
mod replies;
mod restart;
mod runtime;
mod scripts;
mod selection;
mod told;
mod topology;

use std::time::{Duration, Instant};

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Redkeep,
    /// The real one.
    Redis,
}

/// How long anything may take that takes a few seconds, on a machine that has other things to do: two failovers of which
/// the first one had no winner.
const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_nothing(|| match holds() {
        true => Vec::new(),
        false => vec![what.to_owned()],
    });
}

/// Waits until there is nothing to complain about.
fn until_nothing(mut complaints: impl FnMut() -> Vec<String>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = complaints();
        if left.is_empty() {
            return;
        }
        assert!(
            Instant::now() < end,
            "it has not come to that:\n{}",
            left.join("\n")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lines of a configuration.
fn words(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}
