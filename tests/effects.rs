//! The log of effects is enough: an engine that applies what another one logged comes to the same state, whatever
//! was random, relative to the clock or done by a script.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::node::Node;
use redkeep::util::clock::{Clock, ManualClock};
use redkeep::util::rng::Rng;
use std::sync::Arc;

const TEMPLATES: &[&str] = &[
    "SET @ %",
    "SET @ % EX #",
    "SET @ % PX # NX",
    "SET @ % KEEPTTL",
    "SET @ % XX GET",
    "GETEX @ PX #",
    "GETEX @ PERSIST",
    "GETDEL @",
    "APPEND @ %",
    "SETRANGE @ # %",
    "INCR n:@",
    "INCRBYFLOAT f:@ 1.5",
    "MSET @ % @ %",
    "MSETNX @ % @ %",
    "PEXPIRE @ #",
    "EXPIRE @ # NX",
    "PERSIST @",
    "DEL @",
    "UNLINK @ @",
    "RENAME @ @",
    "COPY @ @ REPLACE",
    "MOVE @ 1",
    "RENAMENX @ @",
    "COPY @ @ DB 1",
    "EXPIREAT @ 1",
    "PEXPIRE @ # GT",
    "SWAPDB 0 1",
    "FLUSHDB",
    "SELECT 1",
    "SELECT 0",
    "GET @",
    "HSET h:@ f % g %",
    "HMSET h:@ a % b % c % d % e %",
    "HSETNX h:@ f %",
    "HDEL h:@ f a",
    "HINCRBY h:@ n #",
    "HINCRBYFLOAT h:@ f 0.1",
    "HPEXPIRE h:@ # FIELDS 3 f g n",
    "HPEXPIRE h:@ # GT FIELDS 3 a b f",
    "HEXPIRE h:@ 1 NX FIELDS 2 a c",
    "HEXPIREAT h:@ 1 FIELDS 1 b",
    "HPERSIST h:@ FIELDS 2 f a",
    "HGETEX h:@ PX # FIELDS 2 c d",
    "HGETEX h:@ PERSIST FIELDS 2 c f",
    "HGETEX h:@ EX 0 FIELDS 1 e",
    "HSETEX h:@ PX # FIELDS 2 f % h %",
    "HSETEX h:@ FNX EX 1 FIELDS 1 n 5",
    "HSETEX h:@ KEEPTTL FIELDS 2 f % a %",
    "HSETEX h:@ PXAT 1 FIELDS 1 g 5",
    "HSETEX h:@ FIELDS 1 i 0123456789012345678901234567890123456789012345678901234567890123456789",
    "HGETDEL h:@ FIELDS 2 d f",
    "HGETALL h:@",
    "RENAME h:@ h:@",
    "COPY h:@ h:@ REPLACE",
    "MOVE h:@ 1",
    "PEXPIRE h:@ #",
    "SET h:@ %",
    "DEL h:@",
    "DEL h:@",
    "XADD s:@ * f %",
    "XADD s:@ MAXLEN ~ 5 * f % g %",
    "XTRIM s:@ MAXLEN 3",
    "XGROUP CREATE s:@ g 0 MKSTREAM",
    "XGROUP CREATE s:@ h $ MKSTREAM",
    "XGROUP CREATECONSUMER s:@ g c",
    "XGROUP SETID s:@ g 0",
    "XGROUP DELCONSUMER s:@ g d",
    "XREADGROUP GROUP g c COUNT 2 STREAMS s:@ >",
    "XREADGROUP GROUP g d NOACK COUNT 1 STREAMS s:@ >",
    "XREADGROUP GROUP h d COUNT 2 STREAMS s:@ >",
    "XAUTOCLAIM s:@ g d 0 0 COUNT 1",
    "XAUTOCLAIM s:@ h c # 0",
    "XDEL s:@ 1000-0",
    "XADD t:@ 1-* f %",
    "XADD t:@ MINID ~ 1-4 1-* f %",
    "XADD t:@ MAXLEN ~ 6 DELREF 1-* g %",
    "XADD t:@ IDMP p % * f %",
    "XADD t:@ IDMPAUTO q * f %",
    "XCFGSET t:@ IDMP-MAXSIZE 3",
    "XGROUP CREATE t:@ g 0 MKSTREAM",
    "XREADGROUP GROUP g c COUNT 3 STREAMS t:@ >",
    "XREADGROUP GROUP g d CLAIM 0 COUNT 2 STREAMS t:@ >",
    "XCLAIM t:@ g d 0 1-1 1-2 1-5 FORCE",
    "XCLAIM t:@ g e 0 1-3 1-4 RETRYCOUNT 7 JUSTID LASTID 1-4",
    "XCLAIM t:@ g f 1000000 1-3",
    "XNACK t:@ g SILENT IDS 3 1-1 1-3 1-9 FORCE",
    "XACK t:@ g 1-2 1-3",
    "XACKDEL t:@ g DELREF IDS 2 1-2 1-6",
    "XDELEX t:@ ACKED IDS 2 1-1 1-4",
    "XTRIM t:@ MAXLEN ~ 3 ACKED",
    "LPUSH l:@ % % %",
    "RPUSH l:@ %",
    "RPUSHX l:@ %",
    "LPOP l:@",
    "RPOP l:@ 2",
    "LMOVE l:@ l:@ LEFT RIGHT",
    "RPOPLPUSH l:@ l:@",
    "LMPOP 2 l:@ l:@ RIGHT COUNT 2",
    "BLPOP l:@ l:@ 1",
    "BRPOP l:@ 1",
    "BLMOVE l:@ l:@ RIGHT LEFT 1",
    "BRPOPLPUSH l:@ l:@ 1",
    "BLMPOP 1 2 l:@ l:@ LEFT",
    "LINSERT l:@ BEFORE 5 %",
    "LREM l:@ 1 %",
    "LSET l:@ 0 %",
    "LTRIM l:@ 0 5",
    "SADD e:@ % % %",
    "SADD e:@ a%",
    "SREM e:@ % %",
    "SPOP e:@",
    "SPOP e:@ 3",
    "SMOVE e:@ e:@ %",
    "SINTERSTORE e:@ e:@ e:@",
    "SUNIONSTORE e:@ e:@ e:@",
    "SDIFFSTORE e:@ e:@ e:@",
    "ZADD z:@ % a% # b",
    "ZADD z:@ GT CH % a1 % a2",
    "ZADD z:@ INCR 1.5 a1",
    "ZINCRBY z:@ 0.1 b",
    "ZREM z:@ a1 a%",
    "ZPOPMIN z:@ 2",
    "ZPOPMAX z:@",
    "ZMPOP 2 z:@ z:@ MAX COUNT 2",
    "BZPOPMIN z:@ z:@ 1",
    "BZPOPMAX z:@ 1",
    "BZMPOP 1 1 z:@ MIN COUNT 2",
    "ZREMRANGEBYRANK z:@ 0 1",
    "ZREMRANGEBYSCORE z:@ % (#",
    "ZRANGESTORE z:@ z:@ 0 2",
    "ZUNIONSTORE z:@ 2 z:@ e:@ WEIGHTS 2 1",
    "ZINTERSTORE z:@ 2 z:@ z:@ AGGREGATE MAX",
    "ZDIFFSTORE z:@ 2 z:@ z:@",
    "SORT l:@ ALPHA STORE l:@",
    "SORT e:@ BY nosort STORE l:@",
    "SETBIT b:@ % 1",
    "BITOP XOR b:@ b:@ @",
    "BITFIELD b:@ SET u8 # % INCRBY i5 3 %",
    "PFADD p:@ % % %",
    "PFCOUNT p:@",
    "PFMERGE p:@ p:@ p:@",
    "GEOADD g:@ 13.% 38.% a%",
    "GEOSEARCHSTORE g:@ g:@ FROMLONLAT 13.5 38.5 BYRADIUS 200 km",
    "GEORADIUS g:@ 13.5 38.5 100 km STORE z:@",
    "DEL h:@ l:@ e:@ z:@",
    "XDEL t:@ 1-5 1-7",
    "XSETID t:@ 3-0",
    "DEL t:@",
];

