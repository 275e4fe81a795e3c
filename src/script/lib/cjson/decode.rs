//! JSON to Lua values.

use mlua::{Error, Lua, LuaString, Result, Table, Value};

use super::{Call, DEEPEST, Options};
use crate::script::fault::located;
use crate::script::watch::Watch;

/// What stands next in a text.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(what) => what,
        }
    }
}

/// Reads a whole text.
pub(super) fn decode(lua: &Lua, call: &mut Call<'_>, text: &[u8]) -> Result<Value> {
    if text.len() >= 2 && text.iter().take(2).any(|&b| b == 0) {
        let text = "JSON parser does not support UTF-16 or UTF-32";
        return Err(located(lua, text));
    }
    let mut decoder = Decoder {
        lua,
        options: call.options,
        watch: &mut call.watch,
        text,
        at: 0,
        begin: 0,
        stack: Vec::new(),
    };
    let first = decoder.next();
    let value = decoder.whole(first)?;
    match decoder.next() {
        Token::End => Ok(value),
        other => Err(decoder.unexpected("the end", &other)),
    }
}

struct Decoder<'a, 'w> {
    lua: &'a Lua,
    options: &'a Options,
    watch: &'a mut Watch<'w>,
    text: &'a [u8],
    at: usize,
    /// Where the latest token begins, or where it went wrong.
    begin: usize,
    stack: Vec<Frame>,
}

/// A table that is being read. They are kept apart from the thread's stack, which is not deep enough for all.
enum Frame {
    Array {
        table: Table,
        next: usize,
    },
    Object {
        table: Table,
        key: Option<LuaString>,
    },
}

impl Decoder<'_, '_> {
    fn peek(&self) -> u8 {
        self.ahead(0)
    }

    /// A text ends at a zero byte.
    fn ahead(&self, n: usize) -> u8 {
        self.text.get(self.at + n).copied().unwrap_or(0)
    }

    fn unexpected(&self, wanted: &str, found: &Token) -> Error {
        let text = format!(
            "Expected {wanted} but found {} at character {}",
            found.name(),
            self.begin + 1
        );
        located(self.lua, text)
    }

