//! The databases: reading, editing, putting and deleting keys.
//!
//! Invariants:
//! 1. A value changes only through [`Keyspace::edit`], [`Keyspace::put`] and [`Keyspace::delete`] (and what is
//!    built of them), each of which is told what happened and logs it.
//! 2. Time is frozen while a unit of work runs: [`Keyspace::begin`] sets it, and every expiry is judged by it. Only for
//!    whoever replays effects nothing is over: [`Keyspace::begin_replay`]. What all ask is [`Keyspace::horizon`].
//! 3. `Db::ttl` holds exactly one entry for each record that has a deadline.
//! 4. A key whose deadline has passed is absent for every reader, and so is a hash all of whose fields are over.
//!    Readers only note it ([`Keyspace::reap`] deletes it when the command settles), editors delete it at once.
//! 5. `Tally::due` holds exactly one entry for each record whose value has parts with deadlines: the earliest.
//!    Readers and editors treat parts that are over as they treat keys.

mod audit;
mod edit;
pub mod event;
mod evict;
mod expire;
mod glance;
pub mod snapshot;
mod tally;
mod transfer;
mod uses;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU32;

pub use edit::{Change, ChangeLog, Edit, Expired, Interest, What};
use event::Event;
use evict::Pool;
pub use evict::{Merit, Policy};
pub use glance::{AT_ONCE, Touch};
use tally::{Measure, Tally};
pub use transfer::{Arrival, Garbage, Place};
pub use uses::Lfu;
use uses::Uses;

use crate::ds::bytes::TinyBytes;
use crate::ds::deadlines::Deadlines;
use crate::ds::table::{Keyed, Seed, Slot, Stats, Table};
use crate::types::string::Str;
use crate::types::{DataType, Value};

/// The deadline of a key that has none.
pub const NEVER: i64 = i64::MAX;

/// The latest deadline there is. It stands for [`i64::MAX`] too, and reads as that.
const LATEST: i64 = NEVER - 1;

/// No deadline that a clock has come upon is before this one.
const START_OF_TIME: i64 = 0;

/// The key holds another type. The wire text lives in `exec::error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// A key with its value.
#[derive(Debug)]
pub struct Record {
    key: TinyBytes,
    value: Value,
    expire_at: i64,
    /// When it was used last, or how often: see `uses.rs`.
    access: AtomicU32,
}

const _: () = assert!(size_of::<Record>() == 48);

impl Keyed for Record {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Record {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The deadline in unix milliseconds, if there is one.
    pub fn expire_at(&self) -> Option<i64> {
        match self.expire_at {
            NEVER => None,
            LATEST => Some(i64::MAX),
            at => Some(at),
        }
    }

    /// Bytes that the key takes: its place in the table and in the order of deadlines, its name and its value.
    pub fn memory(&self) -> usize {
        // Slots of four bytes are four fifths full, and of deadlines, twelve bytes each, more.
        const SLOT: usize = size_of::<u32>() * 5 / 4 + 1;
        const DEADLINE: usize = 3 * size_of::<u32>() * 8 / 7;
        let deadlines = usize::from(self.expire_at != NEVER)
            + usize::from(self.value.next_deadline().is_some());
        size_of::<Self>() + SLOT + deadlines * DEADLINE + self.measure().heap
    }

    fn measure(&self) -> Measure {
        let value = Measure::of(&self.value);
        Measure {
            heap: self.key.heap_size() + value.heap,
            ..value
        }
    }

    /// Whether the key is over, or a part of its value.
    #[inline]
    fn is_due(&self, now: i64) -> bool {
        now > self.expire_at || self.value.next_deadline().is_some_and(|at| now > at)
    }

    /// Whether nothing is left of the key.
    pub(crate) fn is_over(&self, now: i64) -> bool {
        now > self.expire_at || self.value.is_over(now)
    }
}

/// What becomes of the TTL when a value is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The key has none afterwards.
    Clear,
    /// The key keeps what it had.
    Keep,
    /// The key has this deadline, in unix milliseconds.
    At(i64),
}

/// What can be put at a key.
trait Content: Sized {
    fn into_value(self) -> Value;

    /// Takes the place of another value.
    fn replace(self, old: &mut Value) {
        *old = self.into_value();
    }
}

