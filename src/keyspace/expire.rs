//! Expiry: lazily on access, actively by the index of deadlines.

use super::edit::Expired;
use super::event::Event;
use super::tally::Measure;
use super::{Db, Keyspace, NEVER, Record};
use crate::types::{DataType, Value};

/// So many fields of a hash are deleted by a command that only reads; the rest is left to those that follow.
const FIELDS_PER_READ: usize = 256;

impl Keyspace {
    /// Deletes the key if its time is over, and the fields of its hash whose time is; returns whether the key is gone.
    #[inline]
    pub(super) fn expire_if_due(&mut self, index: usize, hash: u64, key: &[u8]) -> bool {
        match self.dbs[index].table.get_hashed(hash, key) {
            Some(record) if record.is_due(self.horizon) => {
                self.expire(index, hash, key, usize::MAX)
            }
            _ => false,
        }
    }

    /// A reader comes upon a key that is over, or a part of it: from here on it is gone for all who listen, though it is
    /// deleted only by the next editor or by [`reap`](Self::reap).
    #[cold]
    pub(super) fn come_upon(&self, index: usize, record: &Record) {
        let key = &record.key;
        if self.expiry_paused {
            return;
        }
        if !self.stale.borrow_mut().insert((index, key.clone())) {
            return;
        }
        self.log.lapsed(index, key);
        if self.horizon > record.expire_at {
            self.log.note_event(index, key, Event::EXPIRED);
            return;
        }
        self.log.note_event(index, key, Event::HEXPIRED);
        if record.is_over(self.horizon) {
            self.log.note_event(index, key, Event::DEL);
        }
    }

    /// Whether a reader came upon a key, so that its end is in the log; it is forgotten thereby.
    fn is_told(&mut self, index: usize, key: &[u8]) -> bool {
        let stale = self.stale.get_mut();
        !stale.is_empty() && stale.remove(&(index, key.into()))
    }

    /// Whether a reader of this command came upon a key that is over.
    pub(super) fn is_known_stale(&self, index: usize, key: &[u8]) -> bool {
        let stale = self.stale.borrow();
        !stale.is_empty() && stale.contains(&(index, key.into()))
    }

