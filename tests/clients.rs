//! Clients as an operator meets them: paused, listed, killed, watched by a monitor, with long transactions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::{Reply, Server};
use proptest::prelude::*;
use redkeep::engine::{Engine, Options, Outcome};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::service::config::{Config, Settings};
use redkeep::util::clock::ManualClock;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

const START_MS: i64 = 1_700_000_000_000;

struct World {
    engine: Engine,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> World {
        World::configured(Config::default())
    }

    fn configured(config: Config) -> World {
        let clock = Arc::new(ManualClock::at_ms(START_MS));
        let engine = Engine::new(Options {
            settings: Settings::new(config, None),
            clock: clock.clone(),
            seed: Some(1),
            ..Options::default()
        });
        World { engine, clock }
    }

    fn connect(&mut self) -> SessionId {
        self.engine.connect(Peer::default())
    }

    fn from(&mut self, addr: &str) -> SessionId {
        self.engine.connect(Peer {
            addr: addr.into(),
            laddr: "10.0.0.1:6379".into(),
            ..Peer::default()
        })
    }

    /// Runs a command: the bytes of its reply.
    fn run(&mut self, client: SessionId, line: &str) -> String {
        let (reply, outcome) = self.send(client, line);
        assert_ne!(outcome, Outcome::Blocked, "{line} waits");
        reply
    }

