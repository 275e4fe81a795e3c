//! Strings, written and deleted as a whole: SET and its relatives, with their conditions and TTLs.

use super::ttl::{Ttl, Unit};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::keyspace::{AT_ONCE, Expiry, Keyspace, Touch};
use crate::spec::keys::{Argv, KeyError, KeyFlags, KeyRef, Keys};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::Value;
use crate::types::string::Str;
use crate::util::{digest, num};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("set", -3, set)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::MayRewrite)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1)
            .rw()
            .access()
            .update()
            .variable()
            .note("RW and ACCESS only with GET or a condition on the value")])
        .keys_fn(set_keys)
        .syntax(
            "key:key value [condition=(NX | XX | IFEQ^ifeq-value@8.4.0 | IFNE^ifne-value@8.4.0 | \
             IFDEQ^ifdeq-digest@8.4.0 | IFDNE^ifdne-digest@8.4.0)@2.6.12] [GET@6.2.0] \
             [expiration=(EX^seconds:int@2.6.12 | PX^milliseconds:int@2.6.12 | \
             EXAT^unix-time-seconds:unix-time@6.2.0 | PXAT^unix-time-milliseconds:unix-time@6.2.0 | \
             KEEPTTL@6.0.0)]",
        )
        .summary("Store a string, replacing any value.")
        .complexity("O(1)")
        .history(&[
            ("2.6.12", "Took `EX`, `PX`, `NX` and `XX`."),
            ("6.0.0", "Took `KEEPTTL`."),
            ("6.2.0", "Took `GET`, `EXAT` and `PXAT`."),
            ("7.0.0", "Let `NX` and `GET` go together."),
            ("8.4.0", "Took `IFEQ`, `IFNE`, `IFDEQ` and `IFDNE`."),
        ])
        .checked(),
    Command::new("setnx", 3, setnx)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).ow().insert()])
        .syntax("key:key value")
        .summary("Store a string where there is no key yet.")
        .complexity("O(1)")
        .deprecated("2.6.12", "`SET` with the `NX` argument")
        .checked(),
    Command::new("setex", 4, setex)
        .since("2.0.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).ow().update()])
        .syntax("key:key seconds:int value")
        .summary("Store a string with a time to live in seconds.")
        .complexity("O(1)")
        .deprecated("2.6.12", "`SET` with the `EX` argument")
        .checked(),
    Command::new("psetex", 4, psetex)
        .since("2.6.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).ow().update()])
        .syntax("key:key milliseconds:int value")
        .summary("Store a string with a time to live in milliseconds.")
        .complexity("O(1)")
        .deprecated("2.6.12", "`SET` with the `PX` argument")
        .checked(),
    Command::new("getset", 3, getset)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key value")
        .summary("Store a string and return the one before.")
        .complexity("O(1)")
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .checked(),
    Command::new("getex", -2, getex)
        .since("6.2.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1)
            .rw()
            .access()
            .update()
            .note("RW and UPDATE for the time to live, which it may change")])
        .syntax(
            "key:key [expiration=(EX^seconds:int | PX^milliseconds:int | \
             EXAT^unix-time-seconds:unix-time | PXAT^unix-time-milliseconds:unix-time | PERSIST)]",
        )
        .summary("Return the string at a key and set or clear its time to live.")
        .complexity("O(1)")
        .checked(),
    Command::new("mset", -3, mset)
        .since("1.0.1")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).range(-1, 2, 0).ow().update()])
        .syntax("data={key:key value}...")
        .summary("Store several strings at once.")
        .complexity("O(N) where N is the number of keys to set.")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .checked(),
    Command::new("msetnx", -3, msetnx)
        .since("1.0.1")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).range(-1, 2, 0).ow().insert()])
        .syntax("data={key:key value}...")
        .summary("Store several strings at once, if none of the keys is there yet.")
        .complexity("O(N) where N is the number of keys to set.")
        .checked(),
    Command::new("msetex", -4, msetex)
        .since("8.4.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).keynum(0, 1, 2).ow().update()])
        .syntax(
            "numkeys:int data={key:key value}...=numkeys [condition=(NX | XX)] \
             [expiration=(EX^seconds:int | PX^milliseconds:int | \
             EXAT^unix-time-seconds:unix-time | PXAT^unix-time-milliseconds:unix-time | KEEPTTL)]",
        )
        .summary("Store several strings at once under one condition and with one time to live.")
        .complexity("O(N) where N is the number of keys to set.")
        .checked(),
    Command::new("delex", -2, delex)
        .since("8.4.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().delete().variable()])
        .keys_fn(delex_keys)
        .syntax(
            "key:key [condition=(IFEQ^ifeq-value | IFNE^ifne-value | IFDEQ^ifdeq-digest | \
             IFDNE^ifdne-digest)]",
        )
        .summary("Delete a key if its string, or the digest of it, is or is not the one given.")
        .complexity(
            "O(1) for IFEQ/IFNE, O(N) for IFDEQ/IFDNE where N is the length of the string value.",
        )
        .checked(),
    Command::new("delifeq", 3, delifeq)
        .since("9.0.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key value")
        .summary("Delete a key if its string is the one given.")
        .complexity("O(1)")
        .checked(),
];

/// When a value may be written or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition<'a> {
    Always,
    Absent,
    Present,
    /// The string is this one, or (`negated`) there is no key or another string.
    Value {
        is: &'a [u8],
        negated: bool,
    },
    /// The same with the digest of the string, in hexadecimal digits of either case.
    Digest {
        is: &'a [u8],
        negated: bool,
    },
}

