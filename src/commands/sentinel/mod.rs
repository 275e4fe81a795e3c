//! SENTINEL: what a sentinel is asked and told. Only an instance that is one has these commands.
//!
//! ```text
//! show     masters, replicas, other sentinels; INFO, ROLE
//! ask      where a master is, whether it is down, who would agree
//! change   which masters there are; failovers, scripts, failures
//! set      SENTINEL SET
//! config   SENTINEL CONFIG, SENTINEL DEBUG
//! ```

mod ask;
mod change;
mod config;
mod set;
mod show;

pub(super) use show::{report, role};

use crate::exec::error::shown;
use crate::exec::{self, Args, CmdError, CmdResult, Command, Ctx, Handler, System};
use crate::sentinel::{CHANNEL, Id, Sentinel};
use crate::spec::{Group, flag};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[Command::container("sentinel", -2)
    .since("2.8.4")
    .group(Group::Sentinel)
    .flags(&[flag::ADMIN, flag::SENTINEL, flag::ONLY_SENTINEL])
    .summary("Ask a sentinel, and tell it what to do.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        ask::CKQUORUM,
        config::CONFIG,
        config::DEBUG,
        change::FAILOVER,
        change::FLUSHCONFIG,
        ask::GET_MASTER_ADDR_BY_NAME,
        ask::GET_PRIMARY_ADDR_BY_NAME,
        HELP,
        show::INFO_CACHE,
        ask::IS_MASTER_DOWN_BY_ADDR,
        ask::IS_PRIMARY_DOWN_BY_ADDR,
        show::MASTER,
        show::MASTERS,
        change::MONITOR,
        ask::MYID,
        show::PENDING_SCRIPTS,
        show::PRIMARIES,
        show::PRIMARY,
        change::REMOVE,
        show::REPLICAS,
        change::RESET,
        show::SENTINELS,
        set::SET,
        change::SIMULATE_FAILURE,
        show::SLAVES,
    ])
    .checked()];

/// What all subcommands have in common.
const fn sub(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .group(Group::Sentinel)
        .flags(&[flag::ADMIN, flag::SENTINEL, flag::ONLY_SENTINEL])
}

const NO_SENTINEL: CmdError = CmdError::fixed("ERR This instance is not a sentinel");

/// The sentinel, as of the time of the command.
fn sentinel(sys: &mut System) -> Result<&mut Sentinel, CmdError> {
    let now = sys.now_us / 1000;
    let sentinel = sys.sentinel.as_deref_mut().ok_or(NO_SENTINEL)?;
    sentinel.set_now(now);
    Ok(sentinel)
}

/// The master with this name.
fn find(sentinel: &Sentinel, name: &[u8]) -> Option<Id> {
    let name = std::str::from_utf8(name).ok()?;
    sentinel.find(name).map(|master| master.id)
}

/// The same, which must be there.
fn master(sentinel: &Sentinel, name: &[u8]) -> Result<Id, CmdError> {
    find(sentinel, name).ok_or(CmdError::fixed("ERR No such master with that name"))
}

/// Answers once the configuration is written.
fn saved(cx: &mut Ctx<'_>) -> CmdResult {
    let written = exec::save_config(cx.sys, false);
    let sentinel = sentinel(cx.sys)?;
    sentinel.take_changed();
    if let Err(e) = written {
        tracing::warn!(
            "WARNING: Sentinel was not able to save the new configuration on disk!!!: {e}"
        );
        sentinel.write_later();
        let text = "ERR Failed to save config file. Check server logs.";
        return Err(CmdError::fixed(text));
    }
    cx.ok()
}

/// What an error says of an argument.
fn told(arg: &[u8]) -> String {
    shown(arg, usize::MAX).into_owned()
}

/// PUBLISH to a sentinel: other sentinels say hello that way.
pub(super) fn publish(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.at(1) != CHANNEL.as_bytes() {
        let text = "ERR Only HELLO messages are accepted by Sentinel instances.";
        return Err(CmdError::fixed(text));
    }
    sentinel(cx.sys)?.hear_hello(args.at(2));
    cx.int(1)
}

const HELP: Command = Command::help("6.2.0", Group::Sentinel, help)
    .flags(&[flag::SENTINEL, flag::ONLY_SENTINEL])
    .checked();

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "CKQUORUM <master-name>",
        "    Tell whether enough sentinels are there to find that a master is down,",
        "    and to agree on who fails it over.",
        "CONFIG SET <param> <value> [<param> <value> ...]",
        "    Change what concerns the sentinel as a whole.",
        "CONFIG GET <param> [<param> ...]",
        "    Show what concerns the sentinel as a whole.",
        "DEBUG [<param> <value> ...]",
        "    Show the periods that the sentinel goes by, in milliseconds, or change",
        "    some of them.",
        "FAILOVER <master-name>",
        "    Fail a master over though it is up, without asking the other sentinels.",
        "FLUSHCONFIG",
        "    Write the configuration, with all that is known, into its file.",
        "GET-MASTER-ADDR-BY-NAME <master-name>",
        "    Tell address and port of a master.",
        "GET-PRIMARY-ADDR-BY-NAME <master-name>",
        "    The same.",
        "INFO-CACHE <master-name> [<master-name> ...]",
        "    Show what masters and their replicas last answered to INFO.",
        "IS-MASTER-DOWN-BY-ADDR <ip> <port> <current-epoch> <runid>",
        "    Tell whether a master is down as far as this sentinel can tell, and whom",
        "    it votes for.",
        "IS-PRIMARY-DOWN-BY-ADDR <ip> <port> <current-epoch> <runid>",
        "    The same.",
        "MASTER <master-name>",
        "    Show what is known of a master.",
        "MASTERS",
        "    Show what is known of all masters.",
        "MONITOR <name> <ip> <port> <quorum>",
        "    Watch a master from now on.",
        "MYID",
        "    Tell how other sentinels know this one.",
        "PENDING-SCRIPTS",
        "    Show the scripts that run or wait.",
        "PRIMARIES",
        "    As MASTERS.",
        "PRIMARY <master-name>",
        "    As MASTER.",
        "REMOVE <master-name>",
        "    Watch a master no more.",
        "REPLICAS <master-name>",
        "    Show what is known of the replicas of a master.",
        "RESET <pattern>",
        "    Forget the replicas and the other sentinels of masters whose names match.",
        "SENTINELS <master-name>",
        "    Show what is known of the other sentinels that watch a master.",
        "SET <master-name> <option> <value> [<option> <value> ...]",
        "    Change what is set for a master.",
        "SIMULATE-FAILURE [CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]",
        "    Crash in the middle of the next failover.",
    ])
}
