//! Scripts: running them and the cache of them. The interpreter itself is the script host.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin, ScriptCall, busy};
use crate::spec::{Code, Group, KeySpec, Propagate, flag};

const COST: &str = "Depends on the script";

/// The keys of a script: as many as argument 2 says, after it.
const KEYS: KeySpec = KeySpec::at(2).keynum(0, 1, 1).rw().access().update();
const KEYS_RO: KeySpec = KeySpec::at(2).keynum(0, 1, 1).ro().access();

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("eval", -3, eval)
        .since("2.6.0")
        .group(Group::Scripting)
        .may_replicate(Propagate::Never)
        .flags(&[
            flag::NOSCRIPT,
            flag::SKIP_MONITOR,
            flag::NO_MANDATORY_KEYS,
            flag::STALE,
        ])
        .runs(Code::Text)
        .keys(
            &[KEYS.note("What a script does to its keys is not known: RW and UPDATE is the most")],
        )
        .syntax("script numkeys:int [key:key...=numkeys] [arg...]")
        .summary("Run a script given by its text.")
        .complexity(COST)
        .checked(),
    Command::new("evalsha", -3, evalsha)
        .since("2.6.0")
        .group(Group::Scripting)
        .may_replicate(Propagate::Never)
        .flags(&[
            flag::NOSCRIPT,
            flag::SKIP_MONITOR,
            flag::NO_MANDATORY_KEYS,
            flag::STALE,
        ])
        .runs(Code::Sha)
        .keys(&[KEYS])
        .syntax("sha1 numkeys:int [key:key...=numkeys] [arg...]")
        .summary("Run a cached script, given by its SHA1.")
        .complexity(COST)
        .checked(),
    Command::new("evalsha_ro", -3, evalsha_ro)
        .since("7.0.0")
        .group(Group::Scripting)
        .read()
        .flags(&[
            flag::NOSCRIPT,
            flag::SKIP_MONITOR,
            flag::NO_MANDATORY_KEYS,
            flag::STALE,
        ])
        .runs(Code::Sha)
        .keys(&[KEYS_RO])
        .syntax("sha1 numkeys:int [key:key...=numkeys] [arg...]")
        .summary("Run a cached script that may not write, given by its SHA1.")
        .complexity(COST)
        .checked(),
    Command::new("eval_ro", -3, eval_ro)
        .since("7.0.0")
        .group(Group::Scripting)
        .read()
        .flags(&[
            flag::NOSCRIPT,
            flag::SKIP_MONITOR,
            flag::NO_MANDATORY_KEYS,
            flag::STALE,
        ])
        .runs(Code::Text)
        .keys(&[
            KEYS_RO.note("What a script does to its keys is not known: RO and ACCESS is the most")
        ])
        .syntax("script numkeys:int [key:key...=numkeys] [arg...]")
        .summary("Run a script that may not write, given by its text.")
        .complexity(COST)
        .checked(),
    Command::container("script", -2)
        .since("2.6.0")
        .group(Group::Scripting)
        .summary("Scripts: the cache of them and the one that runs.")
        .complexity("Depends on the subcommand.")
        .subs(SUBCOMMANDS)
        .checked(),
];

const SUBCOMMANDS: &[Command] = &[
    Command::new("debug", 3, debug)
        .since("3.2.0")
        .group(Group::Scripting)
        .flags(&[flag::NOSCRIPT])
        .syntax("mode=(YES | SYNC | NO)")
        .summary("Choose whether scripts run in the debugger.")
        .complexity("O(1)")
        .limits(
            "`YES` is refused, since nothing is forked whose changes could be forgotten. While a script stands still \
             others are served. `print` shows global variables only.",
        )
        .checked(),
    Command::new("exists", -3, exists)
        .since("2.6.0")
        .group(Group::Scripting)
        .flags(&[flag::NOSCRIPT])
        .syntax("sha1...")
        .summary("Tell which scripts are cached.")
        .complexity("O(N), where N is the number of SHA1s")
        .tips(&[
            "request_policy:all_shards",
            "response_policy:agg_logical_and",
        ])
        .checked(),
    Command::new("flush", -2, flush)
        .since("2.6.0")
        .group(Group::Scripting)
        .flags(&[flag::NOSCRIPT])
        .syntax("[flush-type=(ASYNC | SYNC)@6.2.0]")
        .summary("Forget all cached scripts.")
        .complexity("O(N), where N is the number of cached scripts")
        .history(&[("6.2.0", "Take how to free them: ASYNC or SYNC.")])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .checked(),
    Command::help("5.0.0", Group::Scripting, help).checked(),
    Command::new("kill", 2, kill)
        .since("2.6.0")
        .group(Group::Scripting)
        .flags(&[flag::NOSCRIPT, flag::ALLOW_BUSY])
        .summary("End the running script, unless it has written.")
        .complexity("O(1)")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .checked(),
    Command::new("load", 3, load)
        .since("2.6.0")
        .group(Group::Scripting)
        .flags(&[flag::NOSCRIPT, flag::STALE])
        .syntax("script")
        .summary("Compile and cache a script.")
        .complexity("O(N), where N is the length of the script")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .checked(),
    Command::new("show", 3, show)
        .since("8.0.0")
        .group(Group::Scripting)
        .flags(&[flag::NOSCRIPT])
        .syntax("sha1")
        .summary("Return the text of a cached script.")
        .complexity("O(1)")
        .checked(),
];

