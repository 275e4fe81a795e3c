//! Lists: what reaches the log of effects, when waiting ends, and what a crowd of waiting clients costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::util::clock::ManualClock;

const NIL: &str = "*-1";

/// An engine and its clients, by name.
struct Stage {
    engine: Engine,
    clients: BTreeMap<String, SessionId>,
    clock: Arc<ManualClock>,
}

impl Stage {
    fn new() -> Stage {
        let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
        let mut engine = Engine::new(Options {
            clock: clock.clone(),
            seed: Some(1),
            ..Options::default()
        });
        engine.collect_effects(true);
        Stage {
            engine,
            clients: BTreeMap::new(),
            clock,
        }
    }

    /// The reply; empty from who waits.
    fn run(&mut self, client: &str, line: &str) -> String {
        let engine = &mut self.engine;
        let sid = *self
            .clients
            .entry(client.to_owned())
            .or_insert_with(|| engine.connect(Peer::default()));
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        self.engine.execute(sid, Args::new(&args), &mut reply);
        plain(&reply.take())
    }

    /// What a client that waited has got.
    fn got(&mut self, client: &str) -> String {
        let mut out = ReplyBuf::new(Proto::Resp2);
        self.engine.take_output(self.clients[client], &mut out);
        plain(out.as_slice())
    }

    fn advance(&mut self, ms: i64) {
        self.clock.advance_ms(ms);
        self.engine.tick();
    }

    /// The effects since the last call, without SELECT.
    fn effects(&mut self) -> Vec<String> {
        let log = self.engine.take_effects();
        let text = String::from_utf8_lossy(&log).into_owned();
        let mut lines = text.split("\r\n");
        let mut all = Vec::new();
        while let Some(header) = lines.next().filter(|line| !line.is_empty()) {
            let Ok(n) = header[1..].parse::<usize>() else {
                panic!("no count of arguments: {header}");
            };
            let args: Vec<&str> = (0..n).filter_map(|_| lines.nth(1)).collect();
            if args[0] != "SELECT" {
                all.push(args.join(" "));
            }
        }
        all
    }

    fn check(&mut self, line: &str, effects: &[&str]) {
        self.run("c", line);
        assert_eq!(self.effects(), effects, "{line}");
    }
}

fn plain(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply);
    text.trim_end().replace("\r\n", " ")
}

#[test]
fn what_waits_reaches_the_log_as_what_does_not() {
    let mut stage = Stage::new();
    for (line, effects) in [
        ("RPUSH l a b c d e f g h", &["RPUSH l a b c d e f g h"][..]),
        ("BLPOP x l 0", &["LPOP l"]),
        ("BRPOP l x 1", &["RPOP l"]),
        ("LMPOP 2 x l LEFT COUNT 2", &["LPOP l 2"]),
        ("BLMPOP 0 1 l RIGHT", &["RPOP l 1"]),
        ("BLMOVE l m LEFT RIGHT 0", &["LMOVE l m LEFT RIGHT"]),
        ("BRPOPLPUSH l m 0", &["RPOPLPUSH l m"]),
        ("LMPOP 1 l LEFT COUNT 100", &["LPOP l 1"]),
        ("LMPOP 1 l LEFT", &[]),
        ("LPOP l", &[]),
        ("LPOP m 0", &[]),
        ("LTRIM m 0 -1", &[]),
        ("LREM m 0 nosuch", &[]),
        ("LINSERT m BEFORE nosuch x", &[]),
        ("LSET m 9 x", &[]),
        ("LPUSHX l x", &[]),
        ("LTRIM m 0 0", &["LTRIM m 0 0"]),
        ("LMOVE m m LEFT RIGHT", &["LMOVE m m LEFT RIGHT"]),
    ] {
        stage.check(line, effects);
    }
}

#[test]
fn who_is_woken_is_logged_behind_what_woke_and_in_the_order_of_serving() {
    let mut stage = Stage::new();
    stage.run("a", "BLMOVE src dst LEFT RIGHT 0");
    stage.run("b", "BLMOVE dst src RIGHT LEFT 0");
    stage.run("d", "BRPOPLPUSH src dst 0");
    assert_eq!(stage.run("c", "LPUSH src x"), ":1");
    assert_eq!(
        stage.effects(),
        [
            "LPUSH src x",
            "LMOVE src dst LEFT RIGHT",
            "LMOVE dst src RIGHT LEFT",
            "RPOPLPUSH src dst"
        ]
    );
    assert_eq!(
        ["a", "b", "d"].map(|client| stage.got(client)),
        ["$1 x", "$1 x", "$1 x"]
    );
    stage.run("a", "BLMPOP 0 1 l RIGHT COUNT 9");
    stage.run("c", "MULTI");
    stage.run("c", "RPUSH l 1 2");
    stage.run("c", "RPUSH l 3");
    stage.run("c", "EXEC");
    assert_eq!(
        stage.effects(),
        ["MULTI", "RPUSH l 1 2", "RPUSH l 3", "EXEC", "RPOP l 3"]
    );
}

#[test]
fn waiting_ends_at_the_millisecond() {
    for (timeout, ms) in [("0.5", 500), ("0.0011", 2), ("1e-9", 1), ("1.0005", 1001)] {
        let mut stage = Stage::new();
        stage.run("a", &format!("BLPOP l {timeout}"));
        stage.advance(ms - 1);
        assert_eq!(stage.got("a"), "", "{timeout}");
        stage.advance(1);
        assert_eq!(stage.got("a"), NIL, "{timeout}");
        stage.run("c", "RPUSH l x");
        assert_eq!(
            (stage.got("a"), stage.run("c", "LLEN l")),
            (String::new(), ":1".into())
        );
    }
    // Being run again in vain does not begin the wait anew.
    let mut stage = Stage::new();
    stage.run("a", "BLPOP l 1");
    stage.run("b", "BLPOP l 1");
    stage.advance(999);
    stage.run("c", "RPUSH l x");
    assert_eq!(stage.got("a"), "*2 $1 l $1 x");
    stage.advance(1);
    assert_eq!(stage.got("b"), NIL);
}

#[test]
fn a_list_that_ran_out_of_time_serves_nobody() {
    let mut stage = Stage::new();
    stage.run("a", "BLPOP l 0");
    stage.run("c", "MULTI");
    stage.run("c", "RPUSH l x");
    stage.run("c", "PEXPIREAT l 1");
    stage.run("c", "EXEC");
    assert_eq!(stage.got("a"), "");
    stage.run("c", "RPUSH l y");
    assert_eq!(stage.got("a"), "*2 $1 l $1 y");
}

#[test]
fn a_crowd_is_served_one_by_one_and_in_no_time() {
    const CROWD: usize = 5_000;
    let mut stage = Stage::new();
    for n in 0..CROWD {
        stage.run(&n.to_string(), "BLPOP l m 0");
    }
    let start = Instant::now();
    for n in 0..CROWD {
        assert_eq!(stage.run("c", &format!("RPUSH l {n}")), ":1");
        let (text, name) = (n.to_string(), n.to_string());
        assert_eq!(stage.got(&name), format!("*2 $1 l ${} {text}", text.len()));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}
