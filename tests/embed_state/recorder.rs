//! Recorders: every command, in order, with what came of it, and no secrets.

use super::{run, server};
use redkeep::Value;
use redkeep::embed::{Caller, Kind, Outcome, Recorded, Recorder, Selection};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn words(recorded: &[Recorded]) -> Vec<String> {
    let words = recorded.iter().map(|c| {
        let argv = c.argv.iter().map(|arg| String::from_utf8_lossy(arg));
        argv.collect::<Vec<_>>().join(" ")
    });
    words.collect()
}

#[test]
fn commands_come_in_order_with_who_sent_them_and_what_came_of_them() {
    let (server, mut client) = server();
    run(&mut client, "CLIENT SETNAME tester\nSELECT 2\nRPUSH l a");
    let recorder = server.recorder().unwrap();
    let outcomes = [
        ("SET k v", Outcome::Replied(Kind::Status)),
        ("GET k", Outcome::Replied(Kind::Bulk)),
        ("GET nothing", Outcome::Replied(Kind::Null)),
        ("INCR n", Outcome::Replied(Kind::Integer)),
        ("LRANGE l 0 -1", Outcome::Replied(Kind::Array)),
        ("CONFIG GET maxmemory", Outcome::Replied(Kind::Array)),
        (
            "INCR k",
            Outcome::Failed("ERR value is not an integer or out of range".into()),
        ),
        (
            "GET",
            Outcome::Refused("ERR wrong number of arguments for 'get' command".into()),
        ),
    ];
    for (line, _) in &outcomes {
        client.call(line.split(' ')).unwrap();
    }
    let recorded = recorder.take();
    assert_eq!(words(&recorded), outcomes.each_ref().map(|(line, _)| *line));
    for (command, (line, outcome)) in recorded.iter().zip(outcomes) {
        assert_eq!(command.outcome, outcome, "{line}");
        assert_eq!((command.name.as_str(), command.db), ("tester", 2));
        assert_eq!(
            (command.addr.as_str(), command.caller),
            ("in-process:0", Caller::Client)
        );
        assert!(command.at_us > 1_600_000_000_000_000);
    }
    assert!(recorder.take().is_empty() && recorder.dropped() == 0);
    // Other clients, over sockets as well.
    let mut other = redis::Client::open(server.url())
        .unwrap()
        .get_connection()
        .unwrap();
    let _: () = redis::cmd("PING").query(&mut other).unwrap();
    let ping = recorder.wait_for(|c| c.is("ping"), SOON).unwrap();
    assert!(ping.addr.starts_with("127.0.0.1:") && ping.client != recorded[0].client);
}

#[test]
fn what_calls_others_stands_before_them_and_what_waits_ends_later() {
    let (server, mut client) = server();
    let recorder = server.recorder().unwrap();
    run(&mut client, "MULTI\nSET a 1\nGET a\nEXEC");
    client
        .call([
            "EVAL",
            "redis.call('SET', 'b', '1') redis.pcall('INCR', 'x', 'y') return 1",
            "0",
        ])
        .unwrap();
    let recorded = recorder.take();
    let is: Vec<_> = recorded
        .iter()
        .map(|c| (c.arg(0), c.caller, c.outcome.error().is_some()))
        .collect();
    let is: Vec<_> = is
        .into_iter()
        .map(|(name, caller, failed)| (String::from_utf8_lossy(name), caller, failed))
        .collect();
    assert_eq!(
        is,
        [
            ("MULTI".into(), Caller::Client, false),
            ("SET".into(), Caller::Transaction, false),
            ("GET".into(), Caller::Transaction, false),
            ("EXEC".into(), Caller::Client, false),
            ("EVAL".into(), Caller::Client, false),
            ("SET".into(), Caller::Script, false),
            ("INCR".into(), Caller::Script, true),
        ]
    );
    assert_eq!(recorded[3].outcome, Outcome::Replied(Kind::Array));
    assert_eq!(recorded[4].outcome, Outcome::Replied(Kind::Integer));
    let mut worker = server.client().unwrap();
    let working = std::thread::spawn(move || {
        worker.call(["BLPOP", "jobs", "0"]).unwrap();
        worker.call(["BLPOP", "jobs", "0"])
    });
    let waits = |c: &Recorded| c.is("BLPOP") && c.outcome == Outcome::Waiting;
    let first = recorder.wait_for(waits, SOON).unwrap();
    run(&mut client, "RPUSH jobs mail");
    recorder
        .wait_for(
            |c| c.is("BLPOP") && c.outcome == Outcome::Replied(Kind::Array),
            SOON,
        )
        .unwrap();
    let second = recorder.wait_for(waits, SOON).unwrap();
    assert_eq!(first.client, second.client);
    // Taken while it waits, it comes again when it has ended.
    assert_eq!(
        words(&recorder.take()),
        ["BLPOP jobs 0", "RPUSH jobs mail", "BLPOP jobs 0"]
    );
    let id = first.client.to_string();
    assert_eq!(
        client.call(["CLIENT", "UNBLOCK", &id, "ERROR"]).unwrap(),
        Value::Int(1)
    );
    let error = recorder
        .wait_for(|c| c.is("BLPOP") && c.outcome.error().is_some(), SOON)
        .unwrap();
    assert_eq!(
        error.outcome.error(),
        Some("UNBLOCKED client unblocked via CLIENT UNBLOCK")
    );
    assert!(matches!(working.join().unwrap().unwrap(), Value::Error(_)));
}

