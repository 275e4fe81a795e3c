//! Values as RDB objects: what stands in files, in the payloads of DUMP and on the way to replicas.
//!
//! In memory the encodings are those of Redis 7.2; written they take the oldest tag that holds all of the value, so that
//! redis-server 7.0 reads everything it can know: a set in a listpack is written as a plain set, a stream without the
//! times at which its consumers were active. Only what older versions have no place for takes a newer tag: deadlines
//! of hash fields (12), producers remembered by a stream (13), entries handed back to a group (14).
//!
//! Reading trusts nothing. Whatever the tag, the bytes are refused unless every length, count and order in them is
//! right, so that what has been read needs no further care. A value read takes the encoding that the limits ask for.

mod hash;
mod list;
mod set;
mod stream;
mod string;
mod zset;

use super::{DataType, Value};
use crate::ds::listpack::{Listpack, Value as Element};
use crate::rdb::{Blob, Corrupt, Reader, Tag, Writer, payload, ziplist};

/// When values that are read take which encoding.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of lists.
    pub list: super::list::Limits,
    /// Of hashes.
    pub hash: super::hash::Limits,
    /// Of sets.
    pub set: super::set::Limits,
    /// Of sorted sets.
    pub zset: super::zset::Limits,
}

/// The tag under which a value is written.
pub fn tag(value: &Value) -> Tag {
    match value {
        Value::Str(_) => Tag::Str,
        Value::List(_) => Tag::ListQuicklist2,
        Value::Hash(hash) => hash::tag(hash),
        Value::Set(set) => set::tag(set),
        Value::ZSet(zset) => zset::tag(zset),
        Value::Stream(stream) => stream::tag(stream),
    }
}

/// Writes a value as the object that its [`tag`] announces.
pub fn write(value: &Value, w: &mut Writer<'_>) {
    match value {
        Value::Str(text) => string::write(text, w),
        Value::List(list) => list::write(list, w),
        Value::Hash(hash) => hash::write(hash, w),
        Value::Set(set) => set::write(set, w),
        Value::ZSet(zset) => zset::write(zset, w),
        Value::Stream(stream) => stream::write(stream, w),
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub enum Read {
    /// A value.
    Value(Value),
    /// A collection without an element, as some old versions wrote it: no key has such a value.
    Empty,
    /// The time of all that was in it is over.
    Over,
}

/// Reads the object that `tag` announces, at `now` in Unix milliseconds.
///
/// # Errors
/// [`Corrupt`].
pub fn read(tag: Tag, r: &mut Reader<'_>, limits: &Limits, now: i64) -> Result<Read, Corrupt> {
    match tag {
        Tag::Str => Ok(Read::Value(Value::Str(string::read(r)?))),
        Tag::List | Tag::ListZiplist | Tag::ListQuicklist | Tag::ListQuicklist2 => {
            list::read(tag, r, limits.list).map(filled)
        }
        Tag::Hash
        | Tag::HashZipmap
        | Tag::HashZiplist
        | Tag::HashListpack
        | Tag::HashDeadlinesOld
        | Tag::HashDeadlines
        | Tag::HashListpackDeadlinesOld
        | Tag::HashListpackDeadlines => {
            let mut hash = hash::read(tag, r, limits.hash)?;
            let over = hash.expire(now, usize::MAX, |_| {}) > 0 && hash.is_vanished();
            Ok(if over { Read::Over } else { filled(hash) })
        }
        Tag::Set | Tag::SetIntset | Tag::SetListpack => set::read(tag, r, limits.set).map(filled),
        Tag::ZSet | Tag::ZSet2 | Tag::ZSetZiplist | Tag::ZSetListpack => {
            zset::read(tag, r, limits.zset).map(filled)
        }
        Tag::Stream | Tag::Stream2 | Tag::Stream3 | Tag::Stream4 | Tag::Stream5 => {
            stream::read(tag, r).map(filled)
        }
    }
}

fn filled<T: DataType>(value: T) -> Read {
    match value.is_vanished() {
        true => Read::Empty,
        false => Read::Value(value.into_value()),
    }
}

/// The payload that DUMP answers with; long strings in it are compressed if `compress`.
pub fn to_payload(value: &Value, compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out, compress);
    let tag = tag(value);
    w.tag(tag);
    write(value, &mut w);
    payload::seal(&mut out, tag.version());
    out
}

/// Reads a string that is a listpack.
fn listpack(r: &mut Reader<'_>) -> Result<Listpack, Corrupt> {
    Listpack::from_bytes(r.string()?.into_vec()).map_err(|_| Corrupt)
}

/// The elements of a ziplist in a listpack.
fn from_ziplist(bytes: &Blob<'_>) -> Result<Listpack, Corrupt> {
    let mut lp = Listpack::new();
    bytes.with(|bytes| {
        lp.append(|out| {
            ziplist::read(bytes, |value| {
                match value {
                    Element::Int(n) => out.push_int(n),
                    Element::Str(text) => out.push(text),
                }
                Ok(())
            })
        })
    })?;
    lp.shrink();
    Ok(lp)
}
