//! The list of commands in docs/COMPATIBILITY.md is what the table of commands says. `UPDATE=1` rewrites it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use redkeep::commands;
use redkeep::exec::Entry;
use redkeep::spec::Group;
use redkeep::spec::syntax::Syntax;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COMPATIBILITY.md");
const MARK: &str = "<!-- From here on generated: UPDATE=1 cargo test --test compatibility -->\n";

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

fn generate() -> String {
    let mut out = String::from("\n## Commands\n");
    for (group, title) in GROUPS {
        let mut here: Vec<&Entry> = entries().filter(|e| e.row.group == *group).collect();
        here.sort_by_key(|e| &e.name);
        if !here.is_empty() {
            writeln!(out, "\n### {title}\n").unwrap();
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
    commands::registry().iter().filter(|e| e.row.run.is_some())
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
        let has = |name: &str| commands::registry().by_full_name(name.as_bytes()).is_some();
        // Of a container that is missing as a whole its name is enough.
        if !has(name) && (name == container || has(container)) {
            let name = name.replace('|', " ").to_ascii_uppercase();
            missing.entry(group).or_default().push(name);
        }
    }
    missing
}
