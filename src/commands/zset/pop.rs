//! ZPOPMIN, ZPOPMAX, ZMPOP, and those of them that wait for a member.

use super::Layout;
use crate::commands::several::{Several, wait_for};
use crate::exec::args::{int, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, TimeoutReply, block};
use crate::keyspace::Edit;
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::DataType;
use crate::types::zset::{End, ZSet};

/// One that takes members at an end of one sorted set.
macro_rules! of_one {
    ($name:literal, $run:ident, $summary:literal) => {
        Command::new($name, -2, $run)
            .since("5.0.0")
            .group(Group::SortedSet)
            .write(Propagate::Verbatim)
            .flags(&[flag::FAST])
            .keys(&[KeySpec::at(1).rw().access().delete()])
            .syntax("key:key [count:int]")
            .summary($summary)
            .complexity("O(M*log(N)) where N is the size of the sorted set and M the number of members removed.")
            .checked()
    };
}

/// One that waits for a sorted set to take one member of.
macro_rules! waiting {
    ($name:literal, $run:ident, $summary:literal) => {
        Command::new($name, -3, $run)
            .since("5.0.0")
            .group(Group::SortedSet)
            .write(Propagate::Explicit)
            .flags(&[flag::BLOCKING, flag::FAST])
            .keys(&[KeySpec::at(1).range(-2, 1, 0).rw().access().delete()])
            .syntax("key:key... timeout:double")
            .summary($summary)
            .complexity("O(log N) where N is the size of the sorted set.")
            .history(&[("6.0.0", "`timeout` may have a fraction.")])
            .checked()
    };
}

const COST: &str = "O(K) + O(M*log(N)) where K is the number of keys, N the size of the sorted set and M the number \
    of members removed.";

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    of_one!(
        "zpopmin",
        zpopmin,
        "Remove the members of the lowest scores and return them."
    ),
    of_one!(
        "zpopmax",
        zpopmax,
        "Remove the members of the highest scores and return them."
    ),
    Command::new("zmpop", -4, zmpop)
        .since("7.0.0")
        .group(Group::SortedSet)
        .write(Propagate::Explicit)
        .keys(&[KeySpec::at(1).keynum(0, 1, 1).rw().access().delete()])
        .syntax("numkeys:int key:key...=numkeys where=(MIN | MAX) [COUNT^count:int]")
        .summary("Remove members at an end of the first sorted set that is there, and return its name and them.")
        .complexity(COST)
        .checked(),
    waiting!(
        "bzpopmin",
        bzpopmin,
        "Remove the member of the lowest score of the first sorted set that is there; wait for one if there is none."
    ),
    waiting!(
        "bzpopmax",
        bzpopmax,
        "Remove the member of the highest score of the first sorted set that is there; wait for one if there is none."
    ),
    Command::new("bzmpop", -5, bzmpop)
        .since("7.0.0")
        .group(Group::SortedSet)
        .write(Propagate::Explicit)
        .flags(&[flag::BLOCKING])
        .keys(&[KeySpec::at(2).keynum(0, 1, 1).rw().access().delete()])
        .syntax("timeout:double numkeys:int key:key...=numkeys where=(MIN | MAX) [COUNT^count:int]")
        .summary("As ZMPOP; wait for a sorted set if there is none.")
        .complexity(COST)
        .checked(),
];

fn popped(end: End) -> Event {
    Event::zset(match end {
        End::Min => "zpopmin",
        End::Max => "zpopmax",
    })
}

/// The command that takes members at this end.
fn pop_name(end: End) -> &'static [u8] {
    match end {
        End::Min => b"ZPOPMIN",
        End::Max => b"ZPOPMAX",
    }
}

