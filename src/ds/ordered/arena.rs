//! Scored strings under 32-bit ids, packed into pages.
//!
//! ```text
//! id      = page number * 1024 + offset in the page / 4
//! record  = score:f64le  header:u8  [length:u16le]  bytes
//! header  = dead:1 bit  length:7 bits       126: the length follows; 127: the bytes go on to the end of the page
//! ```
//! Strings are written one behind the other and stay where they are. Pages that have become half empty are to be
//! evacuated (see [`Arena::take_sparse`]), so that what is freed returns to the allocator and no more than half of
//! what is allocated is ever unused. A string too long for that has a page of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes of a page: with its reference counts it fills a block of 4 KiB.
const PAGE: usize = if cfg!(test) { 256 } else { 4064 };
/// Records begin at multiples of this.
const UNIT: usize = 4;
/// How many bits of an id are the place in the page.
const SLOT_BITS: u32 = 10;
const SLOTS: u32 = 1 << SLOT_BITS;
/// The first page starts with this many bytes and doubles as it fills.
const FIRST: usize = 128;
/// Longer strings have pages of their own.
const LONG: usize = PAGE / 4;
/// Pages per block of the directory.
const BLOCK: usize = 512;
/// What reference counts cost.
const ARC: usize = 2 * size_of::<usize>();

const _: () = assert!(PAGE <= SLOTS as usize * UNIT && LONG <= u16::MAX as usize);

const DEAD: u8 = 0x80;
const LENGTH_FOLLOWS: u8 = 126;
const TO_THE_END: u8 = 127;
/// Where the header of a record is.
const HEADER: usize = 8;

/// Scored strings, see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Arena {
    pages: Pages,
    /// Numbers of pages that are not in use.
    vacant: BTreeSet<u32>,
    /// The page that is being filled.
    open: Option<u32>,
    /// Pages that are to be evacuated, and perhaps some that were dropped before that came about.
    sparse: Vec<u32>,
    /// Bytes of all pages.
    bytes: usize,
}

/// A page; one not in use has no data.
#[derive(Clone, Debug, Default)]
struct Page {
    data: Option<Arc<[u8]>>,
    /// Bytes that records were written to.
    used: u16,
    /// Bytes of records that are not dead.
    live: u16,
    /// It stands in the list of sparse pages.
    queued: bool,
}

const _: () = assert!(size_of::<Page>() == 24 && PAGE <= u16::MAX as usize);

/// Pages by number, in blocks, so that there is never much to move when there are more.
#[derive(Clone, Debug, Default)]
struct Pages(Vec<Vec<Page>>);

impl Pages {
    fn len(&self) -> usize {
        let full = self.0.len().saturating_sub(1) * BLOCK;
        full + self.0.last().map_or(0, Vec::len)
    }

    #[inline]
    fn get(&self, number: u32) -> Option<&Page> {
        let number = number as usize;
        self.0.get(number / BLOCK)?.get(number % BLOCK)
    }

    #[inline]
    fn get_mut(&mut self, number: u32) -> Option<&mut Page> {
        let number = number as usize;
        self.0.get_mut(number / BLOCK)?.get_mut(number % BLOCK)
    }

    fn push(&mut self, page: Page) {
        match self.0.last_mut() {
            Some(block) if block.len() < BLOCK => {
                if block.len() == block.capacity() {
                    block.reserve_exact(block.len().min(BLOCK - block.len()));
                }
                block.push(page);
            }
            _ => self.0.push(vec![page]),
        }
    }

    fn pop(&mut self) {
        if let Some(block) = self.0.last_mut() {
            block.pop();
            if block.is_empty() {
                self.0.pop();
            }
        }
    }

    /// All blocks but the last are of full size.
    fn heap_size(&self) -> usize {
        let full = self.0.len().saturating_sub(1) * BLOCK;
        let pages = full + self.0.last().map_or(0, Vec::capacity);
        pages * size_of::<Page>() + self.0.capacity() * size_of::<Vec<Page>>()
    }
}

