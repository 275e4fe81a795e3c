//! BITOP.

use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::keyspace::Expiry;
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::Value;
use crate::types::bits::combine::Combine;
use crate::types::string::{Str, Text};

/// The row.
pub(super) const ROW: Command = Command::new("bitop", -4, bitop)
    .since("2.6.0")
    .group(Group::Bitmap)
    .write(Propagate::Verbatim)
    .flags(&[flag::DENYOOM])
    .keys(&[
        KeySpec::at(2).ow().update(),
        KeySpec::at(3).range(-1, 1, 0).ro().access(),
    ])
    .syntax(
        "operation=(AND | OR | XOR | NOT | DIFF@8.2.0 | DIFF1@8.2.0 | ANDOR@8.2.0 | ONE@8.2.0) \
         destkey:key key:key...#1",
    )
    .summary("Combine strings bit by bit and store the result; return its length.")
    .complexity("O(N) where N is the length of the longest string, times the number of strings.")
    .history(&[("8.2.0", "Added `DIFF`, `DIFF1`, `ANDOR` and `ONE`.")])
    .checked();

const OPERATIONS: &[(&str, Combine)] = &[
    ("AND", Combine::And),
    ("OR", Combine::Or),
    ("XOR", Combine::Xor),
    ("NOT", Combine::Not),
    ("DIFF", Combine::Diff),
    ("DIFF1", Combine::Diff1),
    ("ANDOR", Combine::AndOr),
    ("ONE", Combine::One),
];

fn bitop(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(&(name, op)) = OPERATIONS.iter().find(|(name, _)| is(args.at(1), name)) else {
        return Err(CmdError::SYNTAX);
    };
    let (target, keys) = (args.at(2), args.from(3));
    check_number(name, op, keys.len())?;
    let mut texts = Vec::with_capacity(keys.len());
    for key in keys {
        texts.push(cx.ks.read::<Str>(key)?.map(Str::text));
    }
    let sources: Vec<&[u8]> = texts.iter_mut().map(bytes).collect();
    let result = op.of(&sources);
    let len = result.len();
    if len == 0 {
        cx.ks.discard(target, Event::DEL);
    } else {
        let value = Value::Str(Str::raw(result));
        cx.ks
            .put(target, value, Expiry::Clear, Event::string("set"));
    }
    cx.count(len)
}

/// A missing key is an empty string.
fn bytes<'a>(text: &'a mut Option<Text<'_>>) -> &'a [u8] {
    text.as_mut().map_or(&[], Text::bytes)
}

/// NOT has one source, and what sets the first source against the others has others.
fn check_number(name: &str, op: Combine, sources: usize) -> Result<(), CmdError> {
    let against = matches!(op, Combine::Diff | Combine::Diff1 | Combine::AndOr);
    let number = match op {
        Combine::Not if sources != 1 => "a single source key",
        _ if against && sources < 2 => "multiple source keys",
        _ => return Ok(()),
    };
    Err(CmdError::new(format!(
        "ERR BITOP {name} must be called with {number}."
    )))
}
