//! Where in a history of writes files stand: what they say of it is known after they were loaded, if the data are exactly
//! those of that place.
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

use common::Server;
use common::client::encode;
use common::instance::{DIR, Instance, text};
use common::peer::tool;
use common::sim_disk::{Image, SimDisk};
use redkeep::persist::Frame;
use redkeep::persist::aof::reader::vouch;
use redkeep::persist::aof::{Mark, note_position};
use redkeep::replication::Position;
use redkeep::util::clock::ManualClock;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: i64 = 1_700_000_000_000;
const FIRST: &str = "0123456789abcdef0123456789abcdef01234567";
const SECOND: &str = "89abcdef0123456789abcdef0123456789abcdef";

const LOG: [(&str, &str); 2] = [("appendonly", "yes"), ("appendfsync", "no")];

fn at(id: &str, offset: u64, db: Option<usize>) -> Option<Position> {
    Some(Position {
        id: id.to_owned(),
        offset,
        db,
    })
}

fn command(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&line.split(' ').collect::<Vec<_>>(), &mut out);
    out
}

fn line(id: Option<&str>, offset: u64, db: Option<usize>) -> Vec<u8> {
    let mut out = Vec::new();
    note_position(&mut out, Mark { id, offset, db });
    out
}

/// An RDB file with these facts, a key that was over long ago, and a hash of which a field was.
fn rdb(facts: &[(&str, &str)]) -> Vec<u8> {
    let facts: Vec<_> = facts.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
    let mut out = Vec::new();
    let mut frame = Frame::begin_for_good(&mut out, true, &facts);
    frame.sizes(&mut out, 1, 2, 1);
    frame.keys(&mut out, 1, b"\xfc\x01\0\0\0\0\0\0\0\0\x03old\x01v");
    // Deadlines of fields: the first of all, how many; of each what it is behind that, name and value.
    let hash = b"\x18\x01h\x09\0\0\0\0\0\0\0\x02\x01\x01a\x01v\0\x01b\x01v";
    frame.keys(&mut out, 1, hash);
    let header = frame.end(&mut out);
    assert!(out.starts_with(&header));
    out
}

/// A disk with these files of a log.
fn logged(parts: &[(char, &[u8])]) -> SimDisk {
    let mut image = Image::default();
    let dir = Path::new(DIR).join("appendonlydir");
    image.add_dir(DIR);
    image.dirs.insert(dir.clone());
    let mut manifest = String::new();
    for (n, (kind, bytes)) in parts.iter().enumerate() {
        let name = format!("appendonly.aof.{}.{kind}", n + 1);
        manifest += &format!("file {name} seq {} type {kind}\n", n + 1);
        image.files.insert(dir.join(name), Arc::new(bytes.to_vec()));
    }
    let manifest = Arc::new(manifest.into_bytes());
    image
        .files
        .insert(dir.join("appendonly.aof.manifest"), manifest);
    SimDisk::from_image(&image)
}

/// Where a replica stands.
fn position(instance: &Instance) -> Option<Position> {
    let mut engine = instance.node.lock().unwrap();
    engine.state().sys.repl.position()
}

fn load(disk: &SimDisk, options: &[(&str, &str)]) -> Instance {
    Instance::start(disk, options, &ManualClock::at_ms(NOW)).unwrap()
}

/// As [`load`], by a replica, which keeps what its files say of the history of its leader.
fn load_as_replica(disk: &SimDisk, options: &[(&str, &str)]) -> Result<Instance, String> {
    let options = [options, &[("replicaof", "elsewhere 1")]].concat();
    Instance::start(disk, &options, &ManualClock::at_ms(NOW))
}

/// Where a log of these parts stands.
fn stands(parts: &[(char, &[u8])]) -> Option<Position> {
    position(&load_as_replica(&logged(parts), &LOG).unwrap())
}

