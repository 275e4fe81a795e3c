//! Ways through a table that stop and go on: scanning, and drawing at random.

use super::segment::Segment;
use super::{Keyed, SEGMENT_MAX, Table};

/// A cursor is the top 48 bits of a hash.
const CURSOR_SHIFT: u32 = 16;

impl<E: Keyed> Table<E> {
    /// Visits about `count` entries from `cursor` on, and returns where to go on; 0 is the start and
    /// the end.
    ///
    /// From start to end every entry that is there all the while is visited exactly once, however
    /// much the table grows or shrinks in between. Entries whose hashes begin alike are visited together, so
    /// there may be a few more than `count`. Any number is a valid cursor.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, visit: impl FnMut(&'a E)) -> u64 {
        self.scan_with(cursor, count, |entry| self.hash(entry.key()), visit)
    }
}

impl<E> Table<E> {
    /// [`Table::scan`], where entries do not carry their keys: `hasher` gives the hash of one.
    pub fn scan_with<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        hasher: impl Fn(&E) -> u64,
        mut visit: impl FnMut(&'a E),
    ) -> u64 {
        if cursor >> (64 - CURSOR_SHIFT) != 0 {
            return 0;
        }
        let mut from = cursor << CURSOR_SHIFT;
        let (mut left, mut last) = (count.max(1), None);
        while let Some(segment) = self.segments.get(self.segment_of(from)) {
            let mut stop = 0;
            let whole = segment.visit(from, &hasher, |hash, entry| {
                let at = hash >> CURSOR_SHIFT;
                if left == 0 && last != Some(at) {
                    stop = at;
                    return false;
                }
                visit(entry);
                left = left.saturating_sub(1);
                last = Some(at);
                true
            });
            match segment.end() {
                _ if !whole => return stop,
                None => break,
                Some(end) if left == 0 => return end >> CURSOR_SHIFT,
                Some(end) => from = end,
            }
        }
        0
    }

    /// An entry drawn at random, each with the same chance.
    pub fn random(&self, mut rng: impl FnMut() -> u64) -> Option<&E> {
        if self.directory.is_empty() {
            let only = self.segments.first()?.entries();
            let at = scale(rng(), only.len());
            return (at < only.len()).then(|| &only[at]);
        }
        // A directory entry and a number below `SEGMENT_MAX` are drawn; a segment deals its entries
        // out evenly to its directory entries, and a draw that hits none is repeated. A sparse table
        // takes some ten draws, so that the bound only matters for a generator that is broken.
        for _ in 0..1000 {
            let draw = rng();
            let at = scale(draw, self.directory.len());
            let segment = self.segment_at(at);
            let shares = self.directory_range(segment);
            let index = scale(draw << 32, SEGMENT_MAX) * shares.len() + (at - shares.start);
            if index < segment.len() {
                return Some(&segment.entries()[index]);
            }
        }
        self.iter().next()
    }

    fn segment_at(&self, at: usize) -> &Segment<E> {
        &self.segments[self.directory[at] as usize]
    }
}

/// A random number out of 64 bits, scaled to below `bound`, which fits 32 bits.
fn scale(random: u64, bound: usize) -> usize {
    (((random >> 32) * bound as u64) >> 32) as usize
}
