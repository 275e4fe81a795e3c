//! A listpack that grows and shrinks at both ends without moving what is in it.
//!
//! ```text
//! buffer = room  listpack  room
//! ```
//!
//! The listpack is byte for byte the one of [`super::listpack`]. An element pushed at the front goes into the room
//! before it, and the header moves with it; one popped there leaves room behind. What is replaced, inserted or
//! removed in the middle moves what follows.
//!
//! Positions are byte offsets from the beginning of the listpack. Any change makes them stale.

mod entry;
#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use super::listpack::{
    COUNT_UNKNOWN, EMPTY, END, HEADER, Listpack, MAX_BYTES, Value, backlen_size, decode,
    read_backlen,
};
use crate::util::heap;
use crate::util::num::parse_i64;
use entry::Entry;

/// The bytes of a well-formed listpack, to be read.
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(&'a [u8]);

impl<'a> View<'a> {
    /// Reads bytes that are a listpack. Of others it reads anything, but nothing beyond them.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Position of the first element, or of the terminator.
    #[must_use]
    pub fn first(self) -> usize {
        HEADER
    }

    /// Position of the terminator.
    #[must_use]
    pub fn end(self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// The element at `pos` and the position behind it.
    #[inline]
    #[must_use]
    pub fn step(self, pos: usize) -> Option<(Value<'a>, usize)> {
        let (value, size) = decode(self.0, pos)?;
        Some((value, pos + size + backlen_size(size)))
    }

    /// The element before `pos` and its position.
    #[inline]
    #[must_use]
    pub fn step_back(self, pos: usize) -> Option<(Value<'a>, usize)> {
        let (size, width) = read_backlen(self.0.get(HEADER..pos)?)?;
        let at = pos.checked_sub(size + width).filter(|at| *at >= HEADER)?;
        Some((decode(self.0, at)?.0, at))
    }

    /// Position of element `index` of `count`, looked for from the nearer end; that of the terminator for `count`.
    #[must_use]
    pub fn seek(self, index: usize, count: usize) -> Option<usize> {
        if index <= count / 2 {
            let mut pos = HEADER;
            for _ in 0..index {
                pos = self.step(pos)?.1;
            }
            return Some(pos);
        }
        let mut pos = self.end();
        for _ in index..count {
            pos = self.step_back(pos)?.1;
        }
        Some(pos)
    }
}

/// A string to compare elements with.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    bytes: &'a [u8],
    int: Option<i64>,
}

impl<'a> Needle<'a> {
    /// Reads the string once for all comparisons.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            int: parse_i64(bytes),
        }
    }

    /// Whether the element is this string.
    #[inline]
    #[must_use]
    pub fn is(&self, value: Value<'_>) -> bool {
        match value {
            Value::Str(s) => s == self.bytes,
            Value::Int(n) => self.int == Some(n),
        }
    }
}

/// A listpack with room at both ends.
#[derive(Clone)]
pub struct Packed {
    /// Ends with the terminator.
    buf: Vec<u8>,
    /// Where the header is.
    start: u32,
    /// Number of elements.
    count: u32,
}

impl Default for Packed {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        let (view, mut pos) = (self.view(), HEADER);
        while let Some((value, next)) = view.step(pos) {
            list.entry(&value);
            pos = next;
        }
        list.finish()
    }
}

impl From<Listpack> for Packed {
    fn from(listpack: Listpack) -> Self {
        let count = u32::try_from(listpack.len()).unwrap_or(u32::MAX);
        Self {
            buf: listpack.into_bytes(),
            start: 0,
            count,
        }
    }
}

