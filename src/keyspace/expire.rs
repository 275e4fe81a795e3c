//! Expiry: lazily on access, actively by the index of deadlines.

use super::event::Event;
use super::{Db, Keyspace};

impl Keyspace {
    /// Deletes the key if its time is over; returns whether it did.
    pub(super) fn expire_if_due(&mut self, index: usize, hash: u64, key: &[u8]) -> bool {
        let db = &mut self.dbs[index];
        match db.table.get_hashed(hash, key) {
            Some(record) if self.now > record.expire_at => {}
            _ => return false,
        }
        db.remove(hash, key);
        self.log_expired(index, key);
        true
    }

    pub(super) fn log_expired(&mut self, index: usize, key: &[u8]) {
        self.expired_total += 1;
        self.log.expired.push((index, key.into()));
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
            let hash = self.dbs[db].table.hash(&key);
            self.expire_if_due(db, hash, &key);
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

    /// The earliest deadline of all keys, if any; the engine wakes for it.
    pub fn next_expiry(&self) -> Option<i64> {
        if !self.active_expire {
            return None;
        }
        self.dbs.iter().filter_map(Db::first_deadline).min()
    }

    /// Deletes up to `limit` keys whose time is over at `now`, unless that is switched off; returns how many.
    pub fn expire_due(&mut self, now: i64, limit: usize) -> usize {
        self.now = now;
        if !self.active_expire {
            return 0;
        }
        let mut n = 0;
        for index in 0..self.dbs.len() {
            while n < limit {
                let Some((at, hash)) = self.dbs[index].ttl.first().copied() else {
                    break;
                };
                if now <= at {
                    break;
                }
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
        self.ttl.first().map(|&(at, _)| at.saturating_add(1))
    }
}
