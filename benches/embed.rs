//! What it costs to have a server inside of a process: start, memory, calls, end; and beside that a process of its own.
//!
//! `cargo bench --bench embed`. Times are those of a clock: the machine should have nothing else to do. With `redis-server` in the
//! path the same is told of that; with `REDKEEP_BENCH_PEER` naming a program, so are the lines that it prints.

#![expect(clippy::print_stdout, reason = "a report is what a benchmark is for")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first surprise"
)]

use std::fmt::Display;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redkeep::embed::Instance;
use redkeep::{Client, Server};

/// Lives of a server.
const LIVES: usize = 300;

/// Servers at once.
const MANY: usize = 100;

/// Calls.
const CALLS: u32 = 2_000_000;

/// Commands of a pipeline.
const PIPELINE: u32 = 100;

fn main() {
    println!("| what | median | 99% |");
    println!("|---|---|---|");
    lives("`Instance`", || {
        let instance = Instance::builder().start().unwrap();
        let client = instance.client().unwrap();
        (client, move || instance.shutdown())
    });
    lives("`Server` without TCP", || {
        let server = Server::builder().no_tcp().start().unwrap();
        let client = server.client().unwrap();
        (client, move || server.shutdown())
    });
    lives("`Server` on a free port", || {
        let server = Server::builder().start().unwrap();
        let client = server.client().unwrap();
        (client, move || server.shutdown())
    });
    redis_lives();
    println!("\n| what | |");
    println!("|---|---|");
    memory(
        "`Instance`",
        || Instance::builder().start().unwrap(),
        |i| i.client().unwrap(),
    );
    memory(
        "`Server` on a free port",
        || Server::builder().start().unwrap(),
        |s| s.client().unwrap(),
    );
    calls();
    peer();
}

/// Starts and ends a server over and over.
fn lives<E: FnOnce()>(name: &str, start: impl Fn() -> (Client, E)) {
    let (mut firsts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..LIVES {
        let began = Instant::now();
        let (mut client, end) = start();
        client.call(["PING"]).unwrap();
        firsts.push(began.elapsed());
        drop(client);
        let began = Instant::now();
        end();
        ends.push(began.elapsed());
    }
    row(&format!("{name}: start to first reply"), firsts);
    row(&format!("{name}: end"), ends);
}

fn row(name: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |part: usize| micros(took[(took.len() - 1) * part / 100]);
    println!("| {name} | {} | {} |", at(50), at(99));
}

fn micros(time: Duration) -> impl Display {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Rss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap()
}

fn memory<S>(name: &str, start: impl Fn() -> S, client: impl Fn(&S) -> Client) {
    let before = resident();
    let servers: Vec<_> = (0..MANY)
        .map(|_| {
            let server = start();
            client(&server).call(["SET", "k", "v"]).unwrap();
            server
        })
        .collect();
    let each = (resident() - before) / MANY as u64;
    println!("| {name}: memory of each of {MANY} | {each} KiB |");
    drop(servers);
}

fn calls() {
    let instance = Instance::builder().start().unwrap();
    let mut client = instance.client().unwrap();
    client
        .call(["SET", "key:000001", "value-0123456789"])
        .unwrap();
    let began = Instant::now();
    for _ in 0..CALLS {
        black_box(client.call(["GET", "key:000001"]).unwrap());
    }
    rate("`call`: GET", began, CALLS);
    let began = Instant::now();
    for _ in 0..CALLS {
        black_box(
            client
                .call(["SET", "key:000001", "value-0123456789"])
                .unwrap(),
        );
    }
    rate("`call`: SET", began, CALLS);
    let began = Instant::now();
    for _ in 0..CALLS / PIPELINE {
        let commands = (0..PIPELINE).map(|_| ["GET", "key:000001"]);
        black_box(client.pipeline(commands));
    }
    rate(&format!("`pipeline` of {PIPELINE}: GET"), began, CALLS);
}

fn rate(name: &str, began: Instant, calls: u32) {
    let each = began.elapsed() / calls;
    let millions = 1000.0 / each.as_nanos() as f64;
    println!("| {name} | {millions:.2} million per second |");
}

/// A process of its own, until it answers.
fn redis_lives() {
    let (mut firsts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let began = Instant::now();
        let started = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--bind",
                "127.0.0.1",
            ])
            .stdout(Stdio::null())
            .spawn();
        let Ok(mut server) = started else {
            return println!("| there is no `redis-server` | | |");
        };
        let mut stream = loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                break stream;
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        stream.write_all(b"PING\r\n").unwrap();
        stream.read_exact(&mut [0; 7]).unwrap();
        firsts.push(began.elapsed());
        let began = Instant::now();
        stream.write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
        server.wait().unwrap();
        ends.push(began.elapsed());
    }
    row("`redis-server`, a process: start to first reply", firsts);
    row("`redis-server`, a process: end", ends);
}

/// Another library measures itself in the same run.
fn peer() {
    if let Some(program) = std::env::var_os("REDKEEP_BENCH_PEER") {
        let out = Command::new(program).output().unwrap();
        print!("{}", String::from_utf8_lossy(&out.stdout));
    }
}
