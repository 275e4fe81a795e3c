//! Listpack: a list of small strings and integers in one allocation, byte for byte as Redis lays it out.
//!
//! ```text
//! listpack  = total-bytes:u32le  count:u16le  entry*  0xFF
//! entry     = encoding-and-data  backlen
//!
//! 0xxxxxxx                    7-bit unsigned integer
//! 10llllll data               string of up to 63 bytes
//! 110xxxxx x                  13-bit signed integer
//! 1110llll l data             string of up to 4095 bytes
//! 11110000 l*4 data           string, length as u32le
//! 11110001 .. 11110100        16, 24, 32 and 64-bit signed integers, little endian
//! ```
//!
//! `backlen` is the length of what precedes it in the entry, in groups of seven bits, most significant
//! first; every byte but the first has its high bit set, so that it can be read from its end. A count of
//! 65535 means "unknown, walk". A string that reads as an integer is stored as one, so a value comes
//! back as [`Value::Int`] or [`Value::Str`] whatever it went in as.
//!
//! Positions are byte offsets of entries. Any change to the listpack invalidates positions behind it.

use crate::util::num::parse_i64;

/// Bytes before the first entry.
pub(super) const HEADER: usize = 6;
/// The terminator.
pub(super) const END: u8 = 0xFF;
/// The count that means "unknown".
pub(super) const COUNT_UNKNOWN: u16 = u16::MAX;
/// An empty listpack.
pub(super) const EMPTY: [u8; 7] = [7, 0, 0, 0, 0, 0, END];
/// No listpack grows beyond this (Redis's own safety limit is the same).
pub const MAX_BYTES: usize = 1 << 30;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Stored as an integer.
    Int(i64),
    /// Stored as bytes.
    Str(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The element as bytes; an integer is printed into `buf`.
    pub fn bytes<'b>(self, buf: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Value::Int(n) => buf.format(n).as_bytes(),
            Value::Str(s) => s,
        }
    }

    /// The element as an integer, if it is stored as one.
    #[must_use]
    pub fn as_int(self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(n),
            Value::Str(_) => None,
        }
    }

    /// The element as an owned string.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// Whether the element equals `bytes`.
    #[must_use]
    pub fn eq_bytes(self, bytes: &[u8]) -> bool {
        match self {
            Value::Str(s) => s == bytes,
            Value::Int(n) => parse_i64(bytes) == Some(n),
        }
    }
}

/// Why bytes are not a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid listpack")]
pub struct Corrupt;

/// A listpack. Its bytes are always well formed.
#[derive(Clone, PartialEq, Eq)]
pub struct Listpack(Vec<u8>);

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(_, v)| v)).finish()
    }
}

impl Listpack {
    /// An empty listpack.
    #[must_use]
    pub fn new() -> Self {
        Self(EMPTY.to_vec())
    }

