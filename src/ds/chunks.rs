//! An ordered map in chunks, made for keys that mostly arrive in order and leave from the front.
//!
//! A directory lists chunks of at most [`CHUNK`] pairs; each slot holds a lower bound of its chunk's keys,
//! above every key of the chunk before. Appending fills chunks completely, so that a map grown in order
//! wastes nothing; chunks that run empty are merged with a neighbour. Chunks are shared (`Arc`): a clone
//! copies the directory, and a write after it copies the one chunk it touches.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::util::heap;

/// Most pairs in a chunk.
pub const CHUNK: usize = 64;
/// What a chunk costs beside its pairs: reference counts, vector header, allocator.
const CHUNK_OVERHEAD: usize = 56;

/// An ordered map from `K` to `V`.
#[derive(Clone)]
pub struct ChunkMap<K, V> {
    dir: VecDeque<Slot<K, V>>,
    len: usize,
    /// Bytes of the chunks.
    bytes: usize,
    /// Bytes of the directory.
    dir_bytes: usize,
}

#[derive(Clone)]
struct Slot<K, V> {
    low: K,
    items: Arc<Vec<(K, V)>>,
}

/// A place in a map. Stale after any change to the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    chunk: usize,
    item: usize,
}

impl<K, V> Default for ChunkMap<K, V> {
    fn default() -> Self {
        Self {
            dir: VecDeque::new(),
            len: 0,
            bytes: 0,
            dir_bytes: 0,
        }
    }
}

