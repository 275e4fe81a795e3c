//! Synchronous replication (`sync-replicas`): who waits for replicas and who does not, and what becomes of those who wait
//! in vain. The replica is a socket that acknowledges when it is told to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::client::{Got, encode};
use common::{Client, Reply, argv};
use redkeep::embed::Message;
use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::exec::ticket::Ticket;
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::service::config::{Config, Settings};
use redkeep::util::clock::ManualClock;
use redkeep::util::waiting::{Confirmed, Reached};
use redkeep::{Server, Value};

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// For what must wait until it is let go.
const FOR_EVER: &str = "3600000";

/// A replica that does what it is told.
struct Replica {
    sock: TcpStream,
    buf: Vec<u8>,
    /// It has read so much of the stream.
    offset: u64,
}

impl Replica {
    /// Joins, by a snapshot.
    fn join(port: u16) -> Replica {
        let sock = TcpStream::connect(("127.0.0.1", port)).unwrap();
        sock.set_nodelay(true).unwrap();
        sock.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut replica = Replica {
            sock,
            buf: Vec::new(),
            offset: 0,
        };
        replica.send(&["REPLCONF", "listening-port", "1"]);
        assert_eq!(replica.line(), "+OK");
        replica.send(&["PSYNC", "?", "-1"]);
        let words = replica.line();
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(words[0], "+FULLRESYNC", "{words:?}");
        replica.offset = words[2].parse().unwrap();
        let head = replica.line();
        let len: usize = head.strip_prefix('$').unwrap().parse().unwrap();
        while replica.buf.len() < len {
            replica.read();
        }
        replica.buf.drain(..len);
        replica
    }

    fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let mut out = Vec::new();
        encode(args, &mut out);
        self.sock.write_all(&out).unwrap();
    }

    fn read(&mut self) {
        let mut chunk = [0; 64 * 1024];
        let n = self.sock.read(&mut chunk).unwrap();
        assert!(n > 0, "the leader has closed the link");
        self.buf.extend_from_slice(&chunk[..n]);
    }

    /// A line of the handshake. Empty ones are signs of life.
    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buf.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.buf.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap().trim_end().to_owned();
                if !line.is_empty() {
                    return line;
                }
            } else {
                self.read();
            }
        }
    }

    /// The next command of the stream, in words.
    fn command(&mut self) -> String {
        loop {
            if let Some((reply, len)) = Reply::parse(&self.buf).unwrap() {
                self.buf.drain(..len);
                self.offset += len as u64;
                let words: Vec<String> = reply.items().iter().map(Reply::text).collect();
                return words.join(" ");
            }
            self.read();
        }
    }

    /// Reads on until it is asked how far it is: what to answer.
    fn question(&mut self) -> u64 {
        loop {
            let before = self.offset;
            if self.command() == "REPLCONF GETACK *" {
                return before;
            }
        }
    }

    fn acknowledge(&mut self, offset: u64) {
        self.send(&["REPLCONF", "ACK", &offset.to_string()]);
    }

    /// Answers the next question.
    fn confirm(&mut self) {
        let offset = self.question();
        self.acknowledge(offset);
    }
}

/// A leader and one replica, and somebody who looks.
struct World {
    server: Server,
    replica: Replica,
    admin: Client,
}

fn leader(needed: &str, timeout: &str) -> Server {
    Server::builder()
        .config("sync-replicas", needed)
        .config("sync-replicas-timeout", timeout)
        .config("repl-diskless-sync-delay", "0")
        .start()
        .unwrap()
}

impl World {
    fn new(timeout: &str) -> World {
        let server = leader("1", timeout);
        let replica = Replica::join(server.port());
        let admin = Client::connect(server.port()).unwrap();
        World {
            server,
            replica,
            admin,
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.server.port()).unwrap()
    }

    /// A number that INFO tells.
    fn info(&mut self, name: &str) -> i64 {
        info(&mut self.admin, name)
    }

    /// Waits until so many replies wait.
    #[track_caller]
    fn await_waiting(&mut self, n: i64) {
        until(|| self.info("sync_replicas_waiting") == n);
    }

    /// A write that is confirmed.
    fn write(&mut self, client: &mut Client, line: &str) -> Reply {
        client.send(&argv(line)).unwrap();
        while self.replica.command() != line {}
        self.replica.confirm();
        client.reply().unwrap()
    }
}

fn info(client: &mut Client, name: &str) -> i64 {
    let text = client.run("INFO replication").text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value
        .unwrap_or_else(|| panic!("no {name}"))
        .parse()
        .unwrap()
}

/// Waits for what must come.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "it does not come to that");
        std::thread::yield_now();
    }
}

fn send(client: &mut Client, line: &str) {
    client.send(&argv(line)).unwrap();
}

