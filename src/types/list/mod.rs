//! Lists: a listpack while short, nodes of listpacks when long.
//!
//! When a list changes from the one to the other and back is decided as in Redis 7.2. Growing is decided before anything is
//! added, and on lengths alone; shrinking afterwards, and only when half of what fits a listpack is left.

mod limits;
mod node;
mod quicklist;
#[cfg(test)]
mod tests;

use super::{DataType, Value};
use crate::ds::listpack::{Listpack, Value as Element};
use crate::ds::packed::{Needle, Packed};
use crate::util::heap;
use limits::Fill;
pub use limits::Limits;
pub use node::NodeView;
use node::{Content, Node, Stored};
use quicklist::Quicklist;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where LPUSH pushes: index 0.
    Head,
    /// Where RPUSH pushes: index -1.
    Tail,
}

/// A list.
#[derive(Clone, Debug)]
pub struct List(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Packed(Packed),
    Quick(Box<Quicklist>),
}

/// How a long list is laid out, for DEBUG OBJECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of nodes.
    pub nodes: usize,
    /// `list-max-listpack-size` when the list became long.
    pub fill: i32,
    /// Whether inner nodes are compressed.
    pub compresses: bool,
    /// Bytes of all nodes without compression.
    pub size: usize,
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self(Repr::Packed(Packed::new()))
    }

    /// A list of these elements, as SORT stores it: a long one is cut and not compressed as if nothing were configured.
    #[must_use]
    pub fn from_elements<T: AsRef<[u8]>>(
        elements: impl IntoIterator<Item = T>,
        limits: Limits,
    ) -> Self {
        let mut nodes = Builder::new(Limits::default());
        for element in elements {
            nodes.push(element.as_ref(), limits);
        }
        nodes.finish(limits)
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Packed(packed) => packed.len(),
            Repr::Quick(quick) => quick.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is one listpack.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        matches!(self.0, Repr::Packed(_))
    }

    /// Calls `f` with up to `count` elements from index `start` on, forwards or in reverse, until it gives `false`.
    #[inline]
    pub fn for_each(
        &self,
        start: usize,
        count: usize,
        reverse: bool,
        mut f: impl FnMut(Element<'_>) -> bool,
    ) {
        if count == 0 || start >= self.len() {
            return;
        }
        let mut left = count;
        let mut counted = |element: Element<'_>| {
            left -= 1;
            f(element) && left > 0
        };
        match &self.0 {
            Repr::Packed(packed) => {
                let content = Content::Packed(packed.view());
                content.for_each(start, packed.len(), reverse, &mut counted);
            }
            Repr::Quick(quick) => quick.for_each(start, reverse, counted),
        }
    }

    /// Calls `f` with the element at an index; none if there is none.
    pub fn get<R>(&self, index: usize, f: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let (mut f, mut result) = (Some(f), None);
        self.for_each(index, 1, false, |element| {
            result = f.take().map(|f| f(element));
            false
        });
        result
    }

    /// Number of nodes; a short list is one.
    #[must_use]
    pub fn node_count(&self) -> usize {
        match &self.0 {
            Repr::Packed(_) => 1,
            Repr::Quick(quick) => quick.nodes().len(),
        }
    }

    /// The nodes from head to tail.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView<'_>> {
        self.nodes_from(0)
    }

    /// The nodes behind the first `before`.
    pub fn nodes_from(&self, before: usize) -> impl Iterator<Item = NodeView<'_>> {
        let (short, long) = match &self.0 {
            Repr::Packed(packed) if before == 0 => (Some(NodeView(Stored::List(packed))), None),
            Repr::Packed(_) => (None, None),
            Repr::Quick(quick) => (None, Some(quick.nodes_from(before))),
        };
        let long = long.into_iter().flatten();
        short
            .into_iter()
            .chain(long.map(|node| NodeView(Stored::Node(node))))
    }

    /// How a long list is laid out; none of a short one.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        let Repr::Quick(quick) = &self.0 else {
            return None;
        };
        let (fill, depth) = quick.settings();
        Some(Layout {
            nodes: quick.nodes().len(),
            fill,
            compresses: depth > 0,
            size: quick.nodes().map(Node::size).sum(),
        })
    }

    // ---- Growing

    /// Adds elements one by one at an end.
    pub fn extend(&mut self, end: End, values: &[&[u8]], limits: Limits) {
        let bytes = values.iter().map(|value| value.len()).sum();
        self.grow(bytes, values.len(), limits);
        for value in values {
            self.push_raw(end, value, limits);
        }
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, value: &[u8], limits: Limits) {
        self.grow(value.len(), 1, limits);
        self.push_raw(end, value, limits);
    }

    /// Inserts an element before the first that is `pivot`, or behind it; whether there is one. The list may become a
    /// long one in either case.
    pub fn insert(&mut self, pivot: &[u8], after: bool, value: &[u8], limits: Limits) -> bool {
        self.grow(value.len(), 1, limits);
        let needle = Needle::new(pivot);
        match &mut self.0 {
            Repr::Packed(packed) => {
                let Some(index) = Content::Packed(packed.view()).find(&needle) else {
                    return false;
                };
                packed.insert(index + usize::from(after), value);
            }
            Repr::Quick(quick) => {
                let Some(index) = quick.find(&needle) else {
                    return false;
                };
                quick.insert(index, after, value, limits.plain_from);
            }
        }
        true
    }

    /// Replaces the element at an index; whether there is one. The list may become a long one in either case.
    pub fn replace(&mut self, index: Option<usize>, value: &[u8], limits: Limits) -> bool {
        self.grow(value.len(), 1, limits);
        let Some(index) = index.filter(|index| *index < self.len()) else {
            return false;
        };
        match &mut self.0 {
            Repr::Packed(packed) => packed.replace(index, value),
            Repr::Quick(quick) => _ = quick.replace(index, value, limits.plain_from),
        }
        self.shrink(limits);
        true
    }

    fn push_raw(&mut self, end: End, value: &[u8], limits: Limits) {
        match (&mut self.0, end) {
            (Repr::Packed(packed), End::Head) => packed.push_front(value),
            (Repr::Packed(packed), End::Tail) => packed.push_back(value),
            (Repr::Quick(quick), _) => quick.push(end, value, limits.plain_from),
        }
    }

    /// So many bytes in so many elements are to be added: a short list that has no place for them becomes a long one.
    fn grow(&mut self, bytes: usize, elements: usize, limits: Limits) {
        let Repr::Packed(packed) = &mut self.0 else {
            return;
        };
        let (bytes, count) = (packed.byte_len() + bytes, packed.len());
        if Fill::of(limits.fill).is_exceeded(bytes, count + elements) {
            let mut quick = Quicklist::new(limits);
            if count > 0 {
                quick.append_node(Node::Packed(std::mem::take(packed)), count);
            }
            self.0 = Repr::Quick(Box::new(quick));
        }
    }

    // ---- Shrinking

    /// Removes an element at an end, once `f` has seen it.
    pub fn pop<R>(
        &mut self,
        end: End,
        limits: Limits,
        f: impl FnOnce(Element<'_>) -> R,
    ) -> Option<R> {
        let result = self.pop_raw(end, f);
        self.shrink(limits);
        result
    }

    /// Removes up to `count` elements at an end.
    pub fn drop_end(&mut self, end: End, count: usize, limits: Limits) {
        let count = count.min(self.len());
        match end {
            End::Head => self.remove_raw(0, count),
            End::Tail => self.remove_raw(self.len() - count, count),
        }
        self.shrink(limits);
    }

    /// Keeps up to `count` elements from index `start` on, and removes the others.
    pub fn keep(&mut self, start: usize, count: usize, limits: Limits) {
        let start = start.min(self.len());
        self.remove_raw(0, start);
        self.remove_raw(count, self.len().saturating_sub(count));
        self.shrink(limits);
    }

    /// Removes elements that are `value`, `most` of them, from an end on; gives how many.
    pub fn remove_equal(&mut self, value: &[u8], most: usize, from: End, limits: Limits) -> usize {
        let (needle, backwards) = (Needle::new(value), from == End::Tail);
        let removed = match &mut self.0 {
            Repr::Packed(packed) => {
                let mut removed = 0;
                packed.remove_if(backwards, |element| {
                    let hit = removed < most && needle.is(element);
                    removed += usize::from(hit);
                    hit
                });
                removed
            }
            Repr::Quick(quick) => quick.remove_equal(&needle, most, backwards),
        };
        if removed > 0 {
            self.shrink(limits);
        }
        removed
    }

    /// Moves the element at one end to another, and gives it to `f`.
    pub fn rotate<R>(
        &mut self,
        from: End,
        to: End,
        limits: Limits,
        f: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let moved = self.pop_moved(from)?;
        self.push_moved(to, &moved, limits);
        self.shrink(limits);
        Some(f(&moved.bytes))
    }

    /// Removes the element at an end to push it elsewhere.
    pub fn take(&mut self, end: End, limits: Limits) -> Option<Moved> {
        let moved = self.pop_moved(end)?;
        self.shrink(limits);
        Some(moved)
    }

    /// Adds an element that was taken elsewhere.
    pub fn push_moved(&mut self, end: End, moved: &Moved, limits: Limits) {
        self.grow(moved.weight, 1, limits);
        self.push_raw(end, &moved.bytes, limits);
    }

    fn pop_moved(&mut self, end: End) -> Option<Moved> {
        let quick = !self.is_packed();
        self.pop_raw(end, |element| {
            let bytes = element.to_vec();
            // Redis does not weigh what comes out of a long list as a number.
            let weightless = quick && matches!(element, Element::Int(_));
            let weight = if weightless { 0 } else { bytes.len() };
            Moved { bytes, weight }
        })
    }

    fn pop_raw<R>(&mut self, end: End, f: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        match (&mut self.0, end) {
            (Repr::Packed(packed), End::Head) => packed.pop_front(f),
            (Repr::Packed(packed), End::Tail) => packed.pop_back(f),
            (Repr::Quick(quick), _) => quick.pop(end, f),
        }
    }

    fn remove_raw(&mut self, start: usize, count: usize) {
        match &mut self.0 {
            Repr::Packed(packed) => packed.remove(start, count),
            Repr::Quick(quick) => quick.remove(start, count),
        }
    }

    /// Elements were removed or replaced: a long list of which little is left becomes a short one.
    #[inline]
    fn shrink(&mut self, limits: Limits) {
        if let Repr::Quick(quick) = &mut self.0
            && quick.only_packed(Fill::of(limits.fill), true)
        {
            self.0 = Repr::Packed(quick.take_packed());
        }
    }

    /// Panics unless every invariant holds.
    #[cfg(test)]
    fn recount(&self) {
        match &self.0 {
            Repr::Packed(packed) => {
                assert!(
                    Listpack::from_bytes(packed.as_bytes().to_vec())
                        .is_ok_and(|l| l.len() == packed.len())
                );
            }
            Repr::Quick(quick) => quick.recount(),
        }
    }
}

