//! What is sent to clients that did not ask for it: who gets it, in which order, and what becomes of who does not take it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::client::{Got, encode};
use common::{Client, Reply};
use proptest::prelude::*;
use redkeep::embed::{CallError, Message};
use redkeep::engine::{Engine, Options, Outcome};
use redkeep::exec::session::{Peer, SessionId};
use redkeep::exec::{Action, Args};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::util::clock::ManualClock;
use redkeep::util::glob;
use redkeep::{Server, Value};

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

// ---- An engine alone, on a clock of its own --------------------------------------------------------------------------

struct Bare {
    engine: Engine,
    clock: Arc<ManualClock>,
}

impl Bare {
    fn new() -> Bare {
        let clock = Arc::new(ManualClock::at_ms(1_000_000_000));
        let options = Options {
            clock: clock.clone(),
            seed: Some(1),
            ..Options::default()
        };
        Bare {
            engine: Engine::new(options),
            clock,
        }
    }

    fn client(&mut self) -> SessionId {
        self.engine.connect(Peer::default())
    }

    fn execute<A: AsRef<[u8]>>(&mut self, sid: SessionId, args: &[A]) -> (Vec<u8>, Outcome) {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        if let Some(session) = self.engine.state().sessions.get(sid) {
            reply.set_proto(session.proto);
        }
        self.engine.refresh_time();
        let outcome = self.engine.execute(sid, Args::new(&args), &mut reply);
        (reply.take(), outcome)
    }

    fn run(&mut self, sid: SessionId, line: &str) -> String {
        let (reply, _) = self.execute(sid, &common::argv(line));
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn int(&mut self, sid: SessionId, line: &str) -> i64 {
        let reply = self.run(sid, line);
        reply[1..].trim_end().parse().unwrap()
    }

    /// What came for a client.
    fn take(&mut self, sid: SessionId) -> (String, Outcome) {
        let mut out = ReplyBuf::new(Proto::Resp2);
        let outcome = self.engine.take_output(sid, &mut out);
        (
            String::from_utf8_lossy(out.as_slice()).into_owned(),
            outcome,
        )
    }

    fn publish(&mut self, sid: SessionId, channel: &str, bytes: usize) -> i64 {
        let text = "x".repeat(bytes);
        let (reply, _) = self.execute(sid, &["PUBLISH", channel, &text]);
        let reply = String::from_utf8(reply).unwrap();
        reply[1..].trim_end().parse().unwrap()
    }

    fn advance(&mut self, ms: i64) {
        self.clock.advance_ms(ms);
        self.engine.tick();
    }

    fn field(&mut self, sid: SessionId, section: &str, name: &str) -> i64 {
        let info = self.run(sid, &format!("INFO {section}"));
        let line = info.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len() + 1..].parse().unwrap()
    }

    fn is_to_close(&mut self, sid: SessionId) -> bool {
        self.engine.take_actions().contains(&Action::Close(sid))
    }
}

#[test]
fn what_came_before_a_command_stands_before_its_reply() {
    let mut e = Bare::new();
    let (c1, c2) = (e.client(), e.client());
    e.run(c1, "SUBSCRIBE a");
    e.run(c2, "PUBLISH a x");
    assert_eq!(
        e.run(c1, "UNSUBSCRIBE a"),
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"
    );
}

#[test]
fn a_client_is_woken_once_until_it_has_looked() {
    let mut e = Bare::new();
    let (c1, c2) = (e.client(), e.client());
    e.run(c1, "SUBSCRIBE a");
    e.run(c1, "PSUBSCRIBE *");
    e.engine.take_actions();
    e.run(c2, "PUBLISH a x");
    e.run(c2, "PUBLISH a y");
    assert_eq!(e.engine.take_actions(), [Action::Wake(c1)]);
    e.take(c1);
    e.run(c2, "PUBLISH a z");
    assert_eq!(e.engine.take_actions(), [Action::Wake(c1)]);
}

#[test]
fn what_a_woken_client_causes_itself_follows_its_reply() {
    let mut e = Bare::new();
    let (c1, c2) = (e.client(), e.client());
    e.run(c2, "CONFIG SET notify-keyspace-events El");
    e.run(c1, "HELLO 3");
    e.run(c1, "SUBSCRIBE __keyevent@0__:lpop");
    e.run(c1, "BLPOP l 0");
    e.run(c2, "RPUSH l v");
    let (got, outcome) = e.take(c1);
    assert_eq!(
        got,
        "*2\r\n$1\r\nl\r\n$1\r\nv\r\n>3\r\n$7\r\nmessage\r\n$19\r\n__keyevent@0__:lpop\r\n$1\r\nl\r\n"
    );
    assert_eq!(outcome, Outcome::Done);
}

