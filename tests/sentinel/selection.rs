//! Which replica leads from now on.

use super::cast::Cast;
use super::common::Reply;
use super::topology::{Plan, Topology};
use super::{until, words};

play! { by all: who_has_priority_zero_never_leads the_most_advanced_leads; by quorums: the_lowest_priority_leads }

fn who_has_priority_zero_never_leads(cast: Cast) {
    let mut plan = Plan::default();
    plan.server[1] = words(&["replica-priority 0"]);
    let mut all = Topology::raise(cast, plan);
    all.servers[0].kill();
    assert_eq!(all.settles_without(0), 2);
    // Nobody else is left.
    all.servers[2].kill();
    until("somebody looks for a replica to promote", || {
        let channel = "-failover-abort-no-good-slave";
        all.ears.iter_mut().any(|ear| !ear.on(channel).is_empty())
    });
    let none = "NOGOODSLAVE No suitable replica to promote";
    until("nobody can be promoted by hand", || {
        all.sentinels[0].run("SENTINEL FAILOVER m").text() == none
    });
    let port = all.servers[2].port;
    for sentinel in &mut all.sentinels {
        assert_eq!(sentinel.address().1, port);
    }
    assert_eq!(all.servers[1].run("ROLE").items()[0].text(), "slave");
    all.servers[2].restart();
    all.servers[0].restart();
    all.settles(2);
}

fn the_lowest_priority_leads(cast: Cast) {
    let mut plan = Plan::default();
    plan.server[2] = words(&["replica-priority 10"]);
    let mut all = Topology::raise(cast, plan);
    all.change_by_hand(0);
    assert_eq!(all.settles_without(0), 2);
    all.has_changed_once(0, 2);
    // The default is a hundred.
    all.servers[1].does("CONFIG SET replica-priority 200");
    until("everybody knows", || {
        all.sentinels.iter_mut().all(|sentinel| {
            let told = sentinel.list("REPLICAS", &["slave-priority"]);
            told == [["100"], ["200"]]
        })
    });
    all.ears.iter_mut().for_each(|ear| ear.clear());
    all.change_by_hand(1);
    assert_eq!(all.settles_without(2), 0);
}

/// Of two replicas with the same priority the one that has more; if both have the same, the one whose run id comes first.
fn the_most_advanced_leads(cast: Cast) {
    let plan = Plan {
        servers: words(&["requirepass p", "masterauth p"]),
        sentinels: words(&["sentinel auth-pass m p"]),
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    let runs = [1, 2].map(|n| all.servers[n].info("run_id"));
    let (behind, ahead) = if runs[0] < runs[1] { (1, 2) } else { (2, 1) };
    // It cannot come back to its leader.
    let server = &mut all.servers[behind];
    server.does("CONFIG SET masterauth wrong");
    server.does("CLIENT KILL TYPE master");
    all.servers[0].does("SET more 1");
    let wanted = all.servers[0].run("GET more");
    until("the other one has it", || {
        all.servers[ahead].run("GET more") == wanted
    });
    assert_eq!(all.servers[behind].run("GET more"), Reply::NullBulk);
    all.servers[0].kill();
    until("there is another leader", || {
        all.sentinels[0].address().1 == all.servers[ahead].port
    });
    all.servers[behind].does("CONFIG SET masterauth p");
    all.settles(ahead);
    all.has_changed_once(0, ahead);
    all.have("more", "1");
}
