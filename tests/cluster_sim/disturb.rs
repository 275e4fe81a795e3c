//! What goes wrong.

use super::mutation::Mutation;
use super::operator::Told;
use super::sim::{Event, Sim, Stage, note};
use redkeep::embed::world::{ConnId, Down, Place, Up};

impl Sim {
    /// Starts a node on what its disk holds.
    pub fn start(&mut self, node: Place) {
        if self.world.machines[node].is_up() {
            return;
        }
        if self.plan.is_sentinel(node) {
            return self.start_sentinel(node);
        }
        let watched = self.plan.watch.is_some();
        if !watched || self.world.machines[node].starts == 0 {
            let text = self.file(node);
            self.world.machines[node].put_file(&text);
        }
        if let Err(e) = self.world.start(node) {
            return self.wrong(format!("node {node} does not start: {e}"));
        }
        if self.operator.leader == Some(node)
            && self.told[node] == Told::Lead
            && self.stage != Stage::Begin
            && !watched
        {
            let facts = self.facts(node);
            self.operator.restarted(&facts);
        }
    }

    /// What a node is started with: with an operator always, and else at first.
    fn file(&self, node: Place) -> String {
        let mut lines = self.plan.options(node);
        if self.mutation == Some(Mutation::Hasty) {
            lines.retain(|(name, _)| !name.starts_with("sync-replicas"));
        }
        let whom = match self.plan.watch {
            None => self.told[node],
            Some(_) => Told::at_first(node),
        };
        if whom != Told::Lead {
            lines.push(("replicaof".to_owned(), whom.whom().join(" ")));
        }
        let lines = lines
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"));
        lines.collect()
    }

    /// What there is at the beginning.
    pub fn fill(&mut self) {
        for i in 0..self.plan.keys {
            let (key, size) = (format!("init:{i}"), self.world.rng.index(3000));
            let value = "i".repeat(size);
            let up = self.world.machines[0].up.as_mut().unwrap();
            up.call(&["SET", &key, &value]);
            up.call(&["RPUSH", &format!("{key}:list"), "a", "b", &value]);
        }
        self.world.after(0);
    }

    /// All have found each other: it begins.
    pub fn begin(&mut self) {
        self.stage = Stage::Disturbed;
        for id in 0..self.clients.len() {
            self.plan_event(self.world.now(), Event::Client(id));
        }
        self.plan_event(self.world.now() + 1_000_000, Event::Disturb);
        self.plan_event(self.world.now() + self.plan.disturbed, Event::Heal);
    }

    /// Something goes wrong.
    pub fn disturb(&mut self) {
        if self.stage != Stage::Disturbed {
            return;
        }
        let pause = self.world.rng.below(self.plan.peace as u64) as i64;
        self.plan_event(self.world.now() + pause, Event::Disturb);
        if let Some(watch) = &self.plan.watch {
            let odd_clocks = watch.odd_clocks;
            return self.disturb_watched(odd_clocks);
        }
        match self.world.rng.below(20) {
            0..3 => self.partition(),
            3..6 => {
                note!(self, "all ways are open");
                self.world.unblock_all();
            }
            6..9 => self.cut_links(),
            9 => self.kill_links(),
            10..14 => {
                let node = self.world.rng.index(self.plan.nodes);
                self.take_down(node);
            }
            14 => self.ask_for_a_save(),
            15 => self.configure(),
            16 if self.plan.hands_over => self.hand_over(),
            16 | 17 if !self.operator.is_busy() => self.begin_election(),
            18 => self.slow_down(),
            _ => self.cut_clients(),
        }
    }

    /// Where there are sentinels.
    fn disturb_watched(&mut self, odd_clocks: bool) {
        match self.world.rng.below(30) {
            0..4 => self.partition(),
            4 | 5 => self.isolate_leader(),
            6 => self.divide_two(),
            7..12 => {
                note!(self, "all ways are open");
                self.world.unblock_all();
            }
            12 | 13 => self.cut_links(),
            14 => self.kill_links(),
            15..19 => {
                let place = self.world.rng.index(self.world.machines.len());
                self.take_down(place);
            }
            19 | 20 => {
                let leader = self.someone_who_leads();
                self.take_down(leader);
            }
            21 if odd_clocks => self.set_a_clock(),
            22 if odd_clocks => self.freeze(),
            23 => self.slow_a_disk(),
            24 => self.slow_down(),
            25 if self.plan.hands_over => self.ask_for_a_failover(),
            26 => self.ask_for_a_save(),
            27 => self.configure(),
            _ => self.cut_clients(),
        }
    }

