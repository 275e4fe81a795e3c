//! Deadlines in order: what is next is at hand, and one is drawn at random in O(1).
//!
//! A sorted list in pieces of up to 512 deadlines, beside the first of each piece. An insert moves half a piece in
//! memory, which costs less than the way down a tree; deadlines that come in order fill pieces to the last place.
//!
//! Deadlines that are next to each other in order are near each other in time: 12 bytes hold one, and what it is for.

use crate::util::heap;

/// A deadline, and what it is for: numbers that mean something to their owner alone.
pub type Item = (i64, u64);

/// Items of a piece at most. Tests of this crate use small pieces, to see more of them.
const PIECE: usize = if cfg!(test) { 8 } else { 512 };

/// Deadlines in order, each item once.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// In order, none of them empty.
    pieces: Vec<Piece>,
    /// The first item of each piece.
    firsts: Vec<Item>,
    len: usize,
    /// Bytes that the pieces have allocated.
    heap: usize,
}

impl Deadlines {
    /// None, without any allocation.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            firsts: Vec::new(),
            len: 0,
            heap: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap, in O(1).
    #[must_use]
    pub const fn heap_size(&self) -> usize {
        self.heap
            + self.pieces.capacity() * size_of::<Piece>()
            + self.firsts.capacity() * size_of::<Item>()
    }

    /// The next.
    #[must_use]
    pub fn first(&self) -> Option<&Item> {
        self.firsts.first()
    }

    /// The last.
    #[must_use]
    pub fn last(&self) -> Option<Item> {
        let last = self.pieces.last()?;
        last.get(last.len() - 1)
    }

    /// How many are before `at`.
    #[must_use]
    pub fn before(&self, at: i64) -> usize {
        let bound = (at, 0);
        let whole = self.firsts.partition_point(|first| *first < bound);
        let Some(last) = whole.checked_sub(1).and_then(|i| self.pieces.get(i)) else {
            return 0;
        };
        let full = self.pieces.iter().take(whole - 1);
        full.map(Piece::len).sum::<usize>() + last.find(bound).unwrap_or_else(|index| index)
    }

