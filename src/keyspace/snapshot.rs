//! A point-in-time cut through all databases, written as RDB or as commands while clients go on changing them.
//!
//! [`Keyspace::begin_snapshot`] fixes the moment. The walk then writes key after key; whoever changes or removes a key
//! that the walk has not reached has it written first, as it was. So what comes out is exactly what there was at the cut,
//! each key once, in no particular order. Nothing is copied but the bytes written.

use std::sync::atomic::Ordering;

use super::uses::Uses;
use super::{Db, Garbage, Keyspace, NEVER, Record};
use crate::ds::table::Table;
use crate::rdb::Writer;
use crate::rdb::file::opcode;
use crate::types::{commands, dump};

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
}

impl Cut {
    fn write(&mut self, record: &Record) {
        match self.detail.form {
            Form::Rdb => self.write_rdb(record),
            Form::Commands => {
                let (key, at) = (&record.key, record.expire_at());
                commands::write(key, &record.value, at, &mut self.written);
            }
        }
        self.keys += 1;
    }

    fn write_rdb(&mut self, record: &Record) {
        let mut w = Writer::new(&mut self.written, self.detail.compress);
        if record.expire_at != NEVER {
            w.bytes(&[opcode::DEADLINE_MS]);
            w.millis(record.expire_at().unwrap_or(i64::MAX));
        }
        if self.detail.uses {
            match self
                .uses
                .frequency(record.access.load(Ordering::Relaxed), self.now)
            {
                Some(frequency) => w.bytes(&[opcode::FREQUENCY, frequency]),
                None => {
                    w.bytes(&[opcode::IDLE]);
                    w.length(record.idle_secs(self.now));
                }
            }
        }
        let tag = dump::tag(&record.value);
        w.tag(tag);
        w.string(&record.key);
        dump::write(&record.value, &mut w);
        self.version = self.version.max(tag.version());
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
        if let Some(record) = self.table.capture(hash, key)
            && let Some(cut) = &mut self.cut
        {
            cut.copied += size_of::<Record>() + record.measure().heap;
            cut.write(record);
        }
    }

    /// The contents, which are flushed: what the running snapshot has not walked yet is kept for it.
    pub(super) fn take_contents(&mut self) -> Option<Table<Record>> {
        let contents = self.table.take();
        match &mut self.cut {
            Some(cut) if contents.in_snapshot() => {
                cut.flushed = Some(contents);
                None
            }
            _ => Some(contents),
        }
    }
}

impl Keyspace {
    /// Cuts here and now. One that is running is given up.
    pub fn begin_snapshot(&mut self, detail: Detail) {
        self.end_snapshot();
        for (index, db) in self.dbs.iter_mut().enumerate() {
            db.table.begin_snapshot();
            db.cut = Some(Box::new(Cut {
                index,
                detail,
                uses: self.uses.clone(),
                now: self.now,
                written: Vec::new(),
                keys: 0,
                copied: 0,
                version: 0,
                flushed: None,
            }));
        }
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
        for db in &mut self.dbs {
            let Some(cut) = &mut db.cut else {
                continue;
            };
            left = left.saturating_sub(cut.written.len());
            let mut walked = false;
            while !walked && left > 0 {
                let mut contents = cut.flushed.take();
                let table = contents.as_mut().unwrap_or(&mut db.table);
                let passed = table.walk_snapshot(|record| {
                    let before = cut.written.len();
                    cut.write(record);
                    // What is compressed takes longer than its size says.
                    let work = (cut.written.len() - before).max(record.value.heap_size());
                    left = left.saturating_sub(work);
                    left > 0
                });
                walked = passed && contents.is_none();
                match contents {
                    Some(contents) if passed => self.garbage.push(Garbage::Contents(contents)),
                    contents => cut.flushed = contents,
                }
            }
            step.done &= walked;
            step.version = step.version.max(cut.version);
            step.keys += std::mem::take(&mut cut.keys);
            if !cut.written.is_empty() {
                emit(cut.index, &cut.written);
                cut.written.clear();
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
    pub(super) fn snapshot_memory(&self) -> usize {
        let cuts = self.dbs.iter().filter_map(|db| db.cut.as_ref());
        cuts.map(|cut| cut.written.capacity()).sum()
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
