//! `redkeep ha`: what it prints can be pasted, and is what happens.
#![cfg(unix)]
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;
#[path = "e2e/tools.rs"]
mod tools;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Client, Reply};
use redis::sentinel::{SentinelClient, SentinelServerType};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

/// The line behind which it tells what happens.
const END: &str = "Ctrl-C ends all of it.";

/// A program that runs, until this is dropped.
struct Ha {
    child: Child,
    lines: Receiver<String>,
    table: Vec<String>,
}

impl Drop for Ha {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redkeep"));
    command.arg("ha").args(args).stdin(Stdio::null());
    command
}

impl Ha {
    fn start(args: &[&str]) -> Ha {
        let mut child = command(args).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The test may be over.
                let _ = sender.send(line);
            }
        });
        let mut ha = Ha {
            child,
            lines,
            table: Vec::new(),
        };
        loop {
            let line = ha.line();
            let last = line.starts_with(END);
            ha.table.push(line);
            if last {
                return ha;
            }
        }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says nothing")
    }

    fn wait_for(&self, what: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Who listens where, as the table has it: name, port and role.
    fn nodes(&self) -> Vec<(String, u16, String)> {
        let rows = self.table.iter().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, addr, role) = (words.next()?, words.next()?, words.next()?);
            let port = addr.strip_prefix("127.0.0.1:")?.parse().ok()?;
            Some((name.to_owned(), port, role.to_owned()))
        });
        rows.collect()
    }

    fn ports(&self, role: &str) -> Vec<u16> {
        let nodes = self.nodes().into_iter();
        nodes
            .filter_map(|(_, port, is)| (is == role).then_some(port))
            .collect()
    }

    /// What is to be pasted, below a line that begins so.
    fn example(&self, heading: &str) -> String {
        let below = self
            .table
            .iter()
            .skip_while(|line| !line.starts_with(heading))
            .skip_while(|line| !line.starts_with("  "));
        let lines = below.map_while(|line| line.strip_prefix("  "));
        let lines: Vec<_> = lines.collect();
        assert!(!lines.is_empty(), "nothing below {heading}");
        lines.join("\n")
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn ask(port: u16, line: &str) -> Reply {
    Client::connect(port).unwrap().run(line)
}

/// The port of the leader, as a sentinel says.
fn leader(sentinel: u16) -> u16 {
    let addr = ask(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
    addr.items()[1].text().parse().unwrap()
}

fn succeeded(mut command: Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    let (out, complaint) = (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    );
    assert!(status.success(), "{command:?}: {out}{complaint}");
    out
}

#[test]
fn what_is_printed_can_be_pasted() {
    let ha = Ha::start(&["--base-port", "0", "--replicas", "1"]);
    let leads = ha.ports("leader")[0];
    let sentinels = ha.ports("sentinel");
    let value = || ask(leads, "GETDEL key").text();
    if let Some(cli) = common::peer::tool("redis-cli") {
        let shell = |line: String| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).env("PATH", cli.parent().unwrap());
            succeeded(shell)
        };
        let said = shell(format!("exec {} ping", ha.example("The leader")));
        assert_eq!(said.trim(), "PONG");
        let said = shell(format!("exec {}", ha.example("Ask a sentinel")));
        assert_eq!(said, format!("127.0.0.1\n{leads}\n"));
        let (_, sleep) = ha
            .example("Have another")
            .split_once('\n')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        let said = shell(format!("exec {}", sleep.replace("sleep 5", "sleep 0")));
        assert_eq!(said.trim(), "OK");
    }
    if let Some(python) = tools::python() {
        let mut program = Command::new(python);
        program.args(["-c", &ha.example("redis-py")]);
        succeeded(program);
        assert_eq!(value(), "value");
    }
    if let Some((node, home)) = tools::node() {
        let mut program = Command::new(node);
        let text = format!(
            "{}.then(() => redis.quit());",
            ha.example("ioredis").trim_end_matches(';')
        );
        program.args(["-e", &text]).current_dir(home);
        succeeded(program);
        assert_eq!(value(), "value");
    }
    // The same as what is printed, compiled here.
    let urls: Vec<_> = sentinels
        .iter()
        .map(|port| format!("redis://127.0.0.1:{port}"))
        .collect();
    let printed = ha.example("redis-rs");
    assert!(printed.contains(&format!("{urls:?}")), "{printed}");
    let mut sentinel =
        SentinelClient::build(urls, "mymaster".into(), None, SentinelServerType::Master).unwrap();
    redis::cmd("SET")
        .arg("key")
        .arg("value")
        .exec(&mut sentinel.get_connection().unwrap())
        .unwrap();
    assert_eq!(value(), "value");
    // In good order, or its files would be left.
    assert_eq!(ha.end(Signal::INT).code(), Some(0));
}

