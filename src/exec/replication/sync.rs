//! A full synchronization: a snapshot for all who wait for one, sent as it is made or by way of a file.
//!
//! It begins where no unit of work is half done. What happens from there on stands in the stream, where each replica has
//! its place from the beginning, and follows when it has the whole snapshot.

use super::feed::spread;
use super::leader::{Phase, Replica, Told, name};
use super::want_effects;
use crate::exec::persist::save::{self, Purpose};
use crate::exec::{Action, Session, SessionId, Sessions, State, System, admit, unconfirmed};
use crate::keyspace::Keyspace;

/// The bytes between which a snapshot of unknown length stands.
pub const MARK: usize = 40;

/// When the snapshot for who has just begun to wait is to begin.
pub(super) fn schedule(sys: &mut System, sessions: &Sessions, marked: bool) {
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

fn replica_of(sessions: &Sessions, sid: SessionId) -> Option<&Replica> {
    sessions.get(sid)?.replica.as_deref()
}

/// Replicas that wait for a snapshot.
pub(super) fn waiting(sys: &System, sessions: &Sessions) -> Vec<SessionId> {
    let waits = |sid: &SessionId| {
        let replica = sessions.get(*sid).and_then(|s| s.replica.as_ref());
        replica.is_some_and(|replica| replica.phase == Phase::Waiting)
    };
    sys.repl.replicas.iter().copied().filter(waits).collect()
}

/// A snapshot that is written to the disk for another replica serves this one as well: nothing of it was sent yet.
pub(super) fn join_running(sys: &mut System, sessions: &mut Sessions, sid: SessionId) -> bool {
    let Some(saving) = &sys.persist.saving else {
        return false;
    };
    let (save, on_disk) = (saving.id(), saving.purpose == Purpose::SyncFile);
    if !on_disk || saving.cancelled {
        return false;
    }
    let wants_all = |replica: &Replica| !replica.only_functions;
    if !replica_of(sessions, sid).is_some_and(wants_all) {
        return false;
    }
    let others = receivers(sys, sessions, save);
    let cursor = others
        .first()
        .and_then(|other| replica_of(sessions, *other));
    let Some(cursor) = cursor.map(|other| other.cursor) else {
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
    let mut waiting = waiting(sys, sessions);
    let first = waiting.first().and_then(|sid| replica_of(sessions, *sid));
    let Some(only_functions) = first.map(|replica| replica.only_functions) else {
        return;
    };
    // Who wants something else has to wait for the next one.
    waiting.retain(|sid| {
        let replica = replica_of(sessions, *sid);
        replica.is_some_and(|replica| replica.only_functions == only_functions)
    });
    // Who reads no snapshot of unknown length is served by a file, and so are all who wait with it.
    let mut replicas = waiting.iter().filter_map(|sid| replica_of(sessions, *sid));
    let marked = replicas.all(|r| r.reads_marked);
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
    let cursor = sys.repl.offset + 1;
    // New each time: what is stored may hold any that was ever told.
    let mark = sys.rng.hex_id_string();
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
    sys.repl.mark = mark;
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

/// Those who are sent this snapshot.
pub(super) fn receivers(sys: &System, sessions: &Sessions, save: u64) -> Vec<SessionId> {
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
        // Who takes something is not silent, and neither is who has taken everything.
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
            Ending::Measured if !replica.only_snapshot => Phase::Online,
            Ending::Marked | Ending::Measured => Phase::Sent,
        };
        let whole = match std::mem::replace(&mut replica.phase, next) {
            Phase::Syncing { whole, .. } => whole,
            _ => None,
        };
        replica.heard = sys.now_us / 1000;
        match whole {
            Some(whole) => {
                if !replica.only_snapshot {
                    replica.phase = Phase::Online;
                }
                let head = format!("${}\r\n", whole.len());
                session.outbox.raw(head.as_bytes());
                session.outbox.raw(&whole);
            }
            None if sent == Ending::Marked => session.outbox.raw(sys.repl.mark.as_bytes()),
            None => {}
        }
        let whom = name(session);
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

/// How a snapshot was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a mark at its end.
    Marked,
    /// With its length in front.
    Measured,
}

/// Those who wait for a snapshot hear that they are not forgotten.
pub(super) fn keep_alive(sys: &mut System, sessions: &mut Sessions) {
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
