//! Hashes: fields with values, some of them with a time to live of their own.
//!
//! A small hash is one run of bytes, to the outside a listpack (see `packed.rs`); a large one is a table (see
//! `fields.rs`). It grows from one to the other by [`Limits`] and never back. A field is over once its deadline has
//! passed. Readers are given the time and do not see what is over; [`Hash::expire`] removes it.

mod draw;
mod fields;
mod packed;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

pub use fields::Fields;
pub use packed::Packed;

use super::DataType;
use crate::ds::listpack::{Listpack, MAX_BYTES, Value};
use crate::ds::slim::SlimBox;
use crate::ds::table::Seed;

/// A hash. Its fields have an order of no meaning.
#[derive(Clone, Debug)]
pub enum Hash {
    /// `listpack` or, with room for deadlines, `listpackex`.
    Packed(Packed),
    /// `hashtable`.
    Table(SlimBox<Fields>),
}

const _: () = assert!(size_of::<Hash>() == 12 && align_of::<Hash>() == 4);

/// When a hash becomes a table, and which.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most fields of a listpack.
    pub entries: usize,
    /// Most bytes of a name or value in it.
    pub value: usize,
    /// The seed of the table.
    pub seed: Seed,
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: Value<'a>,
    /// Its value.
    pub value: Value<'a>,
    /// When it is over, in unix milliseconds.
    pub deadline: Option<i64>,
}

impl Entry<'_> {
    fn is_over(&self, now: i64) -> bool {
        self.deadline.is_some_and(|at| now > at)
    }
}

/// The kind of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repr {
    /// A listpack of names and values.
    Packed,
    /// A listpack of names, values and deadlines.
    Timed,
    /// A table.
    Table,
}