#[test]
fn the_hard_limit_cuts_a_client_off_at_once() {
    let mut e = Bare::new();
    let (c1, c2, c3) = (e.client(), e.client(), e.client());
    let limit = "pubsub 100000 0 0";
    e.execute(c2, &["CONFIG", "SET", "client-output-buffer-limit", limit]);
    e.run(c1, "SUBSCRIBE a");
    e.run(c3, "SUBSCRIBE a");
    for _ in 0..9 {
        assert_eq!(e.publish(c2, "a", 10_000), 2);
        e.take(c3);
    }
    assert!(!e.is_to_close(c1));
    let line = e.run(c2, "CLIENT LIST TYPE pubsub");
    let line = line.lines().find(|line| line.starts_with("id=1 ")).unwrap();
    let field = |name: &str| -> usize {
        let at = line.find(&format!(" {name}=")).unwrap() + name.len() + 2;
        line[at..].split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(field("obl"), 16_384);
    assert_eq!(field("oll"), (field("omem") - 16_384).div_ceil(16_384));
    assert!((90_000..100_000).contains(&field("omem")), "{line}");
    assert!(field("tot-mem") > field("omem"), "{line}");
    let before = e.field(c2, "memory", "used_memory");
    assert_eq!(e.publish(c2, "a", 10_000), 2);
    assert!(e.is_to_close(c1));
    assert_eq!(e.take(c1), (String::new(), Outcome::Cut));
    // It is no subscriber any more, and what waited for it is gone.
    assert_eq!(e.publish(c2, "a", 1), 1);
    assert!(e.field(c2, "memory", "used_memory") < before - 80_000);
    let name = "client_output_buffer_limit_disconnections";
    assert_eq!(e.field(c2, "stats", name), 1);
    assert_eq!(e.run(c1, "PING"), "");
    e.engine.disconnect(c1);
    assert_eq!(e.int(c2, "PUBSUB NUMPAT"), 0);
}

#[test]
fn the_soft_limit_has_patience() {
    let mut e = Bare::new();
    let (c1, c2) = (e.client(), e.client());
    let limit = "pubsub 0 100000 10";
    e.execute(c2, &["CONFIG", "SET", "client-output-buffer-limit", limit]);
    e.run(c1, "SUBSCRIBE a");
    // Above for a while, then below: the time starts anew.
    e.publish(c2, "a", 200_000);
    assert!(e.engine.next_deadline().is_some());
    e.advance(8_000);
    e.take(c1);
    e.advance(1_000);
    e.publish(c2, "a", 200_000);
    e.advance(9_000);
    assert!(!e.is_to_close(c1));
    // Nothing happens but that time goes by.
    e.advance(2_000);
    assert!(e.is_to_close(c1));
    assert_eq!(e.take(c1).1, Outcome::Cut);
    let name = "client_output_buffer_limit_disconnections";
    assert_eq!(e.field(c2, "stats", name), 1);
}

#[test]
fn below_the_limits_of_its_class_a_client_may_wait_for_ever() {
    let mut e = Bare::new();
    let (c1, c2, c3) = (e.client(), e.client(), e.client());
    let limit = "normal 100000 50000 1 pubsub 0 300000 10";
    e.execute(c2, &["CONFIG", "SET", "client-output-buffer-limit", limit]);
    e.run(c1, "SUBSCRIBE a");
    e.publish(c2, "a", 200_000);
    e.advance(1_000_000);
    assert!(!e.is_to_close(c1));
    // Output that fits into a reply buffer is none.
    e.execute(
        c2,
        &[
            "CONFIG",
            "SET",
            "client-output-buffer-limit",
            "pubsub 1 1 0",
        ],
    );
    e.run(c3, "SUBSCRIBE b");
    e.publish(c2, "b", 16_000);
    e.advance(1_000_000);
    assert!(!e.is_to_close(c3));
    e.publish(c2, "b", 1_000);
    assert!(e.is_to_close(c3));
}

#[test]
fn a_reply_beyond_the_limit_is_not_given_but_a_transaction_goes_to_its_end() {
    let mut e = Bare::new();
    let (c1, c2) = (e.client(), e.client());
    let limit = "normal 100000 0 0";
    e.execute(c2, &["CONFIG", "SET", "client-output-buffer-limit", limit]);
    let big = "x".repeat(30_000);
    e.execute(c2, &["SET", "big", &big]);
    e.run(c1, "MULTI");
    e.run(c1, "SET before 1");
    for _ in 0..4 {
        e.run(c1, "GET big");
    }
    e.run(c1, "SET after 1");
    let (reply, outcome) = e.execute(c1, &["EXEC"]);
    assert_eq!((reply.len(), outcome), (0, Outcome::Cut));
    assert_eq!(
        e.run(c2, "MGET before after"),
        "*2\r\n$1\r\n1\r\n$1\r\n1\r\n"
    );
    // In one batch: what was answered before is not sent, either.
    let c3 = e.client();
    let mut reply = ReplyBuf::new(Proto::Resp2);
    let mut outcome = Outcome::Done;
    for _ in 0..4 {
        outcome = e
            .engine
            .execute(c3, Args::new(&[b"GET", b"big"]), &mut reply);
    }
    assert_eq!((reply.len(), outcome), (0, Outcome::Cut));
}

// ---- Against a model -------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Op {
    Begin(usize, usize, Vec<usize>),
    End(usize, usize, Vec<usize>),
    Publish(usize, usize),
    Leave(usize),
    Reset(usize),
}

