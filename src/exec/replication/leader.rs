//! The leader's side: how replicas join, what they get, and how far they are.
//!
//! A replica that asks for a part of the stream which is still there gets that and is online at once. Any other waits
//! for a snapshot: it begins where no unit of work is half done, is sent to all who wait, and what happens meanwhile
//! follows it. All replicas read the same [`Stream`]; each has a place in it, and its connection takes the next piece
//! when its peer has taken the last one.

use super::want_effects;
use crate::exec::persist::save::{self, Purpose};
use crate::exec::{
    Action, CmdError, Session, SessionId, Sessions, State, System, admit, output, unconfirmed,
};
use crate::keyspace::Keyspace;
use crate::replication::Stream;
use crate::resp::{ReplyBuf, encode_command};

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
    /// The offset of the next byte of the stream that it is to be sent; 0 as long as it gets none.
    cursor: u64,
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
    untaken: usize,
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
    fn phase_mut(&mut self) -> Option<&mut Phase> {
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

/// The bytes between which a snapshot of unknown length stands.
pub const MARK: usize = 40;

/// How often it is looked for replicas that are silent, and those that wait hear of us, in milliseconds.
const LOOK_EVERY: i64 = 1000;

/// Bytes of the stream that a connection takes at once.
const PIECE: usize = 256 * 1024;

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
    sys.repl.replicas.insert(sid);
    sys.repl.alone_since = None;
    let ping = i64::from(sys.cfg.repl_ping_replica_period) * 1000;
    sys.repl.ping_at.get_or_insert(now + ping);
    sys.repl.look_at.get_or_insert(now + LOOK_EVERY);
    if let Some((id, offset)) = from {
        if let Some(offset) = holds(sys, id, offset, &whom) {
            if let Some(replica) = sessions.get_mut(sid).and_then(|s| s.replica.as_mut()) {
                replica.phase = Phase::Online;
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

/// When the snapshot for who has just begun to wait is to begin.
fn schedule(sys: &mut System, sessions: &Sessions, marked: bool) {
    let now = sys.now_us / 1000;
    let diskless = sys.cfg.repl_diskless_sync && marked;
    let delay = i64::from(sys.cfg.repl_diskless_sync_delay) * 1000;
    let most = sys.cfg.repl_diskless_sync_max_replicas as usize;
    let enough = most > 0 && waiting(sys, sessions).len() >= most;
    let at = match diskless && delay > 0 && !enough {
        true => {
            tracing::info!("Delay next BGSAVE for diskless SYNC");
            *sys.repl.sync_at.get_or_insert(now + delay)
        }
        false => now,
    };
    sys.repl.sync_at = Some(at);
    sys.persist.unsettle();
}

/// Replicas that wait for a snapshot.
fn waiting(sys: &System, sessions: &Sessions) -> Vec<SessionId> {
    let waits = |sid: &SessionId| {
        let replica = sessions.get(*sid).and_then(|s| s.replica.as_ref());
        replica.is_some_and(|replica| replica.phase == Phase::Waiting)
    };
    sys.repl.replicas.iter().copied().filter(waits).collect()
}

/// A snapshot that is written to the disk for another replica serves this one as well: nothing of it was sent yet.
fn join_running(sys: &mut System, sessions: &mut Sessions, sid: SessionId) -> bool {
    let Some(saving) = &sys.persist.saving else {
        return false;
    };
    let (save, on_disk) = (saving.id(), saving.purpose == Purpose::SyncFile);
    if !on_disk || saving.cancelled {
        return false;
    }
    let cursor = sys.repl.replicas.iter().find_map(|other| {
        let replica = sessions.get(*other)?.replica.as_ref()?;
        let shares = matches!(replica.phase, Phase::Syncing { save: its, .. } if its == save);
        shares.then_some(replica.cursor)
    });
    let Some(cursor) = cursor else {
        return false;
    };
    tracing::info!("Waiting for end of BGSAVE for SYNC");
    begin_syncing(sys, sessions, sid, cursor, preparing(save, None));
    true
}

const fn preparing(save: u64, whole: Option<Vec<u8>>) -> Phase {
    Phase::Syncing {
        save,
        whole,
        told: Told::Nothing,
    }
}

/// A replica is going to be sent a snapshot, and then the stream from `cursor` on.
fn begin_syncing(
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    cursor: u64,
    phase: Phase,
) {
    let told = format!("+FULLRESYNC {} {}\r\n", sys.repl.id, cursor - 1);
    if let Some(session) = sessions.get_mut(sid)
        && let Some(replica) = &mut session.replica
    {
        replica.phase = phase;
        replica.cursor = cursor;
        if !replica.old {
            session.outbox.raw(told.as_bytes());
            sys.actions.push(Action::Wake(sid));
        }
    }
    sessions.recount(sid);
}

/// From now on there is a stream, of a history that nobody else has.
fn begin_history(sys: &mut System) {
    if !sys.repl.is_replica() {
        // What happened before nobody can be sent: whoever has it does not belong to this history.
        sys.repl.id = sys.rng.hex_id_string();
        sys.repl.former = None;
    }
    sys.repl.stream = Some(new_stream(sys));
    sys.persist.unsettle();
    tracing::info!(
        "Replication backlog created, my new replication IDs are '{}' and '{}'",
        sys.repl.id,
        "0".repeat(40)
    );
}

fn new_stream(sys: &System) -> Stream {
    let keep = usize::try_from(sys.cfg.repl_backlog_size).unwrap_or(usize::MAX);
    Stream::new(keep, sys.repl.offset)
}

/// There is a stream from now on, whether or not anybody follows it.
pub(in crate::exec) fn begin_stream(state: &mut State) {
    if state.sys.repl.stream.is_none() && !state.sys.repl.is_replica() {
        begin_history(&mut state.sys);
        want_effects(state);
    }
}

/// The stream is kept from now on, in the history that there is.
pub(crate) fn keep_stream(state: &mut State) {
    let sys = &mut state.sys;
    let goes_on = sys.repl.stream.as_ref();
    if goes_on.is_none_or(|stream| stream.end() != sys.repl.offset) {
        sys.repl.stream = Some(new_stream(sys));
    }
    if sys.repl.replicas.is_empty() {
        sys.repl.alone_since = Some(sys.now_us / 1000);
    }
    want_effects(state);
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
                String::from_utf8_lossy(id.get(..id.len().min(MARK)).unwrap_or_default()),
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

/// The stream goes on. Whoever follows it is woken.
pub(crate) fn feed(sys: &mut System, sessions: &mut Sessions, bytes: &[u8], db: Option<usize>) {
    let repl = &mut sys.repl;
    repl.offset += bytes.len() as u64;
    repl.db = db;
    repl.ahead = (0, None);
    if let Some(stream) = &mut repl.stream {
        stream.push(bytes);
    }
    if repl.replicas.is_empty() {
        return trim(sys, None);
    }
    repl.marks.note(repl.offset, sys.now_us / 1000);
    spread(sys, sessions);
}

/// Tells the replicas that there is more.
fn spread(sys: &mut System, sessions: &mut Sessions) {
    let replicas = std::mem::take(&mut sys.repl.replicas);
    let mut slowest = None::<u64>;
    for &sid in &replicas {
        let Some(session) = sessions.get_mut(sid).filter(|s| !s.closing) else {
            continue;
        };
        let Some(replica) = session.replica.as_mut().filter(|r| r.cursor > 0) else {
            continue;
        };
        replica.waiting = usize::try_from(sys.repl.offset + 1 - replica.cursor).unwrap_or(0);
        let (online, cursor) = (replica.phase == Phase::Online, replica.cursor);
        if output::may_wait(sys, session, sid, 0) {
            slowest = Some(slowest.map_or(cursor, |least| least.min(cursor)));
            if online && !session.woken {
                session.woken = true;
                sys.actions.push(Action::Wake(sid));
            }
        }
    }
    sys.repl.replicas = replicas;
    trim(sys, slowest);
}

/// Forgets what of the stream nobody needs: all before `needed`, and what the backlog has no room for.
pub(super) fn trim(sys: &mut System, needed: Option<u64>) {
    if let Some(stream) = &mut sys.repl.stream {
        stream.trim(needed.unwrap_or(stream.end() + 1));
    }
}

/// Gives a replica the next piece of the stream; whether there is more.
pub(crate) fn pull(sys: &mut System, session: &mut Session, out: &mut ReplyBuf) -> bool {
    let Some(replica) = session.replica.as_mut() else {
        return false;
    };
    if replica.phase != Phase::Online || session.closing {
        return false;
    }
    let Some(stream) = &sys.repl.stream else {
        return false;
    };
    let sent = stream.read(replica.cursor, PIECE, &mut |piece: &[u8]| out.raw(piece));
    replica.cursor += sent as u64;
    replica.waiting = usize::try_from(stream.end() + 1 - replica.cursor).unwrap_or(0);
    replica.waiting > 0
}

/// Begins a snapshot for those who wait for one, once it is time and nothing is in the way. To be called where no unit of
/// work is half done, and everything that was done is in the stream.
pub(crate) fn begin_sync(state: &mut State) {
    let State {
        ks, sys, sessions, ..
    } = state;
    if sys.repl.sync_at.is_none_or(|at| at > sys.now_us / 1000)
        || sys.persist.saving.is_some()
        || sys.persist.loading.is_some()
    {
        return;
    }
    sys.repl.sync_at = None;
    let waiting = waiting(sys, sessions);
    if waiting.is_empty() {
        return;
    }
    let replicas = || {
        let all = waiting.iter().filter_map(|sid| sessions.get(*sid));
        all.filter_map(|session| session.replica.as_ref())
    };
    // Who reads no snapshot of unknown length is served by a file, and so are all who wait with it.
    let marked = replicas().all(|r| r.reads_marked);
    let only_functions = replicas().all(|r| r.only_functions);
    let has_disk = sys.persist.lasting && !only_functions;
    let from_disk = has_disk && (!sys.cfg.repl_diskless_sync || !marked);
    let purpose = match from_disk {
        true => Purpose::SyncFile,
        false => Purpose::Sync { only_functions },
    };
    let mut start = Vec::new();
    let Ok(save) = save::begin_save(ks, sys, purpose, &mut start) else {
        return;
    };
    tell_of_begun(sys, from_disk);
    let (cursor, mark) = (sys.repl.offset + 1, mark(sys));
    for sid in waiting {
        let whole = (!marked && !from_disk).then(Vec::new);
        begin_syncing(sys, sessions, sid, cursor, preparing(save, whole));
        if let Some(session) = sessions.get_mut(sid)
            && let Some(Phase::Syncing { told, .. }) = session.phase_mut()
            && marked
            && !from_disk
        {
            *told = Told::Mark;
            session.outbox.raw(format!("$EOF:{mark}\r\n").as_bytes());
            sessions.recount(sid);
            sys.actions.push(Action::Wake(sid));
        }
    }
    sys.actions.push(Action::Save { id: save, start });
    if sys.repl.leads() {
        // Who reads behind the snapshot has selected nothing.
        want_effects(state);
    }
}

fn tell_of_begun(sys: &System, from_disk: bool) {
    let pid = sys.host.0.process().unwrap_or(0);
    // Tools look for these words.
    if from_disk {
        tracing::info!("Starting BGSAVE for SYNC with target: disk");
        tracing::info!("Background saving started by pid {pid}");
    } else {
        tracing::info!("Starting BGSAVE for SYNC with target: replicas sockets");
        tracing::info!("Background RDB transfer started by pid {pid}");
    }
}

/// What a snapshot stands between: of this instance, so that it cannot be what the data says.
fn mark(sys: &System) -> String {
    sys.run_id.get(..MARK).unwrap_or_default().to_owned()
}

/// Those who are sent this snapshot.
fn receivers(sys: &System, sessions: &Sessions, save: u64) -> Vec<SessionId> {
    let gets = |sid: &SessionId| {
        let session = sessions.get(*sid).filter(|s| !s.closing);
        let replica = session.and_then(|s| s.replica.as_ref());
        replica.is_some_and(|r| matches!(r.phase, Phase::Syncing { save: its, .. } if its == save))
    };
    sys.repl.replicas.iter().copied().filter(gets).collect()
}

/// The snapshot is on the disk, in a file of so many bytes: it is going to be sent.
pub fn send_length(state: &mut State, save: u64, bytes: u64) {
    for sid in receivers(&state.sys, &state.sessions, save) {
        let session = state.sessions.get_mut(sid);
        if let Some(Phase::Syncing { told, .. }) = session.and_then(Session::phase_mut) {
            *told = Told::Length;
        }
    }
    let head = format!("${bytes}\r\n");
    let _ = send_piece(state, save, head.as_bytes());
}

/// A piece of a snapshot goes to those who get it. Gives how much waits for the slowest of them; none if there is nobody.
pub fn send_piece(state: &mut State, save: u64, bytes: &[u8]) -> Option<usize> {
    let State { sys, sessions, .. } = state;
    let mut most = None;
    for sid in receivers(sys, sessions, save) {
        let Some(session) = sessions.get_mut(sid) else {
            continue;
        };
        let Some(replica) = session.replica.as_mut() else {
            continue;
        };
        let waiting = match &mut replica.phase {
            Phase::Syncing {
                whole: Some(whole), ..
            } => {
                whole.extend_from_slice(bytes);
                0
            }
            _ => {
                session.outbox.raw(bytes);
                if !bytes.is_empty() {
                    sys.actions.push(Action::Wake(sid));
                }
                session.outbox.len() + session.peer.unsent.get()
            }
        };
        // Who takes something is not silent.
        let before = std::mem::replace(&mut replica.untaken, waiting);
        if waiting == 0 || waiting < before + bytes.len() {
            replica.heard = sys.now_us / 1000;
        }
        most = most.max(Some(waiting));
        sessions.recount(sid);
    }
    most
}

/// The snapshot has ended, or was given up: those who have it follow the stream, others are parted with.
pub fn end_sync(
    ks: &Keyspace,
    sys: &mut System,
    sessions: &mut Sessions,
    save: u64,
    done: Option<Ending>,
) {
    let mark = mark(sys);
    let receivers = receivers(sys, sessions, save);
    if done == Some(Ending::Marked) {
        // Tools look for these words.
        tracing::info!(
            "Diskless rdb transfer, done reading from pipe, {} replicas still up.",
            receivers.len()
        );
    }
    for sid in receivers {
        let Some(session) = sessions.get_mut(sid) else {
            continue;
        };
        let Some(sent) = done else {
            tracing::warn!("The snapshot for replica {} was given up", name(session));
            admit::expel(sys, sessions, ks, sid);
            continue;
        };
        let Some(replica) = session.replica.as_mut() else {
            continue;
        };
        let next = match sent {
            Ending::Marked => Phase::Sent,
            Ending::Measured => Phase::Online,
        };
        let whole = match std::mem::replace(&mut replica.phase, next) {
            Phase::Syncing { whole, .. } => whole,
            _ => None,
        };
        replica.heard = sys.now_us / 1000;
        let over = replica.only_snapshot;
        match whole {
            Some(whole) => {
                replica.phase = Phase::Online;
                let head = format!("${}\r\n", whole.len());
                session.outbox.raw(head.as_bytes());
                session.outbox.raw(&whole);
            }
            None if sent == Ending::Marked => session.outbox.raw(mark.as_bytes()),
            None => {}
        }
        let whom = name(session);
        if over {
            session.closing = true;
            sys.actions.push(Action::Close(sid));
        }
        sys.actions.push(Action::Wake(sid));
        sessions.recount(sid);
        unconfirmed::joined(sys);
        tracing::info!("Synchronization with replica {whom} succeeded");
    }
    if sys.repl.sync_at.is_none() && !waiting(sys, sessions).is_empty() {
        sys.repl.sync_at = Some(sys.now_us / 1000);
    }
    if sys.repl.sync_at.is_some() {
        sys.persist.unsettle();
    }
}

/// How a snapshot was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a mark at its end.
    Marked,
    /// With its length in front.
    Measured,
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
        sys.repl.ping_at = None;
        sys.repl.look_at = None;
        sys.repl.marks.clear();
        trim(sys, None);
    }
}

/// A replica is gone: what only it needed of the stream goes, and a snapshot that was for nobody else.
pub(crate) fn look_at_parted(state: &mut State) {
    if std::mem::take(&mut state.sys.repl.parted) {
        spread(&mut state.sys, &mut state.sessions);
        give_up_deserted(state);
    }
}

/// Gives up a snapshot that nobody is to get any more. It is written on if the data set is to be saved anyway.
fn give_up_deserted(state: &mut State) {
    let State {
        ks, sys, sessions, ..
    } = state;
    let Some(save) = sys.repl.deserted.take() else {
        return;
    };
    let saving = sys.persist.saving.as_ref().filter(|s| s.id() == save);
    let Some(purpose) = saving.map(|saving| saving.purpose) else {
        return;
    };
    if !receivers(sys, sessions, save).is_empty() {
        return;
    }
    match purpose {
        Purpose::SyncFile if !sys.cfg.save.is_empty() => return,
        Purpose::Sync { .. } => {
            // Tools look for these words.
            tracing::info!("Diskless rdb transfer, last replica dropped, killing fork child.");
        }
        _ => {}
    }
    save::give_up_running(ks, sys);
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

/// Does what is due.
pub(super) fn tick(state: &mut State) {
    let State { sys, sessions, .. } = state;
    let now = sys.now_us / 1000;
    if sys.repl.ping_at.is_some_and(|at| at <= now) {
        let period = i64::from(sys.cfg.repl_ping_replica_period) * 1000;
        sys.repl.ping_at = Some(now + period);
        // A replica hands on what its own leader says; and who is stopped on purpose is to stay at one place.
        if sys.repl.leads() && sys.repl.failover.is_none() {
            say(sys, sessions, &[b"PING"]);
        }
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
        sys.repl.id = sys.rng.hex_id_string();
        sys.repl.former = None;
        want_effects(state);
    }
}

/// Puts a command into the stream that changes nothing.
pub(crate) fn say(sys: &mut System, sessions: &mut Sessions, words: &[&[u8]]) {
    let mut said = Vec::new();
    encode_command(&mut said, words);
    let db = sys.repl.db;
    // Effects that have not been handed over follow it.
    let ahead = sys.repl.ahead;
    feed(sys, sessions, &said, db);
    sys.repl.ahead = ahead;
}

/// Those who wait for a snapshot hear that they are not forgotten.
fn keep_alive(sys: &mut System, sessions: &mut Sessions) {
    for sid in sys.repl.replicas.clone() {
        if let Some(session) = sessions.get_mut(sid)
            && let Some(
                Phase::Waiting
                | Phase::Syncing {
                    told: Told::Nothing,
                    ..
                },
            ) = session.phase_mut()
        {
            session.outbox.raw(b"\n");
            sys.actions.push(Action::Wake(sid));
            sessions.recount(sid);
        }
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

/// When the backlog is given up, since nobody comes back.
fn freed_at(sys: &System) -> Option<i64> {
    let ttl = i64::try_from(sys.cfg.repl_backlog_ttl.saturating_mul(1000)).unwrap_or(i64::MAX);
    // A replica may become a leader, and needs it then; and what is to be confirmed has to be in it.
    let may = ttl > 0 && sys.repl.leads() && !sys.unconfirmed.is_on();
    let since = sys.repl.alone_since.filter(|_| may);
    since.map(|since| since.saturating_add(ttl))
}

/// When [`tick`] has something to do next.
pub(super) fn next_tick(sys: &System) -> Option<i64> {
    // What is due and waits for something else is looked at when that has ended.
    let sync = sys.repl.sync_at.filter(|_| sys.persist.saving.is_none());
    [sys.repl.ping_at, sys.repl.look_at, sync, freed_at(sys)]
        .into_iter()
        .flatten()
        .min()
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
    if replica.phase == Phase::Sent {
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

/// Asks the replicas how far they are, behind what was done so far.
pub(crate) fn ask(sys: &mut System) {
    sys.repl.asks = !sys.repl.replicas.is_empty() && sys.repl.leads();
}

/// The effects of the batch are in the stream: puts the question behind them, if there is one.
#[cold]
pub(crate) fn say_question(sys: &mut System, sessions: &mut Sessions) {
    sys.repl.asks = false;
    say(sys, sessions, &[b"REPLCONF", b"GETACK", b"*"]);
}

/// A replica has shown a sign of life.
pub(crate) fn heard(sys: &System, session: &mut Session) {
    if let Some(replica) = &mut session.replica {
        replica.heard = sys.now_us / 1000;
    }
}

/// A replica has sent something that is answered: the answer would stand in the stream, so it gets none and is parted with.
#[cold]
pub(crate) fn refuse_to_answer(
    sys: &mut System,
    session: &mut Session,
    sid: SessionId,
    command: &str,
    answer: &[u8],
) {
    // Tools look for these words.
    if let Some(error) = answer.strip_prefix(b"-") {
        tracing::warn!(
            "== CRITICAL == This master is sending an error to its replica: '{}' after processing the command \
             '{command}'",
            String::from_utf8_lossy(error.trim_ascii_end())
        );
    }
    tracing::warn!(
        "Replica generated a reply to command '{command}', disconnecting it: id={} addr={}",
        session.id,
        session.peer.addr
    );
    output::part_with(sys, session, sid);
}
