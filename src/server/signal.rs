//! How a connection is woken by others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::embed::Wake;
use crate::exec::busy::Served;

/// Shared by a connection and whoever has news for it.
#[derive(Default)]
pub(super) struct Signal {
    raised: AtomicBool,
    task: Mutex<Option<Waker>>,
    served: Mutex<Option<Served>>,
}

impl Signal {
    /// Remembers the task to wake. To be called before [`take`](Self::take), so that nothing is missed.
    pub(super) fn register(&self, waker: &Waker) {
        let mut task = self.task.lock();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Whether there is news since the last call.
    pub(super) fn take(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.raised.swap(false, Ordering::AcqRel)
    }

    /// Leaves the answer to a posted request.
    pub(super) fn serve(&self, served: Served) {
        *self.served.lock() = Some(served);
        self.wake();
    }

    /// Takes the answer to a posted request.
    pub(super) fn served(&self) -> Option<Served> {
        self.served.lock().take()
    }
}

impl Wake for Signal {
    fn wake(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(task) = self.task.lock().as_ref()
        {
            task.wake_by_ref();
        }
    }
}
