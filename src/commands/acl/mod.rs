//! ACL: users, and what they may do.

mod change;
mod show;

use crate::exec::{Args, CmdResult, Command, Ctx, Handler};
use crate::spec::{Group, flag};

const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[Command::container("acl", -2)
    .since("6.0.0")
    .group(Group::Server)
    .flags(&[flag::SENTINEL])
    .summary("Commands about users and what they may do.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        asks("cat", -2, show::cat)
            .since("6.0.0")
            .syntax("[category]")
            .summary("List the categories, or the commands of one.")
            .complexity("O(1): there is a fixed number of both")
            .checked(),
        rules("deluser", -3, change::deluser)
            .since("6.0.0")
            .syntax("username...")
            .summary("Delete users, and end their connections.")
            .complexity("O(N) in the number of users")
            .tips(ALL_NODES)
            .checked(),
        rules("dryrun", -4, show::dryrun)
            .since("7.0.0")
            .syntax("username command [arg...]")
            .summary("Say whether a user may run a command, without running it.")
            .complexity("O(1)")
            .checked(),
        asks("genpass", -2, show::genpass)
            .since("6.0.0")
            .syntax("[bits:int]")
            .summary("Make a password that cannot be guessed.")
            .complexity("O(1)")
            .checked(),
        rules("getuser", 3, show::getuser)
            .since("6.0.0")
            .syntax("username")
            .summary("Show the rules of a user.")
            .complexity("O(N), N being the number of rules of the user")
            .history(&[
                ("6.2.0", "Shows patterns of channels."),
                (
                    "7.0.0",
                    "Shows selectors, and keys and channels as they are written in rules.",
                ),
            ])
            .checked(),
        Command::help("6.0.0", Group::Server, help)
            .flags(&[flag::SENTINEL])
            .checked(),
        rules("list", 2, show::list)
            .since("6.0.0")
            .summary("Show all users, as a file has them.")
            .complexity("O(N) in the number of users")
            .checked(),
        rules("load", 2, change::load)
            .since("6.0.0")
            .summary("Read the users from their file, all of them or none.")
            .complexity("O(N) in the number of users")
            .checked(),
        rules("log", -2, show::log)
            .since("6.0.0")
            .syntax("[operation=(count:int | RESET)]")
            .summary("Show what was refused of late, or forget that.")
            .complexity("O(N) in the number of entries shown")
            .history(&[("7.2.0", "Shows numbers and times of the entries.")])
            .checked(),
        rules("save", 2, change::save)
            .since("6.0.0")
            .summary("Write the users to their file.")
            .complexity("O(N) in the number of users")
            .tips(ALL_NODES)
            .checked(),
        rules("setuser", -3, change::setuser)
            .since("6.0.0")
            .syntax("username [rule...]")
            .summary("Make a user, or change what one may do.")
            .complexity("O(N) in the number of rules")
            .history(&[
                ("6.2.0", "Takes patterns of channels."),
                (
                    "7.0.0",
                    "Takes selectors, and patterns of keys for reading or writing alone.",
                ),
            ])
            .tips(ALL_NODES)
            .checked(),
        rules("users", 2, show::users)
            .since("6.0.0")
            .summary("List the names of all users.")
            .complexity("O(N) in the number of users")
            .checked(),
        asks("whoami", 2, show::whoami)
            .since("6.0.0")
            .summary("Tell the user of this connection.")
            .complexity("O(1)")
            .checked(),
    ])
    .checked()];

/// What everybody may ask.
const fn asks(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run).group(Group::Server).flags(&[
        flag::NOSCRIPT,
        flag::LOADING,
        flag::STALE,
        flag::SENTINEL,
    ])
}

/// What is for those who rule.
const fn rules(name: &'static str, arity: i16, run: Handler) -> Command {
    asks(name, arity, run).flags(&[flag::ADMIN])
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "CAT [<category>]",
        "    List the categories of commands, or the commands of one.",
        "DELUSER <username> [<username> ...]",
        "    Delete users.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Say whether the user may run the command, without running it.",
        "GETUSER <username>",
        "    Show the rules of a user.",
        "GENPASS [<bits>]",
        "    Make a password of 256 bits, or of as many as are asked for.",
        "LIST",
        "    Show all users, as a file has them.",
        "LOAD",
        "    Read the users from the ACL file.",
        "LOG [<count> | RESET]",
        "    Show what was refused of late, or forget that.",
        "SAVE",
        "    Write the users to the ACL file.",
        "SETUSER <username> <rule> [<rule> ...]",
        "    Make a user, or change what one may do.",
        "USERS",
        "    List the names of all users.",
        "WHOAMI",
        "    Tell the user of this connection.",
    ])
}
