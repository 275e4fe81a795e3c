//! `redkeep dr`: looks after a standby in another region, Redkeep or Redis: how far it is behind, its promotion when the
//! region of the leader is lost or is to be left, and the way back.

mod args;
mod chain;
mod consent;
mod demote;
mod journal;
mod promote;
mod region;
mod sentinels;
mod server;
mod status;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

pub(super) use args::Args;
use args::Command;

/// Does what the command line says.
pub(super) fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Status(args) => status::run(args),
        Command::Promote(args) => promote::run(args),
        Command::Demote(args) => demote::run(args),
    }
}

/// Prints what a command has to say.
fn say(text: &str) {
    // Whoever does not want to hear more must not stop what is going on.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

/// Says what went wrong.
fn complain(text: &str) {
    // There is nowhere else to complain to.
    let _ = writeln!(io::stderr(), "{text}");
}
