//! The process that started this one, where that is a test or a script: it is told where it can connect to, and does not
//! leave a server behind when it is gone.
//!
//! It reads one line, `redis://127.0.0.1:40123`, from standard output (`print-addr`) or from a descriptor that it handed down
//! (`ready-fd`); the line is there when clients are served. Where a server like that has nothing to listen on, it takes a port
//! that is free, so that any number of them can run side by side.
//!
//! With `exit-with-parent` the end of the parent is that of the server, whatever ended it. Neither the end of standard input
//! is waited for (whoever starts something in the background of a shell, or without input, has that at once) nor a
//! signal asked of the system (it comes with the end of the *thread* that started the process).

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tracing::warn;

use super::handle::{Ports, Server};
use super::runtime::{End, Stop};
use super::summons;
use crate::embed::Node;
use crate::service::config::Config;

/// Descriptors that every process has.
const STDOUT: i32 = 1;
const STDERR: i32 = 2;

/// Whether the parent wants to know the address.
fn asks(config: &Config) -> bool {
    config.print_addr || config.ready_fd >= 0
}

/// Whether standard output is for the address, so that the log has to go elsewhere.
pub(super) fn has_stdout(config: &Config) -> bool {
    config.print_addr || config.ready_fd == STDOUT
}

/// The ports to listen on. A parent that asks for the address gets a free one where there would be nothing to listen on:
/// for TLS, if there is a certificate. None: there is nothing.
pub(super) fn ports(config: &Config) -> Option<Ports> {
    let given = |port: u16| Some(port).filter(|port| *port != 0);
    let ports = Ports {
        plain: given(config.port),
        tls: given(config.tls_port),
    };
    let listens = ports.plain.or(ports.tls).is_some() || !config.unixsocket.is_empty();
    match listens {
        true => Some(ports),
        false if !asks(config) => None,
        false => Some(match config.tls_cert_file.is_empty() {
            true => Ports {
                plain: Some(0),
                tls: None,
            },
            false => Ports {
                plain: None,
                tls: Some(0),
            },
        }),
    }
}

/// The process that started this one, as far as it is anything to this one.
pub(super) struct Parent {
    /// Where it reads the address.
    ears: Vec<Box<dyn Write>>,
    /// What tells its end, if this one is to end with it.
    life: Option<Life>,
}

impl Parent {
    /// Finds the one that the configuration speaks of. The earlier, the less can have happened to it.
    ///
    /// # Errors
    /// When the descriptor that it handed down cannot be written to, or its end cannot be noticed here.
    pub(super) fn find(config: &Config) -> Result<Self, String> {
        let mut ears: Vec<Box<dyn Write>> = Vec::new();
        if has_stdout(config) {
            ears.push(Box::new(io::stdout()));
        }
        match config.ready_fd {
            ..=-1 | STDOUT => {}
            STDERR => ears.push(Box::new(io::stderr())),
            fd => ears.push(Box::new(handed_down(fd)?)),
        }
        let life = match config.exit_with_parent {
            true => Some(Life::of_parent().map_err(|error| format!("exit-with-parent: {error}"))?),
            false => None,
        };
        Ok(Self { ears, life })
    }

    /// Ends the server with it, from here on and for as long as the process lives.
    pub(super) fn end_with(&mut self, node: Node, stop: Arc<Stop>) -> io::Result<()> {
        let (Some(life), Some(summons)) = (self.life.take(), summons::of(&node)) else {
            return Ok(());
        };
        let thread = std::thread::Builder::new().name("redkeep-parent".into());
        thread
            .spawn(move || {
                life.wait();
                summons::orphaned(&node, &stop, &summons);
            })
            .map(drop)
    }

    /// Tells it that clients are served, and where. If it is gone already, that is noticed here at the latest.
    pub(super) fn ready(&mut self, server: &Server, config: &Config) {
        let line = format!("{}\n", address(server, config));
        for ear in &mut self.ears {
            let told = ear.write_all(line.as_bytes()).and_then(|()| ear.flush());
            if let Err(error) = told {
                warn!("Nobody reads the address: {error}");
                if config.exit_with_parent {
                    server.stop().request(End::Asked);
                }
            }
        }
    }
}

/// A descriptor of this process, once more: whose it is cannot be said otherwise without `unsafe`.
#[cfg(unix)]
fn handed_down(fd: i32) -> Result<File, String> {
    let open = File::options().write(true).open(format!("/dev/fd/{fd}"));
    open.map_err(|error| {
        let hint = match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::NXIO.raw_os_error() => {
                "; it is a socket, and has to be a pipe or a file"
            }
            _ => "",
        };
        format!("ready-fd {fd}: {error}{hint}")
    })
}