impl<'a> Condition<'a> {
    /// The condition that takes an operand under this name.
    fn comparing(word: &[u8], operand: &'a [u8]) -> Option<Self> {
        let condition = if is(word, "IFEQ") || is(word, "IFNE") {
            Condition::Value {
                is: operand,
                negated: is(word, "IFNE"),
            }
        } else if is(word, "IFDEQ") || is(word, "IFDNE") {
            Condition::Digest {
                is: operand,
                negated: is(word, "IFDNE"),
            }
        } else {
            return None;
        };
        Some(condition)
    }

    /// Takes NX or XX; whether the word was one. Saying one twice is no error.
    fn take_existence(&mut self, word: &[u8]) -> Result<bool, CmdError> {
        let condition = if is(word, "NX") {
            Condition::Absent
        } else if is(word, "XX") {
            Condition::Present
        } else {
            return Ok(false);
        };
        if *self != Condition::Always && *self != condition {
            return Err(CmdError::SYNTAX);
        }
        *self = condition;
        Ok(true)
    }

    /// Whether it is met at this key. Only comparisons care for the type of the value, and a digest is looked at only
    /// when there is a string to compare.
    fn holds(self, ks: &Keyspace, key: &[u8]) -> Result<bool, CmdError> {
        match self {
            Condition::Always => Ok(true),
            Condition::Absent => Ok(ks.seek(key).is_none()),
            Condition::Present => Ok(ks.peek(key).is_some()),
            Condition::Value { negated, .. } | Condition::Digest { negated, .. } => {
                match ks.look::<Str>(key)? {
                    Some(s) => self.compares(s),
                    None => Ok(negated),
                }
            }
        }
    }

    fn compares(self, s: &Str) -> Result<bool, CmdError> {
        match self {
            Condition::Value { is, negated } => Ok(s.with(|bytes| bytes == is) != negated),
            Condition::Digest { is, negated } => {
                let digest = digest::hex_u64(s.with(digest::xxh3_64));
                if is.len() != digest.len() {
                    return Err(CmdError::fixed(
                        "ERR must be exactly 16 hexadecimal characters",
                    ));
                }
                Ok(is.eq_ignore_ascii_case(&digest) != negated)
            }
            _ => Ok(true),
        }
    }
}

/// What SET is asked to do.
struct SetRequest<'a> {
    condition: Condition<'a>,
    get: bool,
    ttl: Ttl<'a>,
}

impl<'a> SetRequest<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CmdError> {
        let mut req = SetRequest {
            condition: Condition::Always,
            get: false,
            ttl: Ttl::Unsaid,
        };
        let mut rest = args.cursor(3);
        while let Some(word) = rest.next() {
            if is(word, "GET") {
                req.get = true;
            } else if req.condition.take_existence(word)?
                || req.ttl.take_unit(word, &mut rest)?
                || req.ttl.take_token(word, "KEEPTTL", Ttl::Keep)?
            {
                continue;
            } else {
                let operand = rest.word()?;
                if req.condition != Condition::Always {
                    return Err(CmdError::SYNTAX);
                }
                req.condition = Condition::comparing(word, operand).ok_or(CmdError::SYNTAX)?;
            }
        }
        Ok(req)
    }
}

/// With GET or a comparison the value is read, otherwise it is overwritten blindly.
fn set_keys(args: &dyn Argv, keys: &mut Keys) -> Result<(), KeyError> {
    let reads = (3..args.len()).any(|i| {
        let word = args.arg(i);
        ["GET", "IFEQ", "IFNE", "IFDEQ", "IFDNE"]
            .iter()
            .any(|token| is(word, token))
    });
    let flags = if reads {
        KeyFlags::RW.with(KeyFlags::ACCESS)
    } else {
        KeyFlags::OW
    };
    let flags = flags.with(KeyFlags::UPDATE);
    keys.push(KeyRef { pos: 1, flags });
    Ok(())
}

