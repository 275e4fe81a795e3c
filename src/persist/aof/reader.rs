//! A log taken apart as it comes in.
//!
//! A log is commands in RESP, and lines that begin with `#`, which every reader passes over. Redkeep ends each batch that it
//! writes with such a line, `#CRC:SUM:LENGTH:SYNCED`: how many bytes stand since the last such line, up to which offset the
//! file was known to be on the disk, and the CRC-32 of those bytes and of these two fields. By
//! them a tail that was torn off is told from damage in the middle, behind which whole batches follow.

use crate::persist::input::Input;
use crate::util::num;

/// What a line that vouches for a batch begins with.
pub const VOUCHER: &[u8] = b"#CRC:";

/// Longest line that begins with `#`.
const LONGEST_NOTE: usize = 1024;

/// Longest string in a command.
const LONGEST: usize = 1 << 30;

/// What came out of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A command.
    Command(Vec<Vec<u8>>),
    /// The time of what follows, in unix seconds.
    Time(i64),
    /// A note that says nothing to us, or a batch was vouched for.
    Note,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Its end is missing: everything before this offset is whole.
    #[error("the log is torn off behind offset {0}")]
    Torn(u64),
    /// Something in it is not what it was, and what follows is whole again.
    #[error("the log is damaged at offset {0}: {1}")]
    Damaged(u64, &'static str),
}

/// Reads a log.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    /// Checksum and length of what was read since the last voucher.
    sum: crc32fast::Hasher,
    len: u64,
    /// Where the batch begins that is being read.
    batch: u64,
    /// The end of the last batch that was vouched for, or of the last command where nobody vouches.
    vouched: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(0)
    }
}

enum Parsed {
    Entry(Entry, usize),
    /// Its own fields count into the sum, if there is a third.
    Voucher(u32, u64, Option<Vec<u8>>, usize),
    /// More is needed.
    Short,
    Bad(&'static str),
}

impl Reader {
    /// Reads a log that begins at this offset of its file.
    pub fn new(offset: u64) -> Reader {
        Reader {
            input: Input::at(offset),
            sum: crc32fast::Hasher::new(),
            len: 0,
            batch: offset,
            vouched: false,
        }
    }

    /// Takes the next bytes; none say that the log ends.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.feed(bytes);
    }

    /// Everything before this offset was read and is whole.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// The next entry; none when more bytes are needed, or the log has come to its end.
    ///
    /// # Errors
    /// [`Wrong::Torn`] when the end is missing, [`Wrong::Damaged`] when something before the end is not what it was. To
    /// tell them apart everything behind must have been fed: before that, none is given.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Wrong> {
        let rest = self.input.rest();
        if rest.is_empty() {
            return Ok(None);
        }
        match parse(rest) {
            Parsed::Entry(entry, used) => {
                self.sum.update(rest.get(..used).unwrap_or_default());
                self.len += used as u64;
                self.input.read(used);
                Ok(Some(entry))
            }
            Parsed::Voucher(sum, len, own, used) => {
                let is = std::mem::take(&mut self.sum).finalize();
                let is = own.map_or(is, |own| extended(is, &own));
                // An empty one says that nobody vouches for what came before.
                if len != 0 && (sum, len) != (is, self.len) {
                    let (offset, own) = (self.batch, used);
                    return self.wrong(offset, own, "a batch is not what was written");
                }
                self.vouched = true;
                self.len = 0;
                self.input.read(used);
                self.batch = self.position();
                Ok(Some(Entry::Note))
            }
            Parsed::Short if !self.input.complete => Ok(None),
            Parsed::Short => Err(Wrong::Torn(self.position())),
            Parsed::Bad(what) => {
                let offset = self.position();
                // The batch goes on to the next voucher.
                let rest = self.input.rest();
                let own = memchr::memmem::find(rest, VOUCHER).map_or(rest.len(), |at| at + 1);
                self.wrong(offset, own, what)
            }
        }
    }

    /// Something is wrong in the batch that begins or goes on at this offset and takes `own` more bytes: it is the end of
    /// a write that was cut short, or damage, if another batch follows.
    fn wrong(
        &mut self,
        offset: u64,
        own: usize,
        what: &'static str,
    ) -> Result<Option<Entry>, Wrong> {
        if !self.input.complete {
            return Ok(None);
        }
        let behind = self.input.rest().get(own..).unwrap_or_default();
        if !self.vouched || memchr::memmem::find(behind, VOUCHER).is_some() {
            return Err(Wrong::Damaged(offset, what));
        }
        Err(Wrong::Torn(offset))
    }
}

