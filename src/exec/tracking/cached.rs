//! Keys that clients have read and may hold a copy of.
//!
//! Clients are named by their ids, which are never used again. One that leaves is not looked for in all keys at once:
//! [`CachedKeys::sweep`] takes those who are gone out, some keys at a time.

use crate::ds::bytes::SmallBytes;
use crate::ds::table::{Keyed, Seed, Slot, Table};

/// A key, whatever its database, and who has read it since it last changed.
#[derive(Debug)]
struct Cached {
    key: SmallBytes,
    readers: Readers,
}

impl Keyed for Cached {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Cached {
    fn heap_size(&self) -> usize {
        self.key.heap_size() + self.readers.heap_size()
    }
}

/// Ids of clients, ascending. Hardly a key has more than one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readers {
    One(u64),
    Many(Vec<u64>),
}

impl Readers {
    pub(super) fn ids(&self) -> &[u64] {
        match self {
            Readers::One(id) => std::slice::from_ref(id),
            Readers::Many(ids) => ids,
        }
    }

    fn heap_size(&self) -> usize {
        match self {
            Readers::One(_) => 0,
            Readers::Many(ids) => ids.capacity() * size_of::<u64>(),
        }
    }

    /// Adds a client; returns whether it is new.
    fn add(&mut self, id: u64) -> bool {
        let Err(at) = self.ids().binary_search(&id) else {
            return false;
        };
        match self {
            Readers::One(other) => {
                let mut both = Vec::with_capacity(2);
                both.extend([id.min(*other), id.max(*other)]);
                *self = Readers::Many(both);
            }
            Readers::Many(ids) => ids.insert(at, id),
        }
        true
    }

    /// Keeps those who are there; `None` if nobody is left.
    fn keep(self, is_there: impl Fn(u64) -> bool) -> Option<Self> {
        match self {
            Readers::One(id) => is_there(id).then_some(Readers::One(id)),
            Readers::Many(mut ids) => {
                ids.retain(|&id| is_there(id));
                match ids[..] {
                    [] => None,
                    [id] => Some(Readers::One(id)),
                    _ => {
                        ids.shrink_to_fit();
                        Some(Readers::Many(ids))
                    }
                }
            }
        }
    }
}

/// All keys that some client has read since they last changed.
pub(super) struct CachedKeys {
    table: Table<Cached>,
    items: usize,
    heap: usize,
}

impl std::fmt::Debug for CachedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedKeys")
            .field("keys", &self.len())
            .field("items", &self.items)
            .finish_non_exhaustive()
    }
}

