//! The operator: sees to it that somebody leads, and that the others follow.
//!
//! What counts in a promotion is how far a node is *in the newest history*, which is not what its offset says: a leader that was
//! left alone goes on with a history that nobody else has, and a replica takes over the name of a history before it has
//! all that stands before the fork. So each promotion is remembered with where it forked, and positions are compared by what
//! of the newest history they hold.
//!
//! With `n` nodes of which a write has to be on one more than `sync-replicas`, a promotion needs that many nodes which listen to
//! nobody else any more: `n - sync-replicas`. Any so many have everything that was acknowledged among them, and without them
//! nobody acknowledges anything. A node whose disk may have forgotten something does not count before it has caught up.

use super::plan::Plan;
use super::sim::{Event, PORT, Sim, Stage, note};
use crate::common::instance::text;
use redkeep::embed::world::{Place, address};
use redkeep::resp::Value;
use std::collections::BTreeMap;

/// Whom a node was told to follow last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Lead,
    Follow(usize),
    /// It is to listen to nobody until it hears more.
    Wait,
}

/// Where nobody is.
const NOWHERE: &str = "10.9.9.9";

impl Told {
    /// At first the others follow the first.
    pub const fn at_first(node: usize) -> Told {
        match node {
            0 => Told::Lead,
            _ => Told::Follow(0),
        }
    }

    /// The words behind REPLICAOF.
    pub fn whom(self) -> [String; 2] {
        match self {
            Told::Lead => ["NO".into(), "ONE".into()],
            Told::Follow(node) => [address(node), PORT.to_string()],
            Told::Wait => [NOWHERE.into(), "1".into()],
        }
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Of what INFO has told.
    fn new(info: &Value) -> Facts {
        let told = text(info);
        let fields = told
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Facts(fields.collect())
    }

    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value)
    }

    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(-1)
    }

    pub fn leads(&self) -> bool {
        self.text("role") == "master"
    }

    pub fn id(&self) -> &str {
        self.text("master_replid")
    }

    pub fn offset(&self) -> u64 {
        u64::try_from(self.number("master_repl_offset")).unwrap_or(0)
    }

    pub fn is_linked(&self) -> bool {
        self.text("master_link_status") == "up"
    }
}

/// A history, and where it forked from which.
#[derive(Debug)]
struct History {
    id: String,
    from: Option<(usize, u64)>,
}

/// A promotion that was begun: nobody leads until it is due.
#[derive(Debug)]
struct Election {
    due: i64,
    fenced: Vec<usize>,
}

/// A part that is being handed over by FAILOVER.
#[derive(Clone, Copy, Debug)]
struct Handing {
    from: usize,
    to: usize,
    since: i64,
}

#[derive(Debug)]
pub struct Operator {
    place: Place,
    pub leader: Option<usize>,
    /// The newest last.
    histories: Vec<History>,
    /// Whose disk has forgotten nothing.
    pub trusted: Vec<bool>,
    /// Where those must come to who are to be trusted again.
    marks: Vec<Option<u64>>,
    /// Which replicas are to follow which others.
    chain: Vec<Option<usize>>,
    election: Option<Election>,
    handing: Option<Handing>,
    missing_since: Option<i64>,
    needed: usize,
}

impl Operator {
    pub fn new(plan: &Plan) -> Operator {
        Operator {
            place: plan.nodes,
            leader: Some(0),
            histories: Vec::new(),
            trusted: vec![true; plan.nodes],
            marks: vec![None; plan.nodes],
            chain: vec![None; plan.nodes],
            election: None,
            handing: None,
            missing_since: None,
            needed: match plan.confirms {
                0 => 1,
                confirms => plan.nodes - confirms,
            },
        }
    }

    /// Whether one more node may forget something.
    pub fn can_lose(&self, node: usize) -> bool {
        let others = (0..self.trusted.len()).filter(|other| *other != node);
        others.filter(|other| self.trusted[*other]).count() >= self.needed
    }

    /// A node has forgotten something.
    pub fn distrust(&mut self, node: usize) {
        self.trusted[node] = false;
        self.marks[node] = None;
    }

    pub const fn is_busy(&self) -> bool {
        self.election.is_some() || self.handing.is_some()
    }

    fn history(&self, id: &str) -> Option<usize> {
        self.histories.iter().position(|history| history.id == id)
    }

    /// Where a node is: in which history, and how far.
    fn position(&self, facts: &Facts) -> Option<(usize, u64)> {
        if let Some(known) = self.history(facts.id()) {
            return Some((known, facts.offset()));
        }
        let shared = u64::try_from(facts.number("second_repl_offset") - 1).ok()?;
        let former = self.history(facts.text("master_replid2"))?;
        Some((former, facts.offset().min(shared)))
    }

