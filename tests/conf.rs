//! The examples in conf/ are what Redkeep starts with, without a warning, and Redis as well.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::Client;
use common::peer::{free_port, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process, killed when dropped.
struct Running(Child, u16);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The examples that are for servers. Others than these and the sentinel's are made from the source.
const SERVERS: [&str; 3] = ["leader.conf", "replica.conf", "geo-standby.conf"];

fn redkeep() -> PathBuf {
    env!("CARGO_BIN_EXE_redkeep").into()
}

/// Starts a program with a copy of an example; what it answers to a PING, and what it has logged until then.
fn start(program: &Path, example: &str, more: &[&str]) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("conf")
        .join(example);
    let file = dir.path().join(example);
    // The directory must be there before the command line can say another one.
    let here = dir.path().display().to_string();
    let text = fs::read_to_string(source).unwrap();
    fs::write(&file, text.replace("/var/lib/redkeep", &here)).unwrap();
    let log = dir.path().join("log");
    let port = free_port();
    let child = Command::new(program)
        .arg(&file)
        .args(more)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child, port);
    let read = || fs::read_to_string(&log).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = Client::connect(port).and_then(|mut client| client.call(&["PING"]));
        if let Ok(answer) = answer {
            return (answer.text(), read());
        }
        let ended = running.0.try_wait().unwrap();
        assert!(
            ended.is_none() && Instant::now() < until,
            "{example}: {}",
            read()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_example_is_tried_here() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut tried = [&SERVERS[..], &["redkeep.conf", "sentinel.conf"]].concat();
    tried.sort_unstable();
    assert_eq!(found, tried);
}

#[test]
fn redkeep_starts_with_the_examples() {
    for example in SERVERS {
        let (answer, log) = start(&redkeep(), example, &[]);
        assert!(answer.starts_with("NOAUTH"), "{example}: {answer}");
        // No parameter is unknown, or without effect here.
        let warns = |line: &&str| line.contains(" # ");
        // Whoever has the address of the example here is not its leader.
        let of_link = |line: &&str| line.contains("MASTER") || line.contains("for SYNC");
        let warning = log.lines().filter(warns).find(|line| !of_link(line));
        assert_eq!(warning, None, "{example}");
    }
    let (answer, _) = start(&redkeep(), "sentinel.conf", &["--sentinel"]);
    assert_eq!(answer, "PONG");
}

#[test]
fn redis_starts_with_the_examples() {
    let (Some(server), Some(sentinel)) = (tool("redis-server"), tool("redis-sentinel")) else {
        return;
    };
    for example in SERVERS {
        let (answer, log) = start(&server, example, &[]);
        assert!(answer.starts_with("NOAUTH"), "{example}: {answer}\n{log}");
    }
    let (answer, _) = start(&sentinel, "sentinel.conf", &[]);
    assert_eq!(answer, "PONG");
}
