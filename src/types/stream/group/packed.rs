//! Rows of numbers under stream ids, packed: what groups and consumers keep of pending entries.
//!
//! ```text
//! row    = seq  ms  further numbers
//! number = its distance from the base of its column, little-endian, in as many bytes as the greatest of the chunk takes
//! ```
//! So the bytes of an id are one number that sorts as ids do, and a row of eight bytes or less is a word.
//!
//! A directory lists chunks of at most [`CHUNK`] rows in the order of their ids. Entries that are delivered together have
//! ids close to each other, and the rest in common, so that a row takes few bytes. Numbers that do not fit the columns of
//! their chunk have it written anew. Chunks are shared (`Arc`): a clone copies the directory, and a write after it copies
//! the one chunk it touches.
//!
//! The directory knows a floor of the third number in each chunk: there is none below, but the least may be above. Whoever
//! asks for the least of all raises floors to what they are; then, if there are many chunks, their order by floor is kept.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::types::stream::id::StreamId;
use crate::util::heap;

/// Most rows in a chunk.
const CHUNK: usize = 128;
/// Numbers are read and written as words of so many bytes, of which there are always as many.
const WORD: usize = size_of::<u64>();
/// With no more chunks than this, all are looked at for the least floor.
const FEW: usize = 16;
/// What a chunk costs in the order of floors: a BTreeSet stands about 3/4 full.
const FLOOR_BYTES: usize = size_of::<(u64, StreamId)>() * 3 / 2;

/// Rows in the order of their ids; the first two numbers are the id.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed<const N: usize> {
    dir: VecDeque<Slot<N>>,
    len: usize,
    /// Heap bytes of the chunks.
    bytes: usize,
    /// Heap bytes of the directory.
    dir_bytes: usize,
    /// Floors of the chunks with their lower bounds, once it has been asked for the least.
    floors: Option<BTreeSet<(u64, StreamId)>>,
}

#[derive(Clone, Debug)]
struct Slot<const N: usize> {
    /// No id of the chunk is below; all of the chunk before are.
    low: StreamId,
    /// No third number is below.
    floor: u64,
    chunk: Arc<Chunk<N>>,
}

/// Rows of one layout.
#[derive(Clone, Debug)]
struct Chunk<const N: usize> {
    base: [u64; N],
    /// Where in a row the bytes of each number begin.
    offset: [u8; N],
    /// Bytes of each number.
    width: [u8; N],
    /// Bytes of a row.
    stride: u8,
    len: u16,
    /// The rows, at least a word behind them, and what room there is for more; nothing where rows take no bytes.
    data: Vec<u8>,
}

fn id_of<const N: usize>(row: &[u64; N]) -> StreamId {
    let (ms, seq) = (row.first(), row.get(1));
    StreamId::new(ms.copied().unwrap_or(0), seq.copied().unwrap_or(0))
}

fn third<const N: usize>(row: &[u64; N]) -> u64 {
    row.get(2).copied().unwrap_or(0)
}

/// The bits that so many bytes have.
#[inline]
fn mask(width: u8) -> u64 {
    const MASKS: [u64; 16] = {
        let mut masks = [u64::MAX; 16];
        let mut width = 0;
        while width < WORD {
            masks[width] = (1 << (8 * width)) - 1;
            width += 1;
        }
        masks
    };
    MASKS[usize::from(width & 15)]
}

