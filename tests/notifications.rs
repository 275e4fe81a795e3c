//! Every command that writes, and every one that reads keys, in each form that matters: which keyspace events it makes, in
//! which order. What Redkeep does is held in docs/KEYSPACE_EVENTS.md (`UPDATE=1 cargo test --test notifications` writes
//! it); a real redis-server must do the same.
//!
//! The forms are in `notifications/forms.txt`. The corpus of conversations and the random commands are compared in the same
//! manner, see `transcripts/events.rs` and `differential/events.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;
#[path = "notifications/form.rs"]
mod form;

use common::Server;
use form::{Form, Stage};
use redkeep::spec::{Lookup, flag};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const DOCUMENT: &str = "docs/KEYSPACE_EVENTS.md";
const ARGS: [&str; 2] = ["--enable-debug-command", "yes"];

const HEAD: &str = "\
# Keyspace events

Which notifications a command makes, in order, with `notify-keyspace-events AKEnm`. Generated from a run
(`UPDATE=1 cargo test --test notifications`); redis-server 7.0.15 says the same wherever it knows the command and nothing
else is noted. `k@1` is the key `k` of database 1. Nothing expires by itself here, unless that is switched on.
";

#[test]
fn events_are_as_the_document_says() {
    let server = Server::redkeep(&ARGS);
    let mut text = HEAD.to_owned();
    for (title, forms) in form::all() {
        _ = writeln!(
            text,
            "\n## {title}\n\n| before | call | events |\n|---|---|---|"
        );
        for form in forms {
            _ = writeln!(text, "{}", row(&server, &form));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    let other: Vec<_> = lines_apart(&held, &text);
    assert!(
        other.is_empty(),
        "{DOCUMENT} differs:\n{}",
        other.join("\n")
    );
}

fn row(server: &Server, form: &Form) -> String {
    let (mut events, fault) = Stage::new(server).play(form);
    if let Some(fault) = fault {
        let comma = if events.is_empty() { "" } else { ", " };
        events += &format!("{comma}*{fault}*");
    }
    if let Some(version) = &form.since {
        events += &format!(" (since {version})");
    }
    if let Some((old, why)) = &form.in_7_0 {
        let old = if old.is_empty() { "nothing" } else { old };
        events += &format!(" (7.0: {old}; {why})");
    }
    let code = |steps: &[String]| match steps {
        [] => String::new(),
        steps => format!("`{}`", steps.join(" ; ")),
    };
    format!(
        "| {} | {} | {} |",
        code(&form.before),
        code(&form.calls),
        events.trim()
    )
}

/// Lines that only one of two texts has.
fn lines_apart(held: &str, got: &str) -> Vec<String> {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (held.lines().collect(), got.lines().collect());
    let mut apart: Vec<_> = a.difference(&b).map(|l| format!("- {l}")).collect();
    apart.extend(b.difference(&a).map(|l| format!("+ {l}")));
    if apart.is_empty() && held != got {
        apart.push("the lines are in another order".to_owned());
    }
    apart
}

#[test]
fn a_real_redis_makes_the_same_events() {
    let Some(redis) = Server::redis(&ARGS) else {
        return;
    };
    let redkeep = Server::redkeep(&ARGS);
    let mut report = String::new();
    for form in form::all().into_iter().flat_map(|(_, forms)| forms) {
        if form.since.is_some() {
            continue;
        }
        let (theirs, _) = Stage::new(&redis).play(&form);
        let (ours, _) = Stage::new(&redkeep).play(&form);
        // What is said to differ must: else the remark is out of date.
        let wanted = match &form.in_7_0 {
            Some((old, _)) if *old != ours => old,
            Some(_) => "something else than Redkeep",
            None => &ours,
        };
        if theirs != wanted {
            _ = writeln!(
                report,
                "{}\n  redis    {theirs}\n  redkeep  {ours}",
                form.line
            );
        }
    }
    assert!(report.is_empty(), "events differ\n{report}");
}

/// A command that writes, or that reads a key, is shown at least once.
#[test]
fn every_command_about_keys_is_shown() {
    let registry = redkeep::commands::registry();
    let mut shown = BTreeSet::new();
    for form in form::all().into_iter().flat_map(|(_, forms)| forms) {
        for words in form.calls.iter().map(|call| form::words(call)) {
            let sub = words.get(1).map(Vec::as_slice);
            if let Lookup::Found(row) = registry.find(&words[0], sub) {
                shown.insert(row.name.to_string());
            }
        }
    }
    let wanted = registry.iter().filter(|row| {
        let reads = row.flags.has(flag::READONLY) && !row.row.keys.is_empty();
        row.row.run.is_some() && (reads || row.flags.has(flag::WRITE))
    });
    let missing: Vec<_> = wanted
        .map(|row| row.name.to_string())
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(missing.is_empty(), "not in forms.txt: {missing:?}");
}
