//! A client inside of the process.

use std::fmt;
use std::sync::{Arc, mpsc};

use parking_lot::{Condvar, Mutex};

use super::node::{LockError, Node, Posted, Wake};
use crate::engine::Outcome;
use crate::exec::busy::{BusyRequest, Served};
use crate::exec::session::Peer;
use crate::exec::{Args, SessionId};
use crate::resp::{ParseError, Proto, ReplyBuf, Value, parse_reply};

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
    /// The connection is closed: by QUIT, CLIENT KILL or the like.
    #[error("the connection is closed")]
    Closed,
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
pub struct Client {
    node: Node,
    sid: SessionId,
    bell: Arc<Bell>,
    reply: ReplyBuf,
    /// Bytes of replies that were not asked for yet.
    rest: Vec<u8>,
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
        let peer = Peer {
            addr: "in-process:0".into(),
            laddr: "in-process:0".into(),
            fd: -1,
            local: true,
            trusted: true,
            ..Peer::default()
        };
        let sid = join(node, &peer)?;
        let bell = Arc::new(Bell::default());
        node.set_waker(sid, Arc::clone(&bell) as _);
        Ok(Self {
            node: node.clone(),
            sid,
            bell,
            reply: ReplyBuf::new(Proto::Resp2),
            rest: Vec::new(),
            closed: false,
        })
    }

    /// Runs a command and waits for its reply. An error reply is a [`Value::Error`].
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
        let mut waiting = self.send(&args)?;
        loop {
            if let Some(value) = self.next_reply()? {
                return Ok(value);
            }
            if self.closed {
                return Err(CallError::Closed);
            }
            if !waiting {
                return Err(CallError::Unreadable("the command answers nothing".into()));
            }
            self.bell.wait();
            waiting = self.receive()?;
        }
    }

    /// Runs a command; returns whether its reply is still to come.
    fn send(&mut self, args: &[&[u8]]) -> Result<bool, CallError> {
        loop {
            match self.node.lock() {
                Ok(mut engine) => {
                    if let Some(session) = engine.state().sessions.get(self.sid) {
                        self.reply.set_proto(session.proto);
                    }
                    let outcome = engine.execute(self.sid, Args::new(args), &mut self.reply);
                    drop(engine);
                    self.rest.extend_from_slice(self.reply.as_slice());
                    self.reply.clear();
                    self.closed = outcome == Outcome::Close;
                    return Ok(outcome == Outcome::Blocked);
                }
                Err(LockError::Stopped) => return Err(CallError::Stopped),
                Err(LockError::Busy) => {
                    let bell = Arc::clone(&self.bell);
                    let request = BusyRequest::Run {
                        sid: self.sid,
                        requests: vec![args.iter().map(|arg| arg.to_vec()).collect()],
                        done: Box::new(move |served| bell.serve(served)),
                    };
                    if let Posted::Yes = self.node.post(request) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Takes what came meanwhile; returns whether a reply is still to come.
    fn receive(&mut self) -> Result<bool, CallError> {
        let node = self.node.clone();
        let locked = node.lock();
        // Looked at with the lock held: an answer to what was posted is there before the lock is free.
        if let Some(served) = self.bell.served() {
            self.rest.extend_from_slice(&served.bytes);
            self.closed = served.closing;
            return Ok(served.blocked);
        }
        match locked {
            Ok(mut engine) => {
                let outcome = engine.take_output(self.sid, &mut self.rest);
                self.closed = outcome == Outcome::Close;
                Ok(outcome == Outcome::Blocked)
            }
            Err(LockError::Stopped) => Err(CallError::Stopped),
            Err(LockError::Busy) => Ok(true),
        }
    }

    /// The next reply that has arrived. Pushes answer no call and are passed over.
    fn next_reply(&mut self) -> Result<Option<Value>, CallError> {
        while let Some((value, used)) = parse_reply(&self.rest)? {
            self.rest.drain(..used);
            if !matches!(value, Value::Push(_)) {
                return Ok(Some(value));
            }
        }
        Ok(None)
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
            done: Box::new(move |sid| {
                // It is waited for until it comes or cannot come any more.
                let _ = sender.send(sid);
            }),
        };
        if let Posted::Yes = node.post(request) {
            return match joined.recv() {
                Ok(Ok(sid)) => Ok(sid),
                _ => Err(CallError::Stopped),
            };
        }
    }
}

/// What a waiting call is woken by.
#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
    condvar: Condvar,
}

#[derive(Default)]
struct Rung {
    news: bool,
    served: Option<Served>,
}

impl Bell {
    fn wait(&self) {
        let mut rung = self.rung.lock();
        while !rung.news {
            self.condvar.wait(&mut rung);
        }
        rung.news = false;
    }

    fn serve(&self, served: Served) {
        self.rung.lock().served = Some(served);
        self.wake();
    }

    fn served(&self) -> Option<Served> {
        self.rung.lock().served.take()
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.rung.lock().news = true;
        self.condvar.notify_one();
    }
}
