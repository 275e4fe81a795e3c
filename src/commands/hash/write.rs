//! Fields written and deleted: HSET and its like, HDEL, the counters.

use super::{limits, push_fields};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::hash::Hash;
use crate::util::ext80::Ext80;
use crate::util::num;

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("hset", -4, hset)
        .since("2.0.0")
        .group(Group::Hash)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key data={field value}...")
        .summary("Set fields of a hash; return how many are new.")
        .complexity("O(N) where N is the number of fields to set.")
        .history(&[("4.0.0", "Takes several fields.")])
        .checked(),
    Command::new("hmset", -4, hmset)
        .since("2.0.0")
        .group(Group::Hash)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key data={field value}...")
        .summary("Set fields of a hash.")
        .complexity("O(N) where N is the number of fields to set.")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
        .checked(),
    Command::new("hsetnx", 4, hsetnx)
        .since("2.0.0")
        .group(Group::Hash)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key field value")
        .summary("Set a field of a hash, unless it is there.")
        .complexity("O(1)")
        .checked(),
    Command::new("hdel", -3, hdel)
        .since("2.0.0")
        .group(Group::Hash)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key field...")
        .summary("Delete fields of a hash, and the hash with the last; return how many there were.")
        .complexity("O(N) where N is the number of fields to delete.")
        .history(&[("2.4.0", "Takes several fields.")])
        .checked(),
    Command::new("hincrby", 4, hincrby)
        .since("2.0.0")
        .group(Group::Hash)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key field increment:int")
        .summary("Add to the number in a field, 0 where there is none.")
        .complexity("O(1)")
        .checked(),
    Command::new("hincrbyfloat", 4, hincrbyfloat)
        .since("2.6.0")
        .group(Group::Hash)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key field increment:double")
        .summary("Add to the number with a fraction in a field, 0 where there is none.")
        .complexity("O(1)")
        .checked(),
];

fn hset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let created = set_all(cx, args)?;
    cx.count(created)
}

fn hmset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    set_all(cx, args)?;
    cx.ok()
}

/// Sets the fields given as pairs; returns how many are new.
fn set_all(cx: &mut Ctx<'_>, args: Args<'_>) -> Result<usize, CmdError> {
    let words = args.from(2);
    let (pairs, []) = words.as_chunks::<2>() else {
        return Err(CmdError::arity(&cx.row.name));
    };
    let limits = limits(cx);
    let mut edit = cx.ks.edit_or_create(args.at(1), Hash::new)?;
    let hash = edit.get_mut();
    hash.prepare(words.iter().copied(), limits);
    let mut created = 0;
    for [field, value] in pairs {
        created += usize::from(hash.set(field, value, limits));
    }
    edit.changed(pairs.len() as u64, Event::hash("hset"));
    Ok(created)
}

fn hsetnx(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, field, value) = (args.at(1), args.at(2), args.at(3));
    if let Some(hash) = cx.ks.look::<Hash>(key)?
        && hash.get(field, cx.ks.horizon()).is_some()
    {
        return cx.int(0);
    }
    let limits = limits(cx);
    let mut edit = cx.ks.edit_or_create(key, Hash::new)?;
    edit.get_mut().prepare([field, value].into_iter(), limits);
    edit.get_mut().set(field, value, limits);
    edit.changed(1, Event::hash("hset"));
    cx.int(1)
}

fn hdel(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(mut edit) = cx.ks.edit::<Hash>(args.at(1))? else {
        return cx.int(0);
    };
    let hash = edit.get_mut();
    let fields = args.from(2).iter();
    let deleted = fields.filter(|field| hash.remove(field)).count();
    match deleted {
        0 => edit.unchanged(),
        _ => edit.changed(deleted as u64, Event::hash("hdel")),
    }
    cx.count(deleted)
}

fn hincrby(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, field, by) = (args.at(1), args.at(2), args.int(3)?);
    let old = cx
        .ks
        .look::<Hash>(key)?
        .and_then(|h| h.get(field, cx.ks.horizon()));
    let old = match old {
        Some(value) => num::parse_i64(value.bytes(&mut itoa::Buffer::new()))
            .ok_or(CmdError::fixed("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = old.checked_add(by).ok_or(CmdError::OVERFLOW)?;
    let mut text = itoa::Buffer::new();
    update(
        cx,
        key,
        field,
        text.format(sum).as_bytes(),
        Event::hash("hincrby"),
    )?;
    cx.int(sum)
}

fn hincrbyfloat(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, field) = (args.at(1), args.at(2));
    let by = Ext80::parse(args.at(3)).ok_or(CmdError::NOT_FLOAT)?;
    if !by.is_finite() {
        return Err(CmdError::fixed("ERR value is NaN or Infinity"));
    }
    let old = cx
        .ks
        .look::<Hash>(key)?
        .and_then(|h| h.entry(field, cx.ks.horizon()));
    let (old, expires) = match old {
        Some(entry) => {
            let old = Ext80::parse(entry.value.bytes(&mut itoa::Buffer::new()));
            let old = old.ok_or(CmdError::fixed("ERR hash value is not a float"))?;
            (old, entry.deadline.is_some())
        }
        None => (Ext80::ZERO, false),
    };
    let sum = old + by;
    if !sum.is_finite() {
        return Err(CmdError::fixed(
            "ERR increment would produce NaN or Infinity",
        ));
    }
    let mut text = Vec::new();
    sum.write_human(&mut text);
    update(cx, key, field, &text, Event::hash("hincrbyfloat"))?;
    if expires {
        push_fields(cx.fx, &[b"HSETEX", key, b"KEEPTTL"], 1, &[field, &text]);
    } else {
        cx.fx.push(&[b"HSET", key, field, &text]);
    }
    cx.bulk(&text)
}

/// Sets one field, which keeps its time to live.
fn update(
    cx: &mut Ctx<'_>,
    key: &[u8],
    field: &[u8],
    value: &[u8],
    event: Event,
) -> Result<(), CmdError> {
    let limits = limits(cx);
    let mut edit = cx.ks.edit_or_create(key, Hash::new)?;
    edit.get_mut().update(field, value, limits);
    edit.changed(1, event);
    Ok(())
}