    /// How much of the newest history somebody has who is there.
    fn usable(&self, position: Option<(usize, u64)>) -> u64 {
        let Some((mut history, mut offset)) = position else {
            return 0;
        };
        loop {
            // The way from the newest to this one, if there is one.
            let mut at = self.histories.len() - 1;
            let mut shared = u64::MAX;
            while at != history {
                match self.histories[at].from {
                    Some((before, fork)) => {
                        at = before;
                        shared = shared.min(fork);
                    }
                    None => break,
                }
            }
            if at == history {
                return offset.min(shared);
            }
            match self.histories[history].from {
                Some((before, fork)) => {
                    history = before;
                    offset = offset.min(fork);
                }
                None => return 0,
            }
        }
    }

    /// A history that goes on from where its leader was.
    fn learn(&mut self, facts: &Facts) {
        if self.history(facts.id()).is_some() {
            return;
        }
        let fork = u64::try_from(facts.number("second_repl_offset") - 1);
        let former = self.history(facts.text("master_replid2"));
        let newest = self.histories.len().checked_sub(1);
        let from = match (former, fork) {
            (Some(former), Ok(fork)) => Some((former, fork)),
            // It says nothing of where it comes from; it was told to lead.
            _ => newest.map(|newest| (newest, facts.offset())),
        };
        let id = facts.id().to_owned();
        self.histories.push(History { id, from });
        self.marks.fill(None);
    }
}

impl Sim {
    fn reachable(&self) -> Vec<usize> {
        let place = self.operator.place;
        let nodes = 0..self.plan.nodes;
        nodes
            .filter(|node| self.world.machines[*node].is_up() && self.world.reaches(place, *node))
            .collect()
    }

    pub fn facts(&mut self, node: usize) -> Facts {
        let info = self.world.ask(node, &["INFO", "replication"]);
        Facts::new(&info.unwrap())
    }

    /// A node is told whom to follow.
    pub fn tell(&mut self, node: usize, told: Told) {
        note!(self, "the operator tells node {node}: {told:?}");
        self.told[node] = told;
        let [host, port] = told.whom();
        let reply = self.world.ask(node, &["REPLICAOF", &host, &port]).unwrap();
        if reply.to_string().contains("ERR") {
            self.wrong(format!("REPLICAOF {host} {port} is answered by {reply}"));
        }
    }

    pub fn operator_turn(&mut self) {
        let pause = 200_000 + self.world.rng.below(1_000_000) as i64;
        self.plan_event(self.world.now() + pause, Event::Operator);
        if self.stage == Stage::Begin {
            return self.operator_begins();
        }
        if let Some(election) = &self.operator.election {
            if election.due <= self.world.now() {
                self.elect();
            }
            return;
        }
        let reachable = self.reachable();
        if let Some(handing) = self.operator.handing {
            return self.look_at_handing(handing, &reachable);
        }
        let leader = self
            .operator
            .leader
            .filter(|leader| reachable.contains(leader));
        let facts = leader.map(|leader| self.facts(leader));
        if let (Some(leader), Some(facts)) = (leader, facts.filter(Facts::leads)) {
            self.operator.missing_since = None;
            self.operator.learn(&facts);
            return self.lead_others(leader, &facts, &reachable);
        }
        let since = *self.operator.missing_since.get_or_insert(self.world.now());
        let patience = 1_000_000 + self.world.rng.below(4_000_000) as i64;
        if self.operator.leader.is_none() || self.world.now() - since > patience {
            self.begin_election();
        }
    }

    /// At first it is waited until all are there.
    fn operator_begins(&mut self) {
        let facts: Vec<Facts> = (0..self.plan.nodes).map(|node| self.facts(node)).collect();
        let linked = |one: &Facts| one.is_linked() && one.id() == facts[0].id();
        if facts[1..].iter().all(linked) {
            self.operator.learn(&facts[0]);
            self.begin();
        } else if self.world.now() > 60_000_000 {
            self.wrong("the nodes do not find each other".to_owned());
        }
    }

    /// The others follow the leader, or each other.
    fn lead_others(&mut self, leader: usize, facts: &Facts, reachable: &[usize]) {
        if self.plan.chains && self.world.rng.chance(0.03) {
            self.chain();
        }
        for &node in reachable.iter().filter(|node| **node != leader) {
            let over = self.operator.chain[node].filter(|over| {
                *over != leader && *over != node && self.told[*over] == Told::Follow(leader)
            });
            let wanted = Told::Follow(over.unwrap_or(leader));
            if over.is_some() {
                self.counts.chained += 1;
            }
            if self.told[node] != wanted {
                self.tell(node, wanted);
            } else if !self.operator.trusted[node] {
                self.look_whether_to_trust(node, facts);
            }
        }
    }

    /// Some replicas are to follow others from now on.
    pub fn chain(&mut self) {
        let nodes = self.plan.nodes;
        self.operator.chain.fill(None);
        let (below, above) = (self.world.rng.index(nodes), self.world.rng.index(nodes));
        if below != above
            && self.plan.confirms + 2 < nodes + usize::from(self.world.rng.chance(0.5))
        {
            self.operator.chain[below] = Some(above);
        }
        note!(self, "chains are to be {:?}", self.operator.chain);
    }

