//! Taking RDB bytes apart.

use super::{
    Blob, Corrupt, ENCODED, INFINITY, INT_8, INT_16, INT_32, LEN_6, LEN_14, LEN_32, LEN_64, LZF,
    NAN, NEG_INFINITY, Tag,
};
use crate::ds::lzf;
use crate::util::num;

/// No bytes of LZF unpack to more than this many times their number: three of them repeat up to 264.
const LZF_MOST: u64 = 88;

/// Reads from a slice, front to back. Every method fails with [`Corrupt`] when the bytes end too soon or are not what
/// it reads; where the reader stands then is of no use.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
    ran_out: bool,
}

/// What stands where a length may stand.
enum Length {
    Plain(u64),
    Encoded(u8),
}

type Result<T> = std::result::Result<T, Corrupt>;

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader {
            left: bytes,
            ran_out: false,
        }
    }

    /// Whether more was to be read than there was: what failed may succeed once there is more.
    #[must_use]
    pub fn ran_out(&self) -> bool {
        self.ran_out
    }

    /// What has not been read.
    #[must_use]
    pub fn left(&self) -> &'a [u8] {
        self.left
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((bytes, left)) = self.left.split_at_checked(len) else {
            return Err(self.run_out());
        };
        self.left = left;
        Ok(bytes)
    }

    /// A fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((bytes, left)) = self.left.split_first_chunk() else {
            return Err(self.run_out());
        };
        self.left = left;
        Ok(*bytes)
    }

    #[cold]
    fn run_out(&mut self) -> Corrupt {
        self.ran_out = true;
        Corrupt
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A tag; values of modules have none.
    pub fn tag(&mut self) -> Result<Tag> {
        Tag::from_byte(self.byte()?).ok_or(Corrupt)
    }

    /// A number written as a length.
    pub fn length(&mut self) -> Result<u64> {
        match self.any_length()? {
            Length::Plain(len) => Ok(len),
            Length::Encoded(_) => Err(Corrupt),
        }
    }

    /// The number of things that follow, each of which takes at least `least` bytes: never more than are left, so
    /// that room can be made for all of them.
    pub fn count(&mut self, least: usize) -> Result<usize> {
        let count = usize::try_from(self.length()?).map_err(|_| Corrupt)?;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.left.len() => Ok(count),
            _ => Err(self.run_out()),
        }
    }

    /// A string in any form.
    pub fn string(&mut self) -> Result<Blob<'a>> {
        match self.any_length()? {
            Length::Plain(len) => {
                let len = usize::try_from(len).map_err(|_| Corrupt)?;
                Ok(Blob::Raw(self.bytes(len)?))
            }
            Length::Encoded(INT_8) => Ok(Blob::Int(i8::from_le_bytes(self.array()?).into())),
            Length::Encoded(INT_16) => Ok(Blob::Int(i16::from_le_bytes(self.array()?).into())),
            Length::Encoded(INT_32) => Ok(Blob::Int(i32::from_le_bytes(self.array()?))),
            Length::Encoded(LZF) => self.unpack().map(Blob::Unpacked),
            Length::Encoded(_) => Err(Corrupt),
        }
    }

    /// A double of eight bytes; it may be no number.
    pub fn double(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A double in its old form, as text; it may be no number.
    pub fn old_double(&mut self) -> Result<f64> {
        match self.byte()? {
            NAN => Ok(f64::NAN),
            INFINITY => Ok(f64::INFINITY),
            NEG_INFINITY => Ok(f64::NEG_INFINITY),
            len => num::parse_f64(self.bytes(len.into())?).ok_or(Corrupt),
        }
    }

    /// Passes over a string in any form, whatever it holds.
    pub fn pass_string(&mut self) -> Result<()> {
        let len = match self.any_length()? {
            Length::Plain(len) => len,
            Length::Encoded(INT_8) => 1,
            Length::Encoded(INT_16) => 2,
            Length::Encoded(INT_32) => 4,
            Length::Encoded(LZF) => {
                let packed = self.length()?;
                self.length()?;
                packed
            }
            Length::Encoded(_) => return Err(Corrupt),
        };
        self.bytes(usize::try_from(len).map_err(|_| Corrupt)?)?;
        Ok(())
    }

    /// Passes over a double in its old form.
    pub fn pass_old_double(&mut self) -> Result<()> {
        let len = match self.byte()? {
            NAN | INFINITY | NEG_INFINITY => 0,
            len => len,
        };
        self.bytes(len.into())?;
        Ok(())
    }

    /// Milliseconds.
    pub fn millis(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn any_length(&mut self) -> Result<Length> {
        let first = self.byte()?;
        let low = first & 0x3F;
        Ok(match (first >> 6, first) {
            (LEN_6, _) => Length::Plain(low.into()),
            (LEN_14, _) => Length::Plain(u64::from(low) << 8 | u64::from(self.byte()?)),
            (ENCODED, _) => Length::Encoded(low),
            (_, LEN_32) => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            (_, LEN_64) => Length::Plain(u64::from_be_bytes(self.array()?)),
            _ => return Err(Corrupt),
        })
    }

    fn unpack(&mut self) -> Result<Vec<u8>> {
        let packed = self.length()?;
        let unpacked = self.length()?;
        if unpacked > packed.saturating_mul(LZF_MOST) {
            return Err(Corrupt);
        }
        let packed = self.bytes(usize::try_from(packed).map_err(|_| Corrupt)?)?;
        let unpacked = usize::try_from(unpacked).map_err(|_| Corrupt)?;
        lzf::decompress(packed, unpacked).map_err(|_| Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Result<Vec<u8>> {
        Reader::new(bytes).string().map(Blob::into_vec)
    }

    #[test]
    fn lengths_have_four_forms() {
        for (bytes, length) in [
            (&b"\x00"[..], Ok(0)),
            (b"\x3f", Ok(63)),
            (b"\x40\x40", Ok(64)),
            (b"\x7f\xff", Ok(16383)),
            (b"\x80\x00\x01\x02\x03", Ok(0x0001_0203)),
            (b"\x81\x01\0\0\0\0\0\0\x02", Ok(0x0100_0000_0000_0002)),
            (b"\x82\0\0\0\0\0\0\0\0", Err(Corrupt)),
            (b"\xc0\x01", Err(Corrupt)),
            (b"\x40", Err(Corrupt)),
            (b"\x80\0\0\0", Err(Corrupt)),
            (b"", Err(Corrupt)),
        ] {
            assert_eq!(Reader::new(bytes).length(), length, "{bytes:?}");
        }
    }

    #[test]
    fn strings_may_be_integers_or_compressed() {
        for (bytes, text) in [
            (&b"\x00"[..], Ok(&b""[..])),
            (b"\x02ab", Ok(b"ab")),
            (b"\xc0\x80", Ok(b"-128")),
            (b"\xc1\x00\x80", Ok(b"-32768")),
            (b"\xc2\xff\xff\xff\x7f", Ok(b"2147483647")),
            (b"\xc3\x04\x0a\x00a\xe0\x00", Err(Corrupt)),
            (b"\xc3\x05\x0b\x00a\xe0\x01\x00", Ok(b"aaaaaaaaaaa")),
            (b"\xc3\x05\x0c\x00a\xe0\x01\x00", Err(Corrupt)),
            (b"\xc4\x00", Err(Corrupt)),
            (b"\x03ab", Err(Corrupt)),
            (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff", Err(Corrupt)),
        ] {
            assert_eq!(string(bytes), text.map(<[u8]>::to_vec), "{bytes:?}");
        }
    }

    #[test]
    fn nothing_is_reserved_for_what_cannot_be_there() {
        let claims = b"\xc3\x05\x81\x00\x00\x00\x10\x00\x00\x00\x00\x00a\xe0\x01\x00";
        assert_eq!(string(claims), Err(Corrupt));
        assert_eq!(Reader::new(b"\x03123").count(1), Ok(3));
        assert_eq!(Reader::new(b"\x03123").count(2), Err(Corrupt));
        let huge = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff123";
        assert_eq!(Reader::new(huge).count(1), Err(Corrupt));
        assert_eq!(Reader::new(huge).count(usize::MAX), Err(Corrupt));
    }

    #[test]
    fn old_doubles_are_text() {
        for (bytes, double) in [
            (&b"\xfe"[..], Ok(f64::INFINITY)),
            (b"\xff", Ok(f64::NEG_INFINITY)),
            (b"\x03-17", Ok(-17.0)),
            (b"\x061e+300", Ok(1e300)),
            (b"\x051e+30", Ok(1e30)),
            (b"\x041.5x", Err(Corrupt)),
            (b"\x00", Err(Corrupt)),
            (b"\x05123", Err(Corrupt)),
        ] {
            assert_eq!(Reader::new(bytes).old_double(), double, "{bytes:?}");
        }
        assert!(Reader::new(b"\xfd").old_double().unwrap().is_nan());
    }
}
