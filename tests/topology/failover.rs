//! Leaders that are lost, and what the sentinels make of it.

use super::*;
use redkeep::embed::Message;
use redkeep::topology::{Role, State};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

/// A topology, and what its sentinels tell: that is printed when a test fails.
struct Watched {
    topology: Topology,
    told: Arc<Mutex<Vec<String>>>,
}

impl Deref for Watched {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        &self.topology
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let nodes = self.nodes().into_iter();
            let nodes: Vec<_> = nodes.map(|n| format!("{n} is {}", n.port())).collect();
            println!("{}", nodes.join(", "));
            println!("{}", self.told.lock().unwrap().join("\n"));
        }
    }
}

impl Watched {
    fn new(topology: Topology) -> Watched {
        let watched = Watched {
            topology,
            told: Arc::default(),
        };
        let began = Instant::now();
        for sentinel in watched.sentinels() {
            let mut client = watched.client(sentinel).unwrap();
            client.call(["PSUBSCRIBE", "*"]).unwrap();
            let told = Arc::clone(&watched.told);
            std::thread::spawn(move || {
                while let Ok(Some(message)) = client.next_message(None) {
                    let Message::Published { channel, text, .. } = message else {
                        continue;
                    };
                    let (at, event) = (began.elapsed(), String::from_utf8_lossy(&channel));
                    let text = String::from_utf8_lossy(&text);
                    let line = format!("{at:.3?} {sentinel} {event} {text}");
                    told.lock().unwrap().push(line);
                }
            });
        }
        watched
    }
}

/// Three servers and three sentinels which are quick to act.
fn fortress() -> Watched {
    let builder = Topology::builder().replicas(2).sentinels(3);
    let quick = builder
        .down_after(Duration::from_millis(400))
        .failover_timeout(Duration::from_secs(3));
    hurried(quick.start().unwrap())
}

/// The sentinels ask and tell more often than they would.
fn hurried(topology: Topology) -> Watched {
    for sentinel in topology.sentinels() {
        let mut client = client(sentinel);
        let quick = "SENTINEL DEBUG info-period 500 publish-period 200 ask-period 200";
        assert_eq!(ask(&mut client, quick), "OK");
    }
    Watched::new(topology)
}

/// Writes what the next leader must have.
fn prepare(topology: &Topology) -> Node {
    let leader = topology.leader().unwrap();
    let mut writer = client(leader);
    writer.run("SET before 1");
    assert_eq!(ask(&mut writer, "WAIT 2 0"), "2");
    leader
}

/// Somebody else leads, with what was there before, and takes writes.
fn follow(topology: &Topology, old: Node) -> Node {
    let next = topology.wait_for_leader_other_than(old, PATIENCE).unwrap();
    assert_eq!(topology.role(next).unwrap(), Role::Leader);
    let mut writer = client(next);
    assert_eq!(ask(&mut writer, "GET before"), "1");
    assert_eq!(ask(&mut writer, "SET after 2"), "OK");
    next
}

/// The old leader is back as a replica of the new one, and all agree.
fn reunite(topology: &Topology, old: Node, next: Node) {
    topology.wait_until_settled(PATIENCE).unwrap();
    assert_eq!(topology.leader().unwrap(), next);
    assert_eq!(topology.role(old).unwrap(), Role::Replica);
    sees(old, "after", "2");
}

#[test]
fn a_leader_that_is_killed_is_replaced_and_comes_back_as_a_replica() {
    let topology = fortress();
    let old = prepare(&topology);
    topology.kill(old).unwrap();
    let next = follow(&topology, old);
    topology.wait_until_settled(PATIENCE).unwrap();
    topology.restart(old).unwrap();
    reunite(&topology, old, next);
}

#[test]
fn a_leader_that_is_frozen_is_replaced_and_finds_out_when_it_goes_on() {
    let topology = fortress();
    let old = prepare(&topology);
    topology.freeze(old).unwrap();
    let next = follow(&topology, old);
    assert_eq!(topology.state(old).unwrap(), State::Frozen);
    topology.wait_until_settled(PATIENCE).unwrap();
    topology.thaw(old).unwrap();
    reunite(&topology, old, next);
}

#[test]
fn a_leader_that_is_cut_off_serves_its_clients_until_it_hears_of_the_new_one() {
    let topology = fortress();
    let old = prepare(&topology);
    let mut stranded = client(old);
    topology.partition([old], topology.others([old])).unwrap();
    let next = follow(&topology, old);
    // As in life, this is lost.
    assert_eq!(ask(&mut stranded, "SET before 3"), "OK");
    assert_eq!(ask(&mut stranded, "SET stranded 4"), "OK");
    assert_eq!(topology.role(old).unwrap(), Role::Leader);
    topology.heal();
    reunite(&topology, old, next);
    let mut reader = client(old);
    assert_eq!(ask(&mut reader, "GET before"), "1");
    assert_eq!(ask(&mut reader, "GET stranded"), "NullBulk");
}

