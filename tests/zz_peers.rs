//! The closing line of a test run: how many tests could not meet their peer. Cargo runs test binaries in the order of
//! their names, so this one comes last.
#![allow(clippy::expect_used, reason = "a test may stop at the first surprise")]

mod common;

use common::peer;
use std::fs;
use std::io::{self, Write};

#[test]
fn skipped_tests_are_counted() {
    let skipped = fs::read_to_string(peer::skips_file()).unwrap_or_default();
    let _ = fs::remove_file(peer::skips_file());
    let mut lines: Vec<_> = skipped.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    let line = match lines.len() {
        0 => {
            "Every peer (redis-server, redis-cli, Python's and Node's packages) was met: no test was skipped."
                .to_owned()
        }
        n => format!("{n} SKIPPED for want of a peer: {}", lines.join("; ")),
    };
    writeln!(io::stderr(), "{line}").expect("standard error");
}