impl Content for Value {
    fn into_value(self) -> Value {
        self
    }
}

/// The bytes of a string.
struct Text<'a>(&'a [u8]);

impl Content for Text<'_> {
    fn into_value(self) -> Value {
        Value::Str(Str::from_bytes(self.0))
    }

    #[inline]
    fn replace(self, old: &mut Value) {
        match old {
            // So long a string is no number, nor is it held inline.
            Value::Str(Str::Heap(bytes)) if bytes.len() == self.0.len() => {
                bytes.copy_from_slice(self.0);
            }
            old => *old = self.into_value(),
        }
    }
}

/// One database.
#[derive(Debug)]
pub struct Db {
    table: Table<Record>,
    /// (deadline, hash of the key), ordered: see invariant 3.
    ttl: Deadlines,
    /// Sum of all deadlines, for the average that INFO prints.
    ttl_sum: i128,
    tally: Tally,
    /// Its part in the running snapshot.
    cut: Option<Box<snapshot::Cut>>,
}

impl Db {
    fn new(seed: Seed) -> Db {
        Db {
            table: Table::new(seed),
            ttl: Deadlines::new(),
            ttl_sum: 0,
            tally: Tally::default(),
            cut: None,
        }
    }

    /// Number of keys, including those whose time is over and which have not been deleted yet.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of keys that have a deadline.
    pub fn volatile_len(&self) -> usize {
        self.ttl.len()
    }

    /// Number of keys whose values have parts with deadlines: hashes with fields that expire.
    pub fn partly_volatile_len(&self) -> usize {
        self.tally.due.len()
    }

    /// Average time to live in milliseconds of the keys that have a deadline; 0 without any.
    pub fn avg_ttl(&self, now: i64) -> i64 {
        if self.ttl.is_empty() {
            return 0;
        }
        let mean = self.ttl_sum / self.ttl.len() as i128 - i128::from(now);
        i64::try_from(mean.max(0)).unwrap_or(i64::MAX)
    }

    /// Bytes used by this database: table, keys, values and the index of deadlines.
    pub fn memory(&self) -> usize {
        self.table_memory() + self.tally.heap + self.index_memory()
    }

    /// Bytes of its hash table, in which short keys and values are.
    pub fn table_memory(&self) -> usize {
        self.table.memory()
    }

    /// Bytes of the order of deadlines.
    pub fn index_memory(&self) -> usize {
        self.ttl.heap_size() + self.tally.due.heap_size()
    }

    /// How its hash table is filled.
    pub fn table_stats(&self) -> Stats {
        self.table.stats()
    }

    /// The deadline of a key changed.
    fn reindex_ttl(&mut self, was: i64, is: i64, hash: u64) {
        if was == is {
            return;
        }
        if was != NEVER {
            // Two keys of one database with the same 64-bit hash and the same deadline would share the entry;
            // the lazy check still expires the second.
            self.ttl.remove((was, hash));
            self.ttl_sum -= i128::from(was);
        }
        if is != NEVER {
            self.ttl.insert((is, hash));
            self.ttl_sum += i128::from(is);
        }
    }

    fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Record> {
        self.capture(hash, key);
        let record = self.table.remove_hashed(hash, key)?;
        self.tally.remove(hash, record.measure());
        self.reindex_ttl(record.expire_at, NEVER, hash);
        Some(record)
    }
}

/// All databases of an instance, and the log of what the current command did to them.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
    current: usize,
    now: i64,
    /// What has a deadline before this time is over.
    horizon: i64,
    /// Whether reads count as access (CLIENT NO-TOUCH).
    pub touch: bool,
    uses: Uses,
    /// Keys that may be evicted next.
    pool: Pool,
    /// Whether keys expire by themselves, without being touched (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: bool,
    /// Whether keys and fields whose time is over are left where they are for now, though nobody sees them (CLIENT
    /// PAUSE). A write that comes upon one deletes it all the same.
    pub expiry_paused: bool,
    /// What happened since settle last looked.
    pub log: ChangeLog,
    /// Keys that a reader came upon and that are over, or a part of them. That is in the log already.
    stale: RefCell<BTreeSet<(usize, TinyBytes)>>,
    hits: Cell<u64>,
    missed: Cell<u64>,
    /// Keys that ran out of time so far.
    pub expired_total: u64,
    /// Fields of hashes that did.
    pub expired_fields_total: u64,
    /// Keys whose values UNLINK and the like have left to be dropped later, so far.
    pub freed_later: u64,
    /// What UNLINK and the like took out, to be dropped when nobody waits for the lock.
    pub garbage: Vec<Garbage>,
}

