//! Client-side caching as the clients of an engine see it: who hears of which key, when the table of keys is full, and
//! when clients come and go.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::{Reply, Server};
use proptest::prelude::*;
use redkeep::Value;
use redkeep::engine::{Engine, Options};
use redkeep::exec::session::{Peer, SessionId};
use redkeep::exec::tracking::Tracking;
use redkeep::exec::{Args, State};
use redkeep::resp::{Proto, ReplyBuf, parse_reply};
use redkeep::util::clock::ManualClock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

struct World {
    engine: Engine,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
        let engine = Engine::new(Options {
            clock: clock.clone(),
            seed: Some(1),
            ..Options::default()
        });
        World { engine, clock }
    }

    fn connect(&mut self) -> SessionId {
        self.engine.connect(Peer::default())
    }

    /// A client that speaks RESP3 and tracks.
    fn tracker(&mut self, options: &str) -> SessionId {
        let client = self.connect();
        self.run(client, "HELLO 3");
        assert_eq!(
            self.run(client, &format!("CLIENT TRACKING ON{options}")),
            Value::Simple(b"OK".to_vec())
        );
        client
    }

    /// Runs a command and leaves in the client's outbox what it heard.
    fn run(&mut self, client: SessionId, line: &str) -> Value {
        let (reply, heard) = self.ask(client, line);
        assert!(heard.is_empty(), "{line}: {heard:?}");
        reply
    }

    /// Runs a command: its reply, and what its client heard besides.
    fn ask(&mut self, client: SessionId, line: &str) -> (Value, Vec<String>) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut out = ReplyBuf::new(Proto::Resp2);
        if let Some(session) = self.engine.state().sessions.get(client) {
            out.set_proto(session.proto);
        }
        self.engine.refresh_time();
        self.engine.execute(client, Args::new(&args), &mut out);
        let end = out.len();
        self.engine.take_actions();
        self.engine.take_output(client, &mut out);
        let bytes = out.take();
        let (mut reply, mut heard) = (None, Vec::new());
        let mut rest = &bytes[..];
        while let Some((value, used)) = parse_reply(rest).unwrap() {
            rest = &rest[used..];
            match value {
                Value::Push(push) => {
                    let late = bytes.len() - rest.len() > end;
                    assert!(reply.is_some() || late, "a push before the reply of {line}");
                    heard.push(news(&push));
                }
                value => assert!(reply.replace(value).is_none(), "two replies to {line}"),
            }
        }
        (reply.expect("a reply"), heard)
    }

    /// What a client has heard since it last ran something.
    fn heard(&mut self, client: SessionId) -> Vec<String> {
        self.engine.take_actions();
        let mut out = ReplyBuf::new(Proto::Resp3);
        self.engine.take_output(client, &mut out);
        let bytes = out.take();
        let mut rest = &bytes[..];
        let mut heard = Vec::new();
        while let Some((value, used)) = parse_reply(rest).unwrap() {
            rest = &rest[used..];
            match value {
                Value::Push(push) => heard.push(news(&push)),
                other => panic!("no push: {other:?}"),
            }
        }
        heard
    }

    fn tracking(&mut self) -> &Tracking {
        &self.engine.state().sys.tracking
    }

    /// Ticks whenever the engine wants to, until it has nothing to do soon.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let now = self.clock_ms();
            match self.engine.next_deadline() {
                Some(at) if at <= now + 10 => {
                    self.clock.advance_ms((at - now).max(0));
                    self.engine.tick();
                }
                _ => return,
            }
        }
        panic!("the engine never rests");
    }

    fn clock_ms(&mut self) -> i64 {
        self.engine.refresh_time();
        let State { sys, .. } = self.engine.state();
        sys.now_us / 1000
    }
}

/// What a push says: the keys, `*` for all.
fn news(push: &[Value]) -> String {
    match push {
        [Value::Bulk(what), Value::Array(keys)] if what == b"invalidate" => {
            let key = |value: &Value| match value {
                Value::Bulk(key) => String::from_utf8_lossy(key).into_owned(),
                other => panic!("no key: {other:?}"),
            };
            keys.iter().map(key).collect::<Vec<_>>().join(" ")
        }
        [Value::Bulk(what), Value::Null] if what == b"invalidate" => "*".into(),
        [Value::Bulk(what), _] if what == b"tracking-redir-broken" => "broken".into(),
        other => panic!("no invalidation: {other:?}"),
    }
}

