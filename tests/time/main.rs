//! Time in the hands of a test: everything that a server does because time passes, without waiting for it.
//!
//! ```text
//! keys    what is over, and when       waits   who waits, and for how long
//! disk    the log's syncs              links   servers with each other, on one clock
//! wire    REDKEEP CLOCK                steps   what the clock itself does
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod disk;
mod gate;
mod keys;
mod links;
mod steps;
mod waits;
mod wire;

use std::thread::JoinHandle;
use std::time::Duration;

use redkeep::embed::world::disk as sim_disk;
use redkeep::util::clock::ManualClock;
use redkeep::{Client, Server, Value};

/// Where clocks stand at first: a full second.
const START: i64 = 1_700_000_000_000;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A server on a clock of its own that stands.
fn server() -> Server {
    with(&[])
}

fn with(options: &[(&str, &str)]) -> Server {
    on(&ManualClock::at_ms(START), options)
}

fn on(clock: &ManualClock, options: &[(&str, &str)]) -> Server {
    let builder = Server::builder().clock(clock.clone());
    let builder = options.iter().fold(builder, |builder, (name, value)| {
        builder.config(name, value)
    });
    builder.start().unwrap()
}

/// What a command in one line is answered, in one line.
fn call(client: &mut Client, line: &str) -> String {
    flat(&client.call(line.split(' ')).unwrap())
}

fn flat(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flat).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Int(n) => n.to_string(),
        Value::Bulk(bytes) | Value::Simple(bytes) | Value::Error(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        other => other.to_string(),
    }
}

/// A field of INFO.
fn info(client: &mut Client, field: &str) -> String {
    let text = call(client, "INFO everything");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().to_owned()
}

/// A thread of its own that has begun to wait in the server when this returns.
fn waiting<T: Send + 'static>(
    server: &Server,
    work: impl FnOnce(Client) -> T + Send + 'static,
) -> JoinHandle<T> {
    let mut watch = server.client().unwrap();
    let before: usize = info(&mut watch, "blocked_clients").parse().unwrap();
    let client = server.client().unwrap();
    let thread = std::thread::spawn(move || work(client));
    while info(&mut watch, "blocked_clients")
        .parse::<usize>()
        .unwrap()
        <= before
    {
        assert!(!thread.is_finished(), "nothing was waited for");
        std::thread::yield_now();
    }
    thread
}
