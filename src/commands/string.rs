//! Strings.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Expiry;
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::Value;
use crate::types::string::Str;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("get", 2, get)
        .since("1.0.0")
        .group(Group::String)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("Return the string at a key.")
        .complexity("O(1)")
        .checked(),
    Command::new("set", -3, set)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::MayRewrite)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).rw().access().update().variable()])
        .syntax("key:key value:string")
        .summary("Store a string, replacing any value.")
        .complexity("O(1)")
        .checked(),
];

fn get(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match cx.ks.read::<Str>(args.at(1))? {
        Some(s) => cx.reply.bulk(s.text().bytes()),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

fn set(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() > 3 {
        return Err(CmdError::SYNTAX);
    }
    let value = Value::Str(Str::from_bytes(args.at(2)));
    cx.ks
        .put(args.at(1), value, Expiry::Clear, Event::string("set"));
    cx.ok()
}
