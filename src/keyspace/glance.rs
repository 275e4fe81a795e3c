//! Fetching from memory ahead of use.
//!
//! Where there is much in it, nearly all the time of a short command is waiting for memory, several times, one after the other:
//! for the slot of its key, for the record, for the value, for a slot in that. A pipeline tells beforehand which keys are next. So
//! each of these is asked for many keys at once, and when their commands run all of it is near.

use smallvec::SmallVec;

use super::{Keyspace, Record};
use crate::util::prefetch::fetch_whole;

/// Keys that are looked at at once: no more than memory is asked for at a time.
pub const AT_ONCE: usize = 16;

/// So many keys are near in any case.
const NEAR: usize = 1000;

/// What a command is about to touch, as far as that can be guessed.
#[derive(Debug, Clone, Copy)]
pub struct Touch<'a> {
    key: &'a [u8],
    /// What follows the key. In most commands on a set or a hash the first of it is the name of a part; in some of those on
    /// a sorted set it is the second.
    rest: [&'a [u8]; 2],
}

impl<'a> Touch<'a> {
    /// A key.
    pub const fn key(key: &'a [u8]) -> Self {
        Self {
            key,
            rest: [&[]; 2],
        }
    }

    /// What a command touches first, whose arguments, its name first, are these. What is longer than most keys is left out.
    #[inline]
    pub fn of(mut args: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        const LONGEST: usize = 256;
        let name = args.next()?;
        let first = args.next()?;
        let key = match name {
            // EVAL script 1 key, FCALL function 1 key.
            [b'E' | b'e', b'V' | b'v', ..] | [b'F' | b'f', b'C' | b'c', ..] => args.nth(1)?,
            _ => first,
        };
        let mut next = || args.next().filter(|arg| arg.len() <= LONGEST);
        let rest = [next().unwrap_or_default(), next().unwrap_or_default()];
        (key.len() <= LONGEST).then_some(Self { key, rest })
    }
}

impl Keyspace {
    /// Looks at the first [`AT_ONCE`] of these in a database. Nothing comes of it but that they are near when they are used
    /// next.
    pub fn glance<'k>(&self, db: usize, touched: impl Iterator<Item = Touch<'k>>) {
        let Some(db) = self.dbs.get(db) else {
            return;
        };
        let table = &db.table;
        let touched = touched.take(AT_ONCE);
        let found: SmallVec<[(u64, Touch<'_>); AT_ONCE]> = touched
            .map(|touch| (table.hash(touch.key), touch))
            .collect();
        if table.len() > NEAR {
            found.iter().for_each(|(at, _)| table.glance(*at));
        }
        // Hardly ever do two keys share what of their hashes is compared; then one of them is far.
        let records: SmallVec<[(&Record, Touch<'_>); AT_ONCE]> = found
            .iter()
            .filter_map(|(at, touch)| Some((table.find_by_hash(*at, |_| true)?, *touch)))
            .inspect(|(record, _)| fetch_whole(*record))
            .collect();
        records.iter().for_each(|(record, _)| record.value.glance());
        if records.iter().any(|(record, _)| record.value.has_table()) {
            for deeper in [false, true] {
                for (record, touch) in &records {
                    record.value.glance_at(touch.rest, deeper);
                }
            }
        }
    }
}