fn keys(from: usize, to: usize) -> String {
    let names: Vec<_> = (from..to).map(|i| format!("k{i}")).collect();
    names.join(" ")
}

#[test]
fn a_full_table_forgets_keys_at_random_and_says_which() {
    let mut world = World::new();
    let admin = world.connect();
    world.run(admin, "CONFIG SET tracking-table-max-keys 10");
    // Who does not want to hear of what it did still hears of this.
    let client = world.tracker(" NOLOOP");
    world.run(client, &format!("MGET {}", keys(0, 10)));
    let mut cached: BTreeSet<String> = (0..10).map(|i| format!("k{i}")).collect();
    for i in 10..200 {
        let (_, heard) = world.ask(client, &format!("GET k{i}"));
        cached.insert(format!("k{i}"));
        assert_eq!(heard.len(), 1);
        assert!(cached.remove(&heard[0]), "{heard:?}");
        assert_eq!(world.tracking().keys(), 10);
    }
    let (_, heard) = world.ask(client, &format!("MGET {}", keys(200, 300)));
    assert_eq!(heard.len(), 100);
    cached.extend((200..300).map(|i| format!("k{i}")));
    for key in heard {
        assert!(cached.remove(&key), "{key} was told twice");
    }
    // Those that are left are those that changes are told of.
    for i in 0..300 {
        world.run(admin, &format!("SET k{i} v"));
        let heard = world.heard(client);
        let expected: Vec<_> = cached.take(&format!("k{i}")).into_iter().collect();
        assert_eq!(heard, expected);
    }
    assert_eq!((world.tracking().keys(), world.tracking().items()), (0, 0));
}

#[test]
fn a_lower_limit_is_reached_by_and_by_without_anybody_doing_anything() {
    let mut world = World::new();
    let (admin, client) = (world.connect(), world.tracker(""));
    for i in 0..50 {
        world.run(client, &format!("MGET {}", keys(i * 100, i * 100 + 100)));
    }
    let used = world.tracking().memory();
    world.run(admin, "CONFIG SET tracking-table-max-keys 7");
    assert_eq!(world.tracking().keys(), 5000, "the next command makes room");
    world.settle();
    assert_eq!(world.tracking().keys(), 7);
    assert!(world.tracking().memory() < used / 20);
    let heard: BTreeSet<String> = world.heard(client).into_iter().collect();
    assert_eq!(heard.len(), 4993);
    world.run(admin, "CONFIG SET tracking-table-max-keys 0");
    world.run(client, &format!("MGET {}", keys(0, 9000)));
    world.settle();
    assert_eq!(world.tracking().keys(), 9000, "0 is no limit");
}

#[test]
fn a_command_makes_room_before_it_runs() {
    let mut world = World::new();
    let (admin, client) = (world.connect(), world.tracker(""));
    world.run(client, "MGET a b");
    world.run(client, "MULTI");
    world.run(admin, "CONFIG SET tracking-table-max-keys 1");
    let args: &[&[u8]] = &[b"PING"];
    let mut out = ReplyBuf::new(Proto::Resp3);
    world.engine.execute(client, Args::new(args), &mut out);
    let text = String::from_utf8(out.take()).unwrap();
    let key = if text.contains("\r\na\r\n") { 'a' } else { 'b' };
    assert_eq!(
        text,
        format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n{key}\r\n+QUEUED\r\n")
    );
}

#[test]
fn of_who_has_left_nothing_is_left() {
    let mut world = World::new();
    let stays = world.tracker("");
    world.run(stays, &format!("MGET {}", keys(0, 10)));
    let before = (world.tracking().memory(), world.tracking().clients());
    for round in 0..5 {
        let leaves = world.tracker("");
        let broadcasts = world.tracker(" BCAST PREFIX a-prefix-that-is-not-short: PREFIX b");
        for i in 0..100 {
            world.run(leaves, &format!("MGET {}", keys(i * 100, i * 100 + 100)));
        }
        assert_eq!(world.tracking().keys(), 10_000);
        assert_eq!(world.tracking().items(), 10_010);
        assert_eq!(world.tracking().prefixes(), 2);
        world.engine.disconnect(leaves);
        world.engine.disconnect(broadcasts);
        assert_eq!(world.tracking().prefixes(), 0);
        world.settle();
        assert_eq!(world.tracking().items(), 10, "round {round}");
        assert_eq!(world.tracking().keys(), 10, "round {round}");
    }
    let after = (world.tracking().memory(), world.tracking().clients());
    assert_eq!(before.1, after.1);
    assert!(after.0 < before.0 + 2000, "{before:?} {after:?}");
    world.engine.disconnect(stays);
    world.settle();
    assert!(world.tracking().is_empty());
    assert_eq!(world.tracking().keys(), 0);
}

