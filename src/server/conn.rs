//! One client's socket: read, decode, run a batch under the lock, write.
//!
//! A connection is one state machine, polled by the runtime. Read and reply buffers belong to the worker thread
//! and stay warm; a connection owns only what is left over: an unfinished request, and output that the peer has
//! not taken yet.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::buffers::{Queue, READ, REPLY_PER_HOLD, Worker};
use super::outgoing::Outgoing;
use super::runtime::{is_out_of_turn, put_off};
use super::seldom::Seldom;
use super::signal::{News, Signal};
use crate::embed::{LockError, Node, Posted};
use crate::engine::Outcome;
use crate::exec::admit::Terms;
use crate::exec::busy::{BusyRequest, Served};
use crate::exec::output::{Input, Unsent};
use crate::exec::ticket::Ticket;
use crate::exec::{Action, Args, Argv, SessionId};
use crate::keyspace::Touch;
use crate::resp::{Batch, Decoder, Limits, ReplyBuf, Room, encode_command};
use crate::service::stats::Stats;

/// Nothing more is run or read for a client that has left this much output untaken.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;

/// A client that waits for a key is read on, so that its leaving is seen, up to this much.
const MAX_READ_AHEAD: usize = 1024 * 1024;

/// How often, by the clock of the machine, it is looked whether a client is still there that is not read from while it
/// waits for a key.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Batches run in one poll before other connections get their turn.
const BATCHES_PER_POLL: usize = 4;

/// What the connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next request.
    Open,
    /// A key.
    Blocked,
    /// The answer of a busy script.
    Posted,
    /// Nothing but that its output is taken; then it ends.
    Closing,
}

/// What a client is connected by.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Small packets are put off, to be sent with others, or are not.
    fn gather(&self, on: bool);

    /// Whether the peer has said that nothing more follows, or is gone. What it has sent before need not have been read.
    fn is_read_closed(&self) -> bool;

    /// Says that nothing more follows, if it can be said at once, where closing does not say that.
    fn take_leave(&mut self, _: &mut Context<'_>) {}
}

impl Socket for TcpStream {
    fn gather(&self, on: bool) {
        // What is slower then is still right.
        let _ = self.set_nodelay(!on);
    }

    fn is_read_closed(&self) -> bool {
        says_closed(self.ready(Interest::READABLE))
    }
}

impl Socket for TlsStream<TcpStream> {
    fn gather(&self, on: bool) {
        self.get_ref().0.gather(on);
    }

    fn is_read_closed(&self) -> bool {
        self.get_ref().0.is_read_closed()
    }

    fn take_leave(&mut self, cx: &mut Context<'_>) {
        // Whoever does not take it sees the end of the connection.
        let _ = Pin::new(self).poll_shutdown(cx);
    }
}

#[cfg(unix)]
impl Socket for tokio::net::UnixStream {
    fn gather(&self, _: bool) {}

    fn is_read_closed(&self) -> bool {
        says_closed(self.ready(Interest::READABLE))
    }
}

/// What is known of a socket, without waiting for more.
fn says_closed(ready: impl Future<Output = io::Result<Ready>>) -> bool {
    match pin!(ready).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}

/// One client's connection.
pub(super) struct Conn<S> {
    io: S,
    node: Node,
    sid: SessionId,
    signal: Arc<Signal>,
    phase: Phase,
    limits: Limits,
    query_limit: usize,
    decoder: Decoder,
    /// Received and not yet run.
    input: Queue,
    /// Whether `input` may hold complete requests.
    backlog: bool,
    /// Bytes read that the session has not been told of.
    received: usize,
    /// Reads and writes that the statistics do not know of.
    calls: Calls,
    /// Answered and not yet taken by the peer.
    output: Outgoing,
    /// Tells the engine how much that is.
    unsent: Unsent,
    /// What it was told of `input`.
    told: Input,
    /// Its last batch woke others.
    woke_others: bool,
    /// The engine has more for it as soon as that is sent.
    more: bool,
    /// Small packets are put off.
    gathers: bool,
    /// When to look next whether the client is still there, while it is not read from.
    look: Option<Pin<Box<Sleep>>>,
    /// The batch just run ends other connections: they are gone before its replies are sent.
    closed_others: bool,
}

