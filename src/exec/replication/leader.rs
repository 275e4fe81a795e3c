//! The leader's side: how replicas join, what they get, and how far they are.
//!
//! A replica that asks for a part of the stream which is still there gets that and is online at once. Any other waits
//! for a snapshot.

use super::feed::{begin_history, freed_at, say};
use super::sync::{join_running, keep_alive, schedule};
use super::{feed, want_effects};
use crate::exec::{
    Action, Args, CmdError, Session, SessionId, Sessions, State, System, admit, unconfirmed,
};
use crate::keyspace::Keyspace;
use crate::spec::Lookup;
use crate::util::earliest::Earliest;

/// Characters of an id that are shown.
const SHOWN: usize = 40;

/// How often it is looked whether replicas are silent, in milliseconds.
const LOOK_EVERY: i64 = 1000;

/// A replica, or who is about to become one.
#[derive(Debug, Clone, Default)]
pub struct Replica {
    /// How far it is.
    pub phase: Phase,
    /// The port that it listens on.
    pub port: u16,
    /// The address that it wants to be told by.
    pub address: String,
    /// Its version, if it says so.
    pub version: String,
    /// It reads a snapshot of unknown length.
    pub reads_marked: bool,
    /// It knows of second histories.
    pub knows_histories: bool,
    /// It wants a snapshot and nothing after it.
    pub only_snapshot: bool,
    /// It wants functions and no keys.
    pub only_functions: bool,
    /// It said SYNC and not PSYNC: it is not told where it is.
    pub old: bool,
    /// The command that made it a replica is being answered.
    joins: bool,
    /// The offset of the next byte of the stream that it is to be sent; 0 as long as it gets none.
    pub(super) cursor: u64,
    /// Bytes of the stream that wait for it.
    pub(in crate::exec) waiting: usize,
    /// The offset that it has come to, as it said last.
    pub acknowledged: u64,
    /// The offset up to which its own log is on its disk, as it said last.
    pub durable: u64,
    /// When it said something, in unix milliseconds.
    pub heard: i64,
    /// Since when it waits for a snapshot.
    since: i64,
    /// Bytes of a snapshot that it had not taken when it was last sent some.
    pub(super) untaken: usize,
}

/// How far a replica is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Phase {
    /// It tells of itself.
    #[default]
    Handshake,
    /// It waits for a snapshot.
    Waiting,
    /// It is sent one.
    Syncing {
        /// Which.
        save: u64,
        /// The whole of it, where it must be told the length first and there is no disk.
        whole: Option<Vec<u8>>,
        /// How much of that it has been told.
        told: Told,
    },
    /// It has all of it. The stream comes behind its first word: who reads to a mark would take more than that.
    Sent,
    /// It follows the stream.
    Online,
}

/// What a replica was told of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing: until then it hears that it is not forgotten.
    Nothing,
    /// That it comes, while it is made.
    Mark,
    /// How long it is.
    Length,
}

impl Session {
    /// How far it is as a replica, if it is one.
    pub(super) fn phase_mut(&mut self) -> Option<&mut Phase> {
        self.replica.as_mut().map(|replica| &mut replica.phase)
    }
}

impl Replica {
    /// How far it is, as INFO calls it.
    pub const fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Handshake => "handshake",
            Phase::Waiting => "wait_bgsave",
            Phase::Syncing {
                told: Told::Length, ..
            }
            | Phase::Sent => "send_bulk",
            // It is being made.
            Phase::Syncing { .. } => "wait_bgsave",
            Phase::Online => "online",
        }
    }

    /// Whether it is one, or about to be sent everything.
    pub fn is_fed(&self) -> bool {
        self.phase != Phase::Handshake
    }
}

/// What becomes of a client that asks for the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// It gets it already.
    Already,
    /// It gets what it lacks, behind this answer.
    Partly(String),
    /// It waits for a snapshot; the answer comes with that.
    Waits,
}

