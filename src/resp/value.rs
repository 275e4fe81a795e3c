//! Replies as owned values, for clients, tests and Lua.

use std::fmt;

use super::ReplyBuf;
use crate::util::num::parse_i64;

/// How deep a reply may nest.
const MAX_DEPTH: usize = 128;

/// The longest string a reply may hold, as Redis's own limit.
const MAX_STRING: i64 = 512 * 1024 * 1024;

/// A reply: whatever RESP2 or RESP3 can say.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `$-1` in RESP2, `_` in RESP3.
    Null,
    /// `*-1` in RESP2; written as `_` in RESP3.
    NullArray,
    /// `+text`
    Simple(Vec<u8>),
    /// `-CODE text`, or the RESP3 error of any bytes, `!`; without the leading `-`.
    Error(Vec<u8>),
    /// `:n`
    Int(i64),
    /// `$len`
    Bulk(Vec<u8>),
    /// `,1.5`
    Double(f64),
    /// `#t` or `#f`
    Bool(bool),
    /// `(` and digits
    BigNumber(Vec<u8>),
    /// `=` with a three-letter format.
    Verbatim(Vec<u8>, Vec<u8>),
    /// `*n`
    Array(Vec<Value>),
    /// `%n`
    Map(Vec<(Value, Value)>),
    /// `~n`
    Set(Vec<Value>),
    /// `>n`, which answers no request.
    Push(Vec<Value>),
    /// `|n`: side information on the value it precedes.
    Attribute(Vec<(Value, Value)>, Box<Value>),
}

/// Why bytes are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No reply starts with this byte.
    #[error("unknown reply type {0:#04x}")]
    Type(u8),
    /// A length that is no number, or out of range.
    #[error("invalid length in a reply")]
    Length,
    /// A number, boolean or null that is none.
    #[error("invalid scalar in a reply")]
    Scalar,
    /// A string without its line end.
    #[error("unterminated string in a reply")]
    Unterminated,
    /// Replies nested too deep.
    #[error("reply nested too deep")]
    Depth,
}

impl Value {
    /// Whether this is an error.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The bytes of a string of any kind, or of an error.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(b)
            | Self::Error(b)
            | Self::Bulk(b)
            | Self::BigNumber(b)
            | Self::Verbatim(_, b) => Some(b),
            _ => None,
        }
    }

    /// The value of an integer.
    #[must_use]
    pub const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// Writes the value, in the protocol version of `out`.
    pub fn write(&self, out: &mut ReplyBuf) {
        match self {
            Self::Null => out.null(),
            Self::NullArray => out.null_array(),
            Self::Simple(text) => out.simple_bytes(text),
            Self::Error(text) => out.error_bytes(text),
            Self::Int(n) => out.int(*n),
            Self::Bulk(bytes) => out.bulk(bytes),
            Self::Double(value) => out.double(*value),
            Self::Bool(value) => out.bool(*value),
            Self::BigNumber(digits) => out.big_number(digits),
            Self::Verbatim(format, bytes) => out.verbatim(&String::from_utf8_lossy(format), bytes),
            Self::Array(items) => write_items(out, items, ReplyBuf::array),
            Self::Set(items) => write_items(out, items, ReplyBuf::set),
            Self::Push(items) => write_items(out, items, ReplyBuf::push),
            Self::Map(pairs) => write_pairs(out, pairs, ReplyBuf::map),
            Self::Attribute(pairs, value) => {
                if out.is_resp3() {
                    write_pairs(out, pairs, ReplyBuf::attribute);
                }
                value.write(out);
            }
        }
    }
}

fn write_items(out: &mut ReplyBuf, items: &[Value], header: fn(&mut ReplyBuf, usize)) {
    header(out, items.len());
    items.iter().for_each(|item| item.write(out));
}

fn write_pairs(out: &mut ReplyBuf, pairs: &[(Value, Value)], header: fn(&mut ReplyBuf, usize)) {
    header(out, pairs.len());
    for (key, value) in pairs {
        key.write(out);
        value.write(out);
    }
}

/// Parses the reply that `input` starts with: the value and the bytes it took, or `None` when more are needed.
///
/// ```
/// use redkeep::resp::{Value, parse_reply};
/// assert_eq!(parse_reply(b":42\r\n+OK"), Ok(Some((Value::Int(42), 5))));
/// assert_eq!(parse_reply(b"+OK"), Ok(None));
/// ```
///
/// # Errors
/// When the bytes are no reply, whatever follows them.
pub fn parse_reply(input: &[u8]) -> Result<Option<(Value, usize)>, ParseError> {
    if let Some((text, end)) = short_bulk(input) {
        return Ok(Some((Value::Bulk(text.to_vec()), end)));
    }
    let mut parser = Parser { input, at: 0 };
    Ok(parser.value(0)?.map(|value| (value, parser.at)))
}

