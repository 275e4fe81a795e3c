//! A client inside of the process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::message::{Message, is_push};
use super::node::{LockError, Node, Posted, Wake};
use crate::engine::Outcome;
use crate::exec::busy::{BusyRequest, Served};
use crate::exec::output::Unsent;
use crate::exec::session::Peer;
use crate::exec::ticket::Ticket;
use crate::exec::{Args, Argv, SessionId};
use crate::resp::{ParseError, Proto, ReplyBuf, Value, parse_reply};
use crate::util::clock::{Busy, ManualClock};
use crate::util::waiting::Reached;

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
    /// The connection is closed: by QUIT, CLIENT KILL or the like.
    #[error("the connection is closed")]
    Closed,
    /// The command was run, and it is not known whether what it did will outlast a crash: the append-only log cannot be
    /// written (`appendfsync always`). The connection is closed.
    #[error(
        "the append-only log cannot be written: whether the command will outlast a crash is unknown"
    )]
    Unconfirmed,
    /// Nothing was answered for so long, in the virtual time of a
    /// [`Simulation`](crate::embed::simulation::Simulation): the command waits for something, or the node is frozen.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// No argument was given: a command has at least its name.
    #[error("a command without a name")]
    Empty,
    /// The command wants no reply (CLIENT REPLY OFF), or answers in a form that is unknown here.
    #[error("no readable reply: {0}")]
    Unreadable(String),
}

impl From<LockError> for CallError {
    fn from(_: LockError) -> Self {
        Self::Stopped
    }
}

impl From<ParseError> for CallError {
    fn from(error: ParseError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// A client of a server in the same process: commands go through the pipeline that they take from a socket.
///
/// A call runs on the calling thread and may block it: blocking commands do, and so does a script of somebody else.
///
/// What the client gets without asking, such as messages of channels that it subscribed to, is kept in order for
/// [`next_message`](Self::next_message).
pub struct Client {
    node: Node,
    sid: SessionId,
    bell: Arc<Bell>,
    /// What was received last, until it is sorted.
    received: ReplyBuf,
    /// What came without being asked for, with its size in bytes.
    messages: VecDeque<(Value, usize)>,
    /// Bytes of those. Whoever never fetches them is cut off in the end, as is a connection that does not read.
    held: usize,
    unsent: Unsent,
    /// Requests that a busy script has not answered yet.
    posted: usize,
    /// The command waits for a key.
    blocked: bool,
    /// What must be reached before the answers of a busy script are given, and where those begin in `received`.
    unconfirmed: Vec<(usize, Ticket)>,
    closed: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a node.
    ///
    /// # Errors
    /// When it has stopped.
    pub fn connect(node: &Node) -> Result<Self, CallError> {
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
            messages: VecDeque::new(),
            held: 0,
            unsent,
            posted: 0,
            blocked: false,
            unconfirmed: Vec::new(),
            closed: false,
        })
    }

