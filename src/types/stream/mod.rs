//! Streams: an append-only log of entries, the consumer groups that work it off, and what is remembered
//! of its producers.

mod group;
mod id;
mod idmp;
mod log;
mod node;
mod radix;
mod range;
#[cfg(test)]
mod tests;
mod trim;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DataType, Value};

pub use group::{
    AutoClaimed, Claim, Claimed, Consumer, ConsumerNo, Deliver, Delivered, Group, Hit, NackMode,
    Pending,
};
pub use id::{Bound, IdText, InvalidId, NewId, StreamId};
pub use idmp::{Idmp, IdmpConfig, digest};
pub use log::{AppendError, Counted, Log, SetIdError};
pub use node::{Fields, Node, NodeLimits, Pairs};
pub use range::{Entries, Entry};
pub use trim::{Refs, Threshold, Trim};

/// Stored bytes that are not a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid stream")]
pub struct Corrupt;

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    log: Log,
    groups: BTreeMap<Box<[u8]>, Arc<Group>>,
    /// Heap bytes of the groups.
    group_bytes: usize,
    idmp: Option<Box<Idmp>>,
}

/// What XDELEX or XACKDEL did with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletedEx {
    /// No such entry; whether references to it were dropped.
    Missing {
        /// They were.
        refs_dropped: bool,
    },
    /// Deleted.
    Deleted,
    /// Kept, since a group still needs it.
    Needed,
}

/// What a group costs beside its contents and its name.
const GROUP_OVERHEAD: usize = size_of::<Group>() + 64;

impl Stream {
    /// An empty stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream with these entries, and no group.
    #[must_use]
    pub fn with_log(log: Log) -> Self {
        Self {
            log,
            ..Self::default()
        }
    }

    /// Its entries and counters.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.log.len()
    }

    /// Whether there is no entry. An empty stream still is a stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.log.memory()
            + self.group_bytes
            + self
                .idmp
                .as_ref()
                .map_or(0, |i| i.memory() + size_of::<Idmp>())
    }

    /// Appends an entry, see [`Log::append`].
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append<'a>(
        &mut self,
        id: StreamId,
        fields: impl Pairs<'a>,
        limits: NodeLimits,
    ) -> Result<(), AppendError> {
        self.log.append(id, fields, limits)
    }

    /// Deletes an entry, see [`Log::delete`].
    pub fn delete(&mut self, id: StreamId) -> bool {
        self.log.delete(id)
    }

    /// Sets the last id and counters, see [`Log::set_id`].
    pub fn set_id(
        &mut self,
        id: StreamId,
        entries_added: Option<u64>,
        max_deleted: Option<StreamId>,
    ) {
        self.log.set_id(id, entries_added, max_deleted);
    }

    /// Deletes an entry with a policy for references to it. With [`Refs::Acked`] and no group at all
    /// nothing is deleted, as nothing was acknowledged.
    pub fn delete_ex(&mut self, id: StreamId, refs: Refs) -> DeletedEx {
        if !self.log.contains(id) {
            let refs_dropped = refs == Refs::Delete && self.drop_refs(id) > 0;
            return DeletedEx::Missing { refs_dropped };
        }
        if refs == Refs::Acked && (self.groups.is_empty() || self.is_awaited(id)) {
            return DeletedEx::Needed;
        }
        if refs == Refs::Delete {
            self.drop_refs(id);
        }
        self.log.delete(id);
        DeletedEx::Deleted
    }

    /// Acknowledges an entry in a group and deletes it. An entry acknowledged but deleted before counts
    /// as deleted; one that is not pending in the group is missing.
    pub fn ack_delete(&mut self, group: &[u8], id: StreamId, refs: Refs) -> DeletedEx {
        if self.with_group(group, |_, g| g.ack(id)) != Some(true) {
            return DeletedEx::Missing {
                refs_dropped: false,
            };
        }
        match self.delete_ex(id, refs) {
            DeletedEx::Needed => DeletedEx::Needed,
            DeletedEx::Deleted | DeletedEx::Missing { .. } => DeletedEx::Deleted,
        }
    }

    /// Whether some group has yet to read or acknowledge the entry.
    #[must_use]
    pub fn is_awaited(&self, id: StreamId) -> bool {
        self.groups
            .values()
            .any(|g| id > g.last_id() || g.pending(id).is_some())
    }

    /// Drops all pending references to an entry. How many there were.
    fn drop_refs(&mut self, id: StreamId) -> usize {
        let mut dropped = 0;
        for group in self.groups.values_mut().filter(|g| g.pending(id).is_some()) {
            let before = group.memory();
            let group = Arc::make_mut(group);
            dropped += usize::from(group.ack(id));
            self.group_bytes = (self.group_bytes + group.memory()).saturating_sub(before);
        }
        dropped
    }

    /// Groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, &**group))
    }

    /// The group with this name.
    #[must_use]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name).map(|g| &**g)
    }

    /// Adds a group. Whether there was none of that name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.group_bytes += name.len() + GROUP_OVERHEAD + group.memory();
        self.groups.insert(name.into(), Arc::new(group));
        true
    }

    /// Removes a group with all it has pending. Whether there was one.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some(group) = self.groups.remove(name) else {
            return false;
        };
        let bytes = name.len() + GROUP_OVERHEAD + group.memory();
        self.group_bytes = self.group_bytes.saturating_sub(bytes);
        true
    }

    /// Changes a group, with the stream's entries at hand.
    pub fn with_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&Log, &mut Group) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        let before = group.memory();
        let group = Arc::make_mut(group);
        let result = change(&self.log, group);
        self.group_bytes = (self.group_bytes + group.memory()).saturating_sub(before);
        Some(result)
    }

    /// What is remembered of producers; none until they are first used here.
    #[must_use]
    pub fn idmp(&self) -> Option<&Idmp> {
        self.idmp.as_deref()
    }

    /// Sets what is remembered of producers, as stored.
    pub fn restore_idmp(&mut self, idmp: Idmp) {
        self.idmp = Some(Box::new(idmp));
    }

    /// What is remembered of producers, made with these limits if there was nothing.
    pub fn idmp_mut(&mut self, config: IdmpConfig) -> &mut Idmp {
        self.idmp.get_or_insert_with(|| Box::new(Idmp::new(config)))
    }
}

impl DataType for Stream {
    const NAME: &'static str = "stream";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Stream(Box::new(self))
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn is_vanished(&self) -> bool {
        false
    }

    fn heap_size(&self) -> usize {
        crate::util::heap::rounded(size_of::<Self>()) + self.memory()
    }
}
