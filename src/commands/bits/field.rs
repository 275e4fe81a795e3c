//! BITFIELD and BITFIELD_RO.

use smallvec::SmallVec;

use super::{BAD_OFFSET, length_for, offset};
use crate::exec::args::{self, Cursor, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::keys::{Argv, KeyError, KeyFlags, KeyRef, Keys};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::bits::field::{IntType, Overflow};
use crate::types::string::Str;

/// The row of BITFIELD.
pub(super) const BITFIELD: Command = Command::new("bitfield", -2, bitfield)
    .since("3.2.0")
    .group(Group::Bitmap)
    .write(Propagate::Verbatim)
    .flags(&[flag::DENYOOM])
    .keys(&[KeySpec::at(1)
        .rw()
        .access()
        .update()
        .variable()
        .note("It may read the value, change it, or both")])
    .keys_fn(keys)
    .syntax(
        "key:key [operation=(GET^get-block={encoding offset:int} | \
         write={[OVERFLOW^overflow-block=(WRAP | SAT | FAIL)] \
         write-operation=(SET^set-block={encoding offset:int value:int} | \
         INCRBY^incrby-block={encoding offset:int increment:int})})...]",
    )
    .summary("Read and write integers of any width at any bit of a string.")
    .complexity("O(1) for each operation.")
    .checked();

/// The row of BITFIELD_RO.
pub(super) const BITFIELD_RO: Command = Command::new("bitfield_ro", -2, bitfield_ro)
    .since("6.0.0")
    .group(Group::Bitmap)
    .read()
    .flags(&[flag::FAST])
    .keys(&[KeySpec::at(1).ro().access()])
    .syntax("key:key [GET^get-block={encoding offset:int}...^]")
    .summary("Read integers of any width at any bit of a string.")
    .complexity("O(1) for each operation.")
    .checked();

/// What is done at a place.
#[derive(Debug, Clone, Copy)]
enum What {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Debug, Clone, Copy)]
struct Op {
    what: What,
    kind: IntType,
    at: u64,
    overflow: Overflow,
}

type Ops = SmallVec<[Op; 4]>;

fn bitfield(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let ops = parse(args, cx.longest_string())?;
    let last = |op: &Op| op.at + u64::from(op.kind.bits() - 1);
    let writes = ops.iter().filter(|op| op.is_write());
    match writes.map(last).max() {
        Some(last) => write(cx, args.at(1), &ops, length_for(last)?),
        None => read(cx, args.at(1), &ops),
    }
}

