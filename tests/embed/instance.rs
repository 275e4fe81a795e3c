//! An instance without sockets, and what its clients do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redkeep::Value;
use redkeep::embed::{CallError, Instance, Message, OpenError};

use super::{bulk, ok, own_threads, shared};

fn instance() -> Instance {
    Instance::builder().start().unwrap()
}

#[test]
fn an_instance_runs_commands_and_expires_keys_by_itself() {
    let _shared = shared();
    let instance = instance();
    let mut client = instance.client().unwrap();
    assert_eq!(client.call(["SET", "k", "v", "PX", "30"]).unwrap(), ok());
    assert_eq!(client.call(["GET", "k"]).unwrap(), bulk("v"));
    let began = Instant::now();
    while client.call(["DBSIZE"]).unwrap() != Value::Int(0) {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(2));
    }
    let timed_out = client.call(["BLPOP", "nothing", "0.02"]).unwrap();
    assert_eq!(timed_out, Value::NullArray);
}

#[test]
fn what_an_instance_keeps_is_there_again() {
    let _shared = shared();
    for kept in [("appendonly", "yes"), ("save", "3600 1")] {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let builder = Instance::builder().dir(&dir).config(kept.0, kept.1);
            builder.start()
        };
        let instance = start().unwrap();
        let mut client = instance.client().unwrap();
        client.call(["HSET", "h", "f", "v"]).unwrap();
        // Nobody else may write there.
        let error = start().unwrap_err();
        let OpenError::Dir { source, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::WouldBlock);
        if kept.0 == "save" {
            assert_eq!(client.call(["SAVE"]).unwrap(), ok());
        }
        instance.shutdown();
        assert_eq!(client.call(["PING"]), Err(CallError::Stopped));
        let again = start().unwrap();
        let read = again.client().unwrap().call(["HGET", "h", "f"]).unwrap();
        assert_eq!(read, bulk("v"), "{kept:?}");
    }
}

#[test]
fn of_an_instance_that_crashes_that_survives_which_was_synced() {
    let _shared = shared();
    let dir = tempfile::tempdir().unwrap();
    let builder = Instance::builder()
        .dir(&dir)
        .config("appendonly", "yes")
        .config("appendfsync", "everysec");
    let instance = builder.start().unwrap();
    let mut client = instance.client().unwrap();
    client.call(["SET", "before", "1"]).unwrap();
    // Known to be on the disk.
    let synced = client.call(["WAITAOF", "1", "0", "10000"]).unwrap();
    assert_eq!(synced, Value::Array(vec![Value::Int(1), Value::Int(0)]));
    // From now on it takes a second of a clock that stands.
    instance.clock().freeze();
    client.call(["SET", "behind", "1"]).unwrap();
    let crashed = instance.crash();
    assert_eq!(client.call(["PING"]), Err(CallError::Stopped));
    let instance = crashed.restart().unwrap();
    let mut client = instance.client().unwrap();
    assert_eq!(client.call(["GET", "before"]).unwrap(), bulk("1"));
    assert_eq!(client.call(["EXISTS", "behind"]).unwrap(), Value::Int(0));
    // What was asked for is so still: this time it ends as it should.
    client.call(["SET", "behind", "2"]).unwrap();
    instance.shutdown();
    let again = Instance::builder()
        .dir(&dir)
        .config("appendonly", "yes")
        .start()
        .unwrap();
    let read = again.client().unwrap().call(["GET", "behind"]).unwrap();
    assert_eq!(read, bulk("2"));
}

#[test]
fn a_crash_in_memory_leaves_nothing_and_no_faults() {
    let _shared = shared();
    let instance = instance();
    let no = redkeep::faults::Fault::command("get").fail("ERR no");
    instance.faults().add(no).unwrap();
    let mut client = instance.client().unwrap();
    client.call(["SET", "k", "v"]).unwrap();
    let instance = instance.crash().restart().unwrap();
    assert!(instance.faults().list().is_empty());
    let mut client = instance.client().unwrap();
    assert_eq!(client.call(["GET", "k"]).unwrap(), Value::Null);
}

