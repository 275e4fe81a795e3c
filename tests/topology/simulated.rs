//! What there is in virtual time only.

use super::*;
use redkeep::embed::{CallError, Message};
use redkeep::topology::Error;
use redkeep::{Simulation, Value};

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

/// One server, nobody else.
fn alone() -> Simulation {
    let builder = Simulation::builder().replicas(0).sentinels(0);
    builder.lasting(true).simulated(1).unwrap()
}

/// A leader is killed, replaced, and started again.
fn failover(seed: u64) -> Simulation {
    let world = Simulation::builder().sync(true).simulated(seed).unwrap();
    let old = world.leader().unwrap();
    world.call(old, ["SET", "stock", "12"]).unwrap();
    world.kill(old).unwrap();
    let next = world.wait_for_leader_other_than(old, PATIENCE).unwrap();
    world.wait_until_settled(PATIENCE).unwrap();
    assert_eq!(world.call(next, ["GET", "stock"]).unwrap(), bulk("12"));
    world.restart(old).unwrap();
    world.wait_until_settled(PATIENCE).unwrap();
    world
}

#[test]
fn the_same_seed_has_the_same_journal_and_another_one_another() {
    let first = failover(7).journal();
    assert!(first.iter().any(|line| line.contains("+switch-master")));
    for _ in 0..8 {
        assert!(failover(7).journal() == first);
    }
    assert!(failover(8).journal() != first);
}

#[test]
fn every_seed_comes_to_a_good_end() {
    for seed in 0..12 {
        failover(seed);
    }
}

/// What is in docs/BENCHMARKS.md. Run it by its name, in a release build.
#[test]
#[ignore = "it measures"]
fn how_long_a_failover_takes() {
    let first = failover(7).journal();
    let times: Vec<[Duration; 4]> = (0..100)
        .map(|_| {
            let began = Instant::now();
            let world = Simulation::builder().sync(true).simulated(7).unwrap();
            let started = began.elapsed();
            let old = world.leader().unwrap();
            world.call(old, ["SET", "stock", "12"]).unwrap();
            let (killed, virtually) = (Instant::now(), world.now());
            world.kill(old).unwrap();
            world.wait_for_leader_other_than(old, PATIENCE).unwrap();
            world.wait_until_settled(PATIENCE).unwrap();
            let settled = killed.elapsed();
            let virtually = world.now() - virtually;
            world.restart(old).unwrap();
            world.wait_until_settled(PATIENCE).unwrap();
            [started, settled, virtually, began.elapsed()]
        })
        .collect();
    let names = [
        "start",
        "failover until settled",
        "the same in virtual time",
        "all",
    ];
    for (i, name) in names.into_iter().enumerate() {
        let mut column: Vec<Duration> = times.iter().map(|row| row[i]).collect();
        column.sort();
        println!("{name}: {:?}, at most {:?}", column[50], column[99]);
    }
    let same = (0..100).filter(|_| failover(7).journal() == first);
    println!(
        "{} of 100 runs have the same journal of {} lines",
        same.count(),
        first.len()
    );
}

#[test]
fn a_crash_leaves_what_was_synced() {
    let every_second = alone();
    let node = every_second.leader().unwrap();
    every_second.call(node, ["SET", "early", "1"]).unwrap();
    every_second.advance(Duration::from_secs(3));
    every_second.call(node, ["SET", "late", "1"]).unwrap();
    every_second.crash(node).unwrap();
    every_second.restart(node).unwrap();
    let keys = every_second.call(node, ["KEYS", "*"]).unwrap();
    assert_eq!(keys, Value::Array(vec![bulk("early")]));

    let always = Simulation::builder().replicas(0).sentinels(0).lasting(true);
    let always = always.config("appendfsync", "always").simulated(1).unwrap();
    let node = always.leader().unwrap();
    always.call(node, ["SET", "late", "1"]).unwrap();
    always.crash(node).unwrap();
    always.restart(node).unwrap();
    assert_eq!(always.call(node, ["GET", "late"]).unwrap(), bulk("1"));
}

