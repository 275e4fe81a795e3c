//! Replicas of a leader, which after whatever was done to it have what it has.

use super::{Client, Server, contents};
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
    /// Whether the leader is a real server, whose commands do not say how much of a stream a group has read.
    of_real_one: bool,
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
        Follower {
            of_real_one: leader.name() == "redis-server",
            server,
            c,
        }
    }

    /// What of a leader's contents it does not have, and what it has beyond them. Keys whose time is over may go meanwhile:
    /// then it is asked again.
    pub fn difference(&mut self, leader: &mut Client) -> Option<String> {
        let start = Instant::now();
        loop {
            let at = offset(leader);
            while offset(&mut self.c) < at {
                if start.elapsed() > PATIENCE {
                    return Some(format!("it does not come to {at}\n{}", self.server.log()));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut told = [&mut *leader, &mut self.c].map(contents::told);
            if self.of_real_one {
                told = told.map(contents::without_how_much_is_read);
            }
            if told[0] == told[1] {
                return None;
            }
            if start.elapsed() > EXPIRY {
                let [theirs, ours] = &told;
                let (missing, beyond) = (only(theirs, ours), only(ours, theirs));
                let name = self.server.name();
                return Some(format!("  leader{missing}\n  its replica, {name}{beyond}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
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
