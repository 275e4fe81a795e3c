//! Who takes its time, and who is gone without a word.

use super::raw::{Raw, alone, eventually, info, resident};
use super::witness::Witness;
use crate::common::{Reply, Server};
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

/// Requests that are never complete.
const UNFINISHED: &[&[u8]] = &[
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\n",
    b"*1000000\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n",
    b"*00000000000000000000000000000000000000000000000000000",
    b"SET k this-is-a-line-that-does-not-come-to-its-end-for-a-while",
    b"\"an open quote, and more and more of it, and more and more",
    b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
];

#[test]
fn requests_that_come_byte_by_byte_cost_little_and_keep_nobody_waiting() {
    const CLIENTS: usize = 300;
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let before = resident(&server);
    let mut slow: Vec<_> = (0..CLIENTS).map(|_| Raw::to(&server)).collect();
    for at in 0..60 {
        for (raw, request) in slow.iter_mut().zip(UNFINISHED.iter().cycle()) {
            raw.send(request.get(at..=at).unwrap_or(b"0"));
        }
    }
    let grown = resident(&server).saturating_sub(before);
    assert!(grown / CLIENTS < 32 << 10, "{grown} bytes");
    drop(slow);
    let mut client = server.client();
    eventually("they are gone", || {
        info(&mut client, "connected_clients") <= 2
    });
    witness.was_served();
}

#[test]
fn what_is_held_of_a_request_is_listed() {
    let server = Server::redkeep(&[]);
    let mut client = server.client();
    let mut raw = Raw::to(&server);
    raw.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n");
    raw.send("v".repeat(50_000));
    let listed = |client: &mut crate::common::Client| {
        let list = client.run("CLIENT LIST").text();
        let other = list.lines().find(|l| l.contains("cmd=NULL")).unwrap();
        let qbuf = other.split(' ').find_map(|w| w.strip_prefix("qbuf="));
        qbuf.unwrap().parse::<usize>().unwrap()
    };
    eventually("it is listed", || listed(&mut client) >= 50_000);
    assert!(info(&mut client, "mem_clients_normal") >= 50_000);
    assert!(info(&mut client, "client_recent_max_input_buffer") >= 50_000);
    raw.send("v".repeat(50_000)).send("\r\n").expect("+OK\r\n");
    assert!(info(&mut client, "mem_clients_normal") < 50_000);
}

#[test]
fn the_first_request_is_held_to_the_limit_too() {
    const MOST: usize = 64 << 20;
    let server = Server::redkeep(&["--client-query-buffer-limit", "1mb"]);
    let mut client = server.client();
    for head in [
        "*2\r\n$3\r\nGET\r\n$400000000\r\n",
        "*2147483647\r\n",
        "*1000000\r\n",
    ] {
        let mut raw = Raw::to(&server);
        raw.send(head);
        let (taken, closed) = raw.pour(&b"$1\r\na\r\n".repeat(10_000), MOST);
        assert!(closed && taken < MOST, "{head}: {taken}");
    }
    let cut_off = info(&mut client, "client_query_buffer_limit_disconnections");
    assert_eq!(cut_off, 3);
}

#[test]
fn who_sends_a_request_slowly_is_not_idle_and_who_sends_nothing_is() {
    let server = Server::redkeep(&["--timeout", "1"]);
    let (mut silent, mut slow) = (Raw::to(&server), Raw::to(&server));
    silent.send("PING\r\n").expect("+PONG\r\n");
    let began = Instant::now();
    slow.send("*2\r\n$4\r\nECHO\r\n$40\r\n");
    for _ in 0..40 {
        slow.send("x");
        std::thread::sleep(Duration::from_millis(80));
    }
    assert!(began.elapsed() > Duration::from_secs(3));
    slow.send("\r\n")
        .expect(&format!("$40\r\n{}\r\n", "x".repeat(40)));
    assert_eq!(silent.rest(), b"");
}

