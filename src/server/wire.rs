//! Connections that a server makes to others: a replica to its leader, a sentinel to all that it knows.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::accept::descriptor;
use super::switchboard::{Line, Switchboard};

/// How a server reaches others.
#[derive(Debug, Clone, Default)]
pub(super) struct Network(Option<(Arc<Switchboard>, usize)>);

impl Network {
    /// The network of the operating system, as it is.
    pub(super) const fn direct() -> Network {
        Network(None)
    }

    /// The place of a node at a switchboard: what it connects to other nodes can be held up.
    pub(super) const fn at(board: Arc<Switchboard>, node: usize) -> Network {
        Network(Some((board, node)))
    }

    fn line_to(&self, port: u16) -> Option<Arc<Line>> {
        let (board, node) = self.0.as_ref()?;
        board.line_to(*node, port)
    }
}

/// Connects, within `patience`, from an address of this machine if one is given. Everything that a server connects to goes
/// through here.
pub(super) async fn connect(
    network: &Network,
    source: &str,
    host: &str,
    port: u16,
    patience: Duration,
) -> io::Result<Wire> {
    let line = network.line_to(port);
    let connecting = async {
        if let Some(line) = &line {
            Arc::clone(line).healed().await;
        }
        dial(source, host, port).await
    };
    let connected = timeout(patience, connecting).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(Wire {
        stream,
        reading: Passage::default(),
        writing: Passage::default(),
        line,
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
/// and it ends without a word to the other end before that is healed.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    reading: Passage,
    writing: Passage,
    line: Option<Arc<Line>>,
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
        Pin::new(&mut this.stream).poll_read(cx, buf)
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
        Pin::new(&mut this.stream).poll_write(cx, bytes)
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
