//! Client-side caching: which clients remember which keys, and what they are told when those change.
//!
//! A client hears of the keys that it has read, once for each since it last read it; or, if it broadcasts, of all keys
//! with its prefixes. Databases are not told apart. When it hears of them is what Redis has made of it:
//!
//! - of what others did, at once, but for broadcasts, which are gathered until the batch of commands is over;
//! - of what its own command did, after the reply to that command, a transaction or script being one.

mod cached;
mod mode;
mod prefixes;

use std::collections::BTreeMap;
use std::fmt::Debug;

pub use mode::{Mode, Redirect, Scope};

use super::deliver::{Message, deliver};
use super::session::{Session, SessionId, Sessions};
use super::{Args, Entry, System};
use crate::ds::bytes::SmallBytes;
use crate::ds::table::Seed;
use crate::resp::{Proto, ReplyBuf};
use crate::spec::{Group, flag};

use cached::CachedKeys;
use prefixes::{Changed, Prefixes};

/// Where a RESP2 client that is told for another one hears of keys.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// So many keys beyond the limit give way before a command, or at one tick.
const EVICTED_AT_ONCE: usize = 1000;

/// So many keys are looked through for clients that are gone at one tick, and so many milliseconds later the next.
const SWEPT_AT_ONCE: usize = 4096;
const TICK: i64 = 10;

/// Who remembers what.
#[derive(Debug)]
pub struct Tracking {
    /// Everybody connected who tracks or has done so, by CLIENT ID.
    clients: BTreeMap<u64, SessionId>,
    /// How many of them track.
    tracking: usize,
    cached: CachedKeys,
    prefixes: Prefixes,
    /// What the client whose command runs is to hear after its reply.
    own: Vec<Own>,
    /// Where the search for readers that are gone stands.
    sweep: Option<u64>,
    /// More have gone since it began.
    sweep_again: bool,
    /// When the last tick was, unix milliseconds.
    ticked: i64,
}

/// What a client is to hear of its own doing.
#[derive(Debug)]
enum Own {
    Key(SmallBytes),
    All,
}

impl Tracking {
    /// Nobody remembers anything.
    pub fn new(seed: Seed) -> Self {
        Self {
            clients: BTreeMap::new(),
            tracking: 0,
            cached: CachedKeys::new(seed),
            prefixes: Prefixes::default(),
            own: Vec::new(),
            sweep: None,
            sweep_again: false,
            ticked: 0,
        }
    }

    /// Whether nobody tracks or has read anything, so that reads and changes need not be looked at.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tracking == 0 && self.cached.is_empty()
    }

    /// Number of clients that track.
    pub fn clients(&self) -> usize {
        self.tracking
    }

    /// Number of keys that clients have read.
    pub fn keys(&self) -> usize {
        self.cached.len()
    }

    /// Number of readers of those keys, counted once for each key.
    pub fn items(&self) -> usize {
        self.cached.items()
    }

    /// Number of prefixes.
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// Bytes used.
    pub fn memory(&self) -> usize {
        // Clients stand in a tree of 16-byte items about three quarters full.
        self.cached.memory() + self.prefixes.memory() + self.clients.len() * 22
    }

    /// Bytes that prefixes take.
    pub(super) fn memory_of_prefixes(&self) -> usize {
        self.prefixes.memory()
    }

    /// Whether more keys are remembered than `most`; 0 is no limit.
    #[inline]
    pub(crate) fn is_over(&self, most: u64) -> bool {
        self.cached.len() as u64 > most && most > 0
    }

    /// Whether [`broadcast`] has something to say.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.prefixes.is_due()
    }

    /// When [`tick`] has something to do next, in unix milliseconds.
    #[inline]
    pub(crate) fn next_tick(&self, most: u64) -> Option<i64> {
        (self.sweep.is_some() || self.is_over(most)).then_some(self.ticked + TICK)
    }

    /// A client tracks from now on, or otherwise than before. Prefixes that it has it keeps.
    pub(crate) fn enable(&mut self, session: &mut Session, sid: SessionId, mut mode: Mode) {
        for prefix in &mode.prefixes {
            self.prefixes.add(prefix, session.id);
        }
        match session.tracking.take() {
            Some(mut old) => {
                mode.prefixes.append(&mut old.prefixes);
                mode.caching = old.caching;
            }
            None => self.tracking += 1,
        }
        self.clients.insert(session.id, sid);
        session.tracking = Some(Box::new(mode));
    }

    /// A client tracks no more. That it read what it read is remembered, as Redis does, in case it tracks again.
    pub(crate) fn disable(&mut self, session: &mut Session) {
        let Some(mode) = session.tracking.take() else {
            return;
        };
        self.tracking -= 1;
        for prefix in &mode.prefixes {
            self.prefixes.remove(prefix, session.id);
        }
    }

    /// A client is gone.
    pub(crate) fn leave(&mut self, session: &mut Session) {
        self.disable(session);
        if self.clients.remove(&session.id).is_none() || self.cached.is_empty() {
            return;
        }
        match self.sweep {
            None => self.sweep = Some(0),
            Some(_) => self.sweep_again = true,
        }
    }

    fn sweep(&mut self) {
        let Some(cursor) = self.sweep else {
            return;
        };
        let clients = &self.clients;
        let is_there = |id: u64| clients.contains_key(&id);
        self.sweep = match self.cached.sweep(cursor, SWEPT_AT_ONCE, is_there) {
            0 if std::mem::take(&mut self.sweep_again) => Some(0),
            0 => None,
            cursor => Some(cursor),
        };
    }
}