#[test]
fn many_who_come_read_one_key_and_go_do_not_pile_up() {
    let mut world = World::new();
    let stays = world.tracker("");
    world.run(stays, "GET popular");
    for _ in 0..1000 {
        let client = world.tracker("");
        world.run(client, "GET popular");
        world.engine.disconnect(client);
        world.settle();
        assert_eq!(world.tracking().items(), 1);
    }
}

#[test]
fn who_takes_the_slot_of_another_hears_nothing_that_was_meant_for_it() {
    let mut world = World::new();
    let writer = world.connect();
    let first = world.tracker("");
    world.run(first, "GET k");
    world.engine.disconnect(first);
    let second = world.tracker("");
    assert_eq!(first, second, "the slot is used again");
    world.run(writer, "SET k 1");
    assert!(world.heard(second).is_empty());

    // One who is told for another.
    let origin = world.connect();
    world.run(origin, "HELLO 3");
    let id = world.engine.state().sessions.get(second).unwrap().id;
    world.run(origin, &format!("CLIENT TRACKING ON REDIRECT {id}"));
    world.run(origin, "GET k");
    world.engine.disconnect(second);
    let third = world.tracker("");
    assert_eq!(second, third);
    world.run(writer, "SET k 2");
    assert!(world.heard(third).is_empty());
    assert_eq!(world.heard(origin), ["broken"]);

    // What was gathered for one who broadcasts.
    let fourth = world.tracker(" BCAST");
    let args: &[&[u8]] = &[b"SET", b"k", b"3"];
    let mut out = ReplyBuf::new(Proto::Resp2);
    world.engine.execute(writer, Args::new(args), &mut out);
    world.engine.disconnect(fourth);
    let fifth = world.tracker(" BCAST PREFIX k");
    assert_eq!(fourth, fifth);
    assert!(world.heard(fifth).is_empty());
    world.run(writer, "SET k 4");
    assert_eq!(world.heard(fifth), ["k"]);

    // Who changed a key left, and another one came, before that was told.
    let sixth = world.tracker(" BCAST NOLOOP");
    world.engine.execute(sixth, Args::new(args), &mut out);
    world.engine.disconnect(sixth);
    let seventh = world.tracker(" BCAST NOLOOP PREFIX k");
    assert_eq!(sixth, seventh);
    world
        .engine
        .execute(seventh, Args::new(&[b"SET", b"k2", b"1"]), &mut out);
    assert!(
        world.heard(seventh).is_empty(),
        "its own, and what was before it"
    );
}

#[test]
fn a_batch_makes_one_message_a_prefix() {
    let mut world = World::new();
    let (writer, client) = (world.connect(), world.tracker(" BCAST PREFIX a PREFIX b"));
    let mut out = ReplyBuf::new(Proto::Resp2);
    for key in ["b2", "a1", "c", "b1", "a1"] {
        let args = [b"SET".as_slice(), key.as_bytes(), b"v"];
        world.engine.execute(writer, Args::new(&args), &mut out);
    }
    assert_eq!(world.heard(client), ["a1", "b1 b2"]);
    assert!(world.heard(client).is_empty());
}

#[test]
fn memory_is_counted_and_nobody_is_looked_after_when_nobody_tracks() {
    let mut world = World::new();
    let client = world.connect();
    world.run(client, "MGET a b c");
    assert!(world.tracking().is_empty());
    let used = world.engine.state().used_memory();
    let tracker = world.tracker("");
    for i in 0..100 {
        world.run(tracker, &format!("MGET {}", keys(i * 100, i * 100 + 100)));
    }
    let more = world.engine.state().used_memory() - used;
    assert!((400_000..1_500_000).contains(&more), "{more}");
    world.run(client, "FLUSHALL");
    world.heard(tracker);
    assert_eq!(world.tracking().keys(), 0);
    let more = world.engine.state().used_memory() - used;
    assert!(more < 20_000, "{more}");
    world.run(tracker, "CLIENT TRACKING OFF");
    assert!(world.tracking().is_empty());
}

