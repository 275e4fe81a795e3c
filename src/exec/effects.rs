//! The log of effects: what a unit of work did, as commands in RESP that do the same again.
//!
//! One run of effects feeds the append-only file and the replicas alike. While nobody consumes it, nothing is
//! encoded. Order within a unit: deletions of expired keys before the effects of the command that found them.

use std::borrow::Cow;
use std::ops::Range;

use crate::keyspace::Expired;
use crate::resp::encode_command;

/// Who gets to know of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Nobody.
    None,
    /// The append-only file alone.
    File,
    /// Replicas alone: it leaves nothing behind that a file would have to know.
    Replicas,
    /// All.
    All,
}

impl Readers {
    const fn file(self) -> bool {
        matches!(self, Readers::File | Readers::All)
    }

    const fn replicas(self) -> bool {
        matches!(self, Readers::Replicas | Readers::All)
    }

    const fn with(self, other: Readers) -> Readers {
        match (
            self.file() || other.file(),
            self.replicas() || other.replicas(),
        ) {
            (false, false) => Readers::None,
            (true, false) => Readers::File,
            (false, true) => Readers::Replicas,
            (true, true) => Readers::All,
        }
    }
}

/// Collects the effects of one unit of work.
#[derive(Debug)]
pub struct Effects {
    on: bool,
    /// Who gets to know of what a command does: a script may ask that not all do.
    readers: Readers,
    /// What this unit does need not be done at once.
    is_loose: bool,
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
    /// What of them is for the file alone.
    unsaid: Vec<Range<usize>>,
}

impl Default for Effects {
    fn default() -> Effects {
        Effects {
            on: false,
            readers: Readers::All,
            is_loose: false,
            silent: false,
            db: 0,
            ops: Vec::new(),
            bounds: Vec::new(),
            mark: 0,
            selected: None,
            log: Vec::new(),
            passing: Vec::new(),
            unsaid: Vec::new(),
        }
    }
}

/// One of the encoded commands of a unit.
#[derive(Debug, Clone, Copy)]
struct Bound {
    db: usize,
    /// Where it ends in `ops`.
    end: usize,
    readers: Readers,
}

impl Effects {
    /// Whether anybody consumes effects: handlers may skip building them otherwise.
    pub fn wanted(&self) -> bool {
        self.on && self.readers != Readers::None && !self.silent
    }

    /// Whether replicas hear of what the current command does.
    pub(crate) fn is_streamed(&self) -> bool {
        self.on && self.readers.replicas() && !self.silent
    }

