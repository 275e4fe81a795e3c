//! Strings that count: INCR and its relatives.

use super::string_set::{has_ttl, push_set};
use super::ttl::Ttl;
use crate::exec::args::{Cursor, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Expiry;
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::Value;
use crate::types::string::Str;
use crate::util::ext80::Ext80;
use crate::util::num;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("incr", 2, incr)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key")
        .summary("Add one to the number at a key, 0 where there is none.")
        .complexity("O(1)")
        .checked(),
    Command::new("decr", 2, decr)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key")
        .summary("Take one from the number at a key, 0 where there is none.")
        .complexity("O(1)")
        .checked(),
    Command::new("incrby", 3, incrby)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key increment:int")
        .summary("Add to the number at a key, 0 where there is none.")
        .complexity("O(1)")
        .checked(),
    Command::new("decrby", 3, decrby)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key decrement:int")
        .summary("Take from the number at a key, 0 where there is none.")
        .complexity("O(1)")
        .checked(),
    Command::new("incrbyfloat", 3, incrbyfloat)
        .since("2.6.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key increment:double")
        .summary("Add to the number with a fraction at a key, 0 where there is none.")
        .complexity("O(1)")
        .checked(),
    Command::new("increx", -2, increx)
        .since("8.8.0")
        .group(Group::String)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax(
            "key:key [increment=(BYFLOAT^float:double | BYINT^integer:int)] [LBOUND^lowerbound:double] \
             [UBOUND^upperbound:double] [SATURATE] [expiration=(EX^seconds:int | PX^milliseconds:int | \
             EXAT^unix-time-seconds:unix-time | PXAT^unix-time-milliseconds:unix-time | PERSIST)] [ENX]",
        )
        .summary("Add to the number at a key within bounds, and set its time to live.")
        .complexity("O(1)")
        .checked(),
];

fn incr(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    add(cx, args.at(1), 1)
}

fn decr(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    add(cx, args.at(1), -1)
}

fn incrby(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    add(cx, args.at(1), args.int(2)?)
}

fn decrby(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let by = args.int(2)?.checked_neg();
    let by = by.ok_or(CmdError::fixed("ERR decrement would overflow"))?;
    add(cx, args.at(1), by)
}

/// Adds and answers with the sum. The event is `incrby` also when something was taken away.
fn add(cx: &mut Ctx<'_>, key: &[u8], by: i64) -> CmdResult {
    let mut s = cx.ks.edit_or_create(key, || Str::Int(0))?;
    let old = s.as_int().ok_or(CmdError::NOT_INTEGER)?;
    let sum = old.checked_add(by).ok_or(CmdError::OVERFLOW)?;
    *s.get_mut() = Str::Int(sum);
    s.changed(1, Event::string("incrby"));
    cx.int(sum)
}

fn incrbyfloat(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let key = args.at(1);
    let old = match cx.ks.look::<Str>(key)? {
        Some(s) => s.with(Ext80::parse).ok_or(CmdError::NOT_FLOAT)?,
        None => Ext80::ZERO,
    };
    let by = Ext80::parse(args.at(2)).ok_or(CmdError::NOT_FLOAT)?;
    let sum = old + by;
    if !sum.is_finite() {
        return Err(CmdError::fixed(
            "ERR increment would produce NaN or Infinity",
        ));
    }
    let text = human(sum);
    // What was a number with a fraction stays a text, even where the sum is whole.
    let value = Value::Str(Str::from_text(&text));
    cx.ks
        .put(key, value, Expiry::Keep, Event::string("incrbyfloat"));
    push_set(cx, key, &text, Expiry::Keep);
    cx.bulk(&text)
}

fn human(number: Ext80) -> Vec<u8> {
    let mut text = Vec::new();
    number.write_human(&mut text);
    text
}

/// What INCREX counts in.
trait Number: Copy {
    const ZERO: Self;
    const MAX: Self;
    const MIN: Self;
    const EVENT: &'static str;

    fn parse(text: &[u8], what: &str) -> Result<Self, CmdError>;
    fn of(s: &Str) -> Result<Self, CmdError>;
    fn below(self, other: Self) -> bool;
    /// The sum, if it is in the range of the type.
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
    fn negative(self) -> bool {
        self.below(Self::ZERO)
    }
    fn into_str(self) -> Str;
    fn reply(self, reply: &mut ReplyBuf);
}

