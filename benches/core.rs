//! The core without sockets: bytes into arguments, decoded arguments into replies, replies into bytes.

#![expect(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::Peer;
use redkeep::resp::{Batch, Decoder, Limits, Proto, ReplyBuf, Room};

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

/// A request as clients send it.
fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = ReplyBuf::new(Proto::Resp2);
    out.array(args.len());
    args.iter().for_each(|arg| out.bulk(arg));
    out.take()
}

/// Requests by name: each is decoded, and the arguments of each handed out, once per iteration.
fn requests() -> [(&'static str, Vec<u8>); 5] {
    let (key, value) = (&b"key:000000000042"[..], [b'v'; 64]);
    let get = request(&[b"GET", key]);
    let xadd = [
        b"XADD", key, b"*", b"field", b"value", b"sensor", b"1234", b"unit", b"celsius",
    ];
    [
        ("get", get.clone()),
        ("set 64 bytes", request(&[b"SET", key, &value])),
        ("16 gets", get.repeat(16)),
        ("xadd of 9", request(&xadd)),
        ("inline", b"GET key:000000000042\r\n".to_vec()),
    ]
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let limits = Limits::default();
    let (mut decoder, mut batch) = (Decoder::new(), Batch::new());
    for (name, bytes) in requests() {
        group.bench_function(name, |b| {
            b.iter(|| {
                decoder.decode(black_box(&bytes), &limits, &mut batch);
                black_box(batch.consumed())
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("decode and hand out");
    for (name, bytes) in requests() {
        group.bench_function(name, |b| {
            b.iter(|| {
                let bytes = black_box(&bytes[..]);
                decoder.decode(bytes, &limits, &mut batch);
                let mut room = Room::default();
                for i in 0..batch.len() {
                    black_box(batch.args_in(i, bytes, &mut room));
                }
            });
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let value = [b'v'; 64];
    let elements: Vec<Vec<u8>> = (0..100)
        .map(|i| format!("element:{i:08}").into_bytes())
        .collect();
    let mut out = ReplyBuf::new(Proto::Resp2);
    group.bench_function("bulk of 64 bytes", |b| {
        b.iter(|| {
            out.clear();
            out.bulk(black_box(&value));
            black_box(out.as_slice());
        });
    });
    group.bench_function("array of 100 bulks", |b| {
        b.iter(|| {
            out.clear();
            out.array(elements.len());
            black_box(&elements).iter().for_each(|e| out.bulk(e));
            black_box(out.as_slice());
        });
    });
    for value in [1, 1234, 1_732_630_000_000] {
        group.bench_function(format!("integer {value}"), |b| {
            b.iter(|| {
                out.clear();
                out.int(black_box(value));
                black_box(out.as_slice());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commands, decode, encode);
criterion_main!(benches);