    /// An empty listpack with room for `bytes` in all.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut v = Vec::with_capacity(bytes.max(EMPTY.len()));
        v.extend_from_slice(&EMPTY);
        Self(v)
    }

    /// Takes bytes from outside, after checking every entry of them.
    ///
    /// # Errors
    /// [`Corrupt`] when the header, an entry, a backlen, the count or the terminator does not fit.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        validate(&bytes)?;
        Ok(Self(bytes))
    }

    /// The whole listpack, header and terminator included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The whole listpack, header and terminator included.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Size in bytes as stored.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }

    /// Bytes allocated.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Makes room for so many more bytes, and no more than that: without this a listpack that grows doubles.
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve_exact(bytes);
    }

    /// Gives unused capacity back.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Number of elements; walks the entries when there are 65535 or more.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.count_field() {
            COUNT_UNKNOWN => self.iter().count(),
            n => usize::from(n),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == EMPTY.len()
    }

    /// Position of the first element.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        (!self.is_empty()).then_some(HEADER)
    }

    /// Position of the last element.
    #[must_use]
    pub fn last(&self) -> Option<usize> {
        self.prev(self.0.len() - 1)
    }

    /// Position of the element after the one at `pos`.
    #[must_use]
    pub fn next(&self, pos: usize) -> Option<usize> {
        let (_, size) = decode(&self.0, pos)?;
        let next = pos + size + backlen_size(size);
        (next + 1 < self.0.len()).then_some(next)
    }

    /// Position of the element before the one at `pos`, which may be the terminator's.
    #[must_use]
    pub fn prev(&self, pos: usize) -> Option<usize> {
        let (size, width) = read_backlen(self.0.get(HEADER..pos)?)?;
        pos.checked_sub(size + width).filter(|p| *p >= HEADER)
    }

    /// The element at `pos`.
    #[must_use]
    pub fn get(&self, pos: usize) -> Option<Value<'_>> {
        decode(&self.0, pos).map(|(v, _)| v)
    }

    /// The element at `pos` and the position behind it, which is the terminator's after the last one.
    #[inline]
    #[must_use]
    pub fn step(&self, pos: usize) -> Option<(Value<'_>, usize)> {
        let (v, size) = decode(&self.0, pos)?;
        Some((v, pos + size + backlen_size(size)))
    }

    /// The integer at `pos` and the position behind it.
    #[inline]
    #[must_use]
    pub fn step_int(&self, pos: usize) -> Option<(i64, usize)> {
        match self.step(pos)? {
            (Value::Int(n), next) => Some((n, next)),
            (Value::Str(_), _) => None,
        }
    }

    /// The position `count` elements behind `pos`.
    #[inline]
    #[must_use]
    pub fn skip(&self, mut pos: usize, count: usize) -> Option<usize> {
        for _ in 0..count {
            let size = match *self.0.get(pos)? {
                0..=0x7F => 2,
                tag @ 0x80..=0xBF => usize::from(tag & 0x3F) + 2,
                _ => self.size_at(pos)?,
            };
            pos += size;
        }
        Some(pos)
    }

    /// Position of the terminator: where the next element would start.
    #[must_use]
    pub fn end(&self) -> usize {
        self.0.len() - 1
    }

    /// Position of element `index`, counted from the end when negative.
    #[must_use]
    pub fn seek(&self, index: i64) -> Option<usize> {
        if index < 0 {
            let mut pos = self.last()?;
            for _ in 0..index.unsigned_abs() - 1 {
                pos = self.prev(pos)?;
            }
            return Some(pos);
        }
        let mut pos = self.first()?;
        for _ in 0..index {
            pos = self.next(pos)?;
        }
        Some(pos)
    }

    /// Elements from the first, with their positions.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            lp: self,
            pos: HEADER,
        }
    }

    /// Elements from the last, with their positions.
    #[must_use]
    pub fn iter_back(&self) -> IterBack<'_> {
        IterBack {
            lp: self,
            pos: self.end(),
        }
    }

    /// Elements from position `pos` on.
    #[must_use]
    pub fn iter_from(&self, pos: usize) -> Iter<'_> {
        Iter { lp: self, pos }
    }

    /// Appends a string, as an integer when it reads as one.
    pub fn push(&mut self, value: &[u8]) {
        self.append(|a| a.push(value));
    }

    /// Appends an integer.
    pub fn push_int(&mut self, value: i64) {
        self.append(|a| a.push_int(value));
    }

    /// Appends any number of elements, touching header and terminator once.
    #[inline]
    pub fn append<R>(&mut self, fill: impl FnOnce(&mut Appender<'_>) -> R) -> R {
        self.0.pop();
        let mut appender = Appender {
            out: &mut self.0,
            added: 0,
        };
        let result = fill(&mut appender);
        let added = appender.added;
        self.0.push(END);
        self.settle(i64::try_from(added).unwrap_or(i64::MAX));
        result
    }

    /// Inserts a string before the element at `pos` (or at the end, at the terminator's position).
    pub fn insert(&mut self, pos: usize, value: &[u8]) {
        self.splice(pos, 0, &encode(value), 1);
    }

    /// Replaces the element at `pos`.
    pub fn replace(&mut self, pos: usize, value: &[u8]) {
        if let Some(size) = self.size_at(pos) {
            self.splice(pos, size, &encode(value), 0);
        }
    }

    /// Replaces the element at `pos` by an integer. In place when the size does not change.
    pub fn replace_int(&mut self, pos: usize, value: i64) {
        if let Some(size) = self.size_at(pos) {
            self.splice(pos, size, &encode_int(value), 0);
        }
    }

    /// Removes up to `count` elements from `pos` on; what followed them is then at `pos`.
    pub fn remove(&mut self, pos: usize, count: usize) {
        let (mut end, mut removed) = (pos, 0);
        while removed < count {
            let Some(size) = self.size_at(end) else { break };
            end += size;
            removed += 1;
        }
        self.splice(
            pos,
            end - pos,
            &[],
            -i64::try_from(removed).unwrap_or(i64::MAX),
        );
    }

    /// Size of the entry at `pos`, backlen included; none at the end.
    fn size_at(&self, pos: usize) -> Option<usize> {
        decode(&self.0, pos).map(|(_, size)| size + backlen_size(size))
    }

    fn splice(&mut self, pos: usize, old: usize, new: &[u8], added: i64) {
        if old == new.len() {
            if let Some(place) = self.0.get_mut(pos..pos + old) {
                place.copy_from_slice(new);
            }
        } else if pos + old < self.0.len() {
            self.0.splice(pos..pos + old, new.iter().copied());
        } else {
            return;
        }
        self.settle(added);
    }

    fn count_field(&self) -> u16 {
        u16::from_le_bytes([self.0[4], self.0[5]])
    }

    /// Writes the header after a change. A count that cannot be written, or that was unknown, is unknown
    /// until a walk finds it small again.
    #[inline]
    fn settle(&mut self, added: i64) {
        let total = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&total.to_le_bytes());
        if added == 0 {
            return;
        }
        let count = match self.count_field() {
            COUNT_UNKNOWN if added > 0 => return,
            COUNT_UNKNOWN => i64::try_from(self.iter().count()).unwrap_or(i64::MAX),
            n => i64::from(n).saturating_add(added),
        };
        let field = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        self.0[4..6].copy_from_slice(&field.to_le_bytes());
    }
}

