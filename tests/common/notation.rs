//! The readable notation of replies that transcripts use, and patterns over it.
//!
//! | notation | reply |
//! |---|---|
//! | `+OK`, `-ERR text` | simple string, error: to the end of the line; quoted inside an array when not one word |
//! | `:12` | integer |
//! | `"text\n"` | bulk string; `\xNN`, `\n`, `\r`, `\t`, `\"`, `\\` |
//! | `$-1`, `*-1`, `_` | the three nulls |
//! | `[…]`, `{k => v …}`, `set[…]`, `push[…]` | array, map, set, push |
//! | `#t`, `,1.5`, `(123`, `=txt:"…"` | boolean, double, big number, verbatim string |
//! | `~` | anything |
//! | `~:`, `~:1..9` | any integer, an integer in a range |
//! | `~"a*"`, `~+a*`, `~-a*` | a string of that kind where each `*` stands for any run of bytes |
//! | `~[…]`, `~{…}`, `~set[…]` | the same elements in any order |
//! | `...` | as the last element: whatever follows |

use super::Reply;
use std::fmt::Write;

/// What a reply is expected to look like.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    Exact(Reply),
    Any,
    Int(i64, i64),
    /// A string-like reply (`"`, `+` or `-`) matched against a text with `*`.
    Like(u8, Vec<u8>),
    Either(Box<Pattern>, Box<Pattern>),
    Seq {
        kind: Kind,
        items: Vec<Pattern>,
        any_order: bool,
        open: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Array,
    Map,
    Set,
    Push,
}

/// Writes a reply: on one line when short, else one element per line.
pub fn render(reply: &Reply) -> String {
    let mut out = String::new();
    write_reply(&mut out, reply, 0, true);
    out
}

/// Quotes bytes as transcripts and redis-cli do.
pub fn quote(bytes: &[u8]) -> String {
    let mut s = String::from("\"");
    for &b in bytes {
        match b {
            b'"' => s.push_str("\\\""),
            b'\\' => s.push_str("\\\\"),
            b'\n' => s.push_str("\\n"),
            b'\r' => s.push_str("\\r"),
            b'\t' => s.push_str("\\t"),
            0x20..=0x7e => s.push(b as char),
            _ => _ = write!(s, "\\x{b:02x}"),
        }
    }
    s.push('"');
    s
}

fn line_text(tag: char, b: &[u8], top: bool) -> String {
    let word = |c: &u8| c.is_ascii_alphanumeric() || b"@_-|".contains(c);
    let printable = b.iter().all(|c| (0x20..0x7f).contains(c));
    let plain = printable && !b.starts_with(b"\"") && b.trim_ascii() == b;
    if (top && plain) || (!b.is_empty() && b.iter().all(word)) {
        format!("{tag}{}", String::from_utf8_lossy(b))
    } else {
        format!("{tag}{}", quote(b))
    }
}

fn write_reply(out: &mut String, r: &Reply, indent: usize, top: bool) {
    let leaf = match r {
        Reply::Simple(b) => line_text('+', b, top),
        Reply::Error(b) => line_text('-', b, top),
        Reply::Int(n) => format!(":{n}"),
        Reply::Bulk(b) => quote(b),
        Reply::NullBulk => "$-1".into(),
        Reply::NullArray => "*-1".into(),
        Reply::Null => "_".into(),
        Reply::Bool(b) => if *b { "#t" } else { "#f" }.into(),
        Reply::Double(t) => format!(",{t}"),
        Reply::Big(t) => format!("({t}"),
        Reply::Verbatim(f, b) => format!("={f}:{}", quote(b)),
        Reply::Array(v) => return write_seq(out, "[", ']', v, indent),
        Reply::Set(v) => return write_seq(out, "set[", ']', v, indent),
        Reply::Push(v) => return write_seq(out, "push[", ']', v, indent),
        Reply::Map(pairs) => return write_map(out, pairs, indent),
    };
    out.push_str(&leaf);
}

fn fits(parts: &[String], indent: usize) -> bool {
    let len: usize = parts.iter().map(|p| p.len() + 1).sum();
    indent + len < 110 && parts.iter().all(|p| !p.contains('\n'))
}

fn close(out: &mut String, open: &str, end: char, parts: &[String], indent: usize) {
    out.push_str(open);
    if fits(parts, indent) {
        out.push_str(&parts.join(" "));
    } else {
        for p in parts {
            _ = write!(out, "\n{:1$}{p}", "", indent + 2);
        }
        _ = write!(out, "\n{:1$}", "", indent);
    }
    out.push(end);
}

fn write_seq(out: &mut String, open: &str, end: char, v: &[Reply], indent: usize) {
    let parts: Vec<_> = v.iter().map(|r| nested(r, indent)).collect();
    close(out, open, end, &parts, indent);
}