#[test]
fn with_sync_a_leader_that_is_cut_off_acknowledges_nothing_and_nothing_is_lost() {
    let quick = Topology::builder()
        .sync(true)
        .down_after(Duration::from_millis(400))
        .failover_timeout(Duration::from_secs(3));
    let topology = hurried(quick.start().unwrap());
    let old = topology.leader().unwrap();
    let mut writer = client(old);
    let mut told = 0;
    for n in 1..=50 {
        assert_eq!(ask(&mut writer, "INCR before"), n.to_string());
        told = n;
    }
    topology.partition([old], topology.others([old])).unwrap();
    let refused = writer.run("INCR before").text();
    assert!(refused.starts_with("NOREPLICAS"), "{refused}");
    let next = topology.wait_for_leader_other_than(old, PATIENCE).unwrap();
    assert_eq!(ask(&mut client(next), "GET before"), told.to_string());
    topology.heal();
    topology.wait_until_settled(PATIENCE).unwrap();
    assert_eq!(topology.leader().unwrap(), next);
    assert_eq!(
        ask(&mut client(next), "INCR before"),
        (told + 1).to_string()
    );
}

#[test]
fn few_sentinels_replace_nobody() {
    let topology = fortress();
    let leader = prepare(&topology);
    let sentinels = topology.sentinels();
    // One of them sees the leader, and the others see each other only.
    let apart = &sentinels[..1];
    let mut aside = topology.servers();
    aside.extend(apart);
    topology.partition(aside, sentinels[1..].to_vec()).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(topology.leader().unwrap(), leader);
    topology.heal();
    topology.wait_until_settled(PATIENCE).unwrap();
    assert_eq!(topology.leader().unwrap(), leader);
}

#[test]
fn a_sentinel_that_was_killed_knows_when_it_is_back_what_it_knew() {
    let topology = fortress();
    let old = prepare(&topology);
    let away = topology.sentinels()[0];
    topology.kill(old).unwrap();
    let next = follow(&topology, old);
    // All have to know, or the others make the old one the leader again.
    topology.wait_until_settled(PATIENCE).unwrap();
    let file = topology.dir().join(away.to_string()).join("sentinel.conf");
    let text = std::fs::read_to_string(file).unwrap();
    let line = format!("sentinel monitor mymaster 127.0.0.1 {} 2", next.port());
    assert!(text.lines().any(|known| known == line), "{text}");
    topology.kill(away).unwrap();
    topology.restart(away).unwrap();
    topology.restart(old).unwrap();
    reunite(&topology, old, next);
}

#[test]
fn a_topology_in_a_directory_goes_on_with_the_leader_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let builder = Topology::builder().dir(dir.path());
        let quick = builder.down_after(Duration::from_millis(400));
        hurried(quick.start().unwrap())
    };
    let topology = start();
    let old = prepare(&topology);
    topology.kill(old).unwrap();
    let next = follow(&topology, old);
    topology.wait_until_settled(PATIENCE).unwrap();
    topology.restart(old).unwrap();
    reunite(&topology, old, next);
    let nodes = topology.nodes();
    drop(topology);
    let topology = start();
    assert_eq!(topology.nodes(), nodes);
    assert_eq!(topology.leader().unwrap(), next);
    let mut reader = client(next);
    assert_eq!(ask(&mut reader, "GET before"), "1");
    assert_eq!(ask(&mut reader, "GET after"), "2");
}

#[test]
fn with_sync_a_leader_that_comes_back_empty_is_replaced_by_one_that_remembers() {
    let quick = Topology::builder()
        .sync(true)
        .down_after(Duration::from_secs(5))
        .failover_timeout(Duration::from_secs(2));
    let topology = hurried(quick.start().unwrap());
    let old = topology.leader().unwrap();
    assert_eq!(ask(&mut client(old), "SET before 1"), "OK");
    // It is back before anybody has missed it, and has nothing.
    topology.kill(old).unwrap();
    topology.restart(old).unwrap();
    let replicas = topology.others([old]).into_iter();
    let replicas: Vec<Node> = replicas
        .filter(|n| topology.servers().contains(n))
        .collect();
    until("nobody says that the leader has forgotten", || {
        let mut told = replicas
            .iter()
            .map(|n| info(&mut client(*n), "master_forgot"));
        told.any(|forgot| forgot == "1")
    });
    for replica in replicas {
        assert_eq!(ask(&mut client(replica), "GET before"), "1");
    }
    let next = topology.wait_for_leader_other_than(old, PATIENCE).unwrap();
    assert_eq!(ask(&mut client(next), "GET before"), "1");
    topology.wait_until_settled(PATIENCE).unwrap();
    sees(old, "before", "1");
}
