//! Pack: a list of small strings and integers in one allocation of exactly as many bytes as it needs.
//!
//! ```text
//! pack    = element*  trailer
//! trailer = u16le: number of elements, 0x7fff for "so many or more, walk"; 0x8000 is a mark of the owner's
//! ```
//!
//! Elements are encoded as in a [`listpack`](super::listpack), without the lengths that are there for walking
//! backwards: a listpack is made of them, byte for byte as Redis has it, when one is asked for. A pack is twelve
//! bytes wide and nothing in it is spare, as it is there for what is small and many: room is made for exactly what comes,
//! since an allocator leaves a block where it is as long as its size class does not change.
//!
//! Positions are byte offsets of elements. Any change to the pack makes them stale.

use std::ops::Range;

use smallvec::SmallVec;

use super::listpack::{Listpack, Value, decode, put_head, put_int};
use super::slim::Slim;
use crate::util::num::parse_i64;
use crate::util::prefetch::fetch;

/// The owner's bit.
const MARK: u16 = 0x8000;
/// So many elements, or more.
const MANY: u16 = 0x7fff;

/// A list of elements, to be read from its beginning.
#[derive(Clone)]
pub struct Pack(Slim);

/// Elements on their way into a pack.
#[derive(Clone, Debug, Default)]
pub struct Elements {
    bytes: SmallVec<[u8; 128]>,
    count: usize,
}

impl Elements {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a string, as an integer when it reads as one.
    #[inline]
    pub fn push(&mut self, element: &[u8]) {
        if let Some(n) = parse_i64(element) {
            return self.push_int(n);
        }
        self.count += 1;
        put_head(&mut self.bytes, element.len());
        self.bytes.extend_from_slice(element);
    }

    /// Adds an element.
    #[inline]
    pub fn push_value(&mut self, element: Value<'_>) {
        match element {
            Value::Int(n) => self.push_int(n),
            Value::Str(text) => self.push(text),
        }
    }

    /// Adds an integer.
    #[inline]
    pub fn push_int(&mut self, element: i64) {
        self.count += 1;
        put_int(&mut self.bytes, element);
    }
}

impl Default for Pack {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(_, v)| v)).finish()
    }
}

impl Pack {
    /// Fetches what a search begins with: the first bytes, and the number of elements behind the last.
    #[inline]
    pub fn glance(&self) {
        fetch(&*self.0);
        self.0.last().into_iter().for_each(fetch);
    }

    /// Bytes that are there beside those of the elements.
    pub const TRAILER: usize = 2;

    /// A pack without elements.
    #[must_use]
    pub fn new() -> Self {
        Self(Slim::from(&[0; Self::TRAILER][..]))
    }

    /// A pack of these elements.
    #[must_use]
    pub fn of(elements: &Elements) -> Self {
        let mut bytes = Vec::with_capacity(elements.bytes.len() + Self::TRAILER);
        bytes.extend_from_slice(&elements.bytes);
        Self::close(bytes, elements.count, 0)
    }

    /// The elements of a listpack.
    #[must_use]
    pub fn from_listpack(lp: &Listpack) -> Self {
        let mut bytes = Vec::with_capacity(lp.byte_len());
        let mut count = 0;
        for (pos, _) in lp {
            let Some((_, size)) = decode(lp.as_bytes(), pos) else {
                break;
            };
            let element = lp.as_bytes().get(pos..pos + size);
            bytes.extend_from_slice(element.unwrap_or_default());
            count += 1;
        }
        Self::close(bytes, count, 0)
    }

    /// The elements as a listpack.
    #[must_use]
    pub fn to_listpack(&self) -> Listpack {
        let mut lp = Listpack::with_capacity(self.0.len() + self.len() + 16);
        lp.append(|end| {
            for (pos, _) in self.iter() {
                let behind = self.skip(pos, 1).unwrap_or_else(|| self.end());
                end.push_encoded(self.0.get(pos..behind).unwrap_or_default());
            }
        });
        lp
    }

