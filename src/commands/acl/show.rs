//! ACL CAT, DRYRUN, GENPASS, GETUSER, LIST, LOG, USERS and WHOAMI.

use crate::exec::args::is;
use crate::exec::error::shown;
use crate::exec::{Args, CmdError, CmdResult, Ctx, Flow, acl};
use crate::resp::ReplyBuf;
use crate::service::acl::Selector;
use crate::spec::{Categories, Lookup};

pub(super) fn cat(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match args.all() {
        [_, _] => {
            cx.reply.array(Categories::all().count());
            for (_, name) in Categories::all() {
                cx.reply.bulk(name.as_bytes());
            }
        }
        [_, _, name] => {
            let Some(wanted) = Categories::named(name) else {
                let name = shown(name, 128);
                return Err(CmdError::new(format!("ERR Unknown category '{name}'")));
            };
            let entries = cx.sys.registry.iter();
            let of_it: Vec<_> = entries.filter(|e| e.categories.has(wanted)).collect();
            cx.reply.array(of_it.len());
            for entry in of_it {
                cx.reply.bulk(entry.name.as_bytes());
            }
        }
        _ => return Err(CmdError::subcommand_arity("acl", args.at(1))),
    }
    Ok(Flow::Done)
}

pub(super) fn dryrun(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let name = args.at(2);
    let Some(user) = cx.sys.acl.users.named(name) else {
        let name = shown(name, usize::MAX);
        return Err(CmdError::new(format!("ERR User '{name}' not found")));
    };
    let command = args.from(3);
    let Lookup::Found(row) = cx.sys.registry.find(args.at(3), args.get(4)) else {
        let command = shown(args.at(3), usize::MAX);
        return Err(CmdError::new(format!("ERR Command '{command}' not found")));
    };
    if !row.arity_ok(command.len()) {
        return Err(CmdError::arity(&row.name));
    }
    match user.check(row, &command) {
        Ok(()) => cx.ok(),
        Err(denied) => {
            let object = command.get(denied.position()).copied().unwrap_or_default();
            let text = acl::explain(name, row, object, denied, true);
            cx.bulk(text.as_bytes())
        }
    }
}

pub(super) fn genpass(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    const MOST: i64 = 4096;
    let bits = match args.all() {
        [_, _] => 256,
        [_, _, _] => args.int(2)?,
        _ => return Err(CmdError::subcommand_arity("acl", args.at(1))),
    };
    if !(1..=MOST).contains(&bits) {
        return Err(CmdError::new(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to {MOST}"
        )));
    }
    let digits = usize::try_from((bits + 3) / 4).unwrap_or(0);
    let password = cx.sys.rng.secret_hex(digits);
    let password = password.map_err(|e| CmdError::new(format!("ERR {e}")))?;
    cx.bulk(password.as_bytes())
}

pub(super) fn getuser(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let out = &mut *cx.reply;
    let Some(user) = cx.sys.acl.users.named(args.at(2)) else {
        return cx.null();
    };
    out.map(6);
    out.bulk(b"flags");
    out.set(user.flags().count());
    for flag in user.flags() {
        out.bulk(flag.as_bytes());
    }
    out.bulk(b"passwords");
    out.array(user.passwords().len());
    for hash in user.passwords() {
        out.bulk(hash);
    }
    selector(out, user.root());
    out.bulk(b"selectors");
    out.array(user.more().len());
    for more in user.more() {
        out.map(3);
        selector(out, more);
    }
    Ok(Flow::Done)
}

/// The three fields of a selector.
fn selector(out: &mut ReplyBuf, selector: &Selector) {
    let fields = [
        ("commands", selector.describe_commands()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
    ];
    for (name, value) in fields {
        out.bulk(name.as_bytes());
        out.bulk(&value);
    }
}

pub(super) fn list(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let lines = cx.sys.acl.users.lines();
    cx.reply.array(lines.len());
    for line in lines {
        cx.reply.bulk(&line);
    }
    Ok(Flow::Done)
}

pub(super) fn users(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let users = cx.sys.acl.users.iter();
    cx.reply.array(users.len());
    for (_, user) in users {
        cx.reply.bulk(&user.name);
    }
    Ok(Flow::Done)
}

pub(super) fn whoami(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    match cx.sessions.get(cx.sid) {
        Some(session) => cx.reply.bulk(acl::name_of(cx.sys, session)),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) fn log(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let count = match args.all() {
        [_, _] => 10,
        [_, _, word] if is(word, "RESET") => {
            cx.sys.acl.log.clear();
            return cx.ok();
        }
        [_, _, _] => args.int(2)?,
        _ => return Err(CmdError::subcommand_arity("acl", args.at(1))),
    };
    let log = cx.sys.acl.log.iter();
    let count = usize::try_from(count).unwrap_or(0).min(log.len());
    let out = &mut *cx.reply;
    out.array(count);
    for entry in log.take(count) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let latest = &entry.latest;
        out.map(10);
        out.bulk(b"count");
        out.int(number(entry.count));
        out.bulk(b"reason");
        out.bulk(latest.reason.name().as_bytes());
        out.bulk(b"context");
        out.bulk(latest.context.name().as_bytes());
        out.bulk(b"object");
        out.bulk(&latest.object);
        out.bulk(b"username");
        out.bulk(&latest.username);
        out.bulk(b"age-seconds");
        out.double((cx.now - entry.updated) as f64 / 1000.0);
        out.bulk(b"client-info");
        out.bulk(latest.client.as_bytes());
        out.bulk(b"entry-id");
        out.int(number(entry.id));
        out.bulk(b"timestamp-created");
        out.int(entry.created);
        out.bulk(b"timestamp-last-updated");
        out.int(entry.updated);
    }
    Ok(Flow::Done)
}
