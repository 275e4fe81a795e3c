//! Servers that crash, and what is left of them.

use super::{said, socket};
use redkeep::Server;
use redkeep::embed::CallError;
use std::time::{Duration, Instant};

fn keeps(dir: &tempfile::TempDir, options: &[(&str, &str)]) -> Server {
    let mut builder = Server::builder().config("dir", dir.path().to_str().unwrap());
    for (name, value) in options {
        builder = builder.config(name, value);
    }
    builder.start().unwrap()
}

fn log(policy: &'static str) -> [(&'static str, &'static str); 2] {
    [("appendonly", "yes"), ("appendfsync", policy)]
}

#[test]
fn what_always_has_acknowledged_survives() {
    let dir = tempfile::tempdir().unwrap();
    let server = keeps(&dir, &log("always"));
    let (port, mut client) = (server.port(), server.client().unwrap());
    let mut socket = socket(&server);
    for n in 0..50 {
        assert_eq!(said(&mut client, "INCR n"), (n + 1).to_string());
    }
    let server = server.crash();
    // Whoever was connected is not any more.
    assert_eq!(super::got(&mut socket), super::Got::Closed);
    assert_eq!(client.call(["GET", "n"]), Err(CallError::Stopped));
    drop(client);
    let server = server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(said(&mut server.client().unwrap(), "GET n"), "50");
}

#[test]
fn of_what_is_synced_every_second_the_rest_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let server = keeps(&dir, &log("everysec"));
    let mut client = server.client().unwrap();
    said(&mut client, "SET before 1");
    // Known to be on the disk.
    assert!(said(&mut client, "WAITAOF 1 0 10000").contains('1'));
    said(&mut client, "SET behind 1");
    let server = server.crash().restart().unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(said(&mut client, "GET before"), "1");
    assert_eq!(said(&mut client, "EXISTS behind"), "0");
}

#[test]
fn what_nobody_syncs_is_lost_and_what_is_shut_down_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = keeps(&dir, &log("no"));
    let mut client = server.client().unwrap();
    said(&mut client, "SET k 1");
    let path = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
    let began = Instant::now();
    while !std::fs::read(&path)
        .unwrap()
        .windows(3)
        .any(|w| w == b"SET")
    {
        assert!(began.elapsed() < Duration::from_secs(5), "never written");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(client);
    let server = server.crash().restart().unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(said(&mut client, "EXISTS k"), "0");
    said(&mut client, "SET k 2");
    drop(client);
    server.shutdown();
    let server = keeps(&dir, &log("no"));
    assert_eq!(said(&mut server.client().unwrap(), "GET k"), "2");
}

#[test]
fn a_saved_data_set_is_there_as_it_was_saved() {
    let dir = tempfile::tempdir().unwrap();
    let server = keeps(&dir, &[]);
    let mut client = server.client().unwrap();
    said(&mut client, "SET k 1");
    assert_eq!(said(&mut client, "SAVE"), "OK");
    said(&mut client, "SET k 2");
    drop(client);
    let server = server.crash().restart().unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(said(&mut client, "GET k"), "1");
    // Its name was given to the new file, and that was not synced: the old one is there again.
    let lost = redkeep::faults::Fault::disk(redkeep::faults::DiskOp::Sync)
        .path(dir.path().to_str().unwrap())
        .fail(redkeep::faults::DiskError::Io);
    server.faults().add(lost).unwrap();
    said(&mut client, "SET k 3");
    assert!(said(&mut client, "SAVE").contains("ERR"));
    drop(client);
    let server = server.crash().restart().unwrap();
    assert_eq!(said(&mut server.client().unwrap(), "GET k"), "1");
}

#[test]
fn a_server_in_memory_begins_anew_without_its_faults() {
    let (server, mut client) = super::server();
    server
        .faults()
        .add(redkeep::faults::Fault::command("get").fail("ERR no"))
        .unwrap();
    said(&mut client, "SET k 1");
    let port = server.port();
    let server = server.crash().restart().unwrap();
    assert_eq!(server.port(), port);
    assert!(server.faults().list().is_empty());
    let mut client = server.client().unwrap();
    assert_eq!(client.call(["GET", "k"]).unwrap(), redkeep::Value::Null);
}
