//! Sentinels: what they are started with, and what is heard of them.

use super::mutation::Mutation;
use super::plan::Watch;
use super::sim::{PORT, Sim, note};
use super::witness::Hello;
use crate::common::instance::text as as_text;
use redkeep::embed::world::{Place, address};
use redkeep::resp::Value;
use std::collections::BTreeMap;

/// Every sentinel listens on it.
pub const SENTINEL_PORT: u16 = 26379;

/// What the leader is called.
pub const NAME: &str = "mymaster";

/// The file that a sentinel is started with at first.
fn first_file(watch: &Watch, place: Place) -> String {
    let Watch {
        quorum,
        down_after,
        failover_timeout,
        parallel_syncs,
        ..
    } = watch;
    let mut text = format!(
        "port {SENTINEL_PORT}\n\
         sentinel monitor {NAME} {} {PORT} {quorum}\n\
         sentinel down-after-milliseconds {NAME} {down_after}\n\
         sentinel failover-timeout {NAME} {failover_timeout}\n\
         sentinel parallel-syncs {NAME} {parallel_syncs}\n",
        address(0)
    );
    if watch.announces {
        text += &format!("sentinel announce-ip {}\n", address(place));
    }
    text
}

/// What makes a sentinel do some things more often.
const HURRY: [&str; 6] = [
    "SENTINEL",
    "DEBUG",
    "info-period",
    "3000",
    "tilt-period",
    "6000",
];

/// What a sentinel forgets that has forgotten its votes.
const VOTES: [&str; 2] = ["sentinel current-epoch", "sentinel leader-epoch"];

impl Sim {
    /// Starts a sentinel on what its disk holds.
    pub fn start_sentinel(&mut self, place: Place) {
        let machine = &mut self.world.machines[place];
        if machine.starts == 0 {
            let watch = self.plan.watch.as_ref().unwrap();
            machine.put_file(&first_file(watch, place));
        }
        match self.mutation {
            Some(Mutation::NoSync) => machine.disk.forget_syncs(),
            Some(Mutation::ForgetsVotes) => {
                let file = machine.file();
                let kept = file
                    .lines()
                    .filter(|line| !VOTES.iter().any(|vote| line.starts_with(vote)));
                let kept: String = kept.map(|line| format!("{line}\n")).collect();
                machine.put_file(&kept);
            }
            _ => {}
        }
        if let Err(e) = self.world.start(place) {
            return self.wrong(format!("sentinel {place} does not start: {e}"));
        }
        let up = self.world.machines[place].up.as_mut().unwrap();
        if let Some(sentinel) = &up.engine.state().sys.sentinel
            && let Some(master) = sentinel.find(NAME)
        {
            let (epoch, config) = (sentinel.epoch, master.config_epoch);
            self.witness.starts(place, epoch, config, master.vote_epoch);
        }
        self.judge_sentinels();
        if self.plan.watch.as_ref().is_some_and(|watch| watch.hurries) {
            let reply = self.world.ask(place, &HURRY);
            assert_eq!(reply, Some(Value::Simple(b"OK".to_vec())));
        }
    }

    /// What a sentinel says to others tells what it believes and does.
    pub fn witness_of_words(&mut self, place: Place, to: Place, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if let Some((_, said)) = text.split_once("__sentinel__:hello\r\n")
            && let Some(hello) = said.split("\r\n").nth(1).and_then(Hello::parse)
        {
            self.witness.says(place, &hello);
        }
        if text.contains("\r\nNO\r\n$3\r\nONE\r\n") && !self.plan.is_sentinel(to) {
            note!(self, "sentinel {place} tells node {to} to lead");
            self.counts.promotions += 1;
            self.witness.tells_to_lead(place, to);
        }
        self.judge_sentinels();
    }

    /// What was found to be wrong with sentinels ends the run.
    pub fn judge_sentinels(&mut self) {
        for what in self.witness.take_wrong() {
            self.wrong(what);
        }
    }

    /// A sentinel has published something.
    pub fn hears(&mut self, place: Place, event: &str, text: &str) {
        *self.counts.heard.entry(event.to_owned()).or_default() += 1;
        self.witness.hears(place, event, text);
        if matches!(event, "+switch-master" | "+promoted-slave") {
            let view = self.view(place);
            self.witness.holds(place, view.since, &view.leader);
        }
        self.judge_sentinels();
    }

    /// What a sentinel answers to who asks for the state of the leader.
    pub fn view(&mut self, place: Place) -> View {
        let told = self
            .world
            .ask(place, &["SENTINEL", "MASTER", NAME])
            .unwrap();
        let mut fields = BTreeMap::new();
        if let Value::Array(words) = told {
            for pair in words.chunks_exact(2) {
                fields.insert(as_text(&pair[0]), as_text(&pair[1]));
            }
        }
        let whom = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
        let address = self.world.ask(place, &whom).unwrap();
        let leader = match &address {
            Value::Array(parts) => parts.iter().map(as_text).collect::<Vec<_>>().join(":"),
            _ => String::new(),
        };
        let number = |name: &str| fields.get(name).and_then(|n| n.parse().ok()).unwrap_or(0);
        View {
            leader,
            since: number("config-epoch"),
            flags: fields.get("flags").cloned().unwrap_or_default(),
            replicas: number("num-slaves"),
            others: number("num-other-sentinels"),
        }
    }
}

/// What a sentinel knows of the group that it watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `ip:port` of who leads.
    pub leader: String,
    /// The epoch of that.
    pub since: u64,
    pub flags: String,
    pub replicas: u64,
    pub others: u64,
}
