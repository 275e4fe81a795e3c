//! A log taken apart as it comes in.
//!
//! A log is commands in RESP, and lines that begin with `#`, which every reader passes over. Redkeep ends each batch that it
//! writes with such a line, which [vouches](super::voucher) for it.
//!
//! # What is given
//!
//! A batch is given once its voucher was found to be right, so that nobody acts on the half of a batch that is not what was
//! written. To this end a batch is held back, up to [`AHEAD`] bytes and one command. Where the next voucher is farther away,
//! as in logs that others wrote, commands are given as they come.
//!
//! What stands behind the last voucher at the end of a log is given as far as its commands are whole: a write that was cut
//! short, or the commands of another server that went on with the log. The same holds for what is disclaimed.
//!
//! # What is wrong
//!
//! Wherever a log cannot be read on, or a voucher is not right, everything from the beginning of the batch is searched for
//! vouchers. The place is that where the unreadable command or line begins (what is wrong may stand before it in the
//! batch: a length that swallows what follows); for a voucher that is not right, where its batch begins.
//!
//! 1. A voucher that is right for the bytes before it says that more than the beginning of the batch was on the disk: the
//!    log is damaged. So does any that is right, if it does not say how much was.
//! 2. No voucher stands behind the place, nor did any before: others wrote this log. A command that goes on behind the end
//!    of the log, or nothing but zeros, is a torn tail, at the place; anything else is damage.
//! 3. A voucher stands behind it: the batch is not whole, though all of it was written once. The log is torn at the beginning
//!    of the batch. (If the batch was too large to be held back, it is damage: commands of it were given.)
//! 4. Otherwise the log is torn at the place: what is whole before it is given.
//!
//! A length that was changed may swallow the voucher of its batch and end where a string may end. What nobody vouches for is
//! therefore looked through for a voucher at the very distance that it speaks of: that is damage too.
//!
//! A voucher that speaks of more bytes on the disk than stand before its batch is not right: something is missing.
//!
//! Nothing can be said of the last batch that was synced, since only the next one would tell, nor of the end of a file that
//! is gone: both look like a tail that was torn off.

use std::ops::Range;

use super::form::{self, Halt, Progress};
use super::position::Mark;
use super::search::{Search, swallows_voucher};
use super::voucher::{VOUCHER, Voucher};
use crate::persist::input::Input;
use crate::resp::ArgVec;
use crate::util::num;

pub use super::voucher::{disclaim, vouch};

/// So many bytes of a batch are held back, and one command more, until it is known to be right. Larger ones are not to be
/// written.
pub const AHEAD: usize = 8 << 20;

/// What is wrong with such a batch.
const SWALLOWED: &str = "a string goes on over the end of its batch";

/// Places of words that room is kept for between commands.
const KEEP_WORDS: usize = 1024;

