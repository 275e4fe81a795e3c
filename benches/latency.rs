//! The longest single operation while collections grow to ten million elements.
//!
//! `cargo bench --bench latency`; `REDKEEP_BENCH_KEYS=1000000` sets another size. The engine is called without sockets.
//! What is measured is the processor time of the thread, so that waiting for the processor does not count.

#![expect(clippy::print_stdout, reason = "a report is what a benchmark is for")]

use std::time::Duration;

use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often everything is done.
const RUNS: usize = 3;

/// An operation adds element `n`.
type Build = fn(n: u64, random: u64) -> Vec<Vec<u8>>;

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|w| w.as_bytes().to_vec()).collect()
}

const WORKLOADS: &[(&str, Build)] = &[
    ("SET of a new key", |n, _| {
        words(&["SET", &format!("key:{n:012}"), "12345678"])
    }),
    ("SADD to one set", |n, _| {
        words(&["SADD", "s", &format!("member:{n:012}")])
    }),
    ("HSET to one hash", |n, _| {
        words(&["HSET", "h", &format!("field:{n:012}"), "12345678"])
    }),
    ("ZADD to one sorted set", |n, random| {
        let score = random % 1_000_000_007;
        words(&["ZADD", "z", &score.to_string(), &format!("member:{n:012}")])
    }),
    ("RPUSH to one list", |n, _| {
        words(&["RPUSH", "l", &format!("item:{n:012}")])
    }),
    ("XADD to one stream", |n, _| {
        words(&["XADD", "st", &format!("{}-0", n + 1), "f", "12345678"])
    }),
];

fn main() {
    // As the server does: a huge page takes milliseconds to find.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        println!("transparent huge pages are not disabled: {error}");
    }
    // Cargo passes `--bench`, and a filter if one was given.
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let asked = std::env::var("REDKEEP_BENCH_KEYS").ok();
    let count: u64 = asked.and_then(|n| n.parse().ok()).unwrap_or(10_000_000);
    println!("| operation, {count} times | mean | 99.9% | 99.9999% | longest |");
    println!("|---|---|---|---|---|");
    for (name, build) in WORKLOADS {
        if only.as_deref().is_none_or(|o| name.contains(o)) {
            grow(name, *build, count);
        }
    }
}

/// Each operation counts with the least of its runs, which do the same: what is left is its own time, and not that of
/// neighbours on the machine, nor of the system that finds memory for the process.
fn grow(name: &str, build: Build, count: u64) {
    let mut took = vec![u32::MAX; usize::try_from(count).unwrap_or(0)];
    for _ in 0..RUNS {
        let mut engine = Engine::new(Options {
            seed: Some(1),
            ..Options::default()
        });
        let client = engine.connect(Peer::default());
        let mut reply = ReplyBuf::new(Proto::Resp2);
        let mut random = 88_172_645_463_325_252_u64;
        for (n, least) in (0..count).zip(&mut took) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            *least = one(&mut engine, client, &build(n, random), &mut reply).min(*least);
        }
    }
    let total: u64 = took.iter().map(|&t| u64::from(t)).sum();
    took.sort_unstable();
    let at = |share: f64| {
        let at = (took.len() - 1) as f64 * share;
        Duration::from_nanos(took[at as usize].into())
    };
    let mean = Duration::from_nanos(total / count.max(1));
    println!(
        "| {name} | {mean:?} | {:?} | {:?} | {:?} |",
        at(0.999),
        at(0.999_999),
        at(1.0)
    );
}

fn one(engine: &mut Engine, client: SessionId, command: &[Vec<u8>], reply: &mut ReplyBuf) -> u32 {
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    reply.clear();
    engine.refresh_time();
    let start = processor_time();
    engine.execute(client, Args::new(&args), reply);
    let nanos = processor_time().saturating_sub(start).as_nanos();
    assert!(!reply.as_slice().starts_with(b"-"), "an operation failed");
    u32::try_from(nanos).unwrap_or(u32::MAX)
}

fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}
