//! Ranges of a sorted set: by rank, by score, by member. And scores as text.

use std::cmp::Ordering;
use std::ops::Range;

use crate::ds::listpack::Value;
use crate::util::num;

/// What is to be a range is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid range")]
pub struct InvalidRange;

/// Ranks from `start` to `stop`, both included; negative ones count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankRange {
    /// The first rank.
    pub start: i64,
    /// The last rank.
    pub stop: i64,
}

impl RankRange {
    /// The ranks that there are in a set of `len` members.
    #[must_use]
    pub fn within(self, len: usize) -> Range<usize> {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let from_end = |at: i64| if at < 0 { at + len } else { at };
        let start = from_end(self.start).max(0);
        let stop = from_end(self.stop).min(len - 1);
        match (usize::try_from(start), usize::try_from(stop)) {
            (Ok(start), Ok(stop)) if start <= stop => start..stop + 1,
            _ => 0..0,
        }
    }
}

/// An end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    /// The score.
    pub score: f64,
    /// Whether this score itself is left out.
    pub exclusive: bool,
}

impl ScoreBound {
    /// Reads `1.5`, `(1.5`, `-inf`, as leniently as C's `strtod`: an empty number is zero, and what is too large is
    /// infinite.
    ///
    /// # Errors
    /// When it is something else, NaN included.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidRange> {
        let (exclusive, number) = match text {
            [b'(', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let score = parse_lenient(number).ok_or(InvalidRange)?;
        Ok(Self { score, exclusive })
    }
}

/// A number up to its end or a zero byte, in any spelling that C's `strtod` takes.
fn parse_lenient(text: &[u8]) -> Option<f64> {
    let text = text.split(|&b| b == 0).next()?;
    if text.is_empty() {
        return Some(0.0);
    }
    let start = text.iter().position(|&b| !num::is_space(b))?;
    let number = text.get(start..)?;
    if let Some(value) = num::parse_f64(number) {
        return Some(value);
    }
    // What is beyond a double is refused there, and is zero or infinite here.
    let decimal = number
        .iter()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(b));
    let text = std::str::from_utf8(number).ok().filter(|_| decimal)?;
    text.parse().ok()
}

/// Scores from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// Where it begins.
    pub min: ScoreBound,
    /// Where it ends.
    pub max: ScoreBound,
}

impl ScoreRange {
    /// The scores from `min` to `max`, both included.
    #[must_use]
    pub fn closed(min: f64, max: f64) -> Self {
        let bound = |score| ScoreBound {
            score,
            exclusive: false,
        };
        Self {
            min: bound(min),
            max: bound(max),
        }
    }

    /// Reads both ends, see [`ScoreBound::parse`].
    ///
    /// # Errors
    /// When one of them is none.
    pub fn parse(min: &[u8], max: &[u8]) -> Result<Self, InvalidRange> {
        Ok(Self {
            min: ScoreBound::parse(min)?,
            max: ScoreBound::parse(max)?,
        })
    }

    /// Whether no score can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let (min, max) = (self.min, self.max);
        min.score > max.score || min.score == max.score && (min.exclusive || max.exclusive)
    }

    /// Whether a score lies before the range.
    #[must_use]
    pub fn is_after(&self, score: f64) -> bool {
        score < self.min.score || self.min.exclusive && score == self.min.score
    }

    /// Whether a score lies in the range or before it.
    #[must_use]
    pub fn reaches(&self, score: f64) -> bool {
        score < self.max.score || !self.max.exclusive && score == self.max.score
    }
}

/// An end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: before all members.
    First,
    /// `[member`.
    Included(&'a [u8]),
    /// `(member`.
    Excluded(&'a [u8]),
    /// `+`: after all members.
    Last,
}

impl<'a> LexBound<'a> {
    /// Reads `-`, `+`, `[member` or `(member`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &'a [u8]) -> Result<Self, InvalidRange> {
        match text {
            b"-" => Ok(Self::First),
            b"+" => Ok(Self::Last),
            [b'[', member @ ..] => Ok(Self::Included(member)),
            [b'(', member @ ..] => Ok(Self::Excluded(member)),
            _ => Err(InvalidRange),
        }
    }

    /// The member, if it is not one of the ends.
    fn member(self) -> Option<&'a [u8]> {
        match self {
            Self::Included(member) | Self::Excluded(member) => Some(member),
            Self::First | Self::Last => None,
        }
    }
}

/// Members from `min` to `max`, in the order of their bytes. It makes sense where all scores are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// Where it begins.
    pub min: LexBound<'a>,
    /// Where it ends.
    pub max: LexBound<'a>,
}

