//! How a topology sees itself.

use std::time::{Duration, Instant};

use super::Topology;
use super::error::Error;
use super::node::{Node, State};
use super::slot::{Slot, Standing};
use crate::sentinel::{Instance, Kind, Sentinel};

/// How often it is looked whether something has happened.
const PAUSE: Duration = Duration::from_millis(10);

impl Topology {
    /// Who leads, as the sentinels say: what that one says that knows the newest. Without sentinels it is the one server
    /// that leads.
    ///
    /// # Errors
    /// When none of them can be asked, or without sentinels not exactly one server leads.
    pub fn leader(&self) -> Result<Node, Error> {
        if self.slots.iter().any(|slot| slot.node.sentinel) {
            let sentinels = self.slots.iter().filter(|slot| slot.node.sentinel);
            let told = sentinels.filter_map(|slot| self.told_by(slot));
            let newest = told.max_by_key(|(epoch, _)| *epoch);
            return newest.map(|(_, node)| node).ok_or(Error::NoLeader);
        }
        let mut leaders = self.slots.iter().filter(|slot| {
            slot.standing()
                .is_ok_and(|standing| matches!(standing, Standing::Leads(_)))
        });
        match (leaders.next(), leaders.next()) {
            (Some(slot), None) => Ok(slot.node),
            _ => Err(Error::NoLeader),
        }
    }

    /// Whom a sentinel takes for the leader, and since which epoch.
    fn told_by(&self, slot: &Slot) -> Option<(u64, Node)> {
        let told = slot.watching(|sentinel| {
            let master = sentinel.find(&self.name)?;
            // While it makes another one the leader, this is that one already.
            let port = sentinel.current_address(master.id)?.port;
            Some((master.config_epoch, port))
        });
        let (epoch, port) = told.ok()???;
        let node = self.nodes().into_iter().find(|node| node.port() == port)?;
        Some((epoch, node))
    }

    /// Waits until the sentinels have made somebody else the leader than this one; gives who that is.
    ///
    /// # Errors
    /// When it does not come to that in time.
    pub fn wait_for_leader_other_than(&self, node: Node, timeout: Duration) -> Result<Node, Error> {
        self.wait(timeout, || match self.leader() {
            Ok(leader) if leader == node => Err(format!("{node} still leads")),
            Ok(leader) => match self.standing(leader) {
                Some(Standing::Leads(_)) => Ok(leader),
                _ => Err(format!("{leader} does not lead yet")),
            },
            Err(e) => Err(e.to_string()),
        })
    }

    /// Waits until all is in order with the nodes that run: one leads and the others follow it, as far as they can be
    /// reached; and each sentinel knows of all of them, and finds that enough agree for a failover.
    ///
    /// # Errors
    /// When it does not come to that in time: the error says what was missing.
    pub fn wait_until_settled(&self, timeout: Duration) -> Result<(), Error> {
        self.wait(timeout, || self.is_settled())
    }

    fn standing(&self, node: Node) -> Option<Standing> {
        self.slots.get(node.place)?.standing().ok()
    }

    fn is_settled(&self) -> Result<(), String> {
        let leader = self.leader().map_err(|e| e.to_string())?;
        let running = self
            .slots
            .iter()
            .filter(|slot| slot.state() == State::Running);
        let mut followers = 0;
        for slot in running.clone().filter(|slot| !slot.node.sentinel) {
            let node = slot.node;
            let standing = slot.standing().map_err(|e| e.to_string())?;
            match standing {
                Standing::Leads(_) if node == leader => {}
                Standing::Follows(port, true) if port == leader.port() && node != leader => {
                    followers += 1;
                }
                _ => return Err(format!("{node} does not follow {leader}")),
            }
        }
        match self.standing(leader) {
            Some(Standing::Leads(online)) if online == followers => {}
            _ => return Err(format!("{leader} does not have {followers} replicas")),
        }
        for slot in running.filter(|slot| slot.node.sentinel) {
            self.knows_all(slot, leader)?;
        }
        Ok(())
    }

    /// Whether a sentinel knows of all nodes, and of nothing that is wrong with those that run.
    fn knows_all(&self, slot: &Slot, leader: Node) -> Result<(), String> {
        let own = slot.node;
        let others = self.slots.iter().filter(|other| other.node != own);
        let others: Vec<_> = others
            .map(|other| (other.node, other.state() == State::Running))
            .collect();
        let known = slot.watching(|sentinel| knows(sentinel, &self.name, leader, &others));
        let known = known.map_err(|e| e.to_string())?;
        known
            .unwrap_or(Ok(()))
            .map_err(|what| format!("{own} {what}"))
    }

    fn wait<T>(&self, timeout: Duration, look: impl Fn() -> Result<T, String>) -> Result<T, Error> {
        let began = Instant::now();
        loop {
            match look() {
                Ok(found) => return Ok(found),
                Err(what) if began.elapsed() >= timeout => {
                    return Err(Error::Timeout {
                        what,
                        after: timeout,
                    });
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Whether a sentinel knows of these nodes, and of nothing that is wrong with those that run.
fn knows(
    sentinel: &Sentinel,
    name: &str,
    leader: Node,
    others: &[(Node, bool)],
) -> Result<(), String> {
    let master = sentinel.find(name).ok_or("does not watch the leader")?;
    if master.failover.is_going() {
        return Err("carries out a failover".into());
    }
    let ids = [&[master.id], &master.replicas[..], &master.sentinels].concat();
    let all: Vec<&Instance> = ids.iter().filter_map(|id| sentinel.instance(*id)).collect();
    for (node, runs) in others {
        let known = all.iter().find(|known| known.address.port == node.port());
        let known = known.ok_or_else(|| format!("does not know of {node}"))?;
        if (known.kind == Kind::Master) != (*node == leader) {
            return Err(format!("does not know that {leader} leads"));
        }
        if *runs && let Some(wrong) = wrong_with(sentinel, known) {
            return Err(format!("finds that {node} {wrong}"));
        }
    }
    Ok(())
}

/// What a sentinel misses in an instance.
fn wrong_with(sentinel: &Sentinel, known: &Instance) -> Option<&'static str> {
    let link = sentinel.link(known.id);
    if link.is_none_or(|link| link.disconnected) {
        return Some("cannot be reached");
    }
    if known.s_down || known.o_down {
        return Some("is down");
    }
    let well = match known.kind {
        Kind::Sentinel => true,
        Kind::Master | Kind::Replica => known.info_at > 0,
    };
    (!well).then_some("has not said how it is")
}
