//! What is saved while clients go on is what there was when the save began, large values included, which are written
//! piece by piece.

use super::*;
use crate::exec::persist::load;
use crate::exec::persist::save::{self, Purpose, SaveStep};
use crate::persist::{Batch, Loader};
use crate::service::config::{Allow, Config};
use crate::util::clock::ManualClock;
use proptest::prelude::*;

const START: i64 = 1_700_000_000_000;

struct Client {
    engine: Engine,
    sid: SessionId,
    clock: Arc<ManualClock>,
}

impl Client {
    /// Values become large with a few elements, and each step of saving does as little as it can.
    fn new(at: i64) -> Client {
        let clock = Arc::new(ManualClock::at_ms(at));
        let config = Config {
            enable_debug_command: Allow::Yes,
            databases: 2,
            rdb_key_save_delay: 1,
            list_max_listpack_size: 4,
            list_compress_depth: 1,
            hash_max_listpack_entries: 6,
            set_max_listpack_entries: 5,
            set_max_intset_entries: 8,
            zset_max_listpack_entries: 6,
            stream_node_max_entries: 5,
            ..Config::default()
        };
        let mut engine = Engine::new(Options {
            settings: Settings::new(config, None),
            clock: clock.clone(),
            seed: Some(1),
            ..Options::default()
        });
        let sid = engine.connect(Peer::default());
        Client { engine, sid, clock }
    }

    fn run(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        self.engine.execute(self.sid, Args::new(&args), &mut reply);
        reply.as_slice().escape_ascii().to_string()
    }

    /// The strings of a reply that is an array of words without spaces.
    fn words(&mut self, line: &str) -> Vec<String> {
        let reply = self.run(line).replace("\\r\\n", " ");
        let words = reply.split(' ').filter(|word| !word.is_empty());
        let mut words: Vec<_> = words
            .filter(|word| !word.starts_with(['$', '*']))
            .map(str::to_owned)
            .collect();
        words.sort();
        words
    }

    /// Everything that is to come back.
    fn contents(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for db in 0..2 {
            self.run(&format!("SELECT {db}"));
            for key in self.words("KEYS *") {
                let mut what = format!("{db} {key}");
                for ask in ["TYPE", "DEBUG DIGEST-VALUE", "PEXPIRETIME"] {
                    what += &self.run(&format!("{ask} {key}"));
                }
                if what.contains("+stream") {
                    what += &self.run(&format!("DUMP {key}"));
                }
                if what.contains("+hash") {
                    for field in self.words(&format!("HKEYS {key}")) {
                        what += &self.run(&format!("HPEXPIRETIME {key} FIELDS 1 {field}"));
                    }
                }
                all.push(what);
            }
        }
        self.run("SELECT 0");
        all
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> u64 {
        let State { ks, sys, .. } = self.engine.state();
        // What FLUSHALL does not give up.
        save::begin_save(ks, sys, Purpose::Base, out).unwrap()
    }

    /// One step; returns whether it was the last.
    fn step(&mut self, id: u64, file: &mut Vec<u8>) -> bool {
        let mut out = Vec::new();
        let State { ks, sys, .. } = self.engine.state();
        let step = save::save_step(ks, sys, id, &mut out);
        file.extend_from_slice(&out);
        match step {
            SaveStep::More => false,
            SaveStep::Done(header) => {
                *file.first_chunk_mut().unwrap() = header.unwrap();
                save::end_save(ks, sys, id, true);
                true
            }
            SaveStep::Cancelled => panic!("nobody gives it up"),
        }
    }

    fn load(&mut self, file: &[u8]) {
        let (mut loader, mut batch) = (Loader::new(true), Vec::new());
        loader.feed(file);
        loader.feed(&[]);
        let State { ks, sys, .. } = self.engine.state();
        loop {
            let plan = load::load_plan(ks, sys);
            let read = loader.batch(plan.bytes, &plan.limits, plan.now, &mut batch);
            let done = loader.position();
            load::put_batch(ks, sys, &mut batch, done, false, plan.now).unwrap();
            if read.unwrap() == Batch::Ended {
                ks.loaded();
                return;
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Run(String),
    Step(u8),
    Later(i64),
}

/// Words made of numbers in a row.
fn row(from: u16, count: u8, word: impl Fn(u16) -> String) -> String {
    let words = (from..from + u16::from(count)).map(word);
    words.collect::<Vec<_>>().join(" ")
}

fn command() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!['s', 'l', 'h', 'e', 'z', 'x']);
    let key = (kind, 0..2u8).prop_map(|(kind, n)| format!("{kind}{n}"));
    let (n, from, count) = (0..2u8, 0..90u16, 1..50u8);
    prop_oneof![
        3 => (n.clone(), from.clone(), count.clone())
            .prop_map(|(k, from, count)| format!("APPEND s{k} {}", row(from, count, |i| i.to_string()).replace(' ', "-"))),
        1 => (n.clone(), from.clone()).prop_map(|(k, at)| format!("SETRANGE s{k} {at} changed")),
        3 => (n.clone(), from.clone(), count.clone())
            .prop_map(|(k, from, count)| format!("RPUSH l{k} {}", row(from, count, |i| format!("element{i}")))),
        1 => (n.clone(), 1..30u8).prop_map(|(k, count)| format!("LPOP l{k} {count}")),
        1 => (n.clone(), from.clone()).prop_map(|(k, at)| format!("LSET l{k} {at} changed")),
        3 => (n.clone(), from.clone(), count.clone())
            .prop_map(|(k, from, count)| format!("HSET h{k} {}", row(from, count, |i| format!("field{i} value{i}")))),
        1 => (n.clone(), from.clone()).prop_map(|(k, i)| format!("HDEL h{k} field{i}")),
        1 => (n.clone(), from.clone(), 1..60u8)
            .prop_map(|(k, i, ms)| format!("HPEXPIRE h{k} {ms} FIELDS 1 field{i}")),
        3 => (n.clone(), from.clone(), count.clone())
            .prop_map(|(k, from, count)| format!("SADD e{k} {}", row(from, count, |i| format!("member{i}")))),
        1 => (n.clone(), from.clone()).prop_map(|(k, i)| format!("SREM e{k} member{i}")),
        3 => (n.clone(), from.clone(), count.clone())
            .prop_map(|(k, from, count)| format!("ZADD z{k} {}", row(from, count, |i| format!("{} member{i}", i % 7)))),
        1 => (n.clone(), from.clone()).prop_map(|(k, i)| format!("ZREM z{k} member{i}")),
        6 => (n.clone(), from.clone()).prop_map(|(k, i)| format!("XADD x{k} * field value{i} more {i}")),
        1 => (n.clone(), 0..40u8).prop_map(|(k, len)| format!("XTRIM x{k} MAXLEN {len}")),
        1 => n.clone().prop_map(|k| format!("XGROUP CREATE x{k} g 0")),
        1 => n.prop_map(|k| format!("XREADGROUP GROUP g c COUNT 3 STREAMS x{k} >")),
        1 => key.clone().prop_map(|key| format!("DEL {key}")),
        1 => (key.clone(), key.clone()).prop_map(|(key, to)| format!("RENAME {key} {to}")),
        1 => key.clone().prop_map(|key| format!("MOVE {key} 1")),
        1 => (key.clone(), 1..100u8).prop_map(|(key, ms)| format!("PEXPIRE {key} {ms}")),
        1 => key.prop_map(|key| format!("PERSIST {key}")),
        1 => Just("SELECT 0".to_owned()),
        1 => Just("SELECT 1".to_owned()),
    ]
}

fn rarely() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["SWAPDB 0 1", "FLUSHDB", "FLUSHALL ASYNC"]).prop_map(str::to_owned)
}

