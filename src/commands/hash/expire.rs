//! Times to live of fields: HEXPIRE and its like, HTTL and its like, HPERSIST.

use super::{NO_FIELDS, Spelling, only_fields, push_fields, take_fields, unknown};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::hash::Hash;

/// What HEXPIRE and its like share.
macro_rules! expire {
    ($name:literal, $run:ident, $time:literal, $summary:literal) => {
        Command::new($name, -6, $run)
            .since("7.4.0")
            .group(Group::Hash)
            .write(Propagate::Explicit)
            .flags(&[flag::DENYOOM, flag::FAST])
            .keys(&[KeySpec::at(1).rw().update()])
            .syntax(concat!(
                "key:key ",
                $time,
                " [condition=(NX | XX | GT | LT)] FIELDS^fields={numfields:int field...=numfields}"
            ))
            .summary($summary)
            .complexity("O(N) where N is the number of fields given.")
            .checked()
    };
}

/// What HTTL and its like share.
macro_rules! ttl {
    ($name:literal, $run:ident, $summary:literal) => {
        Command::new($name, -5, $run)
            .since("7.4.0")
            .group(Group::Hash)
            .read()
            .flags(&[flag::FAST])
            .keys(&[KeySpec::at(1).ro().access()])
            .syntax("key:key FIELDS^fields={numfields:int field...=numfields}")
            .summary($summary)
            .complexity("O(N) where N is the number of fields given.")
    };
}

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    expire!(
        "hexpire",
        hexpire,
        "seconds:int",
        "Let fields of a hash expire in a number of seconds."
    ),
    expire!(
        "hpexpire",
        hpexpire,
        "milliseconds:int",
        "Let fields of a hash expire in a number of milliseconds."
    ),
    expire!(
        "hexpireat",
        hexpireat,
        "unix-time-seconds:unix-time",
        "Let fields of a hash expire at a Unix time in seconds."
    ),
    expire!(
        "hpexpireat",
        hpexpireat,
        "unix-time-milliseconds:unix-time",
        "Let fields of a hash expire at a Unix time in milliseconds."
    ),
    ttl!(
        "httl",
        httl,
        "Return in how many seconds fields of a hash expire."
    )
    .tips(&["nondeterministic_output"])
    .checked(),
    ttl!(
        "hpttl",
        hpttl,
        "Return in how many milliseconds fields of a hash expire."
    )
    .tips(&["nondeterministic_output"])
    .checked(),
    ttl!(
        "hexpiretime",
        hexpiretime,
        "Return when fields of a hash expire, as Unix time in seconds."
    )
    .checked(),
    ttl!(
        "hpexpiretime",
        hpexpiretime,
        "Return when fields of a hash expire, as Unix time in milliseconds."
    )
    .checked(),
    Command::new("hpersist", -5, hpersist)
        .since("7.4.0")
        .group(Group::Hash)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key FIELDS^fields={numfields:int field...=numfields}")
        .summary("Let fields of a hash not expire any more.")
        .complexity("O(N) where N is the number of fields given.")
        .checked(),
];

const NO_SUCH_FIELD: i64 = -2;
const NO_DEADLINE: i64 = -1;
const NOT_MET: i64 = 0;
const DONE: i64 = 1;
const DELETED: i64 = 2;

fn hexpire(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    expire(cx, args, Spelling::EX)
}

fn hpexpire(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    expire(cx, args, Spelling::PX)
}

fn hexpireat(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    expire(cx, args, Spelling::EXAT)
}

fn hpexpireat(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    expire(cx, args, Spelling::PXAT)
}

/// When to set a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    /// If there is none.
    Nx,
    /// If there is one.
    Xx,
    /// If it is later than the one there is; none is later than any.
    Gt,
    /// If it is earlier than the one there is.
    Lt,
}

impl Condition {
    fn named(word: &[u8]) -> Option<Condition> {
        [
            ("NX", Condition::Nx),
            ("XX", Condition::Xx),
            ("GT", Condition::Gt),
            ("LT", Condition::Lt),
        ]
        .into_iter()
        .find(|(name, _)| is(word, name))
        .map(|(_, condition)| condition)
    }

    fn holds(self, current: Option<i64>, at: i64) -> bool {
        match (self, current) {
            (Condition::Always, _) => true,
            (Condition::Nx, current) => current.is_none(),
            (Condition::Xx, current) => current.is_some(),
            (Condition::Gt, current) => current.is_some_and(|now| at > now),
            (Condition::Lt, current) => current.is_none_or(|now| at < now),
        }
    }
}

