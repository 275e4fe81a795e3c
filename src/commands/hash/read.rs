//! Fields read by name, and all of them at once.

use super::{put, put_or_null};
use crate::ds::listpack::Value;
use crate::exec::{Args, CmdResult, Command, Ctx, Flow};
use crate::spec::{Group, KeySpec, flag};
use crate::types::hash::{Entry, Hash};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("hget", 3, hget)
        .since("2.0.0")
        .group(Group::Hash)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key field")
        .summary("Return the value of a field.")
        .complexity("O(1)")
        .checked(),
    Command::new("hmget", -3, hmget)
        .since("2.0.0")
        .group(Group::Hash)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key field...")
        .summary("Return the values of fields.")
        .complexity("O(N) where N is the number of fields to read.")
        .checked(),
    Command::new("hgetall", 2, hgetall)
        .since("2.0.0")
        .group(Group::Hash)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("Return all fields of a hash with their values.")
        .complexity("O(N) where N is the number of fields of the hash.")
        .tips(&["nondeterministic_output_order"])
        .checked(),
    Command::new("hkeys", 2, hkeys)
        .since("2.0.0")
        .group(Group::Hash)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("Return the names of all fields of a hash.")
        .complexity("O(N) where N is the number of fields of the hash.")
        .tips(&["nondeterministic_output_order"])
        .checked(),
    Command::new("hvals", 2, hvals)
        .since("2.0.0")
        .group(Group::Hash)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("Return the values of all fields of a hash.")
        .complexity("O(N) where N is the number of fields of the hash.")
        .tips(&["nondeterministic_output_order"])
        .checked(),
    Command::new("hlen", 2, hlen)
        .since("2.0.0")
        .group(Group::Hash)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key")
        .summary("Return how many fields a hash has.")
        .complexity("O(1)")
        .checked(),
    Command::new("hstrlen", 3, hstrlen)
        .since("3.2.0")
        .group(Group::Hash)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key field")
        .summary("Return the length of the value of a field.")
        .complexity("O(1)")
        .checked(),
    Command::new("hexists", 3, hexists)
        .since("2.0.0")
        .group(Group::Hash)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key field")
        .summary("Tell whether a hash has a field.")
        .complexity("O(1)")
        .checked(),
];

fn hget(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let hash = cx.ks.read::<Hash>(args.at(1))?;
    let value = hash.and_then(|h| h.get(args.at(2), cx.ks.horizon()));
    put_or_null(cx.reply, value);
    Ok(Flow::Done)
}

fn hmget(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let hash = cx.ks.read::<Hash>(args.at(1))?;
    let fields = args.from(2);
    cx.reply.array(fields.len());
    for field in fields {
        put_or_null(cx.reply, hash.and_then(|h| h.get(field, cx.ks.horizon())));
    }
    Ok(Flow::Done)
}

fn hgetall(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(hash) = cx.ks.read::<Hash>(args.at(1))? else {
        cx.reply.map(0);
        return Ok(Flow::Done);
    };
    cx.reply.map(hash.len(cx.ks.horizon()));
    hash.iter(cx.ks.horizon()).for_each(|entry| {
        put(cx.reply, entry.name);
        put(cx.reply, entry.value);
    });
    Ok(Flow::Done)
}

fn hkeys(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    list(cx, args, |entry| entry.name)
}

fn hvals(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    list(cx, args, |entry| entry.value)
}

/// One part of each field.
fn list(
    cx: &mut Ctx<'_>,
    args: Args<'_>,
    part: impl for<'a> Fn(Entry<'a>) -> Value<'a>,
) -> CmdResult {
    let Some(hash) = cx.ks.read::<Hash>(args.at(1))? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    cx.reply.array(hash.len(cx.ks.horizon()));
    hash.iter(cx.ks.horizon())
        .for_each(|entry| put(cx.reply, part(entry)));
    Ok(Flow::Done)
}

fn hlen(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let hash = cx.ks.read::<Hash>(args.at(1))?;
    cx.count(hash.map_or(0, |h| h.len(cx.ks.horizon())))
}

fn hstrlen(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let hash = cx.ks.read::<Hash>(args.at(1))?;
    let value = hash.and_then(|h| h.get(args.at(2), cx.ks.horizon()));
    let len = value.map_or(0, |v| v.bytes(&mut itoa::Buffer::new()).len());
    cx.count(len)
}

fn hexists(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let hash = cx.ks.read::<Hash>(args.at(1))?;
    let there = hash.is_some_and(|h| h.get(args.at(2), cx.ks.horizon()).is_some());
    cx.int(i64::from(there))
}
