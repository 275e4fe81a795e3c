//! Functions: libraries of them, and calls. The interpreter itself is the script host.

use super::script::number_of_keys;
use crate::exec::args::is;
use crate::exec::functions::Policy;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, ScriptCall, busy};
use crate::rdb::{library, payload};
use crate::spec::{Code, Group, KeySpec, Propagate, flag};
use crate::util::{glob, num};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("fcall", -3, fcall)
        .since("7.0.0")
        .group(Group::Scripting)
        .may_replicate(Propagate::Never)
        .flags(&[
            flag::NOSCRIPT,
            flag::SKIP_MONITOR,
            flag::NO_MANDATORY_KEYS,
            flag::STALE,
        ])
        .runs(Code::Function)
        .keys(&[KeySpec::at(2)
            .keynum(0, 1, 1)
            .rw()
            .access()
            .update()
            .note("What a function does to its keys is not known: RW and UPDATE is the most")])
        .syntax("function:string numkeys:int [key:key...=numkeys] [arg...]")
        .summary("Call a function.")
        .complexity("Depends on the function")
        .checked(),
    Command::new("fcall_ro", -3, fcall_ro)
        .since("7.0.0")
        .group(Group::Scripting)
        .read()
        .flags(&[
            flag::NOSCRIPT,
            flag::SKIP_MONITOR,
            flag::NO_MANDATORY_KEYS,
            flag::STALE,
        ])
        .runs(Code::Function)
        .keys(&[KeySpec::at(2)
            .keynum(0, 1, 1)
            .ro()
            .access()
            .note("What a function does to its keys is not known: RO and ACCESS is the most")])
        .syntax("function:string numkeys:int [key:key...=numkeys] [arg...]")
        .summary("Call a function that does not write.")
        .complexity("Depends on the function")
        .checked(),
    Command::container("function", -2)
        .since("7.0.0")
        .group(Group::Scripting)
        .summary("Functions: libraries of them and the one that runs.")
        .complexity("Depends on the subcommand.")
        .subs(SUBCOMMANDS)
        .checked(),
];

const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

const fn sub(name: &'static str, arity: i16, run: crate::exec::Handler) -> Command {
    Command::new(name, arity, run)
        .since("7.0.0")
        .group(Group::Scripting)
}

const SUBCOMMANDS: &[Command] = &[
    sub("delete", 3, delete)
        .write(Propagate::Verbatim)
        .flags(&[flag::NOSCRIPT])
        .syntax("library-name:string")
        .summary("Delete a library and its functions.")
        .complexity("O(N) where N is the number of its functions")
        .tips(ALL_SHARDS)
        .checked(),
    sub("dump", 2, dump)
        .flags(&[flag::NOSCRIPT])
        .summary("Return all libraries in a form that FUNCTION RESTORE takes.")
        .complexity("O(N) where N is the number of libraries")
        .checked(),
    sub("flush", -2, flush)
        .write(Propagate::Verbatim)
        .flags(&[flag::NOSCRIPT])
        .syntax("[flush-type=(ASYNC | SYNC)]")
        .summary("Delete all libraries.")
        .complexity("O(N) where N is the number of functions")
        .tips(ALL_SHARDS)
        .checked(),
    sub("help", 2, help)
        .flags(&[flag::LOADING, flag::STALE])
        .summary("List the subcommands.")
        .complexity("O(1)")
        .checked(),
    sub("kill", 2, kill)
        .flags(&[flag::NOSCRIPT, flag::ALLOW_BUSY])
        .summary("End the running function, unless it has written.")
        .complexity("O(1)")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .checked(),
    sub("list", -2, list)
        .flags(&[flag::NOSCRIPT])
        .syntax("[LIBRARYNAME^library-name-pattern:string] [withcode=WITHCODE]")
        .summary("Tell about libraries and their functions.")
        .complexity("O(N) where N is the number of functions")
        .tips(&["nondeterministic_output_order"])
        .checked(),
    sub("load", -3, load)
        .write(Propagate::Verbatim)
        .flags(&[flag::NOSCRIPT, flag::DENYOOM])
        .syntax("[REPLACE] function-code:string")
        .summary("Load a library.")
        .complexity("O(1), without the time that its code takes")
        .tips(ALL_SHARDS)
        .checked(),
    sub("restore", -3, restore)
        .write(Propagate::Verbatim)
        .flags(&[flag::NOSCRIPT, flag::DENYOOM])
        .syntax("serialized-value:string [policy=(FLUSH | APPEND | REPLACE)]")
        .summary("Load the libraries that FUNCTION DUMP returned.")
        .complexity("O(N) where N is the number of functions in the payload")
        .tips(ALL_SHARDS)
        .checked(),
    sub("stats", 2, stats)
        .flags(&[flag::NOSCRIPT, flag::ALLOW_BUSY])
        .summary("Tell which function runs, and how many there are.")
        .complexity("O(1)")
        .tips(&[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ])
        .checked(),
];

fn fcall(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    call(cx, args, false)
}

fn fcall_ro(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    call(cx, args, true)
}

fn call(cx: &mut Ctx<'_>, args: Args<'_>, read_only: bool) -> CmdResult {
    let Some((id, _)) = cx.sys.libraries.find(args.at(1)) else {
        return Err(CmdError::fixed("ERR Function not found"));
    };
    let Some(numkeys) = num::parse_i64(args.at(2)) else {
        return Err(CmdError::fixed("ERR Bad number of keys provided"));
    };
    let numkeys = number_of_keys(args, numkeys)?;
    Ok(Flow::Script(ScriptCall::Function {
        id,
        numkeys,
        read_only,
    }))
}

