//! Replication as the engine sees it: the stream of effects, who follows it, and whom this instance follows.
//!
//! The stream is what the [log of effects](super::effects) says, byte for byte; its offset counts those bytes. A leader
//! hands it to its replicas at the end of each batch of commands. A replica hands on what it was sent itself, unit by
//! unit, so that every instance of a chain has the same stream.
//!
//! ```text
//! leader    replicas: how they join, how far they are, how they go
//! sync      the snapshot that those get who cannot go on with the stream
//! feed      the stream: how it is kept and read
//! replica   whom this instance follows, and what becomes of it when that changes
//! failover  a leader that hands its part over to a replica
//! lag       how far replicas are behind, in time
//! lapses    keys of a replica that nobody but itself ends
//! ```

pub mod failover;
pub mod feed;
pub mod lag;
pub mod lapses;
pub mod leader;
pub mod replica;
pub mod sync;

use std::borrow::Cow;
use std::collections::BTreeSet;

use self::failover::Failover;
use self::lag::Marks;
use self::lapses::Lapses;
use self::replica::Upstream;
use super::host::Milestone;
use super::{Action, Effects, SessionId, State, System};
use crate::keyspace::Keyspace;
use crate::replication::{History, Position, Stream};
use crate::util::earliest::Earliest;

/// What an instance knows of replication.
#[derive(Debug)]
pub struct Replication {
    /// The history that the data set belongs to (`master_replid`): 40 hex digits.
    pub id: String,
    /// The history that it goes back to (`master_replid2`), and the first offset that is not shared with it.
    pub former: Option<(String, u64)>,
    /// Bytes of the stream so far.
    offset: u64,
    /// The database that is selected there.
    db: Option<usize>,
    /// Effects of finished units that were not handed over yet, and the database that is selected behind them.
    ahead: (usize, Option<usize>),
    /// The end of the stream, once somebody has asked for it.
    pub stream: Option<Stream>,
    /// Sessions of replicas.
    pub replicas: BTreeSet<SessionId>,
    /// Whom this instance follows, if it is a replica.
    pub upstream: Option<Upstream>,
    /// Another part that this instance is to play once no unit of work is half done.
    change: Option<Change>,
    /// The number of the last one there was.
    upstreams: u64,
    /// A part that is being handed over to a replica.
    pub failover: Option<Failover>,
    /// The latest term that this instance knows of: it obeys nobody any more who speaks for an earlier one.
    pub term: u64,
    /// The replicas are to be asked how far they are.
    pub(super) asks: bool,
    /// When a snapshot for those who wait for one is to begin, in unix milliseconds.
    sync_at: Option<i64>,
    /// When the replicas last heard from us for the sake of it, in unix milliseconds, or the first of them came.
    pinged: i64,
    /// When it is to be looked whether they still live.
    look_at: Option<i64>,
    /// A replica is gone.
    parted: bool,
    /// The snapshot that it was to get.
    deserted: Option<u64>,
    /// What stands behind the snapshot that is being sent, if nobody was told its length.
    mark: String,
    /// Since when there is no replica.
    alone_since: Option<i64>,
    /// When the stream came to which offset.
    marks: Marks,
    /// Keys that clients of this replica have given a deadline.
    pub lapses: Lapses,
    /// How replicas came to be up to date.
    pub counts: Syncs,
}

/// How replicas came to be up to date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// By a snapshot.
    pub full: u64,
    /// By the end of the stream.
    pub partial: u64,
    /// They asked for an end of the stream that was not there.
    pub refused: u64,
}

impl Replication {
    /// An instance that nobody follows, and its history.
    pub fn new(id: String) -> Replication {
        Replication {
            id,
            former: None,
            offset: 0,
            db: None,
            ahead: (0, None),
            stream: None,
            replicas: BTreeSet::new(),
            upstream: None,
            change: None,
            upstreams: 0,
            failover: None,
            term: 0,
            asks: false,
            sync_at: None,
            pinged: 0,
            look_at: None,
            parted: false,
            deserted: None,
            mark: String::new(),
            alone_since: None,
            marks: Marks::default(),
            lapses: Lapses::default(),
            counts: Syncs::default(),
        }
    }

    /// Bytes of the stream so far.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether this instance follows another one.
    #[inline]
    pub const fn is_replica(&self) -> bool {
        self.upstream.is_some()
    }

