//! Links that are cut, slow, or silent: what is missing is sent, and not everything.

use super::common::Proxy;
use super::common::proxy::{BOTH, Way};
use super::{Kind, Peer, agree, fill, until};

pairs! {
    a_cut_link_is_taken_up_where_it_was
    a_link_with_delay_is_taken_up
    a_cut_within_a_big_value_loses_nothing
    who_is_too_far_behind_gets_everything
    silence_is_an_end
}

/// A leader, what lies between, and a replica in step.
fn apart(leader: Kind, replica: Kind, options: &[&str]) -> (Peer, Proxy, Peer) {
    let leader = Peer::start(leader, options);
    let proxy = Proxy::to(leader.port());
    let replica = Peer::following(replica, proxy.port(), options);
    (leader, proxy, replica)
}

/// Nothing goes through until `end`; neither side is in doubt about it.
fn separate(leader: &mut Peer, proxy: &Proxy, replica: &mut Peer) {
    proxy.refuse(true);
    proxy.cut();
    leader.tells("connected_slaves", "0");
    replica.tells("master_link_status", "down");
}

fn a_cut_link_is_taken_up_where_it_was(leader: Kind, replica: Kind) {
    let (mut leader, proxy, mut replica) = apart(leader, replica, &[]);
    fill(&mut leader);
    agree(&mut leader, &mut replica);
    for round in 1..=3 {
        separate(&mut leader, &proxy, &mut replica);
        assert!(replica.number("master_link_down_since_seconds") >= 0);
        leader.does(&format!("SELECT {}", round % 2));
        leader.does(&format!("SET apart:{round} 1"));
        leader.does("MULTI");
        leader.does("RPUSH list 1 2 3");
        leader.does("INCR counter");
        leader.does("EXEC");
        proxy.refuse(false);
        replica.is_up();
        agree(&mut leader, &mut replica);
        assert_eq!(leader.syncs(), (1, round));
    }
    // Whether or not there is anything to send.
    separate(&mut leader, &proxy, &mut replica);
    proxy.refuse(false);
    replica.is_up();
    leader.does("SET last 1");
    agree(&mut leader, &mut replica);
    assert_eq!(leader.syncs(), (1, 4));
}

/// Bytes are on their way in both directions when the link is cut, again and again.
fn a_link_with_delay_is_taken_up(leader: Kind, replica: Kind) {
    let (mut leader, proxy, mut replica) = apart(leader, replica, &[]);
    proxy.delay(&BOTH, 15);
    for round in 1..=4 {
        for n in 0..50 {
            leader.does(&format!("SET k{n} {round}"));
            leader.does(&format!("LPUSH l{} {n}", n % 7));
        }
        let passed = proxy.passed(Way::Down);
        until("something has passed", || proxy.passed(Way::Down) > passed);
        proxy.cut();
        leader.does("INCR counter");
        until("it is taken up", || {
            leader.number("sync_partial_ok") == round
        });
    }
    agree(&mut leader, &mut replica);
    assert_eq!(leader.syncs(), (1, 4));
}

fn a_cut_within_a_big_value_loses_nothing(leader: Kind, replica: Kind) {
    let options = ["--repl-backlog-size", "20mb"];
    let (mut leader, proxy, mut replica) = apart(leader, replica, &options);
    let big = "x".repeat(3_000_000);
    leader.does("SET small 1");
    agree(&mut leader, &mut replica);
    for (round, after) in [1, 40, 100_000, 2_999_999, 3_000_050]
        .into_iter()
        .enumerate()
    {
        proxy.cut_after(Way::Down, after);
        leader.call(&["SET", "big", &format!("{round}{big}")]);
        leader.does("APPEND small 2");
        let wanted = round as i64 + 1;
        until("it is taken up", || {
            leader.number("sync_partial_ok") == wanted
        });
        agree(&mut leader, &mut replica);
        assert_eq!(replica.run("STRLEN big").int(), Some(3_000_001));
    }
    assert_eq!(leader.syncs(), (1, 5));
    // Within a transaction too: all of it, once.
    leader.does("SET counter 0");
    agree(&mut leader, &mut replica);
    proxy.cut_after(Way::Down, 100);
    let (counted, big) = (["INCR", "counter"], ["SET", "big", &big[..1_000_000]]);
    leader.does("MULTI");
    for command in [&counted[..], &big, &counted, &big, &counted] {
        leader.call(command);
    }
    leader.does("EXEC");
    until("it is taken up", || leader.number("sync_partial_ok") == 6);
    agree(&mut leader, &mut replica);
    assert_eq!(replica.run("GET counter").text(), "3");
}

fn who_is_too_far_behind_gets_everything(leader: Kind, replica: Kind) {
    let options = ["--repl-backlog-size", "16kb"];
    let (mut leader, proxy, mut replica) = apart(leader, replica, &options);
    separate(&mut leader, &proxy, &mut replica);
    let value = "x".repeat(10_000);
    for n in 0..100 {
        leader.call(&["SET", &format!("k{n}"), &value]);
    }
    let refused = leader.number("sync_partial_err");
    proxy.refuse(false);
    replica.is_up();
    agree(&mut leader, &mut replica);
    assert_eq!(leader.syncs(), (2, 0));
    assert_eq!(leader.number("sync_partial_err"), refused + 1);
    assert_eq!(replica.run("DBSIZE").int(), Some(100));
}

/// A link through which nothing comes for longer than `repl-timeout` is none: both sides find that out.
fn silence_is_an_end(leader: Kind, replica: Kind) {
    let options = ["--repl-timeout", "2"];
    let (mut leader, proxy, mut replica) = apart(leader, replica, &options);
    leader.does("SET before 1");
    agree(&mut leader, &mut replica);
    proxy.forget();
    until("it is taken up", || leader.number("sync_partial_ok") == 1);
    leader.does("SET between 1");
    agree(&mut leader, &mut replica);
    // It has not waited for the same replica to come again, but seen that nothing comes.
    leader.tells("connected_slaves", "1");
    // Bytes that are late are late, not lost and not there twice.
    proxy.stall(&BOTH, true);
    leader.does("INCR counter");
    replica.tells("master_link_status", "down");
    leader.tells("connected_slaves", "0");
    proxy.stall(&BOTH, false);
    replica.is_up();
    leader.does("INCR counter");
    agree(&mut leader, &mut replica);
    assert_eq!(replica.run("GET counter").text(), "2");
    let (full, partial) = leader.syncs();
    assert_eq!(full, 1);
    assert!(partial >= 2, "{partial}");
}