fn nested(r: &Reply, indent: usize) -> String {
    let mut s = String::new();
    write_reply(&mut s, r, indent + 2, false);
    s
}

fn write_map(out: &mut String, pairs: &[(Reply, Reply)], indent: usize) {
    let parts: Vec<_> = pairs
        .iter()
        .map(|(k, v)| format!("{} => {}", nested(k, indent), nested(v, indent)))
        .collect();
    close(out, "{", '}', &parts, indent);
}

/// Reads one pattern; the text must hold nothing else.
pub fn parse(text: &str) -> Result<Pattern, String> {
    let mut p = Reader {
        s: text.trim().as_bytes(),
        at: 0,
    };
    let pattern = p.pattern(true)?;
    p.space();
    if p.at < p.s.len() {
        return Err(format!(
            "left over: {}",
            String::from_utf8_lossy(&p.s[p.at..])
        ));
    }
    Ok(pattern)
}

/// Splits a command line as redis-cli does: words, "escaped" and 'plain' strings.
pub fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut r = Reader {
        s: line.as_bytes(),
        at: 0,
    };
    let mut out = Vec::new();
    loop {
        r.space();
        match r.peek() {
            None => return Ok(out),
            Some(b'"') => out.push(r.quoted()?),
            Some(b'\'') => {
                let rest = &r.s[r.at + 1..];
                let end = rest
                    .iter()
                    .position(|&b| b == b'\'')
                    .ok_or("an open ' quote")?;
                out.push(rest[..end].to_vec());
                r.at += end + 2;
            }
            Some(_) => out.push(r.until(|b| b.is_ascii_whitespace()).to_vec()),
        }
    }
}

struct Reader<'a> {
    s: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.s.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let hit = self.s[self.at..].starts_with(token.as_bytes());
        if hit {
            self.at += token.len();
        }
        hit
    }

    fn until(&mut self, end: impl Fn(u8) -> bool) -> &'a [u8] {
        let from = self.at;
        while self.peek().is_some_and(|b| !end(b)) {
            self.at += 1;
        }
        &self.s[from..self.at]
    }

    /// A word inside a pattern: brackets end it.
    fn word(&mut self) -> &'a [u8] {
        self.until(|b| b.is_ascii_whitespace() || b == b']' || b == b'}')
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        self.at += 1;
        loop {
            let b = self.peek().ok_or("an open \" quote")?;
            self.at += 1;
            match b {
                b'"' => return Ok(out),
                b'\\' => {
                    let e = self.peek().ok_or("a lone backslash")?;
                    self.at += 1;
                    out.push(match e {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'x' => {
                            let hex = self
                                .s
                                .get(self.at..self.at + 2)
                                .ok_or("a short \\x escape")?;
                            self.at += 2;
                            let hex = std::str::from_utf8(hex).map_err(|e| e.to_string())?;
                            u8::from_str_radix(hex, 16).map_err(|e| e.to_string())?
                        }
                        other => other,
                    });
                }
                b => out.push(b),
            }
        }
    }

    fn line_text(&mut self, top: bool) -> Result<Vec<u8>, String> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        if top {
            let rest = &self.s[self.at..];
            let end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            self.at += end;
            return Ok(rest[..end].to_vec());
        }
        Ok(self.word().to_vec())
    }

    fn number(&mut self) -> Result<i64, String> {
        let from = self.at;
        while self.peek().is_some_and(|b| b == b'-' || b.is_ascii_digit()) {
            self.at += 1;
        }
        let t = String::from_utf8_lossy(&self.s[from..self.at]);
        t.parse().map_err(|_| format!("not a number: {t:?}"))
    }

    fn pattern(&mut self, top: bool) -> Result<Pattern, String> {
        self.space();
        if self.eat("~") {
            return self.loose(top);
        }
        for (open, kind) in [
            ("[", Kind::Array),
            ("set[", Kind::Set),
            ("push[", Kind::Push),
            ("{", Kind::Map),
        ] {
            if self.eat(open) {
                return self.seq(kind, false);
            }
        }
        if self.eat("$-1") {
            return Ok(Pattern::Exact(Reply::NullBulk));
        }
        if self.eat("*-1") {
            return Ok(Pattern::Exact(Reply::NullArray));
        }
        let tag = self.peek().ok_or("an empty reply")?;
        if tag == b'"' {
            return Ok(Pattern::Exact(Reply::Bulk(self.quoted()?)));
        }
        self.at += 1;
        let text = |w: &[u8]| String::from_utf8_lossy(w).into_owned();
        Ok(Pattern::Exact(match tag {
            b'+' => Reply::Simple(self.line_text(top)?),
            b'-' => Reply::Error(self.line_text(top)?),
            b':' => Reply::Int(self.number()?),
            b'_' => Reply::Null,
            b'#' => Reply::Bool(self.word() == b"t"),
            b',' => Reply::Double(text(self.word())),
            b'(' => Reply::Big(text(self.word())),
            b'=' => {
                let format = text(&self.s[self.at..(self.at + 3).min(self.s.len())]);
                self.at += 4;
                if self.peek() != Some(b'"') {
                    return Err("a verbatim string is =fmt:\"text\"".into());
                }
                Reply::Verbatim(format, self.quoted()?)
            }
            other => return Err(format!("no reply starts with {:?}", other as char)),
        }))
    }

    fn loose(&mut self, top: bool) -> Result<Pattern, String> {
        for (open, kind) in [("[", Kind::Array), ("set[", Kind::Set), ("{", Kind::Map)] {
            if self.eat(open) {
                return self.seq(kind, true);
            }
        }
        Ok(match self.peek() {
            Some(b'"') => Pattern::Like(b'"', self.quoted()?),
            Some(tag @ (b'+' | b'-')) => {
                self.at += 1;
                Pattern::Like(tag, self.line_text(top)?)
            }
            Some(b'=') => {
                self.at += 1;
                Pattern::Like(b'=', self.quoted()?)
            }
            Some(b':') => {
                self.at += 1;
                if self.peek().is_some_and(|b| b == b'-' || b.is_ascii_digit()) {
                    let lo = self.number()?;
                    if !self.eat("..") {
                        return Err("an integer range is ~:lo..hi".into());
                    }
                    Pattern::Int(lo, self.number()?)
                } else {
                    Pattern::Int(i64::MIN, i64::MAX)
                }
            }
            _ => Pattern::Any,
        })
    }

    fn seq(&mut self, kind: Kind, any_order: bool) -> Result<Pattern, String> {
        let end = if kind == Kind::Map { "}" } else { "]" };
        let (mut items, mut open) = (Vec::new(), false);
        loop {
            self.space();
            if self.eat(end) {
                return Ok(Pattern::Seq {
                    kind,
                    items,
                    any_order,
                    open,
                });
            }
            if self.eat("...") {
                open = true;
                continue;
            }
            items.push(self.pattern(false)?);
            if kind == Kind::Map {
                self.space();
                if !self.eat("=>") {
                    return Err("a map is {key => value …}".into());
                }
                items.push(self.pattern(false)?);
            }
        }
    }
}

