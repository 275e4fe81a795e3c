//! Starting and stopping a server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;

use super::builder::{Builder, StartError};
use super::host::{Outlets, ServerHost};
use super::listen::{self, Door};
use super::metrics;
use super::runtime::{self, End, RuntimeId, Serving, Sockets, Stop};
use super::sentinel;
use super::supervised::Supervisor;
use super::tls::{InMemory, Tls};
use super::wire::Network;
use crate::embed::open::{self, Checked};
use crate::embed::{AsyncClient, CallError, Client, FragileDisk, Node, OpenError, jobs};
use crate::engine::Options;
use crate::persist::Disk;
use crate::service::config::{Loaded, OomScoreAdj, Settings};
use crate::util::clock::{Clock, ManualClock};

/// The ports to listen on, if at all; 0 is any that is free.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ports {
    pub(super) plain: Option<u16>,
    pub(super) tls: Option<u16>,
}

/// What a server runs in.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// The process is the server's own.
    pub(super) owns_process: bool,
    /// Where the data set is kept, if it is.
    pub(super) disk: Option<Arc<dyn Disk>>,
    /// The same disk, where it can be broken.
    pub(super) fragile: Option<FragileDisk>,
    /// The clock, if it is not one that runs as the machine's.
    pub(super) clock: Option<ManualClock>,
    /// How others are reached.
    pub(super) network: Network,
    /// Certificates and keys that are in no file.
    pub(super) tls: InMemory,
    /// The service manager, if there is one to report to.
    pub(super) supervisor: Supervisor,
    /// What all randomness begins with, if it is to be repeatable.
    pub(super) seed: Option<u64>,
}

