//! Transactions: what MULTI queues, and who watches which keys.

use std::collections::HashMap;

use super::args::Argv;
use super::session::{SessionId, Sessions};
use super::{Args, Entry};
use crate::ds::bytes::SmallBytes;
use crate::keyspace::Keyspace;

/// A command that waits for EXEC.
#[derive(Debug)]
pub struct Queued {
    /// Which command.
    pub row: &'static Entry,
    /// Its arguments.
    pub argv: Argv,
}

/// A transaction being put together.
#[derive(Debug, Default)]
pub struct Multi {
    /// What was queued.
    pub queue: Vec<Queued>,
    /// A command was refused, so that EXEC will be.
    pub failed: bool,
    bytes: usize,
}

impl Multi {
    /// Queues a command.
    pub(crate) fn push(&mut self, row: &'static Entry, args: Args<'_>) {
        let argv = args.to_argv();
        self.bytes += argv.iter().map(|a| a.len() + 24).sum::<usize>() + size_of::<Queued>();
        self.queue.push(Queued { row, argv });
    }

    /// Bytes of what is queued.
    pub fn memory(&self) -> usize {
        self.bytes
    }
}

/// A key that a client watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    db: usize,
    key: SmallBytes,
    /// It was there when WATCH was called.
    existed: bool,
    /// It was there, with its time already over: that it goes is no change.
    stale: bool,
}

/// What a client watches.
#[derive(Debug, Default)]
pub struct Watch {
    keys: Vec<Watched>,
    /// One of them changed: EXEC will answer null.
    pub broken: bool,
}

impl Watch {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Who watches what.
#[derive(Debug, Default)]
pub struct Watchers {
    by_key: HashMap<(usize, SmallBytes), Vec<SessionId>>,
}

impl Watchers {
    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Number of keys watched.
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// A client watches a key of the selected database.
    pub(crate) fn add(
        &mut self,
        sessions: &mut Sessions,
        ks: &Keyspace,
        sid: SessionId,
        key: &[u8],
    ) {
        let Some(session) = sessions.get_mut(sid) else {
            return;
        };
        let (db, key) = (ks.current(), SmallBytes::from(key));
        if session
            .watch
            .keys
            .iter()
            .any(|w| w.db == db && w.key == key)
        {
            return;
        }
        let stale = ks.is_stale(db, &key);
        let existed = stale || ks.peek_in(db, &key).is_some();
        self.by_key.entry((db, key.clone())).or_default().push(sid);
        session.watch.keys.push(Watched {
            db,
            key,
            existed,
            stale,
        });
    }

    /// A client watches nothing any more. Returns whether what it watched is unchanged.
    pub(crate) fn release(&mut self, watch: &mut Watch, ks: &Keyspace, sid: SessionId) -> bool {
        let watch = std::mem::take(watch);
        let mut intact = !watch.broken;
        for w in watch.keys {
            // A key whose time has run out since is a change, though nobody has deleted it yet.
            intact &= w.stale || !ks.is_stale(w.db, &w.key);
            let at = (w.db, w.key);
            if let Some(clients) = self.by_key.get_mut(&at) {
                clients.retain(|&s| s != sid);
                if clients.is_empty() {
                    self.by_key.remove(&at);
                }
            }
        }
        intact
    }

    /// A key changed.
    pub(crate) fn signal(
        &self,
        sessions: &mut Sessions,
        ks: &Keyspace,
        db: usize,
        key: &SmallBytes,
    ) {
        let Some(clients) = self.by_key.get(&(db, key.clone())) else {
            return;
        };
        let gone = !ks.is_stale(db, key) && ks.peek_in(db, key).is_none();
        for &sid in clients {
            let Some(session) = sessions.get_mut(sid) else {
                continue;
            };
            let mut watched = session.watch.keys.iter_mut();
            match watched.find(|w| w.db == db && w.key == *key) {
                // What was over when it was watched has only gone now. Whatever comes next is a change.
                Some(w) if w.stale && gone => {
                    w.stale = false;
                    w.existed = false;
                }
                _ => session.watch.broken = true,
            }
        }
    }

    /// Every key of a database changed: those that were there, and those that are there now.
    pub(crate) fn signal_all(&self, sessions: &mut Sessions, ks: &Keyspace, db: usize) {
        let here = self.by_key.iter().filter(|((d, _), _)| *d == db);
        for ((_, key), clients) in here {
            let is_there = ks.peek_in(db, key).is_some();
            for &sid in clients {
                let Some(session) = sessions.get_mut(sid) else {
                    continue;
                };
                let mut watched = session.watch.keys.iter();
                let was_there =
                    watched.any(|w| w.existed && !w.stale && w.db == db && w.key == *key);
                session.watch.broken |= was_there || is_there;
            }
        }
    }
}
