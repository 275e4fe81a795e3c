//! The core without sockets: decoded arguments in, replies out.

#![expect(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::Peer;
use redkeep::resp::{Proto, ReplyBuf};

const KEYS: u64 = 100_000;

fn commands(c: &mut Criterion) {
    let mut engine = Engine::new(Options::default());
    let client = engine.connect(Peer::default());
    let mut reply = ReplyBuf::new(Proto::Resp2);
    let value = [b'v'; 64];
    let keys: Vec<Vec<u8>> = (0..KEYS)
        .map(|i| format!("key:{i:012}").into_bytes())
        .collect();
    let mut at = 0u64;
    let mut next = || {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        &keys[((at >> 33) % KEYS) as usize][..]
    };
    engine.refresh_time();
    c.bench_function("set 64 bytes", |b| {
        b.iter(|| {
            reply.clear();
            let args: [&[u8]; 3] = [b"SET", next(), &value];
            black_box(engine.execute(client, Args::new(&args), &mut reply));
        });
    });
    c.bench_function("get 64 bytes", |b| {
        b.iter(|| {
            reply.clear();
            let args: [&[u8]; 2] = [b"GET", next()];
            black_box(engine.execute(client, Args::new(&args), &mut reply));
        });
    });
}

criterion_group!(benches, commands);
criterion_main!(benches);
