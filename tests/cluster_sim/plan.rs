//! What is left to chance in a run as a whole: how many nodes there are, how they are configured, what befalls them.

use super::net::Manners;
use redkeep::util::rng::Rng;

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    /// `sync-replicas`: what was acknowledged must not be lost.
    pub confirms: usize,
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

impl Plan {
    pub fn new(seed: u64) -> Plan {
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
            confirms,
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

    /// The parameters of a node.
    pub fn options(&self, node: usize) -> Vec<(String, String)> {
        let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
        let mut all = vec![
            ("port", format!("{}", super::world::PORT)),
            ("databases", "8".into()),
            ("appendonly", yes(self.logs[node].is_some())),
            ("rdbcompression", yes(self.compresses)),
            ("rdbchecksum", yes(self.compresses)),
            ("replica-announce-ip", super::world::address(node)),
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
        let owned = all
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        owned.collect()
    }
}
