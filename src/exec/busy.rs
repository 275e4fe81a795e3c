//! What other clients see while a script runs past its limit.
//!
//! The script holds the engine's lock and goes on holding it. Connections that cannot get the lock look at the
//! gate; while it is shut they post their requests here, and the script's hook serves them through the same
//! pipeline, whose gate answers BUSY to all but SCRIPT KILL and its like.
//!
//! The hook, between two instructions of the script: once the limit is passed, [`BusyGate::shut`]; from then on
//! [`serve`] for everything in [`BusyGate::take`]; at any time the script must end if [`BusyGate::is_stopped`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::admit::{self, Refusal, Terms};
use super::args::{Args, Argv};
use super::call::{self, Step};
use super::session::{Peer, SessionId};
use super::ticket::{self, Ticket};
use super::{Action, CmdError, Origin, RunningScript, State, System, output, unconfirmed};
use crate::resp::ReplyBuf;

/// The answer to [`BusyRequest::Connect`].
pub type Admission = Result<(SessionId, Terms), Refusal>;

/// What a connection wants while a script is busy.
pub enum BusyRequest {
    /// To run commands. Without any, to get what waits in the client's outbox.
    Run {
        /// Who asks.
        sid: SessionId,
        /// The commands, in order.
        requests: Vec<Argv>,
        /// Takes the replies.
        done: Box<dyn FnOnce(Served) + Send>,
    },
    /// To be let in.
    Connect {
        /// Who asks.
        peer: Peer,
        /// Takes the session, and what its connection has to keep to.
        done: Box<dyn FnOnce(Admission) + Send>,
    },
    /// To be forgotten.
    Disconnect(SessionId),
}

/// The answer to [`BusyRequest::Run`].
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Served {
    /// What to send.
    pub bytes: Vec<u8>,
    /// The connection ends after it.
    pub closing: bool,
    /// The client waits for a key.
    pub blocked: bool,
    /// The commands behind the one that it waits in: they are still to be run.
    pub unserved: Vec<Argv>,
    /// What must be reached before the replies are sent.
    pub ticket: Option<Ticket>,
}

impl std::fmt::Debug for BusyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run { sid, requests, .. } => f
                .debug_struct("Run")
                .field("sid", sid)
                .field("requests", &requests.len())
                .finish_non_exhaustive(),
            Self::Connect { peer, .. } => f
                .debug_struct("Connect")
                .field("peer", peer)
                .finish_non_exhaustive(),
            Self::Disconnect(sid) => f.debug_tuple("Disconnect").field(sid).finish(),
        }
    }
}

type Hook = Box<dyn Fn() + Send + Sync>;
type Waker = Box<dyn Fn(&[Action]) + Send + Sync>;

/// Shared by the engine and its connections.
#[derive(Default)]
pub struct BusyGate {
    shut: AtomicBool,
    stopped: AtomicBool,
    unwanted: AtomicBool,
    inbox: Mutex<Vec<BusyRequest>>,
    on_busy: Mutex<Option<Arc<Hook>>>,
    on_wake: Mutex<Option<Arc<Waker>>>,
}

impl std::fmt::Debug for BusyGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusyGate")
            .field("shut", &self.is_shut())
            .finish_non_exhaustive()
    }
}

impl BusyGate {
    /// Sets what is called once, on the script's thread, when a script goes past its limit: the server hands
    /// its worker thread over, so that other connections can be served.
    pub fn on_busy(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.on_busy.lock() = Some(Arc::new(Box::new(hook)));
    }

    /// Sets what wakes clients for whom a busy script has left something: they post a request for it.
    pub fn on_wake(&self, waker: impl Fn(&[Action]) + Send + Sync + 'static) {
        *self.on_wake.lock() = Some(Arc::new(Box::new(waker)));
    }

    /// Whether a script is past its limit.
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Posts a request; gives it back if the script ended meanwhile (take the lock then).
    pub fn post(&self, request: BusyRequest) -> Result<(), BusyRequest> {
        let mut inbox = self.inbox.lock();
        // Checked under the inbox's lock: `open` drains after opening, so that nothing is left behind.
        if !self.is_shut() {
            return Err(request);
        }
        inbox.push(request);
        Ok(())
    }

    /// A script went past its limit.
    pub fn shut(&self) {
        self.shut.store(true, Ordering::Release);
        let hook = self.on_busy.lock().clone();
        if let Some(hook) = hook {
            hook();
        }
    }

    /// The script ended; gives what was posted and not yet served.
    pub fn open(&self) -> Vec<BusyRequest> {
        let mut inbox = self.inbox.lock();
        self.shut.store(false, Ordering::Release);
        self.unwanted.store(false, Ordering::Release);
        std::mem::take(&mut *inbox)
    }

    /// Takes what was posted.
    pub fn take(&self) -> Vec<BusyRequest> {
        std::mem::take(&mut *self.inbox.lock())
    }

