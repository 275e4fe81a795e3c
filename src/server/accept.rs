//! New connections: who they are, and whether they are let in.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::warn;

use super::conn::Conn;
use super::listen;
use super::seldom::Seldom;
use crate::embed::{LockError, Node, Posted};
use crate::exec::SessionId;
use crate::exec::admit::{self, Refusal, Terms};
use crate::exec::busy::BusyRequest;
use crate::exec::session::Peer;

/// How long to wait when the system has no socket to give.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts TCP connections on the sockets that were given last, until the other side of `end` is dropped. Nobody is let in
/// then, whoever else holds the sockets.
pub(super) async fn all(
    mut sockets: UnboundedReceiver<Vec<StdListener>>,
    node: Node,
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
        for socket in given {
            open.extend(socket.try_clone());
            match TcpListener::from_std(socket) {
                Ok(listener) => drop(accepting.spawn(tcp(listener, node.clone()))),
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
async fn tcp(listener: TcpListener, node: Node) {
    loop {
        let (stream, addr) = next(|| listener.accept()).await;
        tokio::spawn(serve_tcp(stream, addr, node.clone()));
    }
}

/// Accepts connections over a unix socket until the task is dropped.
#[cfg(unix)]
pub(super) async fn unix(listener: tokio::net::UnixListener, path: String, node: Node) {
    use std::os::fd::AsRawFd;
    loop {
        let (stream, _) = next(|| listener.accept()).await;
        let peer = Peer {
            addr: format!("{path}:0"),
            laddr: format!("{path}:0"),
            fd: i64::from(stream.as_raw_fd()),
            unix: true,
            local: true,
            trusted: false,
            unsent: node.unsent(),
        };
        let node = node.clone();
        tokio::spawn(async move {
            let unsent = peer.unsent.clone();
            match join(&node, peer).await {
                Ok(joined) => {
                    Conn::new(stream, node, joined.sid, unsent, joined.terms)
                        .serve()
                        .await
                }
                Err(refused) => refuse(stream, refused).await,
            }
        });
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

async fn serve_tcp(stream: TcpStream, addr: SocketAddr, node: Node) {
    let peer = Peer {
        addr: addr.to_string(),
        laddr: stream
            .local_addr()
            .map(|a| a.to_string())
            .unwrap_or_default(),
        fd: descriptor(&stream),
        unix: false,
        local: addr.ip().to_canonical().is_loopback(),
        trusted: false,
        unsent: node.unsent(),
    };
    let unsent = peer.unsent.clone();
    match join(&node, peer).await {
        Ok(joined) => {
            // A connection that cannot be tuned works all the same.
            if let Err(error) = listen::prepare(&stream, joined.terms.keepalive) {
                warn!("Preparing the connection of {addr}: {error}");
            }
            Conn::new(stream, node, joined.sid, unsent, joined.terms)
                .serve()
                .await;
        }
        Err(refused) => refuse(stream, refused).await,
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
    if let Some(refusal) = refused {
        // It may be gone already, or not listen.
        let _ = tokio::time::timeout(
            PAUSE,
            stream.write_all(format!("-{refusal}\r\n").as_bytes()),
        )
        .await;
        let _ = stream.shutdown().await;
    }
}
