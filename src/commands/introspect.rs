//! COMMAND: the commands about commands. Every answer is derived from the registry.

use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Commands, Ctx, Entry, Flow, Handler};
use crate::resp::ReplyBuf;
use crate::spec::keys::{Begin, Find};
use crate::spec::syntax::{Arg, Syntax};
use crate::spec::{Group, KeyError, KeySpec, Keys, Lookup, Registry, category, flag};
use crate::util::glob;

const COMMAND: Command = Command::new("command", -1, command)
    .since("2.8.13")
    .group(Group::Server)
    .flags(&[flag::LOADING, flag::STALE, flag::SENTINEL])
    .acl(&[category::CONNECTION])
    .summary("Tell everything about every command.")
    .complexity("O(N), N being the number of commands")
    .tips(&["nondeterministic_output_order"])
    .subs(SUBCOMMANDS);

/// What all subcommands have in common.
const fn sub(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .group(Group::Server)
        .flags(&[flag::LOADING, flag::STALE, flag::SENTINEL])
        .acl(&[category::CONNECTION])
}

const SUBCOMMANDS: &[Command] = &[
    sub("count", 2, count)
        .since("2.8.13")
        .summary("Count the commands.")
        .complexity("O(1)")
        .checked(),
    sub("docs", -2, docs)
        .since("7.0.0")
        .syntax("[command-name...]")
        .summary("Document commands: purpose, cost, history, arguments.")
        .complexity("O(N), N being the number of commands asked for")
        .tips(&["nondeterministic_output_order"])
        .checked(),
    sub("getkeys", -3, getkeys)
        .since("2.8.13")
        .syntax("command [arg...]")
        .summary("Tell which arguments of a call are keys.")
        .complexity("O(N), N being the number of arguments")
        .checked(),
    sub("getkeysandflags", -3, getkeysandflags)
        .since("7.0.0")
        .syntax("command [arg...]")
        .summary("Tell which arguments of a call are keys, and what happens to each.")
        .complexity("O(N), N being the number of arguments")
        .checked(),
    sub("help", 2, help)
        .since("5.0.0")
        .summary("Explain the subcommands.")
        .complexity("O(1)")
        .checked(),
    sub("info", -2, info)
        .since("2.8.13")
        .syntax("[command-name...]")
        .summary("Tell arity, flags, keys and categories of commands.")
        .complexity("O(N), N being the number of commands asked for")
        .history(&[("7.0.0", "Without arguments it tells about all commands.")])
        .tips(&["nondeterministic_output_order"])
        .checked(),
    sub("list", -2, list)
        .since("7.0.0")
        .syntax(
            "[FILTERBY^filterby=(MODULE^module-name | ACLCAT^category | PATTERN^pattern:pattern)]",
        )
        .summary("List the names of commands.")
        .complexity("O(N), N being the number of commands")
        .tips(&["nondeterministic_output_order"])
        .checked(),
];

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[COMMAND.checked()];

fn command(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    all_infos(cx)
}

fn all_infos(cx: &mut Ctx<'_>) -> CmdResult {
    let registry = &cx.sys.registry;
    cx.reply.array(registry.commands().count());
    for entry in registry.commands() {
        write_info(cx.reply, registry, entry);
    }
    Ok(Flow::Done)
}

fn count(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let n = cx.sys.registry.commands().count();
    cx.count(n)
}