#[test]
fn a_process_that_is_killed_leaves_what_it_has_written() {
    let world = alone();
    let node = world.leader().unwrap();
    world.call(node, ["SET", "key", "1"]).unwrap();
    // The log is written within half a second, whenever it is synced.
    world.advance(Duration::from_millis(600));
    world.kill(node).unwrap();
    assert!(matches!(world.role(node), Err(Error::Killed(_))));
    world.restart(node).unwrap();
    assert_eq!(world.call(node, ["GET", "key"]).unwrap(), bulk("1"));
}

#[test]
fn blocking_commands_and_messages_let_time_pass() {
    let world = alone();
    let node = world.leader().unwrap();
    let mut client = world.client(node).unwrap();
    let before = world.now();
    assert_eq!(client.call(["BLPOP", "queue", "5"]), Ok(Value::NullArray));
    let waited = world.now() - before;
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6));

    client.send(["BLPOP", "queue", "0"]).unwrap();
    world.call(node, ["RPUSH", "queue", "job"]).unwrap();
    let taken = Value::Array(vec![bulk("queue"), bulk("job")]);
    assert_eq!(client.receive(), Ok(taken));

    client.set_patience(Duration::from_secs(3));
    let late = Err(CallError::NoAnswer(Duration::from_secs(3)));
    assert_eq!(client.call(["BLPOP", "queue", "0"]), late);
    // The reply that comes too late is nobody's.
    world.call(node, ["RPUSH", "queue", "job"]).unwrap();
    assert_eq!(client.call(["PING"]), Ok(Value::Simple(b"PONG".to_vec())));

    client.call(["SUBSCRIBE", "news"]).unwrap();
    world.call(node, ["PUBLISH", "news", "it works"]).unwrap();
    let message = client.next_message(None).unwrap();
    let Some(Message::Published { text, .. }) = message else {
        panic!("{message:?}");
    };
    assert_eq!(text, b"it works");
    assert_eq!(client.next_message(Some(Duration::from_secs(1))), Ok(None));
}

#[test]
fn keys_expire_when_time_has_passed() {
    let world = alone();
    let node = world.leader().unwrap();
    let mut client = world.client(node).unwrap();
    client
        .call(["SET", "lock", "token", "PX", "30000"])
        .unwrap();
    world.advance(Duration::from_secs(29));
    assert_eq!(client.call(["GET", "lock"]), Ok(bulk("token")));
    world.advance(Duration::from_secs(1));
    assert_eq!(client.call(["GET", "lock"]), Ok(Value::Null));
    let kept = client.call(["SET", "other", "token", "PX", "30000"]);
    assert_eq!(kept.unwrap().to_string(), "OK");
    world.set_clock_by(node, 40_000).unwrap();
    assert_eq!(client.call(["GET", "other"]), Ok(Value::Null));
}

#[test]
fn lines_that_are_long_or_lose_packets_make_replicas_late() {
    let world = Simulation::builder().replicas(1).sentinels(0);
    let world = world.simulated(1).unwrap();
    let [leader, replica] = world.servers()[..] else {
        panic!("two");
    };
    let mut writer = world.client(leader).unwrap();
    let mut takes = |what: &str| {
        let before = world.now();
        writer.call(["INCR", "n"]).unwrap();
        let waited = writer.call(["WAIT", "1", "30000"]);
        assert_eq!(waited, Ok(Value::Int(1)), "{what}");
        world.now() - before
    };
    assert!(takes("short") < Duration::from_millis(50));
    world
        .delay([leader], [replica], Duration::from_millis(300))
        .unwrap();
    let long = takes("long");
    assert!(long >= Duration::from_millis(600), "{long:?}");
    world.delay([leader], [replica], Duration::ZERO).unwrap();
    world.advance(Duration::from_secs(1));
    world.lose([leader], [replica], 0.5).unwrap();
    let lossy: Duration = (0..10).map(|_| takes("lossy")).sum();
    assert!(lossy >= Duration::from_millis(200), "{lossy:?}");
    world.lose([leader], [replica], 0.0).unwrap();
    world.wait_until_settled(PATIENCE).unwrap();
}