const CLIENTS: usize = 4;
const KINDS: [[&str; 2]; 3] = [
    ["SUBSCRIBE", "UNSUBSCRIBE"],
    ["PSUBSCRIBE", "PUNSUBSCRIBE"],
    ["SSUBSCRIBE", "SUNSUBSCRIBE"],
];
const NAMES: [&str; 14] = [
    "",
    "a",
    "ab",
    "abc",
    "a name that is too long to stand in place",
    "*",
    "a*",
    "ab*",
    "?b?",
    "[ab]b*",
    "a\\*",
    "a*c",
    "a name that is too *",
    "a*long*",
];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let names = || prop::collection::vec(0..NAMES.len(), 1..4);
    let op = prop_oneof![
        4 => (0..CLIENTS, 0..3usize, names()).prop_map(|(c, k, n)| Op::Begin(c, k, n)),
        2 => (0..CLIENTS, 0..3usize, names()).prop_map(|(c, k, n)| Op::End(c, k, n)),
        1 => (0..CLIENTS, 0..3usize).prop_map(|(c, k)| Op::End(c, k, Vec::new())),
        6 => (0..2usize, 0..NAMES.len()).prop_map(|(shard, n)| Op::Publish(shard, n)),
        1 => (0..CLIENTS).prop_map(Op::Leave),
        1 => (0..CLIENTS).prop_map(Op::Reset),
    ];
    prop::collection::vec(op, 1..60)
}

