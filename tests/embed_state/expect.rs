//! Assertions: what they accept, and what they say.

use super::{EVERYTHING, run, server};
use redkeep::Server;
use redkeep::embed::DumpOptions;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

thread_local! {
    static WHERE: RefCell<String> = const { RefCell::new(String::new()) };
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// What an assertion that must not hold says, and that it says where it was called from.
fn message(server: &Server, assert: impl FnOnce(&Server)) -> String {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let file = info.location().map(|at| at.file().to_owned());
            WHERE.set(file.unwrap_or_default());
            if !EXPECTED.get() {
                usual(info);
            }
        }));
    });
    EXPECTED.set(true);
    let panicked = catch_unwind(AssertUnwindSafe(|| assert(server)));
    EXPECTED.set(false);
    let panicked = panicked.expect_err("it must not hold");
    assert_eq!(WHERE.take(), file!(), "the caller is named");
    *panicked.downcast::<String>().expect("a text")
}

#[test]
fn what_holds_is_accepted() {
    let (server, mut client) = server();
    run(&mut client, EVERYTHING);
    run(&mut client, "HEXPIRE user:1 100 FIELDS 1 age");
    let (none, minute) = (Duration::ZERO, Duration::from_secs(60));
    server.assert_string("name", "Ada");
    server.assert_string(b"number", 42.to_string());
    server.assert_missing("nothing");
    server.assert_exists("queue");
    server.assert_type("ranks", "zset");
    server.assert_ttl("session", none..=minute);
    server.assert_ttl("session", none..minute);
    server.assert_ttl("session", ..minute);
    server.assert_no_ttl("name");
    server.assert_field_ttl("user:1", "age", minute..);
    server.assert_list("queue", ["a", "b", "c"]);
    server.assert_hash("user:1", [("name", "Ada"), ("age", "36")]);
    server.assert_set("ints", ["3", "2", "1"]);
    server.assert_set("nothing", [""; 0]);
    server.assert_zset(
        "ranks",
        [("ada", 1.5), ("nobody", f64::NEG_INFINITY), ("bob", 2.0)],
    );
    server.assert_stream_len("events", 2);
    server.assert_group_lag("events", "mail", 0);
    server.assert_pending("events", "mail", 2);
    server.assert_pending_with("events", "mail", "w1", ["1-1"]);
    server.assert_pending_with("events", "mail", "nobody", [""; 0]);
    server.db(5).assert_keys(["elsewhere"]);
    let options = DumpOptions::default().keys("q*");
    server.assert_dump(
        "db 0\n  \"queue\" list\n    \"a\"\n    \"b\"\n    \"c\"",
        &options,
    );
}

#[test]
fn what_does_not_hold_shows_what_is_there_and_what_is_like_it() {
    let (server, mut client) = server();
    run(&mut client, EVERYTHING);
    run(&mut client, "RPUSH queue:1 x\nSET quote y");
    let said = |assert: fn(&Server)| message(&server, assert);
    assert_eq!(
        said(|s| s.assert_string("queue", "x")),
        "key \"queue\" in db 0\n  expected: the string \"x\"\n     found: \"queue\" list\n              \"a\"\n              \
         \"b\"\n              \"c\"\n  which is: \"queue\" holds a list, not a string\n   similar: [\"queue:1\", \"quote\"]"
    );
    assert_eq!(
        said(|s| s.assert_exists("Quete")),
        "key \"Quete\" in db 0\n  expected: a key\n     found: no such key\n   similar: [\"queue\", \"quote\"]"
    );
    assert_eq!(
        said(|s| s.assert_list("queue", ["a"]))
            .lines()
            .nth(1)
            .unwrap(),
        "  expected: the list [\"a\"]"
    );
    assert_eq!(
        said(|s| s.assert_hash("user:1", [("a", "b")]))
            .lines()
            .nth(1)
            .unwrap(),
        "  expected: the hash {\"a\": \"b\"}"
    );
    assert_eq!(
        said(|s| s.assert_ttl("name", Duration::from_secs(29)..=Duration::from_secs(30))),
        "key \"name\" in db 0\n  expected: a key with a TTL in 29s..=30s\n     found: \"name\" string \"Ada\""
    );
    let pending = said(|s| s.assert_pending("events", "mail", 1));
    assert!(
        pending.contains("a stream whose group \"mail\" has 1 pending entries"),
        "{pending}"
    );
    assert!(
        pending.contains("pending 2-1 consumer \"w2\" deliveries 1"),
        "{pending}"
    );
    let keys = said(|s| s.db(5).assert_keys(["x"]));
    assert_eq!(
        keys,
        "db 5 lacks the keys [\"x\"] and has [\"elsewhere\"] beside"
    );
    let dump = said(|s| {
        s.assert_dump(
            "db 5\n  \"gone\" set\n",
            &DumpOptions::default().keys("else*"),
        )
    });
    let start = "the dump is not what was expected (DumpOptions { timeless: false, most: None, pattern: Some";
    assert!(dump.starts_with(start), "{dump}");
    assert!(
        dump.contains("\n- db 5 \"gone\" set\n+ db 5 \"elsewhere\" string \"x\"\n"),
        "{dump}"
    );
}

#[test]
fn every_assertion_can_fail() {
    let (server, mut client) = server();
    run(&mut client, EVERYTHING);
    let never = Duration::from_secs(900)..Duration::from_secs(901);
    let range = never.clone();
    type Claim = Box<dyn FnOnce(&Server)>;
    let all: Vec<Claim> = vec![
        Box::new(|s| s.assert_string("name", "Bob")),
        Box::new(|s| s.assert_missing("name")),
        Box::new(|s| s.assert_exists("nothing")),
        Box::new(|s| s.assert_type("name", "list")),
        Box::new(|s| s.assert_ttl("session", never)),
        Box::new(|s| s.assert_no_ttl("session")),
        Box::new(|s| s.assert_field_ttl("user:1", "age", range)),
        Box::new(|s| s.assert_list("queue", ["c", "b", "a"])),
        Box::new(|s| s.assert_hash("user:1", [("name", "Ada")])),
        Box::new(|s| s.assert_set("ints", ["1", "2"])),
        Box::new(|s| s.assert_zset("ranks", [("ada", 1.0)])),
        Box::new(|s| s.assert_stream_len("events", 3)),
        Box::new(|s| s.assert_stream_len("nothing", 0)),
        Box::new(|s| s.assert_group_lag("events", "mail", 1)),
        Box::new(|s| s.assert_group_lag("events", "nobody", 0)),
        Box::new(|s| s.assert_pending("events", "mail", 0)),
        Box::new(|s| s.assert_pending_with("events", "mail", "w1", ["2-1"])),
        Box::new(|s| s.assert_keys(["name"])),
        Box::new(|s| s.db(99).assert_exists("name")),
    ];
    for (n, assert) in all.into_iter().enumerate() {
        assert!(!message(&server, assert).is_empty(), "{n}");
    }
}
