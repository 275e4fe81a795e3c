//! Bits of a string: bit 0 is the most significant bit of the first byte.
//!
//! Nothing here is bound to a string value: the functions work on bytes, a whole word at a time where they can.

pub mod combine;
pub mod field;

use std::ops::Range;

const WORD: usize = size_of::<u64>();

/// The bit at `offset`; what lies beyond the bytes is zero.
pub fn get(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8)
        .ok()
        .and_then(|at| bytes.get(at));
    byte.is_some_and(|b| b & mask(offset) != 0)
}

/// Sets or clears the bit at `offset`, which must lie inside; returns what it was.
pub fn set(bytes: &mut [u8], offset: u64, on: bool) -> bool {
    let Some(byte) = usize::try_from(offset / 8)
        .ok()
        .and_then(|at| bytes.get_mut(at))
    else {
        debug_assert!(false, "the bytes were to be made long enough");
        return false;
    };
    let was = *byte & mask(offset) != 0;
    if on {
        *byte |= mask(offset);
    } else {
        *byte &= !mask(offset);
    }
    was
}

const fn mask(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

/// How many bits of a range are set. The range is in bits and must lie inside.
pub fn count(bytes: &[u8], range: Range<u64>) -> u64 {
    let (head, body, tail) = split(bytes, range);
    let ends = head.count_ones() + tail.count_ones();
    let words = body.chunks_exact(WORD);
    let rest: u32 = words.remainder().iter().map(|b| b.count_ones()).sum();
    let body: u64 = words.map(|w| u64::from(word(w).count_ones())).sum();
    body + u64::from(rest) + u64::from(ends)
}

/// The first bit of a range that is `on`. The range is in bits and must lie inside.
pub fn position(bytes: &[u8], on: bool, range: Range<u64>) -> Option<u64> {
    let Range { start, end } = range;
    if start >= end {
        return None;
    }
    // Zeros are looked for as ones of the complement.
    let flip = if on { 0 } else { u8::MAX };
    let first = usize::try_from(start / 8).ok()?;
    let last = usize::try_from((end - 1) / 8).ok()?;
    let inside = bytes.get(first..=last)?;
    let (&begin, rest) = inside.split_first()?;
    let begin = (begin ^ flip) & (u8::MAX >> (start % 8));
    let (at, byte) = if begin == 0 {
        let skipped = rest.len() - skip(rest, !flip).len();
        (skipped + 1, rest.get(skipped)? ^ flip)
    } else {
        (0, begin)
    };
    let found = (first + at) as u64 * 8 + u64::from(byte.leading_zeros());
    (found < end).then_some(found)
}

/// The bytes without those at the beginning that hold nothing that is looked for: all of them `!want`.
fn skip(bytes: &[u8], want: u8) -> &[u8] {
    let idle = [!want; WORD];
    let mut words = bytes.chunks_exact(WORD);
    let skipped = words.by_ref().take_while(|w| *w == idle).count();
    let rest = bytes.get(skipped * WORD..).unwrap_or_default();
    let idle = rest.iter().take_while(|b| **b == !want).count();
    rest.get(idle..).unwrap_or_default()
}

/// A range of bits: the bits of a first byte that is not wholly in it, the whole bytes, the bits of such a last byte.
fn split(bytes: &[u8], Range { start, end }: Range<u64>) -> (u8, &[u8], u8) {
    if start >= end {
        return (0, &[], 0);
    }
    let byte = |at: u64| {
        let at = usize::try_from(at / 8).unwrap_or(usize::MAX);
        bytes.get(at).copied().unwrap_or(0)
    };
    let from_start = u8::MAX >> (start % 8);
    let to_end = !(u8::MAX.checked_shr((end % 8) as u32).unwrap_or(0));
    if start / 8 == end / 8 {
        return (byte(start) & from_start & to_end, &[], 0);
    }
    let head = if start % 8 == 0 {
        0
    } else {
        byte(start) & from_start
    };
    let tail = if end % 8 == 0 { 0 } else { byte(end) & to_end };
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let body = index(start.div_ceil(8))..index(end / 8);
    (head, bytes.get(body).unwrap_or_default(), tail)
}

fn word(chunk: &[u8]) -> u64 {
    chunk.try_into().map_or(0, u64::from_ne_bytes)
}

/// What BITCOUNT and BITPOS count their bounds in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Byte,
    /// Bits.
    Bit,
}

/// The bits between two bounds in a string of `len` bytes, both of them included: negative bounds count from the end,
/// and what lies outside is cut off. `None` if nothing is left.
pub fn range(len: usize, start: i64, end: i64, unit: Unit) -> Option<Range<u64>> {
    let bits = match unit {
        Unit::Byte => 8,
        Unit::Bit => 1,
    };
    let total = i64::try_from(len).ok()?.checked_mul(8 / bits)?;
    let clamp = |at: i64| if at < 0 { (total + at).max(0) } else { at };
    let (start, end) = (clamp(start), clamp(end).min(total - 1));
    if start > end {
        return None;
    }
    let in_bits = |at: i64| u64::try_from(at * bits).unwrap_or(0);
    Some(in_bits(start)..in_bits(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(bytes: &[u8]) -> Vec<bool> {
        bytes
            .iter()
            .flat_map(|b| (0..8).map(move |i| b & (0x80 >> i) != 0))
            .collect()
    }

    #[test]
    fn bounds_are_those_of_redis() {
        let bytes = |start, end| range(6, start, end, Unit::Byte);
        assert_eq!(bytes(0, -1), Some(0..48));
        assert_eq!(bytes(1, 1), Some(8..16));
        assert_eq!(bytes(-2, 100), Some(32..48));
        assert_eq!(bytes(-100, 0), Some(0..8));
        assert_eq!(bytes(-100, -100), Some(0..8));
        assert_eq!(bytes(6, 6), None);
        assert_eq!(bytes(3, 2), None);
        assert_eq!(bytes(i64::MIN, i64::MAX), Some(0..48));
        assert_eq!(range(0, 0, -1, Unit::Byte), None);
        assert_eq!(range(6, 5, -30, Unit::Bit), Some(5..19));
        assert_eq!(range(6, 47, 48, Unit::Bit), Some(47..48));
    }

    proptest! {
        #[test]
        fn counting_and_finding_are_those_of_a_list_of_bits(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..70),
            start in any::<prop::sample::Index>(),
            end in any::<prop::sample::Index>(),
        ) {
            let bits = naive(&bytes);
            let (start, end) = (start.index(bits.len() + 1), end.index(bits.len() + 1));
            let part = bits.get(start..end).unwrap_or_default();
            let range = start as u64..end as u64;
            let ones = part.iter().filter(|b| **b).count() as u64;
            prop_assert_eq!(count(&bytes, range.clone()), ones);
            for on in [false, true] {
                let found = part.iter().position(|b| *b == on).map(|at| (start + at) as u64);
                prop_assert_eq!(position(&bytes, on, range.clone()), found);
            }
            prop_assert!((0..bits.len() + 20).all(|at| get(&bytes, at as u64) == bits.get(at).copied().unwrap_or(false)));
        }

        #[test]
        fn a_bit_is_set_alone(
            mut bytes in prop::collection::vec(any::<u8>(), 1..20),
            at in any::<prop::sample::Index>(),
            on in any::<bool>(),
        ) {
            let mut bits = naive(&bytes);
            let at = at.index(bits.len());
            let was = std::mem::replace(&mut bits[at], on);
            prop_assert_eq!(set(&mut bytes, at as u64, on), was);
            prop_assert_eq!(naive(&bytes), bits);
        }
    }
}