/// Writes elements at the end of a listpack, see [`Listpack::append`].
pub struct Appender<'a> {
    out: &'a mut Vec<u8>,
    added: usize,
}

impl Appender<'_> {
    /// Appends a string, as an integer when it reads as one.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        match parse_i64(value) {
            Some(n) => self.push_int(n),
            None => {
                self.added += 1;
                let start = self.out.len();
                put_str(self.out, value);
                put_backlen(self.out, self.out.len() - start);
            }
        }
    }

    /// Appends an element that is encoded already, but for its backlen.
    #[inline]
    pub(super) fn push_encoded(&mut self, element: &[u8]) {
        self.added += 1;
        self.out.extend_from_slice(element);
        put_backlen(self.out, element.len());
    }

    /// Appends an integer.
    #[inline]
    pub fn push_int(&mut self, value: i64) {
        self.added += 1;
        if let Ok(n @ 0..=127) = u8::try_from(value) {
            self.out.extend_from_slice(&[n, 1]);
            return;
        }
        let start = self.out.len();
        put_int(self.out, value);
        put_backlen(self.out, self.out.len() - start);
    }
}

/// Elements in order with their positions.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    lp: &'a Listpack,
    pos: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (usize, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (value, next) = self.lp.step(self.pos)?;
        Some((std::mem::replace(&mut self.pos, next), value))
    }
}

/// Elements in reverse order with their positions.
#[derive(Clone, Debug)]
pub struct IterBack<'a> {
    lp: &'a Listpack,
    pos: usize,
}

