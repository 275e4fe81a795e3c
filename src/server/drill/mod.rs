//! `redkeep drill`: breaks a leader while clients work, and tells what became of what it had acknowledged.

mod args;

use std::process::ExitCode;

pub(super) use args::Args;

/// Runs a drill; the status says whether something acknowledged was lost.
pub(super) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(2)
}
