//! What a service manager is told: that the server is ready, what it does, and that it stops.
//!
//! The protocol of sd_notify(3): lines of `NAME=VALUE` in one datagram to the socket that the environment names. A name
//! that begins with `@` is of the abstract name space of Linux.

use std::fmt;
use std::sync::Arc;

use tracing::{debug, info, warn};

use crate::exec::host::Milestone;

/// Where the environment names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The service manager, if there is one to report to.
#[derive(Clone, Default)]
pub(super) struct Supervisor(Option<Arc<Notify>>);

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supervisor")
            .field(&self.0.is_some())
            .finish()
    }
}

impl Supervisor {
    /// Finds the one that `supervised` asks for, and tells it that the data set is about to be loaded.
    pub(super) fn find(supervised: &str) -> Self {
        let socket = std::env::var_os(SOCKET).filter(|name| !name.is_empty());
        match (supervised, &socket) {
            ("auto", Some(_)) => debug!("Systemd supervision detected."),
            ("systemd", None) => warn!("systemd supervision error: {SOCKET} not found!"),
            _ => {}
        }
        let Some(name) = socket.filter(|_| matches!(supervised, "systemd" | "auto")) else {
            return Self::default();
        };
        let found = Notify::to(&name).and_then(|notify| {
            notify.send("STATUS=Redkeep is loading...\n")?;
            Ok(notify)
        });
        match found {
            Ok(notify) => {
                info!(
                    "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and \
                     TimeoutStopSec in your service unit."
                );
                Self(Some(Arc::new(notify)))
            }
            Err(error) => {
                warn!("systemd supervision error: {error}");
                Self::default()
            }
        }
    }

    /// Its name, as INFO tells it.
    pub(super) const fn name(&self) -> &'static str {
        match self.0 {
            Some(_) => "systemd",
            None => "no",
        }
    }

    /// Clients are served, by a replica what it has.
    pub(super) fn ready(&self, follows: bool) {
        let status = match follows {
            false => "Ready to accept connections",
            true => {
                "Ready to accept connections in read-only mode. Waiting for MASTER <-> REPLICA sync"
            }
        };
        self.tell(&format!("STATUS={status}\nREADY=1\n"));
    }

    /// The server stops.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    /// What operators see in the status of the service.
    pub(super) fn reached(&self, milestone: Milestone) {
        let status = match milestone {
            Milestone::Synced => {
                "MASTER <-> REPLICA sync: Finished with success. Ready to accept connections in read-write mode."
            }
            Milestone::Resumed => {
                "MASTER <-> REPLICA sync: Partial Resynchronization accepted. Ready to accept connections in \
                 read-write mode."
            }
            Milestone::Ends => return self.stopping(),
            Milestone::Saves => "Saving the final RDB snapshot",
            Milestone::CannotSave => "Error trying to save the DB, can't exit.",
            Milestone::Leads | Milestone::Follows => return,
        };
        self.tell(&format!("STATUS={status}\n"));
    }

    fn tell(&self, lines: &str) {
        if let Some(notify) = &self.0
            && let Err(error) = notify.send(lines)
        {
            warn!("systemd supervision error: {error}");
        }
    }
}

#[cfg(unix)]
use unix::Notify;

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    /// The notify socket.
    #[derive(Debug)]
    pub(super) struct Notify {
        socket: UnixDatagram,
        to: SocketAddr,
    }

    impl Notify {
        pub(super) fn to(name: &OsStr) -> io::Result<Self> {
            let to = match name.as_bytes() {
                [b'@', rest @ ..] => of_abstract_name(rest)?,
                [b'/', ..] => SocketAddr::from_pathname(name)?,
                _ => return Err(io::ErrorKind::Unsupported.into()),
            };
            let socket = UnixDatagram::unbound()?;
            // Nobody waits for a manager that does not listen.
            socket.set_nonblocking(true)?;
            Ok(Self { socket, to })
        }

        pub(super) fn send(&self, lines: &str) -> io::Result<()> {
            self.socket
                .send_to_addr(lines.as_bytes(), &self.to)
                .map(drop)
        }
    }

    #[cfg(target_os = "linux")]
    fn of_abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
        use std::os::linux::net::SocketAddrExt;
        SocketAddr::from_abstract_name(name)
    }

    #[cfg(not(target_os = "linux"))]
    fn of_abstract_name(_: &[u8]) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(not(unix))]
use elsewhere::Notify;

#[cfg(not(unix))]
mod elsewhere {
    use std::ffi::OsStr;
    use std::io;

    /// Nothing: there is no such protocol here.
    #[derive(Debug)]
    pub(super) struct Notify;

    impl Notify {
        pub(super) fn to(_: &OsStr) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn send(&self, _: &str) -> io::Result<()> {
            Ok(())
        }
    }
}