    /// Whom this instance follows, for those who ask: it is told already whom it is to follow.
    pub fn shown_upstream(&self, now: i64) -> Option<Cow<'_, Upstream>> {
        match &self.change {
            Some(Change::Follow(host, port)) => {
                let number = self.upstreams + 1;
                Some(Cow::Owned(Upstream::new(number, host, *port, now)))
            }
            Some(Change::Stand) => {
                let (host, port) = replica::NOBODY;
                let number = self.upstreams + 1;
                Some(Cow::Owned(Upstream::new(number, host, port, now)))
            }
            Some(Change::Lead) => None,
            _ => self.upstream.as_ref().map(Cow::Borrowed),
        }
    }

    /// Whether another part is to be played.
    #[inline]
    pub(crate) const fn is_to_change(&self) -> bool {
        self.change.is_some()
    }

    /// Whether what happens here goes into the stream.
    #[inline]
    pub(crate) const fn leads(&self) -> bool {
        self.stream.is_some() && self.upstream.is_none()
    }

    /// Whether the stream is kept, so that there is something to be on time with.
    pub const fn is_on(&self) -> bool {
        self.stream.is_some()
    }

    /// Where this instance is behind its last finished unit; none if its history is nobody else's.
    pub fn position(&self) -> Option<Position> {
        self.stream.as_ref()?;
        let (ahead, db) = match self.ahead {
            (0, _) => (0, self.db),
            (ahead, db) => (ahead, db),
        };
        Some(Position {
            id: self.id.clone(),
            offset: self.offset + ahead as u64,
            db,
        })
    }

    /// Units have ended: their effects go into the stream with the end of the batch.
    #[inline]
    pub(crate) fn note_logged(&mut self, fx: &Effects) {
        if self.leads() {
            self.ahead = (fx.streamed_len(), fx.selected());
        }
    }

    /// The offset behind what was done so far.
    pub(crate) const fn reached(&self) -> u64 {
        self.offset + self.ahead.0 as u64
    }

    /// Bytes that it holds.
    pub fn memory(&self) -> usize {
        self.stream.as_ref().map_or(0, Stream::memory)
    }

    /// Those of them that are no backlog: replicas have still to get them.
    pub fn memory_of_replicas(&self) -> usize {
        let stream = self.stream.as_ref().filter(|_| !self.replicas.is_empty());
        stream.map_or(0, |s| s.memory().saturating_sub(s.keep()))
    }
}

/// Another part to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// To follow this one (REPLICAOF host port).
    Follow(String, u16),
    /// To lead (REPLICAOF NO ONE).
    Lead,
    /// To follow nobody, and not to lead either (REDKEEP FENCE).
    Stand,
    /// To lead, and to send the stream to this client from this offset on (PSYNC with FAILOVER).
    TakeOver(SessionId, i64),
    /// To stop handing over (FAILOVER ABORT).
    Abort,
}

/// A client has asked for another part: it is played as soon as its command is over. Behind it, in a transaction say, the
/// configuration may be written: that has it already.
pub fn ask_for(sys: &mut System, change: Change) {
    match &change {
        Change::Follow(host, port) => remember(sys, Some((host.clone(), *port))),
        Change::Stand => {
            let (host, port) = replica::NOBODY;
            remember(sys, Some((host.to_owned(), port)));
        }
        Change::Lead => remember(sys, None),
        Change::TakeOver(..) | Change::Abort => {}
    }
    sys.repl.change = Some(change);
}

/// This leader is followed from now on, or none.
fn remember(sys: &mut System, leader: Option<(String, u16)>) {
    sys.host.0.reached(match leader {
        Some(_) => Milestone::Follows,
        None => Milestone::Leads,
    });
    sys.cfg.remember_leader(leader);
}

/// Plays another part, if somebody has asked for that.
#[cold]
pub(crate) fn change(state: &mut State) {
    let Some(change) = state.sys.repl.change.take() else {
        return;
    };
    match change {
        Change::Follow(host, port) => replica::follow(state, &host, port),
        Change::Lead => replica::lead(state),
        Change::Stand => replica::stand(state),
        Change::Abort => drop(failover::abort(state, "Failover manually aborted")),
        Change::TakeOver(sid, offset) => {
            tracing::info!(
                "Failover request received for replid {}.",
                state.sys.repl.id
            );
            replica::lead(state);
            let former = state.sys.repl.former.clone();
            let State { sys, sessions, .. } = state;
            let id = former.map(|(id, _)| id).unwrap_or_default();
            let joined = leader::join(sys, sessions, sid, Some((id.as_bytes(), offset)));
            if let (Ok(leader::Joined::Partly(text)), Some(session)) =
                (joined, sessions.get_mut(sid))
            {
                session.outbox.simple(&text);
            }
        }
    }
    let System { cfg, host, .. } = &mut state.sys;
    host.0.part_changed(cfg.config());
}

