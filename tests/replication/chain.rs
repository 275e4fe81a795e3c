//! Replicas of replicas.

use super::common::contents::{same, told};
use super::{Kind, Kind::*, Peer, fill, present, until};

fn through(kinds: [Kind; 3]) {
    if kinds.contains(&Redis) && !present() {
        return;
    }
    let [head, middle, tail] = kinds;
    let mut head = Peer::start(head, &[]);
    fill(&mut head);
    let mut middle = Peer::following(middle, head.port(), &[]);
    let mut tail = Peer::following(tail, middle.port(), &[]);
    arrives(&mut head, &mut middle, &mut tail);
    assert_eq!(middle.info("role"), "slave");
    assert_eq!(middle.number("connected_slaves"), 1);
    assert_eq!(head.number("connected_slaves"), 1);
    // One history, one count.
    assert_eq!(head.info("master_replid"), tail.info("master_replid"));
    assert!(tail.run("SET k v").text().starts_with("READONLY"));
    // Whoever is in the middle may get everything anew while it has replicas.
    middle.does("REPLICAOF NO ONE");
    middle.does("SET own 1");
    middle.follow(head.port());
    tail.is_up();
    until("it is gone", || tail.run("EXISTS own").int() == Some(0));
    arrives(&mut head, &mut middle, &mut tail);
    // And may go; whoever follows it goes to its leader and has missed nothing.
    let full = head.number("sync_full");
    tail.does(&format!("REPLICAOF 127.0.0.1 {}", head.port()));
    tail.is_up();
    assert_eq!(head.number("sync_full"), full);
    drop(middle);
    head.does("SET direct 1");
    tail.catches_up(&mut head);
    same(&told(&mut head.c), &told(&mut tail.c));
}

/// What is written at the head is at the tail.
fn arrives(head: &mut Peer, middle: &mut Peer, tail: &mut Peer) {
    for line in [
        "SELECT 1",
        "INCR counter",
        "SELECT 0",
        "MULTI",
        "RPUSH list a",
        "SADD set a b c",
        "EXEC",
        "SPOP set",
        "SET short v PX 5",
        "EVAL redis.call('INCR',KEYS[1])redis.call('INCR',KEYS[2]) 2 one two",
    ] {
        head.does(line);
    }
    until("it expires", || head.run("EXISTS short").int() == Some(0));
    tail.catches_up(head);
    let wanted = told(&mut head.c);
    same(&wanted, &told(&mut middle.c));
    same(&wanted, &told(&mut tail.c));
}

macro_rules! chains {
    ($($name:ident: $($kind:ident)*;)*) => { $(
        #[test]
        fn $name() {
            through([$($kind),*]);
        }
    )* };
}

chains! {
    all_ours: Redkeep Redkeep Redkeep;
    real_head: Redis Redkeep Redkeep;
    real_middle: Redkeep Redis Redkeep;
    real_tail: Redkeep Redkeep Redis;
    our_head: Redkeep Redis Redis;
    our_middle: Redis Redkeep Redis;
    our_tail: Redis Redis Redkeep;
}

#[test]
#[ignore = "checks the scenario itself"]
fn redis_to_redis() {
    through([Redis; 3]);
}
