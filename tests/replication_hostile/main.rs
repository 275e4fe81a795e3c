//! Leaders and replicas that lie, cut the line, stall, or never answer, against the server as a process.
//!
//! Whatever they do: the link is dropped, a line in the log says why, what was there is served until all of something new
//! is there, and the replica comes again after a while.
#![cfg(feature = "server")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;
mod greeting;
mod payload;
mod replicas;
mod stream;

use common::scripted::{Line, Listener};
use common::{Client, Server};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

/// What a real redis-server 7.0.15 sends as its data set: nine keys, `new` among them.
const PAYLOAD: &[u8] = include_bytes!("../data/full_sync.rdb");

/// What stands behind it.
const MARK: &str = "f0ec47b8758a6b1d8dc56422b40a9bab98f3951e";

/// A history.
const ID: &str = "1ab8786de25030589da7a2a8bf5f226a49d72d7e";

const SOON: Duration = Duration::from_secs(15);

/// A server of which it is seen what becomes of it.
struct Victim {
    server: Server,
    c: Client,
    /// How much of the log has been looked at.
    seen: u64,
}

impl Victim {
    /// One with a key `old` of its own.
    fn start(options: &[&str]) -> Victim {
        let base = ["--repl-diskless-sync-delay", "0", "--loglevel", "verbose"];
        let server = Server::redkeep(&[&base, options].concat());
        let mut c = server.client();
        assert_eq!(c.run("SET old data").text(), "OK");
        let seen = 0;
        Victim { server, c, seen }
    }

    /// Has it follow a leader that is there from now on, or again.
    fn follow(&mut self, leader: &Listener) -> Line {
        let port = leader.port().to_string();
        assert_eq!(self.c.run("REPLICAOF NO ONE").text(), "OK");
        // Connections of before.
        while leader.accept_within(Duration::ZERO).is_some() {}
        let reply = self.c.call(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
        assert_eq!(reply.text(), "OK");
        loop {
            let mut line = leader.accept();
            if line.is_spoken_on() {
                return line;
            }
        }
    }

    fn info(&mut self, section: &str, name: &str) -> String {
        let info = self.c.run(&format!("INFO {section}")).text();
        let line = info
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().to_owned()
    }

    /// Waits until INFO says so.
    fn comes_to(&mut self, section: &str, name: &str, value: &str) {
        let until = Instant::now() + SOON;
        loop {
            let now = self.info(section, name);
            if now == value {
                return;
            }
            let log = self.server.log();
            assert!(
                Instant::now() < until,
                "{name} is {now}, not {value}\n{log}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// It holds what it held, and nothing else.
    fn has_old(&mut self) {
        assert_eq!(self.c.run("GET old").text(), "data");
        assert_eq!(self.c.run("DBSIZE").int(), Some(1));
        assert_eq!(self.info("keyspace", "db3"), "");
    }

    /// It holds all that the payload holds.
    fn has_new(&mut self) {
        assert_eq!(self.c.run("GET new").text(), "data");
        assert_eq!(self.c.run("XLEN stream").int(), Some(1));
        assert_eq!(self.c.run("DBSIZE").int(), Some(8));
        assert!(self.info("keyspace", "db3").starts_with("keys=1,"));
    }

    /// The log says this, behind what it had said when it was last asked.
    fn says(&mut self, what: &str) {
        let until = Instant::now() + SOON;
        loop {
            let log = self.log();
            if let Some(at) = log.find(what) {
                self.seen += (at + what.len()) as u64;
                return;
            }
            assert!(Instant::now() < until, "no {what:?} in\n{log}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The log, behind what has been looked at.
    fn log(&self) -> String {
        let mut file = File::open(self.server.dir.path().join("log")).unwrap();
        file.seek(SeekFrom::Start(self.seen)).unwrap();
        let mut log = Vec::new();
        file.read_to_end(&mut log).unwrap();
        let log = String::from_utf8_lossy(&log).into_owned();
        assert!(!log.contains("panicked"), "{log}");
        log
    }

    /// What it had to say of now is passed over.
    fn looks_on(&mut self) {
        self.log();
        let log = self.server.dir.path().join("log");
        self.seen = log.metadata().unwrap().len();
    }

    /// It still serves, and nothing in it has gone to pieces.
    fn is_well(&mut self) {
        assert!(self.server.alive(), "{}", self.server.log());
        assert_eq!(self.c.run("PING").text(), "PONG");
        self.looks_on();
    }
}

/// The answer to PSYNC, and a payload with a mark behind it.
fn full_sync(offset: u64, payload: &[u8]) -> Vec<u8> {
    let head = format!("+FULLRESYNC {ID} {offset}\r\n$EOF:{MARK}\r\n");
    [head.as_bytes(), payload, MARK.as_bytes()].concat()
}

/// The answer to PSYNC, and a payload that is said to be so long.
fn measured_sync(offset: u64, payload: &[u8], length: u64) -> Vec<u8> {
    let head = format!("+FULLRESYNC {ID} {offset}\r\n${length}\r\n");
    [head.as_bytes(), payload].concat()
}

/// A command as it stands in a stream.
fn command(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    common::client::encode(&common::argv(line), &mut bytes);
    bytes
}
