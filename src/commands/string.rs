//! Strings, read and edited: GET, APPEND, SETRANGE, LCS and the like.

use super::lcs;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::keyspace::{AT_ONCE, Touch};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::string::{Str, slice_range};
use crate::util::digest;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("get", 2, get)
        .since("1.0.0")
        .group(Group::String)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("Return the string at a key.")
        .complexity("O(1)")
        .checked(),
    Command::new("mget", -2, mget)
        .since("1.0.0")
        .group(Group::String)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).range(-1, 1, 0).ro().access()])
        .syntax("key:key...")
        .summary("Return the strings at several keys, null for what is none.")
        .complexity("O(N) where N is the number of keys to retrieve.")
        .tips(&["request_policy:multi_shard"])
        .checked(),
    Command::new("strlen", 2, strlen)
        .since("2.2.0")
        .group(Group::String)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key")
        .summary("Return the length of a string.")
        .complexity("O(1)")
        .checked(),
    Command::new("getrange", 4, getrange)
        .since("2.4.0")
        .group(Group::String)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key start:int end:int")
        .summary("Return a part of a string.")
        .complexity("O(N) where N is the length of the returned string.")
        .checked(),
    Command::new("substr", 4, getrange)
        .since("1.0.0")
        .group(Group::String)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key start:int end:int")
        .summary("Return a part of a string.")
        .complexity("O(N) where N is the length of the returned string.")
        .deprecated("2.0.0", "`GETRANGE`")
        .checked(),
    Command::new("digest", 2, digest)
        .since("8.4.0")
        .group(Group::String)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("Return the XXH3 digest of a string in hexadecimal digits.")
        .complexity("O(N) where N is the length of the string.")
        .checked(),
    Command::new("append", 3, append)
        .since("2.0.0")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key value")
        .summary("Append to a string, created where there is none; return its length.")
        .complexity("O(1), amortised, for short values.")
        .checked(),
    Command::new("setrange", 4, setrange)
        .since("2.2.0")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key offset:int value")
        .summary("Overwrite a part of a string, grown with zero bytes where it is too short.")
        .complexity("O(1) for short values, otherwise O(M) where M is the length of the value.")
        .checked(),
    Command::new("getdel", 2, getdel)
        .since("6.2.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().delete()])
        .syntax("key:key")
        .summary("Return the string at a key and delete the key.")
        .complexity("O(1)")
        .checked(),
    lcs::ROW,
];

fn get(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match cx.ks.read::<Str>(args.at(1))? {
        Some(s) => cx.reply.bulk(s.text().bytes()),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

fn mget(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let keys = args.from(1);
    cx.reply.array(keys.len());
    for keys in keys.chunks(AT_ONCE) {
        cx.ks
            .glance(cx.ks.current(), keys.iter().map(|key| Touch::key(key)));
        for key in keys {
            match cx.ks.read::<Str>(key) {
                Ok(Some(s)) => cx.reply.bulk(s.text().bytes()),
                _ => cx.reply.null(),
            }
        }
    }
    Ok(Flow::Done)
}

fn strlen(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let len = cx.ks.read::<Str>(args.at(1))?.map_or(0, Str::len);
    cx.count(len)
}

fn getrange(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (start, end) = (args.int(2)?, args.int(3)?);
    match cx.ks.read::<Str>(args.at(1))? {
        Some(s) => {
            let mut text = s.text();
            let bytes = text.bytes();
            let part = slice_range(bytes.len(), start, end);
            cx.reply.bulk(bytes.get(part).unwrap_or_default());
        }
        None => cx.reply.bulk(b""),
    }
    Ok(Flow::Done)
}

fn digest(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match cx.ks.read::<Str>(args.at(1))? {
        Some(s) => {
            let hash = s.with(digest::xxh3_64);
            cx.reply.bulk(&digest::hex_u64(hash));
        }
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

fn append(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let more = args.at(2);
    let limit = cx.longest_string();
    let mut s = cx.ks.edit_or_create(args.at(1), || Str::from_bytes(more))?;
    let len = if s.created {
        more.len()
    } else {
        check_length(s.len().checked_add(more.len()), limit)?;
        s.get_mut().append(more)
    };
    s.changed(1, Event::string("append"));
    cx.count(len)
}

fn setrange(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, offset, bytes) = (args.at(1), args.int(2)?, args.at(3));
    let Ok(offset) = usize::try_from(offset) else {
        return Err(CmdError::fixed("ERR offset is out of range"));
    };
    let len = cx.ks.look::<Str>(key)?.map_or(0, Str::len);
    // Writing nothing changes nothing, wherever it is written.
    if bytes.is_empty() {
        return cx.count(len);
    }
    let end = offset.checked_add(bytes.len());
    check_length(end, cx.longest_string())?;
    let mut s = cx.ks.edit_or_create(key, || Str::from_text(b""))?;
    let len = s.get_mut().overwrite(offset, bytes);
    s.changed(1, Event::string("setrange"));
    cx.count(len)
}

/// A string may not become longer than a client could send it.
fn check_length(len: Option<usize>, limit: u64) -> Result<(), CmdError> {
    match len.map(u64::try_from) {
        Some(Ok(len)) if len <= limit => Ok(()),
        _ => Err(CmdError::STRING_TOO_LONG),
    }
}

fn getdel(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    match cx.ks.read::<Str>(key)? {
        Some(s) => cx.reply.bulk(s.text().bytes()),
        None => return cx.null(),
    }
    cx.ks.delete(key, Event::DEL);
    cx.fx.push(&[b"DEL", key]);
    Ok(Flow::Done)
}
