//! Stream ids: `<milliseconds>-<sequence>`.

use crate::util::num::parse_u64_lenient;

/// The id of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds of Unix time.
    pub ms: u64,
    /// Sequence within the millisecond.
    pub seq: u64,
}

/// Not a stream id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid stream ID specified as stream command argument")]
pub struct InvalidId;

/// The id argument of XADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`.
    Auto,
    /// `<ms>-*`.
    AutoSeq(u64),
    /// `<ms>-<seq>` or `<ms>`.
    Exact(StreamId),
}

impl StreamId {
    /// `0-0`, below every id an entry can have.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The greatest id.
    pub const MAX: Self = Self {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// `ms-seq`.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The least id above this one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self::new(self.ms.checked_add(1)?, 0)),
        }
    }

    /// The greatest id below this one.
    #[must_use]
    pub fn prev(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self::new(self.ms.checked_sub(1)?, u64::MAX)),
        }
    }

    /// Reads `<ms>-<seq>`, or `<ms>` with `missing_seq` for the rest.
    ///
    /// # Errors
    /// [`InvalidId`] for anything else, `-` and `+` too.
    pub fn parse(text: &[u8], missing_seq: u64) -> Result<Self, InvalidId> {
        let text = c_string(text).ok_or(InvalidId)?;
        let (ms, seq) = split(text);
        let ms = parse_u64_lenient(ms).ok_or(InvalidId)?;
        let seq = seq
            .map_or(Some(missing_seq), parse_u64_lenient)
            .ok_or(InvalidId)?;
        Ok(Self { ms, seq })
    }

    /// Reads an id, `-` for the least or `+` for the greatest.
    ///
    /// # Errors
    /// [`InvalidId`] for anything else.
    pub fn parse_or_edge(text: &[u8], missing_seq: u64) -> Result<Self, InvalidId> {
        match text {
            b"-" => Ok(Self::MIN),
            b"+" => Ok(Self::MAX),
            _ => Self::parse(text, missing_seq),
        }
    }

    /// Writes `<ms>-<seq>`.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text(&mut IdText::default()));
    }

    /// `<ms>-<seq>`, printed into `buf`.
    #[inline]
    pub fn text(self, buf: &mut IdText) -> &[u8] {
        let mut int = itoa::Buffer::new();
        let mut len = 0;
        for part in [int.format(self.ms).as_bytes(), b"-"] {
            buf.0[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        let seq = int.format(self.seq).as_bytes();
        buf.0[len..len + seq.len()].copy_from_slice(seq);
        &buf.0[..len + seq.len()]
    }

    /// Sixteen bytes that sort as ids do: the key Redis stores.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 16] {
        ((u128::from(self.ms) << 64) | u128::from(self.seq)).to_be_bytes()
    }

    /// Reads what [`Self::to_be_bytes`] writes.
    #[must_use]
    pub fn from_be_bytes(raw: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = raw;
        Self {
            ms: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            seq: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Room for the longest id, see [`StreamId::text`].
#[derive(Clone, Debug)]
pub struct IdText([u8; 41]);

impl Default for IdText {
    fn default() -> Self {
        Self([0; 41])
    }
}

impl NewId {
    /// Reads the id argument of XADD.
    ///
    /// # Errors
    /// [`InvalidId`] when it has none of the three forms.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidId> {
        if text == b"*" {
            return Ok(Self::Auto);
        }
        let text = c_string(text).ok_or(InvalidId)?;
        match split(text) {
            (ms, Some(b"*")) => Ok(Self::AutoSeq(parse_u64_lenient(ms).ok_or(InvalidId)?)),
            _ => Ok(Self::Exact(StreamId::parse(text, 0)?)),
        }
    }
}

/// An end of a range: an id, with `(` in front when it is excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The id.
    pub id: StreamId,
    /// Whether the range stops short of it.
    pub exclusive: bool,
}

impl Bound {
    /// Reads an end of a range.
    ///
    /// # Errors
    /// [`InvalidId`] when it is none; an edge cannot be excluded.
    pub fn parse(text: &[u8], missing_seq: u64) -> Result<Self, InvalidId> {
        match text {
            [b'(', rest @ ..] if !rest.is_empty() => Ok(Self {
                id: StreamId::parse(rest, missing_seq)?,
                exclusive: true,
            }),
            _ => Ok(Self {
                id: StreamId::parse_or_edge(text, missing_seq)?,
                exclusive: false,
            }),
        }
    }

    /// The first id of a range that starts here; none when there is no id above.
    #[must_use]
    pub fn as_start(self) -> Option<StreamId> {
        if self.exclusive {
            self.id.next()
        } else {
            Some(self.id)
        }
    }

    /// The last id of a range that ends here; none when there is no id below.
    #[must_use]
    pub fn as_end(self) -> Option<StreamId> {
        if self.exclusive {
            self.id.prev()
        } else {
            Some(self.id)
        }
    }
}

/// Redis reads ids as C strings from a buffer of 128 bytes: longer ones are refused, a NUL ends one.
fn c_string(text: &[u8]) -> Option<&[u8]> {
    if text.len() > 127 {
        return None;
    }
    Some(text.split(|b| *b == 0).next().unwrap_or(text))
}

fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'-', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId::new(ms, seq)
    }

    #[test]
    fn reads_whole_and_partial_ids() {
        assert_eq!(StreamId::parse(b"5-7", 0), Ok(id(5, 7)));
        assert_eq!(StreamId::parse(b"5", 9), Ok(id(5, 9)));
        assert_eq!(StreamId::parse_or_edge(b"-", 9), Ok(StreamId::MIN));
        assert_eq!(StreamId::parse_or_edge(b"+", 9), Ok(StreamId::MAX));
        let max = b"18446744073709551615-18446744073709551615";
        assert_eq!(StreamId::parse(max, 0), Ok(StreamId::MAX));
        assert_eq!(StreamId::MAX.text(&mut IdText::default()), max);
        for bad in [
            "",
            "-",
            "+",
            "a",
            "1-",
            "-1",
            "1-2-3",
            "1-*",
            "18446744073709551616",
            "1.0",
        ] {
            assert_eq!(StreamId::parse(bad.as_bytes(), 0), Err(InvalidId), "{bad}");
        }
    }

    #[test]
    fn reads_the_ids_of_xadd() {
        assert_eq!(NewId::parse(b"*"), Ok(NewId::Auto));
        assert_eq!(NewId::parse(b"5-*"), Ok(NewId::AutoSeq(5)));
        assert_eq!(NewId::parse(b"5"), Ok(NewId::Exact(id(5, 0))));
        assert_eq!(NewId::parse(b"-"), Err(InvalidId));
        assert_eq!(NewId::parse(b"**"), Err(InvalidId));
    }

    #[test]
    fn neighbours_carry_and_end() {
        assert_eq!(id(1, u64::MAX).next(), Some(id(2, 0)));
        assert_eq!(id(2, 0).prev(), Some(id(1, u64::MAX)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.prev(), None);
    }

    #[test]
    fn excluded_bounds_move_inwards() {
        let bound = Bound::parse(b"(5-1", 0).unwrap();
        assert_eq!(
            (bound.as_start(), bound.as_end()),
            (Some(id(5, 2)), Some(id(5, 0)))
        );
        assert_eq!(Bound::parse(b"(+", 0), Err(InvalidId));
        assert_eq!(Bound::parse(b"(", 0), Err(InvalidId));
        assert_eq!(Bound::parse(b"(0-0", 0).unwrap().as_end(), None);
    }

    #[test]
    fn keys_sort_as_ids() {
        assert!(id(1, u64::MAX).to_be_bytes() < id(2, 0).to_be_bytes());
        assert_eq!(StreamId::from_be_bytes(id(3, 9).to_be_bytes()), id(3, 9));
    }
}
