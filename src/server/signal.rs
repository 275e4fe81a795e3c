//! How a connection is woken by others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::embed::Wake;
use crate::exec::busy::Served;
use crate::util::waiting::Confirmed;

/// Shared by a connection and whoever has news for it.
#[derive(Default)]
pub(super) struct Signal {
    raised: AtomicBool,
    answered: AtomicBool,
    confirmed: AtomicBool,
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

    /// What is new since the last call, if anything is.
    pub(super) fn take(&self) -> Option<News> {
        let take =
            |flag: &AtomicBool| flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::AcqRel);
        let (output, answer) = (take(&self.raised), take(&self.answered));
        let confirmed = take(&self.confirmed);
        (output || answer || confirmed).then_some(News { output, answer })
    }

    /// Leaves the answer to a posted request.
    pub(super) fn serve(&self, served: Served) {
        *self.served.lock() = Some(served);
        self.raise(&self.answered);
    }

    /// Takes the answer to a posted request.
    pub(super) fn served(&self) -> Option<Served> {
        self.served.lock().take()
    }
}

impl Signal {
    fn raise(&self, flag: &AtomicBool) {
        if !flag.swap(true, Ordering::AcqRel)
            && let Some(task) = self.task.lock().as_ref()
        {
            task.wake_by_ref();
        }
    }
}

impl Confirmed for Signal {
    fn confirmed(&self) {
        self.raise(&self.confirmed);
    }
}

impl Wake for Signal {
    fn wake(&self) {
        self.raise(&self.raised);
    }
}

/// What is new for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    /// Output may wait that no answer has brought: an answer knows nothing of what came behind it.
    pub(super) output: bool,
    /// A busy script has answered.
    pub(super) answer: bool,
}

impl News {
    /// Output may wait.
    pub(super) const OUTPUT: News = News {
        output: true,
        answer: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_does_not_hide_what_came_behind_it() {
        let signal = Signal::default();
        assert_eq!(signal.take(), None);
        signal.wake();
        assert_eq!(
            signal.take(),
            Some(News {
                output: true,
                answer: false
            })
        );
        signal.serve(Served::default());
        assert_eq!(
            signal.take(),
            Some(News {
                output: false,
                answer: true
            })
        );
        signal.serve(Served::default());
        signal.wake();
        assert_eq!(
            signal.take(),
            Some(News {
                output: true,
                answer: true
            })
        );
        assert!(signal.served().is_some() && signal.served().is_none());
        assert_eq!(signal.take(), None);
    }
}
