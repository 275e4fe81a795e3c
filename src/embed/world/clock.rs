//! The clock of a machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::util::clock::{Clock, Reading};

/// A clock that stands until the world moves it, and that nobody on the machine can: `REDKEEP CLOCK` is refused. What is done
/// takes no time by it.
#[derive(Debug, Clone, Default)]
pub(super) struct MachineClock(Arc<AtomicI64>);

impl MachineClock {
    pub(super) fn at_us(unix_us: i64) -> MachineClock {
        MachineClock(Arc::new(AtomicI64::new(unix_us)))
    }

    /// Moves it, forwards or backwards.
    pub(super) fn move_by(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn read(&self) -> Reading {
        let now_us = self.0.load(Ordering::Relaxed);
        Reading {
            now_us,
            real_us: now_us,
        }
    }

    fn tick(&self) -> u64 {
        self.0.load(Ordering::Relaxed).unsigned_abs()
    }
}