#[cfg(not(unix))]
fn handed_down(fd: i32) -> Result<File, String> {
    Err(format!(
        "ready-fd {fd}: descriptors are not handed down here"
    ))
}

/// Where clients connect to, as they write it.
fn address(server: &Server, config: &Config) -> String {
    let (scheme, addr) = match (server.addrs().first(), server.tls_addr()) {
        (Some(addr), _) => ("redis", *addr),
        (None, Some(addr)) => ("rediss", addr),
        (None, None) => return format!("unix://{}", config.unixsocket),
    };
    format!("{scheme}://{}", reachable(addr))
}

/// The address of this machine that a client reaches, where all of them are listened on.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(unix)]
use unix::Life;

#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::unix::process::parent_id;
    use std::time::Duration;

    #[cfg(target_os = "linux")]
    use std::os::fd::OwnedFd;

    /// How often it is looked whose child this process is, where the system does not tell when that changes.
    const LOOK: Duration = Duration::from_millis(200);

    /// The life of the parent process.
    pub(super) struct Life {
        pid: u32,
        /// It can be read from when the process has ended.
        #[cfg(target_os = "linux")]
        process: Option<OwnedFd>,
    }

    impl Life {
        pub(super) fn of_parent() -> io::Result<Self> {
            let pid = parent_id();
            Ok(Self {
                pid,
                #[cfg(target_os = "linux")]
                process: process_of(pid),
            })
        }

        /// Waits for its end.
        pub(super) fn wait(&self) {
            #[cfg(target_os = "linux")]
            if let Some(process) = &self.process {
                await_end(process);
            }
            // Whose parent ends gets another.
            while parent_id() == self.pid {
                std::thread::sleep(LOOK);
            }
        }
    }

    /// None: the system is older than 5.3, or keeps this from whoever runs in a container.
    #[cfg(target_os = "linux")]
    fn process_of(parent: u32) -> Option<OwnedFd> {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let pid = Pid::from_raw(i32::try_from(parent).ok()?)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // It may have ended, and its number be another's: then this process has a new parent by now.
        (parent_id() == parent).then_some(process)
    }

    #[cfg(target_os = "linux")]
    fn await_end(process: &OwnedFd) {
        use rustix::event::{PollFd, PollFlags, poll};
        use rustix::io::Errno;
        let mut watched = [PollFd::new(process, PollFlags::IN)];
        while poll(&mut watched, None) == Err(Errno::INTR) {}
    }
}

#[cfg(not(unix))]
use elsewhere::Life;

#[cfg(not(unix))]
mod elsewhere {
    use std::io;

    /// Nothing: a process does not know its parent here.
    pub(super) struct Life;

    impl Life {
        pub(super) fn of_parent() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn wait(&self) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config {
            port: 0,
            ..Config::default()
        };
        change(&mut config);
        config
    }

    fn chosen(change: impl FnOnce(&mut Config)) -> Option<(Option<u16>, Option<u16>)> {
        ports(&config(change)).map(|ports| (ports.plain, ports.tls))
    }

    #[test]
    fn a_free_port_is_taken_only_where_there_is_nothing_else_and_somebody_asks() {
        assert_eq!(chosen(|_| {}), None);
        assert_eq!(chosen(|c| c.exit_with_parent = true), None);
        assert_eq!(chosen(|c| c.print_addr = true), Some((Some(0), None)));
        assert_eq!(chosen(|c| c.ready_fd = 3), Some((Some(0), None)));
        assert_eq!(chosen(|c| c.port = 7), Some((Some(7), None)));
        let with_socket = chosen(|c| {
            c.print_addr = true;
            c.unixsocket = "s".into();
        });
        assert_eq!(with_socket, Some((None, None)));
        let with_tls = chosen(|c| {
            c.print_addr = true;
            c.tls_port = 7;
        });
        assert_eq!(with_tls, Some((None, Some(7))));
        let with_certificate = chosen(|c| {
            c.print_addr = true;
            c.tls_cert_file = "c".into();
        });
        assert_eq!(with_certificate, Some((None, Some(0))));
    }

    #[test]
    fn an_address_of_all_is_told_as_one_that_can_be_connected_to() {
        let told = |addr: &str| reachable(addr.parse().unwrap()).to_string();
        assert_eq!(told("0.0.0.0:7"), "127.0.0.1:7");
        assert_eq!(told("[::]:7"), "[::1]:7");
        assert_eq!(told("10.1.2.3:7"), "10.1.2.3:7");
    }
}
