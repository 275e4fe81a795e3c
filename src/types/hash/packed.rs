//! Small hashes: entries one after another in a listpack.
//!
//! Plain, an entry is a name and a value. Timed, it is a name, a value and a deadline in unix milliseconds, 0 for
//! none; entries stand in the order of their deadlines, those without one behind all others. So what is over is a
//! prefix, and the next deadline is the third element. Both layouts are Redis's.

use super::Entry;
use crate::ds::listpack::{Listpack, Value};
use crate::util::num::parse_i64;

/// Entries in a listpack, to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'a> {
    lp: &'a Listpack,
    timed: bool,
}

impl<'a> Packed<'a> {
    pub(super) fn plain(lp: &'a Listpack) -> Self {
        Self { lp, timed: false }
    }

    pub(super) fn timed(lp: &'a Listpack) -> Self {
        Self { lp, timed: true }
    }

    /// Elements of an entry.
    fn width(self) -> usize {
        if self.timed { 3 } else { 2 }
    }

    /// Number of entries, over or not.
    pub(super) fn total(self) -> usize {
        self.lp.len() / self.width()
    }

    /// Position of the entry of this name.
    pub(super) fn find(self, name: &[u8]) -> Option<usize> {
        let rest = self.width() - 1;
        let number = parse_i64(name);
        let mut pos = self.lp.first()?;
        loop {
            let (element, behind) = self.lp.step(pos)?;
            let hit = match element {
                Value::Str(bytes) => bytes == name,
                Value::Int(n) => number == Some(n),
            };
            if hit {
                return Some(pos);
            }
            pos = self.lp.skip(behind, rest)?;
        }
    }

    /// The entry at `pos` and the position behind it; none at the end.
    #[inline]
    pub(super) fn entry(self, pos: usize) -> Option<(Entry<'a>, usize)> {
        let (name, pos) = self.lp.step(pos)?;
        let (value, pos) = self.lp.step(pos)?;
        let (deadline, pos) = if self.timed {
            let (at, pos) = self.lp.step_int(pos)?;
            ((at != 0).then_some(at), pos)
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

    /// The first entry that is not over, and how many are.
    fn first_live(self, now: i64) -> (usize, usize) {
        let (mut pos, mut over) = (self.lp.first().unwrap_or(self.lp.end()), 0);
        if self.timed {
            while let Some((entry, behind)) = self.entry(pos)
                && entry.is_over(now)
            {
                (pos, over) = (behind, over + 1);
            }
        }
        (pos, over)
    }

    /// How many entries are over.
    pub(super) fn over(self, now: i64) -> usize {
        self.first_live(now).1
    }

    /// The deadline of the first entry.
    pub(super) fn next_deadline(self) -> Option<i64> {
        if !self.timed {
            return None;
        }
        self.entry(self.lp.first()?)?.0.deadline
    }

    /// Whether every entry is over.
    pub(super) fn is_over(self, now: i64) -> bool {
        self.timed
            && self.lp.last().is_some_and(|pos| {
                let last = self.lp.step_int(pos);
                last.is_some_and(|(at, _)| at != 0 && now > at)
            })
    }

    /// The entries that are not over.
    pub(super) fn iter(self, now: i64) -> Iter<'a> {
        let pos = self.first_live(now).0;
        Iter { packed: self, pos }
    }
}

/// The entries of a listpack from some position on.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    packed: Packed<'a>,
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

/// Room that strings of this length take at most, with what frames them.
fn room(len: usize) -> usize {
    match len {
        0..=63 => len + 2,
        64..=4090 => len + 4,
        _ => len + 10,
    }
}

/// Room for a deadline.
const DEADLINE: usize = 10;

/// Sets the value of the entry at `pos`, which is there.
pub(super) fn set_value(lp: &mut Listpack, pos: usize, value: &[u8]) {
    if let Some((_, pos)) = lp.step(pos) {
        lp.reserve(room(value.len()));
        lp.replace(pos, value);
    }
}

/// Adds a plain entry.
pub(super) fn add(lp: &mut Listpack, name: &[u8], value: &[u8]) {
    lp.reserve(room(name.len()) + room(value.len()));
    lp.append(|end| {
        end.push(name);
        end.push(value);
    });
}

/// Adds a timed entry at the place of its deadline: before the first that is not earlier.
pub(super) fn add_timed(lp: &mut Listpack, name: &[u8], value: &[u8], deadline: Option<i64>) {
    lp.reserve(room(name.len()) + room(value.len()) + DEADLINE);
    let Some(at) = deadline else {
        lp.append(|end| {
            end.push(name);
            end.push(value);
            end.push_int(0);
        });
        return;
    };
    let mut pos = lp.first().unwrap_or(lp.end());
    while let Some((entry, behind)) = Packed::timed(lp).entry(pos)
        && entry.deadline.is_some_and(|other| other < at)
    {
        pos = behind;
    }
    // Each goes before what was put there before.
    let mut digits = itoa::Buffer::new();
    lp.insert(pos, digits.format(at).as_bytes());
    lp.insert(pos, value);
    lp.insert(pos, name);
}

/// Removes the entry at `pos` of so many elements.
pub(super) fn remove(lp: &mut Listpack, pos: usize, width: usize) {
    lp.remove(pos, width);
    if lp.byte_len() * 2 < lp.capacity() {
        lp.shrink();
    }
}

/// Removes up to `most` entries that are over and tells their names; returns how many.
pub(super) fn expire(
    lp: &mut Listpack,
    now: i64,
    most: usize,
    mut tell: impl FnMut(&[u8]),
) -> usize {
    let mut buffer = itoa::Buffer::new();
    let (mut pos, mut n) = (lp.first().unwrap_or(lp.end()), 0);
    let start = pos;
    while n < most
        && let Some((entry, behind)) = Packed::timed(lp).entry(pos)
        && entry.is_over(now)
    {
        tell(entry.name.bytes(&mut buffer));
        (pos, n) = (behind, n + 1);
    }
    remove(lp, start, 3 * n);
    n
}

/// The same entries with room for deadlines.
pub(super) fn to_timed(lp: &Listpack) -> Listpack {
    // Without a deadline there is a 0, of two bytes.
    let mut timed = Listpack::with_capacity(lp.byte_len() + lp.len());
    let mut buffers = [itoa::Buffer::new(), itoa::Buffer::new()];
    let [first, second] = &mut buffers;
    timed.append(|end| {
        for entry in Packed::plain(lp).iter(0) {
            end.push(entry.name.bytes(first));
            end.push(entry.value.bytes(second));
            end.push_int(0);
        }
    });
    timed
}
