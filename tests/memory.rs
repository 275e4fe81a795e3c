//! Memory that is counted is memory that is there: `used_memory` and MEMORY USAGE beside what the allocator has given.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unsafe_code,
    reason = "a test may stop at the first surprise; only an allocator knows what it has given"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use redkeep::engine::{Engine, Options};
use redkeep::exec::session::Peer;
use redkeep::exec::{Args, SessionId};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::util::heap;

/// Counts what is given, as an allocator with size classes would give it.
struct Counting;

static GIVEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the allocator of the system, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        GIVEN.fetch_add(heap::rounded(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        GIVEN.fetch_sub(heap::rounded(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test counts at a time.
static COUNTING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    COUNTING.lock().unwrap_or_else(|p| p.into_inner())
}

fn given() -> usize {
    GIVEN.load(Ordering::Relaxed)
}

/// An instance, and what it said and took when it was empty.
struct Instance {
    engine: Engine,
    sid: SessionId,
    reply: ReplyBuf,
    used: usize,
    given: usize,
}

impl Instance {
    fn new(fill: Fill) -> Self {
        let options = Options {
            seed: Some(7),
            ..Options::default()
        };
        let mut engine = Engine::new(options);
        let sid = engine.connect(Peer {
            trusted: true,
            ..Peer::default()
        });
        let mut new = Self {
            engine,
            sid,
            reply: ReplyBuf::new(Proto::Resp2),
            used: 0,
            given: 0,
        };
        // What they keep depends on the machine.
        new.line("CONFIG SET latency-tracking no slowlog-log-slower-than -1");
        // What is there from the first command of a kind on.
        (0..4).for_each(|n| fill(&mut new, n));
        new.line("DEL key:0");
        new.line("MEMORY USAGE key:1");
        new.run(&["FLUSHALL"]);
        new.used = new.engine.state().used_memory();
        new.given = given();
        new
    }

    fn run<T: AsRef<[u8]>>(&mut self, args: &[T]) -> &[u8] {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        self.engine.refresh_time();
        self.reply.clear();
        self.engine
            .execute(self.sid, Args::new(&args), &mut self.reply);
        drop(self.engine.take_actions());
        drop(self.engine.take_garbage());
        let reply = self.reply.as_slice();
        assert!(!reply.starts_with(b"-"), "{}", reply.escape_ascii());
        self.reply.as_slice()
    }

    fn line(&mut self, line: &str) -> i64 {
        let words: Vec<&str> = line.split(' ').collect();
        let reply = self.run(&words);
        reply.strip_prefix(b":").map_or(0, |digits| {
            std::str::from_utf8(digits).unwrap().trim().parse().unwrap()
        })
    }

    /// What it says and what it has got since it was empty.
    fn grown(&mut self) -> (usize, usize) {
        let used = self.engine.state().used_memory() - self.used;
        (used, given().saturating_sub(self.given))
    }

    fn check(&mut self, what: &str, complaints: &mut Vec<String>) {
        let (said, got) = self.grown();
        compare(what, said, got, complaints);
    }
}

/// What grows with the commands and not with the data: histograms of how long they take, buffers that stay.
const OWN: usize = 16 << 10;

fn compare(what: &str, said: usize, got: usize, complaints: &mut Vec<String>) {
    let line = format!(
        "{what:54} said {said:>9} got {got:>9} {:.3}",
        said as f64 / got as f64
    );
    eprintln!("{line}");
    if said.abs_diff(got) > got / 10 + OWN {
        complaints.push(line);
    }
}

fn text(n: usize, len: usize) -> String {
    let mut text = format!("{n:x}-");
    let mut seed = n as u64 + 1;
    while text.len() < len {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        text.push_str(&format!("{seed:x}"));
    }
    text.truncate(len.max(1));
    text
}

type Fill = fn(&mut Instance, usize);

/// What a data set is called, how many keys it has, how one is filled, and the command that takes an element out.
const SETS: &[(&str, usize, Fill)] = &[
    ("strings: integers", 30_000, |i, n| {
        i.line(&format!("SET key:{n} {n}"));
    }),
    ("strings: short", 30_000, |i, n| {
        i.line(&format!("SET key:{n} {}", text(n, 10)));
    }),
    ("strings: 40 bytes, long names", 20_000, |i, n| {
        i.line(&format!("SET {} {}", text(n, 33), text(n, 40)));
    }),
    ("strings: of all lengths", 5_000, |i, n| {
        i.line(&format!("SET key:{n} {}", text(n, n % 900)));
    }),
    ("strings: appended to", 5_000, |i, n| {
        i.line(&format!("APPEND key:{} {}", n % 500, text(n, 50)));
    }),
    ("strings: large", 40, |i, n| {
        i.line(&format!("SETRANGE key:{n} {} x", 300_000 + n * 7919));
    }),
    ("strings: with deadlines", 30_000, |i, n| {
        i.line(&format!(
            "SET key:{n} x PX {}",
            10_000_000 + (n * 7919) % 100_000
        ));
    }),
    ("strings: with deadlines in order", 30_000, |i, n| {
        i.line(&format!("SET key:{n} x PX {}", 10_000_000 + n));
    }),
    ("lists: packed", 8_000, |i, n| {
        for k in 0..n % 20 {
            i.line(&format!("RPUSH key:{n} {}", text(n + k, 12)));
        }
    }),
    ("lists: of nodes", 20, |i, n| {
        for k in 0..3000 {
            i.line(&format!("LPUSH key:{n} {}", text(n + k, 30)));
        }
    }),
    ("lists: compressed", 20, |i, n| {
        i.line("CONFIG SET list-compress-depth 1");
        for k in 0..3000 {
            i.line(&format!("RPUSH key:{n} {}{}", "a".repeat(40), k % 10));
        }
    }),
    ("lists: of large elements", 20, |i, n| {
        for k in 0..20 {
            i.line(&format!("RPUSH key:{n} {}", text(n + k, 10_000)));
        }
    }),
    ("hashes: packed", 8_000, |i, n| {
        for k in 0..n % 12 {
            i.line(&format!("HSET key:{n} field:{k} {}", text(n + k, 9)));
        }
    }),
    ("hashes: tables", 10, |i, n| {
        for k in 0..4000 {
            i.line(&format!("HSET key:{n} field:{k} {}", text(n + k, 9)));
        }
    }),
    ("hashes: small tables", 500, |i, n| {
        i.line(&format!("HSET key:{n} field:0 {}", text(n, 80)));
        for k in 0..n % 20 {
            i.line(&format!("HSET key:{n} field:{k} {}", text(n + k, 30)));
        }
    }),
    ("hashes: tables of long values", 5, |i, n| {
        for k in 0..2000 {
            i.line(&format!("HSET key:{n} field:{k} {}", text(n + k, k % 300)));
        }
    }),
    ("hashes: packed, fields with deadlines", 3_000, |i, n| {
        for k in 0..8 {
            i.line(&format!("HSET key:{n} field:{k} {k}"));
            i.line(&format!("HEXPIRE key:{n} {} FIELDS 1 field:{k}", 5000 + k));
        }
    }),
    ("hashes: tables, fields with deadlines", 10, |i, n| {
        for k in 0..2000 {
            i.line(&format!("HSET key:{n} field:{k} {k}"));
            i.line(&format!("HEXPIRE key:{n} {} FIELDS 1 field:{k}", 5000 + k));
        }
    }),
    ("sets: integers", 2_000, |i, n| {
        for k in 0..n % 60 {
            i.line(&format!("SADD key:{n} {}", k * 70_000));
        }
    }),
    ("sets: packed", 5_000, |i, n| {
        for k in 0..n % 20 {
            i.line(&format!("SADD key:{n} {}", text(k, 14)));
        }
    }),
    ("sets: tables", 10, |i, n| {
        for k in 0..4000 {
            i.line(&format!("SADD key:{n} {}", text(k, 30)));
        }
    }),
    ("sorted sets: packed", 5_000, |i, n| {
        for k in 0..n % 15 {
            i.line(&format!("ZADD key:{n} {}.5 {}", k * 3, text(k, 14)));
        }
    }),
    ("sorted sets: big", 10, |i, n| {
        for k in 0..4000 {
            i.line(&format!(
                "ZADD key:{n} {} {}",
                (k * 7919) % 4000,
                text(k, 14)
            ));
        }
    }),
    ("sorted sets: big, of long members", 10, |i, n| {
        for k in 0..600 {
            i.line(&format!("ZADD key:{n} {k} {}", text(k, 20 + k % 200)));
        }
    }),
    ("streams", 20, |i, n| {
        for k in 1..2000 {
            i.line(&format!("XADD key:{n} * sensor {} value {k}", text(k, 8)));
        }
    }),
    ("streams: small", 3_000, |i, n| {
        for k in 1..4 {
            i.line(&format!("XADD key:{n} * field {}", text(k, 8)));
        }
    }),
    ("streams: groups with pending entries", 10, |i, n| {
        for k in 1..1000 {
            i.line(&format!("XADD key:{n} * f v{k}"));
        }
        for group in 0..3 {
            i.line(&format!("XGROUP DESTROY key:{n} group{group}"));
            i.line(&format!("XGROUP CREATE key:{n} group{group} 0"));
            for consumer in 0..10 {
                i.line(&format!(
                    "XREADGROUP GROUP group{group} consumer{consumer} COUNT 100 STREAMS key:{n} >"
                ));
            }
        }
    }),
    ("hyperloglogs: sparse", 500, |i, n| {
        for k in 0..40 {
            i.line(&format!("PFADD key:{n} {}", text(n * 100 + k, 9)));
        }
    }),
    ("hyperloglogs: dense", 50, |i, n| {
        for k in 0..20 {
            let many: Vec<String> = (0..100).map(|m| text(n + k * 100 + m, 9)).collect();
            i.line(&format!("PFADD key:{n} {}", many.join(" ")));
        }
    }),
];

#[test]
fn used_memory_is_what_the_allocator_has_given() {
    let _alone = alone();
    let mut complaints = Vec::new();
    for (name, keys, fill) in SETS {
        let mut instance = Instance::new(*fill);
        for n in 0..*keys {
            fill(&mut instance, n);
        }
        instance.check(name, &mut complaints);
        for n in (0..*keys).filter(|n| n % 4 > 0) {
            instance.line(&format!("DEL key:{n}"));
        }
        instance.check(&format!("{name}, most deleted"), &mut complaints);
        for n in (0..*keys).filter(|n| n % 3 == 0) {
            fill(&mut instance, n);
        }
        instance.check(&format!("{name}, some again"), &mut complaints);
        instance.run(&["FLUSHALL"]);
        let (said, got) = instance.grown();
        assert!(
            said < 1024 && got < 64 * 1024,
            "{name}: said {said}, got {got} when empty"
        );
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn memory_usage_of_a_key_is_what_it_takes() {
    let _alone = alone();
    let mut complaints = Vec::new();
    for (name, keys, fill) in SETS {
        let mut instance = Instance::new(*fill);
        let most = (*keys).min(4000);
        for n in 0..most {
            fill(&mut instance, n);
        }
        let said: i64 = (0..most)
            .map(|n| match name.contains("long names") {
                true => instance.line(&format!("MEMORY USAGE {}", text(n, 33))),
                false => instance.line(&format!("MEMORY USAGE key:{n}")),
            })
            .sum();
        let (_, got) = instance.grown();
        compare(name, said as usize, got, &mut complaints);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
