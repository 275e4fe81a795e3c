//! docs/EMBEDDING.md says of each feature which test shows it: the test is there, and is one.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/EMBEDDING.md");

/// A test that the page names: `path/to/file::name`.
struct Named<'a> {
    path: &'a str,
    name: &'a str,
}

/// The tests that a part of the page names.
fn named(text: &str) -> Vec<Named<'_>> {
    let quoted = text.split('`').skip(1).step_by(2);
    let tests = quoted.filter_map(|words| words.split_once("::"));
    let files = [".rs", ".py", ".mjs"];
    tests
        .filter(|(path, _)| files.iter().any(|end| path.ends_with(end)))
        .map(|(path, name)| Named { path, name })
        .collect()
}

/// Whether a file has a test of this name, and runs it.
fn has_test(source: &str, path: &str, name: &str) -> bool {
    if path.ends_with(".mjs") {
        return source.contains(&format!("test(\"{name}\""));
    }
    if path.ends_with(".py") {
        return source.contains(&format!("\ndef test_{name}("));
    }
    let (plain, asynchronous) = (format!("fn {name}("), format!("async fn {name}("));
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let place = |line: &&str| line.starts_with(&plain) || line.starts_with(&asynchronous);
    let Some(at) = lines.iter().position(place) else {
        return false;
    };
    // Attributes stand right above.
    let above = lines[..at].iter().rev();
    let attributes: Vec<_> = above.take_while(|line| line.starts_with("#[")).collect();
    let runs = attributes.iter().any(|a| a.ends_with("test]"));
    let macros = lines[..at].iter().any(|line| line.starts_with("proptest!"));
    (runs || macros) && !attributes.iter().any(|a| a.starts_with("#[ignore"))
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let all = named(PAGE);
    assert!(all.len() > 30, "{} tests are named", all.len());
    for Named { path, name } in all {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let source = fs::read_to_string(&file).unwrap_or_default();
        assert!(has_test(&source, path, name), "{path} has no test {name}");
    }
}

/// Tables that compare have a test in the last column of each row.
#[test]
fn every_row_of_the_comparison_is_a_test() {
    let (_, part) = PAGE
        .split_once("\n## What other test servers have\n")
        .unwrap();
    let (table, _) = part.split_once("\n### ").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<_> = rows.skip(1).collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    for row in rows {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(!named(last).is_empty(), "no test: {row}");
    }
}

#[test]
fn what_is_no_test_is_found() {
    let source =
        "#[test]\nfn one() {}\n\nfn two() {}\n#[test]\n#[ignore = \"slow\"]\nfn three() {}\n";
    assert!(has_test(source, "a.rs", "one"));
    assert!(!has_test(source, "a.rs", "two"));
    assert!(!has_test(source, "a.rs", "three"));
    assert!(!has_test(source, "a.rs", "four"));
    assert!(has_test("\ndef test_one(a):", "a.py", "one"));
    assert!(has_test("test(\"one of\", async", "a.mjs", "one of"));
}
