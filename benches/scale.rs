//! Where the one lock bends: the engine driven by 1 to 16 threads, without sockets.
//!
//! `cargo bench --bench scale`; a filter (`-- P16`) takes the workloads whose names contain it, `REDKEEP_BENCH_SECONDS=1` measures each
//! point for longer. Each thread is a connection without its socket: it decodes requests outside of the lock, takes the lock once for the
//! batch, has what it touches fetched ahead, runs it, lets go. Keys are drawn at random from a million, values have 8 bytes.
//!
//! What is printed for each number of threads is the throughput of all, and of a batch: how long it had the lock, how long it waited
//! for it, and how long it was busy without it. The last column is where the throughput can go with as many processors as
//! you like, were nothing done but this: one batch after the other.

#![expect(clippy::print_stdout, reason = "a report is what a benchmark is for")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first surprise"
)]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redkeep::embed::Node;
use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::keyspace::Touch;
use redkeep::resp::{Batch, Decoder, Limits, Proto, ReplyBuf, Room};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 1_000_000;

const THREADS: [usize; 7] = [1, 2, 3, 4, 6, 8, 16];

const DEPTHS: [usize; 3] = [1, 16, 64];

/// What a thread sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mix {
    Get,
    Set,
    /// Nine in ten read.
    Mixed,
    /// Nothing of the keyspace: what remains is the way to the engine and back.
    Ping,
}

const MIXES: [(&str, Mix); 4] = [
    ("GET", Mix::Get),
    ("SET", Mix::Set),
    ("9 GET, 1 SET", Mix::Mixed),
    ("PING", Mix::Ping),
];

fn main() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        println!("transparent huge pages are not disabled: {error}");
    }
    // Cargo passes `--bench`, and a filter if one was given.
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let asked = std::env::var("REDKEEP_BENCH_SECONDS").ok();
    let seconds: f64 = asked.and_then(|s| s.parse().ok()).unwrap_or(0.5);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let node = Node::new(Engine::new(Options::default()));
    fill(&node);
    println!(
        "{processors} processors; what a look at the clock takes is taken off: {:?}\n",
        look()
    );
    for (name, mix) in MIXES {
        for depth in DEPTHS {
            let name = format!("{name} P{depth}");
            if only.as_deref().is_none_or(|only| name.contains(only)) {
                println!(
                    "| {name}: threads | million op/s | lock held, µs a batch | waited for | without it | by the lock alone, million op/s |"
                );
                println!("|---:|---:|---:|---:|---:|---:|");
                for threads in THREADS {
                    point(&node, mix, depth, threads, Duration::from_secs_f64(seconds));
                }
                println!();
            }
        }
    }
}

/// What one look at the clock takes.
fn look() -> Duration {
    let began = Instant::now();
    for _ in 0..1_000_000 {
        std::hint::black_box(Instant::now());
    }
    began.elapsed() / 1_000_000
}

/// All keys, by a client of its own.
fn fill(node: &Node) {
    let mut thread = Thread::new(node, 1);
    for from in (0..KEYS).step_by(200) {
        thread.requests.clear();
        for key in from..from + 200 {
            set(&mut thread.requests, key);
        }
        thread.batch(node);
    }
}