impl Keyspace {
    /// Empty databases. `random` seeds the hash tables.
    pub fn new(databases: usize, mut random: impl FnMut() -> u64) -> Keyspace {
        let dbs = (0..databases.max(1))
            .map(|_| Db::new(Seed::random(&mut random)))
            .collect();
        Keyspace {
            dbs,
            current: 0,
            now: 0,
            horizon: 0,
            touch: true,
            uses: Uses::new(random()),
            pool: Pool::default(),
            active_expire: true,
            expiry_paused: false,
            log: ChangeLog::default(),
            stale: RefCell::default(),
            hits: Cell::new(0),
            missed: Cell::new(0),
            expired_total: 0,
            expired_fields_total: 0,
            freed_later: 0,
            garbage: Vec::new(),
        }
    }

    /// Freezes the time and selects the database for what follows.
    pub fn begin(&mut self, db: usize, now: i64) {
        debug_assert!(db < self.dbs.len());
        self.current = db;
        self.now = now;
        self.horizon = now;
    }

    /// As [`begin`](Self::begin), for effects that are done again: nothing is over. Who logged them saw it alive, and
    /// logged its end if it came to an end.
    pub fn begin_replay(&mut self, db: usize, now: i64) {
        self.begin(db, now);
        self.horizon = START_OF_TIME;
    }

    /// The frozen time, unix milliseconds.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// By which time deadlines are judged: what has an earlier one is over. It is to be given to readers of hashes.
    #[inline]
    pub fn horizon(&self) -> i64 {
        self.horizon
    }

    /// Whether what is given this deadline is over at once.
    #[inline]
    pub fn is_past(&self, deadline: i64) -> bool {
        deadline <= self.horizon
    }

    /// Whether effects are done again, for which nothing is over.
    pub fn replays(&self) -> bool {
        self.horizon != self.now
    }

    /// The selected database.
    pub fn current(&self) -> usize {
        self.current
    }

