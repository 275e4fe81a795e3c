//! Point-in-time snapshots: a walk over the segments, in hash order and in small steps, while writers
//! go on.
//!
//! The contract: before a writer changes or removes an entry it calls [`Table::capture`], and keeps a
//! copy of what that returns. Then the entries walked and the copies captured are together exactly
//! the entries that there were at [`Table::begin_snapshot`], each once.

use super::segment::{Probe, Segment};
use super::{Keyed, Table};

impl<E> Table<E> {
    /// Begins a snapshot of the present contents, in O(1); one that is running is abandoned.
    pub fn begin_snapshot(&mut self) {
        self.end_snapshot();
        self.snapshot = (!self.is_empty()).then_some(0);
    }

    /// Whether a snapshot has entries still to walk.
    #[inline]
    pub fn in_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Walks on until `visit` returns false or nothing is left; returns whether the walk is complete.
    pub fn walk_snapshot(&mut self, mut visit: impl FnMut(&E) -> bool) -> bool {
        while let Some(from) = self.snapshot {
            let id = self.segment_of(from);
            let segment = &mut self.segments[id];
            let before = segment.heap();
            let passed = segment.walk(&mut visit);
            if passed {
                segment.unmark_all();
                self.snapshot = segment.end();
            }
            self.heap = self.heap + segment.heap() - before;
            if !passed {
                return false;
            }
        }
        true
    }

    /// Abandons the running snapshot, if any.
    pub fn end_snapshot(&mut self) {
        if self.snapshot.take().is_some() {
            self.segments.iter_mut().for_each(Segment::unmark_all);
            self.heap = self.segments.iter().map(Segment::heap).sum();
        }
    }

    /// Whether the walk needs no more of a segment.
    #[inline]
    pub(super) fn passed(&self, id: usize) -> bool {
        self.snapshot
            .is_none_or(|at| self.segments[id].start() < at)
    }
}

impl<E: Keyed> Table<E> {
    /// Before an entry is changed or removed: the entry, if the running snapshot needs a copy of it.
    /// It is asked for once only; entries newer than the snapshot are not asked for.
    #[inline]
    pub fn capture(&mut self, hash: u64, key: &[u8]) -> Option<&E> {
        match self.snapshot {
            None => None,
            Some(_) => self.capture_running(hash, key),
        }
    }

    fn capture_running(&mut self, hash: u64, key: &[u8]) -> Option<&E> {
        let id = self.segment_of(hash);
        if self.passed(id) {
            return None;
        }
        let segment = &mut self.segments[id];
        let Probe::Found { index, .. } = segment.probe(hash, |entry| entry.key() == key) else {
            return None;
        };
        if segment.is_captured(index) {
            return None;
        }
        let before = segment.heap();
        segment.mark(index);
        self.heap = self.heap + segment.heap() - before;
        Some(&segment.entries()[index])
    }
}
