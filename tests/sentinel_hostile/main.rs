//! Masters, replicas and sentinels that lie, babble, stall and disappear, and files that make no sense, against the
//! sentinel as a process.
//!
//! Whatever they do: it is logged, refused or survived, as a real redis-sentinel 7.0 does, to which the same is done for
//! comparison; and what the sentinel knew is not lost.
#![cfg(feature = "server")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod actor;
#[path = "../common/mod.rs"]
mod common;
mod hello;
mod info;
mod wire;

use actor::Actor;
use common::fleet::{instances, table};
use common::peer::tool;
use common::{Client, Server};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const CHANNEL: &str = "__sentinel__:hello";

/// The name of the master.
const NAME: &str = "prey";

/// Periods in milliseconds, so that nothing takes long, but that nobody is taken to be down.
const PERIODS: &str =
    "INFO-PERIOD 50 PING-PERIOD 50 ASK-PERIOD 50 PUBLISH-PERIOD 50 TILT-TRIGGER 20000";

/// How long anything may take, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(60);

/// Waits for what `look` gives.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A sentinel of which it is seen what becomes of it, and the master that it watches.
struct Victim {
    server: Server,
    c: Client,
    master: Actor,
    /// It is the real one, for comparison.
    real: bool,
    marks: Cell<u16>,
}

impl Victim {
    /// Ours, or the real one.
    fn start(program: &Path, lines: &str, real: bool) -> Victim {
        let master = Actor::leader();
        let conf = format!(
            "sentinel monitor {NAME} 127.0.0.1 {} 2\nsentinel down-after-milliseconds {NAME} 60000\n{lines}",
            master.port
        );
        let server = Server::sentinel(program, &conf);
        let mut c = server.client();
        assert_eq!(c.run(&format!("SENTINEL DEBUG {PERIODS}")).text(), "OK");
        Victim {
            server,
            c,
            master,
            real,
            marks: Cell::new(0),
        }
    }

    /// The master says something in the hello channel; when this returns, that has been dealt with.
    fn hears(&mut self, message: impl AsRef<[u8]>) {
        self.master.publishes(message.as_ref());
        // Whatever came before a hello that is as it should be, and was taken, has been read.
        let n = self.marks.get() + 1;
        self.marks.set(n);
        let mark = format!("{n:f>40}");
        let port = self.master.port;
        let hello = format!("127.0.0.9,{n},{mark},0,{NAME},127.0.0.1,{port},0");
        self.master.publishes(hello.as_bytes());
        eventually("the mark is read", || {
            let known = self.c.run(&format!("SENTINEL SENTINELS {NAME}"));
            let known = instances(&known);
            known.iter().any(|s| s["runid"] == mark).then_some(())
        });
        self.is_well();
    }

    /// The master tells this from now on; when this returns, that has been dealt with.
    fn is_told(&mut self, info: impl AsRef<[u8]>) {
        self.master.tells(info);
        // The answer to the one before may still have been another.
        self.master.hears("INFO", 3);
        self.is_well();
    }

    /// The sentinels that it knows, without the marks.
    fn sentinels(&mut self) -> Vec<String> {
        let known = instances(&self.c.run(&format!("SENTINEL SENTINELS {NAME}")));
        let known = known.iter().filter(|s| !s["runid"].starts_with("ffff"));
        let mut known: Vec<String> = known
            .map(|s| format!("{} at {} {}", s["runid"], s["ip"], s["port"]))
            .collect();
        known.sort();
        known
    }

    /// It forgets whom it knows beside the master.
    fn forgets(&mut self) {
        let (asked, before) = (
            format!("SENTINEL RESET {NAME}"),
            self.master.heard("SUBSCRIBE"),
        );
        assert_eq!(self.c.run(&asked).int(), Some(1));
        // It connects anew.
        let heard = || self.master.heard("SUBSCRIBE") > before;
        eventually("it listens again", || heard().then_some(()));
    }

    fn replicas(&mut self) -> Vec<BTreeMap<String, String>> {
        instances(&self.c.run(&format!("SENTINEL REPLICAS {NAME}")))
    }

    fn master(&mut self) -> BTreeMap<String, String> {
        table(&self.c.run(&format!("SENTINEL MASTER {NAME}")))
    }

    /// The lines of its file that begin with `sentinel`, without what differs from one to the other.
    fn file(&self) -> Vec<String> {
        let file = fs::read_to_string(self.server.dir.path().join("sentinel.conf")).unwrap();
        let lines = file.lines().filter(|line| line.starts_with("sentinel "));
        let lines = lines.filter(|line| !line.contains(" myid ") && !line.contains(" ffff"));
        let master = self.master.port.to_string();
        let mut lines: Vec<String> = lines.map(|line| line.replace(&master, "PORT")).collect();
        lines.sort();
        lines
    }

    /// The epoch that its file has.
    fn epoch(&self) -> String {
        let epoch = "sentinel current-epoch ";
        let found = self
            .file()
            .iter()
            .find_map(|l| l.strip_prefix(epoch).map(str::to_owned));
        found.unwrap_or_default()
    }

    /// Its own run id.
    fn id(&mut self) -> String {
        self.c.run("SENTINEL MYID").text()
    }

    /// It still serves, and nothing in it has gone to pieces.
    fn is_well(&mut self) {
        assert!(self.server.alive(), "{}", self.server.log());
        assert_eq!(self.c.run("PING").text(), "PONG");
        assert!(
            !self.server.log().contains("panicked"),
            "{}",
            self.server.log()
        );
    }

    /// It is started again, and knows what its file says.
    fn starts_again(&mut self) {
        assert!(self.server.revive(), "{}", self.server.log());
        self.c = self.server.client();
    }
}

/// Plays the same to our sentinel and, if there is one, to the real one: the outcome is the same.
fn both<T: PartialEq + std::fmt::Debug>(play: impl Fn(&mut Victim) -> T) {
    both_with("", play);
}

/// What comes of it where a real sentinel need not do the same.
fn ours(play: impl Fn(&mut Victim)) {
    let ours = Path::new(env!("CARGO_BIN_EXE_redkeep"));
    play(&mut Victim::start(ours, "", false));
}

/// As [`both`], with more lines in their files.
fn both_with<T: PartialEq + std::fmt::Debug>(lines: &str, play: impl Fn(&mut Victim) -> T) {
    let ours = Path::new(env!("CARGO_BIN_EXE_redkeep"));
    let ours = play(&mut Victim::start(ours, lines, false));
    let Some(real) = tool("redis-sentinel") else {
        return;
    };
    assert_eq!(
        ours,
        play(&mut Victim::start(&real, lines, true)),
        "ours, the real one's"
    );
}