#[test]
fn an_rdb_file_stands_where_it_says() {
    let said = [
        ("repl-stream-db", "1"),
        ("repl-id", FIRST),
        ("repl-offset", "4711"),
    ];
    for (facts, expected) in [
        (&said[..], at(FIRST, 4711, Some(1))),
        (&said[1..], at(FIRST, 4711, None)),
        (&said[..2], None),
        (&[], None),
    ] {
        let mut image = Image::default();
        image.add_dir(DIR);
        let path = Path::new(DIR).join("dump.rdb");
        image.files.insert(path, Arc::new(rdb(facts)));
        for options in [&[][..], &LOG] {
            let replica = load_as_replica(&SimDisk::from_image(&image), options).unwrap();
            assert_eq!(position(&replica), expected);
            // What is over is part of what stands there, though nobody sees it.
            let mut engine = replica.node.lock().unwrap();
            let db = engine.state().ks.db(1).unwrap();
            let kept = (db.len(), db.volatile_len(), db.partly_volatile_len());
            assert_eq!(
                kept,
                if expected.is_some() {
                    (2, 1, 1)
                } else {
                    (1, 0, 0)
                }
            );
            drop(engine);
            // A leader ends it.
            let instance = load(&SimDisk::from_image(&image), options);
            let mut client = instance.client();
            client.call(["SELECT", "1"]).unwrap();
            assert_eq!(text(&client.call(["GET", "old"]).unwrap()), "");
            assert_eq!(
                client.call(["HLEN", "h"]).unwrap().to_string(),
                "(integer) 1"
            );
            instance.advance_ms(1);
            let mut engine = instance.node.lock().unwrap();
            assert_eq!(engine.state().ks.db(1).unwrap().len(), 1);
        }
    }
}

#[test]
fn a_log_stands_where_its_last_line_says_unless_a_command_follows() {
    let (set, del) = (command("SET k v"), command("DEL k"));
    let (named, short) = (line(Some(FIRST), 10, Some(0)), line(None, 20, Some(3)));
    let other = line(Some(SECOND), 5, None);
    let time = b"#TS:1700000000\r\n".to_vec();
    let base = rdb(&[("repl-id", SECOND), ("repl-offset", "8")]);
    let multi = [command("MULTI"), set.clone()].concat();
    let (first, later) = (at(FIRST, 10, Some(0)), at(FIRST, 20, Some(3)));
    let log = |parts: &[&Vec<u8>]| {
        parts
            .iter()
            .copied()
            .flatten()
            .copied()
            .collect::<Vec<u8>>()
    };
    for (parts, expected) in [
        (vec![('i', log(&[]))], None),
        (vec![('i', log(&[&set, &named]))], first.clone()),
        (vec![('i', log(&[&set, &named, &time]))], first.clone()),
        (vec![('i', log(&[&set, &named, &del]))], None),
        (
            vec![('i', log(&[&set, &named, &del, &short]))],
            later.clone(),
        ),
        (
            vec![('i', log(&[&named, &other, &set, &short]))],
            at(SECOND, 20, Some(3)),
        ),
        // Nobody says of which history.
        (vec![('i', log(&[&set, &short]))], None),
        (
            vec![('i', log(&[&set, &named])), ('i', log(&[&del, &short]))],
            None,
        ),
        (
            vec![('i', log(&[&set, &named])), ('i', log(&[&time]))],
            first.clone(),
        ),
        (vec![('i', log(&[&set, &named])), ('i', log(&[&del]))], None),
        // A base stands where it says, until something follows.
        (vec![('b', base.clone())], at(SECOND, 8, None)),
        (
            vec![('b', base.clone()), ('i', log(&[&time]))],
            at(SECOND, 8, None),
        ),
        (vec![('b', base.clone()), ('i', log(&[&set]))], None),
        (
            vec![('b', base.clone()), ('i', log(&[&set, &named]))],
            first.clone(),
        ),
        (vec![('b', log(&[&base, &set]))], None),
        (
            vec![('b', log(&[&set, &named])), ('i', log(&[]))],
            first.clone(),
        ),
        // A transaction does nothing before its end.
        (vec![('i', log(&[&set, &named, &multi]))], first.clone()),
        (
            vec![('i', log(&[&set, &named, &multi, &short]))],
            first.clone(),
        ),
        (
            vec![('i', log(&[&set, &named, &multi, &command("EXEC")]))],
            None,
        ),
        (
            vec![('i', log(&[&set, &named, &multi, &command("EXEC"), &short]))],
            later,
        ),
        // Lines that say nothing.
        (
            vec![('i', log(&[&set, &named, &b"#AT:x\r\n".to_vec()]))],
            first,
        ),
    ] {
        let parts: Vec<_> = parts
            .iter()
            .map(|(kind, bytes)| (*kind, &bytes[..]))
            .collect();
        assert_eq!(stands(&parts), expected, "{parts:?}");
    }
}

