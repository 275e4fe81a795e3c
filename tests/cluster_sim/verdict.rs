//! The end of a run: nothing goes wrong any more, and all must agree.

use super::ledger::Found;
use super::operator::Told;
use super::sim::{Event, Sim, Stage, note};
use crate::common::instance::{contents, text};
use redkeep::embed::world::{Machine, place_of};
use redkeep::engine::Engine;
use redkeep::resp::Value;
use std::collections::BTreeMap;

/// Databases that are used.
const DATABASES: usize = 5;

/// All must agree within so many microseconds.
const PATIENCE: i64 = 180_000_000;

impl Sim {
    /// Nothing goes wrong any more.
    pub fn heal(&mut self) {
        note!(self, "all is well from now on");
        self.stage = Stage::Healed;
        self.world.set_manners(self.plan.manners);
        for machine in &mut self.world.machines {
            machine.slow = false;
        }
        self.world.unblock_all();
        let more = 500_000 + self.world.rng.below(2_000_000) as i64;
        self.plan_event(self.world.now() + more, Event::Quiet);
    }

    /// Clients end when they have their answers.
    pub fn quiet(&mut self) {
        note!(self, "clients end");
        self.stage = Stage::Quiet;
        for client in &mut self.clients {
            client.stopped = true;
        }
        self.plan_event(self.world.now() + 1_000_000, Event::Look);
        self.quiet_since = self.world.now();
    }

    /// Looks whether all agree.
    pub fn look(&mut self) {
        if self.world.now() - self.quiet_since > PATIENCE {
            let all = self.describe_all();
            return self.wrong(format!("they do not find together:\n{all}"));
        }
        if self.stage == Stage::Begin && self.agreed().is_some() {
            return self.begin();
        }
        // Sentinels take their time. Leaders say something to their replicas every second.
        let soon = self.stage == Stage::Begin || self.plan.watch.is_none();
        let pause = match soon {
            true => 300_000,
            false => 600_000 + self.world.rng.below(500_000) as i64,
        };
        self.plan_event(self.world.now() + pause, Event::Look);
        if self.stage == Stage::Begin {
            return;
        }
        let Some(leader) = self.agreed() else {
            return;
        };
        if !self.clocks_agree {
            // What is over for one is over for all.
            self.clocks_agree = true;
            let nodes = self.world.machines.iter().take(self.plan.nodes);
            let origin = nodes.map(|node| node.origin).max().unwrap();
            for node in 0..self.plan.nodes {
                let ahead = origin - self.world.machines[node].origin;
                self.world.set_clock_by(node, ahead);
            }
            self.plan_event(self.world.now() + 3_000_000, Event::Look);
            return;
        }
        self.compare(leader);
        self.settle_accounts(leader);
        self.stage = Stage::Over;
    }

    fn describe_all(&mut self) -> String {
        let mut all = String::new();
        for node in 0..self.world.machines.len() {
            all += &match self.world.machines[node].is_up() {
                false => format!("{node} is down\n"),
                true if self.plan.is_sentinel(node) => format!("{node}: {:?}\n", self.view(node)),
                true => format!("{node}: {:?}\n", self.facts(node)),
            };
        }
        all
    }

    /// Whom those who decide on that take for the leader.
    fn decided(&mut self) -> Option<usize> {
        if self.plan.watch.is_none() {
            return self.operator.leader.filter(|_| !self.operator.is_busy());
        }
        let first = self.view(self.plan.nodes);
        let knows_all = first.replicas as usize + 1 == self.plan.nodes
            && first.others as usize + 1 == self.plan.sentinels();
        let agree =
            (self.plan.nodes..self.world.machines.len()).all(|place| self.view(place) == first);
        if !knows_all || !agree || first.flags != "master" {
            return None;
        }
        place_of(first.leader.split(':').next()?)
    }

    /// Who leads, if all the others have everything that it has.
    fn agreed(&mut self) -> Option<usize> {
        let idle = self.clients.iter().all(super::client::Client::is_idle);
        let now = self.world.now();
        let acts = |node: &Machine| node.is_up() && !node.is_stalled(now);
        if !idle || !self.world.machines.iter().all(acts) {
            return None;
        }
        let leader = self.decided()?;
        // Whatever is due is done.
        self.world.with(leader, |up| up.hold(Engine::tick));
        let first = self.facts(leader);
        if !first.leads() {
            return None;
        }
        for node in (0..self.plan.nodes).filter(|node| *node != leader) {
            let facts = self.facts(node);
            let follows = match self.plan.watch {
                None => matches!(self.told[node], Told::Follow(_)),
                Some(_) => place_of(facts.text("master_host")) == Some(leader),
            };
            if !follows
                || !facts.is_linked()
                || facts.id() != first.id()
                || facts.offset() != first.offset()
            {
                return None;
            }
        }
        Some(leader)
    }

    fn compare(&mut self, leader: usize) {
        let expected = self.contents(leader);
        for node in (0..self.plan.nodes).filter(|node| *node != leader) {
            let there = self.contents(node);
            if there != expected {
                let mut differs = differences(&expected, &there);
                differs += &self.differing_values(leader, node);
                self.wrong(format!(
                    "node {node} differs from its leader {leader}:\n{differs}"
                ));
            }
        }
    }

