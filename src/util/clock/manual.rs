//! A clock that can be stopped, set and moved.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::alarms::{Alarm, Alarms};
use super::moving::{Busy, Crew, Timed};
use super::{Clock, LAST_MS, Ms, Reading, system_us};

/// A hand that goes as the machine's clock does.
const RUNS: i64 = i64::MIN;

/// No hand stands beyond this, on either side, in microseconds.
const MOST: i64 = LAST_MS * 1000;

/// A clock that can be stopped, set and moved. Clones share one time, and so may several servers.
///
/// While it runs, it goes as the machine's clock does, ahead of it or behind it by as much as it was moved. Once frozen it
/// stands until it is moved; when it is let go again it goes on from where it stands, so that the time between has not
/// been: nothing expires because of it.
///
/// ```
/// use std::time::Duration;
/// use redkeep::util::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::at_ms(1_000);
/// clock.advance(Duration::from_secs(30));
/// assert_eq!(clock.now_ms(), 31_000);
///
/// let clock = ManualClock::running();
/// clock.freeze();
/// let stands = clock.now();
/// std::thread::sleep(Duration::from_millis(2));
/// assert_eq!(clock.now(), stands);
/// clock.thaw();
/// assert!(clock.now().duration_since(stands)? < Duration::from_secs(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ManualClock {
    time: Arc<Time>,
}

/// What clones of a clock share.
pub(super) struct Time {
    face: Face,
    control: Mutex<Control>,
    /// Held by whoever moves the clock: how often it was waited for quiet in vain since it was quiet last.
    pub(super) mover: Mutex<u32>,
    pub(super) alarms: Alarms,
    pub(super) crew: Crew,
}

/// What is looked at, again and again, and hardly ever changes: a cache line of its own.
#[repr(align(64))]
struct Face {
    day: Hand,
    steady: Hand,
    /// When the machine's steady time was 0.
    origin: Instant,
}

/// One of the times.
struct Hand {
    /// Where it stands, in microseconds; [`RUNS`] while it runs.
    still: AtomicI64,
    /// How far it is ahead of the machine's while it runs.
    ahead: AtomicI64,
}

impl Hand {
    const fn at(still: i64) -> Self {
        Self {
            still: AtomicI64::new(still),
            ahead: AtomicI64::new(0),
        }
    }

    #[inline]
    fn read(&self, machine: impl FnOnce() -> i64) -> i64 {
        match self.still.load(Ordering::Acquire) {
            // Neither is beyond MOST by far.
            RUNS => machine().wrapping_add(self.ahead.load(Ordering::Acquire)),
            still => still,
        }
    }

    fn stop(&self, machine: i64) {
        self.stand(self.read(|| machine));
    }

    fn start(&self, machine: i64) {
        let ahead = self.read(|| machine).saturating_sub(machine);
        self.ahead.store(ahead, Ordering::Release);
        self.still.store(RUNS, Ordering::Release);
    }

    fn set(&self, to: i64, machine: i64) {
        match self.still.load(Ordering::Acquire) {
            RUNS => {
                let ahead = to.clamp(-MOST, MOST).saturating_sub(machine);
                self.ahead.store(ahead, Ordering::Release);
            }
            _ => self.stand(to),
        }
    }

    fn stand(&self, at: i64) {
        self.still.store(at.clamp(-MOST, MOST), Ordering::Release);
    }
}

/// What the clock is to do.
struct Control {
    runs: bool,
    /// It is being moved, and stands meanwhile.
    moves: bool,
}

