//! ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT and ZLEXCOUNT.

use super::{NOT_MEMBERS, NOT_SCORES};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::spec::{Group, KeySpec, flag};
use crate::types::zset::{LexRange, ScoreRange, ZSet};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("zcard", 2, zcard)
        .since("1.2.0")
        .group(Group::SortedSet)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key")
        .summary("Return the number of members of a sorted set.")
        .complexity("O(1)")
        .checked(),
    Command::new("zscore", 3, zscore)
        .since("1.2.0")
        .group(Group::SortedSet)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key member")
        .summary("Return the score of a member.")
        .complexity("O(1)")
        .checked(),
    Command::new("zmscore", -3, zmscore)
        .since("6.2.0")
        .group(Group::SortedSet)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key member...")
        .summary("Return the scores of several members, null for what is none.")
        .complexity("O(N) where N is the number of members asked for.")
        .checked(),
    Command::new("zrank", -3, zrank)
        .since("2.0.0")
        .group(Group::SortedSet)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key member [WITHSCORE@7.2.0]")
        .summary("Return how many members come before one, in ascending order.")
        .complexity("O(log N)")
        .history(&[("7.2.0", "Added `WITHSCORE`.")])
        .checked(),
    Command::new("zrevrank", -3, zrevrank)
        .since("2.0.0")
        .group(Group::SortedSet)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key member [WITHSCORE@7.2.0]")
        .summary("Return how many members come before one, in descending order.")
        .complexity("O(log N)")
        .history(&[("7.2.0", "Added `WITHSCORE`.")])
        .checked(),
    Command::new("zcount", 4, zcount)
        .since("2.0.0")
        .group(Group::SortedSet)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key min:double max:double")
        .summary("Return how many members have scores in a range.")
        .complexity("O(log N) where N is the size of the sorted set.")
        .checked(),
    Command::new("zlexcount", 4, zlexcount)
        .since("2.8.9")
        .group(Group::SortedSet)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key min max")
        .summary("Return how many members there are in a range of members of one score.")
        .complexity("O(log N) where N is the size of the sorted set.")
        .checked(),
];

fn zcard(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let len = cx.ks.read::<ZSet>(args.at(1))?.map_or(0, ZSet::len);
    cx.count(len)
}

fn zscore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let zset = cx.ks.read::<ZSet>(args.at(1))?;
    match zset.and_then(|zset| zset.score(args.at(2))) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

fn zmscore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let zset = cx.ks.read::<ZSet>(args.at(1))?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn zrank(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    rank(cx, args, false)
}

fn zrevrank(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    rank(cx, args, true)
}

fn rank(cx: &mut Ctx<'_>, args: Args<'_>, reverse: bool) -> CmdResult {
    let with_score = match args.from(3) {
        [] => false,
        [word] if is(word, "WITHSCORE") => true,
        [_] => return Err(CmdError::SYNTAX),
        _ => return Err(CmdError::arity(&cx.row.name)),
    };
    let zset = cx.ks.read::<ZSet>(args.at(1))?;
    let found = zset.and_then(|zset| Some((zset, zset.rank(args.at(2))?)));
    let Some((zset, (rank, score))) = found else {
        if with_score {
            cx.reply.null_array();
        } else {
            cx.reply.null();
        }
        return Ok(Flow::Done);
    };
    if with_score {
        cx.reply.array(2);
    }
    let rank = if reverse { zset.len() - 1 - rank } else { rank };
    cx.reply.int(i64::try_from(rank).unwrap_or(i64::MAX));
    if with_score {
        cx.reply.double(score);
    }
    Ok(Flow::Done)
}

fn zcount(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let range = ScoreRange::parse(args.at(2), args.at(3)).map_err(|_| NOT_SCORES)?;
    let zset = cx.ks.read::<ZSet>(args.at(1))?;
    let n = zset.map_or(0, |zset| zset.score_ranks(&range).len());
    cx.count(n)
}

fn zlexcount(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let range = LexRange::parse(args.at(2), args.at(3)).map_err(|_| NOT_MEMBERS)?;
    let zset = cx.ks.read::<ZSet>(args.at(1))?;
    let n = zset.map_or(0, |zset| zset.lex_ranks(&range, false).len());
    cx.count(n)
}
