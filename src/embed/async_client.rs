//! A client inside of the process, for asynchronous callers.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::CallError;
use super::caller::{Caller, Reply};
use super::message::Message;
use super::node::Node;
use super::pipeline::Pipeline;
use crate::resp::Value;

/// A [`Client`](super::Client) that waits without blocking its thread, on any runtime or none: all it needs is a waker.
///
/// Commands run on the calling thread, as those of a [`Client`](super::Client) do. What is waited for is what a command
/// waits for: a key, the disk (`appendfsync always`), replicas.
///
/// Every future may be dropped. A command that waits then ends as if its time were over; if it was over already, what it
/// has done stays done.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let server = redkeep::Server::builder().start()?;
/// let (mut worker, mut boss) = (server.async_client()?, server.async_client()?);
/// let (job, len) = tokio::join!(
///     worker.call(["BLPOP", "jobs", "0"]),
///     boss.call(["RPUSH", "jobs", "sweep"]),
/// );
/// let job = job?.as_array().and_then(|words| words[1].as_bytes().map(<[u8]>::to_vec));
/// assert_eq!((job, len?), (Some(b"sweep".to_vec()), redkeep::Value::Int(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncClient {
    caller: Caller,
}

impl fmt::Debug for AsyncClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncClient")
            .field("closed", &self.caller.is_closed())
            .finish_non_exhaustive()
    }
}

impl AsyncClient {
    /// Connects to a node.
    ///
    /// # Errors
    /// When it has stopped.
    pub fn connect(node: &Node) -> Result<Self, CallError> {
        let caller = Caller::connect(node)?;
        Ok(Self { caller })
    }

    /// Runs a command and waits for its reply, as [`Client::call`](super::Client::call) does.
    ///
    /// # Errors
    /// When the server has stopped, or the connection is closed.
    pub async fn call<I>(&mut self, args: I) -> Result<Value, CallError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.part_with_past().await;
        self.caller.ask(args)?;
        if let Some(reply) = self.caller.only_reply() {
            return Ok(reply);
        }
        let mut reply = Err(CallError::Closed);
        Waiting(&mut self.caller)
            .until(|caller| caller.go_on(|value| reply = value))
            .await;
        reply
    }

    /// Runs commands one after the other, and gives what has come of each, as
    /// [`Client::pipeline`](super::Client::pipeline) does.
    pub async fn pipeline<P>(&mut self, commands: P) -> Vec<Result<Value, CallError>>
    where
        P: IntoIterator<Item: IntoIterator<Item: AsRef<[u8]>>>,
    {
        let mut pipeline = Pipeline::new(commands);
        self.part_with_past().await;
        Waiting(&mut self.caller)
            .until(|caller| pipeline.go_on(caller))
            .await;
        pipeline.into_replies()
    }

    /// The next thing that comes without being asked for, as from [`Client::next_message`](super::Client::next_message).
    ///
    /// # Errors
    /// When the server has stopped, or the connection is closed, and everything that came before was fetched.
    pub async fn next_message(&mut self) -> Result<Message, CallError> {
        let mut next = Ok(None);
        Waiting(&mut self.caller)
            .until(|caller| {
                next = caller.message();
                !matches!(next, Ok(None))
            })
            .await;
        next.and_then(|message| message.ok_or(CallError::Closed))
    }

    /// Waits for the reply of a command whose future was dropped.
    async fn part_with_past(&mut self) {
        if self.caller.is_waiting() {
            let past = Waiting(&mut self.caller);
            past.until(|caller| caller.go_on(|_: Reply| {})).await;
        }
    }
}

/// A caller that waits. If that is given up, so is what it waits for.
struct Waiting<'a>(&'a mut Caller);

impl Waiting<'_> {
    async fn until(mut self, mut done: impl FnMut(&mut Caller) -> bool) {
        poll_fn(|cx| self.poll(cx, &mut done)).await;
    }

    fn poll(&mut self, cx: &Context<'_>, done: &mut impl FnMut(&mut Caller) -> bool) -> Poll<()> {
        let mut woken = self.0.bell().busy();
        while !done(self.0) {
            drop(woken.take());
            ready!(self.0.bell().poll(cx));
            woken = self.0.bell().busy();
        }
        Poll::Ready(())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.bell().leave();
        if self.0.is_waiting() {
            self.0.abandon();
        }
    }
}
