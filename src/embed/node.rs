//! The engine behind its one lock.
//!
//! Whoever wants something of the engine holds it for one batch of commands. Letting go does what the batch left
//! to do outside of the lock: clients with new output are woken, and the driver learns of an earlier deadline.
//!
//! A script that runs past its limit keeps the lock. [`Node::lock`] then fails with [`LockError::Busy`], and the
//! caller posts what it wants to the [`BusyGate`](crate::exec::busy::BusyGate), from where the script serves it.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use super::giving_back::{self, Ebb};
use super::pace::Pace;
use super::{ice, jobs};
use crate::engine::{Engine, Taken};
use crate::exec::busy::{BusyGate, BusyRequest};
use crate::exec::host::Alone;
use crate::exec::output::{Unsent, UnsentTotal};
use crate::exec::ticket::Ticket;
use crate::exec::{self, Action, Handler, HostBox, SessionId, SharedClock};
use crate::persist::aof::Log;
use crate::persist::aof::log::Order;
use crate::replication::gate::Gate;
use crate::resp::ReplyBuf;
use crate::service::faults::Rules;
use crate::spec::Registry;
use crate::util::clock::ManualClock;

/// How long to wait for the lock before looking whether a script is busy.
const PATIENCE: Duration = Duration::from_millis(5);

/// What a client's connection is woken by.
pub trait Wake: Send + Sync {
    /// There is output, or the connection must end. Called without the engine's lock, and more often than needed; it must
    /// not call the node.
    fn wake(&self);
}

/// What concerns the server as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The next deadline is earlier than it was.
    Deadline,
    /// There is another leader to follow, or none any more.
    Follow,
    /// The sentinel has orders.
    Sentinel,
    /// The server is to stop.
    Shutdown,
    /// A command panicked: the engine answers nobody any more.
    Failed,
}

/// Why the engine cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// A script runs past its limit.
    #[error("a script is running past its limit")]
    Busy,
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
}

/// What becomes of a request that was posted, or why it was not.
#[derive(Debug)]
pub enum Posted {
    /// The callback will be called.
    Yes,
    /// The script has ended: take the lock.
    TooLate,
}

/// A handle to the engine, shared by connections, clients and the driver.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

type Listener = Box<dyn Fn(Event) + Send + Sync>;

struct Inner {
    engine: Mutex<Engine>,
    unsent: UnsentTotal,
    gate: Arc<BusyGate>,
    /// What replies wait in front of until replicas have what they show.
    replicas: Arc<Gate>,
    clock: SharedClock,
    /// By slot of the session. A slot that was reused wakes a stranger, who finds nothing to do.
    wakers: RwLock<Vec<Option<Arc<dyn Wake>>>>,
    /// The deadline that the driver waits for, unix milliseconds; written under the engine's lock.
    driver_waits_for: AtomicI64,
    /// How often [`Node::tick`] was called.
    ticks: AtomicU64,
    /// What is used, as seen by ticks.
    ebb: Ebb,
    /// Asked by the clock, should that be moved.
    pace: OnceLock<Arc<Pace>>,
    stopped: AtomicBool,
    failed: AtomicBool,
    /// The process that it lives in.
    process: u32,
    /// What goes wrong on purpose, and the commands that it can be about.
    rules: Arc<Rules>,
    commands: &'static Registry<Handler>,
    /// Where whoever has the engine stand still waits for the end of that.
    ice: Mutex<()>,
    melted: Condvar,
    listener: RwLock<Option<Listener>>,
    /// Threads that work beside the clients.
    jobs: Mutex<Vec<JoinHandle<()>>>,
    /// The append-only log, if there is one.
    log: Mutex<Option<Arc<Log>>>,
}

impl Inner {
    /// Wakes clients that have output, or are to end.
    fn wake(&self, actions: &[Action]) {
        let wakers = self.wakers.read();
        let woken = actions.iter().filter_map(|action| match action {
            Action::Wake(sid) | Action::Close(sid) => wakers.get(sid.0)?.as_ref(),
            _ => None,
        });
        woken.for_each(|waker| waker.wake());
    }
}

/// A handle that keeps nothing alive.
pub(super) struct WeakNode(Weak<Inner>);

