//! Snapshots on their way to replicas, and what else wants to be saved or sent meanwhile.

use crate::world::{Link, Server};
use redkeep::engine::Outcome;
use redkeep::exec::State;
use redkeep::exec::persist::save::{self, Purpose};
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf};

fn output(server: &mut Server, sid: SessionId) -> String {
    let mut out = ReplyBuf::new(Proto::Resp2);
    server.engine.take(sid, &mut out, true);
    String::from_utf8_lossy(&out.take()).into_owned()
}

/// A client that has asked for everything.
fn asks(server: &mut Server, of_itself: &[&str]) -> SessionId {
    let sid = server.engine.connect(Peer::default());
    let words: Vec<&str> = ["REPLCONF", "capa", "eof"].into_iter().collect();
    server.run_as(sid, &words);
    if !of_itself.is_empty() {
        server.run_as(sid, &[&["REPLCONF"], of_itself].concat());
    }
    server.run_as(sid, &["PSYNC", "?", "-1"]);
    server.settle();
    sid
}

fn purpose(server: &mut Server) -> Option<Purpose> {
    let saving = server.state().sys.persist.saving.as_ref();
    saving.map(|saving| saving.purpose)
}

#[test]
fn who_wants_functions_only_gets_no_keys_and_nobody_else_none() {
    for options in [
        &[][..],
        &[("repl-diskless-sync", "no")],
        &[("repl-diskless-sync-delay", "3")],
    ] {
        let mut leader = Server::new(1, options);
        leader.does("SET secret v");
        let all = asks(&mut leader, &[]);
        let some = asks(
            &mut leader,
            &["rdb-only", "1", "rdb-filter-only", "functions"],
        );
        for _ in 0..10 {
            leader.later(1000);
            match purpose(&mut leader) {
                Some(Purpose::Sync { .. }) => while !leader.send_piece() {},
                Some(_) => {
                    let (id, _) = leader.saves.pop_front().unwrap();
                    let State {
                        ks, sys, sessions, ..
                    } = leader.engine.state();
                    // It cannot be written.
                    save::end_save(ks, sys, id, false);
                    redkeep::exec::replication::sync::end_sync(ks, sys, sessions, id, None);
                    leader.settle();
                }
                None => {}
            }
        }
        let got = output(&mut leader, some);
        assert!(got.contains("REDIS") && !got.contains("secret"), "{got:?}");
        let got = output(&mut leader, all);
        assert!(got.contains("secret") || options.len() == 1 && options[0].1 == "no");
    }
}

#[test]
fn who_is_sent_messages_gets_no_stream() {
    let mut leader = Server::new(1, &[]);
    let sid = leader.engine.connect(Peer::default());
    for words in [
        &["HELLO", "3"][..],
        &["SUBSCRIBE", "c"],
        &["UNSUBSCRIBE"],
        &["CLIENT", "TRACKING", "on"],
    ] {
        leader.run_as(sid, words);
        if words.len() == 1 || words[0] == "HELLO" {
            continue;
        }
        for ask in [&["PSYNC", "?", "-1"][..], &["SYNC"]] {
            let (reply, _) = leader.run_as(sid, ask);
            assert!(reply.starts_with(b"-ERR SYNC and PSYNC"), "{words:?}");
        }
    }
    assert!(leader.state().sys.repl.stream.is_none());
    leader.run_as(sid, &["CLIENT", "TRACKING", "off"]);
    // Who monitors counts as a replica already.
    let monitor = leader.engine.connect(Peer::default());
    leader.run_as(monitor, &["MONITOR"]);
    let (reply, outcome) = leader.run_as(monitor, &["PSYNC", "?", "-1"]);
    assert_eq!((&reply[..], outcome), (&b""[..], Outcome::Done));
    assert!(leader.state().sys.repl.replicas.is_empty());
    let (reply, _) = leader.run_as(sid, &["PSYNC", "?", "-1"]);
    assert_eq!(&reply[..], b"");
    assert_eq!(leader.state().sys.repl.replicas.len(), 1);
}

#[test]
fn who_tells_of_itself_waits_for_replicas_all_the_same() {
    let options = [("sync-replicas", "1"), ("sync-replicas-timeout", "1000")];
    let mut leader = Server::new(1, &options);
    let waiter = leader.engine.connect(Peer::default());
    leader.run_as(waiter, &["REPLCONF", "listening-port", "1"]);
    let (_, outcome) = leader.run_as(waiter, &["BLPOP", "l", "0"]);
    assert_eq!(outcome, Outcome::Blocked);
    leader.settle();
    leader.run("RPUSH l a");
    leader.settle();
    let mut out = ReplyBuf::new(Proto::Resp2);
    let taken = leader.engine.take(waiter, &mut out, true);
    assert!(
        !out.is_empty() && taken.ticket.is_some(),
        "no replica has it"
    );
}

#[test]
fn a_log_that_is_closed_says_where_its_data_stand() {
    let mut leader = Server::new(1, &[]);
    let mut replica = Server::new(2, &[]);
    let mut link = Link::make(&mut leader, &mut replica);
    link.flow(&mut leader, &mut replica);
    leader.collects();
    leader.does("SET k v");
    let log = |server: &mut Server| {
        let logging = server.state().sys.persist.logging.as_ref();
        std::sync::Arc::clone(&logging.unwrap().log)
    };
    let log = log(&mut leader);
    let before = log.appended();
    leader.later(11_000);
    assert_eq!(log.appended(), before, "pings are not logged");
    redkeep::exec::persist::log::close(leader.state());
    let offset = leader.state().sys.repl.offset();
    let said = log.appended() - before;
    assert!(said > 0 && said < 60, "{said}");
    assert!(offset > 0);
}