#[track_caller]
fn assert_refused(reply: &Reply) {
    assert!(
        reply.is_error() && reply.text().starts_with("NOREPLICAS "),
        "{reply:?}"
    );
}

#[track_caller]
fn assert_silent(client: &mut Client) {
    assert_eq!(client.poll().unwrap(), None);
}

#[test]
fn a_write_waits_until_the_replica_has_it() {
    let mut w = World::new(FOR_EVER);
    let mut c = w.client();
    send(&mut c, "SET k v");
    let offset = w.replica.question();
    w.await_waiting(1);
    assert_silent(&mut c);
    // What is not all of it is not enough.
    w.replica.acknowledge(offset - 1);
    w.await_waiting(1);
    assert_silent(&mut c);
    w.replica.acknowledge(offset);
    assert_eq!(c.reply().unwrap(), Reply::ok());
    assert_eq!(w.info("sync_replicas_waiting"), 0);
    assert_eq!(w.info("sync_replicas"), 1);
    assert_eq!(
        w.info("sync_replicas_confirmed_offset"),
        i64::try_from(offset).unwrap()
    );
    assert_eq!(w.info("sync_replicas_timeouts"), 0);
}

#[test]
fn only_who_may_see_the_write_waits() {
    let mut w = World::new(FOR_EVER);
    let mut c = w.client();
    w.write(&mut c, "MSET a 1 b 2");
    send(&mut c, "SET k v");
    let offset = w.replica.question();
    w.await_waiting(1);
    let mut others = w.client();
    for line in [
        "PING",
        "GET a",
        "MGET a b",
        "EXISTS missing",
        "TYPE b",
        "ECHO x",
        "PUBLISH c m",
        "CLIENT ID",
        "CONFIG GET port",
        "MULTI",
        "GET a",
        "EXEC",
        "EVAL return{redis.call('get','a')} 0",
        "SETNX a 2",
        "OBJECT ENCODING a",
        "WATCH k",
        "UNWATCH",
        "COMMAND COUNT",
        "SORT a",
        "GET",
    ] {
        others.run(line);
    }
    let readers = [
        ("GET k", Reply::bulk("v")),
        ("EXISTS a k", Reply::Int(2)),
        ("TTL k", Reply::Int(-1)),
        ("SETNX k x", Reply::Int(0)),
        ("DBSIZE", Reply::Int(3)),
        ("LLEN k", Reply::Error(Vec::new())),
        (
            "EVAL return{redis.call('get','k')} 0",
            Reply::Array(vec![Reply::bulk("v")]),
        ),
        ("SORT missing BY x_*", Reply::Array(Vec::new())),
        ("KEYS missing", Reply::Array(Vec::new())),
    ];
    let mut waiting = Vec::new();
    for (line, _) in &readers {
        let mut client = w.client();
        send(&mut client, line);
        waiting.push(client);
        w.await_waiting(1 + i64::try_from(waiting.len()).unwrap());
    }
    waiting.iter_mut().for_each(assert_silent);
    w.replica.acknowledge(offset);
    assert_eq!(c.reply().unwrap(), Reply::ok());
    for (client, (line, expected)) in waiting.iter_mut().zip(readers) {
        let reply = client.reply().unwrap();
        match expected {
            Reply::Error(_) => assert!(reply.text().starts_with("WRONGTYPE"), "{line}"),
            expected => assert_eq!(reply, expected, "{line}"),
        }
    }
    // And then nobody waits any more.
    assert_eq!(others.run("GET k"), Reply::bulk("v"));
}

#[test]
fn changes_that_wake_nobody_are_waited_for_too() {
    let mut w = World::new(FOR_EVER);
    let mut c = w.client();
    w.write(&mut c, "XADD s 1-1 f v");
    w.write(&mut c, "XGROUP CREATE s g 0");
    send(&mut c, "XREADGROUP GROUP g me STREAMS s >");
    w.replica.question();
    w.await_waiting(1);
    let mut other = w.client();
    send(&mut other, "XPENDING s g");
    w.await_waiting(2);
    // Functions are no keys: everything that looks at them waits, as it does for a database that is emptied.
    let mut third = w.client();
    send(&mut third, "FUNCTION FLUSH");
    w.await_waiting(3);
    let mut fourth = w.client();
    send(&mut fourth, "FUNCTION LIST");
    w.await_waiting(4);
    let offset = w.replica.offset;
    w.replica.acknowledge(offset);
    for client in [&mut c, &mut other] {
        assert!(matches!(client.reply().unwrap(), Reply::Array(_)));
    }
    w.replica.confirm();
    assert_eq!(third.reply().unwrap(), Reply::ok());
    assert_eq!(fourth.reply().unwrap(), Reply::Array(Vec::new()));
}

