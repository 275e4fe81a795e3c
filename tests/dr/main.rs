//! Two regions, 80 ms apart: a leader, a replica and three sentinels in the first, a standby, its replica and three sentinels
//! in the second. The first is lost, left, or cut off; `redkeep dr` does what the guide says.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;
mod line;
mod node;

use line::{DELAY_MS, Line, Region};
use node::{Counting, Maker, Node, Way, eventually};
use serde_json::Value;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use Maker::{Redis, Redkeep};
use Region::{A, B};

/// What is played, with servers and sentinels of either make.
type Scenario = fn(Maker, Maker);

const SCENARIOS: [Scenario; 4] = [
    the_region_is_lost,
    the_line_is_cut,
    places_are_changed,
    a_promotion_that_fails_is_undone,
];

/// Plays scenarios side by side, for mostly they wait.
fn play(scenarios: &[Scenario], servers: Maker, sentinels: Maker) {
    std::thread::scope(|scope| {
        for scenario in scenarios {
            scope.spawn(move || scenario(servers, sentinels));
        }
    });
}

#[test]
fn redkeep_watched_by_redkeep() {
    play(&SCENARIOS, Redkeep, Redkeep);
}

#[test]
fn redkeep_watched_by_redis() {
    play(&SCENARIOS[..2], Redkeep, Redis);
}

#[test]
fn redis_watched_by_redkeep() {
    play(&SCENARIOS[..2], Redis, Redkeep);
}

#[test]
#[ignore = "checks the scenarios themselves"]
fn redis_watched_by_redis() {
    play(&SCENARIOS, Redis, Redis);
}

/// The passwords of the two regions.
const TWO: [&str; 2] = ["alpha", "beta"];
const ONE: [&str; 2] = ["alpha", "alpha"];