/// Who is subscribed to what: by client and kind.
type Model = [[BTreeSet<&'static str>; 3]; CLIENTS];

fn count(subscribed: &[BTreeSet<&str>; 3], kind: usize) -> usize {
    match kind {
        2 => subscribed[2].len(),
        _ => subscribed[0].len() + subscribed[1].len(),
    }
}

fn push(words: &[&str], left: Option<usize>) -> Reply {
    let mut items: Vec<Reply> = words.iter().map(Reply::bulk).collect();
    items.extend(left.map(|n| Reply::Int(n as i64)));
    Reply::Push(items)
}

fn parsed(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some((reply, used)) = Reply::parse(bytes).unwrap() {
        replies.push(reply);
        bytes = &bytes[used..];
    }
    replies
}

/// What each client is to get when `text` is published.
fn expected(model: &Model, shard: usize, channel: &str, text: &str) -> [Vec<Reply>; CLIENTS] {
    std::array::from_fn(|c| {
        let mut got = Vec::new();
        if shard == 1 {
            if model[c][2].contains(channel) {
                got.push(push(&["smessage", channel, text], None));
            }
            return got;
        }
        if model[c][0].contains(channel) {
            got.push(push(&["message", channel, text], None));
        }
        for pattern in &model[c][1] {
            if glob::matches(pattern.as_bytes(), channel.as_bytes(), false) {
                got.push(push(&["pmessage", pattern, channel, text], None));
            }
        }
        got.sort();
        got
    })
}

fn check(ops: &[Op]) {
    let mut e = Bare::new();
    let publisher = e.client();
    let connect = |e: &mut Bare| {
        let sid = e.client();
        e.run(sid, "HELLO 3");
        sid
    };
    let mut clients: Vec<SessionId> = (0..CLIENTS).map(|_| connect(&mut e)).collect();
    let mut model = Model::default();
    for (n, op) in ops.iter().enumerate() {
        match op {
            Op::Begin(c, kind, names) | Op::End(c, kind, names) => {
                let ends = matches!(op, Op::End(..));
                let word = KINDS[*kind][usize::from(ends)];
                let mut names: Vec<&str> = names.iter().map(|&n| NAMES[n]).collect();
                let args: Vec<&str> = [&[word][..], &names].concat();
                let got = parsed(&e.execute(clients[*c], &args).0);
                if names.is_empty() {
                    names = model[*c][*kind].iter().copied().collect();
                }
                let mut wanted = Vec::new();
                let word = word.to_ascii_lowercase();
                for name in &names {
                    match ends {
                        true => model[*c][*kind].remove(name),
                        false => model[*c][*kind].insert(name),
                    };
                    wanted.push(push(&[&word, name], Some(count(&model[*c], *kind))));
                }
                if names.is_empty() {
                    let left = Reply::Int(count(&model[*c], *kind) as i64);
                    wanted.push(Reply::Push(vec![Reply::bulk(&word), Reply::Null, left]));
                }
                assert_eq!(got, wanted);
            }
            Op::Publish(shard, name) => {
                let (channel, text) = (NAMES[*name], n.to_string());
                let word = ["PUBLISH", "SPUBLISH"][*shard];
                let (got, _) = e.execute(publisher, &[word, channel, &text]);
                let wanted = expected(&model, *shard, channel, &text);
                let sum: usize = wanted.iter().map(Vec::len).sum();
                assert_eq!(parsed(&got), [Reply::Int(sum as i64)]);
                for (c, wanted) in wanted.into_iter().enumerate() {
                    let mut got = parsed(e.take(clients[c]).0.as_bytes());
                    got.sort();
                    assert_eq!(got, wanted);
                }
            }
            Op::Leave(c) => {
                e.engine.disconnect(clients[*c]);
                clients[*c] = connect(&mut e);
                model[*c] = Default::default();
            }
            Op::Reset(c) => {
                e.run(clients[*c], "RESET");
                e.run(clients[*c], "HELLO 3");
                model[*c] = Default::default();
            }
        }
        look(&mut e, publisher, &model);
    }
    for client in clients {
        e.engine.disconnect(client);
    }
    let pubsub = &e.engine.state().sys.pubsub;
    assert_eq!((pubsub.memory(), pubsub.clients()), (0, 0));
    assert!(pubsub.is_empty());
}

/// Holds what is told of subscriptions against the model.
fn look(e: &mut Bare, sid: SessionId, model: &Model) {
    let all = |kind: usize| -> BTreeMap<&str, i64> {
        let mut all = BTreeMap::new();
        for name in model.iter().flat_map(|client| &client[kind]) {
            *all.entry(*name).or_default() += 1;
        }
        all
    };
    for (kind, list, number) in [
        (0, "CHANNELS", "NUMSUB"),
        (2, "SHARDCHANNELS", "SHARDNUMSUB"),
    ] {
        let all = all(kind);
        let got = parsed(&e.execute(sid, &["PUBSUB", list]).0);
        let mut got: Vec<String> = got[0].items().iter().map(Reply::text).collect();
        got.sort();
        assert_eq!(got, all.keys().copied().collect::<Vec<_>>());
        let got = parsed(
            &e.execute(sid, &[&["PUBSUB", number], &NAMES[..]].concat())
                .0,
        );
        for pair in got[0].items().chunks(2) {
            let known = all.get(&*pair[0].text()).copied().unwrap_or(0);
            assert_eq!(pair[1].int(), Some(known));
        }
    }
    assert_eq!(e.int(sid, "PUBSUB NUMPAT"), all(1).len() as i64);
    let some = |client: &&[BTreeSet<&str>; 3]| client.iter().any(|kind| !kind.is_empty());
    let clients = model.iter().filter(some).count();
    assert_eq!(e.field(sid, "clients", "pubsub_clients"), clients as i64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn subscriptions_are_those_of_a_model(ops in ops()) {
        check(&ops);
    }
}

// ---- Over sockets ----------------------------------------------------------------------------------------------------

fn subscriber(server: &Server, channel: &str) -> Client {
    let mut client = Client::connect(server.port()).unwrap();
    client.run(&format!("SUBSCRIBE {channel}"));
    client
}

fn text_of(message: &Reply) -> String {
    message.items().last().unwrap().text()
}

fn eventually(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn info(client: &mut redkeep::Client, section: &str, name: &str) -> i64 {
    let info = client.call(["INFO", section]).unwrap();
    let info = String::from_utf8_lossy(info.as_bytes().unwrap()).into_owned();
    let line = info.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len() + 1..].parse().unwrap()
}

#[test]
fn a_subscriber_that_never_reads_is_cut_off_and_nobody_waits_for_it() {
    const MESSAGES: usize = 3000;
    const LIMIT: i64 = 1 << 20;
    let server = Server::builder()
        .config("client-output-buffer-limit", "pubsub 1mb 0 0")
        .start()
        .unwrap();
    let mut admin = server.client().unwrap();
    let deaf = subscriber(&server, "a");
    let mut reader = subscriber(&server, "a");
    let before = info(&mut admin, "memory", "used_memory");
    let port = server.port();
    let publisher = std::thread::spawn(move || {
        let mut client = Client::connect(port).unwrap();
        for n in 0..MESSAGES {
            let text = format!("{n:010}").repeat(1000);
            // Each is waited for: the readers have their turn.
            client.call(&["PUBLISH", "a", &text]).unwrap();
        }
    });
    let mut most = 0;
    for n in 0..MESSAGES {
        let message = reader.reply().unwrap();
        assert!(text_of(&message).starts_with(&format!("{n:010}")), "{n}");
        if n % 100 == 0 {
            most = most.max(info(&mut admin, "memory", "used_memory") - before);
        }
    }
    publisher.join().unwrap();
    assert!(most < 2 * LIMIT + 200_000, "{most}");
    eventually(|| info(&mut admin, "clients", "pubsub_clients") == 1);
    let name = "client_output_buffer_limit_disconnections";
    assert_eq!(info(&mut admin, "stats", name), 1);
    // What the system had taken from the server before is all that there is.
    drop(deaf);
}

#[test]
fn the_log_says_who_was_cut_off() {
    let server = common::Server::redkeep(&["--client-output-buffer-limit", "pubsub 100kb 0 0"]);
    let mut deaf = server.client();
    deaf.run("CLIENT SETNAME deaf");
    deaf.run("SUBSCRIBE a");
    let mut admin = server.client();
    let text = vec![b'x'; 100 << 10];
    assert_eq!(
        admin.call(&[b"PUBLISH", &b"a"[..], &text]).unwrap(),
        Reply::Int(1)
    );
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("output buffer limits"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(" # Client id="), "{line}");
    assert!(line.contains(" name=deaf "), "{line}");
    assert!(line.contains(" flags=PA "), "{line}");
    assert!(line.contains(" obl=16384 oll=6 omem=102435 "), "{line}");
    assert_eq!(deaf.receive(PATIENCE).unwrap(), Got::Closed);
}

#[test]
fn a_subscriber_above_its_soft_limit_is_cut_off_though_nothing_happens() {
    let server = Server::builder()
        .config("client-output-buffer-limit", "pubsub 0 100kb 1")
        .start()
        .unwrap();
    let mut admin = server.client().unwrap();
    let mut deaf = subscriber(&server, "a");
    let text = "x".repeat(16 << 20);
    let began = Instant::now();
    admin.call(["PUBLISH", "a", &text]).unwrap();
    eventually(|| info(&mut admin, "clients", "pubsub_clients") == 0);
    assert!(began.elapsed() >= Duration::from_secs(1));
    // What its connection holds goes with that.
    eventually(|| info(&mut admin, "memory", "used_memory") < 1 << 20);
    eventually(|| !matches!(deaf.receive(PATIENCE), Ok(Got::Nothing)));
}

#[test]
fn messages_of_each_publisher_come_in_its_order() {
    const PUBLISHERS: usize = 3;
    const MESSAGES: usize = 2000;
    let server = Server::builder().config("io-threads", "3").start().unwrap();
    let port = server.port();
    let readers: Vec<_> = (0..3)
        .map(|n| {
            let mut client = subscriber(&server, "a");
            std::thread::spawn(move || {
                let mut next = [0; PUBLISHERS];
                for _ in 0..PUBLISHERS * MESSAGES {
                    let text = text_of(&client.reply().unwrap());
                    let (who, what) = text.split_once(':').unwrap();
                    let (who, what): (usize, usize) = (who.parse().unwrap(), what.parse().unwrap());
                    assert_eq!(what, next[who], "reader {n}");
                    next[who] += 1;
                }
            })
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|who| {
            std::thread::spawn(move || {
                let mut client = Client::connect(port).unwrap();
                let mut at = 0;
                // Batches of all sizes, and transactions among them.
                for size in 1.. {
                    let end = (at + size * 7 % 97 + 1).min(MESSAGES);
                    let mut bytes = Vec::new();
                    let multi = size % 3 == 0;
                    let mut replies = end - at;
                    if multi {
                        encode(&["MULTI"], &mut bytes);
                    }
                    for n in at..end {
                        encode(&["PUBLISH", "a", &format!("{who}:{n}")], &mut bytes);
                    }
                    if multi {
                        encode(&["EXEC"], &mut bytes);
                        replies += 2;
                    }
                    client.send_raw(&bytes).unwrap();
                    for _ in 0..replies {
                        assert!(!client.reply().unwrap().is_error());
                    }
                    at = end;
                    if at == MESSAGES {
                        return;
                    }
                }
            })
        })
        .collect();
    for thread in publishers.into_iter().chain(readers) {
        thread.join().unwrap();
    }
}

#[test]
fn a_thousand_subscribers_get_everything() {
    const SUBSCRIBERS: usize = 1000;
    const MESSAGES: usize = 20;
    let server = Server::builder().start().unwrap();
    let mut subscribers: Vec<redkeep::Client> = (0..SUBSCRIBERS)
        .map(|n| {
            let mut client = server.client().unwrap();
            match n % 3 {
                0 => client.call(["SUBSCRIBE", "a"]),
                1 => client.call(["PSUBSCRIBE", "a*"]),
                _ => client.call(["PSUBSCRIBE", &format!("[a{n}]")]),
            }
            .unwrap();
            client
        })
        .collect();
    let mut sockets: Vec<Client> = (0..100).map(|_| subscriber(&server, "a")).collect();
    let mut publisher = Client::connect(server.port()).unwrap();
    let all = (SUBSCRIBERS + sockets.len()) as i64;
    for n in 0..MESSAGES {
        let got = publisher.call(&["PUBLISH", "a", &n.to_string()]).unwrap();
        assert_eq!(got, Reply::Int(all));
    }
    for client in &mut subscribers {
        for n in 0..MESSAGES {
            match client.next_message(Some(PATIENCE)).unwrap() {
                Some(Message::Published { text, .. }) => assert_eq!(text, n.to_string().as_bytes()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(client.next_message(Some(Duration::ZERO)), Ok(None));
    }
    for client in &mut sockets {
        for n in 0..MESSAGES {
            assert_eq!(text_of(&client.reply().unwrap()), n.to_string());
        }
    }
}

#[test]
fn subscribers_that_are_killed_meanwhile_take_nothing_from_others() {
    const MESSAGES: usize = 3000;
    let server = Server::builder().config("io-threads", "2").start().unwrap();
    let mut reader = subscriber(&server, "a");
    let done = Arc::new(AtomicBool::new(false));
    let port = server.port();
    let victims: Vec<_> = (0..3)
        .map(|n| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                let mut lives = 0;
                while !done.load(Ordering::Relaxed) {
                    let mut client = Client::connect(port).unwrap();
                    client.run("CLIENT SETNAME victim");
                    let word = ["SUBSCRIBE", "PSUBSCRIBE", "SUBSCRIBE"][n];
                    if client.call(&[word, "a"]).is_err() {
                        continue;
                    }
                    let mut last = None;
                    while let Ok(Got::Reply(message)) = client.receive(Duration::from_millis(50)) {
                        let text: usize = text_of(&message).parse().unwrap();
                        assert!(last.is_none_or(|last| last + 1 == text), "{last:?} {text}");
                        last = Some(text);
                    }
                    lives += 1;
                }
                lives
            })
        })
        .collect();
    let killer = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let mut admin = Client::connect(port).unwrap();
            while !done.load(Ordering::Relaxed) {
                let list = admin.run("CLIENT LIST").text();
                for line in list.lines().filter(|line| line.contains("name=victim")) {
                    let id = line.split([' ', '=']).nth(1).unwrap();
                    admin.run(&format!("CLIENT KILL ID {id}"));
                }
            }
        }
    });
    let mut publisher = Client::connect(port).unwrap();
    let commands: Vec<_> = (0..MESSAGES)
        .map(|n| common::argv(&format!("PUBLISH a {n}")))
        .collect();
    let reads = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            assert_eq!(text_of(&reader.reply().unwrap()), n.to_string());
        }
    });
    for part in commands.chunks(50) {
        let (replies, end) = publisher.pipeline(part);
        end.unwrap();
        assert!(replies.iter().all(|r| r.int().is_some_and(|n| n >= 1)));
    }
    reads.join().unwrap();
    done.store(true, Ordering::Relaxed);
    killer.join().unwrap();
    let lives: usize = victims.into_iter().map(|v| v.join().unwrap()).sum();
    assert!(lives > 3, "{lives}");
    eventually(|| publisher.run("PUBSUB NUMSUB a").items()[1] == Reply::Int(0));
}

