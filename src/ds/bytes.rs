//! Owned byte strings that keep short contents in place.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::util::heap;

/// An owned, immutable byte string of 24 bytes: up to [`SmallBytes::INLINE`] bytes live inside,
/// longer contents in one exact heap allocation.
#[derive(Clone)]
pub struct SmallBytes(Repr);

// Invariant: contents of at most `INLINE` bytes are always `Inline`.
#[derive(Clone)]
enum Repr {
    Inline {
        len: u8,
        data: [u8; SmallBytes::INLINE],
    },
    Heap(Box<[u8]>),
}

const _: () = assert!(size_of::<SmallBytes>() == 24);
const _: () = assert!(size_of::<Option<SmallBytes>>() == 24);

impl SmallBytes {
    /// The longest contents that need no allocation.
    pub const INLINE: usize = 22;

    /// An empty string.
    pub const fn new() -> Self {
        Self(Repr::Inline {
            len: 0,
            data: [0; Self::INLINE],
        })
    }

    /// The contents.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, data } => data.get(..usize::from(*len)).unwrap_or(data),
            Repr::Heap(data) => data,
        }
    }

    /// Bytes allocated outside the value itself.
    #[inline]
    pub fn heap_size(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Heap(data) => heap::rounded(data.len()),
        }
    }

    /// The contents as a vector, without a copy when they were on the heap.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Repr::Inline { len, data } => data.get(..usize::from(len)).unwrap_or(&data).to_vec(),
            Repr::Heap(data) => data.into_vec(),
        }
    }

    #[inline]
    fn inline(bytes: &[u8]) -> Option<Self> {
        let len = u8::try_from(bytes.len()).ok()?;
        let mut data = [0; Self::INLINE];
        data.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self(Repr::Inline { len, data }))
    }
}

impl Default for SmallBytes {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&[u8]> for SmallBytes {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self::inline(bytes).unwrap_or_else(|| Self(Repr::Heap(bytes.into())))
    }
}

impl<const N: usize> From<&[u8; N]> for SmallBytes {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl From<&str> for SmallBytes {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<Vec<u8>> for SmallBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::inline(&bytes).unwrap_or_else(|| Self(Repr::Heap(bytes.into_boxed_slice())))
    }
}

impl From<Box<[u8]>> for SmallBytes {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::inline(&bytes).unwrap_or(Self(Repr::Heap(bytes)))
    }
}

impl Deref for SmallBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for SmallBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for SmallBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for SmallBytes {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for SmallBytes {}

impl PartialEq<[u8]> for SmallBytes {
    #[inline]
    fn eq(&self, other: &[u8]) -> bool {
        self.as_slice() == other
    }
}

impl PartialOrd for SmallBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SmallBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other)
    }
}

// As `[u8]` hashes, so that `Borrow<[u8]>` holds.
impl Hash for SmallBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn holds_any_length_and_allocates_only_past_the_inline_limit() {
        for len in 0..100usize {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let small = SmallBytes::from(bytes.as_slice());
            assert_eq!(&*small, bytes.as_slice());
            assert_eq!(small, SmallBytes::from(bytes.clone()));
            assert_eq!(small, SmallBytes::from(bytes.clone().into_boxed_slice()));
            assert_eq!(
                small.heap_size(),
                if len <= 22 { 0 } else { heap::rounded(len) }
            );
            assert_eq!(small.clone().into_vec(), bytes);
        }
    }

    #[test]
    fn compares_and_hashes_as_its_bytes() {
        let long = vec![b'x'; 40];
        let set: HashSet<SmallBytes> = [SmallBytes::from("a"), SmallBytes::from(long.clone())]
            .into_iter()
            .collect();
        assert!(set.contains(b"a".as_slice()));
        assert!(set.contains(long.as_slice()));
        assert!(SmallBytes::from("a") < SmallBytes::from("b"));
        assert!(SmallBytes::from("z") > SmallBytes::from(long));
        assert_eq!(SmallBytes::default(), SmallBytes::from(""));
    }

    #[test]
    fn debug_escapes_what_is_not_text() {
        assert_eq!(
            format!("{:?}", SmallBytes::from(b"a\x00\xff")),
            "b\"a\\x00\\xff\""
        );
    }
}