    fn next(&mut self) -> Token {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.begin = self.at;
        let mark = match self.peek() {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            0 => return Token::End,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.options.decode_invalid && self.is_invalid_number() {
                    return Token::Wrong("invalid number");
                }
                return self.number();
            }
            _ => return self.word(),
        };
        self.at += 1;
        mark
    }

    fn word(&mut self) -> Token {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, token) in [
            (&b"true"[..], Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return token;
            }
        }
        if self.options.decode_invalid && self.is_invalid_number() {
            return self.number();
        }
        Token::Wrong("invalid token")
    }

    /// Whether a number begins here that is none in JSON.
    fn is_invalid_number(&self) -> bool {
        let skip = usize::from(self.peek() == b'-');
        match (self.peek(), self.ahead(skip)) {
            (b'+', _) => true,
            (_, b'0') => matches!(self.ahead(skip + 1), b'x' | b'X' | b'0'..=b'9'),
            (_, b'1'..=b'9') => false,
            _ => {
                let rest = self.text.get(self.at + skip..).unwrap_or_default();
                let word = rest.get(..3).unwrap_or_default();
                word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn number(&mut self) -> Token {
        let rest = self.text.get(self.at..).unwrap_or_default();
        match number(rest) {
            Some((value, len)) => {
                self.at += len;
                Token::Number(value)
            }
            None => Token::Wrong("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let begin = self.begin;
        self.at += 1;
        let mut out = Vec::new();
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    self.begin = begin;
                    return Token::Text(out);
                }
                0 => {
                    self.begin = self.at;
                    return Token::Wrong("unexpected end of string");
                }
                b'\\' => {
                    self.begin = self.at;
                    let plain = match self.ahead(1) {
                        b @ (b'"' | b'\\' | b'/') => b,
                        b'b' => 0x08,
                        b'f' => 0x0c,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'u' => match self.unicode() {
                            Some((c, len)) => {
                                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                                self.at += len;
                                continue;
                            }
                            None => return Token::Wrong("invalid unicode escape code"),
                        },
                        _ => return Token::Wrong("invalid escape code"),
                    };
                    out.push(plain);
                    self.at += 2;
                }
                b => {
                    out.push(b);
                    self.at += 1;
                }
            }
        }
    }

    /// The character of an escape that begins here, and the length of the escape.
    fn unicode(&self) -> Option<(char, usize)> {
        let unit = |from: usize| -> Option<u32> {
            let digits = self.text.get(self.at + from..self.at + from + 4)?;
            let digits = std::str::from_utf8(digits).ok()?;
            let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
            all.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        };
        let high = unit(2)?;
        if !(0xd800..0xdc00).contains(&high) {
            return Some((char::from_u32(high)?, 6));
        }
        if (self.ahead(6), self.ahead(7)) != (b'\\', b'u') {
            return None;
        }
        let low = unit(8).filter(|low| (0xdc00..0xe000).contains(low))?;
        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        Some((char::from_u32(code)?, 12))
    }

    /// A value that is not nested, or a table, which is begun.
    fn value(&mut self, token: Token) -> Result<Option<Value>> {
        self.watch.step(0, 0)?;
        let frame = match token {
            Token::Text(text) => {
                return Ok(Some(Value::String(self.lua.create_string(text)?)));
            }
            Token::Number(n) => return Ok(Some(Value::Number(n))),
            Token::Boolean(b) => return Ok(Some(Value::Boolean(b))),
            Token::Null => return Ok(Some(Value::NULL)),
            Token::ObjectBegin => Frame::Object {
                table: self.new_table()?,
                key: None,
            },
            Token::ArrayBegin => Frame::Array {
                table: self.new_table()?,
                next: 1,
            },
            other => return Err(self.unexpected("value", &other)),
        };
        self.stack.push(frame);
        Ok(None)
    }

    /// Reads on until the value that began with a token is complete.
    fn whole(&mut self, first: Token) -> Result<Value> {
        let mut done = self.value(first)?;
        loop {
            let (Some(value), Some(frame)) = (&done, self.stack.last_mut()) else {
                match done {
                    Some(value) => return Ok(value),
                    None => done = self.begin_table()?,
                }
                continue;
            };
            match frame {
                Frame::Array { table, next } => {
                    table.raw_set(*next, value)?;
                    *next += 1;
                }
                Frame::Object { table, key } => table.raw_set(key.take(), value)?,
            }
            done = self.go_on()?;
        }
    }

    /// After the opening of a table: it ends, or its first value comes.
    fn begin_table(&mut self) -> Result<Option<Value>> {
        let token = self.next();
        match (self.stack.last(), &token) {
            (Some(Frame::Object { .. }), Token::ObjectEnd)
            | (Some(Frame::Array { .. }), Token::ArrayEnd) => Ok(self.end_table()),
            (Some(Frame::Object { .. }), _) => {
                let token = self.key(token)?;
                self.value(token)
            }
            _ => self.value(token),
        }
    }

    /// After a value in a table: it ends, or its next value comes.
    fn go_on(&mut self) -> Result<Option<Value>> {
        let token = self.next();
        match (self.stack.last(), &token) {
            (Some(Frame::Object { .. }), Token::ObjectEnd)
            | (Some(Frame::Array { .. }), Token::ArrayEnd) => Ok(self.end_table()),
            (Some(Frame::Object { .. }), Token::Comma) => {
                let token = self.next();
                let token = self.key(token)?;
                self.value(token)
            }
            (_, Token::Comma) => {
                let token = self.next();
                self.value(token)
            }
            (Some(Frame::Object { .. }), _) => Err(self.unexpected("comma or object end", &token)),
            _ => Err(self.unexpected("comma or array end", &token)),
        }
    }

    fn end_table(&mut self) -> Option<Value> {
        self.stack.pop().map(|frame| match frame {
            Frame::Array { table, .. } | Frame::Object { table, .. } => Value::Table(table),
        })
    }

    /// Notes a key, and gives what begins its value.
    fn key(&mut self, token: Token) -> Result<Token> {
        let Token::Text(text) = token else {
            return Err(self.unexpected("object key string", &token));
        };
        let name = self.lua.create_string(text)?;
        if let Some(Frame::Object { key, .. }) = self.stack.last_mut() {
            *key = Some(name);
        }
        match self.next() {
            Token::Colon => Ok(self.next()),
            other => Err(self.unexpected("colon", &other)),
        }
    }

    fn new_table(&self) -> Result<Table> {
        let depth = self.stack.len() as i64 + 1;
        if depth > self.options.decode_depth.min(DEEPEST) {
            let text = format!(
                "Found too many nested data structures ({depth}) at character {}",
                self.at
            );
            return Err(located(self.lua, text));
        }
        self.lua.create_table()
    }
}

/// The number that a text begins with, as strtod reads it, and its length.
fn number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let negative = text.first() == Some(&b'-');
    let rest = text.get(sign..).unwrap_or_default();
    let (value, len) = unsigned(rest)?;
    Some((if negative { -value } else { value }, sign + len))
}

