//! What leaders and replicas tell of each other, and what clients may make depend on it.

use super::common::client::Got;
use super::common::{Reply, argv};
use super::{Kind, Kind::*, Peer, QUIET, agree, field, pair, until};
use std::time::Duration;

pairs! {
    both_tell_of_each_other
    waits_are_for_what_was_written
    writes_may_need_replicas
    a_pause_holds_writes_and_not_replication
    a_pause_of_a_replica_holds_its_leader
    passwords_are_asked_for
}

fn both_tell_of_each_other(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    assert_eq!(leader.info("role"), "master");
    leader.does("SET k v");
    replica.catches_up(&mut leader);
    let offset = leader.number("master_repl_offset");
    let port = replica.port();
    let mut line = String::new();
    until("the replica has acknowledged", || {
        line = leader.info("slave0");
        line.contains(&format!("offset={offset},"))
    });
    let start = format!("ip=127.0.0.1,port={port},state=online,offset={offset},lag=");
    assert!(line.starts_with(&start), "{line}");
    let id = leader.info("master_replid");
    assert_eq!(id.len(), 40);
    assert_eq!(leader.info("master_replid2"), "0".repeat(40));
    assert_eq!(leader.number("second_repl_offset"), -1);
    assert_eq!(leader.number("repl_backlog_active"), 1);
    assert_eq!(leader.number("repl_backlog_size"), 1 << 20);
    assert_eq!(leader.number("repl_backlog_first_byte_offset"), 1);
    assert_eq!(leader.number("repl_backlog_histlen"), offset);
    for (name, value) in [
        ("role", "slave"),
        ("master_host", "127.0.0.1"),
        ("master_port", &leader.port().to_string()),
        ("master_link_status", "up"),
        ("master_sync_in_progress", "0"),
        ("slave_repl_offset", &offset.to_string()),
        ("slave_read_repl_offset", &offset.to_string()),
        ("slave_priority", "100"),
        ("slave_read_only", "1"),
        ("replica_announced", "1"),
        ("connected_slaves", "0"),
        ("master_failover_state", "no-failover"),
        ("master_replid", &id),
        ("master_repl_offset", &offset.to_string()),
    ] {
        assert_eq!(replica.info(name), value, "{name}");
    }
    let number = |n: i64| Reply::Int(n);
    let bulk = |text: &str| Reply::bulk(text);
    let port = port.to_string();
    let role = leader.run("ROLE");
    let [kind, at, replicas] = role.items() else {
        panic!("{role:?}");
    };
    assert_eq!((kind, at), (&bulk("master"), &number(offset)));
    let heard = replicas.items()[0].items();
    assert_eq!(
        heard[..3],
        [bulk("127.0.0.1"), bulk(&port), bulk(&offset.to_string())]
    );
    if leader.kind == Redkeep {
        // So many bytes and milliseconds behind.
        assert_eq!(heard[3..], [bulk("0"), bulk("0")]);
    }
    let to = number(leader.port().into());
    let role = vec![
        bulk("slave"),
        bulk("127.0.0.1"),
        to,
        bulk("connected"),
        number(offset),
    ];
    assert_eq!(replica.run("ROLE"), Reply::Array(role));
    let listed = |peer: &mut Peer, kind: &str| {
        let all = peer.does(&format!("CLIENT LIST TYPE {kind}")).text();
        let flags = |line: &str| {
            line.split(' ')
                .find_map(|w| w.strip_prefix("flags="))
                .map(str::to_owned)
        };
        all.lines().map(|l| flags(l).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut leader, "replica"), ["S"]);
    assert_eq!(listed(&mut replica, "master"), ["M"]);
    // What it is told to say of itself, and whether others are to hear of it.
    replica.set("replica-priority", "7");
    assert_eq!(replica.number("slave_priority"), 7);
    replica.does("REPLICAOF NO ONE");
    leader.tells("connected_slaves", "0");
    replica.set("replica-announce-ip", "10.0.0.1");
    replica.set("replica-announce-port", "4321");
    replica.follow(leader.port());
    until("it is told", || {
        leader
            .info("slave0")
            .starts_with("ip=10.0.0.1,port=4321,state=online")
    });
}

