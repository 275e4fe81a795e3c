//! What stands where a log cannot be read on, and behind that place: lines that say how much of it was on the disk.

use super::form::{self, Halt, Progress};
use super::voucher::{LONGEST, VOUCHER, Voucher};

/// Bytes that are kept to check with them what a line vouches for. A line that speaks of more is believed.
const WINDOW: usize = 64 << 20;

/// Takes in everything from the beginning of a batch that is not right to the end of the log.
#[derive(Debug)]
pub(super) struct Search {
    /// If more than this was on the disk, that is damaged.
    from: u64,
    /// Where in the window the place is where the log cannot be read on.
    place: usize,
    /// The bytes taken in, or the last of them.
    window: Vec<u8>,
    /// No longer all of them.
    cut: bool,
    /// Up to here in the window no line begins that was not looked at.
    scanned: usize,
    /// Bytes that were taken in, and that were summed up to check lines.
    taken: usize,
    summed: usize,
    first: Option<Voucher>,
    claimed: bool,
}

impl Search {
    /// Begins at the offset `from` with what was read since, which may be more than it seemed to be.
    pub(super) fn new(from: u64, read: &[u8]) -> Search {
        let mut search = Search {
            from,
            place: 0,
            window: Vec::new(),
            cut: false,
            scanned: 0,
            taken: 0,
            summed: 0,
            first: None,
            claimed: false,
        };
        search.take(read, false);
        (search.place, search.first) = (search.window.len(), None);
        search
    }

    /// Some line says that more was on the disk; or, of the old lines, that a whole batch stands behind it.
    pub(super) fn claimed(&self) -> bool {
        self.claimed
    }

    /// The first line behind the place, whether what it vouches for is whole or not.
    pub(super) fn first(&self) -> Option<Voucher> {
        self.first
    }

    /// Whether all there is at the place are zeros, or the beginning of a command or note and then zeros. A write that was
    /// never finished leaves them where the file was longer already than what was written.
    pub(super) fn is_blank(&self) -> bool {
        let here = self.window.get(self.place..).unwrap_or_default();
        let end = here.iter().rposition(|&byte| byte != 0);
        let text = end.map_or(&b""[..], |end| here.get(..=end).unwrap_or_default());
        let short = || match text.first() {
            None => true,
            Some(b'#') => form::note(text) == Err(Halt::Short),
            Some(_) => form::command(text, &mut Progress::default(), |_| ()) == Err(Halt::Short),
        };
        !self.cut && text.len() < here.len() && short()
    }

    /// Takes the next bytes. Once there is a claim no more are needed.
    pub(super) fn take(&mut self, bytes: &[u8], last: bool) {
        self.taken += bytes.len();
        self.window.extend_from_slice(bytes);
        while !self.claimed {
            let left = self.window.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memmem::find(left, VOUCHER) else {
                // The beginning of one may be the end of this.
                let all = self.window.len().saturating_sub(VOUCHER.len() - 1);
                self.scanned = self.scanned.max(all);
                break;
            };
            self.scanned += found;
            if self.window.len() - self.scanned < LONGEST && !last {
                break;
            }
            self.look();
        }
        let over = self.window.len().saturating_sub(WINDOW);
        if over >= WINDOW {
            self.window.drain(..over);
            self.scanned = self.scanned.saturating_sub(over);
            self.cut = true;
        }
    }

    /// Looks at the line at `scanned`.
    fn look(&mut self) {
        let (before, line) = self.window.split_at(self.scanned);
        self.scanned += VOUCHER.len();
        let line = line.get(..LONGEST).unwrap_or(line);
        let end = memchr::memchr(b'\n', line).map_or(line.len(), |end| end + 1);
        let Some(voucher) = Voucher::parse(line.get(..end).unwrap_or_default()) else {
            return;
        };
        self.first.get_or_insert(voucher);
        let claims = match voucher.synced {
            Some(synced) => synced > self.from,
            None => !voucher.disclaims(),
        };
        if !claims {
            return;
        }
        let len = usize::try_from(voucher.len).unwrap_or(usize::MAX);
        let start = before.len().checked_sub(len);
        self.claimed = match start.and_then(|start| before.get(start..)) {
            // A log made to keep us busy may speak of the same bytes again and again.
            Some(_) if self.summed > self.taken.saturating_mul(2) => true,
            Some(batch) => {
                self.summed += len;
                voucher.covers(crc32fast::hash(batch))
            }
            None => self.cut,
        };
    }
}

/// Whether something in these bytes of a log, which begin at an offset, is a voucher for them up to there: about so many,
/// since a byte may have been added or lost.
pub(super) fn swallows_voucher(bytes: &[u8], offset: u64) -> bool {
    const ABOUT: u64 = 4;
    memchr::memmem::find_iter(bytes, VOUCHER).any(|at| {
        let line = bytes.get(at..).unwrap_or_default();
        let line = line.get(..LONGEST).unwrap_or(line);
        let end = memchr::memchr(b'\n', line).map_or(0, |end| end + 1);
        let voucher = Voucher::parse(line.get(..end).unwrap_or_default());
        voucher.is_some_and(|voucher| {
            !voucher.disclaims()
                && voucher.len.abs_diff(at as u64) <= ABOUT
                && voucher.synced.is_none_or(|synced| synced <= offset)
        })
    })
}