impl Number for i64 {
    const ZERO: Self = 0;
    const MAX: Self = i64::MAX;
    const MIN: Self = i64::MIN;
    const EVENT: &'static str = "incrby";

    fn parse(text: &[u8], what: &str) -> Result<Self, CmdError> {
        num::parse_i64(text)
            .ok_or_else(|| CmdError::new(format!("ERR {what} is not an integer or out of range")))
    }

    fn of(s: &Str) -> Result<Self, CmdError> {
        s.as_int().ok_or(CmdError::NOT_INTEGER)
    }

    fn below(self, other: Self) -> bool {
        self < other
    }

    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.checked_sub(other)
    }

    fn into_str(self) -> Str {
        Str::Int(self)
    }

    fn reply(self, reply: &mut ReplyBuf) {
        reply.int(self);
    }
}

impl Number for Ext80 {
    const ZERO: Self = Ext80::ZERO;
    const MAX: Self = Ext80::MAX;
    const MIN: Self = Ext80::MIN;
    const EVENT: &'static str = "incrbyfloat";

    fn parse(text: &[u8], what: &str) -> Result<Self, CmdError> {
        let number = Ext80::parse(text)
            .ok_or_else(|| CmdError::new(format!("ERR {what} is not a valid float")))?;
        if !number.is_finite() && what == INCREMENT {
            return Err(CmdError::fixed("ERR BYFLOAT increment cannot be Infinity"));
        }
        Ok(number)
    }

    fn of(s: &Str) -> Result<Self, CmdError> {
        let number = s.with(Ext80::parse).ok_or(CmdError::NOT_FLOAT)?;
        if !number.is_finite() {
            return Err(CmdError::fixed("ERR value cannot be Infinity"));
        }
        Ok(number)
    }

    fn below(self, other: Self) -> bool {
        self.is_below(other)
    }

    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other).filter(|sum| sum.is_finite())
    }

    fn minus(self, other: Self) -> Option<Self> {
        Some(self - other).filter(|difference| difference.is_finite())
    }

    fn into_str(self) -> Str {
        Str::from_text(&human(self))
    }

    fn reply(self, reply: &mut ReplyBuf) {
        let text = human(self);
        if reply.is_resp3() {
            reply.raw(b",");
            reply.raw(&text);
            reply.raw(b"\r\n");
        } else {
            reply.bulk(&text);
        }
    }
}

const INCREMENT: &str = "Increment";

/// What INCREX is asked to do; numbers are read once it is known what it counts in.
struct IncrEx<'a> {
    by: Option<&'a [u8]>,
    float: bool,
    lower: Option<&'a [u8]>,
    upper: Option<&'a [u8]>,
    saturate: bool,
    ttl: Ttl<'a>,
    only_without_ttl: bool,
}

impl<'a> IncrEx<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CmdError> {
        let mut req = IncrEx {
            by: None,
            float: false,
            lower: None,
            upper: None,
            saturate: false,
            ttl: Ttl::Unsaid,
            only_without_ttl: false,
        };
        let mut rest = args.cursor(2);
        while let Some(word) = rest.next() {
            req.take(word, &mut rest)?;
        }
        if req.only_without_ttl {
            match req.ttl {
                Ttl::In(..) => {}
                Ttl::Persist => return Err(CmdError::SYNTAX),
                _ => return Err(CmdError::fixed("ERR ENX flag requires an expiration")),
            }
        }
        Ok(req)
    }

    /// Takes one option; unlike SET this refuses to hear one twice.
    fn take(&mut self, word: &[u8], rest: &mut Cursor<'a>) -> Result<(), CmdError> {
        let operand = if is(word, "BYINT") || is(word, "BYFLOAT") {
            self.float = is(word, "BYFLOAT");
            Some(&mut self.by)
        } else if is(word, "LBOUND") {
            Some(&mut self.lower)
        } else if is(word, "UBOUND") {
            Some(&mut self.upper)
        } else {
            None
        };
        if let Some(operand) = operand {
            let again = operand.replace(rest.word()?).is_some();
            return if again { Err(CmdError::SYNTAX) } else { Ok(()) };
        }
        let switch = if is(word, "SATURATE") {
            Some(&mut self.saturate)
        } else if is(word, "ENX") {
            Some(&mut self.only_without_ttl)
        } else {
            None
        };
        if let Some(switch) = switch {
            let again = std::mem::replace(switch, true);
            return if again { Err(CmdError::SYNTAX) } else { Ok(()) };
        }
        let fresh = self.ttl == Ttl::Unsaid;
        let taken = self.ttl.take_unit(word, rest)?
            || self.ttl.take_token(word, "PERSIST", Ttl::Persist)?;
        if taken && fresh {
            Ok(())
        } else {
            Err(CmdError::SYNTAX)
        }
    }
}

