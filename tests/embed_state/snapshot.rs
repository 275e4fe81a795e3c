//! Snapshots: whole, put back at once, for clients, replicas, logs and a real Redis alike.

use super::{EVERYTHING, run, server};
use crate::common::{self, Reply};
use redkeep::embed::{Message, Snapshot, StateError};
use redkeep::engine::NotRestored;
use redkeep::{Server, Value};
use std::time::Duration;

const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";

#[test]
fn a_snapshot_holds_everything_and_comes_back_whole() {
    let (server, mut client) = server();
    run(&mut client, EVERYTHING);
    run(&mut client, "HPEXPIRE user:1 50000 FIELDS 1 age");
    client.call(["FUNCTION", "LOAD", LIBRARY]).unwrap();
    let (before, snapshot) = (server.dump().unwrap(), server.snapshot().unwrap());
    run(
        &mut client,
        "FLUSHALL\nFUNCTION FLUSH\nSET new x\nSELECT 3\nSET other x\nSELECT 0",
    );
    server.restore(&snapshot).unwrap();
    let timeless = redkeep::embed::DumpOptions::default().without_times();
    let is = server.dump_as(&timeless).unwrap();
    let (other, _) = super::server();
    other
        .restore(&Snapshot::from_bytes(snapshot.as_bytes()))
        .unwrap();
    other.assert_dump(is.as_str(), &timeless);
    // But for what time has passed, nothing was lost.
    let lines = |text: &str| text.lines().count();
    assert_eq!(lines(is.as_str()), lines(before.as_str()));
    server.assert_ttl("session", Duration::from_secs(20)..=Duration::from_secs(30));
    server.assert_field_ttl(
        "user:1",
        "age",
        Duration::from_secs(40)..=Duration::from_secs(50),
    );
    server.assert_pending_with("events", "mail", "w2", ["2-1"]);
    server.db(5).assert_string("elsewhere", "x");
    assert_eq!(client.call(["FCALL", "f", "0"]).unwrap(), Value::Int(7));
    assert_eq!(run(&mut client, "GET name"), [Value::Bulk(b"Ada".to_vec())]);
}

#[test]
fn nobody_who_saves_at_the_same_time_is_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::builder().config("dir", &dir.path().display().to_string());
    // A save that lasts until it is told otherwise.
    let server = server
        .config("rdb-key-save-delay", "10000000")
        .start()
        .unwrap();
    let mut client = server.client().unwrap();
    run(&mut client, "SET a 1\nSET b 2\nBGSAVE");
    let snapshot = server.snapshot().unwrap();
    run(&mut client, "SET b 3\nCONFIG SET rdb-key-save-delay 0");
    server.assert_string("b", "3");
    server.restore(&snapshot).unwrap();
    server.assert_string("b", "2");
}

#[test]
fn what_was_watched_has_changed_and_who_waits_is_served() {
    let (server, mut client) = server();
    run(&mut client, "RPUSH jobs mail\nSET k 1");
    let snapshot = server.snapshot().unwrap();
    run(&mut client, "DEL jobs\nWATCH k\nMULTI\nGET k");
    let recorder = server.recorder().unwrap();
    let mut worker = server.client().unwrap();
    let worker = std::thread::spawn(move || worker.call(["BLPOP", "jobs", "0"]).unwrap());
    recorder
        .wait_for(|c| c.is("BLPOP"), Duration::from_secs(10))
        .unwrap();
    let mut tracker = server.client().unwrap();
    run(&mut tracker, "HELLO 3\nCLIENT TRACKING ON\nGET k");
    server.restore(&snapshot).unwrap();
    assert_eq!(
        client.call(["EXEC"]).unwrap(),
        Value::NullArray,
        "k was watched"
    );
    let served = worker.join().unwrap().to_string();
    assert!(
        served.contains("jobs") && served.contains("mail"),
        "{served}"
    );
    server.assert_missing("jobs");
    let told = tracker.next_message(Some(Duration::from_secs(10))).unwrap();
    let invalid = Value::Push(vec![Value::Bulk(b"invalidate".to_vec()), Value::Null]);
    assert_eq!(told, Some(Message::Other(invalid)));
}

