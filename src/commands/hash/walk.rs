//! Hashes walked over step by step (HSCAN), and fields drawn at random (HRANDFIELD).

use super::put;
use crate::commands::databases::{Walk, parse_cursor};
use crate::commands::draws::Draws;
use crate::exec::args::is;
use crate::exec::{Args, CmdResult, Command, Ctx, Flow};
use crate::resp::ReplyBuf;
use crate::spec::{Group, KeySpec};
use crate::types::hash::{Entry, Hash};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("hscan", -3, hscan)
        .since("2.8.0")
        .group(Group::Hash)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax(
            "key:key cursor:int [MATCH^pattern:pattern] [COUNT^count:int] [NOVALUES@7.4.0]",
        )
        .summary("Walk over the fields of a hash step by step: return some, and where to go on.")
        .complexity("O(1) for a call, O(N) for a walk over all N fields.")
        .history(&[("7.4.0", "Added NOVALUES.")])
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("hrandfield", -2, hrandfield)
        .since("6.2.0")
        .group(Group::Hash)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key [options={count:int [WITHVALUES]}]")
        .summary("Return fields of a hash drawn at random: different ones, or if the count is negative any.")
        .complexity("O(N) where N is the number of fields to return.")
        .tips(&["nondeterministic_output"])
        .checked(),
];

fn hscan(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let cursor = parse_cursor(args.at(2))?;
    let Some(hash) = cx.ks.read::<Hash>(args.at(1))? else {
        cx.reply.array(2);
        cx.reply.bulk(b"0");
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let mut values = true;
    let Walk { wanted, count } = Walk::parse(args.cursor(3), |word, _| {
        let mine = is(word, "NOVALUES");
        values &= !mine;
        Ok(mine)
    })?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, count, cx.ks.horizon(), |entry| {
        if wanted.takes(entry.name.bytes(&mut itoa::Buffer::new())) {
            found.push(entry);
        }
    });
    cx.reply.array(2);
    cx.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    cx.reply.array(found.len() * (1 + usize::from(values)));
    for entry in found {
        put(cx.reply, entry.name);
        if values {
            put(cx.reply, entry.value);
        }
    }
    Ok(Flow::Done)
}

fn hrandfield(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let draws = Draws::parse(args, "WITHVALUES")?;
    let (hash, rng) = (cx.ks.read::<Hash>(args.at(1))?, &mut cx.sys.rng);
    match (hash, draws) {
        (None, None) => cx.reply.null(),
        (None, Some(_)) => cx.reply.array(0),
        (Some(hash), None) => {
            hash.sample(1, cx.ks.horizon(), rng, |entry| put(cx.reply, entry.name))
        }
        (Some(_), Some(Draws { count: 0, .. })) => cx.reply.array(0),
        (Some(_), Some(draws)) if draws.are_too_many() => return Err(draws.refuse(cx)),
        (Some(hash), Some(draws)) => {
            let mut left = match draws.repeated {
                true => draws.count,
                false => draws.count.min(hash.len(cx.ks.horizon())),
            };
            let nested = draws.with && cx.reply.is_resp3();
            let flat = 1 + usize::from(draws.with && !nested);
            cx.reply.array(left * flat);
            let mut answer = |entry| put_drawn(cx.reply, entry, draws.with, nested);
            if draws.repeated {
                hash.draw(cx.ks.horizon(), rng, |entry| {
                    answer(entry);
                    left -= 1;
                    left > 0
                });
            } else {
                hash.sample(left, cx.ks.horizon(), rng, answer);
            }
        }
    }
    Ok(Flow::Done)
}

fn put_drawn(reply: &mut ReplyBuf, entry: Entry<'_>, values: bool, nested: bool) {
    if nested {
        reply.array(2);
    }
    put(reply, entry.name);
    if values {
        put(reply, entry.value);
    }
}
