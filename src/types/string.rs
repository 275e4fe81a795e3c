//! Strings: an integer, a short string kept inline, or bytes on the heap.

use std::ops::Range;

use super::{DataType, Value};
use crate::ds::bytes::Short;
use crate::ds::slim::Slim;
use crate::util::heap;
use crate::util::num;

/// Longest string kept inside the value itself.
pub const INLINE_MAX: usize = 15;

/// Redis calls strings of up to this many bytes `embstr`.
const EMBSTR_MAX: usize = 44;

/// A string value, 16 bytes.
#[derive(Debug, Clone)]
pub enum Str {
    /// Stored as a number when the bytes are exactly its decimal form.
    Int(i64),
    /// Up to [`INLINE_MAX`] bytes.
    Inline(Short<INLINE_MAX>),
    /// Bytes set as a whole: exactly as much heap as they need.
    Heap(Slim),
    /// Bytes that were edited in place (APPEND, SETRANGE, ...), with room to grow.
    Buf(Box<Vec<u8>>),
}

const _: () = assert!(size_of::<Str>() == 16);

/// The bytes of a [`Str`]; a number is printed into the small buffer inside.
pub struct Text<'a>(Repr<'a>);

enum Repr<'a> {
    Bytes(&'a [u8]),
    Int(itoa::Buffer, i64),
}

impl Text<'_> {
    /// The bytes.
    pub fn bytes(&mut self) -> &[u8] {
        match &mut self.0 {
            Repr::Bytes(b) => b,
            Repr::Int(buf, n) => buf.format(*n).as_bytes(),
        }
    }
}

impl Str {
    /// A string as SET stores it: as a number where the bytes are one, as Redis does up to 20 digits.
    pub fn from_bytes(bytes: &[u8]) -> Str {
        if bytes.len() <= 20
            && let Some(n) = num::parse_i64(bytes)
        {
            return Str::Int(n);
        }
        Str::from_text(bytes)
    }

    /// A string that is not to be taken for a number.
    pub fn from_text(bytes: &[u8]) -> Str {
        match Short::of(bytes) {
            Some(short) => Str::Inline(short),
            None => Str::Heap(bytes.into()),
        }
    }

    /// Bytes whose encoding is `raw`, however few they are.
    pub fn raw(bytes: Vec<u8>) -> Str {
        Str::Buf(Box::new(bytes))
    }

    /// The bytes; a number is printed.
    pub fn text(&self) -> Text<'_> {
        Text(match self {
            Str::Int(n) => Repr::Int(itoa::Buffer::new(), *n),
            Str::Inline(b) => Repr::Bytes(b),
            Str::Heap(b) => Repr::Bytes(b),
            Str::Buf(b) => Repr::Bytes(b),
        })
    }

    /// Calls `f` with the bytes.
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(self.text().bytes())
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Str::Int(n) => itoa::Buffer::new().format(*n).len(),
            Str::Inline(b) => b.len(),
            Str::Heap(b) => b.len(),
            Str::Buf(b) => b.len(),
        }
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number, if the bytes are exactly one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Str::Int(n) => Some(*n),
            other => other.with(num::parse_i64),
        }
    }

    /// Appends bytes; returns the new length. From here on the encoding is `raw`.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let buf = self.make_buf();
        grow(buf, bytes.len());
        buf.extend_from_slice(bytes);
        buf.len()
    }

    /// Writes bytes over those at `offset`, after as many zero bytes as are missing before it; returns the new length.
    pub fn overwrite(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let end = offset + bytes.len();
        let buf = self.extend_to(end);
        if let Some(place) = buf.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        buf.len()
    }

    /// The bytes in a growable buffer of at least this length, zeros at its end. From here on the encoding is `raw`.
    pub fn extend_to(&mut self, len: usize) -> &mut Vec<u8> {
        let buf = self.make_buf();
        if len > buf.len() {
            grow(buf, len - buf.len());
            buf.resize(len, 0);
        }
        buf
    }

    /// The bytes in a growable buffer, for editing in place. From here on the encoding is `raw`.
    pub fn make_buf(&mut self) -> &mut Vec<u8> {
        if !matches!(self, Str::Buf(_)) {
            let bytes = match std::mem::replace(self, Str::Int(0)) {
                Str::Heap(b) => b.into(),
                other => other.with(<[u8]>::to_vec),
            };
            *self = Str::Buf(Box::new(bytes));
        }
        match self {
            Str::Buf(b) => b,
            _ => unreachable!("made a buffer just above"),
        }
    }
}

/// The largest surplus that growing leaves: doubling ends here, as in Redis.
const MAX_SURPLUS: usize = 1 << 20;

