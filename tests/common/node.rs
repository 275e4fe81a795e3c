//! An engine without sockets: its effects are applied by another one, and contents are compared.

use redkeep::engine::{Engine, Options, Outcome};
use redkeep::exec::Args;
use redkeep::exec::replay::Replay;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::keyspace::snapshot::{Detail, Form};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::service::config::{Allow, Config, Settings};
use redkeep::util::clock::{Clock, ManualClock};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Databases that contents are compared of.
const DATABASES: usize = 3;

pub struct Node {
    pub engine: Engine,
    client: SessionId,
    /// For looking at the contents: the log's reader keeps its selected database.
    reader: SessionId,
    /// Clients of conversations, by name.
    named: BTreeMap<String, SessionId>,
    /// What is followed.
    stream: Option<Replay>,
}

impl Node {
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Node {
        let config = Config {
            enable_debug_command: Allow::Yes,
            ..Config::default()
        };
        let mut engine = Engine::new(Options {
            settings: Settings::new(config, None),
            clock,
            seed: Some(seed),
            ..Options::default()
        });
        let client = engine.connect(Peer::default());
        let reader = engine.connect(Peer::default());
        Node {
            engine,
            client,
            reader,
            named: BTreeMap::new(),
            stream: None,
        }
    }

    fn run_as<A: AsRef<[u8]>>(&mut self, client: SessionId, args: &[A]) -> (Vec<u8>, Outcome) {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        let outcome = self.engine.execute(client, Args::new(&args), &mut reply);
        (reply.take(), outcome)
    }