#[test]
fn a_pipeline_keeps_its_order_and_the_next_batch_waits() {
    let mut w = World::new(FOR_EVER);
    let mut c = w.client();
    let mut out = Vec::new();
    for line in ["GET a", "INCR n", "GET a", "PING", "INCR n"] {
        encode(&argv(line), &mut out);
    }
    c.send_raw(&out).unwrap();
    let offset = w.replica.question();
    w.await_waiting(2);
    send(&mut c, "INCR n");
    let mut other = w.client();
    send(&mut other, "SET x y");
    w.await_waiting(3);
    assert_silent(&mut c);
    w.replica.acknowledge(offset);
    let replies: Vec<Reply> = (0..5).map(|_| c.reply().unwrap()).collect();
    let pong = Reply::Simple(b"PONG".to_vec());
    let expected = [
        Reply::NullBulk,
        Reply::Int(1),
        Reply::NullBulk,
        pong,
        Reply::Int(2),
    ];
    assert_eq!(replies, expected);
    w.replica.confirm();
    assert_eq!(other.reply().unwrap(), Reply::ok());
    // What was sent meanwhile had to wait for that, and has to be confirmed itself.
    w.replica.confirm();
    assert_eq!(c.reply().unwrap(), Reply::Int(3));
}

#[test]
fn whoever_waits_in_vain_gets_an_error_for_each_reply_that_did() {
    let mut w = World::new("60");
    let mut c = w.client();
    let mut out = Vec::new();
    for line in [
        "GET a", "SET k v", "PING", "GET k", "MULTI", "SET m 1", "INCR m", "EXEC", "GET a",
    ] {
        encode(&argv(line), &mut out);
    }
    c.send_raw(&out).unwrap();
    let replies: Vec<Reply> = (0..9).map(|_| c.reply().unwrap()).collect();
    assert_eq!(replies[0], Reply::NullBulk);
    assert_refused(&replies[1]);
    assert_eq!(
        replies[1].text(),
        "NOREPLICAS the write was applied here, but not confirmed by 1 replica within 60 ms"
    );
    assert_eq!(replies[2].text(), "PONG");
    assert_refused(&replies[3]);
    assert_eq!(replies[4], Reply::ok());
    assert_eq!(replies[5].text(), "QUEUED");
    assert_refused(&replies[7]);
    assert_eq!(replies[8], Reply::NullBulk);
    // Whoever looks sees nothing that is not confirmed.
    assert_refused(&c.run("GET k"));
    assert_eq!(w.info("sync_replicas_timeouts"), 4);
    assert!(w.info("sync_replicas_worst_wait_ms") >= 60);
    // It was applied, and is confirmed late.
    let offset = w.replica.question();
    w.replica.acknowledge(offset);
    until(|| w.info("sync_replicas_confirmed_offset") >= i64::try_from(offset).unwrap());
    assert_eq!(
        c.run("MGET k m"),
        Reply::Array(vec![Reply::bulk("v"), Reply::bulk("2")])
    );
    w.admin.run("CONFIG RESETSTAT");
    assert_eq!(w.info("sync_replicas_timeouts"), 0);
    assert_eq!(w.info("sync_replicas_worst_wait_ms"), 0);
}

#[test]
fn without_replicas_writes_wait_and_one_that_joins_lets_them_go() {
    let server = leader("1", FOR_EVER);
    let mut admin = Client::connect(server.port()).unwrap();
    let mut c = Client::connect(server.port()).unwrap();
    send(&mut c, "SET k v");
    until(|| info(&mut admin, "sync_replicas_waiting") > 0);
    let mut replica = Replica::join(server.port());
    assert_silent(&mut c);
    let offset = replica.offset;
    replica.acknowledge(offset);
    assert_eq!(c.reply().unwrap(), Reply::ok());
    // One that comes back with everything has said so.
    drop(replica);
    until(|| info(&mut admin, "connected_slaves") == 0);
    send(&mut c, "SET k w");
    until(|| info(&mut admin, "sync_replicas_waiting") > 0);
    let text = admin.run("INFO replication").text();
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("master_replid:"))
        .unwrap();
    let mut back = Client::connect(server.port()).unwrap();
    assert!(
        back.run(&format!("PSYNC {id} {}", offset + 1))
            .text()
            .starts_with("CONTINUE")
    );
    let end = info(&mut admin, "master_repl_offset");
    back.send(&argv(&format!("REPLCONF ACK {end}"))).unwrap();
    // It has not been sent that much when it says so too early: then it is asked, and says it again.
    until(|| {
        back.send(&argv(&format!("REPLCONF ACK {end}"))).unwrap();
        c.poll().unwrap().is_some()
    });
}