/// Makes room for `more` bytes and some to come.
fn grow(buf: &mut Vec<u8>, more: usize) {
    if buf.capacity() - buf.len() < more {
        // Whoever writes for the first time need not come again.
        let surplus = match buf.len() {
            0 => 0,
            len => (len + more).min(MAX_SURPLUS),
        };
        buf.reserve_exact(more + surplus);
    }
}

/// The bytes of a value of length `len` that GETRANGE selects: both ends count, negative ones from the end. Ends beyond
/// the value are moved to it, so that `0 -100` selects the first byte.
pub fn slice_range(len: usize, start: i64, end: i64) -> Range<usize> {
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return 0..0;
    }
    let last = len - 1;
    let clamp = |at: i64| {
        let back = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
        if at < 0 {
            len.saturating_sub(back)
        } else {
            back
        }
    };
    let (start, end) = (clamp(start), clamp(end).min(last));
    if start > end { 0..0 } else { start..end + 1 }
}

impl DataType for Str {
    const NAME: &'static str = "string";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Str(self)
    }

    fn encoding(&self) -> &'static str {
        match self {
            Str::Int(_) => "int",
            Str::Inline(_) => "embstr",
            Str::Heap(b) if b.len() <= EMBSTR_MAX => "embstr",
            Str::Heap(_) | Str::Buf(_) => "raw",
        }
    }

    fn is_vanished(&self) -> bool {
        false
    }

    fn heap_size(&self) -> usize {
        match self {
            Str::Int(_) | Str::Inline(_) => 0,
            Str::Heap(b) => b.heap_size(),
            Str::Buf(b) => heap::rounded(size_of::<Vec<u8>>()) + heap::rounded(b.capacity()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(s: &Str) -> Vec<u8> {
        s.with(<[u8]>::to_vec)
    }

    #[test]
    fn encodings_are_named_as_by_redis() {
        for (text, encoding) in [
            ("", "embstr"),
            ("12", "int"),
            ("-9223372036854775808", "int"),
            ("12345678901234567890", "embstr"),
            ("012", "embstr"),
            (&"a".repeat(44)[..], "embstr"),
            (&"a".repeat(45)[..], "raw"),
        ] {
            assert_eq!(
                Str::from_bytes(text.as_bytes()).encoding(),
                encoding,
                "{text}"
            );
        }
        let mut edited = Str::from_bytes(b"1");
        edited.append(b"2");
        assert_eq!((edited.encoding(), bytes(&edited)), ("raw", b"12".to_vec()));
    }

    #[test]
    fn ranges_are_those_of_getrange() {
        for (start, end, range) in [
            (0, 3, 0..4),
            (0, -1, 0..11),
            (-4, -1, 7..11),
            (5, 3, 0..0),
            (5, 5000, 5..11),
            (-5000, 10000, 0..11),
            (0, -100, 0..1),
            (1, -100, 0..0),
            (-1, -100, 0..0),
            (-100, -99, 0..1),
            (-100, -101, 0..0),
            (i64::MIN, i64::MAX, 0..11),
            (i64::MAX, i64::MAX, 0..0),
        ] {
            assert_eq!(slice_range(11, start, end), range, "{start} {end}");
        }
        assert_eq!(slice_range(0, 0, -1), 0..0);
    }

    #[test]
    fn growth_leaves_a_bounded_surplus() {
        let mut s = Str::from_bytes(&[b'x'; 3 << 20]);
        s.append(b"y");
        assert!(s.heap_size() <= heap::rounded((4 << 20) + 100) + 32);
    }

    proptest! {
        #[test]
        fn overwriting_is_that_of_a_vector(
            old in prop::collection::vec(any::<u8>(), 0..60),
            offset in 0usize..80,
            new in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut s = Str::from_bytes(&old);
            let mut want = old.clone();
            want.resize(old.len().max(offset + new.len()), 0);
            want[offset..offset + new.len()].copy_from_slice(&new);
            prop_assert_eq!(s.overwrite(offset, &new), want.len());
            prop_assert_eq!(bytes(&s), want);
        }

        #[test]
        fn bytes_survive_every_encoding(text in prop::collection::vec(any::<u8>(), 0..60), n in any::<i64>()) {
            let s = Str::from_bytes(&text);
            prop_assert_eq!((s.len(), bytes(&s)), (text.len(), text));
            let s = Str::from_bytes(n.to_string().as_bytes());
            prop_assert_eq!(s.as_int(), Some(n));
            prop_assert_eq!(s.encoding(), "int");
        }
    }
}
