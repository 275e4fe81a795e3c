//! Leaves of entries, and the nodes above them that count them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Entry, Point};
use crate::util::prefetch::fetch;

/// Entries of a leaf: with its reference counts it fills a block of 768 bytes. Tests of this crate use small nodes, to
/// see more of them.
pub(super) const LEAF: usize = if cfg!(test) { 8 } else { 62 };
/// Children of an inner node.
pub(super) const FANOUT: usize = if cfg!(test) { 6 } else { 39 };
/// Levels of a tree of more entries than there are ids.
const LEVELS: usize = if cfg!(test) { 24 } else { 12 };
/// Bytes that are fetched at once.
const LINE: usize = 64;
/// What reference counts cost.
const ARC: usize = 2 * size_of::<usize>();
/// Bytes of a leaf.
pub(super) const LEAF_BYTES: usize = size_of::<Leaf>() + ARC;
/// Bytes of an inner node.
pub(super) const INNER_BYTES: usize = size_of::<Inner>() + ARC;

const _: () = assert!(cfg!(test) || (LEAF_BYTES <= 768 && INNER_BYTES <= 1280));

/// Entries in order. Scores stand apart from ids, so that looking for a score reads nothing else.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    scores: [f64; LEAF],
    ids: [u32; LEAF],
    len: u32,
}

/// A part of the tree; a copy shares it until one of both is changed.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Arc<Leaf>),
    Inner(Arc<Inner>),
}

/// A child of an inner node, with what is to be known of it without going there.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    /// The score and the id of its first entry.
    score: f64,
    id: u32,
    /// Number of entries in it.
    pub(super) count: u32,
    pub(super) node: Node,
}

/// Children in order: never none, all of the same height, never more than [`FANOUT`].
#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) edges: SmallVec<[Edge; FANOUT]>,
}

/// How many nodes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) leaves: usize,
    pub(super) inners: usize,
}

/// Whether a node is at an end of the whole tree, where entries that arrive in order fill nodes to the last place.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) first: bool,
    pub(super) last: bool,
}

impl Leaf {
    fn new() -> Self {
        Self {
            scores: [0.0; LEAF],
            ids: [0; LEAF],
            len: 0,
        }
    }

    pub(super) fn of(entry: Entry) -> Self {
        let mut leaf = Self::new();
        leaf.insert(0, entry);
        leaf
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) fn scores(&self) -> &[f64] {
        &self.scores[..self.len()]
    }

    #[inline]
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids[..self.len()]
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<Entry> {
        let (score, id) = (*self.scores().get(at)?, *self.ids.get(at)?);
        Some(Entry { score, id })
    }

    pub(super) fn set(&mut self, at: usize, entry: Entry) {
        if at < self.len() {
            self.scores[at] = entry.score;
            self.ids[at] = entry.id;
        }
    }

    /// Number of leading entries before a point.
    #[inline]
    pub(super) fn place(&self, point: &mut impl Point) -> usize {
        point.skip(self.scores(), self.ids())
    }

    /// Adds an entry; there is room.
    pub(super) fn insert(&mut self, at: usize, entry: Entry) {
        let len = self.len();
        self.scores.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        self.len += 1;
        self.set(at, entry);
    }

    fn remove(&mut self, from: usize, count: usize) {
        let len = self.len();
        self.scores.copy_within(from + count..len, from);
        self.ids.copy_within(from + count..len, from);
        self.len -= count as u32;
    }

    /// Moves the entry at `from` to the point `to`, with another score.
    pub(super) fn shift(&mut self, from: usize, to: usize, score: f64) {
        let len = self.len();
        let (Some(entry), true) = (self.get(from), to <= len) else {
            return;
        };
        let at = if to > from {
            self.scores.copy_within(from + 1..to, from);
            self.ids.copy_within(from + 1..to, from);
            to - 1
        } else {
            self.scores.copy_within(to..from, to + 1);
            self.ids.copy_within(to..from, to + 1);
            to
        };
        self.set(at, Entry { score, ..entry });
    }

    /// Has all of it fetched.
    #[inline]
    fn fetch(&self) {
        self.scores
            .iter()
            .step_by(LINE / size_of::<f64>())
            .for_each(fetch);
        self.ids
            .iter()
            .step_by(LINE / size_of::<u32>())
            .for_each(fetch);
        fetch(&self.len);
    }

    /// Moves the entries from `at` on into a leaf of their own.
    fn split_off(&mut self, at: usize) -> Self {
        let mut right = Self::new();
        right.take(self, at, self.len() - at);
        right
    }

