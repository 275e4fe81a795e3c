//! A node and what has become of it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::clock::seed_of;
use super::port::Reserved;
use crate::embed::topology::{Error, Node, State};
use crate::embed::{CallError, Client, FragileDisk, FreezeError, Frozen};
use crate::engine::Engine;
use crate::persist::{Disk, Files};
use crate::server::StartError;
use crate::server::handle::{Ports, Server, Surroundings};
use crate::server::runtime::End;
use crate::server::switchboard::Switchboard;
use crate::server::wire::Network;
use crate::service::config::{Given, Invocation, SystemFiles, invocation_as};
use crate::util::clock::ManualClock;

/// A place for a node.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) node: Node,
    /// Its configuration.
    pub(super) file: PathBuf,
    /// Its data is kept in files.
    pub(super) lasting: bool,
    pub(super) board: Arc<Switchboard>,
    pub(super) _port: Reserved,
    pub(super) clock: ManualClock,
    /// What all randomness begins with, if it is to be repeatable; and how often it was started.
    pub(super) seed: Option<u64>,
    pub(super) starts: AtomicU64,
    pub(super) life: Mutex<Life>,
}

/// What is in it.
#[derive(Debug, Default)]
pub(super) enum Life {
    /// Nothing.
    #[default]
    Killed,
    Running(Running),
    /// The ice melts before the server ends, which it would keep from that.
    Frozen(Frozen, Running),
}

/// A server.
#[derive(Debug)]
pub(super) struct Running {
    server: Server,
    disk: FragileDisk,
}

impl Slot {
    pub(super) fn state(&self) -> State {
        match &*self.life.lock() {
            // Its clients can end it too.
            Life::Running(running) if !running.server.node().is_stopped() => State::Running,
            Life::Running(_) | Life::Killed => State::Killed,
            Life::Frozen(..) => State::Frozen,
        }
    }

    /// Starts it, if it does not run. One that runs is stopped before, in good order; one that is frozen is killed.
    pub(super) fn start(&self) -> Result<(), Error> {
        let mut life = self.life.lock();
        match std::mem::take(&mut *life) {
            Life::Killed => {}
            Life::Running(running) => running.shut_down(),
            Life::Frozen(ice, running) => running.kill(Some(ice)),
        }
        *life = Life::Running(self.run().map_err(|source| Error::Start {
            node: self.node,
            source: Box::new(source),
        })?);
        Ok(())
    }

    fn run(&self) -> Result<Running, StartError> {
        let given = Given {
            sentinel: self.node.sentinel,
            ..Given::default()
        };
        let argv = [self.file.clone().into_os_string().into_encoded_bytes()];
        let Invocation::Run(loaded) = invocation_as(given, &argv, &SystemFiles)? else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        };
        let disk = FragileDisk::over(Arc::new(Files), Arc::default());
        let starts = self.starts.fetch_add(1, Ordering::Relaxed);
        let surroundings = Surroundings {
            disk: self
                .lasting
                .then(|| Arc::new(disk.clone()) as Arc<dyn Disk>),
            fragile: Some(disk.clone()),
            network: Network::at(Arc::clone(&self.board), self.node.place),
            clock: Some(self.clock.clone()),
            seed: self.seed.map(|seed| seed_of(seed, self.node.place, starts)),
            ..Surroundings::default()
        };
        let ports = Ports {
            plain: Some(self.node.port()),
            ..Ports::default()
        };
        let mut server = Server::open(*loaded, ports, surroundings)?;
        server.load()?;
        Ok(Running { server, disk })
    }

    pub(super) fn kill(&self) -> Result<(), Error> {
        // Until it has gone, nobody can start it again.
        let mut life = self.life.lock();
        match std::mem::take(&mut *life) {
            Life::Killed => return Err(Error::Killed(self.node)),
            Life::Running(running) => running.kill(None),
            Life::Frozen(ice, running) => running.kill(Some(ice)),
        }
        Ok(())
    }

    pub(super) fn freeze(&self) -> Result<(), Error> {
        let mut life = self.life.lock();
        let running = match std::mem::take(&mut *life) {
            Life::Running(running) => running,
            other => {
                let error = match other {
                    Life::Killed => Error::Killed(self.node),
                    _ => Error::Frozen(self.node),
                };
                *life = other;
                return Err(error);
            }
        };
        match Frozen::over(running.server.node()) {
            Ok(ice) => {
                *life = Life::Frozen(ice, running);
                Ok(())
            }
            Err(why) => {
                *life = Life::Running(running);
                Err(match why {
                    FreezeError::Busy => Error::Busy(self.node),
                    FreezeError::Stopped => Error::Killed(self.node),
                    FreezeError::Thread(e) => Error::Thread(e),
                })
            }
        }
    }

    pub(super) fn thaw(&self) -> Result<(), Error> {
        let mut life = self.life.lock();
        match std::mem::take(&mut *life) {
            Life::Frozen(ice, running) => {
                drop(ice);
                *life = Life::Running(running);
                Ok(())
            }
            other => {
                let error = match other {
                    Life::Killed => Error::Killed(self.node),
                    _ => Error::NotFrozen(self.node),
                };
                *life = other;
                Err(error)
            }
        }
    }

    /// Does something with the server, which does not freeze meanwhile.
    fn with<T>(&self, work: impl FnOnce(&Running) -> Result<T, CallError>) -> Result<T, Error> {
        match &*self.life.lock() {
            Life::Killed => Err(Error::Killed(self.node)),
            Life::Frozen(..) => Err(Error::Frozen(self.node)),
            Life::Running(running) => work(running).map_err(|source| Error::Call {
                node: self.node,
                source,
            }),
        }
    }

    pub(super) fn client(&self) -> Result<Client, Error> {
        self.with(|running| running.server.client())
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Engine) -> T) -> Result<T, Error> {
        self.with(|running| Ok(look(&mut *running.server.node().lock()?)))
    }

    /// Tells it to end, without waiting for that.
    pub(super) fn end(&self) {
        match &*self.life.lock() {
            Life::Running(running) => running.server.stop().request(End::Asked),
            Life::Frozen(_, running) => running.server.node().stop(),
            Life::Killed => {}
        }
    }
}

impl Running {
    /// What ends a process with SIGKILL.
    fn kill(self, ice: Option<Frozen>) {
        self.disk.sever();
        // Before it can go on: nobody is answered any more.
        self.server.node().stop();
        drop(ice);
        self.server.shutdown();
    }

    /// What ends a process with SIGTERM.
    fn shut_down(self) {
        if let Ok(mut client) = self.server.client() {
            // Who does not want to end is ended.
            let _ = client.call(["SHUTDOWN"]);
        }
        self.server.shutdown();
    }
}
