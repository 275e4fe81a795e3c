//! One node of a stream: a run of entries in a listpack, laid out exactly as Redis does.
//!
//! ```text
//! node    = count  deleted  num-fields  field*  0  entry*
//! entry   = flags  ms-delta  seq-delta  ( num-fields (field value)* | value* )  lp-count
//! flags   = 1 deleted | 2 same fields as the node's header, so only the values follow
//! ```
//!
//! Deltas are relative to the node's own id, the id of its first entry, and wrap. `lp-count` is the number
//! of elements before it in the entry, for walking backwards. The header's fields are those of the first
//! entry. Deleted entries stay in place until all of the node is deleted.

use super::id::StreamId;
use crate::ds::listpack::{Listpack, MAX_BYTES, Value};
use crate::util::heap;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// When to start a new node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// `stream-node-max-bytes`; 0 is no limit.
    pub max_bytes: usize,
    /// `stream-node-max-entries`; 0 is no limit.
    pub max_entries: u64,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            max_bytes: 4096,
            max_entries: 100,
        }
    }
}

/// A run of entries. Its bytes have been checked, or were written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    lp: Listpack,
}

/// The header of a node.
#[derive(Clone, Copy, Debug)]
struct Header {
    live: i64,
    deleted: i64,
    fields: usize,
    /// Position of the first field.
    fields_at: usize,
}

/// An entry found in a node.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// Its id.
    pub id: StreamId,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Position of its flags.
    pub at: usize,
    /// Its fields and values.
    pub fields: Fields<'a>,
}

/// The fields and values of an entry, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    lp: &'a Listpack,
    /// Where the next field's name is, when names stand in the header.
    header: Option<usize>,
    /// Where the next name or value is.
    pos: usize,
    left: usize,
}

/// Fields and values to write.
pub trait Pairs<'a>: Iterator<Item = (&'a [u8], &'a [u8])> + Clone {}
impl<'a, T: Iterator<Item = (&'a [u8], &'a [u8])> + Clone> Pairs<'a> for T {}

