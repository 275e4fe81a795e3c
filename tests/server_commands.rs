//! Commands about the server, through the in-process door and through sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

#[path = "introspection/commands.rs"]
mod commands;
mod common;
#[path = "server_commands/eviction.rs"]
mod eviction;
#[path = "introspection/exporter.rs"]
mod exporter;
#[path = "introspection/info.rs"]
mod info_fields;
#[path = "server_commands/limits.rs"]
mod limits;
#[path = "server_commands/parameters.rs"]
mod parameters;
#[path = "introspection/redis_cli.rs"]
mod redis_cli;
#[path = "server_commands/renamed.rs"]
mod renamed;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use redkeep::Server;
use redkeep::embed::Client;
use redkeep::resp::Value;

/// What is answered: the words of the reply, however deep, each on a line.
fn say(client: &mut Client, line: &str) -> String {
    text(&client.call(line.split(' ')).unwrap())
}

fn text(reply: &Value) -> String {
    match reply {
        Value::Simple(text) | Value::Error(text) | Value::Bulk(text) | Value::Verbatim(_, text) => {
            String::from_utf8_lossy(text).into_owned()
        }
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("\n"),
        Value::Int(n) => n.to_string(),
        other => other.to_string(),
    }
}

fn info(client: &mut Client, section: &str) -> Vec<(String, String)> {
    let text = say(client, &format!("INFO {section}"));
    let fields = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    fields
        .map(|line| line.split_once(':').expect("a field has a name"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn field(client: &mut Client, section: &str, name: &str) -> String {
    let fields = info(client, section);
    fields
        .into_iter()
        .find(|(known, _)| known == name)
        .unwrap()
        .1
}

#[test]
fn a_changed_port_is_listened_on_and_the_old_one_is_not() {
    let server = Server::builder().bind("127.0.0.1").start().unwrap();
    let mut client = server.client().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let refused = say(&mut client, &format!("CONFIG SET timeout 7 port {port}"));
    assert!(
        refused.contains("argument 'port') - Unable to listen on this port"),
        "{refused}"
    );
    assert!(TcpStream::connect(server.addr()).is_ok());
    assert_eq!(say(&mut client, "CONFIG GET timeout"), "timeout\n0");
    drop(free);
    assert_eq!(
        say(&mut client, &format!("CONFIG SET timeout 7 port {port}")),
        "OK"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).unwrap();
    assert_eq!(reply, "+PONG\r\n");
    assert_eq!(field(&mut client, "server", "tcp_port"), port.to_string());
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        TcpStream::connect(server.addr()).is_err()
    });
    assert!(gone);
}

#[test]
fn an_address_can_be_widened_on_the_same_port() {
    let server = Server::builder().bind("127.0.0.1").start().unwrap();
    let mut client = server.client().unwrap();
    let reply = client
        .call(["CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2"])
        .unwrap();
    assert_eq!(reply.to_string(), "OK");
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).unwrap();
    assert_eq!(reply, "+PONG\r\n");
    let reply = client
        .call(["CONFIG", "SET", "bind", "203.0.113.7"])
        .unwrap()
        .to_string();
    assert!(
        reply.contains("Failed to bind to specified addresses"),
        "{reply}"
    );
    assert!(TcpStream::connect(server.addr()).is_ok());
}

#[test]
#[cfg(target_os = "linux")]
fn the_system_is_told_whom_to_end_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_redkeep"))
        .args(["--port", "0", "--unixsocket", "sock", "--dir"])
        .arg(dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stdout.take().unwrap());
    let mut lines = log.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Ready to accept")));
    let path = format!("/proc/{}/oom_score_adj", child.id());
    let score = || {
        std::fs::read_to_string(&path)
            .unwrap()
            .trim()
            .parse::<i32>()
            .unwrap()
    };
    let stream = std::os::unix::net::UnixStream::connect(dir.path().join("sock")).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut say = |line: &str| {
        (&stream)
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
        replies.next().unwrap().unwrap()
    };
    let start = score();
    // Anybody may raise it.
    for (line, score_then) in [
        ("CONFIG SET oom-score-adj-values \"10 20 30\"", start),
        ("CONFIG SET oom-score-adj relative", start + 10),
        ("REPLICAOF 127.0.0.1 1", start + 20),
        ("REPLICAOF NO ONE", start + 10),
        ("CONFIG SET oom-score-adj-values \"15 20 30\"", start + 15),
        ("CONFIG SET oom-score-adj no", start),
    ] {
        let reply = say(line);
        assert!(reply.starts_with("+OK"), "{line}: {reply}");
        assert_eq!(score(), score_then, "{line}");
    }
    (&stream).write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
    drop(lines);
    child.wait().unwrap();
}

