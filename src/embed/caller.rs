//! What clients inside of the process have in common: how commands are run, and how replies are told from messages.
//!
//! Nothing here waits. Whoever calls waits for the [`Bell`] in his own way, and then has it go on.

use std::collections::VecDeque;
use std::iter;
use std::sync::{Arc, mpsc};

use smallvec::SmallVec;

use super::CallError;
use super::bell::Bell;
use super::message::{Message, is_push};
use super::node::{LockError, Node, Posted};
use crate::engine::Outcome;
use crate::exec::busy::BusyRequest;
use crate::exec::output::Unsent;
use crate::exec::session::{Peer, Session};
use crate::exec::ticket::Ticket;
use crate::exec::{Args, Argv, SessionId};
use crate::resp::{Proto, ReplyBuf, Value, parse_reply, reply_len};
use crate::util::waiting::{Confirmed, Reached};

/// Commands run in one hold of the lock.
const COMMANDS_PER_HOLD: usize = 256;

/// Nor more than these bytes of replies.
const REPLY_PER_HOLD: usize = 256 * 1024;

/// The buffer for replies stays up to this size.
const KEEP: usize = 16 * 1024;

/// What comes of a command.
pub(super) type Reply = Result<Value, CallError>;

/// A client's session, and what it has received.
pub(super) struct Caller {
    node: Node,
    sid: SessionId,
    bell: Arc<Bell>,
    /// What was received last, until it is sorted.
    received: ReplyBuf,
    /// Replies that are to come, in order.
    due: VecDeque<Due>,
    /// What came without being asked for, with its size in bytes.
    messages: VecDeque<(Value, usize)>,
    /// Bytes of those. Whoever never fetches them is cut off in the end, as is a connection that does not read.
    held: usize,
    unsent: Unsent,
    /// Requests that a busy script has not answered yet.
    posted: usize,
    /// The command waits for a key.
    blocked: bool,
    /// What must be reached before replies are given, and where in `received` those begin that wait for it.
    unconfirmed: Vec<(usize, Ticket)>,
    closed: bool,
}

/// Arguments, for which there is room without asking for memory if they are not many.
type Words<W> = SmallVec<[W; 6]>;

/// Puts arguments one behind the other.
#[inline]
fn words<W>(args: impl IntoIterator<Item = W>) -> Words<W> {
    let mut words = Words::new();
    for arg in args {
        words.push(arg);
    }
    words
}

/// Where in `received` a reply begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Here.
    At(usize),
    /// It is the first value from here on that answers something: the command had to wait, if for a moment only.
    From(usize),
}

impl Caller {
    /// Connects to a node. A busy script is waited for if it does not see to that itself.
    pub(super) fn connect(node: &Node) -> Result<Self, CallError> {
        let unsent = node.unsent();
        let peer = Peer {
            addr: "in-process:0".into(),
            laddr: "in-process:0".into(),
            fd: -1,
            local: true,
            trusted: true,
            unsent: unsent.clone(),
            ..Peer::default()
        };
        let sid = join(node, &peer)?;
        let bell = Arc::new(Bell::of(node));
        node.set_waker(sid, Arc::clone(&bell) as _);
        Ok(Self {
            node: node.clone(),
            sid,
            bell,
            received: ReplyBuf::new(Proto::Resp2),
            due: VecDeque::new(),
            messages: VecDeque::new(),
            held: 0,
            unsent,
            posted: 0,
            blocked: false,
            unconfirmed: Vec::new(),
            closed: false,
        })
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether replies are still to come.
    pub(super) fn is_waiting(&self) -> bool {
        !self.due.is_empty()
    }

    /// Runs one command; its reply comes from [`go_on`](Self::go_on).
    pub(super) fn ask<I>(&mut self, args: I) -> Result<(), CallError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let args = words(args);
        let args = words(args.iter().map(AsRef::as_ref));
        match args.is_empty() {
            true => Err(CallError::Empty),
            false => self.run(iter::once(&args[..])).map(drop),
        }
    }

