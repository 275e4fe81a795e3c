//! Which key goes when memory is short.
//!
//! The next to expire is known exactly, since deadlines are in order. For the other policies keys are drawn at random
//! from each database and the best of them remembered in a small pool across databases, as Redis does it; but what was
//! used since it was drawn is judged anew, and a database of no more keys than are to be drawn is looked through.

use std::sync::atomic::Ordering;

use super::event::Event;
use super::transfer::HEAVY;
use super::uses::{Uses, idle_ticks};
use super::{Db, Garbage, Keyspace, NEVER, Record, What};
use crate::ds::bytes::SmallBytes;

/// Candidates that are remembered.
const POOL: usize = 16;

/// By what the next key to go is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merit {
    /// The least recently used goes.
    LastUse,
    /// The least frequently used.
    Frequency,
    /// Any.
    Chance,
    /// The next to expire.
    Deadline,
}

/// How keys are chosen for eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Which goes first.
    pub merit: Merit,
    /// Only keys that expire go.
    pub volatile: bool,
    /// How many keys of each database are compared at a time.
    pub samples: usize,
    /// Large values are dropped when nobody waits for it.
    pub lazy: bool,
}

/// A key that may be the next to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    /// Higher ones go first.
    score: u32,
    db: usize,
    hash: u64,
}

/// The best of the keys that were drawn so far.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// By score, the next to go last.
    candidates: Vec<Candidate>,
    merit: Option<(Merit, bool)>,
    /// Where a key was taken by chance last.
    last_db: usize,
}

impl Pool {
    /// Those that were drawn by another policy mean nothing.
    fn suit(&mut self, policy: Policy) {
        let merit = Some((policy.merit, policy.volatile));
        if self.merit != merit {
            self.merit = merit;
            self.candidates.clear();
        }
    }

    fn offer(&mut self, new: Candidate) {
        let all = &mut self.candidates;
        if let Some(worst) = all.first()
            && all.len() == POOL
            && worst.score >= new.score
        {
            return;
        }
        if all.iter().any(|c| c.hash == new.hash && c.db == new.db) {
            return;
        }
        if all.len() == POOL {
            all.remove(0);
        }
        let at = all.partition_point(|c| c.score <= new.score);
        all.insert(at, new);
    }
}

impl Db {
    /// How many keys may go.
    fn candidates(&self, volatile: bool) -> usize {
        match volatile {
            true => self.ttl.len(),
            false => self.table.len(),
        }
    }

    /// A key that may go, with the hash of its name.
    fn draw(&self, volatile: bool, uses: &Uses) -> Option<(u64, &Record)> {
        if volatile {
            let (at, hash) = self.ttl.random(|| uses.draw())?;
            let record = self.table.find_of_hash(hash, |r| r.expire_at == at)?;
            return Some((hash, record));
        }
        let record = self.table.random(|| uses.draw())?;
        Some((self.table.hash(&record.key), record))
    }

    /// Calls `f` with `samples` keys that may go, or with all.
    fn sample(&self, volatile: bool, samples: usize, uses: &Uses, mut f: impl FnMut(u64, &Record)) {
        if samples < self.candidates(volatile) {
            for _ in 0..samples {
                if let Some((hash, record)) = self.draw(volatile, uses) {
                    f(hash, record);
                }
            }
            return;
        }
        let may_go = |record: &&Record| !volatile || record.expire_at != NEVER;
        for record in self.table.iter().filter(may_go) {
            f(self.table.hash(&record.key), record);
        }
    }

    /// The record of a candidate, if it is still there and may go.
    fn found(&self, hash: u64, volatile: bool) -> Option<&Record> {
        let may_go = |record: &Record| !volatile || record.expire_at != NEVER;
        self.table.find_of_hash(hash, may_go)
    }
}

