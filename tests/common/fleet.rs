//! A leader, replicas and sentinels, each a process of its own.

use super::{Client, Reply, Server};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// The name of the leader.
pub const NAME: &str = "fleet";

/// How long anything may take, on a machine that does other work besides: a leader of before is let alone for ten seconds
/// before it is told to follow.
const SOON: Duration = Duration::from_secs(60);

/// What is started as a server, and what as a sentinel.
pub struct Programs {
    pub server: PathBuf,
    pub sentinel: PathBuf,
}

impl Programs {
    /// The binary under test; or, to try the tests themselves, the programs that these variables name.
    pub fn named(server: &str, sentinel: &str) -> Programs {
        let named = |variable| std::env::var_os(variable).map(PathBuf::from);
        let ours = || PathBuf::from(env!("CARGO_BIN_EXE_redkeep"));
        Programs {
            server: named(server).unwrap_or_else(ours),
            sentinel: named(sentinel).unwrap_or_else(ours),
        }
    }
}

pub struct Fleet {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
}

impl Fleet {
    /// A leader, two replicas and three sentinels that know each other; `lines` are for `sentinel.conf`.
    pub fn start(programs: &Programs, lines: &str) -> Fleet {
        let start = |args: &[&str]| Server::start(&programs.server, args);
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let leader = start(&at_once);
        let port = leader.port.to_string();
        let replica = || start(&[&at_once[..], &["--replicaof", "127.0.0.1", &port]].concat());
        let replicas = [replica(), replica()];
        let conf = format!("sentinel monitor {NAME} 127.0.0.1 {port} 2\n{lines}");
        let sentinel = |_| Server::sentinel(&programs.sentinel, &conf);
        let fleet = Fleet {
            servers: std::iter::once(leader).chain(replicas).collect(),
            sentinels: (0..3).map(sentinel).collect(),
        };
        fleet.is_whole();
        fleet
    }

    /// The ports of the sentinels.
    pub fn addresses(&self) -> Vec<u16> {
        self.sentinels.iter().map(|s| s.port).collect()
    }

    pub fn server(&mut self, port: u16) -> &mut Server {
        let found = self.servers.iter_mut().find(|s| s.port == port);
        found.expect("a server has that port")
    }

    /// The port of the leader, if all sentinels name the same.
    pub fn leader(&self) -> Option<u16> {
        let says = |s: &Server| {
            let reply = s
                .client()
                .run(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}"));
            reply.items().get(1)?.text().parse().ok()
        };
        let mut said = self.sentinels.iter().map(says);
        let first = said.next()??;
        said.all(|other| other == Some(first)).then_some(first)
    }

    /// Waits until the sentinels name another leader than this one, and it agrees.
    pub fn leader_after(&self, port: u16) -> u16 {
        self.comes("another leader", || {
            let leader = self.leader().filter(|&leader| leader != port)?;
            let role = Client::connect(leader).ok()?.call(&["ROLE"]).ok()?;
            (role.items().first()?.text() == "master").then_some(leader)
        })
    }

    /// Waits until every sentinel sees one leader, all others as its replicas, and the other sentinels, all of them well.
    pub fn is_whole(&self) {
        let (replicas, others) = (self.servers.len() - 1, self.sentinels.len() - 1);
        self.comes("all are well", || {
            self.leader()?;
            let fine = |s: &Server| {
                let leader = table(&s.client().run(&format!("SENTINEL MASTER {NAME}")));
                let seen = instances(&s.client().run(&format!("SENTINEL REPLICAS {NAME}")));
                let peers = instances(&s.client().run(&format!("SENTINEL SENTINELS {NAME}")));
                leader["flags"] == "master"
                    && leader["num-other-sentinels"] == others.to_string()
                    && seen.len() == replicas
                    && seen.iter().all(|r| {
                        r["flags"] == "slave"
                            && r["role-reported"] == "slave"
                            && r["master-link-status"] == "ok"
                            && r["master-port"] == leader["port"]
                    })
                    && peers.iter().all(|p| p["flags"] == "sentinel")
            };
            self.sentinels.iter().all(fine).then_some(())
        });
    }

    /// Waits for what `look` gives.
    fn comes<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + SOON;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < until, "never: {what}\n{}", self.told());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What all of them have to say.
    pub fn told(&self) -> String {
        let all = self.servers.iter().chain(&self.sentinels);
        let told = all.map(|s| format!("{} on {}:\n{}\n", s.name(), s.port, s.log()));
        told.collect()
    }
}

/// The fields of an instance, as SENTINEL tells them.
pub fn table(reply: &Reply) -> BTreeMap<String, String> {
    let words: Vec<String> = reply.items().iter().map(Reply::text).collect();
    let pairs = words.chunks_exact(2);
    pairs.map(|p| (p[0].clone(), p[1].clone())).collect()
}

/// Several instances, as SENTINEL tells them.
pub fn instances(reply: &Reply) -> Vec<BTreeMap<String, String>> {
    reply.items().iter().map(table).collect()
}
