//! Faults of commands.

use super::{Got, Reply, is_silent, ok, plain, said, send, server, socket};
use redkeep::embed::CallError;
use redkeep::faults::{Fault, FaultError};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const LOADING: &str = "LOADING Redis is loading the dataset in memory";

#[test]
fn errors_have_the_words_of_redis_and_count_as_its_do() {
    let (server, mut client) = server();
    let faults = server.faults();
    for (word, text) in [
        ("LOADING", LOADING),
        (
            "READONLY",
            "READONLY You can't write against a read only replica.",
        ),
        (
            "OOM",
            "OOM command not allowed when used memory > 'maxmemory'.",
        ),
        ("MISCONF", "MISCONF Redis is configured to save RDB"),
        ("BANANA peel", "BANANA peel"),
    ] {
        let id = faults.add(Fault::command("set").fail(word).once()).unwrap();
        let error = said(&mut client, "SET k v");
        assert!(error.contains(text), "{error}");
        assert_eq!(said(&mut client, "SET k v"), "OK");
        assert_eq!(faults.hits(id), 1);
        let code = text.split(' ').next().unwrap();
        let counted = said(&mut client, "INFO errorstats");
        assert!(
            counted.contains(&format!("errorstat_{code}:count=1")),
            "{counted}"
        );
    }
    let counted = said(&mut client, "INFO commandstats");
    assert!(counted.contains("cmdstat_set:calls=5,"), "{counted}");
    assert!(counted.contains("rejected_calls=5,"), "{counted}");
}

#[test]
fn a_rule_strikes_what_it_names_and_nothing_else() {
    let (server, mut client) = server();
    let faults = server.faults();
    said(&mut client, "CLIENT SETNAME worker-1");
    let mut other = server.client().unwrap();
    let fails = |client: &mut redkeep::Client, line: &str| said(client, line).contains("ERR no");
    let no = "ERR no";

    faults
        .add(Fault::command("SET").key("lock:*").fail(no))
        .unwrap();
    assert!(fails(&mut client, "SET lock:a 1") && !fails(&mut client, "SET a 1"));
    assert!(!fails(&mut client, "GET lock:a"));
    faults.clear();

    faults.add(Fault::category("read").fail(no)).unwrap();
    assert!(fails(&mut client, "GET a") && !fails(&mut client, "SET a 1"));
    faults.clear();

    faults
        .add(Fault::command("XGROUP|CREATE").fail(no))
        .unwrap();
    assert!(fails(&mut client, "XGROUP CREATE s g $ MKSTREAM"));
    assert!(!fails(&mut client, "XGROUP HELP"));
    faults.clear();
    faults.add(Fault::command("xgroup").fail(no)).unwrap();
    assert!(fails(&mut client, "XGROUP HELP"));
    faults.clear();

    faults
        .add(Fault::any_command().client_name("worker-*").fail(no))
        .unwrap();
    assert!(fails(&mut client, "PING") && !fails(&mut other, "PING"));
    faults.clear();

    let id = said(&mut other, "CLIENT ID").parse().unwrap();
    faults
        .add(Fault::any_command().client_id(id).fail(no))
        .unwrap();
    assert!(!fails(&mut client, "PING") && fails(&mut other, "PING"));
    faults.clear();

    faults
        .add(Fault::any_command().addr("in-process:*").fail(no))
        .unwrap();
    faults
        .add(Fault::any_command().user("joe").fail("ERR joe"))
        .unwrap();
    assert!(fails(&mut client, "PING"));
    faults.clear();

    // What would be refused anyway is refused, and met by no rule.
    faults.add(Fault::any_command().fail(no)).unwrap();
    assert!(said(&mut client, "SET a").contains("wrong number of arguments"));
    assert!(said(&mut client, "NOSUCH").contains("unknown command"));
    assert_eq!(faults.list()[0].met, 0);
}

