//! The stream of a leader as it comes in: bytes become commands, and commands units that are done here.

use super::{Parted, refused};
use crate::engine::Engine;
use crate::exec::persist::STEP;
use crate::exec::replay::Replay;
use crate::exec::replication::replica;
use crate::resp::{Batch, Decoder, Limits};

/// A transaction that has not ended may hold this many bytes.
const LONGEST_UNIT: usize = 4 << 30;

/// The stream as it comes in.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Which of the leaders that there were it is of.
    leader: u64,
    pub(super) bytes: Vec<u8>,
    /// Where the unit begins that has not ended.
    pub(super) unit: usize,
    /// Up to here commands were taken out.
    taken: usize,
    /// The database in which the unit has begun.
    pub(super) from: usize,
    /// The unit changes something.
    counts: bool,
    decoder: Decoder,
    batch: Batch,
    pub(super) replay: Option<Replay>,
}

/// Whether a command of the stream has done nothing that the own log would have to know.
fn leaves_nothing(name: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"SELECT", b"PUBLISH", b"SPUBLISH"];
    names.iter().any(|n| name.eq_ignore_ascii_case(n))
}

impl Incoming {
    /// The stream of this leader, of which nothing has come.
    pub(super) fn of(leader: u64) -> Incoming {
        Incoming {
            leader,
            ..Incoming::default()
        }
    }

    /// Does what has come, for about [`STEP`] bytes; whether there is more.
    pub(super) fn replay(
        &mut self,
        engine: &mut Engine,
        limits: &Limits,
        asked: &mut bool,
    ) -> Result<bool, Parted> {
        let most = self.taken + STEP;
        loop {
            let bytes = std::mem::take(&mut self.bytes);
            let mut batch = std::mem::take(&mut self.batch);
            let fresh = bytes.get(self.taken..).unwrap_or_default();
            self.decoder.decode(fresh, limits, &mut batch);
            let done = self.run_batch(engine, &bytes, &batch, most, asked);
            let (error, none) = (batch.error(), batch.is_empty());
            self.bytes = bytes;
            self.batch = batch;
            let all = done?;
            if let Some(error) = error.filter(|_| all) {
                let why = format!("the master's stream makes no sense: {error}");
                return Err(refused(why));
            }
            if none || !all {
                self.shrink()?;
                return Ok(!all);
            }
        }
    }

    /// Runs commands until so much is taken; whether that was all of them.
    fn run_batch(
        &mut self,
        engine: &mut Engine,
        bytes: &[u8],
        batch: &Batch,
        most: usize,
        asked: &mut bool,
    ) -> Result<bool, Parted> {
        let at = self.taken;
        let fresh = bytes.get(at..).unwrap_or_default();
        for i in 0..batch.len() {
            if self.taken >= most {
                // Whatever was decoded behind that is decoded anew.
                self.decoder = Decoder::new();
                return Ok(false);
            }
            if !self.is_followed(engine) {
                // Somebody has come between, behind a script that was busy.
                return Err(Parted::Superseded);
            }
            self.pass_empty_lines(engine, bytes);
            self.taken = at + batch.end(i);
            if batch.is_inline(i) {
                // No leader sends that: where commands begin is not known any more.
                return Err(refused("a line that is no command in the master's stream"));
            }
            let argv = batch.argv(i, fresh);
            match argv.first() {
                Some(name) if name.eq_ignore_ascii_case(b"REPLCONF") => {
                    let what = argv.get(1).copied().unwrap_or_default();
                    *asked |= what.eq_ignore_ascii_case(b"GETACK");
                    self.end_command(engine, bytes);
                }
                Some(name) if name.eq_ignore_ascii_case(b"PING") => self.end_command(engine, bytes),
                Some(name) => {
                    self.counts |= !leaves_nothing(name);
                    self.run(engine, &argv, bytes)?;
                }
                None => self.end_command(engine, bytes),
            }
        }
        if batch.consumed() > 0 && at + batch.consumed() > self.taken {
            self.taken = at + batch.consumed();
            if self.decoder.is_between() {
                // Empty lines are part of the stream as well.
                self.end_command(engine, bytes);
            }
        }
        Ok(true)
    }

    /// Whether it is still the stream of the leader that there is.
    fn is_followed(&self, engine: &mut Engine) -> bool {
        let up = engine.state().sys.repl.upstream.as_ref();
        up.is_some_and(|up| up.number == self.leader)
    }

    /// Runs a command, and accounts for it before anybody does anything who has waited for that.
    fn run(&mut self, engine: &mut Engine, argv: &[&[u8]], bytes: &[u8]) -> Result<(), Parted> {
        let Some(mut replay) = self.replay.take() else {
            return Err(refused("the stream has not begun"));
        };
        let done = engine.replay_and(&mut replay, argv, |engine, replay| {
            self.end_unit(engine, replay, bytes);
        });
        self.replay = Some(replay);
        done.map_err(|e| refused(format!("{e} in the master's stream")))
    }

    /// Passes over line ends in front of a unit: they are part of the stream, and of no command.
    fn pass_empty_lines(&mut self, engine: &mut Engine, bytes: &[u8]) {
        let fresh = bytes.get(self.taken..).unwrap_or_default();
        let empty = fresh.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
        let empty = empty.count();
        if empty > 0 && self.taken == self.unit {
            self.taken += empty;
            self.end_command(engine, bytes);
        }
    }

    /// A command has ended that is not run.
    fn end_command(&mut self, engine: &mut Engine, bytes: &[u8]) {
        if let Some(replay) = self.replay.take() {
            self.end_unit(engine, &replay, bytes);
            self.replay = Some(replay);
        }
    }

    /// A command has ended, and perhaps a unit.
    fn end_unit(&mut self, engine: &mut Engine, replay: &Replay, bytes: &[u8]) {
        if engine.replays_transaction(replay) || !self.is_followed(engine) {
            return;
        }
        let to = engine.replay_selected(replay);
        let unit = bytes.get(self.unit..self.taken).unwrap_or_default();
        let counts = std::mem::take(&mut self.counts);
        replica::advance(engine.state(), unit, counts, self.from, to);
        self.unit = self.taken;
        self.from = to;
    }

    /// Forgets what was done.
    fn shrink(&mut self) -> Result<(), Parted> {
        /// Less than this is not worth moving what follows it.
        const WORTH: usize = 64 * 1024;
        if self.unit == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(4 * WORTH);
        } else if self.unit >= WORTH {
            self.bytes.drain(..self.unit);
        } else {
            return match self.taken - self.unit > LONGEST_UNIT {
                true => Err(refused("a transaction that does not end")),
                false => Ok(()),
            };
        }
        self.taken -= self.unit;
        self.unit = 0;
        Ok(())
    }
}