/// A client asks to be sent the stream: from this offset of this history on, if it says so.
///
/// # Errors
/// When it cannot be one now.
pub fn join(
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    from: Option<(&[u8], i64)>,
) -> Result<Joined, CmdError> {
    let now = sys.now_us / 1000;
    let Some(session) = sessions.get_mut(sid) else {
        return Ok(Joined::Already);
    };
    if sys.repl.replicas.contains(&sid) {
        return Ok(Joined::Already);
    }
    let replica = session.replica.get_or_insert_default();
    replica.old = from.is_none();
    replica.heard = now;
    replica.since = now;
    let (marked, knows_histories) = (replica.reads_marked, replica.knows_histories);
    let whom = name(session);
    tracing::info!("Replica {whom} asks for synchronization");
    if sys.repl.stream.is_none() {
        begin_history(sys);
    }
    if sys.repl.replicas.is_empty() {
        sys.repl.pinged = now;
    }
    sys.repl.replicas.insert(sid);
    sys.repl.alone_since = None;
    sys.repl.look_at.get_or_insert(now + LOOK_EVERY);
    if let Some((id, offset)) = from {
        if let Some(offset) = holds(sys, id, offset, &whom) {
            if let Some(replica) = sessions.get_mut(sid).and_then(|s| s.replica.as_mut()) {
                replica.phase = Phase::Online;
                replica.joins = true;
                replica.cursor = offset;
                replica.acknowledged = offset - 1;
            }
            sys.actions.push(Action::Wake(sid));
            unconfirmed::joined(sys);
            sys.repl.counts.partial += 1;
            let bytes = sys.repl.offset + 1 - offset;
            tracing::info!(
                "Partial resynchronization request from {whom} accepted. Sending {bytes} bytes of backlog starting \
                 from offset {offset}."
            );
            return Ok(Joined::Partly(match knows_histories {
                true => format!("CONTINUE {}", sys.repl.id),
                false => "CONTINUE".to_owned(),
            }));
        }
        if id != b"?" {
            sys.repl.counts.refused += 1;
        }
    }
    if let Some(replica) = sessions.get_mut(sid).and_then(|s| s.replica.as_mut()) {
        replica.phase = Phase::Waiting;
    }
    sys.repl.counts.full += 1;
    tracing::info!("Full resync requested by replica {whom}");
    if !join_running(sys, sessions, sid) {
        schedule(sys, sessions, marked);
    }
    Ok(Joined::Waits)
}

/// The offset that the stream can be sent from, if that is of our history and not gone.
fn holds(sys: &System, id: &[u8], offset: i64, whom: &str) -> Option<u64> {
    let ours = id.eq_ignore_ascii_case(sys.repl.id.as_bytes());
    let from = u64::try_from(offset).ok().filter(|from| *from > 0);
    let was = sys.repl.former.as_ref().is_some_and(|(former, until)| {
        let shared = from.is_some_and(|from| from <= *until);
        id.eq_ignore_ascii_case(former.as_bytes()) && shared
    });
    if !ours && !was {
        if id != b"?" {
            tracing::info!(
                "Partial resynchronization not accepted: Replication ID mismatch (Replica {whom} asked for '{}', my \
                 replication IDs are '{}' and '{}')",
                shown(id),
                sys.repl.id,
                sys.repl.former.as_ref().map_or("0", |(former, _)| former),
            );
        }
        return None;
    }
    let found = from.filter(|from| sys.repl.stream.as_ref().is_some_and(|s| s.holds(*from)));
    if found.is_none() {
        tracing::info!(
            "Unable to partial resync with replica {whom} for lack of backlog (Replica request was: {offset})."
        );
    }
    found
}

/// A client is gone that may have been a replica.
pub(crate) fn forget(sys: &mut System, session: &mut Session, sid: SessionId) {
    if !sys.repl.replicas.remove(&sid) {
        return;
    }
    tracing::info!("Connection with replica {} lost.", name(session));
    let phase = session.replica.take().map(|replica| replica.phase);
    if let Some(Phase::Syncing { save, .. }) = phase {
        sys.repl.deserted = Some(save);
    }
    sys.repl.parted = true;
    sys.persist.unsettle();
    if sys.repl.replicas.is_empty() {
        sys.repl.alone_since = Some(sys.now_us / 1000);
        sys.repl.look_at = None;
        sys.repl.marks.clear();
        feed::trim(sys, None);
    }
}

