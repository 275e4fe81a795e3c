//! Zipmap: what small hashes were before Redis 2.6.
//!
//! ```text
//! zipmap = count:u8  ( length field  length free:u8 value unused{free} )*  0xFF
//! length = one byte up to 253, or 254 and u32le
//! ```
//!
//! A count of 254 or more means "unknown, walk".

use super::{Corrupt, Reader};

/// The terminator.
const END: u8 = 0xFF;
/// The first byte of a long length, and the first count that means nothing.
const BIG: u8 = 254;

/// Calls `each` with all fields and values in order, after checking each; at the end, that the count is right.
///
/// # Errors
/// [`Corrupt`] when it is not, or what `each` returns.
pub fn read<'a>(
    zipmap: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Corrupt>,
) -> Result<(), Corrupt> {
    let mut r = Reader::new(zipmap);
    let count = r.byte()?;
    let mut found = 0usize;
    while r.left().first().ok_or(Corrupt)? != &END {
        let len = length(&mut r)?;
        let field = r.bytes(len)?;
        let len = length(&mut r)?;
        let free = r.byte()?;
        let value = r.bytes(len)?;
        r.bytes(free.into())?;
        each(field, value)?;
        found += 1;
    }
    let counted = count >= BIG || usize::from(count) == found;
    if r.left().len() == 1 && counted {
        Ok(())
    } else {
        Err(Corrupt)
    }
}

fn length(r: &mut Reader<'_>) -> Result<usize, Corrupt> {
    match r.byte()? {
        BIG => usize::try_from(u32::from_le_bytes(r.array()?)).map_err(|_| Corrupt),
        END => Err(Corrupt),
        len => Ok(len.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair<'a> = (&'a [u8], &'a [u8]);

    fn pairs(bytes: &[u8]) -> Result<Vec<Pair<'_>>, Corrupt> {
        let mut out = Vec::new();
        read(bytes, |field, value| {
            out.push((field, value));
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn fields_and_values_are_read_and_free_bytes_skipped() {
        let bytes = b"\x02\x03foo\x03\x00bar\xfe\x05\0\0\0hello\x05\x02world--\xff";
        let want: [Pair<'_>; 2] = [(b"foo", b"bar"), (b"hello", b"world")];
        assert_eq!(pairs(bytes).unwrap(), want);
        assert_eq!(pairs(b"\x00\xff"), Ok(vec![]));
    }

    #[test]
    fn damaged_bytes_are_refused_or_read() {
        let good = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world--\xff";
        for at in 0..good.len() {
            assert!(pairs(&good[..at]).is_err());
            for byte in 0..=u8::MAX {
                let mut bad = good.to_vec();
                bad[at] = byte;
                let _ = pairs(&bad);
            }
        }
        assert_eq!(
            pairs(b"\x01\x03foo\x03\x00bar\x01a\x01\0b\xff"),
            Err(Corrupt)
        );
        assert_eq!(pairs(b"\x00\xff\xff"), Err(Corrupt));
    }
}
