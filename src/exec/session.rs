//! What the server knows of a connected client.

use std::collections::BTreeMap;

use slab::Slab;

use super::Debuggee;
use super::block::Blocked;
use super::faults::Doom;
use super::output::{Unsent, UnsentTotal};
use super::pause::Postponed;
use super::pubsub::Subscriptions;
use super::replication::leader::Replica;
use super::tracking::Mode;
use super::txn::{Multi, Watch};
use crate::resp::{Proto, ReplyBuf};
use crate::service::acl::{DEFAULT, UserId};

/// Names the slot of a session. Slots are reused; [`Session::id`] is unique for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub usize);

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Every command is answered.
    #[default]
    On,
    /// None is.
    Off,
    /// SKIP was the command just run: the next one is not answered.
    SkipNext,
    /// This command is not answered; afterwards all are.
    Skip,
}

/// Where a client comes from.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// `ip:port`, or the path and `:0` of a unix socket, as CLIENT LIST prints it.
    pub addr: String,
    /// The local end, likewise.
    pub laddr: String,
    /// The number CLIENT LIST prints as `fd`; -1 where there is none.
    pub fd: i64,
    /// Whether it came over a unix socket.
    pub unix: bool,
    /// Whether it is on this machine: a loopback address or a unix socket.
    pub local: bool,
    /// Whether it lives in this process and needs no password.
    pub trusted: bool,
    /// What its connection holds of its output.
    pub unsent: Unsent,
}

/// A connected client.
#[derive(Debug)]
pub struct Session {
    /// CLIENT ID.
    pub id: u64,
    /// Both ends.
    pub peer: Peer,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
    /// The selected database.
    pub db: usize,
    /// RESP2 or RESP3.
    pub proto: Proto,
    /// It has logged in, or needed not to when it connected.
    pub authenticated: bool,
    /// Who it is.
    pub user: UserId,
    /// It may do everything, whoever it is: it belongs to this process.
    pub unrestricted: bool,
    /// It is no client: it replays a log of effects.
    pub replays: bool,
    /// What it replays comes from the leader of this instance: it is listed among the clients.
    pub follows: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// It understands REDIRECT: as a client of a replica it is sent on to the leader (CLIENT CAPA).
    pub redirects: bool,
    /// It reads here all the same (READONLY).
    pub reads_here: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// It is shown every command (MONITOR).
    pub monitors: bool,
    /// When it connected, unix milliseconds.
    pub since: i64,
    /// When it last sent a command, unix milliseconds.
    pub seen: i64,
    /// Full name of the last command, for CLIENT LIST.
    pub last_cmd: &'static str,
    /// Bytes received and sent, and the state of its buffers, as the connection last told.
    pub net: NetCounters,
    /// The transaction it puts together.
    pub multi: Option<Box<Multi>>,
    /// What it watches.
    pub watch: Watch,
    /// What it is subscribed to, if to anything.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// How it tracks keys, if it does.
    pub tracking: Option<Box<Mode>>,
    /// What it waits for, if it is blocked.
    pub blocked: Option<Box<Blocked>>,
    /// The command that waits for the end of CLIENT PAUSE, if one does.
    pub postponed: Option<Box<Postponed>>,
    /// What a fault makes of it, if one does.
    pub doom: Option<Box<Doom>>,
    /// Bytes to send that no call of its own returned: replies after blocking, pushes.
    pub outbox: ReplyBuf,
    /// Its connection will look at the outbox.
    pub(super) woken: bool,
    /// How much of the outbox is counted in [`Sessions::memory`].
    counted: usize,
    /// Since when it has had more output waiting than the soft limit of its class, unix seconds.
    pub(super) above_soft: Option<i64>,
    /// The position of the append-only log behind what it wrote last.
    pub wrote_at: u64,
    /// The offset of the replication stream behind that.
    pub wrote_offset: u64,
    /// What is known of it as a replica, if it is one.
    pub replica: Option<Box<Replica>>,
    /// Nothing is sent to it any more: others end the connection, or it had too much output waiting.
    pub cut_off: bool,
    /// What it asked for by SCRIPT DEBUG.
    pub debug: Option<Box<Debugging>>,
    /// The connection ends as soon as what is to be sent has been sent.
    pub closing: bool,
}