/// What most replies are: a string of less than 1000 bytes; and where it ends. None may also mean that it is not there whole,
/// or is wrong.
#[inline]
fn short_bulk(input: &[u8]) -> Option<(&[u8], usize)> {
    let digit = |at: usize| match *input.get(at)? {
        digit @ b'0'..=b'9' => Some(usize::from(digit - b'0')),
        _ => None,
    };
    if *input.first()? != b'$' {
        return None;
    }
    let (mut len, mut at) = (digit(1)?, 2);
    // No digit follows a zero.
    while at < 4
        && len > 0
        && let Some(next) = digit(at)
    {
        len = len * 10 + next;
        at += 1;
    }
    let rest = input.get(at..at + len + 4)?;
    match rest {
        [b'\r', b'\n', text @ .., b'\r', b'\n'] => Some((text, at + len + 4)),
        _ => None,
    }
}

/// How many bytes the reply takes that `input` starts with, side information in front of it included; `None` if it is
/// not there whole, or is none.
///
/// ```
/// use redkeep::resp::reply_len;
/// assert_eq!(reply_len(b"*2\r\n$1\r\na\r\n:1\r\n+OK\r\n"), Some(15));
/// assert_eq!(reply_len(b"$5\r\nab"), None);
/// ```
pub fn reply_len(input: &[u8]) -> Option<usize> {
    let mut parser = Parser { input, at: 0 };
    // Values that are still to come: no recursion, however deep it is nested.
    let mut left = 1u64;
    while left > 0 {
        let tag = *input.get(parser.at)?;
        let line = parser.line()?;
        left -= 1;
        match tag {
            _ if line == b"-1" => {}
            b'$' | b'!' | b'=' => drop(parser.string(line).ok()??),
            b'*' | b'~' | b'>' => left += parser.count(line).ok()?.0 as u64,
            b'%' => left += 2 * parser.count(line).ok()?.0 as u64,
            b'|' => left += 2 * parser.count(line).ok()?.0 as u64 + 1,
            _ => {}
        }
    }
    Some(parser.at)
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
}

type Parsed<T> = Result<Option<T>, ParseError>;