fn info(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let names = args.from(2);
    if names.is_empty() {
        return all_infos(cx);
    }
    let registry = &cx.sys.registry;
    cx.reply.array(names.len());
    for name in names {
        match registry.by_full_name(name) {
            Some(entry) => write_info(cx.reply, registry, entry),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn docs(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let registry = &cx.sys.registry;
    let names = args.from(2);
    let entries: Vec<&Entry> = if names.is_empty() {
        registry.commands().collect()
    } else {
        names
            .iter()
            .filter_map(|name| registry.by_full_name(name))
            .collect()
    };
    cx.reply.map(entries.len());
    for entry in entries {
        write_docs(cx.reply, registry, entry);
    }
    Ok(Flow::Done)
}

fn list(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut words = args.cursor(2);
    let filter = match words.left() {
        0 => None,
        3 if words.token("FILTERBY") => Some((words.word()?, words.word()?)),
        _ => return Err(CmdError::SYNTAX),
    };
    let keep: Box<dyn Fn(&Entry) -> bool> = match filter {
        None => Box::new(|_| true),
        // There are no modules, so no command is of one.
        Some((by, _)) if is(by, "MODULE") => Box::new(|_| false),
        Some((by, name)) if is(by, "ACLCAT") => match crate::spec::Categories::named(name) {
            Some(wanted) => Box::new(move |e| e.categories.has(wanted)),
            None => Box::new(|_| false),
        },
        Some((by, pattern)) if is(by, "PATTERN") => {
            Box::new(move |e| glob::matches(pattern, e.name.as_bytes(), true))
        }
        Some(_) => return Err(CmdError::SYNTAX),
    };
    let mut n = 0;
    let out = cx.reply.deferred_array();
    let registry = &cx.sys.registry;
    for entry in registry.iter().filter(|e| keep(e) && registry.has(e)) {
        cx.reply.bulk(entry.name.as_bytes());
        n += 1;
    }
    out.finish(cx.reply, n);
    Ok(Flow::Done)
}

fn getkeys(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let call = args.from(2);
    let keys = keys_of(&cx.sys.registry, call)?;
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply
            .bulk(call.get(key.pos as usize).copied().unwrap_or_default());
    }
    Ok(Flow::Done)
}

fn getkeysandflags(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let call = args.from(2);
    let keys = keys_of(&cx.sys.registry, call)?;
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply.array(2);
        cx.reply
            .bulk(call.get(key.pos as usize).copied().unwrap_or_default());
        simple_set(cx.reply, key.flags.names());
    }
    Ok(Flow::Done)
}

/// The keys of a call that is not made.
fn keys_of(registry: &Commands, call: &[&[u8]]) -> Result<Keys, CmdError> {
    let name = call.first().copied().unwrap_or_default();
    let Lookup::Found(entry) = registry.find(name, call.get(1).copied()) else {
        return Err(CmdError::fixed("ERR Invalid command specified"));
    };
    if !entry.has_keys() {
        return Err(CmdError::fixed("ERR The command has no key arguments"));
    }
    if !entry.arity_ok(call.len()) {
        let text = "ERR Invalid number of arguments specified for command";
        return Err(CmdError::fixed(text));
    }
    match entry.keys(&call) {
        Ok(keys) if !keys.is_empty() || entry.flags.has(flag::NO_MANDATORY_KEYS) => Ok(keys),
        Ok(_) | Err(KeyError) => Err(CmdError::fixed(
            "ERR Invalid arguments specified for command",
        )),
    }
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "(no subcommand)",
        "    Everything about every command.",
        "COUNT",
        "    How many commands there are.",
        "DOCS [<command-name> ...]",
        "    Purpose, history and arguments of these commands, or of all.",
        "GETKEYS <full-command>",
        "    The keys in a call.",
        "GETKEYSANDFLAGS <full-command>",
        "    The keys in a call, and what happens to each.",
        "INFO [<command-name> ...]",
        "    Arity, flags, keys and categories of these commands, or of all.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    The names of all commands, or of some.",
    ])
}

/// One element of COMMAND INFO.
fn write_info(out: &mut ReplyBuf, registry: &Registry<Handler>, entry: &Entry) {
    out.array(10);
    out.bulk(entry.name.as_bytes());
    out.int(i64::from(entry.row.arity));
    simple_set(out, entry.flags.names());
    let (first, last, step) = entry.legacy_range;
    for n in [first, last, step] {
        out.int(i64::from(n));
    }
    out.set(entry.categories.names().count());
    for name in entry.categories.names() {
        out.simple(&format!("@{name}"));
    }
    out.set(entry.row.tips.len());
    for tip in entry.row.tips {
        out.bulk(tip.as_bytes());
    }
    out.set(entry.row.keys.len());
    for spec in entry.row.keys {
        write_key_spec(out, spec);
    }
    let subs = registry.subs(entry);
    out.set(subs.len());
    for sub in subs {
        write_info(out, registry, sub);
    }
}

fn simple_set(out: &mut ReplyBuf, names: impl Iterator<Item = &'static str> + Clone) {
    out.set(names.clone().count());
    for name in names {
        out.simple(name);
    }
}

