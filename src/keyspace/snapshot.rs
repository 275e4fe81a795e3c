//! A point-in-time cut through all databases, written as RDB or as commands while clients go on changing them.
//!
//! [`Keyspace::begin_snapshot`] fixes the moment. The walk then writes key after key; whoever changes or removes a key
//! that the walk has not reached has it written first, as it was. So what comes out is exactly what there was at the cut,
//! each key once, in no particular order. Nothing is copied but the bytes written.
//!
//! In RDB a large value is *pinned* when the walk comes to it: it is written piece by piece, and what is written out of turn
//! meanwhile waits behind it. Whoever changes it has the rest of it written first.

use std::sync::atomic::Ordering;

use super::uses::Uses;
use super::{Db, Garbage, Keyspace, NEVER, Record};
use crate::ds::table::Table;
use crate::rdb::Writer;
use crate::rdb::file::opcode;
use crate::types::commands;
use crate::types::dump::{self, Progress};

/// As what keys and values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Records of an RDB file.
    #[default]
    Rdb,
    /// Commands that make them again, see [`commands`].
    Commands,
}

/// How a snapshot is written, and what beside keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detail {
    /// As what.
    pub form: Form,
    /// Long strings are compressed; in RDB.
    pub compress: bool,
    /// How long ago a key was used, or how often; in RDB.
    pub uses: bool,
}

/// The part of a database in a running snapshot.
#[derive(Debug)]
pub(super) struct Cut {
    /// The number that the database had at the cut.
    index: usize,
    detail: Detail,
    /// How uses are counted, and the time, for what is written of them.
    uses: Uses,
    now: i64,
    /// What was written out of turn.
    written: Vec<u8>,
    /// Keys in it.
    keys: usize,
    /// Bytes of all that was written out of turn, as they stood in memory.
    copied: usize,
    /// The newest version of the format that was needed.
    version: u16,
    /// Contents that were flushed away before they were walked, and are written all the same.
    flushed: Option<Table<Record>>,
    /// The value that is half written: one of `flushed`, or of the database if nothing is flushed.
    pinned: Option<Pinned>,
    /// A value was taken half written: its rest is what must be taken next, and not from another database.
    open: bool,
}

/// A large value that is half written.
#[derive(Debug)]
struct Pinned {
    key: Box<[u8]>,
    progress: Progress,
    /// What was written out of turn meanwhile.
    behind: Vec<u8>,
}

impl Cut {
    fn new(index: usize, detail: Detail, uses: &Uses, now: i64) -> Cut {
        Cut {
            index,
            detail,
            uses: uses.clone(),
            now,
            written: Vec::new(),
            keys: 0,
            copied: 0,
            version: 0,
            flushed: None,
            pinned: None,
            open: false,
        }
    }

    /// Writes a record as it is.
    fn write(&mut self, record: &Record) {
        match self.detail.form {
            Form::Rdb => {
                self.write_head(record);
                dump::write(&record.value, &mut self.writer());
            }
            Form::Commands => {
                let (key, at) = (&record.key, record.expire_at());
                commands::write(key, &record.value, at, &mut self.written);
            }
        }
        self.keys += 1;
    }

    /// The walk comes to a record: writes it, or begins to if it is large.
    fn visit(&mut self, record: &Record) {
        if self.detail.form == Form::Commands {
            return self.write(record);
        }
        self.write_head(record);
        match Progress::begin(&record.value, &mut self.writer()) {
            None => {
                dump::write(&record.value, &mut self.writer());
                self.keys += 1;
            }
            Some(progress) => {
                self.pinned = Some(Pinned {
                    key: record.key.to_vec().into(),
                    progress,
                    behind: Vec::new(),
                });
            }
        }
    }

    /// Goes on with the pinned value, which `table` has, for about as much work as so many bytes make. At its end gives
    /// what is to be dropped.
    fn go_on(&mut self, table: &Table<Record>, bytes: usize) -> Option<Pinned> {
        let pinned = self.pinned.as_mut()?;
        let Some(record) = table.get(&pinned.key) else {
            debug_assert!(false, "a pinned key was removed and not written first");
            return None;
        };
        let mut w = Writer::new(&mut self.written, self.detail.compress);
        if !pinned.progress.go_on(&record.value, bytes, &mut w) {
            return None;
        }
        self.written.append(&mut pinned.behind);
        self.keys += 1;
        self.pinned.take()
    }

