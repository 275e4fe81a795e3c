//! Owned byte strings that keep short contents in place.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use super::slim::Slim;

/// How long a [`Short`] is. That there are few values tells it from what else may stand in its place.
#[derive(Clone, Copy)]
#[repr(u8)]
#[rustfmt::skip]
enum Len {
    L0, L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11, L12, L13, L14, L15, L16, L17, L18, L19,
}

impl Len {
    #[rustfmt::skip]
    const ALL: [Len; 20] = {
        use Len::*;
        [L0, L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11, L12, L13, L14, L15, L16, L17, L18, L19]
    };
}

/// Up to `N` bytes in place, in one more: no more than 19.
#[derive(Clone, Copy)]
pub struct Short<const N: usize> {
    len: Len,
    data: [u8; N],
}

impl<const N: usize> Short<N> {
    /// No bytes.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N < Len::ALL.len()) }
        Self {
            len: Len::L0,
            data: [0; N],
        }
    }

    /// These bytes, if they are not too many.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut short = Self::new();
        short.data.get_mut(..bytes.len())?.copy_from_slice(bytes);
        short.len = *Len::ALL.get(bytes.len())?;
        Some(short)
    }
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for Short<N> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.data.get(..self.len as usize).unwrap_or(&self.data)
    }
}

impl<const N: usize> fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// An owned, immutable byte string of 20 bytes: up to [`SmallBytes::INLINE`] bytes live inside,
/// longer contents in one exact heap allocation.
#[derive(Clone)]
pub struct SmallBytes(Repr);

// Invariant: contents of at most `INLINE` bytes are always `Inline`.
#[derive(Clone)]
enum Repr {
    Inline(Short<{ SmallBytes::INLINE }>),
    Heap(Slim),
}

const _: () = assert!(size_of::<SmallBytes>() == 20 && align_of::<SmallBytes>() == 4);
const _: () = assert!(size_of::<Option<SmallBytes>>() == 20);

impl SmallBytes {
    /// The longest contents that need no allocation.
    pub const INLINE: usize = 19;

    /// An empty string.
    pub const fn new() -> Self {
        Self(Repr::Inline(Short::new()))
    }

    /// The contents.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(data) => data,
            Repr::Heap(data) => data,
        }
    }

    /// Bytes allocated outside the value itself.
    #[inline]
    pub fn heap_size(&self) -> usize {
        match &self.0 {
            Repr::Inline(_) => 0,
            Repr::Heap(data) => data.heap_size(),
        }
    }

    /// The contents as a vector, without a copy when they were on the heap.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Repr::Inline(data) => data.to_vec(),
            Repr::Heap(data) => data.into(),
        }
    }

    #[inline]
    fn inline(bytes: &[u8]) -> Option<Self> {
        Some(Self(Repr::Inline(Short::of(bytes)?)))
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
        Self::inline(&bytes).unwrap_or_else(|| Self(Repr::Heap(bytes.into())))
    }
}

impl From<Box<[u8]>> for SmallBytes {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::inline(&bytes).unwrap_or_else(|| Self(Repr::Heap(bytes.into())))
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
    use crate::util::heap;
    use std::collections::HashSet;

    #[test]
    fn what_is_short_stands_in_place() {
        for len in 0..25u8 {
            let bytes: Vec<u8> = (1..=len).collect();
            let short = Short::<15>::of(&bytes);
            assert_eq!(short.is_some(), len <= 15);
            assert!(short.is_none_or(|it| *it == bytes));
            assert_eq!(Short::<19>::of(&bytes).is_some(), len <= 19);
        }
        assert_eq!(size_of::<Option<Short<15>>>(), 16);
    }

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
                if len <= 19 { 0 } else { heap::rounded(len) }
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
