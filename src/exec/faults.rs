//! Faults on purpose, where commands run: see [`Rules`] for which strike.
//!
//! A rule strikes a command that would get past the gate, before it runs or is queued: what is refused anyway is refused.
//! So a command of a transaction is struck when it is queued, as by any other refusal, and not again by EXEC; what a script
//! calls is struck when it is called. A blocked command is struck when it comes; what is to become of its reply waits with
//! its client until it has one.
//!
//! Where a session has to do with a fault, that is its [`Doom`]. As long as there is any, every command takes the long way
//! through [`start`].

use std::collections::BTreeSet;
use std::sync::Arc;

use super::call::{self, Step};
use super::session::{Session, SessionId, Sessions};
use super::{Action, Args, CmdError, Entry, Origin, State, System, acl, pause};
use crate::resp::{Mark, ReplyBuf};
use crate::service::faults::{Call, Caller, End, Rules, Strike, Striking};
use crate::spec::flag;

/// What an error of a rule stands for that is one word only.
const TEXTS: &[(&str, CmdError)] = &[
    ("LOADING", CmdError::LOADING),
    ("READONLY", CmdError::READ_ONLY),
    ("OOM", CmdError::OUT_OF_MEMORY),
    ("MISCONF", super::persist::NOT_SAVED),
    ("MASTERDOWN", CmdError::MASTER_DOWN),
    ("NOREPLICAS", CmdError::FEW_REPLICAS),
];

/// The faults of an instance.
#[derive(Debug, Default)]
pub struct Faults {
    /// What goes wrong.
    pub rules: Arc<Rules>,
    /// Replies that are late: when they are due, in unix milliseconds, and whose.
    late: BTreeSet<(i64, SessionId)>,
}

impl Faults {
    /// What these rules say.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            late: BTreeSet::new(),
        }
    }

    /// Whether a command may meet a fault.
    #[inline]
    pub fn are_on(&self) -> bool {
        self.rules.concern_commands()
    }

    /// When the next late reply is due, in unix milliseconds.
    #[inline]
    pub fn next_due(&self) -> Option<i64> {
        self.late.first().map(|&(at, _)| at)
    }
}

/// What a fault makes of a session.
#[derive(Debug)]
pub enum Doom {
    /// The reply of the command that runs meets this.
    Pending {
        /// It is so many milliseconds late.
        delay: i64,
        /// Instead of it this happens.
        end: Option<End>,
    },
    /// A reply is late.
    Late {
        /// The reply.
        reply: Vec<u8>,
        /// When it is due, unix milliseconds.
        due: i64,
        /// What happens instead of it.
        end: Option<End>,
    },
    /// Nothing is heard of it any more, and it hears nothing.
    Deaf,
}

impl Doom {
    /// Whether nothing of the client's runs for now.
    pub fn holds(&self) -> bool {
        matches!(self, Doom::Late { .. } | Doom::Deaf)
    }
}

/// Starts a command of a client where there are faults.
#[cold]
pub(super) fn start(
    state: &mut State,
    sid: SessionId,
    args: Args<'_>,
    reply: &mut ReplyBuf,
    origin: Origin,
) -> Step {
    let mark = reply.mark();
    if state.sessions.get(sid).is_some_and(Session::is_held_up) {
        return Step::Settled;
    }
    if matches!(origin, Origin::Client | Origin::Resumed)
        && let Some((row, strike)) = struck(state, sid, args)
    {
        if let Striking::Fail(text) = &strike.what {
            call::refuse(state, sid, args, origin, error(text).into(), reply);
            delay(state, sid, &strike, mark, reply);
            return Step::Settled;
        }
        if let Some(session) = state.sessions.get_mut(sid) {
            session.last_cmd = &row.name;
            doom(&mut state.sys, session, &strike);
        }
        if matches!(strike.what, Striking::Before(_)) {
            conclude(&mut state.sys, &mut state.sessions, sid, mark, reply);
            return Step::Settled;
        }
    }
    let step = call::begin(state, sid, args, reply, origin);
    if matches!(step, Step::Settled) {
        conclude(&mut state.sys, &mut state.sessions, sid, mark, reply);
    }
    step
}

/// The error of a rule.
fn error(text: &str) -> CmdError {
    let known = TEXTS.iter().find(|(word, _)| *word == text);
    known.map_or_else(|| CmdError::new(text), |(_, error)| error.clone())
}

/// What strikes a command that would run now, if anything does.
fn struck(state: &State, sid: SessionId, args: Args<'_>) -> Option<(&'static Entry, Strike)> {
    let session = state.sessions.get(sid)?;
    // What was struck already has been resumed.
    if session.closing || session.doom.is_some() {
        return None;
    }
    let row = call::would_run(state, sid, args)?;
    // It comes again when the pause is over.
    if state.sys.pause.is_on() && pause::holds(state, sid, row, args) {
        return None;
    }
    let strike = strike(state, session, row, args, false);
    (strike != Strike::default()).then_some((row, strike))
}

