//! Small hashes: entries one after another in a [`Pack`].
//!
//! ```text
//! entry = name value            plain
//!       | name value deadline   timed, as the pack's mark says: in unix milliseconds, 0 for none
//! ```
//!
//! Timed entries stand in the order of their deadlines, those without one behind all others, so that what is over is a
//! prefix and the next deadline is the third element.

use super::Entry;
use crate::ds::listpack::Listpack;
use crate::ds::pack::{Elements, Pack};

/// A small hash.
#[derive(Clone)]
pub struct Packed(Pack);

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter(i64::MIN)).finish()
    }
}

impl Packed {
    /// See [`Value::glance`](crate::types::Value).
    pub(in crate::types) fn glance(&self) {
        self.0.glance();
    }

    /// A hash without entries.
    pub(super) fn new() -> Self {
        Self(Pack::new())
    }

    /// The entries of a listpack, if they are whole: their names, values and, with `timed`, deadlines.
    pub(super) fn of(lp: &Listpack, timed: bool) -> Option<Self> {
        let mut packed = Self(Pack::from_listpack(lp));
        if timed {
            packed.0.mark();
        }
        // An entry that is not whole, or a deadline that is no number, ends the walk.
        let whole = packed.iter(i64::MIN).count() * packed.width() == packed.0.len();
        whole.then_some(packed)
    }

    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.0.is_marked()
    }

    /// Elements of an entry.
    #[inline]
    fn width(&self) -> usize {
        if self.is_timed() { 3 } else { 2 }
    }

    /// Bytes allocated.
    pub(super) fn heap_size(&self) -> usize {
        self.0.heap_size()
    }

    /// Number of entries, over or not.
    #[inline]
    pub(super) fn total(&self) -> usize {
        self.0.len() / self.width()
    }

    /// The entry at `pos` and the position behind it; none at the end.
    #[inline]
    pub(super) fn entry(&self, pos: usize) -> Option<(Entry<'_>, usize)> {
        let (name, pos) = self.0.step(pos)?;
        let (value, pos) = self.0.step(pos)?;
        let (deadline, pos) = if self.is_timed() {
            let (at, pos) = self.0.step(pos)?;
            (Some(at.as_int()?).filter(|at| *at != 0), pos)
        } else {
            (None, pos)
        };
        let entry = Entry {
            name,
            value,
            deadline,
        };
        Some((entry, pos))
    }

    /// Position of the entry of this name.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.0.find(name, self.width())
    }

    /// Where an entry with this deadline is put in: behind all others without one, else before the first that is not
    /// earlier.
    fn place_of(&self, deadline: Option<i64>) -> usize {
        let Some(at) = deadline else {
            return self.0.end();
        };
        let mut pos = 0;
        while let Some((entry, behind)) = self.entry(pos)
            && entry.deadline.is_some_and(|other| other < at)
        {
            pos = behind;
        }
        pos
    }

    /// The first entry that is not over, and how many are.
    fn first_live(&self, now: i64) -> (usize, usize) {
        let (mut pos, mut over) = (0, 0);
        if self.is_timed() {
            while let Some((entry, behind)) = self.entry(pos)
                && entry.is_over(now)
            {
                (pos, over) = (behind, over + 1);
            }
        }
        (pos, over)
    }

    /// How many entries are over.
    pub(super) fn over(&self, now: i64) -> usize {
        self.first_live(now).1
    }

    /// The deadline of the first entry.
    #[inline]
    pub(super) fn next_deadline(&self) -> Option<i64> {
        if !self.is_timed() {
            return None;
        }
        self.entry(0)?.0.deadline
    }

    /// Whether every entry is over.
    pub(super) fn is_over(&self, now: i64) -> bool {
        !self.0.is_empty() && self.first_live(now).0 == self.0.end()
    }

    /// The entries that are not over.
    pub(super) fn iter(&self, now: i64) -> Iter<'_> {
        Iter {
            packed: self,
            pos: self.first_live(now).0,
        }
    }

    /// Adds an entry.
    fn add(&mut self, name: &[u8], value: &[u8], deadline: Option<i64>) {
        let place = self.place_of(deadline);
        let mut new = Elements::new();
        new.push(name);
        new.push(value);
        if self.is_timed() {
            new.push_int(deadline.unwrap_or(0));
        }
        self.0.splice(place..place, 0, &new);
    }

    /// Removes the entry at `pos`.
    pub(super) fn remove(&mut self, pos: usize) {
        let width = self.width();
        if let Some(behind) = self.0.skip(pos, width) {
            self.0.remove(pos..behind, width);
        }
    }

    /// Sets an entry, which keeps its deadline only with `keep`; whether there was none of the name.
    pub(super) fn store(&mut self, name: &[u8], value: &[u8], keep: bool) -> bool {
        let Some(pos) = self.find(name) else {
            self.add(name, value, None);
            return true;
        };
        let deadline = self.entry(pos).and_then(|(entry, _)| entry.deadline);
        if deadline.is_some() && !keep {
            self.remove(pos);
            self.add(name, value, None);
        } else if let Some(from) = self.0.skip(pos, 1)
            && let Some(to) = self.0.skip(from, 1)
        {
            let mut new = Elements::new();
            new.push(value);
            self.0.splice(from..to, 1, &new);
        }
        false
    }

    /// Gives an entry another deadline, or none; whether there is such an entry. The hash is a timed one.
    pub(super) fn set_deadline(&mut self, name: &[u8], deadline: Option<i64>) -> bool {
        let found = self
            .find(name)
            .and_then(|pos| Some((pos, self.entry(pos)?.0)));
        let Some((pos, entry)) = found else {
            return false;
        };
        if entry.deadline != deadline {
            let value = entry.value.to_vec();
            self.remove(pos);
            self.add(name, &value, deadline);
        }
        true
    }

    /// Removes up to `most` entries that are over and tells their names; returns how many.
    pub(super) fn expire(&mut self, now: i64, most: usize, mut tell: impl FnMut(&[u8])) -> usize {
        let mut buffer = itoa::Buffer::new();
        let (mut pos, mut n) = (0, 0);
        while n < most
            && let Some((entry, behind)) = self.entry(pos)
            && entry.is_over(now)
        {
            tell(entry.name.bytes(&mut buffer));
            (pos, n) = (behind, n + 1);
        }
        if n > 0 {
            self.0.remove(0..pos, n * self.width());
        }
        n
    }

    /// Makes room for deadlines.
    pub(super) fn allow_deadlines(&mut self) {
        if self.is_timed() {
            return;
        }
        let mut all = Elements::new();
        for entry in self.iter(i64::MIN) {
            all.push_value(entry.name);
            all.push_value(entry.value);
            all.push_int(0);
        }
        self.0 = Pack::of(&all);
        self.0.mark();
    }
}

/// Entries from some position on.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    packed: &'a Packed,
    pos: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let (entry, behind) = self.packed.entry(self.pos)?;
        self.pos = behind;
        Some(entry)
    }
}

#[cfg(test)]
impl Packed {
    /// [`Packed::heap_size`], counted anew.
    pub(super) fn recounted(&self) -> usize {
        let mut all = Elements::new();
        for entry in self.iter(i64::MIN) {
            all.push_value(entry.name);
            all.push_value(entry.value);
            if self.is_timed() {
                all.push_int(entry.deadline.unwrap_or(0));
            }
        }
        Pack::of(&all).heap_size()
    }
}