/// What came out of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A command.
    Command(Words<'a>),
    /// The time of what follows, in unix seconds.
    Time(i64),
    /// Where in a history of writes the log has come to, if no command follows.
    Position(Mark<'a>),
    /// Another line that begins with `#`: a voucher, or a note that says nothing to us.
    Note(&'a [u8]),
}

/// The words of a command, its name first. There is at least that.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    bytes: &'a [u8],
    places: &'a [Range<usize>],
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Its end is missing: everything before this offset is whole, and was given.
    #[error("the log is torn off behind offset {0}")]
    Torn(u64),
    /// Something in it is not what it was: what was given is not to be used.
    #[error("the log is damaged at offset {0}: {1}")]
    Damaged(u64, &'static str),
}

impl Wrong {
    /// Where.
    pub fn offset(&self) -> u64 {
        match *self {
            Wrong::Torn(offset) | Wrong::Damaged(offset, _) => offset,
        }
    }
}

/// Reads a log.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    /// Whole entries at the front of the input, and those of them that may be given.
    ahead: usize,
    cleared: usize,
    /// How far the command behind them has been read.
    progress: Progress,
    /// The batch that is read: where it begins; checksum and number of those of its bytes that were given.
    batch: u64,
    sum: crc32fast::Hasher,
    given: u64,
    /// The batch is too large to be held back.
    loose: bool,
    /// What may be given was not vouched for, and belongs to a batch that goes on.
    open: bool,
    /// There was a voucher.
    vouched: bool,
    stray: Option<Stray>,
    verdict: Option<Wrong>,
    words: Vec<Range<usize>>,
}

/// Where a log cannot be read on.
#[derive(Debug)]
struct Stray {
    offset: u64,
    why: Why,
    search: Search,
}

#[derive(Clone, Copy, Debug)]
enum Why {
    /// What stands there goes on behind the end.
    Short,
    /// It is of no known form.
    Bad(&'static str),
    /// The batch that begins there is not what its voucher is for.
    Batch,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Reader {
    /// Reads a log that begins at this offset of its file.
    pub fn new(offset: u64) -> Reader {
        Reader {
            input: Input::at(offset),
            ahead: 0,
            cleared: 0,
            progress: Progress::default(),
            batch: offset,
            sum: crc32fast::Hasher::new(),
            given: 0,
            loose: false,
            open: false,
            vouched: false,
            stray: None,
            verdict: None,
            words: Vec::new(),
        }
    }

    /// Takes the next bytes; none say that the log ends.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.stray {
            Some(stray) => {
                stray.search.take(bytes, bytes.is_empty());
                self.input.complete |= bytes.is_empty();
            }
            None => self.input.feed(bytes),
        }
    }

    /// Everything before this offset was given.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// Whether something was given that nobody vouched for yet.
    pub const fn is_unvouched(&self) -> bool {
        self.given > 0
    }

    /// The next entry; none when more bytes are needed, or the log has come to its end.
    ///
    /// # Errors
    /// [`Wrong::Torn`] when the end is missing, [`Wrong::Damaged`] when something is not what it was. To tell them apart what
    /// stands behind must have been fed: before that, none is given.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, Wrong> {
        if self.cleared == 0 {
            self.look_ahead();
        }
        if self.cleared > 0 {
            return Ok(self.give());
        }
        match &self.verdict {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(None),
        }
    }

    /// Gives the entry at the front of the input, which is whole.
    fn give(&mut self) -> Option<Entry<'_>> {
        let rest = self.input.rest();
        self.words.clear();
        self.words.shrink_to(KEEP_WORDS);
        let words = &mut self.words;
        let is_note = rest.first() == Some(&b'#');
        let len = match is_note {
            true => form::note(rest),
            false => form::command(rest, &mut Progress::default(), |word| words.push(word)),
        };
        // What was looked at is whole.
        let len = len.ok()?;
        let bytes = self.input.read(len);
        self.ahead = self.ahead.saturating_sub(len);
        self.cleared = self.cleared.saturating_sub(len);
        if self.open {
            self.sum.update(bytes);
            self.given += len as u64;
        }
        Some(match is_note {
            true => note(bytes),
            false => Entry::Command(Words {
                bytes,
                places: &self.words,
            }),
        })
    }

    /// Goes on until something may be given, or it is known what is wrong, or more bytes are needed.
    fn look_ahead(&mut self) {
        while self.cleared == 0 && self.verdict.is_none() {
            if self.stray.is_some() {
                return self.judge();
            }
            let rest = self.input.rest().get(self.ahead..).unwrap_or_default();
            let whole = match rest.first() {
                None => Err(Halt::Short),
                Some(b'*') => form::command(rest, &mut self.progress, |_| ()),
                Some(b'#') => form::note(rest),
                Some(_) => Err(Halt::Bad("no command begins here")),
            };
            match whole {
                Ok(len) if rest.starts_with(VOUCHER) => {
                    let line = rest.get(..len).unwrap_or_default();
                    match Voucher::parse(line) {
                        Some(voucher) => self.check(voucher, len),
                        None => self.astray(Why::Bad("a checksum cannot be read")),
                    }
                }
                Ok(len) => self.pass(len),
                Err(Halt::Bad(what)) => self.astray(Why::Bad(what)),
                Err(Halt::Short) if !self.input.complete => return,
                Err(Halt::Short) if rest.is_empty() => return self.release(),
                Err(Halt::Short) => self.astray(Why::Short),
            }
        }
    }

    /// An entry of this length is whole.
    fn pass(&mut self, len: usize) {
        self.loose |= self.ahead > AHEAD;
        self.ahead += len;
        self.progress = Progress::default();
        if self.loose {
            self.release();
        }
    }

    /// Nobody vouches for what is ahead, but it is whole.
    fn release(&mut self) {
        if self.swallows() {
            self.verdict = Some(Wrong::Damaged(self.batch, SWALLOWED));
            return;
        }
        (self.cleared, self.open) = (self.ahead, true);
    }

    /// Whether what is ahead, the beginning of a batch, contains the voucher that should have ended it.
    fn swallows(&self) -> bool {
        let ahead = self.input.rest().get(..self.ahead);
        self.given == 0 && swallows_voucher(ahead.unwrap_or_default(), self.batch)
    }

    /// A batch ends with a voucher, in a line of this length.
    fn check(&mut self, voucher: Voucher, line: usize) {
        let mut sum = self.sum.clone();
        sum.update(self.input.rest().get(..self.ahead).unwrap_or_default());
        let end = self.position() + self.ahead as u64;
        let (start, sum) = match voucher.disclaims() {
            true => (end, 0),
            false => (self.batch, sum.finalize()),
        };
        let right = end - start == voucher.len
            && voucher.covers(sum)
            && voucher.synced.is_none_or(|synced| synced <= start);
        match (right, voucher.disclaims()) {
            (true, true) if self.swallows() => return self.release(),
            (true, _) => {}
            (false, true) => return self.astray(Why::Bad("a checksum is not right")),
            (false, false) => {
                // It may be right for less than it should be for, if the line before is damaged.
                self.ahead = 0;
                return self.astray(Why::Batch);
            }
        }
        self.ahead += line;
        self.batch = end + line as u64;
        (self.sum, self.given) = (crc32fast::Hasher::new(), 0);
        (self.loose, self.vouched) = (false, true);
        (self.cleared, self.open) = (self.ahead, false);
    }

    /// The log cannot be read on behind what is ahead.
    fn astray(&mut self, why: Why) {
        let offset = match why {
            Why::Batch => self.batch,
            Why::Short | Why::Bad(_) => self.position() + self.ahead as u64,
        };
        let rest = self.input.rest();
        let (read, rest) = rest.split_at_checked(self.ahead).unwrap_or_default();
        let mut search = Search::new(self.batch, read);
        search.take(rest, self.input.complete);
        self.input.truncate(self.ahead);
        self.stray = Some(Stray {
            offset,
            why,
            search,
        });
    }

    /// Says what is wrong, as soon as that is certain.
    fn judge(&mut self) {
        let Some(Stray {
            offset,
            why,
            search,
        }) = &self.stray
        else {
            return;
        };
        let (offset, claimed) = (*offset, search.claimed());
        if !claimed && !self.input.complete {
            return;
        }
        let what = match why {
            Why::Short => "a command is not as long as it says",
            Why::Bad(what) => what,
            Why::Batch => "a batch is not what was written",
        };
        let torn = matches!(why, Why::Short) || search.is_blank();
        let batch = search.first().is_some_and(|voucher| !voucher.disclaims());
        let lost = batch || matches!(why, Why::Batch);
        let ours = self.vouched || search.first().is_some();
        let verdict = if claimed || lost && self.given > 0 || !ours && !torn {
            Wrong::Damaged(offset, what)
        } else if lost {
            Wrong::Torn(self.batch)
        } else {
            Wrong::Torn(offset)
        };
        self.verdict = Some(verdict);
        if !claimed && !lost {
            self.release();
        }
    }
}

