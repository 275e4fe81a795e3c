//! LLEN, LINDEX, LRANGE, LPOS.

use super::{indexed, put, selected};
use crate::ds::packed::Needle;
use crate::exec::args::{int, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::spec::{Group, KeySpec, flag};
use crate::types::list::List;

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("llen", 2, llen)
        .since("1.0.0")
        .group(Group::List)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key")
        .summary("Return the number of elements of a list.")
        .complexity("O(1)")
        .checked(),
    Command::new("lindex", 3, lindex)
        .since("1.0.0")
        .group(Group::List)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key index:int")
        .summary("Return the element at an index, counted from the tail when negative.")
        .complexity("O(N) where N is the number of nodes to skip from the nearer end, and of elements in one node.")
        .checked(),
    Command::new("lrange", 4, lrange)
        .since("1.0.0")
        .group(Group::List)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key start:int stop:int")
        .summary("Return the elements between two indexes, both included.")
        .complexity("O(S+N) where S is the number of nodes to skip from the nearer end and N the number of elements returned.")
        .checked(),
    Command::new("lpos", -3, lpos)
        .since("6.0.6")
        .group(Group::List)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key element [RANK^rank:int] [COUNT^num-matches:int] [MAXLEN^len:int]")
        .summary("Return the index of an element, or of each that is equal to it.")
        .complexity("O(N) where N is the number of elements looked at.")
        .checked(),
];

fn llen(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let len = cx.ks.read::<List>(args.at(1))?.map_or(0, List::len);
    cx.count(len)
}

fn lindex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(list) = cx.ks.read::<List>(args.at(1))? else {
        return cx.null();
    };
    let index = indexed(list.len(), args.int(2)?);
    let found = index.and_then(|index| list.get(index, |e| put(cx.reply, e)));
    if found.is_none() {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

fn lrange(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let Some(list) = cx.ks.read::<List>(args.at(1))? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let range = selected(list.len(), start, stop);
    cx.reply.array(range.len());
    list.for_each(range.start, range.len(), false, |element| {
        put(cx.reply, element);
        true
    });
    Ok(Flow::Done)
}

/// The options of LPOS.
struct Search {
    /// Matches to pass over before the first that counts.
    skip: u64,
    backwards: bool,
    /// How many to answer with, 0 for all; without it one, not in an array.
    count: Option<u64>,
    /// How many elements to look at; 0 for all.
    most: u64,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Self, CmdError> {
        let mut search = Self {
            skip: 0,
            backwards: false,
            count: None,
            most: 0,
        };
        let mut rest = args.cursor(3);
        while let Some(word) = rest.next() {
            if rest.left() == 0 {
                return Err(CmdError::SYNTAX);
            } else if is(word, "RANK") {
                let rank = self::rank(rest.int()?)?;
                search.skip = rank.unsigned_abs() - 1;
                search.backwards = rank < 0;
            } else if is(word, "COUNT") {
                search.count = Some(natural(rest.word()?, "ERR COUNT can't be negative")?);
            } else if is(word, "MAXLEN") {
                search.most = natural(rest.word()?, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        Ok(search)
    }
}

fn rank(rank: i64) -> Result<i64, CmdError> {
    match rank {
        0 => Err(CmdError::fixed(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to \
             start from the end of the list",
        )),
        // It has no counterpart.
        i64::MIN => Err(CmdError::new(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        ))),
        rank => Ok(rank),
    }
}

fn natural(text: &[u8], error: &'static str) -> Result<u64, CmdError> {
    let n = int(text).ok().and_then(|n| u64::try_from(n).ok());
    n.ok_or(CmdError::fixed(error))
}

fn lpos(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut search = Search::parse(args)?;
    let Some(list) = cx.ks.read::<List>(args.at(1))? else {
        match search.count {
            Some(_) => cx.reply.array(0),
            None => cx.reply.null(),
        }
        return Ok(Flow::Done);
    };
    let len = list.len();
    let start = if search.backwards {
        len.saturating_sub(1)
    } else {
        0
    };
    let wanted = search.count.unwrap_or(1);
    let most = match usize::try_from(search.most) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(most) => most,
    };
    let out = search.count.map(|_| cx.reply.deferred_array());
    let (needle, mut seen, mut found) = (Needle::new(args.at(2)), 0, 0);
    list.for_each(start, most, search.backwards, |element| {
        if needle.is(element) {
            if search.skip > 0 {
                search.skip -= 1;
            } else {
                let index = if search.backwards {
                    len - 1 - seen
                } else {
                    seen
                };
                cx.reply.int(i64::try_from(index).unwrap_or(i64::MAX));
                found += 1;
            }
        }
        seen += 1;
        found == 0 || found as u64 != wanted
    });
    match out {
        Some(out) => out.finish(cx.reply, found),
        None if found == 0 => cx.reply.null(),
        None => {}
    }
    Ok(Flow::Done)
}