impl<'a> LexRange<'a> {
    /// Reads both ends, see [`LexBound::parse`].
    ///
    /// # Errors
    /// When one of them is none.
    pub fn parse(min: &'a [u8], max: &'a [u8]) -> Result<Self, InvalidRange> {
        Ok(Self {
            min: LexBound::parse(min)?,
            max: LexBound::parse(max)?,
        })
    }

    /// Whether no member can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (self.min, self.max) {
            (LexBound::Last, _) | (_, LexBound::First) => true,
            (LexBound::First, _) | (_, LexBound::Last) => false,
            (LexBound::Included(min), LexBound::Included(max)) => min > max,
            (min, max) => min.member() >= max.member(),
        }
    }

    /// Whether a member lies before the range.
    #[must_use]
    pub fn is_after(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::First => false,
            LexBound::Included(min) => member < min,
            LexBound::Excluded(min) => member <= min,
            LexBound::Last => true,
        }
    }

    /// Whether a member lies in the range or before it.
    #[must_use]
    pub fn reaches(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::First => false,
            LexBound::Included(max) => member <= max,
            LexBound::Excluded(max) => member < max,
            LexBound::Last => true,
        }
    }
}

/// The whole number that a score is stored as in a listpack, if it is one and not too large to be sure. Redis does not
/// look at the sign of a zero here.
pub(super) fn whole(score: f64) -> Option<i64> {
    const MOST: f64 = (1u64 << 62) as f64;
    (score.abs() <= MOST && score.trunc() == score).then_some(score as i64)
}

/// The score that is stored in a listpack.
pub(super) fn stored(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Int(n) => Some(n as f64),
        Value::Str(text) => num::parse_f64(text),
    }
}

/// Compares a stored member with one at hand, by their bytes.
#[inline]
pub(super) fn compare(member: Value<'_>, with: &[u8]) -> Ordering {
    match member {
        Value::Str(bytes) => bytes.cmp(with),
        Value::Int(n) => itoa::Buffer::new().format(n).as_bytes().cmp(with),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_either_end() {
        for (start, stop, range) in [
            (0, -1, 0..5),
            (0, 0, 0..1),
            (1, 2, 1..3),
            (-2, -1, 3..5),
            (-100, 100, 0..5),
            (3, 1, 0..0),
            (5, 9, 0..0),
            (0, -6, 0..0),
            (i64::MIN, i64::MAX, 0..5),
            (i64::MAX, i64::MIN, 0..0),
        ] {
            assert_eq!(RankRange { start, stop }.within(5), range, "{start} {stop}");
        }
        assert_eq!(RankRange { start: 0, stop: -1 }.within(0), 0..0);
    }

    #[test]
    fn bounds_of_scores_are_read_as_by_strtod() {
        for (text, score, exclusive) in [
            ("1.5", 1.5, false),
            ("(1.5", 1.5, true),
            ("-inf", f64::NEG_INFINITY, false),
            ("(+Infinity", f64::INFINITY, true),
            ("", 0.0, false),
            ("(", 0.0, true),
            (" 2", 2.0, false),
            ("1e999", f64::INFINITY, false),
            ("-1e999", f64::NEG_INFINITY, false),
            ("1e-999", 0.0, false),
            ("0x10", 16.0, false),
            ("3\0x", 3.0, false),
        ] {
            let bound = ScoreBound { score, exclusive };
            assert_eq!(ScoreBound::parse(text.as_bytes()), Ok(bound), "{text}");
        }
        for text in ["x", "nan", "(nan", "1x", " ", "((1", "[1", "1 "] {
            assert_eq!(
                ScoreBound::parse(text.as_bytes()),
                Err(InvalidRange),
                "{text}"
            );
        }
    }

    #[test]
    fn ranges_that_hold_nothing_are_known() {
        for (min, max, empty) in [
            ("1", "1", false),
            ("(1", "1", true),
            ("1", "(1", true),
            ("2", "1", true),
            ("-inf", "+inf", false),
        ] {
            let range = ScoreRange::parse(min.as_bytes(), max.as_bytes()).unwrap();
            assert_eq!(range.is_empty(), empty, "{min} {max}");
        }
        for (min, max, empty) in [
            ("-", "+", false),
            ("+", "-", true),
            ("-", "-", true),
            ("+", "+", true),
            ("[a", "[a", false),
            ("(a", "[a", true),
            ("[a", "(b", false),
            ("[b", "[a", true),
            ("-", "(a", false),
            ("[a", "+", false),
        ] {
            let range = LexRange::parse(min.as_bytes(), max.as_bytes()).unwrap();
            assert_eq!(range.is_empty(), empty, "{min} {max}");
        }
        for text in ["", "a", "-x", "++", "]a"] {
            assert_eq!(LexBound::parse(text.as_bytes()), Err(InvalidRange));
        }
    }
}
