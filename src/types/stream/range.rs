//! Walking the entries of a stream in either direction, without an allocation.

use std::sync::Arc;

use super::id::StreamId;
use super::node::{Fields, Found, Node};
use crate::ds::chunks::{ChunkMap, Place};

/// The nodes of a stream by their ids.
pub(super) type Nodes = ChunkMap<StreamId, Arc<Node>>;

/// The live entries between two ids, both included, in order or in reverse.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    nodes: &'a Nodes,
    from: StreamId,
    to: StreamId,
    reverse: bool,
    /// Where the next node is; none when there is none.
    place: Option<Place>,
    node: Option<Within<'a>>,
}

/// A position inside a node.
#[derive(Clone, Debug)]
struct Within<'a> {
    node: &'a Node,
    own: StreamId,
    /// Forwards: where the next entry starts. In reverse: where the next one ends.
    pos: usize,
    first: usize,
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Its fields and values, in the order they were given.
    pub fields: Fields<'a>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(nodes: &'a Nodes, from: StreamId, to: StreamId, reverse: bool) -> Self {
        let edge = if reverse { to } else { from };
        let seek = nodes.seek(&edge);
        let exact = nodes.at(seek).is_some_and(|(own, _)| *own == edge);
        let holder = if exact {
            Some(seek)
        } else {
            nodes.before(seek)
        };
        let place = if from > to {
            None
        } else if reverse {
            holder
        } else {
            Some(holder.unwrap_or(seek))
        };
        let mut entries = Self {
            nodes,
            from,
            to,
            reverse,
            place,
            node: None,
        };
        if !reverse {
            entries.start_near_end();
        }
        entries
    }

    /// A reader that keeps up starts close to the end of the last node: finds the place from there.
    fn start_near_end(&mut self) {
        let Some((own, node)) = self.place.and_then(|p| self.nodes.at(p)) else {
            return;
        };
        if *own >= self.from || self.nodes.last().is_none_or(|(last, _)| last != own) {
            return;
        }
        let (first, mut pos) = (node.first(), node.end());
        while pos > first {
            let Some(at) = node.before(pos) else { return };
            if node.entry(at, *own).is_none_or(|e| e.id < self.from) {
                break;
            }
            pos = at;
        }
        self.place = None;
        self.node = Some(Within {
            node,
            own: *own,
            pos,
            first,
        });
    }

    fn next_node(&mut self) -> Option<()> {
        let place = self.place?;
        let (own, node) = self.nodes.at(place)?;
        if !self.reverse && *own > self.to {
            self.place = None;
            return None;
        }
        let first = node.first();
        self.node = Some(Within {
            node,
            own: *own,
            pos: if self.reverse { node.end() } else { first },
            first,
        });
        self.place = if self.reverse {
            self.nodes.before(place)
        } else {
            Some(self.nodes.after(place))
        };
        Some(())
    }
}

impl<'a> Within<'a> {
    #[inline]
    fn forward(&mut self) -> Option<Found<'a>> {
        let found = self.node.entry(self.pos, self.own)?;
        self.pos = found.fields.end()?;
        Some(found)
    }

    fn backward(&mut self) -> Option<Found<'a>> {
        if self.pos <= self.first {
            return None;
        }
        self.pos = self.node.before(self.pos)?;
        self.node.entry(self.pos, self.own)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let step = match &mut self.node {
                Some(within) if self.reverse => within.backward(),
                Some(within) => within.forward(),
                None => None,
            };
            let Some(found) = step else {
                self.node = None;
                self.next_node()?;
                continue;
            };
            if (!self.reverse && found.id > self.to) || (self.reverse && found.id < self.from) {
                self.place = None;
                self.node = None;
                return None;
            }
            if !found.deleted && found.id >= self.from && found.id <= self.to {
                return Some(Entry {
                    id: found.id,
                    fields: found.fields,
                });
            }
        }
    }
}