    /// A marked pack of bytes that are not elements: there is nothing to be done with it but to look at them, and to
    /// take them back.
    #[inline]
    #[must_use]
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self::close(bytes, 0, MARK)
    }

    /// The bytes without the trailer.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.get(..self.end()).unwrap_or_default()
    }

    /// Takes the bytes without the trailer, and leaves nothing.
    #[inline]
    #[must_use]
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let end = self.end();
        let mut bytes = Vec::from(std::mem::take(&mut self.0));
        bytes.truncate(end);
        bytes
    }

    #[inline]
    fn close(mut bytes: Vec<u8>, count: usize, mark: u16) -> Self {
        bytes.reserve_exact(Self::TRAILER);
        bytes.extend_from_slice(&trailer(count, mark).to_le_bytes());
        Self(bytes.into())
    }

    #[inline]
    fn trailer(&self) -> u16 {
        self.0.last_chunk().map_or(0, |b| u16::from_le_bytes(*b))
    }

    fn set_trailer(&mut self, value: u16) {
        if let Some(place) = self.0.last_chunk_mut() {
            *place = value.to_le_bytes();
        }
    }

    /// Whether the owner has marked it.
    #[inline]
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.trailer() & MARK != 0
    }

    /// Marks it.
    pub fn mark(&mut self) {
        self.set_trailer(self.trailer() | MARK);
    }

    /// Bytes allocated.
    #[inline]
    #[must_use]
    pub fn heap_size(&self) -> usize {
        self.0.heap_size()
    }

    /// Number of elements; walks over them if there are very many.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match self.trailer() & MANY {
            MANY => self.iter().count(),
            n => usize::from(n),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end() == 0
    }

    /// Where the elements end.
    #[inline]
    #[must_use]
    pub fn end(&self) -> usize {
        self.0.len().saturating_sub(Self::TRAILER)
    }

    /// The element at `pos` and the position behind it; none at the end.
    #[inline]
    #[must_use]
    pub fn step(&self, pos: usize) -> Option<(Value<'_>, usize)> {
        let (value, size) = decode(self.bytes(), pos)?;
        Some((value, pos + size))
    }

    /// The position `count` elements behind `pos`.
    #[inline]
    #[must_use]
    pub fn skip(&self, pos: usize, count: usize) -> Option<usize> {
        (0..count).try_fold(pos, |pos, _| behind(self.bytes(), pos))
    }

    /// The elements, with their positions.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { pack: self, pos: 0 }
    }

    /// Position of an element that is `wanted`, where only the first of every `width` elements is looked at.
    #[inline]
    #[must_use]
    pub fn find(&self, wanted: &[u8], width: usize) -> Option<usize> {
        let number = parse_i64(wanted);
        let bytes = self.bytes();
        // Names often differ in their last letter only.
        let is_wanted = |text: &[u8]| text.last() == wanted.last() && text == wanted;
        let mut pos = 0;
        loop {
            let (hit, size) = match *bytes.get(pos)? {
                tag @ 0x80..=0xBF => {
                    let len = usize::from(tag & 0x3F);
                    (is_wanted(bytes.get(pos + 1..)?.get(..len)?), 1 + len)
                }
                _ => match decode(bytes, pos)? {
                    (Value::Str(text), size) => (is_wanted(text), size),
                    (Value::Int(n), size) => (number == Some(n), size),
                },
            };
            if hit {
                return Some(pos);
            }
            pos += size;
            for _ in 1..width {
                pos = behind(bytes, pos)?;
            }
        }
    }

    /// Puts elements in the place of those that lie between two positions, of which there are `gone`.
    pub fn splice(&mut self, place: Range<usize>, gone: usize, new: &Elements) {
        let (old, new_len) = (place.len(), new.bytes.len());
        if old == new_len {
            if let Some(place) = self.0.get_mut(place) {
                place.copy_from_slice(&new.bytes);
            }
        } else {
            let mut bytes = Vec::from(std::mem::take(&mut self.0));
            let end = bytes.len();
            if new_len > old {
                bytes.reserve_exact(new_len - old);
                bytes.resize(end + new_len - old, 0);
            }
            bytes.copy_within(place.end..end, place.start + new_len);
            bytes.truncate(end - old + new_len);
            if let Some(place) = bytes.get_mut(place.start..place.start + new_len) {
                place.copy_from_slice(&new.bytes);
            }
            self.0 = bytes.into();
        }
        if gone != new.count {
            self.recount(gone, new.count);
        }
    }

    /// Removes the elements between two positions, of which there are `gone`.
    pub fn remove(&mut self, place: Range<usize>, gone: usize) {
        self.splice(place, gone, &Elements::new());
    }

    /// Adds a string at the end.
    pub fn push(&mut self, element: &[u8]) {
        let mut new = Elements::new();
        new.push(element);
        self.splice(self.end()..self.end(), 0, &new);
    }

    /// Writes the count anew, after a change of so many elements into so many others.
    fn recount(&mut self, gone: usize, come: usize) {
        let count = match self.trailer() & MANY {
            MANY if come >= gone => return,
            MANY => self.iter().count(),
            n => (usize::from(n) + come).saturating_sub(gone),
        };
        self.set_trailer(trailer(count, self.trailer() & MARK));
    }
}

#[inline]
fn trailer(count: usize, mark: u16) -> u16 {
    u16::try_from(count).unwrap_or(MANY).min(MANY) | mark
}

