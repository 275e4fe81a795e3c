//! Fields read or written together with their time to live, or read and deleted: HGETEX, HSETEX, HGETDEL.

use super::expire::{delete_effects, expire_effect};
use super::{
    NO_FIELDS, Spelling, limits, only_fields, push_fields, put_or_null, take_fields, unknown,
};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::hash::Hash;

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("hgetex", -5, hgetex)
        .since("8.0.0")
        .group(Group::Hash)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax(
            "key:key [expiration=(EX^seconds:int | PX^milliseconds:int | \
             EXAT^unix-time-seconds:unix-time | PXAT^unix-time-milliseconds:unix-time | PERSIST)] \
             FIELDS^fields={numfields:int field...=numfields}",
        )
        .summary("Return the values of fields and set or clear their time to live.")
        .complexity("O(N) where N is the number of fields given.")
        .checked(),
    Command::new("hsetex", -6, hsetex)
        .since("8.0.0")
        .group(Group::Hash)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax(
            "key:key [key-condition=(NX@9.1.0 | XX@9.1.0)] [condition=(FNX | FXX)] [expiration=(EX^seconds:int | PX^milliseconds:int | \
             EXAT^unix-time-seconds:unix-time | PXAT^unix-time-milliseconds:unix-time | KEEPTTL)] \
             FIELDS^fields={numfields:int data={field value}...=numfields}",
        )
        .summary("Set fields of a hash under one condition and with one time to live.")
        .complexity("O(N) where N is the number of fields to set.")
        .checked(),
    Command::new("hgetdel", -5, hgetdel)
        .since("8.0.0")
        .group(Group::Hash)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().delete()])
        .syntax("key:key FIELDS^fields={numfields:int field...=numfields}")
        .summary("Return the values of fields and delete the fields, and the hash with the last.")
        .complexity("O(N) where N is the number of fields given.")
        .checked(),
];

/// What becomes of times to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ttl {
    At(i64),
    Persist,
    Keep,
}

/// Which fields there must be already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    None,
    All,
}

/// What HGETEX and HSETEX are asked to do. Options and fields come in any order.
struct Request<'a> {
    ttl: Option<Ttl>,
    presence: Option<Presence>,
    /// Whether the key must be there, or must not be.
    key_is_there: Option<bool>,
    /// The fields; with HSETEX each followed by its value.
    words: &'a [&'a [u8]],
}

impl<'a> Request<'a> {
    /// Reads the arguments; so many words belong to each field.
    fn parse(cx: &Ctx<'_>, args: Args<'a>, each: usize) -> Result<Self, CmdError> {
        let (mut ttl, mut presence, mut words) = (None, None, None);
        let mut key_is_there = None;
        let sets = each == 2;
        let mut rest = args.cursor(2);
        while let Some(word) = rest.next() {
            let told = if is(word, "PERSIST") {
                Some(Ttl::Persist)
            } else if is(word, "KEEPTTL") {
                Some(Ttl::Keep)
            } else if let Some(spelling) = Spelling::named(word) {
                if ttl.is_some() {
                    return Err(more_than_one(sets));
                }
                let number = rest.next();
                let number = number.ok_or(CmdError::fixed("ERR missing expire time"))?;
                Some(Ttl::At(spelling.deadline(number, cx)?))
            } else {
                None
            };
            if told.is_some() {
                if std::mem::replace(&mut ttl, told).is_some() {
                    return Err(more_than_one(sets));
                }
            } else if is(word, "FIELDS") {
                if rest.left() == 0 {
                    return Err(CmdError::arity(&cx.row.name));
                }
                let invalid = CmdError::fixed("ERR invalid number of fields");
                words = Some(take_fields(&mut rest, each, invalid)?);
            } else if is(word, "FNX") || is(word, "FXX") {
                let told = if is(word, "FNX") {
                    Presence::None
                } else {
                    Presence::All
                };
                if presence.replace(told).is_some() {
                    return Err(CmdError::fixed(
                        "ERR Only one of FXX or FNX arguments can be specified",
                    ));
                }
            } else if sets && (is(word, "NX") || is(word, "XX")) {
                if key_is_there.replace(is(word, "XX")).is_some() {
                    return Err(CmdError::fixed(
                        "ERR Only one of NX or XX arguments can be specified",
                    ));
                }
            } else {
                return Err(unknown(word));
            }
        }
        let strange = match sets {
            true => ttl == Some(Ttl::Persist),
            false => ttl == Some(Ttl::Keep) || presence.is_some(),
        };
        if strange {
            return Err(CmdError::fixed("ERR unknown argument"));
        }
        Ok(Request {
            ttl,
            presence,
            key_is_there,
            words: words.ok_or(NO_FIELDS)?,
        })
    }
}

fn more_than_one(sets: bool) -> CmdError {
    CmdError::fixed(match sets {
        true => "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        false => "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified",
    })
}

