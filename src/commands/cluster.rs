//! Cluster mode, which this server does not have: its commands are known, and refused as by any server without it.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::spec::{Group, Propagate, category, flag};

const LIMITS: &str = "An error, as by any server that is not in cluster mode.";
const ONLY_REDIRECTED: &str = "An error, as by any server that is not in cluster mode, but for clients that declared \
    `redirect` (CLIENT CAPA).";

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("asking", 1, disabled)
        .since("3.0.0")
        .group(Group::Cluster)
        .flags(&[flag::FAST])
        .acl(&[category::CONNECTION])
        .summary("Say that one was sent here for the next command.")
        .complexity("O(1)")
        .limits(LIMITS)
        .checked(),
    connection(
        "readonly",
        readonly,
        "Let this connection read here though this is a replica.",
    ),
    connection("readwrite", readwrite, "End what READONLY began."),
    Command::container("cluster", -2)
        .since("3.0.0")
        .group(Group::Cluster)
        .summary("Commands about the cluster.")
        .complexity("Depends on the subcommand.")
        .subs(SUBCOMMANDS)
        .checked(),
];

const fn connection(
    name: &'static str,
    run: crate::exec::Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, 1, run)
        .since("3.0.0")
        .group(Group::Cluster)
        .flags(&[flag::FAST, flag::LOADING, flag::STALE])
        .acl(&[category::CONNECTION])
        .summary(summary)
        .complexity("O(1)")
        .limits(ONLY_REDIRECTED)
        .checked()
}

/// What all subcommands have in common.
const fn sub(name: &'static str, arity: i16, since: &'static str) -> Command {
    Command::new(name, arity, disabled)
        .since(since)
        .group(Group::Cluster)
        .flags(&[flag::STALE])
        .complexity("O(1)")
        .limits(LIMITS)
}

/// What changes the cluster.
const fn change(name: &'static str, arity: i16, since: &'static str) -> Command {
    sub(name, arity, since).flags(&[flag::ADMIN, flag::NO_ASYNC_LOADING])
}

/// What tells of it at any time, in no order that could be foreseen.
const fn tell(name: &'static str, arity: i16, since: &'static str) -> Command {
    sub(name, arity, since)
        .flags(&[flag::LOADING])
        .tips(&["nondeterministic_output"])
}

const RANGES: &str = "range={start-slot:int end-slot:int}...";