impl<const N: usize> Packed<N> {
    /// Nothing, and no allocation.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let floors = self.floors.as_ref().map_or(0, BTreeSet::len);
        self.bytes + self.dir_bytes + floors * FLOOR_BYTES
    }

    fn count_dir(&mut self) {
        // As a deque grows: a clone may have less room, but is to be counted alike.
        let room = match self.dir.len() {
            0 => 0,
            len => len.next_power_of_two().max(4),
        };
        self.dir_bytes = heap::rounded(room * size_of::<Slot<N>>());
    }

    /// The row with the least id.
    pub(super) fn first(&self) -> Option<[u64; N]> {
        Some(self.dir.front()?.chunk.row(0))
    }

    /// The row with the greatest id.
    pub(super) fn last(&self) -> Option<[u64; N]> {
        let chunk = &self.dir.back()?.chunk;
        Some(chunk.row(chunk.len().checked_sub(1)?))
    }

    /// The row of an id.
    pub(super) fn get(&self, id: StreamId) -> Option<[u64; N]> {
        let chunk = &self.dir.get(self.chunk_of(id)?)?.chunk;
        chunk.search(id).ok().map(|at| chunk.row(at))
    }

    /// Puts a row in; gives back which one had the id.
    pub(super) fn insert(&mut self, row: [u64; N]) -> Option<[u64; N]> {
        let id = id_of(&row);
        let Some(at) = self.chunk_of(id) else {
            self.len += 1;
            self.add_chunk(0, id, third(&row), Chunk::of(std::iter::once(row)));
            return None;
        };
        let slot = self.dir.get(at)?;
        let (low, floor) = (slot.low.min(id), slot.floor.min(third(&row)));
        match slot.chunk.search(id) {
            Ok(i) => {
                let old = slot.chunk.row(i);
                self.mark(at, low, floor);
                self.edit(at, |chunk| chunk.replace(i, &row));
                Some(old)
            }
            Err(i) if slot.chunk.len() < CHUNK => {
                self.len += 1;
                self.mark(at, low, floor);
                self.edit(at, |chunk| chunk.insert(i, &row));
                None
            }
            Err(CHUNK) if at + 1 == self.dir.len() => {
                self.len += 1;
                self.edit(at, Chunk::pack);
                self.add_chunk(at + 1, id, third(&row), Chunk::of(std::iter::once(row)));
                None
            }
            Err(_) => {
                let floor = slot.floor;
                let upper = self.edit(at, Chunk::split_off_half)?;
                self.add_chunk(at + 1, id_of(&upper.row(0)), floor, upper);
                self.insert(row)
            }
        }
    }

    /// Takes the row of an id out.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<[u64; N]> {
        let at = self.chunk_of(id)?;
        let chunk = &self.dir.get(at)?.chunk;
        let i = chunk.search(id).ok()?;
        let row = chunk.row(i);
        self.len -= 1;
        if chunk.len() == 1 {
            self.drop_chunk(at);
        } else {
            self.edit(at, |chunk| chunk.remove(i));
            self.tidy(at);
        }
        Some(row)
    }

    /// Rows in the order of their ids.
    pub(super) fn iter(&self) -> Rows<'_, N> {
        self.range(StreamId::MIN)
    }

    /// Rows with ids from `id` on.
    pub(super) fn range(&self, id: StreamId) -> Rows<'_, N> {
        let chunk = self.chunk_of(id).unwrap_or(0);
        let slot = self.dir.get(chunk);
        let at = slot.map_or(0, |s| s.chunk.search(id).unwrap_or_else(|at| at));
        Rows {
            map: self,
            chunk,
            at,
        }
    }

    /// Rows with a third number below `limit`, in the order of their ids.
    pub(super) fn below(&self, limit: u64) -> impl Iterator<Item = [u64; N]> {
        let slots = self.dir.iter().filter(move |slot| slot.floor < limit);
        let rows = slots.flat_map(|slot| slot.chunk.rows(0, slot.chunk.len()));
        rows.filter(move |row| third(row) < limit)
    }

    /// The least third number.
    pub(super) fn least(&self) -> Option<u64> {
        let mut least = None;
        let mut look = |slot: &Slot<N>| {
            if least.is_some_and(|least| least <= slot.floor) {
                return false;
            }
            let here = slot.chunk.least().map(|row| third(&row));
            least = [least, here].into_iter().flatten().min();
            true
        };
        match &self.floors {
            Some(floors) => {
                let slots = floors.iter().filter_map(|(_, low)| self.slot_of(*low));
                let _ = slots.take_while(|slot| look(slot)).count();
            }
            None => self.dir.iter().for_each(|slot| _ = look(slot)),
        }
        least
    }

    /// The row with the least third number, of several the one with the least id.
    pub(super) fn find_least(&mut self) -> Option<[u64; N]> {
        if self.floors.is_none() && self.dir.len() > FEW {
            self.floors = Some(self.dir.iter().map(|s| (s.floor, s.low)).collect());
        }
        loop {
            let at = match &self.floors {
                Some(floors) => self.chunk_of(floors.first()?.1)?,
                None => {
                    let slots = self.dir.iter().enumerate();
                    slots.min_by_key(|(_, slot)| slot.floor)?.0
                }
            };
            let slot = self.dir.get(at)?;
            let row = slot.chunk.least()?;
            if third(&row) <= slot.floor {
                return Some(row);
            }
            self.mark(at, slot.low, third(&row));
        }
    }

    fn slot_of(&self, id: StreamId) -> Option<&Slot<N>> {
        self.dir.get(self.chunk_of(id)?)
    }

    /// Index of the chunk that holds `id` or would.
    #[inline]
    fn chunk_of(&self, id: StreamId) -> Option<usize> {
        let last = self.dir.len().checked_sub(1)?;
        if self.dir.get(last)?.low <= id {
            return Some(last);
        }
        // What was delivered first is acknowledged first.
        if self.dir.get(1).is_none_or(|slot| id < slot.low) {
            return Some(0);
        }
        let above = self.dir.partition_point(|slot| slot.low <= id);
        Some(above.saturating_sub(1))
    }

    /// Changes a chunk and keeps its size accounted.
    fn edit<R>(&mut self, at: usize, change: impl FnOnce(&mut Chunk<N>) -> R) -> Option<R> {
        let slot = self.dir.get_mut(at)?;
        let before = slot.chunk.data.capacity();
        let chunk = Arc::make_mut(&mut slot.chunk);
        let result = change(chunk);
        let after = chunk.data.capacity();
        if before != after {
            self.bytes += heap::rounded(after);
            self.bytes = self.bytes.saturating_sub(heap::rounded(before));
        }
        Some(result)
    }

    /// Sets the bounds of a chunk.
    fn mark(&mut self, at: usize, low: StreamId, floor: u64) {
        let Some(slot) = self.dir.get_mut(at) else {
            return;
        };
        if (slot.floor, slot.low) == (floor, low) {
            return;
        }
        if let Some(floors) = &mut self.floors {
            floors.remove(&(slot.floor, slot.low));
            floors.insert((floor, low));
        }
        (slot.floor, slot.low) = (floor, low);
    }

    fn add_chunk(&mut self, at: usize, low: StreamId, floor: u64, chunk: Chunk<N>) {
        self.bytes += chunk.bytes();
        if let Some(floors) = &mut self.floors {
            floors.insert((floor, low));
        }
        let chunk = Arc::new(chunk);
        self.dir.insert(at, Slot { low, floor, chunk });
        self.count_dir();
    }

    fn drop_chunk(&mut self, at: usize) -> Option<Slot<N>> {
        let slot = self.dir.remove(at)?;
        self.bytes = self.bytes.saturating_sub(slot.chunk.bytes());
        if let Some(floors) = &mut self.floors {
            floors.remove(&(slot.floor, slot.low));
        }
        if self.dir.is_empty() {
            (self.dir, self.floors) = (VecDeque::new(), None);
        }
        self.count_dir();
        Some(slot)
    }

    /// After a removal: merges a thin chunk into its neighbour, gives memory back.
    fn tidy(&mut self, at: usize) {
        let len = |at: usize| self.dir.get(at).map(|slot| slot.chunk.len());
        let Some(own) = len(at).filter(|len| *len < CHUNK / 4) else {
            return;
        };
        let fits = |other: Option<usize>| other.is_some_and(|len| own + len <= CHUNK * 3 / 4);
        if fits(len(at + 1)) {
            self.merge(at);
        } else if let Some(before) = at.checked_sub(1).filter(|before| fits(len(*before))) {
            self.merge(before);
        } else if self.dir.get(at).is_some_and(|slot| slot.chunk.is_loose()) {
            self.edit(at, Chunk::pack);
        }
    }

    /// Moves the chunk behind `at` into it.
    fn merge(&mut self, at: usize) {
        let Some(next) = self.drop_chunk(at + 1) else {
            return;
        };
        let Some(slot) = self.dir.get(at) else {
            return;
        };
        self.mark(at, slot.low, slot.floor.min(next.floor));
        let more = next.chunk.rows(0, next.chunk.len());
        self.edit(at, |chunk| {
            *chunk = Chunk::of(chunk.rows(0, chunk.len()).chain(more));
        });
    }
}

