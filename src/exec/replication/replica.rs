//! The replica's side: whom an instance follows, and what becomes of it when that changes.
//!
//! Who drives the link reports what it comes to ([`LinkState`]); what it brings is put in place by
//! [`Engine::adopt`](crate::engine::Engine::adopt) and by replaying, and accounted for here.

use super::{Replication, apply_expiry, feed, leader, want_effects};
use crate::exec::block::{self, TimeoutReply, Unblock};
use crate::exec::persist::log;
use crate::exec::{Action, Args, Entry, SessionId, Sessions, State, System, unconfirmed};
use crate::keyspace::Keyspace;
use crate::replication::{History, Position};
use crate::spec::flag;

/// Whom a replica follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Tells it apart from those before and after it: whoever drives the link to another one is to stop.
    pub number: u64,
    /// A name or an address.
    pub host: String,
    /// A port.
    pub port: u16,
    /// What the link has come to.
    pub state: LinkState,
    /// When the leader was last heard, in unix milliseconds.
    pub heard: i64,
    /// Since when there is no link; none while there is one, or there never was.
    pub down_since: Option<i64>,
    /// It is asked to take this instance's part over (FAILOVER).
    pub takes_over: bool,
    /// What it said cannot be done here: the next time all of its data is asked for.
    pub starts_over: bool,
    /// Bytes of the stream that have come and are still to be done.
    pub unapplied: u64,
    /// The link as it is found among the clients, while the stream comes.
    pub session: Option<SessionId>,
    /// A client wants the link to be made anew.
    pub killed: bool,
    /// The stream has come before: what is here is what that leader had.
    pub was_online: bool,
    /// It has less than that by now, and offers that in its place.
    pub forgot: bool,
}

/// Whom an instance follows that is to follow nobody, and not to lead: a place where nobody is.
pub const NOBODY: (&str, u16) = ("nobody", 0);

/// What the link to a leader has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// There is no connection.
    Down,
    /// One is being made.
    Connecting,
    /// Both sides say who they are.
    Handshake,
    /// A data set comes: so many bytes of it, all in all if the leader said so, and so many so far.
    Syncing {
        /// All in all.
        total: Option<u64>,
        /// So far.
        read: u64,
        /// When the last of them came, in unix milliseconds.
        at: i64,
    },
    /// The stream comes.
    Online,
}

impl LinkState {
    /// As ROLE calls it.
    pub const fn name(self) -> &'static str {
        match self {
            LinkState::Down => "connect",
            LinkState::Connecting => "connecting",
            LinkState::Handshake => "handshake",
            LinkState::Syncing { .. } => "sync",
            LinkState::Online => "connected",
        }
    }
}

impl Upstream {
    /// One that nobody is connected to.
    pub fn new(number: u64, host: &str, port: u16, now: i64) -> Upstream {
        Upstream {
            number,
            host: host.to_owned(),
            port,
            state: LinkState::Down,
            heard: now,
            down_since: Some(now),
            takes_over: false,
            starts_over: false,
            unapplied: 0,
            session: None,
            killed: false,
            was_online: false,
            forgot: false,
        }
    }

    /// Whether there is nobody there to be connected to.
    pub const fn is_nobody(&self) -> bool {
        self.port == NOBODY.1
    }

    /// Whether the stream comes.
    pub fn is_online(&self) -> bool {
        self.state == LinkState::Online
    }
}

/// Whether clients may see old data only: there is no link to the leader (`replica-serve-stale-data`).
#[cold]
pub(crate) fn is_stale(sys: &System) -> bool {
    let upstream = sys.repl.upstream.as_ref();
    upstream.is_some_and(|up| !up.is_online()) && !sys.cfg.replica_serve_stale_data
}

/// An instance begins as a replica, if the configuration has it so.
pub(crate) fn begin(state: &mut State) {
    state.sys.repl.term = state.sys.cfg.failover_term;
    if let Some((host, port)) = state.sys.cfg.replicaof.clone() {
        follow(state, &host, port);
    }
}

/// This instance is a replica of that one from now on.
pub fn follow(state: &mut State, host: &str, port: u16) {
    follow_as(state, host, port, false);
}

/// This instance follows nobody from now on, and does not lead either: what it holds stays as it is until it is told what to
/// be.
pub(super) fn stand(state: &mut State) {
    let stands = state
        .sys
        .repl
        .upstream
        .as_ref()
        .is_some_and(Upstream::is_nobody);
    if !stands {
        let (host, port) = NOBODY;
        let forgot = state.sys.repl.upstream.as_ref().is_some_and(|up| up.forgot);
        follow(state, host, port);
        // Whoever asks who is to lead has to know.
        if let Some(up) = &mut state.sys.repl.upstream {
            up.forgot = forgot;
        }
    }
}

