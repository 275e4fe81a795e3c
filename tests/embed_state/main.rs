//! What a test sees of a server from the side, and puts back into it: snapshots, dumps, values, assertions, recorded commands,
//! seeds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;
mod dump;
mod expect;
mod recorder;
mod seed;
mod snapshot;

use redkeep::embed::{Client, Node};
use redkeep::engine::{Engine, Options};
use redkeep::util::clock::ManualClock;
use redkeep::{Server, Value};
use std::sync::Arc;

/// Sends commands, one a line. None may fail.
fn run(client: &mut Client, lines: &str) -> Vec<Value> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let run = |line: &str| {
        let reply = client.call(line.split(' ')).unwrap();
        assert!(!matches!(reply, Value::Error(_)), "{line}: {reply}");
        reply
    };
    lines.map(run).collect()
}

/// A server and a client of it.
fn server() -> (Server, Client) {
    let server = Server::builder().start().unwrap();
    let client = server.client().unwrap();
    (server, client)
}

/// An engine on a clock that stands still.
fn still() -> (Node, Client, ManualClock) {
    let clock = ManualClock::at_ms(1_700_000_000_000);
    let node = Node::new(Engine::new(Options {
        clock: Arc::new(clock.clone()),
        seed: Some(1),
        ..Options::default()
    }));
    let client = Client::connect(&node).unwrap();
    (node, client, clock)
}

/// Something of every type, with deadlines, in several databases.
const EVERYTHING: &str = "
    SET name Ada
    SET number 42
    SET session token PX 30000
    RPUSH queue a b c
    SADD ints 3 1 2
    SADD words b a
    ZADD ranks 1.5 ada 2 bob -inf nobody
    HSET user:1 name Ada age 36
    XADD events 0-5 kind ordered
    XDEL events 0-5
    XADD events 1-1 kind created
    XADD events 2-1 kind paid sum 7
    XGROUP CREATE events mail 0
    XREADGROUP GROUP mail w1 COUNT 1 STREAMS events >
    XREADGROUP GROUP mail w2 COUNT 1 STREAMS events >
    XGROUP CREATE events idle $
    PFADD visitors a b c
    SELECT 5
    SET elsewhere x
    SELECT 0
";
