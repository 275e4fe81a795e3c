//! A snapshot is what the stream says up to where it stands, whenever it was begun.

use crate::common::history;
use crate::world::{Link, Server};
use redkeep::exec::session::Peer;
use redkeep::replication::Position;
use redkeep::util::rng::Rng;

/// A leader with a stream, whose replica gets nothing.
fn leader(seed: u64, options: &[(&str, &str)]) -> Server {
    let mut leader = Server::new(seed, options);
    let replica = leader.engine.connect(Peer::default());
    leader.run_as(replica, &["REPLCONF", "capa", "eof"]);
    leader.run_as(replica, &["PSYNC", "?", "-1"]);
    leader.settle();
    while !leader.send_piece() {}
    leader
}

/// A snapshot that was begun in the middle of something.
struct Taken {
    at: String,
    bytes: Vec<u8>,
}

/// Whether each of these is what the stream says up to where it stands: with the rest of it, it is what the leader has.
fn assert_exact(leader: &mut Server, snapshots: &[Taken]) {
    leader.settle();
    let expected = leader.contents();
    leader.settle();
    for Taken { at, bytes } in snapshots {
        let mut other = Server::new(99, &[]);
        other.clock.set_ms(crate::world::NOW);
        let position: Position = other.adopt(bytes).expect(at);
        assert_eq!(position.id, leader.state().sys.repl.id);
        let rest = leader.stream_from(position.offset + 1);
        other.replay(&position, &rest);
        assert_eq!(
            other.contents(),
            expected,
            "begun {at}, at {}, and then: {}",
            position.offset,
            rest.escape_ascii()
        );
    }
}

/// Begins a snapshot, and writes it to its end.
fn take(leader: &mut Server, at: String) -> Taken {
    let reply = leader.run("BGSAVE");
    assert!(reply.starts_with('+'), "{reply}");
    for action in leader.engine.take_actions() {
        if let redkeep::exec::Action::Save { id, start } = action {
            leader.saves.push_back((id, start));
        }
    }
    let bytes = leader.write_snapshot();
    Taken { at, bytes }
}

#[test]
fn after_every_command_of_a_batch() {
    for seed in 0..12 {
        let mut leader = leader(seed, &[]);
        if seed % 2 == 0 {
            leader.collects();
        }
        let mut rng = Rng::seed_from_u64(seed);
        let mut snapshots = Vec::new();
        for n in 0..60 {
            let argv = history::command(&mut rng);
            let at = format!("behind {n} {}", argv.join(" "));
            leader.run_as(leader.client, &argv);
            snapshots.push(take(&mut leader, at));
            if rng.chance(0.2) {
                leader.settle();
            }
        }
        assert_exact(&mut leader, &snapshots);
    }
}

#[test]
fn in_a_tick_that_has_just_ended_what_was_over() {
    let mut leader = leader(1, &[]);
    leader.does("SELECT 1");
    leader.does("INCR n");
    leader.does("SELECT 2");
    leader.does("SET k v PX 100");
    leader.does("RPUSH l a");
    leader.does("SELECT 1");
    leader.does("INCR n");
    leader.clock.advance_ms(200);
    leader.state().sys.persist.scheduled = true;
    leader.clock.advance_ms(2000);
    let offset = leader.state().sys.repl.offset();
    leader.engine.tick();
    assert_eq!(leader.state().ks.db(2).unwrap().len(), 1);
    leader.settle();
    assert!(leader.state().sys.repl.offset() > offset);
    let bytes = leader.write_snapshot();
    let mut other = Server::new(2, &[]);
    let position = other.adopt(&bytes).unwrap();
    assert_eq!(other.state().ks.db(2).unwrap().len(), 1, "it is deleted");
    // So its deletion is part of what it stands behind.
    assert_eq!(position.offset, leader.state().sys.repl.offset());
    leader.does("INCR n");
    let at = "in a tick".to_owned();
    assert_exact(&mut leader, &[Taken { at, bytes }]);
}

#[test]
fn a_history_that_begins_in_the_middle_of_a_batch_has_nothing_of_it_twice() {
    // Effects are collected for the log, and were when there was no stream.
    let mut leader = Server::new(1, &[]);
    leader.collects();
    leader.run("SELECT 2");
    leader.run("INCR n");
    leader.run("CONFIG SET sync-replicas 1 sync-replicas-timeout 1");
    let first = take(&mut leader, "as soon as there is a stream".to_owned());
    leader.run("INCR n");
    let second = take(&mut leader, "behind that".to_owned());
    leader.settle();
    leader.saves.clear();
    leader.does("INCR n");
    assert_exact(&mut leader, &[first, second]);
}

#[test]
fn a_stream_that_begins_while_a_log_is_written_says_where_it_writes() {
    let mut leader = Server::new(1, &[("repl-diskless-sync-delay", "5")]);
    leader.collects();
    leader.does("SELECT 2");
    leader.does("INCR n");
    let replica = leader.engine.connect(Peer::default());
    leader.run_as(replica, &["REPLCONF", "capa", "eof"]);
    leader.run_as(replica, &["PSYNC", "?", "-1"]);
    leader.settle();
    let first = take(&mut leader, "at the beginning".to_owned());
    leader.does("INCR n");
    leader.does("SELECT 1");
    leader.does("INCR n");
    assert_exact(&mut leader, &[first]);
}

#[test]
fn who_leads_from_the_middle_of_a_batch_on_has_only_what_follows_in_its_stream() {
    let mut first = leader(1, &[]);
    first.does("SELECT 1");
    first.does("INCR n");
    let mut second = Server::new(2, &[("replica-read-only", "no")]);
    let mut link = Link::make(&mut first, &mut second);
    link.flow(&mut first, &mut second);
    second.collects();
    second.run("INCR own");
    second.run("REPLICAOF NO ONE");
    let at = second.state().sys.repl.offset();
    let taken = take(&mut second, "as soon as it leads".to_owned());
    second.run("INCR own");
    let behind = take(&mut second, "behind that".to_owned());
    second.settle();
    assert!(
        second
            .stream_from(at + 1)
            .starts_with(b"*2\r\n$6\r\nSELECT")
    );
    assert_exact(&mut second, &[taken, behind]);
}

#[test]
fn in_a_transaction() {
    let mut leader = leader(1, &[]);
    leader.does("INCR n");
    for line in ["MULTI", "INCR n", "DEBUG RELOAD", "INCR n", "EXEC"] {
        leader.run(line);
    }
    leader.settle();
    assert_eq!(leader.run("GET n"), "$1\r\n3\r\n");
    // It holds half of a unit: so it does not say where it stands.
    let bytes = leader.file();
    let mut other = Server::new(2, &[]);
    assert_eq!(other.adopt(&bytes), None);
    assert_eq!(other.run("GET n"), "$1\r\n2\r\n");
    // Between units it does.
    leader.does("DEBUG RELOAD");
    let bytes = leader.file();
    let at = "by DEBUG RELOAD".to_owned();
    leader.does("INCR n");
    assert_exact(&mut leader, &[Taken { at, bytes }]);
}
