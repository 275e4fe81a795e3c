//! Ports that nodes listen on, kept for them while they do not run.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A port that nobody else gets: neither a program that takes any, nor a connection that goes out.
#[derive(Debug)]
pub(super) struct Reserved {
    addr: SocketAddr,
    /// Bound, and not listening: who connects is refused, and a socket that is bound so as well may listen.
    _socket: Option<Socket>,
}

impl Reserved {
    /// Reserves a port of the loopback address; 0 is any that is free.
    pub(super) fn new(port: u16) -> io::Result<Reserved> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        let addr = socket.local_addr()?.as_socket();
        Ok(Reserved {
            addr: addr.ok_or(io::ErrorKind::AddrNotAvailable)?,
            // Other systems than Linux would not let the node have it.
            _socket: cfg!(target_os = "linux").then_some(socket),
        })
    }

    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_reserved_port_refuses_and_can_be_listened_on() {
        let reserved = Reserved::new(0).unwrap();
        let (addr, port) = (reserved.addr(), reserved.addr().port());
        let refused = TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let bind = ["127.0.0.1".to_owned()];
        for _ in 0..3 {
            let listening = crate::server::listen::tcp(&bind, port, 5).unwrap();
            TcpStream::connect(addr).unwrap();
            assert_eq!(
                Reserved::new(port).unwrap_err().kind(),
                io::ErrorKind::AddrInUse
            );
            drop(listening);
        }
    }
}