fn strike(
    state: &State,
    session: &Session,
    row: &'static Entry,
    args: Args<'_>,
    by_script: bool,
) -> Strike {
    let keys = || {
        let keys = row.keys(&args.all()).unwrap_or_default();
        keys.iter().map(|key| args.at(key.pos as usize)).collect()
    };
    let call = Call {
        command: row.id,
        parent: row.parent,
        categories: row.categories,
        is_spared: row.flags.has(flag::PROTECTED),
        caller: Caller {
            id: session.id,
            name: &session.name,
            user: acl::name_of(&state.sys, session),
            addr: &session.peer.addr,
        },
        keys: &keys,
    };
    state.sys.faults.rules.strike(&call, by_script)
}

/// The error that a command meets which a script calls, if any.
#[cold]
pub(super) fn in_script(
    state: &State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
) -> Option<CmdError> {
    let session = state.sessions.get(sid)?;
    match strike(state, session, row, args, true).what {
        Striking::Fail(text) => Some(error(&text)),
        _ => None,
    }
}

/// Remembers with the client what its reply is to meet.
fn doom(sys: &mut System, session: &mut Session, strike: &Strike) {
    let ms = strike.delay.as_micros().div_ceil(1000);
    let delay = i64::try_from(ms).unwrap_or(i64::MAX);
    let end = match strike.what {
        Striking::Before(end) | Striking::After(end) => Some(end),
        Striking::Nothing | Striking::Fail(_) => None,
    };
    set(sys, session, Some(Doom::Pending { delay, end }));
}

/// A refusal may be late as well.
fn delay(state: &mut State, sid: SessionId, strike: &Strike, mark: Mark, reply: &mut ReplyBuf) {
    if strike.delay.is_zero() {
        return;
    }
    if let Some(session) = state.sessions.get_mut(sid) {
        doom(&mut state.sys, session, strike);
    }
    conclude(&mut state.sys, &mut state.sessions, sid, mark, reply);
}

fn set(sys: &System, session: &mut Session, doom: Option<Doom>) {
    let before = session.doom.is_some();
    if before != doom.is_some() {
        sys.faults.rules.concerns_session(!before);
    }
    session.doom = doom.map(Box::new);
}

/// A command of a client is over, and its reply stands behind `mark`: what is to become of that does.
#[cold]
pub(crate) fn conclude(
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    mark: Mark,
    reply: &mut ReplyBuf,
) {
    let Some(session) = sessions.get_mut(sid) else {
        return;
    };
    let Some(&Doom::Pending { delay, end }) = session.doom.as_deref() else {
        return;
    };
    if end.is_some() {
        reply.rollback(mark);
    }
    if delay == 0 {
        return come_true(sys, session, end);
    }
    let due = (sys.now_us / 1000).saturating_add(delay);
    let late = reply.since(mark).to_vec();
    reply.rollback(mark);
    sys.faults.late.insert((due, sid));
    let reply = late;
    set(sys, session, Some(Doom::Late { reply, due, end }));
}

/// The same of what waits in the outbox: a wait has ended.
#[inline]
pub(super) fn conclude_outbox(
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    mark: Mark,
) {
    if !sys.faults.are_on() {
        return;
    }
    let Some(session) = sessions.get_mut(sid) else {
        return;
    };
    let mut outbox = session.lend_outbox();
    conclude(sys, sessions, sid, mark, &mut outbox);
    if let Some(session) = sessions.get_mut(sid) {
        session.return_outbox(outbox);
    }
}

fn come_true(sys: &System, session: &mut Session, end: Option<End>) {
    match end {
        None => set(sys, session, None),
        Some(End::Hang) => set(sys, session, Some(Doom::Deaf)),
        Some(End::Drop) => {
            set(sys, session, None);
            session.closing = true;
        }
    }
}

/// A client is let in that nobody will hear.
pub(super) fn deafen(sys: &System, session: &mut Session) {
    set(sys, session, Some(Doom::Deaf));
}

/// A client is gone.
pub(super) fn forget(sys: &mut System, session: &mut Session, sid: SessionId) {
    if let Some(Doom::Late { due, .. }) = session.doom.as_deref() {
        sys.faults.late.remove(&(*due, sid));
    }
    set(sys, session, None);
}

/// Hands over the replies that are due.
pub fn tick(state: &mut State) {
    let State { sys, sessions, .. } = state;
    let now = sys.now_us / 1000;
    while let Some(&(at, sid)) = sys.faults.late.first()
        && at <= now
    {
        sys.faults.late.pop_first();
        let Some(session) = sessions.get_mut(sid) else {
            continue;
        };
        if let Some(Doom::Late { reply, end, .. }) = session.doom.as_deref_mut() {
            let (reply, end) = (std::mem::take(reply), *end);
            session.outbox.raw(&reply);
            come_true(sys, session, end);
            sys.actions.push(Action::Wake(sid));
            sessions.recount(sid);
        }
    }
}
