//! Walking the entries of a stream in either direction, without an allocation.

use std::sync::Arc;

use super::id::StreamId;
use super::node::{Fields, Found, Node, Reader};
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
    spot: Spot,
}

/// A position inside a node.
#[derive(Clone, Debug)]
struct Within<'a> {
    reader: Reader<'a>,
    /// Forwards: where the next entry starts. In reverse: where the next one ends.
    pos: usize,
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Its fields and values, in the order they were given.
    pub fields: Fields<'a>,
}

/// Where an entry was found: its node, and its place behind the node's first entry. Entries never move in
/// their node, so this stays right as long as the node is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    own: StreamId,
    offset: usize,
    /// The log's count of resets when it was noted.
    pub(super) resets: u32,
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
            spot: Spot::default(),
        };
        if !reverse {
            entries.start_near_end();
        }
        entries
    }

    /// The entries behind the one at `spot`, if that is `last`.
    pub(super) fn behind(nodes: &'a Nodes, last: StreamId, spot: Spot) -> Option<Self> {
        let place = nodes.seek(&spot.own);
        let (own, node) = nodes.at(place)?;
        let reader = node.read(*own);
        let found = reader.entry(reader.first + spot.offset)?;
        if *own != spot.own || found.id != last {
            return None;
        }
        let pos = found.fields.end()?;
        Some(Self {
            nodes,
            from: last.next()?,
            to: StreamId::MAX,
            reverse: false,
            place: Some(nodes.after(place)),
            node: Some(Within { reader, pos }),
            spot,
        })
    }

    /// Where the last entry given was found, in a log reset so many times.
    pub(super) fn spot(&self, resets: u32) -> Spot {
        Spot {
            resets,
            ..self.spot
        }
    }

    /// A reader that keeps up starts close to the end of the last node: finds the place from there.
    fn start_near_end(&mut self) {
        let Some((own, node)) = self.place.and_then(|p| self.nodes.at(p)) else {
            return;
        };
        if *own >= self.from || self.nodes.last().is_none_or(|(last, _)| last != own) {
            return;
        }
        let reader = node.read(*own);
        let mut pos = reader.end();
        while pos > reader.first {
            let Some(at) = reader.before(pos) else {
                return;
            };
            if reader.entry(at).is_none_or(|e| e.id < self.from) {
                break;
            }
            pos = at;
        }
        self.place = None;
        self.node = Some(Within { reader, pos });
    }

    fn next_node(&mut self) -> Option<()> {
        let place = self.place?;
        let (own, node) = self.nodes.at(place)?;
        if !self.reverse && *own > self.to {
            self.place = None;
            return None;
        }
        let reader = node.read(*own);
        let pos = if self.reverse {
            reader.end()
        } else {
            reader.first
        };
        self.node = Some(Within { reader, pos });
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
        let found = self.reader.entry(self.pos)?;
        self.pos = found.fields.end()?;
        Some(found)
    }

    fn backward(&mut self) -> Option<Found<'a>> {
        if self.pos <= self.reader.first {
            return None;
        }
        self.pos = self.reader.before(self.pos)?;
        self.reader.entry(self.pos)
    }

    fn spot(&self, at: usize) -> Spot {
        Spot {
            own: self.reader.own,
            offset: at - self.reader.first,
            resets: 0,
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let step = match &mut self.node {
                Some(within) => {
                    let found = if self.reverse {
                        within.backward()
                    } else {
                        within.forward()
                    };
                    found.map(|found| (within.spot(found.at), found))
                }
                None => None,
            };
            let Some((spot, found)) = step else {
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
                self.spot = spot;
                return Some(Entry {
                    id: found.id,
                    fields: found.fields,
                });
            }
        }
    }
}