/// How often a socket was read from and written to.
#[derive(Default)]
struct Calls {
    reads: u64,
    writes: u64,
}

impl Calls {
    fn count(&mut self, stats: &mut Stats) {
        let Self { reads, writes } = std::mem::take(self);
        stats.reads += reads;
        stats.writes += writes;
    }
}

impl<S> Drop for Conn<S> {
    fn drop(&mut self) {
        if let Ok(mut engine) = self.node.lock() {
            self.calls.count(&mut engine.state().sys.stats);
        }
        self.node.disconnect(self.sid);
    }
}

/// How a batch ended.
enum Ran {
    /// Every request of it has run.
    All,
    /// The request at this index was the last to run.
    UpTo(usize),
    /// None has: a script is busy and will answer them.
    Posted,
    /// The connection is to end without another word.
    Stopped,
}

impl<S: Socket> Conn<S> {
    pub(super) fn new(io: S, node: Node, sid: SessionId, unsent: Unsent, terms: Terms) -> Self {
        let signal = Arc::new(Signal::default());
        node.set_waker(sid, Arc::clone(&signal) as _);
        let mut conn = Self {
            io,
            node,
            sid,
            signal,
            phase: Phase::Open,
            limits: Limits::default(),
            query_limit: 0,
            decoder: Decoder::new(),
            input: Queue::default(),
            backlog: false,
            received: 0,
            calls: Calls::default(),
            output: Outgoing::default(),
            unsent,
            told: Input::default(),
            woke_others: false,
            closed_others: false,
            more: false,
            gathers: false,
            look: None,
        };
        conn.keep_to(terms);
        conn
    }

    fn keep_to(&mut self, terms: Terms) {
        self.limits.unauthenticated = terms.unauthenticated;
        self.limits.max_bulk = terms.max_bulk;
        self.query_limit = terms.max_query;
    }

    /// Serves the client until either side ends the connection.
    pub(super) async fn serve(mut self) {
        poll_fn(|cx| {
            if is_out_of_turn() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut worker = Worker::borrow();
            let done = self.poll(cx, &mut worker);
            worker.give_back();
            if done.is_ready() {
                self.io.take_leave(cx);
            }
            done
        })
        .await;
    }

