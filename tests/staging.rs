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

use bodies::Harm;
use common::instance::{DIR, Instance};
use common::node::Node;
use common::sim_disk::SimDisk;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redkeep::engine::{Engine, Options};
use redkeep::exec::State;
use redkeep::exec::persist::load;
use redkeep::exec::persist::save::{self, Purpose, SaveStep};
use redkeep::exec::persist::staging::{Fed, Staging};
use redkeep::persist::{Batch, Frame, LoadError, Loaded, Loader};
use redkeep::rdb::Tag;
use redkeep::replication::Position;
use redkeep::service::config::{Config, Settings};
use redkeep::util::clock::ManualClock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// What a staging holds that was fed all of a file.
fn staged(node: &mut Node, file: &[u8]) -> Staging {
    let mut staging = staging(node);
    assert_eq!(staging.feed(file), Ok(Fed::Ended { rest: 0 }));
    staging
}

/// A file with these keys in database 0.
fn file_with(clock: &Arc<ManualClock>, lines: &[&str]) -> Vec<u8> {
    let mut leader = node(clock);
    lines.iter().for_each(|line| _ = leader.line(line));
    saved(&mut leader)
}

#[test]
fn large_databases_take_as_much_memory_as_when_they_are_loaded() {
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let mut leader = node(&clock);
    for n in 0..30_000 {
        if n % 10_000 == 0 {
            leader.line(&format!("SELECT {}", n / 10_000));
        }
        leader.line(&format!("SET key:{n} value:{n} EX {}", 100 + n % 7));
    }
    let file = saved(&mut leader);
    let mut loaded = node(&clock);
    load(&mut loaded, &file);
    let mut replica = node(&clock);
    let staging = staged(&mut replica, &file);
    replica.engine.adopt(staging).unwrap();
    let (ours, theirs) = (
        replica.engine.state().ks.memory(),
        loaded.engine.state().ks.memory(),
    );
    assert!(ours.abs_diff(theirs) * 50 < theirs, "{ours} {theirs}");
    for db in 0..3 {
        let of = |node: &mut Node| {
            let db = node.engine.state().ks.db(db).unwrap();
            (db.len(), db.volatile_len(), db.avg_ttl(NOW))
        };
        assert_eq!(of(&mut replica), of(&mut loaded));
    }
    assert_eq!(
        replica.engine.state().ks.next_expiry(),
        loaded.engine.state().ks.next_expiry()
    );
}

#[test]
fn keys_that_are_over_stay_until_somebody_says_so() {
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let lines = ["SET k v PX 5", "HSET h a 1 b 2", "HPEXPIRE h 5 FIELDS 1 a"];
    let file = file_with(&clock, &lines);
    clock.advance_ms(100);
    let mut replica = node(&clock);
    let staging = staged(&mut replica, &file);
    assert_eq!((staging.loaded().keys, staging.loaded().expired), (2, 0));
    replica.engine.state().ks.expiry_paused = true;
    replica.engine.adopt(staging).unwrap();
    replica.engine.tick();
    assert_eq!(replica.line("GET k"), b"$-1\r\n");
    assert_eq!(replica.line("HLEN h"), b":1\r\n");
    assert_eq!(replica.line("DBSIZE"), b":2\r\n");
    replica.engine.state().ks.expiry_paused = false;
    replica.engine.tick();
    assert_eq!(replica.line("DBSIZE"), b":1\r\n");
}