fn waits_are_for_what_was_written(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    assert_eq!(leader.does("WAIT 0 0").int(), Some(1));
    leader.does("SET k v");
    assert_eq!(leader.does("WAIT 1 0").int(), Some(1));
    assert_eq!(replica.run("GET k").text(), "v");
    // Of two there is one, and one is what it says when the time is over.
    assert_eq!(leader.does("WAIT 2 50").int(), Some(1));
    replica.server.stop();
    leader.does("SET k w");
    assert_eq!(leader.does("WAIT 1 50").int(), Some(0));
    // Who has written nothing waits for nothing.
    let mut other = leader.server.client();
    assert_eq!(other.run("WAIT 1 50").int(), Some(1));
    leader.does("SET k x");
    leader.c.send(&argv("WAIT 1 20000")).unwrap();
    assert_eq!(
        leader.c.receive(Duration::from_millis(30)).unwrap(),
        Got::Nothing
    );
    replica.server.go_on();
    assert_eq!(leader.c.reply().unwrap().int(), Some(1));
    assert_eq!(replica.run("GET k").text(), "x");
    leader.does("MULTI");
    leader.does("SET k y");
    leader.does("WAIT 1 0");
    assert_eq!(
        leader.does("EXEC").items()[1].int().map(|n| n <= 1),
        Some(true)
    );
    assert_eq!(
        replica.run("WAIT 1 0").text(),
        "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured \
         to be writable (which is not the default) writes to replicas are just local and are not propagated."
    );
    assert!(leader.run("WAIT 1 -1").is_error());
    // Those who wait are let go when it is no leader any more.
    leader.does("SET k z");
    leader.c.send(&argv("WAIT 5 0")).unwrap();
    let mut other = leader.server.client();
    until("it waits", || {
        field(&other.run("INFO clients").text(), "blocked_clients").as_deref() == Some("1")
    });
    other.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port()));
    assert!(leader.c.reply().unwrap().text().starts_with("UNBLOCKED"));
}

#[test]
fn waits_are_for_disks_too() {
    let logged = [QUIET, &["--appendonly", "yes"]].concat();
    let mut leader = Peer::start(Redkeep, &logged);
    let mut replica = Peer::following(Redkeep, leader.port(), &logged);
    leader.does("SET k v");
    assert_eq!(
        leader.does("WAITAOF 1 1 10000"),
        Reply::Array(vec![Reply::Int(1), Reply::Int(1)])
    );
    replica.server.stop();
    leader.does("SET k w");
    assert_eq!(
        leader.does("WAITAOF 1 1 1500"),
        Reply::Array(vec![Reply::Int(1), Reply::Int(0)])
    );
    replica.server.go_on();
    assert_eq!(
        leader.does("WAITAOF 0 1 10000"),
        Reply::Array(vec![Reply::Int(1), Reply::Int(1)])
    );
    // Without a log it can acknowledge no disk.
    replica.set("appendonly", "no");
    leader.does("SET k x");
    assert_eq!(leader.does("WAIT 1 10000").int(), Some(1));
    let worked = |leader: &mut Peer| -> f64 {
        let all = ["used_cpu_user", "used_cpu_sys"].map(|name| leader.info(name));
        all.iter()
            .map(|seconds| seconds.parse::<f64>().unwrap())
            .sum()
    };
    let before = worked(&mut leader);
    assert_eq!(leader.does("WAITAOF 0 1 1000").items()[1], Reply::Int(0));
    let took = worked(&mut leader) - before;
    assert!(took < 0.5, "it has not slept meanwhile: {took} s");
    assert!(
        replica
            .run("WAITAOF 0 1 50")
            .text()
            .starts_with("ERR WAITAOF cannot be used with replica")
    );
}

fn writes_may_need_replicas(leader: Kind, replica: Kind) {
    let options = [
        "--min-replicas-to-write",
        "1",
        "--min-replicas-max-lag",
        "1",
    ];
    let mut leader = Peer::start(leader, &options);
    const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
    assert_eq!(leader.run("SET k v").text(), NOREPLICAS);
    assert!(!leader.run("GET k").is_error());
    let mut replica = Peer::following(replica, leader.port(), &[]);
    leader.tells("min_slaves_good_slaves", "1");
    leader.does("SET k v");
    agree(&mut leader, &mut replica);
    replica.server.stop();
    leader.tells("min_slaves_good_slaves", "0");
    assert_eq!(leader.run("SET k w").text(), NOREPLICAS);
    let script = "return redis.pcall('SET','k','w')";
    let reply = leader.call(&["EVAL", script, "0"]).text();
    assert!(
        reply.contains("NOREPLICAS") || reply.contains("Not enough good replicas"),
        "{reply}"
    );
    leader.set("min-replicas-to-write", "0");
    leader.does("SET k x");
    replica.server.go_on();
    agree(&mut leader, &mut replica);
}

