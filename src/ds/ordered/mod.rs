//! The order of a big sorted set: a B+tree of (score, id) that counts, and an arena that holds what the ids stand for.
//!
//! [`Ordered`] orders entries by score, and entries of one score by whatever their ids stand for, which only its user
//! knows: each operation is given a [`Point`] that tells on which side of it an entry lies. Inner nodes count the
//! entries below them, so that the rank of a point, and the entry of a rank, are found in O(log n). Entries that arrive
//! in order fill leaves to the last place; others find room in neighbouring leaves before one is split.
//!
//! Nodes and pages of the arena are shared (`Arc`): a clone is cheap, and a write after it copies what it touches.

mod arena;
mod iter;
mod node;
#[cfg(test)]
mod tests;

pub use arena::Arena;
pub use iter::Iter;

use node::{Census, Edge, Ends, INNER_BYTES, LEAF, LEAF_BYTES, Leaf, Node, Place};
use std::sync::Arc;

/// What the tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entry {
    /// By which entries are ordered in the first place; never NaN.
    pub score: f64,
    /// Stands for what orders entries of one score.
    pub id: u32,
}

/// A place between entries: entries before it come first in the order of the tree.
pub trait Point {
    /// Whether an entry lies before the point.
    fn is_behind(&mut self, entry: Entry) -> bool;

    /// How many of these entries, which are in order, lie before the point.
    #[inline]
    fn skip(&mut self, scores: &[f64], ids: &[u32]) -> usize {
        let (mut low, mut high) = (0, scores.len().min(ids.len()));
        while low < high {
            let middle = low.midpoint(high);
            let (score, id) = (scores[middle], ids[middle]);
            if self.is_behind(Entry { score, id }) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many of these items, which are in the order of what `entry` gives for them, lie before the point.
    #[inline]
    fn skip_by<T>(&mut self, items: &[T], entry: impl Fn(&T) -> Entry) -> usize {
        items.partition_point(|item| self.is_behind(entry(item)))
    }
}

impl<F: FnMut(Entry) -> bool> Point for F {
    #[inline]
    fn is_behind(&mut self, entry: Entry) -> bool {
        self(entry)
    }
}

/// The point in the entries of a score at which `tie` turns false for their ids.
#[derive(Clone, Copy, Debug)]
pub struct At<F> {
    /// Entries of lower scores are before the point, those of higher scores are not.
    pub score: f64,
    /// Whether the entry of this score that has this id is before the point.
    pub tie: F,
}

impl<F: FnMut(u32) -> bool> Point for At<F> {
    #[inline]
    fn is_behind(&mut self, entry: Entry) -> bool {
        entry.score < self.score || entry.score == self.score && (self.tie)(entry.id)
    }

    #[inline]
    fn skip(&mut self, scores: &[f64], ids: &[u32]) -> usize {
        let low = lower(scores, self.score);
        let rest = scores.get(low..).unwrap_or_default();
        if rest.first() != Some(&self.score) {
            return low;
        }
        let ties = rest.partition_point(|&s| s == self.score);
        let ids = ids.get(low..low + ties).unwrap_or_default();
        low + ids.partition_point(|&id| (self.tie)(id))
    }

    /// A search by score whose steps are no branches: nobody can tell which way they would go.
    #[inline]
    fn skip_by<T>(&mut self, items: &[T], entry: impl Fn(&T) -> Entry) -> usize {
        let (mut low, mut size) = (0, items.len());
        while size > 0 {
            let half = size.div_ceil(2);
            let lower = |item| entry(item).score < self.score;
            let is_lower = items.get(low + half - 1).is_some_and(lower);
            low += half & usize::from(is_lower).wrapping_neg();
            size -= half;
        }
        let rest = items.get(low..).unwrap_or_default();
        if rest
            .first()
            .is_none_or(|item| entry(item).score != self.score)
        {
            return low;
        }
        low + rest.partition_point(|item| self.is_behind(entry(item)))
    }
}

/// Counts the lower scores without a branch: all of them are there at once, while each step of a search would wait for
/// memory.
#[inline]
fn lower(scores: &[f64], score: f64) -> usize {
    scores.iter().map(|&s| usize::from(s < score)).sum()
}

/// The point right after an entry that is there: it is known by its id among those of its score.
#[derive(Clone, Copy, Debug)]
pub struct After<F> {
    /// The entry.
    pub entry: Entry,
    /// Whether the entry of the same score that has this id is before the point. Asked only where the entry itself is not
    /// in sight: what an id stands for is far away.
    pub tie: F,
}

impl<F: FnMut(u32) -> bool> After<F> {
    #[inline]
    fn at(&mut self) -> At<impl FnMut(u32) -> bool> {
        let Entry { score, id } = self.entry;
        let tie = move |other| other == id || (self.tie)(other);
        At { score, tie }
    }
}

impl<F: FnMut(u32) -> bool> Point for After<F> {
    #[inline]
    fn is_behind(&mut self, entry: Entry) -> bool {
        self.at().is_behind(entry)
    }

    #[inline]
    fn skip(&mut self, scores: &[f64], all: &[u32]) -> usize {
        let Entry { score, id } = self.entry;
        let low = lower(scores, score);
        let (rest, ids) = (scores.get(low..), all.get(low..));
        let ties = rest.unwrap_or_default().iter();
        let ties = ties.zip(ids.unwrap_or_default());
        let mut ties = ties.take_while(|(other, _)| **other == score);
        match ties.position(|(_, other)| *other == id) {
            Some(at) => low + at + 1,
            None => self.at().skip(scores, all),
        }
    }

    #[inline]
    fn skip_by<T>(&mut self, items: &[T], entry: impl Fn(&T) -> Entry) -> usize {
        self.at().skip_by(items, entry)
    }
}

/// Entries in order, see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Ordered {
    root: Option<Node>,
    len: usize,
    census: Census,
}

impl Ordered {
    /// No entries, and no allocation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap, in O(1). What is shared with a clone counts for both.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        self.census.leaves * LEAF_BYTES + self.census.inners * INNER_BYTES
    }