/// Whether what a command reads is remembered: not what is named to a script, only what the script reads.
fn is_read(row: &Entry) -> bool {
    row.flags.has(flag::READONLY)
        && !row.flags.has(flag::PUBSUB)
        && row.row.group != Group::Scripting
}

/// A command has run for a client: the keys that it read are remembered.
pub(crate) fn remember(
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
) {
    let Some(session) = sessions.get(sid) else {
        return;
    };
    let remembers = session.tracking.as_ref().is_some_and(|m| m.remembers());
    if !remembers || !is_read(row) {
        return;
    }
    let Ok(keys) = row.keys(&args.all()) else {
        return;
    };
    let (id, most) = (session.id, sys.cfg.tracking_table_max_keys);
    for key in keys {
        let is_new = sys.tracking.cached.add(args.at(key.pos as usize), id);
        if is_new && sys.tracking.is_over(most) {
            evict(sys, sessions);
        }
    }
}

/// A command of a client is over, or was refused: what CLIENT CACHING said held for it alone. Commands of the same
/// container and transactions being put together do not use it up.
pub(crate) fn spend_caching(session: &mut Session, row: Option<&Entry>) {
    if session.multi.is_none()
        && let Some(mode) = &mut session.tracking
        && mode.caching.is_some()
        && mode.caching != row.and_then(|row| row.parent)
    {
        mode.caching = None;
    }
}

/// A key changed, by the doing of a client or of time.
pub(crate) fn invalidate(
    sys: &mut System,
    sessions: &mut Sessions,
    key: &SmallBytes,
    by: Option<SessionId>,
) {
    if sys.tracking.is_empty() {
        return;
    }
    let by = by.and_then(|sid| sessions.get(sid)).map(|s| s.id);
    sys.tracking.prefixes.gather(key, by);
    forget(sys, sessions, key, false);
}

/// A random key is remembered no more, as if it had changed.
fn evict(sys: &mut System, sessions: &mut Sessions) {
    let System { tracking, rng, .. } = sys;
    if let Some(key) = tracking.cached.random(|| rng.next_u64()) {
        forget(sys, sessions, &key, true);
    }
}

/// Makes room in the table if it is over its limit, after that was lowered: some keys at a time.
pub(crate) fn shrink(sys: &mut System, sessions: &mut Sessions) {
    for _ in 0..EVICTED_AT_ONCE {
        if !sys.tracking.is_over(sys.cfg.tracking_table_max_keys) {
            break;
        }
        evict(sys, sessions);
    }
}

/// Tells those who have read a key that they must not rely on it any more; those too who changed it themselves and do
/// not want to hear of that, if `all`.
fn forget(sys: &mut System, sessions: &mut Sessions, key: &SmallBytes, all: bool) {
    let Some(readers) = sys.tracking.cached.remove(key) else {
        return;
    };
    let mut message = Message::new(|out| News::Key(key).write(out));
    for id in readers.ids() {
        let Some(&sid) = sys.tracking.clients.get(id) else {
            continue;
        };
        let mode = sessions.get(sid).and_then(|s| s.tracking.as_ref());
        let Some(mode) = mode.filter(|mode| mode.scope != Scope::Broadcast) else {
            continue;
        };
        if sys.current != Some(sid) {
            tell(sys, sessions, sid, &mut message);
        } else if all || !mode.noloop {
            sys.tracking.own.push(Own::Key(key.clone()));
        }
    }
}

/// All keys of a database, or of all, are gone or others: nobody may rely on anything. Gives what is to be dropped.
pub(crate) fn invalidate_all(
    sys: &mut System,
    sessions: &mut Sessions,
) -> Option<impl Debug + Send + use<>> {
    let mut message = Message::new(|out| News::All.write(out));
    let clients: Vec<SessionId> = sys.tracking.clients.values().copied().collect();
    for sid in clients {
        if sessions.get(sid).is_none_or(|s| s.tracking.is_none()) {
            continue;
        }
        if sys.current == Some(sid) {
            sys.tracking.own.push(Own::All);
        } else {
            tell(sys, sessions, sid, &mut message);
        }
    }
    let cached = &mut sys.tracking.cached;
    (!cached.is_empty()).then(|| cached.take())
}