fn parse(bytes: &[u8]) -> Parsed {
    match bytes.first() {
        Some(b'#') => note(bytes),
        Some(b'*') => command(bytes),
        Some(_) => Parsed::Bad("no command begins here"),
        None => Parsed::Short,
    }
}

fn note(bytes: &[u8]) -> Parsed {
    let window = bytes.get(..LONGEST_NOTE).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return match bytes.len() < LONGEST_NOTE {
            true => Parsed::Short,
            false => Parsed::Bad("a note is too long"),
        };
    };
    let line = window.get(..end).unwrap_or_default().trim_ascii_end();
    if let Some(seconds) = line.strip_prefix(b"#TS:") {
        return match num::parse_i64(seconds) {
            Some(seconds) => Parsed::Entry(Entry::Time(seconds), end + 1),
            None => Parsed::Bad("a time is no number"),
        };
    }
    match line.strip_prefix(VOUCHER) {
        None => Parsed::Entry(Entry::Note, end + 1),
        Some(rest) => match voucher(rest) {
            Some((sum, len, own)) => Parsed::Voucher(sum, len, own.map(<[u8]>::to_vec), end + 1),
            None => Parsed::Bad("a checksum cannot be read"),
        },
    }
}

fn voucher(text: &[u8]) -> Option<(u32, u64, Option<&[u8]>)> {
    let (sum, rest) = text.split_first_chunk::<9>()?;
    let sum = std::str::from_utf8(sum.strip_suffix(b":")?).ok()?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    let len = rest.split(|&byte| byte == b':').next()?;
    let own = (len.len() < rest.len()).then_some(rest);
    let len = std::str::from_utf8(len).ok()?.parse().ok()?;
    Some((sum, len, own))
}

/// The line behind a batch of this length, whose bytes have this CRC-32, at a time when the file was known to be on the disk
/// up to the offset `synced`.
pub fn vouch(out: &mut Vec<u8>, sum: u32, len: u64, synced: u64) {
    let fields = format!("{len}:{synced}");
    let sum = extended(sum, fields.as_bytes());
    out.extend_from_slice(VOUCHER);
    out.extend_from_slice(format!("{sum:08x}:{fields}\r\n").as_bytes());
}

/// The line that says that nobody vouches for what stands before it and behind the last such line.
pub fn disclaim(out: &mut Vec<u8>, synced: u64) {
    vouch(out, 0, 0, synced);
}

/// The CRC-32 of bytes that have this one with more bytes behind them.
fn extended(sum: u32, more: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(more);
    hasher.finalize()
}

/// A number between a mark and the end of its line, and where the next line begins.
fn header(bytes: &[u8], mark: u8) -> Result<(usize, usize), Parsed> {
    const LONGEST_LINE: usize = 32;
    match bytes.first() {
        None => return Err(Parsed::Short),
        Some(first) if *first != mark => return Err(Parsed::Bad("a length is expected here")),
        Some(_) => {}
    }
    let window = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return Err(match bytes.len() < LONGEST_LINE {
            true => Parsed::Short,
            false => Parsed::Bad("a length is too long"),
        });
    };
    let digits = window.get(1..end).unwrap_or_default();
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let n = num::parse_i64(digits).and_then(|n| usize::try_from(n).ok());
    n.map(|n| (n, end + 1))
        .ok_or(Parsed::Bad("a length is no number"))
}

