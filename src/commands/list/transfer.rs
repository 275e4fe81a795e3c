//! LMOVE, RPOPLPUSH, and those of them that wait for an element.

use super::{end_word, limits, pop, popped, pushed};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin, block};
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::list::{End, List};
use crate::util::num;

const SOURCE: KeySpec = KeySpec::at(1).rw().access().delete();
const DESTINATION: KeySpec = KeySpec::at(2).rw().insert();

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("lmove", 5, lmove)
        .since("6.2.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[SOURCE, DESTINATION])
        .syntax("source:key destination:key#1 wherefrom=(LEFT | RIGHT) whereto=(LEFT | RIGHT)")
        .summary("Move an element from an end of a list to an end of another or the same, and return it.")
        .complexity("O(1)")
        .checked(),
    Command::new("rpoplpush", 3, rpoplpush)
        .since("1.2.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[SOURCE, DESTINATION])
        .syntax("source:key destination:key#1")
        .summary("Move the tail of a list to the head of another or the same, and return it.")
        .complexity("O(1)")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
        .checked(),
    Command::new("blmove", 6, blmove)
        .since("6.2.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::BLOCKING])
        .keys(&[SOURCE, DESTINATION])
        .syntax(
            "source:key destination:key#1 wherefrom=(LEFT | RIGHT) whereto=(LEFT | RIGHT) timeout:double",
        )
        .summary("As LMOVE; wait for an element if there is none.")
        .complexity("O(1)")
        .checked(),
    Command::new("brpoplpush", 4, brpoplpush)
        .since("2.2.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::BLOCKING])
        .keys(&[SOURCE, DESTINATION])
        .syntax("source:key destination:key#1 timeout:double")
        .summary("As RPOPLPUSH; wait for an element if there is none.")
        .complexity("O(1)")
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
        .checked(),
    Command::new("lmovem", -5, lmovem)
        .since("8.10.0")
        .group(Group::List)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[SOURCE, DESTINATION])
        .syntax(
            "source:key destination:key#1 wherefrom=(LEFT | RIGHT) whereto=(LEFT | RIGHT) \
             [how-many={selector=(COUNT^count:int | EXACTLY^exactly:int) ordering=(OBO | BULK)}]",
        )
        .summary("Move elements from an end of a list to an end of another or the same, and return them.")
        .complexity("O(N) in the number of elements moved")
        .checked(),
    Command::new("blmovem", -6, blmovem)
        .since("8.10.0")
        .group(Group::List)
        .write(Propagate::Explicit)
        .flags(&[flag::DENYOOM, flag::BLOCKING])
        .keys(&[SOURCE, DESTINATION])
        .syntax(
            "source:key destination:key#1 wherefrom=(LEFT | RIGHT) whereto=(LEFT | RIGHT) timeout:double \
             [how-many={selector=(COUNT^count:int | EXACTLY^exactly:int) ordering=(OBO | BULK)}]",
        )
        .summary("As LMOVEM; wait for elements if there are not enough.")
        .complexity("O(N) in the number of elements moved")
        .checked(),
];

fn lmove(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (from, to) = (end_word(args.at(3))?, end_word(args.at(4))?);
    if !transfer(cx, args, from, to)? {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

fn rpoplpush(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if !transfer(cx, args, End::Tail, End::Head)? {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

fn blmove(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (from, to) = (end_word(args.at(3))?, end_word(args.at(4))?);
    let deadline = block::deadline(args.at(5), cx.now)?;
    if !transfer(cx, args, from, to)? {
        return Ok(wait(cx, args, deadline));
    }
    cx.fx
        .push(&[b"LMOVE", args.at(1), args.at(2), args.at(3), args.at(4)]);
    Ok(Flow::Done)
}

fn brpoplpush(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let deadline = block::deadline(args.at(3), cx.now)?;
    if !transfer(cx, args, End::Tail, End::Head)? {
        return Ok(wait(cx, args, deadline));
    }
    cx.fx.push(&[b"RPOPLPUSH", args.at(1), args.at(2)]);
    Ok(Flow::Done)
}

/// Where nothing waits, the answer is another null than when time is over.
fn wait(cx: &mut Ctx<'_>, args: Args<'_>, deadline: Option<i64>) -> Flow {
    if matches!(cx.origin, Origin::Exec | Origin::Script { .. }) {
        cx.reply.null();
        return Flow::Done;
    }
    pop::wait(&[args.at(1)], deadline, args)
}

/// Moves an element and answers with it; whether there was one. Redis counts one change, and tells of the pushing before
/// the popping.
fn transfer(cx: &mut Ctx<'_>, args: Args<'_>, from: End, to: End) -> Result<bool, CmdError> {
    let (source, destination) = (args.at(1), args.at(2));
    if cx.ks.look::<List>(source)?.is_none() {
        return Ok(false);
    }
    cx.ks.look::<List>(destination)?;
    let limits = limits(cx.sys);
    let Some(mut list) = cx.ks.edit::<List>(source)? else {
        return Ok(false);
    };
    if source == destination {
        list.get_mut()
            .rotate(from, to, limits, |e| cx.reply.bulk(e));
        list.changed(1, pushed(to));
    } else {
        let Some(moved) = list.get_mut().take(from, limits) else {
            list.unchanged();
            return Ok(false);
        };
        list.changed(1, None);
        let mut list = cx.ks.edit_or_create(destination, List::new)?;
        list.get_mut().push_moved(to, &moved, limits);
        list.changed(0, pushed(to));
        cx.reply.bulk(&moved.bytes);
    }
    cx.ks.notify(source, popped(from));
    Ok(true)
}

fn lmovem(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let many = Many::parse(args, 5)?;
    match (many.transfer(cx, args)?, many.exactly) {
        (0, true) => cx.reply.null_array(),
        (0, false) => cx.reply.array(0),
        _ => {}
    }
    Ok(Flow::Done)
}

fn blmovem(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let many = Many::parse(args, 6)?;
    let deadline = block::deadline(args.at(5), cx.now)?;
    let moved = many.transfer(cx, args)?;
    if moved == 0 {
        return Ok(pop::wait(&[args.at(1)], deadline, args));
    }
    let mut count = itoa::Buffer::new();
    let order: &[u8] = if many.one_by_one { b"OBO" } else { b"BULK" };
    let (exactly, count) = (&b"EXACTLY"[..], count.format(moved).as_bytes());
    let words = [
        args.at(1),
        args.at(2),
        args.at(3),
        args.at(4),
        exactly,
        count,
        order,
    ];
    cx.fx.push(&[&[&b"LMOVEM"[..]], &words[..]].concat());
    Ok(Flow::Done)
}

/// What LMOVEM is to move: one element unless told otherwise.
struct Many {
    from: End,
    to: End,
    count: usize,
    /// All of them or none.
    exactly: bool,
    /// Each is pushed before the next is popped; otherwise they stay in their order.
    one_by_one: bool,
}

impl Many {
    /// Reads the ends, and how many and how, which stands at `at`.
    fn parse(args: Args<'_>, at: usize) -> Result<Self, CmdError> {
        const COUNT: CmdError = CmdError::fixed("ERR count should be greater than 0");
        let (from, to) = (end_word(args.at(3))?, end_word(args.at(4))?);
        let (selector, count, order) = match args.from(at) {
            [] => {
                return Ok(Self {
                    from,
                    to,
                    count: 1,
                    exactly: false,
                    one_by_one: true,
                });
            }
            [selector, count, order] => (selector, count, order),
            _ => return Err(CmdError::SYNTAX),
        };
        let exactly = is(selector, "EXACTLY");
        let one_by_one = is(order, "OBO");
        if !(exactly || is(selector, "COUNT")) || !(one_by_one || is(order, "BULK")) {
            return Err(CmdError::SYNTAX);
        }
        let count = num::parse_i64(count).and_then(|n| usize::try_from(n).ok());
        Ok(Self {
            from,
            to,
            count: count.filter(|n| *n > 0).ok_or(COUNT)?,
            exactly,
            one_by_one,
        })
    }

    /// Moves the elements and answers with them as they stand at the destination; how many there were. If there were none
    /// nothing is answered.
    fn transfer(&self, cx: &mut Ctx<'_>, args: Args<'_>) -> Result<usize, CmdError> {
        let (source, destination) = (args.at(1), args.at(2));
        let there = cx.ks.look::<List>(source)?.map_or(0, List::len);
        if there == 0 || (self.exactly && there < self.count) {
            return Ok(0);
        }
        cx.ks.look::<List>(destination)?;
        let limits = limits(cx.sys);
        let Some(mut list) = cx.ks.edit::<List>(source)? else {
            return Ok(0);
        };
        let n = self.count.min(there);
        let mut moved: Vec<_> = (0..n)
            .map_while(|_| list.get_mut().take(self.from, limits))
            .collect();
        if !self.one_by_one && self.from == self.to {
            moved.reverse();
        }
        if source == destination {
            for element in &moved {
                list.get_mut().push_moved(self.to, element, limits);
            }
            list.changed(1, pushed(self.to));
        } else {
            list.changed(1, None);
            let mut list = cx.ks.edit_or_create(destination, List::new)?;
            for element in &moved {
                list.get_mut().push_moved(self.to, element, limits);
            }
            list.changed(0, pushed(self.to));
        }
        cx.ks.notify(source, popped(self.from));
        cx.reply.array(moved.len());
        if self.to == End::Head {
            moved.reverse();
        }
        moved
            .iter()
            .for_each(|element| cx.reply.bulk(&element.bytes));
        Ok(moved.len())
    }
}
