//! What goes wrong.

use super::machine::Told;
use super::machine::Up;
use super::net::{ConnId, End};
use super::world::{Event, Stage, World, note};
use crate::common::sim_disk::{Cut, Data, Names, SimDisk};
use redkeep::util::rng::Rng;

/// How a node goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    /// SHUTDOWN.
    Clean,
    /// The process is killed: what it has written is there.
    Killed,
    /// The power goes: what it has not synced may be gone.
    Power,
}

impl World {
    /// Starts a node on what its disk holds.
    pub fn start(&mut self, node: usize) {
        if self.nodes[node].is_up() {
            return;
        }
        let seed = self.rng.next_u64();
        let options = self.plan.options(node);
        note!(
            self,
            "node {node} starts, and is to {:?}",
            self.nodes[node].told
        );
        self.nodes[node].start(self.now, &options, seed);
        self.follow(node);
        if self.operator.leader == Some(node)
            && self.nodes[node].told == Told::Lead
            && self.stage != Stage::Begin
        {
            let facts = self.facts(node);
            self.operator.restarted(&facts);
        }
        self.after(node);
    }

    /// What there is at the beginning.
    pub fn fill(&mut self) {
        for i in 0..self.plan.keys {
            let (key, size) = (format!("init:{i}"), self.rng.index(3000));
            let value = "i".repeat(size);
            let up = self.nodes[0].up.as_mut().unwrap();
            up.call(&["SET", &key, &value]);
            up.call(&["RPUSH", &format!("{key}:list"), "a", "b", &value]);
        }
        self.after(0);
    }

    /// All have found each other: it begins.
    pub fn begin(&mut self) {
        self.stage = Stage::Disturbed;
        for id in 0..self.clients.len() {
            self.queue.add(self.now, Event::Client(id));
        }
        self.queue.add(self.now + 1_000_000, Event::Disturb);
        self.queue.add(self.now + self.plan.disturbed, Event::Heal);
    }

    /// Something goes wrong.
    pub fn disturb(&mut self) {
        if self.stage != Stage::Disturbed {
            return;
        }
        let pause = self.rng.below(self.plan.peace as u64) as i64;
        self.queue.add(self.now + pause, Event::Disturb);
        match self.rng.below(20) {
            0..3 => self.partition(),
            3..6 => {
                note!(self, "all ways are open");
                self.net.unblock_all(self.now, &mut self.queue);
            }
            6..9 => self.cut_links(),
            9 => self.kill_links(),
            10..14 => self.take_down(),
            14 => self.ask_for_a_save(),
            15 => self.configure(),
            16 if self.plan.hands_over => self.hand_over(),
            16 | 17 if !self.operator.is_busy() => self.begin_election(),
            18 => self.slow_down(),
            _ => self.cut_clients(),
        }
    }

    fn partition(&mut self) {
        let places = self.plan.nodes + 1;
        self.counts.partitions += 1;
        let group: Vec<bool> = match self.rng.below(3) {
            0 => {
                let alone = self.rng.index(places);
                (0..places).map(|place| place == alone).collect()
            }
            _ => (0..places).map(|_| self.rng.chance(0.5)).collect(),
        };
        let one_way = self.rng.chance(0.2);
        note!(
            self,
            "a partition: {group:?}{}",
            if one_way { ", one way" } else { "" }
        );
        for from in 0..places {
            for to in 0..places {
                if group[from] != group[to] && !(one_way && group[from]) {
                    self.net.block(from, to);
                }
            }
        }
    }

    fn links(&self) -> Vec<ConnId> {
        let links = self.net.all().filter(|(_, conn)| conn.is_link());
        links.map(|(id, _)| id).collect()
    }

    /// Connections are cut.
    fn cut_links(&mut self) {
        for conn in self.links() {
            if self.rng.chance(0.5) {
                note!(
                    self,
                    "a link is cut: {}",
                    super::serve::describe(self, conn)
                );
                self.counts.cuts += 1;
                self.net.cut(self.now, conn, &mut self.queue);
            }
        }
    }

    /// Nothing passes any more over connections that nobody knows to be dead.
    fn kill_links(&mut self) {
        for conn in self.links() {
            if self.rng.chance(0.5) {
                note!(self, "a link dies: {}", super::serve::describe(self, conn));
                self.counts.deaths += 1;
                self.net.die(conn);
            }
        }
    }

    fn cut_clients(&mut self) {
        let clients = self.net.all().filter(|(_, conn)| !conn.is_link());
        let ids: Vec<ConnId> = clients.map(|(id, _)| id).collect();
        for conn in ids {
            if self.rng.chance(0.3) {
                self.net.cut(self.now, conn, &mut self.queue);
            }
        }
    }

    fn slow_down(&mut self) {
        let manners = &mut self.net.manners;
        manners.most = match self.rng.below(3) {
            0 => manners.least + 500,
            1 => manners.least + 30_000,
            _ => manners.least + 300_000,
        };
    }

    fn ask_for_a_save(&mut self) {
        let node = self.rng.index(self.plan.nodes);
        let word = ["BGSAVE", "BGREWRITEAOF"][self.rng.index(2)];
        self.do_on(node, &[word]);
    }