/// An id that may be none, for the log.
pub fn shown(id: &[u8]) -> String {
    let short = id.get(..SHOWN).unwrap_or(id);
    short.escape_ascii().to_string()
}

/// Whether the answer to a replica's command may go to it: that which made it one may, any other would be taken for a part
/// of the stream. Then it is parted with.
#[cold]
pub(crate) fn may_answer(
    ks: &Keyspace,
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    args: Args<'_>,
    answer: &[u8],
) -> bool {
    let Some(session) = sessions.get_mut(sid).filter(|session| !session.closing) else {
        return true;
    };
    let Some(replica) = &mut session.replica else {
        return true;
    };
    if std::mem::take(&mut replica.joins) {
        return true;
    }
    let command = match sys.registry.find(args.at(0), args.get(1)) {
        Lookup::Found(row) => row.name.to_string(),
        Lookup::Unknown | Lookup::UnknownSub(_) => "<unknown>".to_owned(),
    };
    let whom = name(session);
    // Tools look for these words.
    if let Some(error) = answer.strip_prefix(b"-") {
        let error = String::from_utf8_lossy(error.trim_ascii_end());
        tracing::warn!(
            "== CRITICAL == This master is sending an error to its replica: '{error}' after processing the command \
             '{command}'"
        );
    }
    tracing::warn!("Replica generated a reply to command '{command}', disconnecting it: {whom}");
    admit::expel(sys, sessions, ks, sid);
    false
}

/// Parts with all replicas: they are to ask anew.
pub(crate) fn part_with_all(state: &mut State) {
    let State {
        ks, sys, sessions, ..
    } = state;
    for sid in sys.repl.replicas.clone() {
        admit::expel(sys, sessions, ks, sid);
    }
}

/// How a replica is called in the log: by where it listens.
pub fn name(session: &Session) -> String {
    let (ip, port) = address(session);
    match port {
        0 => format!("{ip}:<unknown-replica-port>"),
        port => format!("{ip}:{port}"),
    }
}

/// Where a replica listens.
pub fn address(session: &Session) -> (String, u16) {
    let replica = session.replica.as_ref();
    let port = replica.map_or(0, |replica| replica.port);
    let told = replica.map(|replica| replica.address.as_str());
    if let Some(told) = told.filter(|told| !told.is_empty()) {
        return (told.to_owned(), port);
    }
    let ip = session.peer.addr.rsplit_once(':').map_or("", |(ip, _)| ip);
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    (ip.to_owned(), port)
}

/// When the replicas are to hear from us, whatever happens (`repl-ping-replica-period`).
#[inline]
fn ping_at(sys: &System) -> Option<i64> {
    if sys.repl.replicas.is_empty() {
        return None;
    }
    // A replica hands on what its own leader says; and who is stopped on purpose is to stay at one place.
    let stopped = sys.repl.failover.is_some() || sys.ending.is_some();
    let says = sys.repl.leads() && !stopped;
    let period = i64::from(sys.cfg.repl_ping_replica_period) * 1000;
    says.then(|| sys.repl.pinged.saturating_add(period))
}

/// Does what is due.
pub(super) fn tick(state: &mut State) {
    let State { sys, sessions, .. } = state;
    let now = sys.now_us / 1000;
    if ping_at(sys).is_some_and(|at| at <= now) {
        sys.repl.pinged = now;
        say(sys, sessions, &[b"PING"]);
    }
    if sys.repl.look_at.is_some_and(|at| at <= now) {
        sys.repl.look_at = Some(now + LOOK_EVERY);
        keep_alive(sys, sessions);
        part_with_silent(state, now);
    }
    let sys = &mut state.sys;
    if sys.repl.sync_at.is_some_and(|at| at <= now) && sys.persist.saving.is_none() {
        sys.persist.unsettle();
    }
    if freed_at(sys).is_some_and(|at| at <= now) {
        tracing::info!(
            "Replication backlog freed after {} seconds without connected replicas.",
            sys.cfg.repl_backlog_ttl
        );
        sys.repl.alone_since = None;
        sys.repl.stream = None;
        // Whoever comes back later has to be sent everything: this history is over.
        super::rename(sys, 0);
        sys.repl.former = None;
        want_effects(state);
    }
}