/// A running server. Dropping it stops it and closes every connection.
///
/// ```
/// let server = redkeep::Server::builder().start()?;
/// let mut client = server.client()?;
/// let reply = client.call(["SET", "lock", "token", "NX", "PX", "30000"])?;
/// assert_eq!(reply.to_string(), "OK");
/// println!("or connect to {}", server.url());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    node: Node,
    pub(super) clock: ManualClock,
    addrs: Vec<SocketAddr>,
    tls_addrs: Vec<SocketAddr>,
    unix: Option<String>,
    password: Vec<u8>,
    stop: Arc<Stop>,
    id: RuntimeId,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
    /// The disk with the data set, until that is loaded.
    waiting: Option<Arc<dyn Disk>>,
    /// The same disk, where it can be broken.
    pub(super) fragile: Option<FragileDisk>,
    /// What it was made by, where it can be made again.
    pub(super) made_by: Option<Box<Builder>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server to be configured and started: by default on a free port of the loopback addresses.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a server with a configuration that is complete. Its clients are told that it is loading until
    /// [`load`](Self::load) has done that.
    pub(super) fn open(
        loaded: Loaded,
        ports: Ports,
        surroundings: Surroundings,
    ) -> Result<Self, StartError> {
        let Surroundings {
            owns_process,
            disk,
            fragile,
            clock,
            network,
            tls,
            supervisor,
            seed,
        } = surroundings;
        let clock = clock.unwrap_or_else(ManualClock::running);
        let sentinel = sentinel::assemble(&loaded, seed, clock.now_ms())?;
        let is_sentinel = sentinel.is_some();
        let checked = Checked::new(&loaded)?;
        // A sentinel has no data set.
        let disk = disk.filter(|_| !is_sentinel);
        let Loaded {
            mut config, file, ..
        } = loaded;
        let mut doors = listen::doors(&config.bind, ports.plain, config.tcp_backlog, false)?;
        let secure = listen::doors(&config.bind, ports.tls, config.tcp_backlog, true)?;
        let addrs = addresses(&doors);
        let tls_addrs = addresses(&secure);
        // Whoever asks for the port wants the one that was found.
        config.port = addrs.first().map_or(0, SocketAddr::port);
        config.tls_port = tls_addrs.first().map_or(0, SocketAddr::port);
        doors.extend(secure);
        let tls = Arc::new(Tls::new(tls));
        tls.install(tls.prepare(&config)?);
        let network = network.secured_by(Arc::clone(&tls)).timed_by(clock.clone());
        let (sender, accept) = unbounded_channel();
        let (carrier, parcels) = unbounded_channel();
        let (observers, observe) = unbounded_channel();
        let outlets = Outlets {
            accept: sender,
            observe: observers,
            carrier,
        };
        let storage = open::storage(&config, disk.clone(), !is_sentinel)?;
        let mut host = ServerHost::new(outlets, Arc::clone(&tls), owns_process, storage);
        host.listen_on(doors)?;
        host.observe_on(metrics::listen(&config)?)?;
        host.report_to(supervisor);
        host.save_on(fragile.clone());
        if owns_process
            && config.oom_score_adj != OomScoreAdj::No
            && let Err(error) = host.set_oom_score(&config)
        {
            tracing::warn!("Cannot set oom-score-adj: {error}");
        }
        let sockets = Sockets {
            tcp: accept,
            tls,
            #[cfg(unix)]
            unix: unix_socket(
                &config.unixsocket,
                config.unixsocketperm,
                config.tcp_backlog,
            )?,
            metrics: observe,
            network,
            parcels,
            owns_process,
        };
        let unix = Some(config.unixsocket.clone()).filter(|path| !path.is_empty());
        let password = config.requirepass.clone();
        let threads = usize::try_from(config.io_threads).unwrap_or(1);
        let options = Options {
            settings: Settings::new(config, file),
            clock: Arc::new(clock.clone()),
            host: Box::new(host),
            seed,
            sentinel,
            rules: fragile
                .as_ref()
                .map(|disk| Arc::clone(disk.rules()))
                .unwrap_or_default(),
            ..Options::default()
        };
        let (node, waiting) = checked.open(options, disk)?;
        let stop = Arc::new(Stop::default());
        let (sender, started) = std::sync::mpsc::sync_channel(1);
        let (its_node, its_stop) = (node.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("redkeep".into())
            .spawn(move || {
                let run = runtime::build(threads).and_then(|(runtime, id)| {
                    let serving = runtime::serve(runtime.handle(), &its_node, sockets, &its_stop)?;
                    Ok((runtime, id, serving))
                });
                let (runtime, serving): (_, Serving) = match run {
                    Ok((runtime, id, serving)) => {
                        let _ = sender.send(Ok((id, runtime.handle().clone())));
                        (runtime, serving)
                    }
                    Err(error) => {
                        its_node.stop();
                        its_node.join_jobs();
                        return drop(sender.send(Err(error)));
                    }
                };
                runtime::run_to_end(runtime, &its_node, serving, &its_stop);
            })?;
        let (id, runtime) = started.recv().map_err(io::Error::other)??;
        Ok(Self {
            node,
            clock,
            addrs,
            tls_addrs,
            unix,
            password,
            stop,
            id,
            runtime,
            thread: Some(thread),
            waiting,
            fragile,
            made_by: None,
        })
    }

    /// Loads the data set that is in the configured directory, if there is one.
    ///
    /// # Errors
    /// When it cannot be loaded; the server is of no use then.
    pub(super) fn load(&mut self) -> Result<(), StartError> {
        match self.waiting.take() {
            Some(disk) => Ok(jobs::load_data(&self.node, &disk).map_err(OpenError::from)?),
            None => Ok(()),
        }
    }

    /// The addresses of all TCP sockets for those who do not speak TLS.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The address of the first socket for TLS, if there is one.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addrs.first().copied()
    }

    /// The path of the unix socket, if there is one.
    pub fn unix_path(&self) -> Option<&str> {
        self.unix.as_deref()
    }

    /// The password that it was started with; empty: none.
    pub(super) fn password(&self) -> &[u8] {
        &self.password
    }

    /// A client inside of this process. It needs neither a socket nor a password.
    ///
    /// # Errors
    /// When the server has stopped.
    pub fn client(&self) -> Result<Client, CallError> {
        Client::connect(&self.node)
    }

    /// The same, for asynchronous callers, on any runtime.
    ///
    /// # Errors
    /// When the server has stopped.
    pub fn async_client(&self) -> Result<AsyncClient, CallError> {
        AsyncClient::connect(&self.node)
    }

    /// Stops the server: closes sockets and connections, and waits until its threads are gone.
    pub fn shutdown(mut self) {
        self.end();
    }

    /// Waits until the server is to end, by SHUTDOWN or a signal.
    pub(super) fn wait(&self) -> End {
        self.stop.wait()
    }

    /// The engine.
    pub(super) const fn node(&self) -> &Node {
        &self.node
    }

    /// What runs its tasks.
    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// What ends the server.
    pub(super) const fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    pub(super) fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        if !self.node.is_here() {
            // The process was copied, its threads were not: there is nobody to wait for, and nothing here is ours to close.
            return std::mem::forget(thread);
        }
        self.stop.request(End::Asked);
        // A thread of the server cannot wait for itself.
        if !self.id.is_here() {
            // It panics only if the runtime does, and then it is gone as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn addresses(doors: &[Door]) -> Vec<SocketAddr> {
    let found = doors
        .iter()
        .filter_map(|door| door.socket.local_addr().ok());
    found.collect()
}

#[cfg(unix)]
fn unix_socket(
    path: &str,
    mode: u32,
    backlog: u32,
) -> Result<
    Option<(
        std::os::unix::net::UnixListener,
        listen::unix::SocketFile,
        String,
    )>,
    StartError,
> {
    if path.is_empty() {
        return Ok(None);
    }
    match listen::unix::listen(Path::new(path), mode, backlog) {
        Ok((listener, file)) => Ok(Some((listener, file, path.to_owned()))),
        Err(source) => Err(StartError::Unix {
            path: path.to_owned(),
            source,
        }),
    }
}
