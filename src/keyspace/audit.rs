//! Whether what is kept up to date by difference is what it would be counted anew: for tests and fuzzing.

use std::collections::BTreeSet;

use super::{Db, Keyspace, NEVER};
use crate::ds::table::Keyed;

impl Keyspace {
    /// Counts all anew that is counted by difference.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn audit(&self) -> Result<(), String> {
        for (n, db) in self.dbs.iter().enumerate() {
            db.audit()
                .map_err(|wrong| format!("database {n}: {wrong}"))?;
        }
        Ok(())
    }
}

impl Db {
    fn audit(&self) -> Result<(), String> {
        let (mut heap, mut sum) = (0, 0);
        let (mut ttl, mut due) = (BTreeSet::new(), BTreeSet::new());
        for record in self.table.iter() {
            let hash = self.table.hash(Keyed::key(record));
            let measure = record.measure();
            heap += measure.heap;
            due.extend(measure.due.map(|at| (at, hash)));
            if record.expire_at != NEVER {
                ttl.insert((record.expire_at, hash));
                sum += i128::from(record.expire_at);
            }
        }
        let same = |what: &str, kept: usize, counted: usize| match kept == counted {
            true => Ok(()),
            false => Err(format!("{what}: {kept} are kept, {counted} are there")),
        };
        same("bytes", self.tally.heap, heap)?;
        same("keys", self.table.len(), self.table.iter().count())?;
        same("deadlines", self.ttl.len(), ttl.len())?;
        same("deadlines of parts", self.tally.due.len(), due.len())?;
        let in_order = self.ttl.iter().eq(ttl) && self.tally.due.iter().eq(due);
        match in_order && self.ttl_sum == sum {
            true => Ok(()),
            false => Err("deadlines are not those of the keys".into()),
        }
    }
}
