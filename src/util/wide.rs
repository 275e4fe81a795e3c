//! The last step of reading a float: a long mantissa rounded to the width of a format.

/// A nonzero number `mantissa * 2^low`. The top bit of the mantissa is set, and its lowest bit stands also for anything
/// nonzero below it, which rounding to 64 bits or fewer cannot tell apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide {
    mantissa: u128,
    low: i64,
}

impl Wide {
    /// Normalises `mantissa * 2^low`; None for zero. With `sticky`, something nonzero was cut off below,
    /// which needs a mantissa with more than 64 bits or room to shift.
    pub(super) fn new(mantissa: u128, low: i64, sticky: bool) -> Option<Self> {
        let shift = mantissa.leading_zeros();
        Some(Self {
            mantissa: mantissa.checked_shl(shift)? | u128::from(sticky),
            low: low - i64::from(shift),
        })
    }

    /// Reads what follows `0x` in a hexadecimal float: digits with an optional dot, then an optional binary exponent.
    /// The inner None is zero.
    pub(super) fn parse_hex(body: &[u8]) -> Option<Option<Self>> {
        let end = body
            .iter()
            .position(|b| matches!(b, b'p' | b'P'))
            .unwrap_or(body.len());
        let (digits, tail) = body.split_at(end);
        let (mut mantissa, mut exponent, mut sticky) = (0u128, 0i64, false);
        let (mut dot, mut any) = (false, false);
        for &byte in digits {
            if byte == b'.' && !dot {
                dot = true;
                continue;
            }
            let digit = u128::from(char::from(byte).to_digit(16)?);
            any = true;
            if mantissa >> 124 == 0 {
                mantissa = mantissa << 4 | digit;
                exponent -= if dot { 4 } else { 0 };
            } else {
                sticky |= digit != 0;
                exponent += if dot { 0 } else { 4 };
            }
        }
        if let [_, power @ ..] = tail {
            exponent = exponent.saturating_add(parse_exponent(power)?);
        }
        any.then(|| Self::new(mantissa, exponent, sticky))
    }

    /// Rounds to at most `bits` (64 or fewer) of mantissa, to nearest and ties to even, with no exponent below `floor`.
    /// The mantissa is 0 when the number vanishes, and may be a power of two one bit wider than asked for.
    pub(super) fn round(self, bits: u32, floor: i64) -> (u128, i64) {
        let drop = (128 - i64::from(bits)).max(floor.saturating_sub(self.low));
        let kept = match u32::try_from(drop) {
            Ok(by @ ..=128) => {
                let kept = self.mantissa.checked_shr(by).unwrap_or(0);
                let half = 1u128 << (by - 1);
                let rest = self.mantissa & (half | (half - 1));
                kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
            }
            _ => 0,
        };
        (kept, self.low.saturating_add(drop))
    }
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
