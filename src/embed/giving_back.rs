//! Memory on its way back to the system.
//!
//! What takes long to drop is dropped on a thread of its own. And when much less is used than before, the allocator is
//! given occasion to look at what it has free: mimalloc keeps a free page for a second, in case it is wanted again, and after
//! that it looks when something else happens to it. On a server that has nothing more to do nothing does. The end of a thread
//! is such an occasion, and the only one that takes no knowledge of which allocator there is.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::node::Node;
use crate::keyspace::Garbage;

/// Elements that are dropped at once: others wait for that no longer than a millisecond.
const AT_ONCE: usize = 16 * 1024;

/// So many bytes less, and an eighth less than before, are worth a look.
const MUCH: usize = 16 * 1024 * 1024;

/// A bit longer than a free page is kept.
const LATER: Duration = Duration::from_millis(1200);

/// Looks, one after the other: each goes through a quarter of what the allocator has.
const LOOKS: usize = 6;

/// Drops what was deleted, here or on a thread of its own.
pub(super) fn part_with(node: &Node, garbage: Vec<Garbage>) {
    let many = garbage.iter().map(Garbage::elements).sum::<usize>() > AT_ONCE;
    if many && !node.is_stopped() {
        node.spawn("redkeep-drop", move |node| {
            drop(garbage);
            give_back(node);
        });
    }
}

/// Notices when much less is used than before.
#[derive(Debug, Default)]
pub(super) struct Ebb {
    /// The most since the last look.
    most: AtomicUsize,
}

impl Ebb {
    /// Whether so much is much less than before.
    pub(super) fn is_low(&self, now: usize) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let is_low = most.saturating_sub(now) >= MUCH.max(most / 8);
        if is_low || now > most {
            self.most.store(now, Ordering::Relaxed);
        }
        is_low
    }
}

/// Gives the allocator occasion to return what has become free until now, unless the server ends first.
pub(super) fn give_back(node: &Node) {
    node.stand_still(&AtomicBool::new(false), Some(Instant::now() + LATER));
    for _ in 0..LOOKS {
        if node.is_stopped() {
            return;
        }
        // A thread that has never had memory of it is none that the allocator knows.
        let look = thread::Builder::new().name("redkeep-free".into());
        let look = look.spawn(|| drop(black_box(Vec::<u8>::with_capacity(64))));
        let Ok(Ok(())) = look.map(thread::JoinHandle::join) else {
            return;
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn an_ebb_is_told_from_a_wave() {
        let ebb = Ebb::default();
        let most_after = |used: usize| {
            ebb.is_low(used * MIB);
            ebb.most.load(Ordering::Relaxed) / MIB
        };
        assert_eq!(most_after(100), 100);
        // Too little.
        assert_eq!(most_after(85), 100);
        assert_eq!(most_after(84), 84);
        assert_eq!(most_after(1000), 1000);
        // Enough bytes, but not an eighth of all.
        assert_eq!(most_after(900), 1000);
        assert_eq!(most_after(870), 870);
        assert_eq!(most_after(0), 0);
    }
}