    /// Adds an entry at its point, which all lesser entries lie before. It must not be there yet.
    pub fn insert(&mut self, entry: Entry, mut point: impl Point) {
        self.len += 1;
        let Some(root) = &mut self.root else {
            self.census.leaves = 1;
            self.root = Some(Node::leaf(Leaf::of(entry)));
            return;
        };
        let ends = Ends {
            first: true,
            last: true,
        };
        if let Some(right) = root.insert(entry, &mut point, ends, &mut self.census)
            && let Some(left) = self.root.take()
        {
            self.census.inners += 1;
            self.root = Some(Node::inner([Edge::of(left), Edge::of(right)]));
        }
    }

    /// Removes the last entry before a point.
    pub fn remove(&mut self, mut point: impl Point) -> Option<Entry> {
        let removed = self.root.as_mut()?.remove(&mut point, &mut self.census)?;
        self.len -= 1;
        self.lower();
        Some(removed)
    }

    /// Removes `count` entries from index `from` on, or as many as there are; `visit` sees them in order.
    pub fn drain(&mut self, from: usize, count: usize, mut visit: impl FnMut(Entry)) {
        let mut left = count.min(self.len.saturating_sub(from));
        while left > 0 {
            let Some(root) = &mut self.root else { return };
            let removed = root.drain(from, left, &mut visit, &mut self.census);
            debug_assert!(removed > 0, "there are as many as was counted");
            if removed == 0 {
                return;
            }
            self.len -= removed;
            left -= removed;
            self.lower();
        }
    }

    /// A root with a single child is not needed, nor is one without any entry.
    fn lower(&mut self) {
        if self.len == 0 {
            *self = Self::new();
        }
        while let Some(Node::Inner(root)) = &mut self.root
            && root.edges.len() == 1
        {
            let only = Arc::make_mut(root).edges.pop();
            self.root = only.map(|edge| edge.node);
            self.census.inners -= 1;
        }
    }

    /// Moves the last entry before the point `old` to the point `new`, with the score that it has there. Says whether that
    /// was done; otherwise it is to be removed and inserted.
    pub fn rescore(&mut self, mut old: impl Point, score: f64, mut new: impl Point) -> bool {
        let Some(root) = &mut self.root else {
            return false;
        };
        // Both places are looked for at once, so that one does not wait for what the other has to fetch.
        let Some((from, to)) = Place::find_both(root, &mut old, &mut new) else {
            return false;
        };
        if from.is_in_leaf_of(&to) {
            let change = |leaf: &mut Leaf| leaf.shift(from.index(), to.index(), score);
            return root.change_at(from.path(), 0, change).is_some();
        }
        if to.len() == LEAF {
            return false;
        }
        // Nothing moves in the nodes above as long as there is room in the leaf, so that the other place stays right.
        let insert = |leaf: &mut Leaf| {
            leaf.insert(
                to.index(),
                Entry {
                    score,
                    id: from.id(),
                },
            )
        };
        root.change_at(to.path(), 1, insert);
        root.remove_at(from.path(), from.index(), &mut self.census);
        self.lower();
        true
    }

    /// Gives the last entry before a point another id, which stands for the same.
    pub fn rename(&mut self, mut point: impl Point, id: u32) {
        let change = |leaf: &mut Leaf, at: usize| {
            if let Some(entry) = leaf.get(at) {
                leaf.set(at, Entry { id, ..entry });
            }
        };
        if let Some(root) = &mut self.root {
            root.touch(&mut point, change);
        }
    }

    /// How many entries lie before a point.
    #[must_use]
    pub fn rank(&self, mut point: impl Point) -> usize {
        let mut rank = 0;
        let mut node = self.root.as_ref();
        loop {
            match node {
                None => return rank,
                Some(Node::Leaf(leaf)) => return rank + leaf.place(&mut point),
                Some(Node::Inner(inner)) => {
                    let at = inner.child_at(&mut point);
                    let before = inner.edges.iter().take(at);
                    rank += before.map(|edge| edge.count as usize).sum::<usize>();
                    node = inner.edges.get(at).map(|edge| &edge.node);
                }
            }
        }
    }

    /// The entry of a rank.
    #[must_use]
    pub fn get(&self, rank: usize) -> Option<Entry> {
        self.iter(rank, 1).next()
    }

    /// Up to `count` entries in ascending order, from index `from` on.
    #[must_use]
    pub fn iter(&self, from: usize, count: usize) -> Iter<'_> {
        Iter::new(
            self.root.as_ref(),
            from,
            count.min(self.len.saturating_sub(from)),
            false,
        )
    }

    /// Up to `count` entries in descending order, from index `from` on (which counts in ascending order).
    #[must_use]
    pub fn iter_back(&self, from: usize, count: usize) -> Iter<'_> {
        let count = if from < self.len {
            count.min(from + 1)
        } else {
            0
        };
        Iter::new(self.root.as_ref(), from, count, true)
    }
}
