//! HyperLogLogs.

use crate::exec::args::is;
use crate::exec::error::shown;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::keys::{Argv, KeyError, KeyFlags, KeyRef, Keys};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::DataType;
use crate::types::hll::sparse::{self, Run};
use crate::types::hll::{self, Corrupt, Encoding, Hll, HllMut, Invalid, Registers, dense};
use crate::types::string::Str;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("pfadd", -2, pfadd)
        .since("2.8.9")
        .group(Group::HyperLogLog)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1).rw().insert()])
        .syntax("key:key [element...]")
        .summary("Add elements to a HyperLogLog, created where there is none.")
        .complexity("O(1) for each element.")
        .checked(),
    Command::new("pfcount", -2, pfcount)
        .since("2.8.9")
        .group(Group::HyperLogLog)
        .read()
        .may_replicate(Propagate::Verbatim)
        .keys(&[KeySpec::at(1)
            .range(-1, 1, 0)
            .rw()
            .access()
            .note("RW because the count may be remembered in the value, here and on replicas")])
        .syntax("key:key...")
        .summary("Estimate how many elements were added to a HyperLogLog, or to any of several.")
        .complexity(
            "O(1) for one key, and of a small constant while nothing is added; O(N) for N keys.",
        )
        .checked(),
    Command::new("pfmerge", -2, pfmerge)
        .since("2.8.9")
        .group(Group::HyperLogLog)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[
            KeySpec::at(1).rw().access().insert(),
            KeySpec::at(2).range(-1, 1, 0).ro().access(),
        ])
        .keys_fn(pfmerge_keys)
        .syntax("destkey:key [sourcekey:key...#1]")
        .summary("Merge HyperLogLogs into one.")
        .complexity("O(N) for N HyperLogLogs.")
        .checked(),
    Command::new("pfdebug", 3, pfdebug)
        .since("2.8.9")
        .group(Group::HyperLogLog)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM, flag::ADMIN])
        .keys(&[KeySpec::at(2).rw().access()])
        .syntax("subcommand key:key")
        .summary("Look inside of a HyperLogLog.")
        .complexity("N/A")
        .syscmd()
        .checked(),
    Command::new("pfselftest", 1, pfselftest)
        .since("2.8.9")
        .group(Group::HyperLogLog)
        .flags(&[flag::ADMIN])
        .summary("Test the implementation of HyperLogLogs.")
        .complexity("N/A")
        .syscmd()
        .checked(),
];

impl From<Invalid> for CmdError {
    fn from(_: Invalid) -> CmdError {
        CmdError::fixed("WRONGTYPE Key is not a valid HyperLogLog string value.")
    }
}

