//! What a server is to be like, and why it may not start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::handle::{Ports, Server, Surroundings};
use super::listen::ListenError;
use super::sentinel;
use super::tls::{InMemory, TlsError};
use super::wire::Network;
use crate::embed::FragileDisk;
use crate::embed::OpenError;
use crate::embed::directives::{Directives, NOTHING_SAVED};
use crate::persist::Disk;
use crate::service::config::{Files, Given, LoadError, Loaded, SystemFiles, WithInput};
use crate::util::clock::ManualClock;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What it is without its sockets cannot be had: a parameter was refused, say, or another server has its directory.
    #[error(transparent)]
    Instance(OpenError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// TLS cannot be had as it is configured.
    #[error("Failed to configure TLS: {0}")]
    Tls(#[from] TlsError),
    /// The unix socket cannot be listened on.
    #[error("cannot listen on {path}: {source}")]
    Unix {
        /// The path asked for.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A sentinel cannot keep what it decides.
    #[error("{0}")]
    Sentinel(String),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::Instance(error)
    }
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Instance(error.into())
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Instance(error.into())
    }
}

/// What a server is to be like; made by [`Server::builder`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Builder {
    directives: Directives,
    /// The TCP port; none: any that is free.
    port: Option<u16>,
    /// No TCP without TLS.
    no_tcp: bool,
    /// The port for TLS, where any that is free will do.
    any_tls_port: bool,
    /// Certificates and keys that are in no file.
    tls: InMemory,
    /// What makes it a sentinel, if it is to be one.
    sentinel: Option<Memory>,
    /// The clock, if it is not to be one that runs as the machine's.
    pub(super) clock: Option<ManualClock>,
}

impl Builder {
    /// The TCP port; 0, which is also the default, takes any that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// An address to listen on, in place of the loopback addresses. Several are separated by spaces.
    pub fn bind(self, addresses: &str) -> Self {
        self.config("bind", addresses)
    }

