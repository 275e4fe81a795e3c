//! ZADD and ZINCRBY.

use smallvec::SmallVec;

use super::limits;
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::zset::{Change, ZSet};
use crate::util::num;

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("zadd", -4, zadd)
        .since("1.2.0")
        .group(Group::SortedSet)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax(
            "key:key [condition=(NX | XX)@3.0.2] [comparison=(GT | LT)@6.2.0] [change=CH@3.0.2] \
             [increment=INCR@3.0.2] data={score:double member}...",
        )
        .summary(
            "Add members to a sorted set, or give them other scores; return how many were new.",
        )
        .complexity("O(log N) for each member, where N is the size of the sorted set.")
        .history(&[
            ("2.4.0", "Accepts several members."),
            ("3.0.2", "Added `XX`, `NX`, `CH` and `INCR`."),
            ("6.2.0", "Added `GT` and `LT`."),
        ])
        .checked(),
    Command::new("zincrby", 4, zincrby)
        .since("1.2.0")
        .group(Group::SortedSet)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key increment:int member")
        .summary("Add to the score of a member, 0 where there is none; return the sum.")
        .complexity("O(log N) where N is the size of the sorted set.")
        .checked(),
];

/// On which terms members are added.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    only_new: bool,
    only_present: bool,
    only_greater: bool,
    only_less: bool,
    count_changed: bool,
    increment: bool,
}

impl Terms {
    /// Takes one option, if it is one.
    fn take(&mut self, word: &[u8]) -> bool {
        let switch = match word {
            w if is(w, "NX") => &mut self.only_new,
            w if is(w, "XX") => &mut self.only_present,
            w if is(w, "GT") => &mut self.only_greater,
            w if is(w, "LT") => &mut self.only_less,
            w if is(w, "CH") => &mut self.count_changed,
            w if is(w, "INCR") => &mut self.increment,
            _ => return false,
        };
        *switch = true;
        true
    }

    /// Refuses what does not go together, given the number of arguments that are left.
    fn check(self, left: usize) -> Result<(), CmdError> {
        let compares = usize::from(self.only_greater) + usize::from(self.only_less);
        if left == 0 || !left.is_multiple_of(2) {
            Err(CmdError::SYNTAX)
        } else if self.only_new && self.only_present {
            Err(CmdError::fixed(
                "ERR XX and NX options at the same time are not compatible",
            ))
        } else if compares + usize::from(self.only_new) > 1 {
            Err(CmdError::fixed(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ))
        } else if self.increment && left > 2 {
            Err(CmdError::fixed(
                "ERR INCR option supports a single increment-element pair",
            ))
        } else {
            Ok(())
        }
    }

    /// The score that a member gets which has `old`, if it gets one.
    fn score(self, old: Option<f64>, given: f64) -> Verdict {
        let Some(old) = old else {
            return match self.only_present {
                true => Verdict::Refused,
                false => Verdict::Score(given),
            };
        };
        if self.only_new {
            return Verdict::Refused;
        }
        let new = if self.increment { old + given } else { given };
        if new.is_nan() {
            Verdict::Nan
        } else if self.only_less && new >= old || self.only_greater && new <= old {
            Verdict::Refused
        } else {
            Verdict::Score(new)
        }
    }
}

/// What becomes of one member.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// The terms do not allow it.
    Refused,
    /// It has this score then.
    Score(f64),
    /// Infinities cancel each other.
    Nan,
}

fn zadd(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    add(cx, args, Terms::default())
}

/// It takes the options of ZADD, too, but has no room for what they need.
fn zincrby(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let increment = true;
    let terms = Terms {
        increment,
        ..Terms::default()
    };
    add(cx, args, terms)
}

/// Reads further terms, then adds pairs of scores and members.
fn add(cx: &mut Ctx<'_>, args: Args<'_>, mut terms: Terms) -> CmdResult {
    let key = args.at(1);
    let mut options = args.cursor(2);
    while options.peek().is_some_and(|word| terms.take(word)) {
        options.next();
    }
    let pairs = options.rest();
    terms.check(pairs.len())?;
    let mut scores = SmallVec::<[f64; 8]>::new();
    for pair in pairs.chunks_exact(2) {
        scores.push(num::parse_f64(pair[0]).ok_or(CmdError::NOT_FLOAT)?);
    }
    if terms.only_present && cx.ks.look::<ZSet>(key)?.is_none() {
        return answer(cx, terms, Verdict::Refused, 0, 0);
    }
    let limits = limits(cx);
    let first = pairs.get(1).map_or(0, |member| member.len());
    let fresh = || ZSet::new(limits, scores.len(), first);
    let mut edit = cx.ks.edit_or_create(key, fresh)?;
    let zset = edit.get_mut();
    zset.expect(scores.len(), limits);
    let (mut added, mut updated, mut verdict) = (0, 0, Verdict::Refused);
    for (pair, &given) in pairs.chunks_exact(2).zip(&scores) {
        let change = zset.update(pair[1], limits, |old| {
            verdict = terms.score(old, given);
            match verdict {
                Verdict::Score(score) => Some(score),
                Verdict::Refused | Verdict::Nan => None,
            }
        });
        added += u64::from(change == Change::Added);
        updated += u64::from(change == Change::Updated);
    }
    let event = if terms.increment { "zincr" } else { "zadd" };
    match added + updated {
        0 => edit.unchanged(),
        n => edit.changed(n, Event::zset(event)),
    }
    answer(cx, terms, verdict, added, updated)
}

/// Answers with the score of the one member that was incremented, or with how many are new or changed.
fn answer(cx: &mut Ctx<'_>, terms: Terms, verdict: Verdict, added: u64, updated: u64) -> CmdResult {
    match verdict {
        Verdict::Nan => {
            return Err(CmdError::fixed("ERR resulting score is not a number (NaN)"));
        }
        Verdict::Score(score) if terms.increment => cx.reply.double(score),
        Verdict::Refused if terms.increment => cx.reply.null(),
        _ => {
            let changed = if terms.count_changed { updated } else { 0 };
            cx.reply
                .int(i64::try_from(added + changed).unwrap_or(i64::MAX));
        }
    }
    Ok(Flow::Done)
}
