//! What clients see of a replica, and of a leader that serves one, beside the data itself.

use super::common::Reply;
use super::{Kind, Peer, QUIET, agree, pair, until};

pairs! {
    commands_of_the_leader_are_counted keys_of_its_own_end_on_a_replica_that_is_written_to
    a_transaction_shows_whom_it_has_asked_to_follow a_snapshot_that_nobody_waits_for_is_given_up
    a_file_that_was_written_for_replicas_is_removed making_room_is_left_to_the_leader
}

/// Every text in a reply.
fn all(reply: &Reply) -> String {
    match reply.items() {
        [] if reply.int().is_some() => String::new(),
        [] => reply.text(),
        items => items.iter().map(all).collect::<Vec<_>>().join(" "),
    }
}

fn commands_of_the_leader_are_counted(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    replica.does("CONFIG RESETSTAT");
    replica.set("slowlog-log-slower-than", "0");
    leader.does("SET a 1");
    leader.does("EVAL redis.call('SET','b',1)redis.call('RPUSH','c',1) 0");
    leader.does("RPUSH c 2");
    replica.catches_up(&mut leader);
    for (command, calls) in [("set", 2), ("rpush", 2), ("exec", 1)] {
        let counted = replica.info(&format!("cmdstat_{command}"));
        assert!(counted.starts_with(&format!("calls={calls},")), "{counted}");
    }
    let slow = all(&replica.run("SLOWLOG GET 20"));
    assert!(slow.to_ascii_lowercase().contains("rpush"), "{slow}");
}

/// The leader does not know of them, so it does not end them.
fn keys_of_its_own_end_on_a_replica_that_is_written_to(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &[]);
    leader.does("SET kept 1");
    replica.catches_up(&mut leader);
    replica.set("replica-read-only", "no");
    replica.does("SET own 1 PX 5");
    replica.does("SET later 1 PX 100000");
    replica.does("SET freed 1 PX 5 NX");
    replica.does("PERSIST freed");
    replica.does("SELECT 2");
    replica.does("EVAL redis.call('SET','scripted',1)redis.call('PEXPIRE','scripted',5) 0");
    until("it goes", || replica.run("DBSIZE").int() == Some(0));
    replica.does("SELECT 0");
    until("it goes", || replica.run("DBSIZE").int() == Some(3));
    assert_eq!(replica.run("EXISTS kept later freed").int(), Some(3));
    leader.does("SET own 2");
    replica.catches_up(&mut leader);
    assert_eq!(replica.run("GET own").text(), "2");
}

fn a_transaction_shows_whom_it_has_asked_to_follow(_: Kind, replica: Kind) {
    let mut peer = Peer::start(replica, &[]);
    peer.does("MULTI");
    peer.does("REPLICAOF 127.0.0.1 1");
    peer.does("INFO replication");
    peer.does("ROLE");
    peer.does("REPLICAOF NO ONE");
    peer.does("INFO replication");
    let text = all(&peer.run("EXEC"));
    for (n, part) in [
        "role:slave",
        "master_host:127.0.0.1",
        "master_link_status:down",
        "role:master",
    ]
    .iter()
    .enumerate()
    {
        assert!(text.contains(part), "{n} {part}: {text}");
    }
    assert_eq!(peer.info("role"), "master");
}

fn a_snapshot_that_nobody_waits_for_is_given_up(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = (Peer::start(leader, &[]), Peer::start(replica, &[]));
    leader.does("DEBUG POPULATE 8");
    for (diskless, save, goes_on) in [("yes", "", false), ("no", "", false), ("no", "900 1", true)]
    {
        leader.set("rdb-key-save-delay", "1000000");
        leader.set("repl-diskless-sync", diskless);
        leader.set("save", save);
        replica.does(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
        leader.tells("rdb_bgsave_in_progress", "1");
        assert!(leader.info("slave0").contains("state=wait_bgsave"));
        replica.does("REPLICAOF NO ONE");
        leader.tells("connected_slaves", "0");
        if goes_on {
            assert_eq!(leader.info("rdb_bgsave_in_progress"), "1");
        }
        leader.tells("rdb_bgsave_in_progress", "0");
    }
    assert_eq!(leader.info("rdb_last_bgsave_status"), "ok");
}

fn a_file_that_was_written_for_replicas_is_removed(leader: Kind, replica: Kind) {
    let options = ["--repl-diskless-sync", "no", "--save", ""];
    let mut leader = Peer::start(leader, &options);
    let mut replica = Peer::start(replica, &options);
    leader.does("SET a 1");
    let file = leader.server.dir.path().join("dump.rdb");
    for (remove, save, stays) in [
        ("no", "", true),
        ("yes", "3600 1", true),
        ("yes", "", false),
    ] {
        leader.set("rdb-del-sync-files", remove);
        leader.set("save", save);
        replica.follow(leader.port());
        agree(&mut leader, &mut replica);
        match stays {
            true => assert!(file.exists()),
            false => until("it is removed", || !file.exists()),
        }
        replica.does("REPLICAOF NO ONE");
        leader.does("SET a 2");
    }
}

fn making_room_is_left_to_the_leader(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &["--maxmemory-policy", "noeviction"]);
    replica.set("replica-read-only", "no");
    replica.set("maxmemory", "1");
    replica.does("SET own 1");
    leader.does("SET a 1");
    replica.catches_up(&mut leader);
    assert_eq!(replica.run("GET a").text(), "1");
    replica.set("replica-ignore-maxmemory", "no");
    assert!(replica.run("SET own 2").text().starts_with("OOM "));
}

