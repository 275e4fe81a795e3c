//! The examples of README.md, taken from the page itself, so that it says what is true.

use std::fs;
use std::path::Path;

/// The code blocks of one language, in their order.
pub fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks: Vec<_> = text
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or("").to_owned())
        .collect();
    assert!(!blocks.is_empty(), "README.md has no block of {language}");
    blocks
}

/// The prompts of the redis-cli sessions with what is printed after each.
pub fn sessions() -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in blocks("console").iter().flat_map(|b| b.lines()) {
        if let Some(command) = line.strip_prefix("127.0.0.1:6379> ") {
            out.push((command.to_owned(), String::new()));
        } else if let (Some((_, printed)), false) = (out.last_mut(), line.starts_with("$ ")) {
            printed.push_str(line);
            printed.push('\n');
        }
    }
    out
}

/// What an example says it prints: the texts behind `-> ` in its comments, one line for each part between commas.
pub fn promised(example: &str) -> Vec<String> {
    let comments = example
        .lines()
        .filter_map(|l| l.split_once("-> ").map(|(_, text)| text));
    comments
        .flat_map(|c| c.split(", ").map(|p| p.trim().to_owned()))
        .collect()
}