/// The history goes on under another name, or another one begins. Where acknowledged writes are to outlast their leader the
/// name tells the [order](History). Only whoever is made the leader begins a new `term`: who has merely been started again may have
/// lost what belongs to that.
fn rename(sys: &mut System, term: u64) -> String {
    let System { repl, rng, cfg, .. } = sys;
    let next = History::of(&repl.id).next(term);
    let is_ordered = cfg.sync_replicas > 0 || next.term > 0 || next.part > 1;
    let id = match is_ordered {
        true => next.name(rng),
        false => rng.hex_id_string(),
    };
    std::mem::replace(&mut repl.id, id)
}

/// The history goes on under a name that nobody has heard of, and goes back to none: whoever comes back begins anew.
pub fn forget_names(sys: &mut System) {
    rename(sys, 0);
    sys.repl.former = None;
    sys.persist.unsettle();
    tracing::info!("Changing replication IDs after receiving change-repl-id");
}

/// Somebody speaks for a term: whether this instance knows of no later one. From now on it obeys nobody who speaks for an earlier
/// one.
pub fn hear_of_term(sys: &mut System, term: u64) -> bool {
    if term < sys.repl.term {
        return false;
    }
    sys.repl.term = term;
    sys.cfg.remember_term(term);
    true
}

/// Somebody consumes effects, or nobody does any more; whoever reads them next has selected no database.
pub(crate) fn want_effects(state: &mut State) {
    let wanted = state.sys.persist.logging.is_some() || state.sys.repl.leads();
    state.fx.set_wanted(wanted);
}

/// As [`want_effects`], for a stream that may just have begun. If it goes on, so does whoever reads it.
pub(super) fn want_for_stream(state: &mut State) {
    // What was selected for the log is selected in no stream that has nothing in it.
    let begins = state.sys.repl.leads() && state.sys.repl.db.is_none();
    if begins || !state.fx.is_on() {
        want_effects(state);
    }
}

/// A parameter may have changed.
pub(super) fn configure(sys: &mut System) {
    let keep = usize::try_from(sys.cfg.repl_backlog_size).unwrap_or(usize::MAX);
    if let Some(stream) = &mut sys.repl.stream
        && stream.keep() != keep
    {
        stream.set_keep(keep);
        if sys.repl.replicas.is_empty() {
            feed::trim(sys, None);
        }
        // Otherwise it is done when the stream goes on: then it is known what they need.
    }
    if sys.repl.is_replica() {
        // Whoever drives the link sleeps for as long as it was told that a leader may be silent.
        sys.actions.push(Action::Follow);
    }
}

/// Keys expire by themselves only on a leader, and not while CLIENT PAUSE lasts.
pub(super) fn apply_expiry(ks: &mut Keyspace, sys: &System) {
    ks.expiry_paused = sys.pause.is_on() || sys.repl.is_replica();
}

/// A data set was loaded that is at this position of a history: replicas of that, and its leader, can be gone on with.
pub fn restored(state: &mut State, position: Position) {
    let repl = &mut state.sys.repl;
    let Position { id, offset, db } = position;
    repl.offset = offset;
    if repl.is_replica() {
        repl.id = id;
        repl.db = db;
    } else {
        // This instance's own goes on from it.
        repl.id.clone_from(&id);
        repl.former = Some((id, offset + 1));
        rename(&mut state.sys, 0);
        let repl = &state.sys.repl;
        tracing::info!(
            "Setting secondary replication ID to the one of the data set, valid up to offset: {offset}. New replication \
             ID is {}",
            repl.id
        );
    }
    feed::keep_stream(state);
    // Nobody waits for what was there before.
    state.sys.unconfirmed.gate().confirm(offset);
}

/// Does what is due.
pub(crate) fn tick(state: &mut State) {
    leader::tick(state);
    failover::tick(state);
}

/// When [`tick`] has something to do next, in unix milliseconds.
#[inline]
pub(crate) fn next_tick(sys: &System) -> Option<i64> {
    Earliest::NEVER
        .or(leader::next_tick(sys))
        .or(failover::next_tick(sys))
        .get()
}
