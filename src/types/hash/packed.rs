//! Small hashes: entries one after another in a single run of bytes.
//!
//! ```text
//! pack    = entry*  trailer
//! entry   = name value            plain
//!         | name value deadline   timed: in unix milliseconds, 0 for none
//! trailer = u16le: number of entries, 0x7fff for "so many or more, walk"; 0x8000 if timed
//! ```
//!
//! Names, values and deadlines are elements as [`crate::ds::listpack`] encodes them, without the lengths that are
//! there for walking backwards: a listpack is made of them, byte for byte as Redis has it, when one is asked for.
//! Timed entries stand in the order of their deadlines, those without one behind all others, so that what is over is a
//! prefix and the next deadline is the third element.

use smallvec::SmallVec;

use super::Entry;
use crate::ds::listpack::{Listpack, Value, decode, put_head, put_int};
use crate::util::num::parse_i64;

/// A small hash. The bytes are as many as it needs: room is always made for exactly what comes, as an allocator leaves
/// a block that shrinks where it is.
#[derive(Clone)]
pub struct Pack(Box<[u8]>);

/// Bytes of the trailer.
const TRAILER: usize = 2;
/// The bit that says whether entries have deadlines.
const TIMED: u16 = 0x8000;
/// So many entries, or more.
const MANY: u16 = 0x7fff;

/// Elements on their way into a pack.
type Encoded = SmallVec<[u8; 128]>;

fn encode(out: &mut Encoded, element: &[u8]) {
    match parse_i64(element) {
        Some(n) => put_int(out, n),
        None => {
            put_head(out, element.len());
            out.extend_from_slice(element);
        }
    }
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter(i64::MIN)).finish()
    }
}

impl Pack {
    /// A pack without entries.
    pub(super) fn new() -> Self {
        Self(Box::new([0; TRAILER]))
    }

    /// The entries of a listpack, if they are whole: their names, values and, with `timed`, deadlines.
    pub(super) fn of(lp: &Listpack, timed: bool) -> Option<Self> {
        let width = if timed { 3 } else { 2 };
        let elements = lp.len();
        if !elements.is_multiple_of(width) {
            return None;
        }
        let mut bytes = Vec::with_capacity(lp.byte_len());
        for (pos, _) in lp {
            let (_, size) = decode(lp.as_bytes(), pos)?;
            bytes.extend_from_slice(lp.as_bytes().get(pos..pos + size)?);
        }
        let timed = if timed { TIMED } else { 0 };
        bytes.extend_from_slice(&trailer(elements / width, timed).to_le_bytes());
        let pack = Self(bytes.into_boxed_slice());
        // A deadline that is no number ends the walk.
        (pack.iter(i64::MIN).count() == elements / width).then_some(pack)
    }

    fn trailer(&self) -> u16 {
        self.0.last_chunk().map_or(0, |b| u16::from_le_bytes(*b))
    }

    pub(super) fn is_timed(&self) -> bool {
        self.trailer() & TIMED != 0
    }

    /// Where the entries end.
    #[inline]
    fn end(&self) -> usize {
        self.0.len().saturating_sub(TRAILER)
    }

    /// Bytes allocated.
    pub(super) fn heap_size(&self) -> usize {
        self.0.len()
    }

    /// Number of entries, over or not.
    pub(super) fn total(&self) -> usize {
        match self.trailer() & MANY {
            MANY => self.iter(i64::MIN).count(),
            n => usize::from(n),
        }
    }

    /// The element at `pos` and the position behind it; none at the end.
    #[inline]
    fn step(&self, pos: usize) -> Option<(Value<'_>, usize)> {
        let (value, size) = decode(self.0.get(..self.end())?, pos)?;
        Some((value, pos + size))
    }

    /// The position behind the element at `pos`.
    #[inline]
    fn skip(&self, pos: usize) -> Option<usize> {
        match *self.0.get(pos)? {
            0..=0x7F => Some(pos + 1),
            tag @ 0x80..=0xBF => Some(pos + 1 + usize::from(tag & 0x3F)),
            _ => Some(self.step(pos)?.1),
        }
    }