impl WeakNode {
    /// The node, if it is still there.
    pub(super) fn get(&self) -> Option<Node> {
        Some(Node {
            inner: self.0.upgrade()?,
        })
    }
}

/// The engine, held.
pub struct Held<'a> {
    node: &'a Node,
    engine: Option<MutexGuard<'a, Engine>>,
}

impl std::fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Node {
    /// Puts an engine behind a lock.
    pub fn new(mut engine: Engine) -> Self {
        let gate = engine.gate();
        let unsent = engine.state().sessions.unsent().clone();
        let sys = &engine.state().sys;
        let (replicas, clock) = (Arc::clone(sys.unconfirmed.gate()), sys.clock.clone());
        let (rules, commands) = (Arc::clone(&sys.faults.rules), sys.registry.own());
        let inner = Arc::new(Inner {
            engine: Mutex::new(engine),
            unsent,
            gate,
            replicas,
            clock,
            wakers: RwLock::default(),
            driver_waits_for: AtomicI64::new(i64::MIN),
            ticks: AtomicU64::new(0),
            ebb: Ebb::default(),
            pace: OnceLock::new(),
            stopped: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            process: std::process::id(),
            rules,
            commands,
            ice: Mutex::default(),
            melted: Condvar::new(),
            listener: RwLock::default(),
            jobs: Mutex::default(),
            log: Mutex::default(),
        });
        let weak = Arc::downgrade(&inner);
        inner.gate.on_wake(move |actions| {
            if let Some(inner) = weak.upgrade() {
                inner.wake(actions);
            }
        });
        let weak = Arc::downgrade(&inner);
        inner.replicas.on_earlier(move || {
            if let Some(inner) = weak.upgrade() {
                Node { inner }.tell(Event::Deadline);
            }
        });
        if let Some(clock) = inner.clock.0.manual() {
            let pace = Arc::new(Pace::new(WeakNode(Arc::downgrade(&inner)), clock));
            clock.follow(Pace::as_timed(&pace));
            // It is empty still.
            let _ = inner.pace.set(pace);
        }
        Self { inner }
    }

    /// The clock of the engine, if it is one that can be stopped and moved.
    pub fn clock(&self) -> Option<&ManualClock> {
        self.inner.clock.0.manual()
    }

    /// Gives the engine back. None if somebody else has the node as well.
    pub fn into_engine(self) -> Option<Engine> {
        Some(Arc::into_inner(self.inner)?.engine.into_inner())
    }

    /// Sets what is told of events. Called without the lock.
    pub fn on_event(&self, listener: impl Fn(Event) + Send + Sync + 'static) {
        *self.inner.listener.write() = Some(Box::new(listener));
    }

    /// Forgets what [`on_event`](Self::on_event) set.
    pub fn no_more_events(&self) {
        self.inner.listener.write().take();
    }

    /// See [`BusyGate`].
    pub fn gate(&self) -> &BusyGate {
        &self.inner.gate
    }

