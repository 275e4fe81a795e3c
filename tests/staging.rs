//! A data set that comes in beside the one that is there, and takes its place at once when it is whole.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;
#[path = "dump/samples.rs"]
mod samples;
#[path = "dump/target.rs"]
mod target;

use common::node::Node;
use redkeep::exec::State;
use redkeep::exec::persist::save::{self, Purpose, SaveStep};
use redkeep::exec::persist::staging::{Fed, Staging};
use redkeep::persist::LoadError;
use redkeep::util::clock::ManualClock;
use std::sync::Arc;

const NOW: i64 = 1_700_000_000_000;
const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";

fn node(clock: &Arc<ManualClock>) -> Node {
    Node::new(clock.clone(), 1)
}

/// Every sample of every type in three databases, some with deadlines; fields with deadlines; groups; a function.
fn fill(node: &mut Node) {
    for (n, sample) in samples::all().into_iter().enumerate() {
        if n % 5 == 0 {
            node.line(&format!("SELECT {}", n / 5 % 3));
        }
        sample.commands.iter().for_each(|argv| _ = node.run(argv));
        let name = format!("k{n}");
        node.run(&["RENAME", "k", &name]);
        if n % 3 == 0 {
            node.run(&["PEXPIREAT", &name, "99999999999999"]);
        }
        node.line("DEL k");
    }
    for line in [
        "SELECT 1",
        "SET short-lived v PX 1000",
        "HSET h a 1 b 2 c 3",
        "HPEXPIRE h 1000 FIELDS 1 a",
        "XADD x 1-1 f v",
        "XADD x 2-1 f v",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g alice COUNT 1 STREAMS x >",
        "XREADGROUP GROUP g bob STREAMS x >",
        "SELECT 0",
    ] {
        let reply = node.line(line);
        assert!(!reply.starts_with(b"-"), "{line}");
    }
    node.run(&["FUNCTION", "LOAD", "REPLACE", LIBRARY]);
}

/// What a save writes.
fn saved(node: &mut Node) -> Vec<u8> {
    let mut file = Vec::new();
    let State { ks, sys, .. } = node.engine.state();
    let id = save::begin_save(ks, sys, Purpose::Foreground, &mut file).unwrap();
    let header = loop {
        let mut out = Vec::new();
        let step = save::save_step(ks, sys, id, &mut out);
        file.extend_from_slice(&out);
        if let SaveStep::Done(header) = step {
            break header.unwrap();
        }
    };
    save::end_save(ks, sys, id, true);
    *file.first_chunk_mut().unwrap() = header;
    file
}

fn staging(node: &mut Node) -> Staging {
    let State { ks, sys, .. } = node.engine.state();
    Staging::begin(ks, sys)
}

/// Feeds a file and 40 bytes more, in pieces.
fn feed(staging: &mut Staging, file: &[u8], piece: usize) -> Result<Fed, LoadError> {
    let bytes = [file, &[b'e'; 40]].concat();
    let mut fed = 0;
    for piece in bytes.chunks(piece) {
        fed += piece.len();
        match staging.feed(piece)? {
            Fed::Hungry => {}
            Fed::Ended { rest } => {
                assert_eq!(fed - rest, file.len());
                return Ok(Fed::Ended { rest });
            }
        }
    }
    Ok(Fed::Hungry)
}

fn digest(node: &mut Node) -> String {
    String::from_utf8(node.line("DEBUG DIGEST")).unwrap()
}

#[test]
fn what_is_adopted_is_what_was_saved() {
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let mut leader = node(&clock);
    fill(&mut leader);
    let (contents, wanted) = (leader.contents(), digest(&mut leader));
    assert!(contents.len() > 50, "{}", contents.len());
    let file = saved(&mut leader);
    for piece in [1 << 20] {
        let mut replica = node(&clock);
        for line in [
            "SET old 1",
            "SELECT 2",
            "SET old 2",
            "SELECT 9",
            "SET old 3",
        ] {
            replica.line(line);
        }
        let mut staging = staging(&mut replica);
        let before = digest(&mut replica);
        assert!(matches!(
            feed(&mut staging, &file, piece).unwrap(),
            Fed::Ended { .. }
        ));
        assert!(staging.is_whole());
        assert_eq!(staging.loaded().expired, 0);
        assert_eq!(digest(&mut replica), before);
        assert_eq!(replica.engine.adopt(staging), Ok(None));
        assert_eq!(digest(&mut replica), wanted);
        assert_eq!(replica.contents(), contents);
        assert_eq!(
            replica.engine.state().ks.memory(),
            leader.engine.state().ks.memory()
        );
    }
}
