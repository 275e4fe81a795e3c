//! Replies, encoded as they are produced.
//!
//! [`ReplyBuf`] knows the protocol version of its client, so that a handler says *what* it answers
//! (`map(3)`, `double(1.5)`, `null()`) and never how RESP2 or RESP3 spells it.

use crate::util::num;

/// The protocol version a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proto {
    /// RESP2, what every connection starts with.
    #[default]
    Resp2,
    /// RESP3, after `HELLO 3`.
    Resp3,
}

/// Bytes set aside in front of a deferred aggregate: a type byte, one digit and CRLF.
///
/// A length below ten fills the gap exactly; a longer one moves the elements up by its extra digits.
const HEADER_GAP: usize = 4;

/// The most that a bulk string has beside its bytes: type byte, digits and two line ends.
const AROUND: usize = 25;

/// `"\r\n"`, the end of every line.
const CRLF: &[u8] = b"\r\n";

/// A reply under construction, over one growing buffer.
#[derive(Debug, Default)]
pub struct ReplyBuf {
    buf: Vec<u8>,
    proto: Proto,
}

/// A position in a [`ReplyBuf`] to return to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Mark(usize);

/// An aggregate whose length is known only when its elements have been written.
///
/// Dropping one without [`Deferred::finish`] leaves a malformed reply, unless it is rolled back.
#[derive(Debug)]
#[must_use = "a deferred header must be finished with its length"]
pub struct Deferred {
    at: usize,
    kind: Aggregate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Array,
    Map,
    Set,
}

impl Deferred {
    /// Writes the header for `n` elements (pairs, for a map), which follow it already.
    pub fn finish(self, out: &mut ReplyBuf, n: usize) {
        let (tag, n) = out.header_of(self.kind, n);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(n).as_bytes();
        let extra = digits.len() + 3 - HEADER_GAP;
        if extra > 0 {
            let end = out.buf.len();
            out.buf.resize(end + extra, 0);
            out.buf
                .copy_within(self.at + HEADER_GAP..end, self.at + HEADER_GAP + extra);
        }
        if let Some(gap) = out.buf.get_mut(self.at..self.at + digits.len() + 3) {
            gap[0] = tag;
            gap[1..=digits.len()].copy_from_slice(digits);
            gap[digits.len() + 1..].copy_from_slice(CRLF);
        }
    }
}

impl ReplyBuf {
    /// An empty buffer for a client of this protocol version.
    #[must_use]
    pub const fn new(proto: Proto) -> Self {
        Self {
            buf: Vec::new(),
            proto,
        }
    }

    /// The protocol version replies are written in.
    #[must_use]
    pub const fn proto(&self) -> Proto {
        self.proto
    }

    /// Writes what follows in another protocol version.
    pub const fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    /// Whether the client speaks RESP3.
    #[must_use]
    pub const fn is_resp3(&self) -> bool {
        matches!(self.proto, Proto::Resp3)
    }