    /// A node that takes itself for the leader.
    fn someone_who_leads(&mut self) -> usize {
        let all: Vec<usize> = (0..self.plan.nodes)
            .filter(|node| self.world.machines[*node].leads())
            .collect();
        match all.len() {
            0 => self.world.rng.index(self.plan.nodes),
            n => all[self.world.rng.index(n)],
        }
    }

    /// Nothing passes from one place to another, and perhaps back.
    fn divide_two(&mut self) {
        let places = self.world.machines.len();
        let (from, to) = (self.world.rng.index(places), self.world.rng.index(places));
        note!(self, "nothing passes from {from} to {to}");
        self.world.block(from, to);
        if self.world.rng.chance(0.5) {
            self.world.block(to, from);
        }
    }

    /// The leader is cut off from sentinels, and perhaps from its replicas; not from clients of its site.
    fn isolate_leader(&mut self) {
        let leader = self.someone_who_leads();
        let whom = [0, self.plan.nodes][self.world.rng.index(2)]..self.world.machines.len();
        note!(self, "node {leader} is cut off from {whom:?}");
        self.counts.partitions += 1;
        for place in whom {
            self.world.block(leader, place);
            self.world.block(place, leader);
        }
    }

    fn set_a_clock(&mut self) {
        let place = self.world.rng.index(self.world.machines.len());
        let most = [500, 5_000, 60_000][self.world.rng.index(3)];
        let ms = self.world.rng.below(2 * most) as i64 - most as i64;
        if self.world.machines[place].is_stalled(self.world.now()) {
            return;
        }
        note!(self, "the clock of {place} is set by {ms} ms");
        self.counts.jumps += 1;
        self.world.set_clock_by(place, ms * 1000);
    }

    /// A machine stands still.
    fn freeze(&mut self) {
        let place = self.world.rng.index(self.world.machines.len());
        let micros = self.world.rng.below(8_000_000) as i64;
        if self.world.machines[place].is_up() {
            note!(self, "{place} stands still for {} ms", micros / 1000);
            self.counts.freezes += 1;
            self.world.stall(place, micros);
        }
    }

    fn slow_a_disk(&mut self) {
        let node = self.world.rng.index(self.plan.nodes);
        self.world.machines[node].slow ^= true;
    }

    /// A sentinel is asked to replace the leader though nothing is wrong with it. Without `sync-replicas` that is done without
    /// an election, as in Redis, and whoever asks had better know that no other failover goes on in the same epoch.
    fn ask_for_a_failover(&mut self) {
        let places = 0..self.world.machines.len();
        let all_reach = |one: usize| places.clone().all(|other| self.world.reaches(one, other));
        let all_well = self.world.machines.iter().all(|machine| machine.is_up())
            && places.clone().all(all_reach)
            && !self.witness.is_somebody_trying();
        if self.plan.confirms == 0 && !all_well {
            return;
        }
        let place = self.plan.nodes + self.world.rng.index(self.plan.sentinels());
        self.do_on(place, &["SENTINEL", "FAILOVER", super::sentinel::NAME]);
    }

    fn partition(&mut self) {
        let places = self.world.machines.len() + 1;
        self.counts.partitions += 1;
        let group: Vec<bool> = match self.world.rng.below(3) {
            0 => {
                let alone = self.world.rng.index(places);
                (0..places).map(|place| place == alone).collect()
            }
            _ => (0..places).map(|_| self.world.rng.chance(0.5)).collect(),
        };
        let one_way = self.world.rng.chance(0.2);
        note!(
            self,
            "a partition: {group:?}{}",
            if one_way { ", one way" } else { "" }
        );
        for from in 0..places {
            for to in 0..places {
                if group[from] != group[to] && !(one_way && group[from]) {
                    self.world.block(from, to);
                }
            }
        }
    }

    fn links(&self) -> Vec<ConnId> {
        let links = self.world.conns().filter(|(_, conn)| conn.is_link());
        links.map(|(id, _)| id).collect()
    }

    /// Connections are cut.
    fn cut_links(&mut self) {
        for conn in self.links() {
            if self.world.rng.chance(0.5) {
                note!(self, "a link is cut: {}", self.describe(conn));
                self.counts.cuts += 1;
                self.world.cut(conn);
            }
        }
    }

    /// Nothing passes any more over connections that nobody knows to be dead.
    fn kill_links(&mut self) {
        for conn in self.links() {
            if self.world.rng.chance(0.5) {
                note!(self, "a link dies: {}", self.describe(conn));
                self.counts.deaths += 1;
                self.world.kill_silently(conn);
            }
        }
    }

    fn cut_clients(&mut self) {
        let clients = self.world.conns().filter(|(_, conn)| !conn.is_link());
        let ids: Vec<ConnId> = clients.map(|(id, _)| id).collect();
        for conn in ids {
            if self.world.rng.chance(0.3) {
                self.world.cut(conn);
            }
        }
    }

