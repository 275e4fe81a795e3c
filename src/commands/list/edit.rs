//! LINSERT, LSET, LREM, LTRIM.

use super::{indexed, limits, selected};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::list::{End, List};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("linsert", 5, linsert)
        .since("2.2.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key where=(BEFORE | AFTER) pivot element")
        .summary("Add an element before or behind another; return the length, or -1 if the other is missing.")
        .complexity("O(N) where N is the number of elements before the other.")
        .checked(),
    Command::new("lset", 4, lset)
        .since("1.0.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key index:int element")
        .summary("Replace the element at an index, counted from the tail when negative.")
        .complexity("O(N) where N is the number of nodes to skip from the nearer end, and of elements in one node.")
        .checked(),
    Command::new("lrem", 4, lrem)
        .since("1.0.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key count:int element")
        .summary("Remove elements that are equal to one: all, or so many from the head or, when negative, from the tail on.")
        .complexity("O(N+M) where N is the length of the list and M the number of elements removed.")
        .checked(),
    Command::new("ltrim", 4, ltrim)
        .since("1.0.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key start:int stop:int")
        .summary("Remove all elements but those between two indexes, both included.")
        .complexity("O(N) where N is the number of nodes removed.")
        .checked(),
];

fn linsert(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let after = match args.at(2) {
        word if is(word, "BEFORE") => false,
        word if is(word, "AFTER") => true,
        _ => return Err(CmdError::SYNTAX),
    };
    let limits = limits(cx.sys);
    let Some(mut list) = cx.ks.edit::<List>(args.at(1))? else {
        return cx.int(0);
    };
    if !list.get_mut().insert(args.at(3), after, args.at(4), limits) {
        list.unchanged();
        return cx.int(-1);
    }
    let len = list.len();
    list.changed(1, Event::list("linsert"));
    cx.count(len)
}

fn lset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let limits = limits(cx.sys);
    let Some(mut list) = cx.ks.edit::<List>(args.at(1))? else {
        return Err(CmdError::NO_SUCH_KEY);
    };
    let index = indexed(list.len(), args.int(2)?);
    if !list.get_mut().replace(index, args.at(3), limits) {
        list.unchanged();
        return Err(CmdError::OUT_OF_RANGE);
    }
    list.changed(1, Event::list("lset"));
    cx.ok()
}

fn lrem(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let count = args.int(2)?;
    let limits = limits(cx.sys);
    let Some(mut list) = cx.ks.edit::<List>(args.at(1))? else {
        return cx.int(0);
    };
    let from = if count < 0 { End::Tail } else { End::Head };
    let most = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(most) => most,
    };
    let removed = list.get_mut().remove_equal(args.at(3), most, from, limits);
    if removed == 0 {
        list.unchanged();
    } else {
        list.changed(removed as u64, Event::list("lrem"));
    }
    cx.count(removed)
}

/// Counts as a change, with its event, also where nothing is removed; only the log need not know then.
fn ltrim(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let limits = limits(cx.sys);
    let Some(mut list) = cx.ks.edit::<List>(args.at(1))? else {
        return cx.ok();
    };
    let kept = selected(list.len(), start, stop);
    let removed = list.len() - kept.len();
    list.get_mut().keep(kept.start, kept.len(), limits);
    list.changed(removed as u64, Event::list("ltrim"));
    cx.ok()
}
