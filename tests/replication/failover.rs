//! A leader hands its role over, and takes it back: by FAILOVER, and by hand.

use super::common::{Reply, argv};
use super::{Kind, Peer, QUIET, agree, fill, pair, until};

pairs! { failover_goes_there_and_back failover_ends_without_effect by_hand_there_and_back }

/// A pair with much in it, of which nothing went through the stream.
fn filled(leader: Kind, replica: Kind) -> (Peer, Peer) {
    let mut leader = Peer::start(leader, QUIET);
    fill(&mut leader);
    let replica = Peer::following(replica, leader.port(), QUIET);
    // A leader hands over to none of which it has not heard yet that it has everything.
    until("the replica is online", || {
        leader.info("slave0").contains("state=online")
    });
    (leader, replica)
}

/// Waits until `old` follows `new`, and both tell so.
fn has_changed(old: &mut Peer, new: &mut Peer) {
    new.tells("role", "master");
    old.tells("role", "slave");
    old.is_up();
    old.tells("master_failover_state", "no-failover");
}

fn failover_goes_there_and_back(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = filled(leader, replica);
    agree(&mut leader, &mut replica);
    let full = [leader.number("sync_full"), replica.number("sync_full")];
    replica.server.stop();
    leader.does("SET k v");
    leader.does(&format!(
        "FAILOVER TO 127.0.0.1 {} TIMEOUT 10000",
        replica.port()
    ));
    let mut writer = leader.server.client();
    writer.send(&argv("SET k w")).unwrap();
    leader.tells("blocked_clients", "1");
    replica.server.go_on();
    has_changed(&mut leader, &mut replica);
    // Who has waited is too late.
    assert!(writer.reply().unwrap().text().starts_with("READONLY"));
    assert_eq!(replica.run("GET k").text(), "v");
    assert!(leader.run("SET k v").text().starts_with("READONLY"));
    replica.does("SET there 1");
    agree(&mut replica, &mut leader);
    replica.does("FAILOVER");
    has_changed(&mut replica, &mut leader);
    leader.does("SET back 1");
    agree(&mut leader, &mut replica);
    assert_eq!(leader.run("EXISTS there back").int(), Some(2));
    assert_eq!(
        [leader.number("sync_full"), replica.number("sync_full")],
        full
    );
}

/// Whoever cannot catch up is not waited for, and the leader stays one.
fn failover_ends_without_effect(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    for (line, error) in [
        (
            "FAILOVER TO 127.0.0.1 1",
            "ERR FAILOVER target HOST and PORT is not a replica.",
        ),
        ("FAILOVER ABORT", "ERR No failover in progress."),
        (
            "FAILOVER FORCE",
            "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        ),
        (
            "FAILOVER TIMEOUT -1",
            "ERR FAILOVER timeout must be greater than 0",
        ),
        ("FAILOVER NOW", "ERR syntax error"),
    ] {
        assert_eq!(leader.run(line).text(), error, "{line}");
    }
    assert_eq!(
        replica.run("FAILOVER").text(),
        "ERR FAILOVER is not valid when server is a replica."
    );
    leader.does("SET k v");
    replica.catches_up(&mut leader);
    replica.server.stop();
    leader.does("SET k w");
    leader.does("FAILOVER TIMEOUT 200");
    assert_eq!(leader.info("master_failover_state"), "waiting-for-sync");
    assert_eq!(
        leader.run("FAILOVER").text(),
        "ERR FAILOVER already in progress."
    );
    // Nobody may write meanwhile, until it is over.
    assert_eq!(leader.does("SET k x"), Reply::ok());
    assert_eq!(leader.info("master_failover_state"), "no-failover");
    leader.does("FAILOVER");
    assert_eq!(leader.info("master_failover_state"), "waiting-for-sync");
    assert_eq!(leader.does("FAILOVER ABORT"), Reply::ok());
    leader.does("SET k y");
    replica.server.go_on();
    agree(&mut leader, &mut replica);
    assert_eq!(
        [leader.info("role"), replica.info("role")],
        ["master", "slave"]
    );
}

/// As one does it who moves from one server to another: wait for the link, stop writing, promote.
fn by_hand_there_and_back(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = filled(leader, replica);
    let full = [leader.number("sync_full"), replica.number("sync_full")];
    for (old, new) in [(0, 1), (1, 0)] {
        let mut peers = [&mut leader, &mut replica];
        peers[old].does("CLIENT PAUSE 10000 WRITE");
        assert_eq!(peers[old].does("WAIT 1 10000").int(), Some(1));
        until("it has everything", || {
            peers[old].number("master_repl_offset") == peers[new].number("master_repl_offset")
        });
        peers[new].does("REPLICAOF NO ONE");
        let port = peers[new].port();
        peers[old].follow(port);
        peers[old].does("CLIENT UNPAUSE");
        peers[new].does("INCR moved");
        let [leader, replica] = peers;
        match new {
            0 => agree(leader, replica),
            _ => agree(replica, leader),
        }
    }
    assert_eq!(leader.run("GET moved").text(), "2");
    assert_eq!(
        [leader.number("sync_full"), replica.number("sync_full")],
        full
    );
}
