//! The log of effects: what a unit of work did, as commands in RESP that do the same again.
//!
//! One run of effects feeds the append-only file and the replicas alike. While nobody consumes it, nothing is
//! encoded. Order within a unit: deletions of expired keys before the effects of the command that found them.

use std::borrow::Cow;
use std::ops::Range;

use crate::keyspace::Expired;
use crate::resp::encode_command;

/// Collects the effects of one unit of work.
#[derive(Debug, Default)]
pub struct Effects {
    on: bool,
    /// A script asked that its commands are not propagated.
    muted: bool,
    /// What happens now stands in a log already.
    silent: bool,
    db: usize,
    /// Encoded commands of this unit.
    ops: Vec<u8>,
    bounds: Vec<Bound>,
    /// Index in `bounds` where the current command's effects begin.
    mark: usize,
    /// The database that the log's reader has selected.
    selected: Option<usize>,
    /// Finished units, for the consumer.
    log: Vec<u8>,
    /// What of them is for replicas alone.
    passing: Vec<Range<usize>>,
}

/// One of the encoded commands of a unit.
#[derive(Debug, Clone, Copy)]
struct Bound {
    db: usize,
    /// Where it ends in `ops`.
    end: usize,
    /// It is for replicas alone: it leaves nothing behind that a file would have to know.
    passing: bool,
}

impl Effects {
    /// Whether anybody consumes effects: handlers may skip building them otherwise.
    pub fn wanted(&self) -> bool {
        self.on && !self.muted && !self.silent
    }

