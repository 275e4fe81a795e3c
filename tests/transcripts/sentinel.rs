//! The corpus of conversations with sentinels, in `tests/transcripts/sentinel`: each section with a sentinel of its own.

use super::common::Server;
use super::common::peer::tool;
use super::{File, Way, replay_new, run_corpus_of};
use redkeep::resp::split_line;
use std::path::Path;

const CORPUS: &str = "tests/transcripts/sentinel";

/// A sentinel that is configured as the corpus says.
fn start(program: &Path, file: &File) -> Server {
    Server::sentinel(program, &(file.sentinel.join("\n") + "\n"))
}

#[test]
fn a_sentinel_gives_the_recorded_replies() {
    let program = Path::new(env!("CARGO_BIN_EXE_redkeep"));
    run_corpus_of(CORPUS, false, |file| {
        let sections = file.sections.iter();
        let played = sections.map(|section| {
            let server = start(program, file);
            replay_new(&server, section, Way::Plain, None)
        });
        played.collect()
    });
}

#[test]
fn that_is_what_a_real_sentinel_says() {
    let record = std::env::var_os("RECORD").is_some();
    let Some(program) = tool("redis-server") else {
        return;
    };
    run_corpus_of(CORPUS, true, |file| {
        let mut fixes = Vec::new();
        let mut report = String::new();
        for section in file.sections.iter().filter(|s| s.since.is_none()) {
            let server = start(&program, file);
            let fixes = record.then_some(&mut fixes);
            report += &replay_new(&server, section, Way::Plain, fixes);
        }
        if !fixes.is_empty() {
            file.rewrite(&fixes);
        }
        report
    });
}

/// What makes a file of everything that can stand in one.
const CHANGES: &[&str] = &[
    "SENTINEL MONITOR n ::1 4 2",
    "SENTINEL SET n down-after-milliseconds 5 failover-timeout 6 parallel-syncs 7",
    "SENTINEL SET n auth-user me auth-pass secret rename-command CONFIG hidden",
    "SENTINEL SET n notification-script /bin/sh client-reconfig-script /bin/ls",
    "SENTINEL SET n master-reboot-down-after-period 8",
    "SENTINEL CONFIG SET announce-ip 10.0.0.1",
    "SENTINEL CONFIG SET announce-port 9",
    "SENTINEL CONFIG SET sentinel-user u",
    "SENTINEL CONFIG SET sentinel-pass p",
    "SENTINEL CONFIG SET resolve-hostnames yes",
    "SENTINEL CONFIG SET announce-hostnames yes",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR ::1 4 5 candidate",
];

#[test]
fn each_reads_what_the_other_has_written() {
    let ours = Path::new(env!("CARGO_BIN_EXE_redkeep"));
    let Some(real) = tool("redis-server") else {
        return;
    };
    let first = format!(
        "sentinel deny-scripts-reconfig no\nsentinel monitor m 127.0.0.1 1 2\n\
         sentinel known-replica m 127.0.0.1 2\nsentinel known-sentinel m 127.0.0.1 3 {}\n",
        "2".repeat(40)
    );
    let written = write(ours, &first, CHANGES);
    assert_eq!(directives(&written).len(), 26, "{written}");
    let again = write(&real, &written, &[]);
    assert_eq!(directives(&again), directives(&written));
    let back = write(ours, &again, &[]);
    assert_eq!(directives(&back), directives(&written));
    // And the other way round.
    let written = write(&real, &first, CHANGES);
    let read = write(ours, &written, &[]);
    assert_eq!(directives(&read), directives(&written));
}

/// What a sentinel with this configuration writes after these commands.
fn write(program: &Path, lines: &str, commands: &[&str]) -> String {
    let server = Server::sentinel(program, lines);
    let mut client = server.client();
    for command in commands.iter().chain(&["SENTINEL FLUSHCONFIG"]) {
        let reply = client
            .call(&command.split(' ').collect::<Vec<_>>())
            .unwrap();
        assert!(!reply.is_error(), "{command}: {reply:?}");
    }
    let text = std::fs::read_to_string(server.dir.path().join("sentinel.conf")).unwrap();
    // These are given anew.
    let given = ["port ", "bind ", "dir "];
    let kept = |line: &&str| !given.iter().any(|name| line.starts_with(name));
    text.lines()
        .filter(kept)
        .map(|line| line.to_owned() + "\n")
        .collect()
}

/// The words of a sentinel's lines, in any order.
fn directives(text: &str) -> Vec<Vec<Vec<u8>>> {
    let lines = text.lines().filter(|line| line.starts_with("sentinel "));
    let mut all: Vec<_> = lines
        .map(|line| split_line(line.as_bytes()).unwrap())
        .collect();
    all.sort();
    all
}
