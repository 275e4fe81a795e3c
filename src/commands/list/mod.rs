//! Lists: pushing and popping, reading, editing, moving between lists, and waiting for elements.

pub(super) mod edit;
pub(super) mod pop;
pub(super) mod push;
pub(super) mod read;
pub(super) mod transfer;

use std::ops::Range;

use crate::ds::listpack::Value;
use crate::exec::CmdError;
use crate::exec::args::is;
pub(super) use crate::exec::list_limits as limits;
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::types::list::End;

/// LEFT or RIGHT.
fn end_word(word: &[u8]) -> Result<End, CmdError> {
    match word {
        w if is(w, "LEFT") => Ok(End::Head),
        w if is(w, "RIGHT") => Ok(End::Tail),
        _ => Err(CmdError::SYNTAX),
    }
}

fn pushed(end: End) -> Event {
    Event::list(match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    })
}

fn popped(end: End) -> Event {
    Event::list(match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    })
}

/// Writes an element.
#[inline]
fn put(reply: &mut ReplyBuf, element: Value<'_>) {
    match element {
        Value::Int(n) => reply.bulk_int(n),
        Value::Str(s) => reply.bulk(s),
    }
}

/// The elements that LRANGE selects and LTRIM keeps: both ends count, negative ones from the end.
fn selected(len: usize, start: i64, stop: i64) -> Range<usize> {
    let from_end = |at: i64| {
        let back = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
        if at < 0 {
            len.checked_sub(back)
        } else {
            Some(back)
        }
    };
    let start = from_end(start).unwrap_or(0);
    match from_end(stop) {
        Some(stop) if start <= stop && start < len => start..stop.min(len - 1) + 1,
        _ => 0..0,
    }
}

/// The element that an index names, negative ones from the end; none outside of the list.
fn indexed(len: usize, index: i64) -> Option<usize> {
    let back = usize::try_from(index.unsigned_abs()).ok()?;
    let index = if index < 0 {
        len.checked_sub(back)?
    } else {
        back
    };
    (index < len).then_some(index)
}
