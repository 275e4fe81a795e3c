//! How far replicas are behind, in time.

use std::collections::VecDeque;

/// So many moments are remembered. When there are more, every other one is forgotten.
const MOST: usize = 1024;

/// When the stream came to which offset. What nobody waits for any more is forgotten.
#[derive(Debug, Default)]
pub struct Marks {
    /// (offset, unix milliseconds): the stream had come to the offset by then, and not before the mark in front.
    marks: VecDeque<(u64, i64)>,
}

impl Marks {
    /// The stream has come to an offset.
    #[inline]
    pub fn note(&mut self, offset: u64, now: i64) {
        match self.marks.back_mut() {
            // What came within the same millisecond counts together.
            Some((last, at)) if *at == now => *last = offset,
            _ => {
                if self.marks.len() >= MOST {
                    self.thin();
                }
                self.marks.push_back((offset, now));
            }
        }
    }

    /// Everybody who is to get it has it up to here.
    pub fn reached(&mut self, offset: u64) {
        while self.marks.front().is_some_and(|&(at, _)| at <= offset) {
            self.marks.pop_front();
        }
    }

    /// Milliseconds since the oldest byte behind this offset came; 0 if there is none.
    pub fn lag(&self, offset: u64, now: i64) -> i64 {
        let after = self.marks.partition_point(|&(at, _)| at <= offset);
        let since = self.marks.get(after).map_or(now, |&(_, at)| at);
        (now - since).max(0)
    }

    /// Nobody waits for anything.
    pub fn clear(&mut self) {
        self.marks.clear();
    }

    /// Forgets every other mark: what it stood for counts from the mark before, which is earlier.
    fn thin(&mut self) {
        let marks = std::mem::take(&mut self.marks);
        let mut marks = marks.into_iter();
        while let Some((offset, at)) = marks.next() {
            let offset = marks.next().map_or(offset, |(later, _)| later);
            self.marks.push_back((offset, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_byte_that_is_missing_counts() {
        let mut marks = Marks::default();
        marks.note(10, 100);
        marks.note(15, 100);
        marks.note(30, 150);
        assert_eq!(marks.lag(0, 200), 100);
        assert_eq!(marks.lag(14, 200), 100);
        assert_eq!(marks.lag(15, 200), 50);
        assert_eq!(marks.lag(30, 200), 0);
        marks.reached(15);
        assert_eq!(marks.lag(0, 200), 50);
    }

    #[test]
    fn many_moments_take_little_and_never_make_a_lag_shorter() {
        let mut marks = Marks::default();
        for n in 0..10_000 {
            marks.note(n as u64 + 1, n);
        }
        assert!(marks.marks.len() <= MOST);
        for offset in 0..10_000 {
            let lag = marks.lag(offset as u64, 10_000);
            assert!(lag >= 10_000 - offset);
        }
    }
}
