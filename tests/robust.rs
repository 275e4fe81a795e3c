//! Broken input never brings the server down, never hangs it and never makes it hoard memory.
//!
//! Sessions are made of the commands of the transcripts and of random bytes, then mutated. `REDKEEP_ROBUST=N` sets the
//! number of sessions, `REDKEEP_ROBUST_SEED=S` the seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::client::encode;
use common::{Server, notation};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What a whole run may leave the server with.
const MEMORY: u64 = 600 << 20;

#[test]
fn mutated_sessions_do_no_harm() {
    let sessions = setting("REDKEEP_ROBUST", 3000);
    let seed = setting("REDKEEP_ROBUST_SEED", 11);
    let mut server = Server::redkeep(&[]);
    let commands = corpus();
    let mut last = Vec::new();
    for n in 0..sessions {
        let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(7919).wrapping_add(n));
        let bytes = session(&mut rng, &commands);
        converse(server.port, &bytes);
        last.push(bytes);
        if n % 20 == 19 || n + 1 == sessions {
            let answer = server.client().call(&["PING"]);
            let log = server.log();
            let fine = answer.is_ok() && server.alive() && !log.contains("panicked");
            let shown = || {
                last.iter()
                    .map(|b| notation::quote(b))
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            assert!(
                fine,
                "seed {seed}, sessions up to {n}: {answer:?}\n{log}\none of\n{}",
                shown()
            );
            last.clear();
        }
    }
    if let Some(resident) = server.resident() {
        assert!(resident < MEMORY, "the server keeps {resident} bytes");
    }
}

/// Whoever has nothing more to do gives back what it does not use, soon after it is free: without a further command.
#[test]
fn what_is_flushed_goes_back_to_the_system() {
    let server = Server::redkeep(&[]);
    let mut client = server.client();
    let Some(empty) = server.resident() else {
        return;
    };
    for how in ["SYNC", "ASYNC"] {
        for from in (0..300_000).step_by(20_000) {
            let fill =
                "for i = ARGV[1], ARGV[1] + 19999 do redis.call('SET', 'key:' .. i, 'v') end";
            client
                .call(&["EVAL", fill, "0", &from.to_string()])
                .unwrap();
        }
        let full = server.resident().unwrap_or_default();
        assert!(full > empty + 15_000_000, "{empty}, {full}");
        assert_eq!(client.call(&["FLUSHALL", how]).unwrap().text(), "OK");
        let until = Instant::now() + Duration::from_secs(20);
        while server.resident().unwrap_or_default() > empty + (full - empty) / 2 {
            assert!(
                Instant::now() < until,
                "{how}: {:?} of {full}",
                server.resident()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Lengths that promise far more than ever comes must cost nothing before it comes.
#[test]
fn promises_of_huge_input_cost_no_memory() {
    let server = Server::redkeep(&[]);
    let promises: &[&[u8]] = &[
        b"*2147483647\r\n",
        b"*1048576\r\n$1\r\na\r\n",
        b"*2\r\n$3\r\nSET\r\n$536870912\r\nx",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nxxxxxxxxxxxx",
        b"*1000000\r\n$536870912\r\n",
    ];
    let mut open = Vec::new();
    for _ in 0..40 {
        for p in promises {
            let mut s = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            s.write_all(p).unwrap();
            open.push(s);
        }
    }
    assert!(server.client().call(&["PING"]).is_ok());
    if let Some(resident) = server.resident() {
        assert!(
            resident < 200 << 20,
            "{} promises made the server take {resident} bytes",
            open.len()
        );
    }
}

/// A line without an end is cut off where Redis cuts it.
#[test]
fn an_endless_inline_command_is_refused() {
    let server = Server::redkeep(&[]);
    let mut s = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let chunk = vec![b'a'; 64 * 1024];
    let mut sent = 0;
    while sent < 16 << 20 && s.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 16 << 20, "the server reads an endless line");
    assert!(server.client().call(&["PING"]).is_ok());
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// All commands of the transcripts but those that stop or stall a server because they are told to.
fn corpus() -> Vec<Vec<Vec<u8>>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What only a sentinel answers.
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let commands = text.lines().filter_map(|l| {
            l.split_once("> ")
                .filter(|(c, _)| c.len() < 4)
                .map(|(_, c)| c)
        });
        for line in commands {
            const STALL: &[&str] = &[
                "while true",
                "for i = 1",
                "SHUTDOWN",
                "DEBUG",
                "CONFIG SET",
                "PAUSE",
            ];
            let stalls = STALL.iter().any(|w| line.contains(w));
            if let (false, Ok(words)) = (stalls, notation::words(line)) {
                out.push(words);
            }
        }
    }
    assert!(out.len() > 1000);
    out.sort();
    out
}

fn session(rng: &mut SmallRng, commands: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if rng.random_range(0..10) == 0 {
        bytes.extend((0..rng.random_range(1..2000)).map(|_| rng.random::<u8>()));
        return bytes;
    }
    for _ in 0..rng.random_range(1..25) {
        let command = &commands[rng.random_range(0..commands.len())];
        if rng.random_range(0..6) == 0 {
            bytes.extend_from_slice(&command.join(&b' '));
            bytes.extend_from_slice(b"\r\n");
        } else {
            encode(command, &mut bytes);
        }
    }
    for _ in 0..rng.random_range(0..6) {
        mutate(rng, &mut bytes);
    }
    bytes
}

fn mutate(rng: &mut SmallRng, bytes: &mut Vec<u8>) {
    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"$",
        b"*",
        b"$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"$9999999999\r\n",
        b"*2147483647\r\n",
        b"-",
        b"\0",
        b"\"",
        b"'",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"18446744073709551616",
        b"0",
        b" ",
        b"\xff\xfe",
        b"$0\r\n\r\n",
        b"*1\r\n$4\r\nQUIT\r\n",
        b"*1\r\n$5\r\nRESET\r\n",
        b"HELLO 3\r\n",
        b"*",
    ];
    if bytes.is_empty() {
        return;
    }
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..7) {
        0 => bytes[at] = rng.random(),
        1 => bytes[at] ^= 1 << rng.random_range(0..8),
        2 => _ = bytes.remove(at),
        3 => bytes.truncate(at),
        4 => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        5 => {
            let end = (at + rng.random_range(1..40)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = rng.random_range(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        _ => {
            // A number becomes another one.
            if let Some(d) = (at..bytes.len()).find(|i| bytes[*i].is_ascii_digit()) {
                let piece = PIECES[rng.random_range(14..18)];
                bytes.splice(d..=d, piece.iter().copied());
            }
        }
    }
}

/// Sends everything in pieces and reads until the server has nothing more to say.
fn converse(port: u16, bytes: &[u8]) {
    let mut s = TcpStream::connect(("127.0.0.1", port)).unwrap();
    s.set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    for piece in bytes.chunks((bytes.len() / 3).max(1)) {
        if s.write_all(piece).is_err() {
            return;
        }
    }
    let _ = s.shutdown(Shutdown::Write);
    let until = Instant::now() + Duration::from_secs(10);
    let mut buf = [0u8; 64 * 1024];
    loop {
        match s.read(&mut buf) {
            Ok(0) => return,
            Ok(_) if Instant::now() < until => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
