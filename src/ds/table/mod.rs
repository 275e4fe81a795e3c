//! The hash table of the keyspace and of big collections: extendible hashing over small segments.
//!
//! A directory, indexed by the top bits of the hash, leads to segments of at most about a thousand
//! entries. Growth splits one segment, shrinking merges two: no operation touches the whole table,
//! and memory follows the contents both ways. Inside a segment the slots stand in hash order, so a
//! scan cursor is a position in hash order, which no split, merge or relocation disturbs.
//!
//! A slot is four bytes: it keeps some twenty bits of the hash beyond those that led to its segment. Where that is not enough,
//! hashes are made anew of the entries' keys: once in several splits, and where a cursor stands between two entries of
//! which the same is kept.

mod chunks;
mod scan;
mod segment;
mod snapshot;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hasher};

use crate::util::heap;
use crate::util::prefetch::fetch_whole;
use segment::{Probe, Segment};
pub use stats::Stats;

/// A segment of this many entries is split before the next one is added. Tests of this crate split
/// sooner, to see more of it.
const SEGMENT_MAX: usize = if cfg!(test) { 64 } else { 1023 };
/// Two neighbours are merged when they hold no more than this together.
const MERGE_MAX: usize = SEGMENT_MAX * 3 / 8;
/// So many entries per segment are counted on where they are announced: what is more in some than in others still
/// finds its place.
const SEGMENT_FILL: usize = SEGMENT_MAX * 7 / 8;
/// Bounds the directory; no hash that is not under attack by its own seed's holder comes near.
const DEPTH_MAX: u32 = if cfg!(test) { 16 } else { 28 };

/// What a table holds: something that carries its key.
pub trait Keyed {
    /// The key; it must not change while the entry is in a table.
    fn key(&self) -> &[u8];
}

/// The secret that makes a table's hashes unpredictable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u64; 4]);

impl Seed {
    /// A seed out of a source of random numbers.
    pub fn random(mut rng: impl FnMut() -> u64) -> Self {
        Self([rng(), rng(), rng(), rng()])
    }

    /// The hash of a key in every table made with this seed.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let [a, b, c, d] = self.0;
        let mut hasher = ahash::RandomState::with_seeds(a, b, c, d).build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A hash table of entries that carry their own keys.
///
/// ```
/// use redkeep::ds::table::{Keyed, Seed, Table};
///
/// struct Pair(&'static str, u32);
/// impl Keyed for Pair {
///     fn key(&self) -> &[u8] {
///         self.0.as_bytes()
///     }
/// }
///
/// let mut table = Table::new(Seed::random(|| 4));
/// assert!(table.insert(Pair("a", 1)).is_none());
/// assert_eq!(table.insert(Pair("a", 2)).map(|old| old.1), Some(1));
/// assert_eq!(table.get(b"a").map(|pair| pair.1), Some(2));
/// ```
pub struct Table<E> {
    seed: Seed,
    /// Segment numbers by the top `depth` bits of the hash; empty while `depth` is 0.
    directory: Vec<u32>,
    /// In no order. Empty only while the table is.
    segments: Vec<Segment<E>>,
    depth: u32,
    /// How many segments are as deep as the directory.
    deepest: usize,
    len: usize,
    /// Bytes that the segments have allocated.
    heap: usize,
    /// Where the running snapshot stands: it has passed all segments that start below this hash.
    snapshot: Option<u64>,
}

/// Where a key is, or where it would go: found with one probe.
#[derive(Debug)]
pub enum Slot<'a, E> {
    /// The key is in the table.
    Occupied(Occupied<'a, E>),
    /// It is not.
    Vacant(Vacant<'a, E>),
}

/// An entry found by [`Table::slot`].
pub struct Occupied<'a, E> {
    table: &'a mut Table<E>,
    segment: usize,
    slot: usize,
    index: usize,
}

/// A place for an entry, found by [`Table::slot`].
pub struct Vacant<'a, E> {
    table: &'a mut Table<E>,
    hash: u64,
    segment: usize,
    slot: usize,
}

impl<E> Table<E> {
    /// An empty table, without any allocation.
    pub const fn new(seed: Seed) -> Self {
        Self {
            seed,
            directory: Vec::new(),
            segments: Vec::new(),
            depth: 0,
            deepest: 0,
            len: 0,
            heap: 0,
            snapshot: None,
        }
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The seed of the table's hashes.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The hash of a key, as every `_hashed` method expects it.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    /// Bytes that the table itself has allocated, in O(1): not what the entries own.
    #[inline]
    pub fn memory(&self) -> usize {
        self.heap
            + heap::rounded(self.directory.capacity() * size_of::<u32>())
            + heap::rounded(self.segments.capacity() * size_of::<Segment<E>>())
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.segments.iter().flat_map(|s| s.entries().iter())
    }

    /// All entries, to be changed; their keys must stay as they are.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.segments
            .iter_mut()
            .flat_map(|s| s.entries_mut().iter_mut())
    }

