//! A long list: nodes of several elements each.
//!
//! Where nodes begin and end is decided as in Redis, since it shows: a list becomes a listpack again when one node is left.
//!
//! Invariants:
//! 1. No node is empty.
//! 2. `len` is the sum of `count` over the nodes, `bytes` that of what they take on the heap.
//! 3. The first and the last `depth` nodes (all, when `depth` is 0) are not compressed.
//!
//! Nodes are shared (`Arc`): a clone copies the directory, and a write after it copies the one node it touches.

use std::collections::VecDeque;
use std::sync::Arc;

use super::End;
use super::limits::{Fill, Limits};
use super::node::Node;
use crate::ds::listpack::Value;
use crate::ds::packed::{Needle, Packed};
use crate::util::heap;

/// Reference counts of an `Arc`.
const ARC_OVERHEAD: usize = 16;
/// What an element in a listpack is taken to cost beside its bytes, when it is asked whether it fits.
const ELEMENT_OVERHEAD: usize = 8;
/// Redis keeps the setting in 16 bits.
const MOST_FILL: i32 = (1 << 15) - 1;
const MOST_DEPTH: i32 = (1 << 16) - 1;
/// No listpack grows beyond this.
const MOST_BYTES: usize = crate::ds::listpack::MAX_BYTES;

/// A long list. What the configuration said when it was made, holds for all its life.
#[derive(Clone, Debug)]
pub(super) struct Quicklist {
    nodes: VecDeque<Slot>,
    len: usize,
    bytes: usize,
    fill: Fill,
    depth: usize,
    /// `list-max-listpack-size`, which `fill` was made of.
    setting: i32,
}

#[derive(Clone, Debug)]
struct Slot {
    node: Arc<Node>,
    /// Elements in the node; here, so that skipping a node does not touch it.
    count: usize,
}

/// Where an element is.
#[derive(Clone, Copy, Debug)]
struct Place {
    node: usize,
    offset: usize,
}

impl Slot {
    fn new(node: Node, count: usize) -> Self {
        Self {
            node: Arc::new(node),
            count,
        }
    }

    fn heap_size(&self) -> usize {
        heap::rounded(ARC_OVERHEAD + size_of::<Node>()) + self.node.heap_size()
    }

    /// Whether it is a listpack and takes a string of this length.
    #[inline]
    fn has_room(&self, fill: Fill, length: usize, plain_from: usize) -> bool {
        if self.node.is_plain() || length >= plain_from {
            return false;
        }
        let size = self.node.size() + length + ELEMENT_OVERHEAD;
        !fill.is_exceeded(size, self.count + 1)
    }
}

impl Quicklist {
    pub(super) fn new(limits: Limits) -> Self {
        let depth = limits.depth.clamp(0, MOST_DEPTH);
        let setting = limits.fill.clamp(-5, MOST_FILL);
        Self {
            nodes: VecDeque::new(),
            len: 0,
            bytes: 0,
            fill: Fill::of(setting),
            depth: usize::try_from(depth).unwrap_or(0),
            setting,
        }
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_size(&self) -> usize {
        self.bytes + heap::rounded(self.nodes.capacity() * size_of::<Slot>())
    }

    pub(super) fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes_from(0)
    }

    /// The nodes behind the first `before`.
    pub(super) fn nodes_from(&self, before: usize) -> impl ExactSizeIterator<Item = &Node> {
        let nodes = self.nodes.range(before.min(self.nodes.len())..);
        nodes.map(|slot| &*slot.node)
    }

    /// What the list was made with: `list-max-listpack-size` and `list-compress-depth`.
    pub(super) fn settings(&self) -> (i32, usize) {
        (self.setting, self.depth)
    }

    // ---- Reading

