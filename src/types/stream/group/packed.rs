//! Rows of numbers under stream ids, packed: what groups and consumers keep of pending entries.
//!
//! ```text
//! row    = ms  seq  further numbers
//! number = its distance from the base of its column, little-endian, in as many bytes as the greatest of the chunk takes
//! ```
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
    /// Bytes of each number.
    width: [u8; N],
    /// Bytes of a row.
    stride: u16,
    len: u16,
    /// The rows, and a word behind them.
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
    u64::MAX
        .checked_shr(64 - 8 * u32::from(width))
        .unwrap_or_default()
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
        // As a deque grows: a clone may have less room, but is to be counted alike.
        let room = match self.dir.len() {
            0 => 0,
            len => len.next_power_of_two().max(4),
        };
        let floors = self.floors.as_ref().map_or(0, BTreeSet::len);
        self.bytes + heap::rounded(room * size_of::<Slot<N>>()) + floors * FLOOR_BYTES
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
        let before = slot.chunk.bytes();
        let chunk = Arc::make_mut(&mut slot.chunk);
        let result = change(chunk);
        self.bytes = (self.bytes + chunk.bytes()).saturating_sub(before);
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
        let (mut base, mut most, mut len) = ([u64::MAX; N], [0; N], 0);
        for row in rows.clone() {
            for ((base, most), n) in base.iter_mut().zip(&mut most).zip(row) {
                (*base, *most) = (n.min(*base), n.max(*most));
            }
            len += 1;
        }
        let mut width = [0; N];
        for ((width, base), most) in width.iter_mut().zip(base).zip(most) {
            let bits = u64::BITS - most.saturating_sub(base).leading_zeros();
            *width = bits.div_ceil(8) as u8;
        }
        let stride: u16 = width.iter().copied().map(u16::from).sum();
        let room = usize::from(stride) * len;
        let mut chunk = Self {
            base,
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
        self.data.capacity() > 4 * (self.stride() * self.len() + WORD)
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        let word = self.data.get(at..at + WORD).and_then(|b| b.try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    }

    /// One number of a row, where its bytes begin and how they are counted being known.
    #[inline]
    fn number(&self, at: usize, base: u64, width: u8) -> u64 {
        base.wrapping_add(self.word(at) & mask(width))
    }

    #[inline]
    fn row(&self, at: usize) -> [u64; N] {
        let (mut row, mut at) = ([0; N], at * self.stride());
        for ((n, base), width) in row.iter_mut().zip(self.base).zip(self.width) {
            *n = self.number(at, base, width);
            at += usize::from(width);
        }
        row
    }

    fn rows(&self, from: usize, to: usize) -> impl Iterator<Item = [u64; N]> + Clone {
        (from..to).map(|at| self.row(at))
    }

    #[inline]
    fn id(&self, at: usize) -> u128 {
        let at = at * self.stride();
        let (&[ms_base, seq_base, ..], &[ms, seq, ..]) = (&self.base[..], &self.width[..]) else {
            return 0;
        };
        let high = self.number(at, ms_base, ms);
        let low = self.number(at + usize::from(ms), seq_base, seq);
        u128::from(high) << 64 | u128::from(low)
    }

    /// The place of an id; where it would stand if it is not here.
    fn search(&self, id: StreamId) -> Result<usize, usize> {
        let id = u128::from(id.ms) << 64 | u128::from(id.seq);
        let Some(last) = self.len().checked_sub(1) else {
            return Err(0);
        };
        // Ids come at the end and go from the front.
        if self.id(last) < id {
            return Err(last + 1);
        }
        if id <= self.id(0) {
            return if id == self.id(0) { Ok(0) } else { Err(0) };
        }
        // The id at `low` is below; one of the `size` behind it is not.
        let (mut low, mut size) = (0, last);
        while size > 1 {
            let half = size / 2;
            low += if self.id(low + half) < id { half } else { 0 };
            size -= half;
        }
        if self.id(low + 1) == id {
            Ok(low + 1)
        } else {
            Err(low + 1)
        }
    }

    /// The row with the least third number; the first of several.
    fn least(&self) -> Option<[u64; N]> {
        let (Some(&base), Some(&width)) = (self.base.get(2), self.width.get(2)) else {
            return None;
        };
        if width == 0 {
            return (self.len > 0).then(|| self.row(0));
        }
        let skip: u8 = self.width.iter().take(2).sum();
        let number = |at: &usize| self.number(at * self.stride() + usize::from(skip), base, width);
        (0..self.len()).min_by_key(number).map(|at| self.row(at))
    }

    fn fits(&self, row: &[u64; N]) -> bool {
        let columns = self.base.iter().zip(self.width).zip(row);
        columns
            .map(|((base, width), n)| n.wrapping_sub(*base) <= mask(width))
            .fold(true, |all, one| all & one)
    }

    /// Writes a row that fits.
    #[inline]
    fn write(&mut self, at: usize, row: &[u64; N]) {
        let mut at = at * self.stride();
        for ((n, base), width) in row.iter().zip(self.base).zip(self.width) {
            let word = (self.word(at) & !mask(width)) | n.wrapping_sub(base);
            if let Some(place) = self.data.get_mut(at..at + WORD) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            at += usize::from(width);
        }
    }

    fn insert(&mut self, at: usize, row: &[u64; N]) {
        if !self.fits(row) {
            let (before, behind) = (self.rows(0, at), self.rows(at, self.len()));
            *self = Self::of(before.chain(std::iter::once(*row)).chain(behind));
            return;
        }
        let (stride, used) = (self.stride(), self.stride() * self.len());
        if stride > 0 {
            self.data.resize(used + stride + WORD, 0);
            let at = at * stride;
            self.data.copy_within(at..used, at + stride);
        }
        self.write(at, row);
        self.len += 1;
    }

    fn replace(&mut self, at: usize, row: &[u64; N]) {
        if self.fits(row) {
            self.write(at, row);
        } else {
            let (before, behind) = (self.rows(0, at), self.rows(at + 1, self.len()));
            *self = Self::of(before.chain(std::iter::once(*row)).chain(behind));
        }
    }

    fn remove(&mut self, at: usize) {
        let (stride, used) = (self.stride(), self.stride() * self.len());
        if stride > 0 {
            let at = at * stride;
            self.data.copy_within(at + stride..used, at);
            self.data.truncate(used - stride + WORD);
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
            assert_eq!(chunk.data.len(), room);
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
