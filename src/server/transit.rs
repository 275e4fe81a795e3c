//! Bytes that are on their way for a while, in one direction of a wire.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::timer::Sleep;
use crate::util::clock::ManualClock;

/// No more than this is on its way: who sends more waits.
const MOST: usize = 4 << 20;

/// What was sent and has not arrived.
pub(super) struct Transit {
    clock: ManualClock,
    /// With the times at which they arrive, in microseconds of steady time.
    parts: VecDeque<(i64, Bytes)>,
    len: usize,
    /// For the first of them.
    timer: Option<Sleep>,
    /// Nothing comes behind them.
    pub(super) ended: bool,
}

impl fmt::Debug for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transit")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Transit {
    /// Nothing is on its way. How long it will be is this clock's to say.
    pub(super) fn new(clock: &ManualClock) -> Self {
        Self {
            clock: clock.clone(),
            parts: VecDeque::new(),
            len: 0,
            timer: None,
            ended: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len >= MOST
    }

    /// Sends something.
    pub(super) fn add(&mut self, bytes: &[u8], delay: Duration) {
        self.len += bytes.len();
        let delay = i64::try_from(delay.as_micros()).unwrap_or(i64::MAX);
        let arrives = self.clock.steady_us().saturating_add(delay);
        self.parts
            .push_back((arrives, Bytes::copy_from_slice(bytes)));
    }

    /// What arrives first, once it has; none if nothing is on its way.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Option<&[u8]>> {
        let Some((arrives, bytes)) = self.parts.front() else {
            return Poll::Ready(None);
        };
        if *arrives > self.clock.steady_us() {
            let timer = self
                .timer
                .get_or_insert_with(|| Sleep::until(&self.clock, *arrives));
            ready!(Pin::new(timer).poll(cx));
        }
        self.timer = None;
        Poll::Ready(Some(bytes))
    }

    /// So much of the first was taken.
    pub(super) fn take(&mut self, n: usize) {
        if let Some((_, bytes)) = self.parts.front_mut() {
            let n = n.min(bytes.len());
            self.len -= n;
            bytes.advance(n);
            if bytes.is_empty() {
                self.parts.pop_front();
            }
        }
    }
}
