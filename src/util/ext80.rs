//! The x87 80-bit float in integer arithmetic, so that INCRBYFLOAT and HINCRBYFLOAT give the digits that Redis gives
//! on x86-64 wherever this runs.

use super::num::write_u64;
use super::wide::{Wide, parse_exponent};
use std::cmp::Ordering;
use std::ops::{Add, Neg, Sub};

/// A value of C's `long double` on x86-64: a sign, a mantissa of 64 bits and an exponent of 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ext80 {
    negative: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `mantissa * 2^exponent`. The top bit of the mantissa is set unless the exponent is `MIN_EXP`; zero has `MIN_EXP`.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
    Nan,
}

const ZERO: Kind = Kind::Finite {
    mantissa: 0,
    exponent: MIN_EXP,
};

const NAN: Ext80 = Ext80 {
    negative: false,
    kind: Kind::Nan,
};

/// The exponent of the smallest denormal.
const MIN_EXP: i32 = -16445;
/// The exponent beside the mantissa of the largest value.
const MAX_EXP: i32 = 16320;
/// Texts of this length or more are no numbers to Redis.
const MAX_TEXT: usize = 5 * 1024;
/// Ten to this power fits 64 bits.
const CHUNK: usize = 19;
/// The digits behind the dot that are printed.
const FRACTION: usize = 17;

impl Ext80 {
    /// Zero.
    pub const ZERO: Self = Self {
        negative: false,
        kind: ZERO,
    };

    /// The largest finite value.
    pub const MAX: Self = Self {
        negative: false,
        kind: Kind::Finite {
            mantissa: u64::MAX,
            exponent: MAX_EXP,
        },
    };

    /// The least finite value.
    pub const MIN: Self = Self {
        negative: true,
        ..Self::MAX
    };

    /// Reads a decimal or hexadecimal float or an infinity, correctly rounded; None for what Redis takes for no float:
    /// NaN, space around it, overflow, underflow to zero, 5 KiB of text or more.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= MAX_TEXT {
            return None;
        }
        let (negative, body) = match *text {
            [b'-', ref rest @ ..] => (true, rest),
            [b'+', ref rest @ ..] => (false, rest),
            ref rest => (false, rest),
        };
        let wide = match *body {
            [b'0', b'x' | b'X', ref hex @ ..] => Wide::parse_hex(hex)?,
            [b'0'..=b'9' | b'.', ..] => parse_decimal(body)?,
            _ if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") => {
                let kind = Kind::Infinite;
                return Some(Self { negative, kind });
            }
            _ => return None,
        };
        let Some(wide) = wide else {
            let kind = ZERO;
            return Some(Self { negative, kind });
        };
        let kind = Kind::round(wide);
        (kind != Kind::Infinite && kind != ZERO).then_some(Self { negative, kind })
    }

    /// The value of an integer, which is always exact.
    pub fn from_i64(value: i64) -> Self {
        Self {
            negative: value < 0,
            kind: Wide::new(u128::from(value.unsigned_abs()), 0, false).map_or(ZERO, Kind::round),
        }
    }

    /// So many times this.
    pub fn times(self, factor: u32) -> Self {
        let Kind::Finite { mantissa, exponent } = self.kind else {
            return self;
        };
        let product = u128::from(mantissa) * u128::from(factor);
        self.with(Wide::new(product, i64::from(exponent), false).map_or(ZERO, Kind::round))
    }

    /// The least integer that is not below this, if 64 bits hold it.
    pub fn ceil(self) -> Option<i64> {
        let Kind::Finite { mantissa, exponent } = self.kind else {
            return None;
        };
        if mantissa == 0 {
            return Some(0);
        }
        // With a positive exponent the top bit of the mantissa is set already.
        let shift = u32::try_from(-exponent).ok()?;
        let whole = mantissa.checked_shr(shift).unwrap_or(0);
        let fraction = whole.checked_shl(shift) != Some(mantissa);
        if self.negative {
            0i64.checked_sub_unsigned(whole)
        } else {
            i64::try_from(whole).ok()?.checked_add(i64::from(fraction))
        }
    }

    /// Adds a number of lesser or equal magnitude. 63 bits below the mantissa and a sticky one are more than enough:
    /// where bits are cut off the result loses at most one bit to cancellation.
    fn add_smaller(self, (m, e): (u64, i32), negative: bool, (n, f): (u64, i32)) -> Self {
        let large = u128::from(m) << 63;
        let full = u128::from(n) << 63;
        let apart = (e - f).unsigned_abs();
        let small = full.checked_shr(apart).unwrap_or(0);
        let lost = small.checked_shl(apart) != Some(full);
        let small = small | u128::from(lost);
        let sum = if self.negative == negative {
            large + small
        } else {
            large - small
        };
        match Wide::new(sum, i64::from(e) - 63, false) {
            Some(wide) => self.with(Kind::round(wide)),
            None => Self {
                negative: self.negative && negative,
                kind: ZERO,
            },
        }
    }

    fn with(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Whether this is less than the other; never with a NaN.
    pub fn is_below(self, other: Self) -> bool {
        // Exact: differences underflow gradually, so that none becomes zero but that of equals.
        let Self { negative, kind } = self - other;
        match kind {
            Kind::Nan => false,
            kind => negative && kind != ZERO,
        }
    }

    /// Neither infinite nor NaN.
    pub fn is_finite(self) -> bool {
        matches!(self.kind, Kind::Finite { .. })
    }

    /// Not a number, as infinity minus infinity is.
    pub fn is_nan(self) -> bool {
        self.kind == Kind::Nan
    }

    /// Appends `%.17Lf` without the zeros behind the last digit that counts; `-0` becomes `0`.
    pub fn write_human(self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        match self.kind {
            Kind::Nan => out.extend_from_slice(b"nan"),
            Kind::Infinite => out.extend_from_slice(b"inf"),
            Kind::Finite { mantissa, exponent } => match u32::try_from(exponent) {
                Ok(shift) => Big::from(mantissa).shl(shift).write_decimal(out),
                Err(_) => write_fraction(mantissa, exponent.unsigned_abs(), out),
            },
        }
        if out.get(start..) == Some(b"-0") {
            out.truncate(start);
            out.push(b'0');
        }
    }
}