    /// Runs commands under one hold of the lock, at least one and as many as one hold should take; returns how many. Their
    /// replies come from [`go_on`](Self::go_on).
    pub(super) fn run<'a>(
        &mut self,
        commands: impl Iterator<Item = &'a [&'a [u8]]>,
    ) -> Result<usize, CallError> {
        if self.closed {
            return Err(CallError::Closed);
        }
        let mut commands = commands.take(COMMANDS_PER_HOLD).peekable();
        loop {
            let (ran, outcome) = match self.node.lock() {
                Ok(mut engine) => {
                    let out = &mut self.received;
                    if self.posted > 0 {
                        let flow =
                            take_served(&self.bell, &mut self.posted, &mut self.unconfirmed, out);
                        self.closed |= flow.closed;
                    }
                    if let Some(session) = engine.state().sessions.get(self.sid) {
                        out.set_proto(session.proto);
                        if session.has_output() {
                            engine.take_output(self.sid, out);
                        }
                    }
                    let (mut ran, mut outcome) = (0, Outcome::Done);
                    for args in commands {
                        let before = out.len();
                        outcome = engine.run(self.sid, Args::new(args), out);
                        ran += 1;
                        let replied = out.len() > before;
                        self.due.push_back(match replied {
                            true => Due::At(before),
                            false => Due::From(before),
                        });
                        if outcome != Outcome::Done || !replied || out.len() >= REPLY_PER_HOLD {
                            break;
                        }
                    }
                    let session = engine.state().sessions.get(self.sid);
                    if outcome != Outcome::Cut && session.is_some_and(Session::has_output) {
                        engine.take_output(self.sid, out);
                    }
                    let ticket = engine.release();
                    self.unconfirmed.extend(ticket.map(|ticket| (0, ticket)));
                    (ran, outcome)
                }
                Err(why) => {
                    let (LockError::Busy, Some(args)) = (why, commands.peek()) else {
                        return Err(CallError::Stopped);
                    };
                    let argv = args.iter().map(|arg| arg.to_vec()).collect();
                    if !post(&self.node, self.sid, &self.bell, vec![argv]) {
                        continue;
                    }
                    self.posted += 1;
                    self.due.push_back(Due::From(self.received.len()));
                    return Ok(1);
                }
            };
            self.enter(outcome);
            return Ok(ran);
        }
    }

    /// The reply of the only command that ran, if it is there, and nothing else: so it nearly always is.
    #[inline]
    pub(super) fn only_reply(&mut self) -> Option<Value> {
        let is_alone = self.due.len() == 1 && self.due.front() == Some(&Due::At(0));
        if !is_alone || !self.unconfirmed.is_empty() || self.received.capacity() > KEEP {
            return None;
        }
        let (value, used) = parse_reply(self.received.as_slice()).ok()??;
        if used < self.received.len() {
            return None;
        }
        self.due.clear();
        self.received.clear();
        Some(value)
    }

    /// Gives the replies that are there; whether none is to come any more. If one is, the bell will ring.
    pub(super) fn go_on(&mut self, mut give: impl FnMut(Reply)) -> bool {
        let mut rung = false;
        while !self.due.is_empty() {
            let sorted = match self.confirm() {
                Ok(true) => self.sort(&mut give),
                Ok(false) => return false,
                Err(error) => Err(error),
            };
            let waits = self.blocked || self.posted > 0;
            let missing = match sorted {
                Ok(()) if self.due.is_empty() => return true,
                Ok(()) if self.closed => CallError::Closed,
                Ok(()) if !waits => CallError::Unreadable("the command answers nothing".into()),
                Ok(()) if rung && self.node.is_stopped() => CallError::Stopped,
                Ok(()) if rung => return false,
                Ok(()) => {
                    rung = true;
                    match self.receive() {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.due.drain(..).for_each(|_| give(Err(missing.clone())));
        }
        true
    }

    /// The next message that is there. If none is, the bell will ring.
    pub(super) fn message(&mut self) -> Result<Option<Message>, CallError> {
        if self.messages.is_empty() && !self.closed && self.confirm()? {
            self.sort(&mut |_| {})?;
            self.receive()?;
            if self.confirm()? {
                self.sort(&mut |_| {})?;
            }
        }
        match self.messages.pop_front() {
            Some((value, bytes)) => {
                self.hold(self.held - bytes);
                Ok(Some(Message::from(value)))
            }
            None if self.closed => Err(CallError::Closed),
            None => Ok(None),
        }
    }

    /// Nobody waits any more for the replies that are due: a command that waits for a key is ended as if its time were over.
    pub(super) fn abandon(&mut self) {
        if self.blocked
            && let Ok(mut engine) = self.node.lock()
        {
            engine.unblock(self.sid);
        }
    }

    fn hold(&mut self, bytes: usize) {
        self.held = bytes;
        self.unsent.set(bytes);
    }

    /// Takes what came meanwhile. What came before is confirmed: otherwise there would never be a moment at which everything is.
    fn receive(&mut self) -> Result<(), CallError> {
        let node = self.node.clone();
        loop {
            let locked = node.lock();
            if self.posted > 0 {
                // With the lock held: answers are there before the lock is free.
                let (out, unconfirmed) = (&mut self.received, &mut self.unconfirmed);
                let flow = take_served(&self.bell, &mut self.posted, unconfirmed, out);
                self.closed |= flow.closed;
                self.blocked = flow.blocked.unwrap_or(self.blocked);
            }
            match locked {
                Ok(mut engine) => {
                    let outcome = engine.take_output(self.sid, &mut self.received);
                    let ticket = engine.release();
                    self.unconfirmed.extend(ticket.map(|ticket| (0, ticket)));
                    self.enter(outcome);
                }
                Err(LockError::Stopped) if self.received.is_empty() => {
                    return Err(CallError::Stopped);
                }
                Err(LockError::Stopped) => {}
                // Whatever there is must be asked for: nobody rings twice.
                Err(LockError::Busy) if self.posted == 0 => {
                    if !post(&node, self.sid, &self.bell, Vec::new()) {
                        continue;
                    }
                    self.posted = 1;
                }
                Err(LockError::Busy) => {}
            }
            return Ok(());
        }
    }

    /// Whether what was received may be looked at: what must be on the disk is there, and what replicas must have they
    /// have, or were waited for in vain. If not, the bell will ring.
    fn confirm(&mut self) -> Result<bool, CallError> {
        // From the back, so that positions stay right where errors take the place of replies.
        while let Some((from, ticket)) = self.unconfirmed.last() {
            let who: Arc<dyn Confirmed> = Arc::clone(&self.bell) as _;
            match ticket.reached_or_tell(&who) {
                Reached::Yes => {}
                Reached::Later => return Ok(false),
                Reached::TimedOut => {
                    let (from, ticket) = (*from, ticket.clone());
                    self.refuse(from, &ticket);
                }
                Reached::Lost => {
                    self.unconfirmed.clear();
                    self.received.clear();
                    self.closed = true;
                    return Err(CallError::Unconfirmed);
                }
            }
            self.unconfirmed.pop();
        }
        Ok(true)
    }

    /// Puts errors in the place of replies that have waited in vain. There are as many values as before.
    #[cold]
    fn refuse(&mut self, from: usize, ticket: &Ticket) {
        let mut received = self.received.take();
        let before = beginnings(&received);
        let refused = ticket.refuse(received.get(from..).unwrap_or_default());
        received.truncate(from);
        received.extend_from_slice(&refused);
        let after = beginnings(&received);
        for due in &mut self.due {
            if let Due::At(at) | Due::From(at) = due
                && let Ok(index) = before.binary_search(at)
                && let Some(now) = after.get(index)
            {
                *at = *now;
            }
        }
        self.received.swap(&mut received);
    }

    fn enter(&mut self, outcome: Outcome) {
        self.closed |= matches!(outcome, Outcome::Close | Outcome::Cut);
        self.blocked = outcome == Outcome::Blocked;
    }

    /// Sorts what was received into replies and messages.
    fn sort(&mut self, give: &mut impl FnMut(Reply)) -> Result<(), CallError> {
        let mut at = 0;
        let mut sorted = Ok(());
        while let Some(rest @ [_, ..]) = self.received.as_slice().get(at..) {
            let (value, used) = match parse_reply(rest) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                Err(error) => {
                    sorted = Err(error.into());
                    break;
                }
            };
            let is_reply = match self.due.front() {
                Some(Due::At(place)) => at == *place,
                Some(Due::From(place)) => at >= *place && !is_push(&value),
                None => false,
            };
            if is_reply {
                self.due.pop_front();
                give(Ok(value));
            } else {
                self.messages.push_back((value, used));
                self.hold(self.held + used);
            }
            at += used;
        }
        self.received.clear();
        if self.received.capacity() > KEEP {
            drop(self.received.take());
        }
        // What is to come is received into an empty buffer.
        self.due.iter_mut().for_each(|due| *due = Due::From(0));
        sorted
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.node.disconnect(self.sid);
    }
}

/// Posts requests to a busy script; whether there is one.
fn post(node: &Node, sid: SessionId, bell: &Arc<Bell>, requests: Vec<Argv>) -> bool {
    let bell = Arc::clone(bell);
    let request = BusyRequest::Run {
        sid,
        requests,
        done: Box::new(move |served| bell.serve(served)),
    };
    matches!(node.post(request), Posted::Yes)
}

/// Where values begin.
fn beginnings(bytes: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut found = vec![0];
    while let Some(len) = bytes.get(at..).and_then(reply_len) {
        at += len;
        found.push(at);
    }
    found
}

/// What the answers of a busy script say of their client.
#[derive(Default)]
struct Flow {
    closed: bool,
    blocked: Option<bool>,
}

/// Takes the answers to what was posted.
fn take_served(
    bell: &Bell,
    posted: &mut usize,
    unconfirmed: &mut Vec<(usize, Ticket)>,
    received: &mut ReplyBuf,
) -> Flow {
    let mut flow = Flow::default();
    for served in bell.served() {
        *posted = posted.saturating_sub(1);
        unconfirmed.extend(served.ticket.map(|ticket| (received.len(), ticket)));
        received.raw(&served.bytes);
        flow.closed |= served.closing;
        flow.blocked = Some(served.blocked);
    }
    flow
}

/// Makes a session, through the busy script if there is one.
fn join(node: &Node, peer: &Peer) -> Result<SessionId, CallError> {
    loop {
        match node.lock() {
            Ok(mut engine) => return Ok(engine.connect(peer.clone())),
            Err(LockError::Stopped) => return Err(CallError::Stopped),
            Err(LockError::Busy) => {}
        }
        let (sender, joined) = mpsc::channel();
        let request = BusyRequest::Connect {
            peer: peer.clone(),
            done: Box::new(move |joined| {
                // It is waited for until it comes or cannot come any more.
                let _ = sender.send(joined);
            }),
        };
        if let Posted::Yes = node.post(request) {
            return match joined.recv() {
                Ok(Ok((sid, _))) => Ok(sid),
                _ => Err(CallError::Stopped),
            };
        }
    }
}