    /// The entries themselves.
    pub fn into_entries(self) -> impl Iterator<Item = E> {
        self.segments.into_iter().flat_map(Segment::into_entries)
    }

    /// Gives up the room that [`Table::expect`] made for nothing.
    pub fn settle(&mut self) {
        let mut from = Some(0);
        while let Some(start) = from {
            self.merge_if_sparse(start);
            let id = self.segment_of(start);
            from = self.segments.get_mut(id).and_then(|segment| {
                let before = segment.heap();
                segment.tighten();
                self.heap = self.heap + segment.heap() - before;
                segment.end()
            });
        }
    }

    /// Removes everything; the old contents are dropped here and now.
    pub fn clear(&mut self) {
        drop(self.take());
    }

    /// Empties the table and returns the old contents as a table, together with the snapshot that
    /// may be running: walk it there, or drop it, wherever that is best done.
    pub fn take(&mut self) -> Self {
        let fresh = Self::new(self.seed);
        std::mem::replace(self, fresh)
    }

    /// The first entry that `wanted` accepts of those that may have this hash: not all of it is compared.
    #[inline]
    pub fn find_by_hash(&self, hash: u64, wanted: impl FnMut(&E) -> bool) -> Option<&E> {
        let segment = self.segments.get(self.segment_of(hash))?;
        match segment.probe(hash, wanted) {
            Probe::Found { index, .. } => Some(&segment.entries()[index]),
            Probe::Vacant { .. } => None,
        }
    }

    /// Finds the first entry that `wanted` accepts of those that may have this hash, or the place for one that has it, with one
    /// probe.
    #[inline]
    pub fn slot_where(&mut self, hash: u64, wanted: impl FnMut(&E) -> bool) -> Slot<'_, E> {
        let segment = self.segment_of(hash);
        let probe = match self.segments.get(segment) {
            Some(found) => found.probe(hash, wanted),
            None => Probe::Vacant { slot: 0 },
        };
        match probe {
            Probe::Found { slot, index } => Slot::Occupied(Occupied {
                table: self,
                segment,
                slot,
                index,
            }),
            Probe::Vacant { slot } => Slot::Vacant(Vacant {
                table: self,
                hash,
                segment,
                slot,
            }),
        }
    }

    /// Has the memory fetched in which the place of this hash is. Whoever does so for several at once, before it looks for
    /// the first, waits for all of them together.
    #[inline]
    pub fn glance(&self, hash: u64) {
        if let Some(segment) = self.segments.get(self.segment_of(hash)) {
            segment.glance(hash);
        }
    }

    /// The same, and where an entry would be put if it is not there.
    #[inline]
    pub fn glance_to_add(&self, hash: u64) {
        if let Some(segment) = self.segments.get(self.segment_of(hash)) {
            segment.glance(hash);
            segment.glance_at_end();
        }
    }

    /// The same for a key; or for its entry itself, once its place is near.
    #[inline]
    pub fn glance_at(&self, key: &[u8], deeper: bool) {
        let hash = self.hash(key);
        match deeper {
            false => self.glance(hash),
            true => self
                .find_by_hash(hash, |_| true)
                .into_iter()
                .for_each(fetch_whole),
        }
    }

    /// The number of the segment to which a hash belongs.
    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        // Two shifts, as one by 64 is none.
        let at = (hash >> 1 >> (63 - self.depth)) as usize;
        self.directory.get(at).map_or(0, |&id| id as usize)
    }

    /// The directory entries that lead to a segment.
    fn directory_range(&self, segment: &Segment<E>) -> std::ops::Range<usize> {
        let first = (segment.start() >> 1 >> (63 - self.depth)) as usize;
        first..first + (1 << (self.depth - segment.depth()))
    }

    fn point_directory(&mut self, segment: usize) {
        if let Some(target) = self.segments.get(segment)
            && self.depth > 0
        {
            let range = self.directory_range(target);
            self.directory[range].fill(segment as u32);
        }
    }

    /// Whether the segment of this number can take one more entry as it is.
    #[inline]
    fn has_room(&self, id: usize) -> bool {
        self.segments
            .get(id)
            .is_some_and(|segment| segment.len() < SEGMENT_MAX || segment.depth() == DEPTH_MAX)
    }

    /// Makes room for one more entry of a hash: says in which segment, and at which slot.
    #[cold]
    fn make_room(&mut self, hash: u64, hasher: impl Fn(&E) -> u64) -> (usize, usize) {
        if self.segments.is_empty() {
            self.segments.reserve_exact(1);
            self.segments.push(Segment::new());
            self.deepest = 1;
        }
        loop {
            let id = self.segment_of(hash);
            if self.has_room(id) {
                return (id, self.segments[id].place_of(hash));
            }
            self.split(id, &hasher);
        }
    }

    fn split(&mut self, id: usize, hasher: impl Fn(&E) -> u64) {
        let segment = &mut self.segments[id];
        let before = segment.heap();
        let upper = segment.split(hasher);
        let depth = segment.depth();
        self.heap = self.heap + segment.heap() + upper.heap() - before;
        if depth > self.depth {
            self.directory = match self.directory.as_slice() {
                [] => vec![0, 0],
                old => old.iter().flat_map(|&id| [id, id]).collect(),
            };
            self.depth = depth;
            self.deepest = 0;
        }
        if depth == self.depth {
            self.deepest += 2;
        }
        self.segments.push(upper);
        self.point_directory(self.segments.len() - 1);
    }

    /// Merges a segment, if it is sparse, with its neighbour, and the result with the next, as far as it goes.
    fn merge_if_sparse(&mut self, hash: u64) {
        let segment = self.segments.get(self.segment_of(hash));
        if segment.is_none_or(|segment| segment.len() >= MERGE_MAX / 2) {
            return;
        }
        if self.len == 0 {
            // A running snapshot is over with it: whatever it had still to see was captured.
            *self = Self::new(self.seed);
        }
        while self.merge_once(self.segment_of(hash)) {}
    }

    fn merge_once(&mut self, id: usize) -> bool {
        let Some(segment) = self.segments.get(id).filter(|s| s.depth() > 0) else {
            return false;
        };
        let (start, depth) = (segment.start(), segment.depth());
        let bit = 1 << (64 - depth);
        let buddy = self.segment_of(start ^ bit);
        let mergeable = self.segments.get(buddy).is_some_and(|other| {
            other.depth() == depth && other.len() + segment.len() <= MERGE_MAX
        });
        if !mergeable || self.snapshot == Some(start | bit) {
            return false;
        }
        let (low, high) = if start & bit == 0 {
            (id, buddy)
        } else {
            (buddy, id)
        };
        let upper = std::mem::replace(&mut self.segments[high], Segment::new());
        let lower = &mut self.segments[low];
        let before = lower.heap() + upper.heap();
        lower.absorb(upper);
        self.heap = self.heap + lower.heap() - before;
        self.point_directory(low);
        self.segments.swap_remove(high);
        self.point_directory(high);
        if self.segments.capacity() > 4 + 4 * self.segments.len() {
            self.segments.shrink_to(2 * self.segments.len());
        }
        if depth == self.depth {
            self.deepest -= 2;
            self.halve_directory();
        }
        true
    }

    fn halve_directory(&mut self) {
        while self.deepest == 0 && self.depth > 0 {
            self.depth -= 1;
            self.directory = self.directory.iter().step_by(2).copied().collect();
            // Only segments as deep as the directory have a single entry in it.
            let pairs = self.directory.chunks_exact(2);
            self.deepest = 2 * pairs.filter(|pair| pair[0] != pair[1]).count();
        }
        if self.depth == 0 {
            self.directory = Vec::new();
            self.deepest = 1;
        }
    }
}