#[test]
fn transactions_and_scripts_are_one_reply() {
    let mut w = World::new(FOR_EVER);
    let mut c = w.client();
    for line in ["MULTI", "SET a 1", "GET b"] {
        c.run(line);
    }
    send(&mut c, "EXEC");
    w.await_waiting(1);
    assert_silent(&mut c);
    w.replica.confirm();
    assert_eq!(
        c.reply().unwrap(),
        Reply::Array(vec![Reply::ok(), Reply::NullBulk])
    );
    let script = "redis.call('set',KEYS[1],'x') return redis.call('get',KEYS[1])";
    c.send(&["EVAL", script, "1", "k"]).unwrap();
    w.await_waiting(1);
    assert_silent(&mut c);
    w.replica.confirm();
    assert_eq!(c.reply().unwrap(), Reply::bulk("x"));
}

#[test]
fn that_a_watched_key_changed_shows_the_write() {
    let mut w = World::new(FOR_EVER);
    let (mut c, mut other) = (w.client(), w.client());
    other.run("WATCH k");
    send(&mut c, "SET k v");
    let offset = w.replica.question();
    w.await_waiting(1);
    other.run("MULTI");
    other.run("PING");
    send(&mut other, "EXEC");
    w.await_waiting(2);
    w.replica.acknowledge(offset);
    assert_eq!(c.reply().unwrap(), Reply::ok());
    assert_eq!(other.reply().unwrap(), Reply::NullArray);
}

#[test]
fn whoever_is_woken_by_a_write_waits_for_it() {
    for confirmed in [true, false] {
        let mut w = World::new(if confirmed { FOR_EVER } else { "60" });
        let (mut c, mut blocked) = (w.client(), w.client());
        send(&mut blocked, "BLPOP q 0");
        until(|| {
            w.admin
                .run("INFO clients")
                .text()
                .contains("blocked_clients:1")
        });
        send(&mut c, "RPUSH q x y");
        let offset = w.replica.question();
        if confirmed {
            w.await_waiting(2);
            assert_silent(&mut blocked);
            w.replica.acknowledge(offset);
            assert_eq!(c.reply().unwrap(), Reply::Int(2));
            let popped = Reply::Array(vec![Reply::bulk("q"), Reply::bulk("x")]);
            assert_eq!(blocked.reply().unwrap(), popped);
        } else {
            assert_refused(&c.reply().unwrap());
            assert_refused(&blocked.reply().unwrap());
            assert_eq!(blocked.run("PING").text(), "PONG");
        }
    }
}

#[test]
fn with_durable_only_what_is_on_its_disk_counts() {
    let mut w = World::new(FOR_EVER);
    w.admin.run("CONFIG SET sync-replicas-durable yes");
    let mut c = w.client();
    send(&mut c, "SET k v");
    let offset = w.replica.question();
    w.await_waiting(1);
    w.replica.acknowledge(offset);
    let (acknowledged, before) = (offset.to_string(), (offset - 1).to_string());
    w.replica
        .send(&["REPLCONF", "ACK", &acknowledged, "FACK", &before]);
    until(|| {
        w.admin
            .run("INFO replication")
            .text()
            .contains(&format!("offset={offset},"))
    });
    w.await_waiting(1);
    assert_silent(&mut c);
    w.replica
        .send(&["REPLCONF", "ACK", &acknowledged, "FACK", &acknowledged]);
    assert_eq!(c.reply().unwrap(), Reply::ok());
    // What was held to that is held to less when that is asked for.
    send(&mut c, "SET k w");
    let offset = w.replica.question();
    w.replica.acknowledge(offset);
    w.await_waiting(1);
    w.admin.run("CONFIG SET sync-replicas-durable no");
    assert_eq!(c.reply().unwrap(), Reply::ok());
}

#[test]
fn as_many_replicas_as_are_asked_for() {
    let mut w = World::new(FOR_EVER);
    w.admin.run("CONFIG SET sync-replicas 2");
    let mut second = Replica::join(w.server.port());
    let mut c = w.client();
    send(&mut c, "SET k v");
    let offset = w.replica.question();
    w.replica.acknowledge(offset);
    w.await_waiting(1);
    assert_silent(&mut c);
    assert_eq!(second.question(), offset);
    second.acknowledge(offset);
    assert_eq!(c.reply().unwrap(), Reply::ok());
    // One is enough from now on.
    send(&mut c, "SET k w");
    w.replica.confirm();
    w.await_waiting(1);
    w.admin.run("CONFIG SET sync-replicas 1");
    assert_eq!(c.reply().unwrap(), Reply::ok());
}

