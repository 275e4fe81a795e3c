//! Sets: their members one by one.

pub(super) mod algebra;
pub(super) mod random;

use super::databases::{Walk, parse_cursor};
use crate::ds::bytes::SmallBytes;
use crate::ds::listpack::Value;
use crate::exec::{Args, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Edit;
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::set::{Limits, Set};

/// The rows of this part.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("sadd", -3, sadd)
        .since("1.0.0")
        .group(Group::Set)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key member...")
        .summary("Add members to a set; return how many were new.")
        .complexity("O(1) for each member")
        .history(&[("2.4.0", "Accepts several members.")])
        .checked(),
    Command::new("srem", -3, srem)
        .since("1.0.0")
        .group(Group::Set)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key member...")
        .summary("Remove members from a set; return how many there were.")
        .complexity("O(1) for each member")
        .history(&[("2.4.0", "Accepts several members.")])
        .checked(),
    Command::new("smove", 4, smove)
        .since("1.0.0")
        .group(Group::Set)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[
            KeySpec::at(1).rw().access().delete(),
            KeySpec::at(2).rw().insert(),
        ])
        .syntax("source:key destination:key#1 member")
        .summary("Move a member from one set to another.")
        .complexity("O(1)")
        .checked(),
    Command::new("sismember", 3, sismember)
        .since("1.0.0")
        .group(Group::Set)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key member")
        .summary("Tell whether something is a member of a set.")
        .complexity("O(1)")
        .checked(),
    Command::new("smismember", -3, smismember)
        .since("6.2.0")
        .group(Group::Set)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key member...")
        .summary("Tell of several things whether they are members of a set.")
        .complexity("O(1) for each of them")
        .checked(),
    Command::new("scard", 2, scard)
        .since("1.0.0")
        .group(Group::Set)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key")
        .summary("Return the number of members of a set.")
        .complexity("O(1)")
        .checked(),
    Command::new("smembers", 2, smembers)
        .since("1.0.0")
        .group(Group::Set)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("Return all members of a set.")
        .complexity("O(N) where N is the number of members")
        .tips(&["nondeterministic_output_order"])
        .checked(),
    Command::new("sscan", -3, sscan)
        .since("2.8.0")
        .group(Group::Set)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key cursor:int [MATCH^pattern:pattern] [COUNT^count:int]")
        .summary("Walk over the members of a set step by step: return some, and where to go on.")
        .complexity("O(1) for a call, O(N) for a walk over all N members")
        .tips(&["nondeterministic_output"])
        .checked(),
];

/// The limits of encodings as they are configured.
pub(super) fn limits(cx: &Ctx<'_>) -> Limits {
    crate::exec::limits(cx.sys, cx.ks.seed()).set
}

/// Writes a member.
fn put(reply: &mut ReplyBuf, member: Value<'_>) {
    match member {
        Value::Int(n) => reply.bulk_int(n),
        Value::Str(s) => reply.bulk(s),
    }
}

/// Ends an edit that added or removed so many members.
fn end(edit: Edit<'_, Set>, n: usize, event: &'static str) {
    match n as u64 {
        0 => edit.unchanged(),
        n => edit.changed(n, Event::set(event)),
    }
}

fn sadd(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (limits, members) = (limits(cx), args.from(2));
    let fresh = || Set::expecting(args.at(2), members.len(), limits);
    let mut edit = cx.ks.edit_or_create(args.at(1), fresh)?;
    let set = edit.get_mut();
    set.expect(members.len(), limits);
    let added = members.iter().filter(|m| set.add(m, limits)).count();
    end(edit, added, "sadd");
    cx.count(added)
}

fn srem(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(mut edit) = cx.ks.edit::<Set>(args.at(1))? else {
        return cx.int(0);
    };
    let set = edit.get_mut();
    let removed = args.from(2).iter().filter(|m| set.remove(m)).count();
    end(edit, removed, "srem");
    cx.count(removed)
}

fn smove(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (from, to, member) = (args.at(1), args.at(2), args.at(3));
    let limits = limits(cx);
    // Both are looked up before anything is said of either.
    let (source, target) = (cx.ks.look::<Set>(from), cx.ks.look::<Set>(to));
    let Some(source) = source? else {
        return cx.int(0);
    };
    target?;
    let found = source.contains(member);
    if !found || from == to {
        return cx.int(i64::from(found));
    }
    if source.len() == 1 {
        // The source is gone before the destination hears of anything.
        cx.ks.notify(from, Event::set("srem"));
        cx.ks.delete(from, Event::DEL);
    } else if let Some(mut edit) = cx.ks.edit::<Set>(from)? {
        edit.get_mut().remove(member);
        edit.changed(1, Event::set("srem"));
    }
    let fresh = || Set::expecting(member, 1, limits);
    let mut edit = cx.ks.edit_or_create(to, fresh)?;
    let added = edit.get_mut().add(member, limits);
    end(edit, usize::from(added), "sadd");
    cx.int(1)
}

fn sismember(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let set = cx.ks.read::<Set>(args.at(1))?;
    let found = set.is_some_and(|s| s.contains(args.at(2)));
    cx.int(i64::from(found))
}

fn smismember(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let set = cx.ks.read::<Set>(args.at(1))?;
    cx.reply.array(args.len() - 2);
    for member in args.from(2) {
        let found = set.is_some_and(|s| s.contains(member));
        cx.reply.int(i64::from(found));
    }
    Ok(Flow::Done)
}

fn scard(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let len = cx.ks.read::<Set>(args.at(1))?.map_or(0, Set::len);
    cx.count(len)
}

fn smembers(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match cx.ks.read::<Set>(args.at(1))? {
        Some(set) => {
            cx.reply.set(set.len());
            set.iter().for_each(|member| put(cx.reply, member));
        }
        None => cx.reply.set(0),
    }
    Ok(Flow::Done)
}

/// A set that is not there has been walked over, whatever the options.
fn sscan(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let cursor = parse_cursor(args.at(2))?;
    let (mut found, mut next) = (Vec::new(), 0);
    if let Some(set) = cx.ks.read::<Set>(args.at(1))? {
        let Walk { wanted, count } = Walk::parse(args.cursor(3), |_, _| Ok(false))?;
        let mut text = itoa::Buffer::new();
        next = set.scan(cursor, count, |member| {
            let member = member.bytes(&mut text);
            if wanted.takes(member) {
                found.push(SmallBytes::from(member));
            }
        });
    }
    cx.reply.array(2);
    cx.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    cx.reply.array(found.len());
    found.iter().for_each(|member| cx.reply.bulk(member));
    Ok(Flow::Done)
}
