//! What the engine learns of the process around it, and has done to its sockets.

use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::listen::{self, Door};
use super::log::{self, Role};
use super::metrics;
use super::supervised::Supervisor;
use super::tls::Tls;
use crate::embed::storage::Storage;
use crate::embed::{FragileDisk, facts};
use crate::exec::host::Milestone;
use crate::exec::migrate::Parcel;
use crate::exec::{Facts, Host};
use crate::persist::Disk;
use crate::service::config::{ApplyError, Change, Config, OomScoreAdj};
use crate::util::system::reason;

/// The surroundings of an engine behind sockets.
pub(super) struct ServerHost {
    /// The sockets that are listened on, to tell the port and to close them.
    listening: Vec<Door>,
    /// Takes the sockets to accept connections on, in place of those before.
    accept: UnboundedSender<Vec<Door>>,
    /// Takes what is to be sent to other servers.
    carrier: UnboundedSender<Parcel>,
    /// What connections over TLS begin with.
    tls: Arc<Tls>,
    /// The process is this server's: it may change what belongs to the whole process.
    owns_process: bool,
    /// Where data sets are saved, if they are.
    storage: Storage,
    /// Its disk, if that can lose what was not synced.
    fragile: Option<FragileDisk>,
    /// The score that the process had before this server changed it; none while it has not.
    oom_score: Option<i32>,
    /// Takes the sockets to serve HTTP on, in place of those before.
    observe: UnboundedSender<Vec<TcpListener>>,
    /// Those sockets.
    observed: Vec<TcpListener>,
    /// The service manager, if there is one to report to.
    supervisor: Supervisor,
}

/// Where a host sends what tasks of the server act on.
pub(super) struct Outlets {
    /// The sockets to accept connections on, in place of those before.
    pub(super) accept: UnboundedSender<Vec<Door>>,
    /// The sockets to serve HTTP on, likewise.
    pub(super) observe: UnboundedSender<Vec<TcpListener>>,
    /// What is to be sent to other servers.
    pub(super) carrier: UnboundedSender<Parcel>,
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";

impl ServerHost {
    pub(super) fn new(
        outlets: Outlets,
        tls: Arc<Tls>,
        owns_process: bool,
        storage: Storage,
    ) -> Self {
        Self {
            listening: Vec::new(),
            accept: outlets.accept,
            carrier: outlets.carrier,
            tls,
            owns_process,
            storage,
            fragile: None,
            oom_score: None,
            observe: outlets.observe,
            observed: Vec::new(),
            supervisor: Supervisor::default(),
        }
    }

    /// Data sets are saved on this disk, which can be broken.
    pub(super) fn save_on(&mut self, fragile: Option<FragileDisk>) {
        self.fragile = fragile;
    }

    /// Has this service manager told what becomes of the server.
    pub(super) fn report_to(&mut self, supervisor: Supervisor) {
        self.supervisor = supervisor;
    }

    /// Serves HTTP on these sockets from now on.
    pub(super) fn observe_on(&mut self, sockets: Vec<TcpListener>) -> io::Result<()> {
        let observed = sockets
            .iter()
            .map(TcpListener::try_clone)
            .collect::<Result<_, _>>()?;
        self.hide();
        self.observed = observed;
        self.observe.send(sockets).map_err(io::Error::other)
    }