#[test]
fn what_cannot_be_is_an_error() {
    let none = Simulation::builder().replicas(0).sync(true).simulated(1);
    assert!(matches!(none, Err(Error::Alone)));
    let many = Simulation::builder().replicas(1_000).simulated(1);
    assert!(matches!(many, Err(Error::TooMany { .. })));
    let wrong = Simulation::builder()
        .config("maxmemory", "much")
        .simulated(1);
    assert!(matches!(wrong, Err(Error::Start { .. })));
    let port = Simulation::builder().base_port(60_000).simulated(1);
    assert!(matches!(port, Err(Error::NoPort(60_000))));

    let (one, other) = (alone(), servers(1).simulated(1).unwrap());
    let strange = other.servers()[1];
    assert!(matches!(one.kill(strange), Err(Error::Unknown(_))));
    assert!(matches!(one.client(strange), Err(Error::Unknown(_))));
    let cut = one.partition([strange], [strange]);
    assert!(matches!(cut, Err(Error::Unknown(_))));
    let node = one.leader().unwrap();
    let mut client = one.client(node).unwrap();
    assert_eq!(client.call(Vec::<&str>::new()), Err(CallError::Empty));
    assert_eq!(client.call(["QUIT"]).unwrap().to_string(), "OK");
    one.advance(Duration::from_secs(1));
    assert_eq!(client.call(["PING"]), Err(CallError::Closed));
    let mut client = one.client(node).unwrap();
    one.kill(node).unwrap();
    assert_eq!(client.call(["PING"]), Err(CallError::Stopped));
    assert!(matches!(
        one.wait_for_leader_other_than(node, Duration::from_secs(5)),
        Err(Error::Timeout { .. })
    ));
}

#[test]
fn a_node_that_ends_itself_is_down() {
    let world = alone();
    let node = world.leader().unwrap();
    let mut client = world.client(node).unwrap();
    client.call(["SET", "key", "1"]).unwrap();
    assert_eq!(client.call(["SHUTDOWN"]), Err(CallError::Stopped));
    assert_eq!(world.state(node).unwrap(), redkeep::topology::State::Killed);
    world.restart(node).unwrap();
    assert_eq!(world.call(node, ["GET", "key"]).unwrap(), bulk("1"));
}

#[test]
fn keys_are_migrated_from_machine_to_machine() {
    let world = Simulation::builder().replicas(1).sentinels(0);
    let world = world.simulated(3).unwrap();
    let [from, to] = world.servers()[..] else {
        panic!("{:?}", world.servers());
    };
    world.call(to, ["REPLICAOF", "NO", "ONE"]).unwrap();
    world.call(from, ["SET", "key", "value"]).unwrap();
    let (ip, port) = (to.addr().ip().to_string(), to.port().to_string());
    let migrate = |port: &str| {
        let words = ["MIGRATE", &ip, port, "key", "0", "1000"];
        world.call(from, words).unwrap().to_string()
    };
    assert_eq!(migrate(&port), "OK");
    assert_eq!(world.call(from, ["GET", "key"]).unwrap(), Value::Null);
    assert_eq!(world.call(to, ["GET", "key"]).unwrap(), bulk("value"));
    assert_eq!(migrate(&port), "NOKEY");
    // What does not arrive stays.
    world.call(from, ["SET", "key", "other"]).unwrap();
    assert!(migrate(&port).contains("BUSYKEY"));
    assert!(migrate("1").contains("IOERR"));
    world.partition([from], [to]).unwrap();
    let began = world.now();
    let error = migrate(&port);
    assert!(error.contains("IOERR"), "{error}");
    assert!(world.now() - began >= Duration::from_secs(1));
    world.heal();
    world.kill(to).unwrap();
    assert!(migrate(&port).contains("IOERR"));
    assert_eq!(world.call(from, ["GET", "key"]).unwrap(), bulk("other"));
}

#[test]
fn a_node_freezes_in_virtual_time_and_its_clock_is_not_its_own() {
    let world = Simulation::builder().replicas(0).sentinels(0);
    let world = world.config("enable-test-commands", "yes");
    let world = world.simulated(1).unwrap();
    let node = world.leader().unwrap();
    let began = world.now();
    let frozen = world.call(node, ["REDKEEP", "FAULT", "FREEZE", "5000"]);
    assert_eq!(frozen.unwrap().to_string(), "OK");
    assert!(world.now() - began < Duration::from_secs(1));
    assert_eq!(world.call(node, ["PING"]).unwrap().to_string(), "PONG");
    assert!(world.now() - began >= Duration::from_secs(5));
    let refused = world.call(node, ["REDKEEP", "CLOCK", "FREEZE"]).unwrap();
    assert!(refused.is_error(), "{refused}");
}
