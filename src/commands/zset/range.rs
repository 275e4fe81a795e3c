//! ZRANGE with its older relatives, and ZRANGESTORE.

use std::ops::Range;

use super::{Layout, NOT_MEMBERS, NOT_SCORES, limits};
use crate::ds::bytes::SmallBytes;
use crate::exec::args::{int, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Expiry;
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::DataType;
use crate::types::zset::{LexRange, RankRange, ScoreRange, ZSet};

/// One of those that ZRANGE replaced.
macro_rules! older {
    ($name:literal, $run:ident, $since:literal, $syntax:literal, $instead:literal, $summary:literal) => {
        Command::new($name, -4, $run)
            .since($since)
            .group(Group::SortedSet)
            .read()
            .keys(&[KeySpec::at(1).ro().access()])
            .syntax($syntax)
            .summary($summary)
            .complexity(COST)
            .deprecated("6.2.0", $instead)
    };
}

const COST: &str =
    "O(log(N)+M) where N is the size of the sorted set and M the number of members returned.";

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("zrange", -4, zrange)
        .since("1.2.0")
        .group(Group::SortedSet)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax(
            "key:key start stop [sortby=(BYSCORE | BYLEX)@6.2.0] [REV@6.2.0] \
             [LIMIT^limit={offset:int count:int}@6.2.0] [WITHSCORES]",
        )
        .summary("Return the members of a range of ranks, scores or members, in either order.")
        .complexity(COST)
        .history(&[("6.2.0", "Added `REV`, `BYSCORE`, `BYLEX` and `LIMIT`.")])
        .checked(),
    Command::new("zrangestore", -5, zrangestore)
        .since("6.2.0")
        .group(Group::SortedSet)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).ow().update(), KeySpec::at(2).ro().access()])
        .syntax(
            "dst:key src:key#1 min max [sortby=(BYSCORE | BYLEX)] [REV] \
             [LIMIT^limit={offset:int count:int}]",
        )
        .summary("Store the members of a range of ranks, scores or members; return how many.")
        .complexity(
            "O(log(N)+M) where N is the size of the sorted set and M the number of members stored.",
        )
        .checked(),
    older!(
        "zrevrange",
        zrevrange,
        "1.2.0",
        "key:key start:int stop:int [WITHSCORES]",
        "`ZRANGE` with the `REV` argument",
        "Return the members of a range of ranks, in descending order."
    )
    .checked(),
    older!(
        "zrangebyscore",
        zrangebyscore,
        "1.0.5",
        "key:key min:double max:double [WITHSCORES@2.0.0] [LIMIT^limit={offset:int count:int}]",
        "`ZRANGE` with the `BYSCORE` argument",
        "Return the members of a range of scores, in ascending order."
    )
    .history(&[("2.0.0", "Added `WITHSCORES`.")])
    .checked(),
    older!(
        "zrevrangebyscore",
        zrevrangebyscore,
        "2.2.0",
        "key:key max:double min:double [WITHSCORES] [LIMIT^limit={offset:int count:int}]",
        "`ZRANGE` with the `REV` and `BYSCORE` arguments",
        "Return the members of a range of scores, in descending order."
    )
    .history(&[("2.1.6", "Either end may be left out.")])
    .checked(),
    older!(
        "zrangebylex",
        zrangebylex,
        "2.8.9",
        "key:key min max [LIMIT^limit={offset:int count:int}]",
        "`ZRANGE` with the `BYLEX` argument",
        "Return a range of the members of one score, in ascending order."
    )
    .checked(),
    older!(
        "zrevrangebylex",
        zrevrangebylex,
        "2.8.9",
        "key:key max min [LIMIT^limit={offset:int count:int}]",
        "`ZRANGE` with the `REV` and `BYLEX` arguments",
        "Return a range of the members of one score, in descending order."
    )
    .checked(),
];

/// By what members are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What the name of the command leaves open, and the options say once.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    by: Option<By>,
    reverse: Option<bool>,
}

/// A range of members.
struct Query<'a> {
    range: Chosen<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    /// Negative: all.
    count: i64,
}

enum Chosen<'a> {
    Rank(RankRange),
    Score(ScoreRange),
    Lex(LexRange<'a>),
}

