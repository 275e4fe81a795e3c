//! What the log says, and how.

use std::fs;
use std::path::Path;

use crate::program::{Program, ask, connect, converse, eventually, free_port};

/// The parts of a line for people: role, level, text.
fn parts(line: &str, pid: u32) -> (char, char, &str) {
    let rest = line.strip_prefix(&format!("{pid}:")).unwrap();
    let mut chars = rest.chars();
    let role = chars.next().unwrap();
    let (date, text) = chars.as_str().split_at(26);
    let shape: String = date
        .chars()
        .map(|c| match c {
            '0'..='9' => '9',
            c if c.is_ascii_alphabetic() => 'a',
            c => c,
        })
        .collect();
    assert_eq!(shape, " 99 aaa 9999 99:99:99.999 ", "{line}");
    let level = text.chars().next().unwrap();
    assert_eq!(&text[1..2], " ", "{line}");
    (role, level, &text[2..])
}

#[test]
fn every_line_has_the_shape_of_redis() {
    let port = free_port();
    let mut program = Program::start(&["--port", &port, "--save", "", "--loglevel", "debug"]);
    let pid = program.pid();
    let mut log = program.until("Ready to accept");
    assert_eq!(ask(&port, "REPLICAOF 127.0.0.1 1\r\n"), "+OK\r\n");
    log += &program.until("MASTER <-> REPLICA sync started");
    assert_eq!(ask(&port, "REPLICAOF NO ONE\r\n"), "+OK\r\n");
    log += &program.until("MASTER MODE enabled");
    assert_eq!(ask(&port, "BGSAVE\r\n"), "+Background saving started\r\n");
    log += &program.until("DB saved on disk");
    log += &program.terminate();
    let lines: Vec<_> = log.lines().map(|line| parts(line, pid)).collect();
    let role_of = |text: &str| {
        let found = lines.iter().find(|(.., line)| line.contains(text));
        found.unwrap_or_else(|| panic!("{text}: {log}")).0
    };
    assert_eq!(role_of("Redkeep is starting"), 'C');
    assert_eq!(role_of("Running mode=standalone"), 'M');
    assert_eq!(role_of("In force:"), 'M');
    assert_eq!(
        role_of("REPLICAOF 127.0.0.1:1 enabled (user request from 'id="),
        'S'
    );
    assert_eq!(role_of("MASTER MODE enabled (user request from 'id="), 'M');
    assert_eq!(role_of("DB saved on disk keys=0 bytes="), 'C');
    assert_eq!(role_of("ready to exit"), 'M');
    assert!(
        lines
            .iter()
            .any(|line| line.1 == '-' && line.2.starts_with("Accepted 127.0.0.1:"))
    );
}

#[test]
fn more_or_less_is_logged_as_it_runs() {
    let port = free_port();
    let mut program = Program::start(&["--port", &port, "--loglevel", "warning"]);
    eventually("it does not answer", || {
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
    });
    assert_eq!(ask(&port, "CONFIG SET loglevel verbose\r\n"), "+OK\r\n");
    // It holds for the change itself.
    let log = program.until("Configuration changed parameter=\"loglevel\" value=\"verbose\"");
    assert!(
        log.lines()
            .all(|line| line.contains(" # ") || line.contains("changed")),
        "{log}"
    );
    drop(connect(&port));
    program.until(" - Accepted 127.0.0.1:");
    assert_eq!(ask(&port, "CONFIG SET loglevel nothing\r\n"), "+OK\r\n");
    let log = program.terminate();
    assert!(!log.contains("ready to exit"), "{log}");
}