    /// Writes what is left of the pinned value.
    fn unpin(&mut self, table: &Table<Record>) {
        let held = table.get(self.pinned.as_ref().map_or(&[], |pinned| &pinned.key));
        self.copied += held.map_or(0, |record| record.measure().heap);
        while self.pinned.is_some() && held.is_some() {
            self.go_on(table, usize::MAX);
        }
    }

    /// Writes out of turn: behind what is pinned, if anything is.
    fn writer(&mut self) -> Writer<'_> {
        let out = match &mut self.pinned {
            Some(pinned) => &mut pinned.behind,
            None => &mut self.written,
        };
        Writer::new(out, self.detail.compress)
    }

    /// Writes what stands before a value.
    fn write_head(&mut self, record: &Record) {
        let access = record.access.load(Ordering::Relaxed);
        let (uses, now) = (self.detail.uses, self.now);
        let frequency = self.uses.frequency(access, now);
        let tag = dump::tag(&record.value);
        self.version = self.version.max(tag.version());
        let mut w = self.writer();
        if record.expire_at != NEVER {
            w.bytes(&[opcode::DEADLINE_MS]);
            w.millis(record.expire_at().unwrap_or(i64::MAX));
        }
        match frequency {
            _ if !uses => {}
            Some(frequency) => w.bytes(&[opcode::FREQUENCY, frequency]),
            None => {
                w.bytes(&[opcode::IDLE]);
                w.length(record.idle_secs(now));
            }
        }
        w.tag(tag);
        w.string(&record.key);
    }
}

/// What a step of the walk has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Nothing is left to write.
    pub done: bool,
    /// The newest version of the format that anything in it needs; 0 for commands.
    pub version: u16,
    /// Keys written.
    pub keys: usize,
}

impl Db {
    /// Before a record is changed or removed: the running snapshot, if there is one, has it written as it is.
    #[inline]
    pub(super) fn capture(&mut self, hash: u64, key: &[u8]) {
        if self.cut.is_some() {
            self.capture_running(hash, key);
        }
    }

    fn capture_running(&mut self, hash: u64, key: &[u8]) {
        let Some(cut) = &mut self.cut else {
            return;
        };
        if let Some(record) = self.table.capture(hash, key) {
            cut.copied += size_of::<Record>() + record.measure().heap;
            cut.write(record);
        } else if cut.flushed.is_none() && cut.pinned.as_ref().is_some_and(|p| *p.key == *key) {
            cut.unpin(&self.table);
        }
    }

    /// The contents, which are flushed: what the running snapshot has not walked yet is kept for it.
    pub(super) fn take_contents(&mut self) -> Option<Table<Record>> {
        let contents = self.table.take();
        match &mut self.cut {
            Some(cut)
                if cut.flushed.is_none() && (contents.in_snapshot() || cut.pinned.is_some()) =>
            {
                cut.flushed = Some(contents);
                None
            }
            _ => Some(contents),
        }
    }

    /// Walks on until `left` is used up, or nothing is left; returns whether that is so.
    fn walk_snapshot(&mut self, left: &mut usize, garbage: &mut Vec<Garbage>) -> bool {
        let Some(cut) = &mut self.cut else {
            return true;
        };
        let mut walked = false;
        while !walked && *left > 0 {
            let mut contents = cut.flushed.take();
            let table = contents.as_mut().unwrap_or(&mut self.table);
            let mut passed = false;
            if cut.pinned.is_some() {
                let before = cut.written.len();
                let done = cut.go_on(table, *left);
                garbage.extend(done.map(Garbage::other));
                *left = match cut.pinned {
                    Some(_) => 0,
                    None => left.saturating_sub(cut.written.len() - before),
                };
            } else {
                passed = table.walk_snapshot(|record| {
                    let before = cut.written.len();
                    cut.visit(record);
                    let mut work = cut.written.len() - before;
                    if cut.pinned.is_none() {
                        // What is compressed takes longer than its size says.
                        work = work.max(record.value.heap_size());
                    }
                    *left = left.saturating_sub(work);
                    *left > 0 && cut.pinned.is_none()
                });
            }
            walked = passed && contents.is_none();
            match contents {
                Some(contents) if passed => garbage.push(Garbage::Contents(contents)),
                contents => cut.flushed = contents,
            }
        }
        walked
    }
}

impl Keyspace {
    /// Cuts here and now. One that is running is given up.
    pub fn begin_snapshot(&mut self, detail: Detail) {
        self.end_snapshot();
        for (index, db) in self.dbs.iter_mut().enumerate() {
            db.table.begin_snapshot();
            db.cut = Some(Box::new(Cut::new(index, detail, &self.uses, self.now)));
        }
    }