/// As [`follow`], perhaps asking the other one to take over.
pub(super) fn follow_as(state: &mut State, host: &str, port: u16, takes_over: bool) {
    let was_leader = !state.sys.repl.is_replica();
    // It belongs to the history that was this instance's own.
    log::hand_over(state);
    let sys = &mut state.sys;
    let now = sys.now_us / 1000;
    sys.repl.upstreams += 1;
    let before = sys.repl.upstream.take();
    unlist(&mut state.sessions, before.as_ref());
    sys.repl.upstream = Some(Upstream {
        down_since: before.map_or(Some(now), |up| match up.is_online() {
            true => Some(now),
            false => up.down_since,
        }),
        takes_over,
        ..Upstream::new(sys.repl.upstreams, host, port, now)
    });
    super::remember(sys, Some((host.to_owned(), port)));
    sys.repl.ahead = (0, None);
    apply_expiry(&mut state.ks, &state.sys);
    if was_leader {
        tracing::info!(
            "Before turning into a replica, using my own master parameters to synthesize a cached master: \
             I may be able to synchronize with the new master with just a partial transfer."
        );
        let sys = &mut state.sys;
        sys.repl.db = None;
        sys.repl.alone_since = None;
        release_writers(state);
        unconfirmed::give_up(state);
        want_effects(state);
    }
    if port != NOBODY.1 {
        tracing::info!("Connecting to MASTER {host}:{port}");
    }
    state.sys.actions.push(Action::Follow);
}

/// Clients that wait for a key to write to have nothing to wait for on a replica.
fn release_writers(state: &mut State) {
    let State { sys, sessions, .. } = state;
    let waits = |session: &crate::exec::Session| {
        let blocked = session.blocked.as_ref();
        blocked.is_some_and(|b| {
            let waits_for_replicas =
                b.block.keys.is_empty() && b.block.timeout_reply != TimeoutReply::Never;
            b.row.flags.has(flag::WRITE) || waits_for_replicas
        })
    };
    let writers: Vec<SessionId> = sessions
        .iter()
        .filter(|(_, session)| waits(session))
        .map(|(sid, _)| sid)
        .collect();
    for sid in writers {
        block::unblock(sys, sessions, sid, Unblock::RoleChange);
    }
}

/// This instance is a leader from now on, in a history of its own that goes on from the one it had.
pub fn lead(state: &mut State) {
    if !state.sys.repl.is_replica() {
        return;
    }
    // What its own clients did so far is in no stream.
    log::hand_over(state);
    let before = state.sys.repl.upstream.take();
    unlist(&mut state.sessions, before.as_ref());
    let sys = &mut state.sys;
    super::remember(sys, None);
    sys.repl.lapses.clear();
    begin_history(sys);
    leader::part_with_all(state);
    if state.sys.repl.stream.is_some() {
        feed::keep_stream(state);
    }
    // Whoever goes on with the stream has selected what its old leader did.
    want_effects(state);
    apply_expiry(&mut state.ks, &state.sys);
    unconfirmed::configure(&mut state.ks, &mut state.sys);
    unconfirmed::begin(state);
    unconfirmed::doubt(state);
    state.sys.actions.push(Action::Follow);
}

/// The link is no client any more, though whoever drives it has still to hear of that.
fn unlist(sessions: &mut Sessions, up: Option<&Upstream>) {
    if let Some(sid) = up.and_then(|up| up.session) {
        let _ = sessions.expel(sid);
    }
}

/// CLIENT KILL ends the link to the leader: it is made anew.
pub fn kill(sys: &mut System, sessions: &mut Sessions) {
    let Some(up) = &mut sys.repl.upstream else {
        return;
    };
    unlist(sessions, Some(up));
    up.session = None;
    up.killed = true;
    set_state(sys, LinkState::Down);
    sys.actions.push(Action::Follow);
}

/// There is no link any more: the next one is another.
pub(crate) fn lost(sys: &mut System) {
    set_state(sys, LinkState::Down);
    if let Some(up) = &mut sys.repl.upstream {
        up.unapplied = 0;
        up.session = None;
        up.killed = false;
    }
}