impl Time {
    fn steady_machine_us(&self) -> i64 {
        i64::try_from(self.face.origin.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    pub(super) fn steady_us(&self) -> i64 {
        self.face.steady.read(|| self.steady_machine_us())
    }

    fn stop(&self) {
        self.face.day.stop(system_us());
        self.face.steady.stop(self.steady_machine_us());
    }

    fn start(&self) {
        self.face.day.start(system_us());
        self.face.steady.start(self.steady_machine_us());
    }

    /// Changes what the clock is to do, and has it do that.
    fn control(&self, change: impl FnOnce(&mut Control)) {
        let (stood, stands) = {
            let mut control = self.control.lock();
            let stood = control.moves || !control.runs;
            change(&mut control);
            let stands = control.moves || !control.runs;
            match (stood, stands) {
                (false, true) => self.stop(),
                (true, false) => self.start(),
                _ => {}
            }
            (stood, stands)
        };
        if stood && !stands {
            self.changed();
        }
    }

    /// It stands while it is moved.
    pub(super) fn set_moving(&self, moves: bool) {
        self.control(|control| control.moves = moves);
    }

    /// Moves both hands of a clock that stands.
    pub(super) fn step(&self, us: i64) {
        let _control = self.control.lock();
        for hand in [&self.face.steady, &self.face.day] {
            let at = hand.still.load(Ordering::Acquire);
            hand.stand(at.saturating_add(us));
        }
    }

    /// Whoever waits has to look again.
    fn changed(&self) {
        self.alarms.wake_all();
        self.crew.changed();
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("now_ms", &self.now_ms())
            .field("frozen", &self.is_frozen())
            .finish_non_exhaustive()
    }
}

impl Default for ManualClock {
    /// A clock that stands at the epoch.
    fn default() -> Self {
        Self::at_ms(0)
    }
}

impl ManualClock {
    fn new(face: Face, runs: bool) -> Self {
        Self {
            time: Arc::new(Time {
                face,
                control: Mutex::new(Control { runs, moves: false }),
                mover: Mutex::default(),
                alarms: Alarms::default(),
                crew: Crew::default(),
            }),
        }
    }

    /// A clock that stands at `unix_ms`.
    pub fn at_ms(unix_ms: Ms) -> Self {
        let face = Face {
            day: Hand::at(unix_ms.saturating_mul(1000).clamp(-MOST, MOST)),
            steady: Hand::at(0),
            origin: Instant::now(),
        };
        Self::new(face, false)
    }

    /// A clock that runs as the machine's does, until it is [frozen](Self::freeze).
    pub fn running() -> Self {
        let face = Face {
            day: Hand::at(RUNS),
            steady: Hand::at(RUNS),
            origin: Instant::now(),
        };
        Self::new(face, true)
    }

    /// A clock that stands at the machine's time.
    pub fn frozen() -> Self {
        let clock = Self::running();
        clock.freeze();
        clock
    }

    /// What time it is.
    pub fn now(&self) -> SystemTime {
        let us = self.now_us();
        let distance = Duration::from_micros(us.unsigned_abs());
        let now = match us {
            0.. => UNIX_EPOCH.checked_add(distance),
            _ => UNIX_EPOCH.checked_sub(distance),
        };
        now.unwrap_or(UNIX_EPOCH)
    }

    /// Stops the clock. It stands until it is moved or let go.
    pub fn freeze(&self) {
        self.time.control(|control| control.runs = false);
    }

    /// Lets the clock run, from where it stands: the time that it stood has not been.
    pub fn thaw(&self) {
        self.time.control(|control| control.runs = true);
    }

    /// Whether it stands until somebody moves it.
    pub fn is_frozen(&self) -> bool {
        !self.time.control.lock().runs
    }

    /// Whether it stands now: because it is frozen, or because somebody is moving it.
    #[inline]
    pub fn stands(&self) -> bool {
        self.time.face.day.still.load(Ordering::Acquire) != RUNS
    }

    /// Moves the time forward. Everything that comes due on the way is done in its order and at its time, with all that
    /// follows from it, before the clock moves on: see [`advance_while`](Self::advance_while).
    pub fn advance(&self, by: Duration) {
        self.advance_while(by, || true);
    }

    /// The same in milliseconds; a negative step counts as none.
    pub fn advance_ms(&self, ms: i64) {
        self.advance_us(ms.saturating_mul(1000));
    }

    /// The same in microseconds; a negative step counts as none.
    pub fn advance_us(&self, us: i64) {
        self.advance(Duration::from_micros(us.max(0).unsigned_abs()));
    }

    /// Sets the time of day, forwards or backwards, as an operator does who sets the clock of a machine: what is due at the
    /// new time is done then, all of it at that time, before this returns. Steady time does not change.
    pub fn set(&self, to: SystemTime) {
        let us = |distance: Duration| i64::try_from(distance.as_micros()).unwrap_or(i64::MAX);
        self.set_us(match to.duration_since(UNIX_EPOCH) {
            Ok(since) => us(since),
            Err(before) => -us(before.duration()),
        });
    }

    /// The same, in milliseconds since the Unix epoch.
    pub fn set_ms(&self, unix_ms: Ms) {
        self.set_us(unix_ms.saturating_mul(1000));
    }

    fn set_us(&self, unix_us: i64) {
        {
            let _control = self.time.control.lock();
            self.time.face.day.set(unix_us, system_us());
        }
        self.time.changed();
        self.rest();
    }

    /// Steady time in microseconds: it goes on as the clock does and is nobody's to set.
    pub fn steady_us(&self) -> i64 {
        self.time.steady_us()
    }

    /// Wakes somebody when steady time is moved to `steady_us` or past it, and whenever the clock begins to run: whoever
    /// waits while it runs has to wait for real time as well.
    pub fn alarm(&self, steady_us: i64, waker: &Waker) -> Alarm {
        Alarm::new(Arc::clone(&self.time), steady_us, waker)
    }

    /// Has somebody who acts by the clock asked whenever it is moved, for as long as there is somebody.
    pub fn follow(&self, who: Weak<dyn Timed>) {
        self.time.crew.join(who);
    }

    /// Something has happened that others may react to: whoever moves the clock waits for that.
    pub fn stir(&self) {
        self.time.crew.stir();
    }

    /// The same, where it is a client that may react.
    pub fn stir_clients(&self) {
        self.time.crew.stir_clients();
    }

    /// Somebody is at work, where nobody sees that: whoever moves the clock waits until this is dropped.
    pub fn busy(&self) -> Busy {
        Busy::new(Arc::clone(&self.time))
    }

    pub(super) const fn time(&self) -> &Arc<Time> {
        &self.time
    }
}

impl Clock for ManualClock {
    fn read(&self) -> Reading {
        let real_us = system_us();
        Reading {
            now_us: self.time.face.day.read(|| real_us),
            real_us,
        }
    }

    fn now_us(&self) -> i64 {
        self.time.face.day.read(system_us)
    }

    fn real_us(&self) -> i64 {
        system_us()
    }

    fn manual(&self) -> Option<&ManualClock> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_clones_share_it() {
        let clock = ManualClock::at_ms(1_000);
        let twin = clock.clone();
        assert_eq!((twin.now_ms(), twin.steady_us()), (1_000, 0));
        clock.advance_ms(5);
        assert_eq!((twin.now_us(), twin.steady_us()), (1_005_000, 5_000));
        clock.advance_ms(-5);
        clock.set_ms(3);
        assert_eq!((twin.now_ms(), twin.steady_us()), (3, 5_000));
        clock.set(UNIX_EPOCH - Duration::from_millis(4));
        assert_eq!(twin.now_ms(), -4);
        assert_eq!(twin.now(), UNIX_EPOCH - Duration::from_millis(4));
    }

    #[test]
    fn milliseconds_round_down_also_before_the_epoch() {
        let clock = ManualClock::default();
        clock.advance_us(1_999);
        assert_eq!(clock.now_ms(), 1);
        clock.set_ms(-1);
        clock.advance_us(1);
        assert_eq!(clock.now_ms(), -1);
    }

    #[test]
    fn no_time_has_been_while_a_clock_stood() {
        let clock = ManualClock::running();
        assert!(!clock.is_frozen() && !clock.stands());
        clock.advance(Duration::from_secs(3600));
        let ahead = clock.now_us() - system_us();
        assert!((3_599_000_000..3_660_000_000).contains(&ahead), "{ahead}");
        clock.freeze();
        let (stood, real) = (clock.now_us(), clock.real_us());
        while clock.real_us() - real < 2_000 {}
        assert_eq!(clock.now_us(), stood);
        assert!(clock.is_frozen() && clock.stands());
        clock.thaw();
        let behind = clock.now_us() - system_us();
        // Each is the difference of two looks, and each look is cut off at a whole microsecond.
        assert!(behind <= ahead - 1_990, "{behind} {ahead}");
        let steady = clock.steady_us();
        while clock.steady_us() == steady {}
    }

    #[test]
    fn real_time_goes_on_whatever_the_clock_says() {
        let clock = ManualClock::at_ms(7);
        let real = clock.read().real_us;
        while clock.read().real_us == real {}
        assert_eq!(clock.read().now_us, 7_000);
    }

    #[test]
    fn the_ends_of_time_are_no_end_of_the_clock() {
        let clock = ManualClock::at_ms(i64::MIN);
        assert!(clock.stands());
        assert_eq!(clock.now_ms(), -LAST_MS);
        clock.set_ms(i64::MAX);
        clock.advance(Duration::MAX);
        assert_eq!((clock.now_ms(), clock.steady_us()), (LAST_MS, MOST));
        clock.thaw();
        clock.freeze();
        assert_eq!(clock.now_ms(), LAST_MS);
    }
}
