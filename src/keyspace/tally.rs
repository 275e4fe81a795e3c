//! What a database knows of its values without looking at them: their memory, and when parts of them are over.

use crate::ds::deadlines::Deadlines;
use crate::types::Value;

/// What counts of one record or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// Bytes on the heap.
    pub(super) heap: usize,
    /// When the next part of the value is over.
    pub(super) due: Option<i64>,
}

impl Measure {
    #[inline]
    pub(super) fn of(value: &Value) -> Measure {
        Measure {
            heap: value.heap_size(),
            due: value.next_deadline(),
        }
    }
}

/// The sums over a database.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Heap bytes of keys and values.
    pub(super) heap: usize,
    /// (when the next part of a value is over, hash of its key), ordered.
    pub(super) due: Deadlines,
}

impl Tally {
    /// A record came.
    pub(super) fn add(&mut self, hash: u64, is: Measure) {
        self.change(hash, Measure { heap: 0, due: None }, is);
    }

    /// A record went.
    pub(super) fn remove(&mut self, hash: u64, was: Measure) {
        self.change(hash, was, Measure { heap: 0, due: None });
    }

    /// A value changed.
    #[inline]
    pub(super) fn change(&mut self, hash: u64, was: Measure, is: Measure) {
        // Memory is counted by difference, and never makes the total negative.
        self.heap = (self.heap + is.heap).saturating_sub(was.heap);
        if was.due != is.due {
            self.reindex(hash, was.due, is.due);
        }
    }

    #[cold]
    fn reindex(&mut self, hash: u64, was: Option<i64>, is: Option<i64>) {
        // As with `Db::ttl`, two keys with the same hash and deadline would share an entry.
        if let Some(at) = was {
            self.due.remove((at, hash));
        }
        if let Some(at) = is {
            self.due.insert((at, hash));
        }
    }

    /// Whether a part of any value is over.
    pub(super) fn is_due(&self, now: i64) -> bool {
        self.due.first().is_some_and(|&(at, _)| now > at)
    }
}
