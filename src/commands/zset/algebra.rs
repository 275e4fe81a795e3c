//! ZUNION, ZINTER, ZDIFF and what stores or counts them.

use super::{Layout, limits};
use crate::ds::listpack::Value;
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::keyspace::{Expiry, Keyspace};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::zset::algebra::{self, Aggregate, Input, Scored, Source};
use crate::types::zset::{Limits, ZSet};
use crate::types::{DataType, Value as Held};
use crate::util::num;

/// One that shows its result.
macro_rules! shows {
    ($name:literal, $run:ident, $complexity:expr, $syntax:expr, $summary:literal) => {
        Command::new($name, -3, $run)
            .since("6.2.0")
            .group(Group::SortedSet)
            .read()
            .keys(&[KeySpec::at(1).keynum(0, 1, 1).ro().access()])
            .syntax($syntax)
            .summary($summary)
            .complexity($complexity)
    };
}

/// One that stores its result.
macro_rules! stores {
    ($name:literal, $run:ident, $since:literal, $complexity:expr, $syntax:expr, $summary:literal) => {
        Command::new($name, -4, $run)
            .since($since)
            .group(Group::SortedSet)
            .write(Propagate::Verbatim)
            .flags(&[flag::DENYOOM])
            .keys(&[
                KeySpec::at(1).ow().update(),
                KeySpec::at(2).keynum(0, 1, 1).ro().access(),
            ])
            .syntax($syntax)
            .summary($summary)
            .complexity($complexity)
    };
}

const OF_UNION: &str =
    "O(N)+O(M*log(M)) where N is the size of all inputs together and M that of the result.";
const OF_INTERSECTION: &str = "O(N*K)+O(M*log(M)) at worst, where N is the size of the smallest of K inputs and M that \
    of the result.";
const OF_DIFFERENCE: &str = "O(N*K)+O(M*log(M)) at worst, where N is the size of the first of K inputs and M that of \
    the result.";
const SHOWN: &str = "numkeys:int key:key...=numkeys [WEIGHTS^weight:int...=numkeys] \
    [AGGREGATE^aggregate=(SUM | MIN | MAX | COUNT@8.8.0)] [WITHSCORES]";
const STORED: &str = "destination:key numkeys:int key:key...=numkeys#1 [WEIGHTS^weight:int...=numkeys] \
    [AGGREGATE^aggregate=(SUM | MIN | MAX | COUNT@8.8.0)]";
const COUNT_ADDED: &[(&str, &str)] = &[("8.8.0", "Added `AGGREGATE COUNT`.")];

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    shows!(
        "zunion",
        zunion,
        OF_UNION,
        SHOWN,
        "Return the members that any of several sorted sets has."
    )
    .history(COUNT_ADDED)
    .checked(),
    stores!(
        "zunionstore",
        zunionstore,
        "2.0.0",
        OF_UNION,
        STORED,
        "Store the members that any of several sorted sets has; return how many."
    )
    .history(COUNT_ADDED)
    .checked(),
    shows!(
        "zinter",
        zinter,
        OF_INTERSECTION,
        SHOWN,
        "Return the members that several sorted sets have in common."
    )
    .history(COUNT_ADDED)
    .checked(),
    stores!(
        "zinterstore",
        zinterstore,
        "2.0.0",
        OF_INTERSECTION,
        STORED,
        "Store the members that several sorted sets have in common; return how many."
    )
    .history(COUNT_ADDED)
    .checked(),
    Command::new("zintercard", -3, zintercard)
        .since("7.0.0")
        .group(Group::SortedSet)
        .read()
        .keys(&[KeySpec::at(1).keynum(0, 1, 1).ro().access()])
        .syntax("numkeys:int key:key...=numkeys [LIMIT^limit:int]")
        .summary("Return how many members several sorted sets have in common.")
        .complexity("O(N*K) at worst, where N is the size of the smallest of K inputs.")
        .checked(),
    shows!(
        "zdiff",
        zdiff,
        OF_DIFFERENCE,
        "numkeys:int key:key...=numkeys [WITHSCORES]",
        "Return the members of a sorted set that none of several others has."
    )
    .checked(),
    stores!(
        "zdiffstore",
        zdiffstore,
        "6.2.0",
        OF_DIFFERENCE,
        "destination:key numkeys:int key:key...=numkeys#1",
        "Store the members of a sorted set that none of several others has; return how many."
    )
    .checked(),
];

/// What is made of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Show,
    Store,
    Count,
}

/// Inputs with their weights, and options.
struct Request<'k> {
    inputs: Vec<Input<'k>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Zero: none.
    limit: usize,
}