/// The history goes on under another name.
fn begin_history(sys: &mut System) {
    let old = super::rename(sys, sys.repl.term);
    let repl = &mut sys.repl;
    tracing::info!(
        "Setting secondary replication ID to {old}, valid up to offset: {}. New replication ID is {}",
        repl.offset + 1,
        repl.id
    );
    repl.former = Some((old, repl.offset + 1));
}

/// The leader goes on where this instance is, in a history of this name if it says so.
pub(crate) fn goes_on(state: &mut State, id: Option<String>) {
    let repl = &mut state.sys.repl;
    let renamed = id.filter(|id| *id != repl.id);
    if let Some(id) = renamed {
        let old = std::mem::replace(&mut repl.id, id);
        repl.former = Some((old, repl.offset + 1));
        tracing::info!("Master replication ID changed to {}", repl.id);
        leader::part_with_all(state);
    }
    feed::keep_stream(state);
}

/// Whether a leader that was followed all the time offers a data set of a history that is no later than the one that is here:
/// it was started again and has lost what it had. Where acknowledged writes are to outlast their leader (`sync-replicas`) nobody takes
/// that, unless an operator says so (REPLICAOF NO ONE, and then whom to follow).
pub(crate) fn is_forgetful(sys: &mut System, id: &str) -> bool {
    let minds = sys.cfg.sync_replicas > 0;
    let System { repl, .. } = sys;
    let (own, theirs) = (History::of(&repl.id), History::of(id));
    // A name without an order, as Redis gives them, proves nothing.
    let is_less = *repl.id != *id && own != History::default() && theirs <= own;
    let Some(up) = &mut repl.upstream else {
        return false;
    };
    up.forgot = minds && up.was_online && is_less;
    up.forgot
}

/// The data set of the leader was put in place of this one's, as it is at this position.
pub(crate) fn adopted(state: &mut State, position: Position) {
    leader::part_with_all(state);
    let repl = &mut state.sys.repl;
    repl.id = position.id;
    repl.offset = position.offset;
    repl.db = position.db;
    repl.former = None;
    repl.stream = None;
    repl.lapses.clear();
    feed::keep_stream(state);
}

/// What the link has come to is known.
pub(crate) fn set_state(sys: &mut System, state: LinkState) {
    let now = sys.now_us / 1000;
    if let Some(up) = &mut sys.repl.upstream {
        match (up.is_online(), state) {
            (_, LinkState::Online) => {
                up.down_since = None;
                up.was_online = true;
                up.forgot = false;
            }
            (true, _) => up.down_since = Some(now),
            _ => {}
        }
        up.state = state;
    }
}

/// The database that is selected in the stream where this instance is.
pub(crate) fn selected(sys: &System) -> usize {
    sys.repl.db.unwrap_or(0)
}

/// A unit of the stream was done: these bytes, which began in the database `from` and end in `to`.
pub(crate) fn advance(state: &mut State, unit: &[u8], counts: bool, from: usize, to: usize) {
    if counts {
        state.fx.relay(from, unit, to);
    }
    let State { sys, sessions, .. } = state;
    feed::feed(sys, sessions, unit, Some(to));
}

/// A client of this replica has written: it is remembered which of the keys have a deadline now.
#[cold]
pub(crate) fn note_deadlines(ks: &Keyspace, repl: &mut Replication, row: &Entry, args: Args<'_>) {
    let Ok(keys) = row.keys(&args.all()) else {
        return;
    };
    let db = ks.current();
    for key in keys {
        let key = args.at(key.pos as usize);
        let deadline = ks.first_deadline_of(db, key);
        repl.lapses.set((db, key.into()), deadline);
    }
}

/// Ends up to `limit` of them whose time is over; returns how many were looked at.
pub(crate) fn end_lapsed(ks: &mut Keyspace, sys: &mut System, limit: usize) -> usize {
    if !lets_lapse(ks, sys) {
        return 0;
    }
    let now = sys.now_us / 1000;
    let mut n = 0;
    while n < limit
        && let Some((db, key)) = sys.repl.lapses.pop(now)
    {
        ks.expire_at(now, db, &key);
        let next = ks.first_deadline_of(db, &key);
        sys.repl.lapses.set((db, key), next);
        n += 1;
    }
    n
}

fn lets_lapse(ks: &Keyspace, sys: &System) -> bool {
    ks.active_expire && !sys.repl.lapses.is_empty() && !sys.pause.is_on()
}

/// When [`end_lapsed`] has something to do, in unix milliseconds.
pub(crate) fn next_lapse(ks: &Keyspace, sys: &System) -> Option<i64> {
    let next = sys.repl.lapses.next();
    next.filter(|_| lets_lapse(ks, sys))
}