/// Reads the condition and the fields, in either order.
fn condition_and_fields<'a>(args: Args<'a>) -> Result<(Condition, &'a [&'a [u8]]), CmdError> {
    let (mut conditions, mut fields) = (Vec::new(), None);
    let mut rest = args.cursor(3);
    while let Some(word) = rest.next() {
        if is(word, "FIELDS") {
            if fields.is_some() {
                return Err(CmdError::fixed(
                    "ERR FIELDS keyword specified multiple times",
                ));
            }
            if rest.left() < 2 {
                return Err(CmdError::fixed(
                    "ERR FIELDS requires at least numfields and one field argument",
                ));
            }
            let invalid = CmdError::fixed("ERR Parameter `numFields` should be greater than 0");
            fields = Some(take_fields(&mut rest, 1, invalid)?);
        } else {
            conditions.push(Condition::named(word).ok_or_else(|| unknown(word))?);
        }
    }
    conditions.dedup();
    let condition = match conditions[..] {
        [] => Condition::Always,
        [one] => one,
        _ => {
            return Err(CmdError::fixed("ERR Multiple condition flags specified"));
        }
    };
    Ok((condition, fields.ok_or(NO_FIELDS)?))
}

fn expire(cx: &mut Ctx<'_>, args: Args<'_>, spelling: Spelling) -> CmdResult {
    let key = args.at(1);
    cx.ks.look::<Hash>(key)?;
    let at = spelling.deadline(args.at(2), cx)?;
    let (condition, fields) = condition_and_fields(args)?;
    cx.reply.array(fields.len());
    let (horizon, past) = (cx.ks.horizon(), cx.ks.is_past(at));
    let Some(mut edit) = cx.ks.edit::<Hash>(key)? else {
        fields.iter().for_each(|_| cx.reply.int(NO_SUCH_FIELD));
        return Ok(Flow::Done);
    };
    let hash = edit.get_mut();
    hash.allow_deadlines();
    let mut hit = Vec::new();
    for field in fields {
        let code = match hash.entry(field, horizon).map(|entry| entry.deadline) {
            None => NO_SUCH_FIELD,
            Some(was) if !condition.holds(was, at) => NOT_MET,
            Some(_) if past => {
                hash.remove(field);
                DELETED
            }
            Some(_) => {
                hash.set_deadline(field, Some(at));
                DONE
            }
        };
        if code > NOT_MET {
            hit.push(*field);
        }
        cx.reply.int(code);
    }
    if hit.is_empty() {
        edit.unchanged();
        return Ok(Flow::Done);
    }
    let event = if past { "hdel" } else { "hexpire" };
    edit.changed(hit.len() as u64, Event::hash(event));
    if past {
        delete_effects(cx, key, &hit);
    } else {
        expire_effect(cx, key, at, &hit);
    }
    Ok(Flow::Done)
}

/// Fields were deleted, since the deadline they were given has passed.
pub(super) fn delete_effects(cx: &mut Ctx<'_>, key: &[u8], fields: &[&[u8]]) {
    cx.ks.expired_fields_total += fields.len() as u64;
    for field in fields {
        cx.fx.push(&[b"HDEL", key, field]);
    }
}

/// Fields were given a deadline.
pub(super) fn expire_effect(cx: &mut Ctx<'_>, key: &[u8], at: i64, fields: &[&[u8]]) {
    let mut text = itoa::Buffer::new();
    let at = text.format(at).as_bytes();
    push_fields(cx.fx, &[b"HPEXPIREAT", key, at], fields.len(), fields);
}

fn httl(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let now = cx.now;
    times(cx, args, |at| seconds(at - now))
}

fn hpttl(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let now = cx.now;
    times(cx, args, |at| at - now)
}

fn hexpiretime(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    times(cx, args, seconds)
}

fn hpexpiretime(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    times(cx, args, |at| at)
}

/// Up to the next second.
fn seconds(ms: i64) -> i64 {
    (ms + 999) / 1000
}

/// Answers with the time of each field.
fn times(cx: &mut Ctx<'_>, args: Args<'_>, show: impl Fn(i64) -> i64) -> CmdResult {
    let hash = cx.ks.read::<Hash>(args.at(1))?;
    let fields = only_fields(args.cursor(2))?;
    cx.reply.array(fields.len());
    for field in fields {
        let entry = hash.and_then(|h| h.entry(field, cx.ks.horizon()));
        cx.reply.int(match entry {
            None => NO_SUCH_FIELD,
            Some(entry) => entry.deadline.map_or(NO_DEADLINE, &show),
        });
    }
    Ok(Flow::Done)
}

fn hpersist(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    cx.ks.look::<Hash>(args.at(1))?;
    let fields = only_fields(args.cursor(2))?;
    cx.reply.array(fields.len());
    let horizon = cx.ks.horizon();
    let Some(mut edit) = cx.ks.edit::<Hash>(args.at(1))? else {
        fields.iter().for_each(|_| cx.reply.int(NO_SUCH_FIELD));
        return Ok(Flow::Done);
    };
    let hash = edit.get_mut();
    let mut changed = false;
    for field in fields {
        let deadline = hash.entry(field, horizon).map(|entry| entry.deadline);
        cx.reply.int(match deadline {
            None => NO_SUCH_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(_)) => {
                hash.set_deadline(field, None);
                changed = true;
                DONE
            }
        });
    }
    match changed {
        true => edit.changed(1, Event::hash("hpersist")),
        false => edit.unchanged(),
    }
    Ok(Flow::Done)
}
