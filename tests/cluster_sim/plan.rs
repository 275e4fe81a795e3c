//! What is left to chance in a run as a whole: how many nodes there are, how they are configured, what befalls them.
//!
//! A run has either an operator ([`Plan::operated`]) or sentinels ([`Plan::watched`]).

use redkeep::embed::world::{Manners, address};
use redkeep::util::rng::Rng;

/// How sentinels are configured.
#[derive(Clone, Debug)]
pub struct Watch {
    pub sentinels: usize,
    pub quorum: usize,
    /// In milliseconds, as the file has it.
    pub down_after: u64,
    pub failover_timeout: u64,
    pub parallel_syncs: usize,
    /// Each says where it is, and does not leave that to the others.
    pub announces: bool,
    /// Microseconds that a configuration file takes to be on a disk, at most.
    slowness: u64,
    /// Clocks jump, and machines stand still.
    pub odd_clocks: bool,
    /// Sentinels ask for INFO more often, and are in TILT for less time, than usual.
    pub hurries: bool,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Leader and replicas.
    pub nodes: usize,
    /// Sentinels watch over them; without them, an operator.
    pub watch: Option<Watch>,
    /// `sync-replicas`
    pub confirms: usize,
    /// `min-replicas-to-write`
    pub wanted: usize,
    /// What was acknowledged must not be lost.
    pub keeps: bool,
    /// Acknowledged is what is on the disks of the replicas: then the power may go.
    pub durable: bool,
    /// `appendfsync`, by node; none has no log.
    pub logs: Vec<Option<&'static str>>,
    /// Replicas may follow other replicas.
    pub chains: bool,
    pub backlog: u64,
    pub diskless: bool,
    pub sync_delay: u64,
    /// What is saved is saved key by key, so that it takes time.
    pub slow_saves: bool,
    pub compresses: bool,
    /// Microseconds by which the clock of each node is wrong.
    pub skews: Vec<i64>,
    /// Parts are handed over by FAILOVER, too.
    pub hands_over: bool,
    pub clients: usize,
    /// Keys that there are at the beginning.
    pub keys: usize,
    /// How long there are disturbances, in microseconds, and how long there is peace between two of them.
    pub disturbed: i64,
    pub peace: i64,
    /// Microseconds between two commands of a client, at most.
    pub thinks: u64,
    pub timeout: u64,
    pub manners: Manners,
}

impl Watch {
    pub const fn slowness(&self) -> u64 {
        self.slowness
    }
}

impl Plan {
    /// A run with an operator.
    pub fn operated(seed: u64) -> Plan {
        let mut rng = Rng::seed_from_u64(seed ^ 0x5eed_0000);
        let rng = &mut rng;
        let nodes = 2 + rng.index(3);
        let confirms = match super::CONFIRMS && rng.chance(0.6) {
            true if nodes > 3 && rng.chance(0.3) => 2,
            true => 1,
            false => 0,
        };
        let durable = confirms > 0 && rng.chance(0.4);
        let log = |rng: &mut Rng| match rng.below(4) {
            _ if durable => Some("always"),
            0 => None,
            1 => Some("no"),
            2 => Some("always"),
            _ => Some("everysec"),
        };
        let skewed = rng.chance(0.3);
        let skew = |rng: &mut Rng| match skewed {
            true => rng.below(4_000_000) as i64 - 2_000_000,
            false => 0,
        };
        Plan {
            seed,
            nodes,
            watch: None,
            confirms,
            wanted: 0,
            keeps: confirms > 0,
            durable,
            logs: (0..nodes).map(|_| log(rng)).collect(),
            chains: nodes > 2 && rng.chance(0.4),
            backlog: match rng.below(3) {
                0 => 16 * 1024,
                1 => 32 * 1024,
                _ => 1024 * 1024,
            },
            diskless: rng.chance(0.7),
            sync_delay: rng.below(3),
            slow_saves: rng.chance(0.3),
            compresses: rng.chance(0.1),
            skews: (0..nodes).map(|_| skew(rng)).collect(),
            hands_over: rng.chance(0.3),
            clients: 2 + rng.index(3),
            keys: [0, 5, 60][rng.index(3)],
            disturbed: 1_000_000 * (5 + rng.below(15)) as i64,
            peace: 500_000 * (1 + rng.below(4)) as i64,
            thinks: 1000 * (20 + rng.below(400)),
            timeout: 4 + rng.below(6),
            manners: Manners {
                least: 50 + rng.below(2000),
                most: 2100 + rng.below(40_000),
                piece: [7, 200, 16_384][rng.index(3)],
                window: [3000, 64 * 1024, 1024 * 1024][rng.index(3)],
            },
        }
    }

