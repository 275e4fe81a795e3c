//! The edit guard and the change log: the one door by which a value changes.

use std::cell::RefCell;
use std::ops::Deref;

use super::event::{Classes, Event};
use super::tally::{Measure, Tally};
use super::{Record, WrongType};
use crate::ds::bytes::{SmallBytes, TinyBytes};
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
    /// Replies wait for replicas: every change counts.
    pub const UNCONFIRMED: Interest = Interest(1 << 3);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

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
    /// Something changed that neither fails a WATCH nor wakes a waiter.
    Quiet,
    /// A notification is due.
    Event(Event),
    /// An edit left an empty collection behind: settle deletes the key, and it counts as deleted from here on.
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

impl Change {
    fn new(db: usize, key: &[u8], what: What) -> Change {
        let key = key.into();
        Change { db, key, what }
    }
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
    /// Which notifications are switched on and have somebody to hear them.
    pub notify: Classes,
    /// The changes, in order; only those somebody is interested in. Readers add to them, too: what they miss, and what
    /// they find expired.
    pub changes: RefCell<Vec<Change>>,
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

    /// As [`modified`](Self::modified), where neither watchers nor waiters care.
    pub(super) fn quiet(&mut self, db: usize, key: &[u8], n: u64) {
        self.dirty += n;
        if self.interest.has(Interest::UNCONFIRMED) {
            self.push(db, key, What::Quiet);
        }
    }

    pub(crate) fn event(&mut self, db: usize, key: &[u8], event: Event) {
        if self.notify.intersects(event.class) {
            self.push(db, key, What::Event(event));
        }
    }

    pub(crate) fn push(&mut self, db: usize, key: &[u8], what: What) {
        self.changes.get_mut().push(Change::new(db, key, what));
    }

    /// As [`modified`](Self::modified), but time did it, as a reader or an editor found: not a change that the command
    /// made.
    pub(super) fn lapsed(&self, db: usize, key: &[u8]) {
        if self.interest.any() {
            self.note(db, key, What::Lapsed);
        }
    }

    /// As [`event`](Self::event), by a reader.
    pub(super) fn note_event(&self, db: usize, key: &[u8], event: Event) {
        if self.notify.intersects(event.class) {
            self.note(db, key, What::Event(event));
        }
    }

    fn note(&self, db: usize, key: &[u8], what: What) {
        self.changes.borrow_mut().push(Change::new(db, key, what));
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
    key: &'a TinyBytes,
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
        self.log.quiet(self.db, self.key, n);
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

#[cfg(test)]
mod tests {
    use super::super::{Expiry, Keyspace};
    use super::*;
    use crate::ds::table::Seed;
    use crate::types::hash::{Hash, Limits};
    use crate::types::string::Str;

    const NOW: i64 = 1_000_000;

    /// A hash `a` of one field, and everybody listens.
    fn keyspace() -> Keyspace {
        let mut ks = Keyspace::new(2, || 1);
        ks.begin(0, NOW);
        let mut edit = ks.edit_or_create(b"a", Hash::new).unwrap();
        let limits = Limits {
            entries: 9,
            value: 9,
            seed: Seed::random(|| 3),
        };
        edit.get_mut().set(b"f", b"v", limits);
        edit.changed(1, None);
        ks.log.changes.take();
        ks.log.notify = Classes(u32::MAX);
        ks
    }

    fn text() -> crate::types::Value {
        Str::from_text(b"x").into_value()
    }

    fn logged(ks: &mut Keyspace) -> String {
        let changes = ks.log.changes.take();
        let words = changes.iter().map(|change| match change.what {
            What::Event(event) => format!("{}:{}", event.name, change.key.escape_ascii()),
            What::Vanished => format!("gone:{}", change.key.escape_ascii()),
            _ => "~".to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn empty(ks: &mut Keyspace) {
        let mut edit = ks.edit::<Hash>(b"a").unwrap().unwrap();
        edit.get_mut().remove(b"f");
        edit.changed(1, Event::hash("hdel"));
    }

    #[test]
    fn an_emptied_key_goes_where_it_was_emptied() {
        let mut ks = keyspace();
        empty(&mut ks);
        ks.put(b"b", text(), Expiry::Clear, Event::string("set"));
        assert_eq!(logged(&mut ks), "hdel:a gone:a new:b set:b");
        assert!(ks.vanish(0, b"a") && !ks.vanish(0, b"a") && !ks.vanish(0, b"b"));
    }

    #[test]
    fn what_is_told_of_an_emptied_key_comes_before_it_goes() {
        let mut ks = keyspace();
        empty(&mut ks);
        ks.put(b"b", text(), Expiry::Clear, Event::string("set"));
        ks.notify(b"b", Event::generic("expire"));
        ks.notify(b"a", Event::hash("hexpire"));
        let order = "hdel:a new:b set:b expire:b hexpire:a gone:a";
        assert_eq!(logged(&mut ks), order);
        // That of a class which is off is not said, and moves the end of the key all the same.
        let mut ks = keyspace();
        ks.log.notify = Classes::GENERIC;
        empty(&mut ks);
        ks.notify(b"b", Event::DEL);
        ks.notify(b"a", Event::hash("hexpire"));
        assert_eq!(logged(&mut ks), "del:b gone:a");
    }

    #[test]
    fn readers_log_what_they_come_upon_once_and_where_they_do() {
        let mut ks = keyspace();
        ks.put(b"t", text(), Expiry::At(NOW + 1), None);
        ks.put(b"u", text(), Expiry::At(NOW + 1), None);
        ks.begin(0, NOW + 2);
        logged(&mut ks);
        assert!(ks.read_any(b"missing").is_none() && ks.peek(b"missing").is_none());
        assert!(ks.read_any(b"t").is_none() && ks.read_any(b"t").is_none());
        ks.put(b"b", text(), Expiry::Clear, None);
        // What was found to be over is over already for an editor, and nobody is told again.
        ks.put(b"t", text(), Expiry::Clear, Event::string("set"));
        let order = "keymiss:missing expired:t keymiss:t keymiss:t new:b new:t set:t";
        assert_eq!(logged(&mut ks), order);
        assert_eq!((ks.expired_total, ks.log.expired.len()), (1, 1));
        ks.reap(false);
        assert!(ks.peek(b"t").is_some());
        // A value on its way out is discarded without a look at its time, but not if somebody has looked.
        let mut other = keyspace();
        other.put(b"u", text(), Expiry::At(NOW + 1), None);
        other.begin(0, NOW + 2);
        logged(&mut other);
        assert!(other.discard(b"u", Event::DEL) && !other.discard(b"u", Event::DEL));
        assert_eq!(logged(&mut other), "del:u");
        assert!(ks.peek(b"u").is_none() && !ks.discard(b"u", Event::DEL));
        assert_eq!(logged(&mut ks), "expired:u");
    }

    #[test]
    fn nothing_is_logged_for_nobody() {
        let mut ks = keyspace();
        ks.log.notify = Classes::default();
        ks.put(b"b", text(), Expiry::At(NOW + 1), Event::string("set"));
        ks.read_any(b"missing");
        ks.notify(b"b", Event::generic("expire"));
        ks.begin(0, NOW + 2);
        ks.read_any(b"b");
        ks.reap(false);
        assert_eq!(logged(&mut ks), "");
        empty(&mut ks);
        assert_eq!(logged(&mut ks), "gone:a");
    }
}
