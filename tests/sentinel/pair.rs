//! Two sentinels, each in a world of its own that is like the other one's, of whom the same is asked.

use super::common::notation::{render, words};
use super::common::{Client, Reply};
use super::ear::Ear;
use super::node::Node;
use super::process::{Part, Port};
use super::{Kind, until};

/// A sentinel that nobody else has ever heard of.
pub const STRANGER: &str = "0123456789abcdef0123456789abcdef01234567";
pub const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// Fields of which two sentinels tell differently.
const VOLATILE: &[&str] = &[
    "id",
    "info-refresh",
    "last-hello-message",
    "last-ok-ping-reply",
    "last-ping-reply",
    "last-ping-sent",
    "link-pending-commands",
    "master-link-down-time",
    "pid",
    "role-reported-time",
    "run-delay",
    "run-time",
    "s-down-time",
    "slave-repl-offset",
    "version",
];

/// A sentinel over a leader and a replica.
pub struct World {
    pub leader: Node,
    pub replica: Node,
    pub sentinel: Node,
    pub c: Client,
    pub ear: Ear,
    names: Vec<(String, String)>,
}

impl World {
    /// Starts all of it, and waits until the sentinel knows everything.
    pub fn raise(kind: Kind, servers: Kind, lines: &[&str]) -> World {
        let quiet = |line: &str| line.to_owned();
        let server: Vec<String> = ["save \"\"", "repl-diskless-sync-delay 0"]
            .map(quiet)
            .to_vec();
        let mut leader = Node::launch(servers, Part::Server, Port::take(), &server);
        let port = leader.port;
        let server = [server, vec![format!("replicaof 127.0.0.1 {port}")]].concat();
        let mut replica = Node::launch(servers, Part::Server, Port::take(), &server);
        leader.is_ready();
        replica.is_ready();
        let mut text = vec![
            format!("sentinel monitor m 127.0.0.1 {port} 2"),
            "sentinel down-after-milliseconds m 60000".to_owned(),
        ];
        text.extend(lines.iter().map(|&line| line.to_owned()));
        let mut sentinel = Node::launch(kind, Part::Sentinel, Port::take(), &text);
        sentinel.is_ready();
        until("the sentinel knows the leader", || {
            sentinel.field("flags") == "master" && !sentinel.field("runid").is_empty()
        });
        let fields = ["flags", "master-link-status", "role-reported"];
        sentinel.does("SENTINEL DEBUG info-period 200 ping-period 300");
        until("the sentinel knows the replica", || {
            let told = sentinel.list("REPLICAS", &fields);
            told == [["slave", "ok", "slave"]]
                && !sentinel.list("REPLICAS", &["runid"])[0][0].is_empty()
        });
        sentinel.does("SENTINEL DEBUG info-period 10000 ping-period 1000");
        let ids = [&mut leader, &mut replica].map(|node| node.info("run_id"));
        let names = [
            (sentinel.does("SENTINEL MYID").text(), "<id>"),
            (ids[0].clone(), "<leader's id>"),
            (ids[1].clone(), "<replica's id>"),
            (leader.port.to_string(), "<leader>"),
            (replica.port.to_string(), "<replica>"),
            (sentinel.port.to_string(), "<port>"),
            (sentinel.process.dir.path().display().to_string(), "<dir>"),
        ];
        let c = sentinel.client().unwrap();
        let ear = Ear::at(&sentinel);
        World {
            leader,
            replica,
            c,
            ear,
            names: names.map(|(long, short)| (long, short.to_owned())).to_vec(),
            sentinel,
        }
    }

    /// With the names of what is different in place of it.
    pub fn named(&self, text: &str) -> String {
        let replace = |text: String, (long, short): &(String, String)| text.replace(long, short);
        self.names.iter().fold(text.to_owned(), replace)
    }

    /// Plays a line, in which names stand for what is different, and says what comes back.
    pub fn play(&mut self, line: &str) -> String {
        let replace = |text: String, (long, short): &(String, String)| text.replace(short, long);
        let line = self.names.iter().fold(line.to_owned(), replace);
        let words = words(&line).unwrap();
        let mut reply = self.c.call(&words).unwrap_or_else(|e| {
            panic!("{line}: {e}\n{}", self.sentinel.log(40));
        });
        let is = |n: usize, word: &str| {
            words
                .get(n)
                .is_some_and(|w| w.eq_ignore_ascii_case(word.as_bytes()))
        };
        let listed = ["MASTERS", "REPLICAS", "SLAVES", "SENTINELS"];
        if (is(0, "SENTINEL") && listed.iter().any(|list| is(1, list))) || is(1, "LIST") {
            sort(&mut reply);
        }
        if is(0, "COMMAND") && is(1, "LIST") {
            reply = without_our_own(&reply);
        }
        if is(0, "INFO") {
            reply = match words.len() {
                2 if is(1, "sentinel") => with_leaders_in_order(&reply),
                _ => headings(&reply),
            };
        }
        if is(1, "INFO-CACHE") {
            reply = without_values(&reply);
        }
        render(&self.normal(&reply))
    }

