//! The value types and their encodings.
//!
//! A [`Value`] is what a key holds. Each type implements [`DataType`], by which the keyspace finds it in a
//! value, counts its memory and knows when a collection has become empty.

pub mod lcs;
pub mod stream;
pub mod string;

use stream::Stream;
use string::Str;

/// What a key holds. Kept at 24 bytes, so that a record of the keyspace is one cache line.
#[derive(Debug)]
pub enum Value {
    /// A string: an integer, a short string held inline, or a heap string.
    Str(Str),
    /// A stream with its consumer groups.
    Stream(Box<Stream>),
}

const _: () = assert!(size_of::<Value>() == 24);

/// A type of value, as seen by the keyspace.
pub trait DataType: Sized {
    /// The name that TYPE prints.
    const NAME: &'static str;

    /// The value as this type, if it is one.
    fn of(value: &Value) -> Option<&Self>;

    /// The value as this type, to be changed.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;

    /// Wraps into a value.
    fn into_value(self) -> Value;

    /// Bytes on the heap, in O(1).
    fn heap_size(&self) -> usize;

    /// Whether an edit that leaves this value behind must delete its key. Strings and streams may be empty.
    fn is_vanished(&self) -> bool {
        false
    }
}

impl Value {
    /// The name of the type, as TYPE prints it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Str(_) => Str::NAME,
            Value::Stream(_) => Stream::NAME,
        }
    }

    /// The name of the encoding, as OBJECT ENCODING prints it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::Str(s) => s.encoding(),
            Value::Stream(_) => "stream",
        }
    }

    /// Bytes on the heap, in O(1).
    pub fn heap_size(&self) -> usize {
        match self {
            Value::Str(s) => s.heap_size(),
            Value::Stream(s) => s.heap_size(),
        }
    }

    /// A deep copy, for COPY.
    pub fn duplicate(&self) -> Value {
        match self {
            Value::Str(s) => Value::Str(s.clone()),
            Value::Stream(s) => Value::Stream(s.clone()),
        }
    }
}