    fn send(&mut self, client: SessionId, line: &str) -> (String, Outcome) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        let outcome = self.engine.execute(client, Args::new(&args), &mut reply);
        (text(&reply.take()), outcome)
    }

    /// Sends a command that has to wait.
    fn wait(&mut self, client: SessionId, line: &str) {
        let waits = self.send(client, line);
        assert_eq!(waits, (String::new(), Outcome::Blocked), "{line}");
    }

    /// What has come for a client meanwhile.
    fn late(&mut self, client: SessionId) -> String {
        let mut out = ReplyBuf::new(Proto::Resp2);
        self.engine.take_output(client, &mut out);
        text(&out.take())
    }

    fn pass(&mut self, ms: i64) {
        self.clock.advance_ms(ms);
        self.engine.tick();
    }

    /// In how many milliseconds the engine wants to be called again for the end of a pause.
    fn pause_ends_in(&mut self) -> Option<i64> {
        self.engine.refresh_time();
        let sys = &self.engine.state().sys;
        let (_, until) = sys.pause.current()?;
        Some(until - sys.now_us / 1000)
    }

    fn info(&mut self, client: SessionId, section: &str, field: &str) -> String {
        let text = self.run(client, &format!("INFO {section}"));
        let found = text.lines().find_map(|line| line.strip_prefix(field));
        let value = found.and_then(|rest| rest.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no {field}")).to_owned()
    }

    /// The ids of the clients that CLIENT LIST shows.
    fn list(&mut self, client: SessionId, filter: &str) -> Vec<u64> {
        let text = self.run(client, format!("CLIENT LIST {filter}").trim_end());
        assert!(!text.starts_with('-'), "{filter}: {text}");
        let ids = text.lines().filter_map(|line| line.strip_prefix("id="));
        ids.map(|line| line.split(' ').next().unwrap().parse().unwrap())
            .collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// ---- CLIENT PAUSE ----------------------------------------------------------------------------------------------------

#[test]
fn a_pause_ends_at_its_time() {
    let mut w = World::new();
    let [me, a, b] = [w.connect(), w.connect(), w.connect()];
    w.engine.tick();
    assert_eq!(w.run(me, "CLIENT PAUSE 50 WRITE"), "+OK\r\n");
    // Rates are measured from the first command on.
    w.engine.tick();
    assert_eq!(w.engine.next_deadline(), Some(START_MS + 50));
    w.wait(b, "RPUSH l b");
    w.wait(a, "RPUSH l a");
    assert_eq!(w.info(me, "clients", "blocked_clients"), "2");
    w.pass(49);
    assert_eq!((w.late(a), w.late(b)), (String::new(), String::new()));
    w.pass(1);
    assert_eq!(
        (w.late(a), w.late(b)),
        (":2\r\n".into(), ":1\r\n".into()),
        "in the order in which they came"
    );
    assert_eq!(w.info(me, "clients", "blocked_clients"), "0");
    assert_eq!(w.pause_ends_in(), None);
}

#[test]
fn who_comes_when_the_time_is_over_comes_behind_those_who_wait() {
    let mut w = World::new();
    let [me, a, b] = [w.connect(), w.connect(), w.connect()];
    w.run(me, "CLIENT PAUSE 100 ALL");
    w.wait(a, "APPEND k a");
    w.clock.advance_ms(100);
    assert_eq!(w.run(b, "APPEND k b"), ":2\r\n");
    assert_eq!(w.late(a), ":1\r\n");
}

#[test]
fn nothing_expires_during_a_pause() {
    let mut w = World::new();
    let [me, a] = [w.connect(), w.connect()];
    w.run(me, "SET gone 1 PX 10");
    w.run(me, "HSET h f 1 g 2");
    w.run(me, "HPEXPIRE h 10 FIELDS 1 f");
    w.run(me, "CLIENT PAUSE 1000 WRITE");
    w.pass(500);
    let next = w.engine.next_deadline();
    assert!(
        next > Some(START_MS + 500),
        "what is over is not looked for"
    );
    assert_eq!(w.run(a, "EXISTS gone"), ":0\r\n");
    assert_eq!(w.run(a, "HLEN h"), ":1\r\n");
    assert_eq!(w.run(a, "DBSIZE"), ":2\r\n");
    assert_eq!(w.info(a, "stats", "expired_keys"), "0");
    assert_eq!(w.info(a, "stats", "expired_subkeys"), "0");
    w.pass(500);
    assert_eq!(w.run(a, "DBSIZE"), ":1\r\n");
    assert_eq!(w.info(a, "stats", "expired_keys"), "1");
    assert_eq!(w.info(a, "stats", "expired_subkeys"), "1");
}

#[test]
fn who_is_gone_or_killed_runs_nothing_when_the_pause_ends() {
    let mut w = World::new();
    let [me, a, b, c] = [w.connect(), w.connect(), w.connect(), w.connect()];
    w.run(me, "CLIENT PAUSE 100 WRITE");
    w.wait(a, "SET a 1");
    w.wait(b, "SET b 1");
    w.wait(c, "SET c 1");
    w.engine.disconnect(a);
    let id = w.engine.state().sessions.get(b).unwrap().id;
    assert_eq!(w.run(me, &format!("CLIENT KILL ID {id}")), ":1\r\n");
    assert_eq!(w.info(me, "clients", "blocked_clients"), "1");
    w.pass(100);
    assert_eq!(w.run(me, "EXISTS a b c"), ":1\r\n");
    assert_eq!(w.late(b), "");
    w.engine.disconnect(b);
    assert_eq!(w.late(c), "+OK\r\n");
    assert!(w.engine.state().sys.pause.is_empty());
}

#[test]
fn a_blocking_command_that_was_paused_has_all_of_its_time_left() {
    let mut w = World::new();
    let [me, a] = [w.connect(), w.connect()];
    w.run(me, "CLIENT PAUSE 500 ALL");
    w.wait(a, "BLPOP l 1");
    w.pass(500);
    w.pass(999);
    assert_eq!(w.late(a), "");
    w.pass(1);
    assert_eq!(w.late(a), "*-1\r\n");
}

#[test]
fn time_runs_out_for_those_who_wait_for_a_key() {
    let mut w = World::new();
    let [me, a, b] = [w.connect(), w.connect(), w.connect()];
    w.wait(a, "BLPOP never 1");
    w.wait(b, "BLPOP soon 1");
    for line in ["MULTI", "CLIENT PAUSE 5000 WRITE", "RPUSH soon x", "EXEC"] {
        w.run(me, line);
    }
    w.pass(1000);
    assert_eq!(w.late(a), "*-1\r\n", "nothing came for it");
    assert_eq!(
        w.late(b),
        "",
        "its key was ready, so that it waits for the pause"
    );
    w.pass(4000);
    assert_eq!(w.late(b), "*2\r\n$4\r\nsoon\r\n$1\r\nx\r\n");
}

#[test]
fn a_paused_command_may_begin_the_next_pause() {
    let mut w = World::new();
    let [me, a, b, c] = [w.connect(), w.connect(), w.connect(), w.connect()];
    for line in ["MULTI", "SET k 1", "CLIENT PAUSE 1000 WRITE"] {
        w.run(a, line);
    }
    w.run(me, "CLIENT PAUSE 100 ALL");
    w.wait(b, "APPEND k 0");
    w.wait(a, "EXEC");
    w.wait(c, "APPEND k 2");
    w.wait(me, "GET k");
    w.pass(100);
    assert_eq!(w.late(b), ":1\r\n");
    assert_eq!(w.late(a), "*2\r\n+OK\r\n+OK\r\n");
    assert_eq!(w.late(c), "", "a write waits on");
    assert_eq!(w.late(me), "$1\r\n1\r\n", "a read does not");
    w.pass(1000);
    assert_eq!(w.late(c), ":2\r\n");
}

#[test]
fn monitors_see_what_was_paused_when_it_runs_and_once() {
    let mut w = World::new();
    let [me, a, b, monitor] = [w.connect(), w.connect(), w.connect(), w.connect()];
    w.run(monitor, "MONITOR");
    w.wait(b, "BLPOP l 0");
    for line in ["MULTI", "CLIENT PAUSE 100 WRITE", "RPUSH l x", "EXEC"] {
        w.run(me, line);
    }
    w.wait(a, "SET k v");
    let seen = w.late(monitor);
    assert_eq!(seen.matches("BLPOP").count(), 1, "{seen}");
    assert!(!seen.contains("\"SET\""), "{seen}");
    w.pass(100);
    let seen = w.late(monitor);
    assert_eq!(seen.lines().count(), 1, "{seen}");
    assert!(seen.ends_with("] \"SET\" \"k\" \"v\"\r\n"), "{seen}");
}

#[test]
fn a_client_in_the_process_waits_for_the_end_of_a_pause() {
    let server = redkeep::Server::builder().start().unwrap();
    let mut admin = server.client().unwrap();
    let mut writer = server.client().unwrap();
    admin.call(["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap();
    let thread = std::thread::spawn(move || {
        writer.call(["APPEND", "k", "1"]).unwrap();
        writer.call(["APPEND", "k", "2"]).unwrap()
    });
    until(|| {
        let info = admin.call(["INFO", "clients"]).unwrap();
        let redkeep::Value::Bulk(info) = info else {
            panic!("{info:?}");
        };
        text(&info).contains("\r\nblocked_clients:1\r\n")
    });
    assert_eq!(admin.call(["EXISTS", "k"]).unwrap(), redkeep::Value::Int(0));
    admin.call(["CLIENT", "UNPAUSE"]).unwrap();
    assert_eq!(thread.join().unwrap(), redkeep::Value::Int(2));
}

#[test]
fn hundreds_of_connections_wait_for_the_end_of_a_pause() {
    const N: usize = 200;
    let server = Server::redkeep(&[]);
    let mut admin = server.client();
    let mut clients: Vec<_> = (0..N).map(|_| server.client()).collect();
    admin.run("CLIENT PAUSE 60000 WRITE");
    for (i, client) in clients.iter_mut().enumerate() {
        let i = i.to_string();
        client.send(&["RPUSH", "l", &i]).unwrap();
        client.send(&["GET", "k"]).unwrap();
        client.send(&["RPUSH", "again", &i]).unwrap();
        // Only so is it known in which order they arrive.
        let want = format!("blocked_clients:{}\r\n", i.parse::<usize>().unwrap() + 1);
        until(|| match admin.run("INFO clients") {
            Reply::Bulk(info) => text(&info).contains(&want),
            other => panic!("{other:?}"),
        });
    }
    admin.run("CLIENT UNPAUSE");
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.reply().unwrap(), Reply::Int(i as i64 + 1));
        assert_eq!(client.reply().unwrap(), Reply::NullBulk);
        assert!(matches!(client.reply().unwrap(), Reply::Int(1..)));
    }
    let in_order = (0..N).map(|i| Reply::bulk(i.to_string())).collect();
    assert_eq!(admin.run("LRANGE l 0 -1"), Reply::Array(in_order));
    assert_eq!(admin.run("LLEN again"), Reply::Int(N as i64));
}

/// Waits until something is so.
fn until(mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < patience, "it never comes");
        std::thread::yield_now();
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write(usize),
    Read(usize),
    Pause { ms: i64, all: bool },
    Unpause,
    Pass(i64),
    Kill(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    const CLIENTS: std::ops::Range<usize> = 0..5;
    let act = prop_oneof![
        6 => CLIENTS.prop_map(Act::Write),
        3 => CLIENTS.prop_map(Act::Read),
        2 => (0..40i64, any::<bool>()).prop_map(|(ms, all)| Act::Pause { ms, all }),
        1 => Just(Act::Unpause),
        4 => (0..30i64).prop_map(Act::Pass),
        1 => CLIENTS.prop_map(Act::Kill),
    ];
    prop::collection::vec(act, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Against a plain model: every command that is not killed is answered once, and all run in the order in which
    /// they were sent, but that reads may overtake writes.
    #[test]
    fn pauses_lose_nothing_and_keep_the_order(acts in acts()) {
        let mut w = World::new();
        let admin = w.connect();
        let mut clients: Vec<SessionId> = (0..5).map(|_| w.connect()).collect();
        let mut waiting: BTreeMap<usize, String> = BTreeMap::new();
        let mut sent: Vec<String> = Vec::new();
        for (n, act) in acts.into_iter().enumerate() {
            match act {
                Act::Write(i) | Act::Read(i) if waiting.contains_key(&i) => {}
                Act::Write(i) => {
                    let (reply, outcome) = w.send(clients[i], &format!("RPUSH l {n}"));
                    sent.push(n.to_string());
                    match outcome {
                        Outcome::Blocked => _ = waiting.insert(i, n.to_string()),
                        _ => prop_assert!(reply.starts_with(':'), "{reply}"),
                    }
                }
                Act::Read(i) => {
                    let (reply, outcome) = w.send(clients[i], "LLEN l");
                    match outcome {
                        Outcome::Blocked => _ = waiting.insert(i, String::new()),
                        _ => prop_assert!(reply.starts_with(':'), "{reply}"),
                    }
                }
                // Through the engine itself: CLIENT PAUSE ALL would hold the admin up, too.
                Act::Pause { ms, all } if w.pause_ends_in().is_none() => {
                    let scope = if all { "ALL" } else { "WRITE" };
                    w.run(admin, &format!("CLIENT PAUSE {ms} {scope}"));
                }
                Act::Pause { .. } => {}
                Act::Unpause => _ = w.send(admin, "CLIENT UNPAUSE"),
                Act::Pass(ms) => w.pass(ms),
                Act::Kill(i) => {
                    w.engine.disconnect(clients[i]);
                    if let Some(write) = waiting.remove(&i) {
                        sent.retain(|s| *s != write);
                    }
                    clients[i] = w.connect();
                }
            }
            waiting.retain(|&i, _| {
                let reply = w.late(clients[i]);
                assert!(reply.is_empty() || reply.starts_with(':') && reply.lines().count() == 1);
                reply.is_empty()
            });
        }
        w.pass(1000);
        for i in waiting.into_keys() {
            let reply = w.late(clients[i]);
            prop_assert!(reply.starts_with(':'), "client {i} is left alone: {reply}");
        }
        let all = w.run(clients[0], "LRANGE l 0 -1");
        let got: Vec<&str> = all.lines().skip(1).filter(|l| !l.starts_with('$')).collect();
        prop_assert_eq!(got, sent);
        prop_assert!(w.engine.state().sys.pause.is_empty());
    }
}

// ---- CLIENT LIST and CLIENT KILL -------------------------------------------------------------------------------------

/// Clients with the ids 1 to 6, the last of which is the one that asks; the others are as a world has them.
fn crowd() -> (World, SessionId) {
    let mut w = World::new();
    let plain = w.from("127.0.0.1:1000");
    let named = w.from("127.0.0.1:1001");
    let listener = w.from("10.0.0.2:1000");
    let monitor = w.from("[::1]:1000");
    let queueing = w.from("10.0.0.3:1000");
    w.pass(10_000);
    let me = w.from("127.0.0.1:1002");
    w.run(plain, "PING");
    w.run(named, "CLIENT SETNAME worker");
    w.run(named, "CLIENT SETINFO LIB-NAME lib");
    w.run(named, "CLIENT SETINFO LIB-VER 1.0");
    w.run(named, "SELECT 3");
    w.run(listener, "SUBSCRIBE news");
    w.run(monitor, "MONITOR");
    w.run(queueing, "MULTI");
    w.pass(5000);
    w.run(plain, "PING");
    (w, me)
}

/// Filters and the ids of those who pass them.
const FILTERS: &[(&str, &[u64])] = &[
    ("ID 3 1", &[3, 1]),
    ("ID 1 ID 3", &[1, 3]),
    ("ID 99 2", &[2]),
    ("NOT-ID 3 1", &[2, 4, 5, 6]),
    ("ID 1 2 3 NOT-ID 2", &[1, 3]),
    ("TYPE normal", &[1, 2, 4, 5, 6]),
    ("type PubSub", &[3]),
    ("TYPE replica", &[]),
    ("TYPE master", &[]),
    ("NOT-TYPE pubsub", &[1, 2, 4, 5, 6]),
    ("ADDR 127.0.0.1:1001", &[2]),
    ("NOT-ADDR 127.0.0.1:1001", &[1, 3, 4, 5, 6]),
    ("LADDR 10.0.0.1:6379", &[1, 2, 3, 4, 5, 6]),
    ("NOT-LADDR 10.0.0.1:6379", &[]),
    ("IP 127.0.0.1", &[1, 2, 6]),
    ("IP ::1", &[4]),
    ("NOT-IP 127.0.0.1", &[3, 4, 5]),
    ("USER default", &[1, 2, 3, 4, 5, 6]),
    ("NOT-USER default", &[]),
    ("NAME worker", &[2]),
    ("NOT-NAME worker", &[1, 3, 4, 5, 6]),
    ("LIB-NAME lib LIB-VER 1.0", &[2]),
    ("LIB-NAME lib LIB-VER 2.0", &[]),
    ("NOT-LIB-NAME lib", &[1, 3, 4, 5, 6]),
    ("NOT-LIB-VER 1.0", &[1, 3, 4, 5, 6]),
    ("FLAGS P", &[3]),
    ("FLAGS O", &[4]),
    ("FLAGS x", &[5]),
    ("FLAGS N", &[1, 2, 6]),
    ("FLAGS Px", &[]),
    ("NOT-FLAGS N", &[3, 4, 5]),
    ("DB 3", &[2]),
    ("NOT-DB 3", &[1, 3, 4, 5, 6]),
    ("MAXAGE 15", &[1, 2, 3, 4, 5]),
    ("MAXAGE 16", &[]),
    ("IDLE 5", &[2, 3, 4, 5]),
    ("SKIPME yes", &[1, 2, 3, 4, 5]),
    ("SKIPME yes IP 127.0.0.1 NOT-NAME worker", &[1]),
    ("DB 3 DB 0 IP 10.0.0.2", &[3]),
    ("ID 1 2 TYPE pubsub", &[]),
];

#[test]
fn clients_are_filtered() {
    let (mut w, me) = crowd();
    for (filter, ids) in FILTERS {
        assert_eq!(w.list(me, filter), *ids, "{filter}");
    }
}

#[test]
fn clients_are_killed_by_the_same_filters() {
    for (filter, ids) in FILTERS {
        let (mut w, me) = crowd();
        let line = format!("CLIENT KILL SKIPME no {filter}");
        let spares_me = filter.contains("SKIPME yes");
        let mut killed = ids.to_vec();
        killed.sort_unstable();
        let (reply, outcome) = w.send(me, &line);
        assert_eq!(reply, format!(":{}\r\n", killed.len()), "{line}");
        let me_too = killed.contains(&6) && !spares_me;
        assert_eq!(outcome == Outcome::Close, me_too, "{line}");
        let other = w.connect();
        let left = w.list(other, "ID 1 2 3 4 5");
        let expected: Vec<u64> = (1..=5).filter(|id| !killed.contains(id)).collect();
        assert_eq!(left, expected, "{line}");
    }
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    let (mut w, me) = crowd();
    for (filter, error) in [
        ("BOGUS 1", "ERR syntax error"),
        ("ID 1 BOGUS", "ERR syntax error"),
        ("NOT-SKIPME yes", "ERR syntax error"),
        ("NOT-MAXAGE 1", "ERR syntax error"),
        ("NOT-IDLE 1", "ERR syntax error"),
        ("SKIPME maybe", "ERR syntax error"),
        ("MAXAGE 0", "ERR maxage should be greater than 0"),
        ("MAXAGE x", "ERR maxage is not an integer or out of range"),
        ("IDLE -1", "ERR idle should be greater than 0"),
        ("USER nobody", "ERR No such user 'nobody'"),
        ("TYPE bogus", "ERR Unknown client type 'bogus'"),
        (
            "FLAGS NZ",
            "ERR Unknown flags found in the provided filter: NZ",
        ),
        ("DB x", "ERR value is not an integer or out of range"),
        ("DB -1", "ERR DB index is out of range"),
    ] {
        for command in ["LIST", "KILL"] {
            let filter = match (command, filter) {
                ("LIST", "ID 1 BOGUS") => continue,
                _ => filter,
            };
            let reply = w.run(me, &format!("CLIENT {command} {filter}"));
            assert_eq!(reply, format!("-{error}\r\n"), "{command} {filter}");
        }
    }
    let invalid = "-ERR Invalid client ID\r\n";
    assert_eq!(w.run(me, "CLIENT LIST ID 1 BOGUS"), invalid);
    assert_eq!(w.run(me, "CLIENT LIST ID 1 NAME"), "-ERR syntax error\r\n");
}

#[test]
fn who_is_killed_is_gone_at_once() {
    let mut w = World::new();
    let [me, listener, monitor, waiting, watching] = [
        w.connect(),
        w.connect(),
        w.connect(),
        w.connect(),
        w.connect(),
    ];
    w.run(listener, "SUBSCRIBE news");
    w.run(monitor, "MONITOR");
    w.wait(waiting, "BLPOP l 0");
    w.run(watching, "WATCH k");
    assert_eq!(w.info(me, "clients", "watching_clients"), "1");
    assert_eq!(w.info(me, "clients", "total_watched_keys"), "1");
    w.late(monitor);
    assert_eq!(w.run(me, "CLIENT KILL SKIPME yes"), ":4\r\n");
    assert_eq!(w.list(me, ""), [1]);
    assert_eq!(w.info(me, "clients", "connected_clients"), "1");
    assert_eq!(w.info(me, "clients", "blocked_clients"), "0");
    assert_eq!(w.info(me, "clients", "watching_clients"), "0");
    assert_eq!(w.run(me, "PUBLISH news text"), ":0\r\n");
    assert_eq!(w.run(me, "RPUSH l x"), ":1\r\n");
    assert_eq!(w.run(me, "LLEN l"), ":1\r\n", "nobody took it");
    assert_eq!(w.run(me, "CLIENT KILL ID 2"), ":0\r\n", "once is enough");
    for client in [listener, monitor, waiting, watching] {
        let (reply, outcome) = w.send(client, "SET k by-a-dead-one");
        assert_eq!(reply, "");
        assert!(matches!(outcome, Outcome::Close | Outcome::Cut));
        w.engine.disconnect(client);
    }
    assert_eq!(w.run(me, "EXISTS k"), ":0\r\n");
}

#[test]
fn a_connection_that_kills_itself_has_its_reply_first() {
    let server = Server::redkeep(&[]);
    let mut other = server.client();
    let mut client = server.client();
    let id = client.run("CLIENT ID").int().unwrap();
    client
        .send_raw(format!("CLIENT KILL ID {id} SKIPME no\r\nSET k v\r\n").as_bytes())
        .unwrap();
    assert_eq!(client.reply().unwrap(), Reply::Int(1));
    assert!(client.reply().is_err());
    assert_eq!(other.run("EXISTS k"), Reply::Int(0));
}

#[test]
fn listing_thousands_takes_no_longer_for_each() {
    let each = |n: usize| {
        let mut w = World::new();
        let clients: Vec<SessionId> = (0..n).map(|_| w.connect()).collect();
        let ids: Vec<String> = (1..=n).map(|id| id.to_string()).collect();
        let began = Instant::now();
        let listed = w.list(clients[0], &format!("ID {}", ids.join(" ")));
        let killed = w.run(clients[0], &format!("CLIENT KILL ID {}", ids.join(" ")));
        assert_eq!(listed.len(), n);
        assert_eq!(killed, format!(":{}\r\n", n - 1));
        began.elapsed().as_secs_f64() / n as f64
    };
    each(500);
    let (few, many) = (each(1000), each(32_000));
    // 32 where every client costs a look at all.
    assert!(many < few * 12.0, "{few} s each, then {many} s");
}

// ---- MONITOR ---------------------------------------------------------------------------------------------------------

#[test]
fn a_line_of_monitor() {
    let mut w = World::configured(Config {
        unixsocket: "/run/redkeep.sock".into(),
        ..Config::default()
    });
    let monitor = w.connect();
    let tcp = w.from("[::1]:5000");
    let unix = w.engine.connect(Peer {
        addr: "/run/redkeep.sock:0".into(),
        unix: true,
        ..Peer::default()
    });
    w.run(monitor, "MONITOR");
    w.clock.advance_ms(1);
    w.run(tcp, "SET k v");
    w.run(
        unix,
        "EVAL return{redis.call('GET','k'),redis.call('SELECT','2')} 0",
    );
    assert_eq!(
        w.late(monitor),
        "+1700000000.001000 [0 [::1]:5000] \"SET\" \"k\" \"v\"\r\n\
         +1700000000.001000 [0 unix:/run/redkeep.sock] \"EVAL\" \
         \"return{redis.call('GET','k'),redis.call('SELECT','2')}\" \"0\"\r\n\
         +1700000000.001000 [0 lua] \"GET\" \"k\"\r\n\
         +1700000000.001000 [2 lua] \"SELECT\" \"2\"\r\n"
    );
}

#[test]
fn a_monitor_sees_everything_in_order() {
    const CLIENTS: usize = 8;
    const EACH: usize = 500;
    let server = Server::redkeep(&[]);
    let mut writers: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    let mut monitor = server.client();
    assert_eq!(monitor.run("MONITOR"), Reply::ok());
    std::thread::scope(|s| {
        for (i, writer) in writers.iter_mut().enumerate() {
            s.spawn(move || {
                let commands: Vec<_> = (0..EACH)
                    .map(|n| common::argv(&format!("SET {i} {n}")))
                    .collect();
                let (replies, ended) = writer.pipeline(&commands);
                ended.unwrap();
                assert_eq!(replies.len(), EACH);
            });
        }
        let mut next = [0; CLIENTS];
        for _ in 0..CLIENTS * EACH {
            let Reply::Simple(line) = monitor.reply().unwrap() else {
                panic!("no line");
            };
            let line = text(&line);
            let words: Vec<usize> = line
                .split('"')
                .filter_map(|word| word.parse().ok())
                .collect();
            let [client, n] = words[..] else {
                panic!("{line}");
            };
            assert_eq!(n, next[client], "{line}");
            next[client] += 1;
        }
        assert_eq!(next, [EACH; CLIENTS]);
    });
}

#[test]
fn a_monitor_that_takes_nothing_is_cut_off() {
    let mut w = World::new();
    let [me, monitor, quick] = [w.connect(), w.connect(), w.connect()];
    let set = [
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "normal 100000 0 0",
    ];
    let args: Vec<&[u8]> = set.iter().map(|a| a.as_bytes()).collect();
    let mut reply = ReplyBuf::new(Proto::Resp2);
    w.engine.execute(me, Args::new(&args), &mut reply);
    assert_eq!(text(&reply.take()), "+OK\r\n");
    w.run(monitor, "MONITOR");
    w.run(quick, "MONITOR");
    let value = "x".repeat(1000);
    let mut lines = 0;
    for n in 0..300 {
        assert_eq!(w.run(me, &format!("SET k{n} {value}")), "+OK\r\n");
        lines += w.late(quick).lines().count();
        w.engine.take_actions();
    }
    assert_eq!(lines, 300, "who takes its lines gets all");
    assert!(!w.engine.state().sys.monitors.is_empty());
    let mut out = ReplyBuf::new(Proto::Resp2);
    assert_eq!(w.engine.take_output(monitor, &mut out), Outcome::Cut);
    assert_eq!(
        w.info(me, "stats", "client_output_buffer_limit_disconnections"),
        "1"
    );
}

// ---- Transactions ----------------------------------------------------------------------------------------------------

#[test]
fn what_is_queued_counts_as_used_until_it_is_gone() {
    let mut w = World::new();
    let [me, other] = [w.connect(), w.connect()];
    let value = "x".repeat(10_000);
    let before = w.engine.state().used_memory();
    let ways: [&[&str]; 5] = [
        &["EXEC"],
        &["DISCARD"],
        &["RESET"],
        &["NOSUCH", "EXEC"],
        &["GET", "DISCARD"],
    ];
    for end in ways {
        w.run(me, "MULTI");
        for _ in 0..10 {
            w.run(me, &format!("ECHO {value}"));
        }
        assert!(w.engine.state().used_memory() > before + 100_000);
        for line in end {
            w.run(me, line);
        }
        assert_eq!(w.engine.state().sys.queued.get(), 0, "{end:?}");
    }
    w.run(other, "MULTI");
    w.run(other, &format!("ECHO {value}"));
    assert_ne!(w.engine.state().sys.queued.get(), 0);
    w.run(me, "CLIENT KILL SKIPME yes");
    assert_eq!(w.engine.state().sys.queued.get(), 0);
    w.engine.disconnect(other);
    w.run(me, "MULTI");
    w.run(me, &format!("ECHO {value}"));
    w.engine.disconnect(me);
    assert_eq!(w.engine.state().sys.queued.get(), 0);
}

#[test]
fn a_transaction_that_never_ends_is_cut_off() {
    let mut w = World::configured(Config {
        client_query_buffer_limit: 1 << 20,
        ..Config::default()
    });
    let [me, other] = [w.connect(), w.connect()];
    w.run(me, "MULTI");
    let value = "x".repeat(1 << 16);
    let queued = (0..)
        .take_while(|_| {
            let (reply, outcome) = w.send(me, &format!("SET k {value}"));
            assert!(reply == "+QUEUED\r\n" || reply.is_empty(), "{reply}");
            outcome == Outcome::Done
        })
        .count();
    assert_eq!(queued, 15);
    assert_eq!(w.engine.state().sys.queued.get(), 0);
    let field = "client_query_buffer_limit_disconnections";
    assert_eq!(w.info(other, "stats", field), "1");
    w.engine.disconnect(me);
    assert_eq!(w.run(other, "EXISTS k"), ":0\r\n");
}

#[test]
fn a_key_watched_by_thousands_takes_no_longer_for_each() {
    let each = |n: usize| {
        let mut w = World::new();
        let writer = w.connect();
        let clients: Vec<SessionId> = (0..n).map(|_| w.connect()).collect();
        let began = Instant::now();
        for &client in &clients {
            w.run(client, "WATCH k");
        }
        for &client in clients.iter().step_by(2) {
            w.run(client, "UNWATCH");
        }
        w.run(writer, "SET k v");
        let took = began.elapsed().as_secs_f64() / n as f64;
        assert!(w.engine.state().sys.watchers.is_empty());
        for &client in &clients {
            w.run(client, "MULTI");
        }
        assert_eq!(w.run(clients[0], "EXEC"), "*0\r\n");
        assert_eq!(w.run(clients[1], "EXEC"), "*-1\r\n");
        took
    };
    each(500);
    let (few, many) = (each(1000), each(32_000));
    assert!(many < few * 12.0, "{few} s each, then {many} s");
}

#[test]
fn who_killed_a_client_finds_its_connection_closed() {
    let server = Server::redkeep(&[]);
    let mut killer = server.client();
    for _ in 0..200 {
        let mut victim = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        victim.write_all(b"CLIENT ID\r\n").unwrap();
        let mut id = [0; 64];
        let n = victim.read(&mut id).unwrap();
        let id = String::from_utf8_lossy(&id[1..n]).trim().to_owned();
        assert_eq!(killer.run(&format!("CLIENT KILL ID {id}")).int(), Some(1));
        victim.set_nonblocking(true).unwrap();
        // The end is there already, not on its way.
        assert_eq!(victim.read(&mut [0; 8]).unwrap(), 0);
    }
}
