//! COMMAND INFO and COMMAND DOCS: against what is published, and against what redis-server 7.0.15 answers.

use super::common::{Client, Reply, Server};
use std::collections::{BTreeMap, BTreeSet};

/// What COMMAND DOCS tells otherwise than Redis 7.2, or where that does not have the command than 8.0: command, column,
/// why.
const DOCS_DIFFER: &[(&str, &str, &str)] = &[
    ("bgsave", "arguments", "CANCEL is Valkey's"),
    ("bgsave", "changed in", "CANCEL is Valkey's"),
    ("bitop", "arguments", "newer options"),
    ("bitop", "changed in", "newer options"),
    ("client|kill", "arguments", "newer options"),
    ("client|kill", "changed in", "newer options"),
    ("client|list", "arguments", "newer options"),
    ("client|list", "changed in", "newer options"),
    (
        "georadius_ro",
        "changed in",
        "one history for all of the family",
    ),
    (
        "georadiusbymember",
        "changed in",
        "one history for all of the family",
    ),
    (
        "georadiusbymember_ro",
        "changed in",
        "one history for all of the family",
    ),
    ("geosearch", "arguments", "newer options"),
    ("geosearch", "changed in", "newer options"),
    ("geosearchstore", "arguments", "newer options"),
    ("geosearchstore", "changed in", "newer options"),
    ("hscan", "arguments", "newer options"),
    ("hscan", "changed in", "newer options"),
    ("restore", "changed in", "one line for two options"),
    ("restore-asking", "changed in", "one line for two options"),
    ("cluster|setslot", "arguments", "as 7.2 has it"),
    ("cluster|setslot", "changed in", "as 7.2 has it"),
    ("set", "arguments", "newer options"),
    ("set", "changed in", "newer options"),
    ("shutdown", "arguments", "as 8.0 has it"),
    ("xadd", "arguments", "newer options"),
    ("xadd", "changed in", "newer options"),
    ("xgroup|create", "arguments", "as 8.0 has it"),
    ("xread", "arguments", "newer options"),
    ("xread", "changed in", "newer options"),
    ("xreadgroup", "arguments", "newer options"),
    ("xreadgroup", "changed in", "newer options"),
    ("xtrim", "arguments", "newer options"),
    ("xtrim", "changed in", "newer options"),
    ("zinter", "arguments", "newer options"),
    ("zinter", "changed in", "newer options"),
    ("zinterstore", "arguments", "newer options"),
    ("zinterstore", "changed in", "newer options"),
    ("zrank", "arguments", "newer options"),
    ("zrevrank", "arguments", "newer options"),
    ("zscan", "arguments", "newer options"),
    ("zscan", "changed in", "newer options"),
    ("zunion", "arguments", "newer options"),
    ("zunion", "changed in", "newer options"),
    ("zunionstore", "arguments", "newer options"),
    ("zunionstore", "changed in", "newer options"),
];

/// What COMMAND INFO tells otherwise than redis-server 7.0.15: command, column, why.
const INFO_DIFFERS: &[(&str, &str, &str)] = &[
    ("acl|deluser", "tips", "as 7.2 has it"),
    ("acl|save", "tips", "as 7.2 has it"),
    ("acl|setuser", "tips", "as 7.2 has it"),
    ("blmove", "flags", "as 7.2 has it"),
    ("blpop", "flags", "as 7.2 has it"),
    ("brpop", "flags", "as 7.2 has it"),
    ("brpoplpush", "flags", "as 7.2 has it"),
    ("bzpopmax", "flags", "as 7.2 has it"),
    ("bzpopmin", "flags", "as 7.2 has it"),
    ("cluster|info", "flags", "as 8.0 has it"),
    ("cluster|myid", "flags", "as 8.0 has it"),
    ("cluster|nodes", "flags", "as 8.0 has it"),
    ("cluster|shards", "flags", "as 8.0 has it"),
    ("cluster|slots", "flags", "as 8.0 has it"),
    ("multi", "flags", "as 8.0 has it"),
    ("watch", "flags", "as 8.0 has it"),
    ("wait", "flags", "as 8.0 has it"),
    ("wait", "categories", "as 8.0 has it"),
    ("sinterstore", "key specs", "as 7.2 has it"),
    ("client|setname", "tips", "as 7.2 has it"),
    ("config|resetstat", "tips", "as 7.2 has it"),
    ("config|rewrite", "tips", "as 7.2 has it"),
    ("latency|reset", "tips", "as 7.2 has it"),
    ("msetnx", "tips", "as 7.2 has it"),
    ("randomkey", "tips", "as 7.2 has it"),
    ("scan", "tips", "as 7.2 has it"),
    ("zrank", "arity", "as 7.2 has it"),
    ("zrevrank", "arity", "as 7.2 has it"),
    ("command|getkeys", "arity", "as 7.2 has it"),
    ("command|getkeysandflags", "arity", "as 7.2 has it"),
];

