//! What a client inside of the process waits by: its thread, or the task that asks for it.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::node::{Node, Wake};
use crate::exec::busy::Served;
use crate::util::clock::{Busy, ManualClock};
use crate::util::waiting::Confirmed;

/// Rung whenever it is worth looking again.
pub(super) struct Bell {
    rung: Mutex<Rung>,
    condvar: Condvar,
    clock: Option<ManualClock>,
}

#[derive(Default)]
struct Rung {
    news: bool,
    /// A thread waits for news.
    waits: bool,
    /// A task does.
    task: Option<Waker>,
    /// Whoever moves the clock waits until the client has seen what there is.
    busy: Option<Busy>,
    /// The answers of a busy script.
    served: Vec<Served>,
}

impl Bell {
    pub(super) fn of(node: &Node) -> Self {
        Self {
            rung: Mutex::default(),
            condvar: Condvar::new(),
            clock: node.clock().cloned(),
        }
    }

    /// Waits until it rings, up to a moment or for ever; whether it has.
    pub(super) fn wait(&self, until: Option<Instant>) -> bool {
        let mut rung = self.rung.lock();
        rung.waits = true;
        while !rung.news {
            match until {
                None => self.condvar.wait(&mut rung),
                Some(until) if self.condvar.wait_until(&mut rung, until).timed_out() => break,
                Some(_) => {}
            }
        }
        rung.waits = false;
        std::mem::take(&mut rung.news)
    }

    /// Ready when it has rung; otherwise the task is woken when it does.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut rung = self.rung.lock();
        if std::mem::take(&mut rung.news) {
            return Poll::Ready(());
        }
        let knows = |task: &Waker| task.will_wake(cx.waker());
        if !rung.task.as_ref().is_some_and(knows) {
            rung.task = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The client has been woken, and is at work as long as it keeps this.
    pub(super) fn busy(&self) -> Option<Busy> {
        self.rung.lock().busy.take()
    }

    /// Nobody waits any more.
    pub(super) fn leave(&self) {
        let mut rung = self.rung.lock();
        rung.task = None;
        rung.busy = None;
    }

    /// Leaves an answer.
    pub(super) fn serve(&self, served: Served) {
        self.rung.lock().served.push(served);
        self.ring();
    }

    /// Takes the answers.
    pub(super) fn served(&self) -> Vec<Served> {
        std::mem::take(&mut self.rung.lock().served)
    }

    fn ring(&self) {
        let task = {
            let mut rung = self.rung.lock();
            if !rung.news && (rung.waits || rung.task.is_some()) {
                rung.busy = self.clock.as_ref().map(ManualClock::busy);
            }
            rung.news = true;
            rung.task.take()
        };
        self.condvar.notify_one();
        // Without the lock: who knows what it runs.
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.ring();
    }
}

impl Confirmed for Bell {
    fn confirmed(&self) {
        self.ring();
    }
}
