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

use smallvec::SmallVec;

use super::listpack::{
    COUNT_UNKNOWN, EMPTY, END, HEADER, Listpack, MAX_BYTES, Value, backlen_size, decode,
    put_backlen, put_int, read_backlen,
};
use crate::util::num::parse_i64;

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

/// An element on its way into a listpack.
struct Entry<'a> {
    /// Tag and length of a string, or all of an integer.
    head: SmallVec<[u8; 16]>,
    data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Encodes a string, as an integer when it reads as one.
    #[inline]
    fn new(value: &'a [u8]) -> Self {
        let mut head = SmallVec::new();
        if let Some(n) = parse_i64(value) {
            put_int(&mut head, n);
            return Self { head, data: &[] };
        }
        match value.len() {
            // Each arm keeps what fits a byte.
            n @ 0..=63 => head.push(0x80 | n as u8),
            n @ 64..=4095 => head.extend_from_slice(&[0xE0 | (n >> 8) as u8, n as u8]),
            n => {
                head.push(0xF0);
                head.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
            }
        }
        Self { head, data: value }
    }

    /// Bytes without the backlen.
    fn size(&self) -> usize {
        self.head.len() + self.data.len()
    }

    /// Bytes in all.
    fn len(&self) -> usize {
        self.size() + backlen_size(self.size())
    }

    /// Writes it to a place of exactly its length.
    fn write(&self, place: &mut [u8]) {
        let (head, rest) = place.split_at_mut(self.head.len());
        let (data, backlen) = rest.split_at_mut(self.data.len());
        head.copy_from_slice(&self.head);
        data.copy_from_slice(self.data);
        let mut digits: SmallVec<[u8; 8]> = SmallVec::new();
        put_backlen(&mut digits, self.size());
        backlen.copy_from_slice(&digits);
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(self.data);
        let size = self.size();
        match size {
            // A backlen of one byte is the size itself.
            0..=127 => out.push(size as u8),
            _ => put_backlen(out, size),
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
        let entry = Entry::new(value);
        if self.buf.capacity() - self.buf.len() < entry.len() {
            self.grow_back(entry.len());
        }
        self.buf.pop();
        entry.append_to(&mut self.buf);
        self.buf.push(END);
        self.settle(self.count + 1);
    }

    /// Adds an element before the first.
    #[inline]
    pub fn push_front(&mut self, value: &[u8]) {
        let entry = Entry::new(value);
        let size = entry.len();
        if self.start() < size {
            self.grow_front(size);
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

    /// Gives all room back.
    pub fn shrink(&mut self) {
        if self.capacity() > self.byte_len() {
            self.buf = self.as_bytes().to_vec();
            self.start = 0;
        }
    }

    /// Puts an entry, or nothing, in the place of a range of bytes.
    fn splice(&mut self, range: std::ops::Range<usize>, entry: Option<&Entry<'_>>) {
        let (old, new) = (range.len(), entry.map_or(0, Entry::len));
        if new > old && self.buf.capacity() - self.buf.len() < new - old {
            self.grow_back(new - old);
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

    /// Makes room for `need` bytes behind the listpack and some to come.
    #[cold]
    fn grow_back(&mut self, need: usize) {
        let slack = self.slack();
        if self.start() >= need + 2 * slack + HEADER {
            self.place(self.start() - need - slack, 0);
        } else {
            self.place(self.start().min(slack), need + slack);
        }
    }

    /// Makes room for `need` bytes before the listpack and some to come.
    #[cold]
    fn grow_front(&mut self, need: usize) {
        let slack = self.slack();
        let behind = self.buf.capacity() - self.buf.len();
        if behind >= need + 2 * slack {
            let end = self.buf.len();
            let start = self.start() + need + slack;
            self.buf.resize(end + need + slack, END);
            self.buf.copy_within(self.start as usize..end, start);
            self.start = start as u32;
        } else {
            self.place(need + slack, behind.min(slack));
        }
    }

    /// Moves the listpack to `start`, in the same buffer where that is to the left of it and no room is asked for.
    fn place(&mut self, start: usize, room: usize) {
        let live = self.byte_len();
        if room == 0 && start <= self.start() {
            self.buf.copy_within(self.start as usize.., start);
            self.buf.truncate(start + live);
        } else {
            // Allocators give no less than this anyway.
            let capacity = (start + live + room).next_multiple_of(16);
            let mut buf = Vec::with_capacity(capacity);
            buf.resize(start, 0);
            buf.extend_from_slice(self.as_bytes());
            self.buf = buf;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Op {
        PushBack(Vec<u8>),
        PushFront(Vec<u8>),
        PopBack,
        PopFront,
        Insert(usize, Vec<u8>),
        Replace(usize, Vec<u8>),
        Remove(usize, usize),
        RemoveEqual(usize, bool),
        SplitAndAppend(usize),
        Shrink,
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (-5000i64..5000).prop_map(|n| n.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..70),
            (60usize..5000).prop_map(|n| vec![b'x'; n]),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        let at = 0usize..40;
        prop_oneof![
            3 => element().prop_map(Op::PushBack),
            3 => element().prop_map(Op::PushFront),
            2 => Just(Op::PopBack),
            2 => Just(Op::PopFront),
            1 => (at.clone(), element()).prop_map(|(i, e)| Op::Insert(i, e)),
            1 => (at.clone(), element()).prop_map(|(i, e)| Op::Replace(i, e)),
            1 => (at.clone(), 0usize..5).prop_map(|(i, n)| Op::Remove(i, n)),
            1 => (at.clone(), any::<bool>()).prop_map(|(i, b)| Op::RemoveEqual(i, b)),
            1 => at.prop_map(Op::SplitAndAppend),
            1 => Just(Op::Shrink),
        ]
    }

    fn apply(packed: &mut Packed, model: &mut VecDeque<Vec<u8>>, op: Op) {
        match op {
            Op::PushBack(e) => {
                packed.push_back(&e);
                model.push_back(e);
            }
            Op::PushFront(e) => {
                packed.push_front(&e);
                model.push_front(e);
            }
            Op::PopBack => assert_eq!(packed.pop_back(|v| v.to_vec()), model.pop_back()),
            Op::PopFront => assert_eq!(packed.pop_front(|v| v.to_vec()), model.pop_front()),
            Op::Insert(i, e) => {
                packed.insert(i, &e);
                model.insert(i.min(model.len()), e);
            }
            Op::Replace(i, e) => {
                packed.replace(i, &e);
                if let Some(place) = model.get_mut(i) {
                    *place = e;
                }
            }
            Op::Remove(i, n) => {
                packed.remove(i, n);
                let end = (i + n).min(model.len());
                model.drain(i.min(end)..end);
            }
            Op::RemoveEqual(i, backwards) => {
                let value = model.get(i).cloned().unwrap_or_default();
                let needle = Needle::new(&value);
                packed.remove_if(backwards, |v| needle.is(v));
                model.retain(|e| *e != value);
            }
            Op::SplitAndAppend(i) => {
                let rest = packed.split_off(i);
                assert_eq!(rest.len(), model.len().saturating_sub(i));
                packed.append(&rest);
            }
            Op::Shrink => {
                packed.shrink();
                assert_eq!(packed.capacity(), packed.byte_len());
            }
        }
    }

    fn check(packed: &Packed, model: &VecDeque<Vec<u8>>) {
        let listpack = Listpack::from_bytes(packed.as_bytes().to_vec()).unwrap();
        assert_eq!((listpack.len(), packed.len()), (model.len(), model.len()));
        assert!(
            listpack
                .iter()
                .map(|(_, v)| v.to_vec())
                .eq(model.iter().cloned())
        );
        let view = packed.view();
        for index in 0..model.len() {
            let at = view.seek(index, model.len()).unwrap();
            let (value, next) = view.step(at).unwrap();
            assert_eq!(value.to_vec(), model[index]);
            assert_eq!(view.step_back(next), Some((value, at)));
        }
        assert_eq!(view.seek(model.len(), model.len()), Some(view.end()));
        assert_eq!(view.step_back(view.first()), None);
    }

    proptest! {
        #[test]
        fn it_is_a_listpack_and_a_deque(ops in prop::collection::vec(op(), 0..60)) {
            let (mut packed, mut model) = (Packed::new(), VecDeque::new());
            for op in ops {
                apply(&mut packed, &mut model, op);
                check(&packed, &model);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            at in 0usize..70,
        ) {
            let view = View::new(&bytes);
            let _ = (view.step(at), view.step_back(at), view.seek(at, 50), view.end());
        }
    }

    /// Moves of the whole are counted by the changes of where it lies.
    #[test]
    fn growing_at_both_ends_moves_it_seldom() {
        for ends in ["b", "f", "bf", "bbbbf"] {
            let mut packed = Packed::new();
            let mut grown = 0;
            for end in ends.bytes().cycle().take(10_000) {
                let before = packed.capacity();
                match end {
                    b'b' => packed.push_back(b"element"),
                    _ => packed.push_front(b"element"),
                }
                grown += usize::from(packed.capacity() != before);
            }
            assert!(grown < 100, "{ends}: {grown}");
            assert!(packed.capacity() < packed.byte_len() * 2);
        }
    }

    #[test]
    fn a_queue_stays_in_its_buffer() {
        let mut packed = Packed::new();
        for _ in 0..100 {
            packed.push_back(b"element");
        }
        for _ in 0..10_000 {
            packed.push_back(b"element");
            packed.pop_front(|_| ());
        }
        assert!(packed.capacity() < packed.byte_len() * 2);
        for _ in 0..99 {
            packed.pop_front(|_| ());
        }
        assert!(packed.capacity() <= 64, "{}", packed.capacity());
    }
}