fn eval(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    call(cx, args, false, false)
}

fn eval_ro(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    call(cx, args, false, true)
}

fn evalsha(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    call(cx, args, true, false)
}

fn evalsha_ro(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    call(cx, args, true, true)
}

/// How many of the arguments behind the number of keys are keys: of EVAL and FCALL, and their like.
pub(super) fn number_of_keys(args: Args<'_>, given: i64) -> Result<usize, CmdError> {
    let Ok(given) = usize::try_from(given) else {
        return Err(CmdError::fixed("ERR Number of keys can't be negative"));
    };
    if given > args.len() - 3 {
        let text = "ERR Number of keys can't be greater than number of args";
        return Err(CmdError::fixed(text));
    }
    Ok(given)
}

fn call(cx: &Ctx<'_>, args: Args<'_>, sha: bool, read_only: bool) -> CmdResult {
    // What cannot be a SHA1 is not looked at any further.
    if sha && args.at(1).len() != 40 {
        let text = "NOSCRIPT No matching script. Please use EVAL.";
        return Err(CmdError::fixed(text));
    }
    let numkeys = number_of_keys(args, args.int(2)?)?;
    Ok(Flow::Script(ScriptCall::Eval {
        sha,
        numkeys,
        read_only,
        debug: cx.origin == Origin::Client
            && cx.sessions.get(cx.sid).is_some_and(|s| s.debug.is_some()),
    }))
}

fn load(_: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    Ok(Flow::Script(ScriptCall::Load))
}

fn exists(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let shas = args.from(2);
    cx.reply.array(shas.len());
    for sha in shas {
        cx.reply.int(i64::from(cx.sys.scripts.get(sha).is_some()));
    }
    Ok(Flow::Done)
}

fn show(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match cx.sys.scripts.get(args.at(2)) {
        Some(body) => cx.reply.bulk(body),
        None => return Err(CmdError::fixed("NOSCRIPT No matching script.")),
    }
    Ok(Flow::Done)
}

fn flush(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut how = args.cursor(2);
    // Scripts are dropped in either way when the next one runs.
    let known = how.left() == 0 || how.token("ASYNC") || how.token("SYNC");
    if !known || how.left() > 0 {
        return Err(CmdError::fixed(
            "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
        ));
    }
    cx.sys.scripts.flush();
    cx.ok()
}

fn kill(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    busy::kill(cx.sys, false)?;
    cx.ok()
}

/// Nothing is forked: there are no debugging sessions whose changes could be forgotten afterwards.
fn debug(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if cx.origin != Origin::Client {
        let text = "ERR SCRIPT DEBUG must be called outside a pipeline";
        return Err(CmdError::fixed(text));
    }
    let debug = match args.at(2).to_ascii_lowercase().as_slice() {
        b"no" => None,
        b"sync" => Some(Box::default()),
        b"yes" => {
            return Err(CmdError::fixed(
                "ERR What a script changes cannot be taken back here: use SCRIPT DEBUG SYNC",
            ));
        }
        _ => return Err(CmdError::fixed("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
    };
    if let Some(session) = cx.sessions.get_mut(cx.sid) {
        session.debug = debug;
    }
    cx.ok()
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "DEBUG (YES|SYNC|NO)",
        "    Choose whether scripts run in the debugger.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Tell for each SHA1 whether its script is cached.",
        "FLUSH [ASYNC|SYNC]",
        "    Forget all cached scripts.",
        "KILL",
        "    End the running script, unless it has written.",
        "LOAD <script>",
        "    Cache a script without running it; return its SHA1.",
        "SHOW <sha1>",
        "    Return the text of a cached script.",
    ])
}
