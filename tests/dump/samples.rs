//! The samples of tests/data/payloads.txt.

use super::common::{Argv, Server, notation};
use super::target::Target;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// A value: the commands that make it, and its payload.
pub struct Sample {
    pub name: String,
    pub mark: Mark,
    pub commands: Vec<Argv>,
    pub payload: Vec<u8>,
}

/// How far DUMP must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// After the commands and after RESTORE.
    None,
    /// After RESTORE.
    Restored,
    /// Not at all.
    Order,
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", "payloads.txt"]
        .iter()
        .collect()
}

/// All samples.
pub fn all() -> Vec<Sample> {
    let text = fs::read_to_string(path()).unwrap();
    let mut samples: Vec<Sample> = Vec::new();
    for line in text.lines() {
        let last = samples.last_mut();
        if let Some(head) = line.strip_prefix("== ") {
            let (name, mark) = match head.split_once(" {") {
                Some((name, "restored}")) => (name, Mark::Restored),
                Some((name, "order}")) => (name, Mark::Order),
                Some(_) => panic!("an unknown mark: {head}"),
                None => (head, Mark::None),
            };
            samples.push(Sample {
                name: name.into(),
                mark,
                commands: Vec::new(),
                payload: Vec::new(),
            });
        } else if let Some(sample) = last
            && !line.is_empty()
        {
            match line.strip_prefix("> ") {
                Some(hex) => sample.payload.extend(unhex(hex)),
                None => sample.commands.extend(commands(line)),
            }
        }
    }
    samples
}

/// The commands of one line, see the head of the file.
pub fn commands(line: &str) -> Vec<Argv> {
    let repeated = line.split_once(' ').and_then(|(range, command)| {
        let (from, to) = range.split_once("..")?;
        Some((from.parse::<u32>().ok()?..=to.parse().ok()?, command))
    });
    match repeated {
        Some((numbers, command)) => numbers
            .map(|n| words(&command.replace('$', &n.to_string())))
            .collect(),
        None => vec![words(line)],
    }
}

fn words(line: &str) -> Argv {
    let mut out: Argv = Vec::new();
    for word in notation::words(line).unwrap() {
        let star = word.iter().rposition(|&b| b == b'*');
        let times = star.and_then(|at| std::str::from_utf8(&word[at + 1..]).ok()?.parse().ok());
        match (star, times, out.last_mut()) {
            // A quoted text and what repeats it come as two words.
            (Some(0), Some(times), Some(last)) => *last = last.repeat(times),
            (Some(at), Some(times), _) => out.push(word[..at].repeat(times)),
            _ => out.push(word),
        }
    }
    out
}

/// Asks a real server for all payloads and writes them into the file.
pub fn record() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let mut there = Target::at(&redis);
    let payloads = all().into_iter().map(|sample| {
        // Another one would say the same in other words.
        if sample.mark != Mark::None && !sample.payload.is_empty() {
            return sample.payload;
        }
        there.reset();
        there.run_all(&sample.commands);
        there.dump(b"k")
    });
    let payloads: Vec<_> = payloads.collect();
    let text = fs::read_to_string(path()).unwrap();
    let mut out = String::new();
    let mut next = payloads.iter();
    let mut due: Option<&Vec<u8>> = None;
    let blank = std::iter::once("");
    for line in text.lines().filter(|l| !l.starts_with("> ")).chain(blank) {
        if line.is_empty()
            && let Some(payload) = due.take()
        {
            for part in payload.chunks(55) {
                _ = writeln!(out, "> {}", hex(part));
            }
        }
        if line.starts_with("== ") {
            due = next.next();
        }
        out += line;
        out.push('\n');
    }
    fs::write(path(), out.trim_end().to_owned() + "\n").unwrap();
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        _ = write!(out, "{b:02x}");
        out
    })
}

pub fn unhex(text: &str) -> Vec<u8> {
    let pairs = text
        .as_bytes()
        .chunks(2)
        .map(|p| std::str::from_utf8(p).unwrap());
    pairs.map(|p| u8::from_str_radix(p, 16).unwrap()).collect()
}
