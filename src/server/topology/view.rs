//! How a topology sees itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Topology;
use super::error::Error;
use super::node::{Node, State};
use super::slot::{Slot, Standing};
use crate::resp::Value;

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
    fn told_by(&self, slot: &Slot) -> Option<(i64, Node)> {
        let known = slot.ask(&["SENTINEL", "MASTER", &self.name]).ok()?;
        let epoch = fields(&known).get("config-epoch")?.parse().ok()?;
        // While it makes another one the leader, this is that one already.
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.name];
        let Value::Array(addr) = slot.ask(&words).ok()? else {
            return None;
        };
        let port: u16 = text(addr.get(1)?).parse().ok()?;
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
        let sentinel = slot.node;
        let ask = |words: &[&str]| slot.ask(words).map_err(|e| e.to_string());
        let told = self.told_by(slot).map(|(_, node)| node);
        if told != Some(leader) {
            return Err(format!("{sentinel} does not know that {leader} leads"));
        }
        let master = ask(&["SENTINEL", "MASTER", &self.name])?;
        let flags = fields(&master).remove("flags").unwrap_or_default();
        if flags != "master" {
            return Err(format!("{sentinel} says of {leader}: {flags}"));
        }
        for (kind, sentinels) in [("REPLICAS", false), ("SENTINELS", true)] {
            let Value::Array(known) = ask(&["SENTINEL", kind, &self.name])? else {
                return Err(format!("{sentinel} does not watch {}", self.name));
            };
            let known: Vec<_> = known.iter().map(fields).collect();
            for other in self.slots.iter().map(|slot| slot.node) {
                if other.sentinel == sentinels && other != leader && other != sentinel {
                    self.is_fine(sentinel, other, &known)?;
                }
            }
        }
        match ask(&["SENTINEL", "CKQUORUM", &self.name])? {
            Value::Error(why) => Err(format!(
                "{sentinel} says: {}",
                String::from_utf8_lossy(&why)
            )),
            _ => Ok(()),
        }
    }

    /// Whether a sentinel knows of a node that it is as it is.
    fn is_fine(
        &self,
        sentinel: Node,
        other: Node,
        known: &[HashMap<String, String>],
    ) -> Result<(), String> {
        let port = other.port().to_string();
        let found = known
            .iter()
            .find(|fields| fields.get("port") == Some(&port));
        let Some(found) = found else {
            return Err(format!("{sentinel} does not know of {other}"));
        };
        if self.state(other).ok() != Some(State::Running) {
            return Ok(());
        }
        let flags = found.get("flags").map(String::as_str).unwrap_or_default();
        if flags != "slave" && flags != "sentinel" {
            return Err(format!("{sentinel} says of {other}: {flags}"));
        }
        let link = found.get("master-link-status");
        if link.is_some_and(|link| link != "ok") {
            return Err(format!("{sentinel} sees {other} without a link"));
        }
        Ok(())
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

/// Names and values that stand side by side.
fn fields(value: &Value) -> HashMap<String, String> {
    let Value::Array(flat) = value else {
        return HashMap::new();
    };
    let pairs = flat.chunks_exact(2).filter_map(|pair| match pair {
        [name, value] => Some((text(name), text(value))),
        _ => None,
    });
    pairs.collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.to_string(),
    }
}
