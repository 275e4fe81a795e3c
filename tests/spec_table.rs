//! The rows of all commands against each other, against the published facts in `tests/data/commands.tsv`, and
//! against what the engine does with calls generated from their syntax.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use redkeep::commands;
use redkeep::engine::{Engine, Options, Outcome};
use redkeep::exec::session::Peer;
use redkeep::exec::{Args, Entry};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::sentinel::{NoNames, Sentinel};
use redkeep::spec::keys::{Begin, Find, KeySpec};
use redkeep::spec::syntax::{Arg, Choices, Kind, Syntax};
use redkeep::spec::{Categories, KeyFlags, flag};
use redkeep::util::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What differs from the published facts on purpose: command, column, why.
const DEVIATIONS: &[(&str, &str, &str)] = &[(
    "exec",
    "flags",
    "its row says that it may produce effects: those of what was queued",
)];

/// Rows whose arity says less or more than their arguments, as published.
const ARITY_BY_HAND: &[&str] = &[
    "quit",
    "replconf",
    "psync",
    "debug",
    "migrate",
    "sentinel|simulate-failure",
    "geosearch",
    "geosearchstore",
];

/// All commands, those that only sentinels have included.
fn entries() -> impl Iterator<Item = &'static Entry> {
    commands::registry().iter().chain(of_sentinels())
}

fn of_sentinels() -> impl Iterator<Item = &'static Entry> {
    let all = commands::sentinel_registry().iter();
    all.filter(|e| e.row.flags.has(flag::ONLY_SENTINEL))
}

fn words(e: &Entry) -> Vec<&str> {
    e.name.split('|').collect()
}

fn none(faults: Vec<String>) {
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    none(
        entries()
            .filter(|e| !seen.insert(&e.name))
            .map(|e| e.name.to_string())
            .collect(),
    );
}

#[test]
fn every_syntax_can_be_read_and_gives_the_arity() {
    let mut faults = Vec::new();
    for e in entries().filter(|e| !e.is_container()) {
        match Syntax::parse(e.row.syntax) {
            Err(err) => faults.push(format!("{}: {err}", e.name)),
            Ok(s) => {
                let arity = s.arity(words(e).len() as u16);
                if arity != e.row.arity && !ARITY_BY_HAND.contains(&&*e.name) {
                    faults.push(format!(
                        "{}: arity {}, but its syntax says {arity}",
                        e.name, e.row.arity
                    ));
                }
            }
        }
    }
    none(faults);
}

#[test]
fn texts_are_written() {
    let mut faults = Vec::new();
    for e in entries() {
        let history = e.row.history.iter().flat_map(|(v, t)| [*v, *t]);
        for text in [e.row.summary, e.row.complexity, e.row.since]
            .into_iter()
            .chain(history)
        {
            if text.contains(['…', '\n', '`']) && text.contains(['…', '\n']) || text.trim() != text
            {
                faults.push(format!("{}: {text:?}", e.name));
            }
        }
        if !e.row.summary.ends_with('.') {
            faults.push(format!(
                "{}: the summary is no sentence: {:?}",
                e.name, e.row.summary
            ));
        }
    }
    none(faults);
}

#[test]
fn rows_agree_with_the_published_facts() {
    let mut faults = Vec::new();
    for fact in facts() {
        let Some(e) = entries().find(|e| *e.name == fact.name) else {
            continue;
        };
        for (column, wanted) in &fact.columns {
            let ours = column_of(e, column);
            let deviates = DEVIATIONS
                .iter()
                .any(|d| d.0 == fact.name && d.1 == *column);
            if ours != *wanted && !wanted.is_empty() && !deviates {
                faults.push(format!(
                    "{}: {column} is {ours:?}, published is {wanted:?}",
                    fact.name
                ));
            }
            if ours == *wanted && deviates {
                faults.push(format!("{}: {column} does not deviate any more", fact.name));
            }
        }
    }
    none(faults);
}

