//! COMMANDLOG: the slow log, and those of commands that were large to send or to answer.

use super::slowlog::{count_of, show};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Handler, System};
use crate::service::slowlog::SlowLog;
use crate::spec::{Group, flag};

const LIMITS: &str = "The latest are kept, not the largest: `MAGNITUDE` is refused. Nothing counts as large until \
    `commandlog-request-larger-than` and `commandlog-reply-larger-than` say from when on.";

/// Which log, and which of its entries are kept.
const TYPE: &str = "type=(slow='slow' | large-request='large-request' | large-reply='large-reply') \
    [store=(RECENCY@9.2.0)]";

/// The rows of this family.
pub(crate) const COMMANDS: &[Command] = &[Command::container("commandlog", -2)
    .since("8.1.0")
    .group(Group::Server)
    .summary("Commands about the logs of expensive commands.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        sub("get", -4, get)
            .syntax(
                "count:int type=(slow='slow' | large-request='large-request' | large-reply='large-reply') \
                 [store=(RECENCY@9.2.0)]",
            )
            .summary("Return the latest entries of a log.")
            .complexity("O(N) in the number of entries returned")
            .tips(&["request_policy:all_nodes", "nondeterministic_output"])
            .checked(),
        sub("len", -3, len)
            .syntax(TYPE)
            .summary("Return the number of entries of a log.")
            .complexity("O(1)")
            .tips(&[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ])
            .checked(),
        sub("reset", -3, reset)
            .syntax(TYPE)
            .summary("Delete all entries of a log.")
            .complexity("O(N) in the number of entries")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .checked(),
        Command::help("8.1.0", Group::Server, help).checked(),
    ])
    .checked()];

const fn sub(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .since("8.1.0")
        .group(Group::Server)
        .flags(&[flag::ADMIN, flag::LOADING, flag::STALE])
        .history(&[("9.2.0", "Takes RECENCY and MAGNITUDE.")])
        .limits(LIMITS)
}

/// One of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Slow,
    LargeRequest,
    LargeReply,
}

impl Which {
    /// Reads the type of a log, which stands at `at`, and behind it how it is kept.
    fn parse(args: Args<'_>, at: usize) -> Result<Self, CmdError> {
        let which = match args.at(at) {
            word if is(word, "slow") => Self::Slow,
            word if is(word, "large-request") => Self::LargeRequest,
            word if is(word, "large-reply") => Self::LargeReply,
            _ => {
                return Err(CmdError::fixed(
                    "ERR type should be one of the following: slow, large-request, large-reply",
                ));
            }
        };
        match args.from(at + 1) {
            [] => Ok(which),
            [word] if is(word, "RECENCY") => Ok(which),
            [_] => Err(CmdError::SYNTAX),
            _ => Err(CmdError::subcommand_arity("commandlog", args.at(1))),
        }
    }

    fn of(self, sys: &mut System) -> &mut SlowLog {
        match self {
            Self::Slow => &mut sys.slowlog,
            Self::LargeRequest => &mut sys.large_requests,
            Self::LargeReply => &mut sys.large_replies,
        }
    }
}

fn get(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let count = count_of(args.at(2))?;
    let which = Which::parse(args, 3)?;
    show(cx.reply, which.of(cx.sys), count)
}

fn len(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let len = Which::parse(args, 2)?.of(cx.sys).entries().len();
    cx.count(len)
}

fn reset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    Which::parse(args, 2)?.of(cx.sys).reset();
    cx.ok()
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "GET <count> <type>",
        "    Show the latest <count> entries of a log (-1 for all), each as: number, Unix seconds,",
        "    microseconds taken (slow) or bytes (large-request, large-reply), arguments, address and",
        "    name of the client.",
        "LEN <type>",
        "    Show how many entries there are.",
        "RESET <type>",
        "    Delete all entries.",
    ])
}