impl Add for Ext80 {
    type Output = Self;

    /// Rounds to nearest and ties to even.
    fn add(self, other: Self) -> Self {
        use Kind::{Finite, Infinite, Nan};
        match (self.kind, other.kind) {
            (Nan, _) | (_, Nan) => NAN,
            (Infinite, Infinite) if self.negative != other.negative => NAN,
            (Infinite, _) => self,
            (_, Infinite) => other,
            (Finite { .. }, ZERO) if self.kind != ZERO => self,
            (ZERO, Finite { .. }) if other.kind != ZERO => other,
            (
                Finite {
                    mantissa: m,
                    exponent: e,
                },
                Finite {
                    mantissa: n,
                    exponent: f,
                },
            ) => {
                if (e, m) >= (f, n) {
                    self.add_smaller((m, e), other.negative, (n, f))
                } else {
                    other.add_smaller((n, f), self.negative, (m, e))
                }
            }
        }
    }
}

impl Neg for Ext80 {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            negative: !self.negative,
            ..self
        }
    }
}

impl Sub for Ext80 {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Kind {
    fn round(wide: Wide) -> Self {
        let (mantissa, exponent) = wide.round(64, i64::from(MIN_EXP));
        let (mantissa, exponent) = match u64::try_from(mantissa) {
            Ok(mantissa) => (mantissa, exponent),
            Err(_) => (1 << 63, exponent + 1),
        };
        match i32::try_from(exponent) {
            _ if mantissa == 0 => ZERO,
            Ok(exponent @ ..=MAX_EXP) => Self::Finite { mantissa, exponent },
            _ => Self::Infinite,
        }
    }
}

/// Prints `mantissa / 2^shift` with 17 digits behind the dot, rounded to nearest and ties to even, zeros cut.
fn write_fraction(mantissa: u64, shift: u32, out: &mut Vec<u8>) {
    const SCALE: u128 = 10u128.pow(FRACTION as u32);
    // Below 2^64 * 10^17 < 2^121: what is shifted out further is less than half of the last digit.
    let scaled = u128::from(mantissa) * SCALE;
    let units = if shift > 122 {
        0
    } else {
        let (kept, half) = (scaled >> shift, 1u128 << (shift - 1));
        let rest = scaled & (half | (half - 1));
        kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
    };
    write_u64(out, (units / SCALE) as u64);
    let fraction = units % SCALE;
    if fraction != 0 {
        let text = format!(".{fraction:0width$}", width = FRACTION);
        out.extend_from_slice(text.trim_end_matches('0').as_bytes());
    }
}

/// Reads digits with an optional dot and an optional exponent. The inner None is zero, also what is far too small
/// to be anything else; what is far too large is no number at all.
fn parse_decimal(body: &[u8]) -> Option<Option<Wide>> {
    let end = body
        .iter()
        .position(|b| matches!(b, b'e' | b'E'))
        .unwrap_or(body.len());
    let (mantissa, tail) = body.split_at(end);
    let mut scale = match tail {
        [_, power @ ..] => parse_exponent(power)?,
        [] => 0,
    };
    let mut digits = Vec::with_capacity(mantissa.len());
    let mut dot = false;
    for &byte in mantissa {
        match byte {
            b'0'..=b'9' => {
                digits.push(byte - b'0');
                scale -= i64::from(dot);
            }
            b'.' if !dot => dot = true,
            _ => return None,
        }
    }
    if digits.is_empty() {
        return None;
    }
    while digits.last() == Some(&0) {
        digits.pop();
        scale += 1;
    }
    let leading = digits.iter().take_while(|&&d| d == 0).count();
    let digits = digits.get(leading..).unwrap_or_default();
    if digits.is_empty() {
        return Some(None);
    }
    // The largest value is about 1e4932, the smallest about 4e-4951.
    match scale.saturating_add(digits.len() as i64) {
        4934.. => None,
        // Rounds to zero, which the caller refuses since a digit was not zero.
        ..-4960 => Some(Wide::new(1, i64::from(MIN_EXP) - 2, false)),
        _ => Some(to_wide(digits, scale as i32)),
    }
}

fn to_wide(digits: &[u8], scale: i32) -> Option<Wide> {
    let power = scale.unsigned_abs();
    if digits.len() <= CHUNK && power <= 27 {
        // Both factors fit 64 bits.
        let number = fold(digits);
        let five = 5u64.pow(power);
        if scale >= 0 {
            return Wide::new(
                u128::from(number) * u128::from(five),
                i64::from(scale),
                false,
            );
        }
        let shift = u128::from(number).leading_zeros();
        let (number, five) = (u128::from(number) << shift, u128::from(five));
        let low = i64::from(scale) - i64::from(shift);
        return Wide::new(number / five, low, number % five != 0);
    }
    let mut number = Big::default();
    for chunk in digits.chunks(CHUNK) {
        number.mul_add(10u64.pow(chunk.len() as u32), fold(chunk));
    }
    if scale >= 0 {
        number.mul_pow10(power);
        return number.to_wide();
    }
    let mut divisor = Big::from(1);
    divisor.mul_pow10(power);
    number.divide(divisor)
}

fn fold(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |n, &d| n * 10 + u64::from(d))
}