#[test]
fn a_connection_that_is_closed_ends_its_subscriptions() {
    let server = Server::builder().start().unwrap();
    let mut admin = server.client().unwrap();
    let stream = TcpStream::connect(server.addr()).unwrap();
    let mut client = subscriber(&server, "a");
    drop(stream);
    client.send(&["PSUBSCRIBE", "b*"]).unwrap();
    client.reply().unwrap();
    assert_eq!(info(&mut admin, "clients", "pubsub_clients"), 1);
    drop(client);
    eventually(|| info(&mut admin, "clients", "pubsub_clients") == 0);
    assert_eq!(admin.call(["PUBLISH", "a", "x"]), Ok(Value::Int(0)));
    assert_eq!(admin.call(["PUBSUB", "NUMPAT"]), Ok(Value::Int(0)));
}

#[test]
fn output_that_was_taken_counts_no_more() {
    let server = Server::builder()
        .config("client-output-buffer-limit", "pubsub 20mb 0 0")
        .start()
        .unwrap();
    let mut admin = server.client().unwrap();
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    std::io::Write::write_all(&mut stream, b"SUBSCRIBE a\r\n").unwrap();
    eventually(|| info(&mut admin, "clients", "pubsub_clients") == 1);
    let text = "x".repeat(6 << 20);
    let mut sink = vec![0; 1 << 20];
    for _ in 0..10 {
        admin.call(["PUBLISH", "a", &text]).unwrap();
        let mut left = text.len();
        while left > 0 {
            let read = stream.read(&mut sink).unwrap();
            assert!(read > 0, "it was cut off");
            left = left.saturating_sub(read);
        }
    }
    assert_eq!(info(&mut admin, "clients", "pubsub_clients"), 1);
    eventually(|| info(&mut admin, "clients", "client_recent_max_output_buffer") == 0);
    eventually(|| info(&mut admin, "memory", "used_memory") < 1 << 20);
}

