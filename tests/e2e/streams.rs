//! A consumer group works a stream off without losing a message, also when a consumer is killed.

use super::Target;
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply,
};
use redis::{Commands, Connection};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MESSAGES: usize = 2000;

fn connect(url: &str) -> Connection {
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

fn number(entry: &StreamId) -> usize {
    entry.get::<usize>("n").expect("an entry has its number")
}

fn read(c: &mut Connection, consumer: &str, count: usize, block: usize) -> Vec<StreamId> {
    let options = StreamReadOptions::default()
        .group("g", consumer)
        .count(count)
        .block(block);
    let reply: Option<StreamReadReply> = c.xread_options(&["work"], &[">"], &options).unwrap();
    reply
        .into_iter()
        .flat_map(|r| r.keys)
        .flat_map(|k| k.ids)
        .collect()
}

/// The other process of the next test: takes entries, writes their numbers down, acknowledges them, until it is killed.
#[test]
#[ignore = "the test beside it runs it as a process of its own"]
fn consumer_that_will_be_killed() {
    let Ok(url) = std::env::var("REDKEEP_E2E_CONSUMER") else {
        return;
    };
    let mut c = connect(&url);
    let mut out = std::io::stdout();
    loop {
        for entry in read(&mut c, "victim", 10, 1000) {
            // One write per line: what the process did is known even when it is killed between two.
            out.write_all(format!("did {}\n", number(&entry)).as_bytes())
                .unwrap();
            let _: i32 = c.xack("work", "g", &[&entry.id]).unwrap();
        }
    }
}

#[test]
fn a_killed_consumer_leaves_no_message_unprocessed() {
    let target = Target::start();
    let url = target.url();
    let mut c = connect(&url);
    let _: () = c.xgroup_create_mkstream("work", "g", "0").unwrap();

    let log = tempfile::NamedTempFile::new().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "streams::consumer_that_will_be_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("REDKEEP_E2E_CONSUMER", &url)
        .stdin(Stdio::null())
        .stdout(log.reopen().unwrap())
        .spawn()
        .unwrap();
    let producer = thread::spawn({
        let url = url.clone();
        move || {
            let mut c = connect(&url);
            for n in 0..MESSAGES {
                let _: String = c.xadd("work", "*", &[("n", n)]).unwrap();
            }
        }
    });

    // Killed in the middle: after some entries, before all.
    let since = Instant::now();
    while done_by_victim(log.path()).len() < MESSAGES / 10 {
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "the consumer does nothing"
        );
        thread::sleep(Duration::from_millis(1));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    producer.join().unwrap();
    let by_victim = done_by_victim(log.path());
    assert!(
        by_victim.len() < MESSAGES,
        "the consumer was killed too late to prove anything"
    );

    // Its entries are claimed, then the rest is read.
    let mut times: BTreeMap<usize, u32> = BTreeMap::new();
    by_victim
        .iter()
        .for_each(|n| *times.entry(*n).or_default() += 1);
    let mut start = "0-0".to_owned();
    let mut claimed = 0;
    loop {
        let options = StreamAutoClaimOptions::default().count(100);
        let reply: StreamAutoClaimReply = c
            .xautoclaim_options("work", "g", "heir", 0, &start, options)
            .unwrap();
        claimed += reply.claimed.len();
        for entry in &reply.claimed {
            *times.entry(number(entry)).or_default() += 1;
            let _: i32 = c.xack("work", "g", &[&entry.id]).unwrap();
        }
        start = reply.next_stream_id;
        if start == "0-0" {
            break;
        }
    }
    loop {
        let entries = read(&mut c, "heir", 100, 10);
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            *times.entry(number(&entry)).or_default() += 1;
            let _: i32 = c.xack("work", "g", &[&entry.id]).unwrap();
        }
    }

    assert_eq!(times.len(), MESSAGES, "every message was processed");
    assert!(times.keys().copied().eq(0..MESSAGES));
    assert!(
        claimed <= 10,
        "no more than one batch was in the hands of the killed consumer, but {claimed}"
    );
    let twice = times.values().filter(|t| **t > 1).count();
    assert!(
        twice <= 1,
        "only the entry at which the kill struck may come twice, but {twice} did"
    );
    let pending: redis::Value = redis::cmd("XPENDING")
        .arg("work")
        .arg("g")
        .query(&mut c)
        .unwrap();
    assert!(
        matches!(&pending, redis::Value::Array(v) if v[0] == redis::Value::Int(0)),
        "{pending:?}"
    );
}

fn done_by_victim(log: &std::path::Path) -> Vec<usize> {
    let text = fs::read_to_string(log).unwrap();
    // The test harness prints its own words before the first line.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .filter_map(|l| l.rsplit_once("did ")?.1.parse().ok())
        .collect()
}

#[test]
fn blocked_readers_are_served_in_the_order_they_came() {
    let target = Target::start();
    let url = target.url();
    let mut c = connect(&url);
    let _: () = c.xgroup_create_mkstream("work", "g", "$").unwrap();
    let blocked = |c: &mut Connection| -> usize {
        let info: String = redis::cmd("INFO").arg("clients").query(c).unwrap();
        let line = info
            .lines()
            .find_map(|l| l.strip_prefix("blocked_clients:"))
            .unwrap();
        line.trim().parse().unwrap()
    };
    for round in 0..5 {
        let readers: Vec<_> = (0..8)
            .map(|i| {
                let url = url.clone();
                let reader = thread::spawn(move || {
                    let entries = read(&mut connect(&url), &format!("reader-{i}"), 1, 20_000);
                    entries.iter().map(number).collect::<Vec<_>>()
                });
                let since = Instant::now();
                while blocked(&mut c) <= i {
                    assert!(
                        since.elapsed() < Duration::from_secs(10),
                        "reader {i} does not block"
                    );
                    thread::sleep(Duration::from_millis(1));
                }
                reader
            })
            .collect();
        for n in 0..readers.len() {
            let _: String = c.xadd("work", "*", &[("n", n)]).unwrap();
        }
        for (i, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.join().unwrap(), [i], "round {round}");
        }
    }
}
