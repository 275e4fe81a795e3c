//! SLOWLOG.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::resp::ReplyBuf;
use crate::service::slowlog::SlowLog;
use crate::spec::{Group, flag};
use crate::util::num;

/// The rows of this family.
pub(crate) const COMMANDS: &[Command] = &[Command::container("slowlog", -2)
    .since("2.2.12")
    .group(Group::Server)
    .summary("Commands about the log of slow commands.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        sub("get", -2, get)
            .syntax("[count:int]")
            .summary("Return the latest slow commands.")
            .limits("Entries lack the number of arguments that Redis 8.10 tells.")
            .complexity("O(N) in the number of entries returned")
            .history(&[("4.0.0", "Entries tell address and name of the client.")])
            .tips(&["request_policy:all_nodes", "nondeterministic_output"])
            .checked(),
        sub("len", 2, len)
            .summary("Return the number of entries.")
            .complexity("O(1)")
            .tips(&[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ])
            .checked(),
        sub("reset", 2, reset)
            .summary("Delete all entries.")
            .complexity("O(N) in the number of entries")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .checked(),
        Command::help("6.2.0", Group::Server, help).checked(),
    ])
    .checked()];

const fn sub(name: &'static str, arity: i16, run: crate::exec::Handler) -> Command {
    Command::new(name, arity, run)
        .since("2.2.12")
        .group(Group::Server)
        .flags(&[flag::ADMIN, flag::LOADING, flag::STALE])
}

fn get(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() > 3 {
        return Err(CmdError::subcommand_arity("slowlog", args.at(1)));
    }
    let count = args.get(2).map_or(Ok(10), count_of)?;
    show(cx.reply, &cx.sys.slowlog, count)
}

/// How many entries are wanted; -1 for all.
pub(super) fn count_of(word: &[u8]) -> Result<i64, CmdError> {
    const COUNT: CmdError = CmdError::fixed("ERR count should be greater than or equal to -1");
    num::parse_i64(word).filter(|n| *n >= -1).ok_or(COUNT)
}

/// Writes the latest entries of a log.
pub(super) fn show(reply: &mut ReplyBuf, log: &SlowLog, count: i64) -> CmdResult {
    let all = log.entries().len();
    let count = usize::try_from(count).map_or(all, |count| count.min(all));
    reply.array(count);
    for entry in log.entries().take(count) {
        reply.array(6);
        reply.int(entry.id);
        reply.int(entry.time);
        reply.int(entry.usec);
        reply.array(entry.args.len());
        for arg in &entry.args {
            reply.bulk(arg);
        }
        reply.bulk(entry.peer.as_bytes());
        reply.bulk(&entry.client);
    }
    Ok(Flow::Done)
}

fn len(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let len = cx.sys.slowlog.entries().len();
    cx.count(len)
}

fn reset(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.sys.slowlog.reset();
    cx.ok()
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "GET [<count>]",
        "    Show the latest <count> entries (10 unless given, -1 for all), each as:",
        "    number, Unix seconds, microseconds taken, arguments, address and name of the client.",
        "LEN",
        "    Show how many entries there are.",
        "RESET",
        "    Delete all entries.",
    ])
}
