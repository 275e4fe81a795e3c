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
    L20, L21, L22, L23,
}

impl Len {
    #[rustfmt::skip]
    const ALL: [Len; 24] = {
        use Len::*;
        [
            L0, L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11, L12, L13, L14, L15, L16, L17, L18, L19,
            L20, L21, L22, L23,
        ]
    };
}

/// Up to `N` bytes in place, in one more: no more than 23.
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

/// An owned, immutable byte string: up to `N` bytes live inside, longer contents in one exact heap allocation.
#[derive(Clone)]
pub struct Small<const N: usize>(Repr<N>);

/// A string of 24 bytes.
pub type SmallBytes = Small<23>;

/// A string of 20 bytes, where what is around it leaves no room for more.
pub type TinyBytes = Small<19>;

// Invariant: contents of at most `N` bytes are always `Inline`.
#[derive(Clone)]
enum Repr<const N: usize> {
    Inline(Short<N>),
    Heap(Slim),
}

const _: () = assert!(size_of::<SmallBytes>() == 24 && align_of::<SmallBytes>() == 4);
const _: () = assert!(size_of::<Option<SmallBytes>>() == 24);
const _: () = assert!(size_of::<TinyBytes>() == 20 && align_of::<TinyBytes>() == 4);

impl<const N: usize> Small<N> {
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

impl<const N: usize> Default for Small<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> From<&[u8]> for Small<N> {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self::inline(bytes).unwrap_or_else(|| Self(Repr::Heap(bytes.into())))
    }
}

impl<const N: usize, const M: usize> From<&[u8; M]> for Small<N> {
    fn from(bytes: &[u8; M]) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl<const N: usize> From<&str> for Small<N> {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl<const N: usize> From<Vec<u8>> for Small<N> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::inline(&bytes).unwrap_or_else(|| Self(Repr::Heap(bytes.into())))
    }
}

impl<const N: usize> From<Box<[u8]>> for Small<N> {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::inline(&bytes).unwrap_or_else(|| Self(Repr::Heap(bytes.into())))
    }
}

impl<const N: usize> Deref for Small<N> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<const N: usize> AsRef<[u8]> for Small<N> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> Borrow<[u8]> for Small<N> {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> PartialEq for Small<N> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<const N: usize> Eq for Small<N> {}

impl<const N: usize> PartialEq<[u8]> for Small<N> {
    #[inline]
    fn eq(&self, other: &[u8]) -> bool {
        self.as_slice() == other
    }
}

impl<const N: usize> PartialOrd for Small<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Ord for Small<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other)
    }
}

// As `[u8]` hashes, so that `Borrow<[u8]>` holds.
impl<const N: usize> Hash for Small<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl<const N: usize> fmt::Debug for Small<N> {
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
                if len <= 23 { 0 } else { heap::rounded(len) }
            );
            assert_eq!(small.clone().into_vec(), bytes);
            let tiny = TinyBytes::from(bytes.as_slice());
            assert_eq!(&*tiny, bytes.as_slice());
            assert_eq!(
                tiny.heap_size(),
                if len <= 19 { 0 } else { heap::rounded(len) }
            );
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