    /// The entry at `pos` and the position behind it; none at the end.
    #[inline]
    pub(super) fn entry(&self, pos: usize) -> Option<(Entry<'_>, usize)> {
        let (name, pos) = self.step(pos)?;
        let (value, pos) = self.step(pos)?;
        let (deadline, pos) = if self.is_timed() {
            let (at, pos) = self.step(pos)?;
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
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let (number, timed) = (parse_i64(name), self.is_timed());
        let mut pos = 0;
        loop {
            let (element, behind) = self.step(pos)?;
            let hit = match element {
                Value::Str(bytes) => bytes == name,
                Value::Int(n) => number == Some(n),
            };
            if hit {
                return Some(pos);
            }
            pos = self.skip(behind)?;
            if timed {
                pos = self.skip(pos)?;
            }
        }
    }

    /// Where an entry with this deadline is put in: behind all others without one, else before the first that is not
    /// earlier.
    fn place_of(&self, deadline: Option<i64>) -> usize {
        let Some(at) = deadline else {
            return self.end();
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
        self.end() > 0 && self.first_live(now).0 == self.end()
    }

    /// The entries that are not over.
    pub(super) fn iter(&self, now: i64) -> Iter<'_> {
        Iter {
            pack: self,
            pos: self.first_live(now).0,
        }
    }

    /// Replaces the bytes between two positions by encoded elements; `entries` is how many there are afterwards.
    fn splice(&mut self, from: usize, to: usize, new: &[u8], entries: usize) {
        let timed = self.trailer() & TIMED;
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        bytes.reserve_exact(new.len().saturating_sub(to - from));
        bytes.splice(from..to, new.iter().copied());
        if let Some(place) = bytes.last_chunk_mut() {
            *place = trailer(entries, timed).to_le_bytes();
        }
        self.0 = bytes.into_boxed_slice();
    }

    /// Adds an entry.
    fn add(&mut self, name: &[u8], value: &[u8], deadline: Option<i64>) {
        let place = self.place_of(deadline);
        let mut new = Encoded::new();
        encode(&mut new, name);
        encode(&mut new, value);
        if self.is_timed() {
            put_int(&mut new, deadline.unwrap_or(0));
        }
        self.splice(place, place, &new, self.total() + 1);
    }

    /// Removes the entry at `pos`.
    pub(super) fn remove(&mut self, pos: usize) {
        if let Some((_, behind)) = self.entry(pos) {
            self.splice(pos, behind, &[], self.total() - 1);
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
        } else if let Some(from) = self.skip(pos)
            && let Some(to) = self.skip(from)
        {
            let mut new = Encoded::new();
            encode(&mut new, value);
            self.splice(from, to, &new, self.total());
        }
        false
    }

    /// Gives an entry another deadline, or none; whether there is such an entry. The pack is a timed one.
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
            self.splice(0, pos, &[], self.total() - n);
        }
        n
    }

    /// Makes room for deadlines.
    pub(super) fn allow_deadlines(&mut self) {
        if self.is_timed() {
            return;
        }
        let mut bytes = Vec::with_capacity(self.0.len() + self.total());
        let mut pos = 0;
        while let Some((_, behind)) = self.entry(pos) {
            bytes.extend_from_slice(self.0.get(pos..behind).unwrap_or_default());
            put_int(&mut bytes, 0);
            pos = behind;
        }
        bytes.extend_from_slice(&trailer(self.total(), TIMED).to_le_bytes());
        self.0 = bytes.into_boxed_slice();
    }
}

fn trailer(entries: usize, timed: u16) -> u16 {
    u16::try_from(entries).unwrap_or(MANY).min(MANY) | timed
}

/// The entries of a pack from some position on.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    pack: &'a Pack,
    pos: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let (entry, behind) = self.pack.entry(self.pos)?;
        self.pos = behind;
        Some(entry)
    }
}

#[cfg(test)]
impl Pack {
    /// [`Pack::heap_size`], counted anew.
    pub(super) fn recounted(&self) -> usize {
        let size = |element: Value<'_>| {
            let mut out = Encoded::new();
            encode(&mut out, element.bytes(&mut itoa::Buffer::new()));
            out.len()
        };
        let deadline = |entry: Entry<'_>| match self.is_timed() {
            true => size(Value::Int(entry.deadline.unwrap_or(0))),
            false => 0,
        };
        let entries = self.iter(i64::MIN);
        let bytes = entries.map(|e| size(e.name) + size(e.value) + deadline(e));
        TRAILER + bytes.sum::<usize>()
    }
}
