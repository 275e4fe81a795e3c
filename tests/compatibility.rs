//! The list of commands in docs/COMPATIBILITY.md is what the table of commands says. `UPDATE=1` rewrites it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "compatibility/directives.rs"]
mod directives;

use redkeep::commands;
use redkeep::exec::Entry;
use redkeep::spec::syntax::Syntax;
use redkeep::spec::{Group, flag};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::Mutex;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COMPATIBILITY.md");
const MARK: &str = "<!-- From here on generated: UPDATE=1 cargo test --test compatibility -->\n";

/// Held while the page is read or written.
static PAGE: Mutex<()> = Mutex::new(());

const GROUPS: &[(Group, &str)] = &[
    (Group::Connection, "Connection"),
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::List, "Lists"),
    (Group::Hash, "Hashes"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Stream, "Streams"),
    (Group::Bitmap, "Bitmaps"),
    (Group::HyperLogLog, "HyperLogLogs"),
    (Group::Geo, "Geographic indexes"),
    (Group::PubSub, "Publish and subscribe"),
    (Group::Transactions, "Transactions"),
    (Group::Scripting, "Scripts"),
    (Group::Server, "Server"),
    (Group::Cluster, "Cluster"),
    (Group::Sentinel, "Sentinel"),
];

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
                "packaging" => return None,
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
    let mut out = String::from("\n## Commands\n");
    for (group, title) in GROUPS {
        let mut here: Vec<&Entry> = entries().filter(|e| e.row.group == *group).collect();
        here.sort_by_key(|e| &e.name);
        if !here.is_empty() {
            writeln!(out, "\n### {title}\n").unwrap();
        }
        if *group == Group::Sentinel {
            out.push_str("Only an instance that is a sentinel has these.\n\n");
        }
        for e in here {
            writeln!(out, "- `{}`: {}", usage(e), e.row.summary).unwrap();
        }
    }
    out.push_str("\n## Commands of Redis up to 8.0 that are not there\n\n");
    for (group, names) in missing() {
        writeln!(out, "- {group}: {}", names.join(", ")).unwrap();
    }
    out
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

fn missing() -> BTreeMap<&'static str, Vec<String>> {
    let mut missing: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let lines = include_str!("data/commands.tsv").lines();
    for line in lines.filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (name, group) = (fields[0], fields[3]);
        let container = name.split('|').next().unwrap();
        let registries = [commands::registry(), commands::sentinel_registry()];
        let has = |name: &str| {
            let mut all = registries.iter();
            all.any(|registry| registry.by_full_name(name.as_bytes()).is_some())
        };
        // Of a container that is missing as a whole its name is enough.
        if !has(name) && (name == container || has(container)) {
            let name = name.replace('|', " ").to_ascii_uppercase();
            missing.entry(group).or_default().push(name);
        }
    }
    missing
}