    /// A client that waits from now on is left to it; another one goes on.
    pub fn run<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        let (reply, outcome) = self.run_as(self.client, args);
        if outcome == Outcome::Blocked {
            self.client = self.engine.connect(Peer::default());
        }
        reply
    }

    /// As one of several clients; `None` if it waits from now on.
    pub fn run_named<A: AsRef<[u8]>>(&mut self, client: &str, args: &[A]) -> Option<Vec<u8>> {
        let fresh = &mut self.engine;
        let id = *self
            .named
            .entry(client.to_owned())
            .or_insert_with(|| fresh.connect(Peer::default()));
        let (reply, outcome) = self.run_as(id, args);
        (outcome != Outcome::Blocked).then_some(reply)
    }

    fn look<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        self.run_as(self.reader, args).0
    }

    pub fn line(&mut self, line: &str) -> Vec<u8> {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// Applies a log of effects; MULTI and EXEC only say what belongs together.
    pub fn apply(&mut self, mut log: &[u8]) {
        while !log.is_empty() {
            let (args, rest) = one(log);
            log = rest;
            if args[0] != b"MULTI" && args[0] != b"EXEC" {
                let reply = self.run(&args);
                let shown: Vec<_> = args.iter().map(|a| a.escape_ascii().to_string()).collect();
                assert!(
                    reply.first() != Some(&b'-'),
                    "an effect fails: {shown:?} -> {}",
                    reply.escape_ascii()
                );
            }
        }
    }

    /// Replays a log of effects, as whoever loads a file does. No entry may fail.
    pub fn replay(&mut self, log: &[u8]) {
        self.follow(log);
        let stream = self.stream.take().unwrap();
        self.engine.end_replay(stream);
    }

    /// Replays a piece of a stream of effects: whole units. No entry may fail.
    pub fn follow(&mut self, mut log: &[u8]) {
        self.engine.refresh_time();
        let begun = self.stream.take();
        let mut replay = begun.unwrap_or_else(|| self.engine.begin_replay());
        while !log.is_empty() {
            let (args, rest) = one(log);
            log = rest;
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let done = self.engine.replay(&mut replay, &args);
            let failed = self.engine.state().sys.stats.unexpected_errors;
            let shown: Vec<_> = args.iter().map(|a| a.escape_ascii().to_string()).collect();
            assert_eq!((done, failed), (Ok(()), 0), "an effect fails: {shown:?}");
        }
        assert!(!self.engine.replays_transaction(&replay));
        self.stream = Some(replay);
    }

    /// A new node, years later, that has replayed this log, and what it then holds at another time.
    pub fn later(log: &[u8], seed: u64, now_ms: i64) -> (Node, ManualClock, Vec<String>) {
        const YEARS: i64 = 10 * 365 * 24 * 3600 * 1000;
        let clock = ManualClock::at_ms(now_ms + YEARS);
        let mut node = Node::new(Arc::new(clock.clone()), seed);
        node.replay(log);
        clock.set_ms(now_ms);
        let contents = node.contents();
        clock.set_ms(now_ms + YEARS);
        (node, clock, contents)
    }

    /// The keys of all databases.
    fn keys(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut all = Vec::new();
        for db in 0..DATABASES {
            self.look(&["SELECT", &db.to_string()]);
            let reply = self.look(&["KEYS", "*"]);
            let mut keys = one(&reply).0;
            keys.sort();
            all.extend(keys.into_iter().map(|key| (db, key)));
        }
        all
    }

    /// Everything there is, as text.
    pub fn contents(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for (db, key) in self.keys() {
            self.look(&["SELECT", &db.to_string()]);
            let mut ask = |words: &[&[u8]]| -> String {
                let words: Vec<_> = words
                    .iter()
                    .map(|w| if w == b"@" { &key[..] } else { w })
                    .collect();
                let reply = self.look(&words);
                structure(&String::from_utf8_lossy(&reply))
            };
            let kind = ask(&[b"TYPE", b"@"]);
            let digest = ask(&[b"DEBUG", b"DIGEST-VALUE", b"@"]);
            let deadline = ask(&[b"PEXPIRETIME", b"@"]);
            let more = match kind.trim() {
                "+stream" => ask(&[b"XINFO", b"STREAM", b"@", b"FULL", b"COUNT", b"0"]),
                "+hash" => self.field_deadlines(&key),
                _ => String::new(),
            };
            let key = key.escape_ascii();
            all.push(format!("{db} {key} {kind} {digest} {deadline} {more}"));
        }
        let functions = self.look(&["FUNCTION", "LIST", "WITHCODE"]);
        all.push(format!("functions {}", functions.escape_ascii()));
        all
    }

    fn field_deadlines(&mut self, key: &[u8]) -> String {
        let reply = self.look(&[b"HKEYS", key]);
        let mut fields = one(&reply).0;
        fields.sort();
        let count = fields.len().to_string();
        let mut words = vec![
            b"HPEXPIRETIME".to_vec(),
            key.to_vec(),
            b"FIELDS".to_vec(),
            count.into_bytes(),
        ];
        words.extend(fields);
        structure(&String::from_utf8_lossy(&self.look(&words)))
    }

    /// All databases as a snapshot writes them as commands, with the SELECTs that whoever writes a file puts in between.
    pub fn as_commands(&mut self) -> Vec<u8> {
        let ks = &mut self.engine.state().ks;
        ks.begin_snapshot(Detail {
            form: Form::Commands,
            ..Detail::default()
        });
        let (mut out, mut selected, mut done) = (Vec::new(), None, false);
        while !done {
            let step = ks.walk_snapshot(1000, |db, commands| {
                if selected.replace(db) != Some(db) {
                    super::client::encode(&["SELECT", &db.to_string()], &mut out);
                }
                out.extend_from_slice(commands);
            });
            done = step.done;
        }
        ks.end_snapshot();
        out
    }

    /// Moves every key and every function into another node by DUMP and RESTORE.
    pub fn restore_into(&mut self, other: &mut Node) {
        let reply = self.look(&["FUNCTION", "DUMP"]);
        let payload = one(&[b"*1\r\n", &reply[..]].concat()).0.remove(0);
        let reply = other.run(&[&b"FUNCTION"[..], b"RESTORE", &payload[..]]);
        assert_eq!(reply, b"+OK\r\n", "{}", reply.escape_ascii());
        for (db, key) in self.keys() {
            let select = ["SELECT".to_owned(), db.to_string()];
            self.look(&select);
            other.run(&select);
            let reply = self.look(&[b"DUMP", &key[..]]);
            let payload = one(&[b"*1\r\n", &reply[..]].concat()).0.remove(0);
            let deadline = self.look(&[b"PEXPIRETIME", &key[..]]);
            let deadline = String::from_utf8_lossy(&deadline[1..])
                .trim()
                .replace("-1", "0");
            let restore = [
                b"RESTORE",
                &key[..],
                deadline.as_bytes(),
                &payload,
                b"ABSTTL",
            ];
            let reply = other.run(&restore);
            assert!(
                reply.starts_with(b"+OK"),
                "RESTORE {}: {}",
                key.escape_ascii(),
                reply.escape_ascii()
            );
        }
    }
}

/// What a replica must agree on: not how the nodes of a stream are cut, nor when a consumer was last seen, nor how often a
/// production was repeated.
fn structure(text: &str) -> String {
    let mut lines = Vec::new();
    let mut skip = 0;
    for line in text.split("\r\n") {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if [
            "radix-tree-keys",
            "radix-tree-nodes",
            "seen-time",
            "active-time",
            "iids-duplicates",
        ]
        .contains(&line)
        {
            skip = 1;
            continue;
        }
        lines.push(line);
    }
    lines.join(" ")
}

/// The strings of an array, and what follows it.
pub fn one(log: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let (n, mut rest) = number(log, b'*');
    let mut args = Vec::new();
    for _ in 0..n {
        let (len, tail) = number(rest, b'$');
        args.push(tail[..len].to_vec());
        rest = &tail[len + 2..];
    }
    (args, rest)
}

fn number(text: &[u8], mark: u8) -> (usize, &[u8]) {
    assert_eq!(text[0], mark, "{}", text.escape_ascii());
    let end = text.iter().position(|&b| b == b'\r').unwrap();
    let n = std::str::from_utf8(&text[1..end]).unwrap().parse().unwrap();
    (n, &text[end + 2..])
}