#[test]
fn nobody_waits_when_it_is_switched_off() {
    let mut w = World::new(FOR_EVER);
    let (mut c, mut other) = (w.client(), w.client());
    send(&mut c, "SET k v");
    w.await_waiting(1);
    send(&mut other, "GET k");
    w.await_waiting(2);
    w.admin.run("CONFIG SET sync-replicas 0");
    assert_eq!(c.reply().unwrap(), Reply::ok());
    assert_eq!(other.reply().unwrap(), Reply::bulk("v"));
    assert_eq!(c.run("SET k w"), Reply::ok());
    // What was done meanwhile is not waited for.
    w.admin.run("CONFIG SET sync-replicas 1");
    assert_eq!(c.run("GET k"), Reply::bulk("w"));
    send(&mut c, "SET k x");
    w.await_waiting(1);
    let offset = loop {
        if w.replica.command() == "SET k x" {
            break w.replica.offset;
        }
    };
    w.replica.acknowledge(offset);
    assert_eq!(c.reply().unwrap(), Reply::ok());
}

#[test]
fn whoever_waits_when_the_leader_becomes_a_replica_is_told_at_once() {
    let mut w = World::new(FOR_EVER);
    let mut c = w.client();
    send(&mut c, "SET k v");
    w.await_waiting(1);
    // In the same breath as a write, which is not confirmed either.
    let port = w.server.port();
    let mut out = Vec::new();
    encode(&argv("SET j v"), &mut out);
    encode(&argv(&format!("REPLICAOF 127.0.0.1 {port}")), &mut out);
    w.admin.send_raw(&out).unwrap();
    assert_refused(&c.reply().unwrap());
    assert_refused(&w.admin.reply().unwrap());
    assert_eq!(w.admin.reply().unwrap(), Reply::ok());
    assert_eq!(w.info("sync_replicas_waiting"), 0);
    assert_eq!(c.run("GET k"), Reply::bulk("v"));
    // A leader again: nobody knows whether replicas have what it has.
    w.admin.run("REPLICAOF NO ONE");
    send(&mut c, "GET k");
    w.await_waiting(1);
    w.replica = Replica::join(port);
    w.replica.confirm();
    assert_eq!(c.reply().unwrap(), Reply::bulk("v"));
    assert_eq!(w.write(&mut c, "SET k w"), Reply::ok());
}

#[test]
fn what_nobody_asked_for_comes_late_but_whole() {
    let mut w = World::new("60");
    w.admin.run("CONFIG SET notify-keyspace-events KEA");
    let (mut c, mut tracks, mut hears) = (w.client(), w.client(), w.client());
    tracks.run("HELLO 3");
    tracks.run("CLIENT TRACKING ON");
    tracks.run("GET x");
    hears.run("SUBSCRIBE __keyspace@0__:k");
    send(&mut c, "SET x 1");
    send(&mut tracks, "SET k v");
    let mut replies = Vec::new();
    while replies.len() < 2 {
        replies.push(tracks.reply().unwrap());
    }
    let invalidate = Reply::Push(vec![
        Reply::bulk("invalidate"),
        Reply::Array(vec![Reply::bulk("x")]),
    ]);
    assert!(replies.contains(&invalidate), "{replies:?}");
    replies.retain(|reply| *reply != invalidate);
    assert_refused(&replies[0]);
    let words: Vec<String> = hears
        .reply()
        .unwrap()
        .items()
        .iter()
        .map(Reply::text)
        .collect();
    assert_eq!(words, ["message", "__keyspace@0__:k", "set"]);
    assert_refused(&c.reply().unwrap());
    // And at once if it is confirmed at once.
    w.admin
        .run(&format!("CONFIG SET sync-replicas-timeout {FOR_EVER}"));
    send(&mut c, "DEL k");
    w.await_waiting(1);
    assert_silent(&mut hears);
    let end = loop {
        if w.replica.command() == "DEL k" {
            break w.replica.offset;
        }
    };
    w.replica.acknowledge(end);
    assert_eq!(hears.reply().unwrap().items()[2].text(), "del");
    assert_eq!(c.reply().unwrap(), Reply::Int(1));
}

#[test]
fn messages_that_come_late_do_not_keep_anybody_from_asking() {
    let mut w = World::new(FOR_EVER);
    let (mut c, mut hears) = (w.client(), w.client());
    hears.run("HELLO 3");
    hears.run("SUBSCRIBE news");
    send(&mut c, "SET k v");
    w.await_waiting(1);
    for n in 0..3 {
        w.admin.run(&format!("PUBLISH news {n}"));
        // It is answered behind the message.
        send(&mut hears, "ECHO x");
    }
    until(|| w.admin.run("CLIENT LIST").text().contains("cmd=echo"));
    assert_silent(&mut hears);
    w.replica.confirm();
    let all: Vec<Reply> = (0..6).map(|_| hears.reply().unwrap()).collect();
    let messages = all.iter().filter(|reply| matches!(reply, Reply::Push(_)));
    let told: Vec<String> = messages.map(|reply| reply.items()[2].text()).collect();
    assert_eq!(told, ["0", "1", "2"]);
    assert_eq!(all.iter().filter(|reply| reply.text() == "x").count(), 3);
}

