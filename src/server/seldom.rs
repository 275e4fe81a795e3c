//! What strangers can cause as often as they like is said in the log now and then.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When something was said last.
pub(super) struct Seldom {
    last: Mutex<Option<Instant>>,
    every: Duration,
}

impl Seldom {
    /// To be said at most once in that time.
    pub(super) const fn once_in(every: Duration) -> Seldom {
        Seldom {
            last: Mutex::new(None),
            every,
        }
    }

    /// Whether it is to be said now; then it has been.
    pub(super) fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.last.lock();
        let due = last.is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_not_for_a_while() {
        let seldom = Seldom::once_in(Duration::from_secs(3600));
        assert_eq!([(); 3].map(|()| seldom.is_due()), [true, false, false]);
        let always = Seldom::once_in(Duration::ZERO);
        assert_eq!([(); 2].map(|()| always.is_due()), [true, true]);
    }
}
