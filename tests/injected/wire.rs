//! The same over the wire: REDKEEP FAULT, and who may use it.

use super::{Got, Reply, Socket, common, ok, said, send};
use redkeep::{Client, Server};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// A server that has commands for tests.
pub(super) fn server() -> Server {
    let builder = Server::builder().config("enable-test-commands", "yes");
    builder.start().unwrap()
}

/// Waits until so many clients wait for keys.
pub(super) fn until_blocked(client: &mut Client, clients: usize) {
    let began = Instant::now();
    let wanted = format!("blocked_clients:{clients}");
    while !said(client, "INFO clients").contains(&wanted) {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn call(socket: &mut Socket, line: &str) -> String {
    match socket.call(&common::argv(line)).unwrap() {
        Reply::Error(text) => format!("-{}", String::from_utf8_lossy(&text)),
        Reply::Simple(text) | Reply::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        Reply::Int(n) => n.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn faults_are_added_listed_and_taken_away() {
    let server = server();
    let mut socket = super::socket(&server);
    let mut victim = super::socket(&server);
    let add = |socket: &mut Socket, rule: &str| call(socket, &format!("REDKEEP FAULT ADD {rule}"));
    assert_eq!(
        add(&mut socket, "COMMAND set KEY lock:* ERROR LOADING TIMES 1"),
        "1"
    );
    assert_eq!(add(&mut socket, "command @read drop after skip 1"), "2");
    assert!(call(&mut victim, "SET lock:a 1").starts_with("-LOADING"));
    assert_eq!(call(&mut victim, "SET lock:a 1"), "OK");
    assert_eq!(call(&mut victim, "GET lock:a"), "1");
    send(&mut victim, "GET lock:a");
    assert_eq!(super::got(&mut victim), Got::Closed);
    // The same rules as those from within.
    let listed = server.faults().list();
    let listed: Vec<_> = listed
        .iter()
        .map(|l| (l.id.0, l.fault.to_string(), l.met, l.hits))
        .collect();
    assert_eq!(
        listed,
        [
            (
                1,
                "COMMAND set KEY lock:* ERROR LOADING TIMES 1".into(),
                2,
                1
            ),
            (2, "COMMAND @read DROP AFTER SKIP 1".into(), 2, 1),
        ]
    );
    call(&mut socket, "HELLO 3");
    let list = said(&mut server.client().unwrap(), "REDKEEP FAULT LIST");
    assert!(list.contains("COMMAND @read DROP AFTER SKIP 1"), "{list}");
    assert_eq!(call(&mut socket, "REDKEEP FAULT DEL 1"), "1");
    assert_eq!(call(&mut socket, "REDKEEP FAULT DEL 1"), "0");
    assert_eq!(call(&mut socket, "REDKEEP FAULT CLEAR"), "OK");
    assert!(server.faults().list().is_empty());
}

#[test]
fn what_is_wrong_is_said_and_who_breaks_everything_can_mend_it() {
    let server = server();
    let mut socket = super::socket(&server);
    for (line, error) in [
        ("ADD COMMAND nosuch DROP", "-ERR unknown command 'nosuch'"),
        ("ADD COMMAND @nosuch DROP", "-ERR unknown category 'nosuch'"),
        ("ADD COMMAND set BOIL", "-ERR syntax error at 'BOIL'"),
        ("ADD DISK", "-ERR syntax error: an operation expected"),
        (
            "ADD COMMAND set DROP CHANCE 2",
            "-ERR a probability is between 0 and 1",
        ),
        ("DEL x", "-ERR value is not an integer or out of range"),
        ("FREEZE -1", "-ERR value is not an integer or out of range"),
        (
            "CRASH",
            "-ERR REDKEEP FAULT CRASH is not supported: this server does not end",
        ),
        (
            "BURN",
            "-ERR unknown subcommand or wrong number of arguments for 'BURN'. Try REDKEEP FAULT HELP.",
        ),
        (
            "ADD",
            "-ERR unknown subcommand or wrong number of arguments for 'ADD'. Try REDKEEP FAULT HELP.",
        ),
    ] {
        let answer = call(&mut socket, &format!("REDKEEP FAULT {line}"));
        assert!(answer.starts_with(error), "{line}: {answer}");
    }
    for (line, word) in [("REDKEEP FAULT HELP", "CHANCE"), ("REDKEEP HELP", "FAULT")] {
        let help = said(&mut server.client().unwrap(), line);
        assert!(help.contains(word), "{help}");
    }
    // All commands fail, but for these.
    assert_eq!(call(&mut socket, "REDKEEP FAULT ADD COMMAND * DROP"), "1");
    assert_eq!(
        call(&mut socket, "REDKEEP FAULT ADD COMMAND @admin DROP"),
        "2"
    );
    assert_eq!(call(&mut socket, "REDKEEP FAULT CLEAR"), "OK");
    assert_eq!(call(&mut socket, "PING"), "PONG");
}

#[test]
fn who_may_not_is_refused() {
    let plain = Server::builder().start().unwrap();
    let refusal = "-ERR REDKEEP commands for tests are not allowed.";
    let mut socket = super::socket(&plain);
    assert!(call(&mut socket, "REDKEEP FAULT CLEAR").starts_with(refusal));
    let set = call(&mut socket, "CONFIG SET enable-test-commands yes");
    assert!(set.contains("immutable"), "{set}");
    let script = "return redis.call('REDKEEP', 'FAULT', 'CLEAR')";
    let scripted = socket.call(&["EVAL", script, "0"]).unwrap();
    assert!(matches!(scripted, Reply::Error(_)));
    // Neither may who is elsewhere: an address of this machine that is no loopback address is as good as that.
    let away = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let Ok(away) = away.map(|addr| addr.ip()) else {
        return;
    };
    if away.is_loopback() {
        return;
    }
    let open = Server::builder()
        .bind(&away.to_string())
        .config("protected-mode", "no")
        .config("enable-test-commands", "yes")
        .start()
        .unwrap();
    let stream = std::net::TcpStream::connect(open.addr()).unwrap();
    let mut remote = Socket::over(stream).unwrap();
    assert!(call(&mut remote, "REDKEEP FAULT CLEAR").starts_with(refusal));
    let mut within = open.client().unwrap();
    assert_eq!(said(&mut within, "REDKEEP FAULT CLEAR"), "OK");
}

#[test]
fn a_process_crashes_and_keeps_what_was_synced() {
    let options = "--enable-test-commands yes --appendonly yes --appendfsync no";
    let options: Vec<&str> = options.split(' ').collect();
    let mut server = common::Server::redkeep(&options);
    let mut socket = server.client();
    send(&mut socket, "SET k 1");
    assert_eq!(super::got(&mut socket), ok());
    send(&mut socket, "REDKEEP FAULT CRASH");
    assert_eq!(super::got(&mut socket), Got::Closed);
    assert_eq!(server.end(), None, "no signal has ended it");
    assert!(server.revive());
    let mut socket = server.client();
    assert_eq!(call(&mut socket, "EXISTS k"), "0");
}