    fn slow_down(&mut self) {
        let mut manners = self.world.manners();
        manners.most = match self.world.rng.below(3) {
            0 => manners.least + 500,
            1 => manners.least + 30_000,
            _ => manners.least + 300_000,
        };
        self.world.set_manners(manners);
    }

    fn ask_for_a_save(&mut self) {
        let node = self.world.rng.index(self.plan.nodes);
        let word = ["BGSAVE", "BGREWRITEAOF"][self.world.rng.index(2)];
        self.do_on(node, &[word]);
    }

    fn configure(&mut self) {
        let node = self.world.rng.index(self.plan.nodes);
        match self.world.rng.below(3) {
            0 => {
                let size = [2_000, 20_000, 2_000_000][self.world.rng.index(3)].to_string();
                self.do_on(node, &["CONFIG", "SET", "repl-backlog-size", &size]);
            }
            1 => {
                let on = ["yes", "no"][self.world.rng.index(2)];
                self.do_on(node, &["CONFIG", "SET", "repl-diskless-sync", on]);
            }
            _ => self.do_on(node, &["CLIENT", "KILL", "TYPE", "replica"]),
        }
    }

    fn do_on(&mut self, node: usize, words: &[&str]) {
        if self.world.machines[node].is_stalled(self.world.now()) {
            return;
        }
        if let Some(reply) = self.world.ask(node, words) {
            note!(self, "node {node} is told {words:?}: {reply}");
        }
    }

    /// For the journal: what is told of a connection.
    fn describe(&self, conn: ConnId) -> String {
        match self.world.conn(conn) {
            Some(conn) => format!(
                "{:?} at {} to {}",
                conn.caller, conn.places[0], conn.places[1]
            ),
            None => "nobody".to_owned(),
        }
    }

    /// A node goes down, and comes up again later.
    fn take_down(&mut self, node: usize) {
        if !self.world.machines[node].is_up() {
            return;
        }
        let mut down = match self.world.rng.below(3) {
            0 => Down::Clean,
            1 => Down::Killed,
            _ => Down::Power,
        };
        if self.plan.is_sentinel(node) {
            return self.take_sentinel_down(node, down);
        }
        // After a full synchronization the log begins anew. Whoever is made to end before it has a base forgets, too.
        let begins = |up: &mut Up| {
            let logging = up.engine.state().sys.persist.logging.as_ref();
            logging.is_some_and(|logging| logging.starting)
        };
        let begins = self.world.machines[node].up.as_mut().is_some_and(begins);
        if self.world.machines[node].is_stalled(self.world.now()) && down == Down::Clean {
            down = Down::Killed;
        }
        let forgets = (down != Down::Clean || begins) && !self.plan.durable;
        if forgets && self.plan.keeps {
            if self.plan.watch.is_some() || !self.operator.can_lose(node) {
                return;
            }
            self.operator.distrust(node);
        }
        self.collect_counts_of(node);
        self.world.take_down(node, down);
        self.count_down(down);
        self.come_back_later(node);
        if self.plan.watch.is_none() {
            self.remember_what_it_was_told(node, down);
        }
    }

    const fn count_down(&mut self, down: Down) {
        let count = match down {
            Down::Clean => &mut self.counts.restarts,
            Down::Power => &mut self.counts.power_cuts,
            _ => &mut self.counts.kills,
        };
        *count += 1;
    }

    fn come_back_later(&mut self, node: Place) {
        let away = 50_000 + self.world.rng.below(8_000_000) as i64;
        self.plan_event(self.world.now() + away, Event::Start { node });
    }

    /// A sentinel ends. What it has not said to be written may be on its disk or not.
    fn take_sentinel_down(&mut self, place: Place, down: Down) {
        let down = match down {
            Down::Clean => Down::Killed,
            other => other,
        };
        self.world.take_down(place, down);
        self.count_down(down);
        self.witness.ends(place);
        self.come_back_later(place);
    }

    /// A leader that comes back may not know what has happened meanwhile. Only one that has gone down in order, seen by the
    /// operator, goes on as what it was; and one that nobody counts on any more.
    fn remember_what_it_was_told(&mut self, node: usize, down: Down) {
        if self.told[node] != Told::Lead {
            return;
        }
        let is_planned = down == Down::Clean
            && !self.operator.is_busy()
            && self.world.reaches(self.plan.nodes, node);
        let stays = match self.operator.leader == Some(node) {
            true => is_planned && self.world.rng.chance(0.7),
            false => self.world.rng.chance(0.5),
        };
        if !stays {
            self.told[node] = Told::Wait;
        }
    }
}