impl From<Corrupt> for CmdError {
    fn from(_: Corrupt) -> CmdError {
        CmdError::fixed("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// Calls `f` with the HyperLogLog that a string is.
fn with<R>(s: &Str, f: impl FnOnce(Hll<'_>) -> Result<R, CmdError>) -> Result<R, CmdError> {
    s.with(|bytes| f(Hll::of(bytes)?))
}

fn pfadd(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut s = cx
        .ks
        .edit_or_create(args.at(1), || Str::raw(hll::empty()))?;
    with(&s, |_| Ok(()))?;
    let created = u64::from(s.created);
    let bytes = s.get_mut().make_buf();
    let changes = add(bytes, args.from(2), cx.sys.cfg.hll_sparse_max_bytes).map(|n| n + created);
    match changes {
        Ok(0) | Err(_) => s.unchanged(),
        Ok(n) => {
            hll::outdate(bytes);
            s.changed(n, Event::string("pfadd"));
        }
    }
    cx.int((changes? > 0).into())
}

/// Adds elements; returns how many of them raised a register.
fn add(bytes: &mut Vec<u8>, elements: &[&[u8]], sparse_max: usize) -> Result<u64, CmdError> {
    Ok(HllMut::of(bytes, sparse_max)?.add_all(elements)?)
}

fn pfcount(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() > 2 {
        let union = union(cx, args.from(1))?;
        return count(cx.reply, union.registers.count());
    }
    let key = args.at(1);
    let Some(s) = cx.ks.read::<Str>(key)? else {
        return cx.int(0);
    };
    let cached = with(s, |hll| Ok(hll.cached()))?;
    let cardinality = match cached {
        Some(n) if s.encoding() == "raw" => return count(cx.reply, n),
        Some(n) => n,
        None => with(s, |hll| Ok(hll.count()?))?,
    };
    // What a replica remembered for a client would be what its leader has not.
    if cx.sys.repl.is_replica() && !cx.ks.replays() {
        return count(cx.reply, cardinality);
    }
    // The string becomes `raw` even if nothing is written to it.
    if let Some(mut s) = cx.ks.edit::<Str>(key)? {
        let bytes = s.get_mut().make_buf();
        if cached.is_some() {
            s.unchanged();
        } else {
            hll::cache(bytes, cardinality);
            s.changed(1, None);
        }
    }
    count(cx.reply, cardinality)
}

/// Answers with a cardinality. What a forged HyperLogLog remembers may be any number of 64 bits.
fn count(reply: &mut ReplyBuf, cardinality: u64) -> CmdResult {
    reply.int(cardinality as i64);
    Ok(Flow::Done)
}

/// Several HyperLogLogs as one.
#[derive(Default)]
struct Union {
    registers: Registers,
    /// Whether any of them is dense.
    dense: bool,
}

/// The union of what is at these keys.
fn union(cx: &Ctx<'_>, keys: &[&[u8]]) -> Result<Union, CmdError> {
    let mut union = Union::default();
    for key in keys {
        if let Some(s) = cx.ks.read::<Str>(key)? {
            with(s, |hll| {
                union.dense |= hll.encoding() == Encoding::Dense;
                Ok(union.registers.merge(hll)?)
            })?;
        }
    }
    Ok(union)
}

fn pfmerge(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let union = union(cx, args.from(1))?;
    let mut s = cx
        .ks
        .edit_or_create(args.at(1), || Str::raw(hll::empty()))?;
    let merged = merge(
        s.get_mut().make_buf(),
        &union,
        cx.sys.cfg.hll_sparse_max_bytes,
    );
    match merged {
        Ok(()) => s.changed(1, Event::string("pfadd")),
        Err(_) => s.unchanged(),
    }
    merged?;
    cx.ok()
}

/// As the specs say, which find no key at all when there is no source.
fn pfmerge_keys(args: &dyn Argv, keys: &mut Keys) -> Result<(), KeyError> {
    let target = KeyFlags::RW.with(KeyFlags::INSERT);
    let argc = u32::try_from(args.len()).map_err(|_| KeyError)?;
    for pos in 1..argc {
        let flags = if pos == 1 { target } else { KeyFlags::RO };
        let flags = flags.with(KeyFlags::ACCESS);
        keys.push(KeyRef { pos, flags });
    }
    Ok(())
}

/// Raises registers to those of a union; dense if any part of it is.
fn merge(bytes: &mut Vec<u8>, union: &Union, sparse_max: usize) -> Result<(), CmdError> {
    let mut hll = HllMut::of(bytes, sparse_max)?;
    if union.dense {
        hll.make_dense()?;
    }
    hll.raise_all(&union.registers)?;
    hll::outdate(bytes);
    Ok(())
}

/// A subcommand of PFDEBUG: tells whether it changed the encoding.
type Inspect = fn(&mut HllMut<'_>, &mut ReplyBuf) -> Result<bool, CmdError>;

fn pfdebug(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    const SUBCOMMANDS: &[(&str, Inspect)] = &[
        ("GETREG", getreg),
        ("DECODE", decode),
        ("ENCODING", encoding),
        ("TODENSE", todense),
    ];
    let Some(mut s) = cx.ks.edit::<Str>(args.at(2))? else {
        return Err(CmdError::fixed("ERR The specified key does not exist"));
    };
    with(&s, |_| Ok(()))?;
    let word = args.at(1);
    let Some((_, inspect)) = SUBCOMMANDS.iter().find(|(name, _)| is(word, name)) else {
        let word = shown(word, usize::MAX);
        return Err(CmdError::new(format!(
            "ERR Unknown PFDEBUG subcommand '{word}'"
        )));
    };
    let hll = HllMut::of(s.get_mut().make_buf(), 0).map_err(CmdError::from);
    let result = hll.and_then(|mut hll| inspect(&mut hll, cx.reply));
    match result {
        Ok(true) => s.quiet(1, None),
        _ => s.unchanged(),
    }
    result?;
    Ok(Flow::Done)
}

fn getreg(hll: &mut HllMut<'_>, reply: &mut ReplyBuf) -> Result<bool, CmdError> {
    let changed = hll.make_dense()?;
    reply.array(hll::REGISTERS);
    dense::registers(hll.view()?.body()).for_each(|r| reply.int(r.into()));
    Ok(changed)
}

fn decode(hll: &mut HllMut<'_>, reply: &mut ReplyBuf) -> Result<bool, CmdError> {
    if hll.encoding() == Encoding::Dense {
        return Err(CmdError::fixed("ERR HLL encoding is not sparse"));
    }
    let shown = |Run { value, len, wide }| match (value, wide) {
        (0, false) => format!("z:{len}"),
        (0, true) => format!("Z:{len}"),
        _ => format!("v:{value},{len}"),
    };
    let runs: Vec<_> = sparse::runs(hll.view()?.body()).map(shown).collect();
    reply.bulk(runs.join(" ").as_bytes());
    Ok(false)
}

fn encoding(hll: &mut HllMut<'_>, reply: &mut ReplyBuf) -> Result<bool, CmdError> {
    reply.simple(hll.encoding().name());
    Ok(false)
}

fn todense(hll: &mut HllMut<'_>, reply: &mut ReplyBuf) -> Result<bool, CmdError> {
    let changed = hll.make_dense()?;
    reply.int(changed.into());
    Ok(changed)
}

fn pfselftest(cx: &mut Ctx<'_>, _args: Args<'_>) -> CmdResult {
    let rng = &mut cx.sys.rng;
    hll::self_test(cx.sys.cfg.hll_sparse_max_bytes, || rng.next_u64())
        .map_err(|e| CmdError::new(format!("ERR TESTFAILED {e}")))?;
    cx.ok()
}