    /// Deletes a key whose time is over, or up to `most` fields whose time is; returns whether the key is gone.
    #[cold]
    fn expire(&mut self, index: usize, hash: u64, key: &[u8], most: usize) -> bool {
        let db = &mut self.dbs[index];
        match db.table.get_hashed(hash, key) {
            Some(record) if self.horizon > record.expire_at => {
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
        let told = self.is_told(index, key);
        let db = &mut self.dbs[index];
        db.capture(hash, key);
        let Some(record) = db.table.get_mut_hashed(hash, key) else {
            return 0;
        };
        let before = Measure::of(&record.value);
        let Value::Hash(fields) = &mut record.value else {
            return 0;
        };
        let expired = &mut self.log.expired;
        let n = fields.expire(self.horizon, most, |name| {
            expired.push(Expired {
                db: index,
                key: key.into(),
                field: Some(name.into()),
            });
        });
        let empty = fields.is_vanished();
        db.tally.change(hash, before, Measure::of(&record.value));
        self.expired_fields_total += n as u64;
        if n > 0 && !told {
            self.log.lapsed(index, key);
            self.log.event(index, key, Event::HEXPIRED);
        }
        if empty {
            self.dbs[index].remove(hash, key);
            if !told {
                self.log.event(index, key, Event::DEL);
            }
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
        if !self.is_told(index, key) {
            self.log.lapsed(index, key);
            self.log.event(index, key, Event::EXPIRED);
        }
    }

    /// Deletes what readers found expired; of a hash all of it if the command `wrote`, which may have made something of
    /// its not being there.
    pub fn reap(&mut self, wrote: bool) {
        let most = if wrote { usize::MAX } else { FIELDS_PER_READ };
        while let Some((index, key)) = self.stale.get_mut().first().cloned() {
            let table = &self.dbs[index].table;
            let hash = table.hash(&key);
            let found = table.get_hashed(hash, &key);
            if found.is_some_and(|record| record.is_due(self.horizon)) {
                self.expire(index, hash, &key, most);
            }
            self.stale.get_mut().remove(&(index, key));
        }
    }

    /// Deletes a key whose collection has become empty; returns whether it has.
    pub fn vanish(&mut self, index: usize, key: &[u8]) -> bool {
        let db = &mut self.dbs[index];
        let hash = db.table.hash(key);
        let found = db.table.get_hashed(hash, key);
        found.is_some_and(|record| record.value.is_vanished()) && db.remove(hash, key).is_some()
    }

    /// The earliest deadline of all keys and fields, if any; the engine wakes for it.
    #[inline]
    pub fn next_expiry(&self) -> Option<i64> {
        if !self.active_expire || self.expiry_paused {
            return None;
        }
        let timed = self.dbs.iter().filter(|db| db.has_deadlines());
        timed.filter_map(Db::first_deadline).min()
    }

    /// The first deadline of a key, or of the fields of its hash.
    pub fn first_deadline_of(&self, index: usize, key: &[u8]) -> Option<i64> {
        let record = self.dbs.get(index)?.table.get(key)?;
        let own = Some(record.expire_at).filter(|at| *at != NEVER);
        own.into_iter().chain(record.value.next_deadline()).min()
    }

    /// Deletes a key whose time is over at `now`, or the fields of its hash whose time is, even where that is left to
    /// others.
    pub fn expire_at(&mut self, now: i64, index: usize, key: &[u8]) {
        self.now = now;
        self.horizon = now;
        if let Some(db) = self.dbs.get(index) {
            let hash = db.table.hash(key);
            self.expire_if_due(index, hash, key);
        }
    }

    /// Deletes up to `limit` keys and fields whose time is over at `now`, unless that is switched off; returns how
    /// many.
    pub fn expire_due(&mut self, now: i64, limit: usize) -> usize {
        self.now = now;
        self.horizon = now;
        if !self.active_expire || self.expiry_paused {
            return 0;
        }
        let mut n = 0;
        for index in 0..self.dbs.len() {
            n += self.expire_keys_of(index, limit - n);
            n += self.expire_fields_of(index, limit - n);
        }
        n
    }

    /// Which part of the keys that have a deadline is over and not yet deleted; a lower bound if they are many.
    pub fn overdue_share(&self) -> f64 {
        /// So many are counted: all are gone within a few turns.
        const COUNTED: usize = 100_000;
        let due = |db: &Db| {
            let over = db.ttl.iter().take_while(|(at, _)| self.horizon > *at);
            over.take(COUNTED).count()
        };
        let over: usize = self.dbs.iter().map(due).sum();
        let all: usize = self.dbs.iter().map(Db::volatile_len).sum();
        over as f64 / all.max(1) as f64
    }

    fn expire_keys_of(&mut self, index: usize, limit: usize) -> usize {
        let mut n = 0;
        while n < limit
            && let Some((at, hash)) = self.dbs[index].ttl.first().copied()
            && self.horizon > at
        {
            let db = &mut self.dbs[index];
            let key = db
                .table
                .find_of_hash(hash, |r| r.expire_at == at)
                .map(|r| r.key.clone());
            if let Some(key) = key {
                db.remove(hash, &key);
                self.log_expired(index, &key);
                n += 1;
            } else {
                // No such key: unreachable while invariant 3 holds, and the loop must end in any case.
                db.ttl.remove((at, hash));
            }
        }
        n
    }

    fn expire_fields_of(&mut self, index: usize, limit: usize) -> usize {
        let mut n = 0;
        while n < limit
            && let Some((at, hash)) = self.dbs[index].tally.due.first().copied()
            && self.horizon > at
        {
            let db = &mut self.dbs[index];
            let key = db
                .table
                .find_of_hash(hash, |r| r.value.next_deadline() == Some(at))
                .map(|r| r.key.clone());
            if let Some(key) = key {
                n += self.expire_fields(index, hash, &key, limit - n);
            } else {
                // As above, with invariant 5.
                db.tally.due.remove((at, hash));
            }
        }
        n
    }

    /// Whether the log holds anything for settle to act on.
    pub fn log_is_quiet(&self) -> bool {
        self.log.changes.borrow().is_empty()
            && self.log.expired.is_empty()
            && self.stale.borrow().is_empty()
    }
}

impl Db {
    #[inline]
    fn has_deadlines(&self) -> bool {
        !self.ttl.is_empty() || !self.tally.due.is_empty()
    }

    fn first_deadline(&self) -> Option<i64> {
        // Expired means `now > deadline`, so the key is due one millisecond later.
        let (keys, fields) = (self.ttl.first(), self.tally.due.first());
        let first = keys.into_iter().chain(fields).map(|&(at, _)| at).min();
        first.map(|at| at.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ds::table::Seed;
    use crate::keyspace::event::Classes;
    use crate::keyspace::{Expiry, Interest, What};
    use crate::types::hash::{Hash, Limits};
    use crate::types::string::Str;

    const NOW: i64 = 1_000_000;

    fn limits(entries: usize) -> Limits {
        Limits {
            entries,
            value: 64,
            seed: Seed::random(|| 3),
        }
    }

    /// A hash `a` whose fields end at these times after now, those at 0 never.
    fn keyspace(entries: usize, fields: &[(&str, i64)]) -> Keyspace {
        let mut ks = Keyspace::new(2, || 1);
        ks.begin(0, NOW);
        let mut edit = ks.edit_or_create(b"a", Hash::new).unwrap();
        for (name, after) in fields {
            edit.get_mut().set(name.as_bytes(), b"v", limits(entries));
            if *after != 0 {
                edit.get_mut()
                    .set_deadline(name.as_bytes(), Some(NOW + after));
            }
        }
        edit.changed(1, None);
        ks.log.changes.get_mut().clear();
        ks.log.dirty = 0;
        ks.log.interest.set(Interest::WATCHED, true);
        ks.log.notify = Classes(u32::MAX);
        ks
    }

    /// What was logged: `~` for a change, else the event; then what was deleted, `key` or `key.field`.
    fn logged(ks: &mut Keyspace) -> String {
        let mut words = Vec::new();
        for change in ks.log.changes.take() {
            words.push(match change.what {
                What::Event(event) => event.name.to_owned(),
                _ => "~".to_owned(),
            });
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for gone in std::mem::take(&mut ks.log.expired) {
            let field = gone.field.map(|f| format!(".{}", text(&f)));
            words.push(text(&gone.key) + &field.unwrap_or_default());
        }
        words.join(" ")
    }

    #[test]
    fn fields_go_when_they_are_due_and_the_hash_with_the_last() {
        for entries in [0, 9] {
            let mut ks = keyspace(entries, &[("x", 5), ("y", 9), ("z", 5)]);
            assert_eq!(ks.dbs[0].partly_volatile_len(), 1);
            assert_eq!(ks.next_expiry(), Some(NOW + 6));
            assert_eq!(ks.expire_due(NOW + 5, 100), 0);
            assert_eq!(ks.expire_due(NOW + 6, 1), 1);
            assert_eq!(ks.next_expiry(), Some(NOW + 6));
            assert_eq!(ks.expire_due(NOW + 6, 100), 1);
            let first = logged(&mut ks);
            let either = [
                "~ hexpired ~ hexpired a.x a.z",
                "~ hexpired ~ hexpired a.z a.x",
            ];
            assert!(either.contains(&&*first), "{first}");
            assert_eq!(ks.next_expiry(), Some(NOW + 10));
            assert_eq!(ks.expire_due(NOW + 10, 100), 1);
            assert_eq!(logged(&mut ks), "~ hexpired del a.y");
            assert_eq!((ks.next_expiry(), ks.dbs[0].len()), (None, 0));
            assert_eq!((ks.expired_fields_total, ks.expired_total), (3, 0));
            assert_eq!((ks.memory(), ks.log.dirty), (0, 0));
        }
    }

    #[test]
    fn readers_do_not_see_what_is_over_and_settling_deletes_it() {
        for entries in [0, 9] {
            let mut ks = keyspace(entries, &[("x", 5), ("y", 0)]);
            ks.begin(0, NOW + 6);
            let hash = ks.read::<Hash>(b"a").unwrap().unwrap();
            assert_eq!(hash.len(NOW + 6), 1);
            assert!(!ks.log_is_quiet());
            ks.reap(false);
            assert_eq!(logged(&mut ks), "~ hexpired a.x");
            assert_eq!(ks.dbs[0].partly_volatile_len(), 0);
            ks.peek(b"a");
            assert!(ks.log_is_quiet());

            let mut ks = keyspace(entries, &[("x", 5), ("y", 8)]);
            ks.begin(0, NOW + 9);
            assert!(ks.is_stale(0, b"a"));
            assert!(ks.read::<Hash>(b"a").unwrap().is_none());
            assert!(ks.random_key(|| 1).is_none());
            ks.for_each(|_| panic!("there is no key"));
            assert_eq!(ks.dbs[0].len(), 1);
            ks.reap(false);
            assert_eq!(logged(&mut ks), "~ hexpired del keymiss a.x a.y");
            assert!(!ks.is_stale(0, b"a"));
        }
    }

    #[test]
    fn editors_delete_what_is_over_before_they_begin() {
        let mut ks = keyspace(9, &[("x", 5), ("y", 0)]);
        ks.begin(0, NOW + 6);
        let mut edit = ks.edit::<Hash>(b"a").unwrap().unwrap();
        assert_eq!(edit.total(), 1);
        edit.get_mut().remove(b"y");
        edit.changed(1, Event::hash("hdel"));
        assert_eq!(logged(&mut ks), "~ hexpired ~ hdel ~ a.x");

        for how in ["edit", "create", "put", "take", "expiry", "move", "copy"] {
            let mut ks = keyspace(9, &[("x", 5)]);
            ks.begin(0, NOW + 6);
            let moved = (Event::generic("from"), Event::generic("to"));
            let expected = match how {
                "edit" => {
                    assert!(ks.edit::<Hash>(b"a").unwrap().is_none());
                    ""
                }
                "create" => {
                    let mut edit = ks.edit_or_create(b"a", Hash::new).unwrap();
                    assert!(edit.created);
                    edit.get_mut().set(b"x", b"v", limits(9));
                    edit.changed(1, None);
                    " new ~"
                }
                "put" => {
                    let value = Str::from_text(b"x").into_value();
                    assert!(ks.put(b"a", value, Expiry::Keep, None));
                    " new ~"
                }
                "take" => {
                    assert!(ks.take(b"a", Event::DEL).is_none());
                    ""
                }
                "expiry" => {
                    assert!(!ks.set_expiry(b"a", Some(NOW * 2), None));
                    ""
                }
                "move" => {
                    assert!(!ks.relocate((0, b"a"), (0, b"b"), moved));
                    ""
                }
                _ => {
                    assert!(!ks.duplicate((0, b"a"), (0, b"b"), moved.1));
                    ""
                }
            };
            let logged = logged(&mut ks);
            assert_eq!(logged, format!("~ hexpired del{expected} a.x"), "{how}");
            assert_eq!(ks.dbs[0].partly_volatile_len(), 0);
        }
    }

    #[test]
    fn deadlines_of_fields_follow_their_hash() {
        let mut ks = keyspace(9, &[("x", 5), ("y", 0)]);
        let events = (Event::generic("from"), Event::generic("to"));
        assert!(ks.relocate((0, b"a"), (0, b"b"), events));
        assert!(ks.duplicate((0, b"b"), (1, b"c"), events.1));
        assert_eq!(ks.dbs[0].partly_volatile_len(), 1);
        ks.swap(0, 1);
        assert_eq!(ks.dbs[1].partly_volatile_len(), 1);
        assert_eq!(ks.expire_due(NOW + 6, 100), 2);
        let left = |db, key: &[u8]| ks.peek_in(db, key).map(|r| r.value.next_deadline());
        assert_eq!((left(1, b"b"), left(0, b"c")), (Some(None), Some(None)));
        let mut ks = keyspace(0, &[("x", 5), ("y", 0)]);
        let value = Str::from_text(b"x").into_value();
        ks.put(b"a", value, Expiry::Clear, None);
        assert_eq!(ks.next_expiry(), None);
        let mut ks = keyspace(0, &[("x", 5), ("y", 0)]);
        ks.flush(0, false);
        assert_eq!((ks.next_expiry(), ks.memory()), (None, 0));
        let mut ks = keyspace(0, &[("x", 5), ("y", 0)]);
        let mut edit = ks.edit::<Hash>(b"a").unwrap().unwrap();
        edit.get_mut().set_deadline(b"y", Some(NOW + 2));
        edit.changed(1, None);
        assert_eq!(ks.next_expiry(), Some(NOW + 3));
        ks.delete(b"a", None);
        assert_eq!((ks.next_expiry(), ks.memory()), (None, 0));
    }
}