const SCRIPTS: &[&str] = &[
    "return redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])",
    "redis.call('incr', 'n:'..KEYS[1]) return redis.call('append', KEYS[1], ARGV[1])",
    "redis.call('xadd', 's:'..KEYS[1], '*', 'f', ARGV[1]) redis.pcall('incr', KEYS[1]) return 1",
    "for _, kind in ipairs({'', 'h:', 'l:', 'e:', 'z:', 't:'}) do local d = redis.call('dump', kind..KEYS[1]) \
     if d then redis.call('restore', kind..KEYS[1], ARGV[2], d, 'replace') end end return 1",
    "local d = redis.call('dump', 'l:'..KEYS[1]) \
     if d then redis.call('restore', 'h:'..KEYS[1], '1', d, 'absttl', 'replace') end return 1",
];

#[test]
fn applying_the_log_gives_the_same_state() {
    for seed in 0..20 {
        let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
        let mut rng = Rng::seed_from_u64(seed);
        let mut leader = Node::new(clock.clone(), seed);
        let mut follower = Node::new(clock.clone(), seed + 1000);
        leader.engine.collect_effects(true);
        let (mut succeeded, mut whole) = (0, Vec::new());
        for step in 0..3000 {
            let n = rng.below(2000).to_string();
            let reply = if cfg!(feature = "lua") && rng.chance(0.1) {
                let key = format!("k{}", rng.below(6));
                let script = SCRIPTS[rng.index(SCRIPTS.len())];
                leader.run(&["EVAL", script, "1", &key, "x", &n])
            } else {
                let line: Vec<String> = TEMPLATES[rng.index(TEMPLATES.len())]
                    .split(' ')
                    .map(|word| match word {
                        "%" => rng.below(100).to_string(),
                        "#" => n.clone(),
                        _ => word.replace('@', &format!("k{}", rng.below(6))),
                    })
                    .collect();
                leader.line(&line.join(" "))
            };
            succeeded += usize::from(reply.first() != Some(&b'-'));
            // At once, on the same clock: a follower that expires keys by itself must not be late.
            let effects = leader.engine.take_effects();
            follower.apply(&effects);
            whole.extend(effects);
            if rng.chance(0.2) {
                clock.advance_ms(rng.below(300) as i64);
                leader.engine.tick();
                let effects = leader.engine.take_effects();
                follower.apply(&effects);
                whole.extend(effects);
            }
            if step % 100 == 99 {
                assert_eq!(
                    leader.contents(),
                    follower.contents(),
                    "seed {seed}, step {step}"
                );
                // What was found to be over by looking.
                whole.extend(leader.engine.take_effects());
            }
        }
        let (_, _, contents) = Node::later(&whole, seed + 2000, clock.now_ms());
        assert_eq!(leader.contents(), contents, "seed {seed}, replayed later");
        assert!(succeeded > 1400, "only {succeeded} commands did anything");
    }
}

