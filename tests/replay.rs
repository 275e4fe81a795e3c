//! Replaying a log of effects: nothing is over, refused or logged meanwhile, and whoever replays is no client.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::node::{Node, one};
use redkeep::engine::{Engine, Options, Outcome};
use redkeep::exec::replay::{Replay, Unreplayable};
use redkeep::exec::session::{Peer, SessionId};
use redkeep::exec::{Action, Args};
use redkeep::keyspace::event::Classes;
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::service::config::{Allow, Config, Settings};
use redkeep::util::clock::{Clock, ManualClock};
use std::sync::Arc;

/// When logs were written, unix milliseconds.
const THEN: i64 = 1_700_000_000_000;
/// When they are replayed.
const LATER: i64 = 1_900_000_000_000;

/// An engine that replays, and a client that looks at it.
struct Rig {
    engine: Engine,
    clock: Arc<ManualClock>,
    client: SessionId,
    replay: Option<Replay>,
}

impl Rig {
    fn new(config: Config) -> Rig {
        let clock = Arc::new(ManualClock::at_ms(LATER));
        let mut engine = Engine::new(Options {
            settings: Settings::new(config, None),
            clock: clock.clone(),
            seed: Some(7),
            ..Options::default()
        });
        engine.refresh_time();
        let client = engine.connect(Peer {
            trusted: true,
            ..Peer::default()
        });
        let replay = Some(engine.begin_replay());
        Rig {
            engine,
            clock,
            client,
            replay,
        }
    }

    fn replay_args(&mut self, args: &[&[u8]]) -> Result<(), Unreplayable> {
        self.engine.replay(self.replay.as_mut().unwrap(), args)
    }

    fn replay(&mut self, line: &str) -> Result<(), Unreplayable> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.replay_args(&args)
    }

    /// Replays lines of which none may come to an error.
    fn replay_all(&mut self, lines: &[&str]) {
        for line in lines {
            let before = self.unexpected();
            assert_eq!(self.replay(line), Ok(()), "{line}");
            assert_eq!(self.unexpected(), before, "{line} comes to an error");
        }
    }

    fn is_open(&mut self) -> bool {
        let replay = self.replay.as_ref().unwrap();
        self.engine.replays_transaction(replay)
    }

    fn end(&mut self) {
        let replay = self.replay.take().unwrap();
        self.engine.end_replay(replay);
    }

    fn unexpected(&mut self) -> u64 {
        self.engine.state().sys.stats.unexpected_errors
    }

    fn ask_as(&mut self, client: SessionId, args: &[&[u8]]) -> (String, Outcome) {
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        let outcome = self.engine.execute(client, Args::new(args), &mut reply);
        let text = String::from_utf8_lossy(reply.as_slice()).into_owned();
        (text, outcome)
    }

    /// What the client gets.
    fn ask(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.ask_as(self.client, &args).0
    }

    /// As [`ask`](Self::ask), at the time at which the log was written.
    fn ask_then(&mut self, line: &str) -> String {
        self.clock.set_ms(THEN);
        let reply = self.ask(line);
        self.clock.set_ms(LATER);
        reply
    }

    /// The commands that were logged since this was last asked, in order of the alphabet.
    fn logged(&mut self) -> Vec<String> {
        let log = self.engine.take_effects();
        let mut rest = &log[..];
        let mut lines = Vec::new();
        while !rest.is_empty() {
            let (args, behind) = one(rest);
            let words: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
            lines.push(words.join(" "));
            rest = behind;
        }
        lines.sort();
        lines
    }
}

fn rig() -> Rig {
    Rig::new(Config::default())
}

