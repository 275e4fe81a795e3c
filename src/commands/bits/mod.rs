//! Bitmaps: strings seen as bits.

mod field;
mod op;

use crate::exec::args::{self, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::bits::{self, Unit};
use crate::types::string::Str;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("setbit", 4, setbit)
        .since("2.2.0")
        .group(Group::Bitmap)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key offset:int value:int")
        .summary("Set or clear a bit of a string, grown with zeros up to it; return what it was.")
        .complexity("O(1)")
        .checked(),
    Command::new("getbit", 3, getbit)
        .since("2.2.0")
        .group(Group::Bitmap)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key offset:int")
        .summary("Return a bit of a string.")
        .complexity("O(1)")
        .checked(),
    Command::new("bitcount", -2, bitcount)
        .since("2.6.0")
        .group(Group::Bitmap)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key [range={start:int end:int [unit=(BYTE | BIT)@7.0.0]}]")
        .summary("Count the bits that are set, in a range of a string or in all of it.")
        .complexity("O(N) where N is the number of bytes in the range.")
        .history(&[("7.0.0", "Added `BYTE` and `BIT`.")])
        .limits("As with Redis, `start` needs an `end`; Valkey 8.0 lets that be left out.")
        .checked(),
    Command::new("bitpos", -3, bitpos)
        .since("2.8.7")
        .group(Group::Bitmap)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax(
            "key:key bit:int \
             [range={start:int [end-unit-block={end:int [unit=(BYTE | BIT)@7.0.0]}]}]",
        )
        .summary("Find the first bit that is set, or the first that is not.")
        .complexity("O(N) where N is the number of bytes in the range.")
        .history(&[("7.0.0", "Added `BYTE` and `BIT`.")])
        .checked(),
    op::ROW,
    field::BITFIELD,
    field::BITFIELD_RO,
];

const BAD_OFFSET: CmdError = CmdError::fixed("ERR bit offset is not an integer or out of range");

/// Reads the place of a bit: where a string of `limit` bytes has one.
fn offset(arg: &[u8], limit: u64) -> Result<u64, CmdError> {
    let offset = args::int(arg).ok().and_then(|n| u64::try_from(n).ok());
    offset.filter(|at| at / 8 < limit).ok_or(BAD_OFFSET)
}

/// The length of a string that has a bit at `offset`.
fn length_for(offset: u64) -> Result<usize, CmdError> {
    usize::try_from(offset / 8 + 1).map_err(|_| BAD_OFFSET)
}

fn unit(arg: &[u8]) -> Result<Unit, CmdError> {
    if is(arg, "BIT") {
        Ok(Unit::Bit)
    } else if is(arg, "BYTE") {
        Ok(Unit::Byte)
    } else {
        Err(CmdError::SYNTAX)
    }
}

fn setbit(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let at = offset(args.at(2), cx.longest_string())?;
    let on = match args.int(3) {
        Ok(0) => false,
        Ok(1) => true,
        _ => return Err(CmdError::fixed("ERR bit is not an integer or out of range")),
    };
    let len = length_for(at)?;
    let mut s = cx
        .ks
        .edit_or_create(args.at(1), || Str::raw(vec![0; len]))?;
    let grown = s.created || s.len() < len;
    let was = bits::set(s.get_mut().extend_to(len), at, on);
    if grown || was != on {
        s.changed(1, Event::string("setbit"));
    } else {
        s.unchanged();
    }
    cx.int(was.into())
}

fn getbit(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let at = offset(args.at(2), cx.longest_string())?;
    let on = match cx.ks.read::<Str>(args.at(1))? {
        Some(s) => s.with(|bytes| bits::get(bytes, at)),
        None => false,
    };
    cx.int(on.into())
}

fn bitcount(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    // A missing key has no bits, however wrong the rest is.
    let Some(s) = cx.ks.read::<Str>(args.at(1))? else {
        return cx.int(0);
    };
    let (start, end, unit) = match args.len() {
        2 => (0, -1, Unit::Byte),
        4 | 5 => {
            let (start, end) = (args.int(2)?, args.int(3)?);
            if start < 0 && end < start {
                return cx.int(0);
            }
            (start, end, args.get(4).map_or(Ok(Unit::Byte), unit)?)
        }
        _ => return Err(CmdError::SYNTAX),
    };
    let ones = match bits::range(s.len(), start, end, unit) {
        Some(range) => s.with(|bytes| bits::count(bytes, range)),
        None => 0,
    };
    cx.int(wire(ones))
}

fn bitpos(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let on = match args.int(2)? {
        0 => false,
        1 => true,
        _ => return Err(CmdError::fixed("ERR The bit argument must be 1 or 0.")),
    };
    // A missing key is zeros without end, however wrong the rest is.
    let Some(s) = cx.ks.read::<Str>(args.at(1))? else {
        return cx.int(if on { -1 } else { 0 });
    };
    if args.len() > 6 {
        return Err(CmdError::SYNTAX);
    }
    let start = args.get(3).map_or(Ok(0), args::int)?;
    let unit = args.get(5).map_or(Ok(Unit::Byte), unit)?;
    let end = args.get(4).map(args::int).transpose()?;
    let Some(range) = bits::range(s.len(), start, end.unwrap_or(-1), unit) else {
        return cx.int(-1);
    };
    let beyond = range.end;
    match s.with(|bytes| bits::position(bytes, on, range)) {
        Some(at) => cx.int(wire(at)),
        // Without an end the string goes on in zeros.
        None if !on && end.is_none() => cx.int(wire(beyond)),
        None => cx.int(-1),
    }
}

fn wire(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