#[derive(Debug, Clone)]
enum Op {
    Read(usize, Vec<u8>),
    ReadInScript(usize, u8),
    Write(usize, Vec<u8>),
    Delete(usize, u8),
    Exec(usize, u8, u8),
    Expire(u8),
    Reconnect(usize),
    OffAndOn(usize),
    Flush(usize),
    Rest,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let who = 0..CLIENTS.len();
    let some = || prop::collection::vec(0..12u8, 1..4);
    let op = prop_oneof![
        12 => (who.clone(), some()).prop_map(|(c, keys)| Op::Read(c, keys)),
        3 => (who.clone(), 0..12u8).prop_map(|(c, key)| Op::ReadInScript(c, key)),
        8 => (who.clone(), some()).prop_map(|(c, keys)| Op::Write(c, keys)),
        3 => (who.clone(), 0..12u8).prop_map(|(c, key)| Op::Delete(c, key)),
        3 => (who.clone(), 0..12u8, 0..12u8).prop_map(|(c, read, write)| Op::Exec(c, read, write)),
        1 => (0..12u8).prop_map(Op::Expire),
        2 => who.clone().prop_map(Op::Reconnect),
        1 => who.clone().prop_map(Op::OffAndOn),
        1 => who.prop_map(Op::Flush),
        2 => Just(Op::Rest),
    ];
    prop::collection::vec(op, 1..120)
}

/// What each client asks for; one does not track.
const CLIENTS: [Option<&str>; 5] = [Some(""), Some(" NOLOOP"), Some(""), None, Some(" NOLOOP")];

/// A plain model: who has read which key since it last changed.
struct Model {
    world: World,
    clients: Vec<SessionId>,
    readers: BTreeMap<u8, BTreeSet<usize>>,
    there: BTreeSet<u8>,
}

impl Model {
    fn new() -> Model {
        let mut model = Model {
            world: World::new(),
            clients: Vec::new(),
            readers: BTreeMap::new(),
            there: BTreeSet::new(),
        };
        for client in 0..CLIENTS.len() {
            let sid = model.connect(client);
            model.clients.push(sid);
        }
        model
    }

    fn connect(&mut self, client: usize) -> SessionId {
        match CLIENTS[client] {
            Some(options) => self.world.tracker(options),
            None => self.world.connect(),
        }
    }

    fn read(&mut self, client: usize, key: u8) {
        if CLIENTS[client].is_some() {
            self.readers.entry(key).or_default().insert(client);
        }
    }

    /// A key changes: who is to hear of it.
    fn change(&mut self, by: Option<usize>, key: u8, told: &mut [Vec<String>]) {
        for client in self.readers.remove(&key).unwrap_or_default() {
            let noloop = CLIENTS[client].is_some_and(|options| options.contains("NOLOOP"));
            if by != Some(client) || !noloop {
                told[client].push(format!("k{key}"));
            }
        }
    }

    /// Runs a command of a client; everybody must have heard what `told` says and nothing else.
    fn run(&mut self, client: usize, line: &str, mut told: Vec<Vec<String>>) {
        let (_, mut heard) = self.world.ask(self.clients[client], line);
        heard.extend(self.world.heard(self.clients[client]));
        assert_eq!(heard, std::mem::take(&mut told[client]), "{client}: {line}");
        self.hear(line, told);
    }

    fn hear(&mut self, line: &str, told: Vec<Vec<String>>) {
        for (other, told) in told.into_iter().enumerate() {
            assert_eq!(
                self.world.heard(self.clients[other]),
                told,
                "{other} of {line}"
            );
        }
    }