fn connect(server: &Server) -> Client {
    let mut client = server.client();
    client.run("HELLO 3");
    client
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Int(n) => n.to_string(),
        other => other.text(),
    }
}

fn sorted(reply: Option<&Reply>) -> String {
    let items = reply.map_or(&[][..], Reply::items);
    let names: BTreeSet<String> = items.iter().map(text).collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}

/// What differs where it may not, and what is listed as a difference and is none.
fn faults(
    found: &BTreeMap<(String, &'static str), (String, String)>,
    known: &[(&str, &str, &str)],
) -> Vec<String> {
    let is_known = |name: &str, column: &str| known.iter().any(|k| (k.0, k.1) == (name, column));
    let mut faults: Vec<String> = found
        .iter()
        .filter(|((name, column), (ours, theirs))| ours != theirs && !is_known(name, column))
        .map(|((name, column), (ours, theirs))| {
            format!("{name}: {column}\n    {ours}\n    {theirs}")
        })
        .collect();
    for (name, column, _) in known {
        let differs = found
            .iter()
            .any(|((n, c), (ours, theirs))| (n.as_str(), *c) == (*name, *column) && ours != theirs);
        if !differs {
            faults.push(format!("{name}: {column} does not differ"));
        }
    }
    faults
}

/// An argument as `tests/data/arguments.tsv` writes it.
fn argument(arg: &Reply) -> String {
    let field = |name: &str| arg.field(name).map(text);
    let (name, kind) = (field("name").unwrap(), field("type").unwrap());
    let mut out = format!("{name}:{kind}");
    if let Some(token) = field("token") {
        out += &format!("^{}", if token.is_empty() { "''" } else { &token });
    }
    match field("display_text") {
        Some(shown) if shown != name => out += &format!("\"{shown}\""),
        Some(_) => {}
        // Only what has no parts is shown.
        None => assert!(
            ["oneof", "block"].contains(&&*kind),
            "{name} has no display text"
        ),
    }
    for (mark, name) in [
        ('#', "key_spec_index"),
        ('@', "since"),
        ('!', "deprecated_since"),
    ] {
        if let Some(value) = field(name) {
            out += &format!("{mark}{value}");
        }
    }
    let flags = arg.field("flags").map_or(&[][..], Reply::items);
    for flag in ["optional", "multiple", "multiple_token"] {
        if flags.iter().any(|f| f.text() == flag) {
            out += &format!(" {flag}");
        }
    }
    let inner = arg.field("arguments").map_or(&[][..], Reply::items);
    if !inner.is_empty() {
        let inner: Vec<String> = inner.iter().map(argument).collect();
        out += &format!(" ({})", inner.join(", "));
    }
    out
}

/// The columns of `tests/data/arguments.tsv`.
const COLUMNS: [&str; 5] = ["doc flags", "deprecated", "tips", "changed in", "arguments"];

fn documented(doc: &Reply, tips: &str) -> [String; 5] {
    let or_none = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    let list = |name: &str| doc.field(name).map_or(&[][..], Reply::items).iter();
    let versions: Vec<String> = list("history").map(|h| h.items()[0].text()).collect();
    let arguments: Vec<String> = list("arguments").map(argument).collect();
    [
        or_none(sorted(doc.field("doc_flags"))),
        doc.field("deprecated_since")
            .map_or("-".to_owned(), Reply::text),
        or_none(tips.to_owned()),
        or_none(versions.join(",")),
        or_none(arguments.join("; ")),
    ]
}

/// All pairs of COMMAND DOCS, those of subcommands included.
fn docs(client: &mut Client) -> BTreeMap<String, Reply> {
    fn add(docs: &Reply, out: &mut BTreeMap<String, Reply>) {
        let Reply::Map(pairs) = docs else {
            panic!("no map: {docs:?}");
        };
        for (name, doc) in pairs {
            out.insert(name.text(), doc.clone());
            if let Some(subs) = doc.field("subcommands") {
                add(subs, out);
            }
        }
    }
    let mut out = BTreeMap::new();
    add(&client.run("COMMAND DOCS"), &mut out);
    out
}

/// All elements of COMMAND, those of subcommands included.
fn infos(client: &mut Client) -> BTreeMap<String, Reply> {
    fn add(infos: &[Reply], out: &mut BTreeMap<String, Reply>) {
        for info in infos {
            out.insert(info.items()[0].text(), info.clone());
            add(info.items()[9].items(), out);
        }
    }
    let mut out = BTreeMap::new();
    add(client.run("COMMAND").items(), &mut out);
    out
}

#[test]
fn command_docs_say_what_is_published() {
    let server = Server::redkeep(&[]);
    let mut client = connect(&server);
    let (docs, infos) = (docs(&mut client), infos(&mut client));
    let mut found = BTreeMap::new();
    let lines = include_str!("../data/arguments.tsv").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap().to_owned();
        let (Some(doc), Some(info)) = (docs.get(&name), infos.get(&name)) else {
            continue;
        };
        let ours = documented(doc, &sorted(info.items().get(7)));
        for ((column, ours), theirs) in COLUMNS.into_iter().zip(ours).zip(fields) {
            if !theirs.is_empty() {
                found.insert((name.clone(), column), (ours, theirs.to_owned()));
            }
        }
    }
    assert!(found.len() > 1000, "{}", found.len());
    let faults = faults(&found, DOCS_DIFFER);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_command_is_documented_counted_and_listed() {
    let server = Server::redkeep(&[]);
    let mut client = connect(&server);
    let (docs, infos) = (docs(&mut client), infos(&mut client));
    assert_eq!(
        docs.keys().collect::<Vec<_>>(),
        infos.keys().collect::<Vec<_>>()
    );
    for (name, doc) in &docs {
        for field in ["summary", "since", "group", "complexity"] {
            let there = doc.field(field).is_some_and(|text| !text.text().is_empty());
            assert!(there, "{name} has no {field}");
        }
    }
    let listed = client.run("COMMAND LIST");
    let listed: BTreeSet<String> = listed.items().iter().map(Reply::text).collect();
    assert_eq!(listed, infos.keys().cloned().collect());
    let count = client.run("COMMAND COUNT").int().unwrap();
    let top = infos.keys().filter(|name| !name.contains('|')).count();
    assert_eq!(count, top as i64);
    // Asked for by name, they are the same.
    for name in ["get", "CONFIG|GET", "xgroup|create", "client"] {
        let one = client.call(&["COMMAND", "DOCS", name]).unwrap();
        assert_eq!(
            one.field(&name.to_lowercase()),
            docs.get(&name.to_lowercase())
        );
        let one = client.call(&["COMMAND", "INFO", name]).unwrap();
        assert_eq!(Some(&one.items()[0]), infos.get(&name.to_lowercase()));
    }
}

/// A key spec without its notes.
fn key_spec(spec: &Reply) -> String {
    let flags = sorted(spec.field("flags"));
    format!(
        "{flags} {:?} {:?}",
        spec.field("begin_search"),
        spec.field("find_keys")
    )
}

fn informed(info: &Reply) -> Vec<(&'static str, String)> {
    let at = |i: usize| &info.items()[i];
    let specs: Vec<String> = at(8).items().iter().map(key_spec).collect();
    let legacy: Vec<String> = (3..6).map(|i| text(at(i))).collect();
    vec![
        ("arity", text(at(1))),
        ("flags", sorted(Some(at(2)))),
        ("legacy keys", legacy.join(" ")),
        ("categories", sorted(Some(at(6)))),
        ("tips", sorted(Some(at(7)))),
        ("key specs", specs.join("; ")),
    ]
}

#[test]
fn command_info_is_that_of_redis() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let ours = Server::redkeep(&[]);
    let (ours, theirs) = (infos(&mut connect(&ours)), infos(&mut connect(&redis)));
    let mut found = BTreeMap::new();
    for (name, theirs) in &theirs {
        let Some(ours) = ours.get(name) else {
            continue;
        };
        for ((column, ours), (_, theirs)) in informed(ours).into_iter().zip(informed(theirs)) {
            found.insert((name.clone(), column), (ours, theirs));
        }
    }
    assert!(found.len() > 1500, "{}", found.len());
    let faults = faults(&found, INFO_DIFFERS);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