fn increx(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let req = IncrEx::parse(args)?;
    if req.float {
        count::<Ext80>(cx, args.at(1), &req)
    } else {
        count::<i64>(cx, args.at(1), &req)
    }
}

/// Answers with the number afterwards and what was added to it. A sum out of bounds changes nothing, unless it is to be
/// moved to the bound.
fn count<N: Number>(cx: &mut Ctx<'_>, key: &[u8], req: &IncrEx<'_>) -> CmdResult {
    let by = req.by.map_or_else(
        || N::parse(b"1", INCREMENT),
        |text| N::parse(text, INCREMENT),
    )?;
    let bound = |text: Option<&[u8]>, name| text.map(|t| N::parse(t, name)).transpose();
    let lower = bound(req.lower, "LBOUND")?.unwrap_or(N::MIN);
    let upper = bound(req.upper, "UBOUND")?.unwrap_or(N::MAX);
    if upper.below(lower) {
        return Err(CmdError::fixed("ERR LBOUND can't be greater than UBOUND"));
    }
    let deadline = req.ttl.deadline(cx.now, "increx")?;
    let old = cx.ks.look::<Str>(key)?.map_or(Ok(N::ZERO), N::of)?;
    // A sum beyond the type lies beyond any bound on that side.
    let sum = old.plus(by);
    let clamped = match sum {
        None if by.negative() => lower,
        None => upper,
        Some(sum) if sum.below(lower) => lower,
        Some(sum) if upper.below(sum) => upper,
        Some(sum) => sum,
    };
    let within = sum.is_some_and(|s| !s.below(lower) && !upper.below(s));
    if !within && !req.saturate {
        write_pair(cx, old, N::ZERO);
        return Ok(Flow::Done);
    }
    let applied = clamped
        .minus(old)
        .ok_or(CmdError::fixed("ERR applied increment would overflow"))?;
    store(cx, key, clamped, req, deadline);
    write_pair(cx, clamped, applied);
    Ok(Flow::Done)
}

fn write_pair<N: Number>(cx: &mut Ctx<'_>, value: N, applied: N) {
    cx.reply.array(2);
    value.reply(cx.reply);
    applied.reply(cx.reply);
}

fn store<N: Number>(
    cx: &mut Ctx<'_>,
    key: &[u8],
    number: N,
    req: &IncrEx<'_>,
    deadline: Option<i64>,
) {
    let had_ttl = has_ttl(cx.ks, key);
    let expiry = match (deadline, req.ttl) {
        (Some(_), _) if req.only_without_ttl && had_ttl => Expiry::Keep,
        (Some(at), _) => Expiry::At(at),
        (None, Ttl::Persist) => Expiry::Clear,
        (None, _) => Expiry::Keep,
    };
    if matches!(expiry, Expiry::At(at) if cx.ks.is_past(at)) {
        if cx.ks.delete(key, Event::DEL) {
            cx.fx.push(&[b"DEL", key]);
        }
        return;
    }
    let value = number.into_str();
    let text = value.with(<[u8]>::to_vec);
    let event = Event::string(N::EVENT);
    cx.ks.put(key, Value::Str(value), expiry, event);
    match expiry {
        Expiry::At(_) => cx.ks.notify(key, Event::generic("expire")),
        Expiry::Clear if had_ttl => cx.ks.notify(key, Event::generic("persist")),
        _ => {}
    }
    push_set(cx, key, &text, expiry);
}