    /// Bytes written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Bytes the buffer holds memory for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Everything written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.buf
    }

    /// Forgets everything written, keeping the memory.
    pub fn clear(&mut self) {
        self.buf.clear();
    }

    /// Takes everything written, leaving an empty buffer without memory.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buf)
    }

    /// Exchanges the underlying buffer, so that written-out buffers are used again.
    pub fn swap(&mut self, other: &mut Vec<u8>) {
        std::mem::swap(&mut self.buf, other);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string; line breaks in it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// A simple string of any bytes; line breaks in it become spaces.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.line(b'+', text);
    }

    /// An error, given without its leading `-`; line breaks in it become spaces.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    /// An error of any bytes, given without its leading `-`; line breaks in it become spaces.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.line(b'-', text);
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        match usize::try_from(value) {
            Ok(n) => header(&mut self.buf, b':', n),
            Err(_) => number_line(&mut self.buf, b':', value),
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        bulk(&mut self.buf, bytes);
    }

    /// A bulk string holding the decimal digits of `value`.
    pub fn bulk_int(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// A null: `_` in RESP3, the null bulk string in RESP2.
    #[inline]
    pub fn null(&mut self) {
        // Each of a length that is known when this is compiled.
        if self.is_resp3() {
            self.raw(b"_\r\n");
        } else {
            self.raw(b"$-1\r\n");
        }
    }

    /// A null where an array was expected: `_` in RESP3, the null array in RESP2.
    pub fn null_array(&mut self) {
        self.raw(if self.is_resp3() {
            b"_\r\n"
        } else {
            b"*-1\r\n"
        });
    }

    /// The header of an array of `n` elements.
    #[inline]
    pub fn array(&mut self, n: usize) {
        self.aggregate(Aggregate::Array, n);
    }

    /// The header of a map of `n` pairs; in RESP2 an array of `2 * n` elements.
    #[inline]
    pub fn map(&mut self, n: usize) {
        self.aggregate(Aggregate::Map, n);
    }

    /// The header of a set of `n` elements; in RESP2 an array.
    #[inline]
    pub fn set(&mut self, n: usize) {
        self.aggregate(Aggregate::Set, n);
    }

    /// The header of an out-of-band push of `n` elements; in RESP2 an array.
    pub fn push(&mut self, n: usize) {
        let tag = if self.is_resp3() { b'>' } else { b'*' };
        header(&mut self.buf, tag, n);
    }

    /// The header of an attribute of `n` pairs; the attribute and the value it precedes follow.
    ///
    /// RESP2 has no attributes: a caller must not write one there.
    pub fn attribute(&mut self, n: usize) {
        debug_assert!(self.is_resp3(), "RESP2 has no attributes");
        header(&mut self.buf, b'|', n);
    }

    /// A double: `,` in RESP3, a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        const WHOLE: f64 = (1u64 << 62) as f64;
        let negative_zero = value == 0.0 && value.is_sign_negative();
        if !self.is_resp3() && value.trunc() == value && value.abs() <= WHOLE && !negative_zero {
            // The digits are the same, and most doubles are whole.
            self.bulk_int(value as i64);
        } else if self.is_resp3() {
            self.buf.push(b',');
            num::write_f64(&mut self.buf, value);
            self.buf.extend_from_slice(CRLF);
        } else {
            let mut text = Vec::with_capacity(32);
            num::write_f64(&mut text, value);
            self.bulk(&text);
        }
    }

    /// A boolean: `#t` or `#f` in RESP3, `:1` or `:0` in RESP2.
    pub fn bool(&mut self, value: bool) {
        self.raw(match (self.proto, value) {
            (Proto::Resp3, true) => b"#t\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp2, false) => b":0\r\n",
        });
    }

    /// A string with a three-letter format (`txt`, `mkd`); a plain bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, bytes: &[u8]) {
        if !self.is_resp3() {
            return self.bulk(bytes);
        }
        debug_assert_eq!(format.len(), 3, "a verbatim format has three letters");
        self.buf.reserve(bytes.len() + 32);
        header(&mut self.buf, b'=', bytes.len() + format.len() + 1);
        self.buf.extend_from_slice(format.as_bytes());
        self.buf.push(b':');
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(CRLF);
    }

    /// A number of any size, given as its digits; a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &[u8]) {
        if self.is_resp3() {
            self.line(b'(', digits);
        } else {
            self.bulk(digits);
        }
    }

    /// Bytes that are RESP already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Starts an array whose length is given when it is finished.
    pub fn deferred_array(&mut self) -> Deferred {
        self.defer(Aggregate::Array)
    }

    /// Starts a map whose number of pairs is given when it is finished.
    pub fn deferred_map(&mut self) -> Deferred {
        self.defer(Aggregate::Map)
    }

    /// Starts a set whose length is given when it is finished.
    pub fn deferred_set(&mut self) -> Deferred {
        self.defer(Aggregate::Set)
    }

    /// The present end, to [`rollback`](Self::rollback) to or to look [`since`](Self::since).
    #[inline]
    pub const fn mark(&self) -> Mark {
        Mark(self.buf.len())
    }

    /// Forgets everything written after the mark.
    pub fn rollback(&mut self, mark: Mark) {
        self.buf.truncate(mark.0);
    }

    /// What was written after the mark; nothing when the buffer was taken since.
    #[must_use]
    pub fn since(&self, mark: Mark) -> &[u8] {
        self.buf.get(mark.0..).unwrap_or_default()
    }

    fn defer(&mut self, kind: Aggregate) -> Deferred {
        let at = self.buf.len();
        self.buf.extend_from_slice(&[0; HEADER_GAP]);
        Deferred { at, kind }
    }

    #[inline]
    fn aggregate(&mut self, kind: Aggregate, n: usize) {
        let (tag, n) = self.header_of(kind, n);
        header(&mut self.buf, tag, n);
    }

    /// How this protocol version spells an aggregate: its type byte and the length it states.
    const fn header_of(&self, kind: Aggregate, n: usize) -> (u8, usize) {
        match (self.proto, kind) {
            (_, Aggregate::Array) | (Proto::Resp2, Aggregate::Set) => (b'*', n),
            (Proto::Resp2, Aggregate::Map) => (b'*', n * 2),
            (Proto::Resp3, Aggregate::Map) => (b'%', n),
            (Proto::Resp3, Aggregate::Set) => (b'~', n),
        }
    }

    fn line(&mut self, tag: u8, text: &[u8]) {
        self.buf.reserve(text.len() + 3);
        self.buf.push(tag);
        let start = self.buf.len();
        self.buf.extend_from_slice(text);
        if memchr::memchr2(b'\r', b'\n', text).is_some() {
            for byte in self.buf.iter_mut().skip(start) {
                if matches!(*byte, b'\r' | b'\n') {
                    *byte = b' ';
                }
            }
        }
        self.buf.extend_from_slice(CRLF);
    }
}