impl<E: Keyed> Table<E> {
    /// Announces that there will be so many entries: room is made for them, about five bytes for each, so that nothing
    /// has to be split or laid out anew when they come. What is there already is moved. In the end [`Table::settle`] is to
    /// be called, as fewer may have come.
    pub fn expect(&mut self, entries: usize) {
        let depth = (0..DEPTH_MAX).find(|&depth| entries >> depth <= SEGMENT_FILL);
        let depth = depth.unwrap_or(DEPTH_MAX);
        if depth <= self.depth || self.snapshot.is_some() {
            return;
        }
        let old = self.take();
        let each = (entries >> depth).min(SEGMENT_FILL);
        self.directory = (0..1 << depth).collect();
        let segments = self.directory.iter();
        self.segments = segments.map(|&at| Segment::at(at, depth, each)).collect();
        self.heap = self.segments.iter().map(Segment::heap).sum();
        self.depth = depth;
        self.deepest = self.segments.len();
        old.into_entries().for_each(|entry| _ = self.insert(entry));
    }

    /// The entry of a key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&E> {
        self.get_hashed(self.hash(key), key)
    }

    /// The entry of a key, to be changed; its key must stay as it is.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut E> {
        self.get_mut_hashed(self.hash(key), key)
    }

    /// Whether there is an entry of this key.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// [`Table::get`] with the key's hash at hand.
    #[inline]
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<&E> {
        self.find_by_hash(hash, |entry| entry.key() == key)
    }

    /// [`Table::get_mut`] with the key's hash at hand.
    #[inline]
    pub fn get_mut_hashed(&mut self, hash: u64, key: &[u8]) -> Option<&mut E> {
        match self.slot(hash, key) {
            Slot::Occupied(found) => Some(found.into_mut()),
            Slot::Vacant(_) => None,
        }
    }

    /// The first entry of exactly this hash that `wanted` accepts; another key may share it.
    pub fn find_of_hash(&self, hash: u64, mut wanted: impl FnMut(&E) -> bool) -> Option<&E> {
        self.find_by_hash(hash, |entry| {
            wanted(entry) && self.hash(entry.key()) == hash
        })
    }

    /// Finds a key, or the place for it, with one probe.
    #[inline]
    pub fn slot(&mut self, hash: u64, key: &[u8]) -> Slot<'_, E> {
        self.slot_where(hash, |entry| entry.key() == key)
    }

    /// Adds an entry; one of the same key is replaced and returned.
    pub fn insert(&mut self, entry: E) -> Option<E> {
        let hash = self.hash(entry.key());
        match self.slot(hash, entry.key()) {
            Slot::Occupied(mut found) => Some(std::mem::replace(found.get_mut(), entry)),
            Slot::Vacant(place) => {
                place.insert(entry);
                None
            }
        }
    }

    /// Removes the entry of a key.
    pub fn remove(&mut self, key: &[u8]) -> Option<E> {
        self.remove_hashed(self.hash(key), key)
    }

    /// [`Table::remove`] with the key's hash at hand.
    pub fn remove_hashed(&mut self, hash: u64, key: &[u8]) -> Option<E> {
        match self.slot(hash, key) {
            Slot::Occupied(found) => Some(found.remove()),
            Slot::Vacant(_) => None,
        }
    }
}

