//! One segment: slots in hash order with gaps, and the entries they point to.

use super::SEGMENT_MAX;
use super::chunks::Chunks;
use crate::util::heap;
use crate::util::prefetch::fetch;

/// The part of a hash that a slot keeps; the rest of the slot is the entry's index.
pub(super) const HASH: u64 = !0xffff;
const INDEX: u64 = 0xffff;
/// Sorts after every other slot; its index is never given out.
const EMPTY: u64 = u64::MAX;

/// So many slots from the home on are compared at once.
const WINDOW: usize = 6;

/// Slots hold the top 48 bits of a hash and a 16-bit entry index.
///
/// Invariants:
/// 1. Occupied slots ascend by hash.
/// 2. A slot is at or after its home (the hash scaled to `homes`), with no gap in between.
/// 3. The slots past `homes` are an overflow tail; nothing wraps around.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Segment<E> {
    slots: Box<[u64]>,
    entries: Chunks<E>,
    /// The entries that the running snapshot need not see any more; none after it has passed.
    captured: Option<Box<Bits>>,
    homes: u32,
    /// The first hash of the segment's range, without its lower half.
    prefix: u32,
    depth: u8,
}

// One cache line: finding an entry looks at three, its segment, its slot and itself, and at the
// chunk directory.
const _: () = assert!(size_of::<Segment<[u64; 8]>>() == 64);

/// Where a probe ended: at the entry, or at the slot where it belongs.
#[derive(Clone, Copy)]
pub(super) enum Probe {
    Found { slot: usize, index: usize },
    Vacant { slot: usize },
}

impl<E> Segment<E> {
    /// The empty segment of all hashes.
    pub(super) fn new() -> Self {
        Self {
            slots: Box::default(),
            entries: Chunks::new(),
            captured: None,
            homes: 0,
            prefix: 0,
            depth: 0,
        }
    }

