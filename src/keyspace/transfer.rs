//! Whole records and whole databases on the move: RENAME, MOVE, COPY, FLUSHDB, SWAPDB.

use std::sync::atomic::AtomicU32;

use super::event::Event;
use super::{Keyspace, Record, What, seconds};
use crate::ds::table::Table;
use crate::types::Value;

/// A value that takes longer to drop than the command that deletes it should take.
const HEAVY: usize = 64 * 1024;

/// What was deleted and is still to be dropped, when nobody waits for it.
#[derive(Debug)]
pub enum Garbage {
    /// The value of a key.
    Value(Value),
    /// The contents of a database.
    Contents(Table<Record>),
}

/// The name of a key: its database and its bytes.
pub type Place<'a> = (usize, &'a [u8]);

impl Keyspace {
    /// Gives a key another name or another database, over whatever is there; counts one change. Value, deadline
    /// and time of last access stay. Returns whether there was such a key.
    pub fn relocate(&mut self, from: Place<'_>, to: Place<'_>, events: (Event, Event)) -> bool {
        let hash = self.dbs[from.0].table.hash(from.1);
        if self.expire_if_due(from.0, hash, from.1) {
            return false;
        }
        let Some(mut record) = self.dbs[from.0].remove(hash, from.1) else {
            return false;
        };
        record.key = to.1.into();
        self.place(to.0, record);
        self.log.modified(from.0, from.1, 1);
        self.log.modified(to.0, to.1, 0);
        self.log.event(from.0, from.1, events.0);
        self.log.event(to.0, to.1, events.1);
        true
    }

    /// Copies a key, deadline included, over whatever is at the other place; counts one change. Returns whether
    /// there was such a key.
    pub fn duplicate(&mut self, from: Place<'_>, to: Place<'_>, event: Event) -> bool {
        let Some(source) = self.peek_in(from.0, from.1) else {
            return false;
        };
        let record = Record {
            key: to.1.into(),
            value: source.value.duplicate(),
            expire_at: source.expire_at,
            access: AtomicU32::new(seconds(self.now)),
        };
        self.place(to.0, record);
        self.log.modified(to.0, to.1, 1);
        self.log.event(to.0, to.1, event);
        true
    }

    // What was there goes without a word, as Redis has it; the key counts as new in any case.
    fn place(&mut self, index: usize, record: Record) {
        let key = record.key.clone();
        let hash = self.dbs[index].table.hash(&key);
        self.expire_if_due(index, hash, &key);
        let db = &mut self.dbs[index];
        db.remove(hash, &key);
        db.heap += record.heap_size();
        db.reindex_ttl(super::NEVER, record.expire_at, hash);
        db.table.insert(record);
        self.log.event(index, &key, Event::NEW);
    }

    /// Deletes a key, as [`delete`](Self::delete) does, but leaves the dropping of a large value for later.
    pub fn unlink(&mut self, key: &[u8], event: impl Into<Option<Event>>) -> bool {
        let Some((value, _)) = self.take(key, event) else {
            return false;
        };
        if value.heap_size() > HEAVY {
            self.garbage.push(Garbage::Value(value));
        }
        true
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.dbs.swap(a, b);
        for db in [a, b] {
            self.log.push(db, b"", What::AllModified);
        }
    }

    /// Empties a database, its contents dropped now or `later`; returns how many keys it had.
    pub fn flush(&mut self, index: usize, later: bool) -> usize {
        let db = &mut self.dbs[index];
        let n = db.table.len();
        let contents = db.table.take();
        if later && n > 0 {
            self.garbage.push(Garbage::Contents(contents));
        }
        db.ttl.clear();
        db.ttl_sum = 0;
        db.heap = 0;
        self.log.push(index, b"", What::AllModified);
        n
    }
}
