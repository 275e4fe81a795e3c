//! The entries of a stream and what is counted about them; consumer groups stand apart.

use std::sync::Arc;

use super::Corrupt;
use super::id::{NewId, StreamId};
use super::node::{Node, NodeLimits, Pairs};
use super::range::{Entries, Entry, Nodes, Spot};
use crate::ds::listpack::MAX_BYTES;

/// Entries in nodes, the ids at its edges, and the counters from which lag is told.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub(super) nodes: Nodes,
    /// Heap bytes of all nodes.
    pub(super) node_bytes: usize,
    pub(super) len: u64,
    pub(super) last_id: StreamId,
    /// The first live entry; 0-0 when there is none.
    pub(super) first_id: StreamId,
    pub(super) max_deleted_id: StreamId,
    pub(super) entries_added: u64,
    /// How often XSETID went back, after which a node's id could be used again.
    pub(super) resets: u32,
}

/// What is counted about the entries of a stream, as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Number of entries.
    pub len: u64,
    /// The greatest id ever given.
    pub last_id: StreamId,
    /// The greatest id deleted by name.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
}

/// Why an entry was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Its id is not above the last one.
    NotAbove,
    /// The last id is the greatest there is.
    Exhausted,
    /// Its fields and values do not fit a node.
    TooLarge,
}

/// Why an XSETID was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetIdError {
    /// The id is below the greatest deleted one.
    BelowDeleted,
    /// The id is below the last live entry's.
    BelowTop,
    /// `entries_added` is below the length.
    FewerThanLength,
}

impl Log {
    /// The entries that stood in these nodes, in the order of their ids, with what was counted about them.
    ///
    /// # Errors
    /// [`Corrupt`] when nodes overlap, or ids and counters contradict them.
    pub fn restore(
        nodes: impl IntoIterator<Item = (StreamId, Node)>,
        counted: Counted,
    ) -> Result<Self, Corrupt> {
        let mut log = Self {
            last_id: counted.last_id,
            max_deleted_id: counted.max_deleted_id,
            entries_added: counted.entries_added,
            ..Self::default()
        };
        let mut last = None;
        for (own, node) in nodes {
            let end = node.read(own).last().ok_or(Corrupt)?.id;
            if last.is_some_and(|last| last >= own) {
                return Err(Corrupt);
            }
            last = Some(end);
            log.len = log.len.checked_add(node.live()).ok_or(Corrupt)?;
            log.node_bytes += node.bytes();
            log.nodes.insert(own, Arc::new(node));
        }
        let above = last.is_some_and(|last| last > counted.last_id);
        if above || log.len != counted.len || log.entries_added < log.len {
            return Err(Corrupt);
        }
        log.find_first();
        Ok(log)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The greatest id ever given.
    #[must_use]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The first live entry's id; 0-0 when there is none.
    #[must_use]
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The greatest id deleted by name.
    #[must_use]
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// Entries ever added.
    #[must_use]
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// Number of nodes.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes with their ids, in order.
    pub fn nodes(&self) -> impl Iterator<Item = (StreamId, &Arc<Node>)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// Those whose ids are not below `id`.
    pub fn nodes_from(&self, id: StreamId) -> impl Iterator<Item = (StreamId, &Arc<Node>)> {
        self.nodes.range(&id).map(|(id, node)| (*id, node))
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.nodes.bytes() + self.node_bytes
    }

    /// The entries from `from` to `to`, both included.
    #[must_use]
    pub fn range(&self, from: StreamId, to: StreamId) -> Entries<'_> {
        Entries::new(&self.nodes, from, to, false)
    }