/// Both regions.
struct World {
    line: Arc<Line>,
    passwords: [&'static str; 2],
    leader: Node,
    replica: Node,
    standby: Node,
    /// A replica of the standby.
    second: Node,
    sentinels: [Vec<Node>; 2],
}

/// What a run of `redkeep dr` has said.
struct Run {
    code: i32,
    json: Value,
    text: String,
}

impl World {
    fn new(
        servers: Maker,
        sentinels: Maker,
        passwords: [&'static str; 2],
        standby: &[&str],
    ) -> Option<World> {
        let line = Arc::new(Line::new());
        let server = |region: Region, lines: &[String]| {
            Node::server(&line, region, servers, passwords[region as usize], lines)
        };
        let leader = server(
            A,
            &["repl-backlog-size 16mb".into(), "appendonly yes".into()],
        )?;
        let replica = server(A, &[format!("replicaof {}", leader.near_words())])?;
        let mut lines = vec![
            format!("masterauth {}", passwords[0]),
            format!("replicaof {}", leader.far_words()),
            "replica-priority 0".into(),
            "repl-backlog-size 16mb".into(),
        ];
        lines.extend(standby.iter().map(|&line| line.to_owned()));
        // Commands can be renamed in Redis only.
        let maker = if standby.is_empty() { servers } else { Redis };
        let standby = Node::server(&line, B, maker, passwords[1], &lines)?;
        let second = server(B, &[format!("replicaof {}", standby.near_words())])?;
        let watching = [
            format!("sentinel monitor main {} 2", leader.near_words()),
            "sentinel down-after-milliseconds main 1500".into(),
            "sentinel failover-timeout main 3000".into(),
            format!("sentinel auth-pass main {}", passwords[0]),
        ];
        let three = |region, lines: &[String]| -> Option<Vec<Node>> {
            (0..3)
                .map(|_| Node::sentinel(&line, region, sentinels, lines))
                .collect()
        };
        let sentinels = [three(A, &watching)?, three(B, &[])?];
        for node in [&replica, &standby, &second] {
            eventually("all are linked", || node.is_linked());
        }
        for sentinel in &sentinels[0] {
            eventually("the sentinels of the first region know each other", || {
                let ok = sentinel.try_call(&["SENTINEL", "CKQUORUM", "main"]);
                ok.is_ok_and(|r| r.text().starts_with("OK 3"))
            });
        }
        Some(World {
            line,
            passwords,
            leader,
            replica,
            standby,
            second,
            sentinels,
        })
    }

    /// Runs `redkeep dr` in a region.
    fn dr(&self, region: Region, words: &[&str]) -> Run {
        let here = self.passwords[region as usize];
        let there = self.passwords[1 - region as usize];
        let started = Instant::now();
        let out = self
            .line
            .command(region, env!("CARGO_BIN_EXE_redkeep"))
            .arg("dr")
            .args(words)
            .args(["--password", here, "--upstream-password", there])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        eprintln!("{:?} for dr {}", started.elapsed(), words.join(" "));
        let text = String::from_utf8(out.stdout).unwrap();
        if std::env::var_os("DR_STEPS").is_some() {
            let json: Value = serde_json::from_str(&text).unwrap_or_default();
            for step in json["steps"].as_array().into_iter().flatten() {
                eprintln!("      {} {} {}", step["ms"], step["address"], step["step"]);
            }
        }
        Run {
            code: out.status.code().unwrap(),
            json: serde_json::from_str(&text).unwrap_or_default(),
            text: text + &String::from_utf8_lossy(&out.stderr),
        }
    }

    fn status(&self) -> Run {
        self.dr(B, &["status", &self.standby.near(), "--json"])
    }

    /// Promotes a server with the sentinels of its region.
    fn promote(&self, server: &Node, more: &[&str]) -> Run {
        let region = server.region;
        let near = server.near();
        let mut words = vec!["promote", &near, "--master", "main", "--json"];
        let sentinels: Vec<_> = self.sentinels[region as usize]
            .iter()
            .map(Node::near)
            .collect();
        sentinels
            .iter()
            .for_each(|s| words.extend(["--sentinel", s]));
        words.extend(["--set", "down-after-milliseconds=1500"]);
        words.extend(["--set", "failover-timeout=3000"]);
        words.extend(more);
        self.dr(region, &words)
    }

    /// Clients of a region, which find the leader through sentinels.
    fn clients(&self, region: Region, from: u64) -> Counting {
        let by = |s| Way::by(s, self.passwords[region as usize]);
        let ways = self.sentinels[region as usize].iter().map(by).collect();
        let all = [&self.leader, &self.replica, &self.standby, &self.second];
        let ports = all.map(|node| (self.line.far_port(node.port), node.port));
        Counting::start(from, ways, ports.to_vec())
    }

    fn lose_region_a(&mut self) {
        self.line.cut(true);
        let servers = [&mut self.leader, &mut self.replica];
        servers.into_iter().for_each(Node::kill);
        self.sentinels[0].iter_mut().for_each(Node::kill);
    }

    /// Waits until the sentinels of a region name a server.
    fn sentinels_name(&self, server: &Node) {
        for sentinel in &self.sentinels[server.region as usize] {
            let until = Instant::now() + node::SOON;
            loop {
                let named = sentinel.names("main");
                if named == Some(server.port) || named == Some(self.line.far_port(server.port)) {
                    break;
                }
                let late = Instant::now() > until;
                assert!(!late, "{named:?}, not {}:\n{}", server.port, sentinel.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Run {
    /// That it did what it should have done.
    #[track_caller]
    fn well(self) -> Run {
        assert_eq!(self.code, 0, "{}", self.text);
        assert_eq!(self.json["ok"], true, "{}", self.text);
        self
    }

    /// That it refused, and did nothing.
    #[track_caller]
    fn refused(self, why: &str) -> Run {
        assert_eq!(self.code, 1, "{}", self.text);
        let why_not = self.json["refusals"].to_string();
        assert!(why_not.contains(why), "{}", self.text);
        assert_eq!(self.json["steps"], serde_json::json!([]), "{}", self.text);
        self
    }
}

/// The numbers that a server has.
fn numbers(node: &Node) -> Vec<u64> {
    let all = node.call(&["LRANGE", "numbers", "0", "-1"]);
    all.items()
        .iter()
        .map(|n| n.text().parse().unwrap())
        .collect()
}

/// What was acknowledged before a moment and is not there.
fn missing(clients: &Counting, before: Instant, node: &Node) -> Vec<u64> {
    let there: std::collections::HashSet<_> = numbers(node).into_iter().collect();
    let acknowledged = clients.acknowledged().into_iter();
    let lost = acknowledged.filter(|(n, at)| *at < before && !there.contains(n));
    lost.map(|(n, _)| n).collect()
}

fn status_tells(world: &World) {
    let run = world.status();
    assert_eq!(run.code, 0, "{}", run.text);
    let [standby, leader] = &run.json["hops"].as_array().unwrap()[..] else {
        panic!("{}", run.text);
    };
    assert_eq!(standby["address"], world.standby.near().as_str());
    assert_eq!(leader["address"], world.leader.far().as_str());
    assert_eq!(run.json["leader"], leader["address"]);
    assert_eq!(
        (&standby["priority"], &standby["role"]),
        (&0.into(), &"replica".into())
    );
    let there_and_back = (2 * DELAY_MS - 10) as f64;
    assert!(
        leader["round_trip_ms"].as_f64().unwrap() > there_and_back,
        "{}",
        run.text
    );
    assert!(
        standby["round_trip_ms"].as_f64().unwrap() < there_and_back,
        "{}",
        run.text
    );
    let link = &standby["link"];
    assert_eq!(
        (&link["up"], &link["backlog_reaches"]),
        (&true.into(), &true.into())
    );
    // Writes are on their way for 80 ms, so that there are always some.
    let bytes = link["behind_bytes"].as_u64().unwrap();
    assert!(bytes > 0 && bytes < 100_000, "{}", run.text);
    assert!(
        link["behind_ms"].as_u64().is_some_and(|ms| ms < 5000),
        "{}",
        run.text
    );
    let rate = leader["bytes_per_second"].as_f64().unwrap();
    assert!(rate > 100.0, "{}", run.text);
    let outage = link["backlog_bears_seconds"].as_f64().unwrap();
    assert!(outage > 1.0 && outage < 16e6 * 1.1 / rate, "{}", run.text);
    let loss = &run.json["loss_if_promoted_now"];
    assert_eq!(loss["known"], true);
    assert_eq!(loss["bytes"], link["behind_bytes"]);
    assert_eq!(run.json["warnings"], serde_json::json!([]));
}

/// The runbook for a region that is gone.
fn the_region_is_lost(servers: Maker, sentinels: Maker) {
    let Some(mut world) = World::new(servers, sentinels, TWO, &[]) else {
        return;
    };
    let before = world.clients(A, 0);
    before.goes_on();
    status_tells(&world);
    // The leader lives, and nobody said that this does not matter.
    world.promote(&world.standby, &["--yes"]).refused("lives");
    let dry = world
        .promote(&world.standby, &["--force", "--dry-run"])
        .well();
    assert_eq!(dry.json["promoted"], false);
    assert!(!world.standby.leads());
    // Nobody can be asked.
    let asked = world.promote(&world.standby, &["--force"]);
    assert_eq!((asked.code, world.standby.leads()), (1, false));

    world.lose_region_a();
    let lost_at = Instant::now();
    let run = world.status();
    assert_eq!(run.code, 1);
    assert_eq!(run.json["hops"].as_array().unwrap().len(), 2);
    assert!(run.json["hops"][1]["error"].is_string(), "{}", run.text);
    assert!(run.json["hops"][1]["last_known_offset"].as_u64().unwrap() > 0);
    assert_eq!(run.json["loss_if_promoted_now"]["known"], false);

    let promoted = world.promote(&world.standby, &["--yes"]).well();
    assert_eq!(promoted.json["promoted"], true);
    assert!(world.standby.leads());
    assert_eq!(
        world
            .standby
            .call(&["CONFIG", "GET", "replica-priority"])
            .items()[1]
            .text(),
        "100"
    );
    assert!(
        !world.standby.file().contains("\nreplicaof"),
        "{}",
        world.standby.file()
    );
    assert!(world.second.is_linked());
    world.sentinels_name(&world.standby);
    // What is lost was written within the last moments: as far back as a busy machine holds up what is on its way.
    let long_ago = lost_at - Duration::from_secs(3);
    assert_eq!(missing(&before, long_ago, &world.standby), [0; 0]);
    drop(before);
    let clients = world.clients(B, 1_000_000);
    clients.goes_on();

    // The second region is one like any other now.
    eventually("the replica has what clients wrote", || {
        numbers(&world.second).iter().any(|n| *n > 1_000_000)
    });
    world.standby.kill();
    world.sentinels_name(&world.second);
    clients.goes_on();
    world.standby.start();
    let standby = &world.standby;
    eventually("who led follows", || standby.is_linked());

    // The first region comes back: the leader, with what it had on its disk, its replica and its sentinels.
    world.line.cut(false);
    world.leader.start();
    world.replica.start();
    world.sentinels[0].iter_mut().for_each(Node::start);
    let to = world.second.far();
    let near = world.leader.near();
    let demote = ["demote", &near, "--to", &to, "--yes", "--json"];
    let demoted = world.dr(A, &demote).well();
    assert_eq!(demoted.json["demoted"], true, "{}", demoted.text);
    eventually("the old region follows", || {
        let all = numbers(&world.second).len();
        all == numbers(&world.leader).len()
            || numbers(&world.leader).iter().max() > numbers(&world.second).first()
    });
    assert_eq!(
        world
            .leader
            .call(&["CONFIG", "GET", "replica-priority"])
            .items()[1]
            .text(),
        "0"
    );
    eventually("its replica, too", || world.replica.is_linked());
    assert!(world.second.leads());
    clients.goes_on();
}

/// A line that is cut, while the region behind it lives and its clients write; then the way back, without loss.
fn the_line_is_cut(servers: Maker, sentinels: Maker) {
    let Some(world) = World::new(servers, sentinels, TWO, &[]) else {
        return;
    };
    let there = world.clients(A, 0);
    there.goes_on();
    world.line.cut(true);
    there.goes_on();
    world.promote(&world.standby, &["--yes"]).well();
    let clients = world.clients(B, 1_000_000);
    clients.goes_on();
    there.goes_on();
    world.line.cut(false);

    let near = world.leader.near();
    let to = world.standby.far();
    let dry = world
        .dr(A, &["demote", &near, "--to", &to, "--dry-run", "--json"])
        .well();
    assert!(
        dry.json["dropped_bytes"].as_u64().unwrap() > 0,
        "{}",
        dry.text
    );
    assert!(world.leader.leads());
    let demoted = world
        .dr(A, &["demote", &near, "--to", &to, "--yes", "--json"])
        .well();
    assert_eq!(demoted.json["demoted"], true, "{}", demoted.text);
    drop(there);
    for sentinel in &world.sentinels[0] {
        assert_eq!(sentinel.names("main"), None);
    }
    eventually("it is linked", || {
        world.leader.is_linked() && world.replica.is_linked()
    });
    assert!(!numbers(&world.leader).is_empty());
    assert!(world.standby.leads());
    clients.goes_on();

    // Back: nothing is lost, and nothing is copied.
    let copies = world.leader.info("sync_full");
    let back = world
        .promote(
            &world.leader,
            &["--wait", "--yes", "--as", &world.leader.far()],
        )
        .well();
    assert_eq!(back.json["promoted"], true);
    assert!(world.leader.leads());
    world.sentinels_name(&world.leader);
    let last = Instant::now();
    let after = world.clients(A, 2_000_000);
    after.goes_on();
    assert_eq!(missing(&clients, last, &world.leader), [0; 0]);
    assert_eq!(world.leader.info("sync_full"), copies);
    for node in [&world.standby, &world.second, &world.replica] {
        eventually("all follow", || node.is_linked());
    }
    assert_eq!(
        world
            .standby
            .call(&["CONFIG", "GET", "replica-priority"])
            .items()[1]
            .text(),
        "0"
    );
    for sentinel in &world.sentinels[1] {
        assert_eq!(sentinel.names("main"), None);
    }
    assert_eq!(world.status().code, 0);
}

/// A planned switch where one password opens all: the sentinels of the first region would undo it.
fn places_are_changed(servers: Maker, sentinels: Maker) {
    let Some(world) = World::new(servers, sentinels, ONE, &[]) else {
        return;
    };
    let before = world.clients(A, 0);
    before.goes_on();
    let standby = world.standby.port;
    for sentinel in &world.sentinels[0] {
        eventually("the standby is watched", || {
            let replicas = sentinel.call(&["SENTINEL", "REPLICAS", "main"]);
            let mut ports = replicas.items().iter().filter_map(|r| r.field("port"));
            ports.any(|p| p.text() == standby.to_string())
        });
    }
    world
        .promote(&world.standby, &["--wait=20", "--yes"])
        .well();
    assert!(world.standby.leads());
    world.sentinels_name(&world.standby);
    let last = Instant::now();
    assert_eq!(missing(&before, last, &world.standby), [0; 0]);
    for sentinel in &world.sentinels[0] {
        assert_eq!(sentinel.names("main"), None);
    }
    eventually("the old region follows", || {
        world.leader.is_linked() && world.replica.is_linked()
    });
    let after = world.clients(B, 1_000_000);
    after.goes_on();
    assert!(
        world
            .leader
            .call(&["SET", "a", "b"])
            .text()
            .starts_with("READONLY")
    );
    // It does no harm to say it again.
    world.promote(&world.standby, &["--yes"]).well();
    after.goes_on();
}

/// The standby cannot be promoted, which turns out when everything else has been done.
fn a_promotion_that_fails_is_undone(servers: Maker, sentinels: Maker) {
    let refuses = [
        "rename-command REPLICAOF \"\"",
        "rename-command SLAVEOF \"\"",
    ];
    let Some(world) = World::new(servers, sentinels, TWO, &refuses) else {
        return;
    };
    let clients = world.clients(A, 0);
    clients.goes_on();
    let run = world.promote(&world.standby, &["--wait", "--yes"]);
    assert_eq!(
        (run.code, &run.json["promoted"]),
        (1, &false.into()),
        "{}",
        run.text
    );
    let steps = run.json["steps"].as_array().unwrap();
    let failed: Vec<_> = steps.iter().filter(|s| s["outcome"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{}", run.text);
    assert_eq!(failed[0]["step"], "REPLICAOF NO ONE");
    assert!(
        failed[0]["by_hand"]
            .as_str()
            .unwrap()
            .starts_with("redis-cli -h ")
    );
    clients.goes_on();
    world.sentinels_name(&world.leader);
    for sentinel in &world.sentinels[0] {
        eventually("they know each other again", || {
            let ok = sentinel.call(&["SENTINEL", "CKQUORUM", "main"]);
            ok.text().starts_with("OK 3")
        });
    }
    let period = world
        .leader
        .call(&["CONFIG", "GET", "repl-ping-replica-period"]);
    assert_eq!(period.items()[1].text(), "10");
}