    /// Where element `index` is, looked for from the nearer end.
    fn place(&self, index: usize) -> Option<Place> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut before = 0;
            for (node, slot) in self.nodes.iter().enumerate() {
                if index < before + slot.count {
                    let offset = index - before;
                    return Some(Place { node, offset });
                }
                before += slot.count;
            }
        } else {
            let mut before = self.len;
            for (node, slot) in self.nodes.iter().enumerate().rev() {
                before -= slot.count;
                if index >= before {
                    let offset = index - before;
                    return Some(Place { node, offset });
                }
            }
        }
        None
    }

    /// Calls `f` with elements from `start` on, in either direction, until it gives `false`.
    pub(super) fn for_each(
        &self,
        start: usize,
        backwards: bool,
        mut f: impl FnMut(Value<'_>) -> bool,
    ) {
        let Some(place) = self.place(start) else {
            return;
        };
        let (mut at, mut offset, mut buffer) = (place.node, place.offset, Vec::new());
        while let Some(slot) = self.nodes.get(at) {
            let content = slot.node.content(&mut buffer);
            if !content.for_each(offset, slot.count, backwards, &mut f) {
                return;
            }
            let next = if backwards {
                at.checked_sub(1)
            } else {
                Some(at + 1)
            };
            let Some(next) = next.filter(|next| *next < self.nodes.len()) else {
                return;
            };
            at = next;
            offset = if backwards {
                self.nodes[at].count - 1
            } else {
                0
            };
        }
    }

    /// Index of the first element that is `needle`.
    pub(super) fn find(&self, needle: &Needle<'_>) -> Option<usize> {
        let (mut before, mut buffer) = (0, Vec::new());
        for slot in &self.nodes {
            if let Some(offset) = slot.node.content(&mut buffer).find(needle) {
                return Some(before + offset);
            }
            before += slot.count;
        }
        None
    }

    // ---- Changing elements

    /// Adds an element at an end.
    #[inline]
    pub(super) fn push(&mut self, end: End, value: &[u8], plain_from: usize) {
        let slot = match end {
            End::Head => self.nodes.front_mut(),
            End::Tail => self.nodes.back_mut(),
        };
        if let Some(slot) = slot
            && slot.has_room(self.fill, value.len(), plain_from)
            && let before = slot.node.heap_size()
            && let Node::Packed(packed) = Arc::make_mut(&mut slot.node)
        {
            let most = self.fill.most_bytes();
            match end {
                End::Head => packed.fill_front(value, most),
                End::Tail => packed.fill_back(value, most),
            }
            self.bytes = self.bytes + packed.heap_size() - before;
            self.len += 1;
            slot.count += 1;
        } else {
            self.push_node(end, Node::with_one(value, plain_from));
        }
    }

    /// Adds a node with one element at an end; the one that was there needs no more room.
    #[cold]
    fn push_node(&mut self, end: End, node: Node) {
        let count = self.nodes.len();
        let (last, at) = match end {
            End::Head => (0, 0),
            End::Tail => (count.wrapping_sub(1), count),
        };
        self.close(last);
        self.insert_node(at, node, 1);
    }

    /// Removes an element at an end, once `f` has seen it.
    pub(super) fn pop<R>(&mut self, end: End, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let at = match end {
            End::Head => 0,
            End::Tail => self.nodes.len().checked_sub(1)?,
        };
        if let Node::Plain(bytes) = &*self.nodes.get(at)?.node {
            let result = f(Value::Str(bytes));
            self.remove_node(at);
            return Some(result);
        }
        self.change(at, |packed| match end {
            End::Head => packed.pop_front(f),
            End::Tail => packed.pop_back(f),
        })?
    }

    /// Inserts before the element at `index`, or behind it.
    pub(super) fn insert(&mut self, index: usize, after: bool, value: &[u8], plain_from: usize) {
        let Some(Place { node: at, offset }) = self.place(index) else {
            return;
        };
        let cut = offset + usize::from(after);
        let at_edge = if after {
            cut == self.nodes[at].count
        } else {
            offset == 0
        };
        let behind = at + usize::from(after);
        if value.len() >= plain_from {
            let node = Node::with_one(value, plain_from);
            if self.nodes[at].node.is_plain() || at_edge {
                self.insert_node(behind, node, 1);
            } else {
                self.split(at, cut);
                self.insert_node(at + 1, node, 1);
            }
        } else if self.has_room(at, value.len(), plain_from) {
            self.change(at, |packed| packed.insert(cut, value));
        } else if at_edge {
            let neighbour = if after { at + 1 } else { at.wrapping_sub(1) };
            if self.has_room(neighbour, value.len(), plain_from) {
                self.change(neighbour, |packed| {
                    if after {
                        packed.push_front(value);
                    } else {
                        packed.push_back(value);
                    }
                });
            } else {
                self.insert_node(behind, Node::with_one(value, plain_from), 1);
            }
        } else {
            self.split(at, cut);
            if after {
                self.change(at + 1, |packed| packed.push_front(value));
                self.merge_around(at);
            } else {
                self.change(at, |packed| packed.push_back(value));
                self.merge_around(at + 1);
            }
        }
    }

    /// Replaces the element at `index`; whether there is one.
    pub(super) fn replace(&mut self, index: usize, value: &[u8], plain_from: usize) -> bool {
        let Some(Place { node: at, offset }) = self.place(index) else {
            return false;
        };
        let large = value.len() >= plain_from;
        if self.nodes[at].node.is_plain() {
            if large {
                self.set_node(at, Node::with_one(value, plain_from));
            } else {
                self.insert(index, true, value, plain_from);
                self.remove_node(at);
            }
            return true;
        }
        let too_large = large || self.nodes[at].node.size() + value.len() > MOST_BYTES;
        if !too_large {
            self.change(at, |packed| packed.replace(offset, value));
            return true;
        }
        if offset + 1 < self.nodes[at].count {
            self.split(at, offset + 1);
        }
        self.insert_node(at + 1, Node::with_one(value, plain_from), 1);
        if self.nodes[at].count == 1 {
            self.remove_node(at);
        } else {
            self.change(at, |packed| packed.pop_back(|_| ()));
            self.merge_around(at + 1);
        }
        true
    }

    /// Removes up to `count` elements from `start` on.
    pub(super) fn remove(&mut self, start: usize, count: usize) {
        let mut left = count.min(self.len.saturating_sub(start));
        let Some(Place {
            node: mut at,
            mut offset,
        }) = self.place(start)
        else {
            return;
        };
        // Nodes that go as a whole go at once, so that no more is moved or decompressed than must be.
        let mut whole = at..at;
        while left > 0 {
            let Some(slot) = self.nodes.get(at) else {
                break;
            };
            let here = left.min(slot.count - offset);
            if here == slot.count {
                if whole.is_empty() {
                    whole = at..at;
                }
                at += 1;
                whole.end = at;
            } else {
                self.change(at, |packed| packed.remove(offset, here));
                at += 1;
            }
            left -= here;
            offset = 0;
        }
        self.remove_nodes(whole);
    }

    /// Removes elements that are `needle`, `most` of them, from the head on or backwards from the tail; gives how many.
    pub(super) fn remove_equal(
        &mut self,
        needle: &Needle<'_>,
        most: usize,
        backwards: bool,
    ) -> usize {
        let mut removed = 0;
        let mut buffer = Vec::new();
        let mut next = if backwards {
            self.nodes.len().checked_sub(1)
        } else {
            Some(0)
        };
        while let Some(at) = next.filter(|_| removed < most) {
            let Some(slot) = self.nodes.get(at) else {
                break;
            };
            let before = self.nodes.len();
            if slot.node.content(&mut buffer).find(needle).is_none() {
                // Nothing to change, and nothing to copy.
            } else if slot.node.is_plain() {
                removed += 1;
                self.remove_node(at);
            } else {
                self.change(at, |packed| {
                    packed.remove_if(backwards, |value| {
                        let hit = removed < most && needle.is(value);
                        removed += usize::from(hit);
                        hit
                    });
                });
            }
            let gone = before - self.nodes.len();
            next = if backwards {
                at.checked_sub(1)
            } else {
                Some(at + 1 - gone)
            };
        }
        removed
    }

    // ---- Nodes

    /// Adds a node behind the last.
    pub(super) fn append_node(&mut self, node: Node, count: usize) {
        self.insert_node(self.nodes.len(), node, count);
    }

    /// The one listpack that is all of the list, if it is small enough for a short list.
    pub(super) fn only_packed(&self, fill: Fill, shrinking: bool) -> bool {
        match self.nodes.front().map(|slot| &*slot.node) {
            Some(Node::Packed(packed)) if self.nodes.len() == 1 => {
                fill.is_small(packed.byte_len(), self.len, shrinking)
            }
            _ => false,
        }
    }

    /// Takes the first node's listpack out.
    pub(super) fn take_packed(&mut self) -> Packed {
        match self
            .nodes
            .pop_front()
            .map(|slot| Arc::unwrap_or_clone(slot.node))
        {
            Some(Node::Packed(packed)) => packed,
            _ => Packed::new(),
        }
    }

    /// Whether node `at` is there, is a listpack, and takes a string of this length.
    fn has_room(&self, at: usize, length: usize, plain_from: usize) -> bool {
        let slot = self.nodes.get(at);
        slot.is_some_and(|slot| slot.has_room(self.fill, length, plain_from))
    }

    /// Changes the listpack of a node; a node that it leaves empty goes. None if it is no listpack.
    fn change<R>(&mut self, at: usize, f: impl FnOnce(&mut Packed) -> R) -> Option<R> {
        let slot = self.nodes.get_mut(at)?;
        let before = slot.node.heap_size();
        let node = Arc::make_mut(&mut slot.node);
        node.decompress(slot.count);
        let Node::Packed(packed) = node else {
            return None;
        };
        let result = f(packed);
        let count = packed.len();
        self.bytes = self.bytes + packed.heap_size() - before;
        self.len = self.len + count - slot.count;
        slot.count = count;
        if count == 0 {
            self.remove_node(at);
        } else if self.is_inner(at) {
            self.compress(at);
        }
        Some(result)
    }

    /// A node gets a neighbour in place of more elements: it needs no room.
    fn close(&mut self, at: usize) {
        let Some(slot) = self.nodes.get_mut(at) else {
            return;
        };
        if let Some(Node::Packed(packed)) = Arc::get_mut(&mut slot.node) {
            let before = packed.heap_size();
            packed.shrink();
            self.bytes = self.bytes + packed.heap_size() - before;
        }
    }

    fn insert_node(&mut self, at: usize, node: Node, count: usize) {
        let slot = Slot::new(node, count);
        self.bytes += slot.heap_size();
        self.len += count;
        self.nodes.insert(at, slot);
        self.settle_depth();
        if self.is_inner(at) {
            self.compress(at);
        }
    }

    fn set_node(&mut self, at: usize, node: Node) {
        if let Some(slot) = self.nodes.get_mut(at) {
            self.bytes -= slot.heap_size();
            slot.node = Arc::new(node);
            self.bytes += slot.heap_size();
            if self.is_inner(at) {
                self.compress(at);
            }
        }
    }

    fn remove_node(&mut self, at: usize) {
        self.remove_nodes(at..at + 1);
    }

    fn remove_nodes(&mut self, range: std::ops::Range<usize>) {
        for slot in self.nodes.drain(range) {
            self.bytes -= slot.heap_size();
            self.len -= slot.count;
        }
        if self.nodes.len() * 4 < self.nodes.capacity() {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
        self.settle_depth();
    }

    /// Splits a listpack in two: what is from `cut` on goes to a new node behind it.
    fn split(&mut self, at: usize, cut: usize) {
        let Some(rest) = self.change(at, |packed| packed.split_off(cut)) else {
            return;
        };
        let count = rest.len();
        self.insert_node(at + 1, Node::Packed(rest), count);
    }

    /// Merges nodes around `at` that fit into one, in Redis's order.
    fn merge_around(&mut self, mut at: usize) {
        if at >= 2 && self.may_merge(at - 2) {
            self.merge(at - 2);
            at -= 1;
        }
        if self.may_merge(at + 1) {
            self.merge(at + 1);
        }
        if at >= 1 && self.may_merge(at - 1) {
            self.merge(at - 1);
            at -= 1;
        }
        if self.may_merge(at) {
            self.merge(at);
        }
    }

    /// Whether nodes `at` and `at + 1` fit into one.
    fn may_merge(&self, at: usize) -> bool {
        let (Some(a), Some(b)) = (self.nodes.get(at), self.nodes.get(at + 1)) else {
            return false;
        };
        if a.node.is_plain() || b.node.is_plain() {
            return false;
        }
        // One header and one terminator less.
        let size = a.node.size() + b.node.size() - 7;
        !self.fill.is_exceeded(size, a.count + b.count)
    }

    /// Merges nodes `at` and `at + 1`.
    fn merge(&mut self, at: usize) {
        let Some(slot) = self.nodes.get_mut(at + 1) else {
            return;
        };
        let count = slot.count;
        let mut node = Arc::unwrap_or_clone(Arc::clone(&slot.node));
        node.decompress(count);
        self.remove_node(at + 1);
        if let Node::Packed(second) = node {
            self.change(at, |first| first.append(&second));
        }
    }

    // ---- Compression

    /// Whether a node is so far from both ends that it is to be compressed.
    fn is_inner(&self, at: usize) -> bool {
        self.depth > 0 && at >= self.depth && at + self.depth < self.nodes.len()
    }

    fn compress(&mut self, at: usize) {
        if let Some(node) = self.nodes.get(at).and_then(|slot| slot.node.compressed()) {
            let slot = &mut self.nodes[at];
            self.bytes -= slot.heap_size();
            slot.node = Arc::new(node);
            self.bytes += slot.heap_size();
        }
    }

    /// After nodes came or went: those near the ends are decompressed, their neighbours further inside compressed.
    fn settle_depth(&mut self) {
        if self.depth == 0 {
            return;
        }
        let count = self.nodes.len();
        for i in 0..self.depth.min(count) {
            self.decompress(i);
            self.decompress(count - 1 - i);
        }
        if count > 2 * self.depth {
            self.compress(self.depth);
            self.compress(count - 1 - self.depth);
        }
    }

    fn decompress(&mut self, at: usize) {
        let slot = &mut self.nodes[at];
        if slot.node.is_compressed() {
            self.bytes -= slot.heap_size();
            Arc::make_mut(&mut slot.node).decompress(slot.count);
            self.bytes += slot.heap_size();
        }
    }
}

#[cfg(test)]
impl Quicklist {
    /// Panics unless every invariant holds.
    pub(super) fn recount(&self) {
        use super::node::Content;
        use crate::ds::listpack::Listpack;

        let mut buffer = Vec::new();
        for (at, slot) in self.nodes.iter().enumerate() {
            assert!(slot.count > 0);
            assert!(!slot.node.is_compressed() || self.is_inner(at));
            match slot.node.content(&mut buffer) {
                Content::Plain(_) => assert_eq!(slot.count, 1),
                Content::Packed(_) => {
                    let bytes = super::NodeView(super::Stored::Node(&slot.node))
                        .bytes()
                        .into_owned();
                    assert_eq!(bytes.len(), slot.node.size());
                    let listpack = Listpack::from_bytes(bytes);
                    assert!(listpack.is_ok_and(|l| l.len() == slot.count));
                }
            }
        }
        assert_eq!(self.len, self.nodes.iter().map(|s| s.count).sum::<usize>());
        assert_eq!(
            self.bytes,
            self.nodes.iter().map(Slot::heap_size).sum::<usize>()
        );
    }
}
