//! Waiting for what a connection has written to be somewhere else: WAIT, WAITAOF.

use crate::exec::block::{Block, TimeoutReply, Wake};
use crate::exec::persist::log;
use crate::exec::replication::{feed, leader};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin};
use crate::spec::{Group, category, flag};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("wait", 3, wait)
        .since("3.0.0")
        .group(Group::Generic)
        .flags(&[flag::BLOCKING])
        .acl_only(&[category::CONNECTION])
        .syntax("numreplicas:int timeout:int")
        .summary("Wait until so many replicas have the connection's writes; return how many have.")
        .complexity("O(1)")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .checked(),
    Command::new("waitaof", 4, wait_for_disk)
        .since("7.2.0")
        .group(Group::Generic)
        .flags(&[flag::BLOCKING])
        .acl_only(&[category::CONNECTION])
        .syntax("numlocal:int numreplicas:int timeout:int")
        .summary(
            "Wait until the connection's writes are on the disk, here and on so many replicas.",
        )
        .complexity("O(1)")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .checked(),
];

fn wait(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if cx.sys.repl.is_replica() {
        return Err(CmdError::fixed(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not \
             propagated.",
        ));
    }
    let wanted = args.int(1)?;
    let deadline = deadline(cx, args, 2)?;
    let there = acknowledged(cx, false);
    if there >= wanted || !may_block(cx) {
        return cx.int(there);
    }
    log::await_replicas(cx.sys, cx.sid);
    ask(cx);
    Ok(block(args, deadline, TimeoutReply::Acknowledged))
}

fn wait_for_disk(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let here = args.int(1)?;
    if !(0..=1).contains(&here) {
        return Err(CmdError::fixed(
            "ERR value is out of range, value must between 0 and 1",
        ));
    }
    let wanted = args.int(2)?;
    if wanted < 0 {
        return Err(CmdError::NOT_POSITIVE);
    }
    let deadline = deadline(cx, args, 3)?;
    if cx.sys.repl.is_replica() {
        return Err(CmdError::fixed(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local \
             and are not propagated.",
        ));
    }
    if here > 0 && !cx.sys.cfg.appendonly {
        return Err(CmdError::fixed(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    let there = acknowledged(cx, true);
    let session = cx.sessions.get(cx.sid);
    let synced = session.is_some_and(|session| log::is_synced(cx.sys, session));
    if (synced || here == 0) && there >= wanted || !may_block(cx) {
        cx.reply.array(2);
        cx.reply.int(i64::from(synced));
        cx.reply.int(there);
        return Ok(Flow::Done);
    }
    let position = session.map_or(0, |session| session.wrote_at);
    if here > 0 && !synced {
        log::await_disk(cx.sys, cx.sid, position);
    } else {
        log::await_replicas(cx.sys, cx.sid);
    }
    if wanted > 0 {
        ask(cx);
    }
    Ok(block(args, deadline, TimeoutReply::Durable))
}

/// When the wait ends, as the argument `at` has it; never for 0.
fn deadline(cx: &Ctx<'_>, args: Args<'_>, at: usize) -> Result<Option<i64>, CmdError> {
    let timeout = args.int(at).map_err(|_| CmdError::TIMEOUT_NOT_INTEGER)?;
    if timeout < 0 {
        return Err(CmdError::TIMEOUT_NEGATIVE);
    }
    let deadline = timeout.checked_add(cx.now).ok_or(CmdError::TIMEOUT_RANGE)?;
    Ok((timeout > 0).then_some(deadline))
}

/// How many replicas have what the client wrote last, on the disk if `durable`.
fn acknowledged(cx: &Ctx<'_>, durable: bool) -> i64 {
    let offset = cx
        .sessions
        .get(cx.sid)
        .map_or(0, |session| session.wrote_offset);
    let count = leader::count(cx.sys, cx.sessions, offset, durable);
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Transactions and scripts do not wait.
const fn may_block(cx: &Ctx<'_>) -> bool {
    matches!(cx.origin, Origin::Client | Origin::Woken | Origin::Resumed)
}

/// Has the replicas say how far they are, once when the wait begins.
fn ask(cx: &mut Ctx<'_>) {
    if cx.origin != Origin::Woken {
        feed::ask(cx.sys);
    }
}

fn block(args: Args<'_>, deadline: Option<i64>, timeout_reply: TimeoutReply) -> Flow {
    Flow::Block(Box::new(Block {
        keys: Vec::new(),
        deadline,
        argv: args.to_argv(),
        wake: Wake::Type(""),
        retry_at: None,
        timeout_reply,
    }))
}
