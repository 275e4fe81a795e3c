//! A data set written as commands: they make it again, here and on a real server, to the last deadline and the last
//! pending entry.

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

use common::node::{Node, one};
use common::peer::tool;
use common::{Client, Reply, Server, history};
use redkeep::util::clock::{Clock, ManualClock, SystemClock};
use redkeep::util::rng::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];
/// The latest time that all servers take.
const LATE: &str = "99999999999999";

/// The commands one by one.
fn apart(mut commands: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    while !commands.is_empty() {
        let (words, rest) = one(commands);
        all.push(words);
        commands = rest;
    }
    all
}

/// The commands as lines, without SELECT.
fn lines(node: &mut Node) -> Vec<String> {
    let all = apart(&node.as_commands()).into_iter().skip(1);
    let line = |words: Vec<Vec<u8>>| {
        let words: Vec<_> = words.iter().map(|w| w.escape_ascii().to_string()).collect();
        words.join(" ")
    };
    all.map(line).collect()
}

/// The contents, without the one number that no command tells: productions ever remembered.
fn contents(node: &mut Node) -> Vec<String> {
    let without = |line: String| match line.split_once("iids-added :") {
        None => line,
        Some((before, after)) => {
            before.to_owned() + after.trim_start_matches(|c: char| c.is_ascii_digit())
        }
    };
    node.contents().into_iter().map(without).collect()
}

fn node(now: i64) -> (Arc<ManualClock>, Node) {
    let clock = Arc::new(ManualClock::at_ms(now));
    let node = Node::new(clock.clone(), 1);
    (clock, node)
}

/// An instance that loads the commands, all of which succeed.
fn made(clock: &Arc<ManualClock>, commands: &[u8]) -> Node {
    let mut again = Node::new(clock.clone(), 2);
    again.engine.refresh_time();
    let mut replay = again.engine.begin_replay();
    for words in apart(commands) {
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        again.engine.replay(&mut replay, &args).unwrap();
        let errors = again.engine.state().sys.stats.unexpected_errors;
        let line = words.join(&b' ');
        assert_eq!(errors, 0, "{}", line.escape_ascii());
    }
    again.engine.end_replay(replay);
    again
}

#[test]
fn what_a_history_comes_to_is_made_again() {
    for seed in 0..10 {
        let (clock, mut leader) = node(1_700_000_000_000);
        let mut rng = Rng::seed_from_u64(seed);
        for step in 0..2000 {
            leader.run(&history::command(&mut rng));
            if rng.chance(0.2) {
                clock.advance_ms(rng.below(200) as i64);
                // What is over is still there at some cuts.
                if rng.chance(0.5) {
                    leader.engine.tick();
                }
            }
            if step % 100 < 99 {
                continue;
            }
            let mut again = made(&clock, &leader.as_commands());
            assert_eq!(
                contents(&mut leader),
                contents(&mut again),
                "seed {seed}, step {step}"
            );
        }
    }
}

/// Every sample of every type, in several databases, some with a deadline.
fn fill(node: &mut Node) {
    let mut made = 0;
    for (n, sample) in samples::all().into_iter().enumerate() {
        node.line(&format!("SELECT {}", n / 7 % 3));
        let replies = sample.commands.iter().map(|argv| node.run(argv));
        if replies.filter(|r| r.starts_with(b"-")).count() > 0 {
            node.line("DEL k");
            continue;
        }
        let name = format!("k{n}");
        assert_eq!(
            node.run(&["RENAME", "k", &name]),
            b"+OK\r\n",
            "{}",
            sample.name
        );
        if n % 3 == 0 {
            node.run(&["PEXPIREAT", &name, LATE]);
        }
        made += 1;
    }
    assert!(made > 50, "only {made}");
    node.line("SELECT 0");
}

