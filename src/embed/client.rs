//! A client inside of the process.

use std::fmt;
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::message::Message;
use super::node::{LockError, Node};
use super::pipeline::Pipeline;
use crate::resp::{ParseError, Value};

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
/// [`AsyncClient`](super::AsyncClient) waits without blocking.
///
/// What the client gets without asking, such as messages of channels that it subscribed to, is kept in order for
/// [`next_message`](Self::next_message).
pub struct Client {
    caller: Caller,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("closed", &self.caller.is_closed())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a node.
    ///
    /// # Errors
    /// When it has stopped.
    pub fn connect(node: &Node) -> Result<Self, CallError> {
        let caller = Caller::connect(node)?;
        Ok(Self { caller })
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
        self.caller.ask(args)?;
        if let Some(reply) = self.caller.only_reply() {
            return Ok(reply);
        }
        let mut reply = Err(CallError::Closed);
        self.until(|caller| caller.go_on(|value| reply = value));
        reply
    }

    /// Runs commands one after the other, and gives what has come of each: as [`call`](Self::call) does, but many under one
    /// hold of the engine's lock, which is faster. Between them others may have their turn, unless they are a transaction.
    ///
    /// ```
    /// let server = redkeep::Server::builder().start()?;
    /// let mut client = server.client()?;
    /// let replies = client.pipeline([&["SET", "n", "41"][..], &["INCR", "n"], &["NO-SUCH-COMMAND"]]);
    /// let replies = replies.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(replies[1], redkeep::Value::Int(42));
    /// assert!(matches!(replies[2], redkeep::Value::Error(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pipeline<P>(&mut self, commands: P) -> Vec<Result<Value, CallError>>
    where
        P: IntoIterator<Item: IntoIterator<Item: AsRef<[u8]>>>,
    {
        let mut pipeline = Pipeline::new(commands);
        self.until(|caller| pipeline.go_on(caller));
        pipeline.into_replies()
    }

    fn until(&mut self, mut done: impl FnMut(&mut Caller) -> bool) {
        let mut woken = None;
        while !done(&mut self.caller) {
            drop(woken.take());
            let bell = self.caller.bell();
            bell.wait(None);
            woken = bell.busy();
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
        let mut woken = None;
        loop {
            let message = self.caller.message()?;
            drop(woken.take());
            let bell = self.caller.bell();
            if message.is_some() || !bell.wait(until) {
                return Ok(message);
            }
            woken = bell.busy();
        }
    }
}