    fn play(&mut self, op: Op) {
        let mut told = vec![Vec::new(); CLIENTS.len()];
        match op {
            Op::Read(client, keys) => {
                let names: Vec<_> = keys.iter().map(|key| format!("k{key}")).collect();
                keys.iter().for_each(|&key| self.read(client, key));
                self.run(client, &format!("MGET {}", names.join(" ")), told);
            }
            Op::ReadInScript(client, key) => {
                self.read(client, key);
                let line = format!("EVAL return{{redis.call('get','k{key}')}} 1 other");
                self.run(client, &line, told);
            }
            Op::Write(client, keys) => {
                let pairs: Vec<_> = keys.iter().map(|key| format!("k{key} v")).collect();
                for &key in &keys {
                    self.there.insert(key);
                    self.change(Some(client), key, &mut told);
                }
                self.run(client, &format!("MSET {}", pairs.join(" ")), told);
            }
            Op::Delete(client, key) => {
                if self.there.remove(&key) {
                    self.change(Some(client), key, &mut told);
                }
                self.run(client, &format!("DEL k{key}"), told);
            }
            Op::Exec(client, read, write) => {
                let nobody = told.clone();
                self.run(client, "MULTI", nobody.clone());
                self.run(client, &format!("GET k{read}"), nobody.clone());
                self.run(client, &format!("SET k{write} v"), nobody);
                self.read(client, read);
                self.there.insert(write);
                self.change(Some(client), write, &mut told);
                self.run(client, "EXEC", told);
            }
            Op::Expire(key) => {
                let line = format!("SET k{key} v PX 5");
                self.change(Some(3), key, &mut told);
                self.run(3, &line, told);
                let told = vec![Vec::new(); CLIENTS.len()];
                self.read(0, key);
                self.run(0, &format!("GET k{key}"), told.clone());
                self.there.remove(&key);
                self.world.clock.advance_ms(6);
                self.world.engine.tick();
                let mut told = told;
                self.change(None, key, &mut told);
                self.hear("time", told);
            }
            Op::Reconnect(client) => {
                self.world.engine.disconnect(self.clients[client]);
                for readers in self.readers.values_mut() {
                    readers.remove(&client);
                }
                self.clients[client] = self.connect(client);
                self.hear("a new connection", told);
            }
            Op::OffAndOn(client) => {
                if let Some(options) = CLIENTS[client] {
                    self.run(client, "CLIENT TRACKING OFF", told.clone());
                    self.run(client, &format!("CLIENT TRACKING ON{options}"), told);
                }
            }
            Op::Flush(client) => {
                self.there.clear();
                self.readers.clear();
                for (told, options) in told.iter_mut().zip(CLIENTS) {
                    told.extend(options.map(|_| "*".to_owned()));
                }
                self.run(client, "FLUSHALL", told);
            }
            Op::Rest => {
                self.world.settle();
                self.readers.retain(|_, readers| !readers.is_empty());
                let items: usize = self.readers.values().map(BTreeSet::len).sum();
                assert_eq!(self.world.tracking().items(), items);
                assert_eq!(self.world.tracking().keys(), self.readers.len());
                self.hear("rest", told);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn exactly_those_who_read_a_key_since_it_changed_hear_of_it(ops in ops()) {
        let mut model = Model::new();
        for op in ops {
            model.play(op);
        }
    }
}

/// A script that is busy serves others; what it changes afterwards is still its own client's doing.
#[test]
fn a_busy_script_stays_the_doing_of_its_client() {
    let server = Server::redkeep(&["--busy-reply-threshold", "10"]);
    let (mut own, mut other) = (server.client(), server.client());
    own.run("HELLO 3");
    own.run("CLIENT TRACKING ON NOLOOP");
    own.run("GET k");
    let script =
        "local t = os.clock() while os.clock() - t < 0.3 do end redis.call('SET', 'k', 'v')";
    own.send(&["EVAL", script, "0"]).unwrap();
    loop {
        match other.run("PING") {
            Reply::Error(text) if text.starts_with(b"BUSY") => break,
            other => assert_eq!(other, Reply::Simple(b"PONG".to_vec())),
        }
    }
    assert_eq!(own.reply().unwrap(), Reply::Null);
    assert_eq!(
        own.run("PING"),
        Reply::Simple(b"PONG".to_vec()),
        "it heard nothing"
    );
    other.run("SET k w");
    assert_eq!(own.run("ECHO x"), Reply::bulk(b"x"), "k has been forgotten");
}