/// A natural number, lowest limb first, without zero limbs on top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Big(Vec<u64>);

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        Self(if value == 0 { vec![] } else { vec![value] })
    }
}

impl Big {
    fn bits(&self) -> u64 {
        match self.0.last() {
            Some(top) => self.0.len() as u64 * 64 - u64::from(top.leading_zeros()),
            None => 0,
        }
    }

    fn mul_add(&mut self, factor: u64, mut carry: u64) {
        for limb in &mut self.0 {
            let wide = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            *limb = wide as u64;
            carry = (wide >> 64) as u64;
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn mul_pow10(&mut self, mut power: u32) {
        while power > 0 {
            let step = power.min(CHUNK as u32);
            self.mul_add(10u64.pow(step), 0);
            power -= step;
        }
    }

    fn shl(mut self, by: u32) -> Self {
        if self.0.is_empty() {
            return self;
        }
        self.mul_add(1 << (by % 64), 0);
        let mut limbs = vec![0; by as usize / 64];
        limbs.append(&mut self.0);
        Self(limbs)
    }

    fn double(&mut self) {
        self.mul_add(2, 0);
    }

    fn sub(&mut self, other: &Self) {
        let mut borrow = false;
        let subtrahend = other.0.iter().copied().chain(std::iter::repeat(0));
        for (limb, sub) in self.0.iter_mut().zip(subtrahend) {
            (*limb, borrow) = limb.borrowing_sub(sub, borrow);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let by_size = self.0.len().cmp(&other.0.len());
        by_size.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    fn to_wide(&self) -> Option<Wide> {
        let (&a, rest) = self.0.split_last()?;
        let (b, rest) = rest.split_last().map_or((0, rest), |(&b, rest)| (b, rest));
        let (c, rest) = rest.split_last().map_or((0, rest), |(&c, rest)| (c, rest));
        let shift = a.leading_zeros();
        let from_c = u128::from(c) << shift;
        let mantissa = (u128::from(a) << 64 | u128::from(b)) << shift | from_c >> 64;
        let cut = from_c as u64 != 0 || rest.iter().any(|&limb| limb != 0);
        Wide::new(mantissa, self.bits() as i64 - 128, cut)
    }

    /// The quotient of two nonzero numbers, bit by bit: more of them than a mantissa has, the rest sticky.
    fn divide(mut self, mut divisor: Self) -> Option<Wide> {
        const BITS: i64 = 80;
        let mut shift = self.bits() as i64 - divisor.bits() as i64;
        match u32::try_from(shift) {
            Ok(by) => divisor = divisor.shl(by),
            Err(_) => self = self.shl(u32::try_from(-shift).ok()?),
        }
        // Both are now of one length, so that the remainder stays below twice the divisor.
        let mut quotient = 0u128;
        for _ in 0..BITS {
            let fits = self.cmp(&divisor) != Ordering::Less;
            if fits {
                self.sub(&divisor);
            }
            quotient = quotient << 1 | u128::from(fits);
            self.double();
        }
        shift -= BITS - 1;
        Wide::new(quotient, shift, !self.0.is_empty())
    }

    fn write_decimal(mut self, out: &mut Vec<u8>) {
        const UNIT: u128 = 10u128.pow(CHUNK as u32);
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            let mut rest = 0u128;
            for limb in self.0.iter_mut().rev() {
                let wide = rest << 64 | u128::from(*limb);
                *limb = (wide / UNIT) as u64;
                rest = wide % UNIT;
            }
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
            chunks.push(rest as u64);
        }
        write_u64(out, chunks.pop().unwrap_or(0));
        for chunk in chunks.iter().rev() {
            out.extend_from_slice(format!("{chunk:0width$}", width = CHUNK).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn human(x: Ext80) -> String {
        let mut out = Vec::new();
        x.write_human(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn num(text: &str) -> Ext80 {
        Ext80::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is a number"))
    }

    /// `SET k first`, `INCRBYFLOAT k second` and its reply, taken from Redis 7.0.15 on x86-64.
    const CAPTURED: &[(&str, &str, &str)] = &[
        ("3", "1.1", "4.1"),
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("1e-400", "1e-400", "0"),
        ("-1e-18", "0", "0"),
        ("1", "-0.99999999999999999", "0.00000000000000001"),
        ("9223372036854775807", "1", "9223372036854775808"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551616", "1", "18446744073709551616"),
        ("18446744073709551616", "3", "18446744073709551620"),
        ("0x1p-2", "0.5", "0.75"),
    ];

    #[test]
    fn products_are_rounded_and_their_ceiling_is_exact() {
        for (text, factor, ceiling) in [
            ("0", 1000, Some(0)),
            ("-0", 1000, Some(0)),
            ("0.001", 1000, Some(1)),
            ("0.0001", 1000, Some(1)),
            ("1e-4900", 1000, Some(1)),
            ("-1e-4900", 1000, Some(0)),
            ("-0.0011", 1000, Some(-1)),
            ("1.5", 2, Some(3)),
            ("0.3", 10, Some(3)),
            ("9223372036854775.807", 1000, Some(i64::MAX)),
            ("9223372036854775.808", 1000, None),
            ("-9223372036854775.808", 1000, Some(-i64::MAX)),
            ("-9223372036854775808", 1, Some(i64::MIN)),
            ("-9223372036854775.809", 1000, None),
            ("1e4930", 1000, None),
            ("inf", 1000, None),
            ("-inf", 1000, None),
        ] {
            assert_eq!(num(text).times(factor).ceil(), ceiling, "{text}");
        }
    }

    #[test]
    fn sums_are_those_of_redis() {
        for (first, second, sum) in CAPTURED {
            assert_eq!(human(num(first) + num(second)), *sum, "{first} {second}");
            assert_eq!(human(num(second) + num(first)), *sum, "{second} {first}");
        }
    }

    #[test]
    fn what_redis_takes_for_no_number_is_none() {
        let long = "1".repeat(MAX_TEXT);
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "nan(1)",
            "1e",
            "e5",
            ".",
            "0x",
            "0x.",
            "0x1p",
            "1.1.1",
            "--1",
            "1\x002",
            "infi",
            "1e5000",
            "-1e5000",
            "1e-5000",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "0x1p16384",
            "0x1p-16446",
            "1.18973149535723176508575932662800702e4932",
            "1.8e-4951",
            &long,
        ] {
            assert_eq!(Ext80::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_limits_of_the_format_are_reached() {
        let largest = num("1.18973149535723176502e4932");
        assert_eq!(largest, num("0x1.fffffffffffffffep16383"));
        assert_eq!(largest, Ext80::MAX);
        assert!(!(largest + largest).is_finite());
        assert_eq!(human(largest).len(), 4933);
        let smallest = num("1.9e-4951");
        assert_eq!(smallest, num("0x1p-16445"));
        assert_eq!(smallest + smallest, num("0x1p-16444"));
        assert_eq!(human(num("2e-4951") + num("-3e-4951")), "0");
        assert_eq!(human(num("0e999999999999999999")), "0");
    }

    #[test]
    fn infinities_and_their_difference() {
        let (plus, minus) = (num("+inf"), num("-INFINITY"));
        assert!(!plus.is_finite() && !plus.is_nan());
        assert_eq!(plus + num("1"), plus);
        assert_eq!((human(plus), human(minus)), ("inf".into(), "-inf".into()));
        assert!((plus + minus).is_nan());
        assert!(minus.is_below(plus) && !plus.is_below(plus) && !plus.is_below(minus));
        assert!((plus - plus).is_nan());
    }

    #[test]
    fn the_longest_text_takes_bounded_time() {
        let digits = "7".repeat(MAX_TEXT - 10);
        assert!(Ext80::parse(format!("{digits}e-4000").as_bytes()).is_some());
        assert!(Ext80::parse(format!("0.{digits}e-4940").as_bytes()).is_some());
        assert_eq!(Ext80::parse(digits.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn integers_are_exact(a in any::<i64>(), b in any::<i64>()) {
            let sum = i128::from(a) + i128::from(b);
            let got = Ext80::from_i64(a) + num(&b.to_string());
            prop_assert_eq!(got, num(&sum.to_string()));
            prop_assert_eq!(human(got), sum.to_string());
            prop_assert_eq!(Ext80::from_i64(a).is_below(Ext80::from_i64(b)), a < b);
        }

        #[test]
        fn both_ways_of_reading_agree(digits in 1u64..u64::MAX / 10, scale in -27i32..27) {
            let short = format!("{digits}e{scale}");
            let big = Big::from(digits);
            let long = if scale >= 0 {
                let mut big = big;
                big.mul_pow10(scale as u32);
                big.to_wide()
            } else {
                let mut divisor = Big::from(1);
                divisor.mul_pow10(scale.unsigned_abs());
                big.divide(divisor)
            };
            let kind = Kind::round(long.unwrap());
            prop_assert_eq!(num(&short), Ext80 { negative: false, kind });
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[-+]?[0-9a-fx.]{0,40}([ep][-+]?[0-9]{0,6})?") {
            if let Some(x) = Ext80::parse(text.as_bytes()) {
                human(x + x);
            }
        }
    }
}
