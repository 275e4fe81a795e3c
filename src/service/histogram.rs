//! How long things took, in about 24 KB whatever the number of samples.

/// Values below this have a bucket each; above, every doubling is split into half as many buckets, so that a value
/// is known to better than one per cent.
const LINEAR: u64 = 256;
const LINEAR_BITS: u32 = LINEAR.trailing_zeros();
/// One second in nanoseconds; longer samples count as that.
const CEILING: u64 = 1_000_000_000;

/// Counts of samples in nanoseconds by size, up to a second.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Adds a sample.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        let index = index_of(nanos.clamp(1, CEILING));
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
        self.total += 1;
    }

    /// How many samples there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest value that is taken for the sample at percentile `p`; 0 without samples.
    pub fn percentile(&self, p: f64) -> u64 {
        let wanted = ((p.clamp(0.0, 100.0) / 100.0) * self.total as f64 + 0.5) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return upper_bound(index);
            }
        }
        0
    }

    /// For each doubling of 1024 ns, its bound in microseconds and how many samples were at most that long; bounds
    /// that add none are left out. As in Redis a bound is the end of the bucket that it falls into, so that 16384
    /// is shown as 16908.
    pub fn by_doublings(&self) -> Vec<(u64, u64)> {
        let mut bounds: Vec<(u64, u64)> = Vec::new();
        let (mut limit, mut seen) = (1024, 0);
        for (index, count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            while index > index_of(limit) {
                limit *= 2;
            }
            seen += count;
            let bound = upper_bound(index_of(limit)) / 1000;
            match bounds.last_mut() {
                Some((last, sum)) if *last == bound => *sum = seen,
                _ => bounds.push((bound, seen)),
            }
        }
        bounds
    }
}

fn index_of(value: u64) -> usize {
    let octave = (64 - (value | (LINEAR - 1)).leading_zeros()) - LINEAR_BITS;
    let within = (value >> octave) as usize;
    (octave as usize) * (LINEAR as usize / 2) + within
}

/// The largest value of a bucket.
fn upper_bound(index: usize) -> u64 {
    let (index, half) = (index as u64, LINEAR / 2);
    if index < LINEAR {
        return index;
    }
    let octave = index / half - 1;
    let within = index - octave * half;
    ((within + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        let mut last = 0;
        for index in 1..=index_of(CEILING) {
            let bound = upper_bound(index);
            assert!(bound > last);
            assert_eq!((index_of(last + 1), index_of(bound)), (index, index));
            last = bound;
        }
        assert!(last >= CEILING);
    }

    #[test]
    fn percentiles_are_within_one_per_cent() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|n| histogram.record(n * 1000));
        for p in [0.001, 1.0, 50.0, 99.0, 99.9, 100.0] {
            let (found, true_value) = (histogram.percentile(p) as f64, p * 1_000_000.0);
            assert!((found / true_value - 1.0).abs() < 0.01, "{p}: {found}");
        }
    }

    #[test]
    fn samples_are_shown_as_redis_shows_them() {
        let mut histogram = Histogram::default();
        histogram.record(7_000);
        assert_eq!(histogram.percentile(50.0), 7_007);
        assert_eq!(histogram.by_doublings(), [(8, 1)]);
        histogram.record(3_000);
        histogram.record(1);
        histogram.record(10_162_000);
        assert_eq!(
            histogram.by_doublings(),
            [(1, 1), (4, 2), (8, 3), (16908, 4)]
        );
        histogram.record(u64::MAX);
        assert_eq!(histogram.total(), 5);
    }
}