impl Packed {
    /// An empty listpack.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buf: EMPTY.to_vec(),
            start: 0,
            count: 0,
        }
    }

    /// Takes bytes that are known to be a listpack of so many elements.
    #[must_use]
    pub(crate) fn from_known(bytes: Vec<u8>, count: usize) -> Self {
        Self {
            buf: bytes,
            start: 0,
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }

    /// The listpack, header and terminator included.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(self.start()..).unwrap_or(&EMPTY)
    }

    /// The listpack, to be read.
    #[inline]
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View(self.as_bytes())
    }

    /// Size of the listpack in bytes.
    #[inline]
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.buf.len() - self.start()
    }

    /// Number of elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes allocated.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// What that takes of the allocator.
    #[inline]
    #[must_use]
    pub fn heap_size(&self) -> usize {
        heap::rounded(self.buf.capacity())
    }

    /// Whether a string of this length cannot be added, since no listpack grows so large.
    #[must_use]
    pub fn is_too_large_with(&self, length: usize) -> bool {
        self.byte_len() + length > MAX_BYTES
    }

    #[inline]
    fn start(&self) -> usize {
        self.start as usize
    }

    /// Adds an element behind the last.
    #[inline]
    pub fn push_back(&mut self, value: &[u8]) {
        self.fill_back(value, 0);
    }

    /// Adds an element before the first.
    #[inline]
    pub fn push_front(&mut self, value: &[u8]) {
        self.fill_front(value, 0);
    }

    /// Adds an element behind the last of a listpack that is expected to grow to so many bytes.
    #[inline]
    pub fn fill_back(&mut self, value: &[u8], most: usize) {
        let entry = Entry::new(value);
        let size = entry.len();
        if self.buf.capacity() - self.buf.len() < size {
            self.grow_back(size, most);
        }
        self.buf.pop();
        entry.append_to(&mut self.buf);
        self.buf.push(END);
        self.settle(self.count + 1);
    }

    /// Adds an element before the first of a listpack that is expected to grow to so many bytes.
    #[inline]
    pub fn fill_front(&mut self, value: &[u8], most: usize) {
        let entry = Entry::new(value);
        let size = entry.len();
        if self.start() < size {
            self.grow_front(size, most);
        }
        // It fits between the header's new place and what was the first element.
        self.start -= size as u32;
        let at = self.start() + HEADER;
        if let Some(place) = self.buf.get_mut(at..at + size) {
            entry.write(place);
        }
        self.settle(self.count + 1);
    }

    /// Removes the first element, once `f` has seen it.
    #[inline]
    pub fn pop_front<R>(&mut self, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let (value, next) = self.view().step(HEADER)?;
        let result = f(value);
        self.start += (next - HEADER) as u32;
        self.settle(self.count - 1);
        self.shrink_if_sparse();
        Some(result)
    }

    /// Removes the last element, once `f` has seen it.
    #[inline]
    pub fn pop_back<R>(&mut self, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let view = self.view();
        let (value, at) = view.step_back(view.end())?;
        let result = f(value);
        self.buf.truncate(self.start() + at);
        self.buf.push(END);
        self.settle(self.count - 1);
        self.shrink_if_sparse();
        Some(result)
    }

    /// Inserts an element before the one at `index`, or behind the last.
    pub fn insert(&mut self, index: usize, value: &[u8]) {
        if index == 0 {
            return self.push_front(value);
        }
        if index >= self.len() {
            return self.push_back(value);
        }
        if let Some(at) = self.view().seek(index, self.len()) {
            self.splice(at..at, Some(&Entry::new(value)));
            self.settle(self.count + 1);
        }
    }

    /// Replaces the element at `index`.
    pub fn replace(&mut self, index: usize, value: &[u8]) {
        let at = self.view().seek(index, self.len());
        let end = at.and_then(|at| self.view().step(at));
        if let (Some(at), Some((_, end))) = (at, end) {
            self.splice(at..end, Some(&Entry::new(value)));
            self.settle(self.count);
        }
    }

    /// Removes up to `count` elements from the one at `index` on.
    pub fn remove(&mut self, index: usize, count: usize) {
        let end = index.saturating_add(count).min(self.len());
        let view = self.view();
        let (Some(from), Some(to)) = (view.seek(index, self.len()), view.seek(end, self.len()))
        else {
            return;
        };
        if index >= end {
            return;
        }
        if index == 0 {
            self.start += (to - from) as u32;
        } else {
            self.splice(from..to, None);
        }
        self.settle(self.count - (end - index) as u32);
        self.shrink_if_sparse();
    }

    /// Removes the elements that `drop` says so of, from either end on.
    pub fn remove_if(&mut self, backwards: bool, mut drop: impl FnMut(Value<'_>) -> bool) {
        let mut dropped: SmallVec<[(usize, usize); 8]> = SmallVec::new();
        let view = self.view();
        let mut pos = if backwards { view.end() } else { HEADER };
        loop {
            let (value, from, to) = if backwards {
                let Some((value, at)) = view.step_back(pos) else {
                    break;
                };
                (value, at, std::mem::replace(&mut pos, at))
            } else {
                let Some((value, next)) = view.step(pos) else {
                    break;
                };
                (value, std::mem::replace(&mut pos, next), next)
            };
            if drop(value) {
                dropped.push((from, to));
            }
        }
        if dropped.is_empty() {
            return;
        }
        if backwards {
            dropped.reverse();
        }
        let mut kept = Vec::with_capacity(self.byte_len());
        let mut from = 0;
        for &(start, end) in &dropped {
            kept.extend_from_slice(self.as_bytes().get(from..start).unwrap_or_default());
            from = end;
        }
        kept.extend_from_slice(self.as_bytes().get(from..).unwrap_or_default());
        self.buf = kept;
        self.start = 0;
        self.settle(self.count - dropped.len() as u32);
        self.shrink_if_sparse();
    }

    /// Takes out the elements from the one at `index` on.
    #[must_use]
    pub fn split_off(&mut self, index: usize) -> Self {
        let index = index.min(self.len());
        let at = self.view().seek(index, self.len());
        let at = at.unwrap_or_else(|| self.view().end());
        let tail = self.as_bytes().get(at..).unwrap_or_default();
        let mut buf = Vec::with_capacity(HEADER + tail.len());
        buf.extend_from_slice(&[0; HEADER]);
        buf.extend_from_slice(tail);
        let mut rest = Self {
            buf,
            start: 0,
            count: 0,
        };
        rest.settle(self.count - index as u32);
        self.buf.truncate(self.start() + at);
        self.buf.push(END);
        self.settle(index as u32);
        self.shrink_if_sparse();
        rest
    }

    /// Adds the elements of another listpack behind the last.
    pub fn append(&mut self, other: &Self) {
        let more = other.as_bytes().get(HEADER..).unwrap_or_default();
        self.buf.pop();
        self.buf.reserve_exact(more.len());
        self.buf.extend_from_slice(more);
        self.settle(self.count + other.count);
    }

    /// Gives the room back, unless it is too little to count.
    pub fn shrink(&mut self) {
        if self.capacity() > self.byte_len() + self.byte_len() / 32 {
            self.buf = self.as_bytes().to_vec();
            self.start = 0;
        }
    }

    /// Puts an entry, or nothing, in the place of a range of bytes.
    fn splice(&mut self, range: std::ops::Range<usize>, entry: Option<&Entry<'_>>) {
        let (old, new) = (range.len(), entry.map_or(0, Entry::len));
        if new > old && self.buf.capacity() - self.buf.len() < new - old {
            self.grow_back(new - old, 0);
        }
        let (from, to) = (self.start() + range.start, self.start() + range.end);
        let end = self.buf.len();
        if new > old {
            self.buf.resize(end + new - old, END);
        }
        self.buf.copy_within(to..end, from + new);
        self.buf.truncate(end + new - old);
        if let (Some(entry), Some(place)) = (entry, self.buf.get_mut(from..from + new)) {
            entry.write(place);
        }
    }

    /// Writes the header after a change that leaves `count` elements.
    #[inline]
    fn settle(&mut self, count: u32) {
        self.count = count;
        let total = u32::try_from(self.byte_len()).unwrap_or(u32::MAX);
        let field = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        let at = self.start();
        if let Some(header) = self.buf.get_mut(at..at + HEADER) {
            header[..4].copy_from_slice(&total.to_le_bytes());
            header[4..].copy_from_slice(&field.to_le_bytes());
        }
    }

    /// Room that is left for more where some had to be made: a quarter, so that growing costs four moves of each byte
    /// at most.
    fn slack(&self) -> usize {
        self.byte_len() / 4
    }

    /// As [`slack`](Self::slack), of a listpack that is expected to grow to `most` bytes: it doubles, and has no room left in
    /// the end.
    fn room_to_fill(&self, taken: usize, most: usize) -> usize {
        match most {
            0 => self.slack(),
            most => self.byte_len().min(most.saturating_sub(taken)),
        }
    }

    /// Makes room for `need` bytes behind the listpack and some to come.
    #[cold]
    fn grow_back(&mut self, need: usize, most: usize) {
        let slack = self.slack();
        if self.start() >= need + 2 * slack + HEADER {
            self.shift(self.start() - need - slack);
        } else {
            let before = self.start().min(slack);
            let taken = before + self.byte_len() + need;
            let more = self.room_to_fill(taken, most);
            // What an allocator gives above that is for the elements to come.
            let above = (taken + more).next_multiple_of(16) - taken - more;
            self.place(before, need + more + above);
        }
    }

    /// Makes room for `need` bytes before the listpack and some to come.
    #[cold]
    fn grow_front(&mut self, need: usize, most: usize) {
        let slack = self.slack();
        let behind = self.buf.capacity() - self.buf.len();
        if behind >= need + 2 * slack {
            self.shift(self.start() + need + slack);
        } else {
            let behind = behind.min(slack);
            let more = self.room_to_fill(behind + self.byte_len() + need, most);
            self.place(need + more, behind);
        }
    }

    /// Moves the listpack into a buffer with that much room before and behind it. What an allocator gives above that stands
    /// before it.
    fn place(&mut self, before: usize, behind: usize) {
        let live = self.byte_len();
        let capacity = (before + live + behind).next_multiple_of(16);
        let start = capacity - live - behind;
        let mut buf = Vec::with_capacity(capacity);
        buf.resize(start, 0);
        buf.extend_from_slice(self.as_bytes());
        self.buf = buf;
        self.start = start as u32;
    }

    /// Moves the listpack to another place in its buffer, which is large enough.
    fn shift(&mut self, start: usize) {
        let (from, live) = (self.start(), self.byte_len());
        if start > from {
            self.buf.resize(start + live, END);
        }
        self.buf.copy_within(from..from + live, start);
        self.buf.truncate(start + live);
        self.start = start as u32;
    }

    /// Gives room back when most of the buffer is room.
    #[inline]
    fn shrink_if_sparse(&mut self) {
        if self.capacity() > 64 && self.byte_len() * 4 < self.capacity() {
            let slack = self.slack();
            self.place(slack.min(self.start()), slack);
        }
    }
}