    /// Appends `count` entries of `other`, from `at` on, and removes them there.
    fn take(&mut self, other: &mut Self, at: usize, count: usize) {
        let len = self.len();
        self.scores[len..len + count].copy_from_slice(&other.scores[at..at + count]);
        self.ids[len..len + count].copy_from_slice(&other.ids[at..at + count]);
        self.len += count as u32;
        other.remove(at, count);
    }

    /// Puts `count` entries from the end of `other` before its own.
    fn take_before(&mut self, other: &mut Self, count: usize) {
        let mut all = other.split_off(other.len() - count);
        let len = self.len();
        all.take(self, 0, len);
        *self = all;
    }
}

impl Inner {
    fn of(edges: impl IntoIterator<Item = Edge>) -> Self {
        Self {
            edges: edges.into_iter().collect(),
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.edges.iter().map(|edge| edge.count).sum()
    }

    /// The last child that begins before a point, or the first child.
    #[inline]
    pub(super) fn child_at(&self, point: &mut impl Point) -> usize {
        point.skip_by(&self.edges, Edge::first).saturating_sub(1)
    }

    /// Two neighbouring leaves; none where these are none.
    fn leaves(&mut self, at: usize) -> Option<(&mut Leaf, &mut Leaf)> {
        match self.edges.get_mut(at..at + 2)? {
            [
                Edge {
                    node: Node::Leaf(left),
                    ..
                },
                Edge {
                    node: Node::Leaf(right),
                    ..
                },
            ] => Some((Arc::make_mut(left), Arc::make_mut(right))),
            _ => None,
        }
    }

    /// Moves entries of a full leaf into a neighbour that has room; says whether there is one.
    fn relieve(&mut self, at: usize) -> bool {
        let room = |at: Option<usize>| {
            let edge = at.and_then(|at| self.edges.get(at));
            edge.is_some_and(|edge| edge.count as usize <= LEAF - LEAF / 8)
        };
        let left = if room(at.checked_sub(1)) {
            at - 1
        } else if room(at.checked_add(1)) {
            at
        } else {
            return false;
        };
        let Some((a, b)) = self.leaves(left) else {
            return false;
        };
        let half = (a.len() + b.len()) / 2;
        if a.len() < half {
            a.take(b, 0, half - a.len());
        } else {
            b.take_before(a, a.len() - half);
        }
        self.edges[left].refresh();
        self.edges[left + 1].refresh();
        true
    }

    /// After something was removed from a child: drops it when it is empty, merges it with a neighbour when it is thin.
    fn tidy(&mut self, at: usize, census: &mut Census) {
        let Some(edge) = self.edges.get(at) else {
            return;
        };
        let (fill, most) = edge.node.fill();
        if edge.count == 0 {
            census.forget(&edge.node);
            self.edges.remove(at);
            return;
        }
        if fill >= most / 3 {
            return;
        }
        let fits = |at: Option<usize>| {
            let other = at.and_then(|at| self.edges.get(at));
            other.is_some_and(|other| other.node.fill().0 + fill <= most * 3 / 4)
        };
        let left = if fits(at.checked_add(1)) {
            at
        } else if fits(at.checked_sub(1)) {
            at - 1
        } else {
            return;
        };
        let right = self.edges.remove(left + 1);
        census.forget(&right.node);
        let edge = &mut self.edges[left];
        edge.count += right.count;
        match (&mut edge.node, right.node) {
            (Node::Leaf(left), Node::Leaf(mut right)) => {
                let right = Arc::make_mut(&mut right);
                Arc::make_mut(left).take(right, 0, right.len());
            }
            (Node::Inner(left), Node::Inner(right)) => {
                let right = Arc::unwrap_or_clone(right);
                Arc::make_mut(left).edges.extend(right.edges);
            }
            _ => debug_assert!(false, "neighbours are of the same height"),
        }
    }

    /// Puts a child in; one that is full is cut in two, and gives its right part.
    fn adopt(&mut self, at: usize, edge: Edge, ends: Ends) -> Option<Inner> {
        if self.edges.len() < FANOUT {
            self.edges.insert(at, edge);
            return None;
        }
        if ends.last && at == FANOUT {
            return Some(Self::of([edge]));
        }
        let half = if ends.first && at <= 1 { 1 } else { FANOUT / 2 };
        let mut right = Self::of(self.edges.drain(half..));
        if at <= half {
            self.edges.insert(at, edge);
        } else {
            right.edges.insert(at - half, edge);
        }
        Some(right)
    }
}

impl Edge {
    pub(super) fn of(node: Node) -> Self {
        let mut edge = Self {
            score: 0.0,
            id: 0,
            count: 0,
            node,
        };
        edge.refresh();
        edge
    }

    /// Its first entry.
    #[inline]
    pub(super) fn first(&self) -> Entry {
        Entry {
            score: self.score,
            id: self.id,
        }
    }

