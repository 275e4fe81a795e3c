//! The corpus of conversations with sentinels, in `tests/transcripts/sentinel`: each section with a sentinel of its own.

use super::common::Server;
use super::{File, Way, replay_new, run_corpus_of};
use std::path::Path;

const CORPUS: &str = "tests/transcripts/sentinel";

/// A sentinel that is configured as the corpus says.
fn start(
    file: &File,
    start: impl Fn(&Path) -> Option<Server>,
) -> Option<(Server, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sentinel.conf");
    std::fs::write(&path, file.sentinel.join("\n")).unwrap();
    Some((start(&path)?, dir))
}

#[test]
fn a_sentinel_gives_the_recorded_replies() {
    run_corpus_of(CORPUS, false, |file| {
        let sections = file.sections.iter();
        let played = sections.map(|section| {
            let (server, _dir) = start(file, |path| Some(Server::redkeep_sentinel(path))).unwrap();
            replay_new(&server, section, Way::Plain, None)
        });
        played.collect()
    });
}

#[test]
fn that_is_what_a_real_sentinel_says() {
    let record = std::env::var_os("RECORD").is_some();
    run_corpus_of(CORPUS, true, |file| {
        let mut fixes = Vec::new();
        let mut report = String::new();
        for section in file.sections.iter().filter(|s| s.since.is_none()) {
            let Some((server, _dir)) = start(file, Server::redis_sentinel) else {
                return String::new();
            };
            let fixes = record.then_some(&mut fixes);
            report += &replay_new(&server, section, Way::Plain, fixes);
        }
        if !fixes.is_empty() {
            file.rewrite(&fixes);
        }
        report
    });
}
