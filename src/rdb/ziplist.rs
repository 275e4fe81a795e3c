//! Ziplist: what listpacks were before Redis 7, with each entry telling the size of the one before it.
//!
//! ```text
//! ziplist  = total-bytes:u32le  tail:u32le  count:u16le  entry*  0xFF
//! entry    = previous  encoding-and-data
//! previous = size of the entry before: one byte up to 253, or 254 and u32le
//!
//! 00llllll data               string of up to 63 bytes
//! 01llllll l data             string of up to 16383 bytes
//! 10------ l*4 data           string, length big endian
//! 11000000 11010000 11100000  integers of 16, 32 and 64 bits, little endian
//! 11110000                    integer of 24 bits
//! 11111110                    integer of 8 bits
//! 1111xxxx                    xxxx - 1, for xxxx from 1 to 13
//! ```
//!
//! `tail` is the offset of the last entry; a count of 65535 means "unknown, walk".

use super::{Corrupt, Reader};
use crate::ds::listpack::Value;

/// Bytes before the first entry.
const HEADER: usize = 10;
/// The terminator.
const END: u8 = 0xFF;
/// The first byte of a long `previous`.
const LONG: u8 = 254;

/// Calls `each` with all elements in order, after checking each entry; at the end, that header and entries agree.
///
/// # Errors
/// [`Corrupt`] when they do not, or what `each` returns.
pub fn read<'a>(
    ziplist: &'a [u8],
    mut each: impl FnMut(Value<'a>) -> Result<(), Corrupt>,
) -> Result<(), Corrupt> {
    let mut r = Reader::new(ziplist);
    let total = u32::from_le_bytes(r.array()?);
    let tail = u32::from_le_bytes(r.array()?);
    let count = u16::from_le_bytes(r.array()?);
    if usize::try_from(total) != Ok(ziplist.len()) {
        return Err(Corrupt);
    }
    let (mut found, mut previous, mut last) = (0usize, 0, HEADER);
    while r.left().first().ok_or(Corrupt)? != &END {
        let at = ziplist.len() - r.left().len();
        if previous_size(&mut r)? != previous {
            return Err(Corrupt);
        }
        each(element(&mut r)?)?;
        (previous, last) = (ziplist.len() - r.left().len() - at, at);
        found += 1;
    }
    let counted = count == u16::MAX || usize::from(count) == found;
    // An empty one has its terminator where the last entry would be.
    if r.left().len() == 1 && usize::try_from(tail) == Ok(last) && counted {
        Ok(())
    } else {
        Err(Corrupt)
    }
}

fn previous_size(r: &mut Reader<'_>) -> Result<usize, Corrupt> {
    match r.byte()? {
        LONG => usize::try_from(u32::from_le_bytes(r.array()?)).map_err(|_| Corrupt),
        size => Ok(size.into()),
    }
}

fn element<'a>(r: &mut Reader<'a>) -> Result<Value<'a>, Corrupt> {
    let tag = r.byte()?;
    let low = usize::from(tag & 0x3F);
    let len = match tag {
        0x00..=0x3F => low,
        0x40..=0x7F => low << 8 | usize::from(r.byte()?),
        0x80..=0xBF => usize::try_from(u32::from_be_bytes(r.array()?)).map_err(|_| Corrupt)?,
        _ => return integer(tag, r).map(Value::Int),
    };
    r.bytes(len).map(Value::Str)
}

fn integer(tag: u8, r: &mut Reader<'_>) -> Result<i64, Corrupt> {
    Ok(match tag {
        0xC0 => i16::from_le_bytes(r.array()?).into(),
        0xD0 => i32::from_le_bytes(r.array()?).into(),
        0xE0 => i64::from_le_bytes(r.array()?),
        0xF0 => {
            let [a, b, c] = r.array()?;
            // Shifted back down with its sign.
            (i32::from_le_bytes([0, a, b, c]) >> 8).into()
        }
        0xFE => i8::from_le_bytes(r.array()?).into(),
        0xF1..=0xFD => i64::from(tag & 0x0F) - 1,
        _ => return Err(Corrupt),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Corrupt> {
        let mut out = Vec::new();
        read(bytes, |v| {
            out.push(v.to_vec());
            Ok(())
        })?;
        Ok(out)
    }

    /// Puts header and terminator around entries, the last of which starts at `tail`.
    fn ziplist(entries: &[u8], tail: usize, count: u16) -> Vec<u8> {
        let mut out = u32::try_from(entries.len() + HEADER + 1)
            .unwrap()
            .to_le_bytes()
            .to_vec();
        out.extend_from_slice(&u32::try_from(tail).unwrap().to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(entries);
        out.push(END);
        out
    }

    #[test]
    fn every_encoding_is_read() {
        let mut entries =
            b"\x00\xf1\x02\xfd\x02\xfe\x80\x03\xc0\x00\x80\x04\xf0\xff\xff\x7f".to_vec();
        entries.extend_from_slice(
            b"\x05\xd0\x00\x00\x00\x80\x06\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x0a\x02ab",
        );
        entries.extend_from_slice(b"\x04\x41\x00");
        entries.extend_from_slice(&[b'x'; 256]);
        let tail = HEADER + entries.len();
        entries.extend_from_slice(b"\xfe\x03\x01\x00\x00\x80\x00\x00\x00\x01y");
        let bytes = ziplist(&entries, tail, 10);
        let read = elements(&bytes).unwrap();
        let text: Vec<_> = read.iter().map(|e| String::from_utf8_lossy(e)).collect();
        assert_eq!(
            text[..7],
            [
                "0",
                "12",
                "-128",
                "-32768",
                "8388607",
                "-2147483648",
                "9223372036854775807"
            ]
        );
        assert_eq!((text[7].as_ref(), text[8].len()), ("ab", 256));
        assert_eq!(text.len(), 10);
    }

    #[test]
    fn header_and_entries_must_agree() {
        let good = ziplist(b"\x00\x01a\x03\x01b", HEADER + 3, 2);
        assert_eq!(elements(&good).unwrap().len(), 2);
        assert_eq!(elements(&ziplist(b"", HEADER, 0)), Ok(vec![]));
        assert!(elements(&ziplist(b"\x00\x01a\x03\x01b", HEADER + 3, u16::MAX)).is_ok());
        for bad in [
            ziplist(b"\x00\x01a\x03\x01b", HEADER, 2),
            ziplist(b"\x00\x01a\x03\x01b", HEADER + 3, 3),
            ziplist(b"\x00\x01a\x02\x01b", HEADER + 3, 2),
            ziplist(b"\x00\x01a\x03\x09b", HEADER + 3, 2),
            ziplist(b"\x00\xd1\0\0\0\0", HEADER, 1),
            good[..good.len() - 1].to_vec(),
            [&good[..], &[END]].concat(),
            vec![],
        ] {
            assert_eq!(elements(&bad), Err(Corrupt), "{bad:?}");
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let good = ziplist(b"\x00\x01a\x03\xc0\x01\x02\x04\xf3", HEADER + 7, 3);
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = elements(&bad);
            }
        }
    }
}
