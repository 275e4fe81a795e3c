//! Hashes: fields written and read, walked over and drawn, and the time to live that a field may have.

pub(super) mod expire;
pub(super) mod getex;
pub(super) mod read;
pub(super) mod walk;
pub(super) mod write;

use crate::ds::listpack::Value;
use crate::exec::args::is;
use crate::exec::{CmdError, Ctx, Cursor, Effects};
use crate::resp::ReplyBuf;
use crate::types::hash::Limits;
use crate::util::num;

/// When a hash of the selected database becomes a table.
pub(super) fn limits(cx: &Ctx<'_>) -> Limits {
    crate::exec::limits(cx.sys, cx.ks.seed()).hash
}

/// A name or value as a bulk string.
#[inline]
fn put(reply: &mut ReplyBuf, value: Value<'_>) {
    match value {
        Value::Int(n) => reply.bulk_int(n),
        Value::Str(bytes) => reply.bulk(bytes),
    }
}

/// A value, or null where there is none.
#[inline]
fn put_or_null(reply: &mut ReplyBuf, value: Option<Value<'_>>) {
    match value {
        Some(value) => put(reply, value),
        None => reply.null(),
    }
}

const NO_FIELDS: CmdError =
    CmdError::fixed("ERR Mandatory argument FIELDS is missing or not at the right position");

/// `FIELDS numfields field...`, and nothing behind it.
fn only_fields<'a>(mut args: Cursor<'a>) -> Result<&'a [&'a [u8]], CmdError> {
    if !args.token("FIELDS") {
        return Err(NO_FIELDS);
    }
    let number = num::parse_i64(args.word()?).filter(|n| *n >= 1);
    let Some(number) = number else {
        return Err(CmdError::fixed(
            "ERR Number of fields must be a positive integer",
        ));
    };
    let fields = args.rest();
    if usize::try_from(number) != Ok(fields.len()) {
        return Err(CmdError::fixed(
            "ERR The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(fields)
}

/// `numfields field...` with so many words for each field; others may follow.
fn take_fields<'a>(
    args: &mut Cursor<'a>,
    each: usize,
    invalid: CmdError,
) -> Result<&'a [&'a [u8]], CmdError> {
    let number = num::parse_i64(args.word()?).and_then(|n| i32::try_from(n).ok());
    let number = number.and_then(|n| usize::try_from(n).ok());
    let Some(number @ 1..) = number else {
        return Err(invalid);
    };
    let words = number.saturating_mul(each);
    let fields = args.rest().get(..words);
    let fields = fields.ok_or(CmdError::fixed("ERR wrong number of arguments"))?;
    args.nth(words - 1);
    Ok(fields)
}

/// An effect on fields: `words`, then FIELDS with their number and the fields with what belongs to each.
fn push_fields(fx: &mut Effects, words: &[&[u8]], number: usize, fields: &[&[u8]]) {
    let mut text = itoa::Buffer::new();
    let number = text.format(number).as_bytes();
    let effect = [words, &[b"FIELDS", number], fields].concat();
    fx.push(&effect);
}

/// What a word that does not belong there is answered with.
fn unknown(word: &[u8]) -> CmdError {
    let word = crate::exec::error::shown(word, usize::MAX);
    CmdError::new(format!("ERR unknown argument: {word}"))
}

/// How a deadline is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spelling {
    /// Milliseconds of the unit.
    unit: i64,
    /// Counted from now, not from 1970.
    relative: bool,
}

impl Spelling {
    const EX: Spelling = Spelling::new(1000, true);
    const PX: Spelling = Spelling::new(1, true);
    const EXAT: Spelling = Spelling::new(1000, false);
    const PXAT: Spelling = Spelling::new(1, false);
    /// The latest deadline of a field.
    const LATEST: i64 = (1 << 46) - 1;

    const fn new(unit: i64, relative: bool) -> Spelling {
        Spelling { unit, relative }
    }

    /// The spelling under this name.
    fn named(word: &[u8]) -> Option<Spelling> {
        [
            ("EX", Spelling::EX),
            ("PX", Spelling::PX),
            ("EXAT", Spelling::EXAT),
            ("PXAT", Spelling::PXAT),
        ]
        .into_iter()
        .find(|(name, _)| is(word, name))
        .map(|(_, spelling)| spelling)
    }

    /// The deadline in unix milliseconds, which may have passed.
    fn deadline(self, number: &[u8], cx: &Ctx<'_>) -> Result<i64, CmdError> {
        let number = crate::exec::args::int(number)?;
        if number < 0 {
            return Err(CmdError::fixed("ERR invalid expire time, must be >= 0"));
        }
        let base = if self.relative { cx.now } else { 0 };
        number
            .checked_mul(self.unit)
            .and_then(|ms| ms.checked_add(base))
            .filter(|at| *at <= Spelling::LATEST)
            .ok_or_else(|| CmdError::invalid_expire(&cx.row.name))
    }
}
