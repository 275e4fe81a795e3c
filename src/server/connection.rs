//! Connections that take no socket: a stream between two tasks of one process.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::accept;
use super::conn::Socket;
use super::handle::Server;
use crate::embed::CallError;

/// Bytes that may be on their way in one direction.
const ON_ITS_WAY: usize = 64 * 1024;

/// A connection to a [`Server`] in the same process, made by [`Server::connect`]: what is written are requests, what is read are
/// replies, as over a socket and through the same code. It ends when the server does.
pub struct Connection {
    stream: DuplexStream,
    closed: Arc<AtomicBool>,
}

/// The server's end of one.
pub(super) struct OtherEnd {
    stream: DuplexStream,
    /// Nothing more is written at the client's end.
    closed: Arc<AtomicBool>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Server {
    /// Connects without a socket. What comes of it is for client libraries that work on any stream; they are asked for the
    /// password, where there is one. If the server lets nobody in (`maxclients`), that is what is read.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # runtime.block_on(async {
    /// use redis::AsyncCommands;
    ///
    /// let server = redkeep::Server::builder().no_tcp().start()?;
    /// let info = redis::RedisConnectionInfo::default();
    /// let (mut connection, driver) =
    ///     redis::aio::MultiplexedConnection::new(&info, server.connect()?).await?;
    /// let work = async {
    ///     let _: () = connection.set("k", "v").await?;
    ///     connection.get::<_, String>("k").await
    /// };
    /// tokio::select! {
    ///     () = driver => panic!("the server has gone"),
    ///     v = work => assert_eq!(v?, "v"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the server has stopped.
    pub fn connect(&self) -> Result<Connection, CallError> {
        if self.node().is_stopped() {
            return Err(CallError::Stopped);
        }
        let (stream, its) = duplex(ON_ITS_WAY);
        let closed = Arc::new(AtomicBool::new(false));
        let its = OtherEnd {
            stream: its,
            closed: Arc::clone(&closed),
        };
        let node = self.node().clone();
        let peer = accept::neighbour("in-process", -1, &node);
        self.runtime()
            .spawn(accept::serve_neighbour(its, peer, node));
        Ok(Connection { stream, closed })
    }
}

impl Connection {
    /// Nothing more is written here.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

impl Socket for OtherEnd {
    fn gather(&self, _: bool) {}

    fn is_read_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Gives an end the traits of a stream, with what else it does when nothing more is to be written.
macro_rules! as_stream {
    ($end:ty, $at_shutdown:expr) => {
        impl AsyncRead for $end {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_read(cx, buf)
            }
        }

        impl AsyncWrite for $end {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.stream).poll_write(cx, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                $at_shutdown(&*self);
                Pin::new(&mut self.stream).poll_shutdown(cx)
            }
        }
    };
}

as_stream!(OtherEnd, |_| {});
as_stream!(Connection, Connection::close);
