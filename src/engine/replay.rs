//! A log of effects done again.

use smallvec::SmallVec;

use super::Engine;
use crate::exec::call::{self, Step};
use crate::exec::replay::{self, Replay, Unreplayable};
use crate::exec::session::SessionId;
use crate::exec::txn::{Multi, Queued};
use crate::exec::{Args, admit, unit};
use crate::resp::ReplyBuf;

impl Engine {
    /// Begins to replay a log of effects, which goes on with [`replay`](Self::replay) and must be ended with
    /// [`end_replay`](Self::end_replay).
    pub fn begin_replay(&mut self) -> Replay {
        Replay::begin(self.state())
    }

    /// The database that is selected in what was replayed.
    pub(super) fn replay_selected(&mut self, replay: &Replay) -> usize {
        let session = self.state().sessions.get(replay.sid);
        session.map_or(0, |session| session.db)
    }

    /// Replays one entry of a log: a command, its name first. Nothing is over meanwhile, refused or logged. As with
    /// clients, the time is that of [`refresh_time`](Self::refresh_time), and there may be actions and garbage to take
    /// after a batch. An entry that comes to an error is told to the log of the server and counted, and that is all.
    ///
    /// # Errors
    /// When neither this entry nor what follows can be replayed.
    pub fn replay(&mut self, replay: &mut Replay, args: &[&[u8]]) -> Result<(), Unreplayable> {
        self.replay_and(replay, args, |_, _| {})
    }

    /// As [`replay`](Self::replay). `then` is called when the entry is done, and before anybody is served who has waited for
    /// that: what they do comes behind it.
    pub(super) fn replay_and(
        &mut self,
        replay: &mut Replay,
        args: &[&[u8]],
        then: impl FnOnce(&mut Engine, &Replay),
    ) -> Result<(), Unreplayable> {
        if args.is_empty() {
            return Ok(());
        }
        let (sid, args) = (replay.sid, Args::new(args));
        let reply = &mut replay.reply;
        let state = self.state();
        state.fx.silence(true);
        let started = replay::start(state, sid, args, reply);
        let unreplayable = match started {
            Ok(Step::Script(call, pending)) => {
                self.run_script(sid, &call, &pending, args, reply);
                None
            }
            Ok(Step::Exec(multi, pending)) => {
                self.replay_transaction(sid, multi, reply);
                call::finish(self.state(), &pending, args, Ok(()), reply);
                None
            }
            Ok(_) => None,
            Err(e) => Some(e),
        };
        let state = self.state();
        state.fx.silence(false);
        let lost = state.sessions.get(sid).is_none_or(|s| s.closing);
        let done = match unreplayable {
            Some(e) => Err(e),
            None if lost => Err(Unreplayable::Database(state.ks.databases())),
            None => Ok(()),
        };
        if done.is_ok() {
            then(self, replay);
        }
        unit::end_unit(self.state());
        self.open_gate();
        done
    }

    /// Whether a transaction has begun in what was replayed, and has not ended: its entries have done nothing yet.
    pub fn replays_transaction(&mut self, replay: &Replay) -> bool {
        replay.is_in_transaction(self.state())
    }

    /// Ends what [`begin_replay`](Self::begin_replay) began. A transaction that has not ended is dropped: it has done
    /// nothing.
    pub fn end_replay(&mut self, replay: Replay) {
        admit::forget(self.state(), replay.sid);
    }

    fn replay_transaction(&mut self, sid: SessionId, mut multi: Box<Multi>, reply: &mut ReplyBuf) {
        for Queued { row, argv } in replay::take_queue(&mut multi) {
            let args: SmallVec<[&[u8]; 16]> = argv.iter().map(Vec::as_slice).collect();
            let args = Args::new(&args);
            replay::drop_reply(reply);
            let step = replay::queued(self.state(), sid, row, args, reply);
            if let Step::Script(call, pending) = step {
                self.run_script(sid, &call, &pending, args, reply);
            }
        }
    }
}
