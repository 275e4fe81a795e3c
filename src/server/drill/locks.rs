//! Clients that take a lock, do something under it and release it.

use std::time::Duration;

use super::ledger::{Hold, Record};
use super::work::Worker;
use crate::resp::Value;

/// How long a lock is given for.
const TTL: Duration = Duration::from_secs(5);

/// How often somebody holds a lock for as long as a leader may be away. A fourth of the lockers does at any time.
const LONG: f64 = 0.004;

/// Releases a lock if it is the caller's.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// Takes and releases locks until the time is up.
pub(super) async fn work(worker: &mut Worker) {
    let mut number = 0;
    while !worker.job.is_over() {
        number += 1;
        round(worker, number).await;
        worker.job.rest(worker.job.pace).await;
    }
}

/// One lock: taken, if nobody has it, and released.
async fn round(worker: &mut Worker, number: u64) {
    let clock = worker.job.place.clock;
    let lock = worker.rng.below(u64::from(worker.job.crew.locks())) as u32;
    let key = worker.job.names.lock(lock);
    let token = format!("{}-{number}", worker.client);
    let ttl = TTL.as_millis().to_string();

    let asked = clock.now();
    let answer = worker.write(&["SET", &key, &token, "NX", "PX", &ttl]).await;
    let granted = clock.now();
    if !answer.is_some_and(|answer| answer == Value::Simple(b"OK".to_vec())) {
        return;
    }
    let valid = Hold::valid_until(asked, TTL);
    use_it(worker, lock, number).await;
    let left = valid.saturating_sub(clock.now());
    let wanted = patience(worker);
    worker.job.rest(wanted.min(left)).await;

    // From here on the holder does not take the lock for its own any more.
    let until = valid.min(clock.now());
    worker.ledger.holds.push(Hold {
        lock,
        granted,
        until,
    });
    let answer = worker.write(&["EVAL", RELEASE, "1", &key, &token]).await;
    if answer == Some(Value::Int(0)) && clock.now() < valid {
        worker.ledger.gone += 1;
    }
}

/// Draws a fencing number and writes something with it.
async fn use_it(worker: &mut Worker, lock: u32, number: u64) {
    let fence = worker.job.names.fence(lock);
    let Some(Value::Int(fence)) = worker.write(&["INCR", &fence]).await else {
        return;
    };
    worker.ledger.fences.push((lock, fence));
    let client = worker.client;
    let key = worker.job.names.records(client);
    let words = [
        "HSET".to_owned(),
        key,
        number.to_string(),
        fence.to_string(),
    ];
    if worker.write(&words).await.is_some() {
        worker.ledger.records.push(Record {
            client,
            number,
            fence,
        });
    }
}

/// How long somebody holds a lock: mostly for moments.
fn patience(worker: &mut Worker) -> Duration {
    if worker.rng.chance(LONG) {
        TTL.mul_f64(0.2 + 0.4 * worker.rng.unit_f64())
    } else {
        Duration::from_millis(worker.rng.below(20))
    }
}