    /// Selects another database.
    pub fn select(&mut self, db: usize) {
        debug_assert!(db < self.dbs.len());
        self.current = db;
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// A database, if there is one of that number.
    pub fn db(&self, index: usize) -> Option<&Db> {
        self.dbs.get(index)
    }

    /// (hits, misses) of reads so far.
    pub fn read_stats(&self) -> (u64, u64) {
        (self.hits.get(), self.missed.get())
    }

    /// Forgets hits, misses and expirations (CONFIG RESETSTAT).
    pub fn reset_stats(&mut self) {
        self.freed_later = 0;
        self.hits.set(0);
        self.missed.set(0);
        self.expired_total = 0;
        self.expired_fields_total = 0;
    }

    /// The secret of the selected database's hashes, for the tables of the values in it.
    pub fn seed(&self) -> Seed {
        self.dbs[self.current].table.seed()
    }

    /// As [`seed`](Self::seed), of another database, if there is one of that number.
    pub fn seed_of(&self, db: usize) -> Option<Seed> {
        Some(self.dbs.get(db)?.table.seed())
    }

    /// Bytes used by all databases.
    pub fn memory(&self) -> usize {
        self.databases_memory() + self.snapshot_memory()
    }

    // ---- reading

    fn live(&self, db: usize, key: &[u8]) -> Option<&Record> {
        let table = &self.dbs[db].table;
        let record = table.get_hashed(table.hash(key), key)?;
        if record.is_due(self.horizon) {
            self.come_upon(db, record);
            return (!record.is_over(self.horizon)).then_some(record);
        }
        Some(record)
    }

    /// The record of a key, without counting as an access.
    pub fn peek(&self, key: &[u8]) -> Option<&Record> {
        self.live(self.current, key)
    }

    /// As [`peek`](Self::peek), counted as an access, for a write that may yet leave the key as it is: neither a hit nor a
    /// miss.
    pub fn seek(&self, key: &[u8]) -> Option<&Record> {
        let record = self.peek(key)?;
        if self.touch {
            self.uses.note(&record.access, self.now);
        }
        Some(record)
    }

    /// As [`peek`](Self::peek), in another database.
    pub fn peek_in(&self, db: usize, key: &[u8]) -> Option<&Record> {
        self.live(db, key)
    }

    /// The record of a key as it is stored, whether its time is over or not.
    pub fn stored(&self, key: &[u8]) -> Option<&Record> {
        self.stored_in(self.current, key)
    }

    /// As [`stored`](Self::stored), in another database.
    pub fn stored_in(&self, db: usize, key: &[u8]) -> Option<&Record> {
        self.dbs[db].table.get(key)
    }

    /// Whether a key is there whose time is over and which nobody has deleted yet.
    pub fn is_stale(&self, db: usize, key: &[u8]) -> bool {
        let found = self.dbs[db].table.get(key);
        found.is_some_and(|r| r.is_over(self.horizon))
    }

    /// Whether a key is there whose time is not over, for those who only watch it.
    pub fn is_there(&self, db: usize, key: &[u8]) -> bool {
        let found = self.dbs[db].table.get(key);
        found.is_some_and(|r| !r.is_over(self.horizon))
    }

    /// The record of a key, of any type, counted as a read.
    pub fn read_any(&self, key: &[u8]) -> Option<&Record> {
        let record = self.read_meta(key)?;
        if self.touch {
            self.uses.note(&record.access, self.now);
        }
        Some(record)
    }

    /// As [`read_any`](Self::read_any), for what is about the key and not about its value: it is a hit or a miss,
    /// and no access.
    pub fn read_meta(&self, key: &[u8]) -> Option<&Record> {
        let record = self.inspect(key);
        if record.is_none() {
            self.log.note_event(self.current, key, Event::KEYMISS);
        }
        record
    }

    /// As [`read_meta`](Self::read_meta), for what is behind the value: nobody is told of a miss.
    pub fn inspect(&self, key: &[u8]) -> Option<&Record> {
        let record = self.live(self.current, key);
        let count = if record.is_some() {
            &self.hits
        } else {
            &self.missed
        };
        count.set(count.get() + 1);
        record
    }

    /// The value of a key, counted as a read.
    pub fn read<T: DataType>(&self, key: &[u8]) -> Result<Option<&T>, WrongType> {
        match self.read_any(key) {
            Some(record) => T::of(&record.value).map(Some).ok_or(WrongType),
            None => Ok(None),
        }
    }

    /// The value of a key for a check before a write: neither a hit nor a miss.
    pub fn look<T: DataType>(&self, key: &[u8]) -> Result<Option<&T>, WrongType> {
        match self.peek(key) {
            Some(record) => T::of(&record.value).map(Some).ok_or(WrongType),
            None => Ok(None),
        }
    }

    /// Calls `f` with every live key of the selected database.
    pub fn for_each<'a>(&'a self, mut f: impl FnMut(&'a Record)) {
        for record in self.dbs[self.current].table.iter() {
            if !record.is_over(self.horizon) {
                f(record);
            }
        }
    }

    /// One step of SCAN over the selected database: calls `f` with live records that are `wanted`, returns the next
    /// cursor.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        wanted: impl Fn(&Record) -> bool,
        mut f: impl FnMut(&Record),
    ) -> u64 {
        let horizon = self.horizon;
        self.dbs[self.current].table.scan(cursor, count, |record| {
            if !wanted(record) {
                return;
            }
            if record.is_over(horizon) {
                self.come_upon(self.current, record);
            } else {
                f(record);
            }
        })
    }

    /// A live key of the selected database, at random.
    pub fn random_key(&self, mut random: impl FnMut() -> u64) -> Option<&Record> {
        let db = &self.dbs[self.current];
        // As Redis, give up on luck after a number of expired finds, so that a database of dead keys ends.
        for _ in 0..100 {
            let record = db.table.random(&mut random)?;
            if !record.is_over(self.horizon) {
                return Some(record);
            }
            self.come_upon(self.current, record);
        }
        db.table.iter().find(|r| !r.is_over(self.horizon))
    }

