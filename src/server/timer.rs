//! Waiting for the server's own time: whatever of the protocol waits for time waits here, or is a deadline of the engine.
//!
//! While the clock runs, the runtime's timers wake who waits; should it be stopped or moved, whoever moves it does. What
//! goes by real time says so where it waits: a script that is busy, TLS handshakes of clients, HTTP, the end of a server.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::util::clock::{Alarm, ManualClock};

/// Waits for some time to pass on a clock.
pub(super) fn sleep(clock: &ManualClock, time: Duration) -> Sleep {
    let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Sleep::until(clock, clock.steady_us().saturating_add(time))
}

/// What was waited for did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Elapsed;

/// Waits for something, but not for longer than that on a clock.
pub(super) async fn timeout<F: Future>(
    clock: &ManualClock,
    patience: Duration,
    what: F,
) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = what => Ok(output),
        () = sleep(clock, patience) => Err(Elapsed),
    }
}

/// Ready at a moment of a clock.
#[must_use]
pub(super) struct Sleep {
    clock: ManualClock,
    /// In microseconds of steady time.
    until: i64,
    alarm: Option<Alarm>,
    /// While the clock runs.
    real: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Sleep {
    /// Waits until steady time is so many microseconds.
    pub(super) fn until(clock: &ManualClock, until: i64) -> Self {
        Self {
            clock: clock.clone(),
            until,
            alarm: None,
            real: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.clock.steady_us() >= this.until {
                return Poll::Ready(());
            }
            match &this.alarm {
                Some(alarm) => alarm.set_waker(cx.waker()),
                None => this.alarm = Some(this.clock.alarm(this.until, cx.waker())),
            }
            // It may have been moved before anybody could know of the alarm. From here on that rings.
            let left = this.until.saturating_sub(this.clock.steady_us());
            if left <= 0 {
                return Poll::Ready(());
            }
            if this.clock.stands() {
                this.real = None;
                return Poll::Pending;
            }
            let left = Duration::from_micros(left.unsigned_abs());
            let real = this
                .real
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            ready!(real.as_mut().poll(cx));
            // The clock may have stood for a while.
            this.real = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn who_sleeps_wakes_when_the_clock_is_moved_there_and_not_before() {
        run(async {
            let clock = ManualClock::at_ms(0);
            let sleeper = tokio::spawn(sleep(&clock, Duration::from_secs(10)));
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(9_999));
            tokio::task::yield_now().await;
            assert!(!sleeper.is_finished());
            clock.advance(Duration::from_millis(1));
            sleeper.await.unwrap();
        });
    }

    #[test]
    fn who_sleeps_wakes_by_itself_while_the_clock_runs() {
        run(async {
            let clock = ManualClock::running();
            sleep(&clock, Duration::from_millis(2)).await;
            clock.freeze();
            let sleeper = tokio::spawn(sleep(&clock, Duration::from_millis(2)));
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(!sleeper.is_finished());
            clock.thaw();
            sleeper.await.unwrap();
        });
    }

    #[test]
    fn what_comes_in_time_is_there_and_what_does_not_is_not() {
        run(async {
            let clock = ManualClock::at_ms(0);
            let second = Duration::from_secs(1);
            assert_eq!(timeout(&clock, second, async { 7 }).await, Ok(7));
            let mover = clock.clone();
            let late = timeout(&clock, second, std::future::pending::<()>());
            let (late, ()) = tokio::join!(late, async {
                tokio::task::yield_now().await;
                mover.advance(second);
            });
            assert_eq!(late, Err(Elapsed));
        });
    }
}
