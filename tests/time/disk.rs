//! The log's syncs.

use std::sync::Arc;

use redkeep::Server;
use redkeep::util::clock::ManualClock;

use super::sim_disk::{Op, SimDisk};
use super::{START, call, info, ms, seconds};

/// A directory that exists, as far as the configuration looks; its files are on another disk.
const DIR: &str = "/";

/// When files were synced, as the clock of the disk has it.
fn syncs(disk: &SimDisk) -> Vec<i64> {
    let tape = disk.tape();
    let ops = tape.ops.iter().zip(&tape.times);
    ops.filter(|(op, _)| matches!(op, Op::Sync { .. }))
        .map(|(_, at)| *at - START)
        .collect()
}

#[test]
fn what_was_written_is_synced_a_second_later() {
    let clock = ManualClock::at_ms(START);
    let disk = SimDisk::new(DIR);
    disk.keep_time(Arc::new(clock.clone()));
    let builder = Server::builder()
        .clock(clock.clone())
        .disk(Arc::new(disk.clone()))
        .config("dir", DIR)
        .config("appendonly", "yes")
        .config("appendfsync", "everysec");
    let server = builder.start().unwrap();
    let mut client = server.client().unwrap();
    // The log's first base is there.
    clock.advance(seconds(5));
    assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "ok");
    let before = syncs(&disk).len();
    call(&mut client, "SET key value PX 3000");
    clock.advance(ms(999));
    assert_eq!(syncs(&disk).len(), before);
    clock.advance(ms(1));
    assert_eq!(syncs(&disk)[before..], [6_000]);
    // The end of the key is written when it comes, and synced a second after that.
    clock.advance(seconds(60));
    assert_eq!(syncs(&disk)[before..], [6_000, 9_001]);
    assert_eq!(info(&mut client, "aof_delayed_fsync"), "0");
}

#[test]
fn a_snapshot_is_saved_when_its_time_has_come() {
    let clock = ManualClock::at_ms(START);
    let disk = SimDisk::new(DIR);
    let builder = Server::builder()
        .clock(clock.clone())
        .disk(Arc::new(disk.clone()))
        .config("dir", DIR)
        .config("save", "60 1");
    let server = builder.start().unwrap();
    let mut client = server.client().unwrap();
    call(&mut client, "SET key value");
    clock.advance(seconds(59));
    assert_eq!(info(&mut client, "rdb_saves"), "0");
    clock.advance(seconds(2));
    assert_eq!(info(&mut client, "rdb_saves"), "1");
    let saved: i64 = call(&mut client, "LASTSAVE").parse().unwrap();
    assert!(
        (START / 1000 + 60..=START / 1000 + 61).contains(&saved),
        "{saved}"
    );
}
