//! Which keys go when memory is short, under every policy. Each has an engine of its own in the one process, with limits
//! of its own, and all do the same work in turn: none heeds what another was told.

use redkeep::engine::{Engine, Options};
use redkeep::exec::session::Peer;
use redkeep::exec::{Args, SessionId};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::service::config::{Config, Eviction, Settings};
use redkeep::util::clock::ManualClock;
use std::sync::Arc;

const MINUTE: i64 = 60_000;

/// Bytes of a value.
const VALUE: usize = 1000;

struct One {
    engine: Engine,
    clock: Arc<ManualClock>,
    sid: SessionId,
}

impl One {
    fn new(config: Config) -> One {
        let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
        let mut engine = Engine::new(Options {
            settings: Settings::new(config, None),
            clock: clock.clone(),
            seed: Some(5),
            ..Options::default()
        });
        let sid = engine.connect(Peer::default());
        One { engine, clock, sid }
    }

    fn say(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        self.engine.execute(self.sid, Args::new(&args), &mut reply);
        drop((self.engine.take_actions(), self.engine.take_garbage()));
        String::from_utf8(reply.take()).unwrap()
    }

    fn int(&mut self, line: &str) -> i64 {
        let said = self.say(line);
        let digits = said.trim().strip_prefix(':');
        digits
            .unwrap_or_else(|| panic!("{line}: {said}"))
            .parse()
            .unwrap()
    }

    fn put(&mut self, key: &str, more: &str) -> String {
        self.say(format!("SET {key} {}{more}", "x".repeat(VALUE)).trim_end())
    }

    /// How many keys are left of those that begin so.
    fn left(&mut self, of: &str) -> i64 {
        (0..100).map(|n| self.int(&format!("EXISTS {of}{n}"))).sum()
    }

    /// Room for what is there and so many bytes more.
    fn limit(&mut self, more: usize) {
        let room = self.engine.state().used_memory() + more;
        assert_eq!(self.say(&format!("CONFIG SET maxmemory {room}")), "+OK\r\n");
    }

    fn evicted(&mut self) -> u64 {
        self.engine.state().sys.stats.evicted_keys
    }
}

const POLICIES: [Eviction; 8] = [
    Eviction::NoEviction,
    Eviction::VolatileTtl,
    Eviction::VolatileLru,
    Eviction::VolatileLfu,
    Eviction::VolatileRandom,
    Eviction::AllKeysLru,
    Eviction::AllKeysLfu,
    Eviction::AllKeysRandom,
];

#[test]
fn each_policy_takes_the_keys_that_it_names_and_no_others() {
    let mut all = POLICIES.map(|policy| {
        let one = One::new(Config {
            maxmemory_policy: policy,
            lfu_log_factor: 0,
            ..Config::default()
        });
        (policy, one)
    });
    // A hundred keys of each of four kinds, in turn: that stay for ever, used and not; that expire, late and soon.
    for (_, one) in &mut all {
        for n in 0..100 {
            one.put(&format!("idle{n}"), "");
            one.put(&format!("used{n}"), "");
            one.put(&format!("late{n}"), " EX 90000");
            one.put(&format!("soon{n}"), " EX 9000");
        }
    }
    for (_, one) in &mut all {
        one.clock.advance_ms(MINUTE);
        for _ in 0..3 {
            for n in 0..100 {
                one.say(&format!("GET used{n}"));
                one.say(&format!("GET soon{n}"));
            }
        }
        one.clock.advance_ms(MINUTE / 60);
        one.limit(2 * VALUE);
    }
    // As much as a hundred of them comes in.
    let mut refused = [0; POLICIES.len()];
    for n in 0..100 {
        for ((_, one), refused) in all.iter_mut().zip(&mut refused) {
            let said = one.put(&format!("new{n}"), "");
            assert!(said == "+OK\r\n" || said.starts_with("-OOM "), "{said}");
            *refused += u64::from(said != "+OK\r\n");
        }
    }
    for ((policy, one), refused) in all.iter_mut().zip(refused) {
        let left = ["idle", "used", "late", "soon"].map(|of| one.left(of));
        let [idle, used, late, soon] = left;
        let gone = 400 - left.iter().sum::<i64>();
        let said = format!("{policy:?}: {left:?} left, {refused} refused");
        if *policy == Eviction::NoEviction {
            assert_eq!((gone, one.evicted()), (0, 0), "{said}");
            assert!(refused > 90, "{said}");
            continue;
        }
        assert_eq!(refused, 0, "{said}");
        // By chance some of the new ones go as well.
        let least = if *policy == Eviction::AllKeysRandom {
            60
        } else {
            90
        };
        assert!((least..=101).contains(&gone), "{said}");
        assert_eq!(
            one.evicted(),
            400 + 100 - one.int("DBSIZE") as u64,
            "{said}"
        );
        match policy {
            Eviction::VolatileTtl => assert!(late == 100 && soon < 11, "{said}"),
            // What was not used goes first, and is chosen from a few at a time.
            Eviction::VolatileLru | Eviction::VolatileLfu => {
                assert!(idle + used == 200 && late < 20 && soon > 80, "{said}");
            }
            Eviction::VolatileRandom => {
                assert!(idle + used == 200 && late < 80 && soon < 80, "{said}");
            }
            Eviction::AllKeysLru | Eviction::AllKeysLfu => {
                assert!(used + soon > 190 && idle < 80 && late < 80, "{said}");
            }
            Eviction::AllKeysRandom => {
                assert!(left.iter().all(|&left| (60..95).contains(&left)), "{said}");
            }
            Eviction::NoEviction => unreachable!(),
        }
    }
}

