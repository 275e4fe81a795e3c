//! One segment: slots in hash order with gaps, and the entries they point to.

use std::cmp::Ordering;

use super::SEGMENT_MAX;
use super::chunks::Chunks;
use crate::util::heap;
use crate::util::prefetch::fetch;

/// An index has so many bits, which is enough for [`SEGMENT_MAX`], and what is left of a slot keeps a part of the hash. Tests
/// of this crate keep few bits, so that many entries agree in them.
const INDEX_BITS: u32 = if cfg!(test) { 24 } else { 10 };
/// At most so many of the bits that a slot keeps are those that select the segment.
const LEAD_MAX: u32 = 3;
const INDICES: u32 = (1 << INDEX_BITS) - 1;
/// Sorts after every other slot; its index is never given out. The highest bit of a slot is free, so that the sign of a
/// difference tells which of two is less.
const EMPTY: u32 = u32::MAX >> 1;

const _: () = assert!(SEGMENT_MAX < 1 << INDEX_BITS);

/// So many slots from the home on are compared at once.
const WINDOW: usize = 8;
/// Slots behind the last home.
const TAIL: usize = 16;

/// A slot is what is *kept* of a hash, above the index of its entry: the bits from `base` on, in which entries may agree
/// whose hashes do not. When a segment is split or merged, what is kept stays true of either part. A split uses up the first
/// of these bits, and only when [`LEAD_MAX`] of them are, all hashes are needed again.
///
/// Invariants:
/// 1. Occupied slots ascend by what is kept.
/// 2. A slot is at or after its home (what is kept, without its lead, scaled to `homes`), with no gap in between.
/// 3. The slots past `homes` are an overflow tail; nothing wraps around.
/// 4. `base` is at most `depth`, and not by more than [`LEAD_MAX`] less.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Segment<E> {
    slots: Box<[u32]>,
    entries: Chunks<E>,
    /// The entries that the running snapshot need not see any more; none after it has passed.
    captured: Option<Box<Bits>>,
    homes: u32,
    /// The first hash of the segment's range, without its lower half.
    prefix: u32,
    /// The bits of a slot in which an index is: [`INDEX_BITS`], but more in a segment that cannot be split any more and has
    /// got too many entries.
    indices: u32,
    depth: u8,
    /// The first bit that slots keep.
    base: u8,
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
            base: 0,
            indices: INDICES,
        }
    }

    /// The empty segment of the hashes whose first `depth` bits, of which there is at least one, are this number, with
    /// slots for so many entries.
    pub(super) fn at(number: u32, depth: u32, entries: usize) -> Self {
        let mut segment = Self {
            prefix: number << (32 - depth),
            depth: depth as u8,
            base: depth as u8,
            ..Self::new()
        };
        segment.lay_out(std::iter::empty(), entries);
        segment
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

    /// How many of the bits that are kept select the segment.
    #[inline]
    fn lead(&self) -> u32 {
        u32::from(self.depth - self.base)
    }

    /// What is kept of a hash.
    #[inline]
    fn kept(&self, hash: u64) -> u32 {
        ((hash << self.base) >> 33) as u32 & !self.indices
    }

    /// The lowest hash of which this is kept.
    #[inline]
    fn lowest(&self, kept: u32) -> u64 {
        let above = self.start() & !(u64::MAX >> self.base);
        above | (u64::from(kept) << 33) >> self.base
    }

    /// Where what is kept belongs: it ascends with the hash.
    #[inline]
    fn home(&self, kept: u32) -> usize {
        ((u64::from(kept << 1 << self.lead()) * u64::from(self.homes)) >> 32) as usize
    }

    /// Looks for the first entry that `wanted` accepts of those that may have this hash.
    #[inline]
    pub(super) fn probe(&self, hash: u64, mut wanted: impl FnMut(&E) -> bool) -> Probe {
        let kept = self.kept(hash);
        let mut at = self.home(kept);
        // Most probes end within a few slots, but who knows after how many: counting them without a
        // branch is cheaper than guessing.
        if let Some(window) = self
            .slots
            .get(at..)
            .and_then(<[u32]>::first_chunk::<WINDOW>)
        {
            let less = window.iter().map(|slot| slot.wrapping_sub(kept) >> 31);
            at += less.sum::<u32>() as usize;
        }
        while let Some(&slot) = self.slots.get(at) {
            if slot >= kept {
                if slot & !self.indices != kept {
                    break;
                }
                let index = (slot & self.indices) as usize;
                let Some(entry) = self.entries.get(index) else {
                    // Nothing has the index of an empty slot.
                    break;
                };
                if wanted(entry) {
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
        let home = self.home(self.kept(hash));
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
        let index = self.len();
        if index >= limit(self.homes) || index >= self.indices as usize {
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
        self.slots[at] = self.kept(hash) | index as u32;
        self.entries.push(entry);
        index
    }

    // Lays the slots out anew, with room for more entries and a longer tail; and with longer indices, of which one is
    // never given out, if those are all used.
    #[cold]
    fn spread(&mut self) {
        let old = std::mem::take(&mut self.slots);
        let indices = self.indices;
        if self.len() >= indices as usize {
            assert!(indices < EMPTY / 2, "a slot keeps at least one bit");
            self.indices = indices << 1 | 1;
        }
        let kept = !self.indices;
        let slots = occupied(&old).map(|slot| slot & kept | slot & indices);
        self.lay_out(slots, self.len());
    }

    /// Lays out slots, given in order, with room for about a sixteenth more entries than `len`: as many slots as the
    /// allocator gives for those that are needed, seven eighths of them used at most.
    fn lay_out(&mut self, sorted: impl Iterator<Item = u32>, len: usize) {
        let room = len + len / 16 + 4;
        let tail = (room / 2).min(TAIL);
        let all = whole(room * 8 / 7 + 1 + tail);
        self.homes = (all - tail) as u32;
        let mut slots = vec![EMPTY; all];
        let mut free = 0;
        for slot in sorted {
            let at = self.home(slot & !self.indices).max(free);
            free = at + 1;
            if slots.len() < free {
                slots.resize(free + tail, EMPTY);
            }
            slots[at] = slot;
        }
        // What is past the last home leaves some of the tail free.
        let least = free + 1 + tail / 4;
        if slots.len() < least || slots.len() > all {
            let all = whole(slots.len().max(least));
            slots.reserve_exact(all - slots.len());
            slots.resize(all, EMPTY);
        }
        self.slots = slots.into_boxed_slice();
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
            .map(|(at, slot)| at - self.home(slot & !self.indices))
    }

    /// Bytes allocated here, not counting what the entries own.
    #[inline]
    pub(super) fn heap(&self) -> usize {
        let captured = self.captured.as_ref().map_or(0, |bits| bits.heap());
        size_of_val(&*self.slots) + self.entries.heap() + captured
    }

    /// Cuts the segment's range in two: keeps the lower half and returns the upper. `hasher` hashes entries.
    pub(super) fn split(&mut self, hasher: impl Fn(&E) -> u64) -> Self {
        let old = std::mem::replace(self, Self::new());
        let (indices, depth) = (old.indices, old.depth + 1);
        let cut = 1 << (30 - old.lead());
        let anew = old.lead() == LEAD_MAX;
        let mut halves = [old.prefix, old.prefix | 1 << (32 - u32::from(depth))].map(|prefix| {
            let (base, indices) = match anew {
                true => (depth, INDICES),
                false => (old.base, indices),
            };
            Self {
                prefix,
                depth,
                base,
                indices,
                ..Self::new()
            }
        });
        // By the old index: first the old slot, then the new one.
        let mut moved = vec![0; old.len()];
        let mut sizes = [old.len(), 0];
        for slot in occupied(&old.slots) {
            moved[(slot & indices) as usize] = slot;
            sizes[1] += usize::from(slot & cut != 0);
        }
        sizes[0] -= sizes[1];
        for (index, entry) in old.entries.into_iter().enumerate() {
            let slot = &mut moved[index];
            let upper = usize::from(*slot & cut != 0);
            let half = &mut halves[upper];
            let kept = match anew {
                true => half.kept(hasher(&entry)),
                false => *slot & !indices,
            };
            *slot = kept | half.len() as u32;
            if old.captured.as_ref().is_some_and(|bits| bits.get(index)) {
                half.mark(half.len());
            }
            half.entries.push_of(sizes[upper], entry);
        }
        let mut slots: Vec<u32> = occupied(&old.slots)
            .map(|slot| moved[(slot & indices) as usize])
            .collect();
        let (lower, upper) = slots.split_at_mut(sizes[0]);
        for (half, slots) in halves.iter_mut().zip([lower, upper]) {
            if anew {
                // What agreed before may differ now.
                slots.sort_unstable();
            }
            half.lay_out(slots.iter().copied(), slots.len());
        }
        let [lower, upper] = halves;
        *self = lower;
        upper
    }

    /// Takes in the segment of the same depth whose range follows.
    pub(super) fn absorb(&mut self, upper: Self) {
        let old = std::mem::take(&mut self.slots);
        let (base, indices, prefix) = (self.base, self.indices, self.prefix);
        self.depth -= 1;
        self.base = self.base.min(upper.base).min(self.depth);
        self.indices = self.indices.max(upper.indices);
        let (to, kept, shift) = (self.base, !self.indices, self.len() as u32);
        // The bits that were before the base are those of the prefix.
        let moved = |slot: u32, base: u8, prefix: u32, indices: u32| {
            ((slot & !indices) >> (base - to) | prefix << to >> 1) & kept | slot & indices
        };
        let ours = occupied(&old).map(|slot| moved(slot, base, prefix, indices));
        let theirs = occupied(&upper.slots)
            .map(|slot| moved(slot, upper.base, upper.prefix, upper.indices) + shift);
        let size = self.len() + upper.len();
        self.lay_out(ours.chain(theirs), size);
        for (index, entry) in upper.entries.into_iter().enumerate() {
            if upper.captured.as_ref().is_some_and(|bits| bits.get(index)) {
                self.mark(shift as usize + index);
            }
            self.entries.push_of(size, entry);
        }
    }

    /// Visits the entries whose hash, which `hasher` knows, is at least `from`, until `visit` returns false; returns whether
    /// it never did. The entries of which the same is kept come together, each with the lowest hash that it may have.
    pub(super) fn visit<'a>(
        &'a self,
        from: u64,
        hasher: impl Fn(&E) -> u64,
        mut visit: impl FnMut(u64, &'a E) -> bool,
    ) -> bool {
        let from = from.max(self.start());
        let (indices, least) = (self.indices, self.kept(from));
        let is_cut = self.lowest(least) < from;
        let rest = self.slots.get(self.home(least)..).unwrap_or_default();
        occupied(rest)
            .map(|slot| (slot & !indices, &self.entries[(slot & indices) as usize]))
            .filter(|&(kept, entry)| match kept.cmp(&least) {
                Ordering::Less => false,
                Ordering::Equal => !is_cut || hasher(entry) >= from,
                Ordering::Greater => true,
            })
            .all(|(kept, entry)| visit(self.lowest(kept), entry))
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
        let kept = self.kept(hash);
        let home = self.home(kept);
        let slots = self.slots.iter_mut().skip(home);
        match slots.into_iter().find(|slot| **slot == kept | from as u32) {
            Some(slot) => *slot = kept | to as u32,
            None => debug_assert!(false, "every entry has a slot"),
        }
    }

    // The slots after `at` move up by one, as far as none would come before its home.
    fn close_gap(&mut self, at: usize) {
        let stays = |end: usize, slot: u32| slot == EMPTY || self.home(slot & !self.indices) == end;
        let end = (at + 1..self.slots.len())
            .find(|&end| stays(end, self.slots[end]))
            .unwrap_or(self.slots.len());
        self.slots.copy_within(at + 1..end, at);
        self.slots[end - 1] = EMPTY;
    }
}

#[cfg(test)]
impl<E> Segment<E> {
    /// The same with as short indices as need be.
    pub(super) fn narrow() -> Self {
        Self {
            indices: 7,
            ..Self::new()
        }
    }

    /// Asserts every invariant.
    pub(super) fn check(&self, hasher: impl Fn(&E) -> u64) {
        let indices = self.indices;
        let slots: Vec<u32> = occupied(&self.slots).collect();
        assert_eq!(slots.len(), self.len());
        assert!(slots.is_sorted_by_key(|slot| slot & !indices));
        assert!(self.base <= self.depth && self.lead() <= LEAD_MAX);
        let mut seen = vec![false; self.len()];
        for (at, &slot) in self.slots.iter().enumerate().filter(|(_, s)| **s != EMPTY) {
            let index = (slot & indices) as usize;
            assert!(!std::mem::replace(&mut seen[index], true));
            let hash = hasher(&self.entries[index]);
            let kept = slot & !indices;
            assert_eq!(self.kept(hash), kept);
            assert!(hash >= self.start() && self.end().is_none_or(|end| hash < end));
            assert!(self.lowest(kept) <= hash && self.kept(self.lowest(kept)) == kept);
            let home = self.home(kept);
            assert!(home <= at && self.slots[home..at].iter().all(|&s| s != EMPTY));
        }
        let room = self.slots.len();
        assert_eq!(whole(room), room);
        assert!(
            room <= 4 * self.len() + 16,
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

/// How many entries so many homes may serve: seven eighths.
#[inline]
fn limit(homes: u32) -> usize {
    homes as usize * 7 / 8
}

/// As many slots as the allocator gives for so many.
fn whole(slots: usize) -> usize {
    heap::rounded(slots * size_of::<u32>()) / size_of::<u32>()
}

fn occupied(slots: &[u32]) -> impl Iterator<Item = u32> {
    slots.iter().copied().filter(|&slot| slot != EMPTY)
}

/// One bit per entry.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn heap(&self) -> usize {
        heap::rounded(size_of::<Self>()) + heap::rounded(self.0.capacity() * size_of::<u64>())
    }

    fn get(&self, index: usize) -> bool {
        let word = self.0.get(index / 64).copied().unwrap_or_default();
        (word >> (index % 64)) & 1 == 1
    }

    fn set(&mut self, index: usize, on: bool) {
        if self.0.len() <= index / 64 {
            let words = (index / 64 + 1).max(SEGMENT_MAX.div_ceil(64));
            self.0.resize(words, 0);
        }
        let word = &mut self.0[index / 64];
        *word = *word & !(1 << (index % 64)) | u64::from(on) << (index % 64);
    }
}
