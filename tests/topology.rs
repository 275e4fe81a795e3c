//! Topologies: what happens to nodes and lines is seen by clients as it would be in life.
#![cfg(feature = "server")]
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise"
)]

mod common;

#[path = "topology/both.rs"]
mod both;
#[path = "topology/failover.rs"]
mod failover;
#[path = "topology/lines.rs"]
mod lines;
#[path = "topology/nodes.rs"]
mod nodes;
#[path = "topology/remains.rs"]
mod remains;
#[path = "topology/simulated.rs"]
mod simulated;

use std::time::{Duration, Instant};

use common::{Client, Reply};
use redkeep::Topology;
use redkeep::topology::{Builder, Node};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A leader and its replicas, of which nobody takes care.
fn servers(replicas: usize) -> Builder {
    Topology::builder().replicas(replicas).sentinels(0)
}

fn client(node: Node) -> Client {
    Client::connect(node.port()).unwrap()
}

/// What a server answers, on one line.
fn ask(client: &mut Client, line: &str) -> String {
    show(&client.run(line))
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Int(n) => n.to_string(),
        Reply::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(" "),
        other if other.bytes().is_empty() => format!("{other:?}"),
        other => other.text(),
    }
}

/// A field of INFO.
fn info(client: &mut Client, name: &str) -> String {
    let text = client.run("INFO").text();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(field, _)| *field == name);
    found
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a server has this value.
fn sees(node: Node, key: &str, value: &str) {
    let mut client = client(node);
    let what = format!("{node} never sees {key} {value}");
    until(&what, || ask(&mut client, &format!("GET {key}")) == value);
}