/// Higher for a record that goes sooner.
fn score(record: &Record, merit: Merit, uses: &Uses, now: i64) -> u32 {
    let access = record.access.load(Ordering::Relaxed);
    match merit {
        Merit::Frequency => uses.rarity(access, now),
        _ => idle_ticks(access, now),
    }
}

impl Keyspace {
    /// Removes the key that is to go first, to make room at the time `now`, and gives its database and its name. `None`
    /// if no key may go.
    pub fn evict(&mut self, policy: Policy, now: i64) -> Option<(usize, SmallBytes)> {
        let (index, hash) = match policy.merit {
            Merit::Deadline => self.next_to_expire(),
            Merit::Chance => self.any(policy.volatile),
            Merit::LastUse | Merit::Frequency => self.least_used(policy, now),
        }?;
        let db = &mut self.dbs[index];
        let key = SmallBytes::from(db.found(hash, policy.volatile)?.key());
        let record = db.remove(hash, &key)?;
        if policy.lazy && record.value.heap_size() > HEAVY {
            self.garbage.push(Garbage::Value(record.value));
        }
        if self.log.interest.any() {
            self.log.push(index, &key, What::Modified);
        }
        self.log.event(index, &key, Event::EVICTED);
        Some((index, key))
    }

    /// The next of all databases.
    fn next_to_expire(&self) -> Option<(usize, u64)> {
        let firsts = self.dbs.iter().enumerate();
        let firsts = firsts.filter_map(|(i, db)| db.ttl.first().map(|&(at, hash)| (at, i, hash)));
        firsts.min().map(|(_, index, hash)| (index, hash))
    }

    /// One of the next database in which there is any.
    fn any(&mut self, volatile: bool) -> Option<(usize, u64)> {
        for _ in 0..self.dbs.len() {
            let next = (self.pool.last_db + 1) % self.dbs.len();
            self.pool.last_db = next;
            if let Some((hash, _)) = self.dbs[next].draw(volatile, &self.uses) {
                return Some((next, hash));
            }
        }
        None
    }

    /// The best of those that were drawn before and of some more.
    fn least_used(&mut self, policy: Policy, now: i64) -> Option<(usize, u64)> {
        let Policy {
            merit, volatile, ..
        } = policy;
        let Keyspace {
            dbs, pool, uses, ..
        } = self;
        pool.suit(policy);
        // Who finds nothing in the pool was unlucky only if keys had the same hash; that does not go on.
        for _ in 0..POOL {
            for (index, db) in dbs.iter().enumerate().filter(|(_, db)| !db.is_empty()) {
                db.sample(volatile, policy.samples, uses, |hash, record| {
                    pool.offer(Candidate {
                        score: score(record, merit, uses, now),
                        db: index,
                        hash,
                    });
                });
            }
            while let Some(best) = pool.candidates.pop() {
                let Some(record) = dbs
                    .get(best.db)
                    .and_then(|db| db.found(best.hash, volatile))
                else {
                    continue;
                };
                let score = score(record, merit, uses, now);
                if score >= best.score {
                    return Some((best.db, best.hash));
                }
                // It was used since. Time stands still, so that it is offered anew but once.
                pool.offer(Candidate { score, ..best });
            }
            if dbs.iter().all(|db| db.candidates(volatile) == 0) {
                break;
            }
        }
        None
    }

    /// Bytes used by all databases, without what is kept of them for a snapshot.
    pub fn databases_memory(&self) -> usize {
        self.dbs.iter().map(Db::memory).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Expiry, Lfu};
    use crate::types::DataType as _;
    use crate::types::string::Str;
    use crate::util::rng::Rng;

    const SECOND: i64 = 1000;

    fn policy(merit: Merit, volatile: bool) -> Policy {
        Policy {
            merit,
            volatile,
            samples: 5,
            lazy: false,
        }
    }

    fn keyspace() -> Keyspace {
        let mut rng = Rng::seed_from_u64(5);
        Keyspace::new(4, || rng.next_u64())
    }

