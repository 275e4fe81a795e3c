//! A string as it stands in RDB bytes.

use std::borrow::Cow;

use crate::ds::bytes::Small;
use crate::ds::listpack::Value;

/// A string read: borrowed where it stood verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob<'a> {
    /// As it stood.
    Raw(&'a [u8]),
    /// Written as an integer.
    Int(i32),
    /// Was compressed.
    Unpacked(Vec<u8>),
}

impl<'a> Blob<'a> {
    /// The string; an integer is printed into `buf`.
    pub fn bytes<'b>(&'b self, buf: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            Blob::Raw(bytes) => bytes,
            Blob::Int(n) => buf.format(*n).as_bytes(),
            Blob::Unpacked(bytes) => bytes,
        }
    }

    /// Calls `f` with the string.
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(self.bytes(&mut itoa::Buffer::new()))
    }

    /// The string as an element.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Blob::Raw(bytes) => Value::Str(bytes),
            Blob::Int(n) => Value::Int(i64::from(*n)),
            Blob::Unpacked(bytes) => Value::Str(bytes),
        }
    }

    /// The string, borrowed where it stood verbatim.
    #[must_use]
    pub fn into_cow(self) -> Cow<'a, [u8]> {
        match self {
            Blob::Raw(bytes) => Cow::Borrowed(bytes),
            other => Cow::Owned(other.into_vec()),
        }
    }

    /// The string as a name is kept.
    #[must_use]
    pub fn into_small<const N: usize>(self) -> Small<N> {
        match self {
            Blob::Unpacked(bytes) => bytes.into(),
            other => other.with(|bytes| bytes.into()),
        }
    }

    /// The string, copied only if it must be.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Blob::Unpacked(bytes) => bytes,
            other => other.with(<[u8]>::to_vec),
        }
    }
}
