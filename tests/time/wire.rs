//! REDKEEP CLOCK.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use redkeep::Server;
use redkeep::util::clock::Clock;

use super::{START, call, seconds, with};

const FOR_TESTS: &[(&str, &str)] = &[("enable-test-commands", "yes")];

fn ask(stream: &mut TcpStream, line: &str, expected: &str) {
    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut told = vec![0; expected.len()];
    stream.set_read_timeout(Some(seconds(20))).unwrap();
    stream.read_exact(&mut told).unwrap();
    assert_eq!(String::from_utf8_lossy(&told), expected, "{line}");
}

#[test]
fn a_client_moves_the_clock_and_is_answered_when_all_is_done() {
    let server = with(FOR_TESTS);
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    ask(&mut stream, "SET key value EX 30", "+OK\r\n");
    let mut waits = TcpStream::connect(server.addr()).unwrap();
    // What follows the end of the wait is done ten seconds from now.
    waits
        .write_all(b"BLPOP queue 10\r\nXADD log * f v\r\n")
        .unwrap();
    while !call(&mut server.client().unwrap(), "CLIENT LIST").contains("cmd=blpop") {
        std::thread::yield_now();
    }
    ask(&mut stream, "REDKEEP CLOCK ADVANCE 30000", "+OK\r\n");
    ask(
        &mut stream,
        "XRANGE log - + COUNT 1",
        &format!("*1\r\n*2\r\n$15\r\n{}-0\r\n", START + 10_000),
    );
    let mut rest = [0; 18];
    stream.read_exact(&mut rest).unwrap();
    ask(&mut stream, "PTTL key", ":0\r\n");
    ask(&mut stream, "redkeep clock advance 1", "+OK\r\n");
    ask(&mut stream, "EXISTS key", ":0\r\n");
}

#[test]
fn the_reply_comes_in_its_order_among_others() {
    let server = with(FOR_TESTS);
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    let told = format!(
        "+OK\r\n+PONG\r\n+OK\r\n*2\r\n$10\r\n{}\r\n$1\r\n0\r\n",
        1_800_000_000
    );
    ask(
        &mut stream,
        "REDKEEP CLOCK ADVANCE 1000\r\nPING\r\nREDKEEP CLOCK SET 1800000000000\r\nTIME",
        &told,
    );
}

#[test]
fn a_clock_is_frozen_let_go_and_told() {
    let server = Server::builder()
        .config("enable-test-commands", "yes")
        .start()
        .unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(call(&mut client, "REDKEEP CLOCK FREEZE"), "OK");
    assert!(server.clock().is_frozen());
    let now = server.clock().now_ms();
    assert_eq!(
        call(&mut client, "REDKEEP CLOCK"),
        format!("[time {now} state frozen]")
    );
    assert_eq!(call(&mut client, "REDKEEP CLOCK SET 5000"), "OK");
    assert_eq!(call(&mut client, "TIME"), "[5 0]");
    assert_eq!(call(&mut client, "REDKEEP CLOCK ADVANCE 250"), "OK");
    assert_eq!(call(&mut client, "TIME"), "[5 250000]");
    assert_eq!(call(&mut client, "REDKEEP CLOCK THAW"), "OK");
    assert!(call(&mut client, "REDKEEP CLOCK").ends_with("state running]"));
    assert!(!server.clock().is_frozen());
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let server = with(FOR_TESTS);
    let mut client = server.client().unwrap();
    for (line, expected) in [
        ("REDKEEP CLOCK STOP", "ERR syntax error"),
        ("REDKEEP CLOCK ADVANCE", "ERR syntax error"),
        ("REDKEEP CLOCK FREEZE now", "ERR syntax error"),
        (
            "REDKEEP CLOCK ADVANCE soon",
            "ERR value is not an integer or out of range",
        ),
        ("REDKEEP CLOCK ADVANCE -1", "ERR time is out of range"),
        (
            "REDKEEP CLOCK SET 9223372036854775807",
            "ERR time is out of range",
        ),
    ] {
        assert_eq!(call(&mut client, line), expected, "{line}");
    }
    assert!(call(&mut client, "REDKEEP CLOCK HELP").contains("ADVANCE <milliseconds>"));
    assert_eq!(server.clock().now_ms(), START);
    call(&mut client, "MULTI");
    let refused = call(&mut client, "REDKEEP CLOCK ADVANCE 10");
    assert!(refused.starts_with("ERR"), "{refused}");
    call(&mut client, "DISCARD");
    let scripted = call(
        &mut client,
        "EVAL return{redis.call('redkeep','clock','freeze')} 0",
    );
    assert!(scripted.contains("not allowed from script"), "{scripted}");
}

#[test]
fn nobody_moves_the_clock_who_was_not_allowed_to() {
    let server = with(&[]);
    let refused = "REDKEEP commands for tests are not allowed";
    let mut client = server.client().unwrap();
    for line in [
        "REDKEEP CLOCK",
        "REDKEEP CLOCK FREEZE",
        "REDKEEP CLOCK ADVANCE 1",
    ] {
        let told = call(&mut client, line);
        assert!(told.contains(refused), "{line}: {told}");
    }
    assert!(call(&mut client, "CONFIG SET enable-test-commands yes").starts_with("ERR"));
}

/// An address of this machine that is not of itself alone, if it has one.
fn outside() -> Option<SocketAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent by that.
    socket.connect("192.0.2.1:9").ok()?;
    let mine = socket.local_addr().ok()?;
    (!mine.ip().is_loopback() && !mine.ip().is_unspecified()).then_some(mine)
}

#[test]
fn nobody_moves_the_clock_from_elsewhere() {
    let Some(mine) = outside() else {
        eprintln!("this machine has no address but that of itself");
        return;
    };
    let host = mine.ip().to_string();
    let server = with(&[
        ("enable-test-commands", "yes"),
        ("bind", &host),
        ("protected-mode", "no"),
    ]);
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    ask(&mut stream, "PING", "+PONG\r\n");
    ask(
        &mut stream,
        "REDKEEP CLOCK ADVANCE 1000",
        "-ERR REDKEEP commands for tests are not allowed",
    );
    assert_eq!(server.clock().now_ms(), START);
}

#[test]
fn a_server_ends_though_its_clock_is_being_moved() {
    let server = with(FOR_TESTS);
    let mut client = server.client().unwrap();
    // So that something is due all the time.
    call(&mut client, "CONFIG SET timeout 1");
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream
        .write_all(b"SUBSCRIBE x\r\nREDKEEP CLOCK ADVANCE 1000\r\n")
        .unwrap();
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream
        .write_all(b"REDKEEP CLOCK ADVANCE 250000000000000\r\n")
        .unwrap();
    let began = std::time::Instant::now();
    while server.clock().now_ms() == START && began.elapsed() < seconds(5) {
        std::thread::yield_now();
    }
    let began = std::time::Instant::now();
    server.shutdown();
    assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
}