#[test]
fn values_of_all_types_and_encodings_are_made_again() {
    let (clock, mut ours) = node(1_800_000_000_000);
    fill(&mut ours);
    let odd: [&[&[u8]]; 8] = [
        &[b"SET", b"", b""],
        &[b"SET", b"\0key\r\n", b"*1\r\n\0"],
        &[
            b"RPUSH",
            b"empty elements",
            b"",
            b"",
            b"0",
            b"-0",
            b"00",
            b"+1",
        ],
        &[
            b"SADD",
            b"odd set",
            b"",
            b"\0",
            b"9223372036854775807",
            b"9223372036854775808",
        ],
        &[
            b"HSET",
            b"odd hash",
            b"",
            b"",
            b"\0",
            b"\xff\r\n",
            b"1",
            b"-1",
        ],
        &[
            b"ZADD",
            b"odd zset",
            b"0",
            b"",
            b"-0",
            b"\0",
            b"5e-324",
            b"7",
        ],
        &[
            b"ZADD",
            b"odd zset",
            b"inf",
            b"a",
            b"-inf",
            b"b",
            b"1.7976931348623157e308",
            b"c",
        ],
        &[
            b"ZADD",
            b"odd zset",
            b"0.1",
            b"d",
            b"-1e17",
            b"e",
            b"123456789012345680",
            b"f",
        ],
    ];
    for words in odd {
        assert!(!ours.run(words).starts_with(b"-"), "{words:?}");
    }
    let commands = ours.as_commands();
    let mut again = made(&clock, &commands);
    assert_eq!(contents(&mut ours), contents(&mut again));
    // No command is long, however many elements there are.
    let all = apart(&commands);
    let longest = all.iter().map(Vec::len).max();
    assert_eq!(longest, Some(2 + 2 * 64));
}

#[test]
fn pending_entries_that_are_gone_stay_pending() {
    let (clock, mut ours) = node(1_800_000_000_000);
    for n in 1..=200 {
        ours.line(&format!("XADD s {n}-1 n {n}"));
    }
    for line in [
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g one COUNT 90 STREAMS s >",
        "XREADGROUP GROUP g two COUNT 100 STREAMS s >",
        "XGROUP CREATE s h 0",
        "XREADGROUP GROUP h one COUNT 3 STREAMS s >",
        "XTRIM s MINID 50-1",
        "XDEL s 60-1 77-1 200-1",
        // All pending, and all gone, which were never deleted by name.
        "XADD t 1-1 f v",
        "XADD t 2-1 f v",
        "XGROUP CREATE t g 0",
        "XREADGROUP GROUP g c STREAMS t >",
        "XTRIM t MAXLEN 0",
        // Back beyond what is pending: no entry can hold that place.
        "XADD u 5-1 f v",
        "XGROUP CREATE u g 0",
        "XREADGROUP GROUP g c STREAMS u >",
        "XTRIM u MAXLEN 0",
        "XSETID u 3-0",
    ] {
        assert!(!ours.line(line).starts_with(b"-"), "{line}");
    }
    let mut again = made(&clock, &ours.as_commands());
    let was = ours.line("XPENDING s g - + 1000");
    assert!(was.starts_with(b"*190\r\n"));
    assert_eq!(again.line("XPENDING s g - + 1000"), was);
    assert_eq!(ours.line("DEL u"), b":1\r\n");
    assert!(again.line("XPENDING u g").starts_with(b"*4\r\n:0\r\n"));
    again.line("DEL u");
    assert_eq!(contents(&mut ours), contents(&mut again));
}

