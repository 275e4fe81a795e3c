//! An instance changes its part, or what it keeps, while something else is under way.

use crate::world::{Link, Server};
use redkeep::engine::Outcome;
use redkeep::engine::follow::Parted;
use redkeep::exec::session::Peer;

pub fn pair(leader: &[(&str, &str)], replica: &[(&str, &str)]) -> (Server, Server, Link) {
    let (mut leader, mut replica) = (Server::new(1, leader), Server::new(2, replica));
    let mut link = Link::make(&mut leader, &mut replica);
    link.flow(&mut leader, &mut replica);
    (leader, replica, link)
}

fn assert_same(leader: &mut Server, replica: &mut Server, link: &mut Link) {
    link.flow(leader, replica);
    assert_eq!(replica.contents(), leader.contents());
    let offset = leader.state().sys.repl.offset();
    assert_eq!(replica.state().sys.repl.offset(), offset);
    link.up(leader);
}

#[test]
fn a_backlog_that_shrinks_keeps_what_replicas_have_still_to_get() {
    let (mut leader, mut replica, mut link) = pair(&[("repl-backlog-size", "1mb")], &[]);
    let value = "x".repeat(20_000);
    for n in 0..20 {
        leader.does(&format!("SET k{n} {value}"));
    }
    leader.does("CONFIG SET repl-backlog-size 16384");
    assert_same(&mut leader, &mut replica, &mut link);
    // And one that is sent a snapshot.
    let mut other = Server::new(3, &[]);
    let mut late = Link::make(&mut leader, &mut other);
    for _ in 0..10 {
        late.up(&mut leader);
    }
    assert_eq!(leader.saves.len(), 1);
    for n in 0..20 {
        leader.does(&format!("SET l{n} {value}"));
    }
    leader.does("CONFIG SET repl-backlog-size 20000");
    assert_same(&mut leader, &mut other, &mut late);
}

#[test]
fn a_log_that_is_loaded_again_does_not_end_the_stream() {
    let (mut leader, mut replica, mut link) = pair(&[], &[]);
    leader.does("SET k v");
    link.flow(&mut leader, &mut replica);
    // There is none: nothing is left here.
    leader.does("DEBUG LOADAOF");
    leader.does("SET k w");
    assert_same(&mut leader, &mut replica, &mut link);
}

#[test]
fn a_part_that_was_postponed_by_a_pause_is_played_when_that_ends() {
    let mut leader = Server::new(1, &[]);
    leader.does("CLIENT PAUSE 100 ALL");
    let (other, writer) = (
        leader.engine.connect(Peer::default()),
        leader.engine.connect(Peer::default()),
    );
    let (_, outcome) = leader.run_as(other, &["REPLICAOF", "elsewhere", "6379"]);
    assert_eq!(outcome, Outcome::Blocked);
    leader.run_as(writer, &["SET", "k", "v"]);
    leader.later(200);
    assert!(leader.state().sys.repl.is_replica());
    assert!(leader.wants_to_follow);
    let mut out = redkeep::resp::ReplyBuf::new(redkeep::resp::Proto::Resp2);
    leader.engine.take(writer, &mut out, true);
    let reply = out.take();
    assert!(reply.starts_with(b"-READONLY"), "{}", reply.escape_ascii());
}

#[test]
fn a_pause_of_everything_does_not_hold_replicas() {
    let (mut leader, mut replica, mut link) = pair(&[("repl-timeout", "5")], &[]);
    leader.does("SET k v");
    leader.does("CLIENT PAUSE 20000 ALL");
    link.flow(&mut leader, &mut replica);
    for _ in 0..10 {
        leader.later(1000);
        replica.later(1000);
        link.flow(&mut leader, &mut replica);
    }
    let offset = leader.state().sys.repl.offset();
    let replica = leader.state().sessions.get(link.sid).unwrap();
    assert_eq!(replica.replica.as_ref().unwrap().acknowledged, offset);
}