/// Where the bytes of a record begin and end, and where the next record begins.
struct Extent {
    start: usize,
    end: usize,
    next: usize,
}

impl Extent {
    /// Of the record at `at`.
    #[inline]
    fn of(data: &[u8], at: usize) -> Option<Self> {
        let header = data.get(at + HEADER)? & !DEAD;
        let start = at + HEADER + 1;
        let (start, end) = match header {
            LENGTH_FOLLOWS => {
                let length = data.get(start..start + 2)?.try_into().ok()?;
                let start = start + 2;
                (start, start + usize::from(u16::from_le_bytes(length)))
            }
            TO_THE_END => (start, data.len()),
            length => (start, start + usize::from(length)),
        };
        let next = end.next_multiple_of(UNIT);
        Some(Self { start, end, next })
    }

    /// Bytes that a record of `length` bytes takes.
    fn size(length: usize) -> usize {
        let header = if length < LENGTH_FOLLOWS.into() { 1 } else { 3 };
        (HEADER + header + length).next_multiple_of(UNIT)
    }
}

impl Arena {
    /// Nothing, and no allocation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        // A BTreeSet of 4-byte items stands about 3/4 full; it is nearly always empty.
        let lists = self.vacant.len() * 6 + self.sparse.capacity() * size_of::<u32>();
        self.bytes + self.pages.heap_size() + lists
    }

    /// The string of an id.
    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> &[u8] {
        let Some((data, at)) = self.locate(id) else {
            return &[];
        };
        Extent::of(data, at)
            .and_then(|extent| data.get(extent.start..extent.end))
            .unwrap_or_default()
    }

    /// The score of an id.
    #[inline]
    #[must_use]
    pub fn score(&self, id: u32) -> f64 {
        let score = self.locate(id).and_then(|(data, at)| data.get(at..at + 8));
        let score = score.and_then(|bytes| bytes.try_into().ok());
        score.map_or(0.0, f64::from_le_bytes)
    }

    /// Gives an id another score.
    pub fn set_score(&mut self, id: u32, score: f64) {
        let at = offset(id);
        if let Some(data) = self.data_mut(id >> SLOT_BITS)
            && let Some(place) = data.get_mut(at..at + 8)
        {
            place.copy_from_slice(&score.to_le_bytes());
        }
    }

    /// Adds a string; gives its id, or none when all ids are taken (which takes 16 GiB).
    pub fn insert(&mut self, score: f64, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > LONG {
            return self.insert_long(score, bytes);
        }
        let size = Extent::size(bytes.len());
        let (number, at) = self.room(size)?;
        let data = self.data_mut(number)?.get_mut(at..at + size)?;
        let (head, rest) = data.split_at_mut(HEADER);
        head.copy_from_slice(&score.to_le_bytes());
        let rest = match u8::try_from(bytes.len()) {
            Ok(length @ 0..LENGTH_FOLLOWS) => {
                rest[0] = length;
                &mut rest[1..]
            }
            _ => {
                rest[0] = LENGTH_FOLLOWS;
                // LONG fits 16 bits.
                rest[1..3].copy_from_slice(&(bytes.len() as u16).to_le_bytes());
                &mut rest[3..]
            }
        };
        rest[..bytes.len()].copy_from_slice(bytes);
        Some(number << SLOT_BITS | (at / UNIT) as u32)
    }

    fn insert_long(&mut self, score: f64, bytes: &[u8]) -> Option<u32> {
        let mut data = Vec::with_capacity(HEADER + 1 + bytes.len());
        data.extend_from_slice(&score.to_le_bytes());
        data.push(TO_THE_END);
        data.extend_from_slice(bytes);
        let number = self.add_page(data)?;
        if let Some(page) = self.pages.get_mut(number) {
            (page.used, page.live) = (1, 1);
        }
        Some(number << SLOT_BITS)
    }

    /// Frees an id and its string.
    pub fn remove(&mut self, id: u32) {
        let (number, at) = (id >> SLOT_BITS, offset(id));
        let Some(data) = self.data_mut(number) else {
            return;
        };
        let Some(extent) = Extent::of(data, at) else {
            return;
        };
        if let Some(header) = data.get_mut(at + HEADER) {
            *header |= DEAD;
        }
        let Some(page) = self.pages.get_mut(number) else {
            return;
        };
        page.live = page.live.saturating_sub((extent.next - at) as u16);
        if self.open == Some(number) {
            if page.live == 0 {
                page.used = 0;
            }
        } else if page.live == 0 {
            self.drop_page(number);
        } else if page.becomes_sparse() {
            self.sparse.push(number);
        }
    }

    /// The ids on a page that should be evacuated, if there is one: each is to be given a new id by
    /// [`relocate`](Self::relocate), then the page's last to be given to [`evacuated`](Self::evacuated). To be asked
    /// after insertions and removals until there is none.
    pub fn take_sparse(&mut self) -> Option<Vec<u32>> {
        let number = loop {
            let Some(number) = self.sparse.pop() else {
                if self.sparse.capacity() > 64 {
                    self.sparse = Vec::new();
                }
                return None;
            };
            if self.pages.get(number).is_some_and(|page| page.queued) {
                break number;
            }
        };
        let page = self.pages.get_mut(number)?;
        page.queued = false;
        let data = page.data.as_deref()?;
        let (mut ids, mut at) = (Vec::new(), 0);
        while at < page.used as usize {
            let extent = Extent::of(data, at)?;
            if data.get(at + HEADER)? & DEAD == 0 {
                ids.push(number << SLOT_BITS | (at / UNIT) as u32);
            }
            at = extent.next;
        }
        Some(ids)
    }

    /// Copies a string and its score to another place, and gives its new id; the old one stays as it is.
    pub fn relocate(&mut self, id: u32) -> Option<u32> {
        let mut copy = [0; LONG];
        let bytes = self.get(id);
        let place = copy.get_mut(..bytes.len())?;
        place.copy_from_slice(bytes);
        let length = bytes.len();
        self.insert(self.score(id), &copy[..length])
    }

    /// Frees the page of an id with all that is on it.
    pub fn evacuated(&mut self, id: u32) {
        self.drop_page(id >> SLOT_BITS);
    }

    #[inline]
    fn locate(&self, id: u32) -> Option<(&[u8], usize)> {
        let data = self.pages.get(id >> SLOT_BITS)?.data.as_deref()?;
        Some((data, offset(id)))
    }

    fn data_mut(&mut self, number: u32) -> Option<&mut [u8]> {
        self.pages.get_mut(number)?.data.as_mut().map(Arc::make_mut)
    }

    /// A page and the offset in it where a record of `size` bytes can be written.
    fn room(&mut self, size: usize) -> Option<(u32, usize)> {
        if let Some(number) = self.open {
            let first = number == 0 && self.pages.len() == 1;
            let page = self.pages.get_mut(number)?;
            let capacity = page.data.as_ref()?.len();
            let used = page.used as usize;
            if used + size <= PAGE && (used + size <= capacity || first) {
                page.used += size as u16;
                page.live += size as u16;
                if used + size > capacity {
                    let more = (2 * capacity).max(used + size).min(PAGE);
                    self.bytes += page.grow(more);
                }
                return Some((number, used));
            }
            if page.becomes_sparse() {
                self.sparse.push(number);
            }
            self.open = None;
        }
        let capacity = if self.pages.len() == 0 {
            FIRST.max(size)
        } else {
            PAGE
        };
        let number = self.add_page(vec![0; capacity])?;
        self.open = Some(number);
        let page = self.pages.get_mut(number)?;
        (page.used, page.live) = (size as u16, size as u16);
        Some((number, 0))
    }

    fn add_page(&mut self, data: Vec<u8>) -> Option<u32> {
        let number = match self.vacant.first() {
            Some(&number) => number,
            None => u32::try_from(self.pages.len())
                .ok()
                .filter(|&number| number < u32::MAX >> SLOT_BITS)?,
        };
        let page = Page {
            data: Some(data.into()),
            ..Page::default()
        };
        self.bytes += page.heap_size();
        if self.vacant.remove(&number)
            && let Some(place) = self.pages.get_mut(number)
        {
            *place = page;
        } else {
            self.pages.push(page);
        }
        Some(number)
    }

    fn drop_page(&mut self, number: u32) {
        let Some(page) = self.pages.get_mut(number) else {
            return;
        };
        self.bytes -= page.heap_size();
        *page = Page::default();
        self.vacant.insert(number);
        while let Some(last) = (self.pages.len() as u32).checked_sub(1)
            && self.vacant.remove(&last)
        {
            self.pages.pop();
        }
    }
}

