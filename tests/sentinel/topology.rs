//! A leader, its replicas and the sentinels over them.

use super::cast::Cast;
use super::ear::Ear;
use super::node::{Node, Role};
use super::process::{Part, Port};
use super::{Kind, until, until_nothing};

/// What all servers are started with.
const SERVER: &[&str] = &[
    "save \"\"",
    "enable-debug-command yes",
    "repl-diskless-sync-delay 0",
    "repl-ping-replica-period 1",
    "loglevel verbose",
];

/// How sentinels are made quick. A replica is taken for one that does not answer after five of the first periods, and is
/// asked once in a second while its leader is down.
const QUICK: &str = "SENTINEL DEBUG ping-period 300 info-period 400 ask-period 200 publish-period 300 tilt-period 1000";

/// What a topology is raised from.
pub struct Plan {
    pub quorum: usize,
    pub replicas: usize,
    /// How sentinels call the leader's host.
    pub host: &'static str,
    /// Lines of the configuration of all servers, and of one.
    pub servers: Vec<String>,
    pub server: [Vec<String>; 3],
    /// Lines of the configuration of all sentinels, and of one, before they are told of the leader and behind that.
    pub before: Vec<String>,
    pub sentinels: Vec<String>,
    pub sentinel: [Vec<String>; 3],
    /// Whether sentinels do everything more often than they would.
    pub quick: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            quorum: 2,
            replicas: 2,
            host: "127.0.0.1",
            servers: Vec::new(),
            server: Default::default(),
            before: Vec::new(),
            sentinels: Vec::new(),
            sentinel: Default::default(),
            quick: true,
        }
    }
}

pub struct Topology {
    pub servers: Vec<Node>,
    pub sentinels: Vec<Node>,
    /// Of each sentinel.
    pub ears: Vec<Ear>,
    plan: Plan,
}

impl Topology {
    /// Starts all of them and waits until they know each other.
    pub fn raise(cast: Cast, plan: Plan) -> Topology {
        let mut all = Topology::launch(cast, plan);
        all.settles(0);
        all
    }

    /// Starts all of them.
    pub fn launch(cast: Cast, plan: Plan) -> Topology {
        let mut servers: Vec<Node> = Vec::new();
        for (n, kind) in cast.servers.into_iter().take(plan.replicas + 1).enumerate() {
            let mut lines: Vec<String> = SERVER.iter().map(|&line| line.to_owned()).collect();
            lines.extend(plan.servers.iter().chain(&plan.server[n]).cloned());
            if let Some(leader) = servers.first() {
                lines.push(format!("replicaof {} {}", plan.host, leader.port));
            }
            servers.push(Node::launch(kind, Part::Server, Port::take(), &lines));
        }
        let leader = servers[0].port;
        let mut sentinels = Vec::new();
        for (n, kind) in cast.sentinels.into_iter().enumerate() {
            let lines = sentinel_lines(&plan, n, leader);
            sentinels.push(Node::launch(kind, Part::Sentinel, Port::take(), &lines));
        }
        servers.iter_mut().for_each(Node::is_ready);
        sentinels.iter_mut().for_each(Node::is_ready);
        let ears = sentinels.iter().map(Ear::at).collect();
        let mut all = Topology {
            servers,
            sentinels,
            ears,
            plan,
        };
        (0..3).for_each(|n| all.hurry(n));
        all
    }

    /// Has a sentinel do everything more often.
    pub fn hurry(&mut self, n: usize) {
        if self.plan.quick {
            self.sentinels[n].does(QUICK);
        }
    }

    /// Starts a sentinel again on what it has left.
    pub fn restart_sentinel(&mut self, n: usize, kind: Kind) {
        self.sentinels[n].restart_as(kind);
        self.ears[n] = Ear::at(&self.sentinels[n]);
        self.hurry(n);
    }

    /// Waits until all who live take this one for the leader, and know of all the others.
    pub fn settles(&mut self, leader: usize) {
        until_nothing(|| self.complaints(leader));
    }

    /// What keeps it from being as it should be with this leader.
    fn complaints(&mut self, leader: usize) -> Vec<String> {
        let mut all = Vec::new();
        let port = self.servers[leader].port;
        let replicas = (self.servers.len() - 1).to_string();
        let mut epochs = Vec::new();
        for (n, sentinel) in self
            .sentinels
            .iter_mut()
            .enumerate()
            .filter(|(_, s)| s.lives)
        {
            let told = sentinel.run("SENTINEL MASTER m");
            let field = |name: &str| told.field(name).map(|f| f.text()).unwrap_or_default();
            epochs.push(field("config-epoch"));
            for (name, wanted) in [
                ("port", &*port.to_string()),
                ("flags", "master"),
                ("num-slaves", &*replicas),
                ("num-other-sentinels", "2"),
            ] {
                let value = field(name);
                if value != wanted {
                    all.push(format!("to sentinel {n} {name} is {value}, not {wanted}"));
                }
            }
        }
        epochs.dedup();
        if epochs.len() > 1 {
            all.push(format!("epochs are {epochs:?}"));
        }
        for (n, server) in self.servers.iter_mut().enumerate().filter(|(_, s)| s.lives) {
            let role = server.role();
            let is_right = match &role {
                Role::Leader => n == leader,
                Role::Replica { of, in_step, .. } => n != leader && *of == port && *in_step,
                Role::Unknown(_) => false,
            };
            if !is_right {
                all.push(format!("server {n} is {role:?}, the leader {port}"));
            }
        }
        all
    }