impl<'k> Request<'k> {
    /// Reads what stands from the number of keys on, at position `at`. Keys are looked up before options are read.
    fn parse(
        ks: &'k Keyspace,
        name: &str,
        args: Args<'_>,
        at: usize,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Self, CmdError> {
        let numkeys = usize::try_from(args.int(at)?).unwrap_or(0);
        if numkeys == 0 {
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(CmdError::new(text));
        }
        let keys = args.from(at + 1).get(..numkeys).ok_or(CmdError::SYNTAX)?;
        let mut req = Request {
            inputs: inputs(ks, keys)?,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let combines = operation != Operation::Difference && purpose != Purpose::Count;
        let mut rest = args.cursor(at + 1 + numkeys);
        while let Some(word) = rest.next() {
            let more = rest.left();
            if combines && more >= numkeys && is(word, "WEIGHTS") {
                for (input, text) in req.inputs.iter_mut().zip(&mut rest) {
                    let weight = num::parse_f64(text);
                    input.weight =
                        weight.ok_or(CmdError::fixed("ERR weight value is not a float"))?;
                }
            } else if combines && more > 0 && is(word, "AGGREGATE") {
                req.aggregate = aggregate(rest.word()?)?;
            } else if purpose == Purpose::Show && is(word, "WITHSCORES") {
                req.with_scores = true;
            } else if purpose == Purpose::Count && more > 0 && is(word, "LIMIT") {
                const NEGATIVE: CmdError = CmdError::fixed("ERR LIMIT can't be negative");
                let limit = rest.int().map_err(|_| NEGATIVE)?;
                req.limit = usize::try_from(limit).map_err(|_| NEGATIVE)?;
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        Ok(req)
    }

    fn carry_out(&self, operation: Operation, limits: Limits) -> Vec<Scored> {
        match operation {
            Operation::Union => algebra::union(&self.inputs, self.aggregate, limits),
            Operation::Intersection => algebra::intersection(&self.inputs, self.aggregate),
            Operation::Difference => algebra::difference(&self.inputs),
        }
    }
}

fn aggregate(word: &[u8]) -> Result<Aggregate, CmdError> {
    match word {
        w if is(w, "SUM") => Ok(Aggregate::Sum),
        w if is(w, "MIN") => Ok(Aggregate::Min),
        w if is(w, "MAX") => Ok(Aggregate::Max),
        w if is(w, "COUNT") => Ok(Aggregate::Count),
        _ => Err(CmdError::SYNTAX),
    }
}

/// What the keys hold, sorted sets or sets.
fn inputs<'k>(ks: &'k Keyspace, keys: &[&[u8]]) -> Result<Vec<Input<'k>>, CmdError> {
    let source = |key: &&[u8]| {
        let source = match ks.read_any(key).map(|record| record.value()) {
            None => None,
            Some(Held::ZSet(zset)) => Some(Source::ZSet(zset)),
            Some(Held::Set(set)) => Some(Source::Set(set)),
            Some(_) => return Err(CmdError::WRONG_TYPE),
        };
        let weight = 1.0;
        Ok(Input { source, weight })
    };
    keys.iter().map(source).collect()
}

fn zunion(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show(cx, args, Operation::Union)
}

fn zinter(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show(cx, args, Operation::Intersection)
}

fn zdiff(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show(cx, args, Operation::Difference)
}

fn show(cx: &mut Ctx<'_>, args: Args<'_>, operation: Operation) -> CmdResult {
    let limits = limits(cx);
    let req = Request::parse(cx.ks, &cx.row.name, args, 1, operation, Purpose::Show)?;
    let members = req.carry_out(operation, limits);
    let layout = Layout::of(cx.reply, req.with_scores);
    layout.begin(cx.reply, members.len());
    for Scored { member, score } in &members {
        layout.put(cx.reply, Value::Str(member), *score);
    }
    Ok(Flow::Done)
}

fn zunionstore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    store(cx, args, Operation::Union, "zunionstore")
}

fn zinterstore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    store(cx, args, Operation::Intersection, "zinterstore")
}

fn zdiffstore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    store(cx, args, Operation::Difference, "zdiffstore")
}

/// Puts the result where it belongs, or deletes what is there if it is empty; answers with its size.
fn store(cx: &mut Ctx<'_>, args: Args<'_>, operation: Operation, event: &'static str) -> CmdResult {
    let (key, limits) = (args.at(1), limits(cx));
    let req = Request::parse(cx.ks, &cx.row.name, args, 2, operation, Purpose::Store)?;
    let members = req.carry_out(operation, limits);
    if members.is_empty() {
        cx.ks.discard(key, Event::DEL);
    } else {
        let pairs = members.iter().map(|m| (&*m.member, m.score));
        let zset = ZSet::from_sorted(pairs, limits);
        let event = Event::zset(event);
        cx.ks.put(key, zset.into_value(), Expiry::Clear, event);
    }
    cx.count(members.len())
}

fn zintercard(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (operation, purpose) = (Operation::Intersection, Purpose::Count);
    let req = Request::parse(cx.ks, &cx.row.name, args, 1, operation, purpose)?;
    cx.count(algebra::count_in_common(&req.inputs, req.limit))
}