fn set(out: &mut Vec<u8>, key: u64) {
    out.extend(format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$8\r\nvvvvvvvv\r\n").bytes());
}

fn get(out: &mut Vec<u8>, key: u64) {
    out.extend(format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n").bytes());
}

/// A connection without its socket.
struct Thread {
    sid: SessionId,
    requests: Vec<u8>,
    decoder: Decoder,
    limits: Limits,
    batch: Batch,
    reply: ReplyBuf,
    random: u64,
    spent: Spent,
}

/// Nanoseconds.
#[derive(Default, Clone, Copy)]
struct Spent {
    batches: u64,
    held: u64,
    waited: u64,
    outside: u64,
}

impl Thread {
    fn new(node: &Node, seed: u64) -> Self {
        Self {
            sid: node.lock().unwrap().connect(Peer::default()),
            requests: Vec::new(),
            decoder: Decoder::new(),
            limits: Limits::default(),
            batch: Batch::new(),
            reply: ReplyBuf::new(Proto::Resp2),
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            spent: Spent::default(),
        }
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// What a client of this kind sends: many batches, so that writing them down is not what is measured.
    fn prepare(&mut self, mix: Mix, depth: usize, batches: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::with_capacity(batches);
        for _ in 0..batches {
            let mut out = Vec::with_capacity(depth * 64);
            for _ in 0..depth {
                let random = self.draw();
                let (key, dice) = (random % KEYS, (random >> 40) % 10);
                match mix {
                    Mix::Ping => out.extend(b"*1\r\n$4\r\nPING\r\n"),
                    Mix::Set => set(&mut out, key),
                    Mix::Mixed if dice == 0 => set(&mut out, key),
                    Mix::Get | Mix::Mixed => get(&mut out, key),
                }
            }
            all.push(out);
        }
        all
    }

    /// What a connection does with what it has read.
    fn batch(&mut self, node: &Node) {
        let began = Instant::now();
        self.reply.clear();
        self.decoder
            .decode(&self.requests, &self.limits, &mut self.batch);
        let (buf, batch) = (&self.requests[..], &self.batch);
        let decoded = Instant::now();
        let mut engine = node.lock().unwrap();
        let got = Instant::now();
        let foresight = engine.foresight();
        let mut room = Room::default();
        for i in 0..batch.len() {
            if foresight > 1 && i % foresight == 0 && i + 1 < batch.len() {
                let next = i..batch.len().min(i + foresight);
                engine.foresee(self.sid, next.filter_map(|i| Touch::of(batch.args(i, buf))));
            }
            let args = batch.args_in(i, buf, &mut room);
            engine.execute(self.sid, Args::new(args), &mut self.reply);
        }
        // Nearly all of letting go is done while it is held still: what the batch has to settle, and the next deadline.
        drop(engine.release());
        let done = Instant::now();
        assert_eq!(batch.consumed(), buf.len(), "all of it was run");
        let nanos = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(0)
        };
        self.spent.batches += 1;
        self.spent.outside += nanos(began, decoded);
        self.spent.waited += nanos(decoded, got);
        self.spent.held += nanos(got, done);
    }
}

fn point(node: &Node, mix: Mix, depth: usize, threads: usize, time: Duration) {
    let (over, ready) = (AtomicBool::new(false), Barrier::new(threads + 1));
    let (spents, took) = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                let (over, ready) = (&over, &ready);
                scope.spawn(move || {
                    let mut thread = Thread::new(node, number as u64 + 7);
                    let prepared = thread.prepare(mix, depth, 200_000 / depth);
                    ready.wait();
                    for requests in prepared.iter().cycle() {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        // As bytes come from a socket: into a buffer that stays.
                        thread.requests.clear();
                        thread.requests.extend_from_slice(requests);
                        thread.batch(node);
                    }
                    node.disconnect(thread.sid);
                    thread.spent
                })
            })
            .collect();
        ready.wait();
        let began = Instant::now();
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let took = began.elapsed();
        let spents: Vec<Spent> = running.into_iter().map(|t| t.join().unwrap()).collect();
        (spents, took)
    });
    let batches: u64 = spents.iter().map(|s| s.batches).sum();
    let look = look().as_nanos() as f64;
    let each = |of: fn(&Spent) -> u64| {
        let total: u64 = spents.iter().map(of).sum();
        (total as f64 / batches as f64 - look).max(0.0) / 1000.0
    };
    let held = each(|s| s.held);
    println!(
        "| {threads} | {:.2} | {held:.2} | {:.2} | {:.2} | {:.2} |",
        batches as f64 * depth as f64 / took.as_secs_f64() / 1e6,
        each(|s| s.waited),
        each(|s| s.outside),
        depth as f64 / held,
    );
}
