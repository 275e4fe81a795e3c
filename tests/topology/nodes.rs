//! Nodes that are killed, frozen and started again.

use super::*;
use crate::common::client::Got;
use redkeep::topology::{Error, Role, State};
use std::io::ErrorKind;

#[test]
fn replicas_follow_from_the_start() {
    let topology = servers(2).start().unwrap();
    let leader = topology.leader().unwrap();
    assert_eq!(leader, topology.servers()[0]);
    assert_eq!(leader.to_string(), "node-1");
    assert_eq!(leader.url(), format!("redis://127.0.0.1:{}", leader.port()));
    assert_eq!(topology.role(leader).unwrap(), Role::Leader);
    client(leader).run("SET key value");
    for replica in topology.others([leader]) {
        assert_eq!(topology.role(replica).unwrap(), Role::Replica);
        sees(replica, "key", "value");
    }
}

#[test]
fn who_is_killed_is_gone_at_once_and_comes_back_at_the_same_place() {
    let topology = servers(1).start().unwrap();
    let [leader, replica] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    let mut writer = client(leader);
    writer.run("SET key value");
    sees(replica, "key", "value");
    let mut reader = client(replica);
    let mut inside = topology.client(replica).unwrap();
    topology.kill(replica).unwrap();
    assert_eq!(topology.state(replica).unwrap(), State::Killed);
    assert_eq!(reader.receive(PATIENCE).unwrap(), Got::Closed);
    inside.call(["PING"]).unwrap_err();
    let refused = Client::connect(replica.port()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(matches!(topology.kill(replica), Err(Error::Killed(_))));
    assert!(matches!(topology.role(replica), Err(Error::Killed(_))));
    until("the leader keeps it", || {
        info(&mut writer, "connected_slaves") == "0"
    });
    writer.run("SET key other");
    topology.restart(replica).unwrap();
    assert_eq!(topology.state(replica).unwrap(), State::Running);
    sees(replica, "key", "other");
    // And one that runs.
    topology.restart(replica).unwrap();
    sees(replica, "key", "other");
    topology.wait_until_settled(PATIENCE).unwrap();
}

#[test]
fn who_is_frozen_takes_connections_and_answers_nobody() {
    let topology = servers(1).start().unwrap();
    let [leader, replica] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    let mut reader = client(replica);
    let mut writer = client(leader);
    topology.freeze(replica).unwrap();
    assert_eq!(topology.state(replica).unwrap(), State::Frozen);
    assert!(matches!(topology.freeze(replica), Err(Error::Frozen(_))));
    let mut late = client(replica);
    reader.send(&["GET", "key"]).unwrap();
    late.send(&["GET", "key"]).unwrap();
    writer.run("SET key value");
    assert_eq!(ask(&mut writer, "WAIT 1 200"), "0");
    let short = Duration::from_millis(100);
    assert_eq!(reader.receive(short).unwrap(), Got::Nothing);
    assert_eq!(late.receive(short).unwrap(), Got::Nothing);
    topology.thaw(replica).unwrap();
    assert!(matches!(topology.thaw(replica), Err(Error::NotFrozen(_))));
    reader.reply().unwrap();
    late.reply().unwrap();
    assert_eq!(ask(&mut writer, "WAIT 1 0"), "1");
    assert_eq!(ask(&mut reader, "GET key"), "value");
    // The link has lasted.
    assert_eq!(info(&mut writer, "sync_full"), "1");
}

#[test]
fn who_is_frozen_can_be_killed_and_answers_nothing_any_more() {
    let topology = servers(0).start().unwrap();
    let leader = topology.leader().unwrap();
    let mut writer = client(leader);
    topology.freeze(leader).unwrap();
    writer.send(&["SET", "key", "value"]).unwrap();
    topology.kill(leader).unwrap();
    assert_eq!(writer.receive(PATIENCE).unwrap(), Got::Closed);
    topology.restart(leader).unwrap();
    assert_eq!(ask(&mut client(leader), "GET key"), "NullBulk");
}

#[test]
fn what_was_written_to_files_is_there_after_a_kill_and_nothing_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let topology = servers(0)
        .dir(dir.path())
        .config("appendfsync", "always")
        .config("enable-debug-command", "yes")
        .start()
        .unwrap();
    let leader = topology.leader().unwrap();
    let mut writer = client(leader);
    writer.run("SET confirmed 1");
    // From here on nothing is written within the time of this test.
    assert_eq!(ask(&mut writer, "CONFIG SET appendfsync everysec"), "OK");
    assert_eq!(ask(&mut writer, "DEBUG AOF-FLUSH-SLEEP 500000"), "OK");
    writer.run("SET unconfirmed 1");
    topology.kill(leader).unwrap();
    topology.restart(leader).unwrap();
    let mut reader = client(leader);
    assert_eq!(ask(&mut reader, "GET confirmed"), "1");
    assert_eq!(ask(&mut reader, "GET unconfirmed"), "NullBulk");
    // In good order it is.
    reader.run("SET ordered 1");
    drop(topology);
    let topology = Topology::builder().dir(dir.path()).start().unwrap();
    assert_eq!(topology.leader().unwrap(), leader);
    assert_eq!(ask(&mut client(leader), "GET ordered"), "1");
}

