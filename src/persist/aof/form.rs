//! How a log is made up: commands in RESP, and lines that begin with `#`.

use std::ops::Range;

/// Longest line that begins with `#`, with its end: as much as Redis reads of one.
const LONGEST_NOTE: usize = 1023;

/// Longest string in a command.
const LONGEST: usize = 1 << 30;

/// Why nothing can be read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// It goes on behind what has come in.
    Short,
    /// It is not of this form.
    Bad(&'static str),
}

/// How far a command has been read that has not come in whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Bytes that were read; none if nothing was.
    at: usize,
    /// Words that are missing.
    missing: usize,
}

/// Reads the command at the front of these bytes, on from where it was left; its length. Tells the place of each word.
#[inline]
pub(super) fn command(
    bytes: &[u8],
    progress: &mut Progress,
    mut word: impl FnMut(Range<usize>),
) -> Result<usize, Halt> {
    if progress.at == 0 {
        let (count, used) = header(bytes, b'*')?;
        if count == 0 || count > i32::MAX as usize {
            return Err(Halt::Bad("a command has no words, or too many"));
        }
        (progress.missing, progress.at) = (count, used);
    }
    while progress.missing > 0 {
        let at = progress.at;
        let (len, used) = header(bytes.get(at..).unwrap_or_default(), b'$')?;
        if len > LONGEST {
            return Err(Halt::Bad("a string is too long"));
        }
        let start = at + used;
        match bytes.get(start + len..start + len + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(Halt::Bad("a string does not end where it should")),
            None => return Err(Halt::Short),
        }
        word(start..start + len);
        progress.at = start + len + 2;
        progress.missing -= 1;
    }
    Ok(progress.at)
}

/// The length of the line at the front of these bytes that begins with `#`, its end included.
#[inline]
pub(super) fn note(bytes: &[u8]) -> Result<usize, Halt> {
    let window = bytes.get(..LONGEST_NOTE).unwrap_or(bytes);
    match memchr::memchr(b'\n', window) {
        Some(end) => Ok(end + 1),
        None if bytes.len() < LONGEST_NOTE => Err(Halt::Short),
        None => Err(Halt::Bad("a note is too long")),
    }
}

/// A number between a mark and the end of its line, and the length of that line.
#[inline]
fn header(bytes: &[u8], mark: u8) -> Result<(usize, usize), Halt> {
    match *bytes {
        [first, a @ b'0'..=b'9', b'\r', b'\n', ..] if first == mark => {
            Ok((usize::from(a - b'0'), 4))
        }
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] if first == mark => {
            Ok((usize::from(a - b'0') * 10 + usize::from(b - b'0'), 5))
        }
        _ => any_header(bytes, mark),
    }
}

#[inline(never)]
fn any_header(bytes: &[u8], mark: u8) -> Result<(usize, usize), Halt> {
    /// With as many digits as a number of 64 bits has.
    const LONGEST_LINE: usize = 1 + 20 + 2;
    let Some(&first) = bytes.first() else {
        return Err(Halt::Short);
    };
    if first != mark {
        return Err(Halt::Bad("a length is expected here"));
    }
    let window = bytes
        .get(1..LONGEST_LINE.min(bytes.len()))
        .unwrap_or_default();
    let digits = window.iter().take_while(|byte| byte.is_ascii_digit());
    let digits = digits.count();
    let number = || {
        let text = std::str::from_utf8(window.get(..digits)?).ok()?;
        text.parse::<usize>().ok()
    };
    match window.get(digits..) {
        Some([b'\r', b'\n', ..]) => match number() {
            Some(n) => Ok((n, 1 + digits + 2)),
            None => Err(Halt::Bad("a length is no number")),
        },
        Some([] | [b'\r']) if bytes.len() < LONGEST_LINE => Err(Halt::Short),
        _ => Err(Halt::Bad("a length is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_digits_and_a_line_end() {
        for (bytes, what) in [
            (&b"$0\r\n"[..], Ok((0, 4))),
            (b"$12\r\nx", Ok((12, 5))),
            (b"$007\r\n", Ok((7, 6))),
            (b"$1234567890\r\n", Ok((1_234_567_890, 13))),
            (b"", Err(Halt::Short)),
            (b"$", Err(Halt::Short)),
            (b"$1", Err(Halt::Short)),
            (b"$1\r", Err(Halt::Short)),
            (b"*1\r\n", Err(Halt::Bad("a length is expected here"))),
            (b"$\r\n", Err(Halt::Bad("a length is no number"))),
            (b"$1\n", Err(Halt::Bad("a length is no number"))),
            (b"$-1\r\n", Err(Halt::Bad("a length is no number"))),
            (b"$1\rx", Err(Halt::Bad("a length is no number"))),
            (
                b"$99999999999999999999999",
                Err(Halt::Bad("a length is no number")),
            ),
            (
                b"$99999999999999999999\r\n",
                Err(Halt::Bad("a length is no number")),
            ),
        ] {
            assert_eq!(header(bytes, b'$'), what, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_command_is_read_on_where_it_was_left() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello world!\r\n";
        let (mut progress, mut words) = (Progress::default(), Vec::new());
        for end in 0..bytes.len() {
            let halt = command(&bytes[..end], &mut progress, |word| words.push(word));
            assert_eq!(halt, Err(Halt::Short));
        }
        let len = command(bytes, &mut progress, |word| words.push(word));
        assert_eq!(len, Ok(bytes.len()));
        let words: Vec<&[u8]> = words.into_iter().map(|word| &bytes[word]).collect();
        assert_eq!(words, [&b"SET"[..], b"k", b"hello world!"]);
    }
}