/// Answers with `count` members from an end on, of which there are so many, and removes them. The header is written.
fn pop_many(
    reply: &mut ReplyBuf,
    mut edit: Edit<'_, ZSet>,
    end: End,
    count: usize,
    layout: Layout,
) {
    let len = edit.len();
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    let zset = edit.get_mut();
    if end == End::Max && count > 1 {
        for (member, score) in zset.range_rev(ranks.clone()) {
            layout.put(reply, member, score);
        }
        zset.remove_ranks(ranks, |_, _| {});
    } else {
        zset.remove_ranks(ranks, |member, score| layout.put(reply, member, score));
    }
    edit.changed(count as u64, popped(end));
}

fn zpopmin(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    pop(cx, args, End::Min)
}

fn zpopmax(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    pop(cx, args, End::Max)
}

fn pop(cx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CmdResult {
    if args.len() > 3 {
        return Err(CmdError::SYNTAX);
    }
    let count = match args.get(2) {
        Some(text) => {
            let count = int(text).ok().and_then(|n| usize::try_from(n).ok());
            count.ok_or(CmdError::NOT_POSITIVE)?
        }
        None => 1,
    };
    let edit = cx.ks.edit::<ZSet>(args.at(1))?;
    let Some(edit) = edit.filter(|_| count > 0) else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let layout = match args.len() {
        2 => Layout::Flat,
        _ => Layout::of(cx.reply, true),
    };
    let count = count.min(edit.len());
    layout.begin(cx.reply, count);
    pop_many(cx.reply, edit, end, count, layout);
    Ok(Flow::Done)
}

fn end_word(word: &[u8]) -> Result<End, CmdError> {
    match word {
        w if is(w, "MIN") => Ok(End::Min),
        w if is(w, "MAX") => Ok(End::Max),
        _ => Err(CmdError::SYNTAX),
    }
}

impl Several<'_, End> {
    /// Answers with the first sorted set that is there and what is removed from it; whether there was one.
    fn pop(&self, cx: &mut Ctx<'_>) -> Result<bool, CmdError> {
        for &key in self.keys {
            let Some(edit) = cx.ks.edit::<ZSet>(key)? else {
                continue;
            };
            let count = self.count.min(edit.len());
            cx.reply.array(2);
            cx.reply.bulk(key);
            cx.reply.array(count);
            pop_many(cx.reply, edit, self.end, count, Layout::Pairs);
            let mut digits = itoa::Buffer::new();
            let count = digits.format(count).as_bytes();
            cx.fx.push(&[pop_name(self.end), key, count]);
            return Ok(true);
        }
        Ok(false)
    }
}

fn zmpop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let several = Several::parse(args, 1, end_word)?;
    if !several.pop(cx)? {
        cx.reply.null_array();
    }
    Ok(Flow::Done)
}

fn bzmpop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let several = Several::parse(args, 2, end_word)?;
    let deadline = block::deadline(args.at(1), cx.now)?;
    if several.pop(cx)? {
        return Ok(Flow::Done);
    }
    Ok(wait(several.keys, deadline, args))
}

fn bzpopmin(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    pop_first(cx, args, End::Min)
}

fn bzpopmax(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    pop_first(cx, args, End::Max)
}

fn pop_first(cx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CmdResult {
    let Some((timeout, keys)) = args.from(1).split_last() else {
        return Err(CmdError::SYNTAX);
    };
    let deadline = block::deadline(timeout, cx.now)?;
    for &key in keys {
        let Some(edit) = cx.ks.edit::<ZSet>(key)? else {
            continue;
        };
        cx.reply.array(3);
        cx.reply.bulk(key);
        pop_many(cx.reply, edit, end, 1, Layout::Flat);
        cx.fx.push(&[pop_name(end), key]);
        return Ok(Flow::Done);
    }
    Ok(wait(keys, deadline, args))
}

/// Waits until one of the keys holds a sorted set.
fn wait(keys: &[&[u8]], deadline: Option<i64>, args: Args<'_>) -> Flow {
    wait_for(ZSet::NAME, keys, deadline, TimeoutReply::NullArray, args)
}
