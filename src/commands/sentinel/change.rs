//! What operators tell a sentinel to do.

use super::{master, saved, sentinel, sub};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::sentinel::Simulated;
use crate::util::num;

pub(super) const MONITOR: Command = sub("monitor", 6, monitor)
    .since("2.8.4")
    .syntax("name ip port:int quorum:int")
    .summary("Watch a master from now on.")
    .complexity("O(1)")
    .checked();

fn monitor(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let number = |i, why| num::parse_i64(args.at(i)).ok_or(CmdError::fixed(why));
    let quorum = number(5, "ERR Invalid quorum")?;
    let port = number(4, "ERR Invalid port")?;
    let text = |i| {
        let why = CmdError::fixed("ERR Names and hosts must be UTF-8");
        std::str::from_utf8(args.at(i)).map_err(|_| why)
    };
    let (name, host) = (text(2)?, text(3)?);
    let sentinel = sentinel(cx.sys)?;
    let id = sentinel
        .monitor(name, host, port, quorum)
        .map_err(|e| CmdError::new(format!("ERR {e}")))?;
    sentinel.announce(id);
    saved(cx)
}

pub(super) const REMOVE: Command = sub("remove", 3, remove)
    .since("2.8.4")
    .syntax("master-name")
    .summary("Watch a master no more.")
    .complexity("O(1)")
    .checked();

fn remove(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let id = master(sentinel, args.at(2))?;
    sentinel.remove(id);
    saved(cx)
}

pub(super) const RESET: Command = sub("reset", 3, reset)
    .since("2.8.4")
    .syntax("pattern:pattern")
    .summary("Forget the replicas and the other sentinels of masters whose names match.")
    .complexity("O(N), N being the number of masters")
    .checked();

fn reset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let count = sentinel(cx.sys)?.reset(args.at(2));
    cx.count(count)
}

pub(super) const FAILOVER: Command = sub("failover", 3, failover)
    .since("2.8.4")
    .syntax("master-name")
    .summary("Fail a master over though it is up, without asking the other sentinels.")
    .complexity("O(1)")
    .checked();

fn failover(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let id = master(sentinel, args.at(2))?;
    sentinel
        .force_failover(id)
        .map_err(|e| CmdError::new(e.to_string()))?;
    cx.ok()
}

pub(super) const FLUSHCONFIG: Command = sub("flushconfig", 2, flushconfig)
    .since("2.8.4")
    .summary("Write the configuration, with all that is known, into its file.")
    .complexity("O(1)")
    .checked();

fn flushconfig(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    saved(cx)
}

pub(super) const SIMULATE_FAILURE: Command = sub("simulate-failure", -3, simulate_failure)
    .since("3.2.0")
    .syntax("[mode=(CRASH-AFTER-ELECTION | CRASH-AFTER-PROMOTION | HELP)...]")
    .summary("Crash in the middle of the next failover.")
    .complexity("O(1)")
    .checked();

/// What was to be simulated before is not any more, also if what comes is wrong.
fn simulate_failure(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    sentinel.simulated = Simulated::default();
    for word in args.from(2) {
        let (set, when) = if is(word, "crash-after-election") {
            let when = "being successfully elected as failover leader";
            (&mut sentinel.simulated.after_election, when)
        } else if is(word, "crash-after-promotion") {
            let when = "promoting the selected replica to master";
            (&mut sentinel.simulated.after_promotion, when)
        } else if is(word, "help") {
            cx.reply.array(2);
            cx.reply.bulk(b"crash-after-election");
            cx.reply.bulk(b"crash-after-promotion");
            return Ok(Flow::Done);
        } else {
            let text = "ERR Unknown failure simulation specified";
            return Err(CmdError::fixed(text));
        };
        *set = true;
        tracing::warn!("Failure simulation: this Sentinel will crash after {when}");
    }
    cx.ok()
}
