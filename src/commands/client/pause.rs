//! CLIENT PAUSE and CLIENT UNPAUSE.

use crate::exec::args::is;
use crate::exec::pause::Scope;
use crate::exec::unit::{begin_pause, end_pause};
use crate::exec::{Args, CmdError, CmdResult, Ctx};
use crate::util::num;

pub(super) fn pause(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() > 4 {
        return Err(CmdError::subcommand_arity("client", args.at(1)));
    }
    let scope = match args.get(3) {
        None => Scope::All,
        Some(all) if is(all, "ALL") => Scope::All,
        Some(writes) if is(writes, "WRITE") => Scope::Writes,
        Some(_) => {
            let text = "ERR CLIENT PAUSE mode must be WRITE or ALL";
            return Err(CmdError::fixed(text));
        }
    };
    let until = deadline(args.at(2), cx.now)?;
    begin_pause(cx.ks, cx.sys, scope, until);
    cx.ok()
}

pub(super) fn unpause(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    end_pause(cx.ks, cx.sys);
    cx.ok()
}

/// When so many milliseconds will have passed; no time at all for 0.
fn deadline(ms: &[u8], now: i64) -> Result<i64, CmdError> {
    let text = "ERR timeout is not an integer or out of range";
    match num::parse_i64(ms).ok_or(CmdError::fixed(text))? {
        0 => Ok(0),
        ..0 => Err(CmdError::TIMEOUT_NEGATIVE),
        ms => now.checked_add(ms).ok_or(CmdError::TIMEOUT_RANGE),
    }
}