impl Session {
    /// Who it is, for the log.
    pub fn who(&self) -> String {
        let name = String::from_utf8_lossy(&self.name);
        format!("id={} addr={} name={name}", self.id, self.peer.addr)
    }

    /// RESET, but for what it watches: everything a client can change is as on a new connection. The name of
    /// its library stays.
    pub fn reset(&mut self) {
        self.name = Vec::new();
        self.db = 0;
        self.proto = Proto::Resp2;
        self.outbox.set_proto(Proto::Resp2);
        self.reply_mode = ReplyMode::On;
        self.no_touch = false;
        self.redirects = false;
        self.reads_here = false;
        self.no_evict = false;
        self.monitors = false;
        self.multi = None;
        self.debug = None;
        self.user = DEFAULT;
        self.unrestricted = self.peer.trusted;
    }
}

impl Session {
    /// The id of those who are no clients.
    const REPLAYER: u64 = u64::MAX;

    fn new(id: u64, peer: Peer, authenticated: bool, now: i64) -> Session {
        let peer_trusted = peer.trusted;
        Session {
            id,
            peer,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            db: 0,
            proto: Proto::Resp2,
            authenticated,
            user: DEFAULT,
            unrestricted: peer_trusted,
            replays: false,
            follows: false,
            reply_mode: ReplyMode::On,
            no_touch: false,
            redirects: false,
            reads_here: false,
            no_evict: false,
            monitors: false,
            since: now,
            seen: now,
            last_cmd: "NULL",
            net: NetCounters::default(),
            multi: None,
            watch: Watch::default(),
            subscriptions: None,
            tracking: None,
            blocked: None,
            postponed: None,
            doom: None,
            outbox: ReplyBuf::new(Proto::Resp2),
            woken: false,
            counted: 0,
            above_soft: None,
            wrote_at: 0,
            wrote_offset: 0,
            replica: None,
            debug: None,
            cut_off: false,
            closing: false,
        }
    }

    /// It has logged in.
    pub(crate) fn become_user(&mut self, user: UserId) {
        self.user = user;
        self.authenticated = true;
        self.unrestricted = false;
    }

    /// How much of the outbox is counted.
    pub(super) const fn counted(&self) -> usize {
        self.counted
    }

    /// Moves what waits in the outbox to `out`.
    fn hand_over(&mut self, out: &mut ReplyBuf) {
        /// An outbox keeps this much memory for what comes next.
        const KEEP: usize = 1024;
        /// From here on a buffer is handed over and not copied.
        const LARGE: usize = 16 * 1024;
        let mut bytes = self.outbox.take();
        if out.is_empty() && bytes.len() > LARGE {
            out.swap(&mut bytes);
        } else {
            out.raw(&bytes);
            if bytes.capacity() <= KEEP {
                bytes.clear();
                self.outbox.swap(&mut bytes);
            }
        }
    }

    /// Whether there may be something for it: in its outbox, or in the stream that replicas get.
    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.replica.is_some()
    }

    /// Whether it may only do what a subscriber may: in RESP2 messages cannot be told from replies.
    pub fn only_listens(&self) -> bool {
        self.subscriptions.is_some() && self.proto == Proto::Resp2
    }

    /// Whether it follows this instance, or is about to.
    pub fn is_replica(&self) -> bool {
        self.replica.as_ref().is_some_and(|r| r.is_fed())
    }

    /// Whether it waits: for a key, for the end of CLIENT PAUSE, or because a fault has it wait.
    pub fn waits(&self) -> bool {
        self.blocked.is_some() || self.postponed.is_some() || self.is_held_up()
    }

    /// Whether a fault has it wait.
    pub fn is_held_up(&self) -> bool {
        self.doom.as_deref().is_some_and(Doom::holds)
    }

    /// Whether it hears nothing any more.
    pub fn is_deaf(&self) -> bool {
        matches!(self.doom.as_deref(), Some(Doom::Deaf))
    }

    /// Whether replies are unwanted now (CLIENT REPLY).
    pub(crate) const fn is_mute(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::Off | ReplyMode::Skip)
    }

    /// A command of this client has run: whether its reply is unwanted (CLIENT REPLY).
    pub(crate) const fn wants_none(&mut self) -> bool {
        let mute = self.is_mute();
        self.reply_mode = match self.reply_mode {
            ReplyMode::On | ReplyMode::Skip => ReplyMode::On,
            ReplyMode::Off => ReplyMode::Off,
            ReplyMode::SkipNext => ReplyMode::Skip,
        };
        mute
    }

    /// Lends the outbox to a command that runs for this client while its connection waits.
    pub(crate) fn lend_outbox(&mut self) -> ReplyBuf {
        std::mem::replace(&mut self.outbox, ReplyBuf::new(self.proto))
    }

    /// Takes the outbox back. What came meanwhile follows the reply.
    pub(crate) fn return_outbox(&mut self, mut outbox: ReplyBuf) {
        outbox.raw(self.outbox.as_slice());
        outbox.set_proto(self.proto);
        self.outbox = outbox;
    }
}