/// A log of batches, each with its position and its voucher; where each ends.
fn batches() -> (Vec<u8>, Vec<usize>) {
    let (mut log, mut ends) = (Vec::new(), vec![0]);
    for (n, lines) in [
        &["SELECT 0", "SET a 1"][..],
        &["RPUSH l x"],
        &["MULTI", "INCR a", "RPUSH l y", "EXEC"],
        &["SELECT 1", "SET b 1"],
        &["INCR b"],
    ]
    .iter()
    .enumerate()
    {
        let mut batch: Vec<u8> = lines.iter().flat_map(|line| command(line)).collect();
        let id = (n % 3 == 0).then_some(FIRST);
        batch.extend(line(id, n as u64 + 1, Some(n / 3)));
        let (sum, len) = (crc32fast::hash(&batch), batch.len() as u64);
        vouch(&mut batch, sum, len, 0);
        log.extend(batch);
        ends.push(log.len());
    }
    (log, ends)
}

#[test]
fn wherever_a_log_is_cut_or_changed_it_stands_where_its_data_do() {
    let (log, ends) = batches();
    let mut states = Vec::new();
    let mut load = |bytes: &[u8]| {
        let mut instance = load_as_replica(&logged(&[('i', bytes)]), &LOG).ok()?;
        Some((instance.contents(), position(&instance)))
    };
    for end in &ends {
        states.push(load(&log[..*end]).unwrap());
    }
    for (n, (_, position)) in states.iter().enumerate() {
        let offset = position.as_ref().map(|position| position.offset);
        assert_eq!(offset, (n > 0).then_some(n as u64));
    }
    let (mut known, mut runs) = (0, 0);
    let mut look = |bytes: &[u8], load: &mut dyn FnMut(&[u8]) -> Option<_>| {
        runs += 1;
        if let Some((contents, Some(position))) = load(bytes) {
            known += 1;
            let position: Position = position;
            let (expected, _) = &states[usize::try_from(position.offset).unwrap()];
            assert_eq!(&contents, expected, "{}", bytes.escape_ascii());
        }
    };
    for cut in 0..log.len() {
        look(&log[..cut], &mut load);
    }
    for at in 0..log.len() {
        let mut bad = log.clone();
        bad[at] ^= 1 << (at % 8);
        look(&bad, &mut load);
    }
    assert!(known * 3 > runs, "{known} of {runs}");
}

#[test]
fn real_servers_and_tools_pass_over_positions() {
    let (log, _) = batches();
    let ours = Path::new(env!("CARGO_BIN_EXE_redkeep")).to_owned();
    let options = [
        "--appendonly",
        "yes",
        "--aof-load-truncated",
        "no",
        "--enable-debug-command",
        "yes",
    ];
    let mut digests = Vec::new();
    for (server, check) in [
        (Some(ours.clone()), Some(ours)),
        (tool("redis-server"), tool("redis-check-aof")),
    ] {
        let (Some(server), Some(check)) = (server, check) else {
            return;
        };
        let mut server = Server::start(&server, &options);
        server.kill();
        let dir = server.dir.path().join("appendonlydir");
        let path = dir.join("appendonly.aof.1.incr.aof");
        fs::write(&path, &log).unwrap();
        let mut check = Command::new(check);
        if server.name().starts_with("redkeep") {
            check.arg("check-aof");
        }
        let out = check.arg(&path).output().unwrap();
        let told = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success() && told.contains("is valid"), "{told}");
        assert!(server.start_again(), "{}", server.log());
        digests.push(server.client().run("DEBUG DIGEST").text());
    }
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], "0".repeat(40));
}
