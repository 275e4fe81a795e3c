//! Numbers as Redis reads and prints them.

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
    let hex = HexFloat::parse(body)?;
    // A double keeps 53 bits, fewer below its smallest normal exponent.
    let Some((mantissa, exponent)) = hex.round(53, -1074) else {
        return Some(0.0);
    };
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

/// The digits of a hexadecimal float: `mantissa * 2^exponent`, with whether anything nonzero was cut off below.
pub(super) struct HexFloat {
    mantissa: u64,
    exponent: i64,
    sticky: bool,
}

impl HexFloat {
    /// Reads what follows `0x`: digits with an optional dot, then an optional binary exponent.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let end = body
            .iter()
            .position(|b| matches!(b, b'p' | b'P'))
            .unwrap_or(body.len());
        let (digits, tail) = body.split_at(end);
        let mut out = Self {
            mantissa: 0,
            exponent: 0,
            sticky: false,
        };
        let (mut dot, mut any) = (false, false);
        for &byte in digits {
            if byte == b'.' && !dot {
                dot = true;
                continue;
            }
            let digit = u64::from(char::from(byte).to_digit(16)?);
            any = true;
            if out.mantissa >> 60 == 0 {
                out.mantissa = out.mantissa << 4 | digit;
                out.exponent -= if dot { 4 } else { 0 };
            } else {
                out.sticky |= digit != 0;
                out.exponent += if dot { 0 } else { 4 };
            }
        }
        if let [_, power @ ..] = tail {
            out.exponent = out.exponent.saturating_add(parse_exponent(power)?);
        }
        any.then_some(out)
    }

    /// Rounds to `bits` of mantissa, to nearest and ties to even, with no exponent below `floor`.
    /// None for a true zero; a mantissa of 0 for what vanished.
    pub(super) fn round(&self, bits: u32, floor: i64) -> Option<(u64, i64)> {
        if self.mantissa == 0 {
            return None;
        }
        let width = i64::from(64 - self.mantissa.leading_zeros());
        // Left-aligned in 128 bits, so that a sticky bit below never matters to the 64 above.
        let wide = u128::from(self.mantissa) << (128 - width) | u128::from(self.sticky);
        let low = self.exponent + width - 128;
        let drop = (128 - i64::from(bits)).max(floor.saturating_sub(low));
        let mantissa = shift_round(wide, u64::try_from(drop).unwrap_or(u64::MAX));
        Some((mantissa, low.saturating_add(drop)))
    }
}

/// `wide >> by`, rounded to nearest and ties to even. The result must fit 64 bits but for a carry,
/// which the caller sees as 0 with the bits above gone only when `by` is 64.
pub(super) fn shift_round(wide: u128, by: u64) -> u64 {
    let Ok(by) = u32::try_from(by) else { return 0 };
    if by > 128 {
        return 0;
    }
    let kept = wide.checked_shr(by).unwrap_or(0);
    let half = 1u128 << (by - 1).min(127);
    let rest = if by == 128 {
        wide
    } else {
        wide & ((1u128 << by) - 1)
    };
    let up = rest > half || (rest == half && kept & 1 == 1);
    (kept + u128::from(up)) as u64
}

/// A signed decimal exponent, saturated far outside of any float's range.
pub(super) fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match *text {
        [b'-', ref rest @ ..] => (true, rest),
        [b'+', ref rest @ ..] => (false, rest),
        ref rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0i64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| (value * 10 + i64::from(digit)).min(1 << 40))
    })?;
    Some(if negative { -value } else { value })
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
/// `kb` `mb` `gb` for powers of 1024, in any case.
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
    decimal(digits)?.checked_mul(factor)
}