    /// Writes all that there is at once; a snapshot that is running goes on. `emit` is as for
    /// [`walk_snapshot`](Self::walk_snapshot), but gets each database once. Returns the newest version of the format that
    /// anything needs.
    pub fn write_all(&self, detail: Detail, mut emit: impl FnMut(usize, &[u8])) -> u16 {
        let mut version = 0;
        for (index, db) in self.dbs.iter().enumerate().filter(|(_, db)| !db.is_empty()) {
            let mut cut = Cut::new(index, detail, &self.uses, self.now);
            db.table.iter().for_each(|record| cut.write(record));
            version = version.max(cut.version);
            emit(index, &cut.written);
        }
        version
    }

    /// Whether a snapshot is running.
    pub fn in_snapshot(&self) -> bool {
        self.dbs.iter().any(|db| db.cut.is_some())
    }

    /// Walks on until about `bytes` are written or nothing is left. `emit` gets the number of a database and what is
    /// to be written of it; it may get the same database several times. Commands do not select it: who takes them does.
    pub fn walk_snapshot(&mut self, bytes: usize, mut emit: impl FnMut(usize, &[u8])) -> Step {
        let mut step = Step {
            done: true,
            version: 0,
            keys: 0,
        };
        let mut left = bytes;
        let is_open = |db: &Db| db.cut.as_ref().is_some_and(|cut| cut.open);
        let first = self.dbs.iter().position(is_open);
        for index in first.into_iter().chain(0..self.dbs.len()) {
            let Some(db) = self.dbs.get_mut(index) else {
                continue;
            };
            let waiting = db.cut.as_ref().map_or(0, |cut| cut.written.len());
            left = left.saturating_sub(waiting);
            step.done &= db.walk_snapshot(&mut left, &mut self.garbage);
            let Some(cut) = &mut db.cut else {
                continue;
            };
            step.version = step.version.max(cut.version);
            step.keys += std::mem::take(&mut cut.keys);
            if !cut.written.is_empty() {
                emit(cut.index, &cut.written);
                cut.written.clear();
            }
            cut.open = cut.pinned.is_some();
            if cut.open {
                step.done = false;
                return step;
            }
        }
        step
    }

    /// Gives up the running snapshot, if any.
    pub fn end_snapshot(&mut self) {
        for db in &mut self.dbs {
            db.table.end_snapshot();
            db.cut = None;
        }
    }

    /// Bytes of all that was changed while the running snapshot had not walked it, and had to be written out of turn.
    pub fn snapshot_copied(&self) -> usize {
        let cuts = self.dbs.iter().filter_map(|db| db.cut.as_ref());
        cuts.map(|cut| cut.copied).sum()
    }