impl<const N: usize> Chunk<N> {
    /// These rows, in the least room.
    fn of(rows: impl Iterator<Item = [u64; N]> + Clone) -> Self {
        Self::with_reach(rows, 1)
    }

    /// These rows, where others are to fit that are so many times as far from the least.
    fn with_reach(rows: impl Iterator<Item = [u64; N]> + Clone, reach: u64) -> Self {
        let (mut base, mut most, mut len) = ([u64::MAX; N], [0; N], 0);
        for row in rows.clone() {
            for ((base, most), n) in base.iter_mut().zip(&mut most).zip(row) {
                (*base, *most) = (n.min(*base), n.max(*most));
            }
            len += 1;
        }
        let (mut width, mut offset, mut stride) = ([0; N], [0; N], 0);
        for column in [1, 0].into_iter().chain(2..N) {
            let span = most[column].saturating_sub(base[column]);
            // Ids are different.
            let least = if column < 2 { reach - 1 } else { 0 };
            let span = span.saturating_mul(reach).max(least);
            width[column] = (u64::BITS - span.leading_zeros()).div_ceil(8) as u8;
            offset[column] = stride;
            stride += width[column];
        }
        let room = usize::from(stride) * len;
        let mut chunk = Self {
            base,
            offset,
            width,
            stride,
            len: 0,
            data: vec![0; if room > 0 { room + WORD } else { 0 }],
        };
        for row in rows {
            chunk.write(chunk.len(), &row);
            chunk.len += 1;
        }
        chunk
    }

