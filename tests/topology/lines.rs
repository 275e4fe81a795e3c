//! Lines that are cut.

use super::*;
use crate::common::client::Got;

#[test]
fn a_cut_line_stops_both_directions_and_is_caught_up_with_by_what_was_kept() {
    let topology = servers(2)
        .config("repl-timeout", "2")
        .config("repl-ping-replica-period", "1")
        .start()
        .unwrap();
    let [leader, left, right] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    let mut writer = client(leader);
    writer.run("SET before 1");
    sees(left, "before", "1");
    sees(right, "before", "1");
    topology.partition([leader], [left]).unwrap();
    writer.run("SET after 2");
    sees(right, "after", "2");
    // The leader misses it first; it hears of that only when it can be told.
    until("the leader keeps a replica that is silent", || {
        info(&mut writer, "connected_slaves") == "1"
    });
    let mut reader = client(left);
    until("the replica keeps a leader that is silent", || {
        info(&mut reader, "master_link_status") == "down"
    });
    assert_eq!(ask(&mut reader, "GET after"), "NullBulk");
    assert_eq!(info(&mut writer, "connected_slaves"), "1");
    assert_eq!(info(&mut writer, "sync_full"), "2");
    topology.heal();
    sees(left, "after", "2");
    assert_eq!(info(&mut writer, "sync_partial_ok"), "1");
    assert_eq!(info(&mut writer, "sync_full"), "2");
    topology.wait_until_settled(PATIENCE).unwrap();
}

#[test]
fn what_was_sent_into_a_cut_line_arrives_when_it_is_healed() {
    let topology = servers(1).start().unwrap();
    let [leader, replica] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    topology.partition([replica], [leader]).unwrap();
    let mut writer = client(leader);
    writer.run("SET key value");
    // It is acknowledged by nobody, and nobody is gone.
    assert_eq!(ask(&mut writer, "WAIT 1 300"), "0");
    assert_eq!(info(&mut writer, "connected_slaves"), "1");
    assert_eq!(ask(&mut client(replica), "GET key"), "NullBulk");
    topology.heal();
    assert_eq!(ask(&mut writer, "WAIT 1 0"), "1");
    assert_eq!(ask(&mut client(replica), "GET key"), "value");
    // All over the link that there was.
    assert_eq!(info(&mut writer, "sync_partial_ok"), "0");
    assert_eq!(info(&mut writer, "sync_full"), "1");
}

#[test]
fn connections_over_a_cut_line_hang_and_are_made_when_it_is_healed() {
    let topology = servers(1).start().unwrap();
    let [leader, replica] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    let mut reader = client(replica);
    reader.run("REPLICAOF NO ONE");
    topology.partition([leader], [replica]).unwrap();
    let mut writer = client(leader);
    let before = info(&mut writer, "total_connections_received");
    reader.run(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
    until("it does not connect", || {
        ask(&mut reader, "ROLE").contains("connect")
    });
    writer.run("SET key value");
    // The old link is closed on one side only, and the new one is not there.
    assert_eq!(info(&mut writer, "total_connections_received"), before);
    topology.heal();
    sees(replica, "key", "value");
}

#[test]
fn a_line_is_closed_to_the_other_side_when_it_is_healed() {
    let topology = servers(1).config("repl-timeout", "60").start().unwrap();
    let [leader, replica] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    topology.partition([leader], [replica]).unwrap();
    client(replica).run("REPLICAOF NO ONE");
    let mut writer = client(leader);
    // A ping goes unanswered, and a connection that was closed would be noticed.
    writer.run("SET key value");
    assert_eq!(ask(&mut writer, "WAIT 1 200"), "0");
    assert_eq!(info(&mut writer, "connected_slaves"), "1");
    topology.heal();
    until("the leader does not hear of it", || {
        info(&mut writer, "connected_slaves") == "0"
    });
}

#[test]
fn clients_are_never_cut_off() {
    let topology = servers(1).start().unwrap();
    let nodes = topology.nodes();
    let mut all: Vec<_> = nodes.iter().map(|node| client(*node)).collect();
    topology.partition(nodes.clone(), nodes.clone()).unwrap();
    for client in &mut all {
        assert_eq!(ask(client, "PING"), "PONG");
    }
    for node in nodes {
        assert_eq!(ask(&mut client(node), "PING"), "PONG");
    }
    let got = all[0].receive(Duration::from_millis(1)).unwrap();
    assert_eq!(got, Got::Nothing);
}

#[test]
fn bytes_take_their_time_on_a_long_line() {
    let topology = servers(2).start().unwrap();
    let [leader, near, far] = topology.servers()[..] else {
        panic!("{:?}", topology.servers());
    };
    let delay = Duration::from_millis(150);
    topology.delay([leader, near], [far], delay).unwrap();
    let mut writer = client(leader);
    let mut took = |replicas: &str| {
        writer.run("INCR number");
        let began = Instant::now();
        assert_eq!(ask(&mut writer, &format!("WAIT {replicas} 0")), replicas);
        began.elapsed()
    };
    assert!(took("1") < delay);
    let both = took("2");
    assert!(both >= 2 * delay, "{both:?}");
    // A megabyte, in order.
    let value = "0123456789".repeat(100_000);
    assert_eq!(ask(&mut client(leader), &format!("SET big {value}")), "OK");
    sees(far, "big", &value);
    // A new connection takes its time too.
    let began = Instant::now();
    client(far).run("CLIENT KILL TYPE master");
    client(leader).run("SET then 1");
    sees(far, "then", "1");
    assert!(began.elapsed() >= 4 * delay, "{:?}", began.elapsed());
    topology
        .delay([leader, near], [far], Duration::ZERO)
        .unwrap();
    until("it is still slow", || took("2") < delay);
}
