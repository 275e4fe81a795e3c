//! A run: everything there is, and what happens next.

use super::client::Client;
use super::host::Mutation;
use super::journal::Journal;
use super::ledger::Account;
use super::machine::Machine;
use super::net::{Caller, ConnId, End, Net, Place};
use super::operator::Operator;
use super::plan::Plan;
use super::queue::{Due, Queue};
use super::witness::Witness;
use redkeep::engine::Engine;
use redkeep::exec::Action;
use redkeep::util::rng::Rng;
use std::collections::BTreeMap;

pub(crate) use super::journal::note;

/// When every run begins, in unix milliseconds.
pub const START: i64 = 1_700_000_000_000;

/// No run has so many events.
const MOST_EVENTS: u64 = 3_000_000;

/// Every node listens on it.
pub const PORT: u16 = 6379;

/// The address of a node.
pub fn address(place: Place) -> String {
    format!("10.0.0.{}", place + 1)
}

/// The node that has this address.
pub fn node_at(address: &str) -> Option<usize> {
    let last = address.strip_prefix("10.0.0.")?;
    last.parse::<usize>().ok()?.checked_sub(1)
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The first piece that an end of a connection has sent arrives.
    Arrive { conn: ConnId, from: End },
    /// A node looks at its deadlines.
    Wake { node: usize, starts: u64 },
    /// A node goes on with a client that waited.
    Serve { node: usize, conn: ConnId },
    /// A replica does what its leader has said.
    Work { node: usize, starts: u64 },
    /// A replica calls its leader.
    Call {
        node: usize,
        number: u64,
        calls: u64,
    },
    /// A step of a snapshot.
    Job { node: usize, starts: u64 },
    /// A node writes its log.
    Write { node: usize, starts: u64 },
    /// A machine has its file on its disk, or goes on after it was stopped.
    GoOn { node: usize, starts: u64 },
    /// A client goes on.
    Client(usize),
    /// A client has waited for long enough.
    Patience { client: usize, round: u64 },
    /// The operator looks around.
    Operator,
    /// Something goes wrong.
    Disturb,
    /// A node comes up again.
    Start { node: usize },
    /// Nothing is wrong any more.
    Heal,
    /// Clients end.
    Quiet,
    /// It is looked whether all agree.
    Look,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The nodes find each other.
    Begin,
    /// Things go wrong.
    Disturbed,
    /// Nothing goes wrong any more.
    Healed,
    /// Clients have ended.
    Quiet,
    Over,
}

/// What there was of it, over all runs: a run in which nothing happens proves nothing.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub acknowledged: u64,
    pub full: u64,
    pub partial: u64,
    pub refused: u64,
    pub promotions: u64,
    pub handed_over: u64,
    pub restarts: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub partitions: u64,
    pub cuts: u64,
    pub deaths: u64,
    pub chained: u64,
    pub joined_together: u64,
    /// Files of sentinels that took their time.
    pub slow_files: u64,
    /// Machines that stood still, and clocks that were set.
    pub freezes: u64,
    pub jumps: u64,
    /// Elections, by the number of rounds that they took.
    pub rounds: BTreeMap<usize, u64>,
    /// Leaders that were replaced, by the number of attempts that it took.
    pub attempts: BTreeMap<usize, u64>,
    /// Runs in which one took more than two rounds, by their seeds.
    pub slow_elections: Vec<u64>,
    /// What sentinels have published.
    pub heard: BTreeMap<String, u64>,
    pub errors: BTreeMap<String, u64>,
}

impl Counts {
    /// An error was seen.
    pub fn error(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or_default();
        *self.errors.entry(code.to_owned()).or_default() += 1;
    }