#[test]
fn who_is_served_by_the_stream_comes_behind_it_in_the_log() {
    let (mut leader, mut replica, mut link) = pair(&[], &[("replica-read-only", "no")]);
    replica.collects();
    let waiter = replica.engine.connect(Peer::default());
    let (_, outcome) = replica.run_as(waiter, &["BLPOP", "l", "0"]);
    assert_eq!(outcome, Outcome::Blocked);
    replica.settle();
    leader.does("RPUSH l a b");
    let came = link.take(&mut leader);
    link.follower.receive(&came).unwrap();
    replica.engine.refresh_time();
    link.follower.work(&mut replica.engine).unwrap();
    let log = String::from_utf8_lossy(replica.state().fx.logged()).into_owned();
    let (push, pop) = (log.find("RPUSH"), log.find("LPOP"));
    assert!(push.is_some() && push < pop, "{log:?}");
    replica.settle();
    assert_eq!(replica.run("LLEN l"), ":1\r\n");
}

/// How often an idle link has to be looked at within a second.
fn looks(link: &mut Link, leader: &mut Server, replica: &mut Server) -> usize {
    let mut looks = 0;
    let end = replica.state().sys.now_us / 1000 + 1000;
    loop {
        let now = replica.state().sys.now_us / 1000;
        if now >= end {
            return looks;
        }
        let wait = link.follower.next_deadline() - now;
        assert!(wait > 0, "it is due at once, and has nothing to do");
        let wait = wait.min(end - now);
        looks += 1;
        replica.later(wait);
        leader.later(wait);
        link.work(replica).unwrap();
        link.up(leader);
    }
}

#[test]
fn an_idle_link_sleeps() {
    let (mut leader, mut replica, mut link) = pair(&[], &[]);
    assert!(looks(&mut link, &mut leader, &mut replica) <= 3);
    leader.does("SET k v");
    assert_same(&mut leader, &mut replica, &mut link);
    assert!(looks(&mut link, &mut leader, &mut replica) <= 4);
    // In the middle of a transaction.
    link.follower.receive(b"*1\r\n$5\r\nMULTI\r\n").unwrap();
    link.work(&mut replica).unwrap();
    assert!(looks(&mut link, &mut leader, &mut replica) <= 4);
}

#[test]
fn a_link_that_waits_for_a_snapshot_sleeps() {
    let mut leader = Server::new(1, &[("repl-diskless-sync-delay", "50")]);
    let mut replica = Server::new(2, &[]);
    let mut link = Link::make(&mut leader, &mut replica);
    assert!(looks(&mut link, &mut leader, &mut replica) <= 3);
    for _ in 0..10 {
        link.up(&mut leader);
    }
    assert!(looks(&mut link, &mut leader, &mut replica) <= 3);
    leader.later(60_000);
    link.flow_some(&mut leader, &mut replica);
    assert!(looks(&mut link, &mut leader, &mut replica) <= 3);
}

#[test]
fn values_that_a_leader_takes_are_not_too_large() {
    let (mut leader, mut replica, mut link) = pair(
        &[("proto-max-bulk-len", "2gb")],
        &[("proto-max-bulk-len", "1mb")],
    );
    leader.does("SETRANGE k 3000000 x");
    leader.does("APPEND k tail");
    let value = "x".repeat(3_000_000);
    leader.does(&format!("SET l {value}"));
    assert_same(&mut leader, &mut replica, &mut link);
    assert_eq!(replica.state().sys.stats.unexpected_errors, 0);
}

#[test]
fn inline_commands_are_no_stream() {
    let (mut leader, mut replica, mut link) = pair(&[], &[]);
    replica.collects();
    leader.does("SET k v");
    assert_same(&mut leader, &mut replica, &mut link);
    link.follower.receive(b"SET k w\r\n").unwrap();
    replica.engine.refresh_time();
    let parted = link.follower.work(&mut replica.engine);
    assert!(matches!(parted, Err(Parted::Refused { .. })), "{parted:?}");
    assert_eq!(replica.run("GET k"), "$1\r\nv\r\n");
}

#[test]
fn empty_lines_of_a_stream_get_into_no_log() {
    let (mut leader, mut replica, mut link) = pair(&[], &[]);
    replica.collects();
    leader.does("SET k v");
    assert_same(&mut leader, &mut replica, &mut link);
    let before = replica.state().sys.repl.offset();
    let set = b"\r\n\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nw\r\n";
    link.follower.receive(set).unwrap();
    replica.engine.refresh_time();
    link.follower.work(&mut replica.engine).unwrap();
    let state = replica.state();
    assert_eq!(state.sys.repl.offset(), before + set.len() as u64);
    assert_eq!(
        state.fx.logged()[0],
        b'*',
        "{}",
        state.fx.logged().escape_ascii()
    );
}
