//! The manifest: which files make up the log. One line each, `file NAME seq N type b|i|h`.

use std::fmt::Write;

use crate::resp::{quote, split_line};

/// Longest line that is read.
const LONGEST: usize = 1024;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Where everything begins: a snapshot.
    Base,
    /// What happened since.
    Increment,
    /// No longer needed.
    History,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name, inside of the directory.
    pub name: String,
    /// Its number among those of its kind.
    pub seq: u64,
}

/// The files, in the order in which they are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The snapshot, if there is one.
    pub base: Option<Part>,
    /// The logs behind it.
    pub increments: Vec<Part>,
    /// What is to be removed.
    pub history: Vec<Part>,
    base_seq: u64,
    increment_seq: u64,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at line {line}")]
pub struct ManifestError {
    /// What is wrong.
    pub what: &'static str,
    /// Where, from 1; 0 if it is the whole.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

impl Manifest {
    /// Reads a manifest. Fields that are unknown are passed over.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::default();
        let mut line = 0;
        for bytes in text.split_inclusive(|&byte| byte == b'\n') {
            line += 1;
            let fault = |what| ManifestError {
                what,
                line,
                text: String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned(),
            };
            if bytes.first() == Some(&b'#') {
                continue;
            }
            if bytes.len() > LONGEST || bytes.last() != Some(&b'\n') {
                return Err(fault("The AOF manifest file contains too long line"));
            }
            manifest.read(bytes).map_err(fault)?;
        }
        match line {
            0 => Err(ManifestError {
                what: "Found an empty AOF manifest",
                line: 0,
                text: String::new(),
            }),
            _ => Ok(manifest),
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<(), &'static str> {
        const FORMAT: &str = "Invalid AOF manifest file format";
        let words = split_line(line.trim_ascii()).map_err(|_| FORMAT)?;
        if words.len() < 6 || words.len() % 2 != 0 {
            return Err(FORMAT);
        }
        let (mut name, mut seq, mut kind) = (None, 0, None);
        for (key, value) in words.iter().zip(words.iter().skip(1)).step_by(2) {
            if key.eq_ignore_ascii_case(b"file") {
                let text = String::from_utf8(value.clone()).map_err(|_| FORMAT)?;
                if text.contains(['/', '\\']) {
                    return Err("File can't be a path, just a filename");
                }
                name = Some(text);
            } else if key.eq_ignore_ascii_case(b"seq") {
                seq = std::str::from_utf8(value)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .unwrap_or(0);
            } else if key.eq_ignore_ascii_case(b"type") {
                kind = value.first().copied();
            }
        }
        let (Some(name), Some(kind), 1..) = (name, kind, seq) else {
            return Err(FORMAT);
        };
        self.add(kind, Part { name, seq })
    }

    fn add(&mut self, kind: u8, part: Part) -> Result<(), &'static str> {
        match kind {
            b'b' if self.base.is_some() => {
                return Err("Found duplicate base file information");
            }
            b'b' => {
                self.base_seq = part.seq;
                self.base = Some(part);
            }
            b'h' => self.history.push(part),
            b'i' if part.seq <= self.increment_seq => {
                return Err("Found a non-monotonic sequence number");
            }
            b'i' => {
                self.increment_seq = part.seq;
                self.increments.push(part);
            }
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// The manifest as it is written.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if self.is_empty() && self.history.is_empty() {
            // An empty manifest is none.
            text.push_str("# No file yet.\n");
        }
        let base = self.base.iter().map(|part| (part, 'b'));
        let history = self.history.iter().map(|part| (part, 'h'));
        let increments = self.increments.iter().map(|part| (part, 'i'));
        for (Part { name, seq }, kind) in base.chain(history).chain(increments) {
            let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
            let mut word = Vec::new();
            match name.chars().all(plain) && !name.is_empty() {
                true => word.extend_from_slice(name.as_bytes()),
                false => quote(&mut word, name.as_bytes()),
            }
            let word = String::from_utf8_lossy(&word);
            // Writing into a String cannot fail.
            let _ = writeln!(text, "file {word} seq {seq} type {kind}");
        }
        text
    }

