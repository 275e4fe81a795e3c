//! What goes through the stream after the synchronisation, and what clients of a replica may do.

use super::common::client::Got;
use super::common::{Client, Reply};
use super::{Kind, Peer, agree, fill, pair, until};
use std::time::Duration;

pairs! {
    writes_of_every_kind_arrive
    keys_that_expire_go_when_the_leader_says_so
    a_replica_is_read_only
    stale_data_is_shown_or_not
    messages_arrive
    a_script_says_who_hears_of_it
}

/// Commands by themselves, one a line.
const PLAIN: &str = "\
SET k v
SET k w XX GET
SET t v EX 100000
SET u v PXAT 99999999999999
SETEX v 100 x
PSETEX w 100000 x
MSET a 1 b 2 c 3
MSETNX d 4 e 5
APPEND k more
SETRANGE k 10 far
GETDEL a
GETSET b 7
GETEX t PX 99999999
GETEX u PERSIST
GETEX v EXAT 99999999999
INCR n
INCRBY n 10
DECRBY n 3
INCRBYFLOAT f 0.1
INCRBYFLOAT f 1e3
EXPIRE k 1000
PEXPIRE k 100000 GT
PEXPIREAT c 99999999999999
EXPIREAT d 99999999999
EXPIREAT e 1
PERSIST k
SETBIT bits 1000 1
BITOP NOT stib bits
BITFIELD bits SET u8 0 200 INCRBY i5 100 3
PFADD p a b c d
PFADD q c d e
PFCOUNT p q
PFCOUNT p
PFMERGE r p q
RPUSH l a b c d e f g
LPUSH l z
LPUSHX l y
LINSERT l BEFORE c bb
LSET l 0 first
LREM l 1 d
LTRIM l 0 6
LPOP l
RPOP l 2
LMOVE l m RIGHT LEFT
RPOPLPUSH l m
LMPOP 2 nothing l LEFT COUNT 1
HSET h a 1 b 2 c 3
HSETNX h d 4
HINCRBY h a 5
HINCRBYFLOAT h b 0.5
HDEL h c
SADD s a b c d e f g h i j k
SREM s a
SPOP s
SPOP s 4
SMOVE s s2 nothing
SADD s2 x y b c
SUNIONSTORE s3 s s2
SINTERSTORE s4 s s2
SDIFFSTORE s5 s2 s
SADD one x
SPOP one
ZADD z 1 a 2 b 3 c 4 d 5 e
ZADD z GT CH 9 a
ZADD z INCR 0.1 b
ZINCRBY z 1e-3 c
ZREM z d
ZPOPMIN z
ZPOPMAX z 1
ZADD y 1 a 2 b 3 c 4 d
ZMPOP 2 nothing y MAX COUNT 2
ZREMRANGEBYRANK y 0 0
ZUNIONSTORE x 2 z y WEIGHTS 2 0.5
ZRANGESTORE x2 x 0 -1
ZDIFFSTORE x3 2 x y
GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEOSEARCHSTORE g2 g FROMLONLAT 15 37 BYRADIUS 200 km
GEORADIUS g 15 37 200 km STOREDIST g3
SORT m ALPHA STORE sorted
COPY l l2
COPY k k2 DB 1 REPLACE
MOVE n 2
RENAME m mm
RENAMENX k kk
DEL b nothing
UNLINK h2 c
XADD st * f v
XADD st 99999999999999-1 f v
XADD st MAXLEN ~ 1000 99999999999999-* g w
XADD x1 1-1 a 1
XADD x1 1-2 a 2
XADD x1 1-3 a 3
XADD x1 1-4 a 4
XADD x1 1-5 a 5
XGROUP CREATE x1 g 0
XGROUP CREATE x4 g $ MKSTREAM
XGROUP CREATECONSUMER x1 g idle
XREADGROUP GROUP g one COUNT 2 STREAMS x1 >
XREADGROUP GROUP g two NOACK COUNT 1 STREAMS x1 >
XREADGROUP GROUP g two STREAMS x1 >
XREADGROUP GROUP g one STREAMS x1 0
XACK x1 g 1-1
XCLAIM x1 g three 0 1-2 IDLE 1000 RETRYCOUNT 5
XDEL x1 1-4
XAUTOCLAIM x1 g four 0 0 COUNT 2
XAUTOCLAIM x1 g four 0 0 JUSTID
XGROUP SETID x4 g 0
XGROUP DELCONSUMER x1 g one
XSETID x1 7-7 ENTRIESADDED 9 MAXDELETEDID 6-6
XTRIM x1 MAXLEN 2
XGROUP CREATE x1 gone 0
XGROUP DESTROY x1 gone
FUNCTION LOAD REPLACE #!lua_name=more\\nredis.register_function('push',function(k)_return_redis.call('RPUSH',k[1],redis.call('TIME')[1])_end)
FCALL push 1 pushed
FCALL push 1 pushed
EVAL redis.call('SET',KEYS[1],redis.call('TIME')[2])_redis.call('SELECT','1')_return_redis.call('INCR',KEYS[1]..'n') 1 byscript
EVAL return_redis.call('SPOP',KEYS[1],'2') 1 s3
EVAL redis.call('SET',KEYS[1],'1','EX','1000')_redis.pcall('LPUSH',KEYS[1],'1') 1 half
SWAPDB 1 2
SELECT 1
SET here 1
FLUSHDB
SET here 2
SELECT 2
SET there 1
SELECT 0";