#[test]
fn a_replica_gets_all_of_it_anew_and_cannot_be_restored_itself() {
    let leader = Server::builder()
        .config("repl-diskless-sync-delay", "0")
        .start()
        .unwrap();
    let port = leader.port().to_string();
    let mut client = leader.client().unwrap();
    run(&mut client, "SET old 1\nRPUSH jobs a b");
    let snapshot = leader.snapshot().unwrap();
    let replica = Server::builder().config("replicaof", &format!("127.0.0.1 {port}"));
    let replica = replica.start().unwrap();
    let synced = |client: &mut redkeep::Client, key: &str| {
        run(client, &format!("SET {key} x"));
        // The answer is how many replicas have it: as soon as the one does.
        while client.call(["WAIT", "1", "20000"]).unwrap() != Value::Int(1) {}
    };
    synced(&mut client, "one");
    run(&mut client, "DEL jobs");
    let recorder = leader.recorder().unwrap();
    let mut worker = leader.client().unwrap();
    let worker = std::thread::spawn(move || worker.call(["BLPOP", "jobs", "0"]).unwrap());
    recorder
        .wait_for(|c| c.is("BLPOP"), Duration::from_secs(10))
        .unwrap();
    leader.restore(&snapshot).unwrap();
    worker.join().unwrap();
    synced(&mut client, "two");
    leader.assert_keys(["jobs", "old", "two"]);
    leader.assert_list("jobs", ["b"]);
    assert_eq!(replica.dump().unwrap(), leader.dump().unwrap());
    let refused = replica.restore(&snapshot);
    assert!(
        matches!(refused, Err(StateError::NotRestored(NotRestored::Replica))),
        "{refused:?}"
    );
    assert_eq!(replica.dump().unwrap(), leader.dump().unwrap());
}

#[test]
fn an_append_only_log_holds_what_was_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let server = Server::builder().config("dir", &dir.path().display().to_string());
        server.config("appendonly", "yes").start().unwrap()
    };
    let expected = {
        let server = start();
        let mut client = server.client().unwrap();
        run(&mut client, "SET k 1\nRPUSH jobs a b");
        let snapshot = server.snapshot().unwrap();
        run(&mut client, "SET k 2\nSET gone x\nDEL jobs");
        let recorder = server.recorder().unwrap();
        let mut worker = server.client().unwrap();
        let worker = std::thread::spawn(move || worker.call(["BLPOP", "jobs", "0"]).unwrap());
        recorder
            .wait_for(|c| c.is("BLPOP"), Duration::from_secs(10))
            .unwrap();
        server.restore(&snapshot).unwrap();
        worker.join().unwrap();
        run(&mut client, "SET behind x");
        server.assert_list("jobs", ["b"]);
        let dump = server.dump().unwrap();
        server.shutdown();
        dump
    };
    let server = start();
    assert_eq!(server.dump().unwrap(), expected);
    server.assert_keys(["behind", "jobs", "k"]);
}

#[test]
fn what_is_damaged_changes_nothing() {
    let (server, mut client) = server();
    run(&mut client, EVERYTHING);
    let (whole, options) = (
        server.snapshot().unwrap(),
        redkeep::embed::DumpOptions::default(),
    );
    let options = options.without_times();
    let before = server.dump_as(&options).unwrap();
    let whole = whole.as_bytes();
    for length in [0, 5, 9, whole.len() / 2, whole.len() - 1] {
        let part = Snapshot::from_bytes(&whole[..length]);
        let refused = server.restore(&part);
        assert!(
            matches!(refused, Err(StateError::Truncated)),
            "{length}: {refused:?}"
        );
    }
    for at in [0, 7, whole.len() / 2, whole.len() - 12] {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x55;
        let refused = server.restore(&Snapshot::from_bytes(bytes));
        assert!(refused.is_err(), "{at}");
    }
    server.assert_dump(before.as_str(), &options);
    let few = Server::builder().config("databases", "2").start().unwrap();
    let refused = few.restore(&Snapshot::from_bytes(whole));
    assert!(
        matches!(refused, Err(StateError::Damaged(_))),
        "it has a database 5: {refused:?}"
    );
    assert!(matches!(
        few.db(2).keys("*"),
        Err(StateError::NoDatabase(2))
    ));
}

