//! Lines of a configuration file, split into words and quoted back.

use crate::util::num::is_space;

/// Splits a line into words. Double quotes know `\n \r \t \b \a \xHH` and otherwise keep what follows a backslash;
/// single quotes know only `\'`. A closing quote must end its word. `None` when the quotes do not balance.
pub(crate) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = skip_space(line);
    while !rest.is_empty() {
        let (word, after) = next_word(rest)?;
        words.push(word);
        rest = skip_space(after);
    }
    Some(words)
}

/// Appends `word` between double quotes, so that [`split`] reads it back as it is.
pub(crate) fn quote(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b'"');
    for &byte in word {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            7 => out.extend(b"\\a"),
            8 => out.extend(b"\\b"),
            0x20..=0x7e => out.push(byte),
            _ => out.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    out.push(b'"');
}

fn skip_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&b| !is_space(b));
    text.get(start.unwrap_or(text.len())..).unwrap_or_default()
}

fn next_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Some((word, rest)),
            [first, ..] if is_space(*first) => return Some((word, rest)),
            [b'"', inner @ ..] => closed(double_quoted(inner, &mut word)?)?,
            [b'\'', inner @ ..] => closed(single_quoted(inner, &mut word)?)?,
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        }
    }
}

/// What follows a closing quote: nothing, or space.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|&b| is_space(b)).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        split(line.as_bytes()).map(|w| {
            w.iter()
                .map(|w| String::from_utf8_lossy(w).into_owned())
                .collect()
        })
    }

    #[test]
    fn splits_at_space_outside_quotes() {
        assert_eq!(
            words("  a  'b c' \"d\\n\" ''").unwrap(),
            ["a", "b c", "d\n", ""]
        );
        assert_eq!(words("a\"b\"").unwrap(), ["ab"]);
        assert_eq!(words(r#""\x41\q" '\'\n'"#).unwrap(), ["Aq", "'\\n"]);
        assert_eq!(words("").unwrap(), [""; 0]);
    }

    #[test]
    fn refuses_quotes_that_do_not_balance() {
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "\"a\\\""] {
            assert_eq!(words(line), None, "{line}");
        }
    }

    #[test]
    fn quoting_is_undone_by_splitting() {
        let all: Vec<u8> = (0..=255).collect();
        let mut line = Vec::new();
        quote(&mut line, &all);
        assert_eq!(split(&line).unwrap(), [all]);
    }
}