impl<'a, E> Occupied<'a, E> {
    /// The entry.
    #[inline]
    pub fn get(&self) -> &E {
        &self.table.segments[self.segment].entries()[self.index]
    }

    /// The entry, to be changed; its key must stay as it is.
    #[inline]
    pub fn get_mut(&mut self) -> &mut E {
        &mut self.table.segments[self.segment].entries_mut()[self.index]
    }

    /// The entry, for as long as the table is borrowed.
    #[inline]
    pub fn into_mut(self) -> &'a mut E {
        &mut self.table.segments[self.segment].entries_mut()[self.index]
    }

    /// The seed of the table's hashes.
    pub fn seed(&self) -> Seed {
        self.table.seed
    }

    /// Takes the entry out, where entries do not carry their keys: `hasher` gives the hash of another one.
    pub fn remove_with(self, hasher: impl FnOnce(&E) -> u64) -> E {
        let segment = &mut self.table.segments[self.segment];
        let before = segment.heap();
        let start = segment.start();
        let removed = segment.remove(self.slot, self.index, hasher);
        let after = segment.heap();
        self.table.heap = self.table.heap + after - before;
        self.table.len -= 1;
        self.table.merge_if_sparse(start);
        removed
    }
}

impl<E: Keyed> Occupied<'_, E> {
    /// Takes the entry out.
    pub fn remove(self) -> E {
        let seed = self.table.seed;
        self.remove_with(|entry| seed.hash(entry.key()))
    }
}

impl<'a, E: Keyed> Vacant<'a, E> {
    /// Adds an entry, whose key must be the one looked for.
    #[inline]
    pub fn insert(self, entry: E) -> &'a mut E {
        let seed = self.table.seed;
        self.insert_with(entry, |entry| seed.hash(entry.key()))
    }
}

impl<'a, E> Vacant<'a, E> {
    /// Adds an entry, where entries do not carry their keys: `hasher` gives the hash of another one.
    #[inline]
    pub fn insert_with(self, entry: E, hasher: impl Fn(&E) -> u64) -> &'a mut E {
        let Self { table, hash, .. } = self;
        let (id, at) = match table.has_room(self.segment) {
            true => (self.segment, self.slot),
            false => table.make_room(hash, hasher),
        };
        let passed = table.passed(id);
        let segment = &mut table.segments[id];
        let before = segment.heap();
        let index = segment.insert(hash, at, entry);
        if !passed {
            segment.mark(index);
        }
        table.heap = table.heap + segment.heap() - before;
        table.len += 1;
        &mut segment.entries_mut()[index]
    }
}

impl<E: fmt::Debug> fmt::Debug for Occupied<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Occupied").field(&self.index).finish()
    }
}

impl<E> fmt::Debug for Vacant<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vacant")
    }
}

impl<E: fmt::Debug> fmt::Debug for Table<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<E: Clone> Clone for Table<E> {
    /// The contents, under the same seed, without the snapshot that may be running.
    fn clone(&self) -> Self {
        let segments = self.segments.clone();
        Self {
            heap: segments.iter().map(Segment::heap).sum(),
            seed: self.seed,
            directory: self.directory.clone(),
            segments,
            depth: self.depth,
            deepest: self.deepest,
            len: self.len,
            snapshot: None,
        }
    }
}