    /// One of them, each with the same chance.
    pub fn random(&self, mut rng: impl FnMut() -> u64) -> Option<Item> {
        let mut scaled = |bound: usize| (((rng() >> 32) * bound as u64) >> 32) as usize;
        if let [only] = &*self.pieces {
            return only.get(scaled(only.len()));
        }
        // A draw that hits no item of a piece is repeated; only a generator that is broken needs the bound.
        for _ in 0..1000 {
            let piece = self.pieces.get(scaled(self.pieces.len()))?;
            if let Some(item) = piece.get(scaled(PIECE)) {
                return Some(item);
            }
        }
        self.first().copied()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Item> {
        self.pieces.iter().flat_map(Piece::iter)
    }

    /// Adds one; whether it is new.
    pub fn insert(&mut self, item: Item) -> bool {
        let at = self.piece_of(item);
        let is_last = at + 1 == self.pieces.len();
        let Some(piece) = self.pieces.get_mut(at) else {
            self.add_piece(0, Piece::of(1, [item].into_iter()), item);
            self.len += 1;
            return true;
        };
        let Err(index) = piece.find(item) else {
            return false;
        };
        if piece.len() < PIECE {
            let before = piece.heap();
            piece.insert(index, item);
            self.heap = self.heap + piece.heap() - before;
            if index == 0 {
                self.firsts[at] = item;
            }
            self.len += 1;
            return true;
        }
        if index == PIECE && is_last {
            self.add_piece(at + 1, Piece::of(PIECE / 8, [item].into_iter()), item);
            self.len += 1;
            return true;
        }
        let before = piece.heap();
        let upper = piece.split();
        self.heap = self.heap + piece.heap() - before;
        if let Some(first) = upper.get(0) {
            self.add_piece(at + 1, upper, first);
        }
        self.insert(item)
    }

    fn add_piece(&mut self, at: usize, piece: Piece, first: Item) {
        self.heap += piece.heap();
        self.pieces.insert(at, piece);
        self.firsts.insert(at, first);
    }

    /// Removes one; whether it was there.
    pub fn remove(&mut self, item: Item) -> bool {
        let at = self.piece_of(item);
        let Some(piece) = self.pieces.get_mut(at) else {
            return false;
        };
        let Ok(index) = piece.find(item) else {
            return false;
        };
        piece.remove(index);
        self.len -= 1;
        if let (0, Some(first)) = (index, piece.get(0)) {
            self.firsts[at] = first;
        }
        self.tidy(at);
        true
    }

    /// Removes the next.
    pub fn pop_first(&mut self) -> Option<Item> {
        let first = *self.first()?;
        self.remove(first);
        Some(first)
    }

    /// Gives up room that a piece does not need any more.
    fn tidy(&mut self, at: usize) {
        let piece = &mut self.pieces[at];
        let len = piece.len();
        if len == 0 {
            self.drop_piece(at);
            if self.is_empty() {
                *self = Self::new();
            }
            return;
        }
        let before = piece.heap();
        piece.tighten();
        self.heap = self.heap + piece.heap() - before;
        if len <= PIECE / 8
            && let Some(next) = self.pieces.get(at + 1)
            && next.len() + len <= PIECE / 2
        {
            let next = self.drop_piece(at + 1);
            let piece = &mut self.pieces[at];
            self.heap -= piece.heap();
            *piece = Piece::of(len + next.len(), piece.iter().chain(next.iter()));
            self.heap += piece.heap();
        }
    }

    fn drop_piece(&mut self, at: usize) -> Piece {
        let piece = self.pieces.remove(at);
        self.firsts.remove(at);
        self.heap -= piece.heap();
        if self.pieces.capacity() > 4 * self.pieces.len() + 16 {
            self.pieces.shrink_to(2 * self.pieces.len());
            self.firsts.shrink_to(2 * self.firsts.len());
        }
        piece
    }

    /// The piece in which an item is or belongs.
    fn piece_of(&self, item: Item) -> usize {
        let behind = self.firsts.partition_point(|first| *first <= item);
        behind.saturating_sub(1)
    }
}

impl Clone for Deadlines {
    fn clone(&self) -> Self {
        let pieces = self.pieces.clone();
        Self {
            // A clone has no room to spare.
            heap: pieces.iter().map(Piece::heap).sum(),
            pieces,
            firsts: self.firsts.clone(),
            len: self.len,
        }
    }
}

/// Both halves of what a deadline is for, the lower first, and how far it is behind the base of its piece.
type Near = [u32; 3];

/// Items in order, in about as much room as they need.
#[derive(Clone, Debug)]
enum Piece {
    /// All of them within 49 days.
    Near { base: i64, items: Vec<Near> },
    /// Too far from each other for that.
    Far(Vec<Item>),
}

impl Piece {
    /// These items, which are in order, with room for so many.
    fn of(room: usize, items: impl Iterator<Item = Item> + Clone) -> Self {
        let ends = items.clone().next().zip(items.clone().last());
        let base = ends.and_then(|(first, last)| base_of(first.0, last.0));
        Self::with(base, room, items)
    }

