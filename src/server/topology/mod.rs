//! A leader, its replicas and their sentinels in one process, on real ports, and what may happen to them.
//!
//! ```text
//! start  how it is started                 home, port  where it is, and listens
//! files  where the nodes' files are        view        who leads, and whether all is in order
//! slot   a node and its life               clock       its time, and chance
//! ```
//! What it shares with those in virtual time is in `embed/topology`.
//!
//! Each node is a [`Server`](crate::Server) with threads of its own. What nodes connect to each other goes over the lines
//! of a switchboard (`server/switchboard.rs`), which can be cut; what clients connect does not.

mod clock;
mod files;
mod fortress;
mod home;
mod port;
mod slot;
mod start;
mod view;

use std::sync::Arc;
use std::time::Duration;

use super::switchboard::Switchboard;
use crate::embed::Client;
pub use crate::embed::topology::{Builder, Caller, Error, Fortress, Node, Role, State};
use crate::util::clock::ManualClock;
use home::Home;
use slot::Slot;

/// Whether a directory holds a topology, which would be gone on with there.
pub(super) fn is_in(dir: &std::path::Path) -> bool {
    files::path(dir, false, 1).exists()
}

/// A leader, its replicas and their sentinels in one process, each a server of its own on a port of its own.
///
/// What can happen to servers and networks can be made to happen to these: nodes are killed, frozen and started again,
/// and the lines between them are cut. Clients connect as they would to any such setting, and are never cut off.
/// Dropping it stops everything.
///
/// ```
/// use std::time::Duration;
///
/// // What is answered is with a replica: it outlasts the leader.
/// let topology = redkeep::Topology::builder().replicas(2).sync(true).start()?;
/// let leader = topology.leader()?;
/// topology.client(leader)?.call(["SET", "stock", "12"])?;
/// println!("connect to {}, or ask one of {:?}", leader.url(), topology.sentinels());
///
/// topology.kill(leader)?;
/// let next = topology.wait_for_leader_other_than(leader, Duration::from_secs(30))?;
/// let stock = topology.client(next)?.call(["GET", "stock"])?;
/// assert_eq!(stock, redkeep::Value::Bulk(b"12".to_vec()));
///
/// topology.restart(leader)?;
/// topology.wait_until_settled(Duration::from_secs(30))?;
/// assert_eq!(topology.leader()?, next);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Topology {
    /// Servers first, then sentinels.
    slots: Vec<Slot>,
    board: Arc<Switchboard>,
    clock: ManualClock,
    name: String,
    /// Dropped after the nodes.
    home: Home,
}

impl Topology {
    /// A topology to be configured and started: by default two replicas and three sentinels, in memory, on free ports.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What the sentinels call the leader.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory with a directory for each node.
    pub fn dir(&self) -> &std::path::Path {
        self.home.path()
    }

    /// All nodes: the servers first, then the sentinels.
    pub fn nodes(&self) -> Vec<Node> {
        self.slots.iter().map(|slot| slot.node).collect()
    }

    /// Those that hold data; a new topology begins with the first of them as the leader.
    pub fn servers(&self) -> Vec<Node> {
        self.others(self.sentinels())
    }

    /// Those that watch.
    pub fn sentinels(&self) -> Vec<Node> {
        let nodes = self.nodes().into_iter();
        nodes.filter(Node::is_sentinel).collect()
    }

    /// All nodes but these.
    pub fn others(&self, than: impl IntoIterator<Item = Node>) -> Vec<Node> {
        let than: Vec<_> = than.into_iter().collect();
        let nodes = self.nodes().into_iter();
        nodes.filter(|node| !than.contains(node)).collect()
    }

    fn slot(&self, node: Node) -> Result<&Slot, Error> {
        let slot = self.slots.get(node.place);
        slot.filter(|slot| slot.node == node)
            .ok_or(Error::Unknown(node))
    }

    /// What was done to a node.
    ///
    /// # Errors
    /// When it is none of this topology.
    pub fn state(&self, node: Node) -> Result<State, Error> {
        Ok(self.slot(node)?.state())
    }

    /// A client of a node, inside of this process. It lasts until the node is killed, and waits while it is frozen.
    ///
    /// # Errors
    /// When it does not run.
    pub fn client(&self, node: Node) -> Result<Client, Error> {
        self.slot(node)?.client()
    }

    /// Ends a node as SIGKILL ends a process: its connections are closed and nothing is saved. What was written to files
    /// stays.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, node: Node) -> Result<(), Error> {
        self.slot(node)?.kill()
    }

    /// Has a node stand still, as SIGSTOP does with a process: connections are taken, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run, or is kept by a script.
    pub fn freeze(&self, node: Node) -> Result<(), Error> {
        self.slot(node)?.freeze()
    }

    /// Has a node go on that was frozen.
    ///
    /// # Errors
    /// When it was not.
    pub fn thaw(&self, node: Node) -> Result<(), Error> {
        self.slot(node)?.thaw()
    }

    /// Starts a node that was killed, on the same port, with its files as they are. One that runs is ended before, as
    /// SIGTERM would; one that is frozen is killed.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&self, node: Node) -> Result<(), Error> {
        self.slot(node)?.start()
    }

    /// Cuts the lines between the nodes of one side and those of the other, until [`heal`](Self::heal): in both
    /// directions bytes stand still, and new connections are neither made nor refused. Nobody sees a connection closed.
    /// What was cut before stays so.
    ///
    /// A leader that is alone on its side goes on serving its clients, and a node that is on neither side reaches both.
    ///
    /// # Errors
    /// When one of them is none of this topology.
    pub fn partition(
        &self,
        left: impl IntoIterator<Item = Node>,
        right: impl IntoIterator<Item = Node>,
    ) -> Result<(), Error> {
        let (left, right) = (self.places(left)?, self.places(right)?);
        self.board.part(&left, &right);
        Ok(())
    }

    /// All lines are as they were before they were cut. What stood still is delivered.
    pub fn heal(&self) {
        self.board.heal();
    }

    /// Bytes between the nodes of one side and those of the other are on their way for so long, in each direction; none is
    /// as at the start.
    ///
    /// # Errors
    /// When one of them is none of this topology.
    pub fn delay(
        &self,
        left: impl IntoIterator<Item = Node>,
        right: impl IntoIterator<Item = Node>,
        delay: Duration,
    ) -> Result<(), Error> {
        let (left, right) = (self.places(left)?, self.places(right)?);
        self.board.delay(&left, &right, delay);
        Ok(())
    }

    fn places(&self, nodes: impl IntoIterator<Item = Node>) -> Result<Vec<usize>, Error> {
        let nodes = nodes.into_iter();
        nodes.map(|node| Ok(self.slot(node)?.node.place)).collect()
    }

    /// Stops all nodes, and waits until they are gone. Logs of writes are complete then.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        // All at once, and those first who would find the others missing.
        self.slots.iter().rev().for_each(Slot::end);
        self.slots.clear();
    }
}
