//! Intset: a sorted set of integers in one allocation, byte for byte as Redis lays it out.
//!
//! ```text
//! intset = width:u32le  count:u32le  integer*
//! ```
//!
//! Integers ascend, each once, in two's complement and little endian. All have the same width in bytes, 2, 4 or 8: the
//! least that held all integers that were ever in. Removal does not narrow it.

use std::fmt;

/// Bytes before the first integer.
const HEADER: usize = 8;
/// An empty intset.
const EMPTY: [u8; HEADER] = [2, 0, 0, 0, 0, 0, 0, 0];

/// Bytes of an integer; the order is that of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    /// The least that holds a number.
    #[inline]
    fn of(value: i64) -> Width {
        if i16::try_from(value).is_ok() {
            Width::Two
        } else if i32::try_from(value).is_ok() {
            Width::Four
        } else {
            Width::Eight
        }
    }

    #[inline]
    const fn bytes(self) -> usize {
        self as usize
    }
}

/// Why bytes are not an intset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid intset")]
pub struct Corrupt;

/// A sorted set of integers, in bytes of its own or to be read in those of another. They are always well formed.
///
/// ```
/// use redkeep::ds::intset::Intset;
///
/// let mut set = Intset::new();
/// assert!(set.add(70_000) && set.add(-5) && !set.add(-5));
/// assert_eq!(set.iter().collect::<Vec<_>>(), [-5, 70_000]);
/// assert_eq!(set.as_bytes(), [4, 0, 0, 0, 2, 0, 0, 0, 251, 255, 255, 255, 112, 17, 1, 0]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Intset<B = Vec<u8>>(B);

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Intset<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<'a> Intset<&'a [u8]> {
    /// The intset at the beginning of bytes that are known to begin with one.
    #[inline]
    #[must_use]
    pub(crate) fn known(bytes: &'a [u8]) -> Self {
        Self(bytes.get(..size(bytes)).unwrap_or(&EMPTY))
    }
}

impl<B: AsRef<[u8]>> Intset<B> {
    /// The whole intset, header included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Number of integers.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        (self.as_bytes().len() - HEADER) >> self.width().bytes().ilog2()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().len() == HEADER
    }

    /// The integer at a position of the order.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<i64> {
        let width = self.width();
        let start = index.checked_mul(width.bytes())?.checked_add(HEADER)?;
        let rest = self.as_bytes().get(start..)?;
        match width {
            Width::Two => rest.first_chunk().map(|b| i16::from_le_bytes(*b).into()),
            Width::Four => rest.first_chunk().map(|b| i32::from_le_bytes(*b).into()),
            Width::Eight => rest.first_chunk().map(|b| i64::from_le_bytes(*b)),
        }
    }

    /// The least integer.
    #[must_use]
    pub fn min(&self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest integer.
    #[must_use]
    pub fn max(&self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The integers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        Intset(self.as_bytes()).into_ints()
    }

    /// The integers, ascending.
    pub fn into_ints(self) -> impl Iterator<Item = i64> {
        (0..self.len()).map_while(move |i| self.get(i))
    }

    /// Whether an integer is in.
    #[inline]
    #[must_use]
    pub fn contains(&self, value: i64) -> bool {
        Width::of(value) <= self.width() && self.search(value).is_ok()
    }

    #[inline]
    fn width(&self) -> Width {
        width(self.as_bytes())
    }

    /// Where an integer is, or else where it belongs.
    #[inline]
    fn search(&self, value: i64) -> Result<usize, usize> {
        let data = &self.as_bytes()[HEADER..];
        match self.width() {
            Width::Two => find(data, value, |b| i16::from_le_bytes(b).into()),
            Width::Four => find(data, value, |b| i32::from_le_bytes(b).into()),
            Width::Eight => find(data, value, i64::from_le_bytes),
        }
    }
}

impl Intset {
    /// An empty intset.
    #[must_use]
    pub fn new() -> Self {
        Self(EMPTY.to_vec())
    }

    /// Takes bytes that are known to begin with an intset; what follows it is cut off.
    #[inline]
    #[must_use]
    pub(crate) fn from_known(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(size(&bytes));
        Self(bytes)
    }

