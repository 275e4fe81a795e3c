//! Replicas of a leader, which after whatever was done to it have what it has.

use super::{Argv, Client, Server, contents};
use std::time::{Duration, Instant};

/// Options of leaders and replicas.
pub const OPTIONS: &[&str] = &[
    "--enable-debug-command",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
];

/// How long a replica may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long keys may take to go whose time is over.
const EXPIRY: Duration = Duration::from_secs(2);

pub struct Follower {
    server: Server,
    c: Client,
}

impl Follower {
    /// Has a server follow a leader, and waits until it does.
    pub fn new(server: Server, leader: &Server) -> Follower {
        let mut c = server.client();
        c.run(&format!("REPLICAOF 127.0.0.1 {}", leader.port));
        let end = Instant::now() + PATIENCE;
        while !c
            .run("INFO replication")
            .text()
            .contains("master_link_status:up")
        {
            assert!(Instant::now() < end, "{}", server.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        Follower { server, c }
    }

    /// Has the configuration changed as some of these commands do. How values are stored depends on that, and a few
    /// things of what they are: negative zero is zero in a listpack.
    pub fn configure(&mut self, commands: &[Argv]) {
        for command in commands.iter().filter(|c| c[0] == b"CONFIG") {
            self.c.call(command).unwrap();
        }
    }

    /// Waits until it is as far as its leader.
    fn catches_up(&mut self, leader: &mut Client) {
        let (at, end) = (offset(leader), Instant::now() + PATIENCE);
        while offset(&mut self.c) < at {
            assert!(
                Instant::now() < end,
                "it does not come to {at}\n{}",
                self.server.log()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What of a leader's contents it does not have, and what it has beyond them. A real server does not conclude how much of
    /// a stream was read.
    pub fn difference(&mut self, leader: &mut Client) -> Option<String> {
        let is_real = self.server.name() == "redis-server";
        let difference = until_equal(leader, self, |leader, this| {
            this.catches_up(leader);
            let told = [leader, &mut this.c].map(contents::told);
            match is_real {
                true => told.map(contents::without_how_much_is_read),
                false => told,
            }
        });
        difference.map(|difference| format!("{difference}\n  by {}", self.server.name()))
    }

    /// The same of the contents of a real replica of its leader.
    pub fn difference_from(&mut self, other: &mut Follower, leader: &mut Client) -> Option<String> {
        until_equal(other, self, |other, this| {
            other.catches_up(leader);
            this.catches_up(leader);
            let told = [&mut other.c, &mut this.c].map(contents::told);
            told.map(contents::without_how_much_is_read)
        })
    }
}

/// What two servers tell differently. Keys whose time is over may go meanwhile: then it is asked again.
fn until_equal<A, B>(
    one: &mut A,
    other: &mut B,
    mut ask: impl FnMut(&mut A, &mut B) -> [Vec<String>; 2],
) -> Option<String> {
    let start = Instant::now();
    loop {
        let [wanted, got] = ask(one, other);
        if wanted == got {
            return None;
        }
        if start.elapsed() > EXPIRY {
            let (missing, beyond) = (only(&wanted, &got), only(&got, &wanted));
            return Some(format!("  wanted{missing}\n  got{beyond}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The lines that another one has not.
fn only(lines: &[String], other: &[String]) -> String {
    let only = lines.iter().filter(|line| !other.contains(line));
    only.map(|line| format!("\n    {line}")).collect()
}

fn offset(c: &mut Client) -> i64 {
    let text = c.run("INFO replication").text();
    let offset = text
        .lines()
        .find_map(|line| line.strip_prefix("master_repl_offset:")?.parse().ok());
    offset.unwrap_or_else(|| panic!("no offset in {text}"))
}
