//! Numbers as Redis reads and prints them.

use super::wide::Wide;

/// Reads a decimal integer of 64 bits in its one canonical spelling: no plus, no leading zeros, no space, no `-0`.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match *text {
        [b'-', ref digits @ ..] => {
            let magnitude = canonical(digits).filter(|&m| m != 0)?;
            0i64.checked_sub_unsigned(magnitude)
        }
        ref digits => i64::try_from(canonical(digits)?).ok(),
    }
}

/// Reads an unsigned decimal integer of 64 bits in its canonical spelling.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    canonical(text)
}

/// Reads an unsigned integer the lenient way of stream ids: a canonical signed spelling must not be negative, but
/// anything else that C's `strtoull` takes whole passes (leading space, plus, zeros; a minus then wraps around).
pub fn parse_u64_lenient(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_i64(text) {
        return u64::try_from(value).ok();
    }
    let start = text.iter().position(|b| !is_space(*b))?;
    let (negative, digits) = match text.get(start..)? {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = decimal(digits)?;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// C's `isspace` in the C locale.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn canonical(digits: &[u8]) -> Option<u64> {
    match *digits {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => decimal(digits),
        _ => None,
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Appends an integer.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an integer.
pub fn write_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Reads a double the way of scores and increments: what C's `strtod` takes whole, without leading space.
///
/// Infinities count, in any case and spelled short or long; NaN does not; neither does a spelling whose value is too
/// large for a double or so small that it would become zero. Hexadecimal floats count.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, body) = match *text {
        [b'-', ref rest @ ..] => (true, rest),
        [b'+', ref rest @ ..] => (false, rest),
        ref rest => (false, rest),
    };
    let magnitude = match *body {
        [b'0', b'x' | b'X', ref hex @ ..] => parse_hex(hex)?,
        [b'0'..=b'9' | b'.', ..] => parse_decimal(body)?,
        _ if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") => {
            f64::INFINITY
        }
        _ => return None,
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn parse_decimal(body: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(body).ok()?.parse().ok()?;
    if value.is_infinite() {
        return None;
    }
    let mantissa = body.split(|b| matches!(b, b'e' | b'E')).next()?;
    let is_zero = mantissa.iter().all(|b| matches!(b, b'0' | b'.'));
    (value != 0.0 || is_zero).then_some(value)
}

fn parse_hex(body: &[u8]) -> Option<f64> {
    let Some(wide) = Wide::parse_hex(body)? else {
        return Some(0.0);
    };
    // A double keeps 53 bits, fewer below its smallest normal exponent.
    let (mantissa, exponent) = wide.round(53, -1074);
    if mantissa == 0 {
        return None;
    }
    // Exact: the mantissa has at most 53 bits. The scale goes in two steps so that neither leaves the range.
    let half = exponent / 2;
    let value = mantissa as f64 * pow2(half)? * pow2(exponent - half)?;
    value.is_finite().then_some(value)
}

/// 2 to the power of `exponent`, when that is a normal double.
fn pow2(exponent: i64) -> Option<f64> {
    let biased = u64::try_from(exponent + 1023)
        .ok()
        .filter(|b| (1..=2046).contains(b))?;
    Some(f64::from_bits(biased << 52))
}

/// Appends a double as Redis 7.2 prints it: the shortest digits that read back as the same double; whole numbers
/// up to 2^62 without exponent; `inf`, `-inf`, `nan`, `-0`.
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    if write_special(out, value) {
        return;
    }
    const WHOLE: f64 = (1u64 << 62) as f64;
    if value.trunc() == value && value.abs() <= WHOLE {
        return write_i64(out, value as i64);
    }
    let mut buffer = ryu::Buffer::new();
    let decimal = Decimal::split(buffer.format_finite(value));
    decimal.write_shortest(out);
}

/// Appends a double as `%.17g` prints it, which is how Redis 7.0 replies with doubles.
pub fn write_f64_g17(out: &mut Vec<u8>, value: f64) {
    if write_special(out, value) {
        return;
    }
    let text = format!("{value:.16e}");
    Decimal::split(&text).write_general(out, 17);
}

fn write_special(out: &mut Vec<u8>, value: f64) -> bool {
    let text: &[u8] = if value.is_nan() {
        b"nan"
    } else if value.is_infinite() {
        if value > 0.0 { b"inf" } else { b"-inf" }
    } else if value == 0.0 {
        if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        }
    } else {
        return false;
    };
    out.extend_from_slice(text);
    true
}

/// A nonzero decimal number: `0.d1d2d3… * 10^point`, without zeros at either end.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i32,
}

