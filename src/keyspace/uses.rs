//! When a key was used last, or how often: 32 bits of each record, which the eviction policy reads.
//!
//! Under an LFU policy they are much as Redis keeps them: a logarithmic counter in the low 8 bits; and in 24, in quarters
//! of a second and not in minutes, when the key was used last. Otherwise they are the time of the last access in
//! sixteenths of a second, where Redis has seconds. A change of the policy leaves them as they are, and what they say of
//! older accesses is wrong until the next one, as in Redis.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Keyspace, Record};

/// What a new key counts, so that it is not the first to go.
const FRESH: u8 = 5;

/// How uses are counted under an LFU policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lfu {
    /// How much rarer each further step of the counter is: `lfu-log-factor`.
    pub log_factor: u32,
    /// Minutes that take one step away, 0 for none: `lfu-decay-time`.
    pub decay_minutes: u32,
}

/// How the keyspace notes uses.
#[derive(Debug, Clone)]
pub(super) struct Uses {
    lfu: Option<Lfu>,
    /// State of a small generator: reads are shared and have no other randomness.
    draws: Cell<u64>,
}

impl Uses {
    pub(super) fn new(seed: u64) -> Uses {
        Uses {
            lfu: None,
            draws: Cell::new(seed | 1),
        }
    }

    /// What a new key begins with.
    #[inline]
    pub(super) fn fresh(&self, now: i64) -> AtomicU32 {
        AtomicU32::new(match self.lfu {
            None => ticks(now),
            Some(_) => pack(now, FRESH),
        })
    }

    /// What a key begins with that comes from a file: seconds since its last use, or how often it is used.
    pub(super) fn loaded(&self, idle: Option<u64>, count: Option<u8>, now: i64) -> AtomicU32 {
        match (&self.lfu, idle, count) {
            (Some(_), _, Some(count)) => AtomicU32::new(pack(now, count)),
            (None, Some(idle), _) => AtomicU32::new(idle_since(now, idle)),
            _ => self.fresh(now),
        }
    }

    /// Notes a use.
    #[inline]
    pub(super) fn note(&self, access: &AtomicU32, now: i64) {
        let is = match &self.lfu {
            None => ticks(now),
            Some(lfu) => self.counted(lfu, access.load(Ordering::Relaxed), now),
        };
        access.store(is, Ordering::Relaxed);
    }

    #[cold]
    fn counted(&self, lfu: &Lfu, was: u32, now: i64) -> u32 {
        let count = decayed(lfu, was, now);
        let above = f64::from(count.saturating_sub(FRESH));
        let chance = 1.0 / (above * f64::from(lfu.log_factor) + 1.0);
        let up = count < u8::MAX && self.unit() < chance;
        pack(now, count + u8::from(up))
    }

    /// How often a key was used that has this access, if that is counted.
    pub(super) fn frequency(&self, access: u32, now: i64) -> Option<u8> {
        let lfu = self.lfu.as_ref()?;
        Some(decayed(lfu, access, now))
    }

    /// How soon a key is to go that has this access: the more rarely it was used, and of those that are alike the longer
    /// ago, the sooner.
    pub(super) fn rarity(&self, access: u32, now: i64) -> u32 {
        let count = self.frequency(access, now).unwrap_or(0);
        u32::from(u8::MAX - count) << 24 | quarters_since(access, now)
    }