    /// Looks again, after the child was changed, what is to be known of it.
    fn refresh(&mut self) {
        self.count = match &self.node {
            Node::Leaf(leaf) => leaf.len,
            Node::Inner(inner) => inner.count(),
        };
        self.refresh_first();
    }

    #[inline]
    fn refresh_first(&mut self) {
        let first = match &self.node {
            Node::Leaf(leaf) => leaf.get(0),
            Node::Inner(inner) => inner.edges.first().map(Self::first),
        };
        Entry {
            score: self.score,
            id: self.id,
        } = first.unwrap_or_default();
    }
}

impl Census {
    fn forget(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => self.leaves -= 1,
            Node::Inner(_) => self.inners -= 1,
        }
    }
}

impl Node {
    pub(super) fn leaf(leaf: Leaf) -> Self {
        Self::Leaf(Arc::new(leaf))
    }

    pub(super) fn inner(edges: impl IntoIterator<Item = Edge>) -> Self {
        Self::Inner(Arc::new(Inner::of(edges)))
    }

    /// How full it is, and how full it may be.
    fn fill(&self) -> (usize, usize) {
        match self {
            Self::Leaf(leaf) => (leaf.len(), LEAF),
            Self::Inner(inner) => (inner.edges.len(), FANOUT),
        }
    }

    /// Adds an entry at a point; what does not fit any more comes back as the right neighbour.
    pub(super) fn insert(
        &mut self,
        entry: Entry,
        point: &mut impl Point,
        ends: Ends,
        census: &mut Census,
    ) -> Option<Node> {
        match self {
            Self::Leaf(leaf) => {
                let leaf = Arc::make_mut(leaf);
                let right = leaf.insert_or_split(entry, point, ends)?;
                census.leaves += 1;
                Some(Self::leaf(right))
            }
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let right = inner.insert(entry, point, ends, census)?;
                census.inners += 1;
                Some(Self::Inner(Arc::new(right)))
            }
        }
    }

    /// Finds the last entry before a point and lets `change` have it; what that gives. Counts stay as they are.
    pub(super) fn touch<R>(
        &mut self,
        point: &mut impl Point,
        change: impl FnOnce(&mut Leaf, usize) -> R,
    ) -> Option<R> {
        match self {
            Self::Leaf(leaf) => {
                let at = leaf.place(point).checked_sub(1)?;
                Some(change(Arc::make_mut(leaf), at))
            }
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let at = inner.child_at(point);
                let edge = inner.edges.get_mut(at)?;
                let result = edge.node.touch(point, change);
                edge.refresh_first();
                result
            }
        }
    }

    /// Lets `change` have the leaf at the end of a path, where it makes `more` entries of the nodes above.
    pub(super) fn change_at<R>(
        &mut self,
        path: &[u8],
        more: u32,
        change: impl FnOnce(&mut Leaf) -> R,
    ) -> Option<R> {
        match self {
            Self::Leaf(leaf) => Some(change(Arc::make_mut(leaf))),
            Self::Inner(inner) => {
                let (&at, path) = path.split_first()?;
                let edge = Arc::make_mut(inner).edges.get_mut(usize::from(at))?;
                let result = edge.node.change_at(path, more, change)?;
                edge.count += more;
                edge.refresh_first();
                Some(result)
            }
        }
    }

    /// Removes the entry of this index from the leaf at the end of a path.
    pub(super) fn remove_at(&mut self, path: &[u8], index: usize, census: &mut Census) {
        match self {
            Self::Leaf(leaf) => {
                if index < leaf.len() {
                    Arc::make_mut(leaf).remove(index, 1);
                }
            }
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                if let Some((&at, path)) = path.split_first()
                    && let Some(edge) = inner.edges.get_mut(usize::from(at))
                {
                    edge.node.remove_at(path, index, census);
                    edge.count -= 1;
                    edge.refresh_first();
                    inner.tidy(at.into(), census);
                }
            }
        }
    }

    /// Has what a search reads of it first fetched; all, if it is a leaf.
    #[inline]
    fn fetch(&self) {
        match self {
            Self::Leaf(leaf) => leaf.fetch(),
            Self::Inner(inner) => fetch(&**inner),
        }
    }

    /// Removes the last entry before a point.
    pub(super) fn remove(&mut self, point: &mut impl Point, census: &mut Census) -> Option<Entry> {
        match self {
            Self::Leaf(leaf) => {
                let at = leaf.place(point).checked_sub(1)?;
                let leaf = Arc::make_mut(leaf);
                let entry = leaf.get(at);
                leaf.remove(at, 1);
                entry
            }
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let at = inner.child_at(point);
                let edge = inner.edges.get_mut(at)?;
                let entry = edge.node.remove(point, census)?;
                edge.count -= 1;
                edge.refresh_first();
                inner.tidy(at, census);
                Some(entry)
            }
        }
    }

    /// Removes entries from index `from` on, up to `most` of them, but only from one leaf; how many that were.
    pub(super) fn drain(
        &mut self,
        from: usize,
        most: usize,
        visit: &mut impl FnMut(Entry),
        census: &mut Census,
    ) -> usize {
        match self {
            Self::Leaf(leaf) => {
                let leaf = Arc::make_mut(leaf);
                let count = most.min(leaf.len().saturating_sub(from));
                (from..from + count)
                    .filter_map(|at| leaf.get(at))
                    .for_each(visit);
                leaf.remove(from, count);
                count
            }
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let (at, from) = inner.seek(from);
                let Some(edge) = inner.edges.get_mut(at) else {
                    return 0;
                };
                let count = edge.node.drain(from, most, visit, census);
                edge.count -= count as u32;
                edge.refresh_first();
                inner.tidy(at, census);
                count
            }
        }
    }
}