/// The position behind the element at `pos`.
#[inline]
fn behind(bytes: &[u8], pos: usize) -> Option<usize> {
    match *bytes.get(pos)? {
        0..=0x7F => Some(pos + 1),
        tag @ 0x80..=0xBF => Some(pos + 1 + usize::from(tag & 0x3F)),
        _ => Some(pos + decode(bytes, pos)?.1),
    }
}

/// The elements of a pack, with their positions.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    pack: &'a Pack,
    pos: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (usize, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (value, next) = self.pack.step(self.pos)?;
        Some((std::mem::replace(&mut self.pos, next), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(items: &[Vec<u8>]) -> Pack {
        let mut elements = Elements::new();
        items.iter().for_each(|item| elements.push(item));
        Pack::of(&elements)
    }

    fn strings(pack: &Pack) -> Vec<Vec<u8>> {
        pack.iter().map(|(_, v)| v.to_vec()).collect()
    }

    /// Every byte is accounted for, and there is one spelling of every pack.
    fn check(pack: &Pack, model: &[Vec<u8>], marked: bool) {
        assert_eq!(strings(pack), model);
        assert_eq!((pack.len(), pack.is_marked()), (model.len(), marked));
        let mut fresh = of(model);
        if marked {
            fresh.mark();
        }
        assert_eq!(*pack.0, *fresh.0);
    }

    #[test]
    fn it_is_its_elements_and_a_trailer() {
        let items = [&b"f"[..], b"-1", b"4096"].map(<[u8]>::to_vec);
        let mut pack = of(&items);
        assert_eq!(*pack.0, *b"\x81f\xdf\xff\xf1\x00\x10\x03\x00");
        pack.mark();
        assert_eq!(*pack.0, *b"\x81f\xdf\xff\xf1\x00\x10\x03\x80");
        assert_eq!(*Pack::new().0, [0, 0]);
    }

    #[test]
    fn a_count_saturates_and_recovers() {
        let mut many = Elements::new();
        (0..32_766).for_each(|_| many.push_int(1));
        let mut pack = Pack::of(&many);
        assert_eq!((pack.trailer(), pack.len()), (32_766, 32_766));
        pack.push(b"1");
        pack.push(b"1");
        assert_eq!((pack.trailer(), pack.len()), (MANY, 32_768));
        pack.remove(0..1, 1);
        assert_eq!((pack.trailer(), pack.len()), (MANY, 32_767));
        pack.remove(0..1, 1);
        assert_eq!((pack.trailer(), pack.len()), (32_766, 32_766));
    }

    #[test]
    fn what_it_holds_for_another_comes_back() {
        let mut pack = Pack::holding(vec![0xFF; 10]);
        assert!(pack.is_marked());
        assert_eq!((pack.bytes(), pack.heap_size()), (&[0xFF; 10][..], 16));
        assert_eq!(pack.take_bytes(), [0xFF; 10]);
        assert_eq!((pack.bytes(), pack.len()), (&[][..], 0));
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (-10i64..10).prop_map(|n| n.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..70),
            (4000usize..4200).prop_map(|n| vec![b'z'; n]),
        ]
    }

    fn elements(most: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(element(), 0..most)
    }

    proptest! {
        #[test]
        fn behaves_like_a_vec(
            start in elements(8),
            marked: bool,
            edits in prop::collection::vec((any::<usize>(), 0usize..4, elements(3)), 0..20),
        ) {
            let (mut pack, mut model) = (of(&start), start);
            if marked {
                pack.mark();
            }
            for (at, gone, new) in edits {
                let at = at % (model.len() + 1);
                let gone = gone.min(model.len() - at);
                let from = pack.skip(0, at).unwrap();
                let to = pack.skip(from, gone).unwrap();
                let mut elements = Elements::new();
                new.iter().for_each(|e| elements.push(e));
                pack.splice(from..to, gone, &elements);
                model.splice(at..at + gone, new);
                check(&pack, &model, marked);
            }
        }

        #[test]
        fn finds_the_first_of_each_entry(items in elements(12), width in 1usize..4, other in element()) {
            let pack = of(&items);
            for wanted in items.iter().chain([&other]) {
                let want = items.iter().step_by(width).position(|item| item == wanted);
                let at = want.and_then(|n| pack.skip(0, n * width));
                prop_assert_eq!(pack.find(wanted, width), at);
            }
        }

        #[test]
        fn comes_back_from_a_listpack(items in elements(20)) {
            let pack = of(&items);
            let mut lp = Listpack::new();
            items.iter().for_each(|item| lp.push(item));
            prop_assert!(pack.to_listpack() == lp);
            check(&Pack::from_listpack(&lp), &items, false);
        }
    }
}
