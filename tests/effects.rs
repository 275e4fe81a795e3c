//! The log of effects is enough: an engine that applies what another one logged comes to the same state, whatever
//! was random, relative to the clock or done by a script.

#![expect(
    clippy::unwrap_used,
    reason = "a log that cannot be read fails the test"
)]

use std::sync::Arc;

use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::util::clock::ManualClock;
use redkeep::util::rng::Rng;

struct Node {
    engine: Engine,
    client: SessionId,
    /// Another client, for looking at the contents: the log's reader keeps its selected database.
    reader: SessionId,
}

impl Node {
    fn new(clock: &Arc<ManualClock>, seed: u64) -> Node {
        let mut engine = Engine::new(Options {
            clock: clock.clone(),
            seed: Some(seed),
            ..Options::default()
        });
        let client = engine.connect(Peer::default());
        let reader = engine.connect(Peer::default());
        Node {
            engine,
            client,
            reader,
        }
    }

    fn run(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        self.engine
            .execute(self.client, Args::new(args), &mut reply);
        reply.take()
    }

    fn look(&mut self, line: &str) -> Vec<u8> {
        std::mem::swap(&mut self.client, &mut self.reader);
        let reply = self.line(line);
        std::mem::swap(&mut self.client, &mut self.reader);
        reply
    }

    fn line(&mut self, line: &str) -> Vec<u8> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.run(&args)
    }

    /// Applies a log of effects; MULTI and EXEC only say what belongs together.
    fn apply(&mut self, mut log: &[u8]) {
        while !log.is_empty() {
            let (args, rest) = one(log);
            log = rest;
            let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            if refs[0] != b"MULTI" && refs[0] != b"EXEC" {
                let reply = self.run(&refs);
                assert!(
                    reply.first() != Some(&b'-'),
                    "an effect fails: {:?} -> {}",
                    refs.iter()
                        .map(|a| String::from_utf8_lossy(a))
                        .collect::<Vec<_>>(),
                    String::from_utf8_lossy(&reply)
                );
            }
        }
    }

    /// Everything there is, as text.
    fn contents(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for db in 0..3 {
            self.look(&format!("SELECT {db}"));
            let mut keys = strings(&self.look("KEYS *"));
            keys.sort();
            for key in keys {
                let ty = String::from_utf8_lossy(&self.look(&format!("TYPE {key}"))).into_owned();
                let value = match ty.trim_end() {
                    "+string" => self.look(&format!("GET {key}")),
                    "+hash" => self.fields(&key),
                    _ => self.look(&format!("XINFO STREAM {key} FULL COUNT 0")),
                };
                let deadline = self.look(&format!("PEXPIRETIME {key}"));
                all.push(format!(
                    "{db} {key} {ty} {} {}",
                    structure(&String::from_utf8_lossy(&value)),
                    String::from_utf8_lossy(&deadline)
                ));
            }
        }
        all
    }
}

impl Node {
    /// The fields of a hash with their values and deadlines, in the order of their names.
    fn fields(&mut self, key: &str) -> Vec<u8> {
        let all = strings(&self.look(&format!("HGETALL {key}")));
        let (pairs, _) = all.as_chunks::<2>();
        let mut fields: Vec<String> = pairs
            .iter()
            .map(|[name, value]| {
                let at = self.look(&format!("HPEXPIRETIME {key} FIELDS 1 {name}"));
                format!("{name} {value} {}", String::from_utf8_lossy(&at).trim_end())
            })
            .collect();
        fields.sort();
        fields.join(" ").into_bytes()
    }
}

/// What a replica must agree on: not how the nodes of a stream are cut, nor when a consumer was last seen, nor how often a
/// production was repeated.
fn structure(text: &str) -> String {
    let mut lines = Vec::new();
    let mut skip = 0;
    for line in text.split("\r\n") {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if [
            "radix-tree-keys",
            "radix-tree-nodes",
            "seen-time",
            "active-time",
            "iids-duplicates",
        ]
        .contains(&line)
        {
            skip = 1;
            continue;
        }
        lines.push(line);
    }
    lines.join(" ")
}

fn one(log: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let (n, mut rest) = number(log, b'*');
    let mut args = Vec::new();
    for _ in 0..n {
        let (len, tail) = number(rest, b'$');
        args.push(tail[..len].to_vec());
        rest = &tail[len + 2..];
    }
    (args, rest)
}

fn number(text: &[u8], mark: u8) -> (usize, &[u8]) {
    assert_eq!(text[0], mark);
    let end = text.iter().position(|&b| b == b'\r').unwrap();
    let n = std::str::from_utf8(&text[1..end]).unwrap().parse().unwrap();
    (n, &text[end + 2..])
}

fn strings(reply: &[u8]) -> Vec<String> {
    let (args, _) = one(reply);
    args.iter()
        .map(|a| String::from_utf8_lossy(a).into_owned())
        .collect()
}

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
    "XDEL t:@ 1-5 1-7",
    "XSETID t:@ 3-0",
    "DEL t:@",
];

const SCRIPTS: &[&str] = &[
    "return redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])",
    "redis.call('incr', 'n:'..KEYS[1]) return redis.call('append', KEYS[1], ARGV[1])",
    "redis.call('xadd', 's:'..KEYS[1], '*', 'f', ARGV[1]) redis.pcall('incr', KEYS[1]) return 1",
];

#[test]
fn applying_the_log_gives_the_same_state() {
    for seed in 0..20 {
        let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
        let mut rng = Rng::seed_from_u64(seed);
        let mut leader = Node::new(&clock, seed);
        let mut follower = Node::new(&clock, seed + 1000);
        leader.engine.collect_effects(true);
        let mut succeeded = 0;
        for step in 0..1500 {
            let n = rng.below(2000).to_string();
            let reply = if cfg!(feature = "lua") && rng.chance(0.1) {
                let key = format!("k{}", rng.below(6));
                let script = SCRIPTS[rng.index(SCRIPTS.len())];
                leader.run(&[
                    b"EVAL",
                    script.as_bytes(),
                    b"1",
                    key.as_bytes(),
                    b"x",
                    n.as_bytes(),
                ])
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
            follower.apply(&leader.engine.take_effects());
            if rng.chance(0.2) {
                clock.advance_ms(rng.below(300) as i64);
                leader.engine.tick();
                follower.apply(&leader.engine.take_effects());
            }
            if step % 100 == 99 {
                assert_eq!(
                    leader.contents(),
                    follower.contents(),
                    "seed {seed}, step {step}"
                );
                leader.engine.take_effects();
            }
        }
        assert!(succeeded > 700, "only {succeeded} commands did anything");
    }
}