/// What a line says to us.
fn note(line: &[u8]) -> Entry<'_> {
    if let Some(seconds) = time(line) {
        return Entry::Time(seconds);
    }
    Mark::parse(line).map_or(Entry::Note(line), Entry::Position)
}

/// The time that a line tells.
fn time(line: &[u8]) -> Option<i64> {
    num::parse_i64(line.strip_prefix(b"#TS:")?.trim_ascii_end())
}

impl<'a> Words<'a> {
    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always a name")]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The name of the command.
    pub fn name(&self) -> &'a [u8] {
        self.iter().next().unwrap_or_default()
    }

    /// One by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let places = self.places.iter();
        places.map(move |place| bytes.get(place.clone()).unwrap_or_default())
    }

    /// As the pipeline takes them.
    pub fn argv(&self) -> ArgVec<'a> {
        self.iter().collect()
    }
}

impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self.iter().map(|word| word.escape_ascii().to_string());
        f.debug_list().entries(words).finish()
    }
}

impl PartialEq for Words<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Words<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n";
    const DEL: &[u8] = b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";

    /// A log in the making.
    #[derive(Default, Clone)]
    struct Log {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    }

    impl Log {
        /// A batch, when everything before was on the disk or nothing.
        fn batch(mut self, commands: &[&[u8]], synced: bool) -> Log {
            let (at, batch) = (self.bytes.len(), commands.concat());
            self.bytes.extend(&batch);
            let synced = if synced { at as u64 } else { 0 };
            let sum = crc32fast::hash(&batch);
            vouch(&mut self.bytes, sum, batch.len() as u64, synced);
            self.ends.push(self.bytes.len());
            self
        }

        fn plain(mut self, bytes: &[u8]) -> Log {
            self.bytes.extend(bytes);
            self
        }

        fn disclaim(mut self, synced: bool) -> Log {
            let synced = if synced { self.bytes.len() as u64 } else { 0 };
            disclaim(&mut self.bytes, synced);
            self
        }
    }

    /// The names of the commands in a log, how far it was read, and what is wrong with it.
    fn read(bytes: &[u8], piece: usize) -> (String, u64, Option<Wrong>) {
        let mut reader = Reader::default();
        let mut names = Vec::new();
        let mut pieces = bytes.chunks(piece.max(1)).chain([&b""[..]]);
        loop {
            match reader.next_entry() {
                Ok(Some(Entry::Command(words))) => {
                    names.push(String::from_utf8_lossy(words.name()).into_owned());
                }
                Ok(Some(_)) => {}
                Ok(None) => match pieces.next() {
                    Some(piece) => reader.feed(piece),
                    None => return (names.join(" "), reader.position(), None),
                },
                Err(wrong) => return (names.join(" "), reader.position(), Some(wrong)),
            }
        }
    }

    fn is_damaged(bytes: &[u8]) -> bool {
        matches!(read(bytes, 17).2, Some(Wrong::Damaged(..)))
    }

    #[test]
    fn commands_and_notes_are_read() {
        let log = [&b"#TS:1700000000\r\n"[..], SET, b"# anything\r\n", DEL].concat();
        for piece in [1, 7, 1000] {
            let whole = ("SET DEL".into(), log.len() as u64, None);
            assert_eq!(read(&log, piece), whole);
        }
        let mut reader = Reader::default();
        reader.feed(&log);
        assert_eq!(reader.next_entry(), Ok(None));
        reader.feed(b"");
        assert_eq!(reader.next_entry(), Ok(Some(Entry::Time(1_700_000_000))));
        let Ok(Some(Entry::Command(words))) = reader.next_entry() else {
            panic!("a command comes here");
        };
        assert_eq!(words.argv().as_slice(), [&b"SET"[..], b"k", b"vv"]);
        assert_eq!((words.len(), words.name()), (3, &b"SET"[..]));
    }

    #[test]
    fn a_log_cut_anywhere_keeps_what_is_whole() {
        let log = Log::default()
            .batch(&[SET, DEL], true)
            .batch(&[SET, SET, DEL], true);
        let names = "SET DEL SET SET DEL";
        for cut in 0..log.bytes.len() {
            let (read, at, wrong) = read(&log.bytes[..cut], 11);
            assert!(names.starts_with(&read));
            match wrong {
                None => assert_eq!(at, cut as u64),
                wrong => assert_eq!(wrong, Some(Wrong::Torn(at))),
            }
            assert!(at <= cut as u64 && cut as u64 - at < SET.len() as u64);
        }
    }

    #[test]
    fn what_was_on_the_disk_is_damaged_and_what_was_not_is_torn() {
        for (synced, pieces) in [(true, 5), (true, 1000), (false, 7)] {
            let log = Log::default()
                .batch(&[SET, DEL], synced)
                .batch(&[SET], synced)
                .batch(&[DEL, DEL, SET], synced);
            assert_eq!(read(&log.bytes, pieces).2, None);
            for at in 0..log.bytes.len() {
                for flip in [4, 0x30, 0x80] {
                    let mut bad = log.bytes.clone();
                    bad[at] ^= flip;
                    let (names, end, wrong) = read(&bad, pieces);
                    let next = log.ends.iter().position(|&end| at < end).unwrap_or(0);
                    let batch = next.checked_sub(1).map_or(0, |last| log.ends[last]);
                    if synced && at < log.ends[1] {
                        // In the same batch, if not at the very byte.
                        let within = batch as u64..log.ends[next] as u64;
                        let found = matches!(&wrong, Some(Wrong::Damaged(place, _))
                            if within.contains(place));
                        assert!(found, "{at} ^ {flip}: {wrong:?}");
                        continue;
                    }
                    assert!(
                        "SET DEL SET DEL DEL SET".starts_with(&names),
                        "{at}: {names}"
                    );
                    match wrong {
                        None => assert!(at > log.ends[1], "{at} ^ {flip}"),
                        Some(wrong) => {
                            assert_eq!(wrong, Wrong::Torn(end));
                            assert!(end >= batch as u64);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn old_vouchers_tell_damage_by_the_batch_behind_it() {
        let mut log = Vec::new();
        let mut ends = Vec::new();
        for batch in [[SET, DEL].concat(), SET.to_vec()] {
            let line = format!("#CRC:{:08x}:{}\r\n", crc32fast::hash(&batch), batch.len());
            log.extend([&batch, line.as_bytes()].concat());
            ends.push(log.len());
        }
        assert_eq!(
            read(&log, 9),
            ("SET DEL SET".into(), log.len() as u64, None)
        );
        for at in 0..log.len() {
            let mut bad = log.clone();
            bad[at] ^= 4;
            assert_eq!(is_damaged(&bad), at < ends[0], "{at}");
        }
    }

    #[test]
    fn a_hole_in_the_middle_is_judged_by_what_was_synced() {
        let log = Log::default().batch(&[SET], true).batch(&[SET, DEL], true);
        let (before, end) = (log.ends[0] as u64, log.ends[1]);
        let unsynced = log.batch(&[DEL], false);
        let mut hole = unsynced.bytes.clone();
        hole[before as usize..end].fill(0);
        assert_eq!(
            read(&hole, 8),
            ("SET".into(), before, Some(Wrong::Torn(before)))
        );
        let mut synced = unsynced.batch(&[DEL], true).bytes;
        synced[before as usize..end].fill(0);
        assert!(is_damaged(&synced));
    }

    #[test]
    fn zeros_at_the_end_are_a_torn_tail_and_rubbish_is_not() {
        let log = Log::default().batch(&[SET], true);
        let end = log.bytes.len() as u64;
        let rubbish = [&log.bytes, DEL, b"rubbish"].concat();
        let torn = Some(Wrong::Torn(end + DEL.len() as u64));
        assert_eq!(
            read(&rubbish, 50),
            ("SET DEL".into(), end + DEL.len() as u64, torn)
        );
        for (before, whole) in [(&b""[..], 0), (SET, SET.len()), (&SET[..9], 0)] {
            let zeros = [before, &[0; 100]].concat();
            assert_eq!(read(&zeros, 50).2, Some(Wrong::Torn(whole as u64)));
            assert!(is_damaged(&[&zeros[..], b"x"].concat()));
        }
    }

    #[test]
    fn what_others_appended_is_given_and_never_taken_for_a_batch_of_ours() {
        let log = Log::default()
            .batch(&[SET], true)
            .plain(&[DEL, DEL].concat());
        let end = log.bytes.len() as u64;
        assert_eq!(read(&log.bytes, 8), ("SET DEL DEL".into(), end, None));
        let torn = [&log.bytes, &SET[..SET.len() - 1]].concat();
        assert_eq!(
            read(&torn, 8),
            ("SET DEL DEL".into(), end, Some(Wrong::Torn(end)))
        );
        let log = log.disclaim(true).batch(&[SET], true);
        assert_eq!(read(&log.bytes, 8).0, "SET DEL DEL SET");
        let mut bad = log.bytes.clone();
        bad[end as usize - 1] = b'x';
        assert!(is_damaged(&bad));
    }

    #[test]
    fn a_string_that_swallows_the_voucher_of_its_batch_is_damage() {
        let set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\n0123456789ab\r\n";
        let log = Log::default().batch(&[DEL, set], true);
        let mut bad = log.bytes.clone();
        let at = bad.windows(3).position(|three| three == b"$12").unwrap();
        bad[at + 1] = b'3';
        assert_eq!(bad.len() - at, 5 + 32 + 2, "the line fills the string up");
        assert!(is_damaged(&bad));
        // A disclaimer says nothing for it.
        let log = log.disclaim(true).batch(&[SET], true);
        bad.extend(&log.bytes[bad.len()..]);
        assert!(is_damaged(&bad));
    }

    #[test]
    fn a_missing_batch_is_noticed() {
        let log = Log::default().batch(&[SET], true).batch(&[DEL], true);
        let first = log.ends[0];
        assert!(is_damaged(&log.bytes[first..]));
    }

    #[test]
    fn a_batch_too_large_to_be_held_back_is_given_and_checked_at_its_end() {
        let mut big = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000\r\n".to_vec();
        big.extend([b'v'; 1000]);
        big.extend(b"\r\n");
        let many = vec![&big[..]; AHEAD / big.len() + 10];
        let log = Log::default().batch(&[SET], true).batch(&many, true);
        let (first, end) = (log.ends[0], log.bytes.len());
        let (names, at, wrong) = read(&log.bytes, 1 << 16);
        assert_eq!((at, wrong), (end as u64, None));
        assert_eq!(names.split(' ').count(), many.len() + 1);
        // Commands of it were given, so that it cannot be cut off.
        let mut bad = log.bytes.clone();
        bad[first + 500] ^= 1;
        assert!(is_damaged(&bad));
        // A log of others may be of any size, and what is whole of it stays.
        let mut plain = [SET, &many.concat(), DEL].concat();
        assert_eq!(read(&plain, 1 << 16).1, plain.len() as u64);
        plain.truncate(plain.len() - 1);
        let whole = (plain.len() + 1 - DEL.len()) as u64;
        assert_eq!(read(&plain, 1 << 16).2, Some(Wrong::Torn(whole)));
        let log = Log::default().plain(&plain).plain(b"\n").disclaim(true);
        let log = log.batch(&[SET], true);
        assert!(read(&log.bytes, 1 << 16).0.ends_with("SET DEL SET"));
    }

    #[test]
    fn what_nobody_vouches_for_is_known() {
        let vouched = Log::default().batch(&[SET], true);
        for (log, unvouched) in [(vouched.clone(), false), (vouched.plain(DEL), true)] {
            let mut reader = Reader::default();
            reader.feed(&log.bytes);
            reader.feed(b"");
            while reader.next_entry().unwrap().is_some() {}
            assert_eq!(reader.is_unvouched(), unvouched);
        }
    }

    proptest! {
        #[test]
        fn reading_anything_ends(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50usize) {
            for log in [bytes.clone(), [SET, &bytes].concat(), Log::default().batch(&[SET], true).plain(&bytes).bytes] {
                prop_assert_eq!(read(&log, piece), read(&log, 1 << 20));
            }
        }
    }
}