impl<'a> Query<'a> {
    /// Reads two ends at position `at`, and the options behind them.
    fn parse(args: Args<'a>, at: usize, mut terms: Terms, stores: bool) -> Result<Self, CmdError> {
        let (mut with_scores, mut offset, mut count) = (false, 0, -1);
        let mut rest = args.cursor(at + 2);
        while let Some(word) = rest.next() {
            if !stores && is(word, "WITHSCORES") {
                with_scores = true;
            } else if is(word, "LIMIT") && rest.left() > 1 {
                (offset, count) = (rest.int()?, rest.int()?);
            } else if terms.reverse.is_none() && is(word, "REV") {
                terms.reverse = Some(true);
            } else if terms.by.is_none() && is(word, "BYLEX") {
                terms.by = Some(By::Lex);
            } else if terms.by.is_none() && is(word, "BYSCORE") {
                terms.by = Some(By::Score);
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        let by = terms.by.unwrap_or(By::Rank);
        if count != -1 && by == By::Rank {
            return Err(CmdError::fixed(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CmdError::fixed(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let reverse = terms.reverse.unwrap_or(false);
        Ok(Self {
            range: Chosen::parse(by, args.at(at), args.at(at + 1), reverse)?,
            reverse,
            with_scores,
            offset,
            count,
        })
    }

    /// The ranks of what is asked for, in ascending order.
    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let len = zset.len();
        let found = match self.range {
            Chosen::Rank(range) => {
                let found = range.within(len);
                return match self.reverse {
                    true => len - found.end..len - found.start,
                    false => found,
                };
            }
            Chosen::Score(range) => zset.score_ranks(&range),
            Chosen::Lex(range) => zset.lex_ranks(&range, self.reverse),
        };
        // Who skips a negative number of members never comes to an end of it.
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let skip = skip.min(found.len());
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        let count = count.min(found.len() - skip);
        if self.reverse {
            let end = found.end - skip;
            end - count..end
        } else {
            let start = found.start + skip;
            start..start + count
        }
    }
}

impl<'a> Chosen<'a> {
    /// Reads both ends; in reverse order the greater comes first, except of ranks.
    fn parse(by: By, first: &'a [u8], second: &'a [u8], reverse: bool) -> Result<Self, CmdError> {
        let (min, max) = match reverse && by != By::Rank {
            true => (second, first),
            false => (first, second),
        };
        match by {
            By::Rank => Ok(Self::Rank(RankRange {
                start: int(min)?,
                stop: int(max)?,
            })),
            By::Score => match ScoreRange::parse(min, max) {
                Ok(range) => Ok(Self::Score(range)),
                Err(_) => Err(NOT_SCORES),
            },
            By::Lex => match LexRange::parse(min, max) {
                Ok(range) => Ok(Self::Lex(range)),
                Err(_) => Err(NOT_MEMBERS),
            },
        }
    }
}

fn zrange(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show(cx, args, Terms::default())
}

fn zrevrange(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show_by(cx, args, By::Rank, true)
}

fn zrangebyscore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show_by(cx, args, By::Score, false)
}

fn zrevrangebyscore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show_by(cx, args, By::Score, true)
}

fn zrangebylex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show_by(cx, args, By::Lex, false)
}

fn zrevrangebylex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show_by(cx, args, By::Lex, true)
}

fn show_by(cx: &mut Ctx<'_>, args: Args<'_>, by: By, reverse: bool) -> CmdResult {
    let terms = Terms {
        by: Some(by),
        reverse: Some(reverse),
    };
    show(cx, args, terms)
}

fn show(cx: &mut Ctx<'_>, args: Args<'_>, terms: Terms) -> CmdResult {
    let query = Query::parse(args, 2, terms, false)?;
    let Some(zset) = cx.ks.read::<ZSet>(args.at(1))? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let ranks = query.ranks(zset);
    let layout = Layout::of(cx.reply, query.with_scores);
    layout.begin(cx.reply, ranks.len());
    let members = match query.reverse {
        true => zset.range_rev(ranks),
        false => zset.range(ranks),
    };
    for (member, score) in members {
        layout.put(cx.reply, member, score);
    }
    Ok(Flow::Done)
}

fn zrangestore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    let query = Query::parse(args, 3, Terms::default(), true)?;
    let limits = limits(cx);
    let zset = cx.ks.read::<ZSet>(args.at(2))?;
    let members: Vec<(SmallBytes, f64)> = zset
        .into_iter()
        .flat_map(|zset| zset.range(query.ranks(zset)))
        .map(|(member, score)| (member.bytes(&mut itoa::Buffer::new()).into(), score))
        .collect();
    if members.is_empty() {
        cx.ks.discard(key, Event::DEL);
    } else {
        let pairs = members.iter().map(|(member, score)| (&**member, *score));
        let zset = ZSet::from_sorted(pairs, limits);
        let event = Event::zset("zrangestore");
        cx.ks.put(key, zset.into_value(), Expiry::Clear, event);
    }
    cx.count(members.len())
}
