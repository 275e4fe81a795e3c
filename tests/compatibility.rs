//! The list of commands in docs/COMPATIBILITY.md is what the table of commands says. `UPDATE=1` rewrites it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "compatibility/directives.rs"]
mod directives;

#[path = "compatibility/embedding.rs"]
mod embedding;

#[path = "compatibility/field.rs"]
mod field;

use field::{Known, field};
use redkeep::commands;
use redkeep::exec::Entry;
use redkeep::spec::flag;
use redkeep::spec::syntax::Syntax;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::Mutex;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COMPATIBILITY.md");
const MARK: &str = "<!-- From here on generated: UPDATE=1 cargo test --test compatibility -->\n";

/// Held while the page is read or written.
static PAGE: Mutex<()> = Mutex::new(());

const GROUPS: &[(&str, &str)] = &[
    ("connection", "Connection"),
    ("generic", "Keys"),
    ("string", "Strings"),
    ("list", "Lists"),
    ("hash", "Hashes"),
    ("set", "Sets"),
    ("sorted-set", "Sorted sets"),
    ("stream", "Streams"),
    ("bitmap", "Bitmaps"),
    ("hyperloglog", "HyperLogLogs"),
    ("geo", "Geographic indexes"),
    ("pubsub", "Publish and subscribe"),
    ("transactions", "Transactions"),
    ("scripting", "Scripts"),
    ("server", "Server"),
    ("cluster", "Cluster"),
    ("sentinel", "Sentinel"),
    ("other", "Other types"),
];

/// Each command of the field has a row or a reason, each row is known to the field, and their arguments agree.
#[test]
fn nothing_of_the_field_is_forgotten() {
    let containers = [commands::registry(), commands::sentinel_registry()];
    let containers = containers.iter().flat_map(|r| r.iter());
    let containers = containers.filter(|e| e.row.run.is_none());
    let faults = field::faults(entries().chain(containers));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let group = |k: &Known| GROUPS.iter().any(|(name, _)| *name == k.group);
    let lost: Vec<_> = field().into_values().filter(|k| !group(k)).collect();
    assert!(lost.is_empty(), "{:?} is no group", lost[0].group);
}

#[test]
fn the_list_of_commands_is_true() {
    let _page = PAGE.lock();
    let text = fs::read_to_string(PATH).unwrap();
    let (by_hand, generated) = text.split_once(MARK).unwrap();
    let wanted = generate();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(PATH, format!("{by_hand}{MARK}{wanted}")).unwrap();
    } else {
        assert!(
            generated == wanted,
            "the list of commands changed: run UPDATE=1 cargo test --test compatibility"
        );
    }
}

/// Every package that is pinned stands among the tested clients with its version.
#[test]
fn the_tested_clients_are_those_that_are_pinned() {
    let page = PAGE.lock();
    let text = fs::read_to_string(PATH).unwrap();
    drop(page);
    let (_, table) = text.split_once("\n## Tested clients\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    for (package, version) in pins() {
        let line = table
            .lines()
            .find(|l| l.starts_with(&format!("| {package} |")));
        assert!(
            line.is_some_and(|l| l.contains(&version)),
            "{package} {version} is not among the tested clients: {line:?}"
        );
    }
}

fn pins() -> Vec<(String, String)> {
    let at = |path| fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let known = |name: &str| {
        Some(
            match name {
                "redis[hiredis]" => "redis-py",
                "redis-5" | "node redis" => "node-redis",
                "ioredis-5" => "ioredis",
                "bullmq" | "bullmq-5" => "BullMQ",
                // What the others need.
                "packaging" | "pytest" => return None,
                other => other,
            }
            .to_owned(),
        )
    };
    let mut pins = Vec::new();
    for line in at("tests/e2e/python/requirements.in").lines() {
        let (name, version) = line.split_once("==").unwrap();
        pins.extend(known(name).map(|n| (n, version.to_owned())));
    }
    let node: serde_json::Value = serde_json::from_str(&at("tests/e2e/node/package.json")).unwrap();
    for (name, version) in node["dependencies"].as_object().unwrap() {
        let name = if name == "redis" { "node redis" } else { name };
        let version = version.as_str().unwrap();
        let version = version.rsplit_once('@').map_or(version, |(_, v)| v);
        pins.extend(known(name).map(|n| (n, version.to_owned())));
    }
    let lock = at("Cargo.lock");
    let (_, redis) = lock.split_once("name = \"redis\"\nversion = \"").unwrap();
    pins.push((
        "redis-rs".to_owned(),
        redis.split('"').next().unwrap().to_owned(),
    ));
    pins
}

fn generate() -> String {
    let mut out = String::from("\n## Commands\n\n");
    out.push_str(&legend());
    for (group, title) in GROUPS {
        let lines = lines(group);
        if lines.is_empty() {
            continue;
        }
        writeln!(out, "\n### {title}\n").unwrap();
        if *group == "sentinel" {
            out.push_str("Only an instance that is a sentinel has these.\n\n");
        }
        for line in lines.values() {
            writeln!(out, "- {line}").unwrap();
        }
    }
    out
}

/// How to read the list, and how much of it there is.
fn legend() -> String {
    let field = field();
    let partly = |e: &&Entry| !e.row.limits.is_empty();
    let (there, partly) = (entries().count(), entries().filter(partly).count());
    let missing = field.values().filter(|k| !k.why.is_empty()).count();
    format!(
        "Every command of Redis up to 8.10 and of Valkey up to 9.2, with the version that brought it; where none of the two \
         is named, both have it. Of these, {} work, {partly} work in part and say how, {missing} are **not there** and say \
         why, whole families of commands counted as one.\n",
        there - partly
    )
}

/// The commands of a group by name: those that are there, and those that are not.
fn lines(group: &str) -> BTreeMap<String, String> {
    let field = field();
    let mut lines = BTreeMap::new();
    for e in entries().filter(|e| e.row.group.name() == group) {
        let name = field::name(e);
        let origin = field.get(&*name).map_or_else(String::new, Known::origin);
        let mut line = format!("`{}` ({origin}): {}", usage(e), e.row.summary);
        if !e.row.limits.is_empty() {
            write!(line, " **Partly**: {}", e.row.limits).unwrap();
        }
        lines.insert(name, line);
    }
    for known in field.values().filter(|k| k.group == group) {
        if !known.why.is_empty() {
            let (name, origin, why) = (known.name, known.origin(), known.why);
            let line = format!("`{name}` ({origin}): **not there**: {why}");
            lines.insert(name.to_owned(), line);
        }
    }
    lines
}

/// Everything that can be called.
fn entries() -> impl Iterator<Item = &'static Entry> {
    let only = |e: &&Entry| e.row.flags.has(flag::ONLY_SENTINEL);
    let of_sentinels = commands::sentinel_registry().iter().filter(only);
    let all = commands::registry().iter().chain(of_sentinels);
    all.filter(|e| e.row.run.is_some())
}

fn usage(e: &Entry) -> String {
    let name = e.name.replace('|', " ").to_ascii_uppercase();
    let syntax = Syntax::parse(e.row.syntax).unwrap();
    format!("{name} {syntax}").trim_end().to_owned()
}
