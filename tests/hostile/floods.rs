//! Connections without number.

use super::raw::{PATIENCE, Raw, eventually, info, resident};
use super::witness::Witness;
use crate::common::{Client, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

const FULL: &[u8] = b"-ERR max number of clients reached\r\n";

#[test]
fn one_too_many_is_told_so_again_and_again() {
    const FLOOD: usize = 1500;
    let server = Server::redkeep(&["--maxclients", "40"]);
    let witness = Witness::of(&server);
    let mut client = server.client();
    let mut inside: Vec<_> = (0..38).map(|_| Raw::to(&server)).collect();
    for raw in &mut inside {
        raw.send("PING\r\n").expect("+PONG\r\n");
    }
    let (memory, files) = (resident(&server), server.descriptors());
    let flooders: Vec<_> = (0..4)
        .map(|_| {
            let port = server.port;
            thread::spawn(move || {
                for n in 0..FLOOD / 4 {
                    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    let mut raw = Raw(stream);
                    raw.0.set_read_timeout(Some(PATIENCE)).unwrap();
                    // Some talk at once, and may be cut off for it before they have heard why.
                    if n % 4 == 0 {
                        let _ = raw.0.write_all(b"PING\r\n");
                        let told = raw.rest();
                        assert!(told.is_empty() || told == FULL);
                    } else {
                        assert_eq!(raw.rest(), FULL);
                    }
                }
            })
        })
        .collect();
    flooders.into_iter().for_each(|f| f.join().unwrap());
    for raw in &mut inside {
        raw.send("PING\r\n").expect("+PONG\r\n");
    }
    assert_eq!(info(&mut client, "rejected_connections"), FLOOD as u64);
    assert_eq!(info(&mut client, "connected_clients"), 40);
    eventually("the sockets are closed", || server.descriptors() <= files);
    let grown = resident(&server).saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown}");
    // Who goes makes room.
    drop(inside.pop());
    eventually("there is room", || {
        Client::connect(server.port).is_ok_and(|mut c| {
            c.call(&["PING"])
                .is_ok_and(|answer| answer.text() == "PONG")
        })
    });
    witness.was_served();
}

#[test]
#[cfg(target_os = "linux")]
fn without_descriptors_those_inside_are_served_and_others_let_in_later() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let mut inside: Vec<_> = (0..10).map(|_| Raw::to(&server)).collect();
    for raw in &mut inside {
        raw.send("PING\r\n").expect("+PONG\r\n");
    }
    let open = server.descriptors().unwrap() as u64;
    let pid = Pid::from_raw(server.pid().cast_signed());
    let limit = Rlimit {
        current: Some(open + 3),
        maximum: Some(open + 3),
    };
    prlimit(pid, Resource::Nofile, limit).unwrap();
    let mut outside: Vec<_> = (0..60).map(|_| Raw::to(&server)).collect();
    for raw in &mut outside {
        raw.send("ECHO in\r\n");
    }
    eventually("it is said in the log", || {
        server.log().contains("Accepting client connection:")
    });
    let let_in = |raw: &mut Raw, patience: Duration| {
        raw.0.set_read_timeout(Some(patience)).unwrap();
        raw.0.read_exact(&mut [0; 8]).is_ok()
    };
    let few = outside
        .iter_mut()
        .map(|raw| let_in(raw, Duration::from_millis(20)));
    let few = few.filter(|&yes| yes).count();
    assert!(few <= 6, "{few} are in");
    for raw in &mut inside {
        raw.send("PING\r\n").expect("+PONG\r\n");
    }
    drop(inside);
    let waiting: Vec<_> = outside.drain(few..).collect();
    drop(outside);
    for mut raw in waiting {
        // Each goes again, and makes room for the next.
        assert!(let_in(&mut raw, PATIENCE));
    }
    witness.was_served();
}

/// Connects and goes, in every way there is.
fn churn(connect: impl Fn() -> Raw + Sync, times: usize) {
    thread::scope(|scope| {
        for who in 0..4 {
            let connect = &connect;
            scope.spawn(move || {
                for n in 0..times / 4 {
                    let mut raw = connect();
                    match (n + who) % 6 {
                        0 => {}
                        1 => raw.reset(),
                        2 => _ = raw.send("PING\r\n").expect("+PONG\r\n"),
                        3 => _ = raw.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nxx"),
                        4 => _ = raw.send("SUBSCRIBE a b c\r\n"),
                        _ => {
                            raw.send("MULTI\r\nWATCH k\r\nBLPOP k 0\r\nCLIENT SETNAME me\r\n");
                            raw.reset();
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn thousands_who_come_and_go_leave_nothing() {
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let mut client = server.client();
    let gone = |client: &mut Client| {
        eventually("all are gone", || info(client, "connected_clients") <= 2);
        assert_eq!(info(client, "pubsub_channels"), 0);
        assert_eq!(info(client, "blocked_clients"), 0);
    };
    churn(|| Raw::to(&server), 2000);
    gone(&mut client);
    let (memory, files) = (resident(&server), server.descriptors());
    let used = info(&mut client, "mem_clients_normal");
    churn(|| Raw::to(&server), 4000);
    gone(&mut client);
    assert_eq!(info(&mut client, "mem_clients_normal"), used);
    eventually("the sockets are closed", || server.descriptors() <= files);
    let grown = resident(&server).saturating_sub(memory);
    assert!(grown < 12 << 20, "{grown}");
    witness.was_served();
}

#[test]
#[cfg(unix)]
fn unix_sockets_are_held_to_the_same() {
    use std::os::unix::net::UnixStream;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let server = Server::redkeep(&["--unixsocket", path.to_str().unwrap(), "--maxclients", "30"]);
    let witness = Witness::of(&server);
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let rest = |mut stream: UnixStream| {
        let mut got = Vec::new();
        // Reset, where something it had sent was never read.
        let _ = stream.read_to_end(&mut got);
        got
    };
    for (bytes, told) in [
        (
            "*x\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        ("POST / HTTP/1.1\r\n", ""),
        ("PING\r\nQUIT\r\nPING\r\n", "+PONG\r\n+OK\r\n"),
    ] {
        let mut stream = connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest(stream)), told);
    }
    let files = server.descriptors();
    let mut inside = Vec::new();
    for _ in 0..28 {
        let mut stream = connect();
        stream.write_all(b"PING\r\n").unwrap();
        stream.read_exact(&mut [0; 7]).unwrap();
        inside.push(stream);
    }
    // The witness, those, and this one.
    let mut client = server.client();
    assert_eq!(info(&mut client, "connected_clients"), 30);
    for _ in 0..200 {
        assert_eq!(rest(connect()), FULL);
    }
    drop(inside);
    eventually("the sockets are closed", || {
        server.descriptors() <= files.map(|n| n + 1)
    });
    assert_eq!(info(&mut client, "rejected_connections"), 200);
    witness.was_served();
}
