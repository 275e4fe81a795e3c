//! Integers of any width at any bit of a string, as BITFIELD reads and writes them.

use crate::util::num;

/// A type of integer: `i1` to `i64`, `u1` to `u63`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntType {
    signed: bool,
    bits: u32,
}

/// What to do with a value that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Keep its low bits.
    #[default]
    Wrap,
    /// Take the nearest value that fits.
    Saturate,
    /// Do nothing.
    Fail,
}

impl IntType {
    /// Reads the name of a type.
    pub fn parse(name: &[u8]) -> Option<IntType> {
        let (signed, bits) = match name {
            [b'i', bits @ ..] => (true, bits),
            [b'u', bits @ ..] => (false, bits),
            _ => return None,
        };
        let bits = u32::try_from(num::parse_i64(bits)?).ok()?;
        let most = if signed { 64 } else { 63 };
        (1..=most)
            .contains(&bits)
            .then_some(IntType { signed, bits })
    }

    /// Width in bits.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The value at a bit of a string, which goes on in zeros.
    pub fn get(self, bytes: &[u8], offset: u64) -> i64 {
        let shift = (offset % 8) as u32;
        let raw = (window(bytes, offset) << (56 + shift) >> (128 - self.bits)) as u64;
        self.sign(raw)
    }

    /// Writes a value at a bit of a string, which must be long enough. Higher bits of the value than the type has do
    /// not count.
    pub fn put(self, bytes: &mut [u8], offset: u64, value: i64) {
        let shift = 72 - (offset % 8) as u32 - self.bits;
        let field = (u128::MAX >> (128 - self.bits)) << shift;
        let window = window(bytes, offset) & !field | ((value as u64 as u128) << shift & field);
        let at = usize::try_from(offset / 8).unwrap_or(usize::MAX);
        let place = bytes.get_mut(at..).unwrap_or_default();
        for (i, byte) in place.iter_mut().take(WINDOW).enumerate() {
            *byte = window.to_be_bytes()[16 - WINDOW + i];
        }
    }

    /// The sum of a value of this type and an increment, and whether it was out of range; `None` if that is to fail.
    pub fn add(self, value: i64, by: i64, overflow: Overflow) -> Option<i64> {
        self.fit(i128::from(value) + i128::from(by), overflow)
    }

    /// A value as this type holds it. An unsigned type takes a negative one for a huge one.
    pub fn hold(self, value: i64, overflow: Overflow) -> Option<i64> {
        if !self.signed {
            return self.fit(i128::from(value as u64), overflow);
        }
        // Redis takes a value for too high that is so low that its distance to the highest one overflows:
        // BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775808 sets 127.
        let most = i64::MAX >> (64 - self.bits);
        if overflow == Overflow::Saturate && self.bits < 64 && most.checked_sub(value).is_none() {
            return Some(most);
        }
        self.fit(value.into(), overflow)
    }

    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = if self.signed {
            let half = 1i128 << (self.bits - 1);
            (-half, half - 1)
        } else {
            (0, (1i128 << self.bits) - 1)
        };
        let fits = (least..=most).contains(&value);
        match overflow {
            Overflow::Fail if !fits => None,
            Overflow::Saturate => i64::try_from(value.clamp(least, most)).ok(),
            _ => Some(self.sign(value as u64)),
        }
    }

    /// The low bits of a word as a value of this type.
    fn sign(self, raw: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed {
            ((raw << unused) as i64) >> unused
        } else {
            (raw << unused >> unused) as i64
        }
    }
}

/// A field of 64 bits reaches into at most so many bytes.
const WINDOW: usize = 9;

