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
    let others = ["redkeep.conf", "sentinel.conf"];
    let mut tried = [&SERVERS[..], &others, &SERVICES].concat();
    tried.sort_unstable();
    assert_eq!(found, tried);
}

#[test]
fn redkeep_starts_with_the_examples() {
    for example in SERVERS {
        let (answer, log) = start(&redkeep(), example, &[]);
        assert!(answer.starts_with("NOAUTH"), "{example}: {answer}");
        // No parameter is unknown, or without effect here.
        let warns = |line: &&str| line.contains(" # ") && !line.contains(" # WARNING ");
        // Whoever has the address of the example here is not its leader.
        let of_link = |line: &&str| line.contains("MASTER") || line.contains("for SYNC");
        let warning = log.lines().filter(warns).find(|line| !of_link(line));
        assert_eq!(warning, None, "{example}");
    }
    let (answer, _) = start(&redkeep(), "sentinel.conf", &["--sentinel"]);
    assert_eq!(answer, "PONG");
}

/// The units for systemd.
const SERVICES: [&str; 2] = ["redkeep-sentinel.service", "redkeep.service"];

/// A unit as systemd reads it: what stands in each section, in order.
fn read_unit(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut all = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.clone_into(&mut section);
            continue;
        }
        let (name, value) = line.split_once('=').expect(line);
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "{line}");
        assert!(!section.is_empty(), "{line}");
        all.push((section.clone(), name.to_owned(), value.to_owned()));
    }
    all
}

#[test]
fn the_units_run_what_there_is() {
    for name in SERVICES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("conf")
            .join(name);
        let text = fs::read_to_string(path).unwrap();
        let unit = read_unit(&text);
        let value = |wanted: &str| {
            let found = unit.iter().find(|(_, name, _)| name == wanted);
            found.map_or("", |(.., value)| value)
        };
        assert_eq!(value("Type"), "notify", "{name}");
        for (section, directive, ..) in &unit {
            assert!(
                ["Unit", "Service", "Install"].contains(&section.as_str()),
                "{directive}"
            );
        }
        for (directive, set) in [
            ("ProtectSystem", "strict"),
            ("NoNewPrivileges", "yes"),
            ("WantedBy", "multi-user.target"),
        ] {
            assert_eq!(value(directive), set, "{name}: {directive}");
        }
        // There must be a descriptor for each client of the default.
        assert!(value("LimitNOFILE").parse::<u32>().unwrap() > 10_032);
        let words: Vec<&str> = value("ExecStart").split(' ').collect();
        assert_eq!(words[0], "/usr/local/bin/redkeep");
        let state = format!("/var/lib/{}", value("StateDirectory"));
        assert!(words.contains(&state.as_str()), "{words:?}");
        let text = text.replace("/usr/local/bin/redkeep", env!("CARGO_BIN_EXE_redkeep"));
        started_as(name, &words[1..], &state);
        verify(name, &text);
    }
}

/// What a unit starts tells the manager that it is ready.
#[cfg(unix)]
fn started_as(name: &str, words: &[&str], state: &str) {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display().to_string();
    let socket = std::os::unix::net::UnixDatagram::bind(dir.path().join("notify")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    fs::write(dir.path().join("own.conf"), "").unwrap();
    let args = words.iter().map(|word| match word.ends_with(".conf") {
        true => format!("{here}/own.conf"),
        false => word.replace(state, &here),
    });
    let port = free_port();
    let child = Command::new(redkeep())
        .args(args)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let _running = Running(child.unwrap(), port);
    let mut told = String::new();
    while !told.contains("READY=1") {
        let mut bytes = [0; 1024];
        let n = socket.recv(&mut bytes).expect(name);
        told += std::str::from_utf8(&bytes[..n]).unwrap();
    }
}

#[cfg(not(unix))]
fn started_as(_: &str, _: &[&str], _: &str) {}

/// systemd itself has nothing to say, where it is installed.
fn verify(name: &str, text: &str) {
    let analyze = "systemd-analyze";
    if Command::new(analyze).arg("--version").output().is_err() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    let output = Command::new(analyze)
        .args(["--man=no", "verify"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{name}: {said}");
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
