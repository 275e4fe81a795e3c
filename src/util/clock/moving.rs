//! Moving a clock: from one thing that is due to the next, each done with all that follows from it.
//!
//! What follows is done by others, on threads of their own and over sockets. Whoever moves the clock waits until they are
//! *quiet*: everybody has been asked to finish what there was (`settle`), twice, and nothing has happened meanwhile.
//! What other processes do nobody can tell, and what the threads of a program do that was answered only by waiting for it:
//! where a client has been woken, a millisecond is left for what it does next.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::manual::{ManualClock, Time};

/// How long it is waited for quiet at one moment. After each time that was in vain it is waited half as long, until it was
/// quiet once more: what waits for a disk that does not answer, say, holds up one move of the clock and not a hundred.
const PATIENCE: Duration = Duration::from_secs(1);

/// But not less than this.
const PATIENCE_LEAST: Duration = Duration::from_millis(1);

/// What a client has time for that was woken.
const GRACE: Duration = Duration::from_millis(1);

/// How long it is waited between two looks at those who are busy.
const LOOK: Duration = Duration::from_micros(50);

/// The clock is moved by so much where something remains due although it was done, in microseconds.
const LEAST: i64 = 1000;

/// Somebody who acts by a clock. All of this is called by whoever moves the clock, and must not move it.
pub trait Timed: Send + Sync {
    /// For how many microseconds nothing is due; 0 when something is, none if nothing will be.
    fn due_in(&self) -> Option<i64> {
        None
    }

    /// Does what is due.
    fn act(&self) {}

    /// Has what there is to do done, on threads of its own if it has such; gives what waits for the end of that.
    fn settle(&self) -> Option<Settling> {
        None
    }

    /// A number that changes with everything that is done, but for the acts of the clock that change nothing.
    fn turns(&self) -> u64 {
        0
    }

    /// The clock has begun to run, or was set.
    fn changed(&self) {}
}

/// Waits until something is done, but no longer than this, in real time.
pub type Settling = Box<dyn FnOnce(Instant)>;

/// Those who act by a clock.
#[derive(Default)]
pub(super) struct Crew {
    members: Mutex<Vec<Weak<dyn Timed>>>,
    /// What has happened, counted.
    stirs: AtomicU64,
    /// Of that: what clients may react to.
    client_stirs: AtomicU64,
    busy: AtomicUsize,
}

impl Crew {
    pub(super) fn join(&self, who: Weak<dyn Timed>) {
        let mut members = self.members.lock();
        members.retain(|member| member.strong_count() > 0);
        members.push(who);
    }

    fn members(&self) -> Vec<Arc<dyn Timed>> {
        self.members
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    pub(super) fn changed(&self) {
        self.members().iter().for_each(|member| member.changed());
    }

    pub(super) fn stir(&self) {
        self.stirs.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn stir_clients(&self) {
        self.client_stirs.fetch_add(1, Ordering::AcqRel);
        self.stir();
    }
}

/// Somebody is at work as long as this lives; made by [`ManualClock::busy`].
pub struct Busy {
    time: Arc<Time>,
}

impl std::fmt::Debug for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Busy").finish_non_exhaustive()
    }
}

