//! A node as the user of a topology names it.

use std::fmt;
use std::net::SocketAddr;

/// One node of a topology: a name and an address, which stay the same whatever happens to it.
///
/// It is given to the methods of [`Topology`](crate::topology), and displayed as `node-1` or `sentinel-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its place among all of the topology.
    pub(crate) place: usize,
    /// Its number among those like it, from 1.
    pub(crate) number: usize,
    pub(crate) sentinel: bool,
    pub(crate) addr: SocketAddr,
}

impl Node {
    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port that it listens on.
    pub const fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Where clients connect to: `redis://127.0.0.1:7000`, say.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Whether it is reached there, as the nodes call it.
    pub(crate) fn listens_at(&self, host: &str, port: u16) -> bool {
        self.port() == port && self.addr.ip().to_string() == host
    }

    /// Whether it is a sentinel, which holds no data.
    pub const fn is_sentinel(&self) -> bool {
        self.sentinel
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.sentinel, self.number))
    }
}

/// What a node is called, and its directory.
pub(crate) fn name(sentinel: bool, number: usize) -> String {
    match sentinel {
        true => format!("sentinel-{number}"),
        false => format!("node-{number}"),
    }
}

/// What a node does, as it sees that itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It takes writes.
    Leader,
    /// It follows another server.
    Replica,
    /// It watches the others.
    Sentinel,
}

/// What was done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing that lasts.
    Running,
    /// Its time stands still.
    Frozen,
    /// It is gone until it is started again.
    Killed,
}
