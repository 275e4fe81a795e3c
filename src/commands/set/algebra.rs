//! SINTER, SUNION, SDIFF and what stores or counts them.

use super::{limits, put};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::keyspace::{Expiry, Keyspace, WrongType};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::DataType as _;
use crate::types::set::{self, Set};

/// One that shows its result.
macro_rules! shows {
    ($name:literal, $run:ident, $complexity:expr, $summary:literal) => {
        Command::new($name, -2, $run)
            .since("1.0.0")
            .group(Group::Set)
            .read()
            .keys(&[KeySpec::at(1).range(-1, 1, 0).ro().access()])
            .syntax("key:key...")
            .summary($summary)
            .complexity($complexity)
            .tips(&["nondeterministic_output_order"])
            .checked()
    };
}

/// One that stores its result.
macro_rules! stores {
    ($name:literal, $run:ident, $complexity:expr, $summary:literal) => {
        Command::new($name, -3, $run)
            .since("1.0.0")
            .group(Group::Set)
            .write(Propagate::Verbatim)
            .flags(&[flag::DENYOOM])
            .keys(&[
                KeySpec::at(1).ow().update(),
                KeySpec::at(2).range(-1, 1, 0).ro().access(),
            ])
            .syntax("destination:key key:key...#1")
            .summary($summary)
            .complexity($complexity)
            .checked()
    };
}

const BY_SMALLEST: &str =
    "O(N*M) at worst, where N is the size of the smallest set and M the number of sets";
const BY_ALL: &str = "O(N) where N is the number of members of all sets together";

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    shows!(
        "sinter",
        sinter,
        BY_SMALLEST,
        "Return the members that several sets have in common."
    ),
    stores!(
        "sinterstore",
        sinterstore,
        BY_SMALLEST,
        "Store the members that several sets have in common; return how many."
    ),
    Command::new("sintercard", -3, sintercard)
        .since("7.0.0")
        .group(Group::Set)
        .read()
        .keys(&[KeySpec::at(1).keynum(0, 1, 1).ro().access()])
        .syntax("numkeys:int key:key...=numkeys [LIMIT^limit:int]")
        .summary("Return how many members several sets have in common.")
        .complexity(BY_SMALLEST)
        .checked(),
    Command::new("sunioncard", -3, sunioncard)
        .since("8.10.0")
        .group(Group::Set)
        .read()
        .keys(&[KeySpec::at(1).keynum(0, 1, 1).ro().access()])
        .syntax("numkeys:int key:key...=numkeys [APPROX] [LIMIT^limit:int]")
        .summary("Return how many members any of several sets has.")
        .complexity(BY_ALL)
        .checked(),
    Command::new("sdiffcard", -3, sdiffcard)
        .since("8.10.0")
        .group(Group::Set)
        .read()
        .keys(&[KeySpec::at(1).keynum(0, 1, 1).ro().access()])
        .syntax("numkeys:int key:key...=numkeys [LIMIT^limit:int]")
        .summary("Return how many members of a set none of several other sets has.")
        .complexity(BY_ALL)
        .checked(),
    shows!(
        "sunion",
        sunion,
        BY_ALL,
        "Return the members that any of several sets has."
    ),
    stores!(
        "sunionstore",
        sunionstore,
        BY_ALL,
        "Store the members that any of several sets has; return how many."
    ),
    shows!(
        "sdiff",
        sdiff,
        BY_ALL,
        "Return the members of a set that none of several other sets has."
    ),
    stores!(
        "sdiffstore",
        sdiffstore,
        BY_ALL,
        "Store the members of a set that none of several other sets has; return how many."
    ),
];

/// The sets at these keys. All are looked up, so that one of the wrong type does not go unnoticed.
fn sources<'k>(ks: &'k Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<&'k Set>>, WrongType> {
    keys.iter().map(|key| ks.read::<Set>(key)).collect()
}

/// The sets that there are.
fn present<'k>(ks: &'k Keyspace, keys: &[&[u8]]) -> Result<Vec<&'k Set>, WrongType> {
    Ok(sources(ks, keys)?.into_iter().flatten().collect())
}

/// The sets to intersect: none at all if one of them is not there.
fn all_or_none<'k>(ks: &'k Keyspace, keys: &[&[u8]]) -> Result<Vec<&'k Set>, WrongType> {
    let all: Option<Vec<&Set>> = sources(ks, keys)?.into_iter().collect();
    Ok(all.unwrap_or_default())
}

