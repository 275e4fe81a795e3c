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
