//! Replication as it is seen from outside: between servers of our own, and with a real redis-server on either side.
//!
//! Each scenario is played by every pair of servers, `leader_to_replica`. With two real servers it checks nothing but
//! itself: `cargo test --test replication -- --ignored`.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

/// Plays scenarios `fn(leader: Kind, replica: Kind)` with all pairs of servers.
macro_rules! pairs {
    ($($name:ident)*) => { $(
        mod $name {
            use super::super::{Kind::*, present};
            #[test]
            fn redkeep_to_redkeep() {
                super::$name(Redkeep, Redkeep);
            }
            #[test]
            fn redkeep_to_redis() {
                if present() {
                    super::$name(Redkeep, Redis);
                }
            }
            #[test]
            fn redis_to_redkeep() {
                if present() {
                    super::$name(Redis, Redkeep);
                }
            }
            #[test]
            #[ignore = "checks the scenario itself"]
            fn redis_to_redis() {
                if present() {
                    super::$name(Redis, Redis);
                }
            }
        }
    )* };
}

mod asking;
mod chain;
#[path = "../common/mod.rs"]
mod common;
mod ending;
mod failover;
mod link;
mod live;
mod meanwhile;
mod partial;
mod promotion;
mod proxy;
#[path = "../dump/samples.rs"]
mod samples;
mod sync;
#[path = "../dump/target.rs"]
mod target;

use common::{Client, Reply, Server, contents};
use std::time::{Duration, Instant};

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Redkeep,
    /// The real one.
    Redis,
}

/// What all servers are started with.
const BASE: &[&str] = &[
    "--enable-debug-command",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
    "--loglevel",
    "verbose",
];

/// Nothing but what is written goes through the stream, so that offsets stay as they are.
const QUIET: &[&str] = &["--repl-ping-replica-period", "3600"];

/// Whether there is a real server; says so when not.
fn present() -> bool {
    common::peer::tool("redis-server").is_some()
}

/// A server and a client of it.
struct Peer {
    server: Server,
    c: Client,
    kind: Kind,
}

impl Peer {
    fn start(kind: Kind, options: &[&str]) -> Peer {
        let options = [BASE, options].concat();
        let server = match kind {
            Kind::Redkeep => Server::redkeep(&options),
            Kind::Redis => Server::redis(&options).expect("a real server is there"),
        };
        let c = server.client();
        Peer { server, c, kind }
    }

    /// Starts with `options`, follows `leader` and waits until it has all that is there.
    fn following(kind: Kind, leader: u16, options: &[&str]) -> Peer {
        let mut peer = Peer::start(kind, options);
        peer.follow(leader);
        peer
    }

    fn port(&self) -> u16 {
        self.server.port
    }

    fn run(&mut self, line: &str) -> Reply {
        self.c.run(line)
    }

    fn call(&mut self, words: &[&str]) -> Reply {
        self.c
            .call(words)
            .unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    /// Runs a command that must not fail.
    fn does(&mut self, line: &str) -> Reply {
        let reply = self.run(line);
        assert!(!reply.is_error(), "{line}: {}", reply.text());
        reply
    }

    fn set(&mut self, name: &str, value: &str) {
        let reply = self.call(&["CONFIG", "SET", name, value]);
        assert_eq!(reply, Reply::ok(), "{name} {value}");
    }

    /// A field of INFO, and nothing where there is none.
    fn info(&mut self, name: &str) -> String {
        field(&self.run("INFO everything").text(), name).unwrap_or_default()
    }

    fn number(&mut self, name: &str) -> i64 {
        let value = self.info(name);
        let number = value.parse();
        number.unwrap_or_else(|_| panic!("{name} is {value:?}"))
    }

    /// Has it follow the server at a port of loopback, and waits until it is in step.
    fn follow(&mut self, leader: u16) {
        self.does(&format!("REPLICAOF 127.0.0.1 {leader}"));
        self.is_up();
    }

    fn is_up(&mut self) {
        self.tells("master_link_status", "up");
    }

    /// Waits until a field of INFO has a value.
    fn tells(&mut self, name: &str, value: &str) {
        until(&format!("{name} is {value}"), || self.info(name) == value);
    }

    /// Waits until it has applied all that `head` has done by now.
    fn catches_up(&mut self, head: &mut Peer) {
        let offset = head.number("master_repl_offset");
        until(&format!("the replica is at {offset}"), || {
            self.info("master_link_status") == "up" && self.number("master_repl_offset") >= offset
        });
    }

    /// How many replicas got everything, and how many got what they had missed.
    fn syncs(&mut self) -> (i64, i64) {
        (self.number("sync_full"), self.number("sync_partial_ok"))
    }

    /// Waits until the log has a line with this in it.
    fn logs(&mut self, text: &str) {
        until(&format!("a log line with {text:?}"), || {
            self.log().contains(text)
        });
    }

    /// The whole log.
    fn log(&self) -> String {
        let log = std::fs::read(self.server.dir.path().join("log")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Ends it as it should be, saving its data, and starts it again on the same data and another port.
    fn restart(&mut self, options: &[&str]) {
        self.c.send(&["SHUTDOWN", "SAVE"]).unwrap();
        self.server.end();
        self.server.add_options(options);
        assert!(self.server.start_again(), "{}", self.server.log());
        self.c = self.server.client();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "---- {:?} at {}:\n{}",
                self.kind,
                self.port(),
                self.server.log()
            );
        }
    }
}

/// A field of a text as INFO gives it.
fn field(text: &str, name: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.to_owned());
    text.lines().find_map(value)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}: it has not come to that");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// A leader and a replica of it in step.
fn pair(leader: Kind, replica: Kind, options: &[&str]) -> (Peer, Peer) {
    let mut leader = Peer::start(leader, options);
    let replica = Peer::following(replica, leader.port(), options);
    until("the leader knows", || {
        leader.info("slave0").contains("state=online")
    });
    (leader, replica)
}

/// That both have the same, once the replica has all that the leader did.
fn agree(leader: &mut Peer, replica: &mut Peer) {
    replica.catches_up(leader);
    let told = [&mut leader.c, &mut replica.c].map(contents::told);
    // Redis does not tell how much of a stream was read, nor does it conclude that.
    let [ours, theirs] = match [leader.kind, replica.kind] {
        [Kind::Redkeep, Kind::Redkeep] => told,
        _ => told.map(contents::without_how_much_is_read),
    };
    contents::same(&ours, &theirs);
}

/// Every sample of every type, in three databases, some with a deadline; functions, groups with pending entries, and
/// effects that are not what was asked for.
fn fill(leader: &mut Peer) {
    let mut samples = samples::all();
    samples.retain(|sample| sample.commands.iter().all(|argv| argv[0] != b"CONFIG"));
    for (n, sample) in samples.iter().enumerate() {
        leader.run(&format!("SELECT {}", n / 5 % 3));
        let mut replies = sample
            .commands
            .iter()
            .map(|argv| leader.c.call(argv).unwrap());
        if replies.all(|reply| !reply.is_error()) {
            leader.does(&format!("RENAME k k{n}"));
            if n % 3 == 0 {
                leader.does(&format!("PEXPIREAT k{n} 99999999999999"));
            }
        }
        leader.run("DEL k");
    }
    leader.run("SELECT 0");
    contents::act(&mut leader.c, "a");
}