#[test]
fn functions_that_cannot_be_loaded_leave_everything_as_it_is() {
    let (server, mut client) = server();
    run(&mut client, "SET k 1");
    client.call(["FUNCTION", "LOAD", LIBRARY]).unwrap();
    let good = server.snapshot().unwrap();
    let mut bytes = good.as_bytes().to_vec();
    let at = bytes.windows(8).position(|w| w == b"function").unwrap();
    bytes[at..at + 8].copy_from_slice(b"functiom");
    // The checksum at the end is not looked at where it is 0.
    let end = bytes.len() - 8;
    bytes[end..].fill(0);
    let refused = server.restore(&Snapshot::from_bytes(bytes));
    assert!(
        matches!(
            refused,
            Err(StateError::NotRestored(NotRestored::Unusable(_)))
        ),
        "{refused:?}"
    );
    assert_eq!(client.call(["FCALL", "f", "0"]).unwrap(), Value::Int(7));
    server.assert_string("k", "1");
}

#[test]
fn while_a_script_is_busy_nobody_is_kept_waiting() {
    let server = Server::builder()
        .config("busy-reply-threshold", "1")
        .start()
        .unwrap();
    let snapshot = server.snapshot().unwrap();
    let mut client = server.client().unwrap();
    let script = std::thread::spawn(move || client.call(["EVAL", "while true do end", "0"]));
    loop {
        match server.snapshot() {
            Ok(_) => std::thread::yield_now(),
            Err(StateError::Busy) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(matches!(server.restore(&snapshot), Err(StateError::Busy)));
    assert!(matches!(server.get("k"), Err(StateError::Busy)));
    server.client().unwrap().call(["SCRIPT", "KILL"]).unwrap();
    script.join().unwrap().unwrap();
    server.restore(&snapshot).unwrap();
}

#[test]
fn a_real_redis_loads_a_snapshot_and_its_file_is_one() {
    let Some(mut redis) = common::Server::redis(&["--save", "", "--enable-debug-command", "yes"])
    else {
        return;
    };
    let (server, mut client) = server();
    run(&mut client, EVERYTHING);
    client.call(["FUNCTION", "LOAD", LIBRARY]).unwrap();
    let snapshot = server.snapshot().unwrap();
    snapshot.save(redis.dir.path().join("dump.rdb")).unwrap();
    let mut theirs = redis.client();
    let reply = theirs.run("DEBUG RELOAD NOSAVE");
    assert_eq!(reply, Reply::ok(), "{}", redis.log());
    assert_eq!(theirs.run("GET name"), Reply::bulk("Ada"));
    assert_eq!(theirs.run("XPENDING events mail - + 9 w2").items().len(), 1);
    assert_eq!(theirs.run("FCALL f 0"), Reply::Int(7));
    assert_eq!(theirs.run("SET theirs x"), Reply::ok());
    assert_eq!(theirs.run("SAVE"), Reply::ok());
    let back = Snapshot::load(redis.dir.path().join("dump.rdb")).unwrap();
    server.restore(&back).unwrap();
    server.assert_string("theirs", "x");
    run(&mut client, "DEL theirs");
    // What 7.0 does not know of consumers, it does not give back: when they were last active.
    let timeless = redkeep::embed::DumpOptions::default().without_times();
    let is = server.dump_as(&timeless).unwrap();
    server.restore(&snapshot).unwrap();
    server.assert_dump(is.as_str(), &timeless);
    redis.kill();
}
