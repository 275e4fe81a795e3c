//! Payloads damaged at random, with the checksum made right again: each must be refused, or give a value that can be
//! read, edited, dumped and restored.

use super::target::Target;
use super::{legacy, samples};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redkeep::rdb::payload;

/// Bytes of version and checksum.
const FOOTER: usize = 10;
/// Bytes at which formats change their minds.
const EDGES: [u8; 18] = [
    0, 1, 2, 3, 0x0F, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0x82, 0xC0, 0xC3, 0xE0, 0xF0, 0xF4, 0xFE, 0xFF,
];

pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

pub fn run(count: u64, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut here = Target::here();
    let whole = whole(&mut here);
    let (mut refused, mut lived) = (0u64, 0u64);
    for _ in 0..count {
        let damaged = Damaged(damage(&whole, &mut rng));
        match here.restore(b"r", &damaged.0) {
            Err(e) => {
                assert_eq!(e, "ERR Bad data format");
                refused += 1;
            }
            // Some have deadlines that have passed.
            Ok(()) if here.run("EXISTS r").int() == Some(1) => {
                lives(&mut here);
                lived += 1;
            }
            Ok(()) => {}
        }
        here.run("FLUSHALL");
    }
    println!("{refused} refused, {lived} lived on");
}

/// Tells which payload it was when the test ends with it.
struct Damaged(Vec<u8>);

impl Drop for Damaged {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the payload: {}", samples::hex(&self.0));
        }
    }
}

/// Payloads without their footers, both as recorded and without compression.
fn whole(here: &mut Target) -> Vec<Vec<u8>> {
    let recorded = samples::all().into_iter().map(|sample| sample.payload);
    let old = legacy::samples().into_iter().map(|(_, payload, _)| payload);
    let mut out: Vec<Vec<u8>> = recorded.chain(old).collect();
    here.run("CONFIG SET rdbcompression no");
    for i in 0..out.len() {
        here.restore(b"r", &out[i]).unwrap();
        out.push(here.dump(b"r"));
    }
    here.reset();
    // Most are small; the large ones would only slow things down.
    out.retain(|payload| payload.len() < 2000);
    out.iter_mut()
        .for_each(|payload| payload.truncate(payload.len() - FOOTER));
    out
}

fn damage(whole: &[Vec<u8>], rng: &mut SmallRng) -> Vec<u8> {
    let mut out = whole[rng.random_range(0..whole.len())].clone();
    for _ in 0..rng.random_range(1..=4) {
        if out.is_empty() {
            break;
        }
        let at = rng.random_range(0..out.len());
        let end = (at + rng.random_range(1..=8)).min(out.len());
        match rng.random_range(0..9) {
            0 => out[at] = rng.random(),
            1 => out[at] ^= 1 << rng.random_range(0..8),
            2 | 3 => out[at] = EDGES[rng.random_range(0..EDGES.len())],
            4 => out[at] = out[at].wrapping_add(if rng.random() { 1 } else { 255 }),
            5 => _ = out.drain(at..end),
            6 => out.insert(at, EDGES[rng.random_range(0..EDGES.len())]),
            7 => {
                let twice = out[at..end].to_vec();
                out.splice(end..end, twice);
            }
            _ => {
                let other = &whole[rng.random_range(0..whole.len())];
                let from = rng.random_range(0..other.len());
                let to = (from + rng.random_range(1..=40)).min(other.len());
                out.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    payload::seal(&mut out, 14);
    out
}

/// Reads, moves, edits and moves again what was restored at `r`.
fn lives(here: &mut Target) {
    moves(here);
    let kind = here.run("TYPE r").text();
    for line in edits(&kind) {
        here.run(line);
    }
    if here.run("EXISTS r").int() == Some(1) {
        moves(here);
    }
}

fn moves(here: &mut Target) {
    for line in ["OBJECT ENCODING r", "MEMORY USAGE r", "DEBUG OBJECT r"] {
        here.run(line);
    }
    let contents = here.contents(b"r");
    let dumped = here.dump(b"r");
    here.restore(b"moved", &dumped)
        .unwrap_or_else(|e| panic!("{e}: {}", samples::hex(&dumped)));
    assert_eq!(here.contents(b"moved"), contents);
}

fn edits(kind: &str) -> &'static [&'static str] {
    match kind {
        "string" => &[
            "APPEND r x",
            "SETRANGE r 3 yz",
            "GETRANGE r 0 -1",
            "BITCOUNT r",
            "PFADD r a b",
            "PFCOUNT r",
            "INCR r",
        ],
        "list" => &[
            "RPUSH r x 7",
            "LPUSH r y",
            "LSET r 1 z",
            "LINSERT r BEFORE z w",
            "LINDEX r -2",
            "LPOS r 7",
            "LREM r 0 a",
            "LRANGE r 1 -2",
            "RPOP r",
            "LPOP r 2",
            "LTRIM r 1 -1",
            "LMOVE r r LEFT RIGHT",
        ],
        "set" => &[
            "SADD r x 7 123456789",
            "SISMEMBER r a",
            "SREM r a 1",
            "SRANDMEMBER r 3",
            "SSCAN r 0",
            "SPOP r",
            "SADD r longer-than-all-the-others-longer-than-all-the-others-longer-than-all-the-others",
        ],
        "hash" => &[
            "HSET r x 1 f 2",
            "HINCRBY r x 5",
            "HGET r f",
            "HDEL r a",
            "HRANDFIELD r 3 WITHVALUES",
            "HSCAN r 0",
            "HSTRLEN r f",
            "HPEXPIRE r 100000 FIELDS 1 x",
            "HPTTL r FIELDS 2 x f",
            "HPERSIST r FIELDS 1 x",
            "HLEN r",
        ],
        "zset" => &[
            "ZADD r 1.5 x 2 7",
            "ZINCRBY r 3 a",
            "ZSCORE r b",
            "ZRANK r x",
            "ZRANGEBYSCORE r -inf (5",
            "ZREM r a",
            "ZRANGE r [a [z BYLEX",
            "ZREVRANGE r 0 -1",
            "ZCOUNT r 0 10",
            "ZPOPMIN r",
            "ZPOPMAX r",
            "ZRANDMEMBER r 2",
            "ZSCAN r 0",
        ],
        "stream" => &[
            "XADD r * f v",
            "XLEN r",
            "XRANGE r - + COUNT 3",
            "XREVRANGE r + - COUNT 3",
            "XINFO GROUPS r",
            "XINFO STREAM r",
            "XGROUP CREATE r new 0",
            "XREADGROUP GROUP new c COUNT 2 STREAMS r >",
            "XREADGROUP GROUP g c STREAMS r >",
            "XREADGROUP GROUP g c STREAMS r 0",
            "XREADGROUP GROUP one c STREAMS r >",
            "XPENDING r one - + 10",
            "XPENDING r g",
            "XAUTOCLAIM r g c2 0 0",
            "XAUTOCLAIM r one alice 0 0",
            "XACK r g 1-0",
            "XINFO CONSUMERS r g",
            "XDEL r 1-0 2-0 1-1",
            "XADD r IDMP p i * f v",
            "XADD r IDMP p i * f v",
            "XCFGSET r IDMP-MAXSIZE 5",
            "XTRIM r MAXLEN 1",
            "XSETID r 18446744073709551615-5",
            "XGROUP DELCONSUMER r g c",
            "XGROUP DESTROY r one",
            "XADD r * f v",
            "XREAD STREAMS r 0",
        ],
        _ => &[],
    }
}