#[test]
fn nothing_that_is_secret_is_recorded() {
    let (server, mut client) = server();
    let recorder = server.recorder().unwrap();
    for line in [
        "AUTH nobody pass-word",
        "AUTH a pass-word c",
        "AUHT pass-word",
        "HELLO 3 AUTH default pass-word",
        "ACL SETUSER alice on >pass-word",
        "ACL SETUSER",
        "CONFIG SET requirepass pass-word",
        "CONFIG SET requirepass pass-word masterauth",
        "MIGRATE localhost 1 k 0 1 AUTH pass-word",
        "MIGRATE pass-word",
    ] {
        client.call(line.split(' ')).unwrap();
    }
    // Refused for who asks, not for what.
    let mut guest = redis::Client::open(server.url())
        .unwrap()
        .get_connection()
        .unwrap();
    for line in [
        "ACL SETUSER bob >pass-word",
        "MIGRATE h 1 k 0 9 AUTH pass-word",
        "AUTH x y pass-word",
    ] {
        let mut words = line.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| _ = cmd.arg(word));
        cmd.query::<()>(&mut guest).unwrap_err();
    }
    let recorded = words(&recorder.take());
    assert!(recorded.len() >= 12, "{recorded:#?}");
    let told = recorded.iter().filter(|words| words.contains("pass-word"));
    assert_eq!(told.collect::<Vec<_>>(), [""; 0], "{recorded:#?}");
}

#[test]
fn a_selection_is_by_command_and_by_key() {
    let (server, mut client) = server();
    let start = |selection| server.record(selection).unwrap();
    let everything = Selection::everything;
    let sets = start(everything().command("set").command("h*"));
    let users = start(everything().key("user:*"));
    let both = start(everything().command("DEL").key("user:*").key("x"));
    let subs = start(everything().command("config|get").command("client"));
    run(
        &mut client,
        "SET user:1 a\nSETEX user:2 9 a\nHSET h a 1\nMGET other user:3\nDEL user:1 y\nDEL x\nDEL z\nCONFIG GET port\n\
         CONFIG RESETSTAT\nCLIENT ID\nPING",
    );
    let taken = |recorder: &Recorder| words(&recorder.take());
    assert_eq!(taken(&sets), ["SET user:1 a", "HSET h a 1"]);
    assert_eq!(
        taken(&users),
        [
            "SET user:1 a",
            "SETEX user:2 9 a",
            "MGET other user:3",
            "DEL user:1 y"
        ]
    );
    assert_eq!(taken(&both), ["DEL user:1 y", "DEL x"]);
    assert_eq!(taken(&subs), ["CONFIG GET port", "CLIENT ID"]);
}

#[test]
fn no_more_are_kept_than_were_asked_for_and_none_once_it_has_stopped() {
    let (server, mut client) = server();
    let recorder = server.record(Selection::everything().most(3)).unwrap();
    (0..10).for_each(|n| drop(run(&mut client, &format!("SET k {n}"))));
    assert_eq!(
        (words(&recorder.commands()), recorder.dropped()),
        (
            vec!["SET k 7".into(), "SET k 8".into(), "SET k 9".into()],
            7
        )
    );
    recorder.stop();
    run(&mut client, "SET k 10");
    assert_eq!(recorder.take().len(), 3);
    assert!(
        recorder
            .wait_for(|_| true, Duration::from_millis(1))
            .is_none()
    );
    // Many at once, beside MONITOR.
    let recorders: Vec<_> = (0..3).map(|_| server.recorder().unwrap()).collect();
    let mut monitor = server.client().unwrap();
    run(&mut monitor, "MONITOR");
    drop(recorders);
    run(&mut client, "SET k 11");
    let line = format!("{:?}", monitor.next_message(Some(SOON)).unwrap());
    assert!(line.contains("11"), "{line}");
}

#[test]
fn what_waits_for_a_command_may_use_the_server_meanwhile() {
    let (server, mut client) = server();
    let recorder = server.recorder().unwrap();
    let writing = std::thread::spawn(move || {
        (0..200).for_each(|n| drop(run(&mut client, &format!("SET k {n}"))));
    });
    let last = recorder.wait_for(
        |_| server.get("k").unwrap().as_deref() == Some(b"199"),
        SOON,
    );
    assert!(last.unwrap().is("set"));
    writing.join().unwrap();
}
