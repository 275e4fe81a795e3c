//! What stands behind the place where a log cannot be read on: lines that say how much of it was on the disk.

use super::form::{self, Halt, Progress};
use super::voucher::{LONGEST, VOUCHER, Voucher};

/// Bytes that are kept to check with them what a line vouches for. A line that speaks of more is believed.
const WINDOW: usize = 64 << 20;

/// Takes in everything from some place of a log to its end.
#[derive(Debug)]
pub(super) struct Search {
    /// Whatever is known to have been on the disk beyond this offset is damaged.
    from: u64,
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
    pub(super) fn new(from: u64) -> Search {
        Search {
            from,
            window: Vec::new(),
            cut: false,
            scanned: 0,
            taken: 0,
            summed: 0,
            first: None,
            claimed: false,
        }
    }

    /// Some line says that what stands here was on the disk; or, of the old lines, that a whole batch stands behind it.
    pub(super) fn claimed(&self) -> bool {
        self.claimed
    }

    /// The first line that was found, whether what it vouches for is whole or not.
    pub(super) fn first(&self) -> Option<Voucher> {
        self.first
    }

    /// Whether all there is are zeros, or the beginning of a command or note and then zeros. A write that was never
    /// finished leaves them where the file was longer already than what was written.
    pub(super) fn is_blank(&self) -> bool {
        let end = self.window.iter().rposition(|&byte| byte != 0);
        let text = end.map_or(&b""[..], |end| self.window.get(..=end).unwrap_or_default());
        let short = || match text.first() {
            None => true,
            Some(b'#') => form::note(text) == Err(Halt::Short),
            Some(_) => form::command(text, &mut Progress::default(), |_| ()) == Err(Halt::Short),
        };
        !self.cut && text.len() < self.window.len() && short()
    }

    /// Takes the next bytes. Once there is a claim no more are needed.
    pub(super) fn take(&mut self, bytes: &[u8], last: bool) {
        self.taken += bytes.len();
        self.window.extend_from_slice(bytes);
        let rest = |search: &Search| {
            search
                .window
                .get(search.scanned..)
                .unwrap_or_default()
                .len()
        };
        while !self.claimed {
            let left = self.window.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memmem::find(left, VOUCHER) else {
                // The beginning of one may be the end of this.
                self.scanned = self
                    .window
                    .len()
                    .saturating_sub(VOUCHER.len() - 1)
                    .max(self.scanned);
                break;
            };
            self.scanned += found;
            if rest(self) < LONGEST && !last {
                break;
            }
            self.look();
        }
        if let Some(over) = self
            .window
            .len()
            .checked_sub(WINDOW)
            .filter(|&over| over >= WINDOW)
        {
            self.window.drain(..over);
            self.scanned = self.scanned.saturating_sub(over);
            self.cut = true;
        }
    }

    /// Looks at the line at `scanned`.
    fn look(&mut self) {
        let (before, line) = self.window.split_at(self.scanned);
        self.scanned += VOUCHER.len();
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
        let batch = before
            .len()
            .checked_sub(len)
            .and_then(|at| before.get(at..));
        self.claimed = match batch {
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