#[test]
fn who_waits_for_a_key_and_is_gone_waits_for_nothing() {
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let mut waiting: Vec<_> = (0..300).map(|_| Raw::to(&server)).collect();
    for (n, raw) in waiting.iter_mut().enumerate() {
        raw.send(match n % 3 {
            0 => "BLPOP k 0\r\n".to_owned(),
            1 => "BLMOVE k other LEFT LEFT 0\r\n".to_owned(),
            // It has more to ask for, which is not read before its turn.
            _ => format!("BZPOPMIN z 0\r\n{}", "PING\r\n".repeat(1000)),
        });
    }
    let mut client = server.client();
    eventually("all wait", || info(&mut client, "blocked_clients") == 300);
    for (n, raw) in waiting.into_iter().enumerate() {
        match n % 2 {
            0 => raw.reset(),
            _ => drop(raw),
        }
    }
    eventually("nobody waits", || info(&mut client, "blocked_clients") == 0);
    assert_eq!(client.run("RPUSH k a"), Reply::Int(1));
    assert_eq!(client.run("LLEN k"), Reply::Int(1));
    eventually("they are gone", || {
        info(&mut client, "connected_clients") <= 2
    });
    witness.was_served();
    alone(&mut client);
}

#[test]
fn who_has_sent_much_ahead_and_is_gone_waits_for_nothing() {
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    // More than is read of somebody who waits, and no more than the system takes of it: the end comes through.
    let ahead = "PING\r\n".repeat((1 << 20) / 6 + 10_000);
    let mut waiting: Vec<_> = (0..10).map(|_| Raw::to(&server)).collect();
    for raw in &mut waiting {
        raw.send(format!("BLPOP k 0\r\n{ahead}"));
    }
    let mut client = server.client();
    eventually("all wait", || info(&mut client, "blocked_clients") == 10);
    let staying = waiting.split_off(8);
    for (n, raw) in waiting.into_iter().enumerate() {
        match n % 2 {
            0 => raw.reset(),
            _ => drop(raw),
        }
    }
    eventually("two wait", || info(&mut client, "blocked_clients") == 2);
    // Those who are still there are served, with all that they have asked for.
    assert_eq!(client.run("RPUSH k a b"), Reply::Int(2));
    for mut raw in staying {
        raw.expect("*2\r\n$1\r\nk\r\n");
        let mut rest = vec![0; 7 + 7 * ahead.len() / 6];
        std::io::Read::read_exact(&mut raw.0, &mut rest).unwrap();
        assert!(rest.ends_with(b"+PONG\r\n+PONG\r\n"));
    }
    witness.was_served();
    alone(&mut client);
}

/// What the system will do about the silence of the peer, in milliseconds: the keepalive timer of the server's end of a
/// connection.
#[cfg(target_os = "linux")]
fn keepalive(server: &Server, raw: &Raw) -> Option<u64> {
    let peer = raw.0.local_addr().unwrap().port();
    let ends = format!(":{:04X} 0100007F:{peer:04X} ", server.port);
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|l| l.contains(&ends))?;
    // sl local remote state queues timer:when
    let timer = line.split_whitespace().nth(5)?;
    let when = timer.strip_prefix("02:")?;
    Some(u64::from_str_radix(when, 16).ok()? * 10)
}

#[test]
#[cfg(target_os = "linux")]
fn peers_that_are_gone_without_a_word_are_looked_for() {
    let server = Server::redkeep(&["--tcp-keepalive", "60"]);
    let mut raw = Raw::to(&server);
    raw.send("PING\r\n").expect("+PONG\r\n");
    eventually("it is looked for", || {
        keepalive(&server, &raw).is_some_and(|ms| (1..=61_000).contains(&ms))
    });
    assert_eq!(
        server.client().run("CONFIG SET tcp-keepalive 0").text(),
        "OK"
    );
    let mut raw = Raw::to(&server);
    raw.send("PING\r\n").expect("+PONG\r\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(keepalive(&server, &raw), None);
}

#[test]
#[cfg(all(target_os = "linux", feature = "lua"))]
fn those_who_come_while_a_script_is_busy_are_looked_for_too() {
    let server = Server::redkeep(&["--tcp-keepalive", "60", "--busy-reply-threshold", "20"]);
    let (mut runner, mut killer) = (server.client(), server.client());
    runner.send(&["EVAL", "while true do end", "0"]).unwrap();
    eventually("the script is busy", || {
        killer.run("PING").text().starts_with("BUSY")
    });
    let mut raw = Raw::to(&server);
    raw.0.write_all(b"PING\r\n").unwrap();
    eventually("it is looked for", || {
        keepalive(&server, &raw).is_some_and(|ms| (1..=61_000).contains(&ms))
    });
    assert_eq!(killer.run("SCRIPT KILL").text(), "OK");
}
