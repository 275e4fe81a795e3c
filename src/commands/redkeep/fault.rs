//! REDKEEP FAULT: errors, delays and breakdowns on purpose.

use super::{for_tests, test_sub};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};

/// The row of FAULT.
pub(super) const FAULT: Command = test_sub("fault", -3, fault)
    .syntax("word...")
    .summary("Have errors, delays and breakdowns happen on purpose, for tests.")
    .complexity("O(1)")
    .checked();

fn fault(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    for_tests(cx)?;
    match args.at(2) {
        word if is(word, "help") => cx.help(&[]),
        _ => Err(CmdError::SYNTAX),
    }
}
