//! What a topology is to be like.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::error::Error;
use super::files::{self, Wishes};
use super::home::Home;
use super::node::{Node, name};
use super::port::Reserved;
use super::slot::{Life, Slot};
use super::{SENTINEL_PORTS, Topology};
use crate::server::switchboard::Switchboard;

/// No more nodes than this.
const MOST: usize = 100;

/// How long the nodes may take until all is in order.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a [`Topology`] is to be like; made by [`Topology::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    replicas: Option<usize>,
    sentinels: Option<usize>,
    base_port: Option<u16>,
    dir: Option<PathBuf>,
    quorum: Option<usize>,
    name: String,
    down_after: Duration,
    failover_timeout: Duration,
    sync: bool,
    options: Vec<(String, String)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            replicas: None,
            sentinels: None,
            base_port: None,
            dir: None,
            quorum: None,
            name: "mymaster".into(),
            down_after: Duration::from_secs(1),
            failover_timeout: Duration::from_secs(10),
            sync: false,
            options: Vec::new(),
        }
    }
}

impl Builder {
    /// How many replicas there are beside the leader: 2, or as many as the directory has, unless this says otherwise.
    pub const fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// How many sentinels there are: 3, or as many as the directory has, unless this says otherwise. Without any nobody
    /// replaces a leader.
    pub const fn sentinels(mut self, sentinels: usize) -> Self {
        self.sentinels = Some(sentinels);
        self
    }

    /// Servers listen on this port and those behind it, and sentinels on those from 20,000 further on. By default all
    /// listen on ports that are free.
    pub const fn base_port(mut self, port: u16) -> Self {
        self.base_port = Some(port);
        self
    }

    /// Keeps data (`appendonly yes`) and configuration in this directory, which is made if it is missing. What is there
    /// from before is gone on with: whoever led then leads. By default data is kept in memory, and nothing stays.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Replies wait until a replica has what they show (`sync-replicas 1`), and no write is taken while there is no
    /// replica (`min-replicas-to-write 1`).
    pub const fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// What the sentinels call the leader: `mymaster`, unless this says otherwise.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many sentinels have to agree that the leader is down; by default the majority of them.
    pub const fn quorum(mut self, quorum: usize) -> Self {
        self.quorum = Some(quorum);
        self
    }

    /// How long a node has to be silent for a sentinel to take it for down; 1 s by default.
    pub const fn down_after(mut self, time: Duration) -> Self {
        self.down_after = time;
        self
    }

    /// What sentinels derive from it how long they wait before they try again; 10 s by default.
    pub const fn failover_timeout(mut self, time: Duration) -> Self {
        self.failover_timeout = time;
        self
    }

    /// Sets a parameter of all servers (not of the sentinels), as a configuration file would. A password
    /// (`requirepass`) is told to replicas and sentinels too.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    /// Starts all nodes, and waits until the replicas follow the leader and the sentinels know each other.
    ///
    /// # Errors
    /// When a node does not start: because a port is taken, say.
    pub fn start(self) -> Result<Topology, Error> {
        let home = Home::of(self.dir.as_deref())?;
        let [servers, sentinels] = self.ports(home.path())?;
        if self.sync && servers.len() < 2 {
            return Err(Error::Alone);
        }
        let mut nodes = Vec::new();
        let mut reserved = Vec::new();
        let wanted = servers
            .iter()
            .enumerate()
            .map(|(i, port)| (false, i, *port));
        let wanted = wanted.chain(
            sentinels
                .iter()
                .enumerate()
                .map(|(i, port)| (true, i, *port)),
        );
        for (place, (sentinel, i, port)) in wanted.enumerate() {
            let held = Reserved::new(port).map_err(|source| Error::Port {
                node: name(sentinel, i + 1),
                port,
                source,
            })?;
            nodes.push(Node {
                place,
                number: i + 1,
                sentinel,
                addr: held.addr(),
            });
            reserved.push(held);
        }
        let wishes = Wishes {
            quorum: self.quorum.unwrap_or(sentinels.len() / 2 + 1),
            lasting: self.dir.is_some(),
            name: self.name,
            down_after: self.down_after,
            failover_timeout: self.failover_timeout,
            sync: self.sync,
            options: self.options,
        };
        files::write(home.path(), &nodes, &wishes)?;
        let board = Arc::new(Switchboard::new(nodes.iter().map(Node::port).collect()));
        let slots = nodes.into_iter().zip(reserved).map(|(node, port)| Slot {
            node,
            file: files::path(home.path(), node.sentinel, node.number),
            lasting: wishes.lasting,
            board: Arc::clone(&board),
            _port: port,
            life: Mutex::new(Life::Killed),
        });
        let topology = Topology {
            slots: slots.collect(),
            board,
            name: wishes.name,
            home,
        };
        topology.slots.iter().try_for_each(Slot::start)?;
        topology.wait_until_settled(PATIENCE)?;
        Ok(topology)
    }

    /// The ports of servers and sentinels; 0 for any.
    fn ports(&self, home: &Path) -> Result<[Vec<u16>; 2], Error> {
        let known = files::ports(home)?;
        if known.iter().all(Vec::is_empty) {
            let wanted = [
                self.replicas.unwrap_or(2).saturating_add(1),
                self.sentinels.unwrap_or(3),
            ];
            let asked = wanted
                .iter()
                .fold(0, |sum: usize, n| sum.saturating_add(*n));
            if asked > MOST {
                return Err(Error::TooMany { asked, most: MOST });
            }
            let [servers, sentinels] = wanted;
            return Ok([
                row(self.base_port, 0, servers)?,
                row(self.base_port, SENTINEL_PORTS, sentinels)?,
            ]);
        }
        let [servers, sentinels] = &known;
        let differs = |what: String| {
            Err(Error::Other {
                dir: home.to_owned(),
                what,
            })
        };
        let replicas = servers.len().saturating_sub(1);
        if self.replicas.is_some_and(|wanted| wanted != replicas)
            || self
                .sentinels
                .is_some_and(|wanted| wanted != sentinels.len())
        {
            return differs(format!(
                "it has {replicas} replicas and {} sentinels",
                sentinels.len()
            ));
        }
        let first = servers.first().copied();
        if self.base_port.is_some() && self.base_port != first {
            return differs(format!("its first port is {}", first.unwrap_or_default()));
        }
        Ok(known)
    }
}

/// So many ports, from one on.
fn row(base: Option<u16>, further: u16, count: usize) -> Result<Vec<u16>, Error> {
    let Some(base) = base else {
        return Ok(vec![0; count]);
    };
    let ports = (0..count).map(|i| {
        let port = u16::try_from(i).ok()?.checked_add(further)?;
        port.checked_add(base)
    });
    let ports: Option<Vec<_>> = ports.collect();
    ports.filter(|_| base != 0).ok_or(Error::NoPorts(base))
}
