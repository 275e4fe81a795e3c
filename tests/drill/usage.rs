//! When there is no drill.

use super::common::peer::free_port;
use super::drill;

#[test]
fn existing_servers_are_not_broken_without_a_yes() {
    let ended = drill(&["--sentinel", "127.0.0.1:1"], &[]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.err.contains("--yes"), "{ended:?}");
    assert!(ended.out.is_empty(), "{ended:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for args in [
        &["--scenario", "kill-everybody"][..],
        &["--seconds", "1"],
        &["--clients", "0"],
        &["--sentinel", "nowhere", "--yes"],
        &["--yes"],
        &["--fault-command", "true"],
        &["--seconds", "10", "--outage", "9"],
        &["now"],
    ] {
        let ended = drill(args, &[]);
        assert_eq!(ended.status, Some(2), "{args:?} {ended:?}");
        assert!(!ended.err.is_empty(), "{args:?} {ended:?}");
    }
}

#[test]
fn help_tells_what_is_done_to_existing_servers() {
    let ended = drill(&["--help"], &[]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for text in ["SHUTDOWN NOSAVE", "CLIENT PAUSE", "SENTINEL FAILOVER"] {
        assert!(ended.out.contains(text), "{text}: {ended:?}");
    }
    for scenario in [
        "kill-leader",
        "partition-leader",
        "freeze-leader",
        "restart",
        "kill-replica",
        "kill-sentinel",
        "planned-failover",
        "lose-region",
    ] {
        assert!(ended.out.contains(scenario), "{scenario}: {ended:?}");
    }
}

#[test]
fn nobody_to_ask_is_no_drill() {
    let sentinel = format!("127.0.0.1:{}", free_port());
    let ended = drill(&["--yes", "--sentinel", &sentinel], &[]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.err.contains("no sentinel answers"), "{ended:?}");
}
