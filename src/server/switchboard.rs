//! The lines between the nodes of a topology: each can be cut, and bytes can be made to take their time on it.
//!
//! A node is known to the others by its port. Every connection between two nodes is made by one of them over a
//! [`Wire`](super::wire::Wire), which asks the line between the two. So one end is enough to stop both directions: what
//! the other end sends stays in the buffers of the kernel, and is delivered when the line is healed.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::Socket;
use tokio::sync::watch;

/// How a line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Condition {
    /// Nothing passes.
    pub(super) parted: bool,
    /// How long a byte is on its way.
    pub(super) delay: Duration,
}

/// What lies between two nodes.
#[derive(Debug, Default)]
pub(super) struct Line {
    condition: watch::Sender<Condition>,
    /// Connections that were closed while the line was cut: the other end may not learn of that before it is healed.
    closed: Mutex<Vec<Socket>>,
}

impl Line {
    pub(super) fn condition(&self) -> Condition {
        *self.condition.borrow()
    }

    /// Waits until something can pass.
    pub(super) async fn healed(self: Arc<Self>) {
        // It fails when there is no line any more, but here it is.
        let _ = self.condition.subscribe().wait_for(|c| !c.parted).await;
    }

    /// Keeps a connection open until the line is healed, if it is cut.
    pub(super) fn close(&self, socket: impl FnOnce() -> Option<Socket>) {
        let mut closed = self.closed.lock();
        if self.condition().parted {
            closed.extend(socket());
        }
    }

    fn change(&self, change: impl FnOnce(&mut Condition)) {
        // Under this lock: what is closed meanwhile belongs to what was before or to what is after.
        let mut closed = self.closed.lock();
        self.condition.send_if_modified(|condition| {
            let before = *condition;
            change(condition);
            *condition != before
        });
        if !self.condition().parted {
            closed.clear();
        }
    }
}

/// The lines between all nodes of a topology.
#[derive(Debug)]
pub(super) struct Switchboard {
    /// Of each node.
    ports: Vec<u16>,
    /// Between a node and each one before it.
    lines: Vec<Vec<Arc<Line>>>,
}

impl Switchboard {
    /// Connects nodes that listen on these ports, each with each.
    pub(super) fn new(ports: Vec<u16>) -> Switchboard {
        let lines = (0..ports.len()).map(|node| (0..node).map(|_| Arc::default()).collect());
        Switchboard {
            lines: lines.collect(),
            ports,
        }
    }

    /// The line from a node to who listens on a port. None where nobody of the topology does, or the node itself.
    pub(super) fn line_to(&self, node: usize, port: u16) -> Option<Arc<Line>> {
        let peer = self.ports.iter().position(|p| *p == port)?;
        self.between(node, peer).map(Arc::clone)
    }

    fn between(&self, a: usize, b: usize) -> Option<&Arc<Line>> {
        self.lines.get(a.max(b))?.get(a.min(b))
    }

    /// From now on nothing passes between a node of one side and a node of the other.
    pub(super) fn part(&self, left: &[usize], right: &[usize]) {
        self.each(left, right, |condition| condition.parted = true);
    }

    /// From now on bytes between a node of one side and a node of the other are on their way for so long.
    pub(super) fn delay(&self, left: &[usize], right: &[usize], delay: Duration) {
        self.each(left, right, |condition| condition.delay = delay);
    }

    /// From now on everything passes again.
    pub(super) fn heal(&self) {
        for line in self.lines.iter().flatten() {
            line.change(|condition| condition.parted = false);
        }
    }

    fn each(&self, left: &[usize], right: &[usize], change: impl Fn(&mut Condition)) {
        let pairs = left
            .iter()
            .flat_map(|a| right.iter().map(move |b| (*a, *b)));
        for line in pairs.filter_map(|(a, b)| self.between(a, b)) {
            line.change(&change);
        }
    }
}
