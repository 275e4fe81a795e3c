//! What a server talks to another one through: a wire as it is, or TLS over it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::wire::Wire;

/// A connection that a server has made, or a program that looks at servers.
#[derive(Debug)]
pub(super) enum Channel<W = Wire> {
    /// Everybody on the way can read it.
    Plain(W),
    /// TLS. Whoever reads has sent what was written and could not be sent at once.
    Secure(Box<TlsStream<W>>),
}

impl Channel {
    fn wire(&self) -> &Wire {
        match self {
            Channel::Plain(wire) => wire,
            Channel::Secure(stream) => stream.get_ref().0,
        }
    }

    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.wire().peer_addr()
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.wire().local_addr()
    }

    /// The descriptor, as clients are told of it.
    pub(super) fn descriptor(&self) -> i64 {
        self.wire().descriptor()
    }
}

impl<W: AsyncRead + AsyncWrite + Unpin> AsyncRead for Channel<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Channel::Plain(wire) => Pin::new(wire).poll_read(cx, buf),
            Channel::Secure(stream) => {
                if let Poll::Ready(Err(e)) = Pin::new(&mut *stream).poll_flush(cx) {
                    return Poll::Ready(Err(e));
                }
                match ready!(Pin::new(stream).poll_read(cx, buf)) {
                    // Most hang up without a word, as they do where there is no TLS.
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                    read => Poll::Ready(read),
                }
            }
        }
    }
}

impl<W: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Channel<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Channel::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            Channel::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Channel::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Channel::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Channel::Plain(wire) => Pin::new(wire).poll_shutdown(cx),
            Channel::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