impl<K: std::fmt::Debug + Copy + Ord, V: std::fmt::Debug + Clone> std::fmt::Debug
    for ChunkMap<K, V>
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Copy + Ord, V: Clone> ChunkMap<K, V> {
    /// An empty map, without an allocation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap, what the values own elsewhere not included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.dir_bytes
    }

    fn count_dir(&mut self) {
        // As a deque grows: a clone may have less room, but is to be counted alike.
        let room = match self.dir.len() {
            0 => 0,
            len => len.next_power_of_two().max(4),
        };
        self.dir_bytes = heap::rounded(room * size_of::<Slot<K, V>>());
    }

    /// The pair with the least key.
    #[must_use]
    pub fn first(&self) -> Option<(&K, &V)> {
        self.dir.front()?.items.first().map(|(k, v)| (k, v))
    }

    /// The pair with the greatest key.
    #[must_use]
    pub fn last(&self) -> Option<(&K, &V)> {
        self.dir.back()?.items.last().map(|(k, v)| (k, v))
    }

    /// The pair with the greatest key, to change its value.
    pub fn last_mut(&mut self) -> Option<(&K, &mut V)> {
        let last = self.dir.len().checked_sub(1)?;
        let items = self.items_mut(last);
        items.last_mut().map(|(k, v)| (&*k, v))
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let items = &self.dir.get(self.chunk_of(key)?)?.items;
        let at = items.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        items.get(at).map(|(_, v)| v)
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The value under `key`, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let chunk = self.chunk_of(key)?;
        let at = self
            .dir
            .get(chunk)?
            .items
            .binary_search_by(|(k, _)| k.cmp(key))
            .ok()?;
        self.items_mut(chunk).get_mut(at).map(|(_, v)| v)
    }

    /// Puts `value` under `key`; gives back what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.last().is_none_or(|(last, _)| *last < key) {
            self.append(key, value);
            return None;
        }
        let chunk = self.chunk_of(&key).unwrap_or(0);
        match self.dir[chunk].items.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => {
                let slot = self.items_mut(chunk).get_mut(at)?;
                Some(std::mem::replace(&mut slot.1, value))
            }
            Err(at) => {
                self.insert_at(chunk, at, key, value);
                None
            }
        }
    }

    /// Takes the pair under `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let chunk = self.chunk_of(key)?;
        let at = self
            .dir
            .get(chunk)?
            .items
            .binary_search_by(|(k, _)| k.cmp(key))
            .ok()?;
        let (_, value) = self.items_mut(chunk).remove(at);
        self.len -= 1;
        self.tidy(chunk);
        Some(value)
    }

    /// Takes the pair with the least key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let key = *self.first()?.0;
        self.remove(&key).map(|v| (key, v))
    }

    /// Place of the first key at or after `key`.
    #[must_use]
    pub fn seek(&self, key: &K) -> Place {
        let chunk = self.chunk_of(key).unwrap_or(0);
        let item = self
            .dir
            .get(chunk)
            .map_or(0, |s| s.items.partition_point(|(k, _)| k < key));
        self.normal(Place { chunk, item })
    }

    /// Place of the first pair.
    #[must_use]
    pub fn start(&self) -> Place {
        Place { chunk: 0, item: 0 }
    }

    /// Place behind the last pair.
    #[must_use]
    pub fn end(&self) -> Place {
        Place {
            chunk: self.dir.len(),
            item: 0,
        }
    }

    /// The pair at a place; none at the end.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<(&K, &V)> {
        self.dir
            .get(place.chunk)?
            .items
            .get(place.item)
            .map(|(k, v)| (k, v))
    }

    /// The place after `place`.
    #[must_use]
    pub fn after(&self, place: Place) -> Place {
        self.normal(Place {
            item: place.item + 1,
            ..place
        })
    }

    /// The place before `place`; none at the start.
    #[must_use]
    pub fn before(&self, place: Place) -> Option<Place> {
        if let Some(item) = place.item.checked_sub(1) {
            return Some(Place { item, ..place });
        }
        let chunk = place.chunk.checked_sub(1)?;
        let item = self.dir.get(chunk)?.items.len().checked_sub(1)?;
        Some(Place { chunk, item })
    }

    /// Pairs in order of their keys.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.iter_from(self.start())
    }

    /// Pairs from a place on.
    #[must_use]
    pub fn iter_from(&self, place: Place) -> Iter<'_, K, V> {
        Iter { map: self, place }
    }

    /// Pairs with keys at or after `key`.
    #[must_use]
    pub fn range(&self, key: &K) -> Iter<'_, K, V> {
        self.iter_from(self.seek(key))
    }

    /// Index of the chunk that holds `key` or would.
    #[inline]
    fn chunk_of(&self, key: &K) -> Option<usize> {
        if self.dir.back()?.low <= *key {
            return Some(self.dir.len() - 1);
        }
        Some(
            self.dir
                .partition_point(|s| s.low <= *key)
                .saturating_sub(1),
        )
    }

    fn normal(&self, place: Place) -> Place {
        match self.dir.get(place.chunk) {
            Some(slot) if place.item >= slot.items.len() => Place {
                chunk: place.chunk + 1,
                item: 0,
            },
            _ => place,
        }
    }

    /// A chunk's own copy, accounted.
    fn items_mut(&mut self, chunk: usize) -> &mut Vec<(K, V)> {
        let slot = &mut self.dir[chunk].items;
        let before = slot.capacity();
        let items = Arc::make_mut(slot);
        let pair = size_of::<(K, V)>();
        self.bytes = (self.bytes + items.capacity() * pair).saturating_sub(before * pair);
        items
    }

    fn append(&mut self, key: K, value: V) {
        self.len += 1;
        if self.dir.back().is_none_or(|s| s.items.len() >= CHUNK) {
            self.add_chunk(self.dir.len(), key, Vec::new());
        }
        let chunk = self.dir.len() - 1;
        self.push(chunk, |items| items.push((key, value)));
    }

    fn insert_at(&mut self, chunk: usize, at: usize, key: K, value: V) {
        self.len += 1;
        if self.dir[chunk].items.len() < CHUNK {
            self.dir[chunk].low = self.dir[chunk].low.min(key);
            self.push(chunk, |items| items.insert(at, (key, value)));
            return;
        }
        let half = CHUNK / 2;
        let upper = self.items_mut(chunk).split_off(half);
        let low = upper[0].0;
        self.add_chunk(chunk + 1, low, upper);
        let (chunk, at) = if at > half {
            (chunk + 1, at - half)
        } else {
            (chunk, at)
        };
        self.dir[chunk].low = self.dir[chunk].low.min(key);
        self.push(chunk, |items| items.insert(at, (key, value)));
    }

    /// Changes a chunk in a way that may grow it.
    fn push(&mut self, chunk: usize, change: impl FnOnce(&mut Vec<(K, V)>)) {
        let items = self.items_mut(chunk);
        let before = items.capacity();
        change(items);
        let grown = items.capacity() - before;
        self.bytes += grown * size_of::<(K, V)>();
    }

    fn add_chunk(&mut self, at: usize, low: K, items: Vec<(K, V)>) {
        self.bytes += CHUNK_OVERHEAD + items.capacity() * size_of::<(K, V)>();
        self.dir.insert(
            at,
            Slot {
                low,
                items: Arc::new(items),
            },
        );
        self.count_dir();
    }

    fn drop_chunk(&mut self, at: usize) -> Option<Slot<K, V>> {
        let slot = self.dir.remove(at)?;
        let bytes = CHUNK_OVERHEAD + slot.items.capacity() * size_of::<(K, V)>();
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.dir.is_empty() {
            self.dir = VecDeque::new();
        }
        self.count_dir();
        Some(slot)
    }

    /// After a removal: drops an empty chunk, merges a thin one into its neighbour, gives memory back.
    fn tidy(&mut self, chunk: usize) {
        let len = self.dir[chunk].items.len();
        if len == 0 {
            self.drop_chunk(chunk);
            return;
        }
        if len >= CHUNK / 4 {
            return;
        }
        let fits = |other: Option<&Slot<K, V>>| {
            other.is_some_and(|s| s.items.len() + len <= CHUNK * 3 / 4)
        };
        if fits(self.dir.get(chunk + 1)) {
            self.merge(chunk);
        } else if chunk > 0 && fits(self.dir.get(chunk - 1)) {
            self.merge(chunk - 1);
        } else if self.dir[chunk].items.capacity() > len * 4 {
            let items = self.items_mut(chunk);
            let before = items.capacity();
            items.shrink_to(len * 2);
            let saved = before - items.capacity();
            self.bytes = self.bytes.saturating_sub(saved * size_of::<(K, V)>());
        }
    }

    /// Moves the chunk behind `chunk` into it.
    fn merge(&mut self, chunk: usize) {
        let Some(next) = self.drop_chunk(chunk + 1) else {
            return;
        };
        let more = Arc::try_unwrap(next.items).unwrap_or_else(|shared| (*shared).clone());
        self.push(chunk, |items| {
            items.reserve_exact(more.len());
            items.extend(more);
        });
    }
}

