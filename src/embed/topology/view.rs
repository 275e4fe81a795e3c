//! How a topology sees itself: who leads, and whether all is in order.

use std::time::Duration;

use super::error::Error;
use super::node::{Node, Role, State};
use crate::engine::Engine;
use crate::exec::replication::leader;
use crate::sentinel::{Address, Instance, Kind, Sentinel};

/// A topology whose nodes can be looked at.
pub(crate) trait Seen {
    /// All nodes.
    fn all(&self) -> Vec<Node>;

    /// What the sentinels call the leader.
    fn called(&self) -> &str;

    /// What was done to a node.
    fn state_of(&self, node: Node) -> State;

    /// Looks at the engine of a node that runs.
    fn look<T>(&self, node: Node, look: impl FnOnce(&mut Engine) -> T) -> Result<T, Error>;

    /// How much time has passed, since whenever that was counted from.
    fn passed(&self) -> Duration;

    /// Lets so much time pass.
    fn pause(&self, time: Duration);
}

/// How often it is looked whether something has happened.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until there is something to be seen, in the topology's own time; else tells what there is instead.
pub(crate) fn wait<S: Seen, T>(
    seen: &S,
    after: Duration,
    look: impl Fn(&S) -> Result<T, String>,
) -> Result<T, Error> {
    let began = seen.passed();
    loop {
        match look(seen) {
            Ok(found) => return Ok(found),
            Err(what) if seen.passed().saturating_sub(began) >= after => {
                return Err(Error::Timeout { what, after });
            }
            Err(_) => seen.pause(PAUSE),
        }
    }
}

/// Gives a topology that can be [`Seen`] the methods that tell what is seen.
macro_rules! view_methods {
    ($fortress:ty) => {
        impl $fortress {
            /// What a node does, as it sees that itself: a leader that is cut off goes on leading.
            ///
            /// # Errors
            /// When it does not run.
            pub fn role(&self, node: Node) -> Result<Role, Error> {
                view::role(self, node)
            }

            /// Who leads, as the sentinels say: what that one says that knows the newest. Without sentinels it is the one
            /// server that leads.
            ///
            /// # Errors
            /// When none of them can be asked, or without sentinels not exactly one server leads.
            pub fn leader(&self) -> Result<Node, Error> {
                view::leader(self)
            }

            /// Waits until the sentinels have made somebody else the leader than this one; gives who that is.
            ///
            /// # Errors
            /// When it does not come to that in time, which is the topology's own.
            pub fn wait_for_leader_other_than(
                &self,
                node: Node,
                timeout: Duration,
            ) -> Result<Node, Error> {
                self.state(node)?;
                view::wait(self, timeout, |seen| view::other_leader(seen, node))
            }

            /// Waits until all is in order with the nodes that run: one leads and the others follow it, as far as they can
            /// be reached; and each sentinel knows of all of them, and finds that enough agree for a failover.
            ///
            /// # Errors
            /// When it does not come to that in time, which is the topology's own: the error says what was missing.
            pub fn wait_until_settled(&self, timeout: Duration) -> Result<(), Error> {
                view::wait(self, timeout, view::settled)
            }
        }
    };
}
pub(crate) use view_methods;

/// How a data server stands with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It leads so many that are online.
    Leads(usize),
    /// It follows who is there, and has caught up with that one once, or not yet.
    Follows(String, u16, bool),
}

fn standing(seen: &impl Seen, node: Node) -> Result<Standing, Error> {
    seen.look(node, |engine| {
        let state = engine.state();
        match &state.sys.repl.upstream {
            Some(up) => Standing::Follows(up.host.clone(), up.port, up.is_online()),
            None => Standing::Leads(leader::online(&state.sys, &state.sessions).count()),
        }
    })
}

/// What a node does, as it sees that itself.
pub(crate) fn role(seen: &impl Seen, node: Node) -> Result<Role, Error> {
    if node.sentinel {
        return seen.look(node, |_| Role::Sentinel);
    }
    Ok(match standing(seen, node)? {
        Standing::Leads(_) => Role::Leader,
        Standing::Follows(..) => Role::Replica,
    })
}

