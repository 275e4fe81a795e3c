//! Words of a line with quotes, as inline requests, configuration files and `redis-cli` write them.
//!
//! Words are separated by white space. A double-quoted section knows `\n \r \t \b \a`, `\xHH`, and `\` before any other
//! byte for that byte; a single-quoted one knows only `\'`. A closing quote must end its word. A NUL byte ends the line.

use crate::util::num::is_space;

/// Quotes that do not close, or that close in the middle of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unbalanced quotes")]
pub struct Unbalanced;

/// Splits a line into its words.
///
/// ```
/// let words = redkeep::resp::split_line(br#"set "a\x41" 'it\'s'"#).unwrap();
/// assert_eq!(words, [&b"set"[..], b"aA", b"it's"]);
/// ```
///
/// # Errors
/// When a quote does not close, or closes in the middle of a word.
pub fn split_line(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    split_into(line, &mut bytes, |start, end| spans.push((start, end)))?;
    Ok(spans
        .into_iter()
        .map(|(start, end)| bytes.get(start..end).unwrap_or_default().to_vec())
        .collect())
}

/// Appends the words of `line` to `out` and tells each one's position there.
pub(super) fn split_into(
    line: &[u8],
    out: &mut Vec<u8>,
    mut word: impl FnMut(usize, usize),
) -> Result<(), Unbalanced> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if matches!(rest, [] | [0, ..]) {
            return Ok(());
        }
        let start = out.len();
        rest = take_word(rest, out)?;
        word(start, out.len());
    }
}

/// Takes one word off the front of `rest`, and gives what follows it.
fn take_word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] | [0 | b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', tail @ ..] => return take_double_quoted(tail, out),
            [b'\'', tail @ ..] => return take_single_quoted(tail, out),
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] | [0, ..] => return Err(Unbalanced),
            [b'"', tail @ ..] => return ends_word(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] if *escaped != 0 => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        }
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] | [0, ..] => return Err(Unbalanced),
            [b'\'', tail @ ..] => return ends_word(tail),
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        }
    }
}

/// What follows a closing quote must be white space or the end.
fn ends_word(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [] | [0, ..] => Ok(rest),
        [byte, ..] if is_space(*byte) => Ok(rest),
        _ => Err(Unbalanced),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split_line(line.as_bytes()).ok()?;
        Some(
            words
                .into_iter()
                .map(|w| w.iter().copied().map(char::from).collect())
                .collect(),
        )
    }

    #[test]
    fn quotes_and_escapes_are_undone() {
        assert_eq!(words("  set  a\tb \r").unwrap(), ["set", "a", "b"]);
        assert_eq!(words(r#"a"b c" d"#).unwrap(), ["ab c", "d"]);
        assert_eq!(
            words(r#""\x41\n\q\xZZ" '\n\''"#).unwrap(),
            ["A\nqxZZ", "\\n'"]
        );
        assert_eq!(words("'' \"\"").unwrap(), ["", ""]);
        assert_eq!(words("a\x0bb").unwrap(), ["a\x0bb"]);
        assert_eq!(words("a\0b").unwrap(), ["a"]);
        assert!(words(" \t ").unwrap().is_empty());
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "\"a\\", "\"a\\\"", "'a\\'"] {
            assert_eq!(words(line), None, "{line}");
        }
    }
}
