//! REDKEEP FAULT: errors, delays and breakdowns on purpose.

use std::time::Duration;

use super::{for_tests, test_sub};
use crate::exec::args::is;
use crate::exec::{Action, Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::service::faults::{Fault, FaultError, FaultId};
use crate::util::num;

/// The row of FAULT.
pub(super) const FAULT: Command = test_sub("fault", -3, fault)
    .syntax("action=(add={ADD rule...} | LIST | DEL^id:int | CLEAR | FREEZE^milliseconds:int | CRASH | HELP)")
    .summary("Have errors, delays and breakdowns happen on purpose, for tests.")
    .complexity("O(N) where N is the number of faults.")
    .checked();

type Run = fn(&mut Ctx<'_>, Args<'_>) -> CmdResult;

/// Name, least and greatest number of arguments with all names, function.
const SUBS: &[(&str, usize, usize, Run)] = &[
    ("add", 4, 64, add),
    ("clear", 3, 3, clear),
    ("crash", 3, 3, crash),
    ("del", 4, 4, del),
    ("freeze", 4, 4, freeze),
    ("help", 3, 3, help),
    ("list", 3, 3, list),
];

fn fault(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    for_tests(cx)?;
    let found = SUBS.iter().find(|(name, least, most, _)| {
        is(args.at(2), name) && (*least..=*most).contains(&args.len())
    });
    match found {
        Some((.., run)) => run(cx, args),
        None => Err(CmdError::subcommand_arity("redkeep fault", args.at(2))),
    }
}

impl From<FaultError> for CmdError {
    fn from(e: FaultError) -> CmdError {
        // What a client has sent may not break the line.
        CmdError::new(format!("ERR {}", e.to_string().replace(['\r', '\n'], " ")))
    }
}

fn add(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let fault = Fault::parse(args.from(3))?;
    let id = cx.sys.faults.rules.add(fault, cx.sys.registry.own())?;
    cx.int(i64::try_from(id.0).unwrap_or(i64::MAX))
}

fn list(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let all = cx.sys.faults.rules.list();
    let int = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    cx.reply.array(all.len());
    for listed in all {
        cx.reply.map(4);
        cx.reply.bulk(b"id");
        cx.reply.int(int(listed.id.0));
        cx.reply.bulk(b"rule");
        cx.reply.bulk(listed.fault.to_string().as_bytes());
        cx.reply.bulk(b"met");
        cx.reply.int(int(listed.met));
        cx.reply.bulk(b"hits");
        cx.reply.int(int(listed.hits));
    }
    Ok(Flow::Done)
}

fn del(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let id = num::parse_u64(args.at(3)).ok_or(CmdError::NOT_INTEGER)?;
    let removed = cx.sys.faults.rules.remove(FaultId(id));
    cx.int(i64::from(removed))
}

fn clear(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.sys.faults.rules.clear();
    cx.ok()
}

/// The server stands still when this is answered, for so many milliseconds of real time.
fn freeze(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let ms = num::parse_u64(args.at(3)).ok_or(CmdError::NOT_INTEGER)?;
    let time = Duration::from_millis(ms);
    cx.sys.actions.push(Action::Freeze(time));
    cx.ok()
}

fn crash(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.sys.host.0.crash();
    Err(CmdError::fixed(
        "ERR REDKEEP FAULT CRASH is not supported: this server does not end the process that it runs in",
    ))
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "ADD <where> [<which> ...] <what> [<when> ...]",
        "    Have something go wrong; returns the number of the fault. <where> is one of",
        "    * COMMAND <name> | @<category> | *: calls of these, of which those",
        "      KEY <pattern>, ID <client-id>, NAME <pattern>, USER <name>, ADDR <pattern>",
        "      ERROR <text> | DELAY <ms> | DROP [BEFORE | AFTER] | HANG [BEFORE | AFTER].",
        "      LOADING, READONLY, OOM, MISCONF, MASTERDOWN and NOREPLICAS stand for a text.",
        "    * CONNECTION: new ones, of which those of ADDR <pattern>",
        "      REFUSE | ERROR <text> | HANG.",
        "    * DISK OPEN | READ | WRITE | FSYNC | RENAME | REMOVE | *: what is done to files,",
        "      of which those of PATH <pattern>",
        "      ERROR ENOSPC | EIO | EACCES | EROFS | SHORT <bytes> | DELAY <ms>.",
        "    <when> is any of SKIP <n> | TIMES <n> | CHANCE <probability> | SEED <n>.",
        "CLEAR",
        "    Have nothing go wrong any more.",
        "CRASH",
        "    End the process, without what was not synced.",
        "DEL <id>",
        "    Take a fault away.",
        "FREEZE <ms>",
        "    Answer nobody for so long.",
        "LIST",
        "    Show all faults: rule, how many it has met, how many it has hit.",
    ])
}
