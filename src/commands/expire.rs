//! Deadlines of keys: EXPIRE and its like, TTL and its like, PERSIST.

use crate::exec::args::{Cursor, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, category, flag};

/// What EXPIRE and its like share.
macro_rules! expire {
    ($name:literal, $run:ident, $since:literal, $time:literal, $summary:literal) => {
        Command::new($name, -3, $run)
            .since($since)
            .group(Group::Generic)
            .write(Propagate::Explicit)
            .flags(&[flag::FAST])
            .acl(&[category::KEYSPACE])
            .keys(&[KeySpec::at(1).rw().update()])
            .syntax(concat!(
                "key:key ",
                $time,
                " [condition=(NX | XX | GT | LT)@7.0.0]"
            ))
            .summary($summary)
            .complexity("O(1)")
            .history(&[("7.0.0", "Added NX, XX, GT and LT.")])
            .checked()
    };
}

/// What TTL and its like share.
macro_rules! ttl {
    ($name:literal, $run:ident, $since:literal, $summary:literal) => {
        Command::new($name, 2, $run)
            .since($since)
            .group(Group::Generic)
            .read()
            .flags(&[flag::FAST])
            .acl(&[category::KEYSPACE])
            .keys(&[KeySpec::at(1).ro().access()])
            .syntax("key:key")
            .summary($summary)
            .complexity("O(1)")
    };
}

const MISSING: &[(&str, &str)] = &[("2.8.0", "Answers -2 for a key that does not exist.")];
const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    expire!(
        "expire",
        expire,
        "1.0.0",
        "seconds:int",
        "Let a key expire in a number of seconds."
    ),
    expire!(
        "pexpire",
        pexpire,
        "2.6.0",
        "milliseconds:int",
        "Let a key expire in a number of milliseconds."
    ),
    expire!(
        "expireat",
        expireat,
        "1.2.0",
        "unix-time-seconds:unix-time",
        "Let a key expire at a Unix time in seconds."
    ),
    expire!(
        "pexpireat",
        pexpireat,
        "2.6.0",
        "unix-time-milliseconds:unix-time",
        "Let a key expire at a Unix time in milliseconds."
    ),
    ttl!(
        "ttl",
        ttl,
        "1.0.0",
        "Return in how many seconds a key expires."
    )
    .history(MISSING)
    .tips(NONDETERMINISTIC)
    .checked(),
    ttl!(
        "pttl",
        pttl,
        "2.6.0",
        "Return in how many milliseconds a key expires."
    )
    .history(MISSING)
    .tips(NONDETERMINISTIC)
    .checked(),
    ttl!(
        "expiretime",
        expiretime,
        "7.0.0",
        "Return when a key expires, as Unix time in seconds."
    )
    .checked(),
    ttl!(
        "pexpiretime",
        pexpiretime,
        "7.0.0",
        "Return when a key expires, as Unix time in milliseconds."
    )
    .checked(),
    Command::new("persist", 2, persist)
        .since("2.2.0")
        .group(Group::Generic)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key")
        .summary("Let a key not expire any more.")
        .complexity("O(1)")
        .checked(),
];

fn expire(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let now = cx.now;
    expire_at(cx, args, 1000, now)
}

fn pexpire(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let now = cx.now;
    expire_at(cx, args, 1, now)
}

fn expireat(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    expire_at(cx, args, 1000, 0)
}

fn pexpireat(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    expire_at(cx, args, 1, 0)
}

/// Sets the deadline to `base` plus the number given, which counts `unit` milliseconds. A deadline that has passed
/// deletes the key.
fn expire_at(cx: &mut Ctx<'_>, args: Args<'_>, unit: i64, base: i64) -> CmdResult {
    let key = args.at(1);
    let condition = Condition::parse(args.cursor(3))?;
    let at = args
        .int(2)?
        .checked_mul(unit)
        .and_then(|ms| ms.checked_add(base))
        .ok_or_else(|| CmdError::invalid_expire(&cx.row.name))?;
    match cx.ks.seek(key) {
        Some(record) if condition.holds(record.expire_at(), at) => {}
        _ => return cx.int(0),
    }
    if cx.ks.is_past(at) {
        match cx.sys.cfg.lazyfree_lazy_expire {
            true => cx.ks.unlink(key, Event::DEL),
            false => cx.ks.delete(key, Event::DEL),
        };
        cx.fx.push(&[b"DEL", key]);
    } else {
        cx.ks.set_expiry(key, Some(at), Event::generic("expire"));
        let mut text = itoa::Buffer::new();
        cx.fx.push(&[b"PEXPIREAT", key, text.format(at).as_bytes()]);
    }
    cx.int(1)
}

/// When to set a deadline.
#[derive(Clone, Copy, Debug, Default)]
struct Condition {
    /// If there is none.
    nx: bool,
    /// If there is one.
    xx: bool,
    /// If it is later than the one there is; none is later than any.
    gt: bool,
    /// If it is earlier than the one there is.
    lt: bool,
}

impl Condition {
    fn parse(words: Cursor<'_>) -> Result<Condition, CmdError> {
        let mut it = Condition::default();
        for word in words {
            let flag = match word {
                _ if is(word, "NX") => &mut it.nx,
                _ if is(word, "XX") => &mut it.xx,
                _ if is(word, "GT") => &mut it.gt,
                _ if is(word, "LT") => &mut it.lt,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CmdError::new(format!("ERR Unsupported option {word}")));
                }
            };
            *flag = true;
        }
        if it.nx && (it.xx || it.gt || it.lt) {
            return Err(CmdError::fixed(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if it.gt && it.lt {
            return Err(CmdError::fixed(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(it)
    }

    fn holds(self, current: Option<i64>, at: i64) -> bool {
        match current {
            None => !self.xx && !self.gt,
            Some(_) if self.nx => false,
            Some(now) => (!self.gt || at > now) && (!self.lt || at < now),
        }
    }
}

fn ttl(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let now = cx.now;
    time_of(cx, args, |at| seconds((at - now).max(0)))
}

fn pttl(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let now = cx.now;
    time_of(cx, args, |at| (at - now).max(0))
}

fn expiretime(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    time_of(cx, args, seconds)
}

fn pexpiretime(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    time_of(cx, args, |at| at)
}

/// To the nearest second.
fn seconds(ms: i64) -> i64 {
    ms / 1000 + (ms % 1000 + 500) / 1000
}

/// Answers -2 without such a key and -1 without a deadline.
fn time_of(cx: &mut Ctx<'_>, args: Args<'_>, show: impl Fn(i64) -> i64) -> CmdResult {
    let time = match cx.ks.read_meta(args.at(1)) {
        None => -2,
        Some(record) => record.expire_at().map_or(-1, show),
    };
    cx.int(time)
}

fn persist(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    let expires = cx.ks.seek(key).is_some_and(|r| r.expire_at().is_some());
    if expires {
        cx.ks.set_expiry(key, None, Event::generic("persist"));
    }
    cx.int(i64::from(expires))
}
