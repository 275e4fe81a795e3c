//! Large hashes: fields in a hash table, and their deadlines in order.

use super::Entry;
use crate::ds::bytes::{Small, SmallBytes};
use crate::ds::deadlines::Deadlines;
use crate::ds::listpack::Value;
use crate::ds::slim::SlimBox;
use crate::ds::table::{Keyed, Seed, Slot, Stats, Table};
use crate::util::heap;

/// Fields in a hash table.
///
/// Invariants:
/// 1. `heap` is the sum of what the fields have allocated.
/// 2. `deadlines` has (deadline, hash of the name) for each field with a deadline. Two fields that share both, which
///    64-bit hashes do not come to in practice, would share the item: the second is then over only when looked at.
#[derive(Clone, Debug)]
pub struct Fields {
    table: Table<Field>,
    deadlines: Deadlines,
    heap: usize,
}

/// One field.
#[derive(Clone, Debug)]
struct Field {
    name: SmallBytes,
    content: Content,
}

/// A value. As many bytes stand in place as the rest of a field of 40 has room for: an allocator has a size for a chunk of
/// those, and none between that and 48.
type Text = Small<15>;

/// The value of a field. Those with a deadline pay for it with an allocation, the others with nothing.
#[derive(Clone, Debug)]
enum Content {
    Plain(Text),
    Timed(SlimBox<(Text, i64)>),
}

const _: () = assert!(size_of::<Field>() == 40);

impl Keyed for Field {
    fn key(&self) -> &[u8] {
        &self.name
    }
}

impl Content {
    fn new(value: Text, deadline: Option<i64>) -> Self {
        match deadline {
            None => Self::Plain(value),
            Some(at) => Self::Timed(SlimBox::new((value, at))),
        }
    }

    fn value(&self) -> &Text {
        match self {
            Self::Plain(value) => value,
            Self::Timed(timed) => &timed.0,
        }
    }

    fn value_mut(&mut self) -> &mut Text {
        match self {
            Self::Plain(value) => value,
            Self::Timed(timed) => &mut timed.0,
        }
    }

    fn heap_size(&self) -> usize {
        match self {
            Self::Plain(value) => value.heap_size(),
            Self::Timed(timed) => heap::rounded(size_of::<(Text, i64)>()) + timed.0.heap_size(),
        }
    }
}

impl Field {
    fn deadline(&self) -> Option<i64> {
        match &self.content {
            Content::Plain(_) => None,
            Content::Timed(timed) => Some(timed.1),
        }
    }

    fn entry(&self) -> Entry<'_> {
        Entry {
            name: Value::Str(&self.name),
            value: Value::Str(self.content.value()),
            deadline: self.deadline(),
        }
    }

    fn heap_size(&self) -> usize {
        self.name.heap_size() + self.content.heap_size()
    }

    fn set_deadline(&mut self, deadline: Option<i64>) {
        match (&mut self.content, deadline) {
            (Content::Timed(timed), Some(at)) => timed.1 = at,
            (content, deadline) => {
                let value = std::mem::take(content.value_mut());
                *content = Content::new(value, deadline);
            }
        }
    }
}

impl Fields {
    /// See [`Value::glance_at`](crate::types::Value).
    #[inline]
    pub(in crate::types) fn glance(&self, name: &[u8], deeper: bool) {
        self.table.glance_at(name, deeper);
    }

    /// How the hash table is filled.
    pub(in crate::types) fn table_stats(&self) -> Stats {
        self.table.stats()
    }

    pub(super) fn new(seed: Seed) -> Self {
        Self {
            table: Table::new(seed),
            deadlines: Deadlines::new(),
            heap: 0,
        }
    }

    /// Number of fields, over or not.
    pub(super) fn total(&self) -> usize {
        self.table.len()
    }