fn load(_: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let options = args.from(2);
    let options = &options[..options.len() - 1];
    match options.iter().find(|word| !is(word, "replace")) {
        Some(word) => {
            let word = String::from_utf8_lossy(word);
            Err(CmdError::new(format!("ERR Unknown option given: {word}")))
        }
        None => Ok(Flow::Script(ScriptCall::LoadLibrary {
            replace: !options.is_empty(),
        })),
    }
}

fn delete(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if !cx.sys.libraries.delete(args.at(2)) {
        return Err(CmdError::fixed("ERR Library not found"));
    }
    dropped(cx)
}

/// The interpreter may go in either way: it is dropped when the next one is asked for.
fn flush(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() > 3 {
        return Err(CmdError::subcommand_arity("function", args.at(1)));
    }
    if args
        .get(2)
        .is_some_and(|how| !is(how, "sync") && !is(how, "async"))
    {
        return Err(CmdError::fixed(
            "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
        ));
    }
    cx.sys.libraries.flush();
    dropped(cx)
}

fn dropped(cx: &mut Ctx<'_>) -> CmdResult {
    cx.ks.mark_dirty(1);
    cx.reply.ok();
    Ok(Flow::Script(ScriptCall::DropFunctions))
}

fn list(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut pattern = None;
    let mut code = false;
    let mut words = args.cursor(2);
    while let Some(word) = words.next() {
        if !code && is(word, "withcode") {
            code = true;
        } else if pattern.is_none() && is(word, "libraryname") {
            pattern = words.next();
            if pattern.is_none() {
                return Err(CmdError::fixed("ERR library name argument was not given"));
            }
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(CmdError::new(format!("ERR Unknown argument {word}")));
        }
    }
    let libraries = &cx.sys.libraries;
    let wanted = libraries
        .iter()
        .filter(|(name, _)| pattern.is_none_or(|p| glob::matches(p, name.as_bytes(), true)));
    let header = cx.reply.deferred_array();
    let mut count = 0;
    for (name, library) in wanted {
        count += 1;
        cx.reply.map(if code { 4 } else { 3 });
        cx.reply.bulk(b"library_name");
        cx.reply.bulk(name.as_bytes());
        cx.reply.bulk(b"engine");
        cx.reply.bulk(b"LUA");
        cx.reply.bulk(b"functions");
        cx.reply.array(library.functions.len());
        for function in library
            .functions
            .iter()
            .filter_map(|&id| libraries.function(id))
        {
            cx.reply.map(3);
            cx.reply.bulk(b"name");
            cx.reply.bulk(function.name.as_bytes());
            cx.reply.bulk(b"description");
            match &function.description {
                Some(text) => cx.reply.bulk(text),
                None => cx.reply.null(),
            }
            cx.reply.bulk(b"flags");
            let flags = function.flags.names();
            cx.reply.set(flags.clone().count());
            flags.for_each(|flag| cx.reply.simple(flag));
        }
        if code {
            cx.reply.bulk(b"library_code");
            cx.reply.bulk(&library.code);
        }
    }
    header.finish(cx.reply, count);
    Ok(Flow::Done)
}

fn stats(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let running = cx.sys.running.as_ref().filter(|running| running.busy);
    if let Some(script) = running.filter(|running| running.function.is_none()) {
        return Err(busy::error(script));
    }
    let reply = &mut *cx.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match running.and_then(|running| running.function.as_ref()) {
        None => reply.null(),
        Some(function) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(function.name.as_bytes());
            reply.bulk(b"command");
            reply.array(function.command.len());
            function.command.iter().for_each(|word| reply.bulk(word));
            reply.bulk(b"duration_ms");
            let millis = function.began.elapsed().as_millis();
            reply.int(i64::try_from(millis).unwrap_or(i64::MAX));
        }
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(i64::try_from(cx.sys.libraries.len()).unwrap_or(i64::MAX));
    reply.bulk(b"functions_count");
    reply.int(i64::try_from(cx.sys.libraries.functions()).unwrap_or(i64::MAX));
    Ok(Flow::Done)
}

fn dump(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    // The version of redis-server 7.0, which knows libraries as they are.
    const VERSION: u16 = 10;
    let mut out = Vec::new();
    for (_, library) in cx.sys.libraries.iter() {
        library::write(&mut out, &library.code, cx.sys.cfg.rdbcompression);
    }
    payload::seal(&mut out, VERSION);
    cx.bulk(&out)
}

fn restore(_: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() > 4 {
        return Err(CmdError::subcommand_arity("function", args.at(1)));
    }
    let policy = match args.get(3) {
        None => Policy::Append,
        Some(word) if is(word, "append") => Policy::Append,
        Some(word) if is(word, "replace") => Policy::Replace,
        Some(word) if is(word, "flush") => Policy::Flush,
        Some(_) => {
            return Err(CmdError::fixed(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    Ok(Flow::Script(ScriptCall::RestoreLibraries(policy)))
}

fn kill(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    busy::kill(cx.sys, true)?;
    cx.ok()
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "DELETE <library-name>",
        "    Delete a library and its functions.",
        "DUMP",
        "    Return all libraries as one payload for FUNCTION RESTORE.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all libraries.",
        "KILL",
        "    End the running function, unless it has written.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    Tell about all libraries, or those that match: name, engine, functions, code if wanted.",
        "LOAD [REPLACE] <code>",
        "    Load a library; return its name. Its first line is #!lua name=<library-name>.",
        "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
        "    Load the libraries of a payload: in place of all (FLUSH), beside those that are there (APPEND, the default),",
        "    or in place of those of the same names (REPLACE).",
        "STATS",
        "    Tell which function runs, by which command and since when, and how many libraries and functions there are.",
    ])
}
