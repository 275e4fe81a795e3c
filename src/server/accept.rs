//! New connections: who they are, and whether they are let in.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::warn;

use super::conn::{Conn, Socket};
use super::listen::{self, Door};
use super::seldom::Seldom;
use super::signal::Signal;
use super::tls::Tls;
use crate::embed::{LockError, Node, Posted};
use crate::exec::admit::{self, Refusal, Terms};
use crate::exec::busy::BusyRequest;
use crate::exec::session::Peer;
use crate::exec::{SessionId, alarms};

/// How long to wait when the system has no socket to give.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The same, for one that will be told only that it is not let in.
const BRIEFLY: Duration = Duration::from_secs(1);

/// How a client begins that speaks TLS: with a record of the handshake.
const HELLO: u8 = 22;

/// Accepts TCP connections on the sockets that were given last, until the other side of `end` is dropped. Nobody is let in
/// then, whoever else holds the sockets.
pub(super) async fn all(
    mut sockets: UnboundedReceiver<Vec<Door>>,
    node: Node,
    tls: Arc<Tls>,
    mut end: oneshot::Receiver<()>,
) {
    let mut accepting = JoinSet::new();
    let mut open = Vec::new();
    loop {
        let given = tokio::select! {
            given = sockets.recv() => given,
            _ = &mut end => None,
        };
        accepting.shutdown().await;
        let Some(given) = given else {
            break;
        };
        open.clear();
        for Door { socket, secure } in given {
            open.extend(socket.try_clone());
            let tls = secure.then(|| Arc::clone(&tls));
            match TcpListener::from_std(socket) {
                Ok(listener) => drop(accepting.spawn(tcp(listener, node.clone(), tls))),
                Err(error) => warn!("Listening: {error}"),
            }
        }
    }
    for socket in open {
        if let Err(error) = SockRef::from(&socket).shutdown(Shutdown::Both) {
            warn!("Closing a socket: {error}");
        }
    }
}

/// Accepts TCP connections until the task is dropped.
async fn tcp(listener: TcpListener, node: Node, tls: Option<Arc<Tls>>) {
    loop {
        let (stream, addr) = next(|| listener.accept()).await;
        match &tls {
            None => tokio::spawn(serve_tcp(stream, addr, node.clone())),
            Some(tls) => tokio::spawn(serve_tls(stream, addr, node.clone(), Arc::clone(tls))),
        };
    }
}

/// Accepts connections over a unix socket until the task is dropped.
#[cfg(unix)]
pub(super) async fn unix(listener: tokio::net::UnixListener, path: String, node: Node) {
    use std::os::fd::AsRawFd;
    loop {
        let (stream, _) = next(|| listener.accept()).await;
        let peer = neighbour(&path, i64::from(stream.as_raw_fd()), &node);
        tokio::spawn(serve_neighbour(stream, peer, node.clone()));
    }
}

/// A client that reached this one from the same machine, and through no network.
pub(super) fn neighbour(place: &str, fd: i64, node: &Node) -> Peer {
    Peer {
        addr: format!("{place}:0"),
        laddr: format!("{place}:0"),
        fd,
        unix: fd >= 0,
        local: true,
        trusted: false,
        unsent: node.unsent(),
    }
}

pub(super) async fn serve_neighbour(stream: impl Socket, peer: Peer, node: Node) {
    let unsent = peer.unsent.clone();
    match join(&node, peer).await {
        Ok(joined) => {
            Conn::new(stream, node, joined.sid, unsent, joined.terms)
                .serve()
                .await;
        }
        Err(refused) => refuse(stream, refused).await,
    }
}