fn unsigned(text: &[u8]) -> Option<(f64, usize)> {
    let begins = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(word))
    };
    if begins(b"infinity") {
        return Some((f64::INFINITY, 8));
    }
    if begins(b"inf") {
        return Some((f64::INFINITY, 3));
    }
    if begins(b"nan") {
        let tail = text.get(3..).unwrap_or_default();
        let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let closed = tail
            .strip_prefix(b"(")
            .map(|t| t.iter().take_while(|b| word(b)).count())
            .filter(|&n| tail.get(n + 1) == Some(&b')'));
        return Some((f64::NAN, closed.map_or(3, |n| n + 5)));
    }
    if begins(b"0x")
        && let Some(found) = hexadecimal(text)
    {
        return Some(found);
    }
    decimal(text)
}

fn digits(text: &[u8], from: usize, is: fn(&u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|b| is(b)).count()
}

/// Where the exponent that begins at `at` with one of the letters ends; `at` if there is none.
fn exponent(text: &[u8], at: usize, letter: u8) -> usize {
    let lower = text.get(at).map(u8::to_ascii_lowercase);
    if lower != Some(letter) {
        return at;
    }
    let begin = at + 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
    let end = digits(text, begin, u8::is_ascii_digit);
    if end > begin { end } else { at }
}

fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = digits(text, 0, u8::is_ascii_digit);
    let mut end = whole;
    if text.get(whole) == Some(&b'.') {
        end = digits(text, whole + 1, u8::is_ascii_digit);
        if end == 1 {
            return None;
        }
    }
    if end == 0 {
        return None;
    }
    let end = exponent(text, end, b'e');
    let text = std::str::from_utf8(text.get(..end)?).ok()?;
    Some((text.parse().ok()?, end))
}

fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = digits(text, 2, u8::is_ascii_hexdigit);
    let mut end = whole;
    if text.get(whole) == Some(&b'.') {
        end = digits(text, whole + 1, u8::is_ascii_hexdigit);
    }
    let (mut value, mut scale, mut seen) = (0.0f64, 0i32, 0);
    for (i, &b) in text.get(2..end)?.iter().enumerate() {
        if let Some(digit) = char::from(b).to_digit(16) {
            value = value * 16.0 + f64::from(digit);
            seen += 1;
            if i + 2 > whole {
                scale -= 4;
            }
        }
    }
    if seen == 0 {
        return None;
    }
    let after = exponent(text, end, b'p');
    if after > end {
        let power = std::str::from_utf8(text.get(end + 1..after)?).ok()?;
        scale = scale.saturating_add(power.parse().unwrap_or_default());
    }
    Some((value * 2f64.powi(scale), after))
}