/// Gives up with `Ok(None)` where the input ends too early.
macro_rules! need {
    ($parsed:expr) => {
        match $parsed {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Parsed<Value> {
        if depth > MAX_DEPTH {
            return Err(ParseError::Depth);
        }
        let tag = *need!(self.input.get(self.at));
        if !is_type(tag) {
            return Err(ParseError::Type(tag));
        }
        let line = need!(self.line());
        let value = match tag {
            b'+' => Value::Simple(line.to_vec()),
            b'-' => Value::Error(line.to_vec()),
            b':' => Value::Int(parse_i64(line).ok_or(ParseError::Scalar)?),
            b',' => Value::Double(parse_double(line)?),
            b'(' => Value::BigNumber(line.to_vec()),
            b'#' => Value::Bool(match line {
                b"t" => true,
                b"f" => false,
                _ => return Err(ParseError::Scalar),
            }),
            b'_' if line.is_empty() => Value::Null,
            b'_' => return Err(ParseError::Scalar),
            b'$' if line == b"-1" => Value::Null,
            b'*' if line == b"-1" => Value::NullArray,
            b'$' => Value::Bulk(need!(self.string(line)?).to_vec()),
            b'!' => Value::Error(need!(self.string(line)?).to_vec()),
            b'=' => match need!(self.string(line)?) {
                [a, b, c, b':', text @ ..] => Value::Verbatim(vec![*a, *b, *c], text.to_vec()),
                _ => return Err(ParseError::Scalar),
            },
            b'*' => Value::Array(need!(self.items(line, depth)?)),
            b'~' => Value::Set(need!(self.items(line, depth)?)),
            b'>' => Value::Push(need!(self.items(line, depth)?)),
            b'%' => Value::Map(need!(self.pairs(line, depth)?)),
            _ => {
                let pairs = need!(self.pairs(line, depth)?);
                Value::Attribute(pairs, Box::new(need!(self.value(depth + 1)?)))
            }
        };
        Ok(Some(value))
    }

    /// The rest of the line behind its type byte.
    fn line(&mut self) -> Option<&'a [u8]> {
        /// Most lines are a length or a number, for which a search in large steps does not pay.
        const SHORT: usize = 8;
        let rest = self.input.get(self.at + 1..)?;
        let mut from = 0;
        loop {
            let behind = rest.get(from..)?;
            let near = behind.iter().take(SHORT).position(|b| *b == b'\r');
            let cr = from + near.or_else(|| memchr::memchr(b'\r', behind))?;
            if *rest.get(cr + 1)? == b'\n' {
                self.at += cr + 3;
                return rest.get(..cr);
            }
            from = cr + 1;
        }
    }

    fn string(&mut self, len: &[u8]) -> Parsed<&'a [u8]> {
        let len = parse_i64(len)
            .filter(|n| (0..=MAX_STRING).contains(n))
            .ok_or(ParseError::Length)? as usize;
        let rest = self.input.get(self.at..).unwrap_or_default();
        if rest.len() < len + 2 {
            return Ok(None);
        }
        let (text, end) = rest.split_at(len);
        if !end.starts_with(b"\r\n") {
            return Err(ParseError::Unterminated);
        }
        self.at += len + 2;
        Ok(Some(text))
    }

    /// A number of elements, and how many to make room for on the bytes at hand.
    fn count(&self, len: &[u8]) -> Result<(usize, usize), ParseError> {
        let n = parse_i64(len)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or(ParseError::Length)? as usize;
        Ok((n, n.min((self.input.len() - self.at) / 3).min(1024)))
    }

    fn items(&mut self, len: &[u8], depth: usize) -> Parsed<Vec<Value>> {
        let (n, room) = self.count(len)?;
        let mut items = Vec::with_capacity(room);
        for _ in 0..n {
            items.push(need!(self.value(depth + 1)?));
        }
        Ok(Some(items))
    }

    fn pairs(&mut self, len: &[u8], depth: usize) -> Parsed<Vec<(Value, Value)>> {
        let (n, room) = self.count(len)?;
        let mut pairs = Vec::with_capacity(room / 2);
        for _ in 0..n {
            let key = need!(self.value(depth + 1)?);
            pairs.push((key, need!(self.value(depth + 1)?)));
        }
        Ok(Some(pairs))
    }
}

/// Whether a reply may begin with this.
const fn is_type(tag: u8) -> bool {
    matches!(
        tag,
        b'+' | b'-'
            | b':'
            | b'$'
            | b'*'
            | b'_'
            | b','
            | b'#'
            | b'('
            | b'='
            | b'!'
            | b'%'
            | b'~'
            | b'>'
            | b'|'
    )
}

fn parse_double(text: &[u8]) -> Result<f64, ParseError> {
    let text = std::str::from_utf8(text).map_err(|_| ParseError::Scalar)?;
    text.parse().map_err(|_| ParseError::Scalar)
}

/// The value in the notation of `redis-cli`, on one line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null | Self::NullArray => f.write_str("(nil)"),
            Self::Simple(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Error(text) => write!(f, "(error) {}", String::from_utf8_lossy(text)),
            Self::Int(n) => write!(f, "(integer) {n}"),
            Self::Bulk(bytes) | Self::Verbatim(_, bytes) => {
                write!(f, "\"{}\"", bytes.escape_ascii())
            }
            Self::Double(value) => write!(f, "(double) {value}"),
            Self::Bool(value) => write!(f, "({value})"),
            Self::BigNumber(digits) => f.write_str(&String::from_utf8_lossy(digits)),
            Self::Array(items) => show_items(f, "[", items, "]"),
            Self::Set(items) => show_items(f, "~[", items, "]"),
            Self::Push(items) => show_items(f, ">[", items, "]"),
            Self::Map(pairs) => show_pairs(f, pairs),
            Self::Attribute(pairs, value) => {
                f.write_str("|")?;
                show_pairs(f, pairs)?;
                write!(f, " {value}")
            }
        }
    }
}

fn show_items(f: &mut fmt::Formatter<'_>, open: &str, items: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
    }
    f.write_str(close)
}

fn show_pairs(f: &mut fmt::Formatter<'_>, pairs: &[(Value, Value)]) -> fmt::Result {
    f.write_str("{")?;
    for (i, (key, value)) in pairs.iter().enumerate() {
        write!(f, "{}{key} => {value}", if i == 0 { "" } else { ", " })?;
    }
    f.write_str("}")
}
