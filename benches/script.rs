//! Scripts without sockets: what EVAL costs beside the commands that it calls.

#![expect(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use redkeep::engine::{Engine, Options};
use redkeep::exec::session::Peer;
use redkeep::exec::{Args, SessionId};
use redkeep::resp::{Proto, ReplyBuf};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const UNLOCK: &[u8] =
    b"if redis.call(\"get\",KEYS[1])==ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end";

/// The same, where the tables of keys and arguments cannot be used again.
const UNLOCK_INDIRECT: &[u8] =
    b"local function unlock(keys,args) if redis.call(\"get\",keys[1])==args[1] then \
    return redis.call(\"del\",keys[1]) else return 0 end end return unlock(KEYS,ARGV)";

const UNLOCK_LIBRARY: &[u8] = b"#!lua name=unlock\nredis.register_function('unlock', function(keys, args) \
    if redis.call(\"get\",keys[1])==args[1] then return redis.call(\"del\",keys[1]) else return 0 end end)";

const UNLOCK_LIBRARY_INDIRECT: &[u8] = b"#!lua name=indirect\nlocal function unlock(keys, args) \
    if redis.call(\"get\",keys[1])==args[1] then return redis.call(\"del\",keys[1]) else return 0 end end \
    redis.register_function('unlock_indirect', unlock)";

struct Client {
    engine: Engine,
    sid: SessionId,
    reply: ReplyBuf,
}

impl Client {
    fn new() -> Client {
        let mut engine = Engine::new(Options::default());
        engine.refresh_time();
        let sid = engine.connect(Peer::default());
        Client {
            engine,
            sid,
            reply: ReplyBuf::new(Proto::Resp2),
        }
    }

    fn run(&mut self, args: &[&[u8]]) {
        self.reply.clear();
        black_box(
            self.engine
                .execute(self.sid, Args::new(args), &mut self.reply),
        );
    }
}

fn scripts(c: &mut Criterion) {
    let mut client = Client::new();
    let token: &[u8] = b"3f0c1d2e-6a5b-4c7d-8e9f-0a1b2c3d4e5f";
    let mut at = 0u64;
    let mut key = move || {
        at += 1;
        format!("lock:{:06}", at % 100_000).into_bytes()
    };
    client.run(&[b"SCRIPT", b"LOAD", UNLOCK]);
    client.run(&[b"SCRIPT", b"LOAD", UNLOCK_INDIRECT]);
    client.run(&[b"FUNCTION", b"LOAD", UNLOCK_LIBRARY]);
    client.run(&[b"FUNCTION", b"LOAD", UNLOCK_LIBRARY_INDIRECT]);
    client.run(&[
        b"RPUSH", b"list", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9",
    ]);
    let sha = redkeep::util::digest::sha1_hex(UNLOCK);
    let indirect = redkeep::util::digest::sha1_hex(UNLOCK_INDIRECT);

    let mut one = |name: &str, make: &mut dyn FnMut(&mut Client)| {
        c.bench_function(name, |b| b.iter(|| make(&mut client)));
    };
    one("get of a missing key", &mut |client| {
        let key = key();
        client.run(&[b"GET", &key]);
    });
    one("del of a missing key", &mut |client| {
        let key = key();
        client.run(&[b"DEL", &key]);
    });
    one("return 0", &mut |client| {
        client.run(&[b"EVAL", b"return 0", b"0"]);
    });
    one("unlock, nothing there", &mut |client| {
        let key = key();
        client.run(&[b"EVAL", UNLOCK, b"1", &key, token]);
    });
    one("unlock by the interpreter, nothing there", &mut |client| {
        let key = key();
        let script = [&b"do end "[..], UNLOCK].concat();
        client.run(&[b"EVAL", &script, b"1", &key, token]);
    });
    one("count and expire", &mut |client| {
        let key = key();
        let script =
            b"local n = redis.call('incr',KEYS[1]) redis.call('pexpire',KEYS[1],ARGV[1]) return n";
        client.run(&[b"EVAL", script, b"1", &key, b"60000"]);
        client.run(&[b"DEL", &key]);
    });
    one("unlock by sha, nothing there", &mut |client| {
        let key = key();
        client.run(&[b"EVALSHA", &sha, b"1", &key, token]);
    });
    one("unlock by function, nothing there", &mut |client| {
        let key = key();
        client.run(&[b"FCALL", b"unlock", b"1", &key, token]);
    });
    one(
        "unlock by function with new tables, nothing there",
        &mut |client| {
            let key = key();
            client.run(&[b"FCALL", b"unlock_indirect", b"1", &key, token]);
        },
    );
    one(
        "unlock by sha with new tables, nothing there",
        &mut |client| {
            let key = key();
            client.run(&[b"EVALSHA", &indirect, b"1", &key, token]);
        },
    );
    let unlocks: [(&str, [&[u8]; 2]); 3] = [
        ("lock and unlock", [b"EVAL", UNLOCK]),
        ("lock and unlock by sha", [b"EVALSHA", &sha]),
        ("lock and unlock by function", [b"FCALL", b"unlock"]),
    ];
    for (name, [command, script]) in unlocks {
        one(name, &mut |client| {
            let key = key();
            client.run(&[b"SET", &key, token, b"NX", b"PX", b"30000"]);
            client.run(&[command, script, b"1", &key, token]);
            debug_assert_eq!(client.reply.as_slice(), b":1\r\n");
        });
    }
    one("lock alone", &mut |client| {
        let key = key();
        client.run(&[b"SET", &key, token, b"PX", b"30000"]);
    });
    one("status reply", &mut |client| {
        let key = key();
        let script = b"return redis.call('set',KEYS[1],ARGV[1])";
        client.run(&[b"EVAL", script, b"1", &key, token]);
    });
    one("array of nine, read and returned", &mut |client| {
        let script = b"return redis.call('lrange',KEYS[1],0,-1)";
        client.run(&[b"EVAL", script, b"1", b"list"]);
    });
    one("table of ten", &mut |client| {
        client.run(&[b"EVAL", b"return {1,2,3,4,5,'a','b','c','d','e'}", b"0"]);
    });
}

criterion_group!(benches, scripts);
criterion_main!(benches);
