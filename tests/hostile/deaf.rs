//! Who does not read: the server stops reading from it, so that its memory is bounded although nothing limits the output.

use super::raw::{PATIENCE, Raw, alone, eventually, info, resident};
use super::witness::Witness;
use crate::common::{Reply, Server};
use std::io::Read;

/// What a server keeps for one client that does not read, before it stops reading itself.
const KEPT: usize = 64 << 20;

/// What a large value has.
const VALUE: usize = 1 << 20;

fn start() -> Server {
    let server = Server::redkeep(&[]);
    let value = vec![b'v'; VALUE];
    let set = server
        .client()
        .call(&[b"SET", b"k".as_slice(), &value])
        .unwrap();
    assert_eq!(set, Reply::Simple("OK".into()));
    server
}

#[test]
fn a_pipeline_whose_replies_nobody_reads_is_not_read_further() {
    const CLIENTS: usize = 3;
    const MOST: usize = 64 << 20;
    let server = start();
    let witness = Witness::of(&server);
    let before = resident(&server);
    let mut deaf: Vec<_> = (0..CLIENTS).map(|_| Raw::to(&server)).collect();
    for raw in &mut deaf {
        // Each byte asks for more than a hundred thousand.
        let (taken, closed) = raw.pour(&b"GET k\r\n".repeat(1000), MOST);
        assert!(
            !closed && taken < MOST,
            "{taken} bytes taken, closed: {closed}"
        );
    }
    let grown = resident(&server).saturating_sub(before);
    // A buffer that has grown was another one before, which the allocator may keep for a while.
    let most = CLIENTS * 2 * KEPT + (64 << 20);
    assert!(grown < most, "{grown} bytes, not {most}");
    let mut client = server.client();
    let list = client.run("CLIENT LIST").text();
    let held = list.lines().filter(|l| !l.contains(" omem=0 ")).count();
    assert_eq!(held, CLIENTS, "{list}");
    // Whoever reads in the end gets everything, and is read from again.
    let raw = &mut deaf[0];
    let each = format!("${VALUE}\r\n").len() + VALUE + 2;
    let mut got = vec![0; each];
    for _ in 0..3 * KEPT / VALUE {
        raw.0.read_exact(&mut got).unwrap();
        assert!(got.starts_with(b"$1048576\r\nvvv") && got.ends_with(b"vvv\r\n"));
    }
    drop(deaf);
    alone_but_for_the_witness(&mut client);
    witness.was_served();
}

fn alone_but_for_the_witness(client: &mut crate::common::Client) {
    eventually("the others are gone", || {
        info(client, "connected_clients") <= 2
    });
}

#[test]
fn small_replies_that_nobody_reads_are_bounded_too() {
    const MOST: usize = 512 << 20;
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let before = resident(&server);
    // Many more bytes come back than go out.
    let (taken, closed) = Raw::to(&server).pour(&b"COMMAND COUNT X\r\n".repeat(1000), MOST);
    assert!(
        !closed && taken < MOST,
        "{taken} bytes taken, closed: {closed}"
    );
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 2 * KEPT + (32 << 20), "{grown}");
    witness.was_served();
}

#[test]
fn a_subscriber_who_does_not_read_is_cut_off() {
    let server = Server::redkeep(&["--client-output-buffer-limit", "pubsub 4mb 0 0"]);
    let witness = Witness::of(&server);
    let mut deaf: Vec<_> = (0..3).map(|_| Raw::to(&server)).collect();
    for raw in &mut deaf {
        raw.send("SUBSCRIBE c\r\n")
            .expect("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    }
    let (mut client, message) = (server.client(), "m".repeat(64 << 10));
    let before = resident(&server);
    eventually("all are cut off", || {
        client.call(&["PUBLISH", "c", &message]).unwrap() == Reply::Int(0)
    });
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 3 * (8 << 20) + (16 << 20), "{grown}");
    assert_eq!(
        info(&mut client, "client_output_buffer_limit_disconnections"),
        3
    );
    witness.was_served();
}

#[test]
fn who_resets_the_connection_in_the_middle_of_a_reply_leaves_nothing() {
    let server = start();
    let witness = Witness::of(&server);
    let round = |n: usize| {
        for _ in 0..n {
            let mut raw = Raw::to(&server);
            raw.send("GET k\r\n".repeat(20));
            raw.0.read_exact(&mut [0; 100]).unwrap();
            raw.reset();
        }
    };
    let mut client = server.client();
    round(60);
    alone_but_for_the_witness(&mut client);
    let (memory, files) = (resident(&server), server.descriptors());
    round(300);
    alone_but_for_the_witness(&mut client);
    let grown = resident(&server).saturating_sub(memory);
    assert!(grown < 160 << 20, "{grown}");
    eventually("the sockets are closed", || server.descriptors() <= files);
    witness.was_served();
    alone(&mut client);
}

#[test]
fn what_stands_behind_quit_is_not_run_and_the_replies_before_it_come() {
    let server = start();
    let mut raw = Raw::to(&server);
    raw.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let few = "GET k\r\n".repeat(8);
    raw.send(format!(
        "{few}QUIT\r\nSET stolen 1\r\n{}",
        "PING\r\n".repeat(5000)
    ));
    let got = raw.rest();
    assert_eq!(got.len(), 8 * ("$1048576\r\n".len() + VALUE + 2) + 5);
    assert!(got.ends_with(b"\r\n+OK\r\n"));
    assert_eq!(server.client().run("EXISTS stolen"), Reply::Int(0));
}
