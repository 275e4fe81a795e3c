//! The members of a big set: a hash table of short strings.

use crate::ds::bytes::SmallBytes;
use crate::ds::table::{Keyed, Seed, Slot, Stats, Table};
use crate::util::rng::Rng;

/// One member: all there is of it is its key.
#[derive(Debug, Clone)]
struct Member(SmallBytes);

impl Keyed for Member {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

/// Distinct strings in a hash table.
#[derive(Debug, Clone)]
pub struct Members {
    table: Table<Member>,
    /// Heap bytes of the members themselves.
    heap: usize,
}

impl Members {
    /// How the hash table is filled.
    pub(in crate::types) fn table_stats(&self) -> Stats {
        self.table.stats()
    }

    /// None yet.
    pub fn new(seed: Seed) -> Members {
        Members {
            table: Table::new(seed),
            heap: 0,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes on the heap, in O(1).
    pub fn memory(&self) -> usize {
        self.table.memory() + self.heap
    }

    /// Each once, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.table.iter().map(Keyed::key)
    }

    /// See [`Value::glance_at`](crate::types::Value).
    #[inline]
    pub(in crate::types) fn glance(&self, member: &[u8], deeper: bool) {
        self.table.glance_at(member, deeper);
    }

    /// Whether there is such a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.table.contains(member)
    }

    /// Adds a member; returns whether it was not in yet.
    #[inline]
    pub fn add(&mut self, member: &[u8]) -> bool {
        let hash = self.table.hash(member);
        match self.table.slot(hash, member) {
            Slot::Occupied(_) => false,
            Slot::Vacant(place) => {
                self.heap += place.insert(Member(member.into())).0.heap_size();
                true
            }
        }
    }

    /// Removes a member; returns whether it was in.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let Some(Member(gone)) = self.table.remove(member) else {
            return false;
        };
        self.heap -= gone.heap_size();
        true
    }

    /// One drawn at random, each with the same chance.
    pub fn random(&self, rng: &mut Rng) -> Option<&[u8]> {
        self.table.random(|| rng.next_u64()).map(Keyed::key)
    }

    /// Takes out one drawn at random.
    pub fn pop(&mut self, rng: &mut Rng) -> Option<SmallBytes> {
        let Member(drawn) = self.table.random(|| rng.next_u64())?.clone();
        self.remove(&drawn);
        Some(drawn)
    }

    /// A step of a walk, see [`Table::scan`].
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8])) -> u64 {
        self.table.scan(cursor, count, |member| visit(&member.0))
    }
}

#[cfg(test)]
impl Members {
    /// Bytes of the table alone.
    pub(super) fn memory_of_table(&self) -> usize {
        self.table.memory()
    }
}
