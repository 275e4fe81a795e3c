//! A leader goes, for good or for a while, and another one takes its place.

use super::cast::Cast;
use super::topology::{Plan, Topology};
use super::{PATIENCE, until};
use std::time::{Duration, Instant};

play! { by all: the_leader_is_killed_and_returns the_leader_is_frozen_and_thaws the_roles_change_by_hand; by quorums:  }

fn the_leader_is_killed_and_returns(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    all.write("before", "1");
    all.have("before", "1");
    all.servers[0].kill();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    all.write("after", "1");
    all.have("after", "1");
    all.have("before", "1");
    let epoch = all.sentinels[0].field("config-epoch");
    all.see_gone(0);
    // It returns as the leader it was, and is told.
    all.servers[0].restart();
    all.settles(new);
    all.have("after", "1");
    all.has_changed_once(0, new);
    for (sentinel, ear) in all.sentinels.iter_mut().zip(&mut all.ears) {
        assert_eq!(sentinel.field("config-epoch"), epoch);
        until("it is seen to have returned", || {
            ear.on("-sdown").iter().any(|p| p.starts_with("slave "))
        });
    }
    // Who was told to follow writes that down.
    for (n, server) in all.servers.iter().enumerate() {
        let line = format!("replicaof 127.0.0.1 {}", all.servers[new].port);
        until(&format!("server {n} writes down whom it follows"), || {
            server.conf().contains(&line) == (n != new)
        });
    }
}

/// It takes itself for the leader still when it goes on.
fn the_leader_is_frozen_and_thaws(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    all.write("before", "1");
    all.have("before", "1");
    all.servers[0].freeze();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    all.write("after", "1");
    all.servers[0].thaw();
    all.settles(new);
    all.have("before", "1");
    all.have("after", "1");
    all.has_changed_once(0, new);
}

fn the_roles_change_by_hand(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    all.write("before", "1");
    let epoch: u64 = all.sentinels[1].field("config-epoch").parse().unwrap();
    let sentinel = &mut all.sentinels[1];
    assert_eq!(
        sentinel.run("SENTINEL FAILOVER nobody").text(),
        "ERR No such master with that name"
    );
    // Replicas are good only once they were asked.
    let end = Instant::now() + PATIENCE;
    while sentinel.run("SENTINEL FAILOVER m").text() != "OK" {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(50));
    }
    let again = sentinel.run("SENTINEL FAILOVER m").text();
    assert_eq!(again, "INPROG Failover already in progress");
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    assert_eq!(all.ears[1].on("+promoted-slave").len(), 1);
    all.write("after", "1");
    all.have("after", "1");
    // Nobody was asked, and nobody was down.
    for (sentinel, ear) in all.sentinels.iter_mut().zip(&mut all.ears) {
        let told: u64 = sentinel.field("config-epoch").parse().unwrap();
        assert!(told > epoch);
        assert_eq!(ear.on("+odown"), [""; 0]);
    }
}
