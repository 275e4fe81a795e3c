//! Two clients that compete for a lock never both hold it.

use super::Target;
use redis::Commands;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

fn connect(target: &Target) -> redis::Connection {
    redis::Client::open(target.url())
        .unwrap()
        .get_connection()
        .unwrap()
}

fn take(c: &mut redis::Connection, owner: &str, ms: usize) -> bool {
    let taken: Option<String> = redis::cmd("SET")
        .arg("lock")
        .arg(owner)
        .arg("NX")
        .arg("PX")
        .arg(ms)
        .query(c)
        .unwrap();
    taken.is_some()
}

#[test]
fn two_clients_never_both_hold_the_lock() {
    let target = Target::start();
    let held = AtomicBool::new(false);
    let fence = AtomicI64::new(0);
    let rounds = AtomicU32::new(0);
    let compete = |owner: &str| {
        let mut c = connect(&target);
        let release = redis::Script::new(RELEASE);
        let mut won = 0;
        while rounds.load(Ordering::SeqCst) < 1000 {
            if !take(&mut c, owner, 30_000) {
                thread::yield_now();
                continue;
            }
            assert!(!held.swap(true, Ordering::SeqCst), "both hold the lock");
            let number: i64 = c.incr("lock:fence", 1).unwrap();
            assert!(
                fence.swap(number, Ordering::SeqCst) < number,
                "the number of a holder grows"
            );
            won += 1;
            rounds.fetch_add(1, Ordering::SeqCst);
            assert!(held.swap(false, Ordering::SeqCst));
            let released: i32 = release.key("lock").arg(owner).invoke(&mut c).unwrap();
            assert_eq!(released, 1, "the owner releases");
        }
        won
    };
    let (a, b) = thread::scope(|s| {
        let a = s.spawn(|| compete("a"));
        let b = s.spawn(|| compete("b"));
        (a.join().unwrap(), b.join().unwrap())
    });
    assert!(a > 0 && b > 0, "both get their turns: {a} and {b}");
}

#[test]
fn a_lock_that_ran_out_is_not_released_by_its_former_owner() {
    let target = Target::start();
    let (mut a, mut b) = (connect(&target), connect(&target));
    let release = redis::Script::new(RELEASE);
    for round in 0..10 {
        let since = Instant::now();
        assert!(take(&mut a, "a", 20), "round {round}");
        while !take(&mut b, "b", 30_000) {
            assert!(
                since.elapsed() < Duration::from_secs(5),
                "the lock never runs out"
            );
        }
        assert!(
            since.elapsed() >= Duration::from_millis(19),
            "the lock ran out early"
        );
        assert_eq!(
            release.key("lock").arg("a").invoke::<i32>(&mut a).unwrap(),
            0
        );
        assert_eq!(b.get::<_, String>("lock").unwrap(), "b");
        assert_eq!(
            release.key("lock").arg("b").invoke::<i32>(&mut b).unwrap(),
            1
        );
    }
}

#[test]
fn clients_that_overrun_their_lock_are_stopped_by_the_fence() {
    let target = Target::start();
    // What the lock protects: it takes a write only with the greatest number it has seen, or a greater one.
    let seen = AtomicI64::new(0);
    let writes = AtomicU32::new(0);
    let work = |owner: &str, pause: u64| {
        let mut c = connect(&target);
        let until = Instant::now() + Duration::from_millis(700);
        while Instant::now() < until {
            if take(&mut c, owner, 5) {
                let number: i64 = c.incr("lock:fence", 1).unwrap();
                thread::sleep(Duration::from_millis(pause));
                let before = seen.fetch_max(number, Ordering::SeqCst);
                if before <= number {
                    writes.fetch_add(1, Ordering::SeqCst);
                }
                let _: i32 = redis::Script::new(RELEASE)
                    .key("lock")
                    .arg(owner)
                    .invoke(&mut c)
                    .unwrap();
            }
        }
    };
    thread::scope(|s| {
        s.spawn(|| work("quick", 1));
        s.spawn(|| work("slow", 12));
    });
    let last: i64 = connect(&target).get("lock:fence").unwrap();
    assert!(writes.load(Ordering::SeqCst) > 0);
    assert!(
        seen.load(Ordering::SeqCst) <= last,
        "no number was given twice"
    );
}