    /// A number at random (xorshift).
    pub(super) fn draw(&self) -> u64 {
        let mut x = self.draws.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.draws.set(x);
        // The low bits of the state are poor, and so are the high ones of those that follow a small one.
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 up to 1.
    fn unit(&self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The clock of an LRU policy: sixteenths of a second. It goes around in eight years.
fn ticks(now: i64) -> u32 {
    // Cut off on purpose, here and below: only differences count.
    (now * 2 / 125) as u32
}

const TICKS_PER_SECOND: u32 = 16;

/// The access of a key that was not used for so many seconds.
fn idle_since(now: i64, seconds: u64) -> u32 {
    const MOST: u32 = u32::MAX / 2 / TICKS_PER_SECOND;
    let seconds = u32::try_from(seconds).unwrap_or(MOST).min(MOST);
    ticks(now).wrapping_sub(seconds * TICKS_PER_SECOND)
}

/// How long a key was not used that has this access, in ticks.
pub(super) fn idle_ticks(access: u32, now: i64) -> u32 {
    match ticks(now).wrapping_sub(access) {
        // The clock was set back.
        idle if idle > u32::MAX / 2 => 0,
        idle => idle,
    }
}

/// The clock of an LFU policy, in quarters of a second, of which a record has 24 bits: they go around in 48 days.
const fn quarters(now: i64) -> i64 {
    now / 250
}

const QUARTERS: u32 = 0xff_ffff;
const QUARTERS_PER_MINUTE: i64 = 240;

fn pack(now: i64, count: u8) -> u32 {
    (quarters(now) as u32) << 8 | u32::from(count)
}

/// How many quarters of a second ago the use was that is noted in an access.
fn quarters_since(access: u32, now: i64) -> u32 {
    (quarters(now) as u32).wrapping_sub(access >> 8) & QUARTERS
}

/// The counter, less what time has taken: a step for each beginning of a minute since, or of several.
fn decayed(lfu: &Lfu, access: u32, now: i64) -> u8 {
    let [count, ..] = access.to_le_bytes();
    let is = quarters(now);
    let was = is - i64::from(quarters_since(access, now));
    let minutes = is.div_euclid(QUARTERS_PER_MINUTE) - was.div_euclid(QUARTERS_PER_MINUTE);
    let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
    let steps = minutes.checked_div(lfu.decay_minutes).unwrap_or(0);
    count.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
}

impl Record {
    /// Seconds since the last access.
    pub fn idle_secs(&self, now: i64) -> u64 {
        let access = self.access.load(Ordering::Relaxed);
        u64::from(idle_ticks(access, now) / TICKS_PER_SECOND)
    }
}

impl Keyspace {
    /// Counts how often keys are used from here on, or, with `None`, remembers when.
    pub fn count_uses(&mut self, lfu: Option<Lfu>) {
        self.uses.lfu = lfu;
    }

    /// How often a key is used, on a logarithmic scale of 0 to 255; `None` when that is not counted.
    pub fn frequency(&self, record: &Record) -> Option<u8> {
        let access = record.access.load(Ordering::Relaxed);
        self.uses.frequency(access, self.now)
    }

    /// Sets for how many seconds a key counts as idle (RESTORE IDLETIME), unless uses are counted.
    pub fn set_idle(&mut self, key: &[u8], idle: u64) {
        if self.uses.lfu.is_some() {
            return;
        }
        if let Some(record) = self.peek(key) {
            record
                .access
                .store(idle_since(self.now, idle), Ordering::Relaxed);
        }
    }

    /// Sets how often a key counts as used (RESTORE FREQ), if uses are counted.
    pub fn set_frequency(&mut self, key: &[u8], count: u8) {
        if self.uses.lfu.is_none() {
            return;
        }
        if let Some(record) = self.peek(key) {
            record
                .access
                .store(pack(self.now, count), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Expiry;
    use crate::types::DataType as _;
    use crate::types::string::Str;

    const MINUTE: i64 = 60_000;

    fn keyspace(lfu: Option<Lfu>) -> Keyspace {
        let mut ks = Keyspace::new(1, || 99);
        ks.count_uses(lfu);
        ks.begin(0, 1000 * MINUTE);
        ks.put(b"k", Str::Int(1).into_value(), Expiry::Clear, None);
        ks
    }

    fn frequency(ks: &Keyspace) -> Option<u8> {
        ks.peek(b"k").and_then(|r| ks.frequency(r))
    }

    #[test]
    fn the_counter_grows_with_use_ever_more_slowly_and_decays_with_time() {
        let lfu = Lfu {
            log_factor: 10,
            decay_minutes: 2,
        };
        let mut ks = keyspace(Some(lfu));
        assert_eq!(frequency(&ks), Some(FRESH));
        for _ in 0..1000 {
            ks.read_any(b"k");
        }
        let after = frequency(&ks).unwrap();
        assert!((12..26).contains(&after), "{after} after 1000 uses");
        ks.begin(0, 1006 * MINUTE);
        assert_eq!(frequency(&ks), Some(after - 3));
        ks.begin(0, 60_000 * MINUTE);
        assert_eq!(frequency(&ks), Some(0));
        ks.set_frequency(b"k", 200);
        ks.set_idle(b"k", 5);
        assert_eq!(frequency(&ks), Some(200));
    }

    #[test]
    fn a_counter_that_neither_decays_nor_slows_down_ends_at_its_limit() {
        let lfu = Lfu {
            log_factor: 0,
            decay_minutes: 0,
        };
        let mut ks = keyspace(Some(lfu));
        for _ in 0..300 {
            ks.read_any(b"k");
        }
        ks.begin(0, 9000 * MINUTE);
        assert_eq!(frequency(&ks), Some(255));
    }

    #[test]
    fn without_it_the_time_of_the_last_access_is_kept() {
        let mut ks = keyspace(None);
        assert_eq!(frequency(&ks), None);
        ks.begin(0, 1001 * MINUTE);
        assert_eq!(ks.peek(b"k").unwrap().idle_secs(ks.now()), 60);
        ks.set_frequency(b"k", 200);
        ks.set_idle(b"k", 7);
        assert_eq!(ks.peek(b"k").unwrap().idle_secs(ks.now()), 7);
        ks.read_any(b"k");
        assert_eq!(ks.peek(b"k").unwrap().idle_secs(ks.now()), 0);
    }
}