impl Pattern {
    pub fn matches(&self, r: &Reply) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Exact(e) => e == r,
            Pattern::Either(a, b) => a.matches(r) || b.matches(r),
            Pattern::Int(lo, hi) => r.int().is_some_and(|n| (*lo..=*hi).contains(&n)),
            Pattern::Like(tag, text) => {
                let kind = matches!(
                    (tag, r),
                    (b'"', Reply::Bulk(_))
                        | (b'+', Reply::Simple(_))
                        | (b'-', Reply::Error(_))
                        | (b'=', Reply::Verbatim(..))
                );
                kind && like(text, r.bytes())
            }
            Pattern::Seq {
                kind,
                items,
                any_order,
                open,
            } => {
                let (theirs, width) = match (kind, r) {
                    (Kind::Array, Reply::Array(v))
                    | (Kind::Set, Reply::Set(v))
                    | (Kind::Push, Reply::Push(v)) => (v.clone(), 1),
                    (Kind::Map, Reply::Map(p)) => (
                        p.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect(),
                        2,
                    ),
                    _ => return false,
                };
                if theirs.len() < items.len() || (!open && theirs.len() != items.len()) {
                    return false;
                }
                let ours: Vec<_> = items.chunks(width).collect();
                let mut left: Vec<_> = theirs.chunks(width).collect();
                let same = |a: &[Pattern], b: &[Reply]| a.iter().zip(b).all(|(p, r)| p.matches(r));
                if !any_order {
                    return ours.iter().zip(&left).all(|(a, b)| same(a, b));
                }
                ours.iter().all(|a| {
                    let hit = left.iter().position(|b| same(a, b));
                    hit.map(|i| left.remove(i)).is_some()
                })
            }
        }
    }
}

/// Whether `text` is `pattern`, where each `*` of the pattern stands for any run of bytes.
pub fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.iter().position(|&b| b == b'*') {
        None => pattern == text,
        Some(i) => {
            let (head, tail) = (&pattern[..i], &pattern[i + 1..]);
            text.starts_with(head) && (i..=text.len()).any(|from| like(tail, &text[from..]))
        }
    }
}