fn bitfield_ro(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let ops = parse(args, cx.longest_string())?;
    if ops.iter().any(Op::is_write) {
        return Err(CmdError::fixed(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    read(cx, args.at(1), &ops)
}

fn read(cx: &mut Ctx<'_>, key: &[u8], ops: &[Op]) -> CmdResult {
    let mut text = cx.ks.read::<Str>(key)?.map(Str::text);
    let bytes = text.as_mut().map_or(&[][..], |t| t.bytes());
    cx.reply.array(ops.len());
    for op in ops {
        cx.reply.int(op.kind.get(bytes, op.at));
    }
    Ok(Flow::Done)
}

/// Runs operations on a string of at least `len` bytes. The string is as long as that afterwards even if none of them
/// could be done.
fn write(cx: &mut Ctx<'_>, key: &[u8], ops: &[Op], len: usize) -> CmdResult {
    let mut s = cx.ks.edit_or_create(key, || Str::raw(vec![0; len]))?;
    let grown = s.created || s.len() < len;
    let bytes = s.get_mut().extend_to(len);
    cx.reply.array(ops.len());
    let mut changes = 0;
    for op in ops {
        let done = op.run(bytes, cx.reply);
        changes += u64::from(done == Done::Changed || done == Done::Written && grown);
    }
    match (changes, grown) {
        (0, false) => s.unchanged(),
        // Redis tells nobody of it; but whoever follows must have the same string.
        (0, true) => s.changed(1, None),
        (n, _) => s.changed(n, Event::string("setbit")),
    }
    Ok(Flow::Done)
}

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    /// It wrote what was there.
    Written,
    Changed,
}

impl Op {
    fn is_write(&self) -> bool {
        !matches!(self.what, What::Get)
    }

    /// Runs one operation and answers with what was there before (SET) or what is there now.
    fn run(&self, bytes: &mut [u8], reply: &mut ReplyBuf) -> Done {
        let old = self.kind.get(bytes, self.at);
        let new = match self.what {
            What::Get => {
                reply.int(old);
                return Done::Nothing;
            }
            What::Set(value) => self.kind.hold(value, self.overflow),
            What::Add(by) => self.kind.add(old, by, self.overflow),
        };
        let Some(new) = new else {
            reply.null();
            return Done::Nothing;
        };
        self.kind.put(bytes, self.at, new);
        reply.int(match self.what {
            What::Set(_) => old,
            _ => new,
        });
        if new == old {
            Done::Written
        } else {
            Done::Changed
        }
    }
}

fn parse(args: Args<'_>, limit: u64) -> Result<Ops, CmdError> {
    let mut ops = Ops::new();
    let mut overflow = Overflow::default();
    let mut rest = args.cursor(2);
    while let Some(word) = rest.next() {
        let left = rest.left();
        let what: fn(i64) -> What = if is(word, "GET") && left >= 2 {
            |_| What::Get
        } else if is(word, "SET") && left >= 3 {
            What::Set
        } else if is(word, "INCRBY") && left >= 3 {
            What::Add
        } else if is(word, "OVERFLOW") && left >= 1 {
            overflow = parse_overflow(rest.word()?)?;
            continue;
        } else {
            return Err(CmdError::SYNTAX);
        };
        let (kind, at) = place(&mut rest, limit)?;
        let mut op = Op {
            what: what(0),
            kind,
            at,
            overflow,
        };
        if op.is_write() {
            op.what = what(rest.int()?);
        }
        ops.push(op);
    }
    Ok(ops)
}

fn parse_overflow(word: &[u8]) -> Result<Overflow, CmdError> {
    if is(word, "WRAP") {
        Ok(Overflow::Wrap)
    } else if is(word, "SAT") {
        Ok(Overflow::Saturate)
    } else if is(word, "FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err(CmdError::fixed("ERR Invalid OVERFLOW type specified"))
    }
}

/// Reads the type and the place of a field; `#n` is the n-th field of its width.
fn place(rest: &mut Cursor<'_>, limit: u64) -> Result<(IntType, u64), CmdError> {
    let kind = IntType::parse(rest.word()?).ok_or(CmdError::fixed(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    ))?;
    let word = rest.word()?;
    let at = match word.strip_prefix(b"#") {
        Some(index) => {
            let index = args::int(index).ok().and_then(|n| u64::try_from(n).ok());
            let at = index.and_then(|n| n.checked_mul(kind.bits().into()));
            at.filter(|at| at / 8 < limit).ok_or(BAD_OFFSET)?
        }
        None => offset(word, limit)?,
    };
    Ok((kind, at))
}

/// Without SET and INCRBY the string is only read; a call that cannot be understood is taken for one that writes.
fn keys(args: &dyn Argv, keys: &mut Keys) -> Result<(), KeyError> {
    let mut at = 2;
    let mut reads = true;
    while reads && at < args.len() {
        let (word, left) = (args.arg(at), args.len() - at - 1);
        if is(word, "GET") && left >= 2 {
            at += 3;
        } else if is(word, "OVERFLOW") && left >= 1 {
            at += 2;
        } else {
            reads = false;
        }
    }
    let flags = if reads {
        KeyFlags::RO
    } else {
        KeyFlags::RW.with(KeyFlags::UPDATE)
    };
    let flags = flags.with(KeyFlags::ACCESS);
    keys.push(KeyRef { pos: 1, flags });
    Ok(())
}
