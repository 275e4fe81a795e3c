//! A leader that restarts so fast that it is not seen to be down, and is long about its data.

use super::cast::Cast;
use super::topology::{Plan, Topology};
use super::{until, words};

play! { by all: it_loads_for_too_long; by quorums:  }

fn it_loads_for_too_long(cast: Cast) {
    let mut plan = Plan {
        sentinels: words(&[
            "sentinel down-after-milliseconds m 5000",
            "sentinel master-reboot-down-after-period m 1500",
        ]),
        ..Plan::default()
    };
    plan.server[0] = words(&[
        "key-load-delay 700",
        "loading-process-events-interval-bytes 1024",
    ]);
    let mut all = Topology::raise(cast, plan);
    all.servers[0].does("DEBUG POPULATE 10000");
    all.servers[0].does("SAVE");
    let run = all.servers[0].info("run_id");
    until("all sentinels know who runs", || {
        all.sentinels.iter_mut().all(|s| s.field("runid") == run)
    });
    let (kind, server) = (all.servers[0].kind, &mut all.servers[0]);
    server.kill();
    server.process.start_again(kind);
    let leader = all.servers[0].port;
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    for ear in &mut all.ears {
        let wanted = format!("master m 127.0.0.1 {leader}");
        assert!(ear.on("+reboot").contains(&wanted), "{:?}", ear.heard());
    }
    all.servers[0].is_ready();
    all.servers[0].lives = true;
    all.settles(new);
}
