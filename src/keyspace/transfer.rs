//! Whole records and whole databases on the move: RENAME, MOVE, COPY, RESTORE, FLUSHDB, SWAPDB.

use std::fmt::Debug;

use smallvec::SmallVec;

use super::event::Event;
use super::tally::Tally;
use super::{Db, Keyspace, Record, What};
use crate::ds::bytes::TinyBytes;
use crate::ds::deadlines::Deadlines;
use crate::ds::table::{Slot, Table};
use crate::types::Value;

/// A value that takes longer to drop than the command that deletes it should take.
pub(super) const HEAVY: usize = 16 * 1024;

/// Keys that take longer to drop than a command should take, whatever they hold.
const MANY: usize = 20_000;

/// What was deleted and is still to be dropped, when nobody waits for it.
#[derive(Debug)]
pub enum Garbage {
    /// The value of a key.
    Value(Value),
    /// The contents of a database.
    Contents(Table<Record>),
    /// A database with all that is known of it.
    Database(Box<Db>),
    /// What depended on that.
    Other(Box<dyn Debug + Send>),
}

impl Garbage {
    /// Anything.
    pub fn other(what: impl Debug + Send + 'static) -> Self {
        Garbage::Other(Box::new(what))
    }

    /// About how many elements are to be dropped, as far as that is known.
    pub fn elements(&self) -> usize {
        match self {
            Garbage::Value(value) => elements(value),
            Garbage::Contents(records) => elements_of(records),
            Garbage::Database(db) => elements_of(&db.table),
            Garbage::Other(_) => 0,
        }
    }
}

/// No type takes less for an element than this, or drops it in less time than that.
const ELEMENT: usize = 64;

fn elements(value: &Value) -> usize {
    value.heap_size() / ELEMENT
}

fn elements_of(records: &Table<Record>) -> usize {
    let n = records.len();
    // Where there are few, they may be large.
    match n {
        0..MANY => n + records.iter().map(|r| elements(&r.value)).sum::<usize>(),
        _ => n,
    }
}

/// A key that comes from a file.
#[derive(Debug)]
pub struct Arrival {
    /// Its name.
    pub name: TinyBytes,
    /// What it holds.
    pub value: Value,
    /// Its deadline, in unix milliseconds.
    pub deadline: Option<i64>,
    /// Seconds since its last use.
    pub idle: Option<u64>,
    /// How often it is used.
    pub frequency: Option<u8>,
}

/// The name of a key: its database and its bytes.
pub type Place<'a> = (usize, &'a [u8]);

impl Keyspace {
    /// Gives a key another name or another database, over whatever is there; counts one change. Value and deadline
    /// stay, and how often it was used, of which this is one more time. Returns whether there was such a key.
    pub fn relocate(&mut self, from: Place<'_>, to: Place<'_>, events: (Event, Event)) -> bool {
        let hash = self.dbs[from.0].table.hash(from.1);
        if self.expire_if_due(from.0, hash, from.1) {
            return false;
        }
        let Some(mut record) = self.dbs[from.0].remove(hash, from.1) else {
            return false;
        };
        if self.touch {
            self.uses.note(&record.access, self.now);
        }
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
        let hash = self.dbs[from.0].table.hash(from.1);
        self.expire_if_due(from.0, hash, from.1);
        let Some(source) = self.peek_in(from.0, from.1) else {
            return false;
        };
        let record = Record {
            key: to.1.into(),
            value: source.value.clone(),
            expire_at: source.expire_at,
            access: self.uses.fresh(self.now),
        };
        self.place(to.0, record);
        self.log.modified(to.0, to.1, 1);
        self.log.event(to.0, to.1, event);
        true
    }

    /// Puts a value from outside with its deadline, in unix milliseconds, over whatever is there; counts one change.
    pub fn restore(
        &mut self,
        key: &[u8],
        value: Value,
        at: Option<i64>,
        event: impl Into<Option<Event>>,
    ) {
        let record = Record {
            key: key.into(),
            value,
            expire_at: at.map_or(super::NEVER, |at| at.min(super::LATEST)),
            access: self.uses.fresh(self.now),
        };
        // Nobody looks whether the time of what was there is over.
        if !self.is_known_stale(self.current, key) {
            let db = &mut self.dbs[self.current];
            db.remove(db.table.hash(key), key);
        }
        self.place(self.current, record);
        self.log.modified(self.current, key, 1);
        if let Some(event) = event.into() {
            self.log.event(self.current, key, event);
        }
    }

