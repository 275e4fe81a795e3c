//! The link of a replica as clients of that see it, and what is said on it while nothing happens.

use super::common::Reply;
use super::{Kind, QUIET, pair, until};
use std::time::Duration;

pairs! {
    the_link_is_a_client_that_can_be_killed
    pings_come_as_often_as_is_configured_by_now
    a_pause_at_a_replica_holds_the_stream_up
}

fn the_link_is_a_client_that_can_be_killed(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    leader.does("SELECT 3");
    leader.does("SET k v");
    replica.catches_up(&mut leader);
    let line = replica.does("CLIENT LIST TYPE master").text();
    for word in [
        &format!(" addr=127.0.0.1:{} ", leader.port())[..],
        " flags=M ",
        " db=3 ",
        " user=(superuser) ",
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert_eq!(line.lines().count(), 1);
    assert_eq!(replica.number("connected_clients"), 2);
    let (mut full, mut partly) = leader.syncs();
    let id = line.split([' ', '=']).nth(1).unwrap();
    let address = format!("127.0.0.1:{}", leader.port());
    for (how, told) in [
        (&format!("CLIENT KILL ID {id}")[..], Reply::Int(1)),
        ("CLIENT KILL TYPE master", Reply::Int(1)),
        ("CLIENT KILL TYPE normal", Reply::Int(0)),
        (&format!("CLIENT KILL {address}"), Reply::ok()),
    ] {
        if told == Reply::Int(0) {
            assert_eq!(replica.does(how), told);
            continue;
        }
        until("there is a link again", || {
            !replica.does("CLIENT LIST TYPE master").text().is_empty()
        });
        assert_eq!(replica.does(how), told, "{how}");
        assert_eq!(replica.does("CLIENT LIST TYPE master").text(), "");
        partly += 1;
        until("it is taken up", || leader.syncs().1 == partly);
        replica.is_up();
        leader.does("INCR counter");
        super::agree(&mut leader, &mut replica);
    }
    assert_eq!(leader.syncs(), (full, partly));
    // What was counted is forgotten on demand.
    leader.does("CONFIG RESETSTAT");
    (full, partly) = leader.syncs();
    assert_eq!((full, partly), (0, 0));
    replica.does("REPLICAOF NO ONE");
    assert_eq!(replica.does("CLIENT LIST TYPE master").text(), "");
}

fn pings_come_as_often_as_is_configured_by_now(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    leader.does("SET k v");
    leader.set("repl-ping-replica-period", "1");
    let offset = leader.number("master_repl_offset");
    until("it pings", || leader.number("master_repl_offset") > offset);
    leader.set("repl-ping-replica-period", "3600");
    let offset = leader.number("master_repl_offset");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(leader.number("master_repl_offset"), offset);
    replica.catches_up(&mut leader);
}

fn a_pause_at_a_replica_holds_the_stream_up(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    leader.does("SET k 1");
    replica.catches_up(&mut leader);
    let before = replica.number("slave_repl_offset");
    replica.does("CLIENT PAUSE 100000 WRITE");
    leader.does("SET k 2");
    let offset = leader.number("master_repl_offset");
    until("it has come", || {
        replica.number("slave_read_repl_offset") == offset
    });
    assert_eq!(replica.number("slave_repl_offset"), before);
    assert_eq!(replica.does("GET k"), Reply::bulk("1"));
    replica.does("CLIENT UNPAUSE");
    replica.catches_up(&mut leader);
    assert_eq!(replica.does("GET k"), Reply::bulk("2"));
}
