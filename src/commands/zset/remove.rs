//! ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX.

use std::ops::Range;

use super::{NOT_MEMBERS, NOT_SCORES};
use crate::exec::{Args, CmdResult, Command, Ctx};
use crate::keyspace::Edit;
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::zset::{LexRange, RankRange, ScoreRange, ZSet};

/// One that removes a range.
macro_rules! of_range {
    ($name:literal, $run:ident, $since:literal, $syntax:literal, $summary:literal) => {
        Command::new($name, 4, $run)
            .since($since)
            .group(Group::SortedSet)
            .write(Propagate::Verbatim)
            .keys(&[KeySpec::at(1).rw().delete()])
            .syntax($syntax)
            .summary($summary)
            .complexity("O(log(N)+M) where N is the size of the sorted set and M the number of members removed.")
            .checked()
    };
}

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("zrem", -3, zrem)
        .since("1.2.0")
        .group(Group::SortedSet)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key member...")
        .summary("Remove members from a sorted set; return how many there were.")
        .complexity("O(log N) for each member, where N is the size of the sorted set.")
        .history(&[("2.4.0", "Accepts several members.")])
        .checked(),
    of_range!(
        "zremrangebyrank",
        zremrangebyrank,
        "2.0.0",
        "key:key start:int stop:int",
        "Remove the members of a range of ranks; return how many."
    ),
    of_range!(
        "zremrangebyscore",
        zremrangebyscore,
        "1.2.0",
        "key:key min:double max:double",
        "Remove the members of a range of scores; return how many."
    ),
    of_range!(
        "zremrangebylex",
        zremrangebylex,
        "2.8.9",
        "key:key min max",
        "Remove a range of the members of one score; return how many."
    ),
];

/// Ends an edit that removed so many members.
fn end(edit: Edit<'_, ZSet>, n: usize, event: &'static str) {
    match n as u64 {
        0 => edit.unchanged(),
        n => edit.changed(n, Event::zset(event)),
    }
}

fn zrem(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(mut edit) = cx.ks.edit::<ZSet>(args.at(1))? else {
        return cx.int(0);
    };
    let zset = edit.get_mut();
    let members = args.from(2).iter();
    let removed = members.filter(|m| zset.remove(m).is_some()).count();
    end(edit, removed, "zrem");
    cx.count(removed)
}

fn zremrangebyrank(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let range = RankRange { start, stop };
    remove(cx, args, "zremrangebyrank", |zset| range.within(zset.len()))
}

fn zremrangebyscore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let range = ScoreRange::parse(args.at(2), args.at(3)).map_err(|_| NOT_SCORES)?;
    remove(cx, args, "zremrangebyscore", |zset| {
        zset.score_ranks(&range)
    })
}

fn zremrangebylex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let range = LexRange::parse(args.at(2), args.at(3)).map_err(|_| NOT_MEMBERS)?;
    remove(cx, args, "zremrangebylex", |zset| {
        zset.lex_ranks(&range, false)
    })
}

fn remove(
    cx: &mut Ctx<'_>,
    args: Args<'_>,
    event: &'static str,
    ranks: impl FnOnce(&ZSet) -> Range<usize>,
) -> CmdResult {
    let Some(mut edit) = cx.ks.edit::<ZSet>(args.at(1))? else {
        return cx.int(0);
    };
    let ranks = ranks(&edit);
    let removed = ranks.len();
    if removed > 0 {
        edit.get_mut().remove_ranks(ranks, |_, _| {});
    }
    end(edit, removed, event);
    cx.count(removed)
}