fn during() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => command().prop_map(Op::Run),
        1 => rarely().prop_map(Op::Run),
        12 => (1..30u8).prop_map(Op::Step),
        1 => (1..40i64).prop_map(Op::Later),
    ]
}

proptest! {
    #[test]
    fn a_save_is_what_there_was_however_large_and_whatever_happens(
        before in prop::collection::vec(command(), 0..80),
        during in prop::collection::vec(during(), 0..120),
        compression in prop::sample::select(vec!["yes", "no"]),
    ) {
        let mut c = Client::new(START);
        c.run(&format!("CONFIG SET rdbcompression {compression}"));
        before.iter().for_each(|line| _ = c.run(line));
        let expected = c.contents();
        let mut file = Vec::new();
        let id = c.begin(&mut file);
        let mut ended = false;
        for op in &during {
            match op {
                Op::Run(line) => _ = c.run(line),
                Op::Step(steps) => {
                    (0..*steps).for_each(|_| ended = ended || c.step(id, &mut file));
                }
                Op::Later(ms) => {
                    c.clock.advance_ms(*ms);
                    c.engine.tick();
                }
            }
        }
        while !ended {
            ended = c.step(id, &mut file);
        }
        let mut loaded = Client::new(START);
        loaded.run(&format!("CONFIG SET rdbcompression {compression}"));
        loaded.load(&file);
        prop_assert_eq!(loaded.contents(), expected);
        prop_assert!(!c.engine.state().ks.in_snapshot());
    }
}

#[test]
fn a_step_takes_no_more_of_a_large_value_than_it_must() {
    let mut c = Client::new(START);
    for n in (0..3000).step_by(50) {
        c.run(&format!(
            "APPEND s {}",
            row(n, 50, |i| format!("{i}-text")).replace(' ', "-")
        ));
        c.run(&format!(
            "RPUSH l {}",
            row(n, 50, |i| format!("element{i}"))
        ));
        c.run(&format!(
            "HSET h {}",
            row(n, 50, |i| format!("field{i} value{i}"))
        ));
        c.run(&format!("SADD e {}", row(n, 50, |i| format!("member{i}"))));
        c.run(&format!(
            "ZADD z {}",
            row(n, 50, |i| format!("{i} member{i}"))
        ));
        (n..n + 50).for_each(|i| _ = c.run(&format!("XADD x * field value{i}")));
    }
    let (mut file, mut most) = (Vec::new(), 0);
    let id = c.begin(&mut file);
    let mut ended = false;
    while !ended {
        let before = file.len();
        ended = c.step(id, &mut file);
        most = most.max(file.len() - before);
    }
    assert!(file.len() > 200_000 && most < 1000, "{} {most}", file.len());
    let expected = c.contents();
    let mut loaded = Client::new(START);
    loaded.load(&file);
    assert_eq!(loaded.contents(), expected);
}