/// The words of a line of [`PLAIN`]: `_` stands for a space in them, `\\n` for an end of line.
fn words(line: &str) -> Vec<String> {
    let word = |w: &str| match w {
        w if w.contains("redis.") => w
            .replace("\\n", "\n")
            .replace('_', " ")
            .replace("register function", "register_function"),
        w => w.to_owned(),
    };
    line.split(' ').map(word).collect()
}

fn writes_of_every_kind_arrive(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &[]);
    for line in PLAIN.lines() {
        let reply = leader.c.call(&words(line)).unwrap();
        let may_fail = line.contains("half") || line.starts_with("EXPIREAT e");
        assert!(may_fail || !reply.is_error(), "{line}: {}", reply.text());
    }
    assert_eq!(leader.does("WAIT 1 10000").int(), Some(1));
    agree(&mut leader, &mut replica);
    transactions(&mut leader);
    agree(&mut leader, &mut replica);
    waiting(&mut leader);
    agree(&mut leader, &mut replica);
    dumped(&mut leader);
    agree(&mut leader, &mut replica);
    leader.does("FUNCTION DELETE more");
    leader.does("FLUSHALL");
    agree(&mut leader, &mut replica);
    assert_eq!(replica.run("DBSIZE").int(), Some(0));
    fill(&mut leader);
    agree(&mut leader, &mut replica);
    leader.does("FUNCTION FLUSH");
    leader.does("FLUSHALL ASYNC");
    leader.does("SET last 1");
    agree(&mut leader, &mut replica);
}

fn transactions(leader: &mut Peer) {
    for line in [
        "MULTI",
        "SELECT 1",
        "SET tx 1",
        "SELECT 0",
        "SPOP s2",
        "INCR txn",
        "GET txn",
        "EXEC",
        "WATCH txn",
        "MULTI",
        "SET never 1",
        "DISCARD",
        "MULTI",
        "EXEC",
        "MULTI",
        "GET txn",
        "EXEC",
    ] {
        leader.does(line);
    }
    let mut other = leader.server.client();
    leader.does("WATCH txn");
    other.run("INCR txn");
    leader.does("MULTI");
    leader.does("SET never 1");
    assert_eq!(leader.does("EXEC"), Reply::NullArray);
    // What fails within leaves the rest.
    leader.does("MULTI");
    leader.does("LPUSH txn 1");
    leader.does("SET despite 1");
    leader.does("EXEC");
}