#[test]
fn who_waits_can_still_be_killed() {
    let mut w = World::new(FOR_EVER);
    let mut c = w.client();
    let id = c.run("CLIENT ID").int().unwrap();
    send(&mut c, "SET k v");
    w.await_waiting(1);
    assert_eq!(w.admin.run(&format!("CLIENT KILL ID {id}")), Reply::Int(1));
    assert_eq!(c.receive(PATIENCE).unwrap(), Got::Closed);
}

#[test]
fn replicas_are_heard_while_a_script_is_busy() {
    let mut w = World::new(FOR_EVER);
    w.admin.run("CONFIG SET busy-reply-threshold 1");
    let (mut c, mut busy, mut late) = (w.client(), w.client(), w.client());
    send(&mut c, "SET k v");
    let offset = w.replica.question();
    w.await_waiting(1);
    w.admin.run("CONFIG SET sync-replicas-timeout 60");
    send(&mut late, "SET k w");
    w.await_waiting(2);
    let mut out = Vec::new();
    encode(&argv("INCR n"), &mut out);
    encode(&["EVAL", "while true do end", "0"], &mut out);
    busy.send_raw(&out).unwrap();
    until(|| w.admin.run("PING").text().starts_with("BUSY"));
    w.replica.acknowledge(offset);
    assert_eq!(c.reply().unwrap(), Reply::ok());
    assert_refused(&late.reply().unwrap());
    assert_eq!(w.admin.run("SCRIPT KILL"), Reply::ok());
    // What was done before the script is not forgotten over those who were served meanwhile.
    assert_refused(&busy.reply().unwrap());
    assert!(busy.reply().unwrap().text().contains("killed"));
}

#[test]
fn clients_in_the_process_wait_as_well() {
    let mut w = World::new(FOR_EVER);
    let mut client = w.server.client().unwrap();
    std::thread::scope(|scope| {
        let called = scope.spawn(|| client.call(["SET", "k", "v"]).unwrap());
        w.await_waiting(1);
        w.replica.confirm();
        assert_eq!(called.join().unwrap(), Value::Simple(b"OK".to_vec()));
    });
    assert_eq!(
        client.call(["GET", "k"]).unwrap(),
        Value::Bulk(b"v".to_vec())
    );
    w.admin.run("CONFIG SET sync-replicas-timeout 60");
    w.admin.run("CONFIG SET notify-keyspace-events KEA");
    let mut hears = w.server.client().unwrap();
    hears.call(["SUBSCRIBE", "__keyevent@0__:incrby"]).unwrap();
    let refused = client.call(["INCR", "n"]).unwrap();
    assert!(
        matches!(&refused, Value::Error(text) if text.starts_with(b"NOREPLICAS ")),
        "{refused:?}"
    );
    match hears.next_message(Some(PATIENCE)).unwrap() {
        Some(Message::Published { text, .. }) => assert_eq!(text, b"n"),
        other => panic!("{other:?}"),
    }
    // It was applied.
    w.admin.run("CONFIG SET sync-replicas 0");
    assert_eq!(
        client.call(["GET", "n"]).unwrap(),
        Value::Bulk(b"1".to_vec())
    );
}

/// Confirms what it is asked for until it is told to stop.
fn confirm_all(mut replica: Replica, stop: &AtomicBool) {
    replica
        .sock
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    while !stop.load(Ordering::Relaxed) {
        let before = replica.offset;
        match Reply::parse(&replica.buf).unwrap() {
            Some((reply, len)) => {
                replica.buf.drain(..len);
                replica.offset += len as u64;
                if reply
                    .items()
                    .get(1)
                    .is_some_and(|word| word.bytes() == b"GETACK")
                {
                    replica.acknowledge(before);
                }
            }
            None => {
                let mut chunk = [0; 64 * 1024];
                if let Ok(n) = replica.sock.read(&mut chunk) {
                    replica.buf.extend_from_slice(&chunk[..n]);
                }
            }
        }
    }
}

#[test]
fn no_reply_is_lost_or_out_of_order_under_load() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 60;
    let w = World::new(FOR_EVER);
    let stop = AtomicBool::new(false);
    let (server, replica) = (&w.server, w.replica);
    std::thread::scope(|scope| {
        let confirms = scope.spawn(|| confirm_all(replica, &stop));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| scope.spawn(move || load(server.port(), n, ROUNDS)))
            .collect();
        let done: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        stop.store(true, Ordering::Relaxed);
        confirms.join().unwrap();
        done.into_iter().for_each(|done| done.unwrap());
    });
}

