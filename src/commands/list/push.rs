//! LPUSH, RPUSH and their relatives that want the list to be there.

use super::{limits, pushed};
use crate::exec::{Args, CmdResult, Command, Ctx};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::list::{End, List};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("lpush", -3, lpush)
        .since("1.0.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key element...")
        .summary("Add elements one by one at the head of a list, created where there is none; return its length.")
        .complexity("O(N) where N is the number of elements given.")
        .history(&[("2.4.0", "Takes several elements.")])
        .checked(),
    Command::new("rpush", -3, rpush)
        .since("1.0.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key element...")
        .summary("Add elements at the tail of a list, created where there is none; return its length.")
        .complexity("O(N) where N is the number of elements given.")
        .history(&[("2.4.0", "Takes several elements.")])
        .checked(),
    Command::new("lpushx", -3, lpushx)
        .since("2.2.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key element...")
        .summary("Add elements one by one at the head of a list that is there already; return its length.")
        .complexity("O(N) where N is the number of elements given.")
        .history(&[("4.0.0", "Takes several elements.")])
        .checked(),
    Command::new("rpushx", -3, rpushx)
        .since("2.2.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key element...")
        .summary("Add elements at the tail of a list that is there already; return its length.")
        .complexity("O(N) where N is the number of elements given.")
        .history(&[("4.0.0", "Takes several elements.")])
        .checked(),
];

fn lpush(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    push(cx, args, End::Head)
}

fn rpush(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    push(cx, args, End::Tail)
}

fn lpushx(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    push_to_existing(cx, args, End::Head)
}

fn rpushx(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    push_to_existing(cx, args, End::Tail)
}

fn push_to_existing(cx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CmdResult {
    if cx.ks.look::<List>(args.at(1))?.is_none() {
        return cx.int(0);
    }
    push(cx, args, end)
}

fn push(cx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CmdResult {
    let elements = args.from(2);
    let limits = limits(cx.sys);
    let mut list = cx.ks.edit_or_create(args.at(1), List::new)?;
    list.get_mut().extend(end, elements, limits);
    let len = list.len();
    list.changed(elements.len() as u64, pushed(end));
    cx.count(len)
}