/// The set to subtract from, if there is one, and what is to be subtracted.
fn first_and_others<'k>(
    ks: &'k Keyspace,
    keys: &[&[u8]],
) -> Result<(Option<&'k Set>, Vec<&'k Set>), WrongType> {
    let mut sets = sources(ks, keys)?.into_iter();
    Ok((sets.next().flatten(), sets.flatten().collect()))
}

/// Puts the result where it belongs, or deletes what is there if it is empty; answers with its size.
fn store(cx: &mut Ctx<'_>, key: &[u8], result: Set, event: &'static str) -> CmdResult {
    let len = result.len();
    if len == 0 {
        cx.ks.discard(key, Event::DEL);
    } else {
        let event = Event::set(event);
        cx.ks.put(key, result.into_value(), Expiry::Clear, event);
    }
    cx.count(len)
}

fn sinter(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sets = all_or_none(cx.ks, args.from(1))?;
    let (out, mut n) = (cx.reply.deferred_set(), 0);
    set::each_of_intersection(&sets, |member| {
        put(cx.reply, member);
        n += 1;
        true
    });
    out.finish(cx.reply, n);
    Ok(Flow::Done)
}

fn sinterstore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let result = set::intersection(&all_or_none(cx.ks, args.from(2))?, limits(cx));
    store(cx, args.at(1), result, "sinterstore")
}

fn sintercard(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (keys, most) = counted(args, false)?;
    let mut n = 0;
    set::each_of_intersection(&all_or_none(cx.ks, keys)?, |_| {
        n += 1;
        n != most
    });
    cx.count(n)
}

/// APPROX counts exactly, too.
fn sunioncard(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (keys, most) = counted(args, true)?;
    let mut n = 0;
    set::each_of_union(&present(cx.ks, keys)?, limits(cx), |_| {
        n += 1;
        n != most
    });
    cx.count(n)
}

fn sdiffcard(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (keys, most) = counted(args, false)?;
    let (first, others) = first_and_others(cx.ks, keys)?;
    let mut n = 0;
    if let Some(first) = first {
        set::each_of_difference(first, &others, limits(cx), |_| {
            n += 1;
            n != most
        });
    }
    cx.count(n)
}

/// The keys of a command that counts, and where it stops: never at 0.
fn counted<'a>(args: Args<'a>, estimates: bool) -> Result<(&'a [&'a [u8]], usize), CmdError> {
    const NO_KEYS: CmdError = CmdError::fixed("ERR numkeys should be greater than 0");
    const FEW_KEYS: CmdError =
        CmdError::fixed("ERR Number of keys can't be greater than number of args");
    const LIMIT: CmdError = CmdError::fixed("ERR LIMIT can't be negative");
    let numkeys = args.int(1).map_err(|_| NO_KEYS)?;
    let numkeys = usize::try_from(numkeys).map_err(|_| NO_KEYS)?;
    let keys = match args.from(2).get(..numkeys) {
        Some([]) => return Err(NO_KEYS),
        Some(keys) => keys,
        None => return Err(FEW_KEYS),
    };
    let mut most = 0;
    let mut options = args.cursor(2 + numkeys);
    while let Some(word) = options.next() {
        if estimates && is(word, "APPROX") {
            continue;
        }
        if !is(word, "LIMIT") || options.left() == 0 {
            return Err(CmdError::SYNTAX);
        }
        let limit = options.int().map_err(|_| LIMIT)?;
        most = usize::try_from(limit).map_err(|_| LIMIT)?;
    }
    Ok((keys, most))
}

fn sunion(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sets = present(cx.ks, args.from(1))?;
    let limits = limits(cx);
    let (out, mut n) = (cx.reply.deferred_set(), 0);
    set::each_of_union(&sets, limits, |member| {
        put(cx.reply, member);
        n += 1;
        true
    });
    out.finish(cx.reply, n);
    Ok(Flow::Done)
}

fn sunionstore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let result = set::union(&present(cx.ks, args.from(2))?, limits(cx));
    store(cx, args.at(1), result, "sunionstore")
}

fn sdiff(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (first, others) = first_and_others(cx.ks, args.from(1))?;
    let limits = limits(cx);
    let (out, mut n) = (cx.reply.deferred_set(), 0);
    if let Some(first) = first {
        set::each_of_difference(first, &others, limits, |member| {
            put(cx.reply, member);
            n += 1;
            true
        });
    }
    out.finish(cx.reply, n);
    Ok(Flow::Done)
}

fn sdiffstore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (first, others) = first_and_others(cx.ks, args.from(2))?;
    let result = first.map_or_else(Set::ints, |f| set::difference(f, &others, limits(cx)));
    store(cx, args.at(1), result, "sdiffstore")
}