    /// Takes the engine, its clock just read.
    ///
    /// # Errors
    /// When a script is busy, or the server has stopped.
    #[inline]
    pub fn lock(&self) -> Result<Held<'_>, LockError> {
        let mut engine = self.lock_as_it_is()?;
        engine.refresh_time();
        Ok(Held {
            node: self,
            engine: Some(engine),
        })
    }

    /// Moves what waits for a client to `out`, and the next piece of the stream if it is a replica and there is `room`.
    /// Nothing follows from that, so this is cheaper than to hold the engine.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn take_output(
        &self,
        sid: SessionId,
        out: &mut ReplyBuf,
        room: bool,
    ) -> Result<Taken, LockError> {
        Ok(self.lock_as_it_is()?.take(sid, out, room))
    }

    #[inline]
    fn lock_as_it_is(&self) -> Result<MutexGuard<'_, Engine>, LockError> {
        let engine = match self.inner.engine.try_lock() {
            Some(engine) => engine,
            None => self.lock_slowly()?,
        };
        if self.inner.stopped.load(Ordering::Relaxed) {
            return Err(LockError::Stopped);
        }
        Ok(engine)
    }

    #[cold]
    fn lock_slowly(&self) -> Result<MutexGuard<'_, Engine>, LockError> {
        loop {
            if self.is_stopped() || !self.is_here() {
                return Err(LockError::Stopped);
            }
            if self.inner.gate.is_shut() {
                return Err(LockError::Busy);
            }
            if let Some(engine) = self.inner.engine.try_lock_for(PATIENCE) {
                return Ok(engine);
            }
        }
    }

    /// Tells the engine what a further connection holds of its client's output.
    pub fn unsent(&self) -> Unsent {
        self.inner.unsent.connection()
    }

    /// Posts something to the script that is busy.
    pub fn post(&self, request: BusyRequest) -> Posted {
        match self.inner.gate.post(request) {
            Ok(()) => Posted::Yes,
            Err(_) => Posted::TooLate,
        }
    }

    /// Whether the server has stopped.
    pub fn is_stopped(&self) -> bool {
        self.inner.stopped.load(Ordering::Acquire)
    }

    /// Whether this is the process that it was made in, and not a copy that was forked from that: who had the engine then
    /// does not exist there.
    pub(crate) fn is_here(&self) -> bool {
        self.inner.process == std::process::id()
    }

    /// Whether it stopped because a command panicked.
    pub fn has_failed(&self) -> bool {
        self.inner.failed.load(Ordering::Acquire)
    }

    /// Stops: the engine cannot be had any more, a running script ends, and every connection is woken.
    pub fn stop(&self) {
        self.inner.stopped.store(true, Ordering::Release);
        self.melt();
        self.inner.gate.stop();
        let wakers: Vec<_> = self.inner.wakers.read().iter().flatten().cloned().collect();
        wakers.iter().for_each(|waker| waker.wake());
    }

    /// What goes wrong here on purpose.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.inner.rules
    }

    /// The commands of the engine, under their own names.
    pub fn commands(&self) -> &'static Registry<Handler> {
        self.inner.commands
    }

    /// Waits until it is over, or the time is, or the node has stopped: for whoever has the engine and gives it to nobody.
    pub(super) fn stand_still(&self, over: &AtomicBool, until: Option<Instant>) {
        let mut ice = self.inner.ice.lock();
        while !over.load(Ordering::Acquire) && !self.is_stopped() {
            match until {
                None => self.inner.melted.wait(&mut ice),
                Some(until) if self.inner.melted.wait_until(&mut ice, until).timed_out() => return,
                Some(_) => {}
            }
        }
    }

    /// Whoever stands still looks whether that is over.
    pub(super) fn melt(&self) {
        let _ice = self.inner.ice.lock();
        self.inner.melted.notify_all();
    }

    /// Parts the engine from its surroundings, which the server takes with it when it ends: clients may keep the
    /// engine for longer.
    pub fn leave_surroundings(&self) {
        if !self.has_failed()
            && let Some(mut engine) = self.inner.engine.try_lock_for(PATIENCE)
        {
            engine.state().sys.host = HostBox(Box::new(Alone));
        }
    }

    /// Remembers how to wake a client.
    pub fn set_waker(&self, sid: SessionId, waker: Arc<dyn Wake>) {
        let mut wakers = self.inner.wakers.write();
        if wakers.len() <= sid.0 {
            wakers.resize(sid.0 + 1, None);
        }
        if let Some(slot) = wakers.get_mut(sid.0) {
            *slot = Some(waker);
        }
    }

    /// Forgets how to wake a client. To be called before its slot is freed.
    fn clear_waker(&self, sid: SessionId) {
        if let Some(slot) = self.inner.wakers.write().get_mut(sid.0) {
            *slot = None;
        }
    }

    /// A client is gone.
    pub fn disconnect(&self, sid: SessionId) {
        self.clear_waker(sid);
        loop {
            match self.lock() {
                Ok(mut engine) => return engine.disconnect(sid),
                Err(LockError::Stopped) => return,
                Err(LockError::Busy) => {
                    if let Posted::Yes = self.post(BusyRequest::Disconnect(sid)) {
                        return;
                    }
                }
            }
        }
    }

    /// Does what is due and says for how long nothing will be: none where it is for ever, or until somebody moves the clock,
    /// which stands. An earlier deadline that comes up meanwhile is told as [`Event::Deadline`], and so is it when the clock
    /// begins to run, or is set.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn tick(&self) -> Result<Option<Duration>, LockError> {
        let mut engine = self.lock().inspect_err(|_| {
            // A busy script does not keep anybody waiting for replicas for longer.
            self.inner.replicas.tick(self.inner.clock.0.now_ms());
            self.inner.replicas.wake();
        })?;
        Ok(self.tick_held(&mut engine))
    }

    /// The same if nobody else has the engine; none if somebody has.
    pub(super) fn try_tick(&self) -> Option<Option<Duration>> {
        let mut engine = self.try_hold()?;
        engine.refresh_time();
        Some(self.tick_held(&mut engine))
    }

    /// The engine, unless somebody else has it for long.
    fn try_hold(&self) -> Option<Held<'_>> {
        let engine = self.inner.engine.try_lock_for(PATIENCE)?;
        if self.is_stopped() {
            return None;
        }
        Some(Held {
            node: self,
            engine: Some(engine),
        })
    }

    fn tick_held(&self, engine: &mut Held<'_>) -> Option<Duration> {
        self.inner.ticks.fetch_add(1, Ordering::Relaxed);
        engine.tick();
        if self.inner.ebb.is_low(engine.state().used_memory()) {
            self.spawn("redkeep-free", giving_back::give_back);
        }
        let next = engine.next_deadline();
        // Set while the lock is held, so that no deadline slips between.
        self.inner
            .driver_waits_for
            .store(next.unwrap_or(i64::MAX), Ordering::Relaxed);
        let now_us = engine.state().sys.now_us;
        let wait = next.map(|at| {
            let wait = at.saturating_mul(1000).saturating_sub(now_us);
            Duration::from_micros(u64::try_from(wait).unwrap_or(0))
        });
        let stands = self.clock().is_some_and(ManualClock::stands);
        wait.filter(|wait| wait.is_zero() || !stands)
    }

    /// The moment that the engine waits for, in unix milliseconds; in the past if something is to be looked at.
    pub(super) fn waits_for(&self) -> i64 {
        self.inner.driver_waits_for.load(Ordering::Relaxed)
    }

    /// How often somebody has done something with the engine; none while it cannot be had. Ticks do not count.
    pub(super) fn turns(&self) -> Option<u64> {
        let mut engine = self.inner.engine.try_lock_for(PATIENCE)?;
        let turns = engine.state().sys.stats.turns.count;
        Some(turns.wrapping_sub(self.inner.ticks.load(Ordering::Relaxed)))
    }

    /// Whether the engine can be had.
    pub(super) fn is_free(&self) -> bool {
        self.inner.engine.try_lock().is_some()
    }

    /// The append-only log, if there is one.
    pub(super) fn log(&self) -> Option<Arc<Log>> {
        self.inner.log.lock().clone()
    }

    /// The clock has begun to run, or was set.
    pub(super) fn time_changed(&self) {
        self.tell(Event::Deadline);
    }

    /// Does something on a thread of its own, which ends when the server does.
    pub(crate) fn spawn(&self, name: &str, work: impl FnOnce(&Node) + Send + 'static) {
        let node = self.clone();
        let thread = std::thread::Builder::new().name(name.into());
        let mut jobs = self.inner.jobs.lock();
        jobs.retain(|job| !job.is_finished());
        match thread.spawn(move || work(&node)) {
            Ok(job) => jobs.push(job),
            Err(e) => tracing::error!("No thread for {name}: {e}"),
        }
    }

    /// Writes a log on a thread of its own, which ends when the log is closed.
    fn write_log(&self, log: Arc<Log>, last: Option<Arc<Log>>) {
        self.listen_to(&log);
        self.spawn("redkeep-aof", move |node| {
            jobs::write_log(node, &log, last.as_deref());
        });
    }

    /// The engine hears of the log's news.
    pub(super) fn listen_to(&self, log: &Arc<Log>) {
        let weak = Arc::downgrade(&self.inner);
        log.on_news(move || {
            if let Some(inner) = weak.upgrade() {
                Node { inner }.tell(Event::Deadline);
            }
        });
        *self.inner.log.lock() = Some(Arc::clone(log));
    }

    /// Ends the append-only log. Whoever has the engine now is waited for: nobody gets it any more.
    fn close_log(&self) {
        if !self.has_failed() {
            let mut engine = self.inner.engine.lock();
            exec::persist::log::close(engine.state());
        }
        // What a panic has left: nothing more is to be written.
        if let Some(log) = self.inner.log.lock().take() {
            log.order(Order::Close);
        }
    }

    /// Waits until what works beside the clients has ended: to be called when the server has stopped.
    pub fn join_jobs(&self) {
        self.close_log();
        let jobs = std::mem::take(&mut *self.inner.jobs.lock());
        for job in jobs {
            // It panics only when the engine did, and then everybody knows.
            let _ = job.join();
        }
    }

    fn tell(&self, event: Event) {
        if let Some(listener) = self.inner.listener.read().as_ref() {
            listener(event);
        }
    }

    #[cold]
    fn act(&self, actions: Vec<Action>) {
        if let Some(clock) = self.clock() {
            match actions.iter().any(|a| matches!(a, Action::Wake(_))) {
                true => clock.stir_clients(),
                false => clock.stir(),
            }
        }
        self.inner.wake(&actions);
        for action in actions {
            match action {
                Action::Wake(_) | Action::Close(_) => {}
                Action::Save { id, start } => {
                    let busy = self.clock().map(ManualClock::busy);
                    self.spawn("redkeep-save", move |node| {
                        jobs::save(node, id, start);
                        drop(busy);
                    });
                }
                Action::Log { log, last } => self.write_log(log, last),
                Action::Follow => self.tell(Event::Follow),
                Action::Sentinel => self.tell(Event::Sentinel),
                Action::Clock { client, to } => {
                    self.spawn("redkeep-clock", move |node| jobs::shift(node, client, to));
                }
                Action::Shutdown => self.tell(Event::Shutdown),
                Action::Freeze(time) => {
                    self.spawn("redkeep-ice", move |node| ice::freeze(node, time));
                }
                Action::Reconfigure(_) => {}
            }
        }
    }
}