/// The bytes that a field at a bit may reach into, as the low bits of a word; zeros beyond the string.
fn window(bytes: &[u8], offset: u64) -> u128 {
    let mut buffer = [0; 16];
    let at = usize::try_from(offset / 8).unwrap_or(usize::MAX);
    let rest = bytes.get(at..).unwrap_or_default();
    for (to, from) in buffer[16 - WINDOW..].iter_mut().zip(rest) {
        *to = *from;
    }
    u128::from_be_bytes(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_have_one_spelling() {
        for name in ["i1", "i64", "u1", "u63", "i8"] {
            assert!(IntType::parse(name.as_bytes()).is_some(), "{name}");
        }
        for name in [
            "", "i", "u", "i0", "i65", "u64", "I8", "i08", "i-1", "i+1", "8", "x8", "i8 ",
        ] {
            assert_eq!(IntType::parse(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_wraps_saturates_or_fails() {
        use Overflow::{Fail, Saturate, Wrap};
        let t = |name: &str| IntType::parse(name.as_bytes()).unwrap();
        for (name, value, by, wrap, saturate, fail) in [
            ("u8", 255, 1, 0, 255, None),
            ("u8", 0, -1, 255, 0, None),
            ("u8", 100, 100, 200, 200, Some(200)),
            ("i8", 127, 1, -128, 127, None),
            ("i8", -128, -1, 127, -128, None),
            ("u63", i64::MAX, 1, 0, i64::MAX, None),
            ("i64", i64::MAX, 1, i64::MIN, i64::MAX, None),
            ("i64", i64::MIN, -1, i64::MAX, i64::MIN, None),
            ("u1", 1, i64::MAX, 0, 1, None),
            ("i1", -1, i64::MIN, -1, -1, None),
        ] {
            assert_eq!(t(name).add(value, by, Wrap), Some(wrap), "{name}");
            assert_eq!(t(name).add(value, by, Saturate), Some(saturate), "{name}");
            assert_eq!(t(name).add(value, by, Fail), fail, "{name}");
        }
        // SET of a negative number into an unsigned field: huge, not below zero.
        assert_eq!(t("u8").hold(-1, Wrap), Some(255));
        assert_eq!(t("u8").hold(-1, Saturate), Some(255));
        assert_eq!(t("u8").hold(-1, Fail), None);
        assert_eq!(t("i8").hold(-129, Saturate), Some(-128));
        assert_eq!(t("i8").hold(200, Wrap), Some(-56));
        assert_eq!(t("i8").hold(i64::MIN + 127, Saturate), Some(127));
        assert_eq!(t("i8").hold(i64::MIN + 128, Saturate), Some(-128));
        assert_eq!(t("i8").hold(i64::MIN, Wrap), Some(0));
        assert_eq!(t("i64").hold(i64::MIN, Saturate), Some(i64::MIN));
    }

    /// Reads bit by bit.
    fn naive(bytes: &[u8], offset: u64, t: IntType) -> i64 {
        let bits = (offset..offset + u64::from(t.bits)).map(|at| super::super::get(bytes, at));
        let mut bits = bits.peekable();
        let negative = t.signed && bits.peek() == Some(&true);
        let start = if negative { -1i64 } else { 0 };
        bits.fold(start, |value, bit| value << 1 | i64::from(bit))
    }

    proptest! {
        #[test]
        fn fields_are_read_and_written_bit_by_bit(
            mut bytes in prop::collection::vec(any::<u8>(), 0..24),
            signed in any::<bool>(),
            bits in 1u32..=64,
            offset in 0u64..200,
            value in any::<i64>(),
        ) {
            let bits = if signed { bits } else { bits.min(63) };
            let t = IntType { signed, bits };
            prop_assert_eq!(t.get(&bytes, offset), naive(&bytes, offset, t));
            let end = offset + u64::from(bits);
            bytes.resize(bytes.len().max(end.div_ceil(8) as usize), 0);
            let before = bytes.clone();
            t.put(&mut bytes, offset, value);
            prop_assert_eq!(t.get(&bytes, offset), t.fit(i128::from(value), Overflow::Wrap).unwrap());
            for at in (0..bytes.len() as u64 * 8).filter(|at| !(offset..end).contains(at)) {
                prop_assert_eq!(super::super::get(&bytes, at), super::super::get(&before, at));
            }
        }

        #[test]
        fn sums_are_exact_until_they_do_not_fit(
            signed in any::<bool>(),
            bits in 1u32..=63,
            value in any::<i64>(),
            by in any::<i64>(),
        ) {
            let t = IntType { signed, bits };
            let value = t.sign(value as u64);
            let (least, most) = if signed {
                (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
            } else {
                (0, (1i128 << bits) - 1)
            };
            let sum = i128::from(value) + i128::from(by);
            let modulus = 1i128 << bits;
            let wrapped = (sum - least).rem_euclid(modulus) + least;
            prop_assert_eq!(t.add(value, by, Overflow::Wrap).map(i128::from), Some(wrapped));
            prop_assert_eq!(t.add(value, by, Overflow::Saturate).map(i128::from), Some(sum.clamp(least, most)));
            let fits = (least..=most).contains(&sum);
            prop_assert_eq!(t.add(value, by, Overflow::Fail).map(i128::from), fits.then_some(sum));
        }
    }
}