    /// Whether anybody consumes effects at all.
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Begins or ends what is not to be logged, whatever it is: effects that are replayed.
    pub(crate) fn silence(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Says who gets to know of what a script does from here on (redis.set_repl).
    pub fn restrict(&mut self, readers: Readers) {
        self.readers = readers;
    }

    /// What this unit does need not be done at once: each of its effects stands alone.
    pub(crate) fn loosen(&mut self) {
        self.is_loose = true;
    }

    /// Starts or stops collecting.
    pub fn set_wanted(&mut self, on: bool) {
        self.on = on;
        self.selected = None;
    }

    /// Adds an effect of the current command. With [`Propagate::MayRewrite`](crate::spec::Propagate) this
    /// replaces the command as it was sent; with `Explicit` it is all there is.
    pub fn push(&mut self, args: &[&[u8]]) {
        self.push_as(args, self.readers);
    }

    /// Adds an effect that leaves nothing behind: replicas are to do the same, and files need not know of it.
    pub(crate) fn push_passing(&mut self, args: &[&[u8]]) {
        self.push_as(args, Readers::Replicas);
    }

    fn push_as(&mut self, args: &[&[u8]], readers: Readers) {
        if self.wanted() {
            encode(&mut self.ops, args);
            self.bound(self.db, readers);
        }
    }

    /// What was encoded last ends here.
    fn bound(&mut self, db: usize, readers: Readers) {
        let end = self.ops.len();
        self.bounds.push(Bound { db, end, readers });
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
            self.bound(*db, Readers::All);
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

    /// The unit is over: moves its effects to the log, in MULTI and EXEC if there is more than one. As with Redis MULTI goes
    /// before the selection of a database.
    #[inline]
    pub(crate) fn end_unit(&mut self) {
        let is_loose = std::mem::take(&mut self.is_loose);
        if !self.bounds.is_empty() {
            self.log_unit(is_loose);
        }
    }

    fn log_unit(&mut self, is_loose: bool) {
        let mut bounds = std::mem::take(&mut self.bounds);
        let ops = std::mem::take(&mut self.ops);
        let is_wrapped = bounds.len() > 1 && !is_loose;
        // Whom nothing of it is for is not told of the transaction either.
        let readers = bounds.iter().map(|bound| bound.readers);
        let readers = readers.fold(Readers::None, Readers::with);
        if is_wrapped {
            self.log_for(readers, MULTI);
        }
        let mut start = 0;
        for &Bound { db, end, readers } in &bounds {
            if self.selected != Some(db) {
                let mut n = itoa::Buffer::new();
                encode(&mut self.log, &[b"SELECT", n.format(db).as_bytes()]);
                self.selected = Some(db);
            }
            self.log_for(readers, ops.get(start..end).unwrap_or_default());
            start = end;
        }
        if is_wrapped {
            self.log_for(readers, EXEC);
        }
        bounds.clear();
        self.bounds = bounds;
        self.ops = ops;
        self.ops.clear();
        self.mark = 0;
    }

    fn log_for(&mut self, readers: Readers, command: &[u8]) {
        let from = self.log.len();
        self.log.extend_from_slice(command);
        if readers != Readers::All {
            let to = self.log.len();
            if !readers.file() {
                self.passing.push(from..to);
            }
            if !readers.replicas() {
                self.unsaid.push(from..to);
            }
        }
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
        without(&self.log, &self.passing)
    }

    /// How many bytes of what was logged are for a file.
    pub(crate) fn lasting_len(&self) -> usize {
        self.log.len() - total(&self.passing)
    }

    /// What of it is for replicas.
    pub(crate) fn streamed(&self) -> Cow<'_, [u8]> {
        without(&self.log, &self.unsaid)
    }

    /// How many bytes of what was logged are for replicas.
    pub(crate) fn streamed_len(&self) -> usize {
        self.log.len() - total(&self.unsaid)
    }

    /// Forgets what was logged: somebody else has it.
    pub fn forget_logged(&mut self) {
        /// The buffer stays up to this size.
        const KEEP: usize = 64 * 1024;
        self.log.clear();
        self.log.shrink_to(KEEP);
        for pieces in [&mut self.passing, &mut self.unsaid] {
            pieces.clear();
            pieces.shrink_to(KEEP / size_of::<Range<usize>>());
        }
    }

    /// Takes what was logged since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.passing.clear();
        self.unsaid.clear();
        std::mem::take(&mut self.log)
    }
}

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// The log without these pieces, which are in its order.
fn without<'a>(log: &'a [u8], pieces: &[Range<usize>]) -> Cow<'a, [u8]> {
    if pieces.is_empty() {
        return Cow::Borrowed(log);
    }
    let mut rest = Vec::with_capacity(log.len() - total(pieces));
    let mut from = 0;
    for piece in pieces {
        rest.extend_from_slice(log.get(from..piece.start).unwrap_or_default());
        from = piece.end;
    }
    rest.extend_from_slice(log.get(from..).unwrap_or_default());
    Cow::Owned(rest)
}

fn total(pieces: &[Range<usize>]) -> usize {
    pieces.iter().map(ExactSizeIterator::len).sum()
}

fn encode(out: &mut Vec<u8>, args: &[&[u8]]) {
    encode_command(out, args);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(fx: &mut Effects, effects: &[(Readers, &[u8])]) {
        fx.begin(0);
        for (readers, word) in effects {
            fx.restrict(*readers);
            fx.push(&[word]);
        }
        fx.restrict(Readers::All);
        fx.end_unit();
    }

    fn words(log: &[u8]) -> String {
        let log = String::from_utf8_lossy(log);
        let words = log.lines().filter(|l| !l.starts_with(['*', '$']));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_reader_gets_what_is_for_it() {
        let mut fx = Effects::default();
        fx.set_wanted(true);
        unit(&mut fx, &[(Readers::All, b"a")]);
        unit(
            &mut fx,
            &[
                (Readers::File, b"b"),
                (Readers::None, b"c"),
                (Readers::Replicas, b"d"),
            ],
        );
        unit(&mut fx, &[(Readers::File, b"e"), (Readers::File, b"f")]);
        unit(
            &mut fx,
            &[(Readers::Replicas, b"g"), (Readers::Replicas, b"h")],
        );
        unit(&mut fx, &[(Readers::All, b"i")]);
        let (file, replicas) = (fx.lasting().into_owned(), fx.streamed().into_owned());
        assert_eq!(words(&file), "SELECT 0 a MULTI b EXEC MULTI e f EXEC i");
        assert_eq!(words(&replicas), "SELECT 0 a MULTI d EXEC MULTI g h EXEC i");
        assert_eq!(
            (file.len(), replicas.len()),
            (fx.lasting_len(), fx.streamed_len())
        );
        fx.forget_logged();
        assert_eq!((fx.lasting_len(), fx.streamed_len()), (0, 0));
    }
}