impl Decimal {
    /// Takes apart what a formatter wrote as `[-]ddd[.ddd][e[-]dd]`.
    fn split(text: &str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut point = exponent.parse().unwrap_or(0) + whole.len() as i32;
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|&&d| d == b'0').count();
        digits.drain(..leading);
        point -= leading as i32;
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        Self {
            negative,
            digits,
            point,
        }
    }

    /// Plain while that needs few zeros (at most seven behind the digits, few before them), else with an exponent.
    fn write_shortest(&self, out: &mut Vec<u8>) {
        let n = self.digits.len() as i32;
        let scale = self.point - n;
        let exponent = self.point - 1;
        let plain = if scale >= 0 {
            exponent < n + 7
        } else {
            scale > -7 || exponent.abs() < 4
        };
        self.sign(out);
        if plain {
            self.write_plain(out);
        } else {
            self.write_exponent(out, 1);
        }
    }

    fn write_general(&self, out: &mut Vec<u8>, precision: i32) {
        let exponent = self.point - 1;
        self.sign(out);
        if (-4..precision).contains(&exponent) {
            self.write_plain(out);
        } else {
            self.write_exponent(out, 2);
        }
    }

    fn sign(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
    }

    fn write_plain(&self, out: &mut Vec<u8>) {
        let zeros = |n: i32| std::iter::repeat_n(b'0', usize::try_from(n).unwrap_or(0));
        let n = self.digits.len() as i32;
        if self.point <= 0 {
            out.extend_from_slice(b"0.");
            out.extend(zeros(-self.point));
            out.extend_from_slice(&self.digits);
        } else {
            let (whole, fraction) = self.digits.split_at(self.point.min(n) as usize);
            out.extend_from_slice(whole);
            out.extend(zeros(self.point - n));
            if !fraction.is_empty() {
                out.push(b'.');
                out.extend_from_slice(fraction);
            }
        }
    }

    /// `d.ddde+XX`, the exponent padded to `pad` digits.
    fn write_exponent(&self, out: &mut Vec<u8>, pad: usize) {
        let (first, rest) = self.digits.split_at(1.min(self.digits.len()));
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        let exponent = self.point - 1;
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if pad == 2 && exponent.abs() < 10 {
            out.push(b'0');
        }
        write_u64(out, u64::from(exponent.unsigned_abs()));
    }
}

/// Reads an amount of memory as redis.conf spells it: digits, then nothing or `b`, or `k` `m` `g` for powers of 1000,
/// `kb` `mb` `gb` for powers of 1024, in any case. No digits at all are 0, as in Redis.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let end = text
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() {
        return Some(0);
    }
    decimal(digits)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shortest(value: f64) -> String {
        let mut out = Vec::new();
        write_f64(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn g17(value: f64) -> String {
        let mut out = Vec::new();
        write_f64_g17(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_have_one_spelling() {
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-01",
            "-0",
            "00",
            "1.0",
            "0x1",
            "1\x002",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
            "18446744073709551617",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_i64(b"0"), Some(0));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn stream_id_parts_are_read_as_strtoull_reads_them() {
        assert_eq!(parse_u64_lenient(b"05"), Some(5));
        assert_eq!(parse_u64_lenient(b" +5"), Some(5));
        assert_eq!(parse_u64_lenient(b"-05"), Some(5u64.wrapping_neg()));
        assert_eq!(parse_u64_lenient(b"18446744073709551615"), Some(u64::MAX));
        for text in ["-5", "", " ", "+", "5 ", "18446744073709551616", "5a"] {
            assert_eq!(parse_u64_lenient(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn doubles_are_read_as_scores_are() {
        for (text, value) in [
            ("+5", 5.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1E3", 1000.0),
            ("0x10", 16.0),
            ("0X1P-2", 0.25),
            ("-0x.8p1", -1.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("4.9e-324", 5e-324),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1p-1074", 5e-324),
            ("0e9999", 0.0),
            ("0x0.80001p-1074", 5e-324),
            ("0x10000000000000.8p0", 4503599627370496.0),
            ("0x0.00000000000000000000000000000000008p140", 8.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "nan(1)",
            "1e",
            "0x",
            "0x.",
            "0x1p",
            ".",
            "1\x002",
            "1e400",
            "-1e400",
            "1e-400",
            "2e-324",
            "0x0.8p-1074",
            "0x1p1024",
            "infi",
            "1_0",
            "--1",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
        assert!(parse_f64(b"-0").unwrap().is_sign_negative());
    }

    #[test]
    fn doubles_are_printed_as_by_redis_7_2() {
        for (value, text) in [
            (3.0, "3"),
            (-3.5, "-3.5"),
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e17, "100000000000000000"),
            (1e20, "1e+20"),
            (1.5e19, "1.5e+19"),
            (123456.789, "123456.789"),
            (1e-5, "0.00001"),
            (1.5e-7, "1.5e-7"),
            (1e-100, "1e-100"),
            (1.2345678e300, "1.2345678e+300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(shortest(value), text);
        }
    }

    #[test]
    fn seventeen_digits_are_those_of_printf() {
        for (value, text) in [
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (1e-5, "1.0000000000000001e-05"),
            (0.0001, "0.0001"),
            (1e100, "1e+100"),
            (-2.5, "-2.5"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(g17(value), text);
        }
    }

    #[test]
    fn memory_has_decimal_and_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("100", 100),
            ("7b", 7),
            ("1k", 1000),
            ("1Kb", 1024),
            ("100mb", 100 << 20),
            ("2m", 2_000_000),
            ("1GB", 1 << 30),
            ("3g", 3_000_000_000),
            ("", 0),
            ("kb", 0),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in [
            "1.5k",
            "-1",
            "12t",
            " 1",
            "1 kb",
            "0x10",
            "18446744073709551616",
            "18446744073709551615k",
        ] {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn integers_survive_printing(value in any::<i64>()) {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            prop_assert_eq!(parse_i64(&out), Some(value));
        }

        #[test]
        fn doubles_survive_printing(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if !value.is_nan() {
                prop_assert_eq!(parse_f64(shortest(value).as_bytes()).map(f64::to_bits), Some(bits));
                prop_assert_eq!(parse_f64(g17(value).as_bytes()).map(f64::to_bits), Some(bits));
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[-+ ]?[0-9a-fxn.]{0,30}([ep][-+]?[0-9]{0,6})?") {
            parse_f64(text.as_bytes());
            parse_i64(text.as_bytes());
            parse_u64_lenient(text.as_bytes());
            parse_memory(text.as_bytes());
        }
    }
}