    /// Goes as far as it gets without waiting. Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> Poll<()> {
        self.signal.register(cx.waker());
        let mut more = false;
        for _ in 0..BATCHES_PER_POLL {
            if let Some(news) = self.signal.take() {
                if self.output.look().is_err() {
                    // Nobody can say whether what the client has asked for will outlast a crash: it gets no answer.
                    self.abandon();
                }
                self.collect(news, &mut worker.reply);
                if self.poll_reply(cx, worker).is_err() {
                    return Poll::Ready(());
                }
            }
            match self.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if self.phase == Phase::Closing => {
                    self.drain(cx, worker);
                    return Poll::Ready(());
                }
                _ => {}
            }
            if self.more && self.output.is_empty() && self.phase == Phase::Open {
                self.more = false;
                self.collect(News::OUTPUT, &mut worker.reply);
                if self.poll_reply(cx, worker).is_err() {
                    return Poll::Ready(());
                }
                continue;
            }
            if self.backlog && self.may_run() {
                self.run_input(worker);
            } else if self.may_read() {
                match ready!(self.poll_read(cx, worker)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(n) => {
                        more |= n == READ;
                        self.receive(n, worker);
                    }
                }
            } else {
                return self.poll_deserted(cx);
            }
            if self.poll_reply(cx, worker).is_err() {
                return Poll::Ready(());
            }
            if std::mem::take(&mut self.closed_others) {
                break;
            }
            if std::mem::take(&mut self.woke_others) && (more || self.backlog) {
                // They would pile up what this one has for them.
                break;
            }
        }
        // Others first, those included that have become ready meanwhile.
        put_off(cx);
        Poll::Pending
    }

    fn may_run(&self) -> bool {
        self.phase == Phase::Open && self.output.len() < MAX_OUTPUT && !self.output.stops()
    }

    fn may_read(&self) -> bool {
        match self.phase {
            // Otherwise there would never be a moment at which everything is confirmed.
            _ if self.output.stops() => false,
            Phase::Open => self.output.len() < MAX_OUTPUT,
            Phase::Blocked => self.input.len() < MAX_READ_AHEAD,
            Phase::Posted | Phase::Closing => false,
        }
    }

    /// Ready when a client is gone that waits for a key and has sent so much ahead that nothing more is read of it.
    fn poll_deserted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase != Phase::Blocked || self.output.stops() {
            return Poll::Pending;
        }
        while !self.io.is_read_closed() {
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK_EVERY)));
            ready!(look.as_mut().poll(cx));
            self.look = None;
        }
        Poll::Ready(())
    }

    /// Holds back what is to be sent next until that is reached which must be; whether it may ever be sent.
    fn hold(&mut self, ticket: Option<Ticket>, reply: &mut ReplyBuf) -> bool {
        let Some(ticket) = ticket else {
            return true;
        };
        let who = Arc::clone(&self.signal) as _;
        self.output.hold(ticket, reply, &who).is_ok()
    }

    /// Takes what others left for this client, for it to be sent.
    fn collect(&mut self, news: News, out: &mut ReplyBuf) {
        if !news.output && !news.answer {
            return;
        }
        if self.phase == Phase::Posted {
            match self.signal.served() {
                Some(served) => self.take_served(&served, out),
                None if self.node.is_stopped() => self.abandon(),
                // The answer is still to come, and brings it.
                None => return,
            }
            if !news.output {
                return;
            }
        }
        let outcome = loop {
            match self.node.take_output(self.sid, out, self.output.is_empty()) {
                Ok(taken) => {
                    self.more = taken.more;
                    if taken.gathers != self.gathers {
                        self.gathers = taken.gathers;
                        self.io.gather(taken.gathers);
                    }
                    break Some(match self.hold(taken.ticket, out) {
                        true => taken.outcome,
                        false => Outcome::Cut,
                    });
                }
                Err(LockError::Stopped) => break Some(Outcome::Cut),
                Err(LockError::Busy) => {
                    if let Posted::Yes = self.node.post(ask(self.sid, Vec::new(), &self.signal)) {
                        break None;
                    }
                }
            }
        };
        match outcome {
            None => self.enter(Phase::Posted),
            // Its own end: what is to be sent is waited for.
            Some(Outcome::Close) if self.phase == Phase::Closing => {}
            Some(Outcome::Close | Outcome::Cut) => {
                out.clear();
                self.abandon();
            }
            Some(outcome) => self.enter(phase_after(outcome)),
        }
    }

    fn take_served(&mut self, served: &Served, out: &mut ReplyBuf) {
        out.raw(&served.bytes);
        if !self.hold(served.ticket.clone(), out) {
            out.clear();
            return self.abandon();
        }
        if !served.unserved.is_empty() {
            let mut requests = Vec::new();
            for argv in &served.unserved {
                encode_command(&mut requests, argv);
            }
            self.input.put_back(&requests);
        }
        self.enter(match served {
            Served { closing: true, .. } => Phase::Closing,
            Served { blocked: true, .. } => Phase::Blocked,
            _ => Phase::Open,
        });
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase == Phase::Closing {
            return;
        }
        self.phase = phase;
        match phase {
            Phase::Open => self.backlog |= !self.input.is_empty(),
            Phase::Closing => self.input.clear(),
            Phase::Blocked | Phase::Posted => {}
        }
    }

    /// Ends the connection without another word.
    fn abandon(&mut self) {
        self.output.clear();
        self.unsent.set(0);
        self.enter(Phase::Closing);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(&mut worker.read);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Reads what has arrived already: closing a socket with unread bytes resets it, and the peer would lose the
    /// last replies.
    fn drain(&mut self, cx: &mut Context<'_>, worker: &mut Worker) {
        for _ in 0..MAX_READ_AHEAD / READ {
            if !matches!(self.poll_read(cx, worker), Poll::Ready(Ok(1..))) {
                break;
            }
        }
    }

    /// Bytes have arrived, the first `n` of the worker's read buffer.
    fn receive(&mut self, n: usize, worker: &mut Worker) {
        self.received += n;
        self.calls.reads += 1;
        let read = std::mem::take(&mut worker.read);
        let fresh = read.get(..n).unwrap_or_default();
        if self.phase == Phase::Open && self.input.is_empty() {
            let used = self.run(fresh, worker);
            self.keep(fresh.get(used..).unwrap_or_default());
        } else {
            self.keep(fresh);
            if self.may_run() {
                self.run_input(worker);
            }
        }
        worker.read = read;
        if self.phase == Phase::Closing {
            self.input.clear();
        }
        let held = self.input.len() + self.decoder.memory();
        if held > self.query_limit {
            warn!(
                size = held,
                "Closing a client that reached the maximum query buffer length"
            );
            if let Ok(mut engine) = self.node.lock() {
                engine.state().sys.stats.query_limit_disconnections += 1;
            }
            self.abandon();
        }
    }

    /// Keeps what cannot run yet.
    fn keep(&mut self, bytes: &[u8]) {
        // What is to come behind what is there, these bytes included.
        let expected = self.decoder.wanted(self.input.len());
        self.input.extend(bytes, expected);
    }

    /// Runs requests that were read earlier.
    fn run_input(&mut self, worker: &mut Worker) {
        let mut input = std::mem::take(&mut self.input);
        let used = self.run(input.bytes(), worker);
        input.consume(used);
        self.input = input;
    }

    /// Runs the requests at the front of `buf` and says how many bytes they took.
    fn run(&mut self, buf: &[u8], worker: &mut Worker) -> usize {
        let Worker { batch, reply, .. } = worker;
        self.decoder.decode(buf, &self.limits, batch);
        let full = batch.len() >= self.limits.max_requests
            || (self.limits.unauthenticated && !batch.is_empty());
        self.backlog = full;
        let ran = if batch.is_empty() {
            if batch.consumed() > 0 && batch.error().is_none() {
                // Whoever waits for a busy script is not that silent.
                if let Ok(mut engine) = self.node.lock() {
                    engine.heard(self.sid);
                }
            }
            Ran::All
        } else {
            self.run_batch(buf, batch, reply)
        };
        let stopped_at = match ran {
            Ran::All => match batch.error() {
                Some(error) => {
                    debug!(%error, "Protocol error from client");
                    reply.error_bytes(&error.wire_text());
                    self.enter(Phase::Closing);
                    return buf.len();
                }
                None => return batch.consumed(),
            },
            Ran::UpTo(last) => last,
            Ran::Posted => {
                self.enter(Phase::Posted);
                batch.len().saturating_sub(1)
            }
            Ran::Stopped => {
                reply.clear();
                self.abandon();
                return buf.len();
            }
        };
        // Whatever was decoded behind the last request that ran is decoded anew.
        self.decoder = Decoder::new();
        self.backlog = true;
        batch.end(stopped_at)
    }

    /// One hold of the lock.
    fn run_batch(&mut self, buf: &[u8], batch: &Batch, reply: &mut ReplyBuf) -> Ran {
        let mut engine = loop {
            match self.node.lock() {
                Ok(engine) => break engine,
                Err(LockError::Stopped) => return Ran::Stopped,
                Err(LockError::Busy) => {
                    let requests =
                        (0..batch.len()).map(|i| batch.args(i, buf).map(<[u8]>::to_vec).collect());
                    if let Posted::Yes =
                        self.node
                            .post(ask(self.sid, requests.collect(), &self.signal))
                    {
                        return Ran::Posted;
                    }
                }
            }
        };
        let mut room = Room::default();
        if let Some(session) = engine.state().sessions.get(self.sid) {
            reply.set_proto(session.proto);
        }
        let mut ran = Ran::All;
        let mut outcome = Outcome::Done;
        let foresight = engine.foresight();
        for i in 0..batch.len() {
            if foresight > 1 && i % foresight == 0 && i + 1 < batch.len() {
                let next = i..batch.len().min(i + foresight);
                engine.foresee(self.sid, next.filter_map(|i| Touch::of(batch.args(i, buf))));
            }
            let argv = batch.args_in(i, buf, &mut room);
            if is_http(argv) {
                let session = engine.state().sessions.get(self.sid);
                warn_of_http(session.map_or("", |s| &s.peer.addr));
                return Ran::Stopped;
            }
            outcome = engine.execute(self.sid, Args::new(argv), reply);
            if outcome != Outcome::Done || reply.len() >= REPLY_PER_HOLD {
                ran = Ran::UpTo(i);
                break;
            }
        }
        let state = engine.state();
        state.sys.stats.net_input_bytes += self.received as u64;
        state.sys.stats.net_output_bytes += reply.len() as u64;
        self.calls.count(&mut state.sys.stats);
        let actions = &state.sys.actions;
        self.woke_others = !actions.is_empty();
        self.closed_others = actions.iter().any(|a| matches!(a, Action::Close(_)));
        let (now, recent) = (state.sys.now_us / 1000, state.sys.debug.recent_reply_ms());
        let mut terms = None;
        if let Some(session) = state.sessions.get_mut(self.sid) {
            terms = Some(Terms::of(&state.sys, session));
            session.net.received += self.received as u64;
            session.net.sent += reply.len() as u64;
            session.net.replied(reply.len(), now, recent);
        }
        self.received = 0;
        let ticket = engine.release();
        if let Some(terms) = terms {
            self.keep_to(terms);
        }
        if outcome == Outcome::Cut || !self.hold(ticket, reply) {
            return Ran::Stopped;
        }
        self.enter(match outcome {
            // Whoever sees its connection end must find the sockets closed: they are before everybody is woken.
            Outcome::Close if self.node.is_stopped() => Phase::Blocked,
            outcome => phase_after(outcome),
        });
        ran
    }

    /// Sends the replies of a batch; what the peer does not take at once becomes the connection's output.
    fn poll_reply(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> io::Result<()> {
        let reply = &mut worker.reply;
        let mut written = 0;
        let at_once = !self.closed_others;
        while let Some(rest @ [_, ..]) = reply.as_slice().get(written..)
            && self.output.is_empty()
            && at_once
        {
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    written += n;
                    self.calls.writes += 1;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.output.take_reply(reply, written);
        let kept = self.output.len();
        let more = kept > self.unsent.get();
        self.unsent.set(kept);
        if self.tell_input() | more && self.unsent.is_limited() {
            // Nobody else may come by for long who would find out that this is too much.
            if let Ok(mut engine) = self.node.lock() {
                engine.weigh_clients();
                drop(engine.release());
            }
        }
        Ok(())
    }

    /// Tells what has come that cannot run yet; whether it has grown.
    fn tell_input(&mut self) -> bool {
        let len = self.input.len();
        let spare = self.input.spare() + self.decoder.memory();
        let parsed = self.decoder.done().min(len);
        let now = Input {
            unparsed: len - parsed,
            parsed,
            spare,
        };
        let was = std::mem::replace(&mut self.told, now);
        if now != was {
            self.unsent.set_input(now);
        }
        len > was.unparsed + was.parsed
    }

    /// Sends what is left over and need not wait, here and in the socket. Ready when nothing is.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let bytes @ [_, ..] = self.output.sendable() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    self.output.consume(n);
                    self.calls.writes += 1;
                }
            }
            self.unsent.set(self.output.len());
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        match self.output.is_held() {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }
}

const fn phase_after(outcome: Outcome) -> Phase {
    match outcome {
        Outcome::Done => Phase::Open,
        Outcome::Blocked => Phase::Blocked,
        Outcome::Close | Outcome::Cut => Phase::Closing,
    }
}

/// A request to a busy script, whose answer the signal brings.
fn ask(sid: SessionId, requests: Vec<Argv>, signal: &Arc<Signal>) -> BusyRequest {
    let signal = Arc::clone(signal);
    let done = Box::new(move |served| signal.serve(served));
    BusyRequest::Run {
        sid,
        requests,
        done,
    }
}

#[cold]
fn warn_of_http(addr: &str) {
    static SAID: Seldom = Seldom::once_in(Duration::from_secs(60));
    if SAID.is_due() {
        warn!(
            "Possible SECURITY ATTACK detected: a client sends HTTP, as a web page could make a browser do. Its connection \
             ({addr}) is closed."
        );
    }
}

/// Whether a request is a line of HTTP, as a web page can make a browser send to any port.
fn is_http(argv: &[&[u8]]) -> bool {
    let name = argv.first().copied().unwrap_or_default();
    matches!(name.len(), 4 | 5)
        && (name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:"))
}
