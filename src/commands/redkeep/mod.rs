//! What Redis has not: REDKEEP. A family of subcommands is a file, which has their rows beside their handlers.
//!
//! Some are for tests only. They begin with [`for_tests`], which refuses them unless the configuration says
//! `enable-test-commands yes`, and to whoever is not on this machine even then.

mod clock;
mod fault;
mod terms;

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Handler};
use crate::spec::{Group, flag};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[Command::container("redkeep", -2)
    .since("7.2.0")
    .group(Group::Server)
    .summary("Commands of Redkeep that Redis has not.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        clock::CLOCK,
        fault::FAULT,
        terms::FENCE,
        terms::FOLLOW,
        Command::help("7.2.0", Group::Server, help).checked(),
    ])
    .checked()];

/// What all subcommands have in common, but for HELP.
const fn sub(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .since("7.2.0")
        .group(Group::Server)
        .flags(&[flag::ADMIN, flag::NOSCRIPT])
}

/// What all subcommands for tests have in common: they work at any time, if they do.
const fn test_sub(name: &'static str, arity: i16, run: Handler) -> Command {
    sub(name, arity, run).flags(&[flag::LOADING, flag::STALE, flag::PROTECTED])
}

/// Whether the client may use what is for tests only.
fn for_tests(cx: &Ctx<'_>) -> Result<(), CmdError> {
    let session = cx.sessions.get(cx.sid);
    match cx.sys.cfg.enable_test_commands && session.is_some_and(|session| session.peer.local) {
        true => Ok(()),
        false => Err(CmdError::fixed(
            "ERR REDKEEP commands for tests are not allowed. If the enable-test-commands option is set to \"yes\", you \
             can run them from a local connection, otherwise you need to set this option in the configuration file, and \
             then restart the server.",
        )),
    }
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "CLOCK [FREEZE | THAW | ADVANCE <milliseconds> | SET <unix-time-milliseconds>]",
        "    The time of the server, for tests. Try REDKEEP CLOCK HELP.",
        "FAULT <subcommand> [<arg> ...]",
        "    Errors, delays and breakdowns on purpose, for tests. Try REDKEEP FAULT HELP.",
        "FENCE <term>",
        "    Follow nobody and do not lead, until somebody says otherwise who speaks for this",
        "    term or a later one.",
        "FOLLOW <term> <host> <port> | NO ONE",
        "    Follow another server or lead, in a term, unless a later one is known.",
    ])
}