/// Clients that wait, and what wakes them.
fn waiting(leader: &mut Peer) {
    leader.does("XGROUP CREATE wx g $ MKSTREAM");
    for (waits, wakes) in [
        ("BLPOP w1 w2 0", "RPUSH w2 a b"),
        ("BRPOP w3 0", "LPUSH w3 a b c"),
        ("BLMOVE w4 w5 LEFT RIGHT 0", "RPUSH w4 a"),
        ("BRPOPLPUSH w6 w7 0", "RPUSH w6 a b"),
        ("BLMPOP 0 2 w8 w9 RIGHT COUNT 2", "RPUSH w9 a b c"),
        ("BZPOPMIN z1 0", "ZADD z1 1 a 2 b"),
        ("BZPOPMAX z2 0", "ZADD z2 1 a 2 b"),
        ("BZMPOP 0 1 z3 MAX COUNT 2", "ZADD z3 1 a 2 b 3 c"),
        (
            "XREADGROUP GROUP g c BLOCK 0 STREAMS wx >",
            "XADD wx 5-1 f v",
        ),
        (
            "XREADGROUP GROUP g c NOACK BLOCK 0 STREAMS wx >",
            "XADD wx 5-2 f v",
        ),
    ] {
        let mut other = leader.server.client();
        other.send(&super::common::argv(waits)).unwrap();
        leader.tells("blocked_clients", "1");
        leader.does(wakes);
        let reply = other.reply().unwrap();
        assert!(!reply.is_error(), "{waits}: {}", reply.text());
        assert_ne!(reply, Reply::NullArray, "{waits}");
    }
}

fn dumped(leader: &mut Peer) {
    for key in ["l2", "kk", "x", "h", "x1", "s2"] {
        let payload = leader.does(&format!("DUMP {key}")).bytes().to_vec();
        let to = format!("restored:{key}");
        for more in [
            &[&b"100000"[..]][..],
            &[b"0", b"REPLACE"],
            &[b"99999999999999", b"REPLACE", b"ABSTTL"],
        ] {
            let mut words = vec![b"RESTORE", to.as_bytes(), more[0], &payload];
            words.extend(&more[1..]);
            assert_eq!(leader.c.call(&words).unwrap(), Reply::ok());
        }
    }
    let functions = leader.does("FUNCTION DUMP").bytes().to_vec();
    leader.does("FUNCTION FLUSH");
    let reply = leader.c.call(&[b"FUNCTION", &b"RESTORE"[..], &functions]);
    assert_eq!(reply.unwrap(), Reply::ok());
}

/// A replica shows no key that is over, and removes none.
fn keys_that_expire_go_when_the_leader_says_so(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &[]);
    leader.does("DEBUG SET-ACTIVE-EXPIRE 0");
    for line in [
        "SET k v PX 30",
        "RPUSH l 1",
        "PEXPIRE l 30",
        "HSET h a 1",
        "PEXPIRE h 30",
        "SET stays 1",
    ] {
        leader.does(line);
    }
    replica.catches_up(&mut leader);
    until("it is over", || {
        replica.run("EXISTS k l h stays").int() == Some(1)
    });
    for (line, wanted) in [
        ("GET k", Reply::NullBulk),
        ("TTL k", Reply::Int(-2)),
        ("TYPE l", Reply::Simple(b"none".into())),
        ("LRANGE l 0 -1", Reply::Array(Vec::new())),
        ("HGET h a", Reply::NullBulk),
        ("KEYS *", Reply::Array(vec![Reply::bulk("stays")])),
        (
            "EVAL return_redis.call('EXISTS',KEYS[1]) 1 k",
            Reply::Int(0),
        ),
        ("RANDOMKEY", Reply::bulk("stays")),
    ] {
        let words: Vec<_> = line.split(' ').map(|w| w.replace('_', " ")).collect();
        assert_eq!(replica.c.call(&words).unwrap(), wanted, "{line}");
    }
    // They are there all the same, whatever was asked, until the leader sees it.
    assert_eq!(replica.run("DBSIZE").int(), Some(4));
    assert_eq!(replica.number("expired_keys"), 0);
    leader.does("EXISTS k l");
    replica.catches_up(&mut leader);
    assert_eq!(replica.run("DBSIZE").int(), Some(2));
    leader.does("DEBUG SET-ACTIVE-EXPIRE 1");
    until("the leader finds the last one", || {
        leader.run("DBSIZE").int() == Some(1)
    });
    agree(&mut leader, &mut replica);
    assert_eq!(replica.run("DBSIZE").int(), Some(1));
    // Many, that go by themselves.
    for n in 0..200 {
        leader.does(&format!("SET gone{n} v PX {}", 1 + n % 40));
    }
    until("they go", || leader.run("DBSIZE").int() == Some(1));
    agree(&mut leader, &mut replica);
    assert_eq!(replica.run("DBSIZE").int(), Some(1));
    assert_eq!(leader.number("expired_keys"), 203);
    assert_eq!(replica.number("expired_keys"), 0);
    // Who becomes a leader finds them itself.
    leader.does("DEBUG SET-ACTIVE-EXPIRE 0");
    leader.does("SET k v PX 1");
    replica.catches_up(&mut leader);
    replica.does("REPLICAOF NO ONE");
    until("it finds it", || replica.run("DBSIZE").int() == Some(1));
}