    fn len(&self) -> usize {
        self.len.into()
    }

    fn stride(&self) -> usize {
        self.stride.into()
    }

    fn bytes(&self) -> usize {
        heap::rounded(2 * size_of::<usize>() + size_of::<Self>())
            + heap::rounded(self.data.capacity())
    }

    /// Whether it has much more room than its rows take.
    fn is_loose(&self) -> bool {
        self.data.len() > 4 * (self.stride() * self.len() + WORD)
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        let word = self.data.get(at..at + WORD).and_then(|b| b.try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    }

    /// One number of the row whose bytes begin at `at`.
    #[inline]
    fn number(&self, at: usize, column: usize) -> u64 {
        let word = self.word(at + usize::from(self.offset[column]));
        self.base[column].wrapping_add(word & mask(self.width[column]))
    }

    #[inline]
    fn row(&self, at: usize) -> [u64; N] {
        let at = at * self.stride();
        if self.stride() > WORD {
            return std::array::from_fn(|column| self.number(at, column));
        }
        let word = self.word(at);
        std::array::from_fn(|column| {
            let number = word.wrapping_shr(8 * u32::from(self.offset[column]));
            self.base[column].wrapping_add(number & mask(self.width[column]))
        })
    }

    fn rows(&self, from: usize, to: usize) -> impl Iterator<Item = [u64; N]> + Clone {
        (from..to).map(|at| self.row(at))
    }

    /// The place of an id; where it would stand if it is not here.
    #[inline]
    fn search(&self, id: StreamId) -> Result<usize, usize> {
        let ([ms_base, seq_base, ..], [ms_width, seq_width, ..]) =
            (&self.base[..], &self.width[..])
        else {
            return Err(0);
        };
        let width = ms_width + seq_width;
        if usize::from(width) > WORD {
            return self.search_wide(id);
        }
        let Some(ms) = id.ms.checked_sub(*ms_base) else {
            return Err(0);
        };
        if ms > mask(*ms_width) {
            return Err(self.len());
        }
        let high = ms.wrapping_shl(8 * u32::from(*seq_width));
        // What is not among the numbers that a column can have stands before or behind all of them.
        let (key, can_be) = match id.seq.checked_sub(*seq_base) {
            None => (high, false),
            Some(seq) if seq <= mask(*seq_width) => (high | seq, true),
            Some(_) => match (high | mask(*seq_width)).checked_add(1) {
                Some(key) => (key, false),
                None => return Err(self.len()),
            },
        };
        let mask = mask(width);
        let at = self.lower_bound(|at| self.word(at) & mask < key);
        let found = can_be && at < self.len() && self.word(at * self.stride()) & mask == key;
        if found { Ok(at) } else { Err(at) }
    }

    #[cold]
    fn search_wide(&self, id: StreamId) -> Result<usize, usize> {
        let of = |at| (self.number(at, 0), self.number(at, 1));
        let at = self.lower_bound(|at| of(at) < (id.ms, id.seq));
        let found = at < self.len() && of(at * self.stride()) == (id.ms, id.seq);
        if found { Ok(at) } else { Err(at) }
    }

    /// How many rows are below, as `is_below` says of what begins at a place.
    #[inline]
    fn lower_bound(&self, is_below: impl Fn(usize) -> bool) -> usize {
        let (len, stride) = (self.len(), self.stride());
        // Ids come at the end and go from the front.
        if len == 0 || is_below((len - 1) * stride) {
            return len;
        }
        if !is_below(0) {
            return 0;
        }
        // The row at `low` is below; one of the `size` behind it is not.
        let (mut low, mut size) = (0, len - 1);
        while size > 1 {
            let half = size / 2;
            low += if is_below((low + half) * stride) {
                half
            } else {
                0
            };
            size -= half;
        }
        low + 1
    }

    /// The row with the least third number; the first of several.
    fn least(&self) -> Option<[u64; N]> {
        match self.width.get(2) {
            None => None,
            Some(0) => (self.len > 0).then(|| self.row(0)),
            Some(_) => {
                let least = (0..self.len()).min_by_key(|at| self.number(at * self.stride(), 2));
                least.map(|at| self.row(at))
            }
        }
    }

    #[inline]
    fn fits(&self, row: &[u64; N]) -> bool {
        let columns = self.base.iter().zip(self.width).zip(row);
        let beyond = columns.fold(0, |beyond, ((base, width), n)| {
            beyond | (n.wrapping_sub(*base) & !mask(width))
        });
        beyond == 0
    }

    /// Writes a row that fits.
    #[inline]
    fn write(&mut self, at: usize, row: &[u64; N]) {
        let at = at * self.stride();
        if self.stride() > WORD {
            return self.write_wide(at, row);
        }
        let mut word = self.word(at) & !mask(self.stride);
        for (column, n) in row.iter().enumerate() {
            let number = n.wrapping_sub(self.base[column]);
            word |= number.wrapping_shl(8 * u32::from(self.offset[column]));
        }
        self.set_word(at, word);
    }

    #[cold]
    fn write_wide(&mut self, at: usize, row: &[u64; N]) {
        for (column, n) in row.iter().enumerate() {
            let at = at + usize::from(self.offset[column]);
            let number = n.wrapping_sub(self.base[column]);
            self.set_word(at, (self.word(at) & !mask(self.width[column])) | number);
        }
    }

    #[inline]
    fn set_word(&mut self, at: usize, word: u64) {
        if let Some(place) = self.data.get_mut(at..at + WORD) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }

    fn insert(&mut self, at: usize, row: &[u64; N]) {
        if !self.fits(row) {
            let (before, behind) = (self.rows(0, at), self.rows(at, self.len()));
            *self = Self::with_reach(before.chain(std::iter::once(*row)).chain(behind), 2);
            return;
        }
        let (stride, used) = (self.stride(), self.stride() * self.len());
        if stride > 0 {
            self.make_room(used + stride + WORD);
            if at < self.len() {
                let at = at * stride;
                self.data.copy_within(at..used, at + stride);
            }
        }
        self.write(at, row);
        self.len += 1;
    }

    #[inline]
    fn make_room(&mut self, bytes: usize) {
        if bytes > self.data.len() {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let most = CHUNK * self.stride() + WORD;
        let room = (bytes * 3 / 2).next_multiple_of(2 * WORD).min(most);
        self.data.reserve_exact(room - self.data.len());
        self.data.resize(room, 0);
    }

    fn replace(&mut self, at: usize, row: &[u64; N]) {
        if self.fits(row) {
            self.write(at, row);
        } else {
            let (before, behind) = (self.rows(0, at), self.rows(at + 1, self.len()));
            *self = Self::with_reach(before.chain(std::iter::once(*row)).chain(behind), 2);
        }
    }

    fn remove(&mut self, at: usize) {
        let (stride, used) = (self.stride(), self.stride() * self.len());
        if stride > 0 {
            let at = at * stride;
            self.data.copy_within(at + stride..used, at);
        }
        self.len -= 1;
    }

    /// Gives back what room there is to spare.
    fn pack(&mut self) {
        *self = Self::of(self.rows(0, self.len()));
    }

    /// Takes the upper half out.
    fn split_off_half(&mut self) -> Self {
        let half = self.len() / 2;
        let upper = Self::of(self.rows(half, self.len()));
        *self = Self::of(self.rows(0, half));
        upper
    }
}

/// Rows in the order of their ids.
#[derive(Clone)]
pub(super) struct Rows<'a, const N: usize> {
    map: &'a Packed<N>,
    chunk: usize,
    at: usize,
}

impl<const N: usize> Iterator for Rows<'_, N> {
    type Item = [u64; N];

