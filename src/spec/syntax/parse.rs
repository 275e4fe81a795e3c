//! Reads the one-line syntax.

use std::borrow::Cow;

use super::{Arg, Kind};

const MAX_DEPTH: usize = 16;

/// Where and why a syntax line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of {line:?}")]
pub struct SyntaxError {
    /// Byte position.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
    /// The line.
    pub line: String,
}

struct Parser<'a> {
    line: &'a str,
    at: usize,
    depth: usize,
}

/// A word as it stands: a token or a name.
enum Word<'a> {
    Token(&'a str),
    Name(&'a str),
}

type Parsed<T> = Result<T, (usize, &'static str)>;

pub(super) fn parse(line: &str) -> Result<Vec<Arg<'_>>, SyntaxError> {
    let mut p = Parser {
        line,
        at: 0,
        depth: 0,
    };
    p.list()
        .and_then(|args| {
            if p.at == line.len() {
                Ok(args)
            } else {
                Err((p.at, "unexpected text"))
            }
        })
        .map_err(|(at, what)| SyntaxError {
            at,
            what,
            line: line.to_owned(),
        })
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or("")
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn eat(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn expect(&mut self, what: &str, or: &'static str) -> Parsed<()> {
        if self.eat(what) {
            Ok(())
        } else {
            Err((self.at, or))
        }
    }

    fn take(&mut self, ok: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !ok(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn quoted(&mut self, quote: &str) -> Parsed<&'a str> {
        let text = self.take(|c| !quote.contains(c));
        self.expect(quote, "the quote is not closed")?;
        Ok(text)
    }

    fn list(&mut self) -> Parsed<Vec<Arg<'a>>> {
        let mut args = Vec::new();
        loop {
            self.spaces();
            if self.rest().is_empty() || self.rest().starts_with('}') {
                return Ok(args);
            }
            args.push(self.item()?);
        }
    }

    fn item(&mut self) -> Parsed<Arg<'a>> {
        self.spaces();
        if !self.eat("[") {
            return self.arg();
        }
        self.spaces();
        let mut arg = self.arg()?;
        self.spaces();
        self.expect(
            "]",
            "']' expected (several optional arguments go into a named block)",
        )?;
        arg.optional = true;
        Ok(arg)
    }

    fn word(&mut self) -> Parsed<Word<'a>> {
        let at = self.at;
        if self.eat("'") {
            return match self.quoted("'")? {
                "" => Err((at, "an empty token")),
                text => Ok(Word::Token(text)),
            };
        }
        let word = self.take(|c| c.is_ascii_alphanumeric() || "-_/".contains(c));
        match word.bytes().any(|b| b.is_ascii_lowercase()) {
            _ if word.is_empty() => Err((at, "an argument expected")),
            true => Ok(Word::Name(word)),
            false => Ok(Word::Token(word)),
        }
    }

    fn arg(&mut self) -> Parsed<Arg<'a>> {
        let at = self.at;
        let mut word = self.word()?;
        let mut token = None;
        if self.eat("^") {
            let Word::Token(t) = word else {
                return Err((at, "a token is in capitals or quoted"));
            };
            token = Some(t);
            word = self.word()?;
        }
        let mut arg = self.core(word, at)?;
        match (token, &arg.kind) {
            (Some(_), Kind::PureToken) => return Err((at, "a token before a token")),
            (Some(_), _) => arg.token = token,
            _ => {}
        }
        self.suffixes(&mut arg)?;
        Ok(arg)
    }

    fn core(&mut self, word: Word<'a>, at: usize) -> Parsed<Arg<'a>> {
        let (Word::Token(text) | Word::Name(text)) = word;
        if self.eat(":") {
            return Ok(new(Cow::Borrowed(text), self.kind()?));
        }
        if self.eat("=") {
            return self.named(text);
        }
        Ok(match word {
            Word::Name(name) => new(Cow::Borrowed(name), Kind::String),
            Word::Token(t) if t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => Arg {
                token: Some(t),
                ..new(Cow::Owned(t.to_ascii_lowercase()), Kind::PureToken)
            },
            Word::Token(_) => return Err((at, "a token of signs needs a name")),
        })
    }

    /// What follows `name=`.
    fn named(&mut self, name: &'a str) -> Parsed<Arg<'a>> {
        let name = Cow::Borrowed(name);
        if self.depth == MAX_DEPTH {
            return Err((self.at, "nested too deeply"));
        }
        self.depth += 1;
        let arg = if self.eat("(") {
            new(name, Kind::OneOf(self.alternatives()?))
        } else if self.eat("{") {
            let args = self.list()?;
            self.expect("}", "'}' expected")?;
            if args.is_empty() {
                return Err((self.at, "an empty block"));
            }
            new(name, Kind::Block(args))
        } else {
            match self.word()? {
                Word::Token(t) => Arg {
                    token: Some(t),
                    ..new(name, Kind::PureToken)
                },
                Word::Name(_) => return Err((self.at, "a token, '(' or '{' expected after '='")),
            }
        };
        self.depth -= 1;
        Ok(arg)
    }

    fn alternatives(&mut self) -> Parsed<Vec<Arg<'a>>> {
        let mut args = vec![self.item()?];
        loop {
            self.spaces();
            if self.eat(")") {
                return Ok(args);
            }
            self.expect("|", "'|' or ')' expected")?;
            args.push(self.item()?);
        }
    }

    fn kind(&mut self) -> Parsed<Kind<'a>> {
        let at = self.at;
        Ok(match self.take(|c| c.is_ascii_lowercase() || c == '-') {
            "string" => Kind::String,
            "key" => Kind::Key,
            "int" => Kind::Integer,
            "double" => Kind::Double,
            "unix-time" => Kind::UnixTime,
            "pattern" => Kind::Pattern,
            _ => return Err((at, "an unknown type")),
        })
    }

    fn suffixes(&mut self, arg: &mut Arg<'a>) -> Parsed<()> {
        loop {
            if self.eat("...") {
                arg.multiple = true;
                arg.multiple_token = self.eat("^");
                if arg.multiple_token && arg.token.is_none() {
                    return Err((self.at, "no token to repeat"));
                }
                if self.eat("=") {
                    arg.count = Some(self.name()?);
                }
            } else if self.eat("#") {
                let at = self.at;
                let n = self.take(|c| c.is_ascii_digit()).parse();
                arg.key_spec = Some(n.map_err(|_| (at, "the index of a key spec expected"))?);
            } else if self.eat("\"") {
                arg.display = Some(self.quoted("\"")?);
            } else if self.eat("@") {
                arg.since = Some(self.version()?);
            } else if self.eat("!") {
                arg.deprecated = Some(self.version()?);
            } else {
                break;
            }
        }
        if arg.kind == Kind::Key && arg.key_spec.is_none() {
            arg.key_spec = Some(0);
        }
        match self.rest().chars().next() {
            None | Some(' ' | ']' | ')' | '}') => Ok(()),
            Some(_) => Err((self.at, "unexpected text after an argument")),
        }
    }

    fn name(&mut self) -> Parsed<&'a str> {
        match self.word()? {
            Word::Name(n) | Word::Token(n) => Ok(n),
        }
    }

    fn version(&mut self) -> Parsed<&'a str> {
        let at = self.at;
        let v = self.take(|c| c.is_ascii_digit() || c == '.');
        let plain = v.split('.').count() == 3 && v.split('.').all(|n| !n.is_empty());
        if plain {
            Ok(v)
        } else {
            Err((at, "a version of three numbers expected"))
        }
    }
}

const fn new<'a>(name: Cow<'a, str>, kind: Kind<'a>) -> Arg<'a> {
    Arg {
        name,
        kind,
        token: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        count: None,
        key_spec: None,
        since: None,
        deprecated: None,
        display: None,
    }
}