    fn configure(&mut self) {
        let node = self.rng.index(self.plan.nodes);
        match self.rng.below(3) {
            0 => {
                let size = [2_000, 20_000, 2_000_000][self.rng.index(3)].to_string();
                self.do_on(node, &["CONFIG", "SET", "repl-backlog-size", &size]);
            }
            1 => {
                let on = ["yes", "no"][self.rng.index(2)];
                self.do_on(node, &["CONFIG", "SET", "repl-diskless-sync", on]);
            }
            _ => self.do_on(node, &["CLIENT", "KILL", "TYPE", "replica"]),
        }
    }

    fn do_on(&mut self, node: usize, words: &[&str]) {
        self.nodes[node].sync_clock(self.now);
        if let Some(up) = self.nodes[node].up.as_mut() {
            let reply = up.call(words);
            note!(self, "node {node} is told {words:?}: {reply}");
            self.after(node);
        }
    }

    /// A node goes down, and comes up again later.
    fn take_down(&mut self) {
        let node = self.rng.index(self.plan.nodes);
        if !self.nodes[node].is_up() {
            return;
        }
        let down = match self.rng.below(3) {
            0 => Down::Clean,
            1 => Down::Killed,
            _ => Down::Power,
        };
        // After a full synchronization the log begins anew. Whoever is made to end before it has a base forgets, too.
        let begins = |up: &mut Up| {
            let logging = up.engine.state().sys.persist.logging.as_ref();
            logging.is_some_and(|logging| logging.starting)
        };
        let begins = self.nodes[node].up.as_mut().is_some_and(begins);
        let forgets = (down != Down::Clean || begins) && !self.plan.durable;
        if forgets && self.plan.confirms > 0 {
            if !self.operator.can_lose(node) {
                return;
            }
            self.operator.distrust(node);
        }
        note!(self, "node {node} goes down: {down:?}");
        self.nodes[node].sync_clock(self.now);
        self.collect_counts_of(node);
        let image = match down {
            Down::Clean => {
                self.counts.restarts += 1;
                self.shut_down(node)
            }
            Down::Killed => {
                self.counts.kills += 1;
                self.nodes[node].disk.image()
            }
            Down::Power => {
                self.counts.power_cuts += 1;
                self.cut_power(node)
            }
        };
        self.hang_up(node, down == Down::Power);
        let machine = &mut self.nodes[node];
        machine.up = None;
        machine.disk = SimDisk::from_image(&image);
        self.remember_what_it_was_told(node, down);
        let away = 50_000 + self.rng.below(8_000_000) as i64;
        self.queue.add(self.now + away, Event::Start { node });
    }

    /// A leader that comes back may not know what has happened meanwhile. Only one that has gone down in order, seen by the
    /// operator, goes on as what it was; and one that nobody counts on any more.
    fn remember_what_it_was_told(&mut self, node: usize, down: Down) {
        if self.nodes[node].told != Told::Lead {
            return;
        }
        let is_planned = down == Down::Clean
            && !self.operator.is_busy()
            && self.net.reaches(self.plan.nodes, node);
        let stays = match self.operator.leader == Some(node) {
            true => is_planned && self.rng.chance(0.7),
            false => self.rng.chance(0.5),
        };
        if !stays {
            self.nodes[node].told = Told::Wait;
        }
    }

    fn shut_down(&mut self, node: usize) -> crate::common::sim_disk::Image {
        let logs = self.plan.logs[node].is_some();
        let how = if logs { "NOSAVE" } else { "SAVE" };
        let up = self.nodes[node].up.as_mut().unwrap();
        // Whoever waits for replicas does not wait long.
        up.call(&["SHUTDOWN", how, "NOW", "FORCE"]);
        up.hold(|engine| redkeep::exec::persist::log::close(engine.state()));
        for mut writer in up.writers.drain(..) {
            while writer.step() {}
        }
        self.nodes[node].disk.image()
    }

    fn cut_power(&mut self, node: usize) -> crate::common::sim_disk::Image {
        let tape = self.nodes[node].disk.tape();
        let rng: &mut Rng = &mut self.rng;
        let data = [Data::Lost, Data::Kept, Data::Torn, Data::Torn, Data::Pages];
        let data = data[rng.index(data.len())];
        let mut model = tape.start();
        tape.ops.iter().for_each(|op| model.step(op));
        let names = match rng.below(3) {
            0 => Names::Lost,
            1 => Names::Kept,
            _ => Names::First(rng.index(model.open_names() + 1)),
        };
        let seed = rng.next_u64();
        model.image(&Cut { data, names, seed })
    }

    /// The connections of a node end with it; if the power has gone, nobody is told.
    fn hang_up(&mut self, node: usize, silently: bool) {
        let up = self.nodes[node].up.as_mut().unwrap();
        let called = up.served.keys().map(|conn| (*conn, End::Called));
        let link = up.link.as_ref().and_then(|link| link.conn());
        let calls = link.map(|conn| (conn, End::Caller));
        let all: Vec<(ConnId, End)> = called.chain(calls).collect();
        for (conn, end) in all {
            if silently || self.rng.chance(0.3) {
                self.net.lose(conn, end);
            }
            if silently {
                self.net.vanish(conn, end);
            } else {
                self.net.close(self.now, conn, end, &mut self.queue);
            }
        }
    }
}
