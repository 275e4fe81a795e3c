//! What a client inside of the process waits by: its thread, or the task that asks for it.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::node::Wake;
use crate::exec::busy::Served;
use crate::util::waiting::Confirmed;

/// Rung whenever it is worth looking again.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<Rung>,
    condvar: Condvar,
}

#[derive(Default)]
struct Rung {
    news: bool,
    /// The answers of a busy script.
    served: Vec<Served>,
    task: Option<Waker>,
}

impl Bell {
    /// Waits until it rings, up to a moment or for ever; whether it has.
    pub(super) fn wait(&self, until: Option<Instant>) -> bool {
        let mut rung = self.rung.lock();
        while !rung.news {
            match until {
                None => self.condvar.wait(&mut rung),
                Some(until) if self.condvar.wait_until(&mut rung, until).timed_out() => {
                    return std::mem::take(&mut rung.news);
                }
                Some(_) => {}
            }
        }
        rung.news = false;
        true
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
        let mut rung = self.rung.lock();
        rung.news = true;
        let task = rung.task.take();
        drop(rung);
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
