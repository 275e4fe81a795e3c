//! MEMORY.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Record;
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
    let dataset = cx.ks.memory();
    let scripts = cx.sys.scripts.memory();
    let functions = cx.sys.libraries.memory();
    let total = dataset + scripts + functions;
    cx.sys.stats.memory_seen(total as u64);
    let peak = usize::try_from(cx.sys.stats.peak_memory).unwrap_or(usize::MAX);
    let keys: usize = (0..cx.ks.databases())
        .filter_map(|i| cx.ks.db(i))
        .map(|db| db.len())
        .sum();
    let fields = [
        ("peak.allocated", peak),
        ("total.allocated", total),
        ("startup.allocated", 0),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("lua.caches", scripts),
        ("functions.caches", functions),
        ("overhead.total", scripts + functions),
        ("keys.count", keys),
        ("keys.bytes-per-key", dataset / keys.max(1)),
        ("dataset.bytes", dataset),
    ];
    cx.reply.map(fields.len() + 1);
    for (name, value) in fields {
        cx.reply.bulk(name.as_bytes());
        cx.reply.int(i64::try_from(value).unwrap_or(i64::MAX));
    }
    cx.reply.bulk(b"dataset.percentage");
    cx.reply
        .double(dataset as f64 * 100.0 / total.max(1) as f64);
    Ok(Flow::Done)
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "DOCTOR",
        "    Show a report on memory, for people.",
        "STATS",
        "    Show where memory is used.",
        "USAGE <key> [SAMPLES <count>]",
        "    Show the bytes that a key and its value use. Nothing needs to be sampled.",
    ])
}