#[test]
fn nothing_is_over_for_what_is_replayed() {
    let mut rig = rig();
    rig.replay_all(&[
        "SET a 1 PXAT 1700000000500",
        "INCR a",
        "APPEND a 0",
        "SET b 1",
        "PEXPIREAT b 1700000000600",
        "SET b 2 KEEPTTL",
        "SETNX a no",
        "SET c 5 EXAT 1700000001",
        "RENAME c d",
        "COPY d e",
        "GETEX e PXAT 1700000002000",
        "GETEX a PERSIST",
        "PERSIST d",
        "INCREX f EXAT 1700000003",
        "INCREX f BYINT 4",
        "SADD s x y",
        "EXPIREAT s 1700000004",
        "SINTERSTORE t s s",
        "SUNIONSTORE s t",
        "LPUSH l 2 1",
        "PEXPIREAT l 1700000005000",
        "SORT l DESC STORE m",
        "LMOVE l m LEFT RIGHT",
        "MSETEX 1 g v PXAT 1700000006000",
        "MOVE g 1",
        "PSETEX rel 10 v",
        "APPEND rel w",
    ]);
    for (ask, answer) in [
        ("GET a", "$2\r\n20\r\n"),
        ("PEXPIRETIME a", ":-1\r\n"),
        ("GET b", "$1\r\n2\r\n"),
        ("PEXPIRETIME b", ":1700000000600\r\n"),
        ("PEXPIRETIME c", ":-2\r\n"),
        ("PEXPIRETIME d", ":-1\r\n"),
        ("PEXPIRETIME e", ":1700000002000\r\n"),
        ("GET f", "$1\r\n5\r\n"),
        ("PEXPIRETIME f", ":1700000003000\r\n"),
        ("PEXPIRETIME s", ":-1\r\n"),
        ("SCARD t", ":2\r\n"),
        ("PEXPIRETIME l", ":1700000005000\r\n"),
        ("LRANGE m 0 -1", "*3\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\n1\r\n"),
        ("GET rel", "$2\r\nvw\r\n"),
        // Relative times count from the clock.
        ("PEXPIRETIME rel", ":1900000000010\r\n"),
    ] {
        assert_eq!(rig.ask_then(ask), answer, "{ask}");
    }
    rig.ask_then("SELECT 1");
    assert_eq!(rig.ask_then("PEXPIRETIME g"), ":1700000006000\r\n");

    // Now time takes what is over, and it is logged.
    rig.end();
    rig.engine.collect_effects(true);
    rig.clock.advance_ms(11);
    while rig
        .engine
        .next_deadline()
        .is_some_and(|at| at <= rig.clock.now_ms())
    {
        rig.engine.tick();
    }
    let mut logged = rig.logged();
    logged.retain(|line| line.starts_with("DEL "));
    let gone = ["b", "e", "f", "g", "l", "rel"];
    assert_eq!(logged, gone.map(|key| format!("DEL {key}")));
}

#[test]
fn nothing_is_over_in_hashes_that_are_replayed() {
    let mut rig = rig();
    let mut donor = Node::new(Arc::new(ManualClock::at_ms(THEN)), 1);
    donor.line("HSET h x 1 y 2");
    donor.line("HPEXPIREAT h 1700000000400 FIELDS 1 x");
    let payload = donor.run(&["DUMP", "h"]);
    let payload = one(&[b"*1\r\n", &payload[..]].concat()).0.remove(0);
    rig.replay_all(&[
        "HSETEX h PXAT 1700000000500 FIELDS 2 a 1 b 2",
        "HINCRBY h a 4",
        "HSET h c 3",
        "HPEXPIREAT h 1700000000600 FIELDS 2 c b",
        "HSETNX h b no",
        "HSETEX h KEEPTTL FIELDS 1 b 8",
        "HGETEX h PXAT 1700000000700 FIELDS 1 c",
        "HSETEX g EXAT 1700000001 FIELDS 1 only 1",
        "COPY g k",
        "HPERSIST k FIELDS 1 only",
        "HSETEX big PXAT 1700000000800 FIELDS 1 long \
         0123456789012345678901234567890123456789012345678901234567890123456789",
        "HINCRBYFLOAT big n 1.5",
        "HDEL h none",
    ]);
    let restore: [&[u8]; 5] = [b"RESTORE", b"r", b"1700000009000", &payload, b"ABSTTL"];
    rig.replay_args(&restore).unwrap();
    rig.replay_all(&["HINCRBY r x 1"]);
    for (ask, answer) in [
        ("HMGET h a b c", "*3\r\n$1\r\n5\r\n$1\r\n8\r\n$1\r\n3\r\n"),
        (
            "HPEXPIRETIME h FIELDS 3 a b c",
            "*3\r\n:1700000000500\r\n:1700000000600\r\n:1700000000700\r\n",
        ),
        ("HPEXPIRETIME g FIELDS 1 only", "*1\r\n:1700000001000\r\n"),
        ("HPEXPIRETIME k FIELDS 1 only", "*1\r\n:-1\r\n"),
        ("HLEN big", ":2\r\n"),
        ("HPEXPIRETIME big FIELDS 1 long", "*1\r\n:1700000000800\r\n"),
        ("HGET r x", "$1\r\n2\r\n"),
        ("HPEXPIRETIME r FIELDS 1 x", "*1\r\n:1700000000400\r\n"),
        ("PEXPIRETIME r", ":1700000009000\r\n"),
    ] {
        assert_eq!(rig.ask_then(ask), answer, "{ask}");
    }
    rig.end();
    rig.engine.collect_effects(true);
    rig.engine.tick();
    let mut logged = rig.logged();
    logged.retain(|line| line.starts_with("DEL ") || line.starts_with("HDEL "));
    assert_eq!(
        logged,
        [
            "DEL r",
            "HDEL big long",
            "HDEL g only",
            "HDEL h a",
            "HDEL h b",
            "HDEL h c"
        ]
    );
}

