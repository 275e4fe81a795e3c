//! The stream of effects: how it is kept, how replicas get at it, and what a leader says in it of its own.
//!
//! All replicas read the same [`Stream`]. Each has a place in it, and its connection takes the next piece when its peer
//! has taken the last one.

use super::leader::{self, Phase};
use super::want_effects;
use crate::exec::persist::log;
use crate::exec::{Action, Session, Sessions, State, System, output, unconfirmed};
use crate::replication::Stream;
use crate::resp::{ReplyBuf, encode_command};

/// Bytes of the stream that a connection takes at once.
pub(super) const PIECE: usize = 256 * 1024;

/// From now on there is a stream, of a history that nobody else has.
pub(super) fn begin_history(sys: &mut System) {
    if !sys.repl.is_replica() {
        // What happened before nobody can be sent: whoever has it does not belong to this history.
        super::rename(sys, 0);
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

pub(super) fn new_stream(sys: &System) -> Stream {
    let keep = usize::try_from(sys.cfg.repl_backlog_size).unwrap_or(usize::MAX);
    Stream::new(keep, sys.repl.offset)
}

/// There is a stream from now on, whether or not anybody follows it.
pub(in crate::exec) fn begin_stream(state: &mut State) {
    if state.sys.repl.stream.is_none() && !state.sys.repl.is_replica() {
        // What was collected for the log is no part of it.
        log::hand_over(state);
        begin_history(&mut state.sys);
        want_effects(state);
    }
}

/// Another data set is to take the place of this leader's, of which no stream tells: a history begins that nobody shares, and
/// whoever follows has to ask for all of it.
pub(crate) fn begin_anew(state: &mut State) {
    if !state.sys.repl.leads() {
        return;
    }
    leader::part_with_all(state);
    begin_history(&mut state.sys);
    state.sys.repl.db = None;
    want_effects(state);
    unconfirmed::doubt(state);
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
pub(super) fn spread(sys: &mut System, sessions: &mut Sessions) {
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
    if replica.phase == Phase::Sent && replica.only_snapshot {
        // It goes when it has taken all of it.
        session.closing |= out.is_empty();
        return !session.closing;
    }
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

/// When the backlog is given up, since nobody comes back.
#[inline]
pub(super) fn freed_at(sys: &System) -> Option<i64> {
    let since = sys.repl.alone_since?;
    let ttl = i64::try_from(sys.cfg.repl_backlog_ttl.saturating_mul(1000)).unwrap_or(i64::MAX);
    // A replica may become a leader, and needs it then; and what is to be confirmed has to be in it.
    let may = ttl > 0 && sys.repl.leads() && !sys.unconfirmed.is_on();
    may.then(|| since.saturating_add(ttl))
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
