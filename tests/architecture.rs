//! The layers hold: a file names only modules below its own, sockets and Lua stay in their folders. And what else the
//! sources and the dependencies have to keep to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

#[path = "architecture/assertions.rs"]
mod assertions;

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the crate from the bottom up. A file may name modules of lower rank and its own.
const RANKS: &[(&str, u32)] = &[
    ("util", 0),
    ("resp", 10),
    ("ds", 10),
    ("spec", 10),
    // The file format builds on the encodings it stores.
    ("rdb", 11),
    ("types", 20),
    ("keyspace", 30),
    ("service", 40),
    ("replication", 40),
    ("persist", 40),
    // It knows which of two histories is the later one.
    ("sentinel", 41),
    ("exec", 50),
    ("script", 60),
    ("commands", 61),
    ("engine", 70),
    ("embed", 71),
    ("server", 80),
    ("main", 81),
];

/// Crates that only some folders may name.
const KEPT: &[(&str, &[&str])] = &[
    ("tokio", &["server", "embed", "main"]),
    ("mlua", &["script"]),
    ("rustls", &["server"]),
    ("tokio_rustls", &["server"]),
    ("pkcs8", &["server"]),
];

/// Where there is code that the compiler does not vouch for, and for what.
const UNSAFE: &[(&str, &str)] = &[
    (
        "ds/slim.rs",
        "a pointer with a length of 32 bits, by which a record is a quarter smaller",
    ),
    (
        "script/crossing.rs",
        "Lua's own interface, where each run crosses it",
    ),
    (
        "util/prefetch.rs",
        "the instruction that fetches memory ahead",
    ),
];

/// Where something waits for real time, whatever the server's clock says, and for what.
const REAL_TIME: &[(&str, &str)] = &[
    (
        "server/timer.rs",
        "it is how others wait while the clock runs",
    ),
    (
        "server/runtime.rs",
        "the engine's next deadline while the clock runs",
    ),
    ("server/link.rs", "a script that is busy"),
    ("server/sentinel.rs", "the end of scripts that were killed"),
    (
        "server/conn.rs",
        "the end of a connection that is not read from",
    ),
    (
        "server/accept.rs",
        "TLS handshakes of clients, and free descriptors",
    ),
    ("server/metrics/mod.rs", "clients that speak HTTP"),
    ("server/drill/", "it is a client of servers elsewhere"),
];

#[test]
fn whatever_waits_goes_by_the_server_s_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let waiting: Vec<String> = files
        .iter()
        .filter(|p| fs::read_to_string(p).unwrap().contains("tokio::time"))
        .map(|p| p.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    for file in &waiting {
        let known = REAL_TIME.iter().any(|(name, _)| file.starts_with(name));
        assert!(known, "{file} waits by itself: server::timer is for that");
    }
    for (name, why) in REAL_TIME {
        assert!(
            waiting.iter().any(|file| file.starts_with(name)),
            "{name}: {why}"
        );
    }
}

#[test]
fn what_the_compiler_does_not_vouch_for_is_where_it_is_said_to_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let holds = |path: &&PathBuf| fs::read_to_string(path).unwrap().contains("unsafe_code");
    let names = files.iter().filter(holds);
    let mut found: Vec<_> = names
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    found.sort();
    let named: Vec<_> = UNSAFE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, named);
}