    fn name(n: usize) -> Vec<u8> {
        format!("key:{n}").into_bytes()
    }

    fn put(ks: &mut Keyspace, db: usize, n: usize, now: i64, expiry: Expiry) {
        ks.begin(db, now);
        ks.put(&name(n), Str::Int(1).into_value(), expiry, None);
    }

    fn evicted(ks: &mut Keyspace, policy: Policy, now: i64) -> Option<(usize, usize)> {
        let (db, key) = ks.evict(policy, now)?;
        let n = std::str::from_utf8(&key["key:".len()..]).unwrap();
        Some((db, n.parse().unwrap()))
    }

    #[test]
    fn the_next_to_expire_goes_first_across_databases() {
        let mut ks = keyspace();
        for n in 0..600 {
            // In no order.
            let at = ((n * 7919) % 600) as i64;
            put(&mut ks, n % 4, n, 0, Expiry::At(SECOND + at));
            put(&mut ks, n % 4, 10_000 + n, 0, Expiry::Clear);
        }
        for at in 0..600 {
            let (db, n) = evicted(&mut ks, policy(Merit::Deadline, true), 0).unwrap();
            assert_eq!(((n * 7919) % 600, db), (at, n % 4));
        }
        assert_eq!(evicted(&mut ks, policy(Merit::Deadline, true), 0), None);
        assert_eq!(ks.dbs.iter().map(Db::len).sum::<usize>(), 600);
    }

    #[test]
    fn policies_of_keys_that_expire_leave_the_others_alone() {
        for merit in [Merit::LastUse, Merit::Frequency, Merit::Chance] {
            let mut ks = keyspace();
            for n in 0..2000 {
                let expiry = match n % 100 {
                    0 => Expiry::At(900 * SECOND),
                    _ => Expiry::Clear,
                };
                put(&mut ks, n % 3, n, SECOND, expiry);
            }
            for _ in 0..20 {
                let (_, n) = evicted(&mut ks, policy(merit, true), SECOND).unwrap();
                assert_eq!(n % 100, 0);
            }
            assert_eq!(evicted(&mut ks, policy(merit, true), SECOND), None);
        }
    }

    #[test]
    fn few_keys_are_compared_all() {
        let mut ks = keyspace();
        for n in 0..5 {
            put(&mut ks, 2, n, n as i64 * SECOND, Expiry::Clear);
        }
        for n in 0..5 {
            let gone = evicted(&mut ks, policy(Merit::LastUse, false), 9 * SECOND);
            assert_eq!(gone, Some((2, n)));
        }
        assert_eq!(
            evicted(&mut ks, policy(Merit::LastUse, false), 9 * SECOND),
            None
        );
    }

    /// How old those are that go, where 0 is the oldest and 1 the youngest, on average.
    fn mean_age(ks: &mut Keyspace, policy: Policy, now: i64, keys: usize) -> f64 {
        let ages = (0..keys / 10).map(|_| evicted(ks, policy, now).unwrap().1 as f64);
        ages.sum::<f64>() / (keys / 10) as f64 / keys as f64
    }

    #[test]
    fn the_longer_unused_go_first_and_more_surely_with_more_samples() {
        const KEYS: usize = 20_000;
        let age = |samples, volatile| {
            let mut ks = keyspace();
            for n in 0..KEYS {
                let expiry = match volatile {
                    true => Expiry::At(1 << 40),
                    false => Expiry::Clear,
                };
                put(&mut ks, n % 2, n, n as i64 * 100, expiry);
            }
            let policy = Policy {
                samples,
                ..policy(Merit::LastUse, volatile)
            };
            mean_age(&mut ks, policy, KEYS as i64 * 100, KEYS)
        };
        // The best possible is 0.05, chance 0.5.
        for volatile in [false, true] {
            let (few, many) = (age(3, volatile), age(20, volatile));
            assert!(many < 0.06 && many < few && few < 0.12, "{few} {many}");
        }
    }