#[test]
fn whoever_watches_waits_or_remembers_hears_of_it() {
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let file = file_with(&clock, &["RPUSH queue job", "SET both 1", "SET theirs 1"]);
    let mut replica = node(&clock);
    for line in ["SET ours 1", "SET both 1"] {
        replica.line(line);
    }
    for (name, key) in [
        ("was here", "ours"),
        ("is there", "theirs"),
        ("stays", "both"),
        ("nowhere", "none"),
    ] {
        replica.run_named(name, &["WATCH", key]);
    }
    replica.run_named("tracks", &["HELLO", "3"]);
    replica.run_named("tracks", &["CLIENT", "TRACKING", "ON"]);
    replica.run_named("tracks", &["GET", "ours"]);
    assert_eq!(replica.run_named("waits", &["BLPOP", "queue", "0"]), None);
    replica.engine.collect_effects(true);

    let (mut first, id) = (Vec::new(), {
        let State { ks, sys, .. } = replica.engine.state();
        save::begin_save(ks, sys, Purpose::Background, &mut Vec::new()).unwrap()
    });
    let staging = staged(&mut replica, &file);
    assert_eq!(replica.engine.adopt(staging), Ok(None));

    // The save is given up, and whoever writes it learns of that.
    let State { ks, sys, .. } = replica.engine.state();
    assert!(!ks.in_snapshot() && sys.persist.saving.is_none());
    let step = save::save_step(ks, sys, id, &mut first);
    assert_eq!(step, SaveStep::Cancelled);
    // What was written, all that came, and what the waiting client took.
    assert_eq!(sys.persist.dirty, 2 + (1 + 3) + 1);

    for name in ["was here", "is there", "stays", "nowhere"] {
        replica.run_named(name, &["MULTI"]);
        let reply = replica.run_named(name, &["EXEC"]).unwrap();
        let expected: &[u8] = if name == "nowhere" {
            b"*0\r\n"
        } else {
            b"*-1\r\n"
        };
        assert_eq!(reply, expected, "{name}");
    }
    let told = replica.run_named("tracks", &["PING"]).unwrap();
    assert!(
        told.starts_with(b">2\r\n$10\r\ninvalidate\r\n_\r\n"),
        "{}",
        told.escape_ascii()
    );
    // Nothing but what the waiting client did is an effect.
    let effects = String::from_utf8(replica.engine.take_effects()).unwrap();
    assert!(
        effects.contains("LPOP") && !effects.contains("SET") && !effects.contains("FLUSH"),
        "{effects}"
    );
    let got = replica.run_named("waits", &["PING"]).unwrap();
    assert!(
        got.starts_with(b"*2\r\n$5\r\nqueue\r\n$3\r\njob\r\n"),
        "{}",
        got.escape_ascii()
    );
    assert_eq!(replica.line("EXISTS ours both theirs queue"), b":2\r\n");
}

#[test]
fn old_contents_are_garbage_and_counters_stay() {
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let file = file_with(&clock, &["SET k v"]);
    let mut replica = node(&clock);
    for line in ["SET a 1", "GET a", "GET b", "SELECT 3", "SET a 1"] {
        replica.line(line);
    }
    drop(replica.engine.take_garbage());
    let staging = staged(&mut replica, &file);
    let before = replica.engine.state().ks.read_stats();
    replica.engine.adopt(staging).unwrap();
    assert_eq!(replica.engine.take_garbage().len(), 2);
    assert_eq!(replica.engine.state().ks.read_stats(), before);
    let info = String::from_utf8(replica.line("INFO everything")).unwrap();
    for line in [
        "rdb_last_load_keys_loaded:1",
        "keyspace_hits:1",
        "db0:keys=1,expires=0,avg_ttl=0",
    ] {
        assert!(info.contains(line), "{line}: {info}");
    }
    assert!(!info.contains("db3:"), "{info}");
}

#[test]
fn functions_come_with_it_or_it_does_not_come() {
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let mut replica = node(&clock);
    replica.line("SET old 1");
    replica.run(&["FUNCTION", "LOAD", LIBRARY]);
    let before = replica.contents();

    // Code that does not run.
    let mut bad = Vec::new();
    let mut frame = Frame::begin_for_good(&mut bad, true, &[]);
    frame.function(&mut bad, b"#!lua name=bad\nredis.nonsense()");
    frame.keys(&mut bad, 0, b"\0\x01k\x01v");
    _ = frame.end(&mut bad);
    let staging = staged(&mut replica, &bad);
    assert!(replica.engine.adopt(staging).is_err());
    assert_eq!(replica.contents(), before);
    assert_eq!(replica.line("FCALL f 0"), b":7\r\n");

    // What is not whole does not come either.
    let mut half = self::staging(&mut replica);
    assert_eq!(half.feed(&bad[..bad.len() - 1]), Ok(Fed::Hungry));
    assert!(replica.engine.adopt(half).is_err());
    assert_eq!(replica.contents(), before);

    // None are none.
    let file = file_with(&clock, &["SET k v"]);
    let staging = staged(&mut replica, &file);
    replica.engine.adopt(staging).unwrap();
    assert!(
        replica
            .line("FCALL f 0")
            .starts_with(b"-ERR Function not found")
    );
    assert_eq!(replica.line("FUNCTION LIST"), b"*0\r\n");
}

#[test]
fn facts_say_where_it_stands() {
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let id = "0123456789abcdef0123456789abcdef01234567";
    let facts = [
        ("repl-stream-db", "3".to_owned()),
        ("repl-id", id.to_owned()),
        ("repl-offset", "4711".to_owned()),
    ];
    let mut file = Vec::new();
    let mut frame = Frame::begin_for_good(&mut file, true, &facts);
    let early = file.len();
    frame.keys(&mut file, 0, b"\0\x01k\x01v");
    _ = frame.end(&mut file);
    let position = Some(Position {
        id: id.to_owned(),
        offset: 4711,
        db: Some(3),
    });
    let mut replica = node(&clock);
    let mut staging = staging(&mut replica);
    staging.feed(&file[..early]).unwrap();
    assert_eq!(staging.position(), position);
    staging.feed(&file[early..]).unwrap();
    assert_eq!(replica.engine.adopt(staging), Ok(position));
}

