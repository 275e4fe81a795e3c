//! Libraries of functions, in files and in the payloads of FUNCTION DUMP: an opcode and the code, for each.

use super::{Blob, Reader, Writer};

/// A library follows: its code, as a string.
const LIBRARY: u8 = 245;
/// The same, as release candidates of 7.0 wrote it.
const LIBRARY_OLD: u8 = 246;

/// Bytes that are no library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLibrary {
    /// The form that only release candidates of 7.0 wrote.
    #[error("Pre-GA function format not supported")]
    Old,
    /// Something else.
    #[error("given type is not a function")]
    Other,
    /// The code is not there, or not whole.
    #[error("Failed loading library payload")]
    Code,
}

/// Writes a library, its code compressed where that makes it shorter, if `compress`.
pub fn write(out: &mut Vec<u8>, code: &[u8], compress: bool) {
    out.push(LIBRARY);
    Writer::new(out, compress).string(code);
}

/// The code of the library that stands next.
///
/// # Errors
/// [`NoLibrary`].
pub fn read<'a>(r: &mut Reader<'a>) -> Result<Blob<'a>, NoLibrary> {
    match r.byte() {
        Ok(LIBRARY) => r.string().map_err(|_| NoLibrary::Code),
        Ok(LIBRARY_OLD) => Err(NoLibrary::Old),
        _ => Err(NoLibrary::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let codes = [
            b"#!lua name=a\n".to_vec(),
            b"x".repeat(1000),
            b"12".to_vec(),
            Vec::new(),
        ];
        for compress in [false, true] {
            let mut bytes = Vec::new();
            for code in &codes {
                write(&mut bytes, code, compress);
            }
            let mut r = Reader::new(&bytes);
            for code in &codes {
                assert_eq!(read(&mut r).map(Blob::into_vec), Ok(code.clone()));
            }
            assert!(r.left().is_empty());
        }
    }

    #[test]
    fn what_is_no_library_is_refused() {
        for (bytes, why) in [
            (&b""[..], NoLibrary::Other),
            (b"\x00\x01x", NoLibrary::Other),
            (b"\xf6\x01x", NoLibrary::Old),
            (b"\xf5", NoLibrary::Code),
            (b"\xf5\x02x", NoLibrary::Code),
            (b"\xf5\xc3\x05\x41\x00a\xe0\x01\x00", NoLibrary::Code),
        ] {
            assert_eq!(
                read(&mut Reader::new(bytes)).map(Blob::into_vec),
                Err(why),
                "{bytes:?}"
            );
        }
    }
}