fn write_key_spec(out: &mut ReplyBuf, spec: &KeySpec) {
    out.map(3 + usize::from(!spec.note.is_empty()));
    if !spec.note.is_empty() {
        out.bulk(b"notes");
        out.bulk(spec.note.as_bytes());
    }
    out.bulk(b"flags");
    simple_set(out, spec.flags.names());
    out.bulk(b"begin_search");
    match spec.begin {
        Begin::Unknown => write_typed(out, "unknown", &[]),
        Begin::Index(at) => write_typed(out, "index", &[("index", at)]),
        Begin::Keyword(word, start) => {
            write_kind(out, "keyword", 2);
            out.bulk(b"keyword");
            out.bulk(word.as_bytes());
            out.bulk(b"startfrom");
            out.int(i64::from(start));
        }
    }
    out.bulk(b"find_keys");
    match spec.find {
        Find::Unknown => write_typed(out, "unknown", &[]),
        Find::Range { last, step, limit } => {
            let fields = [("lastkey", last), ("keystep", step), ("limit", limit)];
            write_typed(out, "range", &fields);
        }
        Find::KeyNum { index, first, step } => {
            let fields = [("keynumidx", index), ("firstkey", first), ("keystep", step)];
            write_typed(out, "keynum", &fields);
        }
    }
}

/// `{type: kind, spec: {…}}` up to the fields.
fn write_kind(out: &mut ReplyBuf, kind: &str, fields: usize) {
    out.map(2);
    out.bulk(b"type");
    out.bulk(kind.as_bytes());
    out.bulk(b"spec");
    out.map(fields);
}

fn write_typed(out: &mut ReplyBuf, kind: &str, fields: &[(&str, i32)]) {
    write_kind(out, kind, fields.len());
    for (name, value) in fields {
        out.bulk(name.as_bytes());
        out.int(i64::from(*value));
    }
}

fn pair(out: &mut ReplyBuf, name: &str, value: &str) -> usize {
    out.bulk(name.as_bytes());
    out.bulk(value.as_bytes());
    1
}

/// One pair of COMMAND DOCS.
fn write_docs(out: &mut ReplyBuf, registry: &Registry<Handler>, entry: &Entry) {
    let row = entry.row;
    out.bulk(entry.name.as_bytes());
    let map = out.deferred_map();
    let mut n = pair(out, "summary", row.summary);
    n += pair(out, "since", row.since);
    n += pair(out, "group", row.group.name());
    if !row.complexity.is_empty() {
        n += pair(out, "complexity", row.complexity);
    }
    n += write_doc_flags(out, entry);
    if let Some((since, instead)) = row.deprecated {
        n += pair(out, "deprecated_since", since);
        n += pair(out, "replaced_by", instead);
    }
    if !row.history.is_empty() {
        out.bulk(b"history");
        out.set(row.history.len());
        for (version, what) in row.history {
            out.array(2);
            out.bulk(version.as_bytes());
            out.bulk(what.as_bytes());
        }
        n += 1;
    }
    // Every row's syntax is read by a test, so it can be read here.
    if let Ok(syntax) = Syntax::parse(row.syntax)
        && !syntax.args.is_empty()
    {
        out.bulk(b"arguments");
        write_args(out, &syntax.args);
        n += 1;
    }
    let subs = registry.subs(entry);
    if !subs.is_empty() {
        out.bulk(b"subcommands");
        out.map(subs.len());
        for sub in subs {
            write_docs(out, registry, sub);
        }
        n += 1;
    }
    map.finish(out, n);
}

fn write_doc_flags(out: &mut ReplyBuf, entry: &Entry) -> usize {
    let flags = [
        entry.row.deprecated.map(|_| "deprecated"),
        entry.row.syscmd.then_some("syscmd"),
    ];
    let flags = flags.into_iter().flatten();
    if flags.clone().count() == 0 {
        return 0;
    }
    out.bulk(b"doc_flags");
    simple_set(out, flags);
    1
}

fn write_args(out: &mut ReplyBuf, args: &[Arg<'_>]) {
    out.array(args.len());
    for arg in args {
        let map = out.deferred_map();
        let mut n = pair(out, "name", &arg.name);
        n += pair(out, "type", arg.kind.name());
        n += arg
            .display()
            .map_or(0, |text| pair(out, "display_text", text));
        if let Some(index) = arg.key_spec {
            out.bulk(b"key_spec_index");
            out.int(i64::from(index));
            n += 1;
        }
        let texts = [
            ("token", arg.token),
            ("since", arg.since),
            ("deprecated_since", arg.deprecated),
        ];
        for (name, text) in texts {
            n += text.map_or(0, |text| pair(out, name, text));
        }
        let flags = [
            (arg.optional, "optional"),
            (arg.multiple, "multiple"),
            (arg.multiple_token, "multiple_token"),
        ];
        let flags = flags
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| name);
        if flags.clone().count() > 0 {
            out.bulk(b"flags");
            simple_set(out, flags);
            n += 1;
        }
        if !arg.kind.inner().is_empty() {
            out.bulk(b"arguments");
            write_args(out, arg.kind.inner());
            n += 1;
        }
        map.finish(out, n);
    }
}
