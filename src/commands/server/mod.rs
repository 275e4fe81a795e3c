//! The server itself.

pub(super) mod commandlog;
pub(super) mod config;
pub(super) mod debug;
pub(super) mod info;
pub(super) mod latency;
mod lolwut;
pub(super) mod memory;
pub(super) mod slowlog;

use crate::exec::block::{Block, TimeoutReply, Wake};
use crate::exec::session::Session;
use crate::exec::shutdown::{self, Course};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, busy};
use crate::service::config::{Allow, ShutdownFlags};
use crate::spec::{Group, flag};

/// The rows of this family that have no file of their own.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("time", 1, time)
        .since("2.6.0")
        .group(Group::Server)
        .flags(&[flag::LOADING, flag::STALE, flag::FAST])
        .summary("Return the server's time: Unix seconds, and microseconds of the second.")
        .complexity("O(1)")
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("shutdown", -1, shut_down)
        .since("1.0.0")
        .group(Group::Server)
        .flags(&[
            flag::ADMIN,
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::NO_MULTI,
            flag::SENTINEL,
            flag::ALLOW_BUSY,
        ])
        .syntax(
            "[abort-selector=(save-selector-block={[save-selector=(NOSAVE | SAVE)] [NOW@7.0.0] [FORCE@7.0.0] [SAFE@9.0.0]} \
             | ABORT@7.0.0)]",
        )
        .summary("Stop the server.")
        .complexity("O(N) in the number of keys when it saves, otherwise O(1)")
        .history(&[("7.0.0", "Added NOW, FORCE and ABORT.")])
        .checked(),
    Command::new("lolwut", -1, lolwut::lolwut)
        .since("5.0.0")
        .group(Group::Server)
        .read()
        .flags(&[flag::FAST])
        .syntax("[VERSION^version:int]")
        .summary("Draw something, and tell the version.")
        .complexity("O(1)")
        .checked(),
];

fn time(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let now = cx.sys.now_us;
    cx.reply.array(2);
    cx.reply.bulk_int(now.div_euclid(1_000_000));
    cx.reply.bulk_int(now.rem_euclid(1_000_000));
    Ok(Flow::Done)
}

/// Answers nothing: the connection ends.
fn shut_down(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (mut flags, mut abort) = (ShutdownFlags::default(), false);
    for arg in args.from(1) {
        match arg.to_ascii_lowercase().as_slice() {
            b"nosave" => flags.nosave = true,
            b"save" => flags.save = true,
            b"now" => flags.now = true,
            b"force" => flags.force = true,
            // It keeps a node of a cluster from ending that holds slots.
            b"safe" => {}
            b"abort" => abort = true,
            _ => return Err(CmdError::SYNTAX),
        }
    }
    if (abort && args.len() > 2) || (flags.save && flags.nosave) {
        return Err(CmdError::SYNTAX);
    }
    if abort {
        shutdown::abort(cx.ks, cx.sys, cx.sessions)?;
        return cx.ok();
    }
    if let Some(running) = &cx.sys.running
        && !flags.nosave
    {
        return Err(busy::error(running));
    }
    let how = args.from(1).join(&b' ').to_ascii_lowercase();
    let how = String::from_utf8_lossy(&how);
    tracing::info!(client = cx.who(), %how, "SHUTDOWN is asked for");
    match shutdown::shut_down(cx.ks, cx.sys, cx.sessions, flags)? {
        Course::Ends => {}
        // The connection ends with the instance, or gets an error.
        Course::Waits => {
            return Ok(Flow::Block(Box::new(Block {
                keys: Vec::new(),
                deadline: None,
                argv: args.to_argv(),
                wake: Wake::Type(""),
                retry_at: None,
                timeout_reply: TimeoutReply::Never,
            })));
        }
    }
    if let Some(running) = &mut cx.sys.running {
        running.abort = true;
    }
    // What stands behind it does not run: nobody would know whether it was saved.
    if let Some(session) = cx.session() {
        session.closing = true;
    }
    Ok(Flow::Done)
}

/// Whether a client may use something that is open to all, to nobody, or to clients from this machine.
pub(super) fn allowed(to: Allow, session: Option<&Session>) -> bool {
    match to {
        Allow::Yes => true,
        Allow::No => false,
        Allow::Local => session.is_some_and(|session| session.peer.local),
    }
}