    /// Puts what comes from a file into the selected database, without a word to anybody.
    ///
    /// # Errors
    /// The name of a key that is there already, unless it is to be replaced. What came before it was put.
    pub fn load(&mut self, arrivals: &mut Vec<Arrival>, replace: bool) -> Result<(), TinyBytes> {
        let db = &mut self.dbs[self.current];
        let hash = |arrival: &Arrival| db.table.hash(&arrival.name);
        let hashes: SmallVec<[u64; 32]> = arrivals.iter().map(hash).collect();
        // Nearly all the time of a load is waiting for memory: so it is asked for many places at once.
        hashes.iter().for_each(|&at| db.table.glance_to_add(at));
        for (arrival, hash) in arrivals.drain(..).zip(hashes) {
            let record = Record {
                key: arrival.name,
                value: arrival.value,
                expire_at: arrival
                    .deadline
                    .map_or(super::NEVER, |at| at.min(super::LATEST)),
                access: self.uses.loaded(arrival.idle, arrival.frequency, self.now),
            };
            let (measure, expire_at) = (record.measure(), record.expire_at);
            match db.table.slot(hash, &record.key) {
                Slot::Vacant(place) => drop(place.insert(record)),
                Slot::Occupied(_) if !replace => return Err(record.key),
                Slot::Occupied(_) => {
                    db.remove(hash, &record.key);
                    db.table.insert(record);
                }
            }
            db.tally.add(hash, measure);
            db.reindex_ttl(super::NEVER, expire_at, hash);
        }
        Ok(())
    }

    /// So many keys are to be [loaded](Self::load) into the selected database.
    pub fn expect(&mut self, keys: usize) {
        self.dbs[self.current].table.expect(keys);
    }

    /// All that was to be loaded is there.
    pub fn loaded(&mut self) {
        self.dbs.iter_mut().for_each(|db| db.table.settle());
    }

    /// Empty databases that can take the place of these: as many, with the same secrets, and with uses counted alike.
    pub fn beside(&self) -> Keyspace {
        let mut seeds = self.dbs.iter().map(|db| db.table.seed());
        let mut ks = Keyspace::new(0, || 0);
        ks.dbs = seeds.by_ref().map(Db::new).collect();
        ks.uses = self.uses.clone();
        ks.begin(0, self.now);
        ks
    }

    /// Puts the contents of other databases, as many, in place of what is there, which becomes garbage. A running snapshot
    /// is given up.
    pub fn adopt(&mut self, other: Keyspace) {
        self.end_snapshot();
        self.stale.get_mut().clear();
        for (index, mut db) in other.dbs.into_iter().enumerate() {
            let Some(place) = self.dbs.get_mut(index) else {
                break;
            };
            db.cut = None;
            let was = std::mem::replace(place, db);
            if !was.is_empty() || !self.dbs[index].is_empty() {
                self.log.push(index, b"", What::AllModified);
            }
            if !was.is_empty() {
                self.garbage.push(Garbage::Database(Box::new(was)));
            }
        }
    }

