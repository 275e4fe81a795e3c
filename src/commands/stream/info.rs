//! XINFO.

use super::{lossy, no_group_of_key, put_entry, put_id, wire};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::resp::ReplyBuf;
use crate::spec::{Group as Family, KeySpec};
use crate::types::stream::{Consumer, ConsumerNo, Entry, Group, Log, Stream, StreamId};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[Command::container("xinfo", -2)
    .since("5.0.0")
    .group(Family::Stream)
    .summary("What is known of streams, groups and consumers.")
    .complexity("As the subcommand.")
    .subs(&[
        Command::new("consumers", 4, consumers)
            .since("5.0.0")
            .group(Family::Stream)
            .read()
            .keys(&[KeySpec::at(2).ro().access()])
            .syntax("key:key group")
            .summary("The consumers of a group.")
            .complexity("O(N) for N consumers")
            .history(&[("7.2.0", "Added `inactive`; `idle` counts any attempt.")])
            .tips(&["nondeterministic_output"])
            .checked(),
        Command::new("groups", 3, groups)
            .since("5.0.0")
            .group(Family::Stream)
            .read()
            .keys(&[KeySpec::at(2).ro().access()])
            .syntax("key:key")
            .summary("The consumer groups of a stream.")
            .complexity("O(N) for N groups")
            .history(&[("7.0.0", "Added `entries-read` and `lag`.")])
            .checked(),
        Command::help("5.0.0", Family::Stream, help).checked(),
        Command::new("stream", -3, stream)
            .since("5.0.0")
            .group(Family::Stream)
            .read()
            .keys(&[KeySpec::at(2).ro().access()])
            .syntax("key:key [full-block={FULL [COUNT^count:int]}]")
            .summary("A stream; in full also its groups, consumers and what is pending.")
            .complexity("O(1); in full O(N) for N entries and pending entries shown")
            .history(&[
                ("6.0.0", "Added `FULL`."),
                (
                    "7.0.0",
                    "Added counters, the greatest deleted id and the first id recorded.",
                ),
                (
                    "7.2.0",
                    "Added `active-time`; `seen-time` counts any attempt.",
                ),
            ])
            .checked(),
    ])
    .checked()];

fn help(cx: &mut Ctx<'_>, _args: Args<'_>) -> CmdResult {
    cx.help(&[
        "CONSUMERS <key> <group>",
        "    The consumers of a group.",
        "GROUPS <key>",
        "    The groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]]",
        "    A stream; in full also its groups, consumers and what is pending.",
    ])
}

fn consumers(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, name) = (args.at(2), args.at(3));
    let stream = cx.ks.read::<Stream>(key)?.ok_or(CmdError::NO_SUCH_KEY)?;
    let group = stream
        .group(name)
        .ok_or_else(|| no_group_of_key(key, name))?;
    let reply = &mut *cx.reply;
    reply.array(group.consumer_count());
    for (_, consumer) in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        put_count(reply, "pending", consumer.pending());
        put_int(reply, "idle", cx.now.saturating_sub(consumer.seen()).max(0));
        let inactive = match consumer.active() {
            -1 => -1,
            at => cx.now.saturating_sub(at).max(0),
        };
        put_int(reply, "inactive", inactive);
    }
    Ok(Flow::Done)
}

fn groups(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let stream = cx
        .ks
        .read::<Stream>(args.at(2))?
        .ok_or(CmdError::NO_SUCH_KEY)?;
    let reply = &mut *cx.reply;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        put_count(reply, "consumers", group.consumer_count());
        put_count(reply, "pending", group.pending_len());
        put_position(reply, stream.log(), group);
    }
    Ok(Flow::Done)
}

/// Where a group stands: its last id, its counter, its lag.
fn put_position(reply: &mut ReplyBuf, log: &Log, group: &Group) {
    reply.bulk(b"last-delivered-id");
    put_id(reply, group.last_id());
    reply.bulk(b"entries-read");
    match group.entries_read() {
        // XGROUP may have set it to the greatest integer: it then goes on below zero, as in Redis.
        Some(n) => reply.int(n.cast_signed()),
        None => reply.null(),
    }
    reply.bulk(b"lag");
    match log.lag(group.last_id(), group.entries_read()) {
        Some(n) => reply.int(n),
        None => reply.null(),
    }
}

fn put_int(reply: &mut ReplyBuf, name: &str, n: i64) {
    reply.bulk(name.as_bytes());
    reply.int(n);
}

fn put_count(reply: &mut ReplyBuf, name: &str, n: usize) {
    put_int(reply, name, i64::try_from(n).unwrap_or(i64::MAX));
}

/// How much XINFO STREAM is to show.
enum Detail {
    Short,
    /// In full; at most so many of everything.
    Full(usize),
}

