//! Runs brief scripts.

use std::panic::{AssertUnwindSafe, catch_unwind};

use smallvec::SmallVec;

use super::super::api::{self, Digits};
use super::super::convert::{truncated, up_to_zero};
use super::super::fault::{self, Name, Thrown};
use super::super::slot::Run;
use super::super::vm::Vm;
use super::parse::plain_number;
use super::{Brief, Call, Comparison, Exp, Stat, Words};
use crate::exec::CmdError;
use crate::resp::{Proto, ReplyBuf};
use crate::util::num;

/// What is used again for each run.
#[derive(Debug)]
pub(in crate::script) struct Room {
    /// The reply of the command that was called last.
    reply: ReplyBuf,
    /// What the script has of earlier replies.
    held: Vec<u8>,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            reply: ReplyBuf::new(Proto::Resp2),
            held: Vec::new(),
        }
    }
}

impl Room {
    /// Room beyond this is given back.
    const KEPT: usize = 64 << 10;

    fn tidy(&mut self) {
        self.held.clear();
        self.held.shrink_to(Room::KEPT);
        if self.reply.len() > Room::KEPT {
            drop(self.reply.take());
        }
    }
}

/// What a script is given to run with.
#[derive(Clone, Copy)]
pub(in crate::script) struct Given<'a> {
    pub(in crate::script) keys: &'a [&'a [u8]],
    pub(in crate::script) args: &'a [&'a [u8]],
    /// The interpreter, which knows how unusual numbers are spelled.
    pub(in crate::script) vm: &'a Vm,
    /// The name of its chunk, as messages show it.
    pub(in crate::script) chunk: &'static str,
}

/// Why a script came to no end.
pub(in crate::script) enum Failed {
    /// Something was raised on this line.
    Raised(Thrown, usize),
    /// It used too much memory.
    Memory,
    /// Something went wrong in here.
    Panicked,
}

impl Failed {
    /// The error reply.
    #[cold]
    pub(in crate::script) fn into_reply(self, name: Name<'_>) -> CmdError {
        match self {
            Failed::Raised(thrown, line) => fault::raised_at(&thrown, line, name),
            Failed::Memory => fault::unhandled(name, "not enough memory"),
            Failed::Panicked => CmdError::fixed("ERR Internal error in a script"),
        }
    }
}

/// Errors are seldom, and larger than values.
type Result<T> = std::result::Result<T, Box<Failed>>;

/// A value. Tables are nothing but the replies that they were.
#[derive(Debug, Clone, Copy)]
enum Val<'a> {
    Nil,
    Bool(bool),
    Number(f64),
    Text(&'a [u8]),
    /// It lies in the room.
    Held(Kind, usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    /// The text of a status.
    Status,
    /// An array, as it was replied.
    Array,
}

impl Val<'_> {
    const fn is_true(self) -> bool {
        !matches!(self, Val::Nil | Val::Bool(false))
    }

    const fn type_name(self) -> &'static str {
        match self {
            Val::Nil => "nil",
            Val::Bool(_) => "boolean",
            Val::Number(_) => "number",
            Val::Text(_) | Val::Held(Kind::Text, ..) => "string",
            Val::Held(..) => "table",
        }
    }
}