/// With a condition the value is read, otherwise the key is removed blindly.
fn delex_keys(args: &dyn Argv, keys: &mut Keys) -> Result<(), KeyError> {
    let flags = if args.len() > 2 {
        KeyFlags::RW.with(KeyFlags::ACCESS)
    } else {
        KeyFlags::RM
    };
    let flags = flags.with(KeyFlags::DELETE);
    keys.push(KeyRef { pos: 1, flags });
    Ok(())
}

fn set(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, value) = (args.at(1), args.at(2));
    let req = SetRequest::parse(args)?;
    let deadline = req.ttl.deadline(cx.now, "set")?;
    if req.get {
        reply_old(cx, key)?;
    }
    if !req.condition.holds(cx.ks, key)? {
        if !req.get {
            cx.reply.null();
        }
        return Ok(Flow::Done);
    }
    put(cx, key, value, expiry(req.ttl, deadline));
    if !req.get {
        cx.reply.ok();
    }
    if cx.fx.wanted() {
        propagate_set(cx, args, &req, deadline);
    }
    Ok(Flow::Done)
}

/// Times become absolute milliseconds, comparisons are dropped (they held), and so is GET. As with Redis, what names such a
/// time itself stays as it was sent.
fn propagate_set(cx: &mut Ctx<'_>, args: Args<'_>, req: &SetRequest<'_>, deadline: Option<i64>) {
    let (key, value) = (args.at(1), args.at(2));
    let compared = matches!(
        req.condition,
        Condition::Value { .. } | Condition::Digest { .. }
    );
    match (deadline, compared) {
        (Some(_), false) if req.ttl.is_absolute() => {}
        (None, false) if req.get => {
            let kept = args.all().iter().enumerate();
            let kept = kept.filter(|(i, arg)| *i < 3 || !is(arg, "GET"));
            let mut kept: Vec<&[u8]> = kept.map(|(_, arg)| *arg).collect();
            kept[0] = cx.logged_name(args);
            cx.fx.push(&kept);
        }
        (None, false) => {}
        _ => push_set(cx, key, value, expiry(req.ttl, deadline)),
    }
}

/// The SET that has the same effect in any version since 6.2.
pub(super) fn push_set(cx: &mut Ctx<'_>, key: &[u8], value: &[u8], expiry: Expiry) {
    match expiry {
        Expiry::Clear => cx.fx.push(&[b"SET", key, value]),
        Expiry::Keep => cx.fx.push(&[b"SET", key, value, b"KEEPTTL"]),
        Expiry::At(at) => {
            let at = decimal(at);
            cx.fx.push(&[b"SET", key, value, b"PXAT", &at]);
        }
    }
}

pub(super) fn decimal(n: i64) -> Vec<u8> {
    let mut text = Vec::new();
    num::write_i64(&mut text, n);
    text
}

fn expiry(ttl: Ttl<'_>, deadline: Option<i64>) -> Expiry {
    match (ttl, deadline) {
        (_, Some(at)) => Expiry::At(at),
        (Ttl::Keep, None) => Expiry::Keep,
        _ => Expiry::Clear,
    }
}

fn put(cx: &mut Ctx<'_>, key: &[u8], value: &[u8], expiry: Expiry) {
    cx.ks.put_text(key, value, expiry, Event::string("set"));
    if matches!(expiry, Expiry::At(_)) {
        cx.ks.notify(key, Event::generic("expire"));
    }
}

/// Answers with the string at the key, as GET does.
fn reply_old(cx: &mut Ctx<'_>, key: &[u8]) -> Result<bool, CmdError> {
    let old = cx.ks.read::<Str>(key)?;
    match old {
        Some(s) => cx.reply.bulk(s.text().bytes()),
        None => cx.reply.null(),
    }
    Ok(old.is_some())
}

fn setnx(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let absent = cx.ks.seek(args.at(1)).is_none();
    if absent {
        put(cx, args.at(1), args.at(2), Expiry::Clear);
    }
    cx.int(i64::from(absent))
}

fn setex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    set_with_ttl(cx, args, Unit::Ex, "setex")
}

fn psetex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    set_with_ttl(cx, args, Unit::Px, "psetex")
}

fn set_with_ttl(cx: &mut Ctx<'_>, args: Args<'_>, unit: Unit, command: &str) -> CmdResult {
    let expiry = Expiry::At(unit.deadline(args.at(2), cx.now, command)?);
    put(cx, args.at(1), args.at(3), expiry);
    push_set(cx, args.at(1), args.at(3), expiry);
    cx.ok()
}

fn getset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, value) = (args.at(1), args.at(2));
    reply_old(cx, key)?;
    put(cx, key, value, Expiry::Clear);
    push_set(cx, key, value, Expiry::Clear);
    Ok(Flow::Done)
}