    #[test]
    fn what_is_used_after_it_was_drawn_stays() {
        let mut ks = keyspace();
        for n in 0..200 {
            put(&mut ks, 0, n, n as i64 * SECOND, Expiry::Clear);
        }
        let lru = policy(Merit::LastUse, false);
        for _ in 0..50 {
            ks.evict(lru, 300 * SECOND);
        }
        // All but one are used again.
        let pooled: Vec<Candidate> = ks.pool.candidates.clone();
        assert!(pooled.len() > 2);
        ks.begin(0, 400 * SECOND);
        let name = |record: &Record| SmallBytes::from(record.key());
        let names: Vec<SmallBytes> = ks.dbs[0].table.iter().map(name).collect();
        let stays = name(ks.dbs[0].found(pooled[0].hash, false).unwrap());
        for key in names.iter().filter(|key| **key != stays) {
            ks.read_any(key);
        }
        let (_, gone) = ks.evict(lru, 401 * SECOND).unwrap();
        assert_eq!(gone, stays);
    }

    #[test]
    fn the_more_rarely_used_go_first_and_of_those_the_longer_unused() {
        let mut ks = keyspace();
        ks.count_uses(Some(Lfu {
            log_factor: 0,
            decay_minutes: 0,
        }));
        for n in 0..3000 {
            put(&mut ks, 0, n, n as i64 * 300, Expiry::Clear);
            for _ in 0..n % 3 * 10 {
                ks.read_any(&name(n));
            }
        }
        let lfu = Policy {
            samples: 10,
            ..policy(Merit::Frequency, false)
        };
        let gone: Vec<usize> = (0..600)
            .map(|_| evicted(&mut ks, lfu, 3000 * 300).unwrap().1)
            .collect();
        let often = gone.iter().filter(|n| **n % 3 > 0).count();
        assert!(often < 12, "{often}");
        let mean = gone.iter().sum::<usize>() / gone.len();
        assert!(mean < 1200, "{mean}");
    }

    #[test]
    fn chance_takes_from_each_database_in_turn_and_from_all_keys_alike() {
        let mut ks = keyspace();
        for n in 0..4000 {
            put(&mut ks, n % 4, n, n as i64 * SECOND, Expiry::Clear);
        }
        let random = policy(Merit::Chance, false);
        let gone: Vec<(usize, usize)> = (0..2000)
            .map(|_| evicted(&mut ks, random, 0).unwrap())
            .collect();
        assert!(gone.windows(2).all(|pair| pair[1].0 == (pair[0].0 + 1) % 4));
        let mean = gone.iter().map(|(_, n)| n).sum::<usize>() / gone.len();
        assert!((1900..2100).contains(&mean), "{mean}");
    }

    #[test]
    fn tables_that_shrink_are_sampled_to_their_last_key() {
        let mut ks = keyspace();
        for n in 0..10_000 {
            put(&mut ks, 0, n, n as i64, Expiry::Clear);
        }
        for _ in 0..10_000 {
            assert!(ks.evict(policy(Merit::LastUse, false), 20_000).is_some());
        }
        assert_eq!(ks.evict(policy(Merit::LastUse, false), 20_000), None);
        assert_eq!(ks.memory(), 0);
    }

    #[test]
    fn those_who_listen_hear_of_it() {
        use crate::keyspace::Interest;
        use crate::keyspace::event::Classes;
        let mut ks = keyspace();
        put(&mut ks, 1, 7, 0, Expiry::Clear);
        ks.log.dirty = 0;
        ks.log.interest.set(Interest::WATCHED, true);
        ks.log.notify = Classes::EVICTED;
        ks.evict(policy(Merit::LastUse, false), 0);
        let told: Vec<What> = ks.log.changes.take().iter().map(|c| c.what).collect();
        assert_eq!(told, [What::Modified, What::Event(Event::EVICTED)]);
        assert_eq!(ks.log.dirty, 0);
    }
}