const _: () = assert!(size_of::<List>() == 32);

/// An element on its way from one list to another.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The element.
    pub bytes: Vec<u8>,
    /// What counts of it when it is asked whether it fits.
    weight: usize,
}

/// Makes a list of nodes.
#[derive(Debug)]
pub struct Builder(Quicklist);

impl Builder {
    /// No node yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Quicklist::new(limits))
    }

    /// Adds a listpack behind what is there; an empty one adds nothing.
    pub fn listpack(&mut self, listpack: Listpack) {
        let packed = Packed::from(listpack);
        let count = packed.len();
        if count > 0 {
            self.0.append_node(Node::Packed(packed), count);
        }
    }

    /// Adds an element as a push at the tail does.
    pub fn push(&mut self, element: &[u8], limits: Limits) {
        self.0.push(End::Tail, element, limits.plain_from);
    }

    /// Adds an element that stands alone.
    pub fn plain(&mut self, element: Vec<u8>) {
        self.0.append_node(Node::Plain(element.into()), 1);
    }

    /// The list: a short one, if what was added is one listpack that fits.
    #[must_use]
    pub fn finish(mut self, limits: Limits) -> List {
        if self.0.len() == 0 {
            List::new()
        } else if self.0.only_packed(Fill::of(limits.fill), false) {
            List(Repr::Packed(self.0.take_packed()))
        } else {
            List(Repr::Quick(Box::new(self.0)))
        }
    }
}

impl DataType for List {
    const NAME: &'static str = "list";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::List(it) => Some(it),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::List(it) => Some(it),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::List(Box::new(self))
    }

    fn encoding(&self) -> &'static str {
        match self.0 {
            Repr::Packed(_) => "listpack",
            Repr::Quick(_) => "quicklist",
        }
    }

    fn heap_size(&self) -> usize {
        heap::rounded(size_of::<Self>())
            + match &self.0 {
                Repr::Packed(packed) => packed.heap_size(),
                Repr::Quick(quick) => heap::rounded(size_of::<Quicklist>()) + quick.heap_size(),
            }
    }

    fn is_vanished(&self) -> bool {
        self.is_empty()
    }
}