fn hgetex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    cx.ks.look::<Hash>(key)?;
    let req = Request::parse(cx, args, 1)?;
    cx.reply.array(req.words.len());
    let horizon = cx.ks.horizon();
    let past = matches!(req.ttl, Some(Ttl::At(at)) if cx.ks.is_past(at));
    let Some(mut edit) = cx.ks.edit::<Hash>(key)? else {
        req.words.iter().for_each(|_| cx.reply.null());
        return Ok(Flow::Done);
    };
    let hash = edit.get_mut();
    if req.ttl.is_some() {
        hash.allow_deadlines();
    }
    let mut hit = Vec::new();
    for field in req.words {
        let entry = hash.entry(field, horizon);
        put_or_null(cx.reply, entry.map(|entry| entry.value));
        let deadline = entry.map(|entry| entry.deadline);
        match (req.ttl, deadline) {
            (Some(Ttl::At(_)), Some(_)) if past => hash.remove(field),
            (Some(Ttl::At(at)), Some(_)) => hash.set_deadline(field, Some(at)),
            (Some(Ttl::Persist), Some(Some(_))) => hash.set_deadline(field, None),
            _ => continue,
        };
        hit.push(*field);
    }
    if hit.is_empty() {
        edit.unchanged();
        return Ok(Flow::Done);
    }
    let event = match req.ttl {
        Some(Ttl::At(_)) if past => "hdel",
        Some(Ttl::At(_)) => "hexpire",
        _ => "hpersist",
    };
    edit.changed(hit.len() as u64, Event::hash(event));
    match req.ttl {
        Some(Ttl::At(_)) if past => delete_effects(cx, key, &hit),
        Some(Ttl::At(at)) => expire_effect(cx, key, at, &hit),
        _ => push_fields(cx.fx, &[b"HPERSIST", key], hit.len(), &hit),
    }
    Ok(Flow::Done)
}

fn hsetex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    let req = Request::parse(cx, args, 2)?;
    let (pairs, _) = req.words.as_chunks::<2>();
    let hash = cx.ks.look::<Hash>(key)?;
    let is_there = |field: &[u8]| hash.is_some_and(|h| h.get(field, cx.ks.horizon()).is_some());
    let met_by_key = req
        .key_is_there
        .is_none_or(|wanted| wanted == hash.is_some());
    let met = met_by_key
        && match req.presence {
            None => true,
            Some(Presence::None) => !pairs.iter().any(|[field, _]| is_there(field)),
            Some(Presence::All) => pairs.iter().all(|[field, _]| is_there(field)),
        };
    if !met {
        return cx.int(0);
    }
    let limits = limits(cx);
    let past = matches!(req.ttl, Some(Ttl::At(at)) if cx.ks.is_past(at));
    let mut edit = cx.ks.edit_or_create(key, Hash::new)?;
    let hash = edit.get_mut();
    hash.prepare(req.words.iter().copied(), limits);
    for [field, value] in pairs {
        match req.ttl {
            Some(Ttl::Keep) => {
                hash.update(field, value, limits);
            }
            Some(Ttl::At(at)) => {
                hash.update(field, value, limits);
                hash.set_deadline(field, Some(at));
            }
            _ => {
                hash.set(field, value, limits);
            }
        }
    }
    if past {
        pairs.iter().for_each(|[field, _]| {
            hash.remove(field);
        });
    }
    edit.changed(pairs.len() as u64, Event::hash("hset"));
    if let Some(Ttl::At(_)) = req.ttl {
        let event = if past { "hdel" } else { "hexpire" };
        cx.ks.notify(key, Event::hash(event));
    }
    propagate_hsetex(cx, key, &req, pairs);
    cx.int(1)
}

/// Relative times become absolute; the condition is dropped (it held).
fn propagate_hsetex(cx: &mut Ctx<'_>, key: &[u8], req: &Request<'_>, pairs: &[[&[u8]; 2]]) {
    match req.ttl {
        Some(Ttl::At(at)) if cx.ks.is_past(at) => {
            let fields: Vec<&[u8]> = pairs.iter().map(|[field, _]| *field).collect();
            delete_effects(cx, key, &fields);
        }
        Some(Ttl::At(at)) => {
            let mut text = itoa::Buffer::new();
            let at = text.format(at).as_bytes();
            let words = [b"HSETEX", key, b"PXAT", at];
            push_fields(cx.fx, &words, pairs.len(), req.words);
        }
        Some(Ttl::Keep) => {
            let words = [b"HSETEX", key, b"KEEPTTL"];
            push_fields(cx.fx, &words, pairs.len(), req.words);
        }
        _ => cx.fx.push(&[&[b"HSET", key], req.words].concat()),
    }
}

fn hgetdel(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    cx.ks.look::<Hash>(key)?;
    let fields = only_fields(args.cursor(2))?;
    cx.reply.array(fields.len());
    let horizon = cx.ks.horizon();
    let Some(mut edit) = cx.ks.edit::<Hash>(key)? else {
        fields.iter().for_each(|_| cx.reply.null());
        return Ok(Flow::Done);
    };
    let hash = edit.get_mut();
    let mut effect: Vec<&[u8]> = vec![b"HDEL", key];
    for field in fields {
        put_or_null(cx.reply, hash.get(field, horizon));
        if hash.remove(field) {
            effect.push(field);
        }
    }
    match effect.len() - 2 {
        0 => edit.unchanged(),
        n => {
            edit.changed(n as u64, Event::hash("hdel"));
            cx.fx.push(&effect);
        }
    }
    Ok(Flow::Done)
}
