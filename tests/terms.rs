//! Terms: who is fenced, whom a server obeys, and what the names of histories tell (REDKEEP FENCE, REDKEEP FOLLOW).
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::node::Node;
use redkeep::replication::History;
use redkeep::util::clock::ManualClock;
use std::sync::Arc;

fn node() -> Node {
    Node::new(Arc::new(ManualClock::at_ms(1_700_000_000_000)), 1)
}

fn said(node: &mut Node, line: &str) -> String {
    String::from_utf8_lossy(&node.line(line))
        .trim_end()
        .to_owned()
}

fn told(node: &mut Node, field: &str) -> String {
    let info = said(node, "INFO replication");
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(name, _)| *name == field);
    found.map_or(String::new(), |(_, value)| value.to_owned())
}

#[test]
fn who_is_fenced_leads_only_in_that_term() {
    let mut node = node();
    assert_eq!(told(&mut node, "failover_term"), "0");
    assert_eq!(said(&mut node, "SET k v"), "+OK");
    assert_eq!(said(&mut node, "REDKEEP FENCE 5"), "+OK");
    assert_eq!(told(&mut node, "role"), "slave");
    assert_eq!(told(&mut node, "master_host"), "nobody");
    assert_eq!(told(&mut node, "master_port"), "0");
    assert_eq!(told(&mut node, "master_link_status"), "down");
    assert_eq!(told(&mut node, "failover_term"), "5");
    assert!(said(&mut node, "SET k w").starts_with("-READONLY"));
    assert_eq!(said(&mut node, "GET k"), "$1\r\nv");
    // Neither an earlier term nor one that it was not fenced in.
    for refused in [
        "REDKEEP FENCE 4",
        "REDKEEP FOLLOW 4 NO ONE",
        "REDKEEP FOLLOW 4 127.0.0.1 6379",
        "REDKEEP FOLLOW 6 NO ONE",
    ] {
        assert!(
            said(&mut node, refused).starts_with("-STALETERM"),
            "{refused}"
        );
        assert_eq!(told(&mut node, "failover_term"), "5", "{refused}");
        assert_eq!(told(&mut node, "master_host"), "nobody", "{refused}");
    }
    assert_eq!(said(&mut node, "REDKEEP FOLLOW 5 no one"), "+OK");
    assert_eq!(told(&mut node, "role"), "master");
    assert_eq!(said(&mut node, "SET k w"), "+OK");
    let id = told(&mut node, "master_replid");
    assert_eq!(History::of(&id), History { term: 5, part: 0 });
    // Once more is no other history.
    assert_eq!(said(&mut node, "REDKEEP FOLLOW 5 NO ONE"), "+OK");
    assert_eq!(told(&mut node, "master_replid"), id);
}

#[test]
fn a_replica_is_not_made_the_leader_behind_the_back_of_its_leader() {
    let mut node = node();
    assert_eq!(said(&mut node, "REDKEEP FOLLOW 3 127.0.0.1 1"), "+OK");
    assert_eq!(told(&mut node, "master_port"), "1");
    assert!(said(&mut node, "REDKEEP FOLLOW 3 NO ONE").starts_with("-STALETERM"));
    assert!(said(&mut node, "REDKEEP FOLLOW 4 NO ONE").starts_with("-STALETERM"));
    assert_eq!(told(&mut node, "failover_term"), "3");
    assert_eq!(said(&mut node, "REDKEEP FENCE 4"), "+OK");
    assert_eq!(said(&mut node, "REDKEEP FOLLOW 4 NO ONE"), "+OK");
    assert_eq!(told(&mut node, "role"), "master");
}

#[test]
fn histories_of_a_term_are_counted() {
    let mut node = node();
    node.line("REDKEEP FENCE 2");
    node.line("REDKEEP FOLLOW 2 NO ONE");
    // An operator has the last word.
    node.line("REPLICAOF 127.0.0.1 1");
    node.line("REPLICAOF NO ONE");
    let id = told(&mut node, "master_replid");
    assert_eq!(History::of(&id), History { term: 2, part: 1 });
    node.line("REDKEEP FENCE 9");
    node.line("REDKEEP FOLLOW 9 NO ONE");
    let id = told(&mut node, "master_replid");
    assert_eq!(History::of(&id), History { term: 9, part: 0 });
}

#[test]
fn bad_calls_are_refused_as_others_are() {
    let mut node = node();
    for (call, error) in [
        (
            "REDKEEP",
            "-ERR wrong number of arguments for 'redkeep' command",
        ),
        (
            "REDKEEP NOTHING",
            "-ERR unknown subcommand 'NOTHING'. Try REDKEEP HELP.",
        ),
        (
            "REDKEEP FENCE",
            "-ERR wrong number of arguments for 'redkeep|fence' command",
        ),
        (
            "REDKEEP FENCE x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "REDKEEP FENCE -1",
            "-ERR value is not an integer or out of range",
        ),
        (
            "REDKEEP FENCE 281474976710656",
            "-ERR value is not an integer or out of range",
        ),
        ("REDKEEP FOLLOW 1 h 0", "-ERR Invalid master port"),
        ("REDKEEP FOLLOW 1 h 65536", "-ERR Invalid master port"),
        (
            "REDKEEP FOLLOW x h 1",
            "-ERR value is not an integer or out of range",
        ),
    ] {
        assert_eq!(said(&mut node, call), error, "{call}");
    }
    assert_eq!(told(&mut node, "failover_term"), "0");
    assert_eq!(told(&mut node, "role"), "master");
}

#[test]
fn a_transaction_writes_the_new_part() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("redkeep.conf");
    std::fs::write(&file, "replica-priority 7\n").unwrap();
    let server = || {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let config = redkeep::service::config::Config::default();
    let settings = redkeep::service::config::Settings::new(config, Some(file.clone()));
    let mut engine = redkeep::engine::Engine::new(redkeep::engine::Options {
        settings,
        seed: Some(1),
        ..Default::default()
    });
    let client = engine.connect(redkeep::exec::session::Peer::default());
    let mut run = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut reply = redkeep::resp::ReplyBuf::new(redkeep::resp::Proto::Resp2);
        engine.execute(client, redkeep::exec::Args::new(&words), &mut reply);
        engine.settle();
        String::from_utf8(reply.take()).unwrap()
    };
    for line in ["MULTI", "REDKEEP FENCE 8", "CONFIG REWRITE", "EXEC"] {
        run(line);
    }
    let lines = server();
    assert!(
        lines.contains(&"replicaof nobody 0".to_owned()),
        "{lines:?}"
    );
    assert!(lines.contains(&"failover-term 8".to_owned()), "{lines:?}");
    for line in ["MULTI", "REDKEEP FOLLOW 8 NO ONE", "CONFIG REWRITE", "EXEC"] {
        run(line);
    }
    let lines = server();
    assert!(
        !lines.iter().any(|line| line.starts_with("replicaof")),
        "{lines:?}"
    );
    for line in ["MULTI", "SLAVEOF 127.0.0.1 1", "CONFIG REWRITE", "EXEC"] {
        run(line);
    }
    assert!(server().contains(&"replicaof 127.0.0.1 1".to_owned()));
}
