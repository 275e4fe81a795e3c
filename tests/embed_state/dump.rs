//! Dumps: stable, readable, exact; and looking that leaves no trace.

use super::{EVERYTHING, run, server, still};
use redkeep::Value;
use redkeep::embed::{Database, Dump, DumpOptions, Ttl};
use std::path::Path;
use std::time::Duration;

/// Compares with a file, or writes it where `UPDATE` is set.
fn golden(name: &str, text: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/embed_state").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let changes = redkeep::embed::diff(&expected, text);
    assert!(expected == text, "{name} (UPDATE=1 writes it):\n{changes}");
}

#[test]
fn a_dump_shows_everything_in_an_order_that_stays() {
    let (node, mut client, clock) = still();
    run(&mut client, EVERYTHING);
    run(&mut client, "HPEXPIRE user:1 500 FIELDS 1 age");
    client
        .call([&b"SET"[..], b"\x00bin\"ary\n\xff", b"\\\t\x07\x08\r\x7f"])
        .unwrap();
    let library = "#!lua name=lib\nredis.register_function('g', function() end)\nredis.register_function('f', function() end)";
    client.call(["FUNCTION", "LOAD", library]).unwrap();
    clock.advance_ms(450);
    run(&mut client, "XREADGROUP GROUP mail w2 STREAMS events 0");
    clock.advance_ms(50);
    let dump = Dump::of(&node, &DumpOptions::default()).unwrap();
    golden("everything.txt", dump.as_str());
    // The same data, put there in another order and in other encodings.
    let (other, mut client, _) = still();
    for name in [
        "hash-max-listpack-entries",
        "zset-max-listpack-entries",
        "set-max-intset-entries",
    ] {
        client.call(["CONFIG", "SET", name, "0"]).unwrap();
    }
    run(
        &mut client,
        "SADD ints 2 3 1\nSADD words a b\nHSET user:1 age 36 name Ada",
    );
    let options = DumpOptions::default().keys("[iuw]*").without_times();
    let (was, is) = (
        Dump::of(&node, &options).unwrap(),
        Dump::of(&other, &options).unwrap(),
    );
    let changes = is.since(&was).to_string();
    assert_eq!(
        changes,
        "  db 0 \"user:1\" hash\n-   \"age\" \"36\" expires\n+   \"age\" \"36\"\n"
    );
}

#[test]
fn what_is_over_is_not_there_and_nothing_expires_by_looking() {
    let (node, mut client, clock) = still();
    let db = Database::new(&node, 0);
    // What is over stays until somebody comes upon it.
    node.lock().unwrap().state().ks.active_expire = false;
    run(
        &mut client,
        "SET k v PX 1000\nSET stays v\nHSET h a 1 b 2\nHPEXPIRE h 1000 FIELDS 1 a",
    );
    assert_eq!(db.ttl("k").unwrap(), Ttl::Left(Duration::from_millis(1000)));
    assert_eq!(
        db.field_ttl("h", "a").unwrap(),
        Ttl::Left(Duration::from_millis(1000))
    );
    assert_eq!(db.field_ttl("h", "b").unwrap(), Ttl::Forever);
    clock.advance_ms(1001);
    assert_eq!(db.ttl("k").unwrap(), Ttl::Missing);
    assert_eq!(db.field_ttl("h", "a").unwrap(), Ttl::Missing);
    assert_eq!(db.get("k").unwrap(), None);
    assert_eq!(db.type_of("k").unwrap(), None);
    assert_eq!(db.keys("*").unwrap(), [b"h".to_vec(), b"stays".to_vec()]);
    assert_eq!(db.hash("h").unwrap().len(), 1);
    let dump = Dump::of(&node, &DumpOptions::default()).unwrap();
    assert_eq!(
        dump.as_str(),
        "db 0\n  \"h\" hash\n    \"b\" \"2\"\n  \"stays\" string \"v\"\n"
    );
    let mut engine = node.lock().unwrap();
    let ks = &engine.state().ks;
    assert_eq!((ks.expired_total, ks.read_stats()), (0, (0, 0)));
    assert_eq!(ks.db(0).unwrap().len(), 3, "k is still stored");
}

#[test]
fn looking_counts_as_no_access() {
    let (node, mut client, clock) = still();
    run(&mut client, "SET k v\nRPUSH l a");
    clock.advance_ms(20_000);
    let db = Database::new(&node, 0);
    db.get("k").unwrap();
    db.list("l").unwrap();
    db.assert_string("k", "v");
    Dump::of(&node, &DumpOptions::default()).unwrap();
    redkeep::embed::Snapshot::of(&node).unwrap();
    for key in ["k", "l"] {
        let idle = client.call(["OBJECT", "IDLETIME", key]).unwrap();
        assert_eq!(idle, Value::Int(20), "{key}");
    }
}

#[test]
fn values_come_as_what_they_are() {
    let (server, mut client) = server();
    run(&mut client, EVERYTHING);
    assert_eq!(server.get("number").unwrap().unwrap(), b"42");
    assert_eq!(server.list("queue").unwrap(), [b"a", b"b", b"c"]);
    let ints: Vec<_> = server.set("ints").unwrap().into_iter().collect();
    assert_eq!(ints, [b"1", b"2", b"3"]);
    let ranks = server.zset("ranks").unwrap();
    assert_eq!(ranks[0], (b"nobody".to_vec(), f64::NEG_INFINITY));
    let events = server.stream("events").unwrap().unwrap();
    assert_eq!((events.last_id.as_str(), events.added), ("2-1", 3));
    assert_eq!(events.max_deleted_id.as_deref(), Some("0-5"));
    assert_eq!(events.group("mail").unwrap().consumers.len(), 2);
    assert!(events.group("nobody").is_none());
    assert_eq!(server.list("nothing").unwrap(), Vec::<Vec<u8>>::new());
    let wrong = server.get("queue").unwrap_err().to_string();
    assert_eq!(wrong, "\"queue\" holds a list, not a string");
    assert_eq!(server.keys("e*").unwrap(), [b"events"]);
}

#[test]
fn what_is_large_is_shortened_only_if_that_is_asked_for() {
    let (server, mut client) = server();
    let long = "x".repeat(10_000);
    client.call(["SET", "long", &long]).unwrap();
    for n in 0..2000 {
        client.call(["RPUSH", "many", &n.to_string()]).unwrap();
    }
    let whole = server.dump().unwrap();
    assert!(whole.as_str().contains(&long) && whole.as_str().lines().count() == 2003);
    let short = server.dump_as(&DumpOptions::default().shorten(2)).unwrap();
    assert_eq!(
        short.as_str(),
        "db 0\n  \"long\" string \"xx\"... 10000 bytes\n  \"many\" list\n    \"0\"\n    \"1\"\n    ... 1998 more\n"
    );
}

#[test]
fn a_server_that_has_stopped_says_so() {
    let (server, mut client) = server();
    drop(client.call(["SHUTDOWN", "NOSAVE"]));
    let gone = server.dump().unwrap_err().to_string();
    assert_eq!(gone, "the server has stopped");
}