    /// Listens on no TCP port, except on the one for TLS where there is one. What is left are [`Server::client`],
    /// [`Server::connect`] and a [unix socket](Self::unix_socket).
    ///
    /// ```
    /// let server = redkeep::Server::builder().no_tcp().start()?;
    /// assert!(server.addrs().is_empty());
    /// assert_eq!(server.client()?.call(["PING"])?.to_string(), "PONG");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn no_tcp(mut self) -> Self {
        self.no_tcp = true;
        self
    }

    /// Listens on a unix socket as well. Its file is there while the server is.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("socket");
    /// let server = redkeep::Server::builder().no_tcp().unix_socket(&path).start()?;
    /// assert_eq!(server.url(), format!("unix://{}", path.display()));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unix_socket(mut self, path: impl AsRef<Path>) -> Self {
        self.directives.set_path("unixsocket", path.as_ref());
        self
    }

    /// Sets a parameter, as a configuration file would. A later value replaces an earlier one.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("port") {
            self.port = value.parse().ok().or(self.port);
        }
        self.directives.set(name, value);
        self
    }

    /// Keeps data in files of a directory, which is there already. What is saved by itself is said by the parameters `save` and
    /// `appendonly`. Without a directory everything is in memory only.
    ///
    /// ```
    /// # let home = tempfile::tempdir()?;
    /// let server = || redkeep::Server::builder().dir(&home).config("appendonly", "yes").start();
    /// server()?.client()?.call(["SET", "k", "v"])?;
    /// assert_eq!(server()?.client()?.call(["GET", "k"])?.as_bytes(), Some(&b"v"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.directives.set_path("dir", dir.as_ref());
        self
    }

    /// Asks clients for a password, except for those inside of the process.
    /// [`Server::url_with_password`] tells it to others.
    pub fn password(self, password: &str) -> Self {
        self.config("requirepass", password)
    }

    /// Gives a command another name, or none if that is empty: clients, scripts included, do not find it under its own then.
    pub fn rename_command(mut self, from: &str, to: &str) -> Self {
        self.directives.rename(from, to);
        self
    }

    /// Listens for TLS as well, on this port; 0 takes any that is free. What is needed beside it is said by `tls-*`
    /// parameters, or by [`tls_identity`](Self::tls_identity) and [`tls_authorities`](Self::tls_authorities). Clients must
    /// show a certificate, unless `tls-auth-clients` is `no` or `optional`.
    ///
    /// ```
    /// # fn pem() -> (String, String) {
    /// #     let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    /// #     (made.cert.pem(), made.signing_key.serialize_pem())
    /// # }
    /// # let (certificate, key) = pem();
    /// let server = redkeep::Server::builder()
    ///     .tls_port(0)
    ///     .tls_identity(certificate, key)
    ///     .config("tls-auth-clients", "no")
    ///     .start()?;
    /// println!("connect to rediss://{}", server.tls_addr().unwrap());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tls_port(mut self, port: u16) -> Self {
        self.any_tls_port = port == 0;
        self.config("tls-port", &port.to_string())
    }

    /// The certificate and the private key in PEM, for when they are in no file. They are used as long as `tls-cert-file` is
    /// empty.
    pub fn tls_identity(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.tls.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The certificates of the authorities that clients and other servers are vouched for by, in PEM, for when they are in no
    /// file. They are used as long as `tls-ca-cert-file` is empty.
    pub fn tls_authorities(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.tls.authorities = Some(certificates.into());
        self
    }

    /// Listens for TLS only. Without it, the plain port is there beside that for TLS, at the same addresses.
    pub fn tls_only(mut self) -> Self {
        self.no_tcp = true;
        self
    }

    /// Keeps the data set on another disk than the one of the operating system; without a directory (`dir`) and without
    /// a disk it is kept in memory only.
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.directives.disk = Some(disk);
        self
    }

    /// Makes everything random repeatable: two servers with one seed that are sent the same commands answer the same, byte
    /// for byte, as long as time plays no part in it. That is SPOP, RANDOMKEY, `*RANDFIELD` and `*RANDMEMBER`, the order in which
    /// hashes and sets show their elements and keys are scanned, `math.random` in scripts, which keys are evicted, names of
    /// histories, and ACL GENPASS.
    ///
    /// A seed that others know lets them choose keys whose hashes collide, and guess passwords that the server makes up:
    /// it is for tests. Without one everything comes from the operating system.
    ///
    /// ```
    /// let drawn = |seed| {
    ///     let server = redkeep::Server::builder().seed(seed).start()?;
    ///     let mut client = server.client()?;
    ///     client.call(["SADD", "deck", "ace", "king", "queen", "jack", "ten"])?;
    ///     Ok::<_, Box<dyn std::error::Error>>(client.call(["SPOP", "deck", "3"])?)
    /// };
    /// assert_eq!(drawn(7)?, drawn(7)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.directives.seed = Some(seed);
        self
    }

    /// Makes it a sentinel, with a configuration file that exists and in which it keeps what it learns and decides. What
    /// is set otherwise here is stronger than the file. It listens where the file says, or else where servers of this kind do.
    pub fn sentinel(mut self, file: impl Into<PathBuf>) -> Self {
        self.sentinel = Some(Memory::File(file.into()));
        self
    }

    /// The same, with the text of such a file. It remembers nothing when it is started again: not even for whom it voted.
    pub fn sentinel_in_memory(mut self, text: impl Into<String>) -> Self {
        self.sentinel = Some(Memory::Text(text.into()));
        self
    }

    /// Starts the server. It runs on threads of its own, whether or not the caller is asynchronous.
    ///
    /// # Errors
    /// When a parameter is refused, or an address cannot be listened on.
    pub fn start(self) -> Result<Server, StartError> {
        let made_by = Box::new(self.clone());
        let mut server = self.start_on(Network::direct())?;
        server.made_by = Some(made_by);
        Ok(server)
    }

    /// The same, at the ports that were found before.
    pub(super) fn at(mut self, plain: Option<u16>, tls: Option<u16>) -> Self {
        self.port = plain.or(self.port);
        match tls {
            Some(port) => self.tls_port(port),
            None => self,
        }
    }

    /// Starts the server; it reaches others in this way.
    pub(super) fn start_on(self, network: Network) -> Result<Server, StartError> {
        let loaded = self.loaded()?;
        let ports = Ports {
            plain: Some(loaded.config.port).filter(|_| !self.no_tcp),
            tls: Some(loaded.config.tls_port).filter(|port| *port != 0 || self.any_tls_port),
        };
        let Directives { disk, seed, .. } = self.directives;
        let fragile = disk.map(|disk| FragileDisk::over(disk, Arc::default()));
        let surroundings = Surroundings {
            disk: fragile.clone().map(|disk| Arc::new(disk) as _),
            fragile,
            clock: self.clock,
            network,
            tls: self.tls,
            seed,
            ..Surroundings::default()
        };
        let mut server = Server::open(loaded, ports, surroundings)?;
        server.load()?;
        Ok(server)
    }

    fn loaded(&self) -> Result<Loaded, StartError> {
        let given = Given {
            sentinel: self.sentinel.is_some(),
            embedded: true,
        };
        let port = self.port.map(|port| port.to_string());
        let last: &[&[u8]] = match &port {
            Some(port) => &[b"--port", port.as_bytes()],
            None => &[],
        };
        let load = |first: &[&[u8]], files: &dyn Files| {
            Ok(self.directives.load(given, first, last, files)?)
        };
        match &self.sentinel {
            Some(Memory::File(path)) => {
                let path = SystemFiles.absolute(path);
                sentinel::check_file(Some(&path)).map_err(StartError::Sentinel)?;
                load(&[path.as_os_str().as_encoded_bytes()], &SystemFiles)
            }
            Some(Memory::Text(text)) => load(&[b"-"], &WithInput(text.clone().into_bytes())),
            None => load(NOTHING_SAVED, &SystemFiles),
        }
    }
}

/// Where a sentinel's configuration comes from, and stays.
#[derive(Debug, Clone)]
enum Memory {
    File(PathBuf),
    Text(String),
}