fn getex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    let mut ttl = Ttl::Unsaid;
    let mut rest = args.cursor(2);
    while let Some(word) = rest.next() {
        if !ttl.take_unit(word, &mut rest)? && !ttl.take_token(word, "PERSIST", Ttl::Persist)? {
            return Err(CmdError::SYNTAX);
        }
    }
    if !reply_old(cx, key)? {
        return Ok(Flow::Done);
    }
    match ttl.deadline(cx.now, "getex")? {
        Some(at) if cx.ks.is_past(at) => {
            cx.ks.delete(key, Event::DEL);
            cx.fx.push(&[b"DEL", key]);
        }
        Some(at) => {
            cx.ks.set_expiry(key, Some(at), Event::generic("expire"));
            cx.fx.push(&[b"PEXPIREAT", key, &decimal(at)]);
        }
        None if ttl == Ttl::Persist && has_ttl(cx.ks, key) => {
            cx.ks.set_expiry(key, None, Event::generic("persist"));
            cx.fx.push(&[b"PERSIST", key]);
        }
        None => {}
    }
    Ok(Flow::Done)
}

pub(super) fn has_ttl(ks: &Keyspace, key: &[u8]) -> bool {
    ks.peek(key).is_some_and(|r| r.expire_at().is_some())
}

/// The arguments as pairs, which they must be.
fn pairs<'a>(
    args: &[&'a [u8]],
    command: &str,
) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone, CmdError> {
    let (pairs, []) = args.as_chunks::<2>() else {
        return Err(CmdError::arity(command));
    };
    Ok(pairs.iter().map(|[key, value]| (*key, *value)))
}

fn mset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let pairs = pairs(args.from(1), "mset")?;
    for (i, (key, value)) in pairs.clone().enumerate() {
        if i % AT_ONCE == 0 {
            let next = pairs.clone().skip(i).map(|(key, _)| key);
            cx.ks.glance(cx.ks.current(), next.map(Touch::key));
        }
        put(cx, key, value, Expiry::Clear);
    }
    cx.ok()
}

fn msetnx(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let pairs = pairs(args.from(1), "msetnx")?;
    if pairs.clone().any(|(key, _)| cx.ks.seek(key).is_some()) {
        return cx.int(0);
    }
    for (key, value) in pairs {
        put(cx, key, value, Expiry::Clear);
    }
    cx.int(1)
}

fn msetex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let numkeys = num::parse_i64(args.at(1)).and_then(|n| i32::try_from(n).ok());
    let Some(numkeys @ 1..) = numkeys else {
        return Err(CmdError::fixed("ERR invalid numkeys value"));
    };
    let end = usize::try_from(numkeys)
        .unwrap_or(usize::MAX)
        .saturating_mul(2)
        .saturating_add(2);
    let Some(data) = args.all().get(2..end) else {
        return Err(CmdError::fixed("ERR wrong number of key-value pairs"));
    };
    let pairs = pairs(data, "msetex")?;
    let (mut condition, mut ttl) = (Condition::Always, Ttl::Unsaid);
    let mut rest = args.cursor(end);
    while let Some(word) = rest.next() {
        if !condition.take_existence(word)?
            && !ttl.take_unit(word, &mut rest)?
            && !ttl.take_token(word, "KEEPTTL", Ttl::Keep)?
        {
            return Err(CmdError::SYNTAX);
        }
    }
    let expiry = expiry(ttl, ttl.deadline(cx.now, "msetex")?);
    for (key, _) in pairs.clone() {
        if !condition.holds(cx.ks, key)? {
            return cx.int(0);
        }
    }
    for (key, value) in pairs {
        put(cx, key, value, expiry);
        push_set(cx, key, value, expiry);
    }
    cx.int(1)
}

fn delex(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    if args.len() != 2 && args.len() != 4 {
        return Err(CmdError::arity("delex"));
    }
    let Some(record) = cx.ks.peek(key) else {
        return cx.int(0);
    };
    if args.len() == 4 {
        let Value::Str(s) = record.value() else {
            return Err(CmdError::fixed(
                "ERR Key should be of string type if conditions are specified",
            ));
        };
        let condition = Condition::comparing(args.at(2), args.at(3)).ok_or(CmdError::fixed(
            "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
        ))?;
        if !condition.compares(s)? {
            return cx.int(0);
        }
    }
    delete(cx, key)
}

fn delifeq(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, value) = (args.at(1), args.at(2));
    match cx.ks.look::<Str>(key)? {
        Some(s) if s.with(|bytes| bytes == value) => delete(cx, key),
        _ => cx.int(0),
    }
}

fn delete(cx: &mut Ctx<'_>, key: &[u8]) -> CmdResult {
    cx.ks.delete(key, Event::DEL);
    cx.fx.push(&[b"DEL", key]);
    cx.int(1)
}
