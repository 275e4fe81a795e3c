//! A run: a world, what is done to it, and what is made of that.

use super::client::Client;
use super::ledger::Account;
use super::mutation::Mutation;
use super::operator::{Operator, Told};
use super::plan::{Plan, Watch};
use super::witness::Witness;
use redkeep::embed::world::{Journal, Machine, News, Place, World};
use std::collections::BTreeMap;

pub(crate) use super::journal::note;

/// No run has so many events.
const MOST_EVENTS: u64 = 3_000_000;

/// Every node listens on it.
pub const PORT: u16 = 6379;

/// What is planned to happen.
#[derive(Clone, Copy, Debug)]
pub enum Event {
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

pub struct Sim {
    /// The nodes, the sentinels behind them, and the network; the last place is the operator's.
    pub world: World,
    /// What was planned, by its number.
    planned: Vec<Event>,
    pub plan: Plan,
    pub clients: Vec<Client>,
    pub ledger: Vec<Account>,
    /// There is one only where no sentinels are.
    pub operator: Operator,
    /// Whom each node was told by it to follow last. It is remembered when the node is down.
    pub told: Vec<Told>,
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

impl Sim {
    pub fn new(plan: Plan, keeps_journal: bool) -> Sim {
        let machines = (0..plan.machines()).map(|place| match plan.is_sentinel(place) {
            false => Machine::new(format!("node {place}"), PORT, false, plan.skews[place]),
            true => {
                let (name, port) = (format!("sentinel {place}"), super::sentinel::SENTINEL_PORT);
                Machine::new(name, port, true, plan.skews[place])
            }
        });
        let journal = Journal::new(keeps_journal);
        let mut world = World::new(plan.seed, machines.collect(), plan.manners, journal);
        world.tells_all = true;
        world.slow_files = plan.watch.as_ref().map_or(0, Watch::slowness);
        let client = |id| Client::new(id, id % plan.nodes, plan.seed * 1000 + id as u64);
        Sim {
            world,
            planned: Vec::new(),
            clients: (0..plan.clients).map(client).collect(),
            ledger: vec![Account::default(); plan.clients],
            operator: Operator::new(&plan),
            told: (0..plan.nodes).map(Told::at_first).collect(),
            witness: Witness::default(),
            mutation: None,
            plan,
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

    /// Plans that something happens, at a time in microseconds.
    pub fn plan_event(&mut self, at: i64, event: Event) {
        self.world.plan(at, self.planned.len() as u64);
        self.planned.push(event);
    }

    /// Runs to the end. Gives what was wrong.
    pub fn run(&mut self) -> Vec<String> {
        note!(self, "{:?}", self.plan.clone());
        for node in 0..self.plan.nodes {
            self.start(node);
        }
        for place in self.plan.nodes..self.world.machines.len() {
            // When replicas have found their leader.
            let at = 1_000_000 + self.world.rng.below(1_000_000) as i64;
            self.plan_event(at, Event::Start { node: place });
        }
        self.fill();
        match self.plan.watch {
            None => self.plan_event(0, Event::Operator),
            Some(_) => self.plan_event(0, Event::Look),
        }
        while self.stage != Stage::Over && self.wrong.is_empty() {
            let touched = self.world.step();
            self.learn();
            self.note_logged(touched);
            self.counts.events += 1;
            if self.counts.events > MOST_EVENTS {
                self.wrong("it does not end".to_owned());
            }
        }
        self.collect_counts();
        std::mem::take(&mut self.wrong)
    }

    /// What has happened is looked at, and what was planned is done.
    fn learn(&mut self) {
        while let Some(news) = self.world.take_news() {
            match news {
                News::Received {
                    client,
                    conn,
                    piece,
                } => self.client_gets(client, conn, piece),
                News::Due(number) => self.happen(self.planned[number as usize]),
                News::Down { .. } => {}
                News::Published { place, event, text } => self.hears(place, &event, &text),
                News::Voted { place, whom, epoch } => {
                    self.witness.voted(place, &whom, epoch);
                    self.judge_sentinels();
                }
                News::Said { place, to, bytes } => self.witness_of_words(place, to, &bytes),
                News::Nowhere { place, host, port } => {
                    self.wrong(format!("sentinel {place} calls {host}:{port}"));
                }
            }
        }
    }

    fn note_logged(&mut self, touched: Option<Place>) {
        if self.world.journal.is_kept() {
            for line in super::journal::take_logged() {
                let node = touched.map_or(String::new(), |node| format!("node {node} "));
                note!(self, "    {node}logs: {line}");
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
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

    fn collect_counts(&mut self) {
        self.counts.slow_files = self.world.slowly_written;
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
        if let Some(up) = &mut self.world.machines[node].up {
            let counts = up.hold(|engine| engine.state().sys.repl.counts);
            self.counts.full += counts.full;
            self.counts.partial += counts.partial;
            self.counts.refused += counts.refused;
        }
    }
}
