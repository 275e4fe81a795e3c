//! Time as the core sees it: injected, never asked of the system directly.
//!
//! ```text
//! mod       what a clock is, and that of the machine
//! manual    a clock that can be stopped, set and moved
//! moving    how it is moved: from one thing that is due to the next
//! alarms    who waits for a moment of it
//! ```
//!
//! There are three times. The *time of day* is what deadlines of keys and ids of streams are made of; whoever sets the clock
//! changes it. The *steady* time is nobody's to set: timeouts of links go by it. *Real* time is what passes outside, whatever
//! a clock that was stopped says: how long a command took is measured by it.

mod alarms;
mod manual;
mod moving;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use alarms::Alarm;
pub use manual::ManualClock;
pub use moving::{Busy, Settling, Timed};

/// Milliseconds since the Unix epoch, as in expiry deadlines and stream ids.
pub type Ms = i64;

/// The latest time that a [`ManualClock`] shows: the end of the year 9999. The earliest is as far on the other side of the epoch.
pub const LAST_MS: Ms = 253_402_300_799_999;

/// What a look at a clock gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The time of day, microseconds since the Unix epoch.
    pub now_us: i64,
    /// Real time in microseconds, since whenever: the difference of two is how long something took.
    pub real_us: i64,
}

/// A source of time. Everything that depends on time holds one, so that tests and simulations can own it.
pub trait Clock: Send + Sync {
    /// The time of day and real time, with one look.
    fn read(&self) -> Reading;

    /// Microseconds since the Unix epoch; may step when the clock is set.
    fn now_us(&self) -> i64 {
        self.read().now_us
    }

    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> Ms {
        self.now_us().div_euclid(1000)
    }

    /// Real time in microseconds, since whenever.
    fn real_us(&self) -> i64 {
        self.read().real_us
    }

    /// A number that changes every few milliseconds of real time, and costs less than [`read`](Self::read).
    fn tick(&self) -> u64 {
        coarsetime::Instant::now_without_cache_update().as_ticks()
    }

    /// The clock as one that can be stopped and moved, if it can: whoever acts by it has to [follow](ManualClock::follow) it.
    fn manual(&self) -> Option<&ManualClock> {
        None
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn read(&self) -> Reading {
        (**self).read()
    }

    fn now_us(&self) -> i64 {
        (**self).now_us()
    }

    fn tick(&self) -> u64 {
        (**self).tick()
    }

    fn manual(&self) -> Option<&ManualClock> {
        (**self).manual()
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The clock of the machine.
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        let now_us = system_us();
        Reading {
            now_us,
            real_us: now_us,
        }
    }
}

/// The machine's time of day, microseconds since the Unix epoch. It is asked for twice for each command: so in numbers of 64 bits.
#[inline]
fn system_us() -> i64 {
    let us = |distance: Duration| {
        let seconds = i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
        let part = i64::from(distance.subsec_micros());
        seconds.saturating_mul(1_000_000).saturating_add(part)
    };
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => us(since),
        Err(before) => -us(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_after_2020_and_needs_one_look() {
        let reading = SystemClock::new().read();
        assert!(reading.now_us > 1_577_836_800_000_000);
        assert_eq!(reading.now_us, reading.real_us);
    }
}
