//! Time as the core sees it: injected, never asked of the system directly.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as in expiry deadlines and stream ids.
pub type Ms = i64;

/// A source of time. Everything that depends on time holds one, so that tests and simulations can own it.
pub trait Clock: Send + Sync {
    /// Microseconds since the Unix epoch; may step when the system clock is set.
    fn now_us(&self) -> i64;

    /// Nanoseconds since an arbitrary origin; never decreases.
    fn mono_ns(&self) -> u64;

    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> Ms {
        self.now_us().div_euclid(1000)
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now_us(&self) -> i64 {
        (**self).now_us()
    }

    fn mono_ns(&self) -> u64 {
        (**self).mono_ns()
    }
}

/// The clock of the machine.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic origin is now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn mono_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is moved. Clones share one time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    time: Arc<ManualTime>,
}

#[derive(Debug, Default)]
struct ManualTime {
    unix_us: AtomicI64,
    mono_ns: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `unix_ms`, its monotonic time at zero.
    pub fn at_ms(unix_ms: Ms) -> Self {
        let clock = Self::default();
        clock.set_ms(unix_ms);
        clock
    }

    /// Moves both times forward by `ms` milliseconds; a negative step counts as none.
    pub fn advance_ms(&self, ms: i64) {
        self.advance_us(ms.saturating_mul(1000));
    }

    /// Moves both times forward by `us` microseconds; a negative step counts as none.
    pub fn advance_us(&self, us: i64) {
        let us = us.max(0);
        self.time.unix_us.fetch_add(us, Ordering::SeqCst);
        self.time
            .mono_ns
            .fetch_add(us.unsigned_abs().saturating_mul(1000), Ordering::SeqCst);
    }

    /// Sets the wall time, forwards or backwards; the monotonic time stays.
    pub fn set_ms(&self, unix_ms: Ms) {
        self.time
            .unix_us
            .store(unix_ms.saturating_mul(1000), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.time.unix_us.load(Ordering::SeqCst)
    }

    fn mono_ns(&self) -> u64 {
        self.time.mono_ns.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_clones_share_it() {
        let clock = ManualClock::at_ms(1_000);
        let twin = clock.clone();
        assert_eq!((twin.now_ms(), twin.mono_ns()), (1_000, 0));
        clock.advance_ms(5);
        assert_eq!((twin.now_us(), twin.mono_ns()), (1_005_000, 5_000_000));
        clock.advance_ms(-5);
        clock.set_ms(3);
        assert_eq!((twin.now_ms(), twin.mono_ns()), (3, 5_000_000));
    }

    #[test]
    fn milliseconds_round_down_also_before_the_epoch() {
        let clock = ManualClock::default();
        clock.advance_us(1_999);
        assert_eq!(clock.now_ms(), 1);
        clock.set_ms(-1);
        clock.advance_us(1);
        assert_eq!(clock.now_ms(), -1);
    }

    #[test]
    fn the_system_clock_is_after_2020_and_monotonic() {
        let clock = SystemClock::new();
        assert!(clock.now_ms() > 1_577_836_800_000);
        let first = clock.mono_ns();
        assert!(clock.mono_ns() >= first);
    }
}