    /// The empty segment of the hashes whose first `depth` bits, of which there is at least one, are this number, with
    /// slots for so many entries.
    pub(super) fn at(number: u32, depth: u32, entries: usize) -> Self {
        let (slots, homes) = lay_out(std::iter::empty(), entries, depth);
        Self {
            slots,
            homes,
            prefix: number << (32 - depth),
            depth: depth as u8,
            ..Self::new()
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many leading bits of the hash select this segment.
    #[inline]
    pub(super) fn depth(&self) -> u32 {
        u32::from(self.depth)
    }

    /// The lowest hash that belongs here.
    #[inline]
    pub(super) fn start(&self) -> u64 {
        u64::from(self.prefix) << 32
    }

    /// The lowest hash after this segment's range; none after the last segment.
    pub(super) fn end(&self) -> Option<u64> {
        match self.depth() {
            0 => None,
            depth => self.start().checked_add(1 << (64 - depth)),
        }
    }

    #[inline]
    pub(super) fn entries(&self) -> &Chunks<E> {
        &self.entries
    }

    #[inline]
    pub(super) fn entries_mut(&mut self) -> &mut Chunks<E> {
        &mut self.entries
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = E> {
        self.entries.into_iter()
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        home(hash, self.depth(), self.homes)
    }

    /// Looks for the first entry with this hash that `wanted` accepts.
    #[inline]
    pub(super) fn probe(&self, hash: u64, mut wanted: impl FnMut(&E) -> bool) -> Probe {
        let hash = hash & HASH;
        let mut at = self.home(hash);
        // Most probes end within a few slots, but who knows after how many: counting them without a
        // branch is cheaper than guessing.
        if let Some(window) = self
            .slots
            .get(at..)
            .and_then(<[u64]>::first_chunk::<WINDOW>)
        {
            at += window
                .iter()
                .map(|&slot| usize::from(slot < hash))
                .sum::<usize>();
        }
        while let Some(&slot) = self.slots.get(at) {
            if slot >= hash {
                if slot & HASH != hash || slot == EMPTY {
                    break;
                }
                let index = (slot & INDEX) as usize;
                if wanted(&self.entries[index]) {
                    return Probe::Found { slot: at, index };
                }
            }
            at += 1;
        }
        Probe::Vacant { slot: at }
    }

    /// Fetches what a probe for this hash begins with.
    #[inline]
    pub(super) fn glance(&self, hash: u64) {
        let home = self.home(hash & HASH);
        // The slots that are looked at may lie in two lines of the cache.
        for at in [home, home + WINDOW] {
            if let Some(slot) = self.slots.get(at) {
                fetch(slot);
            }
        }
    }

    /// Fetches what adding an entry ends with.
    #[inline]
    pub(super) fn glance_at_end(&self) {
        if let Some(last) = self.len().checked_sub(1) {
            fetch(&self.entries[last]);
        }
    }

    /// Where an entry of this hash would go.
    pub(super) fn place_of(&self, hash: u64) -> usize {
        match self.probe(hash, |_| false) {
            Probe::Found { slot, .. } | Probe::Vacant { slot } => slot,
        }
    }

    /// Adds an entry that is not here yet, at the slot where its probe ended, and gives its index.
    pub(super) fn insert(&mut self, hash: u64, mut at: usize, entry: E) -> usize {
        let hash = hash & HASH;
        let index = self.len();
        assert!((index as u64) < INDEX, "an index has 16 bits");
        if index >= limit(self.homes) {
            self.spread();
            at = self.place_of(hash);
        }
        let gap = loop {
            let rest = self.slots.get(at..).unwrap_or_default();
            match rest.iter().position(|&slot| slot == EMPTY) {
                Some(distance) => break at + distance,
                None => {
                    // The tail is full.
                    self.spread();
                    at = self.place_of(hash);
                }
            }
        };
        self.slots.copy_within(at..gap, at + 1);
        self.slots[at] = hash | index as u64;
        self.entries.push(entry);
        index
    }

    // Lays the slots out anew, with room for more entries and a longer tail.
    fn spread(&mut self) {
        (self.slots, self.homes) = lay_out(occupied(&self.slots), self.len(), self.depth());
    }

    /// Places for entries.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How far each entry is behind its home.
    pub(super) fn distances(&self) -> impl Iterator<Item = usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|&(_, &slot)| slot != EMPTY)
            .map(|(at, slot)| at - self.home(slot & HASH))
    }

    /// Bytes allocated here, not counting what the entries own.
    #[inline]
    pub(super) fn heap(&self) -> usize {
        let captured = if self.captured.is_some() {
            size_of::<Bits>()
        } else {
            0
        };
        heap::rounded(self.slots.len() * size_of::<u64>()) + self.entries.heap() + captured
    }

    /// Cuts the segment's range in two: keeps the lower half and returns the upper.
    pub(super) fn split(&mut self) -> Self {
        let old = std::mem::replace(self, Self::new());
        let depth = old.depth() + 1;
        let cut = old.start() | 1 << (64 - depth);

        // For each old index: first which half it goes to, then its index there.
        let mut moves = vec![0u16; old.len()];
        for slot in occupied(&old.slots).filter(|&slot| slot >= cut) {
            moves[(slot & INDEX) as usize] = 1;
        }
        let mut halves = [Self::new(), Self::new()];
        for (index, entry) in old.entries.into_iter().enumerate() {
            let half = &mut halves[usize::from(moves[index])];
            moves[index] = half.len() as u16;
            if old.captured.as_ref().is_some_and(|bits| bits.get(index)) {
                half.mark(half.len());
            }
            half.entries.push(entry);
        }
        let renumber = |slot: u64| slot & HASH | u64::from(moves[(slot & INDEX) as usize]);
        for (half, upper) in halves.iter_mut().zip([false, true]) {
            let slots = occupied(&old.slots).filter(|&slot| (slot >= cut) == upper);
            (half.slots, half.homes) = lay_out(slots.map(renumber), half.len(), depth);
            half.prefix = if upper {
                (cut >> 32) as u32
            } else {
                old.prefix
            };
            half.depth = depth as u8;
        }
        let [lower, upper] = halves;
        *self = lower;
        upper
    }

    /// Takes in the segment of the same depth whose range follows.
    pub(super) fn absorb(&mut self, upper: Self) {
        let shift = self.len();
        let theirs = occupied(&upper.slots).map(|slot| slot + shift as u64);
        let slots = occupied(&self.slots).chain(theirs);
        self.depth -= 1;
        (self.slots, self.homes) = lay_out(slots, shift + upper.len(), self.depth());
        for (index, entry) in upper.entries.into_iter().enumerate() {
            if upper.captured.as_ref().is_some_and(|bits| bits.get(index)) {
                self.mark(shift + index);
            }
            self.entries.push(entry);
        }
    }

    /// Visits the entries whose hash is at least `from`, in the order of their hashes (of which only
    /// [`HASH`] is known), until `visit` returns false; returns whether it never did.
    pub(super) fn visit<'a>(
        &'a self,
        from: u64,
        mut visit: impl FnMut(u64, &'a E) -> bool,
    ) -> bool {
        let first = if from > self.start() {
            self.home(from)
        } else {
            0
        };
        occupied(self.slots.get(first..).unwrap_or_default())
            .filter(|slot| slot & HASH >= from)
            .all(|slot| visit(slot & HASH, &self.entries[(slot & INDEX) as usize]))
    }

    /// Whether the entry at `index` was captured.
    pub(super) fn is_captured(&self, index: usize) -> bool {
        self.captured.as_ref().is_some_and(|bits| bits.get(index))
    }

    /// Gives up slots when there are far too many.
    pub(super) fn tighten(&mut self) {
        if self.slots.len() > 16 && self.len() < self.slots.len() / 3 {
            self.spread();
        }
    }

    /// Marks the entry at `index` as captured.
    pub(super) fn mark(&mut self, index: usize) {
        self.captured.get_or_insert_default().set(index, true);
    }

    /// Gives the entries that were not captured to `visit` until that returns false. Returns whether it never did; else
    /// those that were given are captured.
    pub(super) fn walk(&mut self, mut visit: impl FnMut(&E) -> bool) -> bool {
        let captured = |index| self.captured.as_ref().is_some_and(|bits| bits.get(index));
        let mut left = self.entries.iter().enumerate();
        let stop = left.find(|&(index, entry)| !captured(index) && !visit(entry));
        let Some((last, _)) = stop else {
            return true;
        };
        let bits = self.captured.get_or_insert_default();
        (0..=last).for_each(|index| bits.set(index, true));
        false
    }

    /// Forgets what was captured.
    pub(super) fn unmark_all(&mut self) {
        self.captured = None;
    }
}

impl<E> Segment<E> {
    /// Removes the entry that a probe found; `hasher` hashes the one that takes its place.
    pub(super) fn remove(&mut self, at: usize, index: usize, hasher: impl FnOnce(&E) -> u64) -> E {
        let last = self.len() - 1;
        if index != last {
            self.renumber(hasher(&self.entries[last]), last, index);
        }
        if let Some(bits) = &mut self.captured {
            bits.set(index, bits.get(last));
            bits.set(last, false);
        }
        let removed = self.entries.swap_remove(index);
        self.close_gap(at);
        self.tighten();
        removed
    }

