//! Histories that go on: after a promotion, and after a restart of either side.

use super::common::Proxy;
use super::{Kind, Kind::*, Peer, QUIET, agree, fill, pair, present, until};

pairs! {
    a_replica_goes_on_after_its_restart
    replicas_go_on_after_their_leaders_restart
    what_is_over_at_a_restart_goes_at_once
    what_only_the_old_leader_knew_is_lost
}

/// A leader L with replicas A and B; A is promoted, B and then L follow it.
fn promoted(kinds: [Kind; 3]) {
    if kinds.contains(&Redis) && !present() {
        return;
    }
    let [l, a, b] = kinds;
    let mut l = Peer::start(l, QUIET);
    fill(&mut l);
    let mut a = Peer::following(a, l.port(), QUIET);
    let mut b = Peer::following(b, l.port(), QUIET);
    l.does("SET k v");
    agree(&mut l, &mut a);
    agree(&mut l, &mut b);
    let old = l.info("master_replid");
    assert_eq!(a.info("master_replid"), old);
    a.does("REPLICAOF NO ONE");
    assert_ne!(a.info("master_replid"), old);
    assert_eq!(a.info("master_replid2"), old);
    let offset = l.number("master_repl_offset");
    assert_eq!(a.number("second_repl_offset"), offset + 1);
    a.does("SET promoted 1");
    let full = a.number("sync_full");
    b.follow(a.port());
    a.does("SELECT 1");
    a.does("INCR counter");
    l.follow(a.port());
    a.does("SELECT 0");
    a.does("INCR counter");
    agree(&mut a, &mut b);
    agree(&mut a, &mut l);
    assert_eq!(a.syncs(), (full, 2));
    assert_eq!(l.info("master_replid"), a.info("master_replid"));
    assert_eq!(b.info("master_replid2"), old);
    // And again, with the next one.
    b.does("REPLICAOF NO ONE");
    b.does("SET promoted 2");
    a.follow(b.port());
    l.follow(a.port());
    b.does("SET more 1");
    agree(&mut b, &mut a);
    agree(&mut b, &mut l);
    assert_eq!(a.number("sync_full") + b.number("sync_full"), full);
}

macro_rules! trios {
    ($($name:ident: $($kind:ident)*;)*) => { $(
        #[test]
        fn $name() {
            promoted([$($kind),*]);
        }
    )* };
}

trios! {
    all_ours: Redkeep Redkeep Redkeep;
    from_a_real_one_to_ours: Redis Redkeep Redkeep;
    from_ours_to_a_real_one: Redkeep Redis Redkeep;
    with_a_real_bystander: Redkeep Redkeep Redis;
    from_real_ones_to_ours: Redis Redkeep Redis;
}

#[test]
#[ignore = "checks the scenario itself"]
fn redis_to_redis() {
    promoted([Redis; 3]);
}

/// The saved data set knows how far it is.
fn a_replica_goes_on_after_its_restart(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &[]);
    fill(&mut leader);
    agree(&mut leader, &mut replica);
    let port = leader.port().to_string();
    for (n, appendonly) in ["no", "yes", "yes"].into_iter().enumerate() {
        if appendonly == "yes" && replica.kind == Redis {
            // Its log does not know.
            break;
        }
        replica.set("appendonly", appendonly);
        until("the log is there", || {
            replica.number("aof_rewrite_in_progress") + replica.number("aof_rewrite_scheduled") == 0
        });
        leader.does("INCR counter");
        replica.catches_up(&mut leader);
        let options = [
            "--replicaof",
            "127.0.0.1",
            &port,
            "--appendonly",
            appendonly,
        ];
        replica.restart(&options);
        leader.does("SELECT 2");
        leader.does("INCR counter");
        leader.does("SELECT 0");
        replica.is_up();
        agree(&mut leader, &mut replica);
        assert_eq!(leader.syncs(), (1, 1 + n as i64), "{appendonly}");
    }
}

fn replicas_go_on_after_their_leaders_restart(leader: Kind, replica: Kind) {
    let mut leader = Peer::start(leader, QUIET);
    let proxy = Proxy::to(leader.port());
    let mut replica = Peer::following(replica, proxy.port(), QUIET);
    fill(&mut leader);
    agree(&mut leader, &mut replica);
    let old = leader.info("master_replid");
    leader.restart(&[]);
    // At the end it may have asked once more how far everybody is.
    let offset = replica.number("master_repl_offset");
    proxy.set_target(leader.port());
    assert_eq!(leader.info("master_replid2"), old);
    assert_eq!(leader.number("second_repl_offset"), offset + 1);
    replica.is_up();
    leader.does("INCR counter");
    agree(&mut leader, &mut replica);
    assert_eq!(leader.syncs(), (0, 1));
    assert_eq!(replica.info("master_replid"), leader.info("master_replid"));
}

/// What was over when it was loaded is gone for clients and replicas alike.
fn what_is_over_at_a_restart_goes_at_once(leader: Kind, replica: Kind) {
    let mut leader = Peer::start(leader, QUIET);
    let proxy = Proxy::to(leader.port());
    let mut replica = Peer::following(replica, proxy.port(), QUIET);
    leader.does("SET stays v");
    leader.does("DEBUG SET-ACTIVE-EXPIRE 0");
    for n in 0..1500 {
        leader.does(&format!("SET k{n} v PX 5"));
    }
    replica.catches_up(&mut leader);
    leader.restart(&[]);
    // At the end it may have asked once more how far everybody is.
    let offset = replica.number("master_repl_offset");
    assert_eq!(leader.number("rdb_last_load_keys_expired"), 1500);
    assert_eq!(leader.number("rdb_last_load_keys_loaded"), 1);
    assert_eq!(leader.number("second_repl_offset"), offset + 1);
    assert!(leader.number("master_repl_offset") > offset);
    proxy.set_target(leader.port());
    replica.is_up();
    agree(&mut leader, &mut replica);
    assert_eq!(replica.does("DBSIZE").int(), Some(1));
    assert_eq!(leader.syncs(), (0, 1));
}

/// Who has written after the promotion of another one gets everything anew, and loses that.
fn what_only_the_old_leader_knew_is_lost(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, QUIET);
    leader.does("SET both 1");
    replica.catches_up(&mut leader);
    replica.does("REPLICAOF NO ONE");
    leader.does("SET alone 1");
    replica.does("SET promoted 1");
    leader.follow(replica.port());
    agree(&mut replica, &mut leader);
    assert_eq!(leader.run("EXISTS alone both promoted").int(), Some(2));
    assert_eq!(replica.syncs(), (1, 0));
}
