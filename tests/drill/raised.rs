//! Drills of servers that are raised for them, side by side: they mostly wait.

use super::{Report, drill};
use std::thread;

fn short(scenario: &str, more: &[&str]) -> Report {
    let words = [
        "--json",
        "--seconds",
        "8",
        "--outage",
        "5",
        "--clients",
        "20",
        "--pace",
        "10",
        "--scenario",
        scenario,
    ];
    drill(&[&words[..], more].concat(), &[]).report()
}

#[test]
fn a_leader_that_is_cut_off_loses_what_it_acknowledges_unless_it_waits_for_replicas() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let report = short("partition-leader", &[]);
            assert_eq!(report.status, 1, "{}", report.json);
            for lost in ["entries", "records", "fencing_numbers"] {
                let lost = report.n(&format!("/writes/lost_{lost}"));
                assert!(lost > 20, "{}", report.json);
            }
            assert!(report.n("/locks/held_by_two") > 0, "{}", report.json);
            report.changed_leaders();
        });
        scope.spawn(|| {
            let report = short("partition-leader", &["--sync"]);
            assert_eq!(report.status, 0, "{}", report.json);
            // The one that is cut off says so of each write.
            assert!(report.n("/calls/errors/NOREPLICAS") > 50, "{}", report.json);
            report.changed_leaders();
        });
    });
}

#[test]
fn a_leader_that_waits_for_replicas_loses_nothing_however_it_ends() {
    for pair in [
        [("kill-leader", true), ("freeze-leader", true)],
        [("lose-region", true), ("restart", false)],
    ] {
        // A leader that is back before it was missed leads with what it has on its disk.
        let sync = ["--sync"];
        thread::scope(|scope| {
            for (scenario, changes) in pair {
                scope.spawn(move || {
                    let report = short(scenario, &sync);
                    assert_eq!(report.status, 0, "{}", report.json);
                    assert_eq!(report.json["sync"], true);
                    if changes {
                        report.changed_leaders();
                    }
                });
            }
        });
    }
}

#[test]
fn who_hears_of_another_leader_leaves_the_old_one() {
    thread::scope(|scope| {
        let parted = scope.spawn(|| short("planned-failover", &[]));
        let listening = scope.spawn(|| short("planned-failover", &["--listen"]));
        let (parted, listening) = (parted.join().unwrap(), listening.join().unwrap());
        // For ten seconds nobody tells the old leader.
        assert!(parted.ms("all-on-one-leader").is_none(), "{}", parted.json);
        assert!(parted.n("/writes/lost") > 100, "{}", parted.json);
        let together = listening.ms("all-on-one-leader");
        assert!(together < Some(3000.0), "{}", listening.json);
        assert!(
            listening.n("/writes/lost") < parted.n("/writes/lost") / 2,
            "{}",
            listening.json
        );
    });
}

#[test]
fn people_get_a_table() {
    let words = ["--seconds", "5", "--outage", "3", "--scenario"];
    let ended = drill(&[&words[..], &["kill-sentinel"]].concat(), &[]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for text in [
        "kill-sentinel of Redkeep",
        "+0.000  fault at node-1",
        "sentinel-3 was killed",
        "sentinel-3 was started again",
        "time without a leader",
        "Everything that was acknowledged was kept.",
    ] {
        assert!(ended.out.contains(text), "{text}: {ended:?}");
    }
}
