//! Who makes the server keep things: as much as is allowed, counted as its own, and gone when it is.

use super::raw::{Raw, alone, eventually, info, resident};
use super::witness::Witness;
use crate::common::client::encode;
use crate::common::{Client, Reply, Server};

fn total_of(client: &mut Client, name: &str) -> usize {
    let list = client.run("CLIENT LIST").text();
    let line = list.lines().find(|l| l.contains(name)).unwrap();
    let word = line.split(' ').find_map(|w| w.strip_prefix("tot-mem="));
    word.unwrap().parse().unwrap()
}

#[test]
fn a_flood_of_subscriptions_is_counted_and_goes_with_its_client() {
    const CHANNELS: usize = 100_000;
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let (mut client, mut hoarder) = (server.client(), server.client());
    hoarder.run("CLIENT SETNAME hoarder");
    for first in (0..CHANNELS).step_by(1000) {
        let mut words = vec!["SUBSCRIBE".to_owned()];
        words.extend((first..first + 1000).map(|n| format!("a-channel-of-{n:08}")));
        hoarder.send(&words).unwrap();
        for _ in 0..1000 {
            hoarder.reply().unwrap();
        }
    }
    let total = total_of(&mut client, "name=hoarder");
    assert!(total > CHANNELS * 21, "{total}");
    assert_eq!(info(&mut client, "pubsub_channels"), CHANNELS as u64);
    drop(hoarder);
    eventually("its channels are gone", || {
        info(&mut client, "pubsub_channels") == 0
    });
    witness.was_served();
}

#[test]
fn a_flood_of_watched_keys_takes_no_longer_for_each() {
    const KEYS: usize = 200_000;
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let mut client = server.client();
    let watch = |client: &mut Client| {
        for first in (0..KEYS).step_by(10_000) {
            let mut words = vec!["WATCH".to_owned()];
            words.extend((first..first + 10_000).map(|n| format!("k{n}")));
            assert_eq!(client.call(&words).unwrap().text(), "OK");
        }
    };
    watch(&mut client);
    // Once more changes nothing.
    watch(&mut client);
    assert_eq!(server.client().run("SET k77777 v").text(), "OK");
    client.run("MULTI");
    assert_eq!(client.run("EXEC"), Reply::NullArray);
    watch(&mut client);
    drop(client);
    alone_but_for_the_witness(&server);
    witness.was_served();
}

fn alone_but_for_the_witness(server: &Server) {
    let mut client = server.client();
    eventually("the others are gone", || {
        info(&mut client, "connected_clients") <= 2
    });
}

#[test]
fn millions_of_empty_arguments_cost_what_they_are() {
    const ARGS: usize = 2_000_000;
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let before = resident(&server);
    for (name, told) in [
        (
            "PING",
            "-ERR wrong number of arguments for 'ping' command\r\n",
        ),
        ("DEL", ":0\r\n"),
        (
            "NONE",
            "-ERR unknown command 'NONE', with args beginning with: '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' '' \r\n",
        ),
    ] {
        let mut request = format!("*{}\r\n${}\r\n{name}\r\n", ARGS + 1, name.len());
        request.push_str(&"$0\r\n\r\n".repeat(ARGS));
        let mut raw = Raw::to(&server);
        raw.send(request);
        let mut first = [0; 4];
        std::io::Read::read_exact(&mut raw.0, &mut first).unwrap();
        assert_eq!(first, told.as_bytes()[..4]);
    }
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 256 << 20, "{grown}");
    witness.was_served();
}

#[test]
fn a_transaction_of_empty_arguments_is_cut_off() {
    let server = Server::redkeep(&["--client-query-buffer-limit", "8mb"]);
    let witness = Witness::of(&server);
    let before = resident(&server);
    let mut raw = Raw::to(&server);
    raw.send("MULTI\r\n").expect("+OK\r\n");
    let request = format!("*10001\r\n$3\r\nDEL\r\n{}", "$0\r\n\r\n".repeat(10_000));
    let (taken, closed) = raw.pour(request.as_bytes(), 64 << 20);
    assert!(closed, "{taken}");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 96 << 20, "{grown}");
    witness.was_served();
}

#[test]
fn names_of_a_hundred_megabytes_are_kept_as_long_as_their_client_has_them() {
    const LONG: usize = 100 << 20;
    let server = Server::redkeep(&[]);
    let mut client = server.client();
    // Slow, too: the log of what is slow has names in it.
    client.run("CONFIG SET slowlog-log-slower-than 0");
    let mut hoarder = Raw::to(&server);
    let mut request = Vec::new();
    encode(
        &[b"CLIENT".as_slice(), b"SETNAME", &vec![b'n'; LONG]],
        &mut request,
    );
    let mut first = 0;
    for round in 0..6 {
        hoarder.send(&request).expect("+OK\r\n");
        if round == 0 {
            assert!(total_of(&mut client, "name=nnnn") >= LONG);
            first = resident(&server);
        }
        hoarder.send("RESET\r\n").expect("+RESET\r\n");
        assert!(!client.run("CLIENT LIST").text().contains("name=nnnn"));
    }
    let grown = resident(&server).saturating_sub(first);
    assert!(grown < 3 * LONG, "{grown}");
    drop(hoarder);
    alone(&mut client);
}
