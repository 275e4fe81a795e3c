//! The layers hold: a file names only modules below its own, sockets and Lua stay in their folders.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

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