#[test]
fn commands_are_those_of_redis() {
    let (_, mut ours) = node(1_800_000_000_000);
    let mut told = |commands: &[&str]| {
        ours.line("FLUSHALL");
        for line in commands {
            assert!(!ours.line(line).starts_with(b"-"), "{line}");
        }
        lines(&mut ours)
    };
    assert_eq!(
        told(&["SET s 12345 PXAT 1800000001234"]),
        ["SET s 12345", "PEXPIREAT s 1800000001234"]
    );
    assert_eq!(told(&["RPUSH l a 1 -5"]), ["RPUSH l a 1 -5"]);
    assert_eq!(told(&["SADD i 3 1 2"]), ["SADD i 1 2 3"]);
    assert_eq!(
        told(&["ZADD z 1 a 2.5 b inf c -inf d 0.1 e"]),
        ["ZADD z -inf d 0.1 e 1 a 2.5 b inf c"]
    );
    assert_eq!(
        told(&[
            "HSET h f v g 1 i 2",
            "HPEXPIREAT h 1800000002000 FIELDS 2 f i",
            "HPEXPIREAT h 1800000001000 FIELDS 1 g",
        ]),
        [
            "HMSET h g 1 i 2 f v",
            "HPEXPIREAT h 1800000001000 FIELDS 1 g",
            "HPEXPIREAT h 1800000002000 FIELDS 2 i f"
        ]
    );
    assert_eq!(
        told(&[
            "XADD st 1-1 f v",
            "XADD st 2-1 f v",
            "XADD st 3-1 f v g w",
            "XGROUP CREATE st g 0",
            "XREADGROUP GROUP g c STREAMS st >",
            "XGROUP CREATECONSUMER st g d",
            "XCLAIM st g c 0 1-1 TIME 1700000000000 RETRYCOUNT 4 JUSTID",
            "XGROUP CREATE st h 2-1",
            "XDEL st 2-1",
        ]),
        [
            "XADD st 1-1 f v",
            "XADD st 2-1 x y",
            "XADD st 3-1 f v g w",
            "XSETID st 3-1 ENTRIESADDED 3 MAXDELETEDID 2-1",
            "XGROUP CREATE st g 3-1 ENTRIESREAD 3",
            "XCLAIM st g c 0 1-1 TIME 1700000000000 RETRYCOUNT 4 JUSTID FORCE",
            "XCLAIM st g c 0 2-1 3-1 TIME 1800000000000 RETRYCOUNT 1 JUSTID FORCE",
            "XGROUP CREATECONSUMER st g d",
            "XGROUP CREATE st h 2-1 ENTRIESREAD -1",
            "XDEL st 2-1",
        ]
    );
    assert_eq!(
        told(&["XGROUP CREATE e g 0 MKSTREAM"]),
        [
            "XADD e MAXLEN 0 0-1 x y",
            "XSETID e 0-0 ENTRIESADDED 0 MAXDELETEDID 0-0",
            "XGROUP CREATE e g 0-0 ENTRIESREAD -1"
        ]
    );
    assert_eq!(
        told(&[
            "XADD n 1-1 f v",
            "XGROUP CREATE n g 0",
            "XREADGROUP GROUP g c STREAMS n >",
            "XNACK n g FAIL IDS 1 1-1 RETRYCOUNT 7",
            "XCFGSET n IDMP-DURATION 50",
            "XADD n IDMP p i * f v",
        ]),
        [
            "XADD n 1-1 f v",
            "XADD n 1800000000000-0 f v",
            "XSETID n 1800000000000-0 ENTRIESADDED 2 MAXDELETEDID 0-0",
            "XGROUP CREATE n g 1-1 ENTRIESREAD 1",
            "XGROUP CREATECONSUMER n g c",
            "XNACK n g FAIL IDS 1 1-1 RETRYCOUNT 7 FORCE",
            "XCFGSET n IDMP-DURATION 50 IDMP-MAXSIZE 100",
            "XIDMPRECORD n p i 1800000000000-0",
        ]
    );
}

/// Commands on keys of all types that Redis writes to the letter as we do.
const SAME: &[&str] = &[
    "SET s text",
    "SET number 12345",
    "SET timed x PXAT 99999999999999",
    "RPUSH l a 1 -5 70000 b",
    "SADD ints 3 1 2",
    "SADD one a",
    "ZADD z 1 a 2.5 b inf c -inf d -7 e",
    "HSET h f v g 1",
    "XADD st 1-1 f v",
    "XADD st 2-1 f v",
    "XADD st 3-1 f v g w",
    "XDEL st 2-1",
    "XGROUP CREATE st g 0",
    "XREADGROUP GROUP g c STREAMS st >",
    "XCLAIM st g c 0 1-1 TIME 1700000000000 RETRYCOUNT 4 JUSTID",
    "XCLAIM st g d 0 3-1 TIME 1600000000000 RETRYCOUNT 2 JUSTID",
    "XGROUP CREATECONSUMER st g e",
    "XGROUP CREATE st h $ ENTRIESREAD 2",
    "XGROUP CREATE empty g $ MKSTREAM",
    "XADD cut 1-1 f v",
    "XTRIM cut MAXLEN 0",
];

#[test]
fn a_real_server_writes_the_same() {
    let Some(real) = Server::redis(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]) else {
        return;
    };
    let (_, mut ours) = node(1_800_000_000_000);
    let mut c = real.client();
    for line in SAME {
        assert!(!c.run(line).is_error(), "{line}");
        ours.line(line);
    }
    // More than one command holds.
    for n in 0..150 {
        for line in [format!("RPUSH many {n}"), format!("SADD numbers {n}")] {
            c.run(&line);
            ours.line(&line);
        }
    }
    c.run("BGREWRITEAOF");
    let dir = real.dir.path().join("appendonlydir");
    let until = Instant::now() + Duration::from_secs(20);
    let base = loop {
        let manifest = fs::read_to_string(dir.join("appendonly.aof.manifest")).unwrap();
        let names = manifest.lines().filter_map(|line| line.split(' ').nth(1));
        if let Some(name) = names.into_iter().find(|name| name.ends_with("2.base.aof")) {
            break fs::read(dir.join(name)).unwrap();
        }
        assert!(Instant::now() < until, "{manifest}");
        std::thread::sleep(Duration::from_millis(5));
    };
    // Keys stand in no order; what makes one key stands together.
    let by_key = |commands: &[u8]| {
        let mut keys: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        for words in apart(commands).into_iter().skip(1) {
            let key = words[if words[0] == b"XGROUP" { 2 } else { 1 }].clone();
            let line = words.join(&b' ').escape_ascii().to_string();
            keys.entry(key).or_default().push(line);
        }
        keys
    };
    assert_eq!(by_key(&ours.as_commands()), by_key(&base));
}

