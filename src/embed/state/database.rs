//! One database of a server, looked at without a client.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::contents;
use super::dump::{quoted, shown};
use super::{StateError, StreamView, hold};
use crate::embed::Node;
use crate::exec::State;
use crate::keyspace::Record;
use crate::types::DataType;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::string::Str;
use crate::types::zset::ZSet;
use crate::util::glob;

/// How long something still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such thing.
    Missing,
    /// For ever.
    Forever,
    /// That long, to the millisecond. It goes a millisecond after that.
    Left(Duration),
}

impl Ttl {
    /// From a deadline in unix milliseconds.
    fn until(deadline: Option<i64>, now: i64) -> Ttl {
        deadline.map_or(Ttl::Forever, |at| {
            let ms = u64::try_from(at.saturating_sub(now)).unwrap_or(0);
            Ttl::Left(Duration::from_millis(ms))
        })
    }
}

/// A database: what its keys hold, and assertions about that. A server itself is its database 0.
///
/// Each call sees the data of one moment. What is asked of a key that does not exist is empty, as on the wire.
///
/// ```
/// use std::time::Duration;
/// use redkeep::embed::Ttl;
///
/// let server = redkeep::Server::builder().start()?;
/// let mut client = server.client()?;
/// client.call(["SELECT", "3"])?;
/// client.call(["RPUSH", "queue", "a", "b"])?;
/// client.call(["HSET", "user:1", "name", "Ada"])?;
/// client.call(["SET", "lock", "me", "PX", "30000"])?;
///
/// let db = server.db(3);
/// assert_eq!(db.keys("*")?, [&b"lock"[..], b"queue", b"user:1"]);
/// assert_eq!(db.list("queue")?, [b"a", b"b"]);
/// assert_eq!(db.hash("user:1")?[&b"name"[..]], b"Ada");
/// assert!(matches!(db.ttl("lock")?, Ttl::Left(left) if left <= Duration::from_secs(30)));
/// assert_eq!(db.type_of("nothing")?, None);
///
/// db.assert_list("queue", ["a", "b"]);
/// db.assert_ttl("lock", Duration::from_secs(20)..=Duration::from_secs(30));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    pub(super) node: &'a Node,
    pub(super) index: usize,
}

impl<'a> Database<'a> {
    /// A database of a server, by its number.
    pub fn new(node: &'a Node, index: usize) -> Self {
        Self { node, index }
    }

    /// The keys that match a pattern as KEYS takes it, in the order of their bytes.
    ///
    /// # Errors
    /// [`StateError::NoDatabase`], [`StateError::Busy`] or [`StateError::Stopped`], as with all that follow.
    pub fn keys(&self, pattern: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, StateError> {
        let pattern = pattern.as_ref();
        let mut keys = Vec::new();
        self.with(|state, _| {
            state.ks.for_each(|record| {
                if glob::matches(pattern, record.key(), false) {
                    keys.push(record.key().to_vec());
                }
            });
        })?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// The type of what a key holds, as TYPE names it; none if there is no such key.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    pub fn type_of(&self, key: impl AsRef<[u8]>) -> Result<Option<&'static str>, StateError> {
        self.look(key.as_ref(), |record, _| {
            record.map(|record| record.value().type_name())
        })
    }

    /// How long a key still lives.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Ttl, StateError> {
        self.look(key.as_ref(), |record, now| match record {
            Some(record) => Ttl::until(record.expire_at(), now),
            None => Ttl::Missing,
        })
    }

    /// How long a field of a hash still lives.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and [`StateError::WrongType`].
    pub fn field_ttl(
        &self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
    ) -> Result<Ttl, StateError> {
        let ttl = self.value(key.as_ref(), |hash: &Hash, now| {
            let entry = hash.entry(field.as_ref(), now);
            entry.map_or(Ttl::Missing, |entry| Ttl::until(entry.deadline, now))
        })?;
        Ok(ttl.unwrap_or(Ttl::Missing))
    }

    /// A string.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and [`StateError::WrongType`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, StateError> {
        self.value(key.as_ref(), |string: &Str, _| contents::text(string))
    }

    /// The elements of a list.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and [`StateError::WrongType`].
    pub fn list(&self, key: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, StateError> {
        let elements = self.value(key.as_ref(), |list: &List, _| contents::elements(list))?;
        Ok(elements.unwrap_or_default())
    }

    /// The fields of a hash.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and [`StateError::WrongType`].
    pub fn hash(&self, key: impl AsRef<[u8]>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StateError> {
        let fields = self.value(key.as_ref(), |hash: &Hash, now| {
            let fields = contents::fields(hash, now).into_iter();
            fields.map(|(name, field)| (name, field.value)).collect()
        })?;
        Ok(fields.unwrap_or_default())
    }

    /// The members of a set.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and [`StateError::WrongType`].
    pub fn set(&self, key: impl AsRef<[u8]>) -> Result<BTreeSet<Vec<u8>>, StateError> {
        let members = self.value(key.as_ref(), |set: &Set, _| contents::members(set))?;
        Ok(members.unwrap_or_default())
    }

    /// The members of a sorted set with their scores, lowest first.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and [`StateError::WrongType`].
    pub fn zset(&self, key: impl AsRef<[u8]>) -> Result<Vec<(Vec<u8>, f64)>, StateError> {
        let members = self.value(key.as_ref(), |zset: &ZSet, _| contents::scored(zset))?;
        Ok(members.unwrap_or_default())
    }

    /// A stream; none if there is no such key.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and [`StateError::WrongType`].
    pub fn stream(&self, key: impl AsRef<[u8]>) -> Result<Option<StreamView>, StateError> {
        self.value(key.as_ref(), StreamView::of)
    }

    /// Does something with the value of a key, and the time in unix milliseconds.
    pub(super) fn value<T: DataType, R>(
        &self,
        key: &[u8],
        read: impl FnOnce(&T, i64) -> R,
    ) -> Result<Option<R>, StateError> {
        self.look(key, |record, now| {
            let Some(record) = record else {
                return Ok(None);
            };
            let value = T::of(record.value()).ok_or_else(|| StateError::WrongType {
                key: quoted(key),
                is: record.value().type_name(),
                wanted: T::NAME,
            })?;
            Ok(Some(read(value, now)))
        })?
    }

    /// A key as a dump shows it; none if there is no such key.
    pub(super) fn shown(&self, key: &[u8]) -> Result<Option<String>, StateError> {
        self.look(key, |record, now| record.map(|record| shown(record, now)))
    }

    fn look<R>(
        &self,
        key: &[u8],
        read: impl FnOnce(Option<&Record>, i64) -> R,
    ) -> Result<R, StateError> {
        self.with(|state, now| {
            let record = state.ks.stored(key);
            read(record.filter(|record| !record.is_over(now)), now)
        })
    }

    /// Does something with this database selected, and the time in unix milliseconds.
    fn with<R>(&self, read: impl FnOnce(&State, i64) -> R) -> Result<R, StateError> {
        let mut engine = hold(self.node)?;
        let state = engine.state();
        if self.index >= state.ks.databases() {
            return Err(StateError::NoDatabase(self.index));
        }
        let now = state.sys.now_us / 1000;
        state.ks.begin(self.index, now);
        Ok(read(state, now))
    }
}