// ---- Inside of a process ---------------------------------------------------------------------------------------------

fn published(text: &str) -> Message {
    Message::from(Value::Array(
        ["message", "a", text]
            .map(|word| Value::Bulk(word.into()))
            .to_vec(),
    ))
}

#[test]
fn a_client_inside_gets_messages_beside_its_replies() {
    for proto in ["2", "3"] {
        let server = Server::builder().start().unwrap();
        let (mut reader, mut writer) = (server.client().unwrap(), server.client().unwrap());
        reader.call(["HELLO", proto]).unwrap();
        let first = reader.call(["SUBSCRIBE", "a", "b"]).unwrap();
        assert_eq!(first.as_array().unwrap()[1], Value::Bulk(b"a".into()));
        match reader.next_message(Some(PATIENCE)).unwrap() {
            Some(Message::Other(second)) => {
                assert_eq!(second.as_array().unwrap()[1], Value::Bulk(b"b".into()));
            }
            other => panic!("{other:?}"),
        }
        for text in ["1", "2"] {
            assert_eq!(writer.call(["PUBLISH", "a", text]), Ok(Value::Int(1)));
        }
        // A reply does not push messages aside, and is not taken for one.
        let pong = reader.call(["PING"]).unwrap();
        assert!(matches!(pong, Value::Simple(_) | Value::Array(_)));
        assert_eq!(writer.call(["PUBLISH", "a", "3"]), Ok(Value::Int(1)));
        for text in ["1", "2", "3"] {
            let message = reader.next_message(Some(PATIENCE)).unwrap();
            assert_eq!(message, Some(published(text)));
        }
        assert_eq!(reader.next_message(Some(Duration::ZERO)), Ok(None));
        let began = Instant::now();
        let nothing = reader.next_message(Some(Duration::from_millis(30)));
        assert_eq!(nothing, Ok(None));
        assert!(began.elapsed() >= Duration::from_millis(30));
        reader.call(["UNSUBSCRIBE", "a"]).unwrap();
        assert_eq!(writer.call(["PUBLISH", "a", "4"]), Ok(Value::Int(0)));
        assert_eq!(reader.next_message(Some(Duration::ZERO)), Ok(None));
    }
}

