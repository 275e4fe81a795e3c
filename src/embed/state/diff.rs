//! What has changed between two dumps.

use std::collections::HashMap;
use std::fmt;

/// Up to so many pairs of lines are compared with each other to find what has moved. Beyond, what differs is shown whole.
const COMPARED: usize = 1 << 20;

/// What has changed between two dumps: a line each for what is gone (`-`) or new (`+`), under the key or the group that it
/// belongs to. It is empty if nothing has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    text: String,
}

impl Diff {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The lines.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn put(&mut self, sign: char, words: [&str; 2]) {
        self.text.push(sign);
        for word in words.into_iter().filter(|word| !word.is_empty()) {
            self.text.push(' ');
            self.text.push_str(word);
        }
        self.text.push('\n');
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Compares the texts of two dumps, of which one may come from a file.
///
/// ```
/// use redkeep::embed::diff;
///
/// let before = "db 0\n  \"queue\" list\n    \"a\"\n    \"b\"\n";
/// let after = "db 0\n  \"queue\" list ttl 9s\n    \"b\"\n";
/// assert_eq!(
///     diff(before, after).to_string(),
///     "- db 0 \"queue\" list\n+ db 0 \"queue\" list ttl 9s\n-   \"a\"\n",
/// );
/// assert!(diff(before, before).is_empty());
/// ```
pub fn diff(before: &str, after: &str) -> Diff {
    let (before, after) = (blocks(before), blocks(after));
    let was: HashMap<_, _> = before.iter().map(|block| (block.id(), block)).collect();
    let is: HashMap<_, _> = after.iter().map(|block| (block.id(), block)).collect();
    let mut out = Diff::default();
    let mut at = 0;
    let mut add_until_known = |out: &mut Diff| {
        while let Some(block) = after.get(at).filter(|block| !was.contains_key(&block.id())) {
            block.put(out, '+');
            at += 1;
        }
        at += 1;
    };
    for block in &before {
        match is.get(&block.id()) {
            None => block.put(&mut out, '-'),
            Some(now) => {
                add_until_known(&mut out);
                block.compare(now, &mut out);
            }
        }
    }
    add_until_known(&mut out);
    out
}

/// A key with what it holds, or a library.
#[derive(Debug)]
struct Block<'a> {
    /// What it stands under.
    heading: &'a str,
    /// Its first line.
    head: &'a str,
    body: Vec<&'a str>,
}

impl<'a> Block<'a> {
    /// What tells it apart: where it stands, and its name.
    fn id(&self) -> (&'a str, &'a str) {
        let mut escaped = false;
        let end = self.head.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let name = end.and_then(|end| self.head.get(..end + 2));
        (self.heading, name.unwrap_or(self.head))
    }

    /// All of it is gone, or new.
    fn put(&self, out: &mut Diff, sign: char) {
        out.put(sign, [self.heading, self.head]);
        self.body.iter().for_each(|line| out.put(sign, [line, ""]));
    }

    fn compare(&self, now: &Block<'_>, out: &mut Diff) {
        if self.head == now.head && self.body == now.body {
            return;
        }
        if self.head == now.head {
            out.put(' ', [self.heading, self.head]);
        } else {
            out.put('-', [self.heading, self.head]);
            out.put('+', [now.heading, now.head]);
        }
        let mut parent = None;
        for (sign, line) in compare(&self.body, &now.body) {
            let is_part = line.starts_with("    ");
            match sign {
                ' ' if !is_part => parent = Some(line),
                ' ' => {}
                _ => {
                    if let Some(parent) = parent.take().filter(|_| is_part) {
                        out.put(' ', [parent, ""]);
                    }
                    out.put(sign, [line, ""]);
                }
            }
        }
    }
}

/// Takes a text apart. Lines of a body keep two spaces of what stands in front of them.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut heading) = (Vec::<Block<'_>>::new(), "");
    for line in text.lines() {
        match (line.strip_prefix("  "), blocks.last_mut()) {
            (None, _) => heading = line,
            (Some(part), Some(block)) if part.starts_with("  ") => block.body.push(part),
            (Some(head), _) => blocks.push(Block {
                heading,
                head,
                body: Vec::new(),
            }),
        }
    }
    blocks
}

