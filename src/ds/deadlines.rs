//! Deadlines in order: what is next is at hand, and one is drawn at random in O(1).
//!
//! A sorted list in pieces of up to 512 deadlines, beside the first of each piece. An insert moves half a piece in
//! memory, which costs less than the way down a tree; deadlines that come in order fill pieces to the last place.

/// A deadline, and what it is for: numbers that mean something to their owner alone.
pub type Item = (i64, u64);

/// Items of a piece at most. Tests of this crate use small pieces, to see more of them.
const PIECE: usize = if cfg!(test) { 8 } else { 512 };

/// Deadlines in order, each item once.
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    /// In order, none of them empty.
    pieces: Vec<Vec<Item>>,
    /// The first item of each piece.
    firsts: Vec<Item>,
    len: usize,
    /// Items that the pieces have room for.
    room: usize,
}

impl Deadlines {
    /// None, without any allocation.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            firsts: Vec::new(),
            len: 0,
            room: 0,
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
        self.room * size_of::<Item>()
            + self.pieces.capacity() * size_of::<Vec<Item>>()
            + self.firsts.capacity() * size_of::<Item>()
    }

    /// The next.
    #[must_use]
    pub fn first(&self) -> Option<&Item> {
        self.firsts.first()
    }

    /// The last.
    #[must_use]
    pub fn last(&self) -> Option<&Item> {
        self.pieces.last()?.last()
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
        full.map(Vec::len).sum::<usize>() + last.partition_point(|item| *item < bound)
    }

    /// One of them, each with the same chance.
    pub fn random(&self, mut rng: impl FnMut() -> u64) -> Option<Item> {
        let mut scaled = |bound: usize| (((rng() >> 32) * bound as u64) >> 32) as usize;
        if let [only] = &*self.pieces {
            return only.get(scaled(only.len())).copied();
        }
        // A draw that hits no item of a piece is repeated; only a generator that is broken needs the bound.
        for _ in 0..1000 {
            let piece = self.pieces.get(scaled(self.pieces.len()))?;
            if let Some(item) = piece.get(scaled(PIECE)) {
                return Some(*item);
            }
        }
        self.first().copied()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        self.pieces.iter().flatten()
    }

    /// Adds one; whether it is new.
    pub fn insert(&mut self, item: Item) -> bool {
        let at = self.piece_of(item);
        let is_last = at + 1 == self.pieces.len();
        let Some(piece) = self.pieces.get_mut(at) else {
            self.add_piece(0, Vec::with_capacity(1), item);
            return true;
        };
        let Err(index) = piece.binary_search(&item) else {
            return false;
        };
        if piece.len() < PIECE {
            Self::insert_into(piece, index, item, &mut self.room);
            if index == 0 {
                self.firsts[at] = item;
            }
            self.len += 1;
            return true;
        }
        if index == PIECE && is_last {
            self.add_piece(at + 1, Vec::with_capacity(PIECE / 8), item);
            return true;
        }
        let upper = piece.split_off(PIECE / 2);
        self.room += upper.capacity();
        self.firsts.insert(at + 1, upper[0]);
        self.pieces.insert(at + 1, upper);
        self.insert(item)
    }

    fn insert_into(piece: &mut Vec<Item>, index: usize, item: Item, room: &mut usize) {
        let len = piece.len();
        if len == piece.capacity() {
            piece.reserve_exact((len / 2).max(2).min(PIECE - len));
            *room += piece.capacity() - len;
        }
        piece.insert(index, item);
    }

    fn add_piece(&mut self, at: usize, mut piece: Vec<Item>, item: Item) {
        piece.push(item);
        self.room += piece.capacity();
        self.len += 1;
        self.pieces.insert(at, piece);
        self.firsts.insert(at, item);
    }

    /// Removes one; whether it was there.
    pub fn remove(&mut self, item: Item) -> bool {
        let at = self.piece_of(item);
        let Some(piece) = self.pieces.get_mut(at) else {
            return false;
        };
        let Ok(index) = piece.binary_search(&item) else {
            return false;
        };
        piece.remove(index);
        self.len -= 1;
        if let (0, Some(first)) = (index, piece.first()) {
            self.firsts[at] = *first;
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
        let (len, room) = (piece.len(), piece.capacity());
        if len == 0 {
            self.drop_piece(at);
            if self.is_empty() {
                *self = Self::new();
            }
            return;
        }
        if room > 2 * len + 8 {
            piece.shrink_to(len + len / 4);
            self.room = self.room + piece.capacity() - room;
        }
        if len <= PIECE / 8
            && let Some(next) = self.pieces.get(at + 1)
            && next.len() + len <= PIECE / 2
        {
            let mut next = self.drop_piece(at + 1);
            let piece = &mut self.pieces[at];
            self.room -= piece.capacity();
            piece.append(&mut next);
            self.room += piece.capacity();
        }
    }

    fn drop_piece(&mut self, at: usize) -> Vec<Item> {
        let piece = self.pieces.remove(at);
        self.firsts.remove(at);
        self.room -= piece.capacity();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::util::rng::Rng;

    fn check(deadlines: &Deadlines, model: &BTreeSet<Item>) {
        assert!(deadlines.iter().eq(model.iter()));
        assert_eq!(deadlines.len(), model.len());
        assert_eq!(deadlines.is_empty(), model.is_empty());
        assert_eq!(deadlines.first(), model.first());
        assert_eq!(deadlines.last(), model.last());
        let firsts = deadlines.pieces.iter().map(|piece| &piece[0]);
        assert!(firsts.eq(deadlines.firsts.iter()));
        let room: usize = deadlines.pieces.iter().map(Vec::capacity).sum();
        assert_eq!(deadlines.room, room);
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

    #[test]
    fn what_comes_in_order_fills_its_pieces() {
        let mut deadlines = Deadlines::new();
        (0..800).for_each(|at| _ = deadlines.insert((at, 0)));
        assert_eq!(deadlines.pieces.len(), 800 / PIECE);
        assert_eq!(deadlines.room, 800);
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
            let times = drawn[*at as usize];
            assert!((120..290).contains(&times), "{at} was drawn {times} times");
        }
        assert_eq!(Deadlines::new().random(|| rng.next_u64()), None);
        // A generator that is broken still ends.
        assert!(deadlines.random(|| u64::MAX).is_some());
    }
}
