//! LPOP, RPOP, LMPOP, and those of them that wait for an element.

use super::{end_word, limits, popped, put};
use crate::commands::several::{Several, wait_for};
use crate::exec::args::int;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, TimeoutReply, block};
use crate::keyspace::Edit;
use crate::resp::ReplyBuf;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::DataType;
use crate::types::list::{End, Limits, List};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("lpop", -2, lpop)
        .since("1.0.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().delete()])
        .syntax("key:key [count:int@6.2.0]")
        .summary("Remove elements at the head of a list and return them.")
        .complexity("O(N) where N is the number of elements returned.")
        .history(&[("6.2.0", "Added `count`.")])
        .checked(),
    Command::new("rpop", -2, rpop)
        .since("1.0.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().delete()])
        .syntax("key:key [count:int@6.2.0]")
        .summary("Remove elements at the tail of a list and return them.")
        .complexity("O(N) where N is the number of elements returned.")
        .history(&[("6.2.0", "Added `count`.")])
        .checked(),
    Command::new("lmpop", -4, lmpop)
        .since("7.0.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .keys(&[KeySpec::at(1).keynum(0, 1, 1).rw().access().delete()])
        .syntax("numkeys:int key:key...=numkeys where=(LEFT | RIGHT) [COUNT^count:int]")
        .summary("Remove elements of the first list that is there, and return its name and them.")
        .complexity("O(N+M) where N is the number of keys and M the number of elements returned.")
        .checked(),
    Command::new("blpop", -3, blpop)
        .since("2.0.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .flags(&[flag::BLOCKING])
        .keys(&[KeySpec::at(1).range(-2, 1, 0).rw().access().delete()])
        .syntax("key:key... timeout:double")
        .summary("Remove the head of the first list that is there and return its name and it; wait for one if there is none.")
        .complexity("O(N) where N is the number of keys.")
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .checked(),
    Command::new("brpop", -3, brpop)
        .since("2.0.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .flags(&[flag::BLOCKING])
        .keys(&[KeySpec::at(1).range(-2, 1, 0).rw().access().delete()])
        .syntax("key:key... timeout:double")
        .summary("Remove the tail of the first list that is there and return its name and it; wait for one if there is none.")
        .complexity("O(N) where N is the number of keys.")
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .checked(),
    Command::new("blmpop", -5, blmpop)
        .since("7.0.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .flags(&[flag::BLOCKING])
        .keys(&[KeySpec::at(2).keynum(0, 1, 1).rw().access().delete()])
        .syntax("timeout:double numkeys:int key:key...=numkeys where=(LEFT | RIGHT) [COUNT^count:int]")
        .summary("As LMPOP; wait for a list if there is none.")
        .complexity("O(N+M) where N is the number of keys and M the number of elements returned.")
        .checked(),
];

fn lpop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    pop(cx, args, End::Head)
}

fn rpop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    pop(cx, args, End::Tail)
}

fn pop(cx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CmdResult {
    if args.len() > 3 {
        return Err(CmdError::arity(&cx.row.name));
    }
    let count = args.get(2).map(count).transpose()?;
    let limits = limits(cx.sys);
    let list = cx.ks.edit::<List>(args.at(1))?;
    match (list, count) {
        (None, None) => cx.reply.null(),
        (None, Some(_)) => cx.reply.null_array(),
        (Some(_), Some(0)) => cx.reply.array(0),
        (Some(mut list), None) => {
            list.get_mut().pop(end, limits, |e| put(cx.reply, e));
            list.changed(1, popped(end));
        }
        (Some(list), Some(count)) => _ = pop_many(cx.reply, list, end, count, limits),
    }
    Ok(Flow::Done)
}

fn count(text: &[u8]) -> Result<usize, CmdError> {
    let count = int(text).ok().and_then(|n| usize::try_from(n).ok());
    count.ok_or(CmdError::NOT_POSITIVE)
}

/// Answers with up to `count` elements at an end and removes them; gives how many.
fn pop_many(
    reply: &mut ReplyBuf,
    mut list: Edit<'_, List>,
    end: End,
    count: usize,
    limits: Limits,
) -> usize {
    let count = count.min(list.len());
    let (start, reverse) = match end {
        End::Head => (0, false),
        End::Tail => (list.len().saturating_sub(1), true),
    };
    reply.array(count);
    list.for_each(start, count, reverse, |element| {
        put(reply, element);
        true
    });
    list.get_mut().drop_end(end, count, limits);
    list.changed(count as u64, popped(end));
    count
}

impl Several<'_, End> {
    /// Answers with the first list that is there and what is removed from it; whether there was one.
    fn pop(&self, cx: &mut Ctx<'_>) -> Result<bool, CmdError> {
        let limits = limits(cx.sys);
        for &key in self.keys {
            let Some(list) = cx.ks.edit::<List>(key)? else {
                continue;
            };
            cx.reply.array(2);
            cx.reply.bulk(key);
            let count = pop_many(cx.reply, list, self.end, self.count, limits);
            let mut digits = itoa::Buffer::new();
            cx.fx
                .push(&[pop_name(self.end), key, digits.format(count).as_bytes()]);
            return Ok(true);
        }
        Ok(false)
    }
}

fn pop_name(end: End) -> &'static [u8] {
    match end {
        End::Head => b"LPOP",
        End::Tail => b"RPOP",
    }
}

fn lmpop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let several = Several::parse(args, 1, end_word)?;
    if !several.pop(cx)? {
        cx.reply.null_array();
    }
    Ok(Flow::Done)
}

fn blmpop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let several = Several::parse(args, 2, end_word)?;
    let deadline = block::deadline(args.at(1), cx.now)?;
    if several.pop(cx)? {
        return Ok(Flow::Done);
    }
    Ok(wait(several.keys, deadline, args))
}

fn blpop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    pop_first(cx, args, End::Head)
}

fn brpop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    pop_first(cx, args, End::Tail)
}

fn pop_first(cx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CmdResult {
    let keys = args.from(1);
    let Some((timeout, keys)) = keys.split_last() else {
        return Err(CmdError::SYNTAX);
    };
    let deadline = block::deadline(timeout, cx.now)?;
    let limits = limits(cx.sys);
    for &key in keys {
        let Some(mut list) = cx.ks.edit::<List>(key)? else {
            continue;
        };
        cx.reply.array(2);
        cx.reply.bulk(key);
        list.get_mut().pop(end, limits, |e| put(cx.reply, e));
        list.changed(1, popped(end));
        cx.fx.push(&[pop_name(end), key]);
        return Ok(Flow::Done);
    }
    Ok(wait(keys, deadline, args))
}

/// Waits until one of the keys holds a list.
pub(super) fn wait(keys: &[&[u8]], deadline: Option<i64>, args: Args<'_>) -> Flow {
    wait_for(List::NAME, keys, deadline, TimeoutReply::NullArray, args)
}
