//! Servers of the drill's own: a topology in this process, raised for the drill and taken down behind it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::ground::{Ground, Scenario, Unable};
use crate::resp::Value;
use crate::server::ask::{Address, Credentials};
use crate::server::topology::{Error, Node, Topology};
use crate::util::rng::Rng;

/// What such a topology is to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes<'a> {
    pub(super) replicas: u32,
    pub(super) sentinels: u32,
    pub(super) down_after: Duration,
    pub(super) sync: bool,
    /// Parameters of the servers.
    pub(super) options: &'a [(String, String)],
}

/// Servers that were raised.
#[derive(Debug)]
pub(super) struct Raised {
    topology: Topology,
    undo: Vec<Undo>,
    /// Goes when the servers have.
    _home: Home,
}

/// What heals something.
#[derive(Clone, Copy, Debug)]
enum Undo {
    Restart(Node),
    Thaw(Node),
    Join,
}

impl Raised {
    /// Raises servers that keep an append-only log, as those that matter do: who was killed comes back with what it had.
    pub(super) fn new(wishes: Wishes<'_>) -> Result<Self, Unable> {
        let home = Home::new()?;
        let builder = Topology::builder()
            .replicas(wishes.replicas as usize)
            .sentinels(wishes.sentinels as usize)
            .down_after(wishes.down_after)
            .sync(wishes.sync)
            .dir(&home.0)
            // Soon enough for a client to hear of it before it gives up.
            .config("sync-replicas-timeout", "500");
        let options = wishes.options.iter();
        let builder = options.fold(builder, |builder, (name, value)| {
            builder.config(name, value)
        });
        let topology = builder.start().map_err(unable)?;
        Ok(Self {
            topology,
            undo: Vec::new(),
            _home: home,
        })
    }

    fn node(&self, server: &Address) -> Result<Node, Unable> {
        let mut nodes = self.topology.nodes().into_iter();
        nodes
            .find(|node| node.port() == server.port)
            .ok_or_else(|| Unable(format!("there is no {server}")))
    }

    fn kill(&mut self, nodes: &[Node]) -> Result<(), Error> {
        for node in nodes {
            self.topology.kill(*node)?;
            self.undo.push(Undo::Restart(*node));
        }
        Ok(())
    }

    /// Whom a region has beside the leader: as many as leave most of each kind to the other.
    fn neighbours(&self, leader: Node) -> Vec<Node> {
        let replicas = self.others(leader);
        let sentinels = self.topology.sentinels();
        let fewer = |nodes: &[Node]| nodes.len().saturating_sub(1) / 2;
        let (some, few) = (fewer(&replicas), fewer(&sentinels));
        let replicas = replicas.into_iter().take(some);
        replicas.chain(sentinels.into_iter().take(few)).collect()
    }

    /// The servers but one.
    fn others(&self, than: Node) -> Vec<Node> {
        let mut servers = self.topology.servers();
        servers.retain(|node| *node != than);
        servers
    }

    fn break_it(&mut self, scenario: Scenario, leader: Node) -> Result<String, Error> {
        let topology = &self.topology;
        match scenario {
            Scenario::KillLeader => {
                self.kill(&[leader])?;
                Ok(format!("{leader} was killed"))
            }
            Scenario::PartitionLeader => {
                topology.partition([leader], topology.others([leader]))?;
                self.undo.push(Undo::Join);
                Ok(format!("{leader} was cut off from all other nodes"))
            }
            Scenario::FreezeLeader => {
                topology.freeze(leader)?;
                self.undo.push(Undo::Thaw(leader));
                Ok(format!("{leader} was frozen"))
            }
            Scenario::Restart => {
                topology.kill(leader)?;
                topology.restart(leader)?;
                Ok(format!("{leader} was killed and started again"))
            }
            Scenario::KillReplica => self.kill_one(self.others(leader).pop(), "replica"),
            Scenario::KillSentinel => self.kill_one(topology.sentinels().pop(), "sentinel"),
            Scenario::PlannedFailover => self.fail_over(),
            Scenario::LoseRegion => {
                let mut lost = vec![leader];
                lost.extend(self.neighbours(leader));
                self.kill(&lost)?;
                let names: Vec<_> = lost.iter().map(ToString::to_string).collect();
                Ok(format!("{} were killed", names.join(", ")))
            }
        }
    }

    fn kill_one(&mut self, node: Option<Node>, kind: &str) -> Result<String, Error> {
        let Some(node) = node else {
            return Ok(format!("there is no {kind}: nothing was done"));
        };
        self.kill(&[node])?;
        Ok(format!("{node} was killed"))
    }

    /// Asks one sentinel after the other.
    fn fail_over(&self) -> Result<String, Error> {
        let mut last = Error::NoLeader;
        for sentinel in self.topology.sentinels() {
            let words = ["SENTINEL", "FAILOVER", self.topology.name()];
            let answer = self.topology.client(sentinel)?.call(words);
            match answer {
                Ok(Value::Error(_)) => {}
                Ok(_) => return Ok(format!("SENTINEL FAILOVER at {sentinel}")),
                Err(source) => {
                    last = Error::Call {
                        node: sentinel,
                        source,
                    }
                }
            }
        }
        Err(last)
    }

    fn undo(&self, undo: Undo) -> Result<String, Error> {
        match undo {
            Undo::Restart(node) => {
                self.topology.restart(node)?;
                Ok(format!("{node} was started again"))
            }
            Undo::Thaw(node) => {
                self.topology.thaw(node)?;
                Ok(format!("{node} goes on"))
            }
            Undo::Join => {
                self.topology.heal();
                Ok("all lines are whole again".to_owned())
            }
        }
    }
}

impl Ground for Raised {
    fn sentinels(&self) -> Vec<Address> {
        let sentinels = self.topology.sentinels();
        sentinels.iter().map(addr).collect()
    }

    fn master(&self) -> String {
        self.topology.name().to_owned()
    }

    fn logins(&self) -> (Credentials, Credentials) {
        (Credentials::default(), Credentials::default())
    }

    fn name(&self, server: &Address) -> String {
        match self.node(server) {
            Ok(node) => format!("{node} ({server})"),
            Err(_) => server.to_string(),
        }
    }

    fn stays(&self) -> bool {
        false
    }

    fn fault(
        &mut self,
        scenario: Scenario,
        leader: &Address,
        _outage: Duration,
    ) -> Result<String, Unable> {
        let leader = self.node(leader)?;
        self.break_it(scenario, leader).map_err(unable)
    }

    fn heal(&mut self) -> Result<Option<String>, Unable> {
        let mut done = Vec::new();
        for undo in std::mem::take(&mut self.undo) {
            done.push(self.undo(undo).map_err(unable)?);
        }
        Ok((!done.is_empty()).then(|| done.join(", ")))
    }
}

fn addr(node: &Node) -> Address {
    Address {
        host: node.addr().ip().to_string(),
        port: node.port(),
    }
}

fn unable(error: Error) -> Unable {
    Unable(format!("The servers of the drill: {error}"))
}

/// A directory that is gone when this is.
#[derive(Debug)]
struct Home(PathBuf);

impl Home {
    fn new() -> Result<Self, Unable> {
        let name = format!("redkeep-drill-{:016x}", Rng::from_entropy().next_u64());
        let path = std::env::temp_dir().join(name);
        // Whoever was there before would be somebody else.
        fs::create_dir(&path).map_err(|error| Unable(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be deleted stays with what else is temporary.
        let _ = fs::remove_dir_all(&self.0);
    }
}
