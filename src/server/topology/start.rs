//! The start of a topology on real ports.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::Topology;
use super::files;
use super::home::Home;
use super::port::Reserved;
use super::slot::{Life, Slot};
use crate::embed::topology::builder::{PATIENCE, SENTINEL_PORTS};
use crate::embed::topology::node::name;
use crate::embed::topology::{Builder, Error, Node};
use crate::server::switchboard::Switchboard;
use crate::util::clock::ManualClock;

impl Builder {
    /// Starts all nodes, and waits until the replicas follow the leader and the sentinels know each other.
    ///
    /// # Errors
    /// When a node does not start: because a port is taken, say.
    pub fn start(self) -> Result<Topology, Error> {
        let home = Home::of(self.dir.as_deref())?;
        let (clock, seed) = (self.clock.clone(), self.seed);
        let clock = clock.unwrap_or_else(ManualClock::running);
        let [servers, sentinels] = self.ports(home.path())?;
        let wishes = self.wishes([servers.len(), sentinels.len()])?;
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
        files::write(home.path(), &nodes, &wishes, seed)?;
        let board = Arc::new(Switchboard::new(nodes.iter().map(Node::port).collect()));
        let slots = nodes.into_iter().zip(reserved).map(|(node, port)| Slot {
            node,
            file: files::path(home.path(), node.sentinel, node.number),
            lasting: wishes.lasting,
            board: Arc::clone(&board),
            _port: port,
            clock: clock.clone(),
            seed,
            starts: AtomicU64::new(0),
            life: Mutex::new(Life::Killed),
        });
        let topology = Topology {
            slots: slots.collect(),
            board,
            clock: clock.clone(),
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
            let [servers, sentinels] = self.counts()?;
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
