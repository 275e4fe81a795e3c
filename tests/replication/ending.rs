//! How a leader ends that has replicas: it waits until they have everything (`shutdown-timeout`).

use super::common::{Client, Reply};
use super::{Kind, Kind::*, Peer, QUIET, pair, until};
use std::time::{Duration, Instant};

pairs! {
    replicas_have_everything_when_their_leader_has_ended
    a_leader_does_not_wait_for_ever
    an_end_that_waits_is_taken_back
}

/// A replica that does nothing, and a leader that has written since.
fn behind(leader: Kind, replica: Kind, timeout: &str) -> (Peer, Peer) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    leader.set("shutdown-timeout", timeout);
    leader.does("SET k 1");
    replica.catches_up(&mut leader);
    replica.server.stop();
    leader.does("SET k 2");
    (leader, replica)
}

/// A client that has asked for the end, and is told nothing yet.
fn asks(leader: &mut Peer, words: &[&str]) -> Client {
    let mut c = leader.server.client();
    c.send(words).unwrap();
    until("the end is asked for", || {
        !leader.info("shutdown_in_milliseconds").is_empty()
    });
    c
}

fn replicas_have_everything_when_their_leader_has_ended(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = behind(leader, replica, "60");
    let mut c = asks(&mut leader, &["SHUTDOWN"]);
    assert_eq!(leader.number("blocked_clients"), 1);
    assert!(leader.number("shutdown_in_milliseconds") > 50_000);
    assert_eq!(leader.does("GET k"), Reply::bulk("2"));
    // Nobody writes any more.
    let mut writer = leader.server.client();
    writer.send(&["SET", "k", "3"]).unwrap();
    leader.tells("blocked_clients", "2");
    replica.server.go_on();
    leader.server.end();
    assert!(c.reply().is_err() && writer.reply().is_err());
    assert_eq!(replica.does("GET k"), Reply::bulk("2"));
    let log = leader.log();
    assert!(log.contains("Waiting for replicas before shutting down"));
    assert!(log.contains("1 of 1 replicas are in sync when shutting down"));
    assert!(!log.contains("Lagging replica"));
}

fn a_leader_does_not_wait_for_ever(leader: Kind, replica: Kind) {
    for (timeout, words, least) in [
        ("1", &["SHUTDOWN"][..], 900),
        ("60", &["SHUTDOWN", "NOW"][..], 0),
        ("0", &["SHUTDOWN"][..], 0),
    ] {
        let (mut leader, replica) = behind(leader, replica, timeout);
        let began = Instant::now();
        leader.c.send(words).unwrap();
        leader.server.end();
        let took = began.elapsed();
        let least = Duration::from_millis(least);
        assert!(least <= took && took < Duration::from_secs(20), "{took:?}");
        let log = leader.log();
        assert!(log.contains(&format!("Lagging replica 127.0.0.1:{}", replica.port())));
        assert!(log.contains("0 of 1 replicas are in sync when shutting down"));
        replica.server.go_on();
    }
}

fn an_end_that_waits_is_taken_back(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = behind(leader, replica, "60");
    let mut all = [["SHUTDOWN"], ["SHUTDOWN"]].map(|words| asks(&mut leader, &words));
    leader.tells("blocked_clients", "2");
    if leader.kind == Redkeep {
        // Whoever waits for the end waits for nothing else. redis-server 7.0.15 crashes when asked that.
        for line in leader.does("CLIENT LIST").text().lines() {
            let id = line.split([' ', '=']).nth(1).unwrap();
            let told = leader.does(&format!("CLIENT UNBLOCK {id}"));
            assert_eq!(told.int(), Some(0));
        }
    }
    leader.does("CLIENT PAUSE 100000 WRITE");
    leader.does("CLIENT UNPAUSE");
    let mut writer = leader.server.client();
    writer.send(&["SET", "k", "3"]).unwrap();
    leader.tells("blocked_clients", "3");
    leader.does("SHUTDOWN ABORT");
    for c in &mut all {
        let told = c.reply().unwrap().text();
        assert_eq!(told, "ERR Errors trying to SHUTDOWN. Check logs.");
    }
    assert_eq!(writer.reply().unwrap(), Reply::ok());
    assert!(leader.log().contains("Shutdown manually aborted."));
    assert!(leader.run("SHUTDOWN ABORT").is_error());
    replica.server.go_on();
    replica.catches_up(&mut leader);
    assert_eq!(replica.does("GET k"), Reply::bulk("3"));
    leader.server.terminate();
}