fn a_pause_holds_writes_and_not_replication(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &[]);
    leader.does("SET k v");
    leader.does("SET short v PX 300");
    leader.does("CLIENT PAUSE 10000 WRITE");
    let mut writer = leader.server.client();
    writer.send(&argv("SET k w")).unwrap();
    leader.tells("blocked_clients", "1");
    assert_eq!(leader.run("GET k").text(), "v");
    // Acknowledgements go on, and nothing is written by itself: the offset stays, but for pings.
    assert_eq!(leader.does("WAIT 1 5000").int(), Some(1));
    until("it is over", || leader.run("EXISTS short").int() == Some(0));
    assert_eq!(leader.run("DBSIZE").int(), Some(2));
    // Who comes now gets everything.
    let mut late = Peer::following(replica.kind, leader.port(), &[]);
    assert_eq!(late.run("GET k").text(), "v");
    leader.does("CLIENT UNPAUSE");
    assert_eq!(writer.reply().unwrap(), Reply::ok());
    until("it goes", || leader.run("DBSIZE").int() == Some(1));
    agree(&mut leader, &mut replica);
    agree(&mut leader, &mut late);
    // A pause of everything does not pause who replicates.
    leader.does("CLIENT PAUSE 300 ALL");
    replica.does("REPLICAOF NO ONE");
    replica.follow(leader.port());
    leader.does("SET k x");
    agree(&mut leader, &mut replica);
}

fn a_pause_of_a_replica_holds_its_leader(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    leader.does("SET k v");
    agree(&mut leader, &mut replica);
    let before = replica.number("slave_repl_offset");
    for (scope, ends) in [("WRITE", "CLIENT UNPAUSE"), ("ALL", ""), ("WRITE", "")] {
        let (reached, was) = (replica.number("slave_repl_offset"), replica.run("GET k"));
        replica.does(&format!(
            "CLIENT PAUSE {} {scope}",
            if ends.is_empty() { 300 } else { 100_000 }
        ));
        leader.does("MULTI");
        leader.does("INCR n");
        leader.does(&format!("SET k {scope}"));
        leader.does("EXEC");
        let end = leader.number("master_repl_offset");
        if !ends.is_empty() {
            until("it has come", || {
                replica.number("slave_read_repl_offset") == end
            });
            assert_eq!(replica.number("slave_repl_offset"), reached);
            assert_eq!(replica.run("GET k"), was);
            assert!(leader.does("WAIT 1 50").int() == Some(0));
            replica.does(ends);
        }
        agree(&mut leader, &mut replica);
        assert_eq!(replica.run("GET k").text(), scope);
    }
    assert!(replica.number("slave_repl_offset") > before);
    // What was held up is not lost with the link.
    replica.does("CLIENT PAUSE 100000 WRITE");
    leader.does("SET k late");
    let end = leader.number("master_repl_offset");
    until("it has come", || {
        replica.number("slave_read_repl_offset") == end
    });
    leader.does("CLIENT KILL TYPE replica");
    replica.does("CLIENT UNPAUSE");
    agree(&mut leader, &mut replica);
    assert_eq!(replica.run("GET k").text(), "late");
}

fn passwords_are_asked_for(leader: Kind, replica: Kind) {
    let mut leader = Peer::start(leader, &[]);
    leader.does("SET k v");
    leader.set("requirepass", "secret");
    leader.does("AUTH secret");
    let mut replica = Peer::start(replica, &[]);
    replica.does("SET own 1");
    replica.does(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
    replica.logs("NOAUTH");
    replica.set("masterauth", "wrong");
    replica.logs("WRONGPASS");
    assert_eq!(replica.info("master_link_status"), "down");
    // Nothing is lost before there is something better.
    assert_eq!(replica.run("GET own").text(), "1");
    replica.set("masterauth", "secret");
    replica.is_up();
    agree(&mut leader, &mut replica);
    // By name.
    leader.does("ACL SETUSER replica on >word -@all +psync +replconf +ping");
    replica.does("REPLICAOF NO ONE");
    replica.set("masteruser", "replica");
    replica.set("masterauth", "word");
    replica.follow(leader.port());
    leader.does("SET k w");
    agree(&mut leader, &mut replica);
    // Who may not ask for it gets nothing.
    leader.does("ACL SETUSER replica -psync");
    replica.does("REPLICAOF NO ONE");
    replica.does(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
    replica.logs("NOPERM");
    assert_eq!(replica.info("master_link_status"), "down");
}
