//! A walk over entries in order, either way.

use smallvec::SmallVec;

use super::Entry;
use super::node::{Inner, Leaf, Node};

/// Entries in order, ascending or descending.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    /// The inner nodes above the leaf, with the child that was taken in each.
    path: SmallVec<[(&'a Inner, usize); 6]>,
    leaf: Option<&'a Leaf>,
    at: usize,
    left: usize,
    back: bool,
}

impl<'a> Iter<'a> {
    /// A walk over `left` entries, which must be there.
    pub(super) fn new(root: Option<&'a Node>, from: usize, left: usize, back: bool) -> Self {
        let mut iter = Self {
            path: SmallVec::new(),
            leaf: None,
            at: from,
            left,
            back,
        };
        if left > 0
            && let Some(root) = root
        {
            iter.descend(root, |inner, at| inner.seek(at));
        }
        iter
    }

    /// Goes down to a leaf, in each node to the child and index that `choose` gives.
    fn descend(&mut self, mut node: &'a Node, choose: impl Fn(&Inner, usize) -> (usize, usize)) {
        loop {
            match node {
                Node::Leaf(leaf) => {
                    self.leaf = Some(leaf);
                    return;
                }
                Node::Inner(inner) => {
                    let (child, at) = choose(inner, self.at);
                    self.path.push((inner, child));
                    self.at = at;
                    match inner.edges.get(child) {
                        Some(edge) => node = &edge.node,
                        None => return,
                    }
                }
            }
        }
    }

    /// Goes on to the next leaf.
    fn turn(&mut self) {
        self.leaf = None;
        while let Some((inner, child)) = self.path.pop() {
            let next = if self.back {
                child.checked_sub(1)
            } else {
                Some(child + 1)
            };
            let Some(next) = next.filter(|&next| next < inner.edges.len()) else {
                continue;
            };
            self.path.push((inner, next));
            let node = &inner.edges[next].node;
            if self.back {
                self.descend(node, |inner, _| (inner.edges.len() - 1, 0));
                self.at = self.leaf.map_or(0, |leaf| leaf.len().saturating_sub(1));
            } else {
                self.at = 0;
                self.descend(node, |_, _| (0, 0));
            }
            return;
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        if self.left == 0 {
            return None;
        }
        let entry = self.leaf?.get(self.at)?;
        self.left -= 1;
        if self.left > 0 {
            match (self.back, self.leaf) {
                (true, _) if self.at > 0 => self.at -= 1,
                (false, Some(leaf)) if self.at + 1 < leaf.len() => self.at += 1,
                _ => self.turn(),
            }
        }
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