    fn with(base: Option<i64>, room: usize, items: impl Iterator<Item = Item>) -> Self {
        match base {
            Some(base) => {
                let mut near_ones = Vec::with_capacity(room);
                near_ones.extend(items.filter_map(|item| near(base, item)));
                let items = near_ones;
                Self::Near { base, items }
            }
            None => {
                let mut far_ones = Vec::with_capacity(room);
                far_ones.extend(items);
                Self::Far(far_ones)
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Near { items, .. } => items.len(),
            Self::Far(items) => items.len(),
        }
    }

    fn heap(&self) -> usize {
        match self {
            Self::Near { items, .. } => items.capacity() * size_of::<Near>(),
            Self::Far(items) => items.capacity() * size_of::<Item>(),
        }
    }

    fn get(&self, index: usize) -> Option<Item> {
        match self {
            Self::Near { base, items } => items.get(index).map(|near| item(*base, *near)),
            Self::Far(items) => items.get(index).copied(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = Item> + Clone {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Where an item is, or where it belongs.
    fn find(&self, wanted: Item) -> Result<usize, usize> {
        match self {
            Self::Near { base, items } => match near(*base, wanted) {
                Some(near) => items.binary_search_by_key(&order(near), |near| order(*near)),
                None if wanted.0 < *base => Err(0),
                None => Err(items.len()),
            },
            Self::Far(items) => items.binary_search(&wanted),
        }
    }

    /// Adds an item where it belongs.
    fn insert(&mut self, index: usize, item: Item) {
        if let Self::Near { base, .. } = self
            && near(*base, item).is_none()
        {
            let (mut least, mut most) = (item.0, item.0);
            if let (Some(first), Some(last)) = (self.get(0), self.get(self.len() - 1)) {
                (least, most) = (least.min(first.0), most.max(last.0));
            }
            *self = Self::with(base_of(least, most), self.len() + 1, self.iter());
        }
        match self {
            Self::Near { base, items } => {
                if let Some(near) = near(*base, item) {
                    grow(items);
                    items.insert(index, near);
                }
            }
            Self::Far(items) => {
                grow(items);
                items.insert(index, item);
            }
        }
    }

    /// Cuts the upper half off.
    fn split(&mut self) -> Self {
        let half = self.len() / 2;
        match self {
            Self::Near { base, items } => {
                let (base, upper) = (*base, items[half..].to_vec());
                *items = items[..half].to_vec();
                Self::Near { base, items: upper }
            }
            // The halves may not be that far.
            Self::Far(items) => {
                let upper = Self::of(items.len() - half, items.iter().skip(half).copied());
                *self = Self::of(half, self.iter().take(half));
                upper
            }
        }
    }

    fn remove(&mut self, index: usize) {
        match self {
            Self::Near { items, .. } => _ = items.remove(index),
            Self::Far(items) => _ = items.remove(index),
        }
    }

    /// Gives up room when there is far too much.
    fn tighten(&mut self) {
        match self {
            Self::Near { items, .. } => tighten(items),
            Self::Far(items) => tighten(items),
        }
    }
}

/// A base for deadlines between these two, with room on either side; none if they are too far from each other.
fn base_of(least: i64, most: i64) -> Option<i64> {
    let free = i64::from(u32::MAX).checked_sub(most.checked_sub(least)?)?;
    (free >= 0).then(|| least.saturating_sub(free / 2))
}

fn near(base: i64, (at, what): Item) -> Option<Near> {
    let offset = u32::try_from(at.checked_sub(base)?).ok()?;
    Some([what as u32, (what >> 32) as u32, offset])
}

fn item(base: i64, [lower, upper, offset]: Near) -> Item {
    let what = u64::from(upper) << 32 | u64::from(lower);
    (base + i64::from(offset), what)
}

/// Ascends with the item.
fn order([lower, upper, offset]: Near) -> u128 {
    u128::from(offset) << 64 | u128::from(upper) << 32 | u128::from(lower)
}

/// Room for so many and a few more: as many as the allocator gives for that.
fn room_for<T>(len: usize) -> usize {
    let room = heap::rounded((len + len / 16 + 1) * size_of::<T>()) / size_of::<T>();
    room.min(PIECE).max(len)
}

fn grow<T>(items: &mut Vec<T>) {
    let len = items.len();
    if len == items.capacity() {
        items.reserve_exact(room_for::<T>(len + 1) - len);
    }
}

fn tighten<T: Copy>(items: &mut Vec<T>) {
    let len = items.len();
    if items.capacity() > len + len / 3 + 8 {
        // Allocators that are asked for less than before, but not for half as much, leave it at that.
        let mut fewer = Vec::with_capacity(room_for::<T>(len));
        fewer.extend_from_slice(items);
        *items = fewer;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::util::rng::Rng;

    fn check(deadlines: &Deadlines, model: &BTreeSet<Item>) {
        assert!(deadlines.iter().eq(model.iter().copied()));
        assert_eq!(deadlines.len(), model.len());
        assert_eq!(deadlines.is_empty(), model.is_empty());
        assert_eq!(deadlines.first(), model.first());
        assert_eq!(deadlines.last(), model.last().copied());
        let firsts = deadlines.pieces.iter().filter_map(|piece| piece.get(0));
        assert!(firsts.eq(deadlines.firsts.iter().copied()));
        let heap: usize = deadlines.pieces.iter().map(Piece::heap).sum();
        assert_eq!(deadlines.heap, heap);
        assert!(deadlines.pieces.iter().all(|piece| piece.len() <= PIECE));
    }

    #[test]
    fn does_what_an_ordered_set_does() {
        let mut rng = Rng::seed_from_u64(1);
        let (mut deadlines, mut model) = (Deadlines::new(), BTreeSet::new());
        for round in 0..4000 {
            let item = (rng.below(300) as i64, rng.below(3));
            // It grows, then shrinks to nothing.
            if rng.chance(if round < 2000 { 0.7 } else { 0.2 }) {
                assert_eq!(deadlines.insert(item), model.insert(item));
            } else {
                assert_eq!(deadlines.remove(item), model.remove(&item));
            }
            if round % 7 == 0 {
                assert_eq!(deadlines.pop_first(), model.pop_first());
            }
            assert_eq!(deadlines.before(150), model.range(..(150, 0)).count());
            check(&deadlines, &model);
        }
        while let Some(first) = deadlines.pop_first() {
            assert_eq!(model.pop_first(), Some(first));
            check(&deadlines, &model);
        }
        assert_eq!(deadlines.heap_size(), 0);
    }

    proptest! {
        // Deadlines that are near each other, far from each other, and at the ends of what there is.
        #[test]
        fn does_so_wherever_deadlines_are(
            ops in prop::collection::vec(
                (
                    prop_oneof![
                        Just(i64::MIN),
                        Just(i64::MAX - 3),
                        Just(0),
                        Just(i64::from(u32::MAX)),
                        Just(1_700_000_000_000),
                        any::<i64>(),
                        (0..40i64).prop_map(|n| n << 30),
                    ],
                    0..4i64,
                    prop_oneof![0..2u64, any::<u64>()],
                    0..4u8,
                ),
                1..200,
            ),
        ) {
            let (mut deadlines, mut model) = (Deadlines::new(), BTreeSet::new());
            for (near, more, what, action) in ops {
                let item = (near.saturating_add(more), what);
                match action {
                    0 => {
                        let item = model.range(item..).next().copied().unwrap_or(item);
                        assert_eq!(deadlines.remove(item), model.remove(&item));
                    }
                    _ => assert_eq!(deadlines.insert(item), model.insert(item)),
                }
                let before = model.range(..(item.0, 0)).count();
                prop_assert_eq!(deadlines.before(item.0), before);
                check(&deadlines, &model);
            }
            check(&deadlines.clone(), &model);
            while let Some(first) = deadlines.pop_first() {
                prop_assert_eq!(model.pop_first(), Some(first));
                check(&deadlines, &model);
            }
            prop_assert_eq!(deadlines.heap_size(), 0);
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_pieces() {
        let mut deadlines = Deadlines::new();
        (0..800).for_each(|at| _ = deadlines.insert((at, 0)));
        assert_eq!(deadlines.pieces.len(), 800 / PIECE);
        assert_eq!(deadlines.heap, 800 * 12);
        assert!(
            deadlines
                .pieces
                .iter()
                .all(|piece| matches!(piece, Piece::Near { .. }))
        );
    }

    #[test]
    fn each_is_drawn_as_often_as_the_others() {
        let mut rng = Rng::seed_from_u64(2);
        let mut deadlines = Deadlines::new();
        // Pieces that are full, and sparse ones.
        (0..200).for_each(|at| _ = deadlines.insert((at, 0)));
        (0..100)
            .filter(|at| at % 3 > 0)
            .for_each(|at| _ = deadlines.remove((at, 0)));
        let mut drawn = [0u32; 200];
        let n = deadlines.len();
        for _ in 0..n * 200 {
            let (at, _) = deadlines.random(|| rng.next_u64()).unwrap();
            drawn[at as usize] += 1;
        }
        for (at, _) in deadlines.iter() {
            let times = drawn[at as usize];
            assert!((120..290).contains(&times), "{at} was drawn {times} times");
        }
        assert_eq!(Deadlines::new().random(|| rng.next_u64()), None);
        // A generator that is broken still ends.
        assert!(deadlines.random(|| u64::MAX).is_some());
    }
}