    #[inline]
    fn next(&mut self) -> Option<[u64; N]> {
        loop {
            let chunk = &self.map.dir.get(self.chunk)?.chunk;
            if self.at < chunk.len() {
                self.at += 1;
                return Some(chunk.row(self.at - 1));
            }
            (self.chunk, self.at) = (self.chunk + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(u64, u64), [u64; 2]>;

    fn row((ms, seq): (u64, u64), [a, b]: [u64; 2]) -> [u64; 4] {
        [ms, seq, a, b]
    }

    /// Asserts every invariant.
    fn check(map: &Packed<4>, model: &Model) {
        assert_eq!(map.len(), model.len());
        assert!(
            map.iter()
                .eq(model.iter().map(|(id, rest)| row(*id, *rest)))
        );
        let bytes: usize = map.dir.iter().map(|slot| slot.chunk.bytes()).sum();
        assert_eq!(map.bytes, bytes);
        for slot in &map.dir {
            let chunk = &slot.chunk;
            let stride: usize = chunk.width.iter().map(|w| usize::from(*w)).sum();
            assert_eq!(chunk.stride(), stride);
            assert!((1..=CHUNK).contains(&chunk.len()));
            let room = if stride > 0 {
                stride * chunk.len() + WORD
            } else {
                0
            };
            assert!((room..=CHUNK * stride + WORD).contains(&chunk.data.len()));
            assert_eq!(chunk.data.is_empty(), stride == 0);
            assert!(slot.low <= id_of(&chunk.row(0)));
            assert!(chunk.rows(0, chunk.len()).all(|row| row[2] >= slot.floor));
        }
        for (slot, next) in map.dir.iter().zip(map.dir.iter().skip(1)) {
            assert!(id_of(&slot.chunk.row(slot.chunk.len() - 1)) < next.low);
        }
        if let Some(floors) = &map.floors {
            let want: BTreeSet<_> = map.dir.iter().map(|s| (s.floor, s.low)).collect();
            assert_eq!(floors, &want);
        }
        let least = model.iter().map(|(id, rest)| (rest[0], *id)).min();
        assert_eq!(map.least(), least.map(|(third, _)| third));
        let found = map
            .clone()
            .find_least()
            .map(|row| (row[2], (row[0], row[1])));
        assert_eq!(found, least);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert((u64, u64), [u64; 2]),
        Run(u64, u64, [u64; 2]),
        Remove((u64, u64)),
        Least,
        Clone,
        Drain(u64),
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 0..9u64, 3 => 250..260u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
    }

    fn op() -> impl Strategy<Value = Op> {
        let id = || prop_oneof![6 => (0..9u64, 0..60u64), 1 => (number(), number())];
        prop_oneof![
            6 => (id(), [number(), number()]).prop_map(|(id, rest)| Op::Insert(id, rest)),
            2 => (0..9u64, 0..200u64, [number(), number()]).prop_map(|(ms, n, rest)| Op::Run(ms, n, rest)),
            6 => id().prop_map(Op::Remove),
            2 => Just(Op::Least),
            1 => Just(Op::Clone),
            1 => (0..9u64).prop_map(Op::Drain),
        ]
    }

    fn put(map: &mut Packed<4>, model: &mut Model, id: (u64, u64), rest: [u64; 2]) {
        let had = map.insert(row(id, rest));
        assert_eq!(had, model.insert(id, rest).map(|rest| row(id, rest)));
    }

    fn take(map: &mut Packed<4>, model: &mut Model, id: (u64, u64)) {
        let had = map.remove(StreamId::new(id.0, id.1));
        assert_eq!(had, model.remove(&id).map(|rest| row(id, rest)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn behaves_like_a_btreemap(ops in prop::collection::vec(op(), 0..100)) {
            let (mut map, mut model) = (Packed::<4>::new(), Model::new());
            for op in ops {
                let frozen = (map.clone(), model.clone());
                match op {
                    Op::Insert(id, rest) => put(&mut map, &mut model, id, rest),
                    Op::Run(ms, n, rest) => {
                        (0..n).for_each(|seq| put(&mut map, &mut model, (ms, seq), rest));
                    }
                    Op::Remove(id) => {
                        take(&mut map, &mut model, id);
                        let from = StreamId::new(id.0, id.1);
                        let want = model.range(id..).map(|(id, rest)| row(*id, *rest));
                        prop_assert!(map.range(from).eq(want));
                        prop_assert_eq!(map.get(from), None);
                    }
                    Op::Least => {
                        let least = model.iter().map(|(id, rest)| (rest[0], *id)).min();
                        let found = map.find_least();
                        prop_assert_eq!(found.map(|row| (row[2], (row[0], row[1]))), least);
                    }
                    Op::Clone => map = map.clone(),
                    Op::Drain(ms) => {
                        let ids: Vec<_> = model.keys().filter(|id| id.0 == ms).copied().collect();
                        ids.into_iter().for_each(|id| take(&mut map, &mut model, id));
                    }
                }
                check(&map, &model);
                prop_assert!(frozen.0.iter().eq(frozen.1.iter().map(|(id, rest)| row(*id, *rest))));
            }
            for (id, rest) in &model {
                prop_assert_eq!(map.get(StreamId::new(id.0, id.1)), Some(row(*id, *rest)));
            }
            let below: Vec<_> = map.below(255).collect();
            prop_assert!(map.iter().filter(|row| row[2] < 255).eq(below));
            let edges = (model.first_key_value(), model.last_key_value());
            prop_assert_eq!(map.first(), edges.0.map(|(id, rest)| row(*id, *rest)));
            prop_assert_eq!(map.last(), edges.1.map(|(id, rest)| row(*id, *rest)));
        }
    }

    #[test]
    fn rows_with_much_in_common_take_few_bytes() {
        let mut map = Packed::new();
        for i in 0..100_000u64 {
            map.insert([1_700_000_000_000 + i / 8, i % 8, 1_700_000_001_000, 1, 3]);
        }
        assert_eq!(map.dir.len(), 100_000usize.div_ceil(CHUNK));
        assert!(map.bytes() < 100_000 * 4, "{}", map.bytes());
        (0..100_000u64).for_each(|i| {
            assert!(
                map.remove(StreamId::new(1_700_000_000_000 + i / 8, i % 8))
                    .is_some()
            );
        });
        assert_eq!((map.bytes(), map.len()), (0, 0));
    }

    #[test]
    fn the_least_is_found_among_many() {
        let (mut map, mut model) = (Packed::new(), Model::new());
        for i in 0..10_000u64 {
            let (id, rest) = ((i, 0), [i.wrapping_mul(7919) % 10_007, i]);
            put(&mut map, &mut model, id, rest);
        }
        let mut last = 0;
        for i in 0..10_000 {
            let [ms, seq, least, _] = map.find_least().unwrap();
            assert!(least >= last);
            last = least;
            take(&mut map, &mut model, (ms, seq));
            if i % 1000 == 0 {
                assert!(map.floors.is_some());
                check(&map, &model);
            }
        }
        assert_eq!(map.bytes(), 0);
    }
}
