//! The edit guard and the change log: the one door by which a value changes.

use std::ops::Deref;

use super::event::{Classes, Event};
use super::tally::{Measure, Tally};
use super::{Record, WrongType};
use crate::ds::bytes::SmallBytes;
use crate::types::DataType;

/// Who wants to hear of changes. A change that interests nobody costs one test of these bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest(u32);

impl Interest {
    /// A client is blocked on some key.
    pub const BLOCKED: Interest = Interest(1);
    /// A client watches some key.
    pub const WATCHED: Interest = Interest(1 << 1);
    /// A client tracks keys.
    pub const TRACKED: Interest = Interest(1 << 2);

    /// Adds or removes interest.
    pub fn set(&mut self, which: Interest, on: bool) {
        if on {
            self.0 |= which.0;
        } else {
            self.0 &= !which.0;
        }
    }

    /// Whether one of those is interested.
    #[inline]
    pub fn has(self, which: Interest) -> bool {
        self.0 & which.0 != 0
    }

    /// Whether anybody is interested at all.
    pub fn any(self) -> bool {
        self.0 != 0
    }
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The value, the TTL or the existence of the key changed: watchers fail, waiters look again.
    Modified,
    /// As `Modified`, but time did it and no client.
    Lapsed,
    /// A notification is due.
    Event(Event),
    /// An edit left an empty collection behind: settle deletes the key.
    Vanished,
    /// Every key of the database changed at once (FLUSHDB, SWAPDB). The key is empty.
    AllModified,
}

/// One entry of the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: SmallBytes,
    /// What happened to it.
    pub what: What,
}

/// What time took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: SmallBytes,
    /// The field of the hash at the key, if it is that which is gone.
    pub field: Option<SmallBytes>,
}

/// What a command did to the keyspace, for settle to act on.
#[derive(Debug, Default)]
pub struct ChangeLog {
    /// Number of changes since the log was last taken, as Redis counts `dirty`.
    pub dirty: u64,
    /// Who listens.
    pub interest: Interest,
    /// Which notifications are switched on.
    pub notify: Classes,
    /// The changes, in order; only those somebody is interested in.
    pub changes: Vec<Change>,
    /// Keys and fields deleted because their time was over, in order; each becomes a DEL or HDEL in the log of
    /// effects.
    pub expired: Vec<Expired>,
}

impl ChangeLog {
    pub(crate) fn modified(&mut self, db: usize, key: &[u8], n: u64) {
        self.dirty += n;
        if self.interest.any() {
            self.push(db, key, What::Modified);
        }
    }

    /// As [`modified`](Self::modified), but time did it: not a change that the command made.
    pub(crate) fn lapsed(&mut self, db: usize, key: &[u8]) {
        if self.interest.any() {
            self.push(db, key, What::Lapsed);
        }
    }

    pub(crate) fn event(&mut self, db: usize, key: &[u8], event: Event) {
        if self.notify.intersects(event.class) {
            self.push(db, key, What::Event(event));
        }
    }

    pub(crate) fn push(&mut self, db: usize, key: &[u8], what: What) {
        self.changes.push(Change {
            db,
            key: key.into(),
            what,
        });
    }
}

#[derive(PartialEq, Eq)]
enum Phase {
    Untouched,
    Touched,
    Ended,
}

/// A value under change. It reads as the value; [`Edit::get_mut`] gives it to be changed, after which the edit
/// must end by saying what happened: [`changed`](Edit::changed), [`quiet`](Edit::quiet) or
/// [`unchanged`](Edit::unchanged).
///
/// An edit that was touched and dropped without an ending counts as changed; a debug build panics.
pub struct Edit<'a, T: DataType> {
    value: &'a mut T,
    key: &'a SmallBytes,
    db: usize,
    hash: u64,
    log: &'a mut ChangeLog,
    tally: &'a mut Tally,
    before: Measure,
    phase: Phase,
    /// Whether the key was made by this edit.
    pub created: bool,
}

impl<'a, T: DataType> Edit<'a, T> {
    /// Opens a record, `at` its database and the hash of its key.
    pub(super) fn open(
        record: &'a mut Record,
        at: (usize, u64),
        log: &'a mut ChangeLog,
        tally: &'a mut Tally,
        created: bool,
    ) -> Result<Self, WrongType> {
        let value = T::of_mut(&mut record.value).ok_or(WrongType)?;
        Ok(Edit {
            before: measure(value),
            value,
            key: &record.key,
            db: at.0,
            hash: at.1,
            log,
            tally,
            phase: Phase::Untouched,
            created,
        })
    }

    /// The value, to be changed.
    pub fn get_mut(&mut self) -> &mut T {
        self.phase = Phase::Touched;
        self.value
    }

    /// Ends the edit: `n` changes happened. Watchers, waiters and subscribers hear of it.
    pub fn changed(mut self, n: u64, event: impl Into<Option<Event>>) {
        self.log.modified(self.db, self.key, n);
        if let Some(event) = event.into() {
            self.log.event(self.db, self.key, event);
        }
        self.settle();
    }

    /// Ends the edit: `n` changes happened that neither fail a WATCH nor wake a waiter (consumer group state).
    pub fn quiet(mut self, n: u64, event: impl Into<Option<Event>>) {
        self.log.dirty += n;
        if let Some(event) = event.into() {
            self.log.event(self.db, self.key, event);
        }
        self.settle();
    }

    /// Ends the edit: nothing happened.
    pub fn unchanged(mut self) {
        self.settle();
    }

    fn settle(&mut self) {
        self.phase = Phase::Ended;
        self.tally
            .change(self.hash, self.before, measure(self.value));
        if self.value.is_vanished() {
            self.log.push(self.db, self.key, What::Vanished);
        }
    }
}

/// [`Measure::of`] a value whose type is known.
fn measure<T: DataType>(value: &T) -> Measure {
    Measure {
        heap: value.heap_size(),
        due: value.next_deadline(),
    }
}

impl<T: DataType> Deref for Edit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl<T: DataType> Drop for Edit<'_, T> {
    fn drop(&mut self) {
        if self.phase == Phase::Touched {
            self.log.modified(self.db, self.key, 1);
            self.settle();
            debug_assert!(
                std::thread::panicking(),
                "an edit was touched and dropped without saying what happened"
            );
        }
    }
}
