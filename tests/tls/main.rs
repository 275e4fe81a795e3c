//! TLS: clients of all kinds, replicas and sentinels over it, and what those do to it who do not speak it.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../e2e/tools.rs"]
#[allow(dead_code, reason = "not all of it is for this binary")]
mod tools;

mod bulk;
mod client;
mod configuration;
mod embedded;
mod handshakes;
mod libraries;
mod papers;
mod reload;
mod replicas;
mod sentinels;

use common::peer::free_port;
use common::{Reply, Server};
use papers::Papers;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take, on a machine that does other work besides.
const SOON: Duration = Duration::from_secs(60);

/// A server under test with a port for TLS beside its other one.
struct Target {
    papers: Papers,
    server: Server,
    tls_port: u16,
}

impl Target {
    fn start(more: &[&str]) -> Target {
        let (papers, tls_port) = (Papers::new(), free_port());
        let options = papers.options(tls_port);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Target {
            server: Server::redkeep(&[&options[..], more].concat()),
            papers,
            tls_port,
        }
    }

    fn client(&self) -> client::Client {
        client::Client::of(&self.papers, self.tls_port)
    }

    /// What a command says that is sent over the port without TLS.
    fn run(&self, line: &str) -> String {
        told(&self.server.client().run(line))
    }
}

/// The text of a reply, or its number.
fn told(reply: &Reply) -> String {
    reply.int().map_or_else(|| reply.text(), |n| n.to_string())
}

/// What a program prints, on both of its outputs, and whether it ended well. It is ended if it does not end.
fn output(command: &mut Command) -> (String, bool) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        output.status.success(),
    )
}

/// Waits for what `look` gives.
fn comes<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
