//! The program: what it prints, what it takes, how it ends, and who is told of it.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod http;
mod log;
mod parent;
mod program;
mod secrets;
mod service;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use program::{Program, ask, free_port};

#[test]
fn it_says_when_it_is_ready_and_ends_on_sigterm() {
    let port = free_port();
    let mut program = Program::start(&["--port", &port]);
    let log = program.until("Ready to accept connections tcp");
    let pid = program.pid();
    assert!(log.contains(&format!(" PID: {pid}")), "{log}");
    assert!(log.contains("Server initialized"), "{log}");
    let roles: String = log
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("{pid}:"))?.chars().next())
        .collect();
    assert_eq!(roles.len(), log.lines().count(), "{log}");
    assert!(
        roles.starts_with('C')
            && roles
                .trim_start_matches('C')
                .chars()
                .all(|role| role == 'M')
    );
    assert_eq!(ask(&port, "PING\r\n"), "+PONG\r\n");
    program.signal("HUP");
    assert_eq!(ask(&port, "PING\r\n"), "+PONG\r\n");
    program.signal("TERM");
    let (code, log) = program.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("Received SIGTERM"), "{log}");
}

#[test]
fn it_ends_on_sigint_and_on_shutdown() {
    for command in [None, Some("SHUTDOWN\r\n"), Some("SHUTDOWN NOSAVE\r\n")] {
        let port = free_port();
        let mut program = Program::start(&["--port", &port]);
        program.until("Ready to accept");
        match command {
            Some(command) => assert_eq!(ask(&port, command), ""),
            None => program.signal("INT"),
        }
        assert_eq!(program.end().0, Some(0));
    }
}

#[test]
fn a_script_that_never_ends_does_not_keep_it_from_ending() {
    let port = free_port();
    let mut program = Program::start(&["--port", &port, "--lua-time-limit", "20"]);
    program.until("Ready to accept");
    let mut looping = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    looping
        .write_all(b"EVAL 'while true do end' 0\r\n")
        .unwrap();
    program.until("Slow script");
    assert!(ask(&port, "GET k\r\n").starts_with("-BUSY "));
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_port_that_is_taken_is_told_and_fatal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (code, log) = Program::start(&["--port", &port.to_string(), "--bind", "127.0.0.1"]).end();
    assert_eq!(code, Some(1));
    assert!(
        log.contains(&format!("Failed listening on port {port} (tcp), aborting.")),
        "{log}"
    );
}

#[test]
fn without_anything_to_listen_on_it_does_not_start() {
    let (code, log) = Program::start(&["--port", "0"]).end();
    assert_eq!(code, Some(1));
    assert!(log.contains("not listen anywhere"), "{log}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut program = Program::start(&["--port", "0", "--unixsocket", path.to_str().unwrap()]);
    program.until("Ready to accept connections unix");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_wrong_line_of_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("redkeep.conf");
    std::fs::write(&file, "# comment\nport 0\nno-such-thing 1\n").unwrap();
    let (code, log) = Program::start(&[file.to_str().unwrap()]).end();
    assert_eq!(code, Some(1));
    assert!(
        log.contains("at line 3") && log.contains("no-such-thing"),
        "{log}"
    );
}

#[test]
fn it_tells_its_version_and_its_usage() {
    let (code, text) = Program::start(&["--version"]).end();
    assert_eq!(code, Some(0));
    assert!(
        text.starts_with("Redkeep server v=") && text.contains("bits="),
        "{text}"
    );
    let (code, text) = Program::start(&["--help"]).end();
    assert_eq!(code, Some(0));
    assert!(text.starts_with("Usage: redkeep"), "{text}");
}

#[test]
fn a_log_file_and_a_pid_file_are_written_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (port, log, pid) = (free_port(), path("log"), path("pid"));
    let program = Program::start(&["--port", &port, "--logfile", &log, "--pidfile", &pid]);
    let began = Instant::now();
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("Ready to accept")) {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    let written = std::fs::read_to_string(&pid).unwrap();
    assert_eq!(written.trim(), program.pid().to_string());
    program.signal("TERM");
    let (code, printed) = program.end();
    assert_eq!((code, printed.as_str()), (Some(0), ""));
    assert!(!dir.path().join("pid").exists());
}

#[test]
fn the_data_set_is_all_that_is_written_unless_more_is_asked_for() {
    for (save, files) in [("3600 1", 1), ("", 0)] {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = dir.path().to_str().unwrap();
        let mut program = Program::start(&["--port", &port, "--dir", path, "--save", save]);
        program.until("Ready to accept");
        assert_eq!(ask(&port, "SET k v\r\n"), "+OK\r\n");
        program.signal("TERM");
        assert_eq!(program.end().0, Some(0));
        let names = std::fs::read_dir(dir.path()).unwrap();
        let names: Vec<_> = names.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names.len(), files);
        assert!(names.iter().all(|name| name == "dump.rdb"), "{names:?}");
    }
}