struct Fact {
    name: String,
    columns: Vec<(&'static str, String)>,
}

const COLUMNS: [&str; 7] = ["arity", "since", "group", "flags", "acl", "keys", "legacy"];

fn facts() -> impl Iterator<Item = Fact> {
    let lines = include_str!("data/commands.tsv")
        .lines()
        .filter(|l| !l.starts_with('#'));
    lines.map(|line| {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap().to_owned();
        let columns = COLUMNS
            .iter()
            .zip(fields)
            .map(|(c, f)| (*c, f.to_owned()))
            .collect();
        Fact { name, columns }
    })
}

fn column_of(e: &Entry, column: &str) -> String {
    match column {
        "arity" => e.row.arity.to_string(),
        "since" => e.row.since.to_owned(),
        "group" => e.row.group.name().to_owned(),
        // Flags of our own, which no list of Redis has.
        "flags" => sorted(
            e.row
                .flags
                .all_names()
                .filter(|f| !f.ends_with("txn") && !["subscriber", "health"].contains(f)),
        ),
        "acl" => {
            let of_group = if e.row.acl_of_group && (e.row.run.is_some() || !e.is_container()) {
                Categories::of_group(e.row.group)
            } else {
                Categories::NONE
            };
            sorted(e.row.acl.with(of_group).names())
        }
        "keys" => e
            .row
            .keys
            .iter()
            .map(show_spec)
            .collect::<Vec<_>>()
            .join("; "),
        _ => {
            let (first, last, step) = e.legacy_range;
            let movable = e.flags.names().any(|f| f == "movablekeys");
            format!(
                "{first} {last} {step}{}",
                if movable { " movable" } else { "" }
            )
        }
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: BTreeSet<_> = names.collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}

fn show_spec(spec: &KeySpec) -> String {
    let begin = match spec.begin {
        Begin::Index(i) => format!("at {i}"),
        Begin::Keyword(word, start) => format!("after {word} {start}"),
        Begin::Unknown => "unknown".to_owned(),
    };
    let find = match spec.find {
        Find::Range { last, step, limit } => format!("range {last} {step} {limit}"),
        Find::KeyNum { index, first, step } => format!("keynum {index} {first} {step}"),
        Find::Unknown => "unknown".to_owned(),
    };
    format!(
        "{begin} {find} {}",
        spec.flags.names().collect::<Vec<_>>().join(",")
    )
}

#[test]
fn syntaxes_name_the_key_specs_that_there_are() {
    fn check(e: &Entry, args: &[Arg<'_>], faults: &mut Vec<String>) {
        for arg in args {
            if arg
                .key_spec
                .is_some_and(|i| usize::from(i) >= e.row.keys.len())
            {
                faults.push(format!("{}: no key spec for {}", e.name, arg.name));
            }
            check(e, arg.kind.inner(), faults);
        }
    }
    let mut faults = Vec::new();
    for e in entries() {
        check(e, &Syntax::parse(e.row.syntax).unwrap().args, &mut faults);
    }
    none(faults);
}

/// Valid values at random. Keys are told from everything else by their prefix.
struct Values {
    rng: Rng,
    keys: usize,
}

const KEY: &[u8] = b"key:";

impl Choices for Values {
    fn below(&mut self, n: usize) -> usize {
        self.rng.below(n as u64) as usize
    }

    fn value(&mut self, arg: &Arg<'_>) -> Vec<u8> {
        match (&arg.kind, &*arg.name) {
            (Kind::Key, _) => {
                self.keys += 1;
                [KEY, self.keys.to_string().as_bytes()].concat()
            }
            (Kind::Integer, "protover") => b"3".to_vec(),
            (Kind::Integer, _) => (1 + self.below(9)).to_string().into_bytes(),
            (Kind::Double, _) => b"1.5".to_vec(),
            (Kind::UnixTime, _) => b"99999999999".to_vec(),
            (Kind::Pattern, _) => b"*".to_vec(),
            (
                _,
                "id" | "ID" | "start" | "end" | "last-id" | "lastid" | "max-deleted-id"
                | "threshold",
            ) => format!("{}-1", 1 + self.below(9)).into_bytes(),
            (_, "min-idle-time" | "cursor") => b"1".to_vec(),
            (_, "script") => b"return 1".to_vec(),
            (_, "digest") => b"0123456789abcdef".to_vec(),
            _ => b"value".to_vec(),
        }
    }

    fn repeat(&mut self, arg: &Arg<'_>) -> usize {
        // A polygon has at least three vertices.
        let least = if arg.name == "vertices" { 3 } else { 1 };
        least + self.below(3)
    }
}

/// A generated call of a command.
fn call(e: &Entry, values: &mut Values) -> Vec<Vec<u8>> {
    let mut call: Vec<Vec<u8>> = words(e).iter().map(|w| w.as_bytes().to_vec()).collect();
    call.extend(Syntax::parse(e.row.syntax).unwrap().generate(values));
    call
}

#[test]
fn the_keys_of_generated_calls_are_found() {
    let mut faults = BTreeMap::new();
    for e in entries().filter(|e| !e.is_container()) {
        for seed in 0..60 {
            let mut values = Values {
                rng: Rng::seed_from_u64(seed),
                keys: 0,
            };
            let args = call(e, &mut values);
            // MIGRATE takes its keys in one place or the other; its published arguments allow both, or none.
            let named = args.iter().any(|word| word == b"KEYS");
            if &*e.name == "migrate" && args[3].is_empty() != named {
                continue;
            }
            let is_key = |(i, a): (usize, &Vec<u8>)| a.starts_with(KEY).then_some(i as u32);
            let wanted: Vec<u32> = args.iter().enumerate().filter_map(is_key).collect();
            let routed = e.row.keys.iter().any(|s| s.flags.has(KeyFlags::NOT_KEY));
            let found = e.keys(&args).map(|keys| {
                let mut at: Vec<u32> = keys.iter().map(|k| k.pos).collect();
                at.sort_unstable();
                at
            });
            if found != Ok(wanted.clone()) && !routed {
                let line = show(&args);
                faults.insert(
                    &e.name,
                    format!("{line}: found {found:?}, wanted {wanted:?}"),
                );
            }
        }
    }
    none(faults.into_values().collect());
}

fn show(args: &[Vec<u8>]) -> String {
    args.iter()
        .map(|a| String::from_utf8_lossy(a))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Commands whose effect is on the process or on the test itself.
const NOT_CALLED: &[&str] = &[
    "shutdown",
    "debug",
    "quit",
    "client|kill",
    "client|pause",
    "client|reply",
    "config|rewrite",
    "monitor",
];

/// Calls that Redis itself refuses though its published arguments allow them: RESTORE takes IDLETIME or FREQ, XADD and
/// XTRIM a LIMIT only with `~`, ZRANGE no LIMIT by rank and no WITHSCORES by member, SENTINEL SIMULATE-FAILURE something.
const REFUSED: &[&str] = &[
    "restore",
    "restore-asking",
    "xadd",
    "xtrim",
    "zrange",
    "zrangestore",
    "sentinel|simulate-failure",
];

/// What a valid call is never answered with.
const COMPLAINTS: &[&str] = &[
    "-ERR syntax error",
    "-ERR wrong number of arguments",
    "-ERR unknown",
    "-ERR Unrecognized",
    "-ERR Syntax error",
];

#[test]
fn generated_calls_are_valid() {
    calls_are_valid(commands::registry().iter(), || None);
}

#[test]
fn generated_calls_of_sentinels_are_valid() {
    calls_are_valid(of_sentinels(), || {
        let settings = redkeep::sentinel::Settings::new("1".repeat(40), 26379);
        let (names, rng) = (Box::new(NoNames), Rng::seed_from_u64(1));
        Some(Box::new(Sentinel::new(settings, names, rng, 1)))
    });
}

fn calls_are_valid(
    entries: impl Iterator<Item = &'static Entry>,
    sentinel: impl Fn() -> Option<Box<Sentinel>>,
) {
    let mut faults = BTreeMap::new();
    let entries: Vec<_> = entries
        .filter(|e| !e.is_container() && !NOT_CALLED.contains(&&*e.name))
        .collect();
    for seed in 0..40 {
        let mut engine = Engine::new(Options {
            seed: Some(seed),
            sentinel: sentinel(),
            ..Options::default()
        });
        let mut sid = engine.connect(Peer::default());
        let mut values = Values {
            rng: Rng::seed_from_u64(seed),
            keys: 0,
        };
        for &e in &entries {
            let args = call(e, &mut values);
            let argv: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let mut reply = ReplyBuf::new(Proto::Resp2);
            engine.refresh_time();
            if engine.execute(sid, Args::new(&argv), &mut reply) != Outcome::Done {
                engine.disconnect(sid);
                sid = engine.connect(Peer::default());
            }
            let text = String::from_utf8_lossy(reply.as_slice());
            let complains = COMPLAINTS.iter().any(|c| text.starts_with(c));
            if complains && !REFUSED.contains(&&*e.name) {
                faults.insert(&e.name, format!("{}: {text}", show(&args)));
            }
        }
    }
    none(faults.into_values().collect());
}

/// Drops, repeats, swaps and replaces words of a call.
fn garble(args: &mut Vec<Vec<u8>>, name: usize, rng: &mut Rng) {
    for _ in 0..1 + rng.index(3) {
        if args.len() <= name {
            return;
        }
        let at = name + rng.index(args.len() - name);
        match rng.index(4) {
            0 => drop(args.remove(at)),
            1 => args.insert(at, args[at].clone()),
            2 => {
                let other = name + rng.index(args.len() - name);
                args.swap(at, other);
            }
            _ => {
                let words: [&[u8]; 6] = [b"0", b"1", b"-1", b"2", b"", b"STORE"];
                args[at] = words[rng.index(words.len())].to_vec();
            }
        }
    }
}

/// Who may touch no key is refused, however a call is put: no command finds keys where access control sees none.
#[test]
fn what_touches_keys_is_seen_by_access_control() {
    let mut faults = BTreeMap::new();
    let wanted = |e: &&Entry| e.has_keys() && !NOT_CALLED.contains(&&*e.name);
    let entries: Vec<_> = commands::registry().iter().filter(wanted).collect();
    for seed in 0..150 {
        let mut engine = Engine::new(Options {
            seed: Some(seed),
            ..Options::default()
        });
        let rules: [&[u8]; 5] = [b"on", b"nopass", b"+@all", b"&*", b"resetkeys"];
        let users = &mut engine.state().sys.acl.users;
        let (user, _) = users.set(b"joe", &rules, commands::registry()).unwrap();
        let mut values = Values {
            rng: Rng::seed_from_u64(seed),
            keys: 0,
        };
        let mut garbler = Rng::seed_from_u64(seed ^ 1);
        for &e in &entries {
            let mut args = call(e, &mut values);
            garble(&mut args, words(e).len(), &mut garbler);
            let argv: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let sid = engine.connect(Peer::default());
            if let Some(session) = engine.state().sessions.get_mut(sid) {
                session.user = user;
            }
            let mut reply = ReplyBuf::new(Proto::Resp2);
            engine.refresh_time();
            engine.execute(sid, Args::new(&argv), &mut reply);
            engine.disconnect(sid);
            let refused = reply.as_slice().starts_with(b"-");
            // Scripts and functions may have none.
            if !refused && !e.flags.has(flag::NO_MANDATORY_KEYS) {
                let text = String::from_utf8_lossy(reply.as_slice());
                faults.insert(&e.name, format!("{}: {text}", show(&args)));
            }
        }
    }
    none(faults.into_values().collect());
}

/// Commands that no conversation can show: they end the server, or serve other commands only.
const UNRECORDED: &[&str] = &[
    "shutdown",
    "config|rewrite",
    // Redis has them not: tests/terms.rs, tests/injected, tests/time.
    "redkeep",
    "redkeep|clock",
    "redkeep|fault",
    "redkeep|fence",
    "redkeep|follow",
    "redkeep|help",
];

#[test]
fn every_command_is_in_a_transcript() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let of_sentinels = format!("{dir}/sentinel");
    let mut called = BTreeSet::new();
    let files = std::fs::read_dir(dir).unwrap();
    let files = files.chain(std::fs::read_dir(of_sentinels).unwrap());
    for path in files
        .map(|file| file.unwrap().path())
        .filter(|p| p.is_file())
    {
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines() {
            let Some((_, call)) = line.split_once("> ") else {
                continue;
            };
            let mut words = call
                .split_whitespace()
                .map(|w| w.trim_matches('"').to_ascii_lowercase());
            let (name, next) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            called.insert(format!("{name}|{next}"));
            called.insert(name);
        }
    }
    let recorded = |e: &&Entry| called.contains(&*e.name) || UNRECORDED.contains(&&*e.name);
    none(
        entries()
            .filter(|e| !recorded(e))
            .map(|e| e.name.to_string())
            .collect(),
    );
}
