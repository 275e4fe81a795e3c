//! The corpus of conversations with sentinels, in `tests/transcripts/sentinel`: each section with a sentinel of its own.

use super::common::Server;
use super::common::peer::tool;
use super::{File, Way, replay_new, run_corpus_of};
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
