//! What goes wrong.

use super::host::Mutation;
use super::machine::Told;
use super::machine::Up;
use super::net::{ConnId, End};
use super::world::{Event, PORT, Stage, World, address, note};
use crate::common::sim_disk::{Cut, Data, Image, Names, SimDisk};
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
        self.nodes[node].stalled = 0;
        if self.plan.is_sentinel(node) {
            return self.start_sentinel(node);
        }
        let seed = self.rng.next_u64();
        if self.plan.watch.is_some() {
            return self.start_by_file(node, seed);
        }
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

    fn start_by_file(&mut self, node: usize, seed: u64) {
        if self.nodes[node].starts == 0 {
            let mut lines = self.plan.options(node);
            if self.mutation == Some(Mutation::Hasty) {
                lines.retain(|(name, _)| !name.starts_with("sync-replicas"));
            }
            if node > 0 {
                lines.push(("replicaof".to_owned(), format!("{} {PORT}", address(0))));
            }
            let lines = lines
                .iter()
                .map(|(name, value)| format!("{name} {value}\n"));
            let text: String = lines.collect();
            self.nodes[node].put_file(&text);
        }
        note!(self, "node {node} starts");
        if let Err(e) = self.nodes[node].start_by_file(self.now, seed) {
            return self.wrong(format!("node {node} does not start: {e}"));
        }
        self.follow(node);
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
        if let Some(watch) = &self.plan.watch {
            let odd_clocks = watch.odd_clocks;
            return self.disturb_watched(odd_clocks);
        }
        match self.rng.below(20) {
            0..3 => self.partition(),
            3..6 => {
                note!(self, "all ways are open");
                self.net.unblock_all(self.now, &mut self.queue);
            }
            6..9 => self.cut_links(),
            9 => self.kill_links(),
            10..14 => {
                let node = self.rng.index(self.plan.nodes);
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
        match self.rng.below(30) {
            0..4 => self.partition(),
            4 | 5 => self.isolate_leader(),
            6 => self.divide_two(),
            7..12 => {
                note!(self, "all ways are open");
                self.net.unblock_all(self.now, &mut self.queue);
            }
            12 | 13 => self.cut_links(),
            14 => self.kill_links(),
            15..19 => {
                let place = self.rng.index(self.nodes.len());
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
            .filter(|node| self.nodes[*node].leads())
            .collect();
        match all.len() {
            0 => self.rng.index(self.plan.nodes),
            n => all[self.rng.index(n)],
        }
    }

    /// Nothing passes from one place to another, and perhaps back.
    fn divide_two(&mut self) {
        let places = self.nodes.len();
        let (from, to) = (self.rng.index(places), self.rng.index(places));
        note!(self, "nothing passes from {from} to {to}");
        self.net.block(from, to);
        if self.rng.chance(0.5) {
            self.net.block(to, from);
        }
    }

    /// The leader is cut off from sentinels, and perhaps from its replicas; not from clients of its site.
    fn isolate_leader(&mut self) {
        let leader = self.someone_who_leads();
        let whom = [0, self.plan.nodes][self.rng.index(2)]..self.nodes.len();
        note!(self, "node {leader} is cut off from {whom:?}");
        self.counts.partitions += 1;
        for place in whom {
            self.net.block(leader, place);
            self.net.block(place, leader);
        }
    }

    fn set_a_clock(&mut self) {
        let place = self.rng.index(self.nodes.len());
        let most = [500, 5_000, 60_000][self.rng.index(3)];
        let ms = self.rng.below(2 * most) as i64 - most as i64;
        if self.nodes[place].is_stalled(self.now) {
            return;
        }
        note!(self, "the clock of {place} is set by {ms} ms");
        self.counts.jumps += 1;
        self.nodes[place].sync_clock(self.now);
        self.nodes[place].jump(ms);
        self.after(place);
    }

    /// A machine stands still.
    fn freeze(&mut self) {
        let place = self.rng.index(self.nodes.len());
        let micros = self.rng.below(8_000_000) as i64;
        if self.nodes[place].is_up() {
            note!(self, "{place} stands still for {} ms", micros / 1000);
            self.counts.freezes += 1;
            self.stall(place, micros);
        }
    }

    fn slow_a_disk(&mut self) {
        let node = self.rng.index(self.plan.nodes);
        self.nodes[node].slow ^= true;
    }

    /// A sentinel is asked to replace the leader though nothing is wrong with it. Without `sync-replicas` that is done without
    /// an election, as in Redis, and whoever asks had better know that no other failover goes on in the same epoch.
    fn ask_for_a_failover(&mut self) {
        let places = 0..self.nodes.len();
        let all_reach = |one: usize| places.clone().all(|other| self.net.reaches(one, other));
        let all_well = self.nodes.iter().all(|machine| machine.is_up())
            && places.clone().all(all_reach)
            && !self.witness.is_somebody_trying();
        if self.plan.confirms == 0 && !all_well {
            return;
        }
        let place = self.plan.nodes + self.rng.index(self.plan.sentinels());
        self.do_on(place, &["SENTINEL", "FAILOVER", super::sentinel::NAME]);
    }

    fn partition(&mut self) {
        let places = self.nodes.len() + 1;
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
        if self.nodes[node].is_stalled(self.now) {
            return;
        }
        self.nodes[node].sync_clock(self.now);
        if let Some(up) = self.nodes[node].up.as_mut() {
            let reply = up.call(words);
            note!(self, "node {node} is told {words:?}: {reply}");
            self.after(node);
        }
    }

    /// A node goes down, and comes up again later.
    fn take_down(&mut self, node: usize) {
        if !self.nodes[node].is_up() {
            return;
        }
        let mut down = match self.rng.below(3) {
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
        let begins = self.nodes[node].up.as_mut().is_some_and(begins);
        if self.nodes[node].is_stalled(self.now) && down == Down::Clean {
            down = Down::Killed;
        }
        let forgets = (down != Down::Clean || begins) && !self.plan.durable;
        if forgets && self.plan.keeps {
            if self.plan.watch.is_some() || !self.operator.can_lose(node) {
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
                let done = self.how_much_is_done(node);
                self.kill(node, done)
            }
            Down::Power => {
                self.counts.power_cuts += 1;
                let done = self.how_much_is_done(node);
                self.cut_power(node, done)
            }
        };
        self.hang_up(node, down == Down::Power);
        self.leave(node, image);
        if self.plan.watch.is_none() {
            self.remember_what_it_was_told(node, down);
        }
    }

    /// Nothing runs on a machine any more. It is started again later, on what its disk holds.
    fn leave(&mut self, node: usize, image: Image) {
        let machine = &mut self.nodes[node];
        machine.up = None;
        machine.stalled = 0;
        machine.disk = SimDisk::from_image(&image);
        let away = 50_000 + self.rng.below(8_000_000) as i64;
        self.queue.add(self.now + away, Event::Start { node });
    }

    /// A sentinel ends. What it has not said to be written may be on its disk or not.
    fn take_sentinel_down(&mut self, place: usize, down: Down) {
        note!(self, "sentinel {place} goes down: {down:?}");
        let done = self.how_much_is_done(place);
        let image = match down {
            Down::Power => {
                self.counts.power_cuts += 1;
                self.cut_power(place, done)
            }
            _ => {
                self.counts.kills += 1;
                self.kill(place, done)
            }
        };
        self.witness.ends(place);
        self.hang_up(place, down == Down::Power);
        self.leave(place, image);
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

    fn shut_down(&mut self, node: usize) -> Image {
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

    /// Of what a machine has done to its disk. It may be about to write its file, and says nothing before it has.
    fn how_much_is_done(&mut self, node: usize) -> usize {
        let (least, most) = self.nodes[node].done();
        least + self.rng.index(most - least + 1)
    }

    /// What is left of a process that is killed after so many operations of the disk.
    fn kill(&self, node: usize, done: usize) -> Image {
        let disk = &self.nodes[node].disk;
        if done == disk.ops() {
            return disk.image();
        }
        let tape = disk.tape();
        let mut model = tape.start();
        tape.ops.iter().take(done).for_each(|op| model.step(op));
        model.image(&Cut {
            data: Data::Kept,
            names: Names::Kept,
            seed: 0,
        })
    }

    /// What is left when the power goes after so many operations of the disk.
    fn cut_power(&mut self, node: usize, done: usize) -> Image {
        let tape = self.nodes[node].disk.tape();
        let rng: &mut Rng = &mut self.rng;
        let data = [Data::Lost, Data::Kept, Data::Torn, Data::Torn, Data::Pages];
        let data = data[rng.index(data.len())];
        let mut model = tape.start();
        tape.ops.iter().take(done).for_each(|op| model.step(op));
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
        let lookout = up.lookout.iter().flat_map(|lookout| lookout.conns());
        let calls = link
            .into_iter()
            .chain(lookout)
            .map(|conn| (conn, End::Caller));
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