impl Node {
    /// A node whose first entry will have these fields.
    pub fn new<'a>(fields: impl Pairs<'a>, count: usize, capacity: usize) -> Self {
        let mut lp = Listpack::with_capacity(capacity);
        lp.append(|a| {
            a.push_int(0);
            a.push_int(0);
            a.push_int(to_i64(count));
            fields.for_each(|(name, _)| a.push(name));
            a.push_int(0);
        });
        Self { lp }
    }

    /// Takes the bytes of a node from outside, after checking all of them.
    ///
    /// # Errors
    /// [`super::Corrupt`] when they are not a listpack, or not one with this layout, or
    /// ids do not rise from `own`, the node's id, on.
    pub fn from_bytes(bytes: Vec<u8>, own: StreamId) -> Result<Self, super::Corrupt> {
        let lp = Listpack::from_bytes(bytes).map_err(|_| super::Corrupt)?;
        let node = Self { lp };
        node.check(own).ok_or(super::Corrupt)?;
        Ok(node)
    }

    /// The node as Redis stores it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.lp.as_bytes()
    }

    /// The node itself, behind its reference counts.
    const SHARED: usize = size_of::<Self>() + 2 * size_of::<usize>();

    /// Bytes on the heap.
    #[must_use]
    pub fn bytes(&self) -> usize {
        heap::rounded(Self::SHARED) + heap::rounded(self.lp.capacity())
    }

    /// Gives unused capacity back.
    pub fn shrink(&mut self) {
        self.lp.shrink();
    }

    /// Entries that are not deleted.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.header()
            .map_or(0, |h| u64::try_from(h.live).unwrap_or(0))
    }

    /// Whether an entry with `size` bytes of fields and values has to go to a new node.
    #[must_use]
    pub fn is_full(&self, size: usize, limits: NodeLimits) -> bool {
        let max = match limits.max_bytes {
            0 => MAX_BYTES,
            n => n.min(MAX_BYTES),
        };
        if self.lp.byte_len() + size >= max {
            return true;
        }
        let used = self
            .header()
            .map_or(0, |h| h.live.saturating_add(h.deleted));
        limits.max_entries != 0 && u64::try_from(used).unwrap_or(0) >= limits.max_entries
    }

    /// Appends an entry.
    pub fn append<'a>(
        &mut self,
        id: StreamId,
        own: StreamId,
        fields: impl Pairs<'a>,
        count: usize,
    ) {
        let Some(header) = self.header() else { return };
        self.set_counts(header.live + 1, header.deleted);
        let same = header.fields == count && self.has_fields(fields.clone());
        self.lp.append(|a| {
            a.push_int(if same { SAME_FIELDS } else { 0 });
            a.push_int(id.ms.wrapping_sub(own.ms).cast_signed());
            a.push_int(id.seq.wrapping_sub(own.seq).cast_signed());
            if same {
                fields.for_each(|(_, value)| a.push(value));
                a.push_int(to_i64(count + 3));
            } else {
                a.push_int(to_i64(count));
                fields.for_each(|(name, value)| {
                    a.push(name);
                    a.push(value);
                });
                a.push_int(to_i64(count * 2 + 4));
            }
        });
    }

    /// Marks the entry at `at` deleted. Gives the number of entries left.
    pub fn delete(&mut self, at: usize) -> u64 {
        let (Some((flags, _)), Some(header)) = (self.lp.step_int(at), self.header()) else {
            return self.live();
        };
        if flags & DELETED == 0 {
            self.lp.replace_int(at, flags | DELETED);
            self.set_counts(header.live - 1, header.deleted + 1);
        }
        self.live()
    }

    /// Reads the entries; `own` is the node's id.
    #[inline]
    #[must_use]
    pub fn read(&self, own: StreamId) -> Reader<'_> {
        let header = self.header();
        let (fields, fields_at) = header.map_or((0, self.lp.end()), |h| (h.fields, h.fields_at));
        Reader {
            lp: &self.lp,
            own,
            fields,
            fields_at,
            first: self.lp.skip(fields_at, fields + 1).unwrap_or(self.lp.end()),
        }
    }

    fn header(&self) -> Option<Header> {
        let (live, pos) = self.lp.step_int(self.lp.first()?)?;
        let (deleted, pos) = self.lp.step_int(pos)?;
        let (fields, fields_at) = self.lp.step_int(pos)?;
        Some(Header {
            live,
            deleted,
            fields: usize::try_from(fields).ok()?,
            fields_at,
        })
    }

    fn set_counts(&mut self, live: i64, deleted: i64) {
        let Some(at) = self.lp.first() else { return };
        self.lp.replace_int(at, live);
        if let Some((_, at)) = self.lp.step(at) {
            self.lp.replace_int(at, deleted);
        }
    }

    /// Whether the header names exactly these fields; their number has been compared.
    fn has_fields<'a>(&self, fields: impl Pairs<'a>) -> bool {
        let Some(header) = self.header() else {
            return false;
        };
        let mut names = self.lp.iter_from(header.fields_at);
        fields
            .into_iter()
            .all(|(name, _)| names.next().is_some_and(|(_, own)| own.eq_bytes(name)))
    }

    /// Walks all of the node; none when something in it does not fit.
    fn check(&self, own: StreamId) -> Option<()> {
        let header = self.header()?;
        if header.live < 0 || header.deleted < 0 || header.fields < 1 {
            return None;
        }
        let terminator = self.lp.skip(header.fields_at, header.fields)?;
        if self.lp.step_int(terminator)?.0 != 0 {
            return None;
        }
        let reader = self.read(own);
        let (mut at, mut live, mut deleted) = (reader.first, 0, 0);
        let mut last = None;
        while at < self.lp.end() {
            let found = reader.entry(at)?;
            let elements = self.elements(&found)?;
            let count_at = self.lp.skip(at, elements)?;
            let (count, next) = self.lp.step_int(count_at)?;
            if usize::try_from(count) != Ok(elements)
                || last.is_some_and(|id| id >= found.id)
                || found.id < own
                || found.id == StreamId::MIN
                || found.fields.is_empty()
            {
                return None;
            }
            *(if found.deleted {
                &mut deleted
            } else {
                &mut live
            }) += 1;
            (last, at) = (Some(found.id), next);
        }
        ((live, deleted) == (header.live, header.deleted)).then_some(())
    }

    /// Elements of an entry before its `lp-count`.
    fn elements(&self, found: &Found<'_>) -> Option<usize> {
        match found.fields.header {
            Some(_) => found.fields.left.checked_add(3),
            None => found.fields.left.checked_mul(2)?.checked_add(4),
        }
    }
}

/// Reads the entries of a node, with what its header says at hand.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    lp: &'a Listpack,
    /// The node's id.
    pub own: StreamId,
    fields: usize,
    fields_at: usize,
    /// Position of the first entry.
    pub first: usize,
}

impl<'a> Reader<'a> {
    /// Position behind the last entry.
    #[must_use]
    pub fn end(&self) -> usize {
        self.lp.end()
    }

