//! Lines that say where in a history of writes a log has come to (`master_replid` and `master_repl_offset`), behind what it
//! holds up to there.
//!
//! ```text
//! #REPL:ID:OFFSET[:DB]   in the history of this name, 40 hex digits, behind so many bytes of its stream. The stream has
//!                        this database selected there; if there is none, it says itself which it goes on with
//! #AT:OFFSET[:DB]        the same, in the history that the last line named which named one
//! ```
//!
//! Both end with a line end of two bytes. What a line says holds until the next command. A file names its history itself: none is
//! taken over from the file before.

use crate::util::num;

const NAMED: &[u8] = b"#REPL:";
const SHORT: &[u8] = b"#AT:";

/// Digits of the name of a history.
const ID: usize = 40;

/// Where a log has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'a> {
    /// The history, if it is not the last one that was named.
    pub id: Option<&'a str>,
    /// Bytes of its stream.
    pub offset: u64,
    /// The database that is selected in it.
    pub db: Option<usize>,
}

impl<'a> Mark<'a> {
    /// Reads a line, with its end.
    pub(super) fn parse(line: &'a [u8]) -> Option<Mark<'a>> {
        let text = line.strip_suffix(b"\r\n")?;
        let (id, text) = match text.strip_prefix(NAMED) {
            Some(text) => {
                let (id, text) = text.split_first_chunk::<ID>()?;
                (Some(name(id)?), text.strip_prefix(b":")?)
            }
            None => (None, text.strip_prefix(SHORT)?),
        };
        let mut fields = text.splitn(2, |&byte| byte == b':');
        let offset = num::parse_u64(fields.next()?)?;
        let db = match fields.next() {
            Some(db) => Some(usize::try_from(num::parse_u64(db)?).ok()?),
            None => None,
        };
        Some(Mark { id, offset, db })
    }
}

fn name(digits: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(digits).ok()?;
    name.bytes()
        .all(|digit| digit.is_ascii_hexdigit())
        .then_some(name)
}

/// Notes where the log has come to. In each file the first line must name the history, and so must every one with which
/// another begins.
pub fn note_position(out: &mut Vec<u8>, mark: Mark<'_>) {
    let mut number = itoa::Buffer::new();
    match mark.id {
        Some(id) => {
            out.extend_from_slice(NAMED);
            out.extend_from_slice(id.as_bytes());
            out.push(b':');
        }
        None => out.extend_from_slice(SHORT),
    }
    out.extend_from_slice(number.format(mark.offset).as_bytes());
    if let Some(db) = mark.db {
        out.push(b':');
        out.extend_from_slice(number.format(db).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn what_is_noted_is_read() {
        for (id, offset, db, text) in [
            (None, 0, None, "#AT:0\r\n".to_owned()),
            (None, 1234, Some(0), "#AT:1234:0\r\n".to_owned()),
            (Some(NAME), 77, None, format!("#REPL:{NAME}:77\r\n")),
            (
                Some(NAME),
                u64::MAX,
                Some(15),
                format!("#REPL:{NAME}:18446744073709551615:15\r\n"),
            ),
        ] {
            let (mark, mut line) = (Mark { id, offset, db }, Vec::new());
            note_position(&mut line, mark);
            assert_eq!(String::from_utf8_lossy(&line), text);
            assert_eq!(Mark::parse(&line), Some(mark));
        }
    }

    #[test]
    fn what_is_no_position_is_none() {
        for line in [
            "#AT:\r\n",
            "#AT:-1\r\n",
            "#AT:1\n",
            "#AT:1:\r\n",
            "#AT:1:x\r\n",
            "#AT:1:2:3\r\n",
            "#AT:18446744073709551616\r\n",
            "#REPL:1\r\n",
            &format!("#REPL:{NAME}\r\n"),
            &format!("#REPL:{NAME}1\r\n"),
            &format!("#REPL:{}x:1\r\n", &NAME[1..]),
            &format!("#REPL:{}:1\r\n", &NAME[1..]),
            "#TS:1\r\n",
        ] {
            assert_eq!(Mark::parse(line.as_bytes()), None, "{line}");
        }
    }
}
