//! REDKEEP CLOCK: the server's time in the hands of a test.

use std::time::Duration;

use super::{for_tests, test_sub};
use crate::exec::args::is;
use crate::exec::clockwork::Move;
use crate::exec::{
    Action, Args, Block, CmdError, CmdResult, Command, Ctx, Flow, Origin, TimeoutReply, Wake,
};
use crate::spec::flag;
use crate::util::clock::{Clock, LAST_MS, ManualClock};
use crate::util::num;

/// The row of CLOCK.
pub(super) const CLOCK: Command = test_sub("clock", -2, clock)
    .flags(&[flag::NO_MULTI])
    .syntax("[action=(FREEZE | THAW | ADVANCE^advance:int | SET^set:int | HELP)]")
    .summary("Tell the time of the server, stop its clock, move it or set it, for tests.")
    .complexity("O(1), and what is due while the clock is moved.")
    .checked();

fn clock(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    for_tests(cx)?;
    let clock = cx.sys.clock.0.manual().cloned();
    let clock = clock.ok_or(CmdError::fixed(
        "ERR the clock of this server is not its own",
    ))?;
    let action = args.get(2).unwrap_or_default();
    match args.len() {
        2 => tell(cx, &clock),
        3 if is(action, "help") => help(cx),
        3 if is(action, "freeze") => {
            clock.freeze();
            cx.ok()
        }
        3 if is(action, "thaw") => {
            clock.thaw();
            cx.ok()
        }
        4 if is(action, "advance") => {
            let by = milliseconds(args.at(3))?;
            shift(cx, args, Move::By(Duration::from_millis(by.unsigned_abs())))
        }
        4 if is(action, "set") => {
            let to = milliseconds(args.at(3))?;
            shift(cx, args, Move::To(to))
        }
        _ => Err(CmdError::SYNTAX),
    }
}

/// A time that a clock can show, or one of the same length.
fn milliseconds(word: &[u8]) -> Result<i64, CmdError> {
    let ms = num::parse_i64(word).ok_or(CmdError::NOT_INTEGER)?;
    match ms {
        0..=LAST_MS => Ok(ms),
        _ => Err(CmdError::fixed("ERR time is out of range")),
    }
}

fn tell(cx: &mut Ctx<'_>, clock: &ManualClock) -> CmdResult {
    cx.reply.map(2);
    cx.reply.bulk(b"time");
    cx.reply.int(clock.now_ms());
    cx.reply.bulk(b"state");
    cx.reply.bulk(match clock.is_frozen() {
        true => b"frozen",
        false => b"running",
    });
    Ok(Flow::Done)
}

/// Has the clock moved beside the engine, and answers when that is done.
fn shift(cx: &mut Ctx<'_>, args: Args<'_>, to: Move) -> CmdResult {
    let client = cx.sessions.get(cx.sid).map_or(0, |session| session.id);
    match cx.origin {
        Origin::Woken | Origin::Resumed if cx.sys.moves.take_done(client) => return cx.ok(),
        Origin::Woken => {}
        Origin::Exec | Origin::Script { .. } => {
            return Err(CmdError::fixed(
                "ERR the clock cannot be moved inside of a transaction or a script",
            ));
        }
        _ => cx.sys.actions.push(Action::Clock { client, to }),
    }
    Ok(Flow::Block(Box::new(Block {
        keys: Vec::new(),
        deadline: None,
        argv: args.to_argv(),
        wake: Wake::Type(""),
        retry_at: None,
        timeout_reply: TimeoutReply::Elsewhere,
    })))
}

fn help(cx: &mut Ctx<'_>) -> CmdResult {
    cx.help(&[
        "(no arguments)",
        "    The time in unix milliseconds, and whether the clock is running or frozen.",
        "FREEZE",
        "    Stop the clock: it stands until it is moved or let go.",
        "THAW",
        "    Let the clock go on from where it stands.",
        "ADVANCE <milliseconds>",
        "    Move the clock forward. Whatever is due on the way is done in its order and at its",
        "    time; the reply comes when all of it is done.",
        "SET <unix-time-milliseconds>",
        "    Set the clock, forwards or backwards, without anything between.",
    ])
}