    /// Serves HTTP elsewhere. When that fails, it is served where it was.
    fn move_observers(&mut self, old: &Config, new: &Config) -> io::Result<()> {
        let sockets = |config: &Config| {
            metrics::listen(config).map_err(|e| {
                warn!("{e}");
                e.source
            })
        };
        match sockets(new) {
            Ok(found) => self.observe_on(found),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && old.metrics_port == new.metrics_port =>
            {
                // Perhaps it is ours that are in the way.
                self.hide();
                let found = sockets(new);
                let moved = found.is_ok();
                self.observe_on(found.or_else(|_| sockets(old))?)?;
                if moved { Ok(()) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Frees the addresses for HTTP at once.
    fn hide(&mut self) {
        // Without a receiver the server is ending.
        let _ = self.observe.send(Vec::new());
        for socket in self.observed.drain(..) {
            if let Err(error) = SockRef::from(&socket).shutdown(Shutdown::Both) {
                warn!("Closing a listening socket: {error}");
            }
        }
    }

    /// Accepts connections on these sockets from now on.
    pub(super) fn listen_on(&mut self, doors: Vec<Door>) -> io::Result<()> {
        self.listening = doors
            .iter()
            .map(Door::try_clone)
            .collect::<Result<_, _>>()?;
        self.accept.send(doors).map_err(io::Error::other)
    }

    /// Listens elsewhere. When that fails, the server listens where it did.
    fn move_sockets(&mut self, old: &Config, new: &Config) -> io::Result<()> {
        let found = self.doors(old, new);
        let ours = [old.port, old.tls_port];
        let ours_in_the_way = matches!(&found, Err(e) if e.kind() == io::ErrorKind::AddrInUse)
            && [new.port, new.tls_port]
                .iter()
                .any(|port| *port != 0 && ours.contains(port));
        if !ours_in_the_way {
            return self.listen_on(found?);
        }
        self.close();
        match self.doors(old, new) {
            Ok(found) => self.listen_on(found),
            Err(error) => {
                let before = self.doors(new, old)?;
                self.listen_on(before)?;
                Err(error)
            }
        }
    }

    /// The doors of a configuration: those that are open and stay where they are, and new ones.
    fn doors(&self, old: &Config, new: &Config) -> io::Result<Vec<Door>> {
        let mut doors = Vec::new();
        for (secure, before, port) in [
            (false, old.port, new.port),
            (true, old.tls_port, new.tls_port),
        ] {
            let open = || self.listening.iter().filter(|door| door.secure == secure);
            if port == before && old.bind == new.bind && open().next().is_some() {
                for door in open() {
                    doors.push(door.try_clone()?);
                }
                continue;
            }
            let port = Some(port).filter(|port| *port != 0);
            let found = listen::doors(&new.bind, port, new.tcp_backlog, secure);
            doors.extend(found.map_err(|e| {
                warn!("{e}");
                e.source
            })?);
        }
        Ok(doors)
    }

    /// Frees the addresses at once; the tasks that accept on them are told to end.
    fn close(&mut self) {
        // Without a receiver the server is ending.
        let _ = self.accept.send(Vec::new());
        for door in self.listening.drain(..) {
            if let Err(error) = SockRef::from(&door.socket).shutdown(Shutdown::Both) {
                warn!("Closing a listening socket: {error}");
            }
        }
    }

    /// Writes the score that the configuration asks for, or the one that was there before, if it was changed at all.
    pub(super) fn set_oom_score(&mut self, config: &Config) -> io::Result<()> {
        let [leader, replica, _] = config.oom_score_adj_values;
        let value = match config.replicaof {
            None => leader,
            Some(_) => replica,
        };
        let score = match (config.oom_score_adj, self.oom_score.take()) {
            (OomScoreAdj::No, None) => return Ok(()),
            (OomScoreAdj::No, Some(before)) => before,
            (asked, before) => {
                let before = match before {
                    Some(before) => before,
                    None => oom_score()?,
                };
                self.oom_score = Some(before);
                match asked {
                    OomScoreAdj::Relative => before + value,
                    _ => value,
                }
            }
        };
        fs::write(OOM_SCORE, score.clamp(-1000, 1000).to_string())
    }
}

impl Host for ServerHost {
    fn carry(&self, parcel: Parcel) -> bool {
        self.carrier.send(parcel).is_ok()
    }

    fn disk(&self) -> Option<Arc<dyn Disk>> {
        self.storage.disk()
    }

    fn process(&self) -> Option<u32> {
        self.owns_process.then(std::process::id)
    }

    fn facts(&self) -> Facts {
        let plain = || self.listening.iter().filter(|door| !door.secure);
        Facts {
            tcp_port: plain().next().map_or(0, Door::port),
            tcp_sockets: plain().count(),
            tls_sockets: self.listening.len() - plain().count(),
            multiplexing_api: match () {
                () if cfg!(target_os = "linux") => "epoll",
                () if cfg!(unix) => "kqueue",
                () => "",
            },
            allocator: if self.owns_process { "mimalloc" } else { "" },
            supervised: self.supervisor.name(),
            ..facts::of_process()
        }
    }

    fn apply(
        &mut self,
        old: &Config,
        new: &mut Config,
        changes: &[Change],
    ) -> Result<(), ApplyError> {
        let changed = |names: &[&str]| {
            changes
                .iter()
                .map(|c| c.row.name)
                .find(|name| names.contains(name))
        };
        // Taken only when nothing else has failed.
        let elsewhere = self.storage.prepare(old, new, changes)?;
        let tls = changes
            .iter()
            .map(|c| c.row.name)
            .find(|name| name.starts_with("tls-"));
        let both = tls.map(|name| {
            self.tls.prepare(new).map_err(|error| {
                warn!("{error}");
                ApplyError {
                    name,
                    why: "Unable to update TLS configuration. Check server logs.".into(),
                }
            })
        });
        let both = both.transpose()?;
        if let Some(name) = changed(&["maxclients"]) {
            self.make_room(new.maxclients).map_err(|most| ApplyError {
                name,
                why: format!(
                    "The operating system is not able to handle the specified number of clients, try with {most}"
                ),
            })?;
        }
        let scored = changed(&["oom-score-adj", "oom-score-adj-values"]);
        if let Some(name) = scored
            && (!self.owns_process || self.set_oom_score(new).is_err())
        {
            if self.owns_process {
                warn!("Unable to write oom_score_adj");
                let _ = self.set_oom_score(old);
            }
            let why = "Failed to set current oom_score_adj. Check server logs.".into();
            return Err(ApplyError { name, why });
        }
        let observed = changed(&["metrics-port", "metrics-bind"])
            .or_else(|| changed(&["bind"]).filter(|_| new.metrics_port != 0));
        if let Some(name) = observed
            && let Err(error) = self.move_observers(old, new)
        {
            if scored.is_some() {
                let _ = self.set_oom_score(old);
            }
            let why = format!("Unable to listen there for HTTP: {}", reason(&error));
            return Err(ApplyError { name, why });
        }
        if let Some(name) = changed(&["port", "tls-port", "bind"])
            && self.move_sockets(old, new).is_err()
        {
            if observed.is_some() {
                // They were there a moment ago.
                let _ = self.move_observers(new, old);
            }
            if scored.is_some() {
                // It could be set a moment ago.
                let _ = self.set_oom_score(old);
            }
            let why = match name {
                "port" | "tls-port" => "Unable to listen on this port. Check server logs.",
                _ => "Failed to bind to specified addresses.",
            };
            return Err(ApplyError {
                name,
                why: why.into(),
            });
        }
        self.storage.take(elsewhere);
        if let Some(both) = both {
            self.tls.install(both);
        }
        if self.owns_process && changed(&["loglevel", "log-format"]).is_some() {
            log::configure(new);
        }
        Ok(())
    }

    fn part_changed(&mut self, config: &Config) {
        if self.owns_process
            && let Err(error) = self.set_oom_score(config)
        {
            warn!("Unable to write oom_score_adj: {error}");
        }
    }

    fn crash(&self) {
        if !self.owns_process {
            return;
        }
        if let Some(disk) = &self.fragile {
            disk.sever();
            if let Err(error) = disk.lose_unsynced() {
                warn!("What was not synced is still there: {}", reason(&error));
            }
        }
        warn!("Crashing, as a client asks");
        std::process::abort();
    }

    fn reached(&self, milestone: Milestone) {
        if self.owns_process {
            match milestone {
                Milestone::Leads => log::speak_as(Role::Leader),
                Milestone::Follows => log::speak_as(Role::Replica),
                _ => {}
            }
        }
        self.supervisor.reached(milestone);
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl ServerHost {
    /// Asks the system for that many clients; otherwise says how many it allows.
    #[cfg(unix)]
    fn make_room(&self, clients: u32) -> Result<(), u64> {
        super::daemon::raise_file_limit(u64::from(clients), self.owns_process)
    }

    #[cfg(not(unix))]
    fn make_room(&self, _: u32) -> Result<(), u64> {
        Ok(())
    }
}

/// How early the system is to choose this process when memory runs out.
fn oom_score() -> io::Result<i32> {
    let text = fs::read_to_string(OOM_SCORE)?;
    text.trim().parse().map_err(io::Error::other)
}
