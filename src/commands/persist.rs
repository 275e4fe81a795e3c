//! Saving the data set: SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF.

use crate::exec::args::is;
use crate::exec::persist::log;
use crate::exec::persist::save::{self, NotSaved, Purpose};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin};
use crate::spec::{Group, category, flag};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("bgrewriteaof", 1, rewrite)
        .since("1.0.0")
        .group(Group::Server)
        .flags(&[flag::ADMIN, flag::NOSCRIPT, flag::NO_ASYNC_LOADING])
        .summary("Rewrite the append-only log in the background.")
        .complexity("O(1)")
        .checked(),
    Command::new("bgsave", -1, bgsave)
        .since("1.0.0")
        .group(Group::Server)
        .flags(&[flag::ADMIN, flag::NOSCRIPT, flag::NO_ASYNC_LOADING])
        .syntax("[operation=(SCHEDULE@3.2.2 | CANCEL@8.1.0)]")
        .summary("Save the data set in the background.")
        .complexity("O(1)")
        .history(&[
            ("3.2.2", "Takes SCHEDULE."),
            ("8.1.0", "Takes CANCEL (Valkey)."),
        ])
        .checked(),
    Command::new("lastsave", 1, lastsave)
        .since("1.0.0")
        .group(Group::Server)
        .flags(&[flag::LOADING, flag::STALE, flag::FAST])
        .acl(&[category::ADMIN, category::DANGEROUS])
        .summary("Return when the data set was last saved, in Unix seconds.")
        .complexity("O(1)")
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("save", 1, save)
        .since("1.0.0")
        .group(Group::Server)
        .flags(&[
            flag::ADMIN,
            flag::NOSCRIPT,
            flag::NO_ASYNC_LOADING,
            flag::NO_MULTI,
        ])
        .summary("Save the data set, and answer when it is done.")
        .complexity("O(N) where N is the total number of keys in all databases")
        .checked(),
];

const MEMORY_ONLY: CmdError = CmdError::fixed("ERR this server keeps its data in memory only");

/// A server that never saved says when it started, as Redis does.
fn lastsave(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.int(cx.sys.persist.saved_at / 1000)
}

fn save(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    match save::save_now(cx.ks, cx.sys) {
        Ok(()) => cx.ok(),
        Err(NotSaved::Busy) => Err(CmdError::fixed("ERR Background save already in progress")),
        Err(NotSaved::NoDisk) => Err(MEMORY_ONLY),
        // Redis says no more either; the log does.
        Err(NotSaved::Stopped | NotSaved::Disk(_)) => Err(CmdError::fixed("ERR")),
    }
}

fn bgsave(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match args.from(1) {
        [] => {}
        [word] if is(word, "SCHEDULE") => {}
        [word] if is(word, "CANCEL") => return cancel(cx),
        _ => return Err(CmdError::SYNTAX),
    }
    if cx.sys.host.0.disk().is_none() {
        return Err(MEMORY_ONLY);
    }
    let persist = &mut cx.sys.persist;
    let saves = |purpose| {
        persist
            .saving
            .as_ref()
            .is_some_and(|s| s.purpose == purpose)
    };
    let rewrites = saves(Purpose::Base);
    if persist.saving.is_some() && !rewrites {
        return Err(save::IN_PROGRESS);
    }
    if rewrites && args.len() == 1 && cx.origin != Origin::Exec {
        return Err(CmdError::fixed(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
             schedule a BGSAVE whenever possible.",
        ));
    }
    // A transaction is one moment; the save begins after it.
    if cx.origin == Origin::Exec || rewrites {
        persist.scheduled = true;
        cx.reply.simple("Background saving scheduled");
        return Ok(Flow::Done);
    }
    save::save_in_background(cx.ks, cx.sys)?;
    cx.reply.simple("Background saving started");
    Ok(Flow::Done)
}

fn cancel(cx: &mut Ctx<'_>) -> CmdResult {
    let persist = &mut cx.sys.persist;
    match &mut persist.saving {
        Some(saving) if saving.purpose == Purpose::Background => {
            saving.cancelled = true;
            cx.reply.simple("Background saving cancelled");
        }
        _ if std::mem::take(&mut persist.scheduled) => {
            cx.reply.simple("Scheduled background saving cancelled");
        }
        _ => {
            return Err(CmdError::fixed(
                "ERR Background saving is currently not in progress or scheduled",
            ));
        }
    }
    Ok(Flow::Done)
}

/// It begins with the end of the batch, or once nothing is in its way.
fn rewrite(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    if cx.sys.host.0.disk().is_none() {
        return Err(MEMORY_ONLY);
    }
    if cx.sys.persist.is_rewriting() {
        return Err(CmdError::fixed(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    let waits = cx.sys.persist.saving.is_some() || cx.origin == Origin::Exec;
    log::schedule_rewrite(cx.sys);
    cx.reply.simple(match waits {
        true => "Background append only file rewriting scheduled",
        false => "Background append only file rewriting started",
    });
    Ok(Flow::Done)
}