    /// The entries above `last`, which is likely to be found at `spot`.
    pub(super) fn above(&self, last: StreamId, spot: Spot) -> Option<Entries<'_>> {
        let known = if spot.resets == self.resets {
            Entries::behind(&self.nodes, last, spot)
        } else {
            None
        };
        known.or_else(|| Some(self.range(last.next()?, StreamId::MAX)))
    }

    /// The entries from `to` down to `from`, both included.
    #[must_use]
    pub fn range_back(&self, from: StreamId, to: StreamId) -> Entries<'_> {
        Entries::new(&self.nodes, from, to, true)
    }

    /// The entry with this id.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        let own = self.holder(id)?;
        let found = self.nodes.get(&own)?.read(own).find(id)?;
        Some(Entry {
            id,
            fields: found.fields,
        })
    }

    /// Whether there is an entry with this id.
    #[must_use]
    pub fn contains(&self, id: StreamId) -> bool {
        id >= self.first_id && id <= self.last_id && self.get(id).is_some()
    }

    /// The last live entry.
    #[must_use]
    pub fn last_entry(&self) -> Option<Entry<'_>> {
        self.range_back(StreamId::MIN, StreamId::MAX).next()
    }

    /// The last live entry's id; 0-0 when there is none.
    #[must_use]
    pub fn top_id(&self) -> StreamId {
        self.last_entry().map_or(StreamId::MIN, |e| e.id)
    }

    /// The id a new entry gets.
    ///
    /// # Errors
    /// When no id is left, or the one asked for is not above the last.
    pub fn new_id(&self, wish: NewId, now_ms: u64) -> Result<StreamId, AppendError> {
        if self.last_id == StreamId::MAX {
            return Err(AppendError::Exhausted);
        }
        let id = match wish {
            NewId::Auto if now_ms > self.last_id.ms => StreamId::new(now_ms, 0),
            NewId::Auto => self.last_id.next().ok_or(AppendError::Exhausted)?,
            NewId::AutoSeq(ms) if ms == self.last_id.ms => {
                let seq = self
                    .last_id
                    .seq
                    .checked_add(1)
                    .ok_or(AppendError::NotAbove)?;
                StreamId::new(ms, seq)
            }
            NewId::AutoSeq(ms) => StreamId::new(ms, 0),
            NewId::Exact(id) => id,
        };
        if id > self.last_id {
            Ok(id)
        } else {
            Err(AppendError::NotAbove)
        }
    }

    /// Appends an entry under an id from [`Self::new_id`].
    ///
    /// # Errors
    /// When the id is not above the last one, or the entry is too large; nothing has changed then.
    pub fn append<'a>(
        &mut self,
        id: StreamId,
        fields: impl Pairs<'a>,
        limits: NodeLimits,
    ) -> Result<(), AppendError> {
        if id <= self.last_id {
            return Err(AppendError::NotAbove);
        }
        let (count, size) = Self::check_size(fields.clone())?;
        self.open_tail(id, fields.clone(), count, size, limits);
        if let Some((own, node)) = self.nodes.last_mut() {
            let before = node.bytes();
            let node = Arc::make_mut(node);
            node.append(id, *own, fields, count);
            self.node_bytes = (self.node_bytes + node.bytes()).saturating_sub(before);
        }
        if self.len == 0 {
            self.first_id = id;
        }
        self.len += 1;
        self.entries_added = self.entries_added.saturating_add(1);
        self.last_id = id;
        Ok(())
    }

    /// Number of fields, and bytes of fields and values, of an entry.
    ///
    /// # Errors
    /// When a node cannot take it.
    pub fn check_size<'a>(fields: impl Pairs<'a>) -> Result<(usize, usize), AppendError> {
        let (mut count, mut size) = (0, 0usize);
        fields.for_each(|(name, value)| {
            count += 1;
            size = size.saturating_add(name.len() + value.len());
        });
        if size > MAX_BYTES - (1 << 20) {
            return Err(AppendError::TooLarge);
        }
        Ok((count, size))
    }

    /// Starts a new node when the last one cannot take the entry.
    fn open_tail<'a>(
        &mut self,
        id: StreamId,
        fields: impl Pairs<'a>,
        count: usize,
        size: usize,
        limits: NodeLimits,
    ) {
        let mut capacity = 0;
        if let Some((_, last)) = self.nodes.last_mut() {
            if !last.is_full(size, limits) {
                return;
            }
            let before = last.bytes();
            let last = Arc::make_mut(last);
            last.shrink();
            self.node_bytes = (self.node_bytes + last.bytes()).saturating_sub(before);
            // The next node will be about as long. Never more than a node may hold: one byte beyond a power of
            // two can cost a whole size class of the allocator.
            let likely = last.bytes() + last.bytes() / 8;
            let most = match limits.max_bytes {
                0 => 1 << 16,
                n => n.min(1 << 16),
            };
            capacity = likely.min(most);
        }
        let node = Node::new(fields, count, capacity);
        self.node_bytes += node.bytes();
        self.nodes.insert(id, Arc::new(node));
    }

    /// Deletes the entry with this id, as XDEL does. Whether there was one.
    pub fn delete(&mut self, id: StreamId) -> bool {
        if !self.remove(id) {
            return false;
        }
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id || self.len == 0 {
            self.find_first();
        }
        true
    }

    /// Takes one entry out, leaving the edges to the caller.
    fn remove(&mut self, id: StreamId) -> bool {
        let Some(own) = self.holder(id) else {
            return false;
        };
        let Some(at) = self
            .nodes
            .get(&own)
            .and_then(|n| n.read(own).find(id))
            .map(|f| f.at)
        else {
            return false;
        };
        self.mark_deleted(own, at);
        self.drop_if_empty(own);
        true
    }

    /// Deletes the live entry at `at` of the node `own`. The node stays, also without a live entry.
    pub(super) fn mark_deleted(&mut self, own: StreamId, at: usize) {
        self.len = self.len.saturating_sub(1);
        let Some(node) = self.nodes.get_mut(&own) else {
            return;
        };
        let before = node.bytes();
        let node = Arc::make_mut(node);
        node.delete(at);
        self.node_bytes = (self.node_bytes + node.bytes()).saturating_sub(before);
    }

    /// Drops a node without a live entry.
    pub(super) fn drop_if_empty(&mut self, own: StreamId) {
        if self.nodes.get(&own).is_some_and(|node| node.live() == 0) {
            self.drop_node(own);
        }
    }

    /// Drops a node; its entries have been, or are to be, taken off the length by the caller.
    pub(super) fn drop_node(&mut self, own: StreamId) {
        if let Some(node) = self.nodes.remove(&own) {
            self.node_bytes = self.node_bytes.saturating_sub(node.bytes());
        }
    }

    /// Finds the first live entry again after one has gone.
    pub(super) fn find_first(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        self.first_id = first.map_or(StreamId::MIN, |e| e.id);
    }

    /// XSETID: whether the last id may be this, and the counter of entries.
    ///
    /// # Errors
    /// When they would contradict what the stream holds.
    pub fn check_id(&self, id: StreamId, entries_added: Option<u64>) -> Result<(), SetIdError> {
        if self.len > 0 {
            if id < self.top_id() {
                return Err(SetIdError::BelowTop);
            }
            if entries_added.is_some_and(|n| n < self.len) {
                return Err(SetIdError::FewerThanLength);
            }
        }
        match id < self.max_deleted_id {
            true => Err(SetIdError::BelowDeleted),
            false => Ok(()),
        }
    }

    /// XSETID: sets the last id, and with a value each of the other two. They were [checked](Self::check_id).
    pub fn set_id(
        &mut self,
        id: StreamId,
        entries_added: Option<u64>,
        max_deleted: Option<StreamId>,
    ) {
        self.resets = self.resets.wrapping_add(u32::from(id < self.last_id));
        self.last_id = id;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        match max_deleted {
            None | Some(StreamId::MIN) => {}
            Some(id) => self.max_deleted_id = id,
        }
    }

    /// How many entries were added up to and including `id`, if that can be told.
    #[must_use]
    pub fn rank_of(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id {
            return None;
        }
        let whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        let before_first = self.entries_added.saturating_sub(self.len);
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less if whole => Some(before_first),
            std::cmp::Ordering::Equal if whole => Some(before_first + 1),
            _ => None,
        }
    }

    /// Whether an entry at or above `id` may have been deleted by name, with entries before it left.
    #[must_use]
    pub fn has_tombstone_from(&self, id: StreamId) -> bool {
        let deleted = self.max_deleted_id;
        self.len > 0 && deleted != StreamId::MIN && deleted >= self.first_id && deleted >= id
    }

    /// Entries not yet delivered to a group, if that can be told. Negative where XGROUP was told of more
    /// reads than there were entries.
    #[must_use]
    pub fn lag(&self, last_delivered: StreamId, entries_read: Option<u64>) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = match entries_read {
            Some(read) if !self.has_tombstone_from(last_delivered) => read,
            _ => self.rank_of(last_delivered)?,
        };
        Some(
            self.entries_added
                .cast_signed()
                .wrapping_sub(read.cast_signed()),
        )
    }

    /// The node that holds `id` if any does.
    fn holder(&self, id: StreamId) -> Option<StreamId> {
        let seek = self.nodes.seek(&id);
        match self.nodes.at(seek) {
            Some((own, _)) if *own == id => Some(id),
            _ => self.nodes.at(self.nodes.before(seek)?).map(|(own, _)| *own),
        }
    }
}
