//! LMOVE, RPOPLPUSH, and those of them that wait for an element.

use super::{end_word, limits, pop, popped, pushed};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin, block};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::list::{End, List};

const SOURCE: KeySpec = KeySpec::at(1).rw().access().delete();
const DESTINATION: KeySpec = KeySpec::at(2).rw().insert();

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("lmove", 5, lmove)
        .since("6.2.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[SOURCE, DESTINATION])
        .syntax("source:key destination:key#1 wherefrom=(LEFT | RIGHT) whereto=(LEFT | RIGHT)")
        .summary("Move an element from an end of a list to an end of another or the same, and return it.")
        .complexity("O(1)")
        .checked(),
    Command::new("rpoplpush", 3, rpoplpush)
        .since("1.2.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[SOURCE, DESTINATION])
        .syntax("source:key destination:key#1")
        .summary("Move the tail of a list to the head of another or the same, and return it.")
        .complexity("O(1)")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
        .checked(),
    Command::new("blmove", 6, blmove)
        .since("6.2.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::BLOCKING])
        .keys(&[SOURCE, DESTINATION])
        .syntax(
            "source:key destination:key#1 wherefrom=(LEFT | RIGHT) whereto=(LEFT | RIGHT) timeout:double",
        )
        .summary("As LMOVE; wait for an element if there is none.")
        .complexity("O(1)")
        .checked(),
    Command::new("brpoplpush", 4, brpoplpush)
        .since("2.2.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::BLOCKING])
        .keys(&[SOURCE, DESTINATION])
        .syntax("source:key destination:key#1 timeout:double")
        .summary("As RPOPLPUSH; wait for an element if there is none.")
        .complexity("O(1)")
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
        .checked(),
];

fn lmove(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (from, to) = (end_word(args.at(3))?, end_word(args.at(4))?);
    if !transfer(cx, args, from, to)? {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

fn rpoplpush(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if !transfer(cx, args, End::Tail, End::Head)? {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

fn blmove(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (from, to) = (end_word(args.at(3))?, end_word(args.at(4))?);
    let deadline = block::deadline(args.at(5), cx.now)?;
    if !transfer(cx, args, from, to)? {
        return Ok(wait(cx, args, deadline));
    }
    cx.fx
        .push(&[b"LMOVE", args.at(1), args.at(2), args.at(3), args.at(4)]);
    Ok(Flow::Done)
}

fn brpoplpush(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let deadline = block::deadline(args.at(3), cx.now)?;
    if !transfer(cx, args, End::Tail, End::Head)? {
        return Ok(wait(cx, args, deadline));
    }
    cx.fx.push(&[b"RPOPLPUSH", args.at(1), args.at(2)]);
    Ok(Flow::Done)
}

/// Where nothing waits, the answer is another null than when time is over.
fn wait(cx: &mut Ctx<'_>, args: Args<'_>, deadline: Option<i64>) -> Flow {
    if matches!(cx.origin, Origin::Exec | Origin::Script { .. }) {
        cx.reply.null();
        return Flow::Done;
    }
    pop::wait(&[args.at(1)], deadline, args)
}

/// Moves an element and answers with it; whether there was one. Redis counts one change, and tells of the pushing before
/// the popping.
fn transfer(cx: &mut Ctx<'_>, args: Args<'_>, from: End, to: End) -> Result<bool, CmdError> {
    let (source, destination) = (args.at(1), args.at(2));
    if cx.ks.look::<List>(source)?.is_none() {
        return Ok(false);
    }
    cx.ks.look::<List>(destination)?;
    let limits = limits(cx.sys);
    let Some(mut list) = cx.ks.edit::<List>(source)? else {
        return Ok(false);
    };
    if source == destination {
        list.get_mut()
            .rotate(from, to, limits, |e| cx.reply.bulk(e));
        list.changed(1, pushed(to));
    } else {
        let Some(moved) = list.get_mut().take(from, limits) else {
            list.unchanged();
            return Ok(false);
        };
        list.changed(1, None);
        let mut list = cx.ks.edit_or_create(destination, List::new)?;
        list.get_mut().push_moved(to, &moved, limits);
        list.changed(0, pushed(to));
        cx.reply.bulk(&moved.bytes);
    }
    cx.ks.notify(source, popped(from));
    Ok(true)
}
