//! Replaying effects: what an append-only file says, or a leader, is done again.
//!
//! Whoever replays is a session of its own kind and no client: it is not listed or counted (but for the link to a
//! leader), nothing refuses it, it waits for nothing, and what it does is not logged again. Its commands take the way of
//! all commands from the handler on, and so do its transactions and scripts. Listeners to keyspace events, watchers and
//! those who wait hear of what it changes. Monitors, the slow log and the statistics of commands hear of what a leader
//! says, and not of what a file does.
//!
//! Nothing is over for it ([`Keyspace::begin_replay`](crate::keyspace::Keyspace::begin_replay)): the log goes on with
//! what was alive when it was written, and says itself what came to its end.

use super::call::{self, Pending, Step};
use super::session::{Peer, SessionId};
use super::txn::{Multi, Queued};
use super::{Args, CmdError, Entry, Origin, State};
use crate::resp::{Proto, ReplyBuf};
use crate::spec::{Group, Lookup, flag};

/// Room for replies, which nobody reads, is given back beyond this.
const ROOM: usize = 64 * 1024;

/// A log that is being replayed: what of it lasts from one entry to the next. Engines know of it until
/// [`Engine::end_replay`](crate::engine::Engine::end_replay).
#[derive(Debug)]
#[must_use = "the engine keeps a session for it until it is ended"]
pub struct Replay {
    pub(crate) sid: SessionId,
    pub(crate) reply: ReplyBuf,
}

/// An entry that cannot be replayed, so that what follows it cannot either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreplayable {
    /// There is no such command.
    #[error("Unknown command '{0}'")]
    Unknown(String),
    /// It has too few arguments, or too many.
    #[error("Wrong number of arguments for '{0}'")]
    Arity(String),
    /// It selects a database that there is not: what follows would get into another one.
    #[error("The log selects a database that is not there: only {0} are configured")]
    Database(usize),
}

impl Replay {
    /// Whoever replays comes into being.
    pub(crate) fn begin(state: &mut State) -> Replay {
        Replay {
            sid: state.sessions.replay(state.sys.now_us / 1000),
            reply: ReplyBuf::new(Proto::Resp2),
        }
    }

    /// The link to the leader has come to the stream, in which this database is selected.
    pub(crate) fn follow(state: &mut State, peer: Peer, db: usize) -> Replay {
        let State {
            ks, sys, sessions, ..
        } = state;
        let sid = sessions.follow(peer, sys.now_us / 1000);
        if db < ks.databases()
            && let Some(session) = sessions.get_mut(sid)
        {
            session.db = db;
        }
        Replay {
            sid,
            reply: ReplyBuf::new(Proto::Resp2),
        }
    }

    /// Whether a transaction has begun and not ended.
    pub(crate) fn is_in_transaction(&self, state: &State) -> bool {
        let session = state.sessions.get(self.sid);
        session.is_some_and(|session| session.multi.is_some())
    }
}

/// Starts an entry. Inside of a transaction it is queued, however much that is.
pub(crate) fn start(
    state: &mut State,
    sid: SessionId,
    args: Args<'_>,
    reply: &mut ReplyBuf,
) -> Result<Step, Unreplayable> {
    let row = call::find_logged(state, args).ok_or_else(|| unreplayable(state, args))?;
    let now = state.sys.now_us / 1000;
    let Some(session) = state.sessions.get_mut(sid).filter(|s| !s.closing) else {
        return Ok(Step::Settled);
    };
    session.last_cmd = &row.name;
    if let Some(multi) = &mut session.multi
        && !row.flags.has(flag::TXN)
    {
        multi.push(row, row.flags, args);
        return Ok(Step::Settled);
    }
    let db = session.db;
    state.ks.touch = true;
    state.ks.begin_replay(db, now);
    state.sys.current = Some(sid);
    Ok(run(state, sid, db, row, args, reply))
}

/// Runs a queued entry of a transaction, in the database that is selected by then.
pub(crate) fn queued(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
) -> Step {
    let session = state.sessions.get(sid).filter(|session| !session.closing);
    let Some(db) = session.map(|session| session.db) else {
        return Step::Settled;
    };
    state.ks.select(db);
    run(state, sid, db, row, args, reply)
}

fn run(
    state: &mut State,
    sid: SessionId,
    db: usize,
    row: &'static Entry,
    args: Args<'_>,
    reply: &mut ReplyBuf,
) -> Step {
    if !belongs(row) {
        let e = CmdError::new(format!("ERR '{}' has no place in a log", row.name));
        tell_failure(state, row, &e);
        return Step::Settled;
    }
    call::dispatch(state, sid, db, row, args, reply, Origin::Replay)
}

/// Whether a command may stand in a log. What is about a connection or the server itself is no effect, and a file must
/// not end the server or have it listen to somebody.
fn belongs(row: &Entry) -> bool {
    let effects = flag::WRITE.with(flag::MAY_REPLICATE);
    let own = flag::NOSCRIPT.with(flag::NO_AUTH).with(flag::ADMIN);
    !row.flags.has(own)
        || row.flags.has(effects)
        || matches!(row.row.group, Group::Scripting | Group::Transactions)
}

/// Takes the commands out of a transaction that is run: each is gone as soon as it has run.
pub(crate) fn take_queue(multi: &mut Multi) -> impl Iterator<Item = Queued> + use<> {
    std::mem::take(&mut multi.queue).into_iter()
}

/// Settles an entry. Nobody reads its reply.
pub(super) fn conclude(
    state: &mut State,
    pending: &Pending,
    args: Args<'_>,
    result: Result<(), CmdError>,
    reply: &mut ReplyBuf,
) {
    drop_reply(reply);
    call::settle(state, pending.row, args);
    let failed = result.is_err();
    if let Err(e) = result {
        tell_failure(state, pending.row, &e);
    }
    if state.sys.repl.is_replica() && state.sys.persist.loading.is_none() {
        call::account(state, pending, args, failed, reply.since(pending.mark));
    }
}

/// Forgets what was answered.
#[inline]
pub(crate) fn drop_reply(reply: &mut ReplyBuf) {
    reply.clear();
    if reply.capacity() > ROOM {
        drop(reply.take());
    }
}

/// An entry came to an error, as it cannot have where it was logged. It has changed nothing, and what follows is replayed
/// all the same, as Redis does.
#[cold]
fn tell_failure(state: &mut State, row: &Entry, e: &CmdError) {
    state.sys.stats.unexpected_errors += 1;
    if !e.is_counted() {
        state.sys.stats.error(e.code());
    }
    tracing::warn!(
        "== CRITICAL == What is replayed comes to an error: '{}' after processing the command '{}'",
        e.text(),
        row.name
    );
}

#[cold]
fn unreplayable(state: &State, args: Args<'_>) -> Unreplayable {
    match state.sys.registry.find_logged(args.at(0), args.get(1)) {
        Lookup::Found(row) => Unreplayable::Arity(row.name.to_string()),
        Lookup::Unknown | Lookup::UnknownSub(_) => {
            const SHOWN: usize = 128;
            Unreplayable::Unknown(super::error::shown(args.at(0), SHOWN).into_owned())
        }
    }
}