    /// Whether there is nothing to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.increments.is_empty()
    }

    /// Whether this file is the base, and there is nothing else.
    pub fn is_only(&self, name: &str) -> bool {
        let base = self.base.as_ref().is_some_and(|base| base.name == name);
        base && self.increments.is_empty()
    }

    /// The files to load, in order.
    pub fn parts(&self) -> impl Iterator<Item = (&Part, Kind)> {
        let base = self.base.iter().map(|part| (part, Kind::Base));
        let increments = self.increments.iter().map(|part| (part, Kind::Increment));
        base.chain(increments)
    }

    /// A name and a number for a further log. They are not given again, whether or not it is [added](Self::add_increment).
    pub fn claim_increment(&mut self, prefix: &str) -> Part {
        self.increment_seq += 1;
        let seq = self.increment_seq;
        let name = format!("{prefix}.{seq}.incr.aof");
        Part { name, seq }
    }

    /// A log is begun, after all others. One of the past that had its name is gone.
    pub fn add_increment(&mut self, part: Part) {
        self.history.retain(|old| old.name != part.name);
        self.increments.push(part);
    }

    /// A name and a number for a further base. They are not given again, whether or not it is [set](Self::set_base): a
    /// manifest that names it may be on the disk all the same.
    pub fn claim_base(&mut self, prefix: &str, rdb: bool) -> Part {
        let form = if rdb { "rdb" } else { "aof" };
        self.base_seq += 1;
        let seq = self.base_seq;
        let name = format!("{prefix}.{seq}.base.{form}");
        Part { name, seq }
    }

    /// A new base holds all that came before the last `kept` logs: what was there is history.
    pub fn set_base(&mut self, base: Part, kept: usize) {
        self.history.extend(self.base.replace(base));
        let old = self.increments.len().saturating_sub(kept);
        self.history.extend(self.increments.drain(..old));
    }

    /// A file of before there were manifests becomes the base.
    pub fn adopt(&mut self, name: String) {
        self.base_seq += 1;
        self.base = Some(Part {
            name,
            seq: self.base_seq,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "file a.2.base.rdb seq 2 type b\nfile a.1.incr.aof seq 1 type h\n\
        file a.4.incr.aof seq 4 type i\nfile a.5.incr.aof seq 5 type i\n";

    #[test]
    fn what_was_read_is_written_again() {
        let mut manifest = Manifest::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(manifest.text(), TEXT);
        let names: Vec<_> = manifest.parts().map(|(p, k)| (&*p.name, k)).collect();
        let expected = [
            ("a.2.base.rdb", Kind::Base),
            ("a.4.incr.aof", Kind::Increment),
            ("a.5.incr.aof", Kind::Increment),
        ];
        assert_eq!(names, expected);
        let log = manifest.claim_increment("a");
        assert_eq!(log.name, "a.6.incr.aof");
        manifest.add_increment(log);
        let base = manifest.claim_base("a", false);
        assert_eq!(base.name, "a.3.base.aof");
        manifest.set_base(base, 1);
        let text = "file a.3.base.aof seq 3 type b\nfile a.1.incr.aof seq 1 type h\n\
            file a.2.base.rdb seq 2 type h\nfile a.4.incr.aof seq 4 type h\n\
            file a.5.incr.aof seq 5 type h\nfile a.6.incr.aof seq 6 type i\n";
        assert_eq!(manifest.text(), text);
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap().text(), text);
    }

    #[test]
    fn names_with_spaces_are_quoted_and_unknown_fields_passed_over() {
        let text = "# a comment\nFILE \"a b\\n.aof\" new field seq 7 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.increments[0].name, "a b\n.aof");
        assert_eq!(manifest.text(), "file \"a b\\n.aof\" seq 7 type i\n");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, what) in [
            ("", "Found an empty AOF manifest"),
            ("\n", "Invalid AOF manifest file format"),
            ("file a seq 1\n", "Invalid AOF manifest file format"),
            ("file a seq 0 type b\n", "Invalid AOF manifest file format"),
            (
                "file a seq 1 type b",
                "The AOF manifest file contains too long line",
            ),
            (
                "file x/a seq 1 type b\n",
                "File can't be a path, just a filename",
            ),
            (
                "file a seq 1 type b\nfile b seq 2 type b\n",
                "Found duplicate base file information",
            ),
            (
                "file a seq 2 type i\nfile b seq 2 type i\n",
                "Found a non-monotonic sequence number",
            ),
            ("file a seq 1 type x\n", "Unknown AOF file type"),
        ] {
            assert_eq!(
                Manifest::parse(text.as_bytes()).unwrap_err().what,
                what,
                "{text}"
            );
        }
        let long = format!("file {} seq 1 type b\n", "x".repeat(LONGEST));
        assert!(Manifest::parse(long.as_bytes()).is_err());
    }
}