#[test]
fn the_configuration_is_rewritten_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redkeep.conf");
    std::fs::write(&path, "# mine\nport 0\nunixsocket ./sock\n").unwrap();
    let exe = env!("CARGO_BIN_EXE_redkeep");
    let mut child = std::process::Command::new(exe)
        .arg(&path)
        .arg("--dir")
        .arg(dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stdout.take().unwrap());
    let ready = log
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("Ready to accept"));
    assert!(ready.is_some());
    let mut stream = std::os::unix::net::UnixStream::connect(dir.path().join("sock")).unwrap();
    stream
        .write_all(b"CONFIG SET timeout 9\r\nCONFIG REWRITE\r\nSHUTDOWN NOSAVE\r\n")
        .unwrap();
    let replies: Vec<String> = BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .collect();
    assert_eq!(replies, ["+OK", "+OK"]);
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with(
            "# mine\nport 0\nunixsocket \"./sock\"\n\n# Generated by CONFIG REWRITE\n"
        ),
        "{text}"
    );
    assert!(text.contains("\ntimeout 9\n"), "{text}");
}

#[test]
fn every_field_of_info_has_a_name_and_appears_once() {
    let server = Server::builder().start().unwrap();
    let mut client = server.client().unwrap();
    say(&mut client, "SET a 1");
    say(&mut client, "NOSUCH");
    let mut names: Vec<String> = info(&mut client, "everything")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
    for needed in [
        "redis_version",
        "used_memory",
        "role",
        "cluster_enabled",
        "db0",
        "errorstat_ERR",
        "cmdstat_set",
    ] {
        assert!(names.iter().any(|name| name == needed), "{needed}");
    }
}

#[test]
fn slow_commands_are_kept_without_passwords() {
    let server = Server::builder()
        .config("slowlog-log-slower-than", "0")
        .start()
        .unwrap();
    let mut client = server.client().unwrap();
    say(&mut client, "CONFIG SET masterauth secret timeout 3");
    let log = say(&mut client, "SLOWLOG GET 1");
    assert!(
        log.contains("(redacted)") && log.contains("timeout") && !log.contains("secret"),
        "{log}"
    );
    say(&mut client, "CONFIG SET slowlog-max-len 1");
    assert_eq!(say(&mut client, "SLOWLOG LEN"), "1");
    say(&mut client, "CONFIG SET slowlog-log-slower-than -1");
    say(&mut client, "SLOWLOG RESET");
    assert_eq!(say(&mut client, "SLOWLOG LEN"), "0");
}

#[test]
fn debug_needs_to_be_enabled() {
    let server = Server::builder().start().unwrap();
    let mut client = server.client().unwrap();
    assert!(say(&mut client, "DEBUG HELP").contains("DEBUG command not allowed"));
    let server = Server::builder()
        .config("enable-debug-command", "local")
        .start()
        .unwrap();
    let mut client = server.client().unwrap();
    assert!(say(&mut client, "DEBUG HELP").starts_with("DEBUG <subcommand>"));
    assert_eq!(say(&mut client, "DEBUG POPULATE 3 k 100"), "OK");
    assert_eq!(say(&mut client, "STRLEN k:2"), "100");
    assert!(say(&mut client, "DEBUG ERROR MY").contains("MY"));
    assert!(say(&mut client, "DEBUG OBJECT k:0").contains("encoding:raw"));
}

#[test]
fn writes_are_refused_beyond_maxmemory() {
    let server = Server::builder().start().unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "SET a 1"), "OK");
    assert_eq!(say(&mut client, "CONFIG SET maxmemory 1"), "OK");
    assert!(
        say(&mut client, "SET a 2")
            .contains("OOM command not allowed when used memory > 'maxmemory'.")
    );
    assert_eq!(say(&mut client, "GET a"), "1");
    assert_eq!(say(&mut client, "CONFIG SET maxmemory 0"), "OK");
    assert_eq!(say(&mut client, "SET a 2"), "OK");
}

#[test]
fn spikes_are_recorded_when_asked_for() {
    let server = Server::builder()
        .config("enable-debug-command", "yes")
        .config("latency-monitor-threshold", "5")
        .start()
        .unwrap();
    let mut client = server.client().unwrap();
    say(&mut client, "DEBUG SLEEP 0.02");
    let latest = say(&mut client, "LATENCY LATEST");
    assert!(latest.contains("command"), "{latest}");
    assert!(say(&mut client, "LATENCY GRAPH command").starts_with("command - high "));
    assert!(
        say(&mut client, "LATENCY GRAPH nosuch")
            .contains("No samples available for event 'nosuch'")
    );
    assert_eq!(say(&mut client, "LATENCY RESET"), "1");
    assert!(say(&mut client, "LATENCY HISTOGRAM debug").contains("histogram_usec"));
}
