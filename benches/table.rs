//! The keyspace's hash table: time per operation, memory per key, and the longest single insert.
//!
//! `cargo bench --bench table`; `REDKEEP_BENCH_KEYS=10000000` sets the size of the latency run.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]
#![expect(clippy::print_stdout, reason = "a report is what a benchmark is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use redkeep::ds::bytes::SmallBytes;
use redkeep::ds::table::{Keyed, Seed, Slot, Table};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As large as an entry of the keyspace.
struct Entry {
    key: SmallBytes,
    value: SmallBytes,
    _rest: [u64; 2],
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

/// Decimal keys as clients name them, without the cost of formatting while measuring.
fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = n;
    for digit in key.iter_mut().rev().take(12) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn entry(n: u64) -> Entry {
    Entry {
        key: SmallBytes::from(&key(n)),
        value: SmallBytes::from(b"12345678"),
        _rest: [0; 2],
    }
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

fn filled(keys: u64) -> Table<Entry> {
    let mut table = Table::new(Seed::random(rng()));
    (0..keys).for_each(|n| drop(table.insert(entry(n))));
    table
}

fn operations(c: &mut Criterion) {
    for (name, keys) in [("100", 100u64), ("10k", 10_000), ("1M", 1_000_000)] {
        let mut table = filled(keys);
        let mut random = rng();
        c.bench_function(&format!("get/{name}"), |b| {
            b.iter(|| {
                table
                    .get(black_box(&key(random() % keys)))
                    .map(|e| e.value.len())
            });
        });
        c.bench_function(&format!("get missing/{name}"), |b| {
            b.iter(|| table.get(black_box(&key(keys + random() % keys))).is_some());
        });
        c.bench_function(&format!("overwrite/{name}"), |b| {
            b.iter(|| {
                let key = key(random() % keys);
                let hash = table.hash(&key);
                if let Slot::Occupied(mut found) = table.slot(hash, &key) {
                    found.get_mut().value = SmallBytes::from(b"87654321");
                }
            });
        });
        c.bench_function(&format!("remove and insert/{name}"), |b| {
            b.iter(|| {
                let n = random() % keys;
                table.remove(&key(n));
                table.insert(entry(n));
            });
        });
        c.bench_function(&format!("random/{name}"), |b| {
            b.iter(|| table.random(&mut random).map(|e| e.value.len()));
        });
    }
    c.bench_function("fill to 100k", |b| {
        b.iter_batched(|| (), |()| filled(100_000), BatchSize::PerIteration);
    });
}

/// Not a statistic but a bound: the longest of all inserts on the way to many keys. Each insert counts with the least
/// of three runs, which do the same; what is left is the table's own time and not that of its neighbours on the machine.
fn worst_insert(_: &mut Criterion) {
    let asked = std::env::var("REDKEEP_BENCH_KEYS").ok();
    let keys: u64 = asked.and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let mut took = vec![u32::MAX; usize::try_from(keys).unwrap_or(0)];
    for _ in 0..3 {
        let mut table = Table::new(Seed::random(rng()));
        let before = resident().unwrap_or(0);
        let began = Instant::now();
        for (n, least) in (0..keys).zip(&mut took) {
            let entry = entry(n);
            let start = Instant::now();
            table.insert(entry);
            let nanos = u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX);
            *least = nanos.min(*least);
        }
        println!(
            "insert to {keys} keys: {:?} each; {} bytes per key, {} resident",
            began.elapsed() / u32::try_from(keys).unwrap_or(u32::MAX),
            table.memory() as u64 / keys,
            resident().unwrap_or(0).saturating_sub(before) / keys,
        );
    }
    took.sort_unstable();
    let longest: Vec<_> = took
        .iter()
        .rev()
        .take(5)
        .map(|&n| Duration::from_nanos(n.into()))
        .collect();
    println!("longest inserts: {longest:?}");
}

fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

criterion_group! {
    name = table;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300))
        .sample_size(30);
    targets = worst_insert, operations
}
criterion_main!(table);