    /// Whether anybody consumes effects at all.
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Begins or ends what is not to be logged, whatever it is: effects that are replayed.
    pub(crate) fn silence(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Stops or resumes collecting what a script does (redis.set_repl).
    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Starts or stops collecting.
    pub fn set_wanted(&mut self, on: bool) {
        self.on = on;
        self.selected = None;
    }

    /// Adds an effect of the current command. With [`Propagate::MayRewrite`](crate::spec::Propagate) this
    /// replaces the command as it was sent; with `Explicit` it is all there is.
    pub fn push(&mut self, args: &[&[u8]]) {
        self.push_as(args, false);
    }

    /// Adds an effect that leaves nothing behind: replicas are to do the same, and files need not know of it.
    pub(crate) fn push_passing(&mut self, args: &[&[u8]]) {
        self.push_as(args, true);
    }

    fn push_as(&mut self, args: &[&[u8]], passing: bool) {
        if self.wanted() {
            encode(&mut self.ops, args);
            self.bound(self.db, passing);
        }
    }

    /// What was encoded last ends here.
    fn bound(&mut self, db: usize, passing: bool) {
        let end = self.ops.len();
        self.bounds.push(Bound { db, end, passing });
    }

    /// A command begins, in database `db`.
    pub(crate) fn begin(&mut self, db: usize) {
        self.db = db;
        self.mark = self.bounds.len();
    }

    /// The database of what is pushed from here on.
    pub fn select(&mut self, db: usize) {
        self.db = db;
    }

    /// Whether the current command has pushed anything.
    pub(crate) fn pushed(&self) -> bool {
        self.bounds.len() > self.mark
    }

    /// Puts DELs of expired keys and HDELs of expired fields before the effects of the current command.
    pub(crate) fn insert_expired(&mut self, expired: &[Expired]) {
        if !self.on || self.silent {
            return;
        }
        let at = self.end_of(self.mark);
        let tail_ops = self.ops.split_off(at);
        let tail_bounds = self.bounds.split_off(self.mark);
        for Expired { db, key, field } in expired {
            match field {
                None => encode(&mut self.ops, &[b"DEL", key]),
                Some(field) => encode(&mut self.ops, &[b"HDEL", key, field]),
            }
            self.bound(*db, false);
        }
        self.mark = self.bounds.len();
        let shift = self.ops.len() - at;
        self.ops.extend_from_slice(&tail_ops);
        self.bounds
            .extend(tail_bounds.into_iter().map(|bound| Bound {
                end: bound.end + shift,
                ..bound
            }));
    }

    fn end_of(&self, n: usize) -> usize {
        match n.checked_sub(1).and_then(|i| self.bounds.get(i)) {
            Some(bound) => bound.end,
            None => 0,
        }
    }

    /// The unit is over: moves its effects to the log, in MULTI and EXEC if there is more than one.
    pub(crate) fn end_unit(&mut self) {
        if self.bounds.is_empty() {
            return;
        }
        let wrap = self.bounds.len() > 1;
        // What nothing is left of is not wrapped in a file either.
        let passes = self.bounds.iter().all(|bound| bound.passing);
        let mut start = 0;
        for (i, &Bound { db, end, passing }) in self.bounds.iter().enumerate() {
            if self.selected != Some(db) {
                let mut n = itoa::Buffer::new();
                encode(&mut self.log, &[b"SELECT", n.format(db).as_bytes()]);
                self.selected = Some(db);
            }
            let mut from = self.log.len();
            if wrap && i == 0 {
                encode(&mut self.log, &[b"MULTI"]);
                if !passes {
                    from = self.log.len();
                }
            }
            if let Some(op) = self.ops.get(start..end) {
                self.log.extend_from_slice(op);
            }
            if passing {
                self.passing.push(from..self.log.len());
            }
            start = end;
        }
        if wrap {
            let from = self.log.len();
            encode(&mut self.log, &[b"EXEC"]);
            if passes {
                self.passing.push(from..self.log.len());
            }
        }
        self.ops.clear();
        self.bounds.clear();
        self.mark = 0;
    }

    /// The database that whoever reads the log has selected behind what was logged.
    pub(crate) const fn selected(&self) -> Option<usize> {
        self.selected
    }

    /// A unit that was done elsewhere, and here again: commands as they came, which begin in the database `from` and end
    /// in `to`. Nothing of it is logged otherwise.
    pub(crate) fn relay(&mut self, from: usize, unit: &[u8], to: usize) {
        if !self.on {
            return;
        }
        if self.selected != Some(from) {
            let mut n = itoa::Buffer::new();
            encode(&mut self.log, &[b"SELECT", n.format(from).as_bytes()]);
        }
        self.log.extend_from_slice(unit);
        self.selected = Some(to);
    }

    /// What was logged and not yet forgotten.
    pub fn logged(&self) -> &[u8] {
        &self.log
    }

    /// What of it is for a file.
    pub(crate) fn lasting(&self) -> Cow<'_, [u8]> {
        if self.passing.is_empty() {
            return Cow::Borrowed(&self.log);
        }
        let mut lasting = Vec::with_capacity(self.lasting_len());
        let mut from = 0;
        for piece in &self.passing {
            lasting.extend_from_slice(self.log.get(from..piece.start).unwrap_or_default());
            from = piece.end;
        }
        lasting.extend_from_slice(self.log.get(from..).unwrap_or_default());
        Cow::Owned(lasting)
    }

    /// How many bytes of what was logged are for a file.
    pub(crate) fn lasting_len(&self) -> usize {
        let passing: usize = self.passing.iter().map(ExactSizeIterator::len).sum();
        self.log.len() - passing
    }

    /// Forgets what was logged: somebody else has it.
    pub fn forget_logged(&mut self) {
        /// The buffer stays up to this size.
        const KEEP: usize = 64 * 1024;
        self.log.clear();
        self.log.shrink_to(KEEP);
        self.passing.clear();
        self.passing.shrink_to(KEEP / size_of::<Range<usize>>());
    }

    /// Takes what was logged since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.passing.clear();
        std::mem::take(&mut self.log)
    }
}

fn encode(out: &mut Vec<u8>, args: &[&[u8]]) {
    encode_command(out, args);
}