/// A listpack that is not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid hash")]
pub struct Corrupt;

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// A hash without fields.
    #[must_use]
    pub fn new() -> Self {
        Self::Packed(Packed::new())
    }

    /// A hash without fields that is a table from the start.
    #[must_use]
    pub fn new_table(limits: Limits) -> Self {
        Self::Table(SlimBox::new(Fields::new(limits.seed)))
    }

    /// A hash that is this listpack of names and values.
    ///
    /// # Errors
    /// [`Corrupt`] if a name has no value, or is there twice.
    pub fn from_packed(lp: &Listpack) -> Result<Self, Corrupt> {
        let packed = Packed::of(lp, false).filter(names_differ);
        packed.map(Self::Packed).ok_or(Corrupt)
    }

    /// A hash that is this listpack of names, values and deadlines.
    ///
    /// # Errors
    /// [`Corrupt`] if an entry is not whole, a name is there twice, or deadlines are negative or out of order.
    pub fn from_timed(lp: &Listpack) -> Result<Self, Corrupt> {
        let packed = Packed::of(lp, true).filter(names_differ).ok_or(Corrupt)?;
        let mut last = 0;
        let in_order = packed.iter(i64::MIN).all(|entry| {
            let at = entry.deadline.unwrap_or(i64::MAX);
            at >= std::mem::replace(&mut last, at)
        });
        if in_order {
            Ok(Self::Packed(packed))
        } else {
            Err(Corrupt)
        }
    }

    /// All fields as Redis has them in a listpack, those that are over included: names, values and, with `timed`,
    /// deadlines in unix milliseconds, 0 for none.
    #[must_use]
    pub fn to_listpack(&self, timed: bool) -> Listpack {
        let mut lp = Listpack::with_capacity(self.heap_size() + 3 * self.total());
        let mut buffers = [itoa::Buffer::new(), itoa::Buffer::new()];
        let [first, second] = &mut buffers;
        lp.append(|end| {
            for entry in self.iter(i64::MIN) {
                end.push(entry.name.bytes(first));
                end.push(entry.value.bytes(second));
                if timed {
                    end.push_int(entry.deadline.unwrap_or(0));
                }
            }
        });
        lp
    }

    /// Becomes a table if it is a listpack of too many fields.
    pub fn fit(&mut self, limits: Limits) {
        if self.total() > limits.entries {
            self.become_table(limits.seed);
        }
    }

    /// Its kind.
    #[must_use]
    pub fn repr(&self) -> Repr {
        match self {
            Self::Packed(packed) if packed.is_timed() => Repr::Timed,
            Self::Packed(_) => Repr::Packed,
            Self::Table(_) => Repr::Table,
        }
    }

    /// Number of fields, those that are over included.
    #[must_use]
    pub fn total(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.total(),
            Self::Table(fields) => fields.total(),
        }
    }

    /// Number of fields that are over and not yet removed.
    fn over(&self, now: i64) -> usize {
        match self {
            Self::Packed(packed) => packed.over(now),
            Self::Table(fields) => fields.over(now),
        }
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self, now: i64) -> usize {
        self.total() - self.over(now)
    }

    /// The field of this name.
    #[inline]
    #[must_use]
    pub fn entry(&self, name: &[u8], now: i64) -> Option<Entry<'_>> {
        let entry = match self {
            Self::Packed(packed) => packed.entry(packed.find(name)?)?.0,
            Self::Table(fields) => fields.get(name)?,
        };
        (!entry.is_over(now)).then_some(entry)
    }

    /// The value of a field.
    #[inline]
    #[must_use]
    pub fn get(&self, name: &[u8], now: i64) -> Option<Value<'_>> {
        self.entry(name, now).map(|entry| entry.value)
    }

    /// All fields.
    pub fn iter(&self, now: i64) -> impl Iterator<Item = Entry<'_>> {
        let (packed, fields) = match self {
            Self::Packed(packed) => (Some(packed.iter(now)), None),
            Self::Table(fields) => (None, Some(fields.iter().filter(move |e| !e.is_over(now)))),
        };
        packed
            .into_iter()
            .flatten()
            .chain(fields.into_iter().flatten())
    }

    /// One step of a walk over all fields: visits some and returns where to go on, 0 at the end. A listpack is
    /// visited at once, whatever the cursor; for a table see [`Table::scan`](crate::ds::table::Table::scan).
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        now: i64,
        mut visit: impl FnMut(Entry<'a>),
    ) -> u64 {
        match self {
            Self::Packed(packed) => {
                packed.iter(now).for_each(visit);
                0
            }
            Self::Table(fields) => fields.scan(cursor, count, |entry| {
                if !entry.is_over(now) {
                    visit(entry);
                }
            }),
        }
    }

    /// Makes ready for fields to be set, their names and values given in turn: as Redis, becomes a table at once if
    /// there are too many, or one is too long.
    pub fn prepare<'a>(&mut self, words: impl ExactSizeIterator<Item = &'a [u8]>, limits: Limits) {
        let Self::Packed(packed) = &*self else {
            return;
        };
        let mut fits = words.len() / 2 <= limits.entries;
        let mut bytes = packed.heap_size();
        for word in words {
            fits &= word.len() <= limits.value;
            bytes = bytes.saturating_add(word.len());
        }
        if !fits || bytes > MAX_BYTES {
            self.become_table(limits.seed);
        }
    }

    /// Sets a field, which then has no deadline; whether there was none of the name.
    pub fn set(&mut self, name: &[u8], value: &[u8], limits: Limits) -> bool {
        self.store(name, value, false, limits)
    }

    /// Sets a field, which keeps its deadline; whether there was none of the name.
    pub fn update(&mut self, name: &[u8], value: &[u8], limits: Limits) -> bool {
        self.store(name, value, true, limits)
    }

    fn store(&mut self, name: &[u8], value: &[u8], keep: bool, limits: Limits) -> bool {
        if name.len() > limits.value || value.len() > limits.value {
            self.become_table(limits.seed);
        }
        let created = match self {
            Self::Table(fields) => return fields.set(name, value, keep),
            Self::Packed(packed) => packed.store(name, value, keep),
        };
        self.fit(limits);
        created
    }

    /// Removes a field; whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match self {
            Self::Table(fields) => fields.remove(name),
            Self::Packed(packed) => match packed.find(name) {
                Some(pos) => {
                    packed.remove(pos);
                    true
                }
                None => false,
            },
        }
    }

    /// Makes room for deadlines. A listpack changes its kind, even if no deadline follows.
    pub fn allow_deadlines(&mut self) {
        if let Self::Packed(packed) = self {
            packed.allow_deadlines();
        }
    }

    /// Gives a field another deadline, in unix milliseconds and later than 0, or none; whether there is such a field.
    pub fn set_deadline(&mut self, name: &[u8], deadline: Option<i64>) -> bool {
        debug_assert!(deadline.is_none_or(|at| at > 0));
        self.allow_deadlines();
        match self {
            Self::Packed(packed) => packed.set_deadline(name, deadline),
            Self::Table(fields) => fields.set_deadline(name, deadline),
        }
    }

    /// The earliest deadline of all fields.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<i64> {
        match self {
            Self::Packed(packed) => packed.next_deadline(),
            Self::Table(fields) => fields.next_deadline(),
        }
    }

    /// Whether all fields are over, so that there is no hash any more.
    #[must_use]
    pub fn is_over(&self, now: i64) -> bool {
        match self {
            Self::Packed(packed) => packed.is_over(now),
            Self::Table(fields) => fields.is_over(now),
        }
    }

    /// Removes up to `most` fields that are over and tells their names; returns how many.
    pub fn expire(&mut self, now: i64, most: usize, tell: impl FnMut(&[u8])) -> usize {
        match self {
            Self::Packed(packed) => packed.expire(now, most, tell),
            Self::Table(fields) => fields.expire(now, most, tell),
        }
    }

    fn become_table(&mut self, seed: Seed) {
        let Self::Packed(packed) = &*self else {
            return;
        };
        let mut fields = Fields::new(seed);
        let mut buffers = [itoa::Buffer::new(), itoa::Buffer::new()];
        let [first, second] = &mut buffers;
        for entry in packed.iter(i64::MIN) {
            let name = entry.name.bytes(first);
            fields.set(name, entry.value.bytes(second), false);
            if entry.deadline.is_some() {
                fields.set_deadline(name, entry.deadline);
            }
        }
        *self = Self::Table(SlimBox::new(fields));
    }
}

fn names_differ(packed: &Packed) -> bool {
    let mut seen = HashSet::with_capacity(packed.total());
    packed
        .iter(i64::MIN)
        .all(|entry| seen.insert(entry.name.to_vec()))
}

impl DataType for Hash {
    const NAME: &'static str = "hash";

    fn of(value: &super::Value) -> Option<&Self> {
        match value {
            super::Value::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    fn of_mut(value: &mut super::Value) -> Option<&mut Self> {
        match value {
            super::Value::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    fn into_value(self) -> super::Value {
        super::Value::Hash(self)
    }

    fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(packed) if packed.is_timed() => "listpackex",
            Self::Packed(_) => "listpack",
            Self::Table(_) => "hashtable",
        }
    }

    fn heap_size(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.heap_size(),
            Self::Table(fields) => fields.heap_size(),
        }
    }

    fn is_vanished(&self) -> bool {
        self.total() == 0
    }

    fn next_deadline(&self) -> Option<i64> {
        self.next_deadline()
    }
}