#[test]
fn a_failover_is_told_and_ctrl_c_ends_everything() {
    let ha = Ha::start(&["--base-port", "0"]);
    let nodes = ha.nodes();
    assert_eq!(ha.ports("leader").len(), 1);
    assert_eq!(ha.ports("replica").len(), 2);
    let sentinels = ha.ports("sentinel");
    assert_eq!(sentinels.len(), 3);
    assert_eq!(leader(sentinels[0]), ha.ports("leader")[0]);
    assert_eq!(ask(sentinels[0], "SENTINEL FAILOVER mymaster").text(), "OK");
    let told = ha.wait_for(" leads");
    let next = nodes
        .iter()
        .find(|(name, ..)| told.ends_with(&format!("Z  {name} leads")));
    let (_, port, was) = next.expect(&told);
    assert_eq!(was, "replica");
    let end = Instant::now() + PATIENCE;
    while leader(sentinels[0]) != *port {
        assert!(Instant::now() < end, "the sentinels do not agree");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ask(*port, "SET key value").text(), "OK");
    let dir = ask(*port, "CONFIG GET dir").items()[1].text();
    let home = Path::new(&dir).parent().unwrap().to_owned();
    assert!(home.is_dir());
    assert_eq!(ha.end(Signal::INT).code(), Some(0));
    for (name, port, _) in nodes {
        assert!(Client::connect(port).is_err(), "{name} goes on");
    }
    assert!(!home.exists(), "files are left");
}

#[test]
fn with_a_directory_data_and_leader_last() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("new");
    let args = [
        "--dir",
        home.to_str().unwrap(),
        "--base-port",
        "0",
        "--replicas",
        "1",
    ];
    let ha = Ha::start(&args);
    let (old, next) = (ha.ports("leader")[0], ha.ports("replica")[0]);
    ask(old, "SET key value");
    assert_eq!(
        ask(ha.ports("sentinel")[1], "SENTINEL FAILOVER mymaster").text(),
        "OK"
    );
    ha.wait_for(" leads");
    // Everybody has to have heard of it, or the old one would be asked.
    let end = Instant::now() + PATIENCE;
    while ha
        .ports("sentinel")
        .iter()
        .any(|sentinel| leader(*sentinel) != next)
    {
        assert!(Instant::now() < end, "the sentinels do not agree");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ha.end(Signal::TERM).code(), Some(0));
    // As many as there were, where they were.
    let ha = Ha::start(&["--dir", home.to_str().unwrap(), "--sync"]);
    assert_eq!(ha.ports("leader"), [next]);
    assert_eq!(ha.ports("replica"), [old]);
    assert_eq!(ask(next, "GET key").text(), "value");
    assert_eq!(ask(next, "CONFIG GET sync-replicas").items()[1].text(), "1");
    assert_eq!(
        ask(next, "CONFIG GET min-replicas-to-write").items()[1].text(),
        "1"
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut child = command(&["--sentinels", "0", "--base-port", &port])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut complaint = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(
        complaint.starts_with(&format!("redkeep ha: node-1 cannot have port {port}: ")),
        "{complaint}"
    );
    assert!(complaint.contains("--base-port"), "{complaint}");
}
