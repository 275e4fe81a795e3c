//! Who waits for a moment of a clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use super::manual::Time;

/// All that wait, ordered by the steady time that they wait for.
#[derive(Default)]
pub(super) struct Alarms {
    set: Mutex<Set>,
}

#[derive(Default)]
struct Set {
    wakers: BTreeMap<(i64, u64), Waker>,
    last: u64,
}

impl Alarms {
    pub(super) fn first(&self) -> Option<i64> {
        self.set.lock().wakers.keys().next().map(|(at, _)| *at)
    }

    /// Wakes those who wait for what has come; whether there were any.
    pub(super) fn ring(&self, steady_us: i64) -> bool {
        let due = {
            let mut set = self.set.lock();
            let later = set.wakers.split_off(&(steady_us.saturating_add(1), 0));
            std::mem::replace(&mut set.wakers, later)
        };
        due.values().for_each(Waker::wake_by_ref);
        !due.is_empty()
    }

    /// Wakes everybody: the clock does not go on as it did.
    pub(super) fn wake_all(&self) {
        let all: Vec<Waker> = self.set.lock().wakers.values().cloned().collect();
        all.iter().for_each(Waker::wake_by_ref);
    }
}

/// Has somebody woken at a moment of a clock, should it be moved there; made by
/// [`ManualClock::alarm`](super::ManualClock::alarm). Nobody is woken by it any more once it is dropped.
pub struct Alarm {
    time: Arc<Time>,
    key: (i64, u64),
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm")
            .field("steady_us", &self.key.0)
            .finish_non_exhaustive()
    }
}

impl Alarm {
    pub(super) fn new(time: Arc<Time>, steady_us: i64, waker: &Waker) -> Self {
        let key = {
            let mut set = time.alarms.set.lock();
            set.last += 1;
            let key = (steady_us, set.last);
            set.wakers.insert(key, waker.clone());
            key
        };
        Self { time, key }
    }

    /// Has somebody else woken, or the same once more.
    pub fn set_waker(&self, waker: &Waker) {
        let mut set = self.time.alarms.set.lock();
        match set.wakers.get_mut(&self.key) {
            Some(old) => old.clone_from(waker),
            None => drop(set.wakers.insert(self.key, waker.clone())),
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.time.alarms.set.lock().wakers.remove(&self.key);
    }
}
