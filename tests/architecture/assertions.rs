//! What is only there in debug builds does no work: a release build, which the tests do not run, does the same.

use super::{collect, is_word};
use std::fs;
use std::path::Path;

/// What an assertion may call, since it only looks.
const READERS: &[&str] = &[
    "has",
    "is_empty",
    "is_free",
    "is_none_or",
    "is_ok",
    "is_resp3",
    "len",
    "matches",
    "panicking",
    "pushed",
];

#[test]
fn debug_assertions_only_look() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let (mut seen, mut found) = (0, Vec::new());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        seen += text.matches("debug_assert").count();
        let complaints = complaints(&text).into_iter();
        found.extend(complaints.map(|complaint| format!("{}: {complaint}", path.display())));
    }
    assert!(seen > 10, "no assertions found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What debug builds do and others do not, of this text.
fn complaints(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.contains("(debug_assertions)") {
        out.push("code for debug builds only".to_owned());
    }
    for (at, _) in text.match_indices("debug_assert") {
        let Some(opened) = opened(&text[at..]) else {
            continue;
        };
        let inside = without_strings(up_to_its_end(opened));
        let work = calls(&inside)
            .into_iter()
            .find(|name| !READERS.contains(name));
        if let Some(name) = work {
            out.push(format!("an assertion calls {name}: does that only look?"));
        } else if assigns(&inside) {
            out.push(format!("an assertion changes something: {}", inside.trim()));
        }
    }
    out
}

/// What follows the parenthesis of a macro that begins here.
fn opened(text: &str) -> Option<&str> {
    text.trim_start_matches(is_word).strip_prefix("!(")
}

/// The text up to the parenthesis that closes what was opened before it.
fn up_to_its_end(text: &str) -> &str {
    let mut depth = 1;
    let mut quoted = false;
    for (i, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..i];
        }
    }
    text
}

fn without_strings(text: &str) -> String {
    text.split('"').step_by(2).collect()
}

/// The names before parentheses.
fn calls(code: &str) -> Vec<&str> {
    let before = code.match_indices('(').map(|(i, _)| &code[..i]);
    before
        .filter_map(|before| before.trim_end_matches('!').rsplit(|c| !is_word(c)).next())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether there is an assignment or a `mut`.
fn assigns(code: &str) -> bool {
    let plain = ["==", "!=", "<=", ">=", "=>"]
        .iter()
        .fold(code.to_owned(), |code, comparison| {
            code.replace(comparison, "")
        });
    plain.contains('=') || plain.split(|c| !is_word(c)).any(|word| word == "mut")
}

#[test]
fn an_assertion_that_works_is_found() {
    let refused = |text: &str| complaints(text).len();
    assert_eq!(refused("debug_assert!(list.pop().is_some());"), 1);
    assert_eq!(refused("debug_assert_eq!(seen.insert(x), true, \"x\");"), 1);
    assert_eq!(refused("debug_assert!({ n += 1; n < 3 });"), 1);
    assert_eq!(refused("debug_assert!(is_empty(&mut x));"), 1);
    assert_eq!(refused("if cfg!(debug_assertions) { work() }"), 1);
    assert_eq!(
        refused("debug_assert!(a.len() == 1 && (b <= c), \"pop() {}\", d);"),
        0
    );
    assert_eq!(refused("debug_assert!(matches!(a, B | C)); work();"), 0);
    assert_eq!(refused("Cli::command().debug_assert();"), 0);
}
