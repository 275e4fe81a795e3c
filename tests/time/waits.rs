//! Who waits, and for how long.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{START, call, flat, info, ms, seconds, server, waiting, with};

#[test]
fn a_wait_ends_at_its_millisecond() {
    let server = server();
    let waits = waiting(&server, |mut client| call(&mut client, "BLPOP queue 2.5"));
    server.clock().advance(ms(2_499));
    assert_eq!(info(&mut server.client().unwrap(), "blocked_clients"), "1");
    server.clock().advance(ms(1));
    assert_eq!(waits.join().unwrap(), "(nil)");
}

#[test]
fn what_a_client_does_next_sees_the_time_at_which_it_was_woken() {
    let server = server();
    let consumer = waiting(&server, |mut client| {
        assert_eq!(call(&mut client, "BLPOP queue 10"), "(nil)");
        call(&mut client, "SET fallback 1 EX 5");
        call(&mut client, "XADD log * event woken")
    });
    server.clock().advance(seconds(30));
    assert_eq!(consumer.join().unwrap(), format!("{}-0", START + 10_000));
    let mut client = server.client().unwrap();
    assert_eq!(call(&mut client, "EXISTS fallback"), "0");
}

#[test]
fn what_is_pipelined_behind_a_wait_sees_the_time_of_its_end() {
    let server = server();
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream
        .write_all(b"BLPOP queue 10\r\nXADD log * f v\r\nBLPOP queue 5\r\nXADD log * f v\r\n")
        .unwrap();
    server.clock().advance(seconds(30));
    let expected = format!(
        "*-1\r\n$15\r\n{}-0\r\n*-1\r\n$15\r\n{}-0\r\n",
        START + 10_000,
        START + 15_000
    );
    let mut told = vec![0; expected.len()];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(String::from_utf8(told).unwrap(), expected);
}

#[test]
fn readers_of_streams_and_who_waits_for_replicas_or_the_disk_wait_no_longer_than_they_said() {
    let server = server();
    let mut client = server.client().unwrap();
    call(&mut client, "XGROUP CREATE s g $ MKSTREAM");
    let reader = waiting(&server, |mut client| {
        call(&mut client, "XREADGROUP GROUP g c BLOCK 4000 STREAMS s >")
    });
    let careful = waiting(&server, |mut client| {
        call(&mut client, "SET key value");
        call(&mut client, "WAIT 1 3000")
    });
    let began = Instant::now();
    server.clock().advance(ms(2_999));
    assert_eq!(info(&mut client, "blocked_clients"), "2");
    server.clock().advance(ms(1));
    assert_eq!(careful.join().unwrap(), "0");
    assert_eq!(info(&mut client, "blocked_clients"), "1");
    server.clock().advance(ms(1_000));
    assert_eq!(reader.join().unwrap(), "(nil)");
    assert!(began.elapsed() < ms(2_900), "somebody waited for real time");
}

#[test]
fn a_pause_ends_when_the_clock_says_so() {
    let server = server();
    let mut client = server.client().unwrap();
    call(&mut client, "CLIENT PAUSE 60000 WRITE");
    let writer = std::thread::spawn({
        let mut client = server.client().unwrap();
        move || call(&mut client, "XADD s * f v")
    });
    while info(&mut client, "blocked_clients") == "0"
        && !call(&mut client, "CLIENT LIST").contains("cmd=xadd")
    {
        std::thread::yield_now();
    }
    server.clock().advance(ms(59_999));
    assert_eq!(call(&mut client, "XLEN s"), "0");
    server.clock().advance(ms(1));
    assert_eq!(writer.join().unwrap(), format!("{}-0", START + 60_000));
}

#[test]
fn who_says_nothing_for_long_is_parted_with() {
    let server = with(&[("timeout", "300")]);
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).unwrap();
    server.clock().advance(seconds(299));
    stream.set_nonblocking(true).unwrap();
    let mut byte = [0];
    assert_eq!(
        stream.read(&mut byte).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    server.clock().advance(seconds(2));
    stream.set_nonblocking(false).unwrap();
    assert_eq!(stream.read(&mut byte).unwrap(), 0);
}

#[test]
fn who_does_not_take_its_output_has_the_time_of_its_soft_limit() {
    let server = with(&[("client-output-buffer-limit", "pubsub 0 16kb 60")]);
    let mut client = server.client().unwrap();
    let mut lazy = TcpStream::connect(server.addr()).unwrap();
    lazy.write_all(b"SUBSCRIBE news\r\n").unwrap();
    let mut told = [0; 4];
    lazy.read_exact(&mut told).unwrap();
    let text = "x".repeat(1 << 20);
    // The kernel takes a few of them.
    for _ in 0..32 {
        let words: [&str; 3] = ["PUBLISH", "news", &text];
        assert_eq!(flat(&client.call(words).unwrap()), "1");
    }
    server.clock().advance(seconds(59));
    assert_eq!(call(&mut client, "PUBSUB NUMSUB news"), "[news 1]");
    server.clock().advance(seconds(3));
    assert_eq!(call(&mut client, "PUBSUB NUMSUB news"), "[news 0]");
}