#[test]
fn only_whoever_replays_sees_what_is_over() {
    let mut rig = rig();
    // As with a replica, which deletes nothing by itself.
    rig.engine.state().ks.expiry_paused = true;
    rig.replay_all(&["SET k v PXAT 1700000000500", "HSETEX h PXAT 5 FIELDS 1 f v"]);
    for _ in 0..2 {
        assert_eq!(rig.ask("GET k"), "$-1\r\n");
        assert_eq!(rig.ask("HGET h f"), "$-1\r\n");
        assert_eq!(rig.ask("RANDOMKEY"), "$-1\r\n");
        assert_eq!(rig.ask("KEYS *"), "*0\r\n");
        rig.replay_all(&["APPEND k w", "HINCRBY h g 1"]);
        assert_eq!(rig.ask("HGET h g"), format!("$1\r\n{}\r\n", 1));
        rig.replay_all(&["HDEL h g"]);
    }
    assert_eq!(rig.ask_then("GET k"), "$3\r\nvww\r\n");
}

#[test]
fn a_transaction_is_done_when_it_ends_and_not_before() {
    let mut rig = rig();
    rig.replay_all(&["SET k 1", "MULTI", "INCR k", "SELECT 2", "SET other 1"]);
    assert!(rig.is_open());
    assert_eq!(rig.ask("GET k"), "$1\r\n1\r\n");
    rig.replay_all(&["EXEC", "SET behind 1"]);
    assert!(!rig.is_open());
    assert_eq!(rig.ask("GET k"), "$1\r\n2\r\n");
    rig.replay_all(&["MULTI", "INCR k"]);
    rig.end();
    assert_eq!(rig.ask("GET k"), "$1\r\n2\r\n");
    assert_eq!(rig.engine.state().sys.queued.get(), 0);
    rig.ask("SELECT 2");
    assert_eq!(rig.ask("MGET other behind"), "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    assert_eq!(rig.unexpected(), 0);
}

#[test]
fn a_transaction_may_be_as_large_as_it_likes() {
    let mut rig = Rig::new(Config {
        client_query_buffer_limit: 1 << 20,
        ..Config::default()
    });
    let value = vec![b'x'; 100];
    rig.replay_all(&["MULTI"]);
    for n in 0..50_000 {
        let key = format!("key:{n}");
        rig.replay_args(&[b"SET", key.as_bytes(), &value]).unwrap();
    }
    assert!(rig.is_open());
    assert_eq!(rig.ask("DBSIZE"), ":0\r\n");
    rig.replay_all(&["EXEC"]);
    assert_eq!(rig.ask("DBSIZE"), ":50000\r\n");
    assert_eq!(rig.engine.state().sys.queued.get(), 0);
}

#[test]
fn what_nobody_could_have_logged_ends_it() {
    let mut rig = rig();
    rig.replay_all(&["SET k 1"]);
    for (line, e) in [
        ("NOSUCH a b", Unreplayable::Unknown("NOSUCH".into())),
        ("XGROUP NOSUCH a b", Unreplayable::Unknown("XGROUP".into())),
        ("GET", Unreplayable::Arity("get".into())),
        ("SET k", Unreplayable::Arity("set".into())),
        ("EXEC now", Unreplayable::Arity("exec".into())),
    ] {
        assert_eq!(rig.replay(line), Err(e), "{line}");
    }
    assert_eq!(
        rig.replay("nosuch").unwrap_err().to_string(),
        "Unknown command 'nosuch'"
    );
    // What follows would get into another database.
    assert_eq!(rig.replay("SELECT 16"), Err(Unreplayable::Database(16)));
    assert_eq!(rig.replay("SET k 2"), Err(Unreplayable::Database(16)));
    assert_eq!(rig.ask("GET k"), "$1\r\n1\r\n");
    rig.end();
    rig.replay = Some(rig.engine.begin_replay());
    rig.replay_all(&["MULTI", "SET k 3", "SELECT 99", "SET k 4"]);
    assert_eq!(rig.replay("EXEC"), Err(Unreplayable::Database(16)));
    assert_eq!(rig.ask("GET k"), "$1\r\n3\r\n");
    assert_eq!(rig.replay_args(&[]), Ok(()));
}

#[test]
fn other_errors_are_counted_and_no_more() {
    let mut rig = rig();
    for line in [
        "LPUSH l 1",
        "INCR l",
        "EXEC",
        "MULTI",
        "MULTI",
        "INCR l",
        "SET k 1",
        "EXEC",
        "EXPIRE k abc",
        "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0",
    ] {
        assert_eq!(rig.replay(line), Ok(()), "{line}");
    }
    let expected = 6;
    assert_eq!(rig.unexpected(), expected);
    assert_eq!(rig.ask("GET k"), "$1\r\n1\r\n");
    let info = rig.ask("INFO stats");
    assert!(info.contains(&format!("unexpected_error_replies:{expected}\r\n")));
    let errors = rig.ask("INFO errorstats");
    assert!(errors.contains("errorstat_WRONGTYPE:count=2"), "{errors}");
    rig.ask("CONFIG RESETSTAT");
    assert_eq!(rig.unexpected(), 0);
}

#[test]
fn what_is_no_effect_is_passed_over() {
    let mut rig = rig();
    let lines = [
        "SHUTDOWN NOSAVE",
        "SUBSCRIBE c",
        "MONITOR",
        "CLIENT PAUSE 100000",
        "CLIENT REPLY OFF",
        "CONFIG SET maxmemory 1",
        "QUIT",
        "RESET",
        "HELLO 3",
        "DEBUG SLEEP 100",
        "BGSAVE",
    ];
    for line in lines {
        assert_eq!(rig.replay(line), Ok(()), "{line}");
    }
    rig.replay_all(&["PING", "MULTI", "SELECT 1"]);
    rig.replay("SHUTDOWN").unwrap();
    rig.replay("EXEC").unwrap();
    assert_eq!(rig.unexpected(), lines.len() as u64 + 1);
    assert_eq!(rig.engine.take_actions(), [] as [Action; 0]);
    rig.replay_all(&["SET k 1"]);
    rig.ask("SELECT 1");
    assert_eq!(rig.ask("GET k"), "$1\r\n1\r\n");
    assert_eq!(rig.ask("PUBLISH c x"), ":0\r\n");
}

#[test]
fn nothing_refuses_what_is_replayed() {
    let mut rig = Rig::new(Config {
        maxmemory: 1,
        maxclients: 1,
        requirepass: "pw".into(),
        ..Config::default()
    });
    let state = rig.engine.state();
    state.sys.persist.loading = Some(Default::default());
    state.sys.persist.failed = true;
    rig.replay_all(&["SET k 1", "MULTI", "APPEND k 2", "EXEC", "SETRANGE k 3 x"]);
    rig.engine.state().sys.persist.loading = None;
    assert_eq!(rig.ask("GET k"), "$4\r\n12\0x\r\n");
    assert!(rig.ask("SET k 2").starts_with("-OOM "));
    // It is among no clients, which may be one.
    assert!(rig.engine.admit(Peer::default()).is_err());
    assert_eq!(rig.engine.state().sessions.len(), 1);
    assert_eq!(rig.ask("CLIENT LIST").matches(" addr=").count(), 1);
    assert!(rig.ask("INFO clients").contains("connected_clients:1\r\n"));
}

#[test]
fn strings_may_be_as_long_as_they_usually_may() {
    let mut rig = Rig::new(Config {
        proto_max_bulk_len: 1 << 20,
        ..Config::default()
    });
    rig.replay_all(&["SETRANGE k 2000000 x", "SETBIT b 17000000 1", "APPEND k y"]);
    rig.replay_all(&["BITFIELD f SET u8 17000000 1"]);
    assert_eq!(rig.ask("STRLEN k"), ":2000002\r\n");
    assert!(rig.ask("APPEND k z").starts_with("-ERR string exceeds"));
    // A few bytes of a file must not make more.
    rig.replay("SETRANGE k 99999999999 x").unwrap();
    assert_eq!(rig.unexpected(), 1);
}

#[test]
fn nobody_waits_in_a_log() {
    let mut rig = rig();
    rig.replay_all(&[
        "BLPOP l 0",
        "BLMOVE l m LEFT RIGHT 0",
        "BRPOPLPUSH l m 0",
        "BZPOPMIN z 0",
        "MULTI",
        "BLPOP l 0",
        "EXEC",
        "XGROUP CREATE s g $ MKSTREAM",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
        "XREAD BLOCK 0 STREAMS s $",
        "WAIT 1 0",
        "LPUSH l 1",
        "BLPOP l 0",
    ]);
    assert_eq!(rig.engine.state().sys.waiters.len(), 0);
    assert_eq!(rig.ask("LLEN l"), ":0\r\n");
}

#[test]
fn nothing_replayed_is_logged_or_told_of() {
    let mut rig = Rig::new(Config {
        slowlog_log_slower_than: 0,
        notify_keyspace_events: Classes(u32::MAX),
        ..Config::default()
    });
    rig.engine.collect_effects(true);
    let monitor = rig.engine.connect(Peer::default());
    rig.ask_as(monitor, &[b"MONITOR"]);
    rig.ask("SLOWLOG RESET");
    rig.ask("CONFIG RESETSTAT");
    rig.logged();
    let mut told = ReplyBuf::new(Proto::Resp2);
    rig.engine.take_output(monitor, &mut told);
    told.clear();
    rig.replay_all(&[
        "SET k 1 PXAT 1700000000500",
        "SPOP none",
        "SADD s a",
        "SPOP s",
        "XADD x * f v",
        "MULTI",
        "INCR k",
        "EXEC",
    ]);
    #[cfg(feature = "lua")]
    rig.replay_args(&[
        b"EVAL",
        b"redis.set_repl(redis.REPL_ALL) return redis.call('incr', 'k')",
        b"0",
    ])
    .unwrap();
    rig.engine.take_output(monitor, &mut told);
    assert_eq!(told.as_slice(), b"");
    assert_eq!(rig.logged(), [""; 0]);
    // RESETSTAT itself, which settled after it had reset.
    let stats = rig.ask("INFO commandstats");
    assert_eq!(stats.matches("cmdstat_").count(), 1, "{stats}");
    let slow = rig.ask("SLOWLOG GET");
    assert!(!slow.contains("SADD") && !slow.contains("incr"), "{slow}");
    // What comes from elsewhere is.
    rig.ask("SET mine 1");
    assert_eq!(rig.logged(), ["SELECT 0", "SET mine 1"]);
}

#[test]
fn listeners_and_those_who_wait_or_watch_hear_of_it() {
    let mut rig = Rig::new(Config {
        notify_keyspace_events: Classes(u32::MAX),
        ..Config::default()
    });
    let [listener, waiter, watcher] = [(); 3].map(|()| rig.engine.connect(Peer::default()));
    rig.ask_as(listener, &[b"PSUBSCRIBE", b"*"]);
    assert_eq!(
        rig.ask_as(waiter, &[b"BLPOP", b"l", b"0"]).1,
        Outcome::Blocked
    );
    rig.ask_as(watcher, &[b"WATCH", b"k"]);
    rig.replay_all(&["SET k 1", "RPUSH l one"]);
    let mut out = ReplyBuf::new(Proto::Resp2);
    rig.engine.take_output(listener, &mut out);
    let heard = String::from_utf8_lossy(out.as_slice()).into_owned();
    for event in ["set", "rpush", "lpop"] {
        assert!(heard.contains(&format!("@0__:{event}\r\n")), "{heard}");
    }
    out.clear();
    rig.engine.take_output(waiter, &mut out);
    assert_eq!(out.as_slice(), b"*2\r\n$1\r\nl\r\n$3\r\none\r\n");
    rig.ask_as(watcher, &[b"MULTI"]);
    assert_eq!(rig.ask_as(watcher, &[b"EXEC"]).0, "*-1\r\n");
    assert!(rig.engine.take_actions().contains(&Action::Wake(waiter)));
}

#[test]
fn the_memory_of_replies_does_not_stay() {
    let mut rig = rig();
    let value = vec![b'x'; 1 << 20];
    rig.replay_args(&[b"SET", b"k", &value]).unwrap();
    rig.replay_all(&["GETDEL k"]);
    // Its room would hold up what is replayed next by as much, for ever.
    rig.replay_all(&["SADD s a", "SPOP s 1", "LPUSH l 1", "LPOP l 1"]);
    assert_eq!(rig.ask("DBSIZE"), ":0\r\n");
}

#[cfg(feature = "lua")]
#[test]
fn scripts_and_functions_of_old_logs_run() {
    let mut rig = Rig::new(Config {
        maxmemory: 1,
        ..Config::default()
    });
    let library = b"#!lua name=lib\n\
        redis.register_function('add', function(keys, args) return redis.call('incrby', keys[1], args[1]) end)";
    let sees = b"#!lua\nif redis.call('exists', KEYS[1]) == 1 then redis.call('append', KEYS[1], ARGV[1]) end \
        redis.call('pexpire', 'fresh', 50) return {1, 2, 3}";
    let sha = redkeep::util::digest::sha1_hex(b"return redis.call('set', KEYS[1], 'by sha')");
    for args in [
        &[&b"FUNCTION"[..], b"LOAD", library][..],
        &[b"FCALL", b"add", b"1", b"n", b"5"],
        &[b"SET", b"old", b"v", b"PXAT", b"1700000000500"],
        &[b"SET", b"fresh", b"v"],
        &[b"EVAL", sees, b"1", b"old", b"w"],
        &[
            b"SCRIPT",
            b"LOAD",
            b"return redis.call('set', KEYS[1], 'by sha')",
        ],
        &[b"EVALSHA", &sha, b"1", b"s"],
        &[b"MULTI"],
        &[b"FCALL", b"add", b"1", b"n", b"6"],
        &[b"EVAL", b"return redis.call('append', 'old', 'x')", b"0"],
        &[b"FUNCTION", b"LOAD", b"REPLACE", library],
        &[b"EXEC"],
    ] {
        let shown = String::from_utf8_lossy(args[0]).into_owned();
        rig.replay_args(args).unwrap();
        assert_eq!(rig.unexpected(), 0, "{shown}");
    }
    assert_eq!(rig.ask("GET n"), "$2\r\n11\r\n");
    assert_eq!(rig.ask("GET s"), "$6\r\nby sha\r\n");
    assert_eq!(rig.ask_then("GET old"), "$3\r\nvwx\r\n");
    assert_eq!(rig.ask("PEXPIRETIME fresh"), ":1900000000050\r\n");
    assert!(rig.ask("FUNCTION LIST").contains("lib"));
    let stats = rig.ask("INFO commandstats");
    assert!(
        !stats.contains("append") && !stats.contains("eval"),
        "{stats}"
    );
    rig.replay_args(&[b"EVAL", b"return redis.call('incr', 's')", b"0"])
        .unwrap();
    assert_eq!(rig.unexpected(), 1);
}

#[test]
fn productions_are_remembered_from_when_they_were_made() {
    let clock = Arc::new(ManualClock::at_ms(THEN));
    let mut leader = Node::new(clock.clone(), 1);
    leader.engine.collect_effects(true);
    for _ in 0..2 {
        // The first is forgotten by then.
        leader.line("XADD s IDMP p once * f v");
        clock.advance_ms(150_000);
    }
    leader.line("XADD s IDMP p late * f v");
    let log = leader.engine.take_effects();
    let (mut later, at, contents) = Node::later(&log, 2, clock.now_ms());
    assert_eq!(contents, leader.contents());
    at.set_ms(clock.now_ms());
    let known = leader.line("XADD s IDMP p late * f v");
    assert_eq!(later.line("XADD s IDMP p late * f v"), known);
    assert_eq!(later.line("XLEN s"), b":3\r\n");
}

#[test]
fn an_expiry_found_by_reading_is_logged_whole_before_what_was_made_of_it() {
    let clock = Arc::new(ManualClock::at_ms(THEN));
    let mut leader = Node::new(clock.clone(), 1);
    leader.engine.collect_effects(true);
    leader.line("RPUSH l 1 2");
    for n in 0..400 {
        leader.line(&format!("HSETEX w_1 PX 10 FIELDS 1 f{n} x"));
    }
    leader.line("HSET w_1 stays x");
    clock.advance_ms(20);
    for n in [0, 7, 100, 300, 399] {
        leader.line(&format!(
            "SORT l BY nosort GET # GET w_*->f{n} STORE out{n}"
        ));
    }
    let log = leader.engine.take_effects();
    let (_, _, contents) = Node::later(&log, 2, clock.now_ms());
    assert_eq!(contents, leader.contents());
}

#[test]
fn what_is_restored_without_fields_that_were_over_is_logged_so() {
    let clock = Arc::new(ManualClock::at_ms(THEN));
    let mut leader = Node::new(clock.clone(), 1);
    leader.line("HSET h a 1 b 2 c 3");
    leader.line("HPEXPIRE h 10 FIELDS 2 a c");
    let payload = leader.run(&["DUMP", "h"]);
    let payload = one(&[b"*1\r\n", &payload[..]].concat()).0.remove(0);
    leader.line("HDEL h b");
    let all_over = leader.run(&["DUMP", "h"]);
    let all_over = one(&[b"*1\r\n", &all_over[..]].concat()).0.remove(0);
    leader.line("DEL h");
    leader.engine.collect_effects(true);
    clock.advance_ms(20);
    leader.run(&[&b"RESTORE"[..], b"r", b"0", &payload[..]]);
    leader.run(&[&b"RESTORE"[..], b"t", b"5000", &payload[..]]);
    leader.line("HINCRBY r a 1");
    leader.line("HSETNX t c new");
    leader.line("SET gone 1");
    leader.run(&[&b"RESTORE"[..], b"gone", b"0", &all_over[..], b"REPLACE"]);
    leader.line("SETNX gone 2");
    assert_eq!(leader.line("HGET r a"), b"$1\r\n1\r\n");
    let log = leader.engine.take_effects();
    let mut follower = Node::new(clock.clone(), 3);
    follower.apply(&log);
    let (_, _, contents) = Node::later(&log, 2, clock.now_ms());
    assert_eq!(contents, leader.contents());
    assert_eq!(follower.contents(), leader.contents());
}

#[test]
fn what_is_delivered_again_is_logged() {
    let clock = Arc::new(ManualClock::at_ms(THEN));
    let mut leader = Node::new(clock.clone(), 1);
    leader.engine.collect_effects(true);
    for line in [
        "XADD s 1-1 f v",
        "XADD s 1-2 f v",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g c STREAMS s >",
    ] {
        leader.line(line);
        clock.advance_ms(5);
    }
    leader.line("XREADGROUP GROUP g c STREAMS s 0");
    leader.line("XREADGROUP GROUP g c COUNT 1 STREAMS s 0");
    let log = leader.engine.take_effects();
    let (mut later, at, contents) = Node::later(&log, 2, clock.now_ms());
    assert_eq!(contents, leader.contents());
    at.set_ms(clock.now_ms());
    let pending = later.line("XPENDING s g - + 9");
    let shown = pending.escape_ascii().to_string();
    assert!(
        shown.contains(":0\\r\\n:3") && shown.contains(":0\\r\\n:2"),
        "{shown}"
    );
}

#[test]
fn what_is_delivered_counts_as_read_where_it_is_done_again() {
    let clock = Arc::new(ManualClock::at_ms(THEN));
    let mut leader = Node::new(clock.clone(), 1);
    leader.engine.collect_effects(true);
    let mut follower = Node::new(clock, 3);
    for line in [
        "XADD s 1-1 f v",
        "XADD s 1-2 f v",
        "XADD s 1-3 f v",
        "XADD s 1-4 f v",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s h 0",
    ] {
        leader.line(line);
    }
    follower.replay(&leader.engine.take_effects());
    leader.line("XREADGROUP GROUP g new COUNT 2 STREAMS s >");
    // The consumer comes with what it owns, and the count of what was read with the last id.
    let delivered = leader.engine.take_effects();
    let words = String::from_utf8_lossy(&delivered).replace("\r\n", " ");
    assert_eq!(words.matches("XCLAIM").count(), 2, "{words}");
    assert!(!words.contains("XGROUP"), "{words}");
    follower.replay(&delivered);
    assert_eq!(follower.contents(), leader.contents());
    for line in [
        // An entry that is gone makes the count one that is estimated, or none.
        "XDEL s 1-3",
        "XREADGROUP GROUP g new STREAMS s >",
        "XREADGROUP GROUP h c NOACK COUNT 1 STREAMS s >",
        // It moves the last id, and has read nothing.
        "XCLAIM s h c 0 1-2 FORCE LASTID 1-2",
        "XREADGROUP GROUP h none STREAMS s 0",
        "XADD s 1-5 f v",
        "XREADGROUP GROUP h other STREAMS s >",
        "XREADGROUP GROUP h empty STREAMS s >",
    ] {
        leader.line(line);
        let log = leader.engine.take_effects();
        follower.replay(&log);
        assert_eq!(follower.contents(), leader.contents(), "{line}");
    }
}

#[test]
fn what_is_sorted_and_stored_does_not_depend_on_the_order_of_a_set() {
    let clock = Arc::new(ManualClock::at_ms(THEN));
    let mut leader = Node::new(clock.clone(), 1);
    leader.engine.collect_effects(true);
    // So many that they stand by hash.
    for n in 0..3000 {
        leader.line(&format!("SADD s m{n}"));
        leader.line(&format!("SET w_m{n} {}", ["same", "other"][n % 2]));
    }
    leader.line("SORT s BY w_* ALPHA STORE out");
    leader.line("SORT s BY none_* ALPHA DESC LIMIT 0 40 STORE few");
    leader.line("SORT s BY nosort STORE plain");
    let log = leader.engine.take_effects();
    let (mut later, at, contents) = Node::later(&log, 99, clock.now_ms());
    assert_eq!(contents, leader.contents());
    at.set_ms(clock.now_ms());
    assert_eq!(
        later.line("LRANGE out 0 -1"),
        leader.line("LRANGE out 0 -1")
    );
}

#[test]
fn nothing_of_it_stays() {
    let mut rig = rig();
    rig.replay_all(&["MULTI", "SET k 1"]);
    rig.end();
    // As often as a server is loaded again, or a leader is lost.
    let before = rig.engine.state().used_memory();
    for _ in 0..100 {
        rig.replay = Some(rig.engine.begin_replay());
        rig.replay_all(&["SELECT 3", "MULTI", "SET k 1"]);
        rig.end();
    }
    assert_eq!(rig.engine.state().used_memory(), before);
    let next = rig.engine.connect(Peer::default());
    assert!(next.0 < 4, "{next:?}");
}

#[test]
fn an_allowance_of_debug_is_not_needed() {
    // What DEBUG may do is a matter of clients; a log has none.
    let mut rig = Rig::new(Config {
        enable_debug_command: Allow::Yes,
        ..Config::default()
    });
    rig.replay("DEBUG POPULATE 10").unwrap();
    assert_eq!((rig.unexpected(), rig.ask("DBSIZE")), (1, ":0\r\n".into()));
}
