//! MEMORY.

use crate::exec::{
    Args, CmdError, CmdResult, Command, Ctx, Flow, startup_memory, used_memory, weight,
};
use crate::keyspace::Record;
use crate::resp::ReplyBuf;
use crate::service::info::human;
use crate::spec::{Group, KeySpec, flag};

const SPECIAL: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];

/// The rows of this family.
pub(crate) const COMMANDS: &[Command] = &[Command::container("memory", -2)
    .since("4.0.0")
    .group(Group::Server)
    .summary("Commands about memory.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        sub("doctor", 2, doctor)
            .summary("Return a report on memory, for people.")
            .complexity("O(1)")
            .tips(SPECIAL)
            .checked(),
        sub("malloc-stats", 2, malloc_stats)
            .summary("Return what the allocator tells of itself: nothing.")
            .complexity("O(1)")
            .limits("The allocator tells nothing of the kind.")
            .tips(SPECIAL)
            .checked(),
        sub("purge", 2, purge)
            .summary("Drop what was deleted and still waits for that.")
            .complexity("O(N) in what waits.")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .checked(),
        sub("stats", 2, stats)
            .summary("Return where memory is used.")
            .complexity("O(1)")
            .tips(SPECIAL)
            .checked(),
        sub("usage", -3, usage)
            .read()
            .keys(&[KeySpec::at(2).ro()])
            .syntax("key:key [SAMPLES^count:int]")
            .summary("Return the memory that a key and its value use.")
            .complexity("O(1)")
            .checked(),
        sub("help", 2, help)
            .flags(&[flag::LOADING, flag::STALE])
            .summary("Show the subcommands.")
            .complexity("O(1)")
            .checked(),
    ])
    .checked()];

const fn sub(name: &'static str, arity: i16, run: crate::exec::Handler) -> Command {
    Command::new(name, arity, run)
        .since("4.0.0")
        .group(Group::Server)
}

/// Sizes are kept beside the values, so that nothing is sampled.
fn usage(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut options = args.cursor(3);
    while options.left() > 0 {
        if !options.token("samples") {
            return Err(CmdError::SYNTAX);
        }
        if options.int()? < 0 {
            return Err(CmdError::SYNTAX);
        }
    }
    match cx.ks.peek(args.at(2)).map(Record::memory) {
        Some(bytes) => cx.count(bytes),
        None => cx.null(),
    }
}

fn doctor(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let used = cx.ks.memory() as u64;
    let resident = cx.sys.host.0.facts().resident;
    let mut text = format!("The data set uses {}.\n", human(used));
    if resident > 0 {
        text.push_str(&format!("The process has {} in memory.\n", human(resident)));
    }
    if used > 64 << 20 && resident > used * 2 {
        text.push_str(
            "That is more than twice as much: the allocator keeps what was freed after a peak.\n",
        );
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn stats(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let Ctx {
        ks, sys, sessions, ..
    } = cx;
    let used = used_memory(ks, sessions, sys);
    sys.stats.memory_seen(used as u64);
    let peak = usize::try_from(sys.stats.peak_memory).unwrap_or(usize::MAX);
    let dataset = ks.memory();
    let of_replicas = sys.repl.memory_of_replicas();
    let dbs = (0..ks.databases()).filter_map(|i| Some((i, ks.db(i)?)));
    let dbs: Vec<_> = dbs.filter(|(_, db)| !db.is_empty()).collect();
    let keys: usize = dbs.iter().map(|(_, db)| db.len()).sum();
    let resident = usize::try_from(sys.host.0.facts().resident).unwrap_or(usize::MAX);
    let percent = |part: usize, whole: usize| part as f64 * 100.0 / whole.max(1) as f64;
    let parts = [
        ("peak.allocated", peak),
        ("total.allocated", used),
        ("startup.allocated", startup_memory(sys)),
        ("replication.backlog", sys.repl.memory() - of_replicas),
        ("clients.slaves", of_replicas),
        ("clients.normal", weight::estimate(sys, sessions)),
        ("cluster.links", 0),
        ("aof.buffer", sys.persist.log_memory()),
        ("lua.caches", sys.scripts.memory() + sys.scripts.interpreter),
        (
            "functions.caches",
            sys.libraries.memory() + sys.libraries.interpreter,
        ),
    ];
    let sums = [
        ("overhead.total", used - dataset),
        ("keys.count", keys),
        ("keys.bytes-per-key", dataset / keys.max(1)),
        ("dataset.bytes", dataset),
    ];
    let reply = &mut *cx.reply;
    reply.map(parts.len() + dbs.len() + sums.len() + 4);
    let number = |reply: &mut ReplyBuf, name: &str, value: usize| {
        reply.bulk(name.as_bytes());
        reply.int(i64::try_from(value).unwrap_or(i64::MAX));
    };
    for (name, value) in parts {
        number(reply, name, value);
    }
    for (index, db) in dbs {
        reply.bulk(format!("db.{index}").as_bytes());
        reply.map(3);
        number(reply, "overhead.hashtable.main", db.table_memory());
        number(reply, "overhead.hashtable.expires", db.index_memory());
        number(reply, "overhead.hashtable.slot-to-keys", 0);
    }
    for (name, value) in sums {
        number(reply, name, value);
    }
    reply.bulk(b"dataset.percentage");
    reply.double(percent(dataset, used - startup_memory(sys)));
    reply.bulk(b"peak.percentage");
    reply.double(percent(used, peak));
    reply.bulk(b"fragmentation");
    reply.double(resident as f64 / used.max(1) as f64);
    number(reply, "fragmentation.bytes", resident.saturating_sub(used));
    Ok(Flow::Done)
}

/// Drops what was deleted and still waits for that. Pages that are free the allocator gives back by itself.
fn purge(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.ks.garbage.clear();
    cx.ok()
}

/// As Redis says it where it does not know the insides of its allocator either.
fn malloc_stats(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.bulk(b"Stats not supported for the current allocator")
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "DOCTOR",
        "    Show a report on memory, for people.",
        "MALLOC-STATS",
        "    Say that the allocator is not asked for statistics.",
        "PURGE",
        "    Drop at once what was deleted and still waits for that.",
        "STATS",
        "    Show where memory is used.",
        "USAGE <key> [SAMPLES <count>]",
        "    Show the bytes that a key and its value use. Nothing needs to be sampled.",
    ])
}