/// Pairs in order.
#[derive(Clone)]
pub struct Iter<'a, K, V> {
    map: &'a ChunkMap<K, V>,
    place: Place,
}

impl<'a, K: Copy + Ord, V: Clone> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.map.at(self.place)?;
        self.place = self.map.after(self.place);
        Some(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn recount<K: Copy + Ord, V: Clone>(map: &ChunkMap<K, V>) -> usize {
        let pair = size_of::<(K, V)>();
        map.dir
            .iter()
            .map(|s| CHUNK_OVERHEAD + s.items.capacity() * pair)
            .sum()
    }

    fn check(map: &ChunkMap<u32, u64>, model: &BTreeMap<u32, u64>) {
        assert_eq!(map.len(), model.len());
        assert!(map.iter().eq(model.iter()));
        assert_eq!(map.bytes, recount(map));
        for pair in map.dir.iter().zip(map.dir.iter().skip(1)) {
            assert!(pair.0.items.last().unwrap().0 < pair.1.low);
        }
        for slot in &map.dir {
            assert!(slot.low <= slot.items[0].0 && slot.items.len() <= CHUNK);
        }
    }

    #[test]
    fn appending_fills_chunks() {
        let mut map = ChunkMap::new();
        (0..10_000u32).for_each(|k| assert_eq!(map.insert(k, u64::from(k)), None));
        assert_eq!(map.dir.len(), 10_000usize.div_ceil(CHUNK));
        assert!(map.bytes() < 10_000 * 18);
        (0..10_000u32).for_each(|k| assert_eq!(map.pop_first(), Some((k, u64::from(k)))));
        assert_eq!(map.bytes(), 0);
    }

    #[test]
    fn clones_are_independent() {
        let mut map = ChunkMap::new();
        (0..200u32).for_each(|k| assert_eq!(map.insert(k, 0u64), None));
        let frozen = map.clone();
        *map.get_mut(&150).unwrap() = 7;
        map.remove(&3);
        *map.last_mut().unwrap().1 = 9;
        assert!(frozen.iter().map(|(_, v)| *v).eq([0; 200]));
        assert_eq!(
            (map.get(&150), map.get(&3), map.get(&199)),
            (Some(&7), None, Some(&9))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn behaves_like_a_btreemap(ops in proptest::collection::vec((0u8..8, 0u32..400), 0..1200)) {
            let (mut map, mut model) = (ChunkMap::new(), BTreeMap::new());
            for (i, (op, key)) in ops.into_iter().enumerate() {
                let value = i as u64;
                match op {
                    0..=3 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    4..=5 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    6 => prop_assert_eq!(map.pop_first(), model.pop_first()),
                    _ => {
                        prop_assert!(map.range(&key).eq(model.range(key..)));
                        let before = map.before(map.seek(&key)).and_then(|p| map.at(p));
                        prop_assert_eq!(before, model.range(..key).next_back());
                        prop_assert_eq!(map.get(&key), model.get(&key));
                    }
                }
                if i % 50 == 0 { check(&map, &model); }
            }
            check(&map, &model);
            prop_assert_eq!(map.first(), model.first_key_value());
            prop_assert_eq!(map.last(), model.last_key_value());
        }
    }
}