    /// The whole server stops: no script may go on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// The server is to end, and what runs past its limit keeps it from that: it ends if it has not written.
    pub fn give_up(&self) {
        self.unwanted.store(true, Ordering::Release);
    }

    /// Whether what runs is to end if it has not written.
    pub fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }

    /// Whether the whole server stops.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// Wakes the clients for whom there is something, although the unit of work is not over.
pub fn wake(state: &mut State) {
    let Some(waker) = state.sys.gate.on_wake.lock().clone() else {
        return;
    };
    let is_wake = |action: &Action| matches!(action, Action::Wake(_) | Action::Close(_));
    let actions = std::mem::take(&mut state.sys.actions).into_iter();
    let (wakes, rest) = actions.partition::<Vec<_>, _>(is_wake);
    state.sys.actions = rest;
    waker(&wakes);
}

const BUSY_SCRIPT: CmdError = CmdError::fixed(
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
);
const BUSY_FUNCTION: CmdError = CmdError::fixed(
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
);

/// What others get while this runs: it names the command that ends it.
pub fn error(running: &RunningScript) -> CmdError {
    if running.function.is_some() {
        BUSY_FUNCTION
    } else {
        BUSY_SCRIPT
    }
}

/// SCRIPT KILL, or FUNCTION KILL if `function`: ends what runs if it is that and has not written.
///
/// # Errors
/// Nothing runs, or it has written, or it is the other.
pub fn kill(sys: &mut System, function: bool) -> Result<(), CmdError> {
    match &mut sys.running {
        None => Err(CmdError::fixed(
            "NOTBUSY No scripts in execution right now.",
        )),
        Some(running) if running.replays => Err(CmdError::fixed(
            "UNKILLABLE The busy script is part of what is replicated or loaded, and cannot be ended.",
        )),
        Some(running) if running.wrote => Err(CmdError::fixed(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait \
             the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        )),
        Some(running) if running.function.is_some() != function => Err(error(running)),
        Some(running) => {
            running.killed = true;
            let kind = if function { "FUNCTION" } else { "SCRIPT" };
            tracing::info!("The script is ended by {kind} KILL.");
            Ok(())
        }
    }
}

/// Serves a posted request while the script is busy. The script's client, frozen time and database are as before
/// afterwards.
pub fn serve(state: &mut State, request: BusyRequest) {
    let (before, db, current) = (state.sys.reading(), state.ks.current(), state.sys.current);
    let replays = state.ks.replays();
    // The batch of whoever has run the script is not over.
    let batch = state.sys.unconfirmed.take_batch();
    state.sys.refresh_time();
    match request {
        BusyRequest::Run {
            sid,
            requests,
            done,
        } => done(run(state, sid, &requests)),
        BusyRequest::Connect { peer, done } => done(admit::admit_on_terms(state, peer)),
        BusyRequest::Disconnect(sid) => admit::forget(state, sid),
    }
    state.sys.unconfirmed.resume_batch(batch);
    // Replicas may have said how far they are.
    state.sys.unconfirmed.gate().wake();
    state.sys.set_time(before);
    state.sys.current = current;
    match replays {
        true => state.ks.begin_replay(db, before.now_us / 1000),
        false => state.ks.begin(db, before.now_us / 1000),
    }
}

fn run(state: &mut State, sid: SessionId, requests: &[Argv]) -> Served {
    let proto = state.sessions.get(sid).map(|s| s.proto).unwrap_or_default();
    let mut reply = ReplyBuf::new(proto);
    unconfirmed::hand_over(state, sid, &mut reply);
    for argv in requests {
        if state.sessions.get(sid).is_none_or(|s| s.closing) {
            break;
        }
        let args: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        if args.is_empty() {
            continue;
        }
        let step = call::start(state, sid, Args::new(&args), &mut reply, Origin::Client);
        debug_assert!(
            matches!(step, Step::Settled),
            "what is allowed while a script is busy neither waits nor runs scripts"
        );
    }
    answer(state, sid, reply)
}

/// The replies of a posted run, with what waited in the client's outbox.
pub(crate) fn answer(state: &mut State, sid: SessionId, mut reply: ReplyBuf) -> Served {
    unconfirmed::hand_over(state, sid, &mut reply);
    let ticket = ticket::of_output(state);
    let State { sys, sessions, .. } = state;
    let Some(session) = sessions.get_mut(sid) else {
        return Served {
            bytes: reply.take(),
            closing: true,
            blocked: false,
            unserved: Vec::new(),
            ticket: None,
        };
    };
    // The connection ends with the server, behind its sockets.
    let ends = sys.actions.contains(&Action::Shutdown);
    if !output::may_wait(sys, session, sid, reply.len()) {
        reply.clear();
    }
    Served {
        bytes: reply.take(),
        closing: session.closing && !ends,
        blocked: session.waits() || session.closing && ends,
        unserved: Vec::new(),
        ticket,
    }
}
