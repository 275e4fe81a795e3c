//! What Redis and Valkey have, as `tests/data/field.tsv` says, beside what the table of commands has.

use redkeep::exec::Entry;
use redkeep::spec::syntax::{Arg, Syntax};
use std::collections::{BTreeMap, BTreeSet};

/// A command of the field, or a family of them (`JSON.*`).
pub(super) struct Known {
    /// In upper case, with a space before a subcommand.
    pub(super) name: &'static str,
    /// Where COMMAND DOCS lists it.
    pub(super) group: &'static str,
    /// First version of Redis that had it.
    pub(super) redis: Option<&'static str>,
    /// First version of Valkey, or of Redis before that, that had it.
    pub(super) valkey: Option<&'static str>,
    /// The words among its arguments.
    words: BTreeSet<&'static str>,
    /// Why it is not there; empty if it is.
    pub(super) why: &'static str,
}

impl Known {
    /// Since when, and whose.
    pub(super) fn origin(&self) -> String {
        match (self.redis, self.valkey) {
            (Some(redis), Some(valkey)) if redis == valkey => short(redis),
            (Some(redis), Some(valkey)) => {
                format!("Redis {}, Valkey {}", short(redis), short(valkey))
            }
            (Some(redis), None) => format!("Redis {}", short(redis)),
            (None, Some(valkey)) => format!("Valkey {}", short(valkey)),
            (None, None) => "Redkeep".to_owned(),
        }
    }

    /// The version that its row is to name.
    fn since(&self) -> &'static str {
        self.redis.or(self.valkey).unwrap_or_default()
    }
}

/// `8.0.0` is 8.0.
fn short(version: &str) -> String {
    version.strip_suffix(".0").unwrap_or(version).to_owned()
}

/// All of the field, by name.
pub(super) fn field() -> BTreeMap<&'static str, Known> {
    let lines = include_str!("../data/field.tsv").lines();
    let known = lines.filter(|l| !l.starts_with('#')).map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap();
        let known = Known {
            name: next(),
            group: next(),
            redis: Some(next()).filter(|v| *v != "-"),
            valkey: Some(next()).filter(|v| *v != "-"),
            words: next().split(' ').filter(|w| *w != "-").collect(),
            why: next(),
        };
        (known.name, known)
    });
    known.collect()
}

/// The name of a row as the field writes it.
pub(super) fn name(e: &Entry) -> String {
    e.name.replace('|', " ").to_ascii_uppercase()
}

/// Whatever does not fit together.
pub(super) fn faults<'a>(rows: impl Iterator<Item = &'a Entry>) -> Vec<String> {
    let rows: BTreeMap<String, &Entry> = rows.map(|e| (name(e), e)).collect();
    let field = field();
    let mut faults = Vec::new();
    for known in field.values() {
        let name = known.name;
        match (rows.get(name), known.why) {
            (None, "") => faults.push(format!("{name}: neither a row nor a reason")),
            (Some(_), why) if !why.is_empty() => {
                faults.push(format!("{name}: there, and a reason why it is not"));
            }
            (Some(e), _) => faults.extend(differences(e, known)),
            (None, _) => {}
        }
    }
    let unknown = rows.keys().filter(|name| !field.contains_key(&***name));
    faults.extend(unknown.map(|name| format!("{name}: whose is it?")));
    faults
}

/// What a row says otherwise than the field does.
fn differences(e: &Entry, known: &Known) -> Vec<String> {
    let (name, mut faults) = (known.name, Vec::new());
    if known.redis.or(known.valkey).is_some() && e.row.since != known.since() {
        let (ours, theirs) = (e.row.since, known.since());
        faults.push(format!("{name}: since {ours}, the field says {theirs}"));
    }
    if e.row.group.name() != known.group {
        let (ours, theirs) = (e.row.group.name(), known.group);
        faults.push(format!("{name}: listed under {ours}, not {theirs}"));
    }
    let syntax = Syntax::parse(e.row.syntax).unwrap();
    let mut ours = BTreeSet::new();
    words(&syntax.args, &mut ours);
    let admitted = |word: &str| e.row.limits.split(' ').any(|w| w == format!("`{word}`"));
    for word in known.words.iter().filter(|w| !ours.contains(**w)) {
        if !admitted(word) {
            faults.push(format!(
                "{name}: {word} is neither taken nor among its limits"
            ));
        }
    }
    for word in ours.iter().filter(|w| !known.words.contains(&***w)) {
        faults.push(format!("{name}: nobody else takes {word}"));
    }
    faults
}

fn words(args: &[Arg<'_>], out: &mut BTreeSet<String>) {
    for arg in args {
        out.extend(arg.token.map(str::to_ascii_uppercase));
        words(arg.kind.inner(), out);
    }
}