/// Appends a command in the form in which clients send it.
pub(crate) fn encode_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    header(out, b'*', args.len());
    for arg in args {
        bulk(out, arg.as_ref());
    }
}

#[inline]
fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + AROUND);
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(CRLF);
}

/// A line of a type byte and a number, which mostly is a small one.
#[inline]
fn header(out: &mut Vec<u8>, tag: u8, n: usize) {
    let Some(&line) = SMALL.get(n) else {
        return longer_header(out, tag, n);
    };
    // All eight bytes are written, which is one instruction, and those taken back that are too many.
    let end = out.len() + (line >> 56) as usize;
    out.extend_from_slice(&(line | u64::from(tag)).to_le_bytes());
    out.truncate(end);
}

/// The lines of the numbers of up to three digits, from the lowest byte on: room for the type byte, digits, CRLF; and
/// in the highest byte their length.
static SMALL: [u64; 1000] = {
    let mut lines = [0; 1000];
    let mut n = 0;
    while n < lines.len() {
        let ones = b'0' + (n % 10) as u8;
        let tens = b'0' + (n / 10 % 10) as u8;
        let hundreds = b'0' + (n / 100) as u8;
        lines[n] = u64::from_le_bytes(match n {
            0..10 => [0, ones, b'\r', b'\n', 0, 0, 0, 4],
            10..100 => [0, tens, ones, b'\r', b'\n', 0, 0, 5],
            _ => [0, hundreds, tens, ones, b'\r', b'\n', 0, 6],
        });
        n += 1;
    }
    lines
};

/// The same of more than three digits.
#[inline(never)]
fn longer_header(out: &mut Vec<u8>, tag: u8, n: usize) {
    if n >= 1_000_000 {
        return number_line(out, tag, n as i64);
    }
    header(out, tag, n / 1000);
    out.truncate(out.len() - CRLF.len());
    let digit = |n: usize| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[digit(n / 100), digit(n / 10), digit(n), b'\r', b'\n']);
}

fn number_line(out: &mut Vec<u8>, tag: u8, value: i64) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    out.reserve(digits.len() + 3);
    out.push(tag);
    out.extend_from_slice(digits);
    out.extend_from_slice(CRLF);
}
