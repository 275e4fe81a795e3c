//! SPOP and SRANDMEMBER: members by chance.

use super::{limits, put};
use crate::ds::listpack::Value;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Effects, Flow};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::set::Set;

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("spop", -2, spop)
        .since("1.0.0")
        .group(Group::Set)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().delete()])
        .syntax("key:key [count:int@3.2.0]")
        .summary("Take one or more members out of a set, drawn at random.")
        .complexity("O(1) without a count, otherwise O(N) where N is the count")
        .history(&[("3.2.0", "Added the count.")])
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("srandmember", -2, srandmember)
        .since("1.0.0")
        .group(Group::Set)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key [count:int@2.6.0]")
        .summary("Return one or more members of a set, drawn at random.")
        .complexity("O(1) without a count, otherwise O(N) where N is the count, its sign aside")
        .history(&[("2.6.0", "Added the count.")])
        .tips(&["nondeterministic_output"])
        .checked(),
];

/// Members that one SREM takes out again elsewhere.
const BATCH: usize = 1024;

fn spop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match args.len() {
        2 => pop(cx, args.at(1)),
        3 => pop_many(cx, args),
        _ => Err(CmdError::SYNTAX),
    }
}

fn pop(cx: &mut Ctx<'_>, key: &[u8]) -> CmdResult {
    let Some(mut edit) = cx.ks.edit::<Set>(key)? else {
        return cx.null();
    };
    let Some(member) = edit.get_mut().pop(&mut cx.sys.rng) else {
        edit.unchanged();
        return cx.null();
    };
    edit.changed(1, Event::set("spop"));
    cx.fx.push(&[b"SREM", key, &member]);
    cx.bulk(&member)
}

fn pop_many(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let count = args.int(2).map_err(|_| CmdError::NOT_POSITIVE)?;
    let count = usize::try_from(count).map_err(|_| CmdError::NOT_POSITIVE)?;
    let (key, limits) = (args.at(1), limits(cx));
    let len = cx.ks.look::<Set>(key)?.map_or(0, Set::len);
    if len == 0 || count == 0 {
        cx.reply.set(0);
        return Ok(Flow::Done);
    }
    if count >= len {
        return pop_all(cx, key, len);
    }
    cx.reply.set(count);
    if let Some(mut edit) = cx.ks.edit::<Set>(key)? {
        let mut removals = Removals::of(key, cx.fx);
        edit.get_mut()
            .pop_many(count, limits, &mut cx.sys.rng, |member| {
                put(cx.reply, member);
                removals.add(member);
            });
        edit.changed(count as u64, Event::set("spop"));
        removals.flush();
    }
    Ok(Flow::Done)
}

fn pop_all(cx: &mut Ctx<'_>, key: &[u8], len: usize) -> CmdResult {
    cx.reply.set(len);
    if let Some(set) = cx.ks.look::<Set>(key)? {
        set.iter().for_each(|member| put(cx.reply, member));
    }
    cx.ks.notify(key, Event::set("spop"));
    // Dropping a large set must not take long; the members count, not the key.
    cx.ks.unlink(key, Event::DEL);
    cx.ks.mark_dirty(len as u64 - 1);
    let lazily = cx.sys.cfg.lazyfree_lazy_server_del;
    cx.fx.push(&[if lazily { b"UNLINK" } else { b"DEL" }, key]);
    Ok(Flow::Done)
}

/// Tells the log which members are gone, some at a time.
struct Removals<'a> {
    key: &'a [u8],
    fx: &'a mut Effects,
    members: Vec<Vec<u8>>,
}

impl<'a> Removals<'a> {
    fn of(key: &'a [u8], fx: &'a mut Effects) -> Removals<'a> {
        Removals {
            key,
            fx,
            members: Vec::new(),
        }
    }

    fn add(&mut self, member: Value<'_>) {
        if self.fx.wanted() {
            self.members.push(member.to_vec());
            if self.members.len() == BATCH {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        if !self.members.is_empty() {
            let mut argv: Vec<&[u8]> = vec![b"SREM", self.key];
            argv.extend(self.members.iter().map(|m| &m[..]));
            self.fx.push(&argv);
            self.members.clear();
        }
    }
}

fn srandmember(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    const RANGE: CmdError = CmdError::fixed(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    let count = match args.len() {
        2 => return one(cx, args.at(1)),
        3 => args.int(2)?,
        _ => return Err(CmdError::SYNTAX),
    };
    if count == i64::MIN {
        return Err(RANGE);
    }
    let Some(set) = cx.ks.read::<Set>(args.at(1))? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let times = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count >= 0 {
        cx.reply.array(times.min(set.len()));
        let reply = &mut *cx.reply;
        set.sample(times, &mut cx.sys.rng, |member| put(reply, member));
        return Ok(Flow::Done);
    }
    // Nothing but the count bounds a reply that repeats members.
    let most = usize::try_from(cx.sys.cfg.proto_max_bulk_len).unwrap_or(usize::MAX);
    if times > most / LEAST_BULK {
        cx.refuse_reply(times.saturating_mul(LEAST_BULK));
        return Err(TOO_LONG);
    }
    let start = cx.reply.len();
    cx.reply.array(times);
    let draws = set.draws();
    for _ in 0..times {
        if let Some(member) = draws.draw(&mut cx.sys.rng) {
            put(cx.reply, member);
        }
        if cx.reply.len() - start > most {
            return Err(TOO_LONG);
        }
    }
    Ok(Flow::Done)
}

/// Bytes of the shortest member in a reply.
const LEAST_BULK: usize = b"$0\r\n\r\n".len();
const TOO_LONG: CmdError =
    CmdError::fixed("ERR the reply would exceed the maximum allowed size (proto-max-bulk-len)");

fn one(cx: &mut Ctx<'_>, key: &[u8]) -> CmdResult {
    let member = cx
        .ks
        .read::<Set>(key)?
        .and_then(|s| s.random(&mut cx.sys.rng));
    match member {
        Some(member) => put(cx.reply, member),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}
