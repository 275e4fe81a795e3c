//! Streams: adding and trimming, ranges, blocking reads, consumer groups, pending entries, introspection.

pub(super) mod add;
mod effects;
pub(super) mod group;
pub(super) mod info;
pub(super) mod pending;
pub(super) mod range;
pub(super) mod read;

use crate::exec::args::{int, is};
use crate::exec::{CmdError, Cursor};
use crate::keyspace::{Edit, Keyspace};
use crate::resp::ReplyBuf;
use crate::types::stream::{Bound, Fields, IdText, InvalidId, Refs, Stream, StreamId};

impl From<InvalidId> for CmdError {
    fn from(_: InvalidId) -> CmdError {
        CmdError::fixed("ERR Invalid stream ID specified as stream command argument")
    }
}

const INVALID_START: CmdError = CmdError::fixed("ERR invalid start ID for the interval");
const INVALID_END: CmdError = CmdError::fixed("ERR invalid end ID for the interval");

/// The first id of a range.
fn start_id(text: &[u8]) -> Result<StreamId, CmdError> {
    Bound::parse(text, 0)?.as_start().ok_or(INVALID_START)
}

/// The last id of a range.
fn end_id(text: &[u8]) -> Result<StreamId, CmdError> {
    Bound::parse(text, u64::MAX)?.as_end().ok_or(INVALID_END)
}

fn ids(texts: &[&[u8]]) -> Result<Vec<StreamId>, CmdError> {
    texts
        .iter()
        .map(|text| Ok(StreamId::parse(text, 0)?))
        .collect()
}

/// KEEPREF, DELREF or ACKED.
fn refs_word(word: &[u8]) -> Option<Refs> {
    match word {
        w if is(w, "KEEPREF") => Some(Refs::Keep),
        w if is(w, "DELREF") => Some(Refs::Delete),
        w if is(w, "ACKED") => Some(Refs::Acked),
        _ => None,
    }
}

/// `[KEEPREF | DELREF | ACKED] IDS numids id ...`, in either order.
fn refs_and_ids(mut args: Cursor<'_>) -> Result<(Refs, Vec<StreamId>), CmdError> {
    let (mut refs, mut given) = (None, None);
    while let Some(word) = args.next() {
        if let (Some(found), None) = (refs_word(word), refs) {
            refs = Some(found);
        } else if is(word, "IDS") && given.is_none() && args.left() > 0 {
            let numids = args.word()?;
            let wanted = int(numids)
                .ok()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n > 0);
            let wanted = wanted.ok_or(CmdError::fixed(
                "ERR Number of IDs must be a positive integer",
            ))?;
            if wanted > args.left() {
                let text = "ERR The `numids` parameter must match the number of arguments";
                return Err(CmdError::fixed(text));
            }
            given = Some(args.by_ref().take(wanted).collect::<Vec<_>>());
        } else {
            return Err(CmdError::SYNTAX);
        }
    }
    let given = given.ok_or(CmdError::SYNTAX)?;
    Ok((refs.unwrap_or_default(), ids(&given)?))
}

fn no_group(key: &[u8], group: &[u8]) -> CmdError {
    CmdError::new(format!(
        "NOGROUP No such key '{}' or consumer group '{}'",
        lossy(key),
        lossy(group)
    ))
}

fn no_group_of_key(key: &[u8], group: &[u8]) -> CmdError {
    CmdError::new(format!(
        "NOGROUP No such consumer group '{}' for key name '{}'",
        lossy(group),
        lossy(key)
    ))
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Opens a stream that has this group. Commands that need one count as readers of the key.
fn edit_group<'a>(
    ks: &'a mut Keyspace,
    key: &[u8],
    group: &[u8],
) -> Result<Option<Edit<'a, Stream>>, CmdError> {
    Ok(ks
        .edit_read::<Stream>(key)?
        .filter(|s| s.group(group).is_some()))
}

/// Writes an id.
#[inline]
fn put_id(reply: &mut ReplyBuf, id: StreamId) {
    reply.bulk(id.text(&mut IdText::default()));
}

/// Writes fields and values as one flat array.
#[inline]
fn put_fields(reply: &mut ReplyBuf, fields: Fields<'_>) {
    reply.array(fields.len() * 2);
    let mut buf = itoa::Buffer::new();
    for (name, value) in fields {
        reply.bulk(name.bytes(&mut buf));
        reply.bulk(value.bytes(&mut buf));
    }
}

/// Writes an entry: its id, and its fields and values.
#[inline]
fn put_entry(reply: &mut ReplyBuf, id: StreamId, fields: Fields<'_>) {
    reply.array(2);
    put_id(reply, id);
    put_fields(reply, fields);
}

/// A count as the wire has it.
fn wire(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
