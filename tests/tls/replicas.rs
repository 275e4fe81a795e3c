//! Replicas that follow over TLS, of both makes.

use super::common::Server;
use super::common::peer::{free_port, tool};
use super::papers::Papers;
use super::{SOON, comes, told};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A program that is a server, with a port for TLS, and TLS towards its leader.
pub struct Node {
    pub server: Server,
    pub tls_port: u16,
}

impl Node {
    pub fn start(program: &Path, papers: &Papers, more: &[&str]) -> Node {
        let tls_port = free_port();
        let mut options = papers.options(tls_port);
        options.extend(
            [
                "--tls-replication",
                "yes",
                "--repl-diskless-sync-delay",
                "0",
                "--repl-backlog-size",
                "32mb",
            ]
            .map(String::from),
        );
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Node {
            server: Server::start(program, &[&options[..], more].concat()),
            tls_port,
        }
    }

    pub fn run(&self, line: &str) -> String {
        told(&self.server.client().run(line))
    }

    /// A field of INFO.
    pub fn tells(&self, field: &str) -> String {
        let info = self.run("INFO everything");
        let found = info
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_default().to_owned()
    }
}

pub fn ours() -> PathBuf {
    env!("CARGO_BIN_EXE_redkeep").into()
}

#[test]
fn ours_follows_ours() {
    follows(&ours(), &ours());
}

#[test]
fn ours_follows_the_real_one() {
    if let Some(real) = tool("redis-server") {
        follows(&ours(), &real);
    }
}

#[test]
fn the_real_one_follows_ours() {
    if let Some(real) = tool("redis-server") {
        follows(&real, &ours());
    }
}

fn follows(replica: &Path, leader: &Path) {
    let papers = Papers::new();
    let leader = Node::start(leader, &papers, &[]);
    let mut client = leader.server.client();
    let value = "v".repeat(3 << 20);
    for i in 0..5 {
        client
            .call(&["SET".to_owned(), format!("before{i}"), value.clone()])
            .unwrap();
    }
    let replica = Node::start(replica, &papers, &["--replica-priority", "7"]);
    assert_eq!(
        replica.run(&format!("REPLICAOF 127.0.0.1 {}", leader.tls_port)),
        "OK"
    );
    let catches_up = |key: &str| {
        let since = Instant::now();
        while replica.run(&format!("STRLEN {key}")) != (3 << 20).to_string() {
            let logs = || format!("{}\n{}", leader.server.log(), replica.server.log());
            assert!(since.elapsed() < SOON, "never: {key}\n{}", logs());
        }
    };
    catches_up("before4");
    client.call(&["SET", "live", &value]).unwrap();
    catches_up("live");
    // The leader tells others where the replica listens for TLS.
    let line = format!("ip=127.0.0.1,port={},state=online", replica.tls_port);
    comes("the replica is online", || {
        leader.tells("slave0").starts_with(&line).then_some(())
    });
    // The link breaks: it goes on where it was.
    let full = leader.tells("sync_full");
    assert_eq!(leader.run("CLIENT KILL TYPE replica"), "1");
    client.call(&["SET", "later", &value]).unwrap();
    catches_up("later");
    comes("a partial resync", || {
        (leader.tells("sync_partial_ok") == "1").then_some(())
    });
    assert_eq!(leader.tells("sync_full"), full);
    // It does so with another certificate, too, and not with one that nobody vouches for.
    for (name, up) in [("stranger", false), ("again", true)] {
        let set = ["tls-cert-file", "tls-key-file"].map(|what| {
            let end = if what.contains("key") { "key" } else { "crt" };
            format!("{what} {}", papers.name(&format!("{name}.{end}")))
        });
        assert_eq!(replica.run(&format!("CONFIG SET {}", set.join(" "))), "OK");
        leader.run("CLIENT KILL TYPE replica");
        let status = if up { "up" } else { "down" };
        comes("the link is as it must be", || {
            (replica.tells("master_link_status") == status).then_some(())
        });
    }
    client.call(&["SET", "last", &value]).unwrap();
    catches_up("last");
}

#[test]
fn keys_migrate_over_tls() {
    let papers = Papers::new();
    let nodes: Vec<Node> = [ours()]
        .into_iter()
        .chain(tool("redis-server"))
        .chain([ours()])
        .map(|program| Node::start(&program, &papers, &["--tls-cluster", "yes"]))
        .collect();
    nodes[0].run("SET k v");
    for pair in nodes.windows(2) {
        let to = pair[1].tls_port;
        let moved = pair[0].run(&format!("MIGRATE 127.0.0.1 {to} k 0 20000"));
        assert_eq!(moved, "OK", "{}", pair[0].server.log());
        assert_eq!(
            (pair[0].run("EXISTS k"), pair[1].run("GET k")),
            ("0".into(), "v".into())
        );
    }
}