    /// Bytes written out of turn that wait to be taken.
    pub fn snapshot_memory(&self) -> usize {
        let cuts = self.dbs.iter().filter_map(|db| db.cut.as_ref());
        cuts.map(|cut| {
            let pinned = cut.pinned.as_ref();
            let pinned = pinned.map_or(0, |p| p.behind.capacity() + p.progress.memory());
            cut.written.capacity() + pinned
        })
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Expiry;
    use crate::keyspace::event::Event;
    use crate::rdb::Reader;
    use crate::rdb::file::{self, Item};
    use crate::resp::{self, parse_reply};
    use crate::types::DataType as _;
    use crate::types::string::Str;
    use crate::util::num::parse_i64;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const NOW: i64 = 1_000_000;

    type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

    fn text(value: &crate::types::Value) -> Vec<u8> {
        Str::of(value).unwrap().with(<[u8]>::to_vec)
    }

    fn contents(ks: &Keyspace) -> Contents {
        let mut all = Contents::new();
        for (index, db) in ks.dbs.iter().enumerate() {
            for record in db.table.iter() {
                let what = (text(&record.value), record.expire_at());
                all.insert((index, record.key.to_vec()), what);
            }
        }
        all
    }

    /// Reads what was written, and sees that no key comes twice.
    fn read(form: Form, db: usize, bytes: &[u8], all: &mut Contents) {
        match form {
            Form::Rdb => read_rdb(db, bytes, all),
            Form::Commands => read_commands(db, bytes, all),
        }
    }

    fn read_commands(db: usize, mut bytes: &[u8], all: &mut Contents) {
        while !bytes.is_empty() {
            let (command, used) = parse_reply(bytes).unwrap().unwrap();
            bytes = &bytes[used..];
            let words = match &command {
                resp::Value::Array(words) => &words[..],
                other => panic!("{other:?}"),
            };
            let [name, key, word] = [0, 1, 2].map(|at| words[at].as_bytes().unwrap().to_vec());
            assert_eq!(words.len(), 3);
            if name == b"SET" {
                assert_eq!(all.insert((db, key), (word, None)), None);
            } else {
                assert_eq!(name, b"PEXPIREAT");
                let (_, deadline) = all.get_mut(&(db, key)).unwrap();
                assert_eq!(deadline.replace(parse_i64(&word).unwrap()), None);
            }
        }
    }

    fn read_rdb(db: usize, bytes: &[u8], all: &mut Contents) {
        let mut r = Reader::new(bytes);
        while !r.left().is_empty() {
            let Item::Key(head) = file::next(&mut r, 10).unwrap() else {
                panic!("only keys are written");
            };
            let value = r.string().unwrap().into_vec();
            let was = all.insert((db, head.key.into_vec()), (value, head.deadline));
            assert_eq!(was, None);
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Put(usize, u8, u16, bool),
        Delete(usize, u8),
        Expire(usize, u8, i64),
        Move(usize, u8, usize, u8),
        Flush(usize, bool),
        Swap,
        Step(usize),
        Later(i64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let db = 0..2usize;
        prop_oneof![
            8 => (db.clone(), any::<u8>(), any::<u16>(), any::<bool>())
                .prop_map(|(d, k, v, e)| Op::Put(d, k, v, e)),
            3 => (db.clone(), any::<u8>()).prop_map(|(d, k)| Op::Delete(d, k)),
            2 => (db.clone(), any::<u8>(), -5..50i64).prop_map(|(d, k, at)| Op::Expire(d, k, at)),
            2 => (db.clone(), any::<u8>(), db.clone(), any::<u8>())
                .prop_map(|(d, k, e, l)| Op::Move(d, k, e, l)),
            1 => (db, any::<bool>()).prop_map(|(d, later)| Op::Flush(d, later)),
            1 => Just(Op::Swap),
            4 => (1..400usize).prop_map(Op::Step),
            1 => (1..20i64).prop_map(Op::Later),
        ]
    }

    fn apply(ks: &mut Keyspace, op: &Op, form: Form, out: &mut Contents) {
        let event = Event::generic("x");
        match *op {
            Op::Put(db, key, value, expires) => {
                ks.select(db);
                let value = Str::from_text(value.to_string().as_bytes()).into_value();
                let expiry = if expires {
                    Expiry::At(ks.now + 30)
                } else {
                    Expiry::Clear
                };
                ks.put(&[key], value, expiry, None);
            }
            Op::Delete(db, key) => {
                ks.select(db);
                ks.delete(&[key], None);
            }
            Op::Expire(db, key, after) => {
                ks.select(db);
                ks.set_expiry(&[key], Some(ks.now + after), None);
            }
            Op::Move(db, key, other, to) => {
                if (db, key) != (other, to) {
                    ks.relocate((db, &[key]), (other, &[to]), (event, event));
                }
            }
            Op::Flush(db, later) => drop(ks.flush(db, later)),
            Op::Swap => ks.swap(0, 1),
            Op::Step(bytes) => {
                ks.walk_snapshot(bytes, |db, bytes| read(form, db, bytes, out));
            }
            Op::Later(ms) => {
                let now = ks.now + ms;
                ks.begin(0, now);
                ks.expire_due(now, 100);
                ks.reap(false);
            }
        }
        ks.log.changes.take();
        ks.log.expired.clear();
    }

    proptest! {
        #[test]
        fn a_snapshot_is_what_there_was_at_its_cut(
            before in prop::collection::vec(op(), 0..300),
            during in prop::collection::vec(op(), 0..300),
            compress in any::<bool>(),
            form in prop_oneof![Just(Form::Rdb), Just(Form::Commands)],
        ) {
            let mut ks = Keyspace::new(2, || 1);
            ks.begin(0, NOW);
            let mut none = Contents::new();
            for op in &before {
                apply(&mut ks, op, form, &mut none);
            }
            let expected = contents(&ks);
            ks.begin_snapshot(Detail { form, compress, uses: compress });
            let mut written = Contents::new();
            for op in &during {
                apply(&mut ks, op, form, &mut written);
            }
            while !ks.walk_snapshot(100, |db, bytes| read(form, db, bytes, &mut written)).done {}
            ks.end_snapshot();
            prop_assert_eq!(written, expected);
            prop_assert!(!ks.in_snapshot());
            prop_assert_eq!(ks.snapshot_memory(), 0);
        }
    }
}
