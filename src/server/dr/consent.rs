//! What speaks against it, and whether it is to be done all the same.

use std::io::{self, IsTerminal};

use super::args::Consent;
use super::say;
use crate::server::json::Json;

/// What was found before anything is done.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Why it is not done, unless it is forced.
    pub refusals: Vec<String>,
    /// Why it cannot be done at all.
    pub obstacles: Vec<String>,
    pub warnings: Vec<String>,
}

impl Findings {
    /// Whether it may be done.
    pub(super) const fn allow(&self, force: bool) -> bool {
        self.obstacles.is_empty() && (force || self.refusals.is_empty())
    }

    pub(super) fn text(&self) -> String {
        let lines = |mark: &str, all: &[String]| -> String {
            all.iter().map(|one| format!("{mark} {one}\n")).collect()
        };
        lines("!", &self.warnings) + &lines("NO:", &self.refusals) + &lines("NO:", &self.obstacles)
    }

    pub(super) fn json(&self) -> [(&'static str, Json); 2] {
        let against = self.refusals.iter().chain(&self.obstacles);
        [
            ("warnings", Json::texts(&self.warnings)),
            ("refusals", Json::texts(against)),
        ]
    }
}

/// Whether it is to be done: it was said so, or somebody types it now.
pub(super) fn agrees(consent: Consent, question: &str, json: bool) -> Result<(), &'static str> {
    if consent.yes || consent.dry_run {
        return Ok(());
    }
    if json || !io::stdin().is_terminal() {
        return Err("There is nobody to ask: say --yes, or --dry-run to see what would be done.");
    }
    say(&format!("{question} Type yes: "));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match read.is_ok() && answer.trim() == "yes" {
        true => Ok(()),
        false => Err("Nothing was done."),
    }
}