    // ---- changing

    /// Opens an existing key for editing.
    pub fn edit<T: DataType>(&mut self, key: &[u8]) -> Result<Option<Edit<'_, T>>, WrongType> {
        self.open(key, false)
    }

    /// As [`edit`](Self::edit), counted as a read: a hit or a miss.
    pub fn edit_read<T: DataType>(&mut self, key: &[u8]) -> Result<Option<Edit<'_, T>>, WrongType> {
        self.open(key, true)
    }

    #[inline]
    fn open<T: DataType>(
        &mut self,
        key: &[u8],
        counted: bool,
    ) -> Result<Option<Edit<'_, T>>, WrongType> {
        let index = self.current;
        let hash = self.dbs[index].table.hash(key);
        self.expire_if_due(index, hash, key);
        let db = &mut self.dbs[index];
        db.capture(hash, key);
        let Some(record) = db.table.get_mut_hashed(hash, key) else {
            if counted {
                *self.missed.get_mut() += 1;
                self.log.event(index, key, Event::KEYMISS);
            }
            return Ok(None);
        };
        if counted {
            *self.hits.get_mut() += 1;
        }
        if self.touch {
            self.uses.note(&record.access, self.now);
        }
        let edit = Edit::open(record, (index, hash), &mut self.log, &mut db.tally, false)?;
        Ok(Some(edit))
    }

    /// Opens a key for editing, made by `make` if it is not there.
    pub fn edit_or_create<T: DataType>(
        &mut self,
        key: &[u8],
        make: impl FnOnce() -> T,
    ) -> Result<Edit<'_, T>, WrongType> {
        let index = self.current;
        let hash = self.dbs[index].table.hash(key);
        self.expire_if_due(index, hash, key);
        let db = &mut self.dbs[index];
        db.capture(hash, key);
        let (record, created) = match db.table.slot(hash, key) {
            Slot::Occupied(found) => {
                let record = found.into_mut();
                if self.touch {
                    self.uses.note(&record.access, self.now);
                }
                (record, false)
            }
            Slot::Vacant(place) => {
                let record = Record {
                    key: key.into(),
                    value: make().into_value(),
                    expire_at: NEVER,
                    access: self.uses.fresh(self.now),
                };
                db.tally.add(hash, record.measure());
                self.log.event(index, key, Event::NEW);
                (place.insert(record), true)
            }
        };
        Edit::open(record, (index, hash), &mut self.log, &mut db.tally, created)
    }

    /// Puts a value, whatever was there; counts one change. Returns whether the key is new.
    pub fn put(
        &mut self,
        key: &[u8],
        value: Value,
        expiry: Expiry,
        event: impl Into<Option<Event>>,
    ) -> bool {
        self.put_in(self.current, key, value, expiry, event)
    }

    /// As [`put`](Self::put), in another database.
    pub fn put_in(
        &mut self,
        db_index: usize,
        key: &[u8],
        value: Value,
        expiry: Expiry,
        event: impl Into<Option<Event>>,
    ) -> bool {
        self.put_as(db_index, key, value, expiry, event)
    }

    /// As [`put`](Self::put), a string as SET stores it: where one of the same length was, it takes its place in memory.
    pub fn put_text(
        &mut self,
        key: &[u8],
        text: &[u8],
        expiry: Expiry,
        event: impl Into<Option<Event>>,
    ) -> bool {
        self.put_as(self.current, key, Text(text), expiry, event)
    }

    fn put_as(
        &mut self,
        db_index: usize,
        key: &[u8],
        content: impl Content,
        expiry: Expiry,
        event: impl Into<Option<Event>>,
    ) -> bool {
        let (now, horizon) = (self.now, self.horizon);
        let hash = self.dbs[db_index].table.hash(key);
        if self.dbs[db_index].tally.is_due(horizon) {
            self.expire_if_due(db_index, hash, key);
        }
        let db = &mut self.dbs[db_index];
        db.capture(hash, key);
        let (was, is, dead, created);
        match db.table.slot(hash, key) {
            Slot::Occupied(found) => {
                let record = found.into_mut();
                was = record.expire_at;
                dead = horizon > was;
                created = dead;
                is = match expiry {
                    Expiry::At(at) => at,
                    Expiry::Keep if !dead => was,
                    Expiry::Keep | Expiry::Clear => NEVER,
                };
                record.expire_at = is;
                if dead {
                    record.access = self.uses.fresh(now);
                } else {
                    self.uses.note(&record.access, now);
                }
                let before = Measure::of(&record.value);
                content.replace(&mut record.value);
                db.tally.change(hash, before, Measure::of(&record.value));
            }
            Slot::Vacant(place) => {
                (was, dead, created) = (NEVER, false, true);
                is = match expiry {
                    Expiry::At(at) => at,
                    Expiry::Keep | Expiry::Clear => NEVER,
                };
                let record = place.insert(Record {
                    key: key.into(),
                    value: content.into_value(),
                    expire_at: is,
                    access: self.uses.fresh(now),
                });
                db.tally.add(hash, record.measure());
            }
        }
        db.reindex_ttl(was, is, hash);
        if dead {
            self.log_expired(db_index, key);
        }
        if created {
            self.log.event(db_index, key, Event::NEW);
        }
        self.log.modified(db_index, key, 1);
        if let Some(event) = event.into() {
            self.log.event(db_index, key, event);
        }
        created
    }

    /// Deletes a key; counts one change. Returns whether it was there.
    pub fn delete(&mut self, key: &[u8], event: impl Into<Option<Event>>) -> bool {
        self.take(key, event).is_some()
    }

    /// As [`delete`](Self::delete), where Redis does not look whether its time is over: a key that is still there is
    /// deleted, and not expired.
    pub fn discard(&mut self, key: &[u8], event: Event) -> bool {
        let index = self.current;
        if self.is_known_stale(index, key) {
            return self.delete(key, event);
        }
        let hash = self.dbs[index].table.hash(key);
        let found = self.dbs[index].remove(hash, key).is_some();
        if found {
            self.log.modified(index, key, 1);
            self.log.event(index, key, event);
        }
        found
    }

    /// Deletes a key and gives its value and deadline ([`NEVER`] without one); counts one change.
    pub fn take(&mut self, key: &[u8], event: impl Into<Option<Event>>) -> Option<(Value, Expiry)> {
        let index = self.current;
        let hash = self.dbs[index].table.hash(key);
        if self.expire_if_due(index, hash, key) {
            return None;
        }
        let record = self.dbs[index].remove(hash, key)?;
        self.log.modified(index, key, 1);
        if let Some(event) = event.into() {
            self.log.event(index, key, event);
        }
        let expiry = match record.expire_at {
            NEVER => Expiry::Clear,
            at => Expiry::At(at),
        };
        Some((record.value, expiry))
    }

    /// Sets or clears the deadline of a key; counts one change. Returns whether the key was there.
    pub fn set_expiry(
        &mut self,
        key: &[u8],
        at: Option<i64>,
        event: impl Into<Option<Event>>,
    ) -> bool {
        let index = self.current;
        let hash = self.dbs[index].table.hash(key);
        if self.expire_if_due(index, hash, key) {
            return false;
        }
        let db = &mut self.dbs[index];
        db.capture(hash, key);
        let Some(record) = db.table.get_mut_hashed(hash, key) else {
            return false;
        };
        let was = record.expire_at;
        let is = at.map_or(NEVER, |at| at.min(LATEST));
        record.expire_at = is;
        db.reindex_ttl(was, is, hash);
        self.log.modified(index, key, 1);
        if let Some(event) = event.into() {
            self.log.event(index, key, event);
        }
        true
    }

    /// Logs a notification apart from an edit, where Redis's order asks for it. If the edit emptied the key, the key
    /// goes only thereafter.
    pub fn notify(&mut self, key: &[u8], event: Event) {
        let db = self.current;
        let changes = self.log.changes.get_mut();
        let gone = |c: &Change| c.what == What::Vanished && c.db == db && *c.key == *key;
        let gone = changes.iter().rposition(gone).map(|at| changes.remove(at));
        self.log.event(db, key, event);
        self.log.changes.get_mut().extend(gone);
    }

    /// Counts changes that belong to no single key (FLUSHALL on empty databases, SWAPDB).
    pub fn mark_dirty(&mut self, n: u64) {
        self.log.dirty += n;
    }
}