    fn look_whether_to_trust(&mut self, node: usize, leader: &Facts) {
        let facts = self.facts(node);
        match self.operator.marks[node] {
            None => self.operator.marks[node] = Some(leader.offset()),
            Some(mark) => {
                if facts.is_linked() && facts.id() == leader.id() && facts.offset() >= mark {
                    note!(self, "node {node} has everything again");
                    self.operator.trusted[node] = true;
                }
            }
        }
    }

    /// Somebody else is to lead: nobody is to follow anybody from now on, as far as the operator reaches.
    pub fn begin_election(&mut self) {
        let reachable = self.reachable();
        let trusted = reachable
            .iter()
            .filter(|node| self.operator.trusted[**node]);
        if trusted.count() < self.operator.needed {
            return;
        }
        note!(self, "the operator begins an election among {reachable:?}");
        self.operator.leader = None;
        self.operator.missing_since = None;
        for &node in &reachable {
            self.tell(node, Told::Wait);
        }
        let due = self.world.now() + self.world.rng.below(2_000_000) as i64;
        self.operator.election = Some(Election {
            due,
            fenced: reachable,
        });
    }

    fn elect(&mut self) {
        let Some(election) = self.operator.election.take() else {
            return;
        };
        let reachable = self.reachable();
        let mut candidates = Vec::new();
        for node in election.fenced {
            let counts = reachable.contains(&node) && self.operator.trusted[node];
            if counts && self.told[node] == Told::Wait {
                let facts = self.facts(node);
                let position = self.operator.position(&facts);
                let usable = self.operator.usable(position);
                note!(
                    self,
                    "node {node} is at {position:?}, {usable} of the newest history"
                );
                candidates.push((usable, node, facts));
            }
        }
        if candidates.len() < self.operator.needed {
            note!(self, "too few are left");
            return;
        }
        let most = candidates.iter().map(|(usable, ..)| *usable).max();
        candidates.retain(|(usable, ..)| Some(*usable) == most);
        let (_, node, facts) = candidates.swap_remove(self.world.rng.index(candidates.len()));
        self.operator.learn_where(&facts);
        self.counts.promotions += 1;
        self.tell(node, Told::Lead);
        let facts = self.facts(node);
        self.operator.learn(&facts);
        self.operator.leader = Some(node);
        if self.plan.chains {
            self.chain();
        }
    }

    /// The leader is asked to hand its part over.
    pub fn hand_over(&mut self) {
        let Some(from) = self.operator.leader.filter(|_| !self.operator.is_busy()) else {
            return;
        };
        let to = self.world.rng.index(self.plan.nodes);
        let reachable = self.reachable();
        let can = self.told[to] == Told::Follow(from);
        if to == from || !can || !reachable.contains(&from) || !reachable.contains(&to) {
            return;
        }
        let (host, port) = (address(to), PORT.to_string());
        let timeout = (500 + self.world.rng.below(5000)).to_string();
        let words = ["FAILOVER", "TO", &host, &port, "TIMEOUT", &timeout];
        let reply = self.world.ask(from, &words).unwrap();
        note!(self, "node {from} is to hand over to {to}: {reply}");
        if reply.to_string().contains("OK") {
            let since = self.world.now();
            self.operator.handing = Some(Handing { from, to, since });
        }
    }

    /// Only when both can be asked it is known how it has ended.
    fn look_at_handing(&mut self, handing: Handing, reachable: &[usize]) {
        let Handing { from, to, since } = handing;
        if !reachable.contains(&from) || !reachable.contains(&to) {
            return;
        }
        let (old, new) = (self.facts(from), self.facts(to));
        let pending = old.text("master_failover_state") != "no-failover";
        if pending {
            return;
        }
        if old.leads() {
            note!(self, "node {from} has not handed over");
            self.operator.learn(&old);
            if new.leads() {
                self.tell(to, Told::Follow(from));
            }
        } else if new.leads() {
            note!(self, "node {from} has handed over to {to}");
            self.counts.handed_over += 1;
            self.operator.learn(&new);
            self.operator.leader = Some(to);
            self.told[to] = Told::Lead;
            if self.told[from] == Told::Lead {
                self.told[from] = Told::Follow(to);
            }
        } else if self.world.now() - since > 10_000_000 {
            // One of them was started again meanwhile.
            self.operator.learn(&new);
            self.operator.learn(&old);
            self.operator.leader = None;
        } else {
            return;
        }
        self.operator.handing = None;
    }
}

impl Operator {
    /// Somebody is at a place that nobody has told of before: a leader that was started again on its own.
    fn learn_where(&mut self, facts: &Facts) {
        let Some(position) = self.position(facts) else {
            return;
        };
        if self.history(facts.id()).is_none() {
            let id = facts.id().to_owned();
            // Before the newest: it is not where others are.
            self.insert(History {
                id,
                from: Some(position),
            });
        }
    }

    fn insert(&mut self, history: History) {
        let last = self.histories.len() - 1;
        self.histories.insert(last, history);
        for history in &mut self.histories {
            if let Some((from, _)) = &mut history.from
                && *from >= last
            {
                *from += 1;
            }
        }
    }

    /// A leader was started again, and goes on.
    pub fn restarted(&mut self, facts: &Facts) {
        self.learn(facts);
    }
}