/// Feeds bytes in random pieces; whether they were taken for a whole file.
fn whole(staging: &mut Staging, mut bytes: &[u8], rng: &mut SmallRng) -> bool {
    while !bytes.is_empty() {
        let most = if rng.random() { 50 } else { 5000 };
        let (piece, rest) = bytes.split_at(rng.random_range(0..=most.min(bytes.len())));
        match staging.feed(piece) {
            Ok(Fed::Hungry) => {}
            Ok(Fed::Ended { .. }) => return true,
            Err(_) => {
                assert!(staging.feed(rest).is_err() || rest.is_empty());
                return false;
            }
        }
        bytes = rest;
    }
    false
}

#[test]
fn what_came_to_harm_leaves_everything_as_it_was() {
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let mut leader = node(&clock);
    fill(&mut leader);
    let wanted = digest(&mut leader);
    let file = saved(&mut leader);
    let mut replica = node(&clock);
    replica.line("SET old 1");
    let before = replica.contents();
    let mut rng = SmallRng::seed_from_u64(3);
    let mut unchecked = Engine::new(Options {
        settings: Settings::new(
            Config {
                rdbchecksum: false,
                ..Config::default()
            },
            None,
        ),
        ..Options::default()
    });
    for checked in [true, false] {
        for n in 0..600 {
            let at = rng.random_range(0..file.len());
            let harm = match n % 3 {
                0 => Harm::Cut(at),
                1 => Harm::Set(at, rng.random()),
                _ => Harm::of(
                    rng.random(),
                    at,
                    rng.random_range(1..100),
                    rng.random(),
                    file.len(),
                ),
            };
            let bad = harm.done_to(&file);
            let State { ks, sys, .. } = match checked {
                true => replica.engine.state(),
                false => unchecked.state(),
            };
            let mut staging = Staging::begin(ks, sys);
            let is_whole = whole(&mut staging, &bad, &mut rng);
            assert_eq!(staging.is_whole(), is_whole);
            if checked && is_whole {
                assert!(bad.starts_with(&file), "{harm:?}");
            }
            let memory = staging.memory();
            assert!(memory < 40 * file.len() + (1 << 20), "{memory} {harm:?}");
            if !is_whole {
                assert!(replica.engine.adopt(staging).is_err());
                drop(replica.engine.take_garbage());
            }
        }
        assert_eq!(replica.contents(), before);
    }
    let staging = staged(&mut replica, &file);
    replica.engine.adopt(staging).unwrap();
    assert_eq!(digest(&mut replica), wanted);
}

#[test]
fn an_append_only_log_begins_anew() {
    let clock = ManualClock::at_ms(NOW);
    let file = file_with(&Arc::new(clock.clone()), &["SET k v", "RPUSH l a b"]);
    let disk = SimDisk::new(DIR);
    let options = [("appendonly", "yes"), ("appendfsync", "always")];
    let mut instance = Instance::start(&disk, &options, &clock).unwrap();
    let mut client = instance.client();
    client.call(["SET", "old", "1"]).unwrap();
    let mut staging = {
        let mut engine = instance.node.lock().unwrap();
        let State { ks, sys, .. } = engine.state();
        Staging::begin(ks, sys)
    };
    staging.feed(&file).unwrap();
    client.call(["SET", "older", "1"]).unwrap();
    {
        let mut engine = instance.node.lock().unwrap();
        engine.adopt(staging).unwrap();
        // Until there is a base the old log is what a start would load: all of it.
        let mut again =
            Instance::start(&SimDisk::from_image(&disk.image()), &options, &clock).unwrap();
        assert!(again.contents().contains("older"));
    }
    client.call(["SET", "new", "1"]).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while !instance.tells("persistence", "aof_rewrite_scheduled:0")
        || !instance.tells("persistence", "aof_rewrite_in_progress:0")
    {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(2));
        instance.node.tick().unwrap();
    }
    assert!(instance.tells("persistence", "aof_enabled:1"));
    client.call(["SET", "newer", "1"]).unwrap();
    let contents = instance.contents();
    assert!(
        contents.contains("newer") && !contents.contains("old"),
        "{contents}"
    );
    // As a process that is killed leaves it.
    let left = SimDisk::from_image(&disk.image());
    let mut again = Instance::start(&left, &options, &clock).unwrap();
    assert_eq!(again.contents(), contents);
}
