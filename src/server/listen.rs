//! Listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

/// How often to look for a port that is free on every address.
const PORT_ATTEMPTS: usize = 32;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} port {port}: {source}")]
pub struct ListenError {
    /// As it is configured.
    pub address: String,
    /// The port asked for.
    pub port: u16,
    /// What the system says.
    pub source: io::Error,
}

/// A socket that is listened on.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) socket: TcpListener,
    /// Whoever comes through speaks TLS.
    pub(super) secure: bool,
}

impl Door {
    pub(super) fn try_clone(&self) -> io::Result<Door> {
        Ok(Door {
            socket: self.socket.try_clone()?,
            secure: self.secure,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |addr| addr.port())
    }
}

/// Opens doors at every address of `bind`, as [`tcp`] does; none where no port is said.
pub(super) fn doors(
    bind: &[String],
    port: Option<u16>,
    backlog: u32,
    secure: bool,
) -> Result<Vec<Door>, ListenError> {
    let Some(port) = port else {
        return Ok(Vec::new());
    };
    let sockets = tcp(bind, port, backlog)?.into_iter();
    Ok(sockets.map(|socket| Door { socket, secure }).collect())
}

/// Listens on every address of `bind`; a leading `-` lets an address be missing from the system.
///
/// With port 0 the system picks one, the same for all addresses.
pub(super) fn tcp(
    bind: &[String],
    port: u16,
    backlog: u32,
) -> Result<Vec<TcpListener>, ListenError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match tcp_once(bind, port, backlog) {
            // The port that the system picked for the first address was taken on a later one.
            Err(error)
                if port == 0
                    && attempt < PORT_ATTEMPTS
                    && error.source.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
}

fn tcp_once(bind: &[String], mut port: u16, backlog: u32) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for word in bind {
        let (address, optional) = match word.strip_prefix('-') {
            Some(address) => (address, true),
            None => (word.as_str(), false),
        };
        let bound = resolve(address, port).and_then(|addrs| {
            addrs
                .into_iter()
                .map(|addr| listen(addr, backlog))
                .collect::<Result<Vec<_>, _>>()
        });
        match bound {
            Ok(bound) => listeners.extend(bound),
            Err(error) if optional && is_missing(&error) => {}
            Err(source) => {
                return Err(ListenError {
                    address: address.to_owned(),
                    port,
                    source,
                });
            }
        }
        if port == 0
            && let Some(first) = listeners.first()
        {
            port = first.local_addr().map_or(0, |addr| addr.port());
        }
    }
    Ok(listeners)
}

fn resolve(address: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let ip = match address {
        "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "::*" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        other => other.parse().ok(),
    };
    match ip {
        Some(ip) => Ok(vec![SocketAddr::new(ip, port)]),
        None => Ok((address, port).to_socket_addrs()?.take(1).collect()),
    }
}

fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether the system lacks the address or its whole family.
fn is_missing(error: &io::Error) -> bool {
    /// EAFNOSUPPORT, EPFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT and ENOPROTOOPT of Linux.
    const NOT_SUPPORTED: [i32; 5] = [97, 96, 93, 94, 92];
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error
        .raw_os_error()
        .is_some_and(|code| NOT_SUPPORTED.contains(&code))
}

/// Prepares an accepted connection: no delay for small replies, and probes of a silent peer after
/// `keepalive` seconds (0: none).
pub(super) fn prepare(stream: &TcpStream, keepalive: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalive > 0 {
        let probe = TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive))
            .with_interval(Duration::from_secs((keepalive / 3).max(1)));
        #[cfg(unix)]
        let probe = probe.with_retries(3);
        SockRef::from(stream).set_tcp_keepalive(&probe)?;
    }
    Ok(())
}

#[cfg(unix)]
pub(super) mod unix {
    //! Unix sockets.

    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    use socket2::{Domain, SockAddr, Socket, Type};

    /// A listening unix socket, whose file goes with it.
    #[derive(Debug)]
    pub(in crate::server) struct SocketFile {
        path: PathBuf,
        /// Which file it is: somebody else may have put his in its place.
        identity: (u64, u64),
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            if identity(&self.path).is_ok_and(|now| now == self.identity) {
                // Somebody else may have removed it.
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        let meta = fs::symlink_metadata(path)?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Listens on `path`, replacing a socket that was left behind there. `mode` 0 leaves permissions to the umask.
    pub(in crate::server) fn listen(
        path: &Path,
        mode: u32,
        backlog: u32,
    ) -> io::Result<(UnixListener, SocketFile)> {
        if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: identity(path)?,
        };
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        if mode != 0 {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        Ok((socket.into(), file))
    }
}
