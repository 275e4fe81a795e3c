//! Starting and stopping a server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::unbounded_channel;

use super::access;
use super::builder::{Builder, StartError};
use super::host::{Outlets, ServerHost};
use super::listen::{self, Door};
use super::metrics;
use super::runtime::{self, End, RuntimeId, Serving, Sockets, Stop};
use super::sentinel;
use super::supervised::Supervisor;
use super::tls::{InMemory, Tls};
use super::wire::Network;
use crate::commands;
use crate::embed::jobs;
use crate::embed::{Client, FragileDisk, Node};
use crate::engine::{Engine, Options};
use crate::exec::Commands;
use crate::exec::persist::load::Loading;
use crate::persist::Disk;
use crate::service::config::{LoadError, Loaded, OomScoreAdj, Settings};
use crate::util::clock::{Clock, ManualClock};

/// The commands of a server, under the names that its configuration gives them.
fn commands_of(loaded: &Loaded, is_sentinel: bool) -> Result<Commands, LoadError> {
    let mut commands = Commands::new(match is_sentinel {
        true => commands::sentinel_registry(),
        false => commands::registry(),
    });
    for line in &loaded.renames {
        if let [_, from, to] = line.words.as_slice() {
            let renamed = commands.rename(from, to);
            renamed.map_err(|why| line.refused(why.to_string()))?;
        }
    }
    Ok(commands)
}

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
    stop: Arc<Stop>,
    id: RuntimeId,
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
        let commands = commands_of(&loaded, is_sentinel)?;
        let users = access::users(&loaded, commands.own())?;
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
        let mut host = ServerHost::new(outlets, Arc::clone(&tls), owns_process, disk.clone());
        host.listen_on(doors)?;
        host.observe_on(metrics::listen(&config)?)?;
        host.report_to(supervisor);
        host.save_on(fragile.clone());
        if disk.is_none() && config.appendonly && !is_sentinel {
            return Err(StartError::NoDirectory);
        }
        host.lock_dir(&config).map_err(|source| StartError::Dir {
            dir: config.dir.clone(),
            source,
        })?;
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
        let threads = usize::try_from(config.io_threads).unwrap_or(1);
        let mut engine = Engine::new(Options {
            settings: Settings::new(config, file),
            clock: Arc::new(clock.clone()),
            host: Box::new(host),
            seed,
            sentinel,
            users,
        });
        engine.state().sys.registry = commands;
        if let Some(disk) = &fragile {
            engine.state().sys.faults.rules = Arc::clone(disk.rules());
        }
        // Before the first client: nobody may see the databases empty that are to be loaded.
        engine.state().sys.persist.loading = disk.as_ref().map(|_| Loading::default());
        let node = Node::new(engine);
        if let Ok(mut engine) = node.lock() {
            engine.sentinel_begin();
        }
        let mut waiting = disk;
        if let Some(disk) = waiting.take_if(|disk| !jobs::has_data(&node, &**disk).unwrap_or(true))
        {
            // It takes no time. Whoever connects meanwhile waits for that.
            jobs::load_data(&node, &disk)?;
        }
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
                        let _ = sender.send(Ok(id));
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
        let id = started.recv().map_err(io::Error::other)??;
        Ok(Self {
            node,
            clock,
            addrs,
            tls_addrs,
            stop,
            id,
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
            Some(disk) => Ok(jobs::load_data(&self.node, &disk)?),
            None => Ok(()),
        }
    }

    /// The address of the first TCP socket; where there are only such for TLS, of the first of those.
    ///
    /// # Panics
    /// When the server has none, which no builder can ask for unless it asks for TLS only, and for no port of that.
    #[expect(clippy::expect_used, reason = "documented; a builder asks for TCP")]
    pub fn addr(&self) -> SocketAddr {
        let first = self.addrs.first().copied().or_else(|| self.tls_addr());
        first.expect("the server listens on TCP")
    }

    /// The addresses of all TCP sockets for those who do not speak TLS.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The TCP port; 0 when there is none.
    pub fn port(&self) -> u16 {
        self.addrs.first().map_or(0, SocketAddr::port)
    }

    /// The address of the first socket for TLS, if there is one.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addrs.first().copied()
    }

    /// Where clients connect to, `redis://127.0.0.1:6379` say, or `rediss://` where it is over TLS only; without the password,
    /// if there is one.
    pub fn url(&self) -> String {
        let scheme = if self.addrs.is_empty() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}://{}", self.addr())
    }

    /// A client inside of this process. It needs neither a socket nor a password.
    ///
    /// # Errors
    /// When the server has stopped.
    pub fn client(&self) -> Result<Client, crate::embed::CallError> {
        Client::connect(&self.node)
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

    /// What ends the server.
    pub(super) const fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    pub(super) fn end(&mut self) {
        self.stop.request(End::Asked);
        // A thread of the server cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|_| !self.id.is_here()) {
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