#[test]
fn rules_strike_as_often_as_they_say_and_the_same_at_every_run() {
    let (server, mut client) = server();
    let faults = server.faults();
    let run = |client: &mut redkeep::Client, fault: Fault| -> String {
        let id = faults.add(fault).unwrap();
        let hits = (0..40).map(|_| match said(client, "PING") == "PONG" {
            true => '.',
            false => 'x',
        });
        let hits: String = hits.collect();
        let listed = &faults.list()[0];
        assert_eq!((listed.met, listed.id), (40, id));
        assert_eq!(listed.hits as usize, hits.matches('x').count());
        assert!(faults.remove(id) && !faults.remove(id));
        hits
    };
    let ping = || Fault::command("ping").fail("ERR no");
    assert_eq!(run(&mut client, ping()), "x".repeat(40));
    let twice_late = format!("...xx{}", ".".repeat(35));
    assert_eq!(run(&mut client, ping().skip(3).times(2)), twice_late);
    assert_eq!(run(&mut client, ping().times(0)), ".".repeat(40));
    assert_eq!(run(&mut client, ping().chance(0.0, 1)), ".".repeat(40));
    assert_eq!(run(&mut client, ping().chance(1.0, 1)), "x".repeat(40));
    let seven = run(&mut client, ping().chance(0.5, 7));
    assert_eq!(run(&mut client, ping().chance(0.5, 7)), seven);
    assert_ne!(run(&mut client, ping().chance(0.5, 8)), seven);
    assert!((8..32).contains(&seven.matches('x').count()), "{seven}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (server, _client) = server();
    let faults = server.faults();
    let unknown = FaultError::UnknownCommand("NOSUCH".into());
    assert_eq!(faults.add(Fault::command("NOSUCH").fail("X")), Err(unknown));
    let unknown = FaultError::UnknownCategory("nosuch".into());
    assert_eq!(
        faults.add(Fault::category("nosuch").fail("X")),
        Err(unknown)
    );
    for text in ["", "two\r\nlines", &"x".repeat(2000)] {
        assert_eq!(
            faults.add(Fault::any_command().fail(text)),
            Err(FaultError::Text)
        );
    }
    let chance = Fault::any_command().fail("X").chance(f64::NAN, 1);
    assert_eq!(faults.add(chance), Err(FaultError::Chance));
    let long = Fault::command("get").key("x".repeat(2000)).fail("X");
    assert_eq!(faults.add(long), Err(FaultError::Pattern));
    for _ in 0..1000 {
        faults.add(Fault::command("get").fail("X")).unwrap();
    }
    assert_eq!(
        faults.add(Fault::command("get").fail("X")),
        Err(FaultError::TooMany)
    );
    faults.clear();
    assert!(faults.list().is_empty());
}

#[test]
fn transactions_and_scripts_meet_rules_as_they_meet_refusals() {
    let (server, mut client) = server();
    let faults = server.faults();
    let set = faults
        .add(Fault::command("set").fail("OOM").times(1))
        .unwrap();
    assert_eq!(said(&mut client, "MULTI"), "OK");
    assert!(said(&mut client, "SET k 1").contains("OOM"));
    assert!(said(&mut client, "EXEC").contains("EXECABORT"));
    assert_eq!(faults.hits(set), 1);
    // What was queued is not struck again.
    said(&mut client, "MULTI");
    assert_eq!(said(&mut client, "SET k 1"), "QUEUED");
    faults
        .add(Fault::command("set").fail("LOADING").times(1))
        .unwrap();
    let done = said(&mut client, "EXEC");
    assert!(done.contains("OK"), "{done}");

    let script = "return redis.pcall('SET', 'k', '2').err";
    let error = client.call(["EVAL", script, "1", "k"]).unwrap();
    assert_eq!(plain(error), LOADING);
    // A script is answered late or not at all; what it calls is not.
    let delay = faults
        .add(Fault::command("get").delay(Duration::from_secs(60)))
        .unwrap();
    let script = "return redis.call('GET', 'k')";
    let value = client.call(["EVAL", script, "1", "k"]).unwrap();
    assert_eq!((plain(value).as_str(), faults.hits(delay)), ("1", 0));
    faults.clear();

    faults
        .add(Fault::command("exec").drop_after().once())
        .unwrap();
    said(&mut client, "MULTI");
    said(&mut client, "SET k 3");
    assert_eq!(client.call(["EXEC"]), Err(CallError::Closed));
    let mut client = server.client().unwrap();
    assert_eq!(said(&mut client, "GET k"), "3");
    faults
        .add(Fault::command("eval").drop_after().once())
        .unwrap();
    let script = "return redis.call('SET', 'k', '4')";
    let lost = client.call(["EVAL", script, "1", "k"]);
    assert_eq!(lost, Err(CallError::Closed));
    assert_eq!(said(&mut server.client().unwrap(), "GET k"), "4");
}

#[test]
fn a_reply_is_late_and_nobody_else_is_held_up() {
    let (server, mut client) = server();
    let faults = server.faults();
    let (mut slow, mut quick) = (socket(&server), socket(&server));
    faults
        .add(Fault::command("incr").delay(Duration::from_millis(150)))
        .unwrap();
    let began = Instant::now();
    send(&mut slow, "INCR n");
    send(&mut slow, "PING");
    // It has run: only its reply is late.
    while said(&mut client, "GET n") != "1" {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    send(&mut quick, "GET n");
    assert_eq!(
        super::got(&mut quick),
        Got::Reply(Reply::Bulk(b"1".to_vec()))
    );
    assert!(began.elapsed() < Duration::from_millis(150), "somebody was");
    assert_eq!(super::got(&mut slow), Got::Reply(Reply::Int(1)));
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert_eq!(
        super::got(&mut slow),
        Got::Reply(Reply::Simple(b"PONG".to_vec()))
    );
    let began = Instant::now();
    assert_eq!(said(&mut client, "INCR n"), "2");
    assert!(began.elapsed() >= Duration::from_millis(150));
    // Errors can be late as well, and delays add up.
    faults
        .add(Fault::command("incr").delay(Duration::from_millis(20)))
        .unwrap();
    faults
        .add(Fault::command("incr").fail("LOADING").once())
        .unwrap();
    let began = Instant::now();
    assert!(said(&mut client, "INCR n").contains("LOADING"));
    assert!(began.elapsed() >= Duration::from_millis(170));
}

#[test]
fn a_late_reply_comes_when_the_clock_of_the_server_says_so() {
    let server = redkeep::Server::builder().manual_clock().start().unwrap();
    let mut client = server.client().unwrap();
    let hour = Duration::from_secs(3600);
    server
        .faults()
        .add(Fault::command("incr").delay(hour))
        .unwrap();
    let mut slow = socket(&server);
    send(&mut slow, "INCR n");
    let began = Instant::now();
    while said(&mut client, "GET n") != "1" {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    server.clock().advance(hour - Duration::from_millis(1));
    assert!(is_silent(&mut slow));
    server.clock().advance(Duration::from_millis(1));
    assert_eq!(super::got(&mut slow), Got::Reply(Reply::Int(1)));
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_lock_is_taken_and_its_holder_does_not_know() {
    let (server, mut client) = server();
    let taken = Fault::command("SET").key("lock").drop_after().once();
    server.faults().add(taken).unwrap();
    let library = redis::Client::open(server.url()).unwrap();
    let mut connection = library.get_connection().unwrap();
    let mut take = |token: &str| -> redis::RedisResult<Option<String>> {
        redis::cmd("SET")
            .arg("lock")
            .arg(token)
            .arg("NX")
            .arg("PX")
            .arg(30_000)
            .query(&mut connection)
    };
    let error = take("a").unwrap_err();
    assert!(
        error.is_connection_dropped() || error.is_io_error(),
        "{error}"
    );
    assert_eq!(said(&mut client, "GET lock"), "a");
    // It asks again, with the same token, on another connection: taken, by itself.
    let mut connection = library.get_connection().unwrap();
    let holder: String = redis::cmd("GET")
        .arg("lock")
        .query(&mut connection)
        .unwrap();
    assert_eq!(holder, "a");
    // Before: it was not taken.
    server
        .faults()
        .add(Fault::command("SET").drop_before().once())
        .unwrap();
    let lost: redis::RedisResult<()> = redis::cmd("SET")
        .arg("other")
        .arg("b")
        .query(&mut connection);
    assert!(lost.is_err());
    assert_eq!(said(&mut client, "EXISTS other"), "0");
}

#[test]
fn replies_before_a_drop_arrive() {
    let (server, mut client) = server();
    server
        .faults()
        .add(Fault::command("incr").drop_after().skip(1).once())
        .unwrap();
    let mut socket = socket(&server);
    for line in ["SET a 1", "INCR n", "INCR n", "INCR n"] {
        send(&mut socket, line);
    }
    assert_eq!(super::got(&mut socket), ok());
    assert_eq!(super::got(&mut socket), Got::Reply(Reply::Int(1)));
    assert_eq!(super::got(&mut socket), Got::Closed);
    assert_eq!(said(&mut client, "GET n"), "2");
}

#[test]
fn a_consumer_loses_its_connection_with_what_it_was_given() {
    let (server, mut client) = server();
    said(&mut client, "XGROUP CREATE s g $ MKSTREAM");
    server
        .faults()
        .add(Fault::command("xreadgroup").drop_after().once())
        .unwrap();
    let mut consumer = socket(&server);
    send(
        &mut consumer,
        "XREADGROUP GROUP g c BLOCK 0 COUNT 1 STREAMS s >",
    );
    super::wire::until_blocked(&mut client, 1);
    said(&mut client, "XADD s 1-1 f v");
    assert_eq!(super::got(&mut consumer), Got::Closed);
    // Nobody has heard of it, and it is pending.
    let pending = said(&mut client, "XPENDING s g - + 10");
    assert!(pending.contains("1-1"), "{pending}");
    let claimed = said(&mut client, "XAUTOCLAIM s g other 0 0");
    assert!(claimed.contains("1-1"), "{claimed}");
}

#[test]
fn what_waits_for_a_key_is_late_when_it_is_served_and_when_time_is_over() {
    let (server, mut client) = server();
    let delay = Duration::from_millis(100);
    server
        .faults()
        .add(Fault::command("blpop").delay(delay).times(2))
        .unwrap();
    let mut reader = socket(&server);
    send(&mut reader, "BLPOP l 0");
    super::wire::until_blocked(&mut client, 1);
    let began = Instant::now();
    said(&mut client, "RPUSH l x");
    let popped = Reply::Array(vec![Reply::Bulk(b"l".to_vec()), Reply::Bulk(b"x".to_vec())]);
    assert_eq!(super::got(&mut reader), Got::Reply(popped));
    assert!(began.elapsed() >= delay);
    let began = Instant::now();
    send(&mut reader, "BLPOP l 0.02");
    assert_eq!(super::got(&mut reader), Got::Reply(Reply::NullArray));
    assert!(began.elapsed() >= delay + Duration::from_millis(20));
    // An error does not wait.
    server
        .faults()
        .add(Fault::command("blpop").fail("ERR no"))
        .unwrap();
    assert!(said(&mut client, "BLPOP l 0").contains("ERR no"));
}

#[test]
fn a_half_open_connection_hears_nothing_and_stays() {
    let (server, mut client) = server();
    server
        .faults()
        .add(Fault::command("get").hang_before().once())
        .unwrap();
    let mut socket = socket(&server);
    for line in ["HELLO 3", "SUBSCRIBE news"] {
        send(&mut socket, line);
        assert!(matches!(super::got(&mut socket), Got::Reply(_)));
    }
    send(&mut socket, "GET k");
    send(&mut socket, "SET k 1");
    assert!(is_silent(&mut socket));
    said(&mut client, "PUBLISH news now");
    assert!(is_silent(&mut socket));
    assert_eq!(said(&mut client, "EXISTS k"), "0");
    let clients = said(&mut client, "CLIENT LIST TYPE pubsub");
    assert!(clients.contains("cmd=get"), "{clients}");
    // It can still be ended.
    said(&mut client, "CLIENT KILL TYPE pubsub");
    assert_eq!(super::got(&mut socket), Got::Closed);

    server
        .faults()
        .add(Fault::command("incr").hang_after().once())
        .unwrap();
    let mut socket = super::socket(&server);
    send(&mut socket, "INCR n");
    assert!(is_silent(&mut socket));
    assert_eq!(said(&mut client, "GET n"), "1");
    // With nobody left who has to do with a fault, commands take the short way again.
    drop(socket);
    server.faults().clear();
    let began = Instant::now();
    while server_is_concerned(&server) {
        assert!(began.elapsed() < Duration::from_secs(5));
        said(&mut client, "PING");
    }
}

/// Whether some client of a server has still to do with a fault.
fn server_is_concerned(server: &redkeep::Server) -> bool {
    server.faults().are_on()
}

#[test]
fn a_call_from_within_ends_with_the_server_if_nobody_answers_it() {
    let (server, _client) = server();
    server
        .faults()
        .add(Fault::command("get").hang_before())
        .unwrap();
    let mut deaf = server.client().unwrap();
    let (sender, receiver) = mpsc::channel();
    let calling = std::thread::spawn(move || sender.send(deaf.call(["GET", "k"])));
    assert!(receiver.recv_timeout(super::SILENCE).is_err());
    server.shutdown();
    let answer = receiver.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(answer, Err(CallError::Stopped));
    calling.join().unwrap().unwrap();
}
