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

#[path = "fuzz/bodies.rs"]
mod bodies;
mod common;
#[path = "dump/legacy.rs"]
mod legacy;
#[path = "dump/samples.rs"]
mod samples;
#[path = "dump/target.rs"]
mod target;

use common::node::Node;
use redkeep::exec::State;
use redkeep::exec::persist::load;
use redkeep::exec::persist::save::{self, Purpose, SaveStep};
use redkeep::exec::persist::staging::{Fed, Staging};
use redkeep::persist::{Batch, LoadError, Loaded, Loader};
use redkeep::rdb::Tag;
use redkeep::util::clock::ManualClock;
use std::collections::BTreeSet;
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

/// Loads a file as it is loaded at the start.
fn load(node: &mut Node, file: &[u8]) {
    let (mut loader, mut batch) = (Loader::new(true), Vec::new());
    loader.feed(file);
    loader.feed(&[]);
    let State { ks, sys, .. } = node.engine.state();
    load::begin_load(sys, file.len() as u64);
    loop {
        let plan = load::load_plan(ks, sys);
        let read = loader.batch(plan.bytes, &plan.limits, plan.now, &mut batch);
        let done = loader.position();
        load::put_batch(ks, sys, &mut batch, done, false, plan.now).unwrap();
        if read.unwrap() == Batch::Ended {
            ks.loaded();
            return load::end_load(sys);
        }
    }
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

/// A file with one object, which says that it is of some version.
fn file_of(payload: &[u8], version: u16) -> Vec<u8> {
    let mut file = format!("REDIS{version:04}").into_bytes();
    file.extend([0xFE, 0, 0xF8, 7, 0xFC, 1, 2, 3, 4, 5, 6, 7, 8]);
    file.extend([payload[0], 1, b'k']);
    file.extend(&payload[1..payload.len() - 10]);
    file
}

#[test]
fn a_key_is_there_with_its_last_byte_whatever_the_header_says() {
    let (mut tags, mut most) = (BTreeSet::new(), 0);
    let old = legacy::samples().into_iter().map(|(_, payload, _)| payload);
    let new = samples::all().into_iter().map(|sample| sample.payload);
    for payload in old.chain(new) {
        tags.insert(payload[0]);
        most = most.max(payload.len());
        // What tells that a file begins whose values are newer has been sent by the time that this is known.
        let file = file_of(&payload, 10);
        let piece = 1 + file.len() / 2000;
        let mut loader = Loader::new(true);
        let mut came = None;
        for (n, bytes) in file.chunks(piece).enumerate() {
            loader.feed(bytes);
            let limits = bodies::limits();
            while let Some(loaded) = loader.next(&limits, 0).unwrap() {
                if let Loaded::Key(_) | Loaded::Empty(_) = loaded {
                    assert_eq!(came.replace(n), None);
                }
            }
        }
        assert_eq!(came, Some(file.len().div_ceil(piece) - 1), "{payload:?}");
    }
    assert_eq!(tags.len(), Tag::ALL.len(), "{tags:?}");
    assert!(most > 10_000, "{most}");
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
    let mut other = node(&clock);
    load(&mut other, &file);
    for piece in [1, 7, 1000, 1 << 20] {
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
            other.engine.state().ks.memory()
        );
    }
}