    pub fn add(&mut self, other: &Counts) {
        for (mine, its) in [
            (&mut self.events, other.events),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.full, other.full),
            (&mut self.partial, other.partial),
            (&mut self.refused, other.refused),
            (&mut self.promotions, other.promotions),
            (&mut self.handed_over, other.handed_over),
            (&mut self.restarts, other.restarts),
            (&mut self.kills, other.kills),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.partitions, other.partitions),
            (&mut self.cuts, other.cuts),
            (&mut self.deaths, other.deaths),
            (&mut self.chained, other.chained),
            (&mut self.joined_together, other.joined_together),
            (&mut self.slow_files, other.slow_files),
            (&mut self.freezes, other.freezes),
            (&mut self.jumps, other.jumps),
        ] {
            *mine += its;
        }
        self.slow_elections.extend(&other.slow_elections);
        for (rounds, n) in &other.rounds {
            *self.rounds.entry(*rounds).or_default() += n;
        }
        for (attempts, n) in &other.attempts {
            *self.attempts.entry(*attempts).or_default() += n;
        }
        for (event, n) in &other.heard {
            *self.heard.entry(event.clone()).or_default() += n;
        }
        for (code, n) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += n;
        }
    }
}

pub struct World {
    /// Microseconds since the beginning.
    pub now: i64,
    pub queue: Queue<Event>,
    pub rng: Rng,
    pub plan: Plan,
    pub journal: Journal,
    pub net: Net,
    pub nodes: Vec<Machine>,
    pub clients: Vec<Client>,
    pub ledger: Vec<Account>,
    /// There is one only where no sentinels are.
    pub operator: Operator,
    /// Knows what sentinels do.
    pub witness: Witness,
    pub mutation: Option<Mutation>,
    pub counts: Counts,
    pub stage: Stage,
    /// Since when clients have ended.
    pub quiet_since: i64,
    /// No clock is wrong any more.
    pub clocks_agree: bool,
    wrong: Vec<String>,
}

impl World {
    pub fn new(plan: Plan, keeps_journal: bool) -> World {
        let mut rng = Rng::seed_from_u64(plan.seed);
        let machines = plan.machines();
        // The operator has a place of its own.
        let net = Net::new(machines + 1, plan.manners, rng.next_u64());
        let nodes = (0..machines).map(|node| Machine::new(node, plan.skews[node]));
        let client = |id| Client::new(id, id % plan.nodes, plan.seed * 1000 + id as u64);
        World {
            now: 0,
            queue: Queue::new(),
            nodes: nodes.collect(),
            clients: (0..plan.clients).map(client).collect(),
            ledger: vec![Account::default(); plan.clients],
            operator: Operator::new(&plan),
            witness: Witness::default(),
            mutation: None,
            rng,
            plan,
            journal: Journal::new(keeps_journal),
            net,
            counts: Counts::default(),
            stage: Stage::Begin,
            quiet_since: 0,
            clocks_agree: false,
            wrong: Vec::new(),
        }
    }

    /// Something is wrong: the run has failed.
    pub fn wrong(&mut self, what: String) {
        note!(self, "WRONG: {what}");
        self.wrong.push(what);
    }

    /// Runs to the end. Gives what was wrong.
    pub fn run(&mut self) -> Vec<String> {
        note!(self, "{:?}", self.plan.clone());
        for node in 0..self.plan.nodes {
            self.start(node);
        }
        for place in self.plan.nodes..self.nodes.len() {
            // When replicas have found their leader.
            let at = 1_000_000 + self.rng.below(1_000_000) as i64;
            self.queue.add(at, Event::Start { node: place });
        }
        self.fill();
        match self.plan.watch {
            None => self.queue.add(0, Event::Operator),
            Some(_) => self.queue.add(0, Event::Look),
        }
        while self.stage != Stage::Over && self.wrong.is_empty() {
            let (at, event) = self.queue.pop().unwrap();
            self.now = self.now.max(at);
            self.counts.events += 1;
            self.happen(event);
            if self.counts.events > MOST_EVENTS {
                self.wrong("it does not end".to_owned());
            }
        }
        self.collect_counts();
        std::mem::take(&mut self.wrong)
    }

    fn is_current(&self, node: usize, starts: u64) -> bool {
        self.nodes[node].starts == starts && self.nodes[node].is_up()
    }

    /// Whether whom it happens to has been started again since it was planned.
    fn is_outdated(&self, event: Event) -> bool {
        match event {
            Event::Wake { node, starts }
            | Event::Work { node, starts }
            | Event::Job { node, starts }
            | Event::Write { node, starts }
            | Event::GoOn { node, starts } => !self.is_current(node, starts),
            _ => false,
        }
    }