/// Where in a tree an entry is, or where it would be.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Which child to take at each level.
    path: [u8; LEVELS],
    depth: usize,
    /// Index in the leaf.
    index: usize,
    /// The id of the entry that is there, if one is.
    id: u32,
    /// Entries of the leaf.
    len: usize,
}

impl Place {
    /// The place of the last entry before one point, and another point. None if there is no such entry, or the tree is
    /// higher than paths are long.
    pub(super) fn find_both(
        root: &Node,
        entry: &mut impl Point,
        point: &mut impl Point,
    ) -> Option<(Self, Self)> {
        let (mut here, mut there) = (root, root);
        let (mut from, mut to) = ([0; LEVELS], [0; LEVELS]);
        let mut depth = 0;
        loop {
            match (here, there) {
                (Node::Inner(a), Node::Inner(b)) => {
                    let (i, j) = (a.child_at(entry), b.child_at(point));
                    (here, there) = (&a.edges.get(i)?.node, &b.edges.get(j)?.node);
                    here.fetch();
                    there.fetch();
                    *from.get_mut(depth)? = u8::try_from(i).ok()?;
                    *to.get_mut(depth)? = u8::try_from(j).ok()?;
                    depth += 1;
                }
                (Node::Leaf(a), Node::Leaf(b)) => {
                    let (i, j) = (a.place(entry).checked_sub(1)?, b.place(point));
                    let of = |path, leaf: &Leaf, index| Self {
                        path,
                        depth,
                        index,
                        id: leaf.get(index).map_or(0, |entry| entry.id),
                        len: leaf.len(),
                    };
                    return Some((of(from, a, i), of(to, b, j)));
                }
                _ => return None,
            }
        }
    }

    pub(super) fn path(&self) -> &[u8] {
        self.path.get(..self.depth).unwrap_or_default()
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_in_leaf_of(&self, other: &Self) -> bool {
        self.path() == other.path()
    }
}

impl Leaf {
    fn insert_or_split(
        &mut self,
        entry: Entry,
        point: &mut impl Point,
        ends: Ends,
    ) -> Option<Leaf> {
        let at = self.place(point);
        if self.len() < LEAF {
            self.insert(at, entry);
            return None;
        }
        let half = match at {
            LEAF if ends.last => LEAF,
            0 if ends.first => 0,
            _ => LEAF / 2,
        };
        let mut right = self.split_off(half);
        if at < half || half < LEAF && at == half {
            self.insert(at, entry);
        } else {
            right.insert(at - half, entry);
        }
        Some(right)
    }
}

impl Inner {
    fn insert(
        &mut self,
        entry: Entry,
        point: &mut impl Point,
        ends: Ends,
        census: &mut Census,
    ) -> Option<Inner> {
        let mut at = self.child_at(point);
        let full = |edge: &Edge| matches!(edge.node, Node::Leaf(_)) && edge.count as usize == LEAF;
        if self.edges.get(at).is_some_and(full) && self.relieve(at) {
            at = self.child_at(point);
        }
        let below = Ends {
            first: ends.first && at == 0,
            last: ends.last && at + 1 == self.edges.len(),
        };
        let edge = self.edges.get_mut(at)?;
        match edge.node.insert(entry, point, below, census) {
            None => {
                edge.count += 1;
                edge.refresh_first();
                None
            }
            Some(right) => {
                edge.refresh();
                self.adopt(at + 1, Edge::of(right), ends)
            }
        }
    }

    /// The child that holds the entry of this index, and its index there.
    #[inline]
    pub(super) fn seek(&self, mut index: usize) -> (usize, usize) {
        for (at, edge) in self.edges.iter().enumerate() {
            let count = edge.count as usize;
            if index < count {
                return (at, index);
            }
            index -= count;
        }
        (self.edges.len(), index)
    }
}