    /// Waits until a living sentinel says that the leader is another one than this; and then for all else. Who it is.
    pub fn settles_without(&mut self, old: usize) -> usize {
        let old = self.servers[old].port;
        let mut port = old;
        until("there is another leader", || {
            let mut living = self.sentinels.iter_mut().filter(|s| s.lives);
            port = living.next().unwrap().address().1;
            port != old && port != 0
        });
        let new = self.servers.iter().position(|s| s.port == port).unwrap();
        self.settles(new);
        new
    }

    /// Has a sentinel replace the leader, as soon as it knows a replica that is good for that.
    pub fn change_by_hand(&mut self, n: usize) {
        let sentinel = &mut self.sentinels[n];
        until("a replica can be promoted", || {
            sentinel.run("SENTINEL FAILOVER m").text() == "OK"
        });
    }

    /// Waits until all who live agree on anybody.
    pub fn settles_somehow(&mut self) {
        until_nothing(|| {
            let all = (0..self.servers.len()).map(|leader| self.complaints(leader));
            all.min_by_key(Vec::len).unwrap_or_default()
        });
    }

    /// Each sentinel has heard of one failover, from this one to that one, and one has led it.
    pub fn has_changed_once(&mut self, old: usize, new: usize) {
        let [old, new] = [old, new].map(|n| self.servers[n].port);
        let host = self.plan.host;
        let switch = format!("m {host} {old} {host} {new}");
        let mut promotions = Vec::new();
        for (sentinel, ear) in self.sentinels.iter().zip(&mut self.ears) {
            if sentinel.lives {
                assert_eq!(ear.on("+switch-master"), [&*switch], "{:?}", ear.heard());
                promotions.extend(ear.on("+promoted-slave"));
            }
        }
        assert_eq!(promotions.len(), 1, "{promotions:?}");
    }

    /// Waits until all who live take a former leader for a replica that does not answer.
    pub fn see_gone(&mut self, server: usize) {
        let port = self.servers[server].port.to_string();
        for sentinel in self.sentinels.iter_mut().filter(|s| s.lives) {
            until("the old leader is down", || {
                let replicas = sentinel.list("REPLICAS", &["port", "flags"]);
                let mut old = replicas.iter().filter(|r| r[0] == port);
                old.any(|r| r[1].contains("s_down"))
            });
        }
    }

    /// Writes as clients do that ask sentinels where to.
    pub fn write(&mut self, key: &str, value: &str) {
        let line = format!("SET {key} {value}");
        until(&line, || {
            let mut living = self.sentinels.iter_mut().filter(|s| s.lives);
            let (_, port) = living.next().unwrap().address();
            let mut servers = self.servers.iter_mut().filter(|s| s.lives);
            let server = servers.find(|s| s.port == port);
            server.is_some_and(|server| !server.run(&line).is_error())
        });
    }

    /// Waits until all who live have this.
    pub fn have(&mut self, key: &str, value: &str) {
        for server in self.servers.iter_mut().filter(|s| s.lives) {
            until(&format!("{} has {key}", server.port), || {
                server.run(&format!("GET {key}")).text() == value
            });
        }
    }

    /// Waits until a sentinel has published this.
    pub fn hears(&mut self, n: usize, channel: &str) {
        let ear = &mut self.ears[n];
        until(&format!("sentinel {n} says {channel}"), || {
            !ear.on(channel).is_empty()
        });
    }
}

/// The configuration of a sentinel.
fn sentinel_lines(plan: &Plan, n: usize, leader: u16) -> Vec<String> {
    let mut lines = plan.before.clone();
    lines.push(format!(
        "sentinel monitor m {} {leader} {}",
        plan.host, plan.quorum
    ));
    lines.push("sentinel down-after-milliseconds m 1000".to_owned());
    lines.push("sentinel failover-timeout m 4000".to_owned());
    lines.extend(plan.sentinels.iter().chain(&plan.sentinel[n]).cloned());
    lines
}

impl Drop for Topology {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (sentinel, ear) in self.sentinels.iter().zip(&mut self.ears) {
                eprintln!("---- sentinel at {} said {:#?}", sentinel.port, ear.heard());
            }
        }
    }
}