impl<'a> Iterator for IterBack<'a> {
    type Item = (usize, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.pos = self.lp.prev(self.pos)?;
        Some((self.pos, self.lp.get(self.pos)?))
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = (usize, Value<'a>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The element at `pos` and the size of its encoding, without its backlen. None at the terminator, and
/// where the bytes do not hold an entry.
#[inline]
pub(crate) fn decode(b: &[u8], pos: usize) -> Option<(Value<'_>, usize)> {
    let tag = *b.get(pos)?;
    let string = |skip: usize, len: usize| {
        let start = pos + skip;
        b.get(start..start.checked_add(len)?)
            .map(|s| (Value::Str(s), skip + len))
    };
    let int = |width: usize| {
        let raw = b.get(pos + 1..pos + 1 + width)?;
        let mut le = if raw.last()? & 0x80 == 0 {
            [0; 8]
        } else {
            [0xFF; 8]
        };
        le[..width].copy_from_slice(raw);
        Some((Value::Int(i64::from_le_bytes(le)), 1 + width))
    };
    match tag {
        0..=0x7F => Some((Value::Int(i64::from(tag)), 1)),
        0x80..=0xBF => string(1, usize::from(tag & 0x3F)),
        0xC0..=0xDF => {
            let raw = (i64::from(tag & 0x1F) << 8) | i64::from(*b.get(pos + 1)?);
            Some((
                Value::Int(if raw >= 1 << 12 { raw - (1 << 13) } else { raw }),
                2,
            ))
        }
        0xE0..=0xEF => string(
            2,
            (usize::from(tag & 0x0F) << 8) | usize::from(*b.get(pos + 1)?),
        ),
        0xF0 => {
            let len = b.get(pos + 1..pos + 5)?.try_into().ok()?;
            string(5, usize::try_from(u32::from_le_bytes(len)).ok()?)
        }
        0xF1 => int(2),
        0xF2 => int(3),
        0xF3 => int(4),
        0xF4 => int(8),
        _ => None,
    }
}

fn encode(value: &[u8]) -> Vec<u8> {
    if let Some(n) = parse_i64(value) {
        return encode_int(n).to_vec();
    }
    let mut out = Vec::with_capacity(value.len() + 10);
    put_str(&mut out, value);
    let size = out.len();
    put_backlen(&mut out, size);
    out
}

fn encode_int(value: i64) -> smallvec::SmallVec<[u8; 16]> {
    let mut out = smallvec::SmallVec::new();
    put_int(&mut out, value);
    let size = out.len();
    put_backlen(&mut out, size);
    out
}

fn put_str(out: &mut Vec<u8>, s: &[u8]) {
    put_head(out, s.len());
    out.extend_from_slice(s);
}

/// What stands before a string of this length.
#[inline]
pub(crate) fn put_head(out: &mut impl Extend<u8>, len: usize) {
    match len {
        n @ 0..=63 => out.extend([0x80 | low(n)]),
        n @ 64..=4095 => out.extend([0xE0 | low(n >> 8), low(n)]),
        n => {
            out.extend([0xF0]);
            out.extend(u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

pub(crate) fn put_int(out: &mut impl Extend<u8>, n: i64) {
    let le = n.to_le_bytes();
    let (tag, width) = match n {
        0..=127 => return out.extend([le[0]]),
        -4096..=4095 => return out.extend([0xC0 | (le[1] & 0x1F), le[0]]),
        -0x8000..=0x7FFF => (0xF1, 2),
        -0x80_0000..=0x7F_FFFF => (0xF2, 3),
        -0x8000_0000..=0x7FFF_FFFF => (0xF3, 4),
        _ => (0xF4, 8),
    };
    out.extend([tag]);
    out.extend(le[..width].iter().copied());
}

/// Width of the backlen of an entry of `size` bytes. The limits are Redis's: one below the powers of 128
/// from the second on.
#[inline]
pub(super) fn backlen_size(size: usize) -> usize {
    match size {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

#[inline]
pub(super) fn put_backlen(out: &mut impl Extend<u8>, size: usize) {
    let width = backlen_size(size);
    for i in (0..width).rev() {
        let group = low(size >> (7 * i)) & 0x7F;
        out.extend([if i + 1 == width { group } else { group | 0x80 }]);
    }
}

/// Reads the backlen that ends `b`: the entry's size and the backlen's width.
pub(super) fn read_backlen(b: &[u8]) -> Option<(usize, usize)> {
    let mut size = 0usize;
    for (i, byte) in b.iter().rev().take(5).enumerate() {
        size |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((size, i + 1));
        }
    }
    None
}

fn low(n: usize) -> u8 {
    n.to_le_bytes()[0]
}

/// Checks that `b` is a listpack: every length inside it, every backlen right, the count right or unknown.
///
/// # Errors
/// [`Corrupt`] otherwise.
pub fn validate(b: &[u8]) -> Result<(), Corrupt> {
    let (Some(total), Some(count)) = (b.get(..4), b.get(4..HEADER)) else {
        return Err(Corrupt);
    };
    let total = u32::from_le_bytes(total.try_into().map_err(|_| Corrupt)?);
    let count = u16::from_le_bytes(count.try_into().map_err(|_| Corrupt)?);
    if usize::try_from(total) != Ok(b.len()) || b.len() > MAX_BYTES * 2 || b.last() != Some(&END) {
        return Err(Corrupt);
    }
    let (mut pos, mut found) = (HEADER, 0usize);
    while pos + 1 < b.len() {
        let (_, size) = decode(b, pos).ok_or(Corrupt)?;
        let width = backlen_size(size);
        pos += size + width;
        if pos + 1 > b.len() || read_backlen(&b[HEADER..pos]) != Some((size, width)) {
            return Err(Corrupt);
        }
        found += 1;
    }
    let fits = count == COUNT_UNKNOWN || usize::from(count) == found;
    if pos + 1 == b.len() && fits {
        Ok(())
    } else {
        Err(Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(items: &[&[u8]]) -> Listpack {
        let mut lp = Listpack::new();
        items.iter().for_each(|i| lp.push(i));
        lp
    }

    fn strings(lp: &Listpack) -> Vec<Vec<u8>> {
        lp.iter().map(|(_, v)| v.to_vec()).collect()
    }

    #[test]
    fn bytes_are_those_of_redis() {
        let lp = of(&[
            b"f",
            b"1",
            b"-1",
            b"4096",
            b"12345678",
            b"-9223372036854775808",
        ]);
        let mut expected = [
            &[0, 0, 0, 0, 6, 0][..],
            &[0x81, b'f', 2],
            &[1, 1],
            &[0xDF, 0xFF, 2],
            &[0xF1, 0x00, 0x10, 3],
            &[0xF3, 0x4E, 0x61, 0xBC, 0x00, 5],
            &[0xF4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9],
            &[0xFF],
        ]
        .concat();
        expected[0] = u8::try_from(expected.len()).unwrap();
        assert_eq!(lp.as_bytes(), expected);
    }

    #[test]
    fn only_canonical_integers_become_integers() {
        for s in [
            "",
            "-",
            "-0",
            "01",
            "+1",
            "1 ",
            "9223372036854775808",
            "1e3",
        ] {
            let lp = of(&[s.as_bytes()]);
            assert_eq!(lp.get(HEADER), Some(Value::Str(s.as_bytes())), "{s}");
        }
        for n in [
            0,
            1,
            -1,
            127,
            128,
            4095,
            4096,
            -4096,
            -4097,
            i64::MAX,
            i64::MIN,
        ] {
            assert_eq!(
                of(&[n.to_string().as_bytes()]).get(HEADER),
                Some(Value::Int(n))
            );
        }
    }

    #[test]
    fn backlens_of_every_width_read_back() {
        for size in [
            0, 1, 62, 63, 64, 125, 126, 127, 4095, 4096, 16375, 16380, 16390, 2_097_140, 2_097_160,
        ] {
            let text = vec![b'x'; size];
            let lp = of(&[b"a", &text, b"b"]);
            assert_eq!(validate(lp.as_bytes()), Ok(()), "{size}");
            let back: Vec<_> = lp.iter_back().map(|(_, v)| v.to_vec().len()).collect();
            assert_eq!(back, [1, size, 1]);
        }
    }

    #[test]
    fn count_saturates_and_recovers() {
        let mut lp = Listpack::new();
        lp.append(|a| (0..65_534).for_each(|_| a.push_int(1)));
        assert_eq!((lp.count_field(), lp.len()), (65_534, 65_534));
        lp.push_int(1);
        lp.push_int(1);
        assert_eq!((lp.count_field(), lp.len()), (COUNT_UNKNOWN, 65_536));
        lp.remove(HEADER, 10);
        assert_eq!((lp.count_field(), lp.len()), (65_526, 65_526));
        assert_eq!(validate(lp.as_bytes()), Ok(()));
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (-5000i64..5000).prop_map(|n| n.to_string().into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..80),
            (4000usize..4200).prop_map(|n| vec![b'z'; n]),
        ]
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(Vec<u8>),
        Insert(usize, Vec<u8>),
        Replace(usize, Vec<u8>),
        Remove(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => element().prop_map(Op::Push),
            1 => (any::<usize>(), element()).prop_map(|(i, e)| Op::Insert(i, e)),
            1 => (any::<usize>(), element()).prop_map(|(i, e)| Op::Replace(i, e)),
            1 => (any::<usize>(), 0usize..4).prop_map(|(i, n)| Op::Remove(i, n)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn behaves_like_a_vec(ops in proptest::collection::vec(op(), 0..40)) {
            let (mut lp, mut model) = (Listpack::new(), Vec::<Vec<u8>>::new());
            for op in ops {
                match op {
                    Op::Push(e) => { lp.push(&e); model.push(e); }
                    Op::Insert(i, e) => {
                        let i = i % (model.len() + 1);
                        let pos = lp.seek(i as i64).unwrap_or(lp.end());
                        lp.insert(pos, &e);
                        model.insert(i, e);
                    }
                    Op::Replace(i, e) if !model.is_empty() => {
                        let i = i % model.len();
                        lp.replace(lp.seek(i as i64).unwrap(), &e);
                        model[i] = e;
                    }
                    Op::Remove(i, n) if !model.is_empty() => {
                        let i = i % model.len();
                        let n = n.min(model.len() - i);
                        lp.remove(lp.seek(i as i64).unwrap(), n);
                        model.drain(i..i + n);
                    }
                    _ => {}
                }
                prop_assert_eq!(validate(lp.as_bytes()), Ok(()));
                prop_assert_eq!(lp.len(), model.len());
            }
            prop_assert_eq!(strings(&lp), model.clone());
            let back: Vec<_> = lp.iter_back().map(|(_, v)| v.to_vec()).collect();
            model.reverse();
            prop_assert_eq!(back, model);
        }

        #[test]
        fn mutated_bytes_never_panic(
            items in proptest::collection::vec(element(), 0..10),
            edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        ) {
            let mut lp = Listpack::new();
            items.iter().for_each(|i| lp.push(i));
            let mut bytes = lp.as_bytes().to_vec();
            for (i, b) in edits {
                let len = bytes.len();
                bytes[i % len] = b;
            }
            if let Ok(lp) = Listpack::from_bytes(bytes) {
                let forward: Vec<_> = lp.iter().map(|(p, _)| p).collect();
                let mut back: Vec<_> = lp.iter_back().map(|(p, _)| p).collect();
                back.reverse();
                prop_assert_eq!(forward, back);
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = validate(&bytes);
        }
    }
}