#[test]
fn a_line_is_an_object_for_programs_and_may_become_one() {
    let port = free_port();
    let mut program = Program::start(&["--port", &port, "--log-format", "json", "--save", ""]);
    let pid = program.pid();
    let text = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let log = program.until("Ready to accept");
    for line in log.lines() {
        let object = text(line);
        assert_eq!(object["pid"], pid, "{line}");
        assert!(object["message"].is_string() && object["time"].as_str().unwrap().ends_with('Z'));
        assert!(["notice", "warning"].contains(&object["level"].as_str().unwrap()));
    }
    let summary = log
        .lines()
        .map(text)
        .find(|line| line["message"] == "In force:")
        .unwrap();
    assert_eq!(summary["port"].to_string(), port);
    assert_eq!(
        (&summary["role"], &summary["persistence"]),
        (&"master".into(), &"none".into())
    );
    assert_eq!(
        ask(&port, "CONFIG SET log-format human timeout 7\r\n"),
        "+OK\r\n"
    );
    let log = program.until("parameter=\"timeout\" value=\"7\"");
    assert!(
        log.lines().all(|line| line.starts_with(&pid.to_string())),
        "{log}"
    );
    assert_eq!(ask(&port, "CONFIG SET log-format json\r\n"), "+OK\r\n");
    let log = program.until("log-format");
    assert_eq!(text(log.trim())["parameter"], "log-format");
    assert!(ask(&port, "CONFIG SET log-format xml\r\n").starts_with("-ERR"));
}

#[test]
fn a_log_file_may_be_rotated_in_any_way() {
    let port = free_port();
    // As with Redis, a relative name is one below `dir`.
    let program = Program::start_as(
        &[
            "--port",
            &port,
            "--save",
            "",
            "--logfile",
            "my.log",
            "--dir",
            "data",
        ],
        |_, dir| fs::create_dir(dir.join("data")).unwrap(),
    );
    let path = program.dir().join("data").join("my.log");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    eventually("it does not start", || {
        read(&path).contains("Ready to accept")
    });
    let log = |value: &str| {
        assert_eq!(
            ask(&port, &format!("CONFIG SET timeout {value}\r\n")),
            "+OK\r\n"
        );
    };
    let old = path.with_extension("1");
    fs::rename(&path, &old).unwrap();
    log("11");
    assert!(read(&path).contains("value=\"11\"") && !read(&old).contains("value=\"11\""));
    fs::File::create(&path).unwrap();
    log("12");
    assert!(read(&path).contains("value=\"12\"") && !read(&path).contains("value=\"11\""));
    fs::remove_file(&path).unwrap();
    log("13");
    assert_eq!(read(&path).lines().count(), 1);
    assert_eq!(program.terminate(), "");
}

#[test]
fn what_operators_ask_for_is_there() {
    let port = free_port();
    let mut program = Program::start(&[
        "--port",
        &port,
        "--maxclients",
        "3",
        "--requirepass",
        "right",
        "--save",
        "",
        "--loglevel",
        "verbose",
    ]);
    program.until("Ready to accept");
    assert!(ask(&port, "AUTH wrong\r\n").starts_with("-WRONGPASS"));
    let line = program.until("A client gave a wrong user or password");
    assert!(
        line.contains("addr=127.0.0.1:") && !line.contains("wrong\""),
        "{line}"
    );
    program.until("Client closed connection id=");
    let guests: Vec<_> = (0..3).map(|_| connect(&port)).collect();
    for _ in 0..3 {
        program.until("Accepted 127.0.0.1:");
    }
    assert!(ask(&port, "PING\r\n").starts_with("-ERR max number of clients"));
    program.until("Connection refused addr=127.0.0.1:");
    drop(guests);
    for _ in 0..3 {
        program.until("Client closed connection id=");
    }
    let said = converse(
        &port,
        "AUTH right\r\nCONFIG SET maxmemory 1\r\nSET k v\r\nCONFIG SET maxmemory 0 requirepass other\r\n\
         EVAL \"redis.log(redis.LOG_WARNING, 'a\\\\nb')\" 0\r\nCONFIG REWRITE\r\n",
    );
    assert!(
        said.contains("-OOM") && said.contains("-ERR The server is running without"),
        "{said}"
    );
    let line = program.until("Out of memory");
    assert!(line.contains("maxmemory=1 command=\"set\""), "{line}");
    let line = program.until("parameter=\"requirepass\"");
    assert!(line.contains("value=\"(redacted)\" client=\"id="), "{line}");
    program.until("a\\nb");
    assert_eq!(
        converse(&port, "AUTH other\r\nSHUTDOWN NOSAVE\r\n"),
        "+OK\r\n"
    );
    let (code, log) = program.end();
    assert_eq!(code, Some(0));
    for text in [
        "SHUTDOWN is asked for client=\"id=",
        "how=nosave",
        "is not saved before exiting",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
}
