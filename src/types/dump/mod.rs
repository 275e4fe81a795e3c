//! Values as RDB objects: what stands in files, in the payloads of DUMP and on the way to replicas.
//!
//! In memory the encodings are those of Redis 7.2; written they take the oldest tag that holds all of the value, so that
//! redis-server 7.0 reads everything it can know: a set in a listpack is written as a plain set, a stream without the
//! times at which its consumers were active. Only what older versions have no place for takes a newer tag: deadlines
//! of hash fields (12), producers remembered by a stream (13), entries handed back to a group (14).
//!
//! Reading trusts nothing. Whatever the tag, the bytes are refused unless every length, count and order in them is
//! right, so that what has been read needs no further care. A value read takes the encoding that the limits ask for.

mod set;
mod stream;
mod string;

use super::Value;
use crate::rdb::{Corrupt, Reader, Tag, Writer, payload};

/// When values that are read take which encoding.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of sets.
    pub set: super::set::Limits,
}

/// The tag under which a value is written at `now`, in Unix milliseconds.
pub fn tag(value: &Value, now: i64) -> Tag {
    match value {
        Value::Str(_) => Tag::Str,
        Value::Set(set) => set::tag(set),
        Value::Stream(stream) => stream::tag(stream),
        _ => Tag::Str,
    }
}

/// Writes a value as the object that `tag`, from [`tag`] at the same time, announces.
pub fn write(value: &Value, tag: Tag, now: i64, w: &mut Writer<'_>) {
    match value {
        Value::Str(text) => string::write(text, w),
        Value::Set(set) => set::write(set, w),
        Value::Stream(stream) => stream::write(stream, tag, w),
        _ => {}
    }
}

/// Reads the object that `tag` announces; `None` when the time of all that was in it is over at `now`.
///
/// # Errors
/// [`Corrupt`].
pub fn read(
    tag: Tag,
    r: &mut Reader<'_>,
    limits: &Limits,
    now: i64,
) -> Result<Option<Value>, Corrupt> {
    Ok(Some(match tag {
        Tag::Str => Value::Str(string::read(r)?),
        Tag::Set | Tag::SetIntset | Tag::SetListpack => Value::Set(set::read(tag, r, limits.set)?),
        Tag::Stream | Tag::Stream2 | Tag::Stream3 | Tag::Stream4 | Tag::Stream5 => {
            Value::Stream(Box::new(stream::read(tag, r)?))
        }
        _ => return Err(Corrupt),
    }))
}

/// The payload that DUMP answers with; long strings in it are compressed if `compress`.
pub fn to_payload(value: &Value, compress: bool, now: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out, compress);
    let tag = tag(value, now);
    w.tag(tag);
    write(value, tag, now, &mut w);
    payload::seal(&mut out, tag.version());
    out
}
