//! What is asked for becomes machines, and they are started.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Simulation;
use super::town::Town;
use crate::embed::topology::builder::{PATIENCE, SENTINEL_PORTS};
use crate::embed::topology::files::{self, Wishes};
use crate::embed::topology::{Builder, Error, Node};
use crate::embed::world::{DIR, Journal, Machine, Manners, World, ip};
use crate::util::rng::Rng;

/// What servers listen on.
const PORT: u16 = 6379;

impl Builder {
    /// Starts all nodes in a [`Simulation`], in which this seed decides on whatever is left to chance, and waits there
    /// until the replicas follow the leader and the sentinels know each other.
    ///
    /// Servers are at 10.0.0.1 and on, sentinels behind them; all servers listen on one port, 6379 or the
    /// [base port](Self::base_port), and sentinels on the one 20,000 further on.
    ///
    /// # Errors
    /// When a node does not start: because a parameter is refused, say.
    pub fn simulated(self, seed: u64) -> Result<Simulation, Error> {
        let counts = self.counts()?;
        let port = self.base_port.unwrap_or(PORT);
        let watched = port.checked_add(SENTINEL_PORTS);
        let watched = watched.filter(|_| port > 0).ok_or(Error::NoPort(port))?;
        let nodes = nodes(counts, [port, watched]);
        let wishes = self.wishes(counts)?;
        let mut ids = Rng::seed_from_u64(!seed);
        let ids: Vec<String> = nodes.iter().map(|_| ids.hex_id_string()).collect();
        let machine = |node: &Node| machine(node, &nodes, &ids, &wishes);
        let machines = nodes.iter().map(machine).collect();
        let journal = Journal::new(true);
        let world = World::new(seed, machines, Manners::default(), journal);
        let simulation = Simulation {
            town: Rc::new(RefCell::new(Town::new(world))),
            name: wishes.name,
            nodes,
        };
        for node in &simulation.nodes {
            simulation.restart(*node)?;
        }
        simulation.wait_until_settled(PATIENCE)?;
        Ok(simulation)
    }
}

/// So many servers and sentinels, which listen on these ports.
fn nodes([servers, sentinels]: [usize; 2], ports: [u16; 2]) -> Vec<Node> {
    let node = |place| {
        let sentinel = place >= servers;
        let number = if sentinel { place - servers } else { place } + 1;
        let addr = SocketAddr::from((ip(place), ports[usize::from(sentinel)]));
        Node {
            place,
            number,
            sentinel,
            addr,
        }
    };
    (0..servers + sentinels).map(node).collect()
}

/// The machine of a node, with the file that it is started with.
fn machine(node: &Node, nodes: &[Node], ids: &[String], wishes: &Wishes) -> Machine {
    let mut machine = Machine::new(node.to_string(), node.port(), node.sentinel, 0);
    machine.lasting = wishes.lasting;
    machine.put_file(&match node.sentinel {
        false => files::server(None, node, nodes, DIR, wishes),
        true => files::new_sentinel(node, nodes, ids, DIR, wishes),
    });
    machine
}