struct Runner<'a, 'r> {
    given: Given<'a>,
    run: &'r mut Run,
    room: &'r mut Room,
    locals: SmallVec<[Val<'a>; 4]>,
}

impl Brief {
    /// Runs the script; its reply is written when it has come to its end.
    pub(in crate::script) fn run(
        &self,
        run: &mut Run,
        given: Given<'_>,
        room: &mut Room,
        out: &mut ReplyBuf,
    ) -> Result<()> {
        room.held.clear();
        let mut runner = Runner {
            given,
            run: &mut *run,
            room: &mut *room,
            locals: SmallVec::from_elem(Val::Nil, self.locals),
        };
        let done = catch_unwind(AssertUnwindSafe(|| runner.block(&self.body, out)));
        let done = match done {
            Ok(done) => done,
            Err(_) => {
                run.panicked();
                Err(Box::new(Failed::Panicked))
            }
        };
        if matches!(done, Ok(false)) {
            out.null();
        }
        if room.reply.len() > Room::KEPT {
            // What was done with it took its time.
            run.forget_time();
        }
        room.tidy();
        done.map(|_| ())
    }
}

impl<'a> Runner<'a, '_> {
    /// Whether the script has returned.
    fn block(&mut self, stats: &'a [Stat], out: &mut ReplyBuf) -> Result<bool> {
        for stat in stats {
            match stat {
                Stat::Set(slot, exp) => {
                    let value = self.eval(exp)?;
                    if let Some(local) = self.locals.get_mut(*slot) {
                        *local = value;
                    }
                }
                Stat::Call(call) => self.call(call)?,
                Stat::If(cases, otherwise) => {
                    let mut branch = otherwise;
                    for (condition, then) in cases {
                        if self.eval(condition)?.is_true() {
                            branch = then;
                            break;
                        }
                    }
                    if self.block(branch, out)? {
                        return Ok(true);
                    }
                }
                Stat::Return(Exp::Call(call)) => {
                    self.call(call)?;
                    relay(&mut self.room.reply.as_slice(), out);
                    return Ok(true);
                }
                Stat::Return(exp) => {
                    let value = self.eval(exp)?;
                    self.write(value, out);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn eval(&mut self, exp: &'a Exp) -> Result<Val<'a>> {
        Ok(match exp {
            Exp::Nil => Val::Nil,
            Exp::Bool(b) => Val::Bool(*b),
            Exp::Number(n) => Val::Number(*n),
            Exp::Text(text) => Val::Text(text),
            Exp::Local(slot) => self.locals.get(*slot).copied().unwrap_or(Val::Nil),
            Exp::Given(words, at) => self
                .words(*words)
                .get(*at)
                .map_or(Val::Nil, |w| Val::Text(w)),
            Exp::Count(words) => Val::Number(self.words(*words).len() as f64),
            Exp::Call(call) => {
                self.call(call)?;
                self.keep()
            }
            Exp::ToNumber(exp) => {
                let value = self.eval(exp)?;
                self.number(value)?
            }
            Exp::Not(exp) => Val::Bool(!self.eval(exp)?.is_true()),
            Exp::And(both) => match self.eval(&both.0)? {
                left if left.is_true() => self.eval(&both.1)?,
                left => left,
            },
            Exp::Or(both) => match self.eval(&both.0)? {
                left if left.is_true() => left,
                _ => self.eval(&both.1)?,
            },
            Exp::Equal(both) => Val::Bool(match (&both.0, self.word(&both.1)) {
                (Exp::Call(call), Some(word)) => {
                    self.call(call)?;
                    let mut reply = self.room.reply.as_slice();
                    matches!(next(&mut reply), Some(Piece::Text(text)) if text == word)
                }
                _ => {
                    let (left, right) = (self.eval(&both.0)?, self.eval(&both.1)?);
                    self.are_equal(left, right)
                }
            }),
            Exp::Less(comparison) => Val::Bool(self.is_less(comparison)?),
        })
    }

    fn words(&self, words: Words) -> &'a [&'a [u8]] {
        match words {
            Words::Keys => self.given.keys,
            Words::Args => self.given.args,
        }
    }

    /// A string that is there already, if the expression is one.
    fn word(&self, exp: &'a Exp) -> Option<&'a [u8]> {
        match exp {
            Exp::Text(text) => Some(text),
            Exp::Given(words, at) => self.words(*words).get(*at).copied(),
            _ => None,
        }
    }

    /// The bytes of a string.
    fn text(&self, value: Val<'a>) -> Option<&[u8]> {
        match value {
            Val::Text(text) => Some(text),
            Val::Held(Kind::Text, from, to) => self.room.held.get(from..to),
            _ => None,
        }
    }

    fn are_equal(&self, left: Val<'a>, right: Val<'a>) -> bool {
        match (left, right) {
            (Val::Nil, Val::Nil) => true,
            (Val::Bool(left), Val::Bool(right)) => left == right,
            (Val::Number(left), Val::Number(right)) => left == right,
            // Two tables are the same only if they are one.
            (
                Val::Held(left @ (Kind::Status | Kind::Array), from, to),
                Val::Held(right, from2, to2),
            ) => (left, from, to) == (right, from2, to2),
            _ => match (self.text(left), self.text(right)) {
                (Some(left), Some(right)) => left == right,
                _ => false,
            },
        }
    }

    fn is_less(&mut self, comparison: &'a Comparison) -> Result<bool> {
        let (left, right) = (self.eval(&comparison.left)?, self.eval(&comparison.right)?);
        let (left, right) = match comparison.swapped {
            true => (right, left),
            false => (left, right),
        };
        let or_equal = comparison.or_equal;
        if let (Val::Number(left), Val::Number(right)) = (left, right) {
            return Ok(left < right || or_equal && left == right);
        }
        if let (Some(left), Some(right)) = (self.text(left), self.text(right)) {
            return Ok(left < right || or_equal && left == right);
        }
        let what = match (left.type_name(), right.type_name()) {
            (left, right) if left == right => format!("two {left} values"),
            (left, right) => format!("{left} with {right}"),
        };
        let line = comparison.line;
        let text = format!("{}:{line}: attempt to compare {what}", self.given.chunk);
        Err(raised(Thrown::Message(text.into_bytes()), line))
    }

    /// What tonumber makes of a value.
    fn number(&self, value: Val<'a>) -> Result<Val<'a>> {
        if matches!(value, Val::Number(_)) {
            return Ok(value);
        }
        let Some(text) = self.text(value) else {
            return Ok(Val::Nil);
        };
        if let Some(n) = plain_number(text) {
            return Ok(Val::Number(n));
        }
        let lua = &self.given.vm.lua;
        let text = lua
            .create_string(text)
            .map_err(|_| Box::new(Failed::Memory))?;
        let number = lua.coerce_number(mlua::Value::String(text));
        Ok(number.ok().flatten().map_or(Val::Nil, Val::Number))
    }

    /// Calls a command. Its reply lies in the room until the next one, and is no error.
    fn call(&mut self, call: &'a Call) -> Result<()> {
        let mut words: SmallVec<[&[u8]; 8]> = SmallVec::new();
        for arg in &call.args {
            match self.word(arg) {
                Some(word) => words.push(word),
                None => return self.call_with(call),
            }
        }
        if words.is_empty() {
            return Err(raised(api::refusal(api::NO_ARGUMENT), call.line));
        }
        self.room.reply.clear();
        let done = self.run.command(&words, &mut self.room.reply);
        self.heed(done, call.line)
    }

    /// The same, whatever its arguments are.
    fn call_with(&mut self, call: &'a Call) -> Result<()> {
        let mut values: SmallVec<[Val<'a>; 8]> = SmallVec::new();
        for arg in &call.args {
            values.push(self.eval(arg)?);
        }
        let numbers: SmallVec<[Digits; 1]> = values
            .iter()
            .filter_map(|value| match value {
                Val::Number(n) => Some(api::digits(*n)),
                _ => None,
            })
            .collect();
        let Room { reply, held } = &mut *self.room;
        let mut numbers = numbers.iter();
        let mut words: SmallVec<[&[u8]; 8]> = SmallVec::new();
        for value in values {
            words.push(match value {
                Val::Text(text) => text,
                Val::Held(Kind::Text, from, to) => held.get(from..to).unwrap_or_default(),
                Val::Number(_) => numbers.next().map_or(&[], |digits| digits.as_slice()),
                _ => return Err(raised(api::refusal(api::BAD_ARGUMENT), call.line)),
            });
        }
        reply.clear();
        let done = self.run.command(&words, reply);
        drop(words);
        self.heed(done, call.line)
    }

    /// A command was called: nothing that has to end the script came of it?
    #[inline]
    fn heed(&self, done: std::result::Result<(), Thrown>, line: usize) -> Result<()> {
        let Room { reply, held } = &*self.room;
        match done {
            Ok(()) if reply.as_slice().first() == Some(&b'-') => {
                Err(raised(error_of(reply.as_slice()), line))
            }
            Ok(()) if reply.len() + held.len() > self.given.vm.limit() => {
                Err(Box::new(Failed::Memory))
            }
            Ok(()) => Ok(()),
            Err(thrown) => Err(raised(thrown, line)),
        }
    }

    /// Keeps the reply of the last command, as a value.
    fn keep(&mut self) -> Val<'a> {
        let Room { reply, held } = &mut *self.room;
        let reply = reply.as_slice();
        let mut rest = reply;
        let (kind, bytes) = match next(&mut rest) {
            Some(Piece::Number(n)) => return Val::Number(n),
            Some(Piece::False) => return Val::Bool(false),
            Some(Piece::Text(text)) => (Kind::Text, text),
            Some(Piece::Status(text)) => (Kind::Status, text),
            Some(Piece::Array(_)) => (Kind::Array, reply),
            Some(Piece::Error(_)) | None => return Val::Nil,
        };
        let from = held.len();
        held.extend_from_slice(bytes);
        Val::Held(kind, from, held.len())
    }

    fn write(&self, value: Val<'a>, out: &mut ReplyBuf) {
        match value {
            Val::Nil | Val::Bool(false) => out.null(),
            Val::Bool(true) => out.int(1),
            Val::Number(n) => out.int(truncated(n)),
            Val::Text(text) => out.bulk(text),
            Val::Held(kind, from, to) => {
                let mut held = self.room.held.get(from..to).unwrap_or_default();
                match kind {
                    Kind::Text => out.bulk(held),
                    Kind::Status => out.simple_bytes(up_to_zero(held)),
                    Kind::Array => relay(&mut held, out),
                }
            }
        }
    }
}

#[cold]
fn raised(thrown: Thrown, line: usize) -> Box<Failed> {
    Box::new(Failed::Raised(thrown, line))
}

/// The error that a command has answered, and counted.
#[cold]
fn error_of(reply: &[u8]) -> Thrown {
    let text = reply.get(1..).unwrap_or_default();
    let end = memchr::memchr(b'\r', text).unwrap_or(text.len());
    Thrown::Reply {
        text: text.get(..end).unwrap_or_default().to_vec(),
        counted: true,
    }
}

/// What a reply begins with.
enum Piece<'a> {
    Number(f64),
    /// Null, of either kind.
    False,
    Text(&'a [u8]),
    Status(&'a [u8]),
    Error(&'a [u8]),
    /// So many elements follow.
    Array(usize),
}

/// Takes one piece of a reply that this server wrote itself.
#[inline]
fn next<'a>(rest: &mut &'a [u8]) -> Option<Piece<'a>> {
    let (&kind, after) = rest.split_first()?;
    if matches!(kind, b'$' | b'*') {
        let (len, after) = length(after)?;
        *rest = after;
        return Some(match (kind, len) {
            (_, None) => Piece::False,
            (b'*', Some(len)) => Piece::Array(len),
            (_, Some(len)) => {
                let (text, behind) = after.split_at_checked(len)?;
                *rest = behind.get(2..)?;
                Piece::Text(text)
            }
        });
    }
    let (line, after) = after.split_at(memchr::memchr(b'\r', after)?);
    *rest = after.get(2..)?;
    Some(match kind {
        b':' => Piece::Number(num::parse_i64(line)? as f64),
        b'+' => Piece::Status(line),
        b'-' => Piece::Error(line),
        _ => return None,
    })
}

/// Takes a length, which is none for null, and the end of its line.
#[inline]
fn length(text: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let mut len = 0usize;
    for (at, &b) in text.iter().enumerate() {
        match b {
            b'0'..=b'9' => len = len.checked_mul(10)?.checked_add(usize::from(b - b'0'))?,
            b'\r' => return Some((Some(len), text.get(at + 2..)?)),
            _ => break,
        }
    }
    let end = memchr::memchr(b'\r', text)?;
    Some((None, text.get(end + 2..)?))
}

/// Whether a script that returns this reply answers in the same bytes, with the older protocol.
fn passes(reply: &[u8]) -> bool {
    match reply {
        [b'$' | b'+', ..] => true,
        // Of so few digits, a double holds all.
        [b':', ..] => reply.len() <= 18,
        [b'*', ..] => {
            let (mut rest, mut left) = (reply, 1usize);
            while left > 0 {
                left -= 1;
                match next(&mut rest) {
                    Some(Piece::Text(_) | Piece::Status(_)) => {}
                    Some(Piece::Array(len)) => left += len,
                    _ => return false,
                }
            }
            true
        }
        _ => false,
    }
}

/// Writes a reply as it comes out of a script that has got it and returns it: whole numbers as far as a double holds them,
/// one kind of null.
fn relay(rest: &mut &[u8], out: &mut ReplyBuf) {
    if !out.is_resp3() && passes(rest) {
        return out.raw(rest);
    }
    let mut left = 1usize;
    while left > 0 {
        left -= 1;
        match next(rest) {
            Some(Piece::Number(n)) => out.int(truncated(n)),
            Some(Piece::False) | None => out.null(),
            Some(Piece::Text(text)) => out.bulk(text),
            Some(Piece::Status(text)) => out.simple_bytes(up_to_zero(text)),
            Some(Piece::Error(text)) => out.error_bytes(up_to_zero(text)),
            Some(Piece::Array(len)) => {
                out.array(len);
                left += len;
            }
        }
    }
}
