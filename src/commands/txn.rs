//! Transactions.

use crate::exec::txn::Multi;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Interest;
use crate::spec::{Group, KeySpec, flag};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("discard", 1, discard)
        .since("2.0.0")
        .group(Group::Transactions)
        .flags(&[
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::FAST,
            flag::ALLOW_BUSY,
            flag::TXN,
        ])
        .summary("Drop the commands queued by MULTI and stop watching keys.")
        .complexity("O(N), where N is the number of queued commands")
        .checked(),
    Command::new("exec", 1, exec)
        .since("1.2.0")
        .group(Group::Transactions)
        .flags(&[
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::SKIP_SLOWLOG,
            flag::TXN,
            flag::ENDS_TXN,
        ])
        .may_replicate(crate::spec::Propagate::Never)
        .summary("Run the commands queued by MULTI as one unit.")
        .complexity("Depends on commands in the transaction")
        .checked(),
    Command::new("multi", 1, multi)
        .since("1.2.0")
        .group(Group::Transactions)
        .flags(&[
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::FAST,
            flag::ALLOW_BUSY,
            flag::TXN,
            flag::NO_MULTI,
        ])
        .summary("Begin a transaction: what follows is queued until EXEC.")
        .complexity("O(1)")
        .checked(),
    Command::new("unwatch", 1, unwatch)
        .since("2.2.0")
        .group(Group::Transactions)
        .flags(&[
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::FAST,
            flag::ALLOW_BUSY,
        ])
        .summary("Stop watching keys.")
        .complexity("O(1)")
        .checked(),
    Command::new("watch", -2, watch)
        .since("2.2.0")
        .group(Group::Transactions)
        .flags(&[
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::FAST,
            flag::ALLOW_BUSY,
            flag::NO_MULTI,
            flag::TXN,
        ])
        .keys(&[KeySpec::at(1).range(-1, 1, 0).ro()])
        .syntax("key:key...")
        .summary("Let the next transaction run only if these keys stay as they are.")
        .complexity("O(1) for every key.")
        .checked(),
];

fn multi(cx: &mut Ctx<'_>, _args: Args<'_>) -> CmdResult {
    let multi = Multi::new(&cx.sys.queued);
    let Some(session) = cx.session() else {
        return cx.ok();
    };
    if session.multi.is_some() {
        return Err(CmdError::fixed("ERR MULTI calls can not be nested"));
    }
    session.multi = Some(Box::new(multi));
    cx.ok()
}

fn exec(cx: &mut Ctx<'_>, _args: Args<'_>) -> CmdResult {
    let queue = cx.session().and_then(|s| s.multi.take());
    let Some(multi) = queue else {
        return Err(CmdError::fixed("ERR EXEC without MULTI"));
    };
    let intact = release(cx);
    if multi.failed {
        return Err(CmdError::fixed(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    if !intact {
        // Who hears that knows of a write.
        cx.sys.unconfirmed.note_read_of_all();
        cx.reply.null_array();
        return Ok(Flow::Done);
    }
    cx.reply.array(multi.queue.len());
    Ok(Flow::Exec(multi))
}

fn discard(cx: &mut Ctx<'_>, _args: Args<'_>) -> CmdResult {
    let queue = cx.session().and_then(|s| s.multi.take());
    if queue.is_none() {
        return Err(CmdError::fixed("ERR DISCARD without MULTI"));
    }
    release(cx);
    cx.ok()
}

fn watch(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if cx.session().is_some_and(|s| s.multi.is_some()) {
        return Err(CmdError::fixed("ERR WATCH inside MULTI is not allowed"));
    }
    // A transaction that cannot succeed any more needs no further keys.
    if cx.session().is_none_or(|s| s.watch.broken) {
        return cx.ok();
    }
    for key in args.from(1) {
        cx.sys.watchers.add(cx.sessions, cx.ks, cx.sid, key);
    }
    cx.ks.log.interest.set(Interest::WATCHED, true);
    cx.ok()
}

fn unwatch(cx: &mut Ctx<'_>, _args: Args<'_>) -> CmdResult {
    release(cx);
    cx.ok()
}

/// Stops watching; returns whether nothing watched has changed.
pub(super) fn release(cx: &mut Ctx<'_>) -> bool {
    let Some(session) = cx.sessions.get_mut(cx.sid) else {
        return true;
    };
    let intact = cx.sys.watchers.release(&mut session.watch, cx.ks, cx.sid);
    let watched = !cx.sys.watchers.is_empty();
    cx.ks.log.interest.set(Interest::WATCHED, watched);
    intact
}
