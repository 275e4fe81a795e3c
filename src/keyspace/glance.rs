//! Fetching from memory ahead of use.
//!
//! Where there are many keys, nearly all the time of a short command is waiting for memory, three times, one after the other:
//! for the slot of its key, for the record, for the value. A pipeline tells beforehand which keys are next. So each of
//! the three is asked for many keys at once, and when their commands run all of it is near.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::{Keyspace, Record};

/// Keys that are looked at at once: no more than memory is asked for at a time.
pub const AT_ONCE: usize = 16;

/// So many keys are near in any case.
const NEAR: usize = 1000;

impl Keyspace {
    /// Looks at the first [`AT_ONCE`] of these keys of a database. Nothing comes of it but that they are near when they are
    /// used next.
    pub fn glance<'k>(&self, db: usize, keys: impl Iterator<Item = &'k [u8]>) {
        let Some(db) = self.dbs.get(db).filter(|db| db.len() > NEAR) else {
            return;
        };
        let table = &db.table;
        let hashes: SmallVec<[u64; AT_ONCE]> =
            keys.take(AT_ONCE).map(|key| table.hash(key)).collect();
        black_box(hashes.iter().fold(0, |seen, &at| seen ^ table.glance(at)));
        // Hardly ever do two keys share what of their hashes is compared; then one of them is far.
        let records: SmallVec<[&Record; AT_ONCE]> = hashes
            .iter()
            .filter_map(|&at| table.find_by_hash(at, |_| true))
            .collect();
        let access = |record: &&Record| record.access.load(Ordering::Relaxed);
        black_box(records.iter().fold(0, |seen, record| seen ^ access(record)));
        let value = |record: &&Record| record.value.glance();
        black_box(records.iter().fold(0, |seen, record| seen ^ value(record)));
    }
}