    /// The entry whose flags are at `at`.
    #[inline]
    #[must_use]
    pub fn entry(&self, at: usize) -> Option<Found<'a>> {
        let (flags, pos) = self.lp.step_int(at)?;
        let (ms, pos) = self.lp.step_int(pos)?;
        let (seq, pos) = self.lp.step_int(pos)?;
        let id = StreamId::new(
            self.own.ms.wrapping_add(ms.cast_unsigned()),
            self.own.seq.wrapping_add(seq.cast_unsigned()),
        );
        let (header, left, pos) = if flags & SAME_FIELDS != 0 {
            (Some(self.fields_at), self.fields, pos)
        } else {
            let (count, pos) = self.lp.step_int(pos)?;
            (None, usize::try_from(count).ok()?, pos)
        };
        Some(Found {
            id,
            deleted: flags & DELETED != 0,
            at,
            fields: Fields {
                lp: self.lp,
                header,
                pos,
                left,
            },
        })
    }

    /// Position of the entry that ends at `end`.
    #[must_use]
    pub fn before(&self, end: usize) -> Option<usize> {
        let mut pos = self.lp.prev(end)?;
        let (elements, _) = self.lp.step_int(pos)?;
        for _ in 0..elements {
            pos = self.lp.prev(pos)?;
        }
        Some(pos)
    }

    /// The last entry, deleted or not.
    #[must_use]
    pub fn last(&self) -> Option<Found<'a>> {
        self.entry(self.before(self.end())?)
    }

    /// The live entry with this id.
    #[must_use]
    pub fn find(&self, id: StreamId) -> Option<Found<'a>> {
        let mut at = self.first;
        while let Some(found) = self.entry(at) {
            if found.id >= id {
                return (found.id == id && !found.deleted).then_some(found);
            }
            at = found.fields.end()?;
        }
        None
    }
}

impl<'a> Fields<'a> {
    /// Pairs left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether no pair is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Position of the entry behind this one.
    #[must_use]
    pub fn end(&self) -> Option<usize> {
        let elements = if self.header.is_some() {
            self.left
        } else {
            self.left * 2
        };
        self.lp.skip(self.pos, elements + 1)
    }

    #[inline]
    fn value(&mut self) -> Option<Value<'a>> {
        let (value, next) = self.lp.step(self.pos)?;
        self.pos = next;
        Some(value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Value<'a>, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.header {
            Some(at) => {
                let (name, next) = self.lp.step(*at)?;
                *at = next;
                name
            }
            None => self.value()?,
        };
        Some((name, self.value()?))
    }
}

fn to_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: StreamId = StreamId::new(1, 1);

    fn append(node: &mut Node, id: StreamId, pairs: &[(&str, &str)]) {
        let fields = pairs.iter().map(|(f, v)| (f.as_bytes(), v.as_bytes()));
        node.append(id, OWN, fields, pairs.len());
    }

    #[test]
    fn bytes_are_those_of_redis() {
        // The node of `XADD x 1-1 f v`, as a DUMP by Redis 7.0 holds it.
        let pairs = [(&b"f"[..], &b"v"[..])];
        let mut node = Node::new(pairs.iter().copied(), 1, 64);
        node.append(OWN, OWN, pairs.iter().copied(), 1);
        let expected = b"\x1D\0\0\0\x0A\0\x01\x01\0\x01\x01\x01\x81f\x02\0\x01\x02\x01\0\x01\0\x01\x81v\x02\x04\x01\xFF";
        assert_eq!(node.as_bytes(), expected);
        assert_eq!(Node::from_bytes(expected.to_vec(), OWN), Ok(node));
    }

    #[test]
    fn other_fields_are_written_out() {
        let pairs = [(&b"f"[..], &b"v"[..])];
        let mut node = Node::new(pairs.iter().copied(), 1, 0);
        append(&mut node, OWN, &[("f", "1")]);
        append(&mut node, StreamId::new(1, 2), &[("g", "2"), ("h", "x")]);
        append(&mut node, StreamId::new(5, 0), &[("f", "3")]);
        assert!(Node::from_bytes(node.as_bytes().to_vec(), OWN).is_ok());
        let found = node.read(OWN).find(StreamId::new(1, 2)).unwrap();
        let all: Vec<_> = found
            .fields
            .map(|(f, v)| (f.to_vec(), v.to_vec()))
            .collect();
        assert_eq!(
            all,
            [
                (b"g".to_vec(), b"2".to_vec()),
                (b"h".to_vec(), b"x".to_vec())
            ]
        );
        assert_eq!(node.read(OWN).last().unwrap().id, StreamId::new(5, 0));
        let at = node.read(OWN).find(StreamId::new(1, 2)).unwrap().at;
        assert_eq!(node.delete(at), 2);
        assert!(node.read(OWN).find(StreamId::new(1, 2)).is_none());
        assert!(Node::from_bytes(node.as_bytes().to_vec(), OWN).is_ok());
    }

    #[test]
    fn corrupt_nodes_are_refused() {
        let pairs = [(&b"f"[..], &b"v"[..])];
        let mut node = Node::new(pairs.iter().copied(), 1, 0);
        append(&mut node, OWN, &[("f", "v")]);
        append(&mut node, StreamId::new(1, 2), &[("a", "v"), ("b", "w")]);
        let good = node.as_bytes().to_vec();
        for i in 6..good.len() - 1 {
            for value in [0u8, 1, 2, 3, 5, 127, 0x81, 0xC0, 0xFF] {
                let mut bad = good.clone();
                bad[i] = value;
                if let Ok(node) = Node::from_bytes(bad, OWN) {
                    let reader = node.read(OWN);
                    let mut at = reader.first;
                    while let Some(found) = reader.entry(at) {
                        assert!(found.fields.clone().count() <= 2);
                        at = found.fields.end().unwrap();
                    }
                }
            }
        }
    }
}