impl CachedKeys {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            table: Table::new(seed),
            items: 0,
            heap: 0,
        }
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nobody has read anything.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of readers, counted once for each key.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// Bytes used.
    pub(super) fn memory(&self) -> usize {
        self.table.memory() + self.heap
    }

    /// A client has read a key; returns whether nobody had before.
    pub(super) fn add(&mut self, key: &[u8], id: u64) -> bool {
        match self.table.slot(self.table.hash(key), key) {
            Slot::Occupied(mut found) => {
                let readers = &mut found.get_mut().readers;
                let before = readers.heap_size();
                self.items += usize::from(readers.add(id));
                self.heap += readers.heap_size();
                self.heap -= before;
                false
            }
            Slot::Vacant(place) => {
                let cached = place.insert(Cached {
                    key: key.into(),
                    readers: Readers::One(id),
                });
                self.heap += cached.heap_size();
                self.items += 1;
                true
            }
        }
    }

    /// Forgets a key; gives those who had read it.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Readers> {
        let cached = self.table.remove(key)?;
        self.heap -= cached.heap_size();
        self.items -= cached.readers.ids().len();
        Some(cached.readers)
    }

    /// A key at random.
    pub(super) fn random(&self, random: impl FnMut() -> u64) -> Option<SmallBytes> {
        self.table.random(random).map(|cached| cached.key.clone())
    }

    /// Forgets all; gives what is to be dropped.
    pub(super) fn take(&mut self) -> impl std::fmt::Debug + Send + use<> {
        let left = Self::new(self.table.seed());
        std::mem::replace(self, left)
    }

    /// Takes those who are gone out of some `count` keys from `cursor` on, as a scan goes: 0 is the start and the end.
    pub(super) fn sweep(
        &mut self,
        cursor: u64,
        count: usize,
        is_there: impl Fn(u64) -> bool,
    ) -> u64 {
        let mut stale = Vec::new();
        let next = self.table.scan(cursor, count, |cached| {
            if !cached.readers.ids().iter().all(|&id| is_there(id)) {
                stale.push(cached.key.clone());
            }
        });
        for key in stale {
            let Some(readers) = self.remove(&key) else {
                continue;
            };
            if let Some(readers) = readers.keep(&is_there) {
                let cached = Cached { key, readers };
                self.heap += cached.heap_size();
                self.items += cached.readers.ids().len();
                self.table.insert(cached);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Read(u8, u64),
        Change(u8),
        Leave(u64),
        Sweep(usize),
        Flush,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            20 => (0..200u8, 0..6u64).prop_map(|(key, id)| Op::Read(key, id)),
            6 => (0..200u8).prop_map(Op::Change),
            1 => (0..6u64).prop_map(Op::Leave),
            2 => (1..40usize).prop_map(Op::Sweep),
            1 => Just(Op::Flush),
        ]
    }

    /// Long ones, so that some are on the heap.
    fn key(n: u8) -> Vec<u8> {
        format!("key:{n}:{}", "x".repeat(usize::from(n % 32))).into_bytes()
    }

    type Model = BTreeMap<Vec<u8>, BTreeSet<u64>>;

    fn agree(cached: &CachedKeys, model: &Model) {
        assert_eq!(cached.len(), model.len());
        let items: usize = model.values().map(BTreeSet::len).sum();
        assert_eq!(cached.items(), items);
        let mut heap = 0;
        for entry in cached.table.iter() {
            let readers = model.get(entry.key()).unwrap();
            assert!(entry.readers.ids().iter().eq(readers), "in order");
            heap += entry.heap_size();
        }
        assert_eq!(cached.heap, heap);
    }

    proptest! {
        #[test]
        fn who_read_a_key_is_known_until_it_changes_or_they_leave(ops in prop::collection::vec(op(), 1..400)) {
            let mut cached = CachedKeys::new(Seed::random(|| 5));
            let mut model = Model::new();
            // A client that leaves comes back under another id.
            let mut ids: Vec<u64> = (0..6).collect();
            let mut next = 6;
            let mut gone = BTreeSet::new();
            let mut cursor = 0;
            for op in ops {
                match op {
                    Op::Read(n, id) => {
                        let id = ids[usize::try_from(id).unwrap()];
                        let readers = model.entry(key(n)).or_default();
                        let is_new = readers.is_empty();
                        readers.insert(id);
                        prop_assert_eq!(cached.add(&key(n), id), is_new);
                    }
                    Op::Change(n) => {
                        let told = cached.remove(&key(n));
                        let told = told.map(|r| r.ids().iter().copied().collect());
                        prop_assert_eq!(told, model.remove(&key(n)));
                    }
                    Op::Leave(id) => {
                        let place = usize::try_from(id).unwrap();
                        gone.insert(std::mem::replace(&mut ids[place], next));
                        next += 1;
                    }
                    Op::Sweep(count) => {
                        cursor = cached.sweep(cursor, count, |id| !gone.contains(&id));
                        // What a step has passed is known only to the table; what is left must be of the model.
                        let left: Model = cached
                            .table
                            .iter()
                            .map(|c| (c.key.to_vec(), c.readers.ids().iter().copied().collect()))
                            .collect();
                        for (key, readers) in &model {
                            let there: BTreeSet<u64> = readers.difference(&gone).copied().collect();
                            let known = left.get(key).cloned().unwrap_or_default();
                            prop_assert!(there.is_subset(&known) && known.is_subset(readers));
                        }
                        model = left;
                    }
                    Op::Flush => {
                        drop(cached.take());
                        model.clear();
                    }
                }
                agree(&cached, &model);
            }
            // A whole sweep leaves nobody who is gone.
            let mut cursor = 0;
            loop {
                cursor = cached.sweep(cursor, 7, |id| !gone.contains(&id));
                if cursor == 0 {
                    break;
                }
            }
            for readers in model.values_mut() {
                readers.retain(|id| !gone.contains(id));
            }
            model.retain(|_, readers| !readers.is_empty());
            agree(&cached, &model);
        }
    }
}