    /// Keys whose values differ, and what they are.
    fn differing_values(&mut self, leader: usize, other: usize) -> String {
        let (mine, its) = (self.values(leader), self.values(other));
        let mut all = String::new();
        for (key, value) in &mine {
            let there = its.get(key);
            if there != Some(value) {
                all += &format!("  {key}\n    leader:  {value}\n    replica: {there:?}\n");
            }
        }
        all
    }

    fn values(&mut self, node: usize) -> BTreeMap<String, String> {
        let up = self.world.machines[node].up.as_mut().unwrap();
        let mut all = BTreeMap::new();
        for db in 0..DATABASES {
            up.call(&["SELECT", &db.to_string()]);
            let Value::Array(keys) = up.call(&["KEYS", "*"]) else {
                continue;
            };
            for key in keys {
                let key = text(&key);
                let kind = text(&up.call(&["TYPE", &key]));
                let value = up.call(&match &*kind {
                    "string" => vec!["GET", &key],
                    "list" => vec!["LRANGE", &key, "0", "-1"],
                    "hash" => vec!["HGETALL", &key],
                    "set" => vec!["SORT_RO", &key, "ALPHA"],
                    "zset" => vec!["ZRANGE", &key, "0", "-1", "WITHSCORES"],
                    _ => vec!["XINFO", "STREAM", &key, "FULL"],
                });
                let digest = up.call(&["DEBUG", "DIGEST-VALUE", &key]);
                all.insert(format!("{db} {key} {kind}"), format!("{digest} {value}"));
            }
        }
        all
    }

    fn contents(&mut self, node: usize) -> String {
        // What replicas hold is looked at closely where there are no sentinels.
        let is_brief = self.plan.watch.is_some() && !self.plan.seed.is_multiple_of(8);
        let up = self.world.machines[node].up.as_mut().unwrap();
        if is_brief {
            return up.call(&["DEBUG", "DIGEST"]).to_string();
        }
        contents(DATABASES, |words| up.call(words))
    }

    /// Whatever was acknowledged is there.
    fn settle_accounts(&mut self, leader: usize) {
        let keeps = self.plan.keeps;
        for client in 0..self.plan.clients {
            let found = self.find(leader, client);
            for what in self.ledger[client].check(&found, keeps) {
                self.wrong(format!("client {client}: {what}"));
            }
        }
    }

    fn find(&mut self, leader: usize, client: usize) -> Found {
        let db = super::client::database(client).to_string();
        let up = self.world.machines[leader].up.as_mut().unwrap();
        let mut ask = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            up.call(&words)
        };
        ask(&format!("SELECT {db}"));
        let list = |value: &Value| match value {
            Value::Array(items) => items.iter().map(text).collect(),
            _ => Vec::new(),
        };
        let numbers = |keys: Vec<String>| {
            let last = |key: &String| key.rsplit_once(':')?.1.parse().ok();
            keys.iter().filter_map(last).collect::<Vec<u64>>()
        };
        let mut found = Found::default();
        let keys = list(&ask(&format!("KEYS s:{client}:*")));
        found.strings = numbers(keys).into_iter().collect();
        let keys = list(&ask(&format!("KEYS t:{client}:*")));
        found.together = numbers(keys).into_iter().collect();
        for n in numbers(list(&ask(&format!("KEYS f:{client}:*")))) {
            if let Value::Int(at) = ask(&format!("PEXPIRETIME f:{client}:{n}")) {
                found.far.insert(n, at);
            }
        }
        found.list = list(&ask(&format!("LRANGE l:{client} 0 -1")));
        found.together_list = list(&ask(&format!("LRANGE tl:{client} 0 -1")));
        found.queue = list(&ask(&format!("LRANGE q:{client} 0 -1")));
        found.fields = list(&ask(&format!("HKEYS h:{client}")));
        let count = |value: &Value| text(value).parse().unwrap_or(0);
        found.count = count(&ask(&format!("GET n:{client}")));
        found.together_count = count(&ask(&format!("GET tn:{client}")));
        let of = |value: &Value| value.as_bytes().map(|_| text(value));
        found.pair = (
            of(&ask(&format!("GET pa:{client}"))),
            of(&ask(&format!("GET pb:{client}"))),
        );
        if let Value::Array(entries) = ask(&format!("XRANGE x:{client} - +")) {
            for entry in entries {
                if let Value::Array(parts) = entry {
                    found.stream.extend(list(&parts[1]).into_iter().nth(1));
                }
            }
        }
        found
    }
}

/// What differs between two texts, line by line.
fn differences(expected: &str, there: &str) -> String {
    let mut all = String::new();
    let (mine, its): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), there.lines().collect());
    for line in mine.iter().filter(|line| !its.contains(line)).take(10) {
        all += &format!("  leader:  {}\n", shortened(line));
    }
    for line in its.iter().filter(|line| !mine.contains(line)).take(10) {
        all += &format!("  replica: {}\n", shortened(line));
    }
    all
}

fn shortened(line: &str) -> String {
    line.chars().take(300).collect()
}
