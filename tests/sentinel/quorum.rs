//! Too few sentinels do nothing.

use super::cast::Cast;
use super::node::Role;
use super::topology::{Plan, Topology};
use super::{until, words};
use std::time::Duration;

play! { by all: ; by quorums: without_a_quorum_it_is_not_down without_a_majority_nobody_is_elected }

fn without_a_quorum_it_is_not_down(cast: Cast) {
    let plan = Plan {
        quorum: 3,
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    all.sentinels[2].kill();
    for n in 0..2 {
        all.hears(n, "+sdown");
    }
    all.servers[0].kill();
    for sentinel in &mut all.sentinels[..2] {
        until("it is down to both", || {
            sentinel.field("flags").contains("s_down")
        });
    }
    // For as long as several questions take.
    std::thread::sleep(Duration::from_secs(2));
    for (sentinel, ear) in all.sentinels[..2].iter_mut().zip(&mut all.ears) {
        let told = sentinel.info("master0");
        let port = all.servers[0].port;
        assert_eq!(
            told,
            format!("name=m,status=sdown,address=127.0.0.1:{port},slaves=2,sentinels=3")
        );
        let flags = sentinel.field("flags");
        assert!(
            flags == "s_down,master" || flags == "s_down,master,disconnected",
            "{flags}"
        );
        assert_eq!(
            sentinel.run("SENTINEL CKQUORUM m").text(),
            "NOQUORUM 2 usable Sentinels. Not enough available Sentinels to reach the specified quorum for this master"
        );
        for channel in ["+odown", "+new-epoch", "+try-failover"] {
            assert_eq!(ear.on(channel), [""; 0]);
        }
    }
    for server in &mut all.servers[1..] {
        assert!(matches!(server.role(), Role::Replica { .. }));
    }
    // The third one is what it takes.
    let kind = all.sentinels[2].kind;
    all.restart_sentinel(2, kind);
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
}

fn without_a_majority_nobody_is_elected(cast: Cast) {
    let plan = Plan {
        quorum: 1,
        sentinels: words(&["sentinel failover-timeout m 2500"]),
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    all.sentinels[1].kill();
    all.sentinels[2].kill();
    all.servers[0].kill();
    all.hears(0, "-failover-abort-not-elected");
    let told: Vec<String> = all.ears[0].heard().iter().map(|(c, _)| c.clone()).collect();
    for channel in ["+odown", "+new-epoch", "+try-failover", "+vote-for-leader"] {
        assert!(told.contains(&channel.to_owned()), "{channel} in {told:?}");
    }
    let id = all.sentinels[0].does("SENTINEL MYID").text();
    assert!(all.ears[0].on("+vote-for-leader")[0].starts_with(&id));
    assert_eq!(
        all.sentinels[0].run("SENTINEL CKQUORUM m").text(),
        "NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the majority and authorize a failover"
    );
    for server in &mut all.servers[1..] {
        assert!(matches!(server.role(), Role::Replica { .. }));
    }
    let kind = all.sentinels[1].kind;
    all.restart_sentinel(1, kind);
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
}