/// The next connection. Errors are of one connection, or of the whole system: neither ends the loop.
async fn next<T, F: Future<Output = io::Result<T>>>(accept: impl Fn() -> F) -> T {
    static SAID: Seldom = Seldom::once_in(Duration::from_secs(1));
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                if SAID.is_due() {
                    warn!("Accepting client connection: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn peer(stream: &TcpStream, addr: SocketAddr, node: &Node) -> Peer {
    Peer {
        addr: addr.to_string(),
        laddr: stream
            .local_addr()
            .map(|a| a.to_string())
            .unwrap_or_default(),
        fd: descriptor(stream),
        unix: false,
        local: addr.ip().to_canonical().is_loopback(),
        trusted: false,
        unsent: node.unsent(),
    }
}

/// A connection that cannot be tuned works all the same.
fn tune(stream: &TcpStream, addr: SocketAddr, keepalive: u64) {
    if let Err(error) = listen::prepare(stream, keepalive) {
        warn!("Preparing the connection of {addr}: {error}");
    }
}

async fn serve_tcp(stream: TcpStream, addr: SocketAddr, node: Node) {
    let peer = peer(&stream, addr, &node);
    let unsent = peer.unsent.clone();
    match join(&node, peer).await {
        Ok(joined) => {
            tune(&stream, addr, joined.terms.keepalive);
            Conn::new(stream, node, joined.sid, unsent, joined.terms)
                .serve()
                .await;
        }
        Err(refused) => refuse(stream, refused).await,
    }
}

/// Whoever has not agreed on TLS yet is a client already: it counts, is listed, and can be killed.
async fn serve_tls(stream: TcpStream, addr: SocketAddr, node: Node, tls: Arc<Tls>) {
    let peer = peer(&stream, addr, &node);
    let (unsent, laddr) = (peer.unsent.clone(), peer.laddr.clone());
    let joined = match join(&node, peer).await {
        Ok(joined) => joined,
        // Redis, too, drops who is one too many before it can be told.
        Err(None | Some(Refusal::Full)) => return,
        Err(refused) => {
            if let Ok(Ok(stream)) = timeout(BRIEFLY, shake(stream, &tls)).await {
                refuse(stream, refused).await;
            }
            return;
        }
    };
    tune(&stream, addr, joined.terms.keepalive);
    let entrant = Entrant::new(&node, joined.sid);
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE, shake(stream, &tls)) => shaken,
        () = entrant.is_expelled() => return,
    };
    let why = match shaken {
        Ok(Ok(stream)) => {
            entrant.stays();
            return Conn::new(stream, node, joined.sid, unsent, joined.terms)
                .serve()
                .await;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the TLS handshake takes too long".to_owned(),
    };
    // While a script is busy nobody counts.
    if let Ok(mut engine) = node.lock() {
        alarms::not_agreed(&mut engine.state().sys, &addr.to_string(), &laddr, &why);
    }
}

/// Agrees on TLS. Whoever says something else is not answered: it would not understand an alert.
async fn shake(stream: TcpStream, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [HELLO];
    stream.peek(&mut first).await?;
    match first {
        [HELLO] => tls.accept(stream).await,
        _ => Err(io::Error::other("it does not speak TLS")),
    }
}

/// A client that was let in and has no connection yet. Unless it gets one, its session ends with this.
struct Entrant {
    session: Option<(Node, SessionId)>,
    signal: Arc<Signal>,
}

impl Entrant {
    fn new(node: &Node, sid: SessionId) -> Self {
        let signal = Arc::new(Signal::default());
        node.set_waker(sid, Arc::clone(&signal) as _);
        Self {
            session: Some((node.clone(), sid)),
            signal,
        }
    }

    /// Waits until somebody wants something of it: who has not said anything yet can only be told to go.
    async fn is_expelled(&self) {
        poll_fn(|cx| {
            self.signal.register(cx.waker());
            match self.signal.take() {
                Some(_) => Poll::Ready(()),
                None => Poll::Pending,
            }
        })
        .await;
    }

    /// It has its connection, which ends the session itself.
    fn stays(mut self) {
        self.session = None;
    }
}

impl Drop for Entrant {
    fn drop(&mut self) {
        if let Some((node, sid)) = &self.session {
            node.disconnect(*sid);
        }
    }
}

#[cfg(unix)]
pub(super) fn descriptor(stream: &TcpStream) -> i64 {
    use std::os::fd::AsRawFd;
    i64::from(stream.as_raw_fd())
}

#[cfg(not(unix))]
pub(super) fn descriptor(_: &TcpStream) -> i64 {
    -1
}

/// A client that was let in.
struct Joined {
    sid: SessionId,
    terms: Terms,
}

/// Makes a session; without a refusal to send, the server is stopping.
async fn join(node: &Node, peer: Peer) -> Result<Joined, Option<Refusal>> {
    loop {
        match join_now(node, &peer) {
            Ok(joined) => return joined.map_err(Some),
            Err(LockError::Stopped) => return Err(None),
            Err(LockError::Busy) => {}
        }
        let (done, joined) = oneshot::channel();
        let request = BusyRequest::Connect {
            peer: peer.clone(),
            done: Box::new(|joined| {
                // Nobody takes it only when the runtime is being dropped.
                let _ = done.send(joined);
            }),
        };
        if let Posted::Yes = node.post(request) {
            let (sid, terms) = joined.await.map_err(|_| None)?.map_err(Some)?;
            return Ok(Joined { sid, terms });
        }
    }
}

fn join_now(node: &Node, peer: &Peer) -> Result<Result<Joined, Refusal>, LockError> {
    let mut engine = node.lock()?;
    let joined = admit::admit_on_terms(engine.state(), peer.clone());
    Ok(joined.map(|(sid, terms)| Joined { sid, terms }))
}

/// Tells a client why it is not let in.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, refused: Option<Refusal>) {
    if let Some(refusal) = refused.filter(|refusal| *refusal != Refusal::Dropped) {
        // It may be gone already, or not listen.
        let text = format!("-{refusal}\r\n");
        let telling = async {
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await
        };
        let _ = timeout(PAUSE, telling).await;
    }
}
