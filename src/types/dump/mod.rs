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
mod pieces;
mod set;
mod stream;
mod string;
#[cfg(test)]
mod tests;
mod zset;

pub use pieces::Progress;

use super::{DataType, Value};
use crate::ds::listpack::{Appender, Listpack, Value as Element};
use crate::rdb::{Blob, Corrupt, Reader, Tag, Writer, payload, ziplist};
use crate::util::num::parse_i64;

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

/// Why an object was refused, in words for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(&'static str);

impl From<Corrupt> for Refused {
    fn from(_: Corrupt) -> Refused {
        Refused("Object integrity check failed")
    }
}

/// Reads the object that `tag` announces, at `now` in Unix milliseconds.
///
/// # Errors
/// [`Refused`] when anything in it is not as it should be, or it ends too soon.
pub fn read(tag: Tag, r: &mut Reader<'_>, limits: &Limits, now: i64) -> Result<Read, Refused> {
    match tag {
        Tag::Stream | Tag::Stream2 | Tag::Stream3 | Tag::Stream4 | Tag::Stream5 => {
            stream::read(tag, r).map(filled)
        }
        _ => read_other(tag, r, limits, now).map_err(|_| Refused(complaint(tag))),
    }
}

fn read_other(tag: Tag, r: &mut Reader<'_>, limits: &Limits, now: i64) -> Result<Read, Corrupt> {
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
        _ => Err(Corrupt),
    }
}

/// What is said of an object that is refused; tools look for these words in the log.
fn complaint(tag: Tag) -> &'static str {
    match tag {
        Tag::Str => "String integrity check failed",
        Tag::List => "List integrity check failed",
        Tag::ListZiplist => "List ziplist integrity check failed",
        Tag::ListQuicklist => "Quicklist ziplist integrity check failed",
        Tag::ListQuicklist2 => "Quicklist listpack integrity check failed",
        Tag::Set => "Set integrity check failed",
        Tag::SetIntset => "Intset integrity check failed",
        Tag::SetListpack => "Set listpack integrity check failed",
        Tag::ZSet | Tag::ZSet2 => "Zset integrity check failed",
        Tag::ZSetZiplist => "Zset ziplist integrity check failed",
        Tag::ZSetListpack => "Zset listpack integrity check failed",
        Tag::Hash | Tag::HashDeadlinesOld | Tag::HashDeadlines => "Hash integrity check failed",
        Tag::HashZipmap => "Zipmap integrity check failed",
        Tag::HashZiplist => "Hash ziplist integrity check failed",
        Tag::HashListpack => "Hash listpack integrity check failed",
        Tag::HashListpackDeadlinesOld | Tag::HashListpackDeadlines => {
            "Hash listpack with deadlines integrity check failed"
        }
        Tag::Stream | Tag::Stream2 | Tag::Stream3 | Tag::Stream4 | Tag::Stream5 => {
            "Stream integrity check failed"
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
    // Room for most; what takes more is worth a second allocation.
    let mut out = Vec::with_capacity(value.heap_size().min(1 << 16) + 64);
    let mut w = Writer::new(&mut out, compress);
    let tag = tag(value);
    w.tag(tag);
    write(value, &mut w);
    payload::seal(&mut out, tag.version());
    out
}

/// Reads a string that is a listpack. Elements that read as integers are integers afterwards, as they are in every
/// listpack that was filled by pushing: who looks for one relies on it.
fn listpack(r: &mut Reader<'_>) -> Result<Listpack, Corrupt> {
    let lp = Listpack::from_bytes(r.string()?.into_vec()).map_err(|_| Corrupt)?;
    let disguised = |v: Element<'_>| matches!(v, Element::Str(s) if parse_i64(s).is_some());
    if !lp.iter().any(|(_, v)| disguised(v)) {
        return Ok(lp);
    }
    let mut plain = Listpack::with_capacity(lp.byte_len());
    plain.append(|out| lp.iter().for_each(|(_, v)| push(out, v)));
    Ok(plain)
}

fn push(out: &mut Appender<'_>, element: Element<'_>) {
    match element {
        Element::Int(n) => out.push_int(n),
        Element::Str(text) => out.push(text),
    }
}

/// The elements of a ziplist in a listpack.
fn from_ziplist(bytes: &Blob<'_>) -> Result<Listpack, Corrupt> {
    let mut lp = Listpack::new();
    bytes.with(|bytes| {
        lp.append(|out| {
            ziplist::read(bytes, |value| {
                push(out, value);
                Ok(())
            })
        })
    })?;
    lp.shrink();
    Ok(lp)
}