/// Replicas that have said nothing for too long.
fn part_with_silent(state: &mut State, now: i64) {
    let State {
        ks, sys, sessions, ..
    } = state;
    let timeout = i64::from(sys.cfg.repl_timeout) * 1000;
    for sid in sys.repl.replicas.clone() {
        let Some(session) = sessions.get(sid) else {
            continue;
        };
        let Some(replica) = &session.replica else {
            continue;
        };
        // Old ones never say anything.
        let silent = !replica.old && replica.is_fed() && now - replica.heard > timeout;
        if silent && replica.phase != Phase::Waiting {
            let how = match replica.phase {
                Phase::Online => "streaming sync",
                _ => "full sync",
            };
            tracing::warn!("Disconnecting timedout replica ({how}): {}", name(session));
            admit::expel(sys, sessions, ks, sid);
        }
    }
}

/// When [`tick`] has something to do next.
#[inline]
pub(super) fn next_tick(sys: &System) -> Option<i64> {
    // What is due and waits for something else is looked at when that has ended.
    let waits = sys.persist.saving.is_some() || sys.persist.loading.is_some();
    let sync = sys.repl.sync_at.filter(|_| !waits);
    Earliest::NEVER
        .or(ping_at(sys))
        .or(sys.repl.look_at)
        .or(sync)
        .or(freed_at(sys))
        .get()
}

/// A replica tells how far it is.
pub(crate) fn acknowledged(
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    offset: u64,
    durable: Option<u64>,
) {
    let Some(replica) = sessions.get_mut(sid).and_then(|s| s.replica.as_mut()) else {
        return;
    };
    replica.heard = sys.now_us / 1000;
    if replica.phase == Phase::Sent && !replica.only_snapshot {
        replica.phase = Phase::Online;
        sys.actions.push(Action::Wake(sid));
        unconfirmed::joined(sys);
    }
    if replica.phase != Phase::Online {
        return;
    }
    // Nobody has what was never sent.
    let offset = offset.min(replica.cursor.saturating_sub(1));
    replica.acknowledged = replica.acknowledged.max(offset);
    if let Some(durable) = durable {
        replica.durable = replica.durable.max(durable.min(replica.acknowledged));
    }
    let all = online(sys, sessions).map(|r| r.acknowledged).min();
    if let Some(all) = all {
        sys.repl.marks.reached(all);
    }
    unconfirmed::look(sys, sessions);
    sys.persist.look_at_waiting();
}

/// Replicas that follow the stream.
pub fn online<'a>(sys: &'a System, sessions: &'a Sessions) -> impl Iterator<Item = &'a Replica> {
    sys.repl.replicas.iter().filter_map(|sid| {
        let replica = sessions.get(*sid)?.replica.as_ref()?;
        (replica.phase == Phase::Online).then_some(&**replica)
    })
}

/// How many replicas have everything up to this offset, on the disk if `durable`.
pub fn count(sys: &System, sessions: &Sessions, offset: u64, durable: bool) -> usize {
    let reached = |replica: &&Replica| match durable {
        true => replica.durable >= offset,
        false => replica.acknowledged >= offset,
    };
    online(sys, sessions).filter(reached).count()
}

/// Replicas that are near enough to count (`min-replicas-max-lag`).
pub fn good(sys: &System, sessions: &Sessions) -> usize {
    let most = i64::from(sys.cfg.min_replicas_max_lag) * 1000;
    let now = sys.now_us / 1000;
    let is_near = |replica: &&Replica| now - replica.heard <= most;
    online(sys, sessions).filter(is_near).count()
}

/// Milliseconds that a replica is behind: since the oldest write that it has not acknowledged.
pub fn lag(sys: &System, replica: &Replica) -> i64 {
    match replica.acknowledged >= sys.repl.offset {
        true => 0,
        false => sys.repl.marks.lag(replica.acknowledged, sys.now_us / 1000),
    }
}

/// A replica has shown a sign of life.
pub(crate) fn heard(sys: &System, session: &mut Session) {
    if let Some(replica) = &mut session.replica {
        replica.heard = sys.now_us / 1000;
    }
}
