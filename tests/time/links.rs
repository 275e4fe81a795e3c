//! Servers with each other, on one clock: over real sockets, and no longer than these take.

use std::time::Instant;

use redkeep::util::clock::{Clock, ManualClock};
use redkeep::{Client, Server};

use super::{START, call, info, ms, on, seconds};

/// A leader and servers that follow it, all of them in step.
fn group(clock: &ManualClock, replicas: usize, options: &[(&str, &str)]) -> (Server, Vec<Server>) {
    let leader = on(clock, options);
    let port = leader.port().to_string();
    let followed: Vec<Server> = (0..replicas)
        .map(|_| {
            let replica = on(clock, options);
            let mut client = replica.client().unwrap();
            call(&mut client, &format!("REPLICAOF 127.0.0.1 {port}"));
            replica
        })
        .collect();
    // No more than the delay that replicas are gathered for.
    clock.advance(seconds(10));
    for replica in &followed {
        assert_eq!(
            info(&mut replica.client().unwrap(), "master_link_status"),
            "up"
        );
    }
    (leader, followed)
}

fn role(client: &mut Client) -> String {
    info(client, "role")
}

#[test]
fn a_replica_sees_what_its_leader_does_at_that_time() {
    let clock = ManualClock::at_ms(START);
    let (leader, replicas) = group(&clock, 1, &[]);
    let mut client = leader.client().unwrap();
    let mut there = replicas[0].client().unwrap();
    call(&mut client, "SET key value PX 5000");
    clock.advance(ms(5_000));
    assert_eq!(call(&mut there, "DBSIZE"), "1");
    clock.advance(ms(1));
    assert_eq!(call(&mut there, "DBSIZE"), "0");
    assert_eq!(
        info(&mut there, "master_repl_offset"),
        info(&mut client, "master_repl_offset")
    );
}

#[test]
fn a_leader_that_is_silent_is_given_up_and_found_again() {
    let options = [("repl-timeout", "60"), ("repl-ping-replica-period", "10")];
    let clock = ManualClock::at_ms(START);
    let replica = on(&clock, &options);
    let mut there = replica.client().unwrap();
    // Its own time stands still: it pings nobody, and nobody waits for what it does.
    let silent = ManualClock::at_ms(START);
    let leader = on(&silent, &options);
    let mut client = leader.client().unwrap();
    call(
        &mut there,
        &format!("REPLICAOF 127.0.0.1 {}", leader.port()),
    );
    let began = Instant::now();
    while info(&mut there, "master_link_status") != "up" {
        silent.advance(seconds(1));
        clock.advance(ms(100));
        assert!(began.elapsed() < seconds(20), "there is no link");
    }
    let heard = clock.now_ms();
    clock.advance(seconds(59));
    assert_eq!(info(&mut there, "master_link_status"), "up");
    assert_eq!(info(&mut client, "sync_partial_ok"), "0");
    while info(&mut client, "sync_partial_ok") == "0" {
        clock.advance(ms(100));
        assert!(began.elapsed() < seconds(20), "it does not connect again");
    }
    assert!(clock.now_ms() - heard >= 60_000);
}

#[test]
fn a_leader_gives_up_a_replica_that_acknowledges_nothing() {
    let clock = ManualClock::at_ms(START);
    let (leader, replicas) = group(&clock, 2, &[("repl-timeout", "30")]);
    let mut client = leader.client().unwrap();
    assert_eq!(info(&mut client, "connected_slaves"), "2");
    clock.advance(seconds(300));
    assert_eq!(info(&mut client, "connected_slaves"), "2");
    for replica in replicas {
        replica.shutdown();
    }
    clock.advance(seconds(31));
    assert_eq!(info(&mut client, "connected_slaves"), "0");
}

#[test]
fn who_waits_for_replicas_has_them_or_the_end_of_its_time() {
    let clock = ManualClock::at_ms(START);
    let (leader, replicas) = group(&clock, 1, &[]);
    let mut client = leader.client().unwrap();
    call(&mut client, "SET key value");
    assert_eq!(call(&mut client, "WAIT 1 0"), "1");
    let waits = super::waiting(&leader, |mut client| {
        call(&mut client, "SET key value");
        call(&mut client, "WAIT 2 700")
    });
    clock.advance(ms(699));
    assert!(!waits.is_finished());
    clock.advance(ms(1));
    assert_eq!(waits.join().unwrap(), "1");
    drop(replicas);
}

/// Three sentinels that watch a leader and know of each other and its replicas.
fn sentinels(clock: &ManualClock, leader: &Server) -> Vec<Server> {
    let lines = format!(
        "sentinel monitor main 127.0.0.1 {} 2\nsentinel down-after-milliseconds main 5000\n\
         sentinel failover-timeout main 60000\n",
        leader.port()
    );
    let start = |_| {
        let builder = Server::builder().sentinel_in_memory(lines.clone());
        builder.port(0).clock(clock.clone()).start().unwrap()
    };
    let watchers: Vec<Server> = (0..3).map(start).collect();
    clock.advance(seconds(15));
    for watcher in &watchers {
        let known = call(&mut watcher.client().unwrap(), "SENTINEL MASTER main");
        assert!(
            known.contains("num-slaves 2 num-other-sentinels 2"),
            "{known}"
        );
    }
    watchers
}

#[test]
fn sentinels_fail_a_leader_over_when_the_clock_says_that_it_is_down() {
    let clock = ManualClock::at_ms(START);
    let (leader, replicas) = group(&clock, 2, &[]);
    let watchers = sentinels(&clock, &leader);
    let old = leader.port().to_string();
    leader.shutdown();
    let began = (Instant::now(), clock.now_ms());
    clock.advance(seconds(4));
    for replica in &replicas {
        assert_eq!(role(&mut replica.client().unwrap()), "slave");
    }
    clock.advance(seconds(26));
    let leaders: Vec<&Server> = replicas
        .iter()
        .filter(|replica| role(&mut replica.client().unwrap()) == "master")
        .collect();
    assert_eq!(leaders.len(), 1);
    let port = leaders[0].port().to_string();
    for watcher in &watchers {
        let told = call(
            &mut watcher.client().unwrap(),
            "SENTINEL GET-MASTER-ADDR-BY-NAME main",
        );
        assert_eq!(told, format!("[127.0.0.1 {port}]"), "it was {old}");
    }
    for replica in &replicas {
        let mut client = replica.client().unwrap();
        if role(&mut client) == "slave" {
            assert_eq!(info(&mut client, "master_port"), port);
            assert_eq!(info(&mut client, "master_link_status"), "up");
        }
    }
    eprintln!(
        "{} s of the clock in {:?}",
        (clock.now_ms() - began.1) / 1000,
        began.0.elapsed()
    );
}
