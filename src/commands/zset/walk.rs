//! Sorted sets walked over step by step (ZSCAN), and members drawn at random (ZRANDMEMBER).

use super::{Layout, put};
use crate::commands::databases::{Walk, parse_cursor};
use crate::commands::draws::Draws;
use crate::exec::args::is;
use crate::exec::{Args, CmdResult, Command, Ctx, Flow};
use crate::spec::{Group, KeySpec};
use crate::types::zset::ZSet;
use crate::util::num;

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("zscan", -3, zscan)
        .since("2.8.0")
        .group(Group::SortedSet)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key cursor:int [MATCH^pattern:pattern] [COUNT^count:int] [NOSCORES@8.0.0]")
        .summary("Walk over the members of a sorted set step by step: return some, and where to go on.")
        .complexity("O(1) for a call, O(N) for a walk over all N members.")
        .history(&[("8.0.0", "Added NOSCORES (Valkey).")])
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("zrandmember", -2, zrandmember)
        .since("6.2.0")
        .group(Group::SortedSet)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key [options={count:int [WITHSCORES]}]")
        .summary("Return members drawn at random: different ones, or if the count is negative any.")
        .complexity("O(N log M) where N is the number of members to return and M the size of the sorted set.")
        .tips(&["nondeterministic_output"])
        .checked(),
];

fn zscan(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let cursor = parse_cursor(args.at(2))?;
    let Some(zset) = cx.ks.read::<ZSet>(args.at(1))? else {
        cx.reply.array(2);
        cx.reply.bulk(b"0");
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let mut scores = true;
    let Walk { wanted, count } = Walk::parse(args.cursor(3), |word, _| {
        let mine = is(word, "NOSCORES");
        scores &= !mine;
        Ok(mine)
    })?;
    let mut found = Vec::new();
    let next = zset.scan(cursor, count, |member, score| {
        if wanted.takes(member.bytes(&mut itoa::Buffer::new())) {
            found.push((member, score));
        }
    });
    // Redis shows the score of a listpack as it is stored, that of a skip list with up to seventeen digits.
    let write = match zset {
        ZSet::Packed(_) => num::write_f64,
        ZSet::Big(_) => num::write_f64_g17,
    };
    cx.reply.array(2);
    cx.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    cx.reply.array(found.len() * (1 + usize::from(scores)));
    let mut text = Vec::with_capacity(32);
    for (member, score) in found {
        put(cx.reply, member);
        if scores {
            text.clear();
            write(&mut text, score);
            cx.reply.bulk(&text);
        }
    }
    Ok(Flow::Done)
}

fn zrandmember(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let draws = Draws::parse(args, "WITHSCORES")?;
    let (zset, rng) = (cx.ks.read::<ZSet>(args.at(1))?, &mut cx.sys.rng);
    let Some(zset) = zset else {
        match draws {
            None => cx.reply.null(),
            Some(_) => cx.reply.array(0),
        }
        return Ok(Flow::Done);
    };
    let Some(draws) = draws else {
        zset.draw(1, rng, |member, _| put(cx.reply, member));
        return Ok(Flow::Done);
    };
    if draws.are_too_many() {
        return Err(draws.refuse(cx));
    }
    let layout = Layout::of(cx.reply, draws.with);
    if draws.repeated {
        layout.begin(cx.reply, draws.count);
        zset.draw(draws.count, rng, |m, s| layout.put(cx.reply, m, s));
    } else if draws.count >= zset.len() {
        layout.begin(cx.reply, zset.len());
        zset.iter_rev()
            .for_each(|(m, s)| layout.put(cx.reply, m, s));
    } else {
        layout.begin(cx.reply, draws.count);
        zset.sample(draws.count, rng, |m, s| layout.put(cx.reply, m, s));
    }
    Ok(Flow::Done)
}