    fn normal(&self, reply: &Reply) -> Reply {
        let text = |bytes: &Vec<u8>| match std::str::from_utf8(bytes) {
            // Who does not exist is connected for as long as it takes to find out.
            Ok(text) => self.named(text).replace(",disconnected", "").into_bytes(),
            Err(_) => bytes.clone(),
        };
        let all = |items: &[Reply]| {
            let mut is_volatile = false;
            let mut kept = Vec::new();
            for item in items {
                kept.push(if is_volatile {
                    Reply::bulk("#")
                } else {
                    self.normal(item)
                });
                is_volatile = !is_volatile && VOLATILE.iter().any(|v| v.as_bytes() == item.bytes());
            }
            kept
        };
        match reply {
            Reply::Bulk(b) => Reply::Bulk(text(b)),
            Reply::Simple(b) => Reply::Simple(text(b)),
            Reply::Error(b) => Reply::Error(text(b)),
            Reply::Array(items) => Reply::Array(all(items)),
            Reply::Set(items) => Reply::Set(all(items)),
            Reply::Map(pairs) => {
                let flat: Vec<Reply> = pairs
                    .iter()
                    .flat_map(|(k, v)| [k.clone(), v.clone()])
                    .collect();
                let flat = all(&flat);
                let pairs = flat.chunks_exact(2).map(|p| (p[0].clone(), p[1].clone()));
                Reply::Map(pairs.collect())
            }
            other => other.clone(),
        }
    }

    /// What it has published, with names.
    pub fn published(&mut self) -> Vec<String> {
        let events = self.ear.heard().to_vec();
        let line =
            |(channel, payload): &(String, String)| self.named(&format!("{channel} {payload}"));
        events.iter().map(line).collect()
    }

    /// The lines of its configuration that say something, in order.
    pub fn conf(&self) -> Vec<String> {
        let lines = self.sentinel.conf();
        let mut lines: Vec<String> = lines.iter().map(|line| self.named(line)).collect();
        normal_conf(&mut lines);
        lines
    }
}

/// Lines of a configuration as they can be compared: without those that only a real one writes, of what is the same when they
/// are left out, and as it would be written where there is a choice.
pub fn normal_conf(lines: &mut Vec<String>) {
    let left_out = [
        "latency-tracking-info-percentiles ",
        "user default ",
        "sentinel announce-ip \"\"",
        "sentinel known-slave ",
    ];
    lines.retain(|line| !line.is_empty() && !left_out.iter().any(|start| line.starts_with(start)));
    for line in lines.iter_mut() {
        if line.starts_with("dir ") {
            *line = line.replace('"', "");
        } else if line.starts_with("sentinel rename-command ") {
            *line = line.to_lowercase();
        }
    }
    lines.sort();
}

fn sort(reply: &mut Reply) {
    if let Reply::Array(items) | Reply::Set(items) = reply {
        items.sort();
    }
}

/// The names of the sections that INFO tells.
fn headings(told: &Reply) -> Reply {
    let text = told.text();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    Reply::bulk(headings.collect::<Vec<_>>().join(" "))
}

/// A real sentinel tells of its leaders in the order of their hashes.
fn with_leaders_in_order(told: &Reply) -> Reply {
    let Reply::Bulk(_) = told else {
        return told.clone();
    };
    let text = told.text();
    let is_leader = |line: &&str| line.starts_with("master") && line.contains(":name=");
    let (leaders, mut lines): (Vec<&str>, Vec<&str>) = text.lines().partition(is_leader);
    let mut leaders: Vec<&str> = leaders
        .iter()
        .filter_map(|line| Some(line.split_once(':')?.1))
        .collect();
    leaders.sort_unstable();
    lines.extend(leaders);
    Reply::bulk(lines.join("\r\n"))
}

/// The names of commands that both have: without Valkey's, without what is newer, and without users.
fn without_our_own(reply: &Reply) -> Reply {
    let ours = ["primar", "client|setinfo", "acl"];
    let is_ours = |name: &Reply| ours.iter().any(|part| name.text().contains(part));
    let both = reply.items().iter().filter(|name| !is_ours(name));
    Reply::Array(both.cloned().collect())
}

/// Of what servers have told only the names.
fn without_values(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(items) => Reply::Array(items.iter().map(without_values).collect()),
        Reply::Map(pairs) => {
            let pairs = pairs.iter().map(|(k, v)| (k.clone(), without_values(v)));
            Reply::Map(pairs.collect())
        }
        Reply::Bulk(text) => {
            let text = String::from_utf8_lossy(text).into_owned();
            let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
            Reply::bulk(text.lines().map(name).collect::<Vec<_>>().join(" "))
        }
        Reply::Int(_) => Reply::Int(0),
        other => other.clone(),
    }
}
