//! Snapshots of a server: how long taking one takes, going back to one, and a dump as text.
//!
//! `cargo bench --bench state`

#![expect(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(
    clippy::expect_used,
    reason = "a benchmark may stop at the first surprise"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use redkeep::Server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A server with so many keys: half of them strings of which each second has a deadline, the rest small collections.
fn server(keys: usize) -> Server {
    let server = Server::builder().start().expect("it starts");
    let mut client = server.client().expect("it runs");
    for n in 0..keys {
        let key = format!("key:{n:04}");
        let line = match n % 8 {
            0 | 2 => format!("SET {key} value-of-{n}"),
            1 | 3 => format!("SET {key} value-of-{n} EX 3600"),
            4 => format!("HSET {key} name ada age {n}"),
            5 => format!("RPUSH {key} a b c {n}"),
            6 => format!("ZADD {key} 1 a 2 b {n} c"),
            _ => format!("SADD {key} a b c {n}"),
        };
        client.call(line.split(' ')).expect("it is done");
    }
    server
}

fn state(c: &mut Criterion) {
    for keys in [10, 1000] {
        let server = server(keys);
        let mut client = server.client().expect("it runs");
        let snapshot = server.snapshot().expect("there is one");
        c.bench_function(&format!("snapshot of {keys} keys"), |b| {
            b.iter(|| black_box(server.snapshot()));
        });
        c.bench_function(&format!("restore of {keys} keys"), |b| {
            b.iter_batched(
                || drop(client.call(["SET", "key:0001", "changed"])),
                |()| black_box(server.restore(&snapshot)),
                BatchSize::PerIteration,
            );
        });
        c.bench_function(&format!("dump of {keys} keys"), |b| {
            b.iter(|| black_box(server.dump()));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = state
}
criterion_main!(benches);