#[test]
fn what_a_node_wrote_into_its_file_is_what_it_starts_with() {
    let topology = servers(1).start().unwrap();
    let [leader, replica] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    client(replica).run("REPLICAOF NO ONE");
    let mut old = client(leader);
    old.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port()));
    topology.wait_until_settled(PATIENCE).unwrap();
    for node in [leader, replica] {
        let mut client = client(node);
        client.run("CONFIG SET maxmemory 123mb");
        assert_eq!(ask(&mut client, "CONFIG REWRITE"), "OK");
        topology.kill(node).unwrap();
    }
    topology.restart(leader).unwrap();
    topology.restart(replica).unwrap();
    topology.wait_until_settled(PATIENCE).unwrap();
    assert_eq!(topology.leader().unwrap(), replica);
    let told = ask(&mut client(leader), "CONFIG GET maxmemory");
    assert!(told.contains("128974848"), "{told}");
}

#[test]
fn a_directory_is_not_taken_for_another_topology() {
    let dir = tempfile::tempdir().unwrap();
    drop(servers(1).dir(dir.path()).start().unwrap());
    for other in [
        servers(2),
        servers(1).base_port(1234),
        servers(1).sentinels(1),
    ] {
        let error = other.dir(dir.path()).start().unwrap_err();
        assert!(matches!(error, Error::Other { .. }), "{error}");
    }
}

#[test]
fn what_cannot_be_is_told_as_what_it_is() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = servers(0).base_port(port).start().unwrap_err();
    assert!(matches!(error, Error::Port { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with(&format!("node-1 cannot have port {port}: "))
    );
    let error = servers(1000).start().unwrap_err();
    assert!(
        matches!(error, Error::TooMany { asked: 1001, .. }),
        "{error}"
    );
    let error = servers(1)
        .sentinels(3)
        .base_port(60_000)
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::NoPorts(60_000)), "{error}");
    let error = servers(0).sync(true).start().unwrap_err();
    assert!(matches!(error, Error::Alone), "{error}");
    let error = servers(0).config("maxmemory", "much").start().unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    let (one, other) = (servers(0).start().unwrap(), servers(0).start().unwrap());
    let error = one.kill(other.servers()[0]).unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error}");
}

#[test]
fn a_sync_leader_acknowledges_nothing_that_no_replica_has() {
    let topology = servers(2).sync(true).start().unwrap();
    let leader = topology.leader().unwrap();
    let mut writer = client(leader);
    assert_eq!(ask(&mut writer, "SET key value"), "OK");
    topology
        .partition([leader], topology.others([leader]))
        .unwrap();
    let refused = ask(&mut writer, "SET key other");
    assert!(refused.starts_with("NOREPLICAS"), "{refused}");
}

#[test]
fn a_password_is_known_to_all() {
    let topology = servers(1)
        .config("requirepass", "open sesame")
        .start()
        .unwrap();
    let leader = topology.leader().unwrap();
    assert!(ask(&mut client(leader), "PING").starts_with("NOAUTH"));
    topology
        .client(leader)
        .unwrap()
        .call(["SET", "a", "1"])
        .unwrap();
}

#[test]
fn a_leader_without_sync_that_comes_back_empty_is_followed_whatever_its_replica_is_set_to() {
    let topology = servers(1).start().unwrap();
    let [leader, replica] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    client(leader).run("SET key value");
    sees(replica, "key", "value");
    // Names of histories have no order where nobody waits for replicas, as with Redis.
    assert_eq!(
        ask(&mut client(replica), "CONFIG SET sync-replicas 1"),
        "OK"
    );
    topology.kill(leader).unwrap();
    topology.restart(leader).unwrap();
    assert_eq!(ask(&mut client(leader), "SET other value"), "OK");
    sees(replica, "other", "value");
    assert_eq!(ask(&mut client(replica), "EXISTS key"), "0");
}
