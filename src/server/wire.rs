//! Connections that a server makes to others: a replica to its leader, a sentinel to all that it knows.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::accept::descriptor;
use super::channel::Channel;
use super::switchboard::{Line, Switchboard};
use super::timer::{sleep, timeout};
use super::tls::Tls;
use super::transit::Transit;
use crate::util::clock::ManualClock;

/// Bytes taken at once where they are on their way for a while.
const READ: usize = 16 * 1024;

/// How a server reaches others.
#[derive(Debug, Clone)]
pub(super) struct Network {
    place: Option<(Arc<Switchboard>, usize)>,
    tls: Arc<Tls>,
    clock: ManualClock,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            place: None,
            tls: Arc::default(),
            clock: ManualClock::running(),
        }
    }
}

impl Network {
    /// The network of the operating system, as it is.
    pub(super) fn direct() -> Network {
        Network::default()
    }

    /// The place of a node at a switchboard: what it connects to other nodes can be held up.
    pub(super) fn at(board: Arc<Switchboard>, node: usize) -> Network {
        Network {
            place: Some((board, node)),
            ..Network::default()
        }
    }

    /// The same, with what makes connections secure.
    pub(super) fn secured_by(self, tls: Arc<Tls>) -> Network {
        Network { tls, ..self }
    }

    /// The same, for a server that has this clock.
    pub(super) fn timed_by(self, clock: ManualClock) -> Network {
        Network { clock, ..self }
    }

    /// What timeouts go by.
    pub(super) const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn line_to(&self, port: u16) -> Option<Arc<Line>> {
        let (board, node) = self.place.as_ref()?;
        board.line_to(*node, port)
    }
}

/// Whom a server connects to, and how.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    /// From which address of this machine; empty: from any.
    pub(super) source: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// Over TLS.
    pub(super) secure: bool,
}

/// Connects, within `patience`. Everything that a server connects to goes through here.
pub(super) async fn connect(
    network: &Network,
    to: &Destination,
    patience: Duration,
) -> io::Result<Channel> {
    let connecting = async {
        let wire = lay(network, to).await?;
        if !to.secure {
            return Ok(Channel::Plain(wire));
        }
        let peer = wire.peer_addr()?.ip();
        let stream = network.tls.connect(&to.host, peer, wire).await?;
        Ok(Channel::Secure(Box::new(stream)))
    };
    let connected = timeout(&network.clock, patience, connecting).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A wire to there.
async fn lay(network: &Network, to: &Destination) -> io::Result<Wire> {
    let line = network.line_to(to.port);
    if let Some(line) = &line {
        Arc::clone(line).healed().await;
        // There and back again.
        sleep(&network.clock, 2 * line.condition().delay).await;
    }
    let stream = {
        // A name is looked up on another thread.
        let named = to.host.parse::<IpAddr>().is_err();
        let _busy = named.then(|| network.clock.busy());
        dial(&to.source, &to.host, to.port).await?
    };
    network.clock.stir();
    stream.set_nodelay(true)?;
    Ok(Wire {
        stream,
        reading: Passage::default(),
        writing: Passage::default(),
        incoming: Transit::new(&network.clock),
        outgoing: Transit::new(&network.clock),
        line,
        clock: network.clock.clone(),
    })
}

/// Connects to the first address of a host that answers. An address of ours that cannot be used is not insisted on.
async fn dial(source: &str, host: &str, port: u16) -> io::Result<TcpStream> {
    if !source.is_empty()
        && let Ok(sources) = lookup_host((source, 0)).await
    {
        let sources: Vec<SocketAddr> = sources.collect();
        for address in lookup_host((host, port)).await? {
            let source = sources.iter().find(|s| s.is_ipv4() == address.is_ipv4());
            if let Some(source) = source
                && let Ok(stream) = dial_from(*source, address).await
            {
                return Ok(stream);
            }
        }
    }
    TcpStream::connect((host, port)).await
}

async fn dial_from(source: SocketAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(source)?;
    socket.connect(address).await
}

/// A TCP connection that a server has made. Where it goes over a line that is cut, neither reads nor writes get anywhere,
/// and it ends without a word to the other end before that is healed. Where it goes over a line that takes its time, what
/// was written is sent when it has taken that; whoever reads has that done.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    reading: Passage,
    writing: Passage,
    incoming: Transit,
    outgoing: Transit,
    line: Option<Arc<Line>>,
    clock: ManualClock,
}

impl Wire {
    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The descriptor, as clients are told of it.
    pub(super) fn descriptor(&self) -> i64 {
        descriptor(&self.stream)
    }

    /// How long bytes are on their way, if they are at all.
    fn delay(&self) -> Option<Duration> {
        let delay = self.line.as_ref()?.condition().delay;
        // What was sent before must not be overtaken.
        let waits = !(self.incoming.is_empty() && self.outgoing.is_empty());
        (waits || !delay.is_zero()).then_some(delay)
    }

    /// Sends what has come to its end. Ready when nothing is left that could be sent without waiting.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = ready!(self.outgoing.poll_first(cx)) {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
            self.outgoing.take(sent);
            self.clock.stir();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what the other end has sent, and gives what has taken its time.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
        delay: Duration,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ];
        while !self.incoming.ended && !self.incoming.is_full() {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Pending => break,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(())) if read.filled().is_empty() => self.incoming.ended = true,
                Poll::Ready(Ok(())) => {
                    self.incoming.add(read.filled(), delay);
                    self.clock.stir();
                }
            }
        }
        let ended = self.incoming.ended;
        match ready!(self.incoming.poll_first(cx)) {
            Some(bytes) => {
                let n = bytes.len().min(into.remaining());
                into.put_slice(bytes.get(..n).unwrap_or_default());
                self.incoming.take(n);
                Poll::Ready(Ok(()))
            }
            None if ended => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.close(|| SockRef::from(&self.stream).try_clone().ok());
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.reading.poll(this.line.as_ref(), cx));
        let Some(delay) = this.delay() else {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            this.clock.stir();
            return Poll::Ready(Ok(()));
        };
        if let Poll::Ready(Err(e)) = this.poll_send(cx) {
            return Poll::Ready(Err(e));
        }
        this.poll_receive(cx, buf, delay)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.writing.poll(this.line.as_ref(), cx));
        let Some(delay) = this.delay() else {
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
            this.clock.stir();
            return Poll::Ready(Ok(written));
        };
        let sent = this.poll_send(cx)?;
        if this.outgoing.is_full() {
            ready!(sent);
        }
        this.outgoing.add(bytes, delay);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.writing.poll(this.line.as_ref(), cx));
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// One direction of a wire.
#[derive(Default)]
struct Passage {
    /// While the line is cut and somebody wants to pass.
    healed: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passage").finish_non_exhaustive()
    }
}

impl Passage {
    /// Ready when something can pass.
    fn poll(&mut self, line: Option<&Arc<Line>>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(line) = line else {
            return Poll::Ready(());
        };
        while line.condition().parted {
            let healed = self
                .healed
                .get_or_insert_with(|| Box::pin(Arc::clone(line).healed()));
            ready!(healed.as_mut().poll(cx));
            self.healed = None;
        }
        Poll::Ready(())
    }
}