fn command(bytes: &[u8]) -> Parsed {
    let (count, mut at) = match header(bytes, b'*') {
        Ok(found) => found,
        Err(other) => return other,
    };
    // Each string takes some bytes: so many that are not there need no room.
    if count == 0 || count > LONGEST {
        return Parsed::Bad("a command has no words, or too many");
    }
    let mut argv = Vec::with_capacity(count.min(bytes.len() / 5 + 1));
    for _ in 0..count {
        let rest = bytes.get(at..).unwrap_or_default();
        let (len, used) = match header(rest, b'$') {
            Ok(found) => found,
            Err(other) => return other,
        };
        if len > LONGEST {
            return Parsed::Bad("a string is too long");
        }
        let Some(word) = rest.get(used..used + len) else {
            return Parsed::Short;
        };
        match rest.get(used + len..used + len + 2) {
            None => return Parsed::Short,
            Some(b"\r\n") => {}
            Some(_) => return Parsed::Bad("a string does not end where it should"),
        }
        argv.push(word.to_vec());
        at += used + len + 2;
    }
    Parsed::Entry(Entry::Command(argv), at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(commands: &[&[u8]]) -> Vec<u8> {
        let mut out = commands.concat();
        let (sum, len) = (crc32fast::hash(&out), out.len() as u64);
        vouch(&mut out, sum, len, 0);
        out
    }

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n";
    const DEL: &[u8] = b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";

    /// The names of the commands in a log, and what is wrong with it.
    fn read(bytes: &[u8], piece: usize) -> (Vec<String>, u64, Option<Wrong>) {
        let mut reader = Reader::default();
        let mut names = Vec::new();
        let mut pieces = bytes.chunks(piece.max(1)).chain([&b""[..]]);
        loop {
            match reader.next_entry() {
                Ok(Some(Entry::Command(argv))) => {
                    names.push(String::from_utf8_lossy(&argv[0]).into_owned());
                }
                Ok(Some(_)) => {}
                Ok(None) => match pieces.next() {
                    Some(piece) => reader.feed(piece),
                    None => return (names, reader.position(), None),
                },
                Err(wrong) => return (names, reader.position(), Some(wrong)),
            }
        }
    }

    #[test]
    fn commands_and_notes_are_read() {
        let log = [&b"#TS:1700000000\r\n"[..], SET, b"# anything\r\n", DEL].concat();
        for piece in [1, 7, 1000] {
            let (names, at, wrong) = read(&log, piece);
            assert_eq!(
                (names.join(" "), at, wrong),
                ("SET DEL".into(), log.len() as u64, None)
            );
        }
    }

    #[test]
    fn a_torn_tail_is_told_from_damage() {
        let whole = [batch(&[SET, DEL]), batch(&[SET])].concat();
        assert_eq!(read(&whole, 9).2, None);
        let first = batch(&[SET, DEL]).len();
        for cut in 1..whole.len() {
            let (names, at, wrong) = read(&whole[..cut], 11);
            assert!(
                matches!(wrong, None | Some(Wrong::Torn(_))),
                "{cut}: {wrong:?}"
            );
            assert!(at <= cut as u64 && names.len() <= 3);
            assert_eq!(names.len() >= 2, cut >= SET.len() + DEL.len());
        }
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 4;
            let (_, _, wrong) = read(&bad, 13);
            // Without the line between them, two batches are one.
            if at < first - 2 {
                let found = matches!(wrong, Some(Wrong::Damaged(..)));
                assert!(found, "{at}: {wrong:?}");
            } else if at >= first {
                assert!(
                    !matches!(wrong, Some(Wrong::Damaged(..))),
                    "{at}: {wrong:?}"
                );
            }
        }
    }

    #[test]
    fn zeros_at_the_end_are_a_torn_tail() {
        let log = [batch(&[SET]), vec![0; 100]].concat();
        assert_eq!(
            read(&log, 50).2,
            Some(Wrong::Torn(batch(&[SET]).len() as u64))
        );
        // Where nobody vouches it may be anything.
        let log = [SET, &[0; 100]].concat();
        assert!(matches!(read(&log, 50).2, Some(Wrong::Damaged(..))));
    }

    #[test]
    fn what_others_appended_is_not_vouched_for() {
        let mut log = [&batch(&[SET])[..], DEL, DEL].concat();
        disclaim(&mut log, 0);
        log.extend(batch(&[SET]));
        let (names, _, wrong) = read(&log, 8);
        assert_eq!((names.join(" "), wrong), ("SET DEL DEL SET".into(), None));
    }

    proptest! {
        #[test]
        fn reading_anything_ends(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50usize) {
            read(&bytes, piece);
            read(&[SET, &bytes].concat(), piece);
        }
    }
}