fn a_replica_is_read_only(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &[]);
    leader.does("SET k v");
    replica.catches_up(&mut leader);
    const READONLY: &str = "READONLY You can't write against a read only replica.";
    for line in ["SET k w", "DEL k", "FLUSHALL", "PFADD p a", "XADD s * a 1"] {
        assert_eq!(replica.run(line).text(), READONLY, "{line}");
    }
    let script = "return redis.pcall('SET','k','w')";
    let reply = replica.call(&["EVAL", script, "0"]).text();
    assert!(
        reply.contains("READONLY") || reply.contains("read only replica"),
        "{reply}"
    );
    replica.does("MULTI");
    assert_eq!(replica.run("SET k w").text(), READONLY);
    assert!(replica.run("EXEC").text().starts_with("EXECABORT"));
    assert_eq!(replica.run("GET k").text(), "v");
    // One may ask for it; it is written here alone.
    replica.set("replica-read-only", "no");
    replica.does("SET own 1");
    replica.set("replica-read-only", "yes");
    assert!(replica.run("SET own 2").is_error());
    assert_eq!(leader.run("EXISTS own").int(), Some(0));
    assert_eq!(replica.does("SLAVEOF NO ONE"), Reply::ok());
    assert_eq!(replica.info("role"), "master");
    replica.does("SET k w");
    assert_eq!(leader.run("GET k").text(), "v");
    replica.does(&format!("SLAVEOF 127.0.0.1 {}", leader.port()));
    replica.is_up();
    agree(&mut leader, &mut replica);
    let again = replica.does(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
    assert_eq!(again.text(), "OK Already connected to specified master");
}

fn stale_data_is_shown_or_not(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &[]);
    leader.does("SET k v");
    agree(&mut leader, &mut replica);
    leader.server.kill();
    replica.tells("master_link_status", "down");
    assert_eq!(replica.run("GET k").text(), "v");
    replica.set("replica-serve-stale-data", "no");
    const DOWN: &str =
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    assert_eq!(replica.run("GET k").text(), DOWN);
    assert_eq!(replica.run("PING").text(), DOWN);
    // What was queued before is as stale, and so is what a script reads.
    replica.set("replica-serve-stale-data", "yes");
    replica.does("MULTI");
    replica.does("GET k");
    let mut other = replica.server.client();
    other.run("CONFIG SET replica-serve-stale-data no");
    let refused = replica.run("EXEC").text();
    assert_eq!(
        refused,
        format!("EXECABORT Transaction discarded because of: {DOWN}")
    );
    for (call, reply) in [
        ("return redis.call('info', 'server') and 'told'", "told"),
        (
            "return redis.pcall('get', KEYS[1]).err",
            "ERR Can not execute the command on a stale replica",
        ),
    ] {
        let script = format!("#!lua flags=allow-stale,no-writes\n{call}");
        let got = replica.call(&["EVAL", &script, "1", "k"]);
        assert!(got.text().contains(reply), "{call}: {}", got.text());
    }
    for line in [
        "INFO",
        "CONFIG GET maxmemory",
        "SELECT 0",
        "ROLE",
        "CLIENT ID",
        "SUBSCRIBE c",
    ] {
        replica.does(line);
    }
    replica.c = replica.server.client();
    replica.does("REPLICAOF NO ONE");
    assert_eq!(replica.run("GET k").text(), "v");
}

