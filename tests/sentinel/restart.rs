//! Sentinels end, and go on with what they have written down.

use super::Kind;
use super::cast::{Cast, is_redis_there};
use super::node::Node;
use super::topology::{Plan, Topology};
use super::{until, words};

play! { by all: ; by quorums: it_returns_as_it_was it_ends_when_it_is_elected it_was_stopped_for_too_long }

/// What a sentinel must not lose.
fn memory(sentinel: &mut Node) -> Vec<String> {
    let id = sentinel.does("SENTINEL MYID").text();
    let fields = [
        "ip",
        "port",
        "quorum",
        "config-epoch",
        "down-after-milliseconds",
        "failover-timeout",
        "parallel-syncs",
    ];
    let mut all = vec![id];
    all.extend(fields.map(|name| sentinel.field(name)));
    all.push(format!("{:?}", sentinel.list("REPLICAS", &["ip", "port"])));
    all.push(format!(
        "{:?}",
        sentinel.list("SENTINELS", &["ip", "port", "runid"])
    ));
    let conf = sentinel.conf();
    for name in ["sentinel current-epoch", "sentinel leader-epoch m"] {
        let line = conf.iter().find(|line| line.starts_with(name));
        all.push(line.unwrap_or_else(|| panic!("{name}")).clone());
    }
    all
}

fn it_returns_as_it_was(cast: Cast) {
    let plan = Plan {
        sentinels: words(&["sentinel parallel-syncs m 2"]),
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    all.change_by_hand(0);
    let mut leader = all.settles_without(0);
    // As it should be, by a power cut, and as the program of somebody else.
    for (n, ending) in ["TERM", "KILL", "SWAP"].into_iter().enumerate() {
        let before = memory(&mut all.sentinels[n]);
        match ending {
            "TERM" => all.sentinels[n].terminate(),
            _ => all.sentinels[n].kill(),
        }
        let kind = match (ending, all.sentinels[n].kind) {
            ("SWAP", Kind::Redis) => Kind::Redkeep,
            ("SWAP", Kind::Redkeep) if is_redis_there() => Kind::Redis,
            (_, kind) => kind,
        };
        if kind == Kind::Redkeep && cast == Cast::redis_alone() {
            continue;
        }
        all.restart_sentinel(n, kind);
        assert_eq!(memory(&mut all.sentinels[n]), before, "{ending}");
        all.settles(leader);
    }
    let epoch: u64 = all.sentinels[0].field("config-epoch").parse().unwrap();
    let old = leader;
    all.servers[old].kill();
    leader = all.settles_without(old);
    let next: u64 = all.sentinels[0].field("config-epoch").parse().unwrap();
    assert!(next > epoch);
    // Where it meets nobody it has all that from its file.
    let before = memory(&mut all.sentinels[1]);
    for server in &mut all.servers {
        server.kill();
    }
    all.sentinels[0].kill();
    all.sentinels[2].kill();
    all.sentinels[1].kill();
    let kind = all.sentinels[1].kind;
    all.restart_sentinel(1, kind);
    assert_eq!(all.sentinels[1].address().1, all.servers[leader].port);
    // It may have begun to do something about all that are gone meanwhile.
    let after = memory(&mut all.sentinels[1]);
    let lasting = before.len() - 2;
    assert_eq!(after[..lasting], before[..lasting]);
}

/// SENTINEL SIMULATE-FAILURE has it end in the middle: another one does it then.
fn it_ends_when_it_is_elected(cast: Cast) {
    let plan = Plan {
        sentinels: words(&["sentinel failover-timeout m 2500"]),
        sentinel: [
            Vec::new(),
            words(&["sentinel down-after-milliseconds m 2000"]),
            words(&["sentinel down-after-milliseconds m 2000"]),
        ],
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    all.sentinels[0].does("SENTINEL SET m quorum 1");
    all.sentinels[0].does("SENTINEL SIMULATE-FAILURE CRASH-AFTER-ELECTION");
    assert_eq!(
        all.sentinels[0].info("sentinel_simulate_failure_flags"),
        "1"
    );
    all.servers[0].kill();
    assert_eq!(all.sentinels[0].process.end(), Some(99));
    all.sentinels[0].lives = false;
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    // Who was promoted is told to follow by all who have not heard of that.
    all.servers[0].restart();
    all.settles(new);
    let kind = all.sentinels[0].kind;
    all.restart_sentinel(0, kind);
    all.settles(new);
    let old = new;
    all.sentinels[0].does("SENTINEL SIMULATE-FAILURE CRASH-AFTER-PROMOTION");
    all.change_by_hand(0);
    assert_eq!(all.sentinels[0].process.end(), Some(99));
    all.sentinels[0].lives = false;
    all.settles(old);
    // It has another leader in its file, with a newer epoch: they agree in the end.
    all.restart_sentinel(0, kind);
    all.settles_somehow();
}

/// Whoever finds that time has jumped does nothing for a while.
fn it_was_stopped_for_too_long(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    all.sentinels[0].does("SENTINEL DEBUG tilt-trigger 1000 tilt-period 2500");
    all.sentinels[0].freeze();
    all.hears(1, "+sdown");
    all.sentinels[0].thaw();
    all.hears(0, "+tilt");
    assert_eq!(all.ears[0].on("+tilt"), ["#tilt mode entered"]);
    assert_eq!(all.sentinels[0].info("sentinel_tilt"), "1");
    assert_ne!(all.sentinels[0].info("sentinel_tilt_since_seconds"), "-1");
    all.hears(0, "-tilt");
    assert_eq!(all.ears[0].on("-tilt"), ["#tilt mode exited"]);
    assert_eq!(all.sentinels[0].info("sentinel_tilt"), "0");
    assert_eq!(all.sentinels[0].info("sentinel_tilt_since_seconds"), "-1");
    all.hears(1, "-sdown");
    all.settles(0);
    for ear in &mut all.ears {
        assert_eq!(ear.on("+odown"), [""; 0]);
    }
    until("nobody is down", || {
        all.sentinels[0].field("flags") == "master"
    });
}