impl Deref for Held<'_> {
    type Target = Engine;

    #[expect(clippy::expect_used, reason = "only Drop takes the guard")]
    fn deref(&self) -> &Engine {
        self.engine.as_ref().expect("held until dropped")
    }
}

impl DerefMut for Held<'_> {
    #[expect(clippy::expect_used, reason = "only Drop takes the guard")]
    fn deref_mut(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("held until dropped")
    }
}

impl Held<'_> {
    /// Lets go, as dropping does; gives what must be reached before anybody is answered who has seen what was done.
    pub fn release(mut self) -> Option<Ticket> {
        self.end()
    }

    fn end(&mut self) -> Option<Ticket> {
        let mut engine = self.engine.take()?;
        if std::thread::panicking() {
            // Half of a unit may be done: nothing may be read or acknowledged any more.
            drop(engine);
            // Nobody will serve what was posted.
            drop(self.node.inner.gate.open());
            self.node.inner.failed.store(true, Ordering::Release);
            self.node.stop();
            self.node.tell(Event::Failed);
            return None;
        }
        let ticket = engine.settle();
        let actions = engine.take_actions();
        let garbage = engine.take_garbage();
        if actions.contains(&Action::Shutdown) {
            // Under the lock still: what comes after the end would be acknowledged, and lost.
            self.node.inner.stopped.store(true, Ordering::Release);
        }
        let waits_for = &self.node.inner.driver_waits_for;
        let earlier = engine
            .next_deadline()
            .is_some_and(|next| next < waits_for.load(Ordering::Relaxed));
        if earlier {
            // Told once: until the driver has looked, everything is later than this.
            waits_for.store(i64::MIN, Ordering::Relaxed);
        }
        drop(engine);
        if self.node.inner.replicas.wake()
            && let Some(clock) = self.node.clock()
        {
            clock.stir_clients();
        }
        giving_back::part_with(self.node, garbage);
        if !actions.is_empty() {
            self.node.act(actions);
        }
        if earlier {
            self.node.tell(Event::Deadline);
        }
        ticket
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