fn load(port: u16, n: usize, rounds: usize) {
    let mut c = Client::connect(port).unwrap();
    let mut expected = 0;
    for round in 0..rounds {
        let mut commands = Vec::new();
        for i in 0..1 + (round * 7 + n) % 20 {
            commands.push(argv(&match i % 4 {
                0 => format!("INCR own:{n}"),
                1 => "INCR shared".to_owned(),
                2 => format!("ECHO {n}:{round}:{i}"),
                _ => format!("GET own:{}", (n + 1) % 8),
            }));
        }
        let (replies, done) = c.pipeline(&commands);
        done.unwrap();
        for (i, reply) in replies.iter().enumerate() {
            assert!(!reply.is_error(), "{reply:?}");
            match i % 4 {
                0 => {
                    expected += 1;
                    assert_eq!(reply.int(), Some(expected));
                }
                2 => assert_eq!(reply.text(), format!("{n}:{round}:{i}")),
                _ => {}
            }
        }
    }
}

#[test]
fn wait_counts_the_replicas_that_have_the_writes() {
    let server = leader("0", "1000");
    let mut replica = Replica::join(server.port());
    let offset = replica.offset;
    replica.acknowledge(offset);
    let mut second = Replica::join(server.port());
    let offset = second.offset;
    second.acknowledge(offset);
    let mut c = Client::connect(server.port()).unwrap();
    until(|| {
        c.run("INFO replication")
            .text()
            .matches("state=online")
            .count()
            >= 2
    });
    assert_eq!(c.run("WAIT 0 0"), Reply::Int(2));
    assert_eq!(c.run("SET k v"), Reply::ok());
    assert_eq!(c.run("WAIT 1 20"), Reply::Int(0));
    assert_eq!(c.run("WAIT -1 0"), Reply::Int(0));
    // As with Redis, the question itself is waited for by who has asked it and asks again.
    let offset = replica.question();
    second.question();
    replica.acknowledge(offset);
    send(&mut c, "WAIT 1 0");
    replica.confirm();
    assert_eq!(c.reply().unwrap(), Reply::Int(1));
    second.question();
    send(&mut c, "WAIT 3 200");
    replica.confirm();
    second.confirm();
    assert_eq!(c.reply().unwrap(), Reply::Int(2));
    // Inside of a transaction nobody waits.
    for line in ["MULTI", "SET k w", "WAIT 1 0", "EXEC"] {
        c.run(line);
    }
    let mut other = Client::connect(server.port()).unwrap();
    assert_eq!(
        other
            .run("EVAL return{redis.call('WAIT','5','0')} 0")
            .items()
            .len(),
        1
    );
    // On their disks.
    c.run("SET k x");
    assert_eq!(
        c.run("WAITAOF 0 1 20"),
        Reply::Array(vec![Reply::Int(0), Reply::Int(0)])
    );
    while replica.command() != "SET k x" {}
    replica.question();
    send(&mut c, "WAITAOF 0 1 0");
    let end = replica.question().to_string();
    replica.send(&["REPLCONF", "ACK", &end, "FACK", &end]);
    assert_eq!(
        c.reply().unwrap(),
        Reply::Array(vec![Reply::Int(0), Reply::Int(1)])
    );
    assert!(c.run("WAIT abc 0").is_error() && c.run("WAIT 1 -1").is_error());
}

#[test]
fn replicas_do_not_wait() {
    let server = leader("0", "1000");
    let mut c = Client::connect(server.port()).unwrap();
    c.run(&format!("REPLICAOF 127.0.0.1 {}", server.port()));
    assert_eq!(
        c.run("WAIT 1 0").text(),
        "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
         configured to be writable (which is not the default) writes to replicas are just local and are not propagated."
    );
    assert_eq!(
        c.run("WAITAOF 0 1 0").text(),
        "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and \
         are not propagated."
    );
    c.run("CONFIG SET replica-read-only no");
    c.run("CONFIG SET sync-replicas 1");
    assert_eq!(c.run("SET k v"), Reply::ok());
}

/// Commands of one client that all have to succeed while there is a replica, and fail when it is gone.
fn serve_with_a_replica(server: &Server, part: impl FnOnce(&mut Client)) {
    let mut c = Client::connect(server.port()).unwrap();
    until(|| c.run("INFO replication").text().contains("state=online"));
    for n in 1..200 {
        assert_eq!(c.run("INCR n"), Reply::Int(n));
        assert_eq!(c.run("GET n"), Reply::bulk(n.to_string()));
    }
    let commands = vec![argv("INCR p"); 500];
    let (replies, done) = c.pipeline(&commands);
    done.unwrap();
    assert_eq!(replies.last(), Some(&Reply::Int(500)));
    assert_eq!(info(&mut c, "sync_replicas_timeouts"), 0);
    part(&mut c);
    until(|| info(&mut c, "connected_slaves") == 0);
    c.run("CONFIG SET sync-replicas-timeout 60");
    assert_refused(&c.run("INCR n"));
}