#[test]
fn every_file_imports_only_from_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 10, "no sources found");
    let complaints: Vec<_> = files
        .iter()
        .filter(|p| **p != root.join("lib.rs"))
        .flat_map(|p| {
            complaints(
                &p.strip_prefix(&root).unwrap().display().to_string(),
                &fs::read_to_string(p).unwrap(),
            )
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn an_upward_import_is_found() {
    let upward = |path: &str, text: &str| complaints(path, text).len();
    assert_eq!(
        upward(
            "types/list.rs",
            "use crate::util::num;\nuse crate::ds::listpack;"
        ),
        0
    );
    assert_eq!(upward("types/list.rs", "use crate::keyspace::Db;"), 1);
    assert_eq!(
        upward(
            "types/list.rs",
            "use crate::{\n    ds::Bytes,\n    exec::{call, engine},\n    service,\n};"
        ),
        2
    );
    assert_eq!(upward("types/list.rs", "fn f(x: crate::exec::Args) {}"), 1);
    assert_eq!(
        upward(
            "types/list.rs",
            "// crate::exec is above\n/// see [`crate::exec`]\nlet s = 1; // crate::exec"
        ),
        0
    );
    assert_eq!(upward("ds/mod.rs", "use crate::resp::Value;"), 1);
    assert_eq!(upward("script/mod.rs", "use crate::commands::string;"), 1);
    assert_eq!(upward("commands/script.rs", "use crate::script::Host;"), 0);
    assert_eq!(upward("engine.rs", "use crate::commands;"), 0);
    assert_eq!(upward("exec/call.rs", "use tokio::sync::Mutex;"), 1);
    assert_eq!(upward("server/conn.rs", "use tokio::net::TcpStream;"), 0);
    assert_eq!(upward("commands/script.rs", "let l = mlua::Lua::new();"), 1);
    assert_eq!(upward("nowhere/x.rs", "use crate::util;"), 1);
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn rank(module: &str) -> Option<u32> {
    RANKS.iter().find(|(m, _)| *m == module).map(|(_, r)| *r)
}

/// What is wrong with the imports of one file of `src`.
fn complaints(path: &str, text: &str) -> Vec<String> {
    let own = path
        .split('/')
        .next()
        .unwrap_or(path)
        .trim_end_matches(".rs");
    let Some(own_rank) = rank(own) else {
        return vec![format!("src/{path}: {own} has no layer")];
    };
    let code: String = text
        .lines()
        .map(|l| l.split("//").next().unwrap_or("").to_owned() + "\n")
        .collect();
    let mut out = Vec::new();
    for module in named_modules(&code) {
        let lower = rank(&module).is_none_or(|r| r < own_rank);
        if module != own && !lower {
            out.push(format!("src/{path}: {own} may not know {module}"));
        }
    }
    for (name, homes) in KEPT {
        let named = code
            .match_indices(&format!("{name}::"))
            .any(|(i, _)| !code[..i].ends_with(is_word));
        if named && !homes.contains(&own) {
            out.push(format!("src/{path}: {name} belongs into {homes:?}"));
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The top-level modules that follow `crate::`, also inside braces.
fn named_modules(code: &str) -> Vec<String> {
    let word = |s: &str| s.chars().take_while(|c| is_word(*c)).collect::<String>();
    let mut out = Vec::new();
    for (i, _) in code.match_indices("crate::") {
        let rest = &code[i + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            out.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (j, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && is_word(c) => {
                    out.push(word(&group[j..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    out
}

/// The licences of deny.toml, which cargo-deny reads as well.
fn allowed_licences() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).unwrap();
    let list = text.split_once("\nallow = [").unwrap().1;
    let list = list.split_once(']').unwrap().0;
    let quoted = list.split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// Whether an expression of SPDX (older crates write `/` for OR) can be met with these licences.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let met = any_of(&mut rest, allowed);
    assert!(rest.is_empty(), "{expression}");
    met
}

fn any_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = all_of(words, allowed);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any_of(words, allowed);
            *words = &words[1..];
            met
        }
        [id, "WITH", exception, rest @ ..] => {
            *words = rest;
            allowed.contains(&format!("{id} WITH {exception}"))
        }
        [id, rest @ ..] => {
            *words = rest;
            allowed.iter().any(|known| known == id)
        }
        [] => panic!("an expression ends too early"),
    }
}

#[test]
fn every_dependency_may_be_shipped() {
    let tool = |name: &str| std::env::var(name.to_uppercase()).unwrap_or(name.to_owned());
    let run = |program: String, args: &[&str]| {
        let output = std::process::Command::new(program)
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    let rustc = run(tool("rustc"), &["-vV"]);
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    // Only what this machine builds has been downloaded.
    let platform = ["--filter-platform", host.unwrap()];
    let args = [
        &["metadata", "--offline", "--format-version", "1"],
        &platform[..],
    ]
    .concat();
    let metadata: serde_json::Value = serde_json::from_str(&run(tool("cargo"), &args)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 20);
    let allowed = allowed_licences();
    let complaints: Vec<_> = packages
        .iter()
        .filter(|package| {
            let own = package["source"].is_null();
            let public =
                package["source"] == "registry+https://github.com/rust-lang/crates.io-index";
            let licence = package["license"].as_str().unwrap_or("none");
            !(own || public) || !is_met(licence, &allowed)
        })
        .map(|package| format!("{} {}", package["name"], package["license"]))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_licence_that_asks_for_more_is_found() {
    let allowed = allowed_licences();
    let met = |expression| is_met(expression, &allowed);
    assert!(met("MIT") && met("MIT/Apache-2.0") && met("GPL-3.0 OR MIT"));
    assert!(met("(MIT OR GPL-2.0) AND Unicode-3.0"));
    assert!(met("Apache-2.0 WITH LLVM-exception OR GPL-3.0"));
    assert!(!met("GPL-3.0") && !met("MIT AND GPL-3.0") && !met("none"));
    assert!(!met("GPL-2.0 WITH Classpath-exception-2.0"));
}
