//! The value types and their encodings.
//!
//! A [`Value`] is what a key holds. Each type implements [`DataType`], by which the keyspace finds it in a
//! value, counts its memory and knows when a collection has become empty.

pub mod bits;
pub mod commands;
pub mod digest;
pub mod dump;
pub mod geo;
pub mod hash;
pub mod hll;
pub mod lcs;
pub mod list;
pub mod set;
pub mod stream;
pub mod string;
pub mod zset;

use crate::ds::table::Stats;
use crate::util::prefetch::fetch;
use hash::Hash;
use list::List;
use set::Set;
use stream::Stream;
use string::Str;
use zset::ZSet;

/// What a key holds. Kept at 16 bytes, a third of a record of the keyspace: in a tag of one byte all kinds
/// of strings are told from each other and from the other types, which leave it free.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string: an integer, a short string held inline, or a heap string.
    Str(Str),
    /// A list.
    List(Box<List>),
    /// A hash.
    Hash(Hash),
    /// A set.
    Set(Set),
    /// A sorted set.
    ZSet(ZSet),
    /// A stream with its consumer groups.
    Stream(Box<Stream>),
}

const _: () = assert!(size_of::<Value>() == 16);

/// A type of value, as seen by the keyspace.
pub trait DataType: Sized + Clone {
    /// The name that TYPE prints.
    const NAME: &'static str;

    /// The value as this type, if it is one.
    fn of(value: &Value) -> Option<&Self>;

    /// The value as this type, to be changed.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;

    /// Wraps into a value.
    fn into_value(self) -> Value;

    /// The name of the encoding, as OBJECT ENCODING prints it.
    fn encoding(&self) -> &'static str;

    /// Bytes on the heap, in O(1).
    fn heap_size(&self) -> usize;

    /// Whether an edit that leaves this value behind must delete its key: a collection without an element. Strings
    /// and streams may be empty.
    fn is_vanished(&self) -> bool;

    /// When the next part of this value is over, in unix milliseconds: the field of a hash.
    fn next_deadline(&self) -> Option<i64> {
        None
    }

    /// [`NAME`](Self::NAME), of a value at hand.
    fn type_name(&self) -> &'static str {
        Self::NAME
    }
}

/// Does the same with a value of whatever type.
macro_rules! with_value {
    ($value:expr, $v:ident => $body:expr) => {
        match $value {
            Value::Str($v) => $body,
            Value::List($v) => $body,
            Value::Hash($v) => $body,
            Value::Set($v) => $body,
            Value::ZSet($v) => $body,
            Value::Stream($v) => $body,
        }
    };
}

impl Value {
    /// The name of the type, as TYPE prints it.
    pub fn type_name(&self) -> &'static str {
        with_value!(self, v => v.type_name())
    }

    /// The name of the encoding, as OBJECT ENCODING prints it.
    pub fn encoding(&self) -> &'static str {
        with_value!(self, v => v.encoding())
    }

    /// Bytes on the heap, in O(1).
    pub fn heap_size(&self) -> usize {
        with_value!(self, v => v.heap_size())
    }

    /// Whether it is a collection without an element.
    pub fn is_vanished(&self) -> bool {
        with_value!(self, v => v.is_vanished())
    }

    /// Fetches what whoever uses the value looks at first, where that is not in the value itself.
    #[inline]
    pub(crate) fn glance(&self) {
        /// A line of the cache. What is longer than two the processor fetches of its own accord.
        const LINE: usize = 64;
        match self {
            Value::Str(Str::Heap(bytes)) => {
                fetch(&**bytes);
                bytes.get(LINE).into_iter().for_each(fetch);
            }
            Value::Str(Str::Buf(bytes)) => fetch(&**bytes),
            Value::Str(Str::Int(_) | Str::Inline(_)) => {}
            Value::List(list) => fetch(&**list),
            Value::Stream(stream) => fetch(&**stream),
            Value::Hash(Hash::Table(fields)) => fetch(&**fields),
            Value::Set(Set::Table(members)) => fetch(&**members),
            Value::ZSet(ZSet::Big(big)) => fetch(&**big),
            Value::Hash(Hash::Packed(packed)) => packed.glance(),
            Value::Set(Set::Small(small)) => small.glance(),
            Value::ZSet(ZSet::Packed(packed)) => packed.glance(),
        }
    }

    /// Whether its parts are in a table.
    #[inline]
    pub(crate) const fn has_table(&self) -> bool {
        matches!(
            self,
            Value::Hash(Hash::Table(_)) | Value::Set(Set::Table(_)) | Value::ZSet(ZSet::Big(_))
        )
    }

    /// Fetches what whoever uses a part of the value looks at first, or `deeper`, once that is near. `rest` is what a command
    /// says behind its key.
    #[inline]
    pub(crate) fn glance_at(&self, [first, second]: [&[u8]; 2], deeper: bool) {
        match self {
            Value::Hash(Hash::Table(fields)) => fields.glance(first, deeper),
            Value::Set(Set::Table(members)) => members.glance(first, deeper),
            // ZSCORE key member and its like; ZADD key score member, ZINCRBY.
            Value::ZSet(ZSet::Big(big)) if second.is_empty() => big.glance(first, deeper),
            Value::ZSet(ZSet::Big(big)) => big.glance(second, deeper),
            _ => {}
        }
    }

    /// When the next part of the value is over, in unix milliseconds: the field of a hash.
    #[inline]
    pub fn next_deadline(&self) -> Option<i64> {
        match self {
            Value::Hash(hash) => hash.next_deadline(),
            _ => None,
        }
    }

    /// Whether all parts of the value are over, so that there is no value any more.
    pub fn is_over(&self, now: i64) -> bool {
        match self {
            Value::Hash(hash) => hash.is_over(now),
            _ => false,
        }
    }

    /// How its hash table is filled, if it has one.
    pub fn table_stats(&self) -> Option<Stats> {
        match self {
            Value::Hash(Hash::Table(fields)) => Some(fields.table_stats()),
            Value::Set(Set::Table(members)) => Some(members.table_stats()),
            Value::ZSet(ZSet::Big(big)) => Some(big.table_stats()),
            _ => None,
        }
    }
}