impl Detail {
    fn parse(args: Args<'_>) -> Result<Self, CmdError> {
        let bad = || {
            let sub = lossy(args.at(1));
            let text = format!(
                "ERR unknown subcommand or wrong number of arguments for '{sub}'. Try XINFO HELP."
            );
            CmdError::new(text)
        };
        match args.from(3) {
            [] => Ok(Self::Short),
            [full] if is(full, "FULL") => Ok(Self::Full(10)),
            [full, word, _] if is(full, "FULL") && is(word, "COUNT") => match args.int(5)? {
                0 => Ok(Self::Full(usize::MAX)),
                n => Ok(Self::Full(usize::try_from(n).unwrap_or(10))),
            },
            _ => Err(bad()),
        }
    }
}

fn stream(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let stream = cx
        .ks
        .read::<Stream>(args.at(2))?
        .ok_or(CmdError::NO_SUCH_KEY)?;
    let detail = Detail::parse(args)?;
    let reply = &mut *cx.reply;
    // What later versions show of producers is there once a producer has been heard of: nobody else has to
    // reckon with a longer reply.
    let more = if stream.idmp().is_some() { 6 } else { 0 };
    reply.map(
        more + if matches!(detail, Detail::Short) {
            10
        } else {
            9
        },
    );
    put_log(reply, stream.log());
    put_idmp(reply, stream, cx.now);
    match detail {
        Detail::Short => put_short(reply, stream),
        Detail::Full(count) => put_full(reply, stream, count),
    }
    Ok(Flow::Done)
}

fn put_log(reply: &mut ReplyBuf, log: &Log) {
    put_int(reply, "length", wire(log.len()));
    put_count(reply, "radix-tree-keys", log.node_count());
    put_count(reply, "radix-tree-nodes", log.radix_nodes());
    reply.bulk(b"last-generated-id");
    put_id(reply, log.last_id());
    reply.bulk(b"max-deleted-entry-id");
    put_id(reply, log.max_deleted_id());
    // XSETID may have set it to the greatest integer: it then goes on below zero, as in Redis.
    put_int(reply, "entries-added", log.entries_added().cast_signed());
    reply.bulk(b"recorded-first-entry-id");
    put_id(reply, log.first_id());
}

fn put_idmp(reply: &mut ReplyBuf, stream: &Stream, now: i64) {
    let Some(idmp) = stream.idmp() else { return };
    let (config, (pids, iids), (added, duplicates)) =
        (idmp.config(), idmp.tracked(now), idmp.totals());
    put_int(reply, "idmp-duration", i64::from(config.duration));
    put_int(reply, "idmp-maxsize", i64::from(config.max_size));
    put_count(reply, "pids-tracked", pids);
    put_count(reply, "iids-tracked", iids);
    put_int(reply, "iids-added", wire(added));
    put_int(reply, "iids-duplicates", wire(duplicates));
}

fn put_short(reply: &mut ReplyBuf, stream: &Stream) {
    put_count(reply, "groups", stream.groups().len());
    let log = stream.log();
    let first = log.range(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", log.last_entry())] {
        reply.bulk(name.as_bytes());
        match entry {
            Some(Entry { id, fields }) => put_entry(reply, id, fields),
            None => reply.null(),
        }
    }
}

fn put_full(reply: &mut ReplyBuf, stream: &Stream, count: usize) {
    reply.bulk(b"entries");
    let (out, mut n) = (reply.deferred_array(), 0);
    for Entry { id, fields } in stream.log().range(StreamId::MIN, StreamId::MAX).take(count) {
        put_entry(reply, id, fields);
        n += 1;
    }
    out.finish(reply, n);
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        // Only where there are some: before 8.8 there was no such field.
        let nacked = group.nacked();
        reply.map(7 + usize::from(nacked > 0));
        reply.bulk(b"name");
        reply.bulk(name);
        put_position(reply, stream.log(), group);
        put_count(reply, "pel-count", group.pending_len());
        if nacked > 0 {
            put_count(reply, "nacked-count", nacked);
        }
        put_pending(reply, group, None, count);
        reply.bulk(b"consumers");
        reply.array(group.consumer_count());
        for (no, consumer) in group.consumers() {
            put_consumer(reply, group, no, consumer, count);
        }
    }
}

fn put_consumer(
    reply: &mut ReplyBuf,
    group: &Group,
    no: ConsumerNo,
    consumer: &Consumer,
    count: usize,
) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    put_int(reply, "seen-time", consumer.seen());
    put_int(reply, "active-time", consumer.active());
    put_count(reply, "pel-count", consumer.pending());
    put_pending(reply, group, Some(no), count);
}

/// Pending entries, of all consumers with their names or of one.
fn put_pending(reply: &mut ReplyBuf, group: &Group, of: Option<ConsumerNo>, count: usize) {
    reply.bulk(b"pending");
    let (out, mut n) = (reply.deferred_array(), 0);
    for (id, pending) in group
        .pending_range(StreamId::MIN, StreamId::MAX, of)
        .take(count)
    {
        reply.array(if of.is_some() { 3 } else { 4 });
        put_id(reply, id);
        if of.is_none() {
            let owner = pending.owner().and_then(|no| group.consumer(no));
            reply.bulk(owner.map_or(b"", |c| c.name()));
        }
        reply.int(pending.time());
        reply.int(wire(pending.count()));
        n += 1;
    }
    out.finish(reply, n);
}
