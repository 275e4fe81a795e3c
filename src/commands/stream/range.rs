//! XLEN, XRANGE, XREVRANGE, XDEL, XDELEX and XSETID.

use super::{end_id, ids, put_entry, refs_and_ids, start_id, wire};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::stream::{DeletedEx, Entry, SetIdError, Stream, StreamId};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("xlen", 2, xlen)
        .since("5.0.0")
        .group(Group::Stream)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key")
        .summary("Number of entries of a stream.")
        .complexity("O(1)")
        .checked(),
    Command::new("xrange", -4, xrange)
        .since("5.0.0")
        .group(Group::Stream)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key start end [COUNT^count:int]")
        .summary("Entries between two ids, in order.")
        .complexity("O(log M + N) for N entries of a stream with M nodes")
        .history(&[("6.2.0", "Added exclusive ids.")])
        .checked(),
    Command::new("xrevrange", -4, xrevrange)
        .since("5.0.0")
        .group(Group::Stream)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key end start [COUNT^count:int]")
        .summary("Entries between two ids, in reverse order.")
        .complexity("O(log M + N) for N entries of a stream with M nodes")
        .history(&[("6.2.0", "Added exclusive ids.")])
        .checked(),
    Command::new("xdel", -3, xdel)
        .since("5.0.0")
        .group(Group::Stream)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key ID:string...")
        .summary("Delete entries by their ids.")
        .complexity("O(log M) for each id in a stream with M nodes")
        .checked(),
    Command::new("xdelex", -5, xdelex)
        .since("8.2.0")
        .group(Group::Stream)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key [condition=(KEEPREF | DELREF | ACKED)] IDS^ids={numids:int id...=numids}")
        .summary("Delete entries, with a choice of what becomes of pending references.")
        .complexity("O(log M) for each id in a stream with M nodes, times the number of groups")
        .checked(),
    Command::new("xsetid", -3, xsetid)
        .since("5.0.0")
        .group(Group::Stream)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax(
            "key:key last-id [ENTRIESADDED^entries-added:int@7.0.0] [MAXDELETEDID^max-deleted-id@7.0.0]",
        )
        .summary("Set the last id of a stream; internal.")
        .complexity("O(1)")
        .history(&[("7.0.0", "Added `ENTRIESADDED` and `MAXDELETEDID`.")])
        .checked(),
];

fn xlen(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let len = cx.ks.read::<Stream>(args.at(1))?.map_or(0, Stream::len);
    cx.int(wire(len))
}

fn xrange(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    range(cx, args, false)
}

fn xrevrange(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    range(cx, args, true)
}

fn range(cx: &mut Ctx<'_>, args: Args<'_>, reverse: bool) -> CmdResult {
    let (start, end) = if reverse { (3, 2) } else { (2, 3) };
    let (start, end) = (start_id(args.at(start))?, end_id(args.at(end))?);
    let mut count = None;
    let mut rest = args.cursor(4);
    while let Some(word) = rest.next() {
        if !is(word, "COUNT") {
            return Err(CmdError::SYNTAX);
        }
        count = Some(u64::try_from(rest.int()?).unwrap_or(0));
    }
    let Some(stream) = cx.ks.read::<Stream>(args.at(1))? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    if count == Some(0) {
        cx.reply.null_array();
        return Ok(Flow::Done);
    }
    let found = if reverse {
        stream.log().range_back(start, end)
    } else {
        stream.log().range(start, end)
    };
    let out = cx.reply.deferred_array();
    let mut n = 0;
    for Entry { id, fields } in found.take(limit(count)) {
        put_entry(cx.reply, id, fields);
        n += 1;
    }
    out.finish(cx.reply, n);
    Ok(Flow::Done)
}

fn limit(count: Option<u64>) -> usize {
    count
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX)
}

fn xdel(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(mut edit) = cx.ks.edit::<Stream>(args.at(1))? else {
        return cx.int(0);
    };
    let ids = ids(args.from(2))?;
    let stream = edit.get_mut();
    let deleted = ids.into_iter().filter(|id| stream.delete(*id)).count();
    match u64::try_from(deleted) {
        Ok(0) | Err(_) => edit.unchanged(),
        Ok(n) => edit.changed(n, Event::stream("xdel")),
    }
    cx.count(deleted)
}

fn xdelex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (refs, ids) = refs_and_ids(args.cursor(2))?;
    let Some(mut edit) = cx.ks.edit::<Stream>(args.at(1))? else {
        missing_all(cx.reply, ids.len());
        return Ok(Flow::Done);
    };
    let stream = edit.get_mut();
    let (mut deleted, mut touched) = (0, 0);
    cx.reply.array(ids.len());
    for id in ids {
        let done = stream.delete_ex(id, refs);
        deleted += u64::from(done == DeletedEx::Deleted);
        touched += u64::from(done == DeletedEx::Missing { refs_dropped: true });
        cx.reply.int(code(done));
    }
    match (deleted, touched) {
        (0, 0) => edit.unchanged(),
        (0, n) => edit.quiet(n, None),
        (n, _) => edit.changed(n, Event::stream("xdel")),
    }
    Ok(Flow::Done)
}

/// The reply of XDELEX and XACKDEL for one id.
pub(super) fn code(done: DeletedEx) -> i64 {
    match done {
        DeletedEx::Missing { .. } => -1,
        DeletedEx::Deleted => 1,
        DeletedEx::Needed => 2,
    }
}

/// The reply of XDELEX and XACKDEL when there is nothing at all.
pub(super) fn missing_all(reply: &mut ReplyBuf, n: usize) {
    reply.array(n);
    (0..n).for_each(|_| reply.int(-1));
}

impl From<SetIdError> for CmdError {
    fn from(e: SetIdError) -> CmdError {
        CmdError::fixed(match e {
            SetIdError::BelowDeleted => {
                "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
            }
            SetIdError::BelowTop => {
                "ERR The ID specified in XSETID is smaller than the target stream top item"
            }
            SetIdError::FewerThanLength => {
                "ERR The entries_added specified in XSETID is smaller than the target stream length"
            }
        })
    }
}

fn xsetid(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let id = StreamId::parse(args.at(2), 0)?;
    let (mut added, mut deleted) = (None, None);
    let mut rest = args.cursor(3);
    while let Some(word) = rest.next() {
        if is(word, "ENTRIESADDED") && rest.left() > 0 {
            let n = u64::try_from(rest.int()?);
            added = Some(n.map_err(|_| CmdError::fixed("ERR entries_added must be positive"))?);
        } else if is(word, "MAXDELETEDID") && rest.left() > 0 {
            let max = StreamId::parse(rest.word()?, 0)?;
            if id < max {
                let text = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
                return Err(CmdError::fixed(text));
            }
            deleted = Some(max);
        } else {
            return Err(CmdError::SYNTAX);
        }
    }
    let replays = cx.ks.replays();
    let Some(mut edit) = cx.ks.edit::<Stream>(args.at(1))? else {
        return Err(CmdError::NO_SUCH_KEY);
    };
    match edit.log().check_id(id, added) {
        // Redis before 7.2 allows it.
        Err(SetIdError::BelowDeleted) if replays => {}
        checked => checked?,
    }
    edit.get_mut().set_id(id, added, deleted);
    edit.quiet(1, Event::stream("xsetid"));
    cx.ok()
}