/// SCRIPT DEBUG: the next script runs in the debugger.
#[derive(Debug, Default)]
pub struct Debugging {
    /// The script that stands still there.
    pub(crate) session: Option<Box<dyn Debuggee>>,
}

impl Debugging {
    /// Whether what the client says is for the debugger.
    pub fn stands_still(&self) -> bool {
        self.session.is_some()
    }
}

/// Sizes that only the connection knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetCounters {
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Commands run.
    pub commands: u64,
    /// The largest reply since `peak_since`, unix milliseconds.
    peak: usize,
    peak_since: i64,
}

impl NetCounters {
    /// How long the largest reply counts as recent, in milliseconds.
    pub const PEAK_MS: i64 = 5000;

    /// So many bytes were answered at once. What was answered more than `recent` milliseconds ago is forgotten.
    pub fn replied(&mut self, bytes: usize, now: i64, recent: Option<i64>) {
        if recent.is_some_and(|recent| now - self.peak_since >= recent) {
            self.peak = bytes;
            self.peak_since = now;
        }
        self.peak = self.peak.max(bytes);
    }

    /// The largest reply of late.
    pub fn recent_peak(&self, now: i64, recent: Option<i64>) -> usize {
        let over = recent.is_some_and(|recent| now - self.peak_since >= recent);
        if over { 0 } else { self.peak }
    }
}

/// All connected clients.
#[derive(Debug, Default)]
pub struct Sessions {
    slab: Slab<Session>,
    /// Those that are connected, in order of arrival. Who is expelled keeps the slot until its connection ends.
    by_id: BTreeMap<u64, SessionId>,
    next_id: u64,
    /// Bytes that the outboxes take.
    queued: usize,
    /// Bytes that the connections hold.
    unsent: UnsentTotal,
    /// Those that keep their slots though they are gone: what their connections hold is as good as free.
    expelled: Vec<SessionId>,
    /// When idle clients were last looked for, unix milliseconds.
    idle_checked: i64,
}

impl Sessions {
    /// Adds a client.
    pub fn connect(&mut self, peer: Peer, authenticated: bool, now: i64) -> SessionId {
        self.next_id += 1;
        let authenticated = authenticated || peer.trusted;
        let session = Session::new(self.next_id, peer, authenticated, now);
        let sid = SessionId(self.slab.insert(session));
        self.by_id.insert(self.next_id, sid);
        sid
    }

    /// Adds one who replays effects. It is no client: nobody finds it among them, or counts it.
    pub(crate) fn replay(&mut self, now: i64) -> SessionId {
        let peer = Peer {
            fd: -1,
            trusted: true,
            ..Peer::default()
        };
        let mut session = Session::new(Session::REPLAYER, peer, true, now);
        session.replays = true;
        SessionId(self.slab.insert(session))
    }

    /// Adds the link to the leader. It replays effects, but is found among the clients.
    pub(crate) fn follow(&mut self, peer: Peer, now: i64) -> SessionId {
        let trusted = Peer {
            trusted: true,
            ..peer
        };
        let sid = self.connect(trusted, true, now);
        if let Some(session) = self.get_mut(sid) {
            session.replays = true;
            session.follows = true;
        }
        sid
    }

    /// Removes a client.
    pub fn remove(&mut self, sid: SessionId) -> Option<Session> {
        let session = self.slab.try_remove(sid.0)?;
        self.by_id.remove(&session.id);
        self.queued -= session.counted;
        self.expelled.retain(|other| *other != sid);
        Some(session)
    }

