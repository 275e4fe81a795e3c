//! Big sorted sets: time per operation, memory per member, and the longest single insert.
//!
//! `cargo bench --bench zset`; `REDKEEP_BENCH_MEMBERS=10000000` sets the size of the latency run.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]
#![expect(clippy::print_stdout, reason = "a report is what a benchmark is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use redkeep::ds::table::Seed;
use redkeep::types::DataType;
use redkeep::types::zset::{Limits, ScoreRange, ZSet};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decimal members as clients name them, without the cost of formatting while measuring.
fn member(n: u64) -> [u8; 19] {
    let mut member = *b"member:000000000000";
    let mut rest = n;
    for digit in member.iter_mut().rev().take(12) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    member
}

fn rng() -> impl FnMut() -> u64 {
    let mut state = 88_172_645_463_325_252_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

fn limits() -> Limits {
    Limits {
        entries: 128,
        value: 64,
        seed: Seed::random(rng()),
    }
}

/// A score out of 53 random bits.
fn score(random: u64) -> f64 {
    (random >> 11) as f64
}

fn filled(members: u64) -> ZSet {
    let (limits, mut random) = (limits(), rng());
    let mut set = ZSet::new(limits, 1, 1);
    for n in 0..members {
        set.add(&member(n), score(random()), limits);
    }
    set
}

fn operations(c: &mut Criterion) {
    for (name, members) in [("100", 100u64), ("10k", 10_000), ("1M", 1_000_000)] {
        let (limits, mut random) = (limits(), rng());
        let mut set = filled(members);
        c.bench_function(&format!("score/{name}"), |b| {
            b.iter(|| set.score(black_box(&member(random() % members))));
        });
        c.bench_function(&format!("rank/{name}"), |b| {
            b.iter(|| set.rank(black_box(&member(random() % members))));
        });
        c.bench_function(&format!("change the score/{name}"), |b| {
            b.iter(|| set.add(&member(random() % members), score(random()), limits));
        });
        c.bench_function(&format!("remove and add/{name}"), |b| {
            b.iter(|| {
                let member = member(random() % members);
                set.remove(&member);
                set.add(&member, score(random()), limits)
            });
        });
        c.bench_function(&format!("count a range of scores/{name}"), |b| {
            b.iter(|| {
                let min = score(random());
                set.score_ranks(&ScoreRange::closed(min, min * 2.0)).len()
            });
        });
        c.bench_function(&format!("100 members of a range/{name}"), |b| {
            b.iter(|| {
                let last = set.len().saturating_sub(100).max(1);
                let from = (random() % last as u64) as usize;
                let to = (from + 100).min(set.len());
                set.range(from..to).map(|(_, score)| score).sum::<f64>()
            });
        });
    }
}

/// Memory per member, and the longest insert while a set grows.
fn growth(_: &mut Criterion) {
    let members = std::env::var("REDKEEP_BENCH_MEMBERS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000u64);
    for (name, ascending) in [("ascending", true), ("random", false)] {
        let (limits, mut random) = (limits(), rng());
        let mut set = ZSet::new(limits, 1, 1);
        let mut longest = Duration::ZERO;
        for n in 0..members {
            let score = if ascending { n as f64 } else { score(random()) };
            let member = member(n);
            let start = Instant::now();
            set.add(&member, score, limits);
            longest = longest.max(start.elapsed());
        }
        let per_member = set.heap_size() as f64 / members as f64;
        println!(
            "{members} members, {name} scores: {per_member:.1} bytes each, longest insert {longest:?}"
        );
    }
}

criterion_group!(benches, growth, operations);
criterion_main!(benches);