fn a_script_says_who_hears_of_it(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = pair(leader, replica, &["--appendonly", "yes"]);
    let script = "redis.call('set', 'a', 1) redis.set_repl(redis.REPL_NONE) redis.call('set', 'b', 1) \
        redis.set_repl(redis.REPL_AOF) redis.call('set', 'c', 1) redis.set_repl(redis.REPL_REPLICA) \
        redis.call('set', 'd', 1) redis.set_repl(redis.REPL_ALL) redis.call('set', 'e', 1)";
    leader.call(&["EVAL", script, "0"]);
    let there = |peer: &mut Peer| {
        let all = "abcde".chars();
        let there = all.filter(|key| peer.run(&format!("EXISTS {key}")).int() == Some(1));
        there.collect::<String>()
    };
    replica.catches_up(&mut leader);
    assert_eq!(there(&mut leader), "abcde");
    assert_eq!(there(&mut replica), "ade");
    leader.does("DEBUG LOADAOF");
    assert_eq!(there(&mut leader), "ace");
    // All of a unit is for one side alone.
    leader.does("DEL a b c d e");
    let script =
        "redis.set_repl(redis.REPL_AOF) redis.call('set', 'a', 1) redis.call('set', 'b', 1)";
    leader.call(&["EVAL", script, "0"]);
    leader.does("SET e 1");
    replica.catches_up(&mut leader);
    assert_eq!(there(&mut replica), "e");
    leader.does("DEBUG LOADAOF");
    assert_eq!(there(&mut leader), "abe");
}

/// What is published at the leader is heard at its replicas.
fn messages_arrive(leader: Kind, replica: Kind) {
    let (mut leader, replica) = pair(leader, replica, &[]);
    let hears = |c: &mut Client| match c.receive(Duration::from_secs(10)).unwrap() {
        Got::Reply(reply) => reply.items()[2].text(),
        other => panic!("{other:?}"),
    };
    let (mut one, mut shard) = (replica.server.client(), replica.server.client());
    one.run("SUBSCRIBE news");
    shard.run("SSUBSCRIBE news");
    leader.does("PUBLISH news hello");
    leader.does("SPUBLISH news shard");
    leader.does("MULTI");
    leader.does("PUBLISH news within");
    leader.does("EXEC");
    assert_eq!([hears(&mut one), hears(&mut one)], ["hello", "within"]);
    assert_eq!(hears(&mut shard), "shard");
}

/// A log has no use for them.
#[test]
fn messages_are_not_logged() {
    let logged = ["--appendonly", "yes", "--appendfsync", "always"];
    let (mut leader, mut replica) = pair(Kind::Redkeep, Kind::Redkeep, &logged);
    for line in [
        "SET k 1",
        "PUBLISH news alone",
        "MULTI",
        "INCR k",
        "PUBLISH news within",
        "SPUBLISH news within",
        "INCR k",
        "EXEC",
        "MULTI",
        "PUBLISH news two",
        "PUBLISH news two",
        "EXEC",
        "EVAL redis.call('PUBLISH','news','script')_redis.call('INCR',KEYS[1]) 1 k",
        "INCR k",
    ] {
        let words: Vec<_> = line.split(' ').map(|w| w.replace('_', " ")).collect();
        leader.c.call(&words).unwrap();
    }
    assert_eq!(leader.does("WAITAOF 1 1 10000").items().len(), 2);
    agree(&mut leader, &mut replica);
    let log = leader
        .server
        .dir
        .path()
        .join("appendonlydir/appendonly.aof.1.incr.aof");
    let log = String::from_utf8(std::fs::read(log).unwrap()).unwrap();
    let told: Vec<&str> = log
        .lines()
        .filter(|line| ["SET", "INCR", "MULTI", "EXEC", "PUBLISH", "SPUBLISH"].contains(line))
        .collect();
    assert_eq!(
        told,
        [
            "SET", "MULTI", "INCR", "INCR", "EXEC", "MULTI", "INCR", "EXEC", "INCR"
        ]
    );
    // What waits for the disk waits for nothing that does not come.
    leader.does("PUBLISH news last");
    assert_eq!(leader.does("WAITAOF 1 0 10000").items()[0], Reply::Int(1));
    leader.restart(&[]);
    assert_eq!(leader.run("GET k").text(), "5");
}