    /// How many fields are over.
    pub(super) fn over(&self, now: i64) -> usize {
        match self.next_deadline() {
            Some(at) if now > at => self.deadlines.before(now),
            _ => 0,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    pub(super) fn is_over(&self, now: i64) -> bool {
        self.deadlines.last().is_some_and(|(at, _)| now > at)
            && self.deadlines.len() == self.table.len()
    }

    /// The field of this name, over or not.
    pub(super) fn get(&self, name: &[u8]) -> Option<Entry<'_>> {
        self.table.get(name).map(Field::entry)
    }

    /// Sets the value of a field, and with `keep` leaves its deadline; whether there was none of the name.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8], keep: bool) -> bool {
        let hash = self.table.hash(name);
        let value = Text::from(value);
        match self.table.slot(hash, name) {
            Slot::Occupied(found) => {
                let field = found.into_mut();
                let before = field.heap_size();
                *field.content.value_mut() = value;
                if let Some(at) = field.deadline().filter(|_| !keep) {
                    field.set_deadline(None);
                    self.deadlines.remove((at, hash));
                }
                self.heap = self.heap + field.heap_size() - before;
                false
            }
            Slot::Vacant(place) => {
                let field = Field {
                    name: name.into(),
                    content: Content::Plain(value),
                };
                self.heap += field.heap_size();
                place.insert(field);
                true
            }
        }
    }

    /// Gives a field another deadline, or none; whether there is such a field.
    pub(super) fn set_deadline(&mut self, name: &[u8], deadline: Option<i64>) -> bool {
        let hash = self.table.hash(name);
        let Some(field) = self.table.get_mut_hashed(hash, name) else {
            return false;
        };
        let (before, was) = (field.heap_size(), field.deadline());
        if was != deadline {
            field.set_deadline(deadline);
            self.heap = self.heap + field.heap_size() - before;
            if let Some(at) = was {
                self.deadlines.remove((at, hash));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, hash));
            }
        }
        true
    }

    /// Removes a field; whether there was one.
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let hash = self.table.hash(name);
        let Some(field) = self.table.remove_hashed(hash, name) else {
            return false;
        };
        self.heap -= field.heap_size();
        if let Some(at) = field.deadline() {
            self.deadlines.remove((at, hash));
        }
        true
    }

    /// Removes up to `most` fields that are over, the earliest first, and tells their names; returns how many.
    pub(super) fn expire(&mut self, now: i64, most: usize, mut tell: impl FnMut(&[u8])) -> usize {
        let mut n = 0;
        while n < most
            && let Some(&(at, hash)) = self.deadlines.first()
            && now > at
        {
            self.deadlines.pop_first();
            let due = |field: &Field| field.deadline() == Some(at);
            let name = self.table.find_of_hash(hash, due).map(|f| f.name.clone());
            if let Some(field) = name.and_then(|name| self.table.remove_hashed(hash, &name)) {
                self.heap -= field.heap_size();
                tell(&field.name);
                n += 1;
            }
        }
        n
    }

    /// All fields, over or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.table.iter().map(Field::entry)
    }

    /// One step of a walk, see [`Table::scan`].
    pub(super) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(Entry<'a>),
    ) -> u64 {
        self.table.scan(cursor, count, |field| visit(field.entry()))
    }

    /// A field drawn at random, over or not.
    pub(super) fn random(&self, rng: impl FnMut() -> u64) -> Option<Entry<'_>> {
        self.table.random(rng).map(Field::entry)
    }

    pub(super) fn heap_size(&self) -> usize {
        size_of::<Self>() + self.table.memory() + self.heap + self.deadlines.heap_size()
    }
}

#[cfg(test)]
impl Fields {
    /// [`Fields::heap_size`], counted anew.
    pub(super) fn recounted(&self) -> usize {
        let heap: usize = self.table.iter().map(Field::heap_size).sum();
        let timed = self.table.iter().filter(|f| f.deadline().is_some()).count();
        assert_eq!(timed, self.deadlines.len());
        size_of::<Self>() + self.table.memory() + heap + self.deadlines.heap_size()
    }
}