/// Where in its page the record of an id is.
#[inline]
fn offset(id: u32) -> usize {
    (id & (SLOTS - 1)) as usize * UNIT
}

impl Page {
    /// Whether it is half empty and was not before, as far as is known.
    fn becomes_sparse(&mut self) -> bool {
        let sparse = self.live < self.used / 2 && !self.queued;
        self.queued |= sparse;
        sparse
    }

    fn heap_size(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.len() + ARC)
    }

    /// Gets more room; how much.
    fn grow(&mut self, capacity: usize) -> usize {
        let Some(old) = self.data.take() else {
            return 0;
        };
        let mut data = Vec::with_capacity(capacity);
        data.extend_from_slice(&old);
        data.resize(capacity, 0);
        self.data = Some(data.into());
        capacity - old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Arena {
        fn check(&self) {
            let pages: Vec<&Page> = self.pages.0.iter().flatten().collect();
            assert_eq!(pages.len(), self.pages.len());
            let bytes: usize = pages.iter().map(|page| page.heap_size()).sum();
            assert_eq!(bytes, self.bytes);
            for (number, page) in pages.iter().enumerate() {
                assert_eq!(page.data.is_none(), self.vacant.contains(&(number as u32)));
            }
            let blocks: usize = self
                .pages
                .0
                .iter()
                .map(|b| b.capacity() * size_of::<Page>())
                .sum();
            let directory = blocks + self.pages.0.capacity() * size_of::<Vec<Page>>();
            assert_eq!(directory, self.pages.heap_size());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn an_arena_holds_strings_and_little_else(
            ops in prop::collection::vec((0..3u8, 0..1000usize, prop_oneof![6 => 0..30usize, 1 => 0..200usize]), 1..300)
        ) {
            let mut arena = Arena::new();
            let mut model: Vec<(u32, f64, Vec<u8>)> = Vec::new();
            for (i, (op, at, length)) in ops.into_iter().enumerate() {
                let score = i as f64 / 3.0;
                match op {
                    0 if !model.is_empty() => {
                        let (id, ..) = model.swap_remove(at % model.len());
                        arena.remove(id);
                    }
                    1 if !model.is_empty() => {
                        let at = at % model.len();
                        model[at].1 = score;
                        arena.set_score(model[at].0, score);
                    }
                    _ => {
                        let bytes = vec![i as u8; length];
                        model.push((arena.insert(score, &bytes).unwrap(), score, bytes));
                    }
                }
                while let Some(ids) = arena.take_sparse() {
                    for &id in &ids {
                        let new = arena.relocate(id).unwrap();
                        model.iter_mut().find(|m| m.0 == id).unwrap().0 = new;
                    }
                    arena.evacuated(ids[0]);
                }
                arena.check();
                for (id, score, bytes) in &model {
                    prop_assert_eq!(arena.get(*id), bytes.as_slice());
                    prop_assert_eq!(arena.score(*id), *score);
                }
                let live: usize = model.iter().map(|m| m.2.len() + 36).sum();
                prop_assert!(arena.bytes <= 2 * live + 2048, "{} for {live}", arena.bytes);
            }
            let copy = arena.clone();
            model.iter().for_each(|m| arena.set_score(m.0, -1.0));
            prop_assert!(model.iter().all(|m| copy.score(m.0) == m.1));
        }
    }
}