#[test]
fn another_redkeep_confirms() {
    let (server, replica) = (leader("1", FOR_EVER), leader("0", "1"));
    let mut r = Client::connect(replica.port()).unwrap();
    r.run(&format!("REPLICAOF 127.0.0.1 {}", server.port()));
    serve_with_a_replica(&server, |_| {
        // What was confirmed is there.
        assert_eq!(
            r.run("MGET n p"),
            Reply::Array(vec![Reply::bulk("199"), Reply::bulk("500")])
        );
        r.run("REPLICAOF NO ONE");
    });
}

#[test]
fn a_real_redis_confirms() {
    let Some(redis) = common::Server::redis(&["--repl-diskless-load", "disabled"]) else {
        return;
    };
    let server = leader("1", FOR_EVER);
    let mut r = Client::connect(redis.port).unwrap();
    r.run(&format!("REPLICAOF 127.0.0.1 {}", server.port()));
    serve_with_a_replica(&server, |_| {
        assert_eq!(
            r.run("MGET n p"),
            Reply::Array(vec![Reply::bulk("199"), Reply::bulk("500")])
        );
        r.run("REPLICAOF NO ONE");
    });
}

// ---- An engine alone, on a clock of its own --------------------------------------------------------------------------

struct Bare {
    engine: Engine,
    clock: Arc<ManualClock>,
}

impl Bare {
    fn new() -> Bare {
        let clock = Arc::new(ManualClock::at_ms(1_000_000_000));
        let config = Config {
            sync_replicas: 1,
            ..Config::default()
        };
        let engine = Engine::new(Options {
            settings: Settings::new(config, None),
            clock: clock.clone(),
            seed: Some(1),
            ..Options::default()
        });
        Bare { engine, clock }
    }

    /// Runs a batch of commands: the replies, and what they wait for.
    fn run(&mut self, sid: SessionId, lines: &[&str]) -> (Vec<u8>, Option<Ticket>) {
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        for line in lines {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            self.engine.execute(sid, Args::new(&args), &mut reply);
        }
        (reply.take(), self.engine.settle())
    }
}

#[test]
fn time_is_what_the_clock_of_the_engine_says() {
    let mut e = Bare::new();
    let sid = e.engine.connect(Peer::default());
    assert_eq!(e.run(sid, &["GET k", "PING"]).1, None);
    let (written, ticket) = e.run(sid, &["GET a", "SET k v", "GET a"]);
    let ticket = ticket.unwrap();
    let who = Arc::new(Nobody) as Arc<dyn Confirmed>;
    assert_eq!(ticket.reached_or_tell(&who), Reached::Later);
    let gate = Arc::clone(e.engine.state().sys.unconfirmed.gate());
    assert_eq!(gate.next_deadline(), Some(1_000_001_000));
    assert!(e.engine.next_deadline().unwrap() <= 1_000_001_000);
    e.clock.advance_ms(999);
    e.engine.tick();
    assert_eq!(ticket.reached(), Reached::Later);
    assert_eq!(e.run(sid, &["GET a"]).1, None);
    e.clock.advance_ms(1);
    e.engine.tick();
    assert_eq!(ticket.reached(), Reached::TimedOut);
    assert_eq!(ticket.wait(), Reached::TimedOut);
    let refused = String::from_utf8(ticket.refuse(&written)).unwrap();
    let error =
        "-NOREPLICAS the write was applied here, but not confirmed by 1 replica within 1000 ms";
    assert_eq!(refused, format!("$-1\r\n{error}\r\n$-1\r\n"));
    // A key that was not written is nobody's business; one that was stays so until a replica has it.
    assert_eq!(e.run(sid, &["GET a"]).1, None);
    assert!(e.run(sid, &["GET k"]).1.is_some());
}

#[test]
fn more_keys_than_are_told_apart_are_all_the_keys_there_are() {
    let mut e = Bare::new();
    let sid = e.engine.connect(Peer::default());
    e.run(sid, &["SET a 1"]);
    assert_eq!(e.run(sid, &["GET other"]).1, None);
    let before = e.engine.state().used_memory();
    for round in 0..600 {
        let keys: Vec<String> = (0..500).map(|i| format!("k:{round}:{i} v")).collect();
        e.run(sid, &[&format!("MSET {}", keys.join(" "))]);
        let ks = e.engine.state().ks.memory();
        let rest = e.engine.state().used_memory() - ks;
        assert!(rest < before + (64 << 20), "{rest}");
    }
    assert!(e.run(sid, &["GET other"]).1.is_some());
    assert_eq!(e.run(sid, &["PING", "CLIENT ID"]).1, None);
}

struct Nobody;

impl Confirmed for Nobody {
    fn confirmed(&self) {}
}