    /// Counts a client as gone, though its connection has still to end.
    pub(crate) fn expel(&mut self, sid: SessionId) -> Option<&mut Session> {
        let session = self.slab.get_mut(sid.0)?;
        self.by_id.remove(&session.id);
        if !self.expelled.contains(&sid) {
            self.expelled.push(sid);
        }
        Some(session)
    }

    /// Looks how much waits in a client's outbox: to be called when that has changed.
    #[inline]
    pub(crate) fn recount(&mut self, sid: SessionId) {
        if let Some(session) = self.slab.get_mut(sid.0) {
            let now = session.outbox.capacity();
            self.queued = self.queued - session.counted + now;
            session.counted = now;
        }
    }

    /// Bytes that the clients use: themselves, and what waits to be sent to them.
    pub fn memory(&self) -> usize {
        self.len() * size_of::<Session>() + self.in_transit()
    }

    /// Bytes that wait to be sent to clients, or have been received from them and cannot run yet.
    pub fn in_transit(&self) -> usize {
        let expelled = self.expelled.iter().filter_map(|sid| self.get(*sid));
        let leaving: usize = expelled.map(|session| session.peer.unsent.held()).sum();
        (self.queued + self.unsent.get()).saturating_sub(leaving)
    }

    /// What the connections of all clients hold.
    pub fn unsent(&self) -> &UnsentTotal {
        &self.unsent
    }

    /// A client, if the slot is taken.
    pub fn get(&self, sid: SessionId) -> Option<&Session> {
        self.slab.get(sid.0)
    }

    /// A client, if the slot is taken.
    pub fn get_mut(&mut self, sid: SessionId) -> Option<&mut Session> {
        self.slab.get_mut(sid.0)
    }

    /// The slot of the client with this CLIENT ID.
    pub fn by_id(&self, id: u64) -> Option<SessionId> {
        self.by_id.get(&id).copied()
    }

    /// Moves what waits in a client's outbox to `out`.
    pub(crate) fn hand_over(&mut self, sid: SessionId, out: &mut ReplyBuf) {
        if let Some(session) = self.slab.get_mut(sid.0) {
            session.woken = false;
            if !session.outbox.is_empty() {
                match session.is_deaf() {
                    true => session.outbox.clear(),
                    false => session.hand_over(out),
                }
                self.recount(sid);
            }
        }
    }

    /// What waits in all outboxes, as it is kept.
    pub(super) const fn queued(&self) -> usize {
        self.queued
    }

    /// All sessions, those of whom is no client any more included.
    pub(super) fn all(&self) -> impl Iterator<Item = &Session> {
        self.slab.iter().map(|(_, session)| session)
    }

    /// All clients, in the order in which they connected.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        let all = self.by_id.values();
        all.filter_map(|&sid| Some((sid, self.slab.get(sid.0)?)))
    }

    /// Marks clients as closing that were idle for more than `timeout` seconds (0: none are), and names them.
    /// Those that wait for a key are not idle, nor are those that only listen: subscribers, monitors, replicas.
    pub(crate) fn close_idle(&mut self, timeout: u64, now: i64) -> Vec<SessionId> {
        if self.next_idle_check(timeout).is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.idle_checked = now;
        let allowed = i64::try_from(timeout.saturating_mul(1000)).unwrap_or(i64::MAX);
        let mut idle = Vec::new();
        for (slot, session) in &mut self.slab {
            let listens =
                session.subscriptions.is_some() || session.monitors || session.is_replica();
            let busy = session.waits() || session.peer.trusted || session.closing || listens;
            if session.peer.unsent.was_heard() {
                // Of a request that is on its way.
                session.seen = now;
            }
            if !busy && now.saturating_sub(session.seen) > allowed {
                tracing::debug!("Closing idle client {}", session.who());
                session.closing = true;
                session.cut_off = true;
                idle.push(SessionId(slot));
            }
        }
        idle
    }

    /// When to look for idle clients next.
    #[inline]
    pub(crate) fn next_idle_check(&self, timeout: u64) -> Option<i64> {
        const EVERY: i64 = 1000;
        (timeout > 0 && !self.is_empty()).then_some(self.idle_checked + EVERY)
    }

    /// Number of clients.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
