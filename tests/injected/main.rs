//! Faults on purpose: each kind, asked for from inside of the process and over the wire, as clients see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod commands;
mod connections;
mod crashes;
mod disks;
mod wire;

#[path = "../common/mod.rs"]
mod common;

use common::client::Got;
use common::{Client as Socket, Reply};
use redkeep::{Server, Value};
use std::time::Duration;

/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(60);

/// A server, and a client of it within this process.
fn server() -> (Server, redkeep::Client) {
    let server = Server::builder().start().unwrap();
    let client = server.client().unwrap();
    (server, client)
}

fn socket(server: &Server) -> Socket {
    Socket::connect(server.port()).unwrap()
}

/// What a call within this process is answered, in one line.
fn said(client: &mut redkeep::Client, line: &str) -> String {
    plain(client.call(line.split(' ')).unwrap())
}

/// Text as it is, everything else as it is shown.
fn plain(value: Value) -> String {
    match value {
        Value::Bulk(text) | Value::Simple(text) | Value::Verbatim(_, text) => {
            String::from_utf8_lossy(&text).into_owned()
        }
        Value::Int(n) => n.to_string(),
        other => other.to_string(),
    }
}

/// What comes over a socket.
fn got(socket: &mut Socket) -> Got {
    socket.receive(Duration::from_secs(10)).unwrap()
}

fn send(socket: &mut Socket, line: &str) {
    socket.send(&common::argv(line)).unwrap();
}

fn is_silent(socket: &mut Socket) -> bool {
    socket.receive(SILENCE).unwrap() == Got::Nothing
}

fn ok() -> Got {
    Got::Reply(Reply::Simple(b"OK".to_vec()))
}