/// A command of a client is over, its reply written: it hears of what it did itself.
#[inline]
pub(crate) fn end_command(sys: &mut System, sessions: &mut Sessions) {
    if !sys.tracking.own.is_empty() {
        tell_own(sys, sessions);
    }
}

#[cold]
fn tell_own(sys: &mut System, sessions: &mut Sessions) {
    let own = std::mem::take(&mut sys.tracking.own);
    let Some(sid) = sys.current else {
        return;
    };
    for news in &own {
        let mut message = Message::new(|out| match news {
            Own::Key(key) => News::Key(key).write(out),
            Own::All => News::All.write(out),
        });
        tell(sys, sessions, sid, &mut message);
    }
}

/// A batch of commands is over: those who broadcast hear of what it changed.
#[cold]
pub(crate) fn broadcast(sys: &mut System, sessions: &mut Sessions) {
    while let Some((changed, clients)) = sys.tracking.prefixes.take_due() {
        let mut to_all = Message::new(|out| News::Keys(&changed, None).write(out));
        for id in clients {
            let Some(&sid) = sys.tracking.clients.get(&id) else {
                continue;
            };
            let mode = sessions.get(sid).and_then(|s| s.tracking.as_ref());
            if mode.is_some_and(|m| m.noloop) && changed.values().any(|&by| by == Some(id)) {
                let news = News::Keys(&changed, Some(id));
                if !news.is_empty() {
                    tell(sys, sessions, sid, &mut Message::new(|out| news.write(out)));
                }
            } else {
                tell(sys, sessions, sid, &mut to_all);
            }
        }
    }
}

/// Does what is left for quiet moments: makes room, and forgets readers that are gone.
pub(crate) fn tick(sys: &mut System, sessions: &mut Sessions) {
    let now = sys.now_us / 1000;
    let due = sys.tracking.next_tick(sys.cfg.tracking_table_max_keys);
    if due.is_some_and(|at| at <= now) {
        sys.tracking.ticked = now;
        shrink(sys, sessions);
        sys.tracking.sweep();
    }
}

/// What is told.
enum News<'a> {
    /// This key.
    Key(&'a [u8]),
    /// These keys, but not those that this client changed.
    Keys(&'a Changed, Option<u64>),
    /// All keys.
    All,
}

impl<'a> News<'a> {
    fn keys(changed: &'a Changed, but: Option<u64>) -> impl Iterator<Item = &'a SmallBytes> {
        let told = move |by: &Option<u64>| but.is_none() || *by != but;
        changed
            .iter()
            .filter(move |(_, by)| told(by))
            .map(|(key, _)| key)
    }

    fn is_empty(&self) -> bool {
        match *self {
            News::Keys(changed, but) => Self::keys(changed, but).next().is_none(),
            News::Key(_) | News::All => false,
        }
    }

    /// Writes it as RESP3 has it, or as a message on a channel: in RESP2 only who subscribes hears of it.
    fn write(&self, out: &mut ReplyBuf) {
        if out.is_resp3() {
            out.push(2);
            out.bulk(b"invalidate");
        } else {
            out.array(3);
            out.bulk(b"message");
            out.bulk(CHANNEL);
        }
        match *self {
            News::Key(key) => {
                out.array(1);
                out.bulk(key);
            }
            News::Keys(changed, but) => {
                out.array(Self::keys(changed, but).count());
                Self::keys(changed, but).for_each(|key| out.bulk(key));
            }
            News::All => out.null(),
        }
    }
}

/// Tells a client, or who is told instead. A RESP2 client can be told only if it subscribes, and only for another one.
fn tell<W: Fn(&mut ReplyBuf)>(
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    message: &mut Message<W>,
) {
    let Some(session) = sessions.get(sid) else {
        return;
    };
    let Some(mode) = &session.tracking else {
        return;
    };
    let Some(to) = mode.redirect else {
        if session.proto == Proto::Resp3 {
            deliver(sys, sessions, sid, message);
        }
        return;
    };
    if !to.is_there(sessions) {
        return tell_broken(sys, sessions, sid, to.id);
    }
    let hears = |s: &Session| s.proto == Proto::Resp3 || s.subscriptions.is_some();
    if sessions.get(to.sid).is_some_and(hears) {
        deliver(sys, sessions, to.sid, message);
    }
}

/// Tells a client that the one which was to be told instead is gone.
fn tell_broken(sys: &mut System, sessions: &mut Sessions, sid: SessionId, id: u64) {
    let Some(session) = sessions.get_mut(sid) else {
        return;
    };
    if let Some(mode) = &mut session.tracking {
        mode.broken = true;
    }
    if session.proto == Proto::Resp3 {
        let mut message = Message::new(|out| {
            out.push(2);
            out.bulk(b"tracking-redir-broken");
            out.int(i64::try_from(id).unwrap_or(i64::MAX));
        });
        deliver(sys, sessions, sid, &mut message);
    }
}
