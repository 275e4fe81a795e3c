//! A node that acts by a clock which somebody moves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::node::{Node, WeakNode};
use crate::util::clock::{Clock, ManualClock, Settling, Timed};

/// An engine that somebody keeps from everybody is looked for so often, in microseconds of the clock.
const LOOK_AGAIN: i64 = 100_000;

/// How long the log is waited for before it is looked at again.
const LOOK: Duration = Duration::from_micros(50);

/// What is due in one node is done by whoever moves its clock, under the engine's lock, as the driver would do it.
pub(super) struct Pace {
    node: WeakNode,
    clock: ManualClock,
    /// Somebody kept the engine when something was due: what is frozen has no part in what happens.
    missed: AtomicBool,
    turns: AtomicU64,
}

impl Pace {
    pub(super) fn new(node: WeakNode, clock: &ManualClock) -> Self {
        Self {
            node,
            clock: clock.clone(),
            missed: AtomicBool::new(false),
            turns: AtomicU64::new(0),
        }
    }

    /// As what a clock follows.
    pub(super) fn as_timed(this: &Arc<Self>) -> Weak<dyn Timed> {
        let weak: Weak<Self> = Arc::downgrade(this);
        weak
    }

    fn node(&self) -> Option<Node> {
        self.node.get().filter(|node| !node.is_stopped())
    }

    fn tick(&self, node: &Node) -> Option<Duration> {
        let ticked = node.try_tick();
        self.missed.store(ticked.is_none(), Ordering::Relaxed);
        let wait = ticked.flatten();
        if node.log().is_some_and(|log| !log.is_at_rest()) {
            self.clock.stir();
        }
        wait
    }
}

impl Timed for Pace {
    fn due_in(&self) -> Option<i64> {
        let node = self.node()?;
        if self.missed.load(Ordering::Relaxed) && !node.is_free() {
            return Some(LOOK_AGAIN);
        }
        match node.waits_for() {
            i64::MAX => None,
            at => {
                let left = at.saturating_mul(1000).saturating_sub(self.clock.now_us());
                Some(left.max(0))
            }
        }
    }

    fn act(&self) {
        /// More is not done at once: something stays due whatever is done.
        const MOST: Duration = Duration::from_millis(100);
        let Some(node) = self.node() else {
            return;
        };
        let until = Instant::now() + MOST;
        while self.tick(&node) == Some(Duration::ZERO) && Instant::now() < until {}
    }

    fn settle(&self) -> Option<Settling> {
        let node = self.node()?;
        let log = node.log()?;
        if log.has_news() {
            self.tick(&node);
        }
        Some(Box::new(move |until| {
            while !log.is_at_rest() && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
        }))
    }

    fn turns(&self) -> u64 {
        let turns = self.node().and_then(|node| node.turns());
        if let Some(turns) = turns {
            self.turns.store(turns, Ordering::Relaxed);
        }
        self.turns.load(Ordering::Relaxed)
    }

    fn changed(&self) {
        if let Some(node) = self.node() {
            node.time_changed();
        }
    }
}
