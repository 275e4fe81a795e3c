//! Expiry: lazily on access, actively by the index of deadlines.

use super::edit::Expired;
use super::event::Event;
use super::tally::Measure;
use super::{Db, Keyspace};
use crate::types::{DataType, Value};

/// So many fields of a hash are deleted by a command that only reads; the rest is left to those that follow.
const FIELDS_PER_READ: usize = 256;

impl Keyspace {
    /// Deletes the key if its time is over, and the fields of its hash whose time is; returns whether the key is gone.
    #[inline]
    pub(super) fn expire_if_due(&mut self, index: usize, hash: u64, key: &[u8]) -> bool {
        match self.dbs[index].table.get_hashed(hash, key) {
            Some(record) if record.is_due(self.now) => self.expire(index, hash, key, usize::MAX),
            _ => false,
        }
    }

    /// Deletes a key whose time is over, or up to `most` fields whose time is; returns whether the key is gone.
    #[cold]
    fn expire(&mut self, index: usize, hash: u64, key: &[u8], most: usize) -> bool {
        let db = &mut self.dbs[index];
        match db.table.get_hashed(hash, key) {
            Some(record) if self.now > record.expire_at => {
                db.remove(hash, key);
                self.log_expired(index, key);
                true
            }
            Some(_) => {
                self.expire_fields(index, hash, key, most);
                !self.dbs[index].table.contains(key)
            }
            None => false,
        }
    }

    /// Deletes up to `most` fields whose time is over, and the hash with its last one; returns how many.
    fn expire_fields(&mut self, index: usize, hash: u64, key: &[u8], most: usize) -> usize {
        let db = &mut self.dbs[index];
        let Some(record) = db.table.get_mut_hashed(hash, key) else {
            return 0;
        };
        let before = Measure::of(&record.value);
        let Value::Hash(fields) = &mut record.value else {
            return 0;
        };
        let expired = &mut self.log.expired;
        let n = fields.expire(self.now, most, |name| {
            expired.push(Expired {
                db: index,
                key: key.into(),
                field: Some(name.into()),
            });
        });
        let empty = fields.is_vanished();
        db.tally.change(hash, before, Measure::of(&record.value));
        if n > 0 {
            self.expired_fields_total += n as u64;
            self.log.modified(index, key, 0);
            self.log.event(index, key, Event::HEXPIRED);
        }
        if empty {
            self.vanish(index, key);
        }
        n
    }

    pub(super) fn log_expired(&mut self, index: usize, key: &[u8]) {
        self.expired_total += 1;
        self.log.expired.push(Expired {
            db: index,
            key: key.into(),
            field: None,
        });
        // Not a change that the command made, so `dirty` stays.
        self.log.modified(index, key, 0);
        self.log.event(index, key, Event::EXPIRED);
    }

    /// Whether [`reap`](Self::reap) has something to do.
    pub fn has_stale(&self) -> bool {
        !self.stale.borrow().is_empty() || !self.misses.borrow().is_empty()
    }

    /// Deletes what readers found expired, logs the misses they had, and deletes emptied collections.
    pub fn reap(&mut self) {
        let stale = std::mem::take(&mut *self.stale.borrow_mut());
        for (db, key) in stale {
            let table = &self.dbs[db].table;
            let hash = table.hash(&key);
            let found = table.get_hashed(hash, &key);
            if found.is_some_and(|record| record.is_due(self.now)) {
                self.expire(db, hash, &key, FIELDS_PER_READ);
            }
        }
        let misses = std::mem::take(&mut *self.misses.borrow_mut());
        for (db, key) in misses {
            self.log.event(db, &key, Event::KEYMISS);
        }
    }

    /// Deletes a key whose collection has become empty.
    pub fn vanish(&mut self, index: usize, key: &[u8]) {
        let db = &mut self.dbs[index];
        let hash = db.table.hash(key);
        if db.remove(hash, key).is_some() {
            self.log.modified(index, key, 0);
            self.log.event(index, key, Event::DEL);
        }
    }

    /// The earliest deadline of all keys and fields, if any; the engine wakes for it.
    pub fn next_expiry(&self) -> Option<i64> {
        if !self.active_expire {
            return None;
        }
        self.dbs.iter().filter_map(Db::first_deadline).min()
    }

    /// Deletes up to `limit` keys and fields whose time is over at `now`, unless that is switched off; returns how
    /// many.
    pub fn expire_due(&mut self, now: i64, limit: usize) -> usize {
        self.now = now;
        if !self.active_expire {
            return 0;
        }
        let mut n = 0;
        for index in 0..self.dbs.len() {
            n += self.expire_keys_of(index, limit - n);
            n += self.expire_fields_of(index, limit - n);
        }
        n
    }

    fn expire_keys_of(&mut self, index: usize, limit: usize) -> usize {
        let mut n = 0;
        while n < limit
            && let Some((at, hash)) = self.dbs[index].ttl.first().copied()
            && self.now > at
        {
            let db = &mut self.dbs[index];
            let key = db
                .table
                .find_by_hash(hash, |r| r.expire_at == at)
                .map(|r| r.key.clone());
            if let Some(key) = key {
                db.remove(hash, &key);
                self.log_expired(index, &key);
                n += 1;
            } else {
                // No such key: unreachable while invariant 3 holds, and the loop must end in any case.
                db.ttl.remove(&(at, hash));
            }
        }
        n
    }

    fn expire_fields_of(&mut self, index: usize, limit: usize) -> usize {
        let mut n = 0;
        while n < limit
            && let Some((at, hash)) = self.dbs[index].tally.due.first().copied()
            && self.now > at
        {
            let db = &mut self.dbs[index];
            let key = db
                .table
                .find_by_hash(hash, |r| r.value.next_deadline() == Some(at))
                .map(|r| r.key.clone());
            if let Some(key) = key {
                n += self.expire_fields(index, hash, &key, limit - n);
            } else {
                // As above, with invariant 5.
                db.tally.due.remove(&(at, hash));
            }
        }
        n
    }

    /// Whether the log holds anything for settle to act on.
    pub fn log_is_quiet(&self) -> bool {
        self.log.changes.is_empty() && self.log.expired.is_empty() && !self.has_stale()
    }
}

impl Db {
    fn first_deadline(&self) -> Option<i64> {
        // Expired means `now > deadline`, so the key is due one millisecond later.
        let (keys, fields) = (self.ttl.first(), self.tally.due.first());
        let first = keys.into_iter().chain(fields).map(|&(at, _)| at).min();
        first.map(|at| at.saturating_add(1))
    }
}
