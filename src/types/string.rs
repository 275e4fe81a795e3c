//! Strings: an integer, a short string kept inline, or bytes on the heap.

use super::{DataType, Value};
use crate::util::num;

/// Longest string kept inside the value itself.
pub const INLINE_MAX: usize = 22;

/// Redis calls strings of up to this many bytes `embstr`.
const EMBSTR_MAX: usize = 44;

/// A string value, 24 bytes.
#[derive(Debug, Clone)]
pub enum Str {
    /// Stored as a number when the bytes are exactly its decimal form.
    Int(i64),
    /// Up to [`INLINE_MAX`] bytes.
    Inline(u8, [u8; INLINE_MAX]),
    /// Bytes set as a whole: exactly as much heap as they need.
    Heap(Box<[u8]>),
    /// Bytes that were edited in place (APPEND, SETRANGE, ...), with room to grow.
    Buf(Box<Vec<u8>>),
}

const _: () = assert!(size_of::<Str>() == 24);

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
        if bytes.len() <= INLINE_MAX {
            let mut data = [0; INLINE_MAX];
            data[..bytes.len()].copy_from_slice(bytes);
            // INLINE_MAX fits a byte.
            Str::Inline(bytes.len() as u8, data)
        } else {
            Str::Heap(bytes.into())
        }
    }

    /// The bytes; a number is printed.
    pub fn text(&self) -> Text<'_> {
        Text(match self {
            Str::Int(n) => Repr::Int(itoa::Buffer::new(), *n),
            Str::Inline(len, data) => Repr::Bytes(&data[..usize::from(*len)]),
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
            Str::Inline(len, _) => usize::from(*len),
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

    /// The bytes in a growable buffer, for editing in place. From here on the encoding is `raw`.
    pub fn make_buf(&mut self) -> &mut Vec<u8> {
        if !matches!(self, Str::Buf(_)) {
            let bytes = match std::mem::replace(self, Str::Int(0)) {
                Str::Heap(b) => b.into_vec(),
                other => other.with(<[u8]>::to_vec),
            };
            *self = Str::Buf(Box::new(bytes));
        }
        match self {
            Str::Buf(b) => b,
            _ => unreachable!("made a buffer just above"),
        }
    }

    /// The name of the encoding, as OBJECT ENCODING prints it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Str::Int(_) => "int",
            Str::Inline(..) => "embstr",
            Str::Heap(b) if b.len() <= EMBSTR_MAX => "embstr",
            Str::Heap(_) | Str::Buf(_) => "raw",
        }
    }
}

impl DataType for Str {
    const NAME: &'static str = "string";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Str(s) => Some(s),
            Value::Stream(_) => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Str(s) => Some(s),
            Value::Stream(_) => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Str(self)
    }

    fn heap_size(&self) -> usize {
        match self {
            Str::Int(_) | Str::Inline(..) => 0,
            Str::Heap(b) => b.len(),
            Str::Buf(b) => size_of::<Vec<u8>>() + b.capacity(),
        }
    }
}