    /// Takes bytes from outside, after checking all of them.
    ///
    /// # Errors
    /// [`Corrupt`] when there is no integer, the width is none, the count does not fit the size, or the integers do
    /// not ascend.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let field = |at: usize| bytes.get(at..)?.first_chunk().copied();
        let width = field(0).map(u32::from_le_bytes).ok_or(Corrupt)?;
        let count = field(4).map(u32::from_le_bytes).ok_or(Corrupt)?;
        let size = u64::from(count) * u64::from(width) + HEADER as u64;
        if !matches!(width, 2 | 4 | 8) || count == 0 || size != bytes.len() as u64 {
            return Err(Corrupt);
        }
        let set = Self(bytes);
        let ascend = set.iter().is_sorted_by(|a, b| a < b);
        if ascend { Ok(set) } else { Err(Corrupt) }
    }

    /// Bytes allocated.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The whole intset, header included.
    #[inline]
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Adds an integer; returns whether it was not in yet. There is room for 2^32 - 1 of them, which a caller must not
    /// exceed.
    pub fn add(&mut self, value: i64) -> bool {
        let width = Width::of(value);
        if width > self.width() {
            self.widen(width);
        }
        match self.search(value) {
            Ok(_) => false,
            Err(at) => {
                self.insert(at, value);
                true
            }
        }
    }

    /// Removes an integer; returns whether it was in.
    pub fn remove(&mut self, value: i64) -> bool {
        if Width::of(value) > self.width() {
            return false;
        }
        let Ok(at) = self.search(value) else {
            return false;
        };
        let width = self.width().bytes();
        let start = HEADER + at * width;
        self.0.drain(start..start + width);
        self.settle();
        true
    }

    /// Keeps the integers that `keep` accepts; it is asked in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(i64) -> bool) {
        let width = self.width().bytes();
        let mut end = HEADER;
        for i in 0..self.len() {
            if self.get(i).is_some_and(&mut keep) {
                let start = HEADER + i * width;
                self.0.copy_within(start..start + width, end);
                end += width;
            }
        }
        self.0.truncate(end);
        self.settle();
    }

    fn widen(&mut self, width: Width) {
        let mut bytes = Vec::with_capacity(HEADER + (self.len() + 1) * width.bytes());
        bytes.extend_from_slice(&EMPTY);
        bytes[0] = width as u8;
        for value in self.iter() {
            bytes.extend_from_slice(&value.to_le_bytes()[..width.bytes()]);
        }
        self.0 = bytes;
        self.settle();
    }

    #[inline]
    fn insert(&mut self, at: usize, value: i64) {
        let width = self.width().bytes();
        let (start, end) = (HEADER + at * width, self.0.len());
        // No more than that: the whole is small, and many of them must not stand half empty.
        self.0.reserve_exact(width);
        self.0.extend_from_slice(&value.to_le_bytes()[..width]);
        if start < end {
            self.0.copy_within(start..end, start + width);
            self.0[start..start + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        self.settle();
    }

    /// Writes the count, and gives back much that is unused.
    #[inline]
    fn settle(&mut self) {
        let count = u32::try_from(self.len()).unwrap_or(u32::MAX);
        self.0[4..HEADER].copy_from_slice(&count.to_le_bytes());
        if self.0.capacity() > 2 * self.0.len() + 64 {
            self.0.shrink_to_fit();
        }
    }
}

#[inline]
fn width(bytes: &[u8]) -> Width {
    match bytes.first() {
        Some(2) => Width::Two,
        Some(4) => Width::Four,
        _ => Width::Eight,
    }
}

/// Bytes of the intset that is at the beginning of these.
#[inline]
fn size(bytes: &[u8]) -> usize {
    let count = bytes.get(4..).and_then(<[u8]>::first_chunk);
    let count = count.map_or(0, |b| u32::from_le_bytes(*b));
    HEADER + ((count as usize) << width(bytes).bytes().ilog2())
}

/// Binary search among integers of one width. What belongs at the end is told at once, as integers often come in order.
#[inline]
fn find<const N: usize>(
    data: &[u8],
    value: i64,
    read: impl Fn([u8; N]) -> i64,
) -> Result<usize, usize> {
    let (all, _) = data.as_chunks::<N>();
    match all.last() {
        Some(&last) if value <= read(last) => all.binary_search_by(|b| read(*b).cmp(&value)),
        _ => Err(all.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn of(values: &[i64]) -> Intset {
        let mut set = Intset::new();
        values.iter().for_each(|&v| assert!(set.add(v)));
        set
    }

    #[test]
    fn bytes_are_those_of_redis() {
        assert_eq!(of(&[]).as_bytes(), [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            of(&[1, -2]).as_bytes(),
            [2, 0, 0, 0, 2, 0, 0, 0, 254, 255, 1, 0]
        );
        assert_eq!(
            of(&[1, -32769]).as_bytes(),
            [4, 0, 0, 0, 2, 0, 0, 0, 255, 127, 255, 255, 1, 0, 0, 0]
        );
        let mut set = of(&[1, i64::MAX]);
        assert_eq!(
            set.as_bytes(),
            [
                8, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255,
                127
            ]
        );
        assert!(set.remove(i64::MAX));
        assert_eq!(
            set.as_bytes(),
            [8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn integers_at_the_bounds_of_a_width_take_that_width() {
        for (value, width) in [
            (32767, 2),
            (-32768, 2),
            (32768, 4),
            (-32769, 4),
            (2_147_483_647, 4),
            (-2_147_483_648, 4),
            (2_147_483_648, 8),
            (-2_147_483_649, 8),
            (i64::MIN, 8),
        ] {
            let set = of(&[value]);
            assert_eq!(
                (set.as_bytes()[0], set.min(), set.max()),
                (width, Some(value), Some(value))
            );
        }
    }

    #[test]
    fn what_is_not_an_intset_is_refused() {
        for bytes in [
            &b""[..],
            b"\x02\0\0\0",
            b"\x02\0\0\0\0\0\0\0",
            b"\x02\0\0\0\x01\0\0\0",
            b"\x02\0\0\0\x01\0\0\0\x01\0\0",
            b"\x03\0\0\0\x01\0\0\0\x01\0\0",
            b"\0\0\0\0\x01\0\0\0",
            b"\x02\x01\0\0\x01\0\0\0\x01\0",
            b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
            b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0",
            b"\x02\0\0\0\xff\xff\xff\xff\x01\0",
        ] {
            assert_eq!(
                Intset::from_bytes(bytes.to_vec()),
                Err(Corrupt),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn memory_follows_the_contents() {
        let mut set = Intset::new();
        for n in 0..10_000 {
            set.add(n);
            assert!(set.capacity() <= set.as_bytes().len() * 9 / 8 + 16);
        }
        set.retain(|n| n % 100 == 0);
        assert_eq!(set.len(), 100);
        assert!(set.capacity() < 1000);
    }

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![
            -20..20i64,
            -33_000..33_000i64,
            Just(i64::from(i32::MIN) - 1),
            any::<i32>().prop_map(i64::from),
            any::<i64>(),
        ]
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(ops in prop::collection::vec((any::<bool>(), value()), 0..200), modulus in 1..5i64) {
            let (mut set, mut model) = (Intset::new(), BTreeSet::new());
            for (add, value) in ops {
                if add {
                    prop_assert_eq!(set.add(value), model.insert(value));
                } else {
                    prop_assert_eq!(set.remove(value), model.remove(&value));
                }
                prop_assert_eq!(set.contains(value), model.contains(&value));
                prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!((set.min(), set.max()), (model.first().copied(), model.last().copied()));
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            if !model.is_empty() {
                prop_assert_eq!(Intset::from_bytes(set.as_bytes().to_vec()), Ok(set.clone()));
            }
            set.retain(|v| v % modulus == 0);
            model.retain(|v| v % modulus == 0);
            prop_assert!(set.iter().eq(model.iter().copied()));
        }

        #[test]
        fn mutated_bytes_are_refused_or_are_an_intset(
            values in prop::collection::btree_set(value(), 1..20),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in 0..4usize,
            probe in value(),
        ) {
            let mut bytes = of(&values.into_iter().collect::<Vec<_>>()).as_bytes().to_vec();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - cut);
            if let Ok(mut set) = Intset::from_bytes(bytes) {
                let all: BTreeSet<i64> = set.iter().collect();
                prop_assert_eq!(all.len(), set.len());
                prop_assert_eq!(set.add(probe), !all.contains(&probe));
                prop_assert!(set.remove(probe));
                prop_assert!(set.iter().eq(all.into_iter().filter(|&v| v != probe)));
            }
        }
    }
}