    fn renumber(&mut self, hash: u64, from: usize, to: usize) {
        let hash = hash & HASH;
        let home = self.home(hash);
        let slots = self.slots.iter_mut().skip(home);
        match slots.into_iter().find(|slot| **slot == hash | from as u64) {
            Some(slot) => *slot = hash | to as u64,
            None => debug_assert!(false, "every entry has a slot"),
        }
    }

    // The slots after `at` move up by one, as far as none would come before its home.
    fn close_gap(&mut self, at: usize) {
        let stays = |end: usize, slot: u64| slot == EMPTY || self.home(slot & HASH) == end;
        let end = (at + 1..self.slots.len())
            .find(|&end| stays(end, self.slots[end]))
            .unwrap_or(self.slots.len());
        self.slots.copy_within(at + 1..end, at);
        self.slots[end - 1] = EMPTY;
    }
}

#[cfg(test)]
impl<E: super::Keyed> Segment<E> {
    /// Asserts every invariant.
    pub(super) fn check(&self, hasher: impl Fn(&[u8]) -> u64) {
        let slots: Vec<u64> = occupied(&self.slots).collect();
        assert_eq!(slots.len(), self.len());
        assert!(slots.is_sorted_by_key(|slot| slot & HASH));
        let mut seen = vec![false; self.len()];
        for (at, &slot) in self.slots.iter().enumerate().filter(|(_, s)| **s != EMPTY) {
            let index = (slot & INDEX) as usize;
            assert!(!std::mem::replace(&mut seen[index], true));
            let hash = hasher(self.entries[index].key());
            assert_eq!(hash & HASH, slot & HASH);
            assert!(hash >= self.start() && self.end().is_none_or(|end| hash < end));
            let home = self.home(slot & HASH);
            assert!(home <= at && self.slots[home..at].iter().all(|&s| s != EMPTY));
        }
        let room = self.slots.len();
        assert!(
            room <= 16 || self.len() >= room / 3,
            "{room} slots for {}",
            self.len()
        );
    }
}

impl<E: Clone> Clone for Segment<E> {
    /// The contents; what a snapshot noted is left out.
    fn clone(&self) -> Self {
        Self {
            slots: self.slots.clone(),
            entries: self.entries.clone(),
            captured: None,
            ..*self
        }
    }
}

/// The hash, less the bits that selected the segment, scaled to `homes`: it ascends with the hash.
#[inline]
fn home(hash: u64, depth: u32, homes: u32) -> usize {
    ((((hash << depth) >> 32) * u64::from(homes)) >> 32) as usize
}

/// How many entries so many homes may serve: 85%.
#[inline]
fn limit(homes: u32) -> usize {
    homes as usize * 17 / 20
}

fn occupied(slots: &[u64]) -> impl Iterator<Item = u64> {
    slots.iter().copied().filter(|&slot| slot != EMPTY)
}

/// Slots for entries given in hash order, filled to 70%, and how many of them are homes.
fn lay_out(sorted: impl Iterator<Item = u64>, len: usize, depth: u32) -> (Box<[u64]>, u32) {
    let mut homes = (len * 10 / 7).max(3) + 1;
    if len < SEGMENT_MAX {
        homes = homes.min(SEGMENT_MAX * 20 / 17 + 2);
    }
    let tail = (homes / 2).min(8);
    let mut slots = Vec::with_capacity(homes + tail);
    for slot in sorted {
        let home = home(slot & HASH, depth, homes as u32);
        if home > slots.len() {
            slots.resize(home, EMPTY);
        }
        slots.push(slot);
    }
    let all = slots.len().max(homes) + tail;
    slots.resize(all, EMPTY);
    (slots.into_boxed_slice(), homes as u32)
}

/// One bit per entry.
#[derive(Debug, Default)]
struct Bits([u64; SEGMENT_MAX / 64]);

impl Bits {
    fn get(&self, index: usize) -> bool {
        let word = self.0.get(index / 64).copied().unwrap_or_default();
        (word >> (index % 64)) & 1 == 1
    }

    fn set(&mut self, index: usize, on: bool) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word = *word & !(1 << (index % 64)) | u64::from(on) << (index % 64);
        }
    }
}