    /// The machine that it happens to, if it happens to one.
    fn machine_of(&self, event: Event) -> Option<usize> {
        match event {
            Event::Wake { node, .. }
            | Event::Work { node, .. }
            | Event::Job { node, .. }
            | Event::Write { node, .. }
            | Event::GoOn { node, .. }
            | Event::Serve { node, .. }
            | Event::Call { node, .. } => Some(node),
            Event::Arrive { conn, from } => {
                let conn = self.net.get(conn)?;
                match (from, conn.caller) {
                    (End::Called, Caller::Client(_)) => None,
                    _ => Some(conn.places[from.other() as usize]),
                }
            }
            _ => None,
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        if self.is_outdated(event) {
            return;
        }
        let touched = self.machine_of(event);
        if let Some(node) = touched {
            let machine = &mut self.nodes[node];
            if machine.is_up() && machine.is_stalled(now) {
                return self.queue.add(machine.stalled, event);
            }
            machine.sync_clock(now);
        }
        self.happen_now(event);
        if self.journal.is_kept() {
            for line in super::journal::take_logged() {
                let node = touched.map_or(String::new(), |node| format!("node {node} "));
                note!(self, "    {node}logs: {line}");
            }
        }
    }

    fn happen_now(&mut self, event: Event) {
        match event {
            Event::Arrive { conn, from } => self.arrive(conn, from),
            Event::Wake { node, .. } => self.tick(node),
            Event::Serve { node, conn } => self.serve_on(node, conn),
            Event::Work { node, .. } => self.link_works(node),
            Event::Call {
                node,
                number,
                calls,
            } => self.link_calls(node, number, calls),
            Event::Job { node, .. } => self.job_turn(node),
            Event::Write { node, .. } => self.write_turn(node),
            Event::GoOn { node, .. } => self.go_on(node),
            Event::Client(id) => self.client_turn(id),
            Event::Patience { client, round } => self.client_gives_up(client, round),
            Event::Operator => self.operator_turn(),
            Event::Disturb => self.disturb(),
            Event::Start { node } => self.start(node),
            Event::Heal => self.heal(),
            Event::Quiet => self.quiet(),
            Event::Look => self.look(),
        }
    }

    fn arrive(&mut self, conn: ConnId, from: End) {
        let Some(found) = self.net.get(conn) else {
            return;
        };
        let (caller, places) = (found.caller, found.places);
        let piece = self.net.arrive(self.now, conn, from, &mut self.queue);
        if from == End::Called {
            // There is room for more.
            self.nodes[places[1]].sync_clock(self.now);
            self.flush(places[1], conn);
        }
        let Some(piece) = piece else {
            return;
        };
        match (from, caller) {
            (End::Caller, _) => self.node_gets(places[1], conn, piece),
            (End::Called, Caller::Client(id)) => self.client_gets(id, conn, piece),
            (End::Called, Caller::Link { node, .. }) => self.link_gets(node, conn, piece),
            (End::Called, Caller::Sentinel { place, .. }) => {
                self.sentinel_gets(place, conn, piece);
            }
        }
    }

    /// Nothing happens on a machine for a while.
    pub fn stall(&mut self, node: usize, micros: i64) {
        let machine = &mut self.nodes[node];
        machine.stalled = machine.stalled.max(self.now + micros);
        let (at, starts) = (machine.stalled, machine.starts);
        self.queue.add(at, Event::GoOn { node, starts });
    }

    /// A machine goes on.
    fn go_on(&mut self, node: usize) {
        self.nodes[node].is_written();
        self.after(node);
        let served = self.nodes[node].up.as_ref().map(|up| up.served.keys());
        let conns: Vec<ConnId> = served.into_iter().flatten().copied().collect();
        for conn in conns {
            self.serve_on(node, conn);
        }
    }

    /// A node does what is due.
    fn tick(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        match up.wake.comes(self.now) {
            Due::Now => {}
            Due::Later(at) => {
                let starts = self.nodes[node].starts;
                return self.queue.add(at, Event::Wake { node, starts });
            }
            Due::Never => return,
        }
        up.hold(Engine::tick);
        self.after(node);
    }

    /// Something was done with a node: what follows from it is done.
    pub fn after(&mut self, node: usize) {
        self.act(node, false);
    }

    /// The log was written: it is looked at again only if there is more.
    pub fn after_writing(&mut self, node: usize) {
        self.act(node, true);
    }

    fn act(&mut self, node: usize, was_written: bool) {
        loop {
            if self.nodes[node].is_stalled(self.now) {
                return;
            }
            let Some(up) = self.nodes[node].up.as_mut() else {
                return;
            };
            let engine = &mut up.engine;
            engine.settle();
            up.actions.extend(engine.take_actions());
            drop(engine.take_garbage());
            self.take_orders(node);
            if !self.has_written(node) {
                return;
            }
            self.carry_out(node);
            let Some(up) = self.nodes[node].up.as_mut() else {
                return;
            };
            let engine = &mut up.engine;
            let actions = std::mem::take(&mut up.actions);
            if actions.is_empty() {
                let deadline = engine.next_deadline();
                let logging = engine.state().sys.persist.logging.as_ref();
                let writes = !was_written || logging.is_some_and(|l| l.log.unwritten() > 0);
                self.plan_wake(node, deadline);
                if writes {
                    self.plan_write(node);
                }
                break;
            }
            for action in actions {
                match action {
                    Action::Wake(sid) | Action::Close(sid) => self.wake(node, sid),
                    Action::Save { id, start } => self.begin_job(node, id, start),
                    Action::Log { log, .. } => self.begin_log(node, &log),
                    Action::Follow => self.follow(node),
                    Action::Shutdown
                    | Action::Reconfigure(_)
                    | Action::Sentinel
                    | Action::Clock { .. }
                    | Action::Freeze(_) => {}
                }
            }
        }
        self.look_at_held(node);
    }

    fn plan_write(&mut self, node: usize) {
        let starts = self.nodes[node].starts;
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        if up.writers.is_empty() || up.writes {
            return;
        }
        up.writes = true;
        // Nobody waits for a log that is synced when it pleases.
        let most = match self.plan.logs[node] {
            Some("always") if self.nodes[node].slow => [10_000, 300_000, 2_000_000],
            Some("always") => [100, 1000, 8000],
            _ => [5000, 50_000, 500_000],
        };
        let most = most[self.rng.index(3)];
        let pause = 20 + self.rng.below(most) as i64;
        self.queue
            .add(self.now + pause, Event::Write { node, starts });
    }

    fn plan_wake(&mut self, node: usize, deadline: Option<i64>) {
        /// Nobody looks more often.
        const LEAST: i64 = 5_000;
        let (starts, origin) = (self.nodes[node].starts, self.nodes[node].origin);
        let (Some(up), Some(deadline)) = (self.nodes[node].up.as_mut(), deadline) else {
            return;
        };
        let at = (deadline * 1000 - origin).max(self.now + LEAST);
        if up.wake.is_to_be_planned(at) {
            self.queue.add(at, Event::Wake { node, starts });
        }
    }

    fn collect_counts(&mut self) {
        for node in 0..self.plan.nodes {
            self.collect_counts_of(node);
        }
        for rounds in &self.witness.rounds {
            *self.counts.rounds.entry(*rounds).or_default() += 1;
        }
        for attempts in &self.witness.attempts {
            *self.counts.attempts.entry(*attempts).or_default() += 1;
        }
        if self.witness.rounds.iter().any(|rounds| *rounds > 2) {
            self.counts.slow_elections.push(self.plan.seed);
        }
    }

    /// What an instance has counted, before it ends.
    pub fn collect_counts_of(&mut self, node: usize) {
        if let Some(up) = &mut self.nodes[node].up {
            let counts = up.hold(|engine| engine.state().sys.repl.counts);
            self.counts.full += counts.full;
            self.counts.partial += counts.partial;
            self.counts.refused += counts.refused;
        }
    }
}