#[test]
fn shutdown_by_a_client_frees_the_directory_before_the_instance_is_dropped() {
    let _shared = shared();
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let builder = Instance::builder().dir(&dir).config("appendonly", "yes");
        builder.start()
    };
    let first = start().unwrap();
    let mut client = first.client().unwrap();
    client.call(["SET", "k", "v"]).unwrap();
    assert!(client.call(["SHUTDOWN"]).is_err());
    let began = Instant::now();
    let second = loop {
        match start() {
            Ok(second) => break second,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(5), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let read = second.client().unwrap().call(["GET", "k"]).unwrap();
    assert_eq!(read, bulk("v"));
    assert!(first.client().is_err());
}

#[test]
fn what_needs_sockets_is_refused_by_name() {
    let _shared = shared();
    for (name, value) in [
        ("port", "6379"),
        ("unixsocket", "/tmp/nobody"),
        ("replicaof", "127.0.0.1 6379"),
        ("sentinel", "monitor m 127.0.0.1 6379 1"),
    ] {
        match Instance::builder().config(name, value).start() {
            Err(OpenError::NeedsSockets(named)) => assert_eq!(named, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let error = Instance::builder().config("maxclients", "many").start();
    assert!(matches!(error, Err(OpenError::Config(_))), "{error:?}");
    let error = Instance::builder().config("appendonly", "yes").start();
    assert!(matches!(error, Err(OpenError::NoDirectory)), "{error:?}");
    let mut client = instance().client();
    if let Ok(client) = &mut client {
        // Gone already: the instance was dropped.
        assert_eq!(client.call(["PING"]), Err(CallError::Stopped));
    }
    let instance = instance();
    let mut client = instance.client().unwrap();
    let reply = client.call(["CONFIG", "SET", "port", "6379"]).unwrap();
    assert!(matches!(reply, Value::Error(_)), "{reply:?}");
    assert!(reply.to_string().contains("no sockets"), "{reply}");
}

#[test]
fn a_pipeline_gives_what_came_of_each_command() {
    let _shared = shared();
    let instance = instance();
    let mut client = instance.client().unwrap();
    let incrs = (0..2000).map(|_| ["INCR", "n"]);
    let replies = client.pipeline(incrs);
    let numbers: Vec<_> = (1..=2000).map(|n| Ok(Value::Int(n))).collect();
    assert_eq!(replies, numbers);
    let commands: [&[&str]; 8] = [
        &["SET", "k", "v"],
        &[],
        &["INCR", "k"],
        &["SUBSCRIBE", "a", "b"],
        &["UNSUBSCRIBE"],
        &["CLIENT", "REPLY", "SKIP"],
        &["QUIT"],
        &["GET", "k"],
    ];
    let replies = client.pipeline(commands);
    assert_eq!(replies[0], Ok(ok()));
    assert_eq!(replies[1], Err(CallError::Empty));
    assert!(matches!(&replies[2], Ok(Value::Error(_))));
    let begun = Value::Array(vec![bulk("subscribe"), bulk("a"), Value::Int(1)]);
    assert_eq!(replies[3], Ok(begun));
    assert!(matches!(&replies[4], Ok(Value::Array(words)) if words[0] == bulk("unsubscribe")));
    assert!(
        matches!(&replies[5], Err(CallError::Unreadable(_))),
        "{:?}",
        replies[5]
    );
    assert_eq!(replies[7], Err(CallError::Closed));
    // The second answers of SUBSCRIBE and UNSUBSCRIBE came in between; what came before the end can still be had.
    let next = client.next_message(Some(Duration::ZERO)).unwrap();
    let second = Value::Array(vec![bulk("subscribe"), bulk("b"), Value::Int(2)]);
    assert_eq!(next, Some(Message::Other(second)));
}

#[test]
fn a_pipeline_waits_where_a_command_does_and_goes_on_behind_it() {
    let _shared = shared();
    let instance = instance();
    let mut reader = instance.client().unwrap();
    let waiting = std::thread::spawn(move || {
        let commands: [&[&str]; 3] = [&["BLPOP", "l", "10"], &["LLEN", "l"], &["ECHO", "end"]];
        reader.pipeline(commands)
    });
    let mut writer = instance.client().unwrap();
    blocked(&mut writer, 1);
    writer.call(["RPUSH", "l", "a", "b"]).unwrap();
    let replies = waiting.join().unwrap();
    let popped = Value::Array(vec![bulk("l"), bulk("a")]);
    assert_eq!(replies, [Ok(popped), Ok(Value::Int(1)), Ok(bulk("end"))]);
}

/// Waits until so many clients are blocked.
pub(crate) fn blocked(client: &mut redkeep::Client, clients: usize) {
    let began = Instant::now();
    while count_blocked(client) != clients {
        assert!(began.elapsed() < Duration::from_secs(10), "not {clients}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn count_blocked(client: &mut redkeep::Client) -> usize {
    let info = client.call(["INFO", "clients"]).unwrap();
    let info = String::from_utf8_lossy(info.as_bytes().unwrap()).into_owned();
    let mut lines = info.lines();
    let count = lines.find_map(|line| line.strip_prefix("blocked_clients:"));
    count.unwrap().parse().unwrap()
}

#[test]
fn a_busy_script_answers_calls_and_pipelines() {
    let _shared = shared();
    let instance = Instance::builder()
        .config("lua-time-limit", "5")
        .start()
        .unwrap();
    let mut looping = instance.client().unwrap();
    let script = std::thread::spawn(move || {
        looping.call(["EVAL", "while true do redis.call('ECHO', 'x') end", "0"])
    });
    let mut other = instance.client().unwrap();
    let began = Instant::now();
    while !other.call(["PING"]).unwrap().to_string().contains("BUSY") {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    let commands: [&[&str]; 3] = [&["GET", "k"], &["SCRIPT", "KILL"], &["ECHO", "free"]];
    let replies = other.pipeline(commands);
    assert!(matches!(&replies[0], Ok(Value::Error(text)) if text.starts_with(b"BUSY")));
    assert_eq!(replies[1], Ok(ok()));
    let killed = script.join().unwrap().unwrap().to_string();
    assert!(killed.contains("Script killed"), "{killed}");
    assert_eq!(other.call(["ECHO", "free"]).unwrap(), bulk("free"));
}

#[test]
fn a_hundred_instances_start_at_once_and_know_nothing_of_each_other() {
    let _alone = super::alone();
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let failed = &failed;
            scope.spawn(move || {
                let instances: Vec<_> = (0..25).map(|_| instance()).collect();
                let named = |i: usize| format!("{thread}:{i}");
                for (i, instance) in instances.iter().enumerate() {
                    let mut client = instance.client().unwrap();
                    client
                        .call(["SET".to_owned(), "k".into(), named(i)])
                        .unwrap();
                }
                for (i, instance) in instances.iter().enumerate() {
                    let mut client = instance.client().unwrap();
                    let same = client.call(["GET", "k"]).unwrap() == bulk(&named(i));
                    failed.fetch_add(usize::from(!same), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    assert_eq!(own_threads(), 0);
}

#[test]
fn a_panic_of_the_caller_ends_the_instance_in_good_order() {
    let _shared = shared();
    let instance = instance();
    let client = Arc::new(Mutex::new(instance.client().unwrap()));
    let its = Arc::clone(&client);
    let thread = std::thread::spawn(move || {
        let _instance = instance;
        its.lock().unwrap().call(["SET", "k", "v"]).unwrap();
        std::panic::resume_unwind(Box::new("the caller has had enough"));
    });
    assert!(thread.join().is_err());
    let mut client = client.lock().unwrap();
    assert_eq!(client.call(["GET", "k"]), Err(CallError::Stopped));
}
