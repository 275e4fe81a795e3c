//! Faults of disks.

use super::said;
use redkeep::faults::{DiskError, DiskOp, Fault};
use redkeep::{Client, Server};
use std::time::{Duration, Instant};

fn logging(dir: &tempfile::TempDir, policy: &str) -> (Server, Client) {
    let server = Server::builder()
        .config("dir", dir.path().to_str().unwrap())
        .config("appendonly", "yes")
        .config("appendfsync", policy)
        .start()
        .unwrap();
    let client = server.client().unwrap();
    (server, client)
}

/// Calls until something is answered, but not an error that begins so.
fn until_mended(client: &mut Client, line: &str, code: &str) -> String {
    let began = Instant::now();
    loop {
        let answer = said(client, line);
        if !answer.contains(code) {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_is_misconf_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut client) = logging(&dir, "everysec");
    assert_eq!(said(&mut client, "SET a 1"), "OK");
    let full = Fault::disk(DiskOp::Write)
        .path("*.aof")
        .fail(DiskError::NoSpace);
    let full = server.faults().add(full).unwrap();
    let began = Instant::now();
    // Whoever comes first does not know yet.
    let error = loop {
        let answer = said(&mut client, "SET b 1");
        if answer != "OK" {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    };
    let text = "MISCONF Errors writing to the AOF file: No space left on device";
    assert!(error.contains(text), "{error}");
    assert_eq!(said(&mut client, "GET a"), "1");
    assert!(server.faults().hits(full) > 0);
    server.faults().clear();
    assert_eq!(until_mended(&mut client, "SET c 1", "MISCONF"), "OK");
}

#[test]
fn a_write_that_is_cut_off_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut client) = logging(&dir, "always");
    said(&mut client, "SET a 1");
    let torn = Fault::disk(DiskOp::Write).path("*.aof").short(9).once();
    let torn = server.faults().add(torn).unwrap();
    // It is tried again, and nobody notices.
    let answer = client.call(["SET", "b", "2"]);
    assert_eq!(server.faults().hits(torn), 1);
    drop(answer);
    let mut client = server.client().unwrap();
    until_mended(&mut client, "SET c 3", "MISCONF");
    let server = server.crash().restart().unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(said(&mut client, "MGET a c"), said(&mut client, "MGET a c"));
    assert_eq!(said(&mut client, "GET a"), "1");
    assert_eq!(said(&mut client, "GET c"), "3");
}

#[test]
fn a_save_fails_where_the_disk_does_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::builder()
        .config("dir", dir.path().to_str().unwrap())
        .start()
        .unwrap();
    let mut client = server.client().unwrap();
    said(&mut client, "SET a 1");
    for op in [
        DiskOp::Open,
        DiskOp::Write,
        DiskOp::Sync,
        DiskOp::Rename,
        DiskOp::Any,
    ] {
        let broken = Fault::disk(op).path("*").fail(DiskError::Io).once();
        let broken = server.faults().add(broken).unwrap();
        let answer = said(&mut client, "SAVE");
        assert!(answer.contains("ERR"), "{op:?}: {answer}");
        assert_eq!(server.faults().hits(broken), 1);
        assert_eq!(said(&mut client, "SAVE"), "OK");
    }
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 1, "there is more than the file that was saved");
}

#[test]
fn a_slow_disk_holds_up_who_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut client) = logging(&dir, "always");
    said(&mut client, "SET a 1");
    let by = Duration::from_millis(150);
    let slow = Fault::disk(DiskOp::Sync).path("*.aof").slow(by).once();
    let slow = server.faults().add(slow).unwrap();
    let began = Instant::now();
    assert_eq!(said(&mut client, "SET a 2"), "OK");
    assert!(began.elapsed() >= by && server.faults().hits(slow) == 1);
}

#[test]
fn a_slow_disk_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut client) = logging(&dir, "everysec");
    let ages = Duration::from_secs(3600);
    let slow = Fault::disk(DiskOp::Write).path("*.aof").slow(ages);
    let slow = server.faults().add(slow).unwrap();
    said(&mut client, "SET a 1");
    let began = Instant::now();
    while server.faults().hits(slow) == 0 {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
    let server = server.crash();
    assert!(began.elapsed() < Duration::from_secs(5));
    let server = server.restart().unwrap();
    assert_eq!(said(&mut server.client().unwrap(), "DBSIZE"), "0");
}