/// Everything that commands and digest tell of all keys, as both servers answer it.
fn told(c: &mut Client) -> Vec<String> {
    let mut all = vec![c.run("DEBUG DIGEST").text()];
    for db in 0..3 {
        c.run(&format!("SELECT {db}"));
        let mut keys: Vec<Reply> = c.run("KEYS *").items().to_vec();
        keys.sort();
        for key in keys {
            let mut ask = |words: &[&str]| {
                let words: Vec<&[u8]> = words
                    .iter()
                    .map(|w| if *w == "@" { key.bytes() } else { w.as_bytes() })
                    .collect();
                c.call(&words).unwrap()
            };
            let digest = ask(&["DEBUG", "DIGEST-VALUE", "@"]);
            let deadline = ask(&["PEXPIRETIME", "@"]);
            let stream = ask(&["XINFO", "STREAM", "@", "FULL", "COUNT", "0"]);
            all.push(format!(
                "{db} {key:?} {digest:?} {deadline:?} {:?}",
                stream.lasting()
            ));
        }
    }
    all
}

/// Keeps what redis-server 7.0 knows, and gives everything that has a deadline a late one.
fn reduce_to_7_0(node: &mut Node) {
    for db in 0..3 {
        node.line(&format!("SELECT {db}"));
        for key in one(&node.line("KEYS *")).0 {
            let dump = node.run(&[&b"DUMP"[..], &key]);
            if dump[dump.len() - 12] > 10 {
                node.run(&[&b"DEL"[..], &key]);
            }
            if node.run(&[&b"PTTL"[..], &key]) != b":-1\r\n" {
                node.run(&[&b"PEXPIREAT"[..], &key, LATE.as_bytes()]);
            }
        }
    }
    node.line("SELECT 0");
}

#[test]
fn a_real_server_makes_the_same_of_them() {
    let redis = [DEBUG, &["--appendonly", "yes"]].concat();
    let Some(mut real) = Server::redis(&redis) else {
        return;
    };
    let ours = Server::redkeep(DEBUG);
    for seed in 0..6 {
        let (clock, mut source) = node(SystemClock::new().now_us() / 1000 - 3_600_000);
        match seed {
            0 => fill(&mut source),
            _ => {
                let mut rng = Rng::seed_from_u64(seed);
                for _ in 0..2000 {
                    source.run(&history::command(&mut rng));
                    if rng.chance(0.2) {
                        clock.advance_ms(rng.below(100) as i64);
                        source.engine.tick();
                    }
                }
            }
        }
        reduce_to_7_0(&mut source);
        let commands = source.as_commands();
        let mut c = ours.client();
        c.run("FLUSHALL");
        for words in apart(&commands) {
            let reply = c.call(&words).unwrap();
            assert!(!reply.is_error(), "{words:?} {reply:?}");
        }
        real.kill();
        let dir = real.dir.path().join("appendonlydir");
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("appendonly.aof.1.base.aof"), &commands).unwrap();
        let manifest = "file appendonly.aof.1.base.aof seq 1 type b\n";
        fs::write(dir.join("appendonly.aof.manifest"), manifest).unwrap();
        let mut checks = vec![Command::new(env!("CARGO_BIN_EXE_redkeep"))];
        checks[0].arg("check-aof");
        checks.extend(tool("redis-check-aof").map(Command::new));
        for mut check in checks {
            let done = check.arg(dir.join("appendonly.aof.manifest")).output();
            let said = String::from_utf8_lossy(&done.unwrap().stdout).into_owned();
            assert!(said.contains("manifest are valid"), "{said}");
        }
        assert!(real.start_again(), "{}", real.log());
        let made = told(&mut c);
        assert!(made.len() > 5, "{made:?}");
        assert_eq!(told(&mut real.client()), made, "seed {seed}");
        let digest = source.line("DEBUG DIGEST");
        assert_eq!(String::from_utf8_lossy(&digest[1..]).trim(), made[0]);
    }
}