/// The commands that a log says, one a line, without what only frames them.
fn told(node: &mut Node) -> Vec<String> {
    let log = node.engine.take_effects();
    let mut rest = &log[..];
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let (args, behind) = common::node::one(rest);
        let words: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
        if !["SELECT", "MULTI", "EXEC"].contains(&&*words[0]) {
            lines.push(words.join(" "));
        }
        rest = behind;
    }
    lines
}

#[test]
fn what_is_popped_by_chance_is_logged_as_removed() {
    let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
    let mut node = Node::new(clock, 5);
    node.engine.collect_effects(true);
    node.line("SADD one a");
    node.line("SADD few a b c");
    let many: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    node.line(&format!("SADD many {}", many.join(" ")));
    node.engine.take_effects();

    node.line("SPOP one");
    assert_eq!(told(&mut node), ["SREM one a"]);
    node.line("SPOP few 3");
    assert_eq!(told(&mut node), ["DEL few"]);
    node.line("SADD few a b c");
    node.line("CONFIG SET lazyfree-lazy-server-del yes");
    node.engine.take_effects();
    node.line("SPOP few 10");
    assert_eq!(told(&mut node), ["UNLINK few"]);
    node.line("SPOP missing 3");
    node.line("SPOP many 0");
    node.line("SRANDMEMBER many 3");
    assert_eq!(told(&mut node), [""; 0]);

    // Few of many, and many of many: some at a time.
    for (count, batches) in [
        (10, vec![10]),
        (2500, vec![1024, 1024, 452]),
        (2300, vec![1024, 1024, 252]),
    ] {
        node.line(&format!("SPOP many {count}"));
        let told = told(&mut node);
        assert!(told.iter().all(|line| line.starts_with("SREM many ")));
        let members = told.iter().map(|line| line.split(' ').count() - 2);
        assert_eq!(members.collect::<Vec<_>>(), batches);
    }
    assert_eq!(node.line("SCARD many"), b":190\r\n");
}