#[test]
fn a_client_inside_waits_for_messages_of_other_threads() {
    let server = Server::builder().start().unwrap();
    let mut reader = server.client().unwrap();
    reader.call(["SUBSCRIBE", "a"]).unwrap();
    let mut writer = server.client().unwrap();
    let thread = std::thread::spawn(move || {
        for n in 0..1000 {
            writer.call(["PUBLISH", "a", &n.to_string()]).unwrap();
        }
    });
    for n in 0..1000 {
        let message = reader.next_message(None).unwrap();
        assert_eq!(message, Some(published(&n.to_string())));
    }
    thread.join().unwrap();
}

#[test]
fn a_blocked_call_leaves_messages_for_later() {
    let server = Server::builder().start().unwrap();
    let mut reader = server.client().unwrap();
    let mut writer = server.client().unwrap();
    reader.call(["HELLO", "3"]).unwrap();
    reader.call(["SUBSCRIBE", "a"]).unwrap();
    let thread = std::thread::spawn(move || {
        let got = reader.call(["BLPOP", "l", "0"]).unwrap();
        assert_eq!(got.as_array().unwrap()[1], Value::Bulk(b"x".into()));
        for text in ["1", "2"] {
            let message = reader.next_message(Some(PATIENCE)).unwrap();
            assert_eq!(message, Some(published(text)));
        }
    });
    eventually(|| info(&mut writer, "clients", "blocked_clients") == 1);
    writer.call(["PUBLISH", "a", "1"]).unwrap();
    writer.call(["RPUSH", "l", "x"]).unwrap();
    writer.call(["PUBLISH", "a", "2"]).unwrap();
    thread.join().unwrap();
}

