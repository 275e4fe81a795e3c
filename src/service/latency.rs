//! The latency monitor: spikes by event.

use std::collections::{BTreeMap, VecDeque};

/// Spikes that are kept of an event.
const SAMPLES: usize = 160;

/// The spikes of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spikes {
    /// Unix seconds and milliseconds taken, oldest first; at most one a second, the worst.
    pub samples: VecDeque<(i64, u64)>,
    /// The worst ever.
    pub max: u64,
}

/// Spikes of all events.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    events: BTreeMap<&'static str, Spikes>,
}

impl Latency {
    /// Notes that `event` took `millis` at `now` (Unix seconds).
    pub fn add(&mut self, event: &'static str, now: i64, millis: u64) {
        let spikes = self.events.entry(event).or_default();
        spikes.max = spikes.max.max(millis);
        if let Some((second, worst)) = spikes.samples.back_mut()
            && *second == now
        {
            *worst = (*worst).max(millis);
            return;
        }
        if spikes.samples.len() == SAMPLES {
            spikes.samples.pop_front();
        }
        spikes.samples.push_back((now, millis));
    }

    /// The spikes of an event. Its name is written as it is.
    pub fn event(&self, name: &[u8]) -> Option<(&'static str, &Spikes)> {
        self.events().find(|(known, _)| known.as_bytes() == name)
    }

    /// All events that had spikes.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Spikes)> {
        self.events.iter().map(|(name, spikes)| (*name, spikes))
    }

    /// Forgets the events of these names, in whatever case, or all; returns how many there were.
    pub fn reset(&mut self, names: &[&[u8]]) -> usize {
        let before = self.events.len();
        self.events.retain(|known, _| {
            !names.is_empty()
                && !names
                    .iter()
                    .any(|name| known.as_bytes().eq_ignore_ascii_case(name))
        });
        before - self.events.len()
    }
}

impl Spikes {
    /// The best and the worst of the kept samples.
    pub fn range(&self) -> (u64, u64) {
        let values = || self.samples.iter().map(|(_, millis)| *millis);
        (values().min().unwrap_or(0), values().max().unwrap_or(0))
    }

    /// The mean of the kept samples, and their mean distance from it.
    pub fn mean(&self) -> (u64, u64) {
        let n = self.samples.len().max(1) as u64;
        let mean = self.samples.iter().map(|(_, millis)| millis).sum::<u64>() / n;
        let spread = self
            .samples
            .iter()
            .map(|(_, millis)| millis.abs_diff(mean))
            .sum::<u64>()
            / n;
        (mean, spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_worst_of_each_second_and_a_bounded_number() {
        let mut latency = Latency::default();
        for (now, millis) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            latency.add("command", now, millis);
        }
        assert_eq!(latency.event(b"COMMAND"), None);
        let (_, spikes) = latency.event(b"command").unwrap();
        assert_eq!(spikes.samples, [(1, 9), (2, 3)]);
        assert_eq!(
            (spikes.max, spikes.range(), spikes.mean()),
            (9, (3, 9), (6, 3))
        );
        (0..1000).for_each(|n| latency.add("command", 10 + n, 1));
        let (_, spikes) = latency.event(b"command").unwrap();
        assert_eq!((spikes.samples.len(), spikes.max), (SAMPLES, 9));
    }

    #[test]
    fn resets_named_events_or_all() {
        let mut latency = Latency::default();
        latency.add("a", 1, 1);
        latency.add("b", 1, 1);
        assert_eq!(latency.reset(&[b"A", b"x"]), 1);
        assert_eq!(latency.reset(&[]), 1);
        assert_eq!(latency.events().len(), 0);
    }
}
