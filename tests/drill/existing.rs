//! Drills of real Redis, over the wire and by commands of the shell.

use super::common::peer::tool;
use super::fortress::{Fortress, until};
use super::{Drill, drill};
use std::fs;

/// The words for a short drill.
const SHORT: [&str; 9] = [
    "--json",
    "--seconds",
    "8",
    "--outage",
    "5",
    "--clients",
    "12",
    "--pace",
    "20",
];

fn short(scenario: &str, fortress: &Fortress, more: &[&str]) -> super::Ended {
    let words = [&SHORT[..], &["--scenario", scenario], more].concat();
    drill(&words, &fortress.args())
}

#[test]
fn a_killed_leader_is_replaced_and_the_drill_leaves_nothing_behind() {
    let Some(mut fortress) = Fortress::redis() else {
        return;
    };
    let ended = short("kill-leader", &fortress, &[]);
    let report = ended.report();
    report.changed_leaders();
    assert!(report.ms("all-on-one-leader").is_some(), "{ended:?}");
    assert!(
        report.json["server"]
            .as_str()
            .unwrap()
            .starts_with("Redis 7")
    );
    assert!(!fortress.servers[0].alive());
    for server in &fortress.servers[1..] {
        let mut client = server.client();
        until("what was written is deleted", || {
            client.run("DBSIZE").int() == Some(0)
        });
    }
}

#[test]
fn a_paused_leader_is_replaced() {
    let Some(fortress) = Fortress::redis() else {
        return;
    };
    let ended = short("freeze-leader", &fortress, &[]);
    let report = ended.report();
    report.changed_leaders();
    assert!(ended.err.contains("CLIENT PAUSE"), "{ended:?}");
    assert!(report.n("/calls/errors/timeout") > 0, "{ended:?}");
}

#[test]
fn a_planned_failover_is_short() {
    let Some(fortress) = Fortress::redis() else {
        return;
    };
    let ended = short("planned-failover", &fortress, &[]);
    let report = ended.report();
    assert!(report.ms("promoted") < report.ms("switch-master"));
    assert!(report.ms("sdown").is_none(), "{ended:?}");
    assert_ne!(report.json["leader_before"], report.json["leader_after"]);
}

#[test]
fn without_a_sentinel_or_a_replica_nothing_is_lost() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Some(mut fortress) = Fortress::redis() else {
                return;
            };
            let ended = short("kill-sentinel", &fortress, &[]);
            let report = ended.report();
            assert_eq!(report.status, 0, "{ended:?}");
            assert!(report.json["without_leader_ms"].as_f64().unwrap() < 1500.0);
            assert!(!fortress.sentinels[2].alive());
        });
        scope.spawn(|| {
            let Some(mut fortress) = Fortress::redis() else {
                return;
            };
            let ended = short("kill-replica", &fortress, &[]);
            let report = ended.report();
            assert_eq!(report.status, 0, "{ended:?}");
            assert_eq!(report.json["leader_before"], report.json["leader_after"]);
            let alive = |server: &mut super::common::Server| server.alive();
            assert_eq!(
                fortress
                    .servers
                    .iter_mut()
                    .filter_map(|s| alive(s).then_some(()))
                    .count(),
                2
            );
        });
    });
}

#[test]
fn what_is_wiped_out_under_the_clients_is_found() {
    let (Some(fortress), Some(cli)) = (Fortress::redis(), tool("redis-cli")) else {
        return;
    };
    let wipe = format!("{} -p {} FLUSHALL", cli.display(), fortress.leader().port);
    // So many that somebody holds a lock for long at that moment, and others are after it.
    let mut words = vec!["--scenario", "restart", "--fault-command", &wipe];
    words.extend([
        "--json",
        "--seconds",
        "4",
        "--outage",
        "2",
        "--clients",
        "40",
        "--pace",
        "2",
    ]);
    let ended = drill(&words, &fortress.args());
    let report = ended.report();
    assert_eq!(report.status, 1, "{ended:?}");
    for lost in ["entries", "records", "fencing_numbers"] {
        assert!(report.n(&format!("/writes/lost_{lost}")) > 20, "{ended:?}");
    }
    assert!(report.n("/locks/held_by_two") > 0, "{ended:?}");
    assert!(report.n("/locks/gone_while_held") > 0, "{ended:?}");
    assert!(report.n("/calls/errors/NOGROUP") > 0, "{ended:?}");
    // And for people.
    let mut words = vec!["--seconds", "4", "--outage", "2", "--scenario", "restart"];
    words.extend(["--fault-command", &wipe]);
    let ended = drill(&words, &fortress.args());
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(
        ended.out.contains("acknowledged writes were lost"),
        "{ended:?}"
    );
    assert!(ended.out.contains("+0.000  fault at"), "{ended:?}");
}

#[test]
fn commands_are_told_what_it_is_about_and_healed_whatever_happens() {
    let Some(fortress) = Fortress::redis() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let write = |name: &str| {
        let path = file(name);
        format!(
            "echo $REDKEEP_DRILL_SCENARIO $REDKEEP_DRILL_MASTER $REDKEEP_DRILL_LEADER >> {}",
            path.display()
        )
    };
    let told = format!(
        "lose-region mymaster 127.0.0.1:{}\n",
        fortress.leader().port
    );
    let words = |fault: String, heal: String| {
        let words = ["--scenario", "lose-region", "--fault-command", &fault];
        let mut words: Vec<_> = words.map(str::to_owned).into();
        words.extend(["--heal-command".to_owned(), heal]);
        words.extend(SHORT.map(str::to_owned));
        words.extend(fortress.args());
        words
    };

    // A command that fails is no drill.
    let fault = write("fault-1") + "; exit 3";
    let ended = Drill::start(&words(fault, write("heal-1"))).end();
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.err.contains("exit status: 3"), "{ended:?}");
    // Interrupted as soon as something is broken.
    let running = Drill::start(&words(write("fault-2"), write("heal-2")));
    until("it is broken", || file("fault-2").exists());
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.err.contains("Interrupted"), "{ended:?}");
    assert!(ended.out.is_empty(), "{ended:?}");
    for name in ["fault-1", "heal-1", "fault-2", "heal-2"] {
        assert_eq!(fs::read_to_string(file(name)).unwrap(), told, "{name}");
    }
    // It has tidied up.
    until("what was written is deleted", || {
        fortress.leader().client().run("DBSIZE").int() == Some(0)
    });
}

#[test]
fn servers_that_wait_for_nobody_are_no_drill_of_that() {
    let Some(fortress) = Fortress::redis() else {
        return;
    };
    let ended = short("kill-leader", &fortress, &["--sync"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.err.contains("sync-replicas"), "{ended:?}");
    // And nothing happened to them.
    assert_eq!(fortress.leader().client().run("DBSIZE").int(), Some(0));
}