#[test]
fn what_a_client_inside_publishes_to_itself_is_a_message() {
    let server = Server::builder().start().unwrap();
    let mut client = server.client().unwrap();
    client.call(["HELLO", "3"]).unwrap();
    client.call(["SUBSCRIBE", "a"]).unwrap();
    assert_eq!(client.call(["PUBLISH", "a", "x"]), Ok(Value::Int(1)));
    let message = client.next_message(Some(Duration::ZERO)).unwrap();
    assert_eq!(message, Some(published("x")));
    // Without a reply, too.
    let off = client.call(["CLIENT", "REPLY", "OFF"]);
    assert!(matches!(off, Err(CallError::Unreadable(_))));
    let silent = client.call(["PUBLISH", "a", "y"]);
    assert!(matches!(silent, Err(CallError::Unreadable(_))));
    let message = client.next_message(Some(Duration::ZERO)).unwrap();
    assert_eq!(message, Some(published("y")));
}

#[test]
fn a_client_inside_that_never_fetches_its_messages_is_cut_off() {
    let server = Server::builder()
        .config("client-output-buffer-limit", "pubsub 1mb 0 0")
        .start()
        .unwrap();
    let (mut reader, mut writer) = (server.client().unwrap(), server.client().unwrap());
    reader.call(["SUBSCRIBE", "a"]).unwrap();
    let text = "x".repeat(100_000);
    let mut got = 0;
    loop {
        let receivers = writer.call(["PUBLISH", "a", &text]).unwrap();
        if receivers == Value::Int(0) {
            break;
        }
        got += 1;
        assert!(got < 20);
        // Calls take messages over, which does not make them less.
        if reader.call(["PING"]).is_err() {
            break;
        }
    }
    assert!((9..=12).contains(&got), "{got}");
    // What came before is there.
    for _ in 0..8 {
        let message = reader.next_message(Some(Duration::ZERO)).unwrap();
        assert_eq!(message, Some(published(&text)));
    }
    let end = loop {
        match reader.next_message(Some(PATIENCE)) {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end, Err(CallError::Closed));
    assert_eq!(info(&mut writer, "clients", "pubsub_clients"), 0);
}

#[test]
fn messages_come_through_a_busy_script() {
    let server = Server::builder()
        .config("busy-reply-threshold", "20")
        .start()
        .unwrap();
    let (mut reader, mut writer) = (server.client().unwrap(), server.client().unwrap());
    let mut killer = server.client().unwrap();
    reader.call(["SUBSCRIBE", "a"]).unwrap();
    let script = "redis.call('PUBLISH', 'a', 'before') while true do end";
    let thread = std::thread::spawn(move || writer.call(["EVAL", script, "0"]));
    let message = reader.next_message(Some(PATIENCE)).unwrap();
    assert_eq!(message, Some(published("before")));
    let error = reader.call(["PING"]).unwrap();
    assert!(error.is_error(), "{error}");
    killer.call(["SCRIPT", "KILL"]).unwrap();
    assert!(thread.join().unwrap().unwrap().is_error());
    killer.call(["PUBLISH", "a", "after"]).unwrap();
    let message = reader.next_message(Some(PATIENCE)).unwrap();
    assert_eq!(message, Some(published("after")));
}