const SUBCOMMANDS: &[Command] = &[
    change("addslots", -3, "3.0.0")
        .syntax("slot:int...")
        .summary("Take slots over.")
        .checked(),
    change("addslotsrange", -4, "7.0.0")
        .syntax(RANGES)
        .summary("Take ranges of slots over.")
        .checked(),
    change("bumpepoch", 2, "3.0.0")
        .tips(&["nondeterministic_output"])
        .summary("Raise the epoch of the configuration.")
        .checked(),
    sub("count-failure-reports", 3, "3.0.0")
        .flags(&[flag::ADMIN])
        .syntax("node-id")
        .tips(&["nondeterministic_output"])
        .summary("Count who reports that a node fails.")
        .checked(),
    sub("countkeysinslot", 3, "3.0.0")
        .syntax("slot:int")
        .summary("Count the keys of a slot.")
        .checked(),
    change("delslots", -3, "3.0.0")
        .syntax("slot:int...")
        .summary("Give slots up.")
        .checked(),
    change("delslotsrange", -4, "7.0.0")
        .syntax(RANGES)
        .summary("Give ranges of slots up.")
        .checked(),
    change("failover", -2, "3.0.0")
        .syntax("[options=(FORCE | TAKEOVER)]")
        .summary("Have a replica take over from its leader.")
        .checked(),
    change("flushslots", 2, "3.0.0")
        .summary("Give all slots up.")
        .checked(),
    change("forget", 3, "3.0.0")
        .syntax("node-id")
        .summary("Forget a node.")
        .checked(),
    sub("getkeysinslot", 4, "3.0.0")
        .syntax("slot:int count:int")
        .tips(&["nondeterministic_output"])
        .summary("Return keys of a slot.")
        .checked(),
    sub("help", 2, "5.0.0")
        .flags(&[flag::LOADING])
        .summary("List the subcommands.")
        .checked(),
    tell("info", 2, "3.0.0")
        .summary("Tell the state of the cluster.")
        .checked(),
    sub("keyslot", 3, "3.0.0")
        .syntax("key")
        .summary("Tell the slot of a key.")
        .checked(),
    sub("links", 2, "7.0.0")
        .tips(&["nondeterministic_output"])
        .summary("Tell of the links between the nodes.")
        .checked(),
    change("meet", -4, "3.0.0")
        .syntax("ip port:int [cluster-bus-port:int@4.0.0]")
        .history(&[("4.0.0", "Takes the port of the cluster's bus.")])
        .summary("Join another node.")
        .checked(),
    sub("myid", 2, "3.0.0")
        .flags(&[flag::LOADING])
        .summary("Tell the name of this node.")
        .checked(),
    tell("myshardid", 2, "7.2.0")
        .summary("Tell the name of the shard of this node.")
        .checked(),
    tell("nodes", 2, "3.0.0")
        .summary("Tell of all nodes, line by line.")
        .checked(),
    sub("replicas", 3, "5.0.0")
        .flags(&[flag::ADMIN])
        .syntax("node-id")
        .tips(&["nondeterministic_output"])
        .summary("Tell of the replicas of a node.")
        .checked(),
    change("replicate", 3, "3.0.0")
        .syntax("node-id")
        .summary("Follow a node as its replica.")
        .checked(),
    sub("reset", -2, "3.0.0")
        .flags(&[flag::ADMIN, flag::NOSCRIPT])
        .syntax("[reset-type=(HARD | SOFT)]")
        .summary("Leave the cluster.")
        .checked(),
    change("saveconfig", 2, "3.0.0")
        .summary("Write the configuration of the cluster to the disk.")
        .checked(),
    change("set-config-epoch", 3, "3.0.0")
        .syntax("config-epoch:int")
        .summary("Set the epoch of a new node.")
        .checked(),
    change("setslot", -4, "3.0.0")
        .may_replicate(Propagate::Explicit)
        .syntax(
            "slot:int subcommand=(IMPORTING^importing\"node-id\" | MIGRATING^migrating\"node-id\" | NODE^node\"node-id\" \
             | STABLE) [TIMEOUT^timeout:int@8.0.0]",
        )
        .history(&[("8.0.0", "Takes TIMEOUT.")])
        .summary("Give a slot to a node.")
        .checked(),
    tell("shards", 2, "7.0.0")
        .summary("Tell of all shards with their nodes and slots.")
        .checked(),
    sub("slaves", 3, "3.0.0")
        .flags(&[flag::ADMIN])
        .syntax("node-id")
        .tips(&["nondeterministic_output"])
        .deprecated("5.0.0", "`CLUSTER REPLICAS`")
        .summary("Tell of the replicas of a node.")
        .checked(),
    tell("slots", 2, "3.0.0")
        .history(&[
            ("4.0.0", "Tells the names of the nodes."),
            ("7.0.0", "Tells more of how nodes are reached."),
        ])
        .deprecated("7.0.0", "`CLUSTER SHARDS`")
        .summary("Tell which nodes have which slots.")
        .checked(),
];

const DISABLED: CmdError = CmdError::fixed("ERR This instance has cluster support disabled");

fn disabled(_: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    Err(DISABLED)
}

fn readonly(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    reads_here(cx, true)
}

fn readwrite(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    reads_here(cx, false)
}

/// Who is sent on to the leader may say that it wants to read here all the same.
fn reads_here(cx: &mut Ctx<'_>, reads: bool) -> CmdResult {
    let Some(session) = cx.session().filter(|session| session.redirects) else {
        return Err(DISABLED);
    };
    session.reads_here = reads;
    cx.ok()
}
