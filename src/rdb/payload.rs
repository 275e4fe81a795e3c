//! The payload of DUMP and RESTORE: a tag, an object, and a footer that says by whom it can be read and whether it
//! arrived whole.

use crate::util::digest::crc64;

/// The newest version whose objects are read here.
pub const NEWEST: u16 = 14;

/// Bytes of version and checksum.
const FOOTER: usize = 10;

/// The version is too new, or the checksum wrong, or there is no room for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload version or checksum are wrong")]
pub struct BadFooter;

/// Ends a payload that says it needs this version.
pub fn seal(payload: &mut Vec<u8>, version: u16) {
    payload.extend_from_slice(&version.to_le_bytes());
    let sum = crc64(0, payload);
    payload.extend_from_slice(&sum.to_le_bytes());
}

/// Tag and object of a payload, whose checksum is looked at if `checked`.
///
/// # Errors
/// [`BadFooter`].
pub fn open(payload: &[u8], checked: bool) -> Result<&[u8], BadFooter> {
    let (body, footer) = payload.split_last_chunk::<FOOTER>().ok_or(BadFooter)?;
    let [low, high, sum @ ..] = *footer;
    if u16::from_le_bytes([low, high]) > NEWEST {
        return Err(BadFooter);
    }
    let whole = &payload[..payload.len() - sum.len()];
    if checked && crc64(0, whole) != u64::from_le_bytes(sum) {
        return Err(BadFooter);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `DUMP` of the string `x` by redis-server 7.0.15.
    const X: &[u8] = b"\0\x01x\x0a\0\x22\x80\x86_\xbd\xe8H\xd0";

    #[test]
    fn what_was_sealed_opens() {
        let mut payload = b"\0\x01x".to_vec();
        seal(&mut payload, 10);
        assert_eq!(open(&payload, true), Ok(&b"\0\x01x"[..]));
        assert_eq!(payload, X);
    }

    #[test]
    fn what_is_short_new_or_damaged_does_not_open() {
        let mut payload = b"\0\x01x".to_vec();
        seal(&mut payload, NEWEST + 1);
        assert_eq!(open(&payload, true), Err(BadFooter));
        assert_eq!(open(&payload, false), Err(BadFooter));
        payload.truncate(3);
        seal(&mut payload, NEWEST);
        assert!(open(&payload, true).is_ok());
        payload[1] ^= 1;
        assert_eq!(open(&payload, true), Err(BadFooter));
        assert!(open(&payload, false).is_ok());
        assert_eq!(open(&payload[4..], true), Err(BadFooter));
        assert_eq!(open(b"", true), Err(BadFooter));
    }
}