impl Busy {
    pub(super) fn new(time: Arc<Time>) -> Self {
        time.crew.busy.fetch_add(1, Ordering::AcqRel);
        Self { time }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // First: whoever sees that nobody is busy sees this as well.
        self.time.crew.stir();
        self.time.crew.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

impl ManualClock {
    /// Moves the time forward, as long as `go_on` says so.
    ///
    /// It moves from deadline to deadline: what is due in 10 s of 30 sees that 10 s have passed, and so does what follows from
    /// it, on any server of this clock and between them. Keys expire, waits end, links are given up and leaders failed over
    /// in the order in which they would have been. It returns when all of that is done.
    ///
    /// A clock that runs stands meanwhile, and goes on from where it was moved to. Whoever moves it waits for whoever else
    /// does. It must not be called where something waits for the caller that is to happen meanwhile: on the only thread of
    /// an asynchronous program, its own tasks stand still.
    pub fn advance_while(&self, by: Duration, go_on: impl Fn() -> bool) {
        let mut left = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let mut moving = Moving::begin(self);
        moving.do_due();
        while left > 0 && go_on() {
            let due = match moving.due_in() {
                Some(0) => LEAST,
                Some(due) => due,
                None => i64::MAX,
            };
            let step = due.min(left);
            self.time().step(step);
            left -= step;
            moving.do_due();
        }
    }

    /// Waits until everything is done that is due now, and all that follows from it.
    pub fn rest(&self) {
        Moving::begin(self).do_due();
    }
}

/// The clock is being moved.
struct Moving<'a> {
    time: &'a Time,
    members: Vec<Arc<dyn Timed>>,
    /// What had happened when it was quiet last.
    quiet_at: Option<u64>,
    clients_at: u64,
    /// How often it was waited in vain since it was quiet last.
    vain: parking_lot::MutexGuard<'a, u32>,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.time.set_moving(false);
    }
}

impl<'a> Moving<'a> {
    fn begin(clock: &'a ManualClock) -> Self {
        let time: &Time = clock.time();
        let vain = time.mover.lock();
        time.set_moving(true);
        Self {
            time,
            members: time.crew.members(),
            quiet_at: None,
            clients_at: 0,
            vain,
        }
    }

    /// For how many microseconds nothing is due.
    fn due_in(&self) -> Option<i64> {
        let now = self.time.steady_us();
        let alarm = self.time.alarms.first().map(|at| at.saturating_sub(now));
        let members = self.members.iter().filter_map(|member| member.due_in());
        members.chain(alarm).min().map(|due| due.max(0))
    }

    /// Does what is due, and what follows from that, until nothing is.
    fn do_due(&mut self) {
        let patience = PATIENCE / (1 << (*self.vain).min(10));
        let until = Instant::now() + patience.max(PATIENCE_LEAST);
        loop {
            if self.time.alarms.ring(self.time.steady_us()) {
                self.time.crew.stir();
            }
            for member in &self.members {
                if member.due_in() == Some(0) {
                    member.act();
                }
            }
            let before = self.quiet_at;
            self.settle(until);
            // What is due still although nobody has done anything is for later.
            let idle = self.quiet_at == before;
            if self.due_in() != Some(0) || idle || Instant::now() >= until {
                return;
            }
        }
    }

    fn activity(&self) -> u64 {
        let turns = self.members.iter().map(|member| member.turns());
        turns.fold(
            self.time.crew.stirs.load(Ordering::Acquire),
            u64::wrapping_add,
        )
    }

