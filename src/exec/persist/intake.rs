//! What comes out of an RDB file or stream: its keys go into databases, the rest is kept until the end.

use crate::keyspace::{Arrival, Keyspace};
use crate::persist::{LoadError, Loaded};
use crate::rdb::{library, payload};
use crate::replication::Position;
use crate::util::num;

/// What came of a load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that are there.
    pub keys: u64,
    /// Keys whose time was over.
    pub expired: u64,
    /// Collections without elements.
    pub empty: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { keys, expired, .. } = self;
        write!(
            f,
            "Done loading RDB, keys loaded: {keys}, keys expired: {expired}"
        )?;
        match self.empty {
            0 => f.write_str("."),
            empty => write!(f, ", empty keys skipped: {empty}."),
        }
    }
}

/// So many empty collections of a file are named in the log; the rest is counted.
const EMPTY_NAMED: u64 = 10;

/// Keys that are put into the databases together.
const TOGETHER: usize = 32;

/// Room is made for no more keys, in all databases together, than there are as many bytes for: what a file says of their
/// number may be wrong, and a place takes several times as much.
const KEY_LEAST: u64 = 16;

/// Where nobody knows how many bytes there are, it is made once so many have come for each key: of most files that is a
/// small part, and whoever says that there are more keys has to send as much.
const KEY_SENT: u64 = 1;

/// Takes in what a loader reads.
#[derive(Debug, Default)]
pub struct Intake {
    /// What came of it.
    pub counts: Counts,
    /// Memory that was used when the file was written, if it says so.
    pub used_memory: u64,
    claim: Claim,
    /// The code of the libraries of functions.
    functions: Vec<Vec<u8>>,
    /// The database that keys go into. Others select theirs in between.
    db: usize,
    /// Bytes of the file; 0 if nobody knows.
    total: u64,
    /// Keys of the selected database for which there is no room yet.
    announced: u64,
    /// Keys that room was made for.
    expected: u64,
}

/// What a file says of the history that it is a moment of: `repl-id`, `repl-offset`, `repl-stream-db`.
#[derive(Debug, Default)]
struct Claim {
    id: Option<String>,
    offset: Option<u64>,
    db: Option<i64>,
}

impl Claim {
    fn learn(&mut self, name: &[u8], value: &[u8]) {
        let number = || num::parse_i64(value);
        match name {
            b"repl-id" => self.id = Position::id_of(value),
            b"repl-offset" => self.offset = number().and_then(|n| u64::try_from(n).ok()),
            // What is no number selects nothing that there is.
            b"repl-stream-db" => self.db = Some(number().unwrap_or(i64::MAX)),
            _ => {}
        }
    }

    /// The position, if all that was said of it makes sense for so many databases.
    fn position(&self, databases: usize) -> Option<Position> {
        let db = match self.db {
            None | Some(-1) => None,
            Some(db) => Some(usize::try_from(db).ok().filter(|db| *db < databases)?),
        };
        Some(Position {
            id: self.id.clone()?,
            offset: self.offset?,
            db,
        })
    }
}

impl Intake {
    /// Takes in a file of so many bytes.
    pub fn of(total: u64) -> Intake {
        Intake {
            total,
            ..Intake::default()
        }
    }

    /// Where in which history the file was written, if it says so, and the database selected there is one of so many.
    pub fn position(&self, databases: usize) -> Option<Position> {
        self.claim.position(databases)
    }

    /// The libraries of functions, as FUNCTION RESTORE takes them; none if there are none. They are forgotten thereby.
    pub fn take_functions(&mut self) -> Option<Vec<u8>> {
        let codes = std::mem::take(&mut self.functions);
        let mut bytes = Vec::new();
        for code in &codes {
            library::write(&mut bytes, code, false);
        }
        payload::seal(&mut bytes, payload::NEWEST);
        (!codes.is_empty()).then_some(bytes)
    }

