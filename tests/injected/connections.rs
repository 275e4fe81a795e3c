//! Faults of connections, and of the whole server.

use super::{Got, Reply, SILENCE, Socket, is_silent, ok, said, send, server, socket};
use redkeep::embed::CallError;
use redkeep::faults::Fault;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[test]
fn new_connections_are_refused_told_something_or_not_heard() {
    let (server, mut client) = server();
    let faults = server.faults();
    let mut before = socket(&server);
    send(&mut before, "SET k 0");
    assert_eq!(super::got(&mut before), ok());
    said(&mut client, "DEL k");
    faults
        .add(Fault::connection().addr("127.0.0.1:*").refuse().times(2))
        .unwrap();
    for _ in 0..2 {
        // The kernel has let it in.
        let mut refused = socket(&server);
        assert_eq!(super::got(&mut refused), Got::Closed);
    }
    faults
        .add(Fault::connection().fail("ERR full of clients").once())
        .unwrap();
    let mut told = socket(&server);
    let text = Reply::Error(b"ERR full of clients".to_vec());
    assert_eq!(super::got(&mut told), Got::Reply(text));
    assert_eq!(super::got(&mut told), Got::Closed);
    faults.add(Fault::connection().hang().once()).unwrap();
    let mut unheard = socket(&server);
    send(&mut unheard, "SET k 1");
    assert!(is_silent(&mut unheard));
    assert_eq!(said(&mut client, "EXISTS k"), "0");
    let mut after = socket(&server);
    for socket in [&mut before, &mut after] {
        send(socket, "SET k 2");
        assert_eq!(super::got(socket), ok());
    }
    let stats = said(&mut client, "INFO stats");
    assert!(stats.contains("rejected_connections:3"), "{stats}");
}

#[test]
fn a_frozen_server_takes_connections_and_answers_when_it_goes_on() {
    let (server, mut client) = server();
    let frozen = server.faults().freeze().unwrap();
    let mut socket = socket(&server);
    send(&mut socket, "SET k 1");
    let (sender, receiver) = mpsc::channel();
    let calling = std::thread::spawn(move || {
        let answer = client.call(["GET", "nothing"]);
        sender.send(answer).unwrap();
    });
    assert!(is_silent(&mut socket));
    assert!(receiver.recv_timeout(SILENCE).is_err());
    // Rules do not need the engine.
    let id = server
        .faults()
        .add(Fault::command("get").fail("ERR no"))
        .unwrap();
    assert!(server.faults().remove(id));
    frozen.thaw();
    assert_eq!(super::got(&mut socket), ok());
    assert!(receiver.recv_timeout(Duration::from_secs(5)).is_ok());
    calling.join().unwrap();
}

#[test]
fn a_frozen_server_can_be_stopped() {
    let (server, mut client) = server();
    let frozen = server.faults().freeze().unwrap();
    let again = server.faults();
    let calling = std::thread::spawn(move || client.call(["PING"]));
    let began = Instant::now();
    server.shutdown();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(calling.join().unwrap(), Err(CallError::Stopped));
    assert!(again.freeze().is_err());
    drop(frozen);
}

#[test]
fn a_server_freezes_for_a_while_over_the_wire() {
    let server = super::wire::server();
    let mut controls = socket(&server);
    let mut other = socket(&server);
    send(&mut controls, "REDKEEP FAULT FREEZE 200");
    assert_eq!(super::got(&mut controls), ok());
    let began = Instant::now();
    // From when exactly it stands still nobody can tell: until an answer is late.
    let longest = (0..100)
        .map(|_| {
            let asked = Instant::now();
            send(&mut other, "PING");
            assert!(matches!(super::got(&mut other), Got::Reply(_)));
            asked.elapsed()
        })
        .max();
    assert!(longest.unwrap() > Duration::from_millis(100), "{longest:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(Socket::connect(server.port()).unwrap());
}