    /// Waits until it is quiet, if anything has happened since it was.
    fn settle(&mut self, until: Instant) {
        let crew = &self.time.crew;
        let mut last = self.activity();
        if self.quiet_at == Some(last) {
            return;
        }
        // Who has come, or is there only since something was done.
        self.members = crew.members();
        let mut calm = 0;
        loop {
            // All at the same time.
            let settling: Vec<_> = self.members.iter().filter_map(|m| m.settle()).collect();
            settling.into_iter().for_each(|wait| wait(until));
            while crew.busy.load(Ordering::Acquire) > 0 && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
            let now = self.activity();
            calm = if now == last { calm + 1 } else { 0 };
            last = now;
            if calm >= 2 {
                let clients = crew.client_stirs.load(Ordering::Acquire);
                if clients == self.clients_at {
                    *self.vain = 0;
                    break;
                }
                self.clients_at = clients;
                calm = 0;
                std::thread::sleep(GRACE);
            }
            if Instant::now() >= until {
                *self.vain = self.vain.saturating_add(1);
                break;
            }
        }
        self.quiet_at = Some(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::clock::Clock;
    use parking_lot::Mutex;
    use std::task::{Wake, Waker};

    /// Acts at given times, and orders more.
    struct Agenda {
        clock: ManualClock,
        due: Mutex<Vec<i64>>,
        done: Mutex<Vec<(i64, i64)>>,
    }

    impl Timed for Agenda {
        fn due_in(&self) -> Option<i64> {
            let first = self.due.lock().iter().copied().min()?;
            Some((first - self.clock.now_us()).max(0))
        }

        fn act(&self) {
            let now = self.clock.now_us();
            let mut due = self.due.lock();
            let mut done = self.done.lock();
            done.extend(due.iter().filter(|at| **at <= now).map(|at| (*at, now)));
            due.retain(|at| *at > now);
            if now == 20 {
                // It follows from that, and is due on the way.
                due.push(25);
            }
        }
    }

    fn agenda(clock: &ManualClock, due: &[i64]) -> Arc<Agenda> {
        let agenda = Arc::new(Agenda {
            clock: clock.clone(),
            due: Mutex::new(due.to_vec()),
            done: Mutex::default(),
        });
        let weak: Weak<Agenda> = Arc::downgrade(&agenda);
        clock.follow(weak);
        agenda
    }

    #[test]
    fn everybody_acts_at_their_time_and_what_follows_from_that_too() {
        let clock = ManualClock::at_ms(0);
        let (one, two) = (agenda(&clock, &[30, 10, 41]), agenda(&clock, &[20]));
        clock.advance_us(40);
        assert_eq!(*one.done.lock(), [(10, 10), (30, 30)]);
        assert_eq!(*two.done.lock(), [(20, 20), (25, 25)]);
        clock.advance_us(1);
        assert_eq!(one.done.lock().last(), Some(&(41, 41)));
    }

    #[test]
    fn who_sets_the_clock_leaves_out_what_lies_between() {
        let clock = ManualClock::at_ms(0);
        let agenda = agenda(&clock, &[1000, 2000, 9000]);
        clock.set_ms(5);
        assert_eq!(*agenda.done.lock(), [(1000, 5000), (2000, 5000)]);
        clock.set_ms(1);
        clock.advance_ms(7);
        assert_eq!(agenda.done.lock().len(), 2);
        clock.advance_ms(1);
        assert_eq!(agenda.done.lock().last(), Some(&(9000, 9000)));
    }

    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_alarm_rings_at_its_time_and_whenever_the_clock_begins_to_run() {
        let clock = ManualClock::at_ms(0);
        let rung = Arc::new(Counts(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&rung));
        let alarm = clock.alarm(30, &waker);
        drop(clock.alarm(5, &waker));
        clock.advance_us(29);
        assert_eq!(rung.0.load(Ordering::Relaxed), 0);
        clock.thaw();
        clock.freeze();
        assert_eq!(rung.0.load(Ordering::Relaxed), 1);
        clock.advance_us(1);
        assert_eq!(rung.0.load(Ordering::Relaxed), 2);
        drop(alarm);
    }

    #[test]
    fn who_is_busy_is_waited_for() {
        let clock = ManualClock::at_ms(0);
        let busy = clock.busy();
        let began = Instant::now();
        let worker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(busy);
        });
        clock.advance_us(1);
        assert!(began.elapsed() >= Duration::from_millis(20));
        worker.join().unwrap();
    }

    /// Never done.
    struct Stuck;

    impl Timed for Stuck {
        fn due_in(&self) -> Option<i64> {
            Some(0)
        }
    }

    #[test]
    fn what_stays_due_does_not_hold_the_clock_up() {
        let clock = ManualClock::at_ms(0);
        let stuck = Arc::new(Stuck);
        let weak: Weak<Stuck> = Arc::downgrade(&stuck);
        clock.follow(weak);
        clock.advance_ms(500);
        assert_eq!(clock.now_ms(), 500);
    }

    /// Never at rest.
    struct Restless(AtomicU64);

    impl Timed for Restless {
        fn turns(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    #[test]
    fn who_never_rests_is_not_waited_for_for_ever() {
        let clock = ManualClock::at_ms(0);
        let restless = Arc::new(Restless(AtomicU64::new(0)));
        let weak: Weak<Restless> = Arc::downgrade(&restless);
        clock.follow(weak);
        let agenda = agenda(&clock, &[10_000, 20_000]);
        clock.advance_ms(30);
        assert_eq!(agenda.done.lock().len(), 2);
    }
}
