//! Big sorted sets: members in an arena, their ids in a hash table and, with their scores, in an ordered tree.

use std::ops::Range;

use super::Change;
use super::range::{LexRange, ScoreRange};
use crate::ds::listpack::Value;
use crate::ds::ordered::{self, After, Arena, At, Entry, Ordered};
use crate::ds::table::{Seed, Slot, Stats, Table};
use crate::util::prefetch::fetch;

/// Members under ids.
///
/// Invariants:
/// 1. `table` and `order` hold the same ids, and `members` holds nothing else.
/// 2. `order` has for each id the score that `members` has.
#[derive(Clone, Debug)]
pub struct Big {
    table: Table<u32>,
    members: Arena,
    order: Ordered,
}

/// The point before a member, or right after it.
macro_rules! point {
    (before $score:expr, $member:expr, in $members:expr) => {
        At {
            score: $score,
            tie: |id| $members.get(id) < $member,
        }
    };
    (after $score:expr, $id:expr, $member:expr, in $members:expr) => {
        After {
            entry: Entry {
                score: $score,
                id: $id,
            },
            tie: |id| $members.get(id) <= $member,
        }
    };
}

impl Big {
    /// See [`Value::glance_at`](crate::types::Value).
    #[inline]
    pub(in crate::types) fn glance(&self, member: &[u8], deeper: bool) {
        let hash = self.table.hash(member);
        match deeper {
            false => self.table.glance(hash),
            true => {
                if let Some(&id) = self.table.find_by_hash(hash, |_| true) {
                    fetch(self.members.get(id));
                }
            }
        }
    }

    /// How the hash table is filled.
    pub(in crate::types) fn table_stats(&self) -> Stats {
        self.table.stats()
    }

    pub(super) fn new(seed: Seed) -> Self {
        Self {
            table: Table::new(seed),
            members: Arena::new(),
            order: Ordered::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn heap_size(&self) -> usize {
        size_of::<Self>() + self.table.memory() + self.members.heap_size() + self.order.heap_size()
    }

    fn id(&self, member: &[u8]) -> Option<u32> {
        let hash = self.table.hash(member);
        let is = |id: &u32| self.members.get(*id) == member;
        self.table.find_by_hash(hash, is).copied()
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.id(member).map(|id| self.members.score(id))
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let id = self.id(member)?;
        let score = self.members.score(id);
        let point = At {
            score,
            tie: |other| other != id && self.members.get(other) < member,
        };
        Some((self.order.rank(point), score))
    }

    /// Changes the score of a member, or adds it, as `decide` says.
    pub(super) fn update(
        &mut self,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Change {
        let Self {
            table,
            members,
            order,
        } = self;
        let (hash, seed) = (table.hash(member), table.seed());
        match table.slot_where(hash, |id| members.get(*id) == member) {
            Slot::Occupied(found) => {
                let id = *found.get();
                let old = members.score(id);
                let Some(score) = decide(Some(old)).filter(|score| *score != old) else {
                    return Change::None;
                };
                let there = point!(after old, id, member, in members);
                let here = point!(before score, member, in members);
                if !order.rescore(there, score, here) {
                    order.remove(point!(after old, id, member, in members));
                    let entry = Entry { score, id };
                    order.insert(entry, point!(before score, member, in members));
                }
                members.set_score(id, score);
                Change::Updated
            }
            Slot::Vacant(place) => {
                let Some(score) = decide(None) else {
                    return Change::None;
                };
                let Some(id) = members.insert(score, member) else {
                    return Change::None;
                };
                place.insert_with(id, |id| seed.hash(members.get(*id)));
                let entry = Entry { score, id };
                order.insert(entry, point!(before score, member, in members));
                self.compact();
                Change::Added
            }
        }
    }

    /// Appends a member that is not there and comes after all others.
    pub(super) fn push(&mut self, member: &[u8], score: f64) {
        let (hash, seed) = (self.table.hash(member), self.table.seed());
        let Some(id) = self.members.insert(score, member) else {
            return;
        };
        if let Slot::Vacant(place) = self.table.slot_where(hash, |_| false) {
            place.insert_with(id, |id| seed.hash(self.members.get(*id)));
        }
        self.order.insert(Entry { score, id }, |_: Entry| true);
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let Self {
            table,
            members,
            order,
        } = self;
        let hash = table.hash(member);
        let found = table.slot_where(hash, |id| members.get(*id) == member);
        let Slot::Occupied(found) = found else {
            return None;
        };
        let seed = found.seed();
        let id = found.remove_with(|id| seed.hash(members.get(*id)));
        let score = members.score(id);
        order.remove(point!(after score, id, member, in members));
        members.remove(id);
        self.compact();
        Some(score)
    }

    /// Removes the members of these ranks; `visit` sees them in order.
    pub(super) fn remove_ranks(&mut self, ranks: Range<usize>, mut visit: impl FnMut(&[u8], f64)) {
        let Self {
            table,
            members,
            order,
        } = self;
        let seed = table.seed();
        order.drain(ranks.start, ranks.len(), |entry| {
            let member = members.get(entry.id);
            visit(member, entry.score);
            let hash = seed.hash(member);
            if let Slot::Occupied(found) = table.slot_where(hash, |id| *id == entry.id) {
                found.remove_with(|id| seed.hash(members.get(*id)));
            }
            members.remove(entry.id);
        });
        self.compact();
    }

    /// Moves members off pages that have become half empty.
    fn compact(&mut self) {
        while let Some(ids) = self.members.take_sparse() {
            for &id in &ids {
                let Some(new) = self.members.relocate(id) else {
                    return;
                };
                let members = &self.members;
                let (member, score) = (members.get(id), members.score(id));
                let hash = self.table.hash(member);
                if let Slot::Occupied(found) = self.table.slot_where(hash, |other| *other == id) {
                    *found.into_mut() = new;
                }
                let point = point!(after score, id, member, in members);
                self.order.rename(point, new);
            }
            if let Some(&id) = ids.first() {
                self.members.evacuated(id);
            }
        }
    }

    pub(super) fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        let before = At {
            score: range.min.score,
            tie: |_| range.min.exclusive,
        };
        let upto = At {
            score: range.max.score,
            tie: |_| !range.max.exclusive,
        };
        let start = self.order.rank(before);
        start..self.order.rank(upto).max(start)
    }

    pub(super) fn lex_ranks(&self, range: &LexRange<'_>) -> Range<usize> {
        let before = |entry: Entry| range.is_after(self.members.get(entry.id));
        let upto = |entry: Entry| range.reaches(self.members.get(entry.id));
        let start = self.order.rank(before);
        start..self.order.rank(upto).max(start)
    }

    pub(super) fn iter(&self, from: usize, count: usize) -> Iter<'_> {
        Iter {
            members: &self.members,
            order: self.order.iter(from, count),
        }
    }

    pub(super) fn iter_back(&self, from: usize, count: usize) -> Iter<'_> {
        Iter {
            members: &self.members,
            order: self.order.iter_back(from, count),
        }
    }

    pub(super) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(Value<'a>, f64),
    ) -> u64 {
        let hasher = |id: &u32| self.table.hash(self.members.get(*id));
        self.table.scan_with(cursor, count, hasher, |&id| {
            visit(Value::Str(self.members.get(id)), self.members.score(id));
        })
    }
}

/// Members with their scores in order, either way.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    members: &'a Arena,
    order: ordered::Iter<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Value<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.order.next()?;
        Some((Value::Str(self.members.get(entry.id)), entry.score))
    }
}