#[test]
fn policies_for_keys_that_expire_refuse_writes_when_none_of_those_is_left() {
    for policy in POLICIES.into_iter().skip(1).take(4) {
        let mut one = One::new(Config {
            maxmemory_policy: policy,
            ..Config::default()
        });
        (0..100).for_each(|n| drop(one.put(&format!("idle{n}"), "")));
        (0..10).for_each(|n| drop(one.put(&format!("soon{n}"), " EX 9000")));
        one.limit(VALUE);
        let fit = (0..100)
            .take_while(|n| one.put(&format!("new{n}"), "") == "+OK\r\n")
            .count();
        assert!((9..13).contains(&fit), "{policy:?}: {fit}");
        assert_eq!((one.left("soon"), one.left("idle")), (0, 100), "{policy:?}");
        assert_eq!(one.int("STRLEN idle1"), VALUE as i64, "reads go on");
        // Another policy helps at once.
        one.say("CONFIG SET maxmemory-policy allkeys-random");
        assert_eq!(one.put("more", ""), "+OK\r\n", "{policy:?}");
    }
}

#[test]
fn each_takes_as_many_samples_as_it_was_told() {
    let mut all = [1, 10].map(|samples| {
        One::new(Config {
            maxmemory_policy: Eviction::AllKeysLru,
            maxmemory_samples: samples,
            ..Config::default()
        })
    });
    // The older half of them, of which the next ones to go ought to be.
    let old = all.each_mut().map(|one| {
        for n in 0..1000 {
            one.put(&format!("k{n}"), "");
            one.clock.advance_ms(1000);
        }
        one.limit(VALUE);
        for n in 0..200 {
            assert_eq!(one.put(&format!("new{n}"), ""), "+OK\r\n");
        }
        (500..1000)
            .map(|n| 1 - one.int(&format!("EXISTS k{n}")))
            .sum::<i64>()
    });
    let [few, many] = old;
    assert!(
        few > 20 && many < few / 3,
        "of the younger half {few} went with one sample and {many} with ten"
    );
}

#[test]
fn each_counts_uses_as_it_was_told() {
    let config = |lfu_log_factor, lfu_decay_time| Config {
        maxmemory_policy: Eviction::AllKeysLfu,
        lfu_log_factor,
        lfu_decay_time,
        ..Config::default()
    };
    let [mut steep, mut flat, mut lasting] =
        [config(0, 1), config(100, 1), config(0, 0)].map(One::new);
    let all = [&mut steep, &mut flat, &mut lasting].map(|one| {
        one.say("SET k v");
        (0..50).for_each(|_| drop(one.say("GET k")));
        let count = one.int("OBJECT FREQ k");
        one.clock.advance_ms(20 * MINUTE);
        (count, one.int("OBJECT FREQ k"))
    });
    let [steep_is, flat_is, lasting_is] = all;
    assert_eq!(steep_is, (55, 35));
    assert!(
        (6..12).contains(&flat_is.0) && flat_is.1 == 0,
        "{flat_is:?}"
    );
    assert_eq!(lasting_is, (55, 55));
    // It counts from the next use on when it is changed.
    steep.say("CONFIG SET lfu-decay-time 5");
    assert_eq!(steep.int("OBJECT FREQ k"), 51);
    lasting.say("CONFIG SET lfu-log-factor 1000000");
    (0..50).for_each(|_| drop(lasting.say("GET k")));
    assert_eq!(lasting.int("OBJECT FREQ k"), 55);
}
