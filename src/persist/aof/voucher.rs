//! The line behind a batch that vouches for it: `#CRC:SUM:LENGTH:SYNCED`, with a line end of two bytes.
//!
//! ```text
//! LENGTH  bytes since the last such line
//! SYNCED  the offset of this file up to which it was known to be on the disk when the line was written, which was before the
//!         batch was: never beyond the start of it
//! SUM     the CRC-32 of those bytes and of the text `LENGTH:SYNCED`, in eight digits
//! ```
//!
//! A length of 0 disclaims: nobody vouches for what stands before the line and behind the last one. Lines without the last
//! field are read too; their sum is that of the bytes alone.

use crate::util::num;

/// What the line begins with.
pub const VOUCHER: &[u8] = b"#CRC:";

/// The longest such line with its end: two numbers of 20 digits.
pub(super) const LONGEST: usize = VOUCHER.len() + 8 + 1 + 20 + 1 + 20 + 2;

/// What such a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voucher {
    sum: u32,
    /// Bytes that it is for; 0 if it disclaims.
    pub(super) len: u64,
    /// Up to where the file was on the disk, if it says so.
    pub(super) synced: Option<u64>,
}

impl Voucher {
    /// Reads a line, with its end.
    pub(super) fn parse(line: &[u8]) -> Option<Voucher> {
        let text = line.strip_prefix(VOUCHER)?.strip_suffix(b"\r\n")?;
        let (sum, rest) = text.split_first_chunk::<8>()?;
        let sum = sum.iter().try_fold(0, |sum, &digit| match digit {
            b'0'..=b'9' => Some(sum << 4 | u32::from(digit - b'0')),
            b'a'..=b'f' => Some(sum << 4 | u32::from(digit - b'a' + 10)),
            _ => None,
        })?;
        let rest = rest.strip_prefix(b":")?;
        let mut fields = rest.splitn(2, |&byte| byte == b':');
        let len = num::parse_u64(fields.next()?)?;
        let synced = match fields.next() {
            Some(synced) => Some(num::parse_u64(synced)?),
            None => None,
        };
        Some(Voucher { sum, len, synced })
    }

    /// Whether it is for bytes with this checksum; whoever asks sees to their number.
    pub(super) fn covers(&self, sum: u32) -> bool {
        match self.synced {
            Some(synced) => self.sum == sealed(sum, self.len, synced),
            None => self.sum == sum,
        }
    }

    /// Whether it says that nobody vouches.
    pub(super) fn disclaims(&self) -> bool {
        self.len == 0
    }
}

/// Writes the line behind a batch of this CRC-32 and length, at a time when the file is known to be on the disk up to the
/// offset `synced`.
pub fn vouch(out: &mut Vec<u8>, sum: u32, len: u64, synced: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let sum = sealed(sum, len, synced);
    out.extend_from_slice(VOUCHER);
    out.extend((0..8).rev().map(|i| DIGITS[(sum >> (4 * i)) as usize & 15]));
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(synced).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the line that says that nobody vouches for what stands before it and behind the last such line.
pub fn disclaim(out: &mut Vec<u8>, synced: u64) {
    vouch(out, 0, 0, synced);
}

/// The checksum of bytes with the fields of the line behind them.
fn sealed(sum: u32, len: u64, synced: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(itoa::Buffer::new().format(len).as_bytes());
    hasher.update(b":");
    hasher.update(itoa::Buffer::new().format(synced).as_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (len, synced) in [(3, 0), (0, 7), (u64::MAX, u64::MAX)] {
            let mut line = Vec::new();
            vouch(&mut line, crc32fast::hash(b"abc"), len, synced);
            assert!(line.len() <= LONGEST);
            let voucher = Voucher::parse(&line).unwrap();
            assert_eq!((voucher.len, voucher.synced), (len, Some(synced)));
            assert!(voucher.covers(crc32fast::hash(b"abc")));
            assert!(!voucher.covers(crc32fast::hash(b"abd")));
        }
        let old = Voucher::parse(b"#CRC:352441c2:3\r\n").unwrap();
        assert!(old.covers(crc32fast::hash(b"abc")) && old.synced.is_none());
    }

    #[test]
    fn no_byte_of_it_can_be_changed_unseen() {
        let mut line = Vec::new();
        vouch(&mut line, crc32fast::hash(b"abc"), 3, 1234);
        for at in 0..line.len() {
            for byte in 0..=u8::MAX {
                let mut bad = line.clone();
                bad[at] = byte;
                let says = Voucher::parse(&bad);
                let fooled = says.is_some_and(|voucher| voucher.covers(crc32fast::hash(b"abc")));
                assert_eq!(fooled, bad == line, "{at}: {byte}");
            }
        }
    }
}