    /// Puts what was read into the databases, in place of keys that are there if `merge`. Keys whose time was over at
    /// `now` are left out.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn put(
        &mut self,
        ks: &mut Keyspace,
        batch: &mut Vec<(u64, Loaded)>,
        merge: bool,
        now: i64,
    ) -> Result<(), LoadError> {
        ks.select(self.db);
        let mut keys = Vec::with_capacity(TOGETHER);
        let mut last = 0;
        for (offset, loaded) in batch.drain(..) {
            let failed = |what| LoadError {
                offset,
                what,
                key: None,
            };
            last = offset;
            match loaded {
                Loaded::Key(key) if key.deadline.is_some_and(|at| at < now) => {
                    self.counts.expired += 1;
                }
                Loaded::Key(key) => {
                    keys.push(key);
                    if keys.len() == TOGETHER {
                        self.put_keys(ks, &mut keys, merge).map_err(failed)?;
                    }
                }
                other => {
                    // They belong to the database that was selected before.
                    self.put_keys(ks, &mut keys, merge).map_err(failed)?;
                    self.put_other(ks, other, offset).map_err(failed)?;
                }
            }
        }
        self.make_room(ks, last);
        self.put_keys(ks, &mut keys, merge)
            .map_err(|what| LoadError {
                offset: last,
                what,
                key: None,
            })
    }

    /// Makes room for keys that were announced, if enough has come up to this offset to believe it.
    fn make_room(&mut self, ks: &mut Keyspace, at: u64) {
        let keys = match self.total {
            0 if self.expected.saturating_add(self.announced) > at / KEY_SENT => return,
            0 => self.announced,
            total => {
                let most = total.saturating_sub(at) / KEY_LEAST;
                self.announced.min(most.saturating_sub(self.expected))
            }
        };
        self.announced = 0;
        if keys > 0 {
            self.expected += keys;
            ks.expect(usize::try_from(keys).unwrap_or(0));
        }
    }

    fn put_keys(
        &mut self,
        ks: &mut Keyspace,
        keys: &mut Vec<Arrival>,
        merge: bool,
    ) -> Result<(), String> {
        self.counts.keys += keys.len() as u64;
        ks.load(keys, merge).map_err(|name| {
            let name = String::from_utf8_lossy(&name);
            format!("the key '{name}' comes twice")
        })
    }

    fn put_other(&mut self, ks: &mut Keyspace, loaded: Loaded, at: u64) -> Result<(), String> {
        match loaded {
            Loaded::Key(_) | Loaded::End => {}
            Loaded::Empty(name) => {
                self.counts.empty += 1;
                if self.counts.empty <= EMPTY_NAMED {
                    let name = String::from_utf8_lossy(&name);
                    tracing::info!("Loading: skipping empty key: {name}");
                }
            }
            Loaded::Select(db) => {
                let index = usize::try_from(db).ok().filter(|db| *db < ks.databases());
                self.db = index.ok_or(format!(
                    "the file has a database {db}, and only {} are configured",
                    ks.databases()
                ))?;
                ks.select(self.db);
                self.announced = 0;
            }
            Loaded::Sizes(keys) => {
                self.announced = keys;
                self.make_room(ks, at);
            }
            Loaded::Fact(name, value) => self.learn(ks, &name, &value),
            Loaded::Function(code) => self.functions.push(code),
            Loaded::Module(name) => {
                tracing::warn!("What the module '{name}' wrote into the file is not loaded");
            }
        }
        Ok(())
    }

    /// A fact about the file. What begins with % is meant for the log.
    fn learn(&mut self, ks: &Keyspace, name: &[u8], value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        let number = num::parse_i64(value).unwrap_or(0);
        match name {
            [b'%', ..] => tracing::info!("RDB '{}': {text}", String::from_utf8_lossy(name)),
            b"redis-ver" => tracing::info!("Loading RDB produced by version {text}"),
            b"ctime" => {
                let age = (ks.now() / 1000).saturating_sub(number);
                tracing::info!("RDB age {} seconds", age.max(0));
            }
            b"used-mem" => {
                let megabytes = number as f64 / f64::from(1 << 20);
                tracing::info!("RDB memory usage when created {megabytes:.2} Mb");
                self.used_memory = u64::try_from(number).unwrap_or(0);
            }
            _ => self.claim.learn(name, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(facts: &[(&str, &str)]) -> Option<Position> {
        let mut claim = Claim::default();
        for (name, value) in facts {
            claim.learn(name.as_bytes(), value.as_bytes());
        }
        claim.position(16)
    }

    #[test]
    fn a_position_is_believed_if_all_of_it_makes_sense() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let at = |db| {
            Some(Position {
                id: id.to_owned(),
                offset: 77,
                db,
            })
        };
        let (repl_id, offset) = (("repl-id", id), ("repl-offset", "77"));
        assert_eq!(claimed(&[repl_id, offset]), at(None));
        for (db, expected) in [
            ("-1", at(None)),
            ("0", at(Some(0))),
            ("15", at(Some(15))),
            ("16", None),
            ("-2", None),
            ("x", None),
        ] {
            let said = claimed(&[("repl-stream-db", db), repl_id, offset]);
            assert_eq!(said, expected, "{db}");
        }
        assert_eq!(claimed(&[repl_id]), None);
        assert_eq!(claimed(&[offset]), None);
        assert_eq!(claimed(&[repl_id, ("repl-offset", "-1")]), None);
        assert_eq!(claimed(&[repl_id, ("repl-offset", "much")]), None);
        assert_eq!(claimed(&[("repl-id", &id[1..]), offset]), None);
        let other = format!("x{}", &id[1..]);
        assert_eq!(claimed(&[("repl-id", &other), offset]), None);
    }
}