    /// Runs a command and waits for its reply. An error reply is a [`Value::Error`].
    ///
    /// Where a command has several replies (SUBSCRIBE with several channels), this is the first; the others come as
    /// messages.
    ///
    /// # Errors
    /// When the server has stopped, or the connection is closed.
    pub fn call<I>(&mut self, args: I) -> Result<Value, CallError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let args: Vec<I::Item> = args.into_iter().collect();
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        if args.is_empty() {
            return Err(CallError::Empty);
        }
        if self.closed {
            return Err(CallError::Closed);
        }
        let mut reply = self.send(&args)?;
        while reply.is_none() && (self.blocked || self.posted > 0) && !self.closed {
            self.bell.wait(None);
            let _busy = self.bell.busy();
            self.receive()?;
            reply = self.sort(|_, value| !is_push(value))?;
        }
        match reply {
            Some(reply) => Ok(reply),
            None if self.closed => Err(CallError::Closed),
            None => Err(CallError::Unreadable("the command answers nothing".into())),
        }
    }

    /// The next thing that comes without being asked for: what is published to a channel that this client subscribed
    /// to, say. Waits for it up to `timeout`, or for ever.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redkeep::embed::Message;
    ///
    /// let server = redkeep::Server::builder().start()?;
    /// let (mut reader, mut writer) = (server.client()?, server.client()?);
    /// reader.call(["SUBSCRIBE", "orders"])?;
    /// writer.call(["PUBLISH", "orders", "4711"])?;
    /// match reader.next_message(Some(Duration::from_secs(1)))? {
    ///     Some(Message::Published { channel, text, .. }) => {
    ///         assert_eq!((&channel[..], &text[..]), (&b"orders"[..], &b"4711"[..]));
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// assert_eq!(reader.next_message(Some(Duration::ZERO))?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the server has stopped, or the connection is closed, and everything that came before was fetched.
    pub fn next_message(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Option<Message>, CallError> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut in_time = true;
        let mut woken = None;
        while in_time {
            if let Some((value, bytes)) = self.messages.pop_front() {
                self.hold(self.held - bytes);
                return Ok(Some(Message::from(value)));
            }
            if self.closed {
                return Err(CallError::Closed);
            }
            self.receive()?;
            self.sort(|_, _| false)?;
            if self.messages.is_empty() && !self.closed {
                in_time = self.bell.wait(until);
            }
            woken = self.bell.busy();
        }
        drop(woken);
        Ok(None)
    }

    fn hold(&mut self, bytes: usize) {
        self.held = bytes;
        self.unsent.set(bytes);
    }

    /// Runs a command; returns its reply, if that is not still to come.
    fn send(&mut self, args: &[&[u8]]) -> Result<Option<Value>, CallError> {
        let node = self.node.clone();
        loop {
            match node.lock() {
                Ok(mut engine) => {
                    self.take_served();
                    let out = &mut self.received;
                    engine.take_output(self.sid, out);
                    if let Some(session) = engine.state().sessions.get(self.sid) {
                        out.set_proto(session.proto);
                    }
                    let before = out.len();
                    let outcome = engine.run(self.sid, Args::new(args), out);
                    let replied = out.len() > before;
                    if outcome != Outcome::Cut {
                        engine.take_output(self.sid, out);
                    }
                    let ticket = engine.release();
                    self.enter(outcome);
                    self.confirm(ticket)?;
                    return self.sort(|at, value| match replied {
                        true => at == before,
                        // It came as what others cause: the command had to wait for a moment.
                        false => at >= before && !is_push(value),
                    });
                }
                Err(LockError::Stopped) => return Err(CallError::Stopped),
                Err(LockError::Busy) => {
                    let argv = args.iter().map(|arg| arg.to_vec()).collect();
                    if self.post(vec![argv]) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Takes what came meanwhile.
    fn receive(&mut self) -> Result<(), CallError> {
        let node = self.node.clone();
        loop {
            let locked = node.lock();
            self.take_served();
            match locked {
                Ok(mut engine) => {
                    let outcome = engine.take_output(self.sid, &mut self.received);
                    let ticket = engine.release();
                    self.enter(outcome);
                    self.confirm(ticket)?;
                }
                Err(LockError::Stopped) if self.received.is_empty() => {
                    return Err(CallError::Stopped);
                }
                Err(LockError::Stopped) => {}
                Err(LockError::Busy) => {
                    // Whatever there is must be asked for: nobody rings twice.
                    if self.posted == 0 && !self.post(Vec::new()) {
                        continue;
                    }
                }
            }
            return self.confirm(None);
        }
    }

    /// Takes the answers to what was posted. With the lock held: they are there before the lock is free.
    fn take_served(&mut self) {
        for served in self.bell.served() {
            self.posted = self.posted.saturating_sub(1);
            if let Some(ticket) = served.ticket {
                self.unconfirmed.push((self.received.len(), ticket));
            }
            self.received.raw(&served.bytes);
            self.closed |= served.closing;
            self.blocked = served.blocked;
        }
    }

    /// Waits until what the client is about to see is on the disk and with the replicas, where that is asked for.
    fn confirm(&mut self, ticket: Option<Ticket>) -> Result<(), CallError> {
        // From the back, so that positions stay right where errors take the place of replies.
        let mut served = std::mem::take(&mut self.unconfirmed);
        served.extend(ticket.map(|ticket| (0, ticket)));
        for (from, ticket) in served.into_iter().rev() {
            match ticket.wait() {
                Reached::Yes | Reached::Later => {}
                Reached::TimedOut => {
                    let mut received = self.received.take();
                    let refused = ticket.refuse(received.get(from..).unwrap_or_default());
                    received.truncate(from);
                    received.extend_from_slice(&refused);
                    self.received.swap(&mut received);
                }
                Reached::Lost => {
                    self.received.clear();
                    self.closed = true;
                    return Err(CallError::Unconfirmed);
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, outcome: Outcome) {
        self.closed |= matches!(outcome, Outcome::Close | Outcome::Cut);
        self.blocked = outcome == Outcome::Blocked;
    }

    /// Posts requests to a busy script; whether there is one.
    fn post(&mut self, requests: Vec<Argv>) -> bool {
        let bell = Arc::clone(&self.bell);
        let request = BusyRequest::Run {
            sid: self.sid,
            requests,
            done: Box::new(move |served| bell.serve(served)),
        };
        let posted = matches!(self.node.post(request), Posted::Yes);
        self.posted += usize::from(posted);
        posted
    }

    /// Sorts what was received into messages and the reply, which is the first that `is_reply` says so of, given where
    /// it begins.
    fn sort(
        &mut self,
        is_reply: impl Fn(usize, &Value) -> bool,
    ) -> Result<Option<Value>, CallError> {
        /// The buffer stays up to this size.
        const KEEP: usize = 16 * 1024;
        let mut received = self.received.take();
        let mut reply = None;
        let mut at = 0;
        while let Some(rest @ [_, ..]) = received.get(at..) {
            let Some((value, used)) = parse_reply(rest)? else {
                break;
            };
            if reply.is_none() && is_reply(at, &value) {
                reply = Some(value);
            } else {
                self.messages.push_back((value, used));
                self.hold(self.held + used);
            }
            at += used;
        }
        if received.capacity() <= KEEP {
            received.clear();
            self.received.swap(&mut received);
        }
        Ok(reply)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.node.disconnect(self.sid);
    }
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

/// What a waiting call is woken by.
struct Bell {
    rung: Mutex<Rung>,
    condvar: Condvar,
    clock: Option<ManualClock>,
}

#[derive(Default)]
struct Rung {
    news: bool,
    /// Somebody waits for news.
    waits: bool,
    /// Whoever moves the clock waits until the client has seen what there is.
    busy: Option<Busy>,
    served: Vec<Served>,
}

impl Bell {
    fn of(node: &Node) -> Self {
        Self {
            rung: Mutex::default(),
            condvar: Condvar::new(),
            clock: node.clock().cloned(),
        }
    }

    /// Waits for news, up to a moment or for ever; whether there is some.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut rung = self.rung.lock();
        rung.waits = true;
        while !rung.news {
            match until {
                None => self.condvar.wait(&mut rung),
                Some(until) if self.condvar.wait_until(&mut rung, until).timed_out() => break,
                Some(_) => {}
            }
        }
        rung.waits = false;
        std::mem::take(&mut rung.news)
    }

    /// The client has been woken, and is at work as long as it keeps this.
    fn busy(&self) -> Option<Busy> {
        self.rung.lock().busy.take()
    }

    fn serve(&self, served: Served) {
        self.rung.lock().served.push(served);
        self.wake();
    }

    fn served(&self) -> Vec<Served> {
        std::mem::take(&mut self.rung.lock().served)
    }
}

impl Wake for Bell {
    fn wake(&self) {
        {
            let mut rung = self.rung.lock();
            if rung.waits && !rung.news {
                rung.busy = self.clock.as_ref().map(ManualClock::busy);
            }
            rung.news = true;
        }
        self.condvar.notify_one();
    }
}
