//! For how long there was no leader.

use super::ledger::Moment;

/// A time in which nobody could write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// When the last write before it was acknowledged.
    pub(super) from: Moment,
    /// When the first one behind it was.
    pub(super) to: Moment,
    /// Whether there was one behind it.
    pub(super) ended: bool,
}

impl Pause {
    pub(super) fn len(&self) -> Moment {
        self.to.saturating_sub(self.from)
    }
}

/// Listens to acknowledged writes, from the first one on, and keeps the longest pause between two.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    last: Option<Moment>,
    longest: Option<Pause>,
    /// Pauses that ended before are of no interest.
    since: Option<Moment>,
    is_over: bool,
}

impl Pulse {
    /// From now on pauses count.
    pub(super) fn watch(&mut self, now: Moment) {
        self.since = Some(now);
        self.longest = None;
    }

    /// A write was acknowledged.
    pub(super) fn beat(&mut self, now: Moment) {
        if !self.is_over {
            self.reach(now, true);
        }
    }

    /// Nobody writes any more.
    pub(super) fn end(&mut self, now: Moment) {
        if !self.is_over {
            self.reach(now, false);
        }
        self.is_over = true;
    }

    fn reach(&mut self, now: Moment, ended: bool) {
        if let Some(from) = self.last.or(self.since).filter(|_| self.since.is_some()) {
            let pause = Pause {
                from,
                to: now,
                ended,
            };
            if self
                .longest
                .is_none_or(|longest| longest.len() < pause.len())
            {
                self.longest = Some(pause);
            }
        }
        self.last = self.last.max(Some(now));
    }

    pub(super) const fn longest(&self) -> Option<Pause> {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment::from_millis(n)
    }

    #[test]
    fn the_longest_pause_since_the_fault_is_kept() {
        let mut pulse = Pulse::default();
        for now in [5, 900, 1000, 1010] {
            pulse.beat(ms(now));
        }
        pulse.watch(ms(1015));
        for now in [1020, 1500, 1490, 1600, 1601] {
            pulse.beat(ms(now));
        }
        pulse.end(ms(1650));
        // What comes later is nobody's any more.
        pulse.beat(ms(9000));
        let pause = Pause {
            from: ms(1020),
            to: ms(1500),
            ended: true,
        };
        assert_eq!(pulse.longest(), Some(pause));
        assert_eq!(pause.len(), ms(480));
    }

    #[test]
    fn a_pause_may_not_end_and_may_begin_before_the_fault() {
        let mut pulse = Pulse::default();
        pulse.beat(ms(990));
        pulse.watch(ms(1000));
        pulse.end(ms(3000));
        let pause = Pause {
            from: ms(990),
            to: ms(3000),
            ended: false,
        };
        assert_eq!(pulse.longest(), Some(pause));
    }
}
