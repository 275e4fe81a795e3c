//! Transactions: what MULTI queues, and who watches which keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::args::Argv;
use super::session::{Session, SessionId, Sessions};
use super::{Args, Entry};
use crate::ds::bytes::SmallBytes;
use crate::keyspace::Keyspace;
use crate::spec::{Flags, flag};

/// A command that waits for EXEC.
#[derive(Debug)]
pub struct Queued {
    /// Which command.
    pub row: &'static Entry,
    /// Its arguments.
    pub argv: Argv,
}

/// A transaction being put together.
#[derive(Debug)]
pub struct Multi {
    /// What was queued.
    pub queue: Vec<Queued>,
    /// A command was refused, so that EXEC will be.
    pub failed: bool,
    /// The flags of all that is queued, together.
    pub flags: Flags,
    /// All that is queued may run where data is stale.
    pub stale: bool,
    bytes: usize,
    total: QueuedBytes,
}

impl Multi {
    /// An empty queue.
    pub(crate) fn new(total: &QueuedBytes) -> Self {
        Self {
            queue: Vec::new(),
            failed: false,
            flags: Flags::NONE,
            stale: true,
            bytes: 0,
            total: total.clone(),
        }
    }

    /// Queues a command.
    pub(crate) fn push(&mut self, row: &'static Entry, flags: Flags, args: Args<'_>) {
        const POINTER: usize = 8;
        let argv = args.to_argv();
        let bytes = argv.iter().map(|a| a.len() + POINTER).sum::<usize>();
        self.bytes += bytes;
        self.total.0.fetch_add(bytes, Ordering::Relaxed);
        self.flags = self.flags.with(flags);
        self.stale &= flags.has(flag::STALE);
        self.queue.push(Queued { row, argv });
    }

    /// Bytes of what is queued, as Redis counts them.
    pub const fn memory(&self) -> usize {
        self.bytes
    }
}

impl Drop for Multi {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes of what all clients have queued.
#[derive(Debug, Clone, Default)]
pub struct QueuedBytes(Arc<AtomicUsize>);

impl QueuedBytes {
    /// How many.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
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

    /// Bytes that it takes, and what remembers who watches.
    pub fn memory(&self) -> usize {
        self.keys.iter().map(Watched::memory).sum()
    }
}

impl Watched {
    /// What it takes with its client and, where no other client watches it, in the table of all.
    fn memory(&self) -> usize {
        const ENTRY: usize = size_of::<((usize, SmallBytes), BTreeSet<SessionId>)>();
        // A tree of one client is a node of eleven; the table stands half empty on average.
        const NODE: usize = 11 * size_of::<SessionId>() + 16;
        size_of::<Self>() + NODE + ENTRY * 3 / 2 + 2 * self.key.heap_size()
    }
}

/// Who watches what.
#[derive(Debug, Default)]
pub struct Watchers {
    by_key: HashMap<(usize, SmallBytes), BTreeSet<SessionId>>,
    clients: usize,
    /// Sum over what all clients watch.
    bytes: usize,
}

impl Watchers {
    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Bytes that it takes what clients watch, here and with them.
    pub const fn memory(&self) -> usize {
        self.bytes
    }

    /// Number of keys watched.
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// Number of clients that watch a key.
    pub const fn clients(&self) -> usize {
        self.clients
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
        let clients = self.by_key.entry((db, key.clone())).or_default();
        if !clients.insert(sid) {
            return;
        }
        self.clients += usize::from(session.watch.is_empty());
        let stale = ks.is_stale(db, &key);
        let existed = stale || ks.is_there(db, &key);
        let watched = Watched {
            db,
            key,
            existed,
            stale,
        };
        self.bytes += watched.memory();
        session.watch.keys.push(watched);
    }

    /// A client watches nothing any more. Returns whether what it watched is unchanged.
    pub(crate) fn release(&mut self, watch: &mut Watch, ks: &Keyspace, sid: SessionId) -> bool {
        // A key whose time has run out since is a change, though nobody has deleted it yet.
        let ran_out = |w: &Watched| !w.stale && ks.is_stale(w.db, &w.key);
        let intact = !watch.broken && !watch.keys.iter().any(ran_out);
        self.part(watch, sid);
        watch.broken = false;
        intact
    }

    /// What a client watched has changed: it need not be watched any longer.
    fn spoil(&mut self, session: &mut Session, sid: SessionId) {
        session.watch.broken = true;
        self.part(&mut session.watch, sid);
    }

    fn part(&mut self, watch: &mut Watch, sid: SessionId) {
        self.clients -= usize::from(!watch.is_empty());
        for watched in std::mem::take(&mut watch.keys) {
            self.bytes -= watched.memory();
            let at = (watched.db, watched.key);
            if let Some(clients) = self.by_key.get_mut(&at) {
                clients.remove(&sid);
                if clients.is_empty() {
                    self.by_key.remove(&at);
                }
            }
        }
    }

    /// A key changed.
    pub(crate) fn signal(
        &mut self,
        sessions: &mut Sessions,
        ks: &Keyspace,
        db: usize,
        key: &SmallBytes,
    ) {
        let Some(clients) = self.by_key.get(&(db, key.clone())) else {
            return;
        };
        let clients: Vec<SessionId> = clients.iter().copied().collect();
        let gone = !ks.is_stale(db, key) && !ks.is_there(db, key);
        for sid in clients {
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
                _ => self.spoil(session, sid),
            }
        }
    }

    /// Every key of a database changed: those that were there, and those that are there now.
    pub(crate) fn signal_all(&mut self, sessions: &mut Sessions, ks: &Keyspace, db: usize) {
        let here = self.by_key.iter().filter(|((d, _), _)| *d == db);
        let clients: BTreeSet<SessionId> = here.flat_map(|(_, c)| c).copied().collect();
        for sid in clients {
            let Some(session) = sessions.get_mut(sid) else {
                continue;
            };
            let mut spoilt = false;
            for w in session.watch.keys.iter_mut().filter(|w| w.db == db) {
                spoilt |= (w.existed && !w.stale) || ks.is_there(db, &w.key);
                // One that is over takes the place of none, or of another that was: that is no change.
                w.stale = ks.is_stale(db, &w.key);
                w.existed = w.stale;
            }
            if spoilt {
                self.spoil(session, sid);
            }
        }
    }
}
