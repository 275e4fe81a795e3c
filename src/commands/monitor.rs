//! MONITOR.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin};
use crate::spec::{Group, flag};

/// The row of this family.
pub(super) const COMMANDS: &[Command] = &[Command::new("monitor", 1, monitor)
    .since("1.0.0")
    .group(Group::Server)
    .flags(&[flag::ADMIN, flag::NOSCRIPT, flag::LOADING, flag::STALE])
    .summary("Show every command that the server runs, until the connection ends or is reset.")
    .complexity("O(1)")
    .checked()];

fn monitor(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    if cx.origin == Origin::Exec {
        let text = "ERR MONITOR isn't allowed for DENY BLOCKING client";
        return Err(CmdError::fixed(text));
    }
    // Said a second time, it is not answered.
    if cx.sys.monitors.insert(cx.sid) {
        cx.reply.ok();
    }
    if let Some(session) = cx.session() {
        session.monitors = true;
    }
    Ok(Flow::Done)
}
