//! Whole programs against the binary: client libraries and job queues as their users install them; the sessions of
//! README.md by redis-cli, redis-py and ioredis; the programs of examples/; locks under contention; a consumer that is killed.
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
mod examples;
mod follow;
mod locks;
mod programs;
mod readme;
mod redis_rs;
mod streams;
mod tools;

use common::Server;
use common::peer::tool;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The server under test; or, to try the tests themselves, another one: `REDKEEP_E2E_SERVER=redis-server` names the
/// program that is started in its place.
struct Target(Server);

impl Target {
    fn start() -> Target {
        let args = ["--unixsocket", "socket"];
        Target(match std::env::var_os("REDKEEP_E2E_SERVER") {
            Some(program) => Server::start(Path::new(&program), &args),
            None => Server::redkeep(&args),
        })
    }

    fn port(&self) -> u16 {
        self.0.port
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.0.port)
    }

    /// Where its Unix socket is, by the name of `socket`.
    fn folder(&self) -> &Path {
        self.0.dir.path()
    }

    fn log(&self) -> String {
        self.0.log()
    }
}

#[test]
fn redis_cli_prints_what_the_readme_shows() {
    let Some(cli) = tool("redis-cli") else { return };
    let target = Target::start();
    let sessions = readme::sessions();
    let mut child = Command::new(cli)
        .args([
            "--no-raw",
            "-h",
            "127.0.0.1",
            "-p",
            &target.port().to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Ids come from the clock: those that the page shows stand for those that the server gives.
    let shown = ids(&sessions
        .iter()
        .map(|(c, p)| format!("{c}\n{p}"))
        .collect::<String>());
    let mut given: Vec<String> = Vec::new();
    let mut input = child.stdin.take().unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    for (command, printed) in &sessions {
        let command = translate(command, &shown, &given);
        writeln!(input, "{command}\nECHO done").unwrap();
        let got = read_until_done(&mut output);
        for id in ids(&got) {
            if !given.contains(&id) {
                given.push(id);
            }
        }
        assert_eq!(got, translate(printed, &shown, &given), "after {command}");
    }
    drop(input);
    child.wait().unwrap();
}

fn read_until_done(output: &mut impl std::io::BufRead) -> String {
    let mut got = String::new();
    loop {
        let mut line = String::new();
        assert!(
            output.read_line(&mut line).unwrap() > 0,
            "redis-cli ended after\n{got}"
        );
        if line == "\"done\"\n" {
            return got;
        }
        got.push_str(&line);
    }
}

/// The different ids of entries in a text, in the order in which they come first.
fn ids(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_digit() && c != '-') {
        let is_id = word
            .split_once('-')
            .is_some_and(|(ms, seq)| ms.len() == 13 && !seq.is_empty());
        if is_id && !out.contains(&word.to_owned()) {
            out.push(word.to_owned());
        }
    }
    out
}

fn translate(text: &str, shown: &[String], given: &[String]) -> String {
    shown
        .iter()
        .zip(given)
        .fold(text.to_owned(), |t, (from, to)| t.replace(from, to))
}

#[test]
fn redis_py_prints_what_the_readme_says() {
    let Some(python) = tools::python() else {
        return;
    };
    let target = Target::start();
    for example in readme::blocks("python") {
        let code = example.replace("6379", &target.port().to_string());
        let output = Command::new(&python).args(["-c", &code]).output().unwrap();
        assert_eq!(tools::lines(output), readme::promised(&example));
    }
}

#[test]
fn ioredis_prints_what_the_readme_says() {
    let Some((node, home)) = tools::node() else {
        return;
    };
    let target = Target::start();
    for (i, example) in readme::blocks("javascript").into_iter().enumerate() {
        let file = home.join(format!("example{i}.mjs"));
        fs::write(&file, example.replace("6379", &target.port().to_string())).unwrap();
        let output = Command::new(&node).arg(&file).output().unwrap();
        assert_eq!(tools::lines(output), readme::promised(&example));
    }
}
