//! Small hashes, sets and sorted sets: resident bytes of each, and time per command, without sockets.
//!
//! `cargo bench --bench small`; `REDKEEP_BENCH_KEYS=1000000` sets how many of each are weighed.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]
#![expect(clippy::print_stdout, reason = "a report is what a benchmark is for")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What makes one collection of ten, at a key that goes between command and rest.
fn collections() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let words = |command: &str, word: &dyn Fn(u32) -> Vec<String>| {
        let rest = (0..10).flat_map(word).map(String::into_bytes);
        std::iter::once(command.into()).chain(rest).collect()
    };
    let hash = words("HSET", &|n| {
        vec![format!("field{n}"), format!("value{n:06}")]
    });
    let set = words("SADD", &|n| vec![format!("member:{n:04}")]);
    let ints = words("SADD", &|n| vec![(n * 1000).to_string()]);
    let zset = words("ZADD", &|n| {
        vec![(n * 10).to_string(), format!("member:{n:04}")]
    });
    vec![("hash", hash), ("set", set), ("ints", ints), ("zset", zset)]
}

/// A server of one client.
struct Served {
    engine: Engine,
    client: SessionId,
    reply: ReplyBuf,
}

impl Served {
    fn new() -> Self {
        let mut engine = Engine::new(Options::default());
        let client = engine.connect(Peer::default());
        engine.refresh_time();
        let reply = ReplyBuf::new(Proto::Resp2);
        Self {
            engine,
            client,
            reply,
        }
    }

    fn run(&mut self, args: &[&[u8]]) {
        self.reply.clear();
        black_box(
            self.engine
                .execute(self.client, Args::new(args), &mut self.reply),
        );
    }

    /// Makes a collection, in one command or element by element.
    fn make(&mut self, key: &[u8], words: &[Vec<u8>], at_once: bool) {
        let [command, rest @ ..] = words else { return };
        let per = if at_once {
            rest.len()
        } else if command == b"SADD" {
            1
        } else {
            2
        };
        for part in rest.chunks(per) {
            let mut args = vec![&command[..], key];
            args.extend(part.iter().map(Vec::as_slice));
            self.run(&args);
        }
    }
}

fn weigh(_: &mut Criterion) {
    let asked = std::env::var("REDKEEP_BENCH_KEYS").ok();
    let keys: u64 = asked.and_then(|n| n.parse().ok()).unwrap_or(200_000);
    for (name, words) in collections() {
        for at_once in [true, false] {
            let mut served = Served::new();
            let before = resident().unwrap_or(0);
            for n in 0..keys {
                served.make(format!("user:{n:09}").as_bytes(), &words, at_once);
            }
            let each = resident().unwrap_or(0).saturating_sub(before) as f64 / keys as f64;
            let how = if at_once { "at once" } else { "one by one" };
            println!("{name} of 10, made {how}: {each:.1} bytes resident");
            // What it frees would be the next one's.
            std::mem::forget(served);
        }
    }
}

fn operations(c: &mut Criterion) {
    let mut served = Served::new();
    let kinds = collections();
    for n in 0..1000 {
        for (name, words) in &kinds {
            served.make(format!("{name}:{n:03}").as_bytes(), words, true);
        }
    }
    let mut at = 0u32;
    let mut on = |what: &str, commands: &[&[&str]]| {
        c.bench_function(what, |b| {
            b.iter(|| {
                at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                for command in commands {
                    let key = format!("{}:{:03}", command[1], (at >> 8) % 1000);
                    let mut args: Vec<&[u8]> = command.iter().map(|w| w.as_bytes()).collect();
                    args[1] = key.as_bytes();
                    served.run(&args);
                }
            });
        });
    };
    on("hget", &[&["HGET", "hash", "field5"]]);
    on(
        "hset existing",
        &[&["HSET", "hash", "field5", "value999999"]],
    );
    on(
        "hset other length",
        &[
            &["HSET", "hash", "field5", "value99999"],
            &["HSET", "hash", "field5", "value999999"],
        ],
    );
    on(
        "hset new, hdel",
        &[
            &["HSET", "hash", "another", "value999999"],
            &["HDEL", "hash", "another"],
        ],
    );
    on("sismember", &[&["SISMEMBER", "set", "member:0005"]]);
    on("sadd existing", &[&["SADD", "set", "member:0005"]]);
    on(
        "sadd new, srem",
        &[&["SADD", "set", "another"], &["SREM", "set", "another"]],
    );
    on(
        "sadd int, srem",
        &[&["SADD", "ints", "4711"], &["SREM", "ints", "4711"]],
    );
    on("zscore", &[&["ZSCORE", "zset", "member:0005"]]);
    on(
        "zadd other score",
        &[
            &["ZADD", "zset", "25", "member:0005"],
            &["ZADD", "zset", "50", "member:0005"],
        ],
    );
    on(
        "zadd new, zrem",
        &[
            &["ZADD", "zset", "47", "another"],
            &["ZREM", "zset", "another"],
        ],
    );
    on("zrange", &[&["ZRANGE", "zset", "0", "-1"]]);
    on("zrange rev", &[&["ZRANGE", "zset", "0", "-1", "REV"]]);
    on("smembers", &[&["SMEMBERS", "set"]]);
}

fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

criterion_group! {
    name = small;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(1))
        .warm_up_time(Duration::from_millis(200))
        .sample_size(30);
    targets = weigh, operations
}
criterion_main!(small);
