//! A data set on its way from a leader: loaded into databases of its own, without the engine's lock, and put in place of
//! what is there once it is whole.
//!
//! Nothing of it is left out because its time is over: what follows it in the stream saw it alive.

use super::intake::{Counts, Intake};
use super::load::LONG_AGO;
use super::{STEP, System, log, save};
use crate::exec::{SharedClock, State, call, limits, unit};
use crate::keyspace::{Garbage, Keyspace};
use crate::persist::{Batch, LoadError, Loaded, Loader};
use crate::replication::Position;
use crate::types::dump::Limits;

/// A data set that comes in.
#[derive(Debug)]
pub struct Staging {
    ks: Keyspace,
    /// Those of each database.
    limits: Vec<Limits>,
    clock: SharedClock,
    loader: Loader,
    batch: Vec<(u64, Loaded)>,
    intake: Intake,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Loading,
    Whole,
    Failed(LoadError),
}

/// What is to become of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// It goes on.
    Hungry,
    /// It has ended.
    Ended {
        /// So many of the bytes that were just fed do not belong to it any more.
        rest: usize,
    },
}

impl Staging {
    /// A data set that is to take the place of this one: it has as many databases, and its values take the same
    /// encodings.
    pub fn begin(ks: &Keyspace, sys: &System) -> Staging {
        let seeds = (0..ks.databases()).filter_map(|db| ks.seed_of(db));
        Staging {
            limits: seeds.map(|seed| limits(sys, seed)).collect(),
            ks: ks.beside(),
            clock: sys.clock.clone(),
            loader: Loader::new(sys.cfg.rdbchecksum),
            batch: Vec::new(),
            intake: Intake::default(),
            stage: Stage::Loading,
        }
    }

    /// Takes the next bytes of an RDB file, and loads what is whole.
    ///
    /// # Errors
    /// What is wrong with it. It stays wrong from there on.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, LoadError> {
        match &self.stage {
            Stage::Loading if bytes.is_empty() => return Ok(Fed::Hungry),
            Stage::Loading => {}
            Stage::Whole => return Ok(Fed::Ended { rest: bytes.len() }),
            Stage::Failed(error) => return Err(error.clone()),
        }
        self.loader.feed(bytes);
        self.ks
            .begin(self.ks.current(), self.clock.0.now_us() / 1000);
        let fed = self.load();
        if let Err(error) = &fed {
            self.stage = Stage::Failed(error.clone());
        }
        fed
    }

    fn load(&mut self) -> Result<Fed, LoadError> {
        loop {
            let Some(limits) = self.limits.get(self.ks.current()) else {
                return Ok(Fed::Hungry);
            };
            let (loader, batch) = (&mut self.loader, &mut self.batch);
            let read = loader.batch(STEP as u64, limits, LONG_AGO, batch);
            self.intake.put(&mut self.ks, batch, false, LONG_AGO)?;
            match read? {
                Batch::More => {}
                Batch::Hungry => return Ok(Fed::Hungry),
                Batch::Ended => {
                    self.ks.loaded();
                    self.stage = Stage::Whole;
                    tracing::info!("{}", self.intake.counts);
                    let rest = self.loader.rest().len();
                    return Ok(Fed::Ended { rest });
                }
            }
        }
    }

    /// What was loaded so far.
    pub fn loaded(&self) -> Counts {
        self.intake.counts
    }

    /// Bytes of the file that were loaded so far.
    pub fn read(&self) -> u64 {
        self.loader.position()
    }

    /// Bytes that it uses.
    pub fn memory(&self) -> usize {
        self.ks.memory()
    }

    /// Where in which history it was written, as far as that has come in.
    pub fn position(&self) -> Option<Position> {
        self.intake.position(self.ks.databases())
    }

    /// Whether all of it is there.
    pub const fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::Whole)
    }

    /// Its libraries of functions, as FUNCTION RESTORE takes them; none if there are none.
    pub(crate) fn take_functions(&mut self) -> Option<Vec<u8>> {
        self.intake.take_functions()
    }

    /// It is of no use: it is dropped where nobody waits for that.
    pub(crate) fn discard(self, ks: &mut Keyspace) {
        ks.garbage.push(Garbage::other(self));
    }
}

/// Puts a data set that is whole in place of the one that is there: all databases at once, in a time that does not depend
/// on how large they are. Whoever watches, waits or remembers keys hears of it. It is nothing that the log of effects could
/// tell: an append-only log begins anew.
pub(crate) fn adopt(state: &mut State, staging: Staging) {
    let State { ks, sys, .. } = state;
    save::give_up_running(ks, sys);
    sys.persist.intake = staging.intake;
    // It is not what any file holds.
    sys.persist.dirty += 1 + sys.persist.intake.counts.keys;
    sys.persist.position = None;
    log::restart(state);
    let State { ks, sys, fx, .. } = state;
    ks.begin(0, sys.now_us / 1000);
    ks.adopt(staging.ks);
    fx.begin(0);
    call::settle_changes(state, false);
    unit::end_unit(state);
}