/// The lines of both, in order: those of the first that are gone, those of the second that are new, and those that stayed.
fn compare<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    let same = |(a, b): &(&&str, &&str)| a == b;
    let start = before.iter().zip(after).take_while(same).count();
    let (first, before) = before.split_at(start);
    let after = after.get(start..).unwrap_or_default();
    let pairs = before.iter().rev().zip(after.iter().rev());
    let end = pairs.take_while(same).count();
    let (before, last) = before.split_at(before.len() - end);
    let after = after.get(..after.len() - end).unwrap_or_default();
    let mut lines: Vec<_> = first.iter().map(|line| (' ', *line)).collect();
    if before.len().saturating_mul(after.len()) > COMPARED {
        lines.extend(before.iter().map(|line| ('-', *line)));
        lines.extend(after.iter().map(|line| ('+', *line)));
    } else {
        walk(before, after, &mut lines);
    }
    lines.extend(last.iter().map(|line| (' ', *line)));
    lines
}

/// The same by the longest part that both have in common.
fn walk<'a>(before: &[&'a str], after: &[&'a str], lines: &mut Vec<(char, &'a str)>) {
    let width = after.len() + 1;
    // How many lines the rest of one and the rest of the other have in common.
    let mut common = vec![0u32; (before.len() + 1) * width];
    let cell = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in before.iter().enumerate().rev() {
        for (j, b) in after.iter().enumerate().rev() {
            let best = match a == b {
                true => cell(&common, i + 1, j + 1) + 1,
                false => cell(&common, i + 1, j).max(cell(&common, i, j + 1)),
            };
            if let Some(place) = common.get_mut(i * width + j) {
                *place = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    loop {
        match (before.get(i), after.get(j)) {
            (Some(a), Some(b)) if a == b => {
                lines.push((' ', a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || cell(&common, i + 1, j) >= cell(&common, i, j + 1) => {
                lines.push(('-', a));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(('+', b));
                j += 1;
            }
            (_, None) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, expected: &str) {
        assert_eq!(diff(before, after).to_string(), expected);
    }

    #[test]
    fn keys_come_go_and_change_in_the_order_of_both() {
        let before = "db 0\n  \"a\" string \"1\"\n  \"c\" set\n    \"x\"\n  \"d\" string \"1\"\n";
        let after =
            "db 0\n  \"b\" list\n    \"e\"\n  \"d\" string \"2\"\ndb 1\n  \"a\" string \"1\"\n";
        check(
            before,
            after,
            "- db 0 \"a\" string \"1\"\n- db 0 \"c\" set\n-   \"x\"\n+ db 0 \"b\" list\n+   \"e\"\n\
             - db 0 \"d\" string \"1\"\n+ db 0 \"d\" string \"2\"\n+ db 1 \"a\" string \"1\"\n",
        );
        check(before, before, "");
        check(
            "",
            before,
            &format!(
                "+ {}",
                "db 0 \"a\" string \"1\"\n+ db 0 \"c\" set\n+   \"x\"\n+ db 0 \"d\" string \"1\"\n"
            ),
        );
    }

    #[test]
    fn a_change_deep_in_a_stream_shows_its_group() {
        let stream = |pending: &str| {
            format!(
                "db 0\n  \"s\" stream last 1-0 added 1\n    1-0 \"f\" \"v\"\n    group \"g\" last 1-0 read 1 lag 0\n\
                 {pending}    group \"h\" last 1-0 read 1 lag 0\n"
            )
        };
        check(
            &stream("      pending 1-0 deliveries 1\n"),
            &stream("      pending 1-0 deliveries 2\n"),
            "  db 0 \"s\" stream last 1-0 added 1\n    group \"g\" last 1-0 read 1 lag 0\n\
             -     pending 1-0 deliveries 1\n+     pending 1-0 deliveries 2\n",
        );
    }

    #[test]
    fn names_with_quotes_in_them_are_told_apart() {
        let key = |name: &str, value: &str| format!("db 0\n  {name} string \"{value}\"\n");
        check(
            &key(r#""a\" string""#, "1"),
            &key(r#""a\\""#, "1"),
            "- db 0 \"a\\\" string\" string \"1\"\n+ db 0 \"a\\\\\" string \"1\"\n",
        );
    }

    #[test]
    fn of_lists_only_what_moved_is_shown() {
        let list = |elements: &str| {
            let lines = elements.chars().map(|c| format!("    \"{c}\"\n"));
            format!("db 0\n  \"l\" list\n{}", lines.collect::<String>())
        };
        check(
            &list("abcdef"),
            &list("xacdfe"),
            "  db 0 \"l\" list\n+   \"x\"\n-   \"b\"\n-   \"e\"\n+   \"e\"\n",
        );
    }
}
