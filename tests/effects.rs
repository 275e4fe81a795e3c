//! The log of effects is enough: an engine that applies what another one logged comes to the same state, whatever
//! was random, relative to the clock or done by a script.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::history;
use common::node::Node;
use redkeep::util::clock::{Clock, ManualClock};
use redkeep::util::rng::Rng;
use std::sync::Arc;

#[test]
fn applying_the_log_gives_the_same_state() {
    for seed in 0..20 {
        let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
        let mut rng = Rng::seed_from_u64(seed);
        let mut leader = Node::new(clock.clone(), seed);
        let mut follower = Node::new(clock.clone(), seed + 1000);
        leader.engine.collect_effects(true);
        let (mut succeeded, mut whole) = (0, Vec::new());
        for step in 0..3000 {
            let reply = leader.run(&history::command(&mut rng));
            succeeded += usize::from(reply.first() != Some(&b'-'));
            // At once, on the same clock: a follower that expires keys by itself must not be late.
            let effects = leader.engine.take_effects();
            follower.follow(&effects);
            whole.extend(effects);
            if rng.chance(0.2) {
                clock.advance_ms(rng.below(300) as i64);
                // Else commands come upon what is over.
                if rng.chance(0.5) {
                    leader.engine.tick();
                }
                let effects = leader.engine.take_effects();
                follower.follow(&effects);
                whole.extend(effects);
            }
            if step % 100 == 99 {
                assert_eq!(
                    leader.contents(),
                    follower.contents(),
                    "seed {seed}, step {step}"
                );
                // What was found to be over by looking.
                whole.extend(leader.engine.take_effects());
            }
            if step % 1000 == 999 {
                let (_, _, contents) = Node::later(&whole, seed + 2000, clock.now_ms());
                let here = format!("seed {seed}, step {step}, replayed later");
                assert_eq!(leader.contents(), contents, "{here}");
            }
        }
        assert!(succeeded > 1400, "only {succeeded} commands did anything");
    }
}

/// The commands that a log says, one a line, without what only frames them.
fn told(node: &mut Node) -> Vec<String> {
    let log = node.engine.take_effects();
    let mut rest = &log[..];
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let (args, behind) = common::node::one(rest);
        let words: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
        if !["SELECT", "MULTI", "EXEC"].contains(&&*words[0]) {
            lines.push(words.join(" "));
        }
        rest = behind;
    }
    lines
}

#[test]
fn what_is_popped_by_chance_is_logged_as_removed() {
    let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
    let mut node = Node::new(clock, 5);
    node.engine.collect_effects(true);
    node.line("SADD one a");
    node.line("SADD few a b c");
    let many: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    node.line(&format!("SADD many {}", many.join(" ")));
    node.engine.take_effects();

    node.line("SPOP one");
    assert_eq!(told(&mut node), ["SREM one a"]);
    node.line("SPOP few 3");
    assert_eq!(told(&mut node), ["DEL few"]);
    node.line("SADD few a b c");
    node.line("CONFIG SET lazyfree-lazy-server-del yes");
    node.engine.take_effects();
    node.line("SPOP few 10");
    assert_eq!(told(&mut node), ["UNLINK few"]);
    node.line("SPOP missing 3");
    node.line("SPOP many 0");
    node.line("SRANDMEMBER many 3");
    assert_eq!(told(&mut node), [""; 0]);

    // Few of many, and many of many: some at a time.
    for (count, batches) in [
        (10, vec![10]),
        (2500, vec![1024, 1024, 452]),
        (2300, vec![1024, 1024, 252]),
    ] {
        node.line(&format!("SPOP many {count}"));
        let told = told(&mut node);
        assert!(told.iter().all(|line| line.starts_with("SREM many ")));
        let members = told.iter().map(|line| line.split(' ').count() - 2);
        assert_eq!(members.collect::<Vec<_>>(), batches);
    }
    assert_eq!(node.line("SCARD many"), b":190\r\n");
}

/// All that a log says, one command a line.
fn said(node: &mut Node) -> Vec<String> {
    let log = node.engine.take_effects();
    let mut rest = &log[..];
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let (args, behind) = common::node::one(rest);
        let words: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
        lines.push(words.join(" "));
        rest = behind;
    }
    lines
}

#[test]
fn a_transaction_begins_before_a_database_is_selected() {
    let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
    let mut node = Node::new(clock, 5);
    node.engine.collect_effects(true);
    for line in [
        "SELECT 2", "MULTI", "SET a 1", "SELECT 3", "SET b 2", "EXEC", "MULTI", "SET c 3", "EXEC",
    ] {
        node.line(line);
    }
    let unit = [
        "MULTI", "SELECT 2", "SET a 1", "SELECT 3", "SET b 2", "EXEC",
    ];
    assert_eq!(said(&mut node), [&unit[..], &["SET c 3"]].concat());
}

#[test]
fn what_is_found_expired_by_chance_stands_alone() {
    let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
    let mut node = Node::new(clock.clone(), 5);
    let expired = |node: &mut Node, by: &dyn Fn(&mut Node)| {
        node.engine.collect_effects(true);
        node.line("PSETEX a 5 1");
        node.line("PSETEX b 5 1");
        node.engine.take_effects();
        clock.advance_ms(6);
        by(node);
        let mut said = said(node);
        said.sort();
        said
    };
    let alone = ["DEL a", "DEL b"];
    let scan = expired(&mut node, &|node| drop(node.line("SCAN 0")));
    assert_eq!(scan, alone);
    let random = expired(&mut node, &|node| drop(node.line("RANDOMKEY")));
    assert_eq!(random, alone);
    let time = expired(&mut node, &|node| node.engine.tick());
    assert_eq!(time, alone);
    // Whoever reads them both has them end at once, and so does a transaction.
    let both = ["DEL a", "DEL b", "EXEC", "MULTI"];
    let read = expired(&mut node, &|node| drop(node.line("MGET a b")));
    assert_eq!(read, both);
    let transaction = expired(&mut node, &|node| {
        node.line("MULTI");
        node.line("SCAN 0");
        node.line("EXEC");
    });
    assert_eq!(transaction, both);
}

#[test]
fn whoever_waits_ends_no_key_by_that() {
    let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
    let mut node = Node::new(clock.clone(), 5);
    node.run_named("waits", &["BRPOP", "k", "0"]);
    node.engine.collect_effects(true);
    node.line("SELECT 1");
    node.line("RPUSH k v");
    node.line("PEXPIRE k 5");
    node.engine.take_effects();
    clock.advance_ms(6);
    node.line("SWAPDB 0 1");
    node.line("SET other 1");
    assert_eq!(said(&mut node), ["SWAPDB 0 1", "SET other 1"]);
}

#[test]
fn a_time_that_is_the_same_everywhere_stays_as_it_was_sent() {
    let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
    let mut node = Node::new(clock, 5);
    node.engine.collect_effects(true);
    for (line, logged) in [
        (
            "set k v get pxat 1800000000000",
            "set k v get pxat 1800000000000",
        ),
        (
            "SET k v XX PXAT 1800000000000",
            "SET k v XX PXAT 1800000000000",
        ),
        ("SET k v XX EXAT 1800000000", "SET k v PXAT 1800000000000"),
        (
            "SET k v IFEQ v PXAT 1800000000000",
            "SET k v PXAT 1800000000000",
        ),
    ] {
        node.line(line);
        assert_eq!(told(&mut node), [logged], "{line}");
    }
}