#[test]
fn what_is_put_into_the_stream_gets_to_the_replicas_alone() {
    let (mut leader, mut replica) = pair(Kind::Redkeep, Kind::Redkeep, QUIET);
    leader.does("DEBUG REPLICATE SET a 1");
    replica.catches_up(&mut leader);
    assert_eq!(replica.run("GET a").text(), "1");
    assert_eq!(leader.run("EXISTS a").int(), Some(0));
    // What cannot be done is not passed over: the data is asked for anew.
    leader.does("DEBUG REPLICATE nosuch 1");
    leader.does("SET b 1");
    until("all is sent again", || leader.syncs() == (2, 0));
    agree(&mut leader, &mut replica);
    assert_eq!(replica.run("EXISTS a b").int(), Some(1));
    replica.logs("== CRITICAL ==");
}

/// Starts to follow and holds up the load, so that it can be looked at.
fn loads_slowly(leader: &mut Peer, replica: &mut Peer) {
    leader.does("CONFIG SET rdbcompression no");
    leader.does("DEBUG POPULATE 2000 x 1000");
    replica.set("key-load-delay", "20000");
    replica.does(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
    until("the data comes", || {
        replica.info("master_sync_read_bytes").len() > 3
    });
}

fn ends_loading(leader: &mut Peer, replica: &mut Peer) {
    replica.set("key-load-delay", "0");
    replica.is_up();
    for field in ["loading", "async_loading"] {
        assert_eq!(replica.info(field), "0");
    }
    agree(leader, replica);
}

const LOADING: &str = "LOADING ";

/// What `repl-diskless-load` says, what is there, and what is seen: the fields `loading` and `async_loading`, then whether
/// reads and REPLICAOF are refused.
#[test]
fn clients_see_of_a_load_what_they_are_to() {
    let seen = [
        ("disabled", true, ["0", "0"], [false, false]),
        ("on-empty-db", true, ["0", "0"], [false, false]),
        ("swapdb", true, ["1", "0"], [true, true]),
        ("disabled", false, ["1", "0"], [true, false]),
        ("on-empty-db", false, ["1", "0"], [true, true]),
        ("swapdb", false, ["1", "0"], [true, true]),
    ];
    let mut leader = Peer::start(Kind::Redkeep, &[]);
    for (how, has_data, fields, refused) in seen {
        let mut replica = Peer::start(Kind::Redkeep, &["--repl-diskless-load", how]);
        if has_data {
            replica.does("SET own 1");
        }
        loads_slowly(&mut leader, &mut replica);
        let is = ["loading", "async_loading"].map(|field| replica.info(field));
        assert_eq!(is, fields, "{how} {has_data}");
        let read = replica.run("GET own").text().starts_with(LOADING);
        let moved = replica.run("REPLICAOF 127.0.0.1 1").text();
        let is = [read, moved.starts_with(LOADING)];
        assert_eq!(is, refused, "{how} {has_data}");
        if !refused[1] {
            replica.tells("loading", "0");
            replica.does(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
        }
        ends_loading(&mut leader, &mut replica);
    }
}

#[test]
fn old_data_of_the_same_history_is_seen_while_the_new_is_loaded() {
    let options = ["--repl-diskless-load", "swapdb"];
    let (mut leader, mut replica) = pair(Kind::Redkeep, Kind::Redkeep, &options);
    leader.does("SET a old");
    replica.catches_up(&mut leader);
    replica.does("REPLICAOF 127.0.0.1 1");
    leader.set("repl-backlog-size", "16384");
    for _ in 0..9 {
        leader.call(&["SET", "a", &"x".repeat(50_000)]);
    }
    leader.does("SET a new");
    loads_slowly(&mut leader, &mut replica);
    assert_eq!(replica.info("loading"), "0");
    assert_eq!(replica.info("async_loading"), "1");
    assert_eq!(replica.run("GET a").text(), "old");
    for refused in ["REPLICAOF NO ONE", "SAVE", "CONFIG SET appendonly yes"] {
        let reply = replica.run(refused);
        assert!(reply.text().starts_with(LOADING), "{refused}: {reply:?}");
    }
    // What was there is still there when the link is lost within.
    leader.set("rdb-key-save-delay", "1000000");
    assert_eq!(leader.run("CLIENT KILL TYPE replica").int(), Some(1));
    replica.set("key-load-delay", "0");
    replica.tells("async_loading", "0");
    replica.logs("Internal error in RDB");
    assert_eq!(replica.run("GET a").text(), "old");
    leader.set("rdb-key-save-delay", "0");
    ends_loading(&mut leader, &mut replica);
    assert_eq!(replica.run("GET a"), Reply::bulk("new"));
}