/// Looks at the sentinel on a node.
fn watching<T>(
    seen: &impl Seen,
    node: Node,
    look: impl FnOnce(&Sentinel) -> T,
) -> Result<Option<T>, Error> {
    seen.look(node, |engine| {
        let sentinel = engine.state().sys.sentinel.as_deref();
        sentinel.map(look)
    })
}

/// Who leads, as the sentinels say: what that one says that knows the newest. Without sentinels it is the one server that
/// leads.
pub(crate) fn leader(seen: &impl Seen) -> Result<Node, Error> {
    let nodes = seen.all();
    if nodes.iter().any(Node::is_sentinel) {
        let sentinels = nodes.into_iter().filter(Node::is_sentinel);
        let told = sentinels.filter_map(|node| told_by(seen, node));
        let newest = told.max_by_key(|(epoch, _)| *epoch);
        return newest.map(|(_, node)| node).ok_or(Error::NoLeader);
    }
    let leads = |node: &Node| matches!(standing(seen, *node), Ok(Standing::Leads(_)));
    let mut leaders = nodes.into_iter().filter(leads);
    match (leaders.next(), leaders.next()) {
        (Some(node), None) => Ok(node),
        _ => Err(Error::NoLeader),
    }
}

/// Whom a sentinel takes for the leader, and since which epoch.
fn told_by(seen: &impl Seen, node: Node) -> Option<(u64, Node)> {
    let told = watching(seen, node, |sentinel| {
        let master = sentinel.find(seen.called())?;
        // While it makes another one the leader, this is that one already.
        let address = sentinel.current_address(master.id)?.clone();
        Some((master.config_epoch, address))
    });
    let (epoch, address) = told.ok()???;
    let node = seen.all().into_iter().find(|node| is_at(*node, &address))?;
    Some((epoch, node))
}

fn is_at(node: Node, address: &Address) -> bool {
    node.listens_at(&address.ip, address.port)
}

/// Who leads, if that is another one than this and takes itself for the leader; else what there is instead.
pub(crate) fn other_leader(seen: &impl Seen, than: Node) -> Result<Node, String> {
    match leader(seen) {
        Ok(leader) if leader == than => Err(format!("{than} still leads")),
        Ok(leader) => match standing(seen, leader) {
            Ok(Standing::Leads(_)) => Ok(leader),
            _ => Err(format!("{leader} does not lead yet")),
        },
        Err(e) => Err(e.to_string()),
    }
}

/// Whether all is in order with the nodes that run; else what is missing.
pub(crate) fn settled(seen: &impl Seen) -> Result<(), String> {
    let leader = leader(seen).map_err(|e| e.to_string())?;
    let runs = |node: &Node| seen.state_of(*node) == State::Running;
    let (sentinels, servers): (Vec<Node>, Vec<Node>) = seen
        .all()
        .into_iter()
        .filter(runs)
        .partition(Node::is_sentinel);
    let mut followers = 0;
    for node in servers {
        match standing(seen, node).map_err(|e| e.to_string())? {
            Standing::Leads(_) if node == leader => {}
            Standing::Follows(host, port, true)
                if leader.listens_at(&host, port) && node != leader =>
            {
                followers += 1;
            }
            _ => return Err(format!("{node} does not follow {leader}")),
        }
    }
    match standing(seen, leader) {
        Ok(Standing::Leads(online)) if online == followers => {}
        _ => return Err(format!("{leader} does not have {followers} replicas")),
    }
    let mut sentinels = sentinels.into_iter();
    sentinels.try_for_each(|own| knows_all(seen, own, leader))
}

/// Whether a sentinel knows of all nodes, and of nothing that is wrong with those that run.
fn knows_all(seen: &impl Seen, own: Node, leader: Node) -> Result<(), String> {
    let others = seen.all().into_iter().filter(|other| *other != own);
    let others: Vec<_> = others
        .map(|other| (other, seen.state_of(other) == State::Running))
        .collect();
    let known = watching(seen, own, |sentinel| {
        knows(sentinel, seen.called(), leader, &others)
    });
    let known = known.map_err(|e| e.to_string())?;
    known
        .unwrap_or(Ok(()))
        .map_err(|what| format!("{own} {what}"))
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
        let known = all.iter().find(|known| is_at(*node, &known.address));
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