    // What was there goes without a word, as Redis has it; the key counts as new in any case.
    fn place(&mut self, index: usize, record: Record) {
        let key = record.key.clone();
        let hash = self.dbs[index].table.hash(&key);
        self.expire_if_due(index, hash, &key);
        let db = &mut self.dbs[index];
        db.remove(hash, &key);
        db.tally.add(hash, record.measure());
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
            self.freed_later += 1;
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

    /// Empties a database, its contents dropped now or `later`, as many always are; returns how many keys it had.
    pub fn flush(&mut self, index: usize, later: bool) -> usize {
        let db = &mut self.dbs[index];
        let n = db.table.len();
        let contents = db.take_contents();
        let ttl = std::mem::replace(&mut db.ttl, Deadlines::new());
        if later && n > 0 {
            self.freed_later += n as u64;
        }
        // Not even who wants it now needs to wait until each of many is dropped, and nobody else does.
        if n > 0 && (later || n >= MANY) {
            self.garbage.extend(contents.map(Garbage::Contents));
        }
        if n >= MANY {
            self.garbage.push(Garbage::other(ttl));
        }
        db.ttl_sum = 0;
        db.tally = Tally::default();
        self.log.push(index, b"", What::AllModified);
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::event::Classes;
    use crate::keyspace::{Expiry, Interest};
    use crate::types::DataType as _;
    use crate::types::string::Str;

    const NOW: i64 = 1_000_000;
    const EVENTS: (Event, Event) = (Event::generic("from"), Event::generic("to"));

    fn keyspace() -> Keyspace {
        let mut ks = Keyspace::new(2, || 1);
        ks.begin(0, NOW);
        for (key, expiry) in [
            (b"a", Expiry::At(NOW + 9)),
            (b"b", Expiry::At(NOW + 1)),
            (b"c", Expiry::Clear),
        ] {
            ks.put(key, Str::from_text(&[b'x'; 100]).into_value(), expiry, None);
        }
        ks.log.dirty = 0;
        ks.log.interest.set(Interest::WATCHED, true);
        ks.log.notify = Classes(u32::MAX);
        ks
    }

    /// What was logged: `~key` for a change, `event:key` for a notification.
    fn logged(ks: &mut Keyspace) -> Vec<String> {
        let changes = ks.log.changes.take();
        let show = |change: &crate::keyspace::Change| {
            let key = String::from_utf8_lossy(&change.key).into_owned();
            match change.what {
                What::Event(event) => format!("{}:{}:{key}", event.name, change.db),
                _ => format!("~{}:{key}", change.db),
            }
        };
        changes.iter().map(show).collect()
    }

    #[test]
    fn a_key_takes_its_deadline_to_another_name_and_database() {
        let mut ks = keyspace();
        assert!(ks.relocate((0, b"a"), (0, b"c"), EVENTS));
        assert_eq!(
            logged(&mut ks),
            ["new:0:c", "~0:a", "~0:c", "from:0:a", "to:0:c"]
        );
        assert!(ks.relocate((0, b"c"), (1, b"c"), EVENTS));
        assert_eq!(
            logged(&mut ks),
            ["new:1:c", "~0:c", "~1:c", "from:0:c", "to:1:c"]
        );
        assert_eq!(ks.log.dirty, 2);
        assert!(!ks.relocate((0, b"c"), (1, b"c"), EVENTS));
        assert!(ks.peek(b"a").is_none() && ks.peek(b"c").is_none());
        let there = ks.peek_in(1, b"c").and_then(Record::expire_at);
        assert_eq!(there, Some(NOW + 9));
    }

    #[test]
    fn what_expired_is_neither_moved_nor_in_the_way() {
        let mut ks = keyspace();
        ks.begin(0, NOW + 2);
        assert!(!ks.relocate((0, b"b"), (0, b"d"), EVENTS));
        assert_eq!(logged(&mut ks), ["~0:b", "expired:0:b"]);
        let mut ks = keyspace();
        ks.begin(0, NOW + 2);
        assert!(ks.duplicate((0, b"c"), (0, b"b"), EVENTS.1));
        assert_eq!(
            logged(&mut ks),
            ["~0:b", "expired:0:b", "new:0:b", "~0:b", "to:0:b"]
        );
        assert_eq!(ks.expired_total, 1);
        assert_eq!(ks.peek(b"b").and_then(Record::expire_at), None);
    }

    #[test]
    fn memory_and_deadlines_follow_the_keys() {
        let mut ks = keyspace();
        let before = (ks.dbs[0].tally.heap, ks.dbs[0].volatile_len());
        ks.relocate((0, b"a"), (1, b"a"), EVENTS);
        ks.duplicate((1, b"a"), (0, b"a"), EVENTS.1);
        ks.swap(0, 1);
        ks.swap(0, 1);
        assert_eq!((ks.dbs[0].tally.heap, ks.dbs[0].volatile_len()), before);
        ks.unlink(b"a", None);
        assert!(ks.garbage.is_empty(), "it is small");
        assert_eq!(ks.flush(0, true) + ks.flush(1, false), 3);
        assert_eq!(ks.memory(), 0);
        assert_eq!(ks.garbage.len(), 1);
        assert_eq!(ks.next_expiry(), None);
    }
}