    /// A run with sentinels.
    pub fn watched(seed: u64) -> Plan {
        let mut rng = Rng::seed_from_u64(seed ^ 0x0005_e471);
        let rng = &mut rng;
        let nodes = 3 + rng.index(3);
        let sentinels = [3, 5][rng.index(2)];
        let confirms = match rng.below(4) {
            0 => 0,
            1 => nodes - 1,
            _ => 1,
        };
        let durable = confirms > 0 && rng.chance(0.5);
        let log = |rng: &mut Rng| match rng.below(4) {
            _ if durable => Some("always"),
            0 => None,
            1 => Some("no"),
            2 => Some("always"),
            _ => Some("everysec"),
        };
        let skewed = rng.chance(0.2);
        let skew = |rng: &mut Rng| match skewed {
            true => rng.below(4_000_000) as i64 - 2_000_000,
            false => 0,
        };
        Plan {
            seed,
            nodes,
            watch: Some(Watch {
                sentinels,
                quorum: match rng.below(5) {
                    0 => 2,
                    1 => sentinels,
                    _ => sentinels / 2 + 1,
                },
                down_after: [500, 1000, 1000, 3000][rng.index(4)],
                failover_timeout: 1000 * (3 + rng.below(8)),
                parallel_syncs: 1 + rng.index(2),
                announces: rng.chance(0.5),
                slowness: [0, 20_000, 1_500_000][rng.index(3)],
                odd_clocks: rng.chance(0.4),
                hurries: rng.chance(0.7),
            }),
            confirms,
            wanted: if rng.chance(0.7) { confirms } else { 0 },
            keeps: confirms > 0,
            durable,
            logs: (0..nodes).map(|_| log(rng)).collect(),
            chains: false,
            backlog: [32 * 1024, 1024 * 1024][rng.index(2)],
            diskless: rng.chance(0.7),
            sync_delay: rng.below(2),
            slow_saves: rng.chance(0.1),
            compresses: false,
            skews: (0..nodes + sentinels).map(|_| skew(rng)).collect(),
            hands_over: rng.chance(0.3),
            clients: 2 + rng.index(3),
            keys: [0, 5][rng.index(2)],
            disturbed: 1_000_000 * (6 + rng.below(11)) as i64,
            peace: 500_000 * (1 + rng.below(6)) as i64,
            thinks: 1000 * (50 + rng.below(500)),
            timeout: 4 + rng.below(6),
            manners: Manners {
                least: 50 + rng.below(1000),
                most: 1100 + rng.below(20_000),
                piece: [200, 16_384, 16_384, 16_384][rng.index(4)],
                window: [64 * 1024, 1024 * 1024][rng.index(2)],
            },
        }
    }

    /// How many sentinels there are.
    pub fn sentinels(&self) -> usize {
        self.watch.as_ref().map_or(0, |watch| watch.sentinels)
    }

    /// Nodes, and sentinels behind them.
    pub fn machines(&self) -> usize {
        self.nodes + self.sentinels()
    }

    /// Whether a machine has a sentinel on it.
    pub const fn is_sentinel(&self, place: usize) -> bool {
        place >= self.nodes
    }

    /// The parameters of a node.
    pub fn options(&self, node: usize) -> Vec<(String, String)> {
        let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
        let mut all = vec![
            ("dir", "/".into()),
            ("save", "\"\"".into()),
            ("enable-debug-command", "yes".into()),
            ("port", format!("{}", super::sim::PORT)),
            ("databases", "8".into()),
            ("appendonly", yes(self.logs[node].is_some())),
            ("rdbcompression", yes(self.compresses)),
            ("rdbchecksum", yes(self.compresses)),
            ("replica-announce-ip", address(node)),
            ("repl-timeout", self.timeout.to_string()),
            ("repl-ping-replica-period", "1".into()),
            ("repl-backlog-size", self.backlog.to_string()),
            ("repl-diskless-sync", yes(self.diskless)),
            ("repl-diskless-sync-delay", self.sync_delay.to_string()),
            ("auto-aof-rewrite-min-size", "100kb".into()),
        ];
        if let Some(policy) = self.logs[node] {
            all.push(("appendfsync", policy.into()));
        }
        if self.slow_saves {
            all.push(("rdb-key-save-delay", "1".into()));
        }
        if self.confirms > 0 {
            all.push(("sync-replicas", self.confirms.to_string()));
            all.push(("sync-replicas-timeout", "1500".into()));
            all.push(("sync-replicas-durable", yes(self.durable)));
        }
        if self.wanted > 0 {
            all.push(("min-replicas-to-write", self.wanted.to_string()));
            all.push(("min-replicas-max-lag", "3".into()));
        }
        let owned = all
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        owned.collect()
    }
}
