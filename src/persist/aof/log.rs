//! The log between the engine, which adds to it, and the one [`Writer`](super::Writer), which brings it to the disk.
//!
//! Positions count the bytes of all commands that were ever added, whatever file they go to. A [`Ticket`] is for a
//! position that must be reached before somebody may be answered.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::util::waiting::{Confirmed, Reached};

/// A batch takes no more commands once it is this large.
const BATCH: usize = 1 << 20;

/// Adding more waits for the disk while this much waits for it.
const BACKLOG: u64 = 64 << 20;

/// What comes within this time is written at once, where nobody waits for it.
const LINGER: Duration = Duration::from_millis(1);

/// But no more than this.
const LINGER_BYTES: usize = 256 << 10;

/// Others are waited for no longer than this, however long a sync takes.
const GATHER_MOST: Duration = Duration::from_millis(20);

/// When what is written has to be on the disk (`appendfsync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// When the system pleases.
    No,
    /// Within a second.
    EverySecond,
    /// Before anybody is answered.
    Always,
}

/// What the writer is to do, in order.
#[derive(Debug)]
pub enum Order {
    /// To write commands.
    Bytes(Vec<u8>),
    /// To see that what was written is on the disk.
    Sync,
    /// To go on in a new file, begun at this time (unix seconds): a new base is being written that holds everything
    /// before.
    Cut {
        /// The rewrite.
        id: u64,
        /// The time.
        time: i64,
    },
    /// To put that base in its place: it is in the directory under this temporary name, as RDB or as commands.
    Rebase {
        /// The cut that it was made at.
        id: u64,
        /// Its name until then.
        temporary: String,
        /// It is an RDB file.
        rdb: bool,
    },
    /// To remove what is no longer needed.
    Clean,
    /// To say how far it has come.
    Look,
    /// To try again to write what could not be written.
    Retry,
    /// To write and sync everything, also what could not be written, and to say whether that was done.
    Flush(SyncSender<bool>),
    /// To do the same and end.
    Close,
}

/// What the writer tells the engine.
#[derive(Debug)]
pub enum News {
    /// What was ordered for the rewrite with this number came to this.
    Cut(u64, Result<(), String>),
    /// The same of its base.
    Rebased(u64, Result<(), String>),
    /// Something took so many microseconds.
    Took(&'static str, u64),
    /// A position was reached that somebody waits for.
    Synced,
    /// Nothing reaches the disk any more, for this reason; or it does again.
    Trouble(Option<Trouble>),
    /// There is nobody who writes, for this reason.
    Refused(String),
}

/// Why nothing reaches the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What the system says.
    pub why: String,
    /// Nobody knows what of the file is on the disk: only a new base can help.
    pub lost: bool,
}

type Tell = Box<dyn Fn() + Send + Sync>;

/// The log.
pub struct Log {
    queue: Mutex<Queue>,
    /// The writer waits here for something to do.
    work: Condvar,
    start: u64,
    appended: AtomicU64,
    written: AtomicU64,
    synced: AtomicU64,
    troubled: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
    policy: AtomicU8,
    /// Spikes of so many milliseconds are told; 0 is none.
    spikes: AtomicU64,
    /// Microseconds to wait before anything is written.
    delay: AtomicU64,
    waiting: Mutex<Vec<(Ticket, Arc<dyn Confirmed>)>>,
    /// How many waited when some of them were told last.
    crowd: AtomicUsize,
    /// The writer waits until there are so many again; 0 while it does not.
    gathers: AtomicUsize,
    /// Microseconds that the last sync took that somebody waited for.
    sync_took: AtomicU64,
    /// Threads wait here for a position.
    progress: Condvar,
    news: Mutex<Vec<News>>,
    has_news: AtomicBool,
    /// Somebody wants to hear of each position that is synced.
    listened: AtomicBool,
    keeps_history: AtomicBool,
    tell: Mutex<Option<Tell>>,
    delayed: AtomicU64,
    size: AtomicU64,
    base_size: AtomicU64,
}

/// Two are the same if they are one.
impl PartialEq for Log {
    fn eq(&self, other: &Log) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Log {}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("appended", &self.appended)
            .field("written", &self.written)
            .field("synced", &self.synced)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Queue {
    orders: VecDeque<Order>,
    bytes: usize,
    /// Something in it is waited for.
    urgent: bool,
    waits: Waits,
    stage: Stage,
    /// An empty buffer, to be used again.
    spare: Vec<u8>,
}

/// Whether somebody takes out of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not yet.
    #[default]
    New,
    /// There is somebody, or will be without further ado.
    Served,
    /// No more.
    Ended,
}

/// What the writer waits for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// It does not wait.
    #[default]
    No,
    /// For anything.
    Idle,
    /// For more to come.
    Lingers,
    /// For others who will wait for the same sync.
    Gathers,
}

impl Queue {
    fn push(&mut self, order: Order, work: &Condvar) {
        if self.stage == Stage::Ended {
            // Whoever waits for an answer learns that there is none.
            return;
        }
        self.urgent = true;
        self.orders.push_back(order);
        if self.waits != Waits::No {
            work.notify_one();
        }
    }
}

impl Log {
    /// An empty log.
    pub fn new(policy: Policy) -> Log {
        Log::behind(0, policy)
    }

    /// An empty log whose positions go on behind those of another one, which was closed at this position.
    pub fn behind(position: u64, policy: Policy) -> Log {
        Log {
            start: position,
            queue: Mutex::default(),
            work: Condvar::new(),
            appended: AtomicU64::new(position),
            written: AtomicU64::new(position),
            synced: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            trouble: Mutex::default(),
            policy: AtomicU8::new(policy as u8),
            spikes: AtomicU64::new(0),
            delay: AtomicU64::new(0),
            waiting: Mutex::default(),
            crowd: AtomicUsize::new(0),
            gathers: AtomicUsize::new(0),
            sync_took: AtomicU64::new(0),
            progress: Condvar::new(),
            news: Mutex::default(),
            has_news: AtomicBool::new(false),
            listened: AtomicBool::new(false),
            keeps_history: AtomicBool::new(true),
            tell: Mutex::default(),
            delayed: AtomicU64::new(0),
            size: AtomicU64::new(0),
            base_size: AtomicU64::new(0),
        }
    }

    /// Sets what is called, on the writer's thread, when there is news for the engine. It must not wait for the engine.
    pub fn on_news(&self, tell: impl Fn() + Send + Sync + 'static) {
        *self.tell.lock() = Some(Box::new(tell));
    }

    /// When bytes have to be on the disk.
    pub fn set_policy(&self, policy: Policy) {
        let last = self.policy.swap(policy as u8, Ordering::Relaxed);
        if policy == Policy::Always && last != policy as u8 {
            // What was written before is waited for as well from now on.
            self.order(Order::Sync);
        }
    }

    pub(super) fn policy(&self) -> Policy {
        match self.policy.load(Ordering::Relaxed) {
            0 => Policy::No,
            1 => Policy::EverySecond,
            _ => Policy::Always,
        }
    }

    /// What takes so many milliseconds is told; 0 is nothing.
    pub fn watch_spikes(&self, milliseconds: u64) {
        self.spikes.store(milliseconds, Ordering::Relaxed);
    }

    /// Whether somebody wants to hear ([`News::Synced`]) of each position that is synced.
    pub fn listen(&self, on: bool) {
        self.listened.store(on, Ordering::SeqCst);
    }

    /// Whoever writes waits for so many microseconds before: for tests.
    pub fn set_delay(&self, microseconds: u64) {
        self.delay.store(microseconds, Ordering::Relaxed);
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_micros(self.delay.load(Ordering::Relaxed))
    }

    /// Whether files that are no longer needed are kept. If they no longer are, those that there are go.
    pub fn keep_history(&self, on: bool) {
        if self.keeps_history.swap(on, Ordering::Relaxed) && !on {
            self.order(Order::Clean);
        }
    }

    /// Whether they are.
    pub fn keeps_history(&self) -> bool {
        self.keeps_history.load(Ordering::Relaxed)
    }

    /// Nobody will write this log.
    pub fn refuse(&self, why: &str) {
        self.end();
        self.tell(News::Refused(why.to_owned()));
    }

    /// From now on somebody writes this log, whatever the engine does.
    pub fn begin(&self) {
        let mut queue = self.queue.lock();
        if queue.stage == Stage::New {
            queue.stage = Stage::Served;
        }
    }

    /// Nobody writes this log any more.
    pub(super) fn end(&self) {
        let mut queue = self.queue.lock();
        queue.stage = Stage::Ended;
        queue.orders.clear();
        self.work.notify_all();
    }

    /// Waits until nobody writes a log any more that was closed. The engine must not be held.
    pub fn wait_for_end(&self) {
        let mut queue = self.queue.lock();
        while queue.stage != Stage::Ended {
            self.work.wait(&mut queue);
        }
    }

    /// Waits until nobody writes a log that was closed. Who is to write it and has not [begun](Self::begin) finds what
    /// others do meanwhile. The engine may be held.
    pub fn wait_for_writer(&self) {
        let mut queue = self.queue.lock();
        while queue.stage == Stage::Served {
            self.work.wait(&mut queue);
        }
    }

    /// Adds commands. To be called in the order in which they took effect: under the engine's lock.
    pub fn append(&self, commands: &[u8]) {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        queue.bytes += commands.len();
        match queue.orders.back_mut() {
            Some(Order::Bytes(batch)) if batch.len() < BATCH => batch.extend_from_slice(commands),
            _ => {
                let mut batch = std::mem::take(&mut queue.spare);
                batch.extend_from_slice(commands);
                queue.orders.push_back(Order::Bytes(batch));
            }
        }
        let waited_for = match queue.waits {
            Waits::No | Waits::Gathers => false,
            Waits::Idle => true,
            Waits::Lingers => queue.bytes >= LINGER_BYTES,
        };
        self.appended
            .fetch_add(commands.len() as u64, Ordering::Release);
        if waited_for {
            self.work.notify_one();
        }
    }

    /// Orders something beside the commands.
    pub fn order(&self, order: Order) {
        self.queue.lock().push(order, &self.work);
    }

    /// Where it begins.
    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    /// The position behind all commands that were added.
    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    /// The position up to which everything is on the disk.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Bytes that wait to be written.
    pub fn unwritten(&self) -> u64 {
        let written = self.written.load(Ordering::Acquire);
        self.appended().saturating_sub(written)
    }

    /// How many syncs took so long that what came meanwhile was more than a second late.
    pub fn delayed_syncs(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }

    /// Counts them anew.
    pub fn forget_delayed_syncs(&self) {
        self.delayed.store(0, Ordering::Relaxed);
    }

    pub(super) fn sync_was_delayed(&self) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of the log's files.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Bytes of them when they were rewritten last, or loaded.
    pub fn base_size(&self) -> u64 {
        self.base_size.load(Ordering::Relaxed)
    }

    /// Whether nothing reaches the disk.
    #[inline]
    pub fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    /// Why nothing reaches the disk, if nothing does.
    pub fn trouble(&self) -> Option<Trouble> {
        if !self.is_troubled() {
            return None;
        }
        self.trouble.lock().clone()
    }

    /// What must be reached before anybody is answered who knows of everything added so far, if anything must. While
    /// the log is in trouble that concerns only who has added something (`wrote`).
    pub fn ticket(self: &Arc<Self>, wrote: bool) -> Option<Ticket> {
        let durable = self.policy() == Policy::Always;
        if !durable && self.unwritten() < BACKLOG || self.is_troubled() && !wrote {
            return None;
        }
        let ticket = Ticket {
            log: Arc::clone(self),
            position: self.appended(),
            durable,
        };
        (ticket.reached() != Reached::Yes).then_some(ticket)
    }

    /// Waits until everything added so far is on the disk. The engine may be held meanwhile.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn flush(&self) -> Result<(), FlushError> {
        let (sender, done) = sync_channel(1);
        self.order(Order::Flush(sender));
        match done.recv() {
            Ok(true) => Ok(()),
            // Or there is no writer any more.
            Ok(false) | Err(_) => Err(FlushError),
        }
    }

    /// Whether there is news.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// Takes the news.
    pub fn take_news(&self) -> Vec<News> {
        let mut news = self.news.lock();
        self.has_news.store(false, Ordering::Release);
        std::mem::take(&mut *news)
    }

    /// Waits for orders and takes them. What is waited for comes at once, other things when some have come together.
    pub fn next_orders(&self, orders: &mut VecDeque<Order>) {
        let mut queue = self.queue.lock();
        while queue.orders.is_empty() {
            queue.waits = Waits::Idle;
            self.work.wait(&mut queue);
        }
        if self.policy() == Policy::Always {
            self.gather(&mut queue);
        } else {
            let until = Instant::now() + LINGER;
            queue.waits = Waits::Lingers;
            while !queue.urgent && queue.bytes < LINGER_BYTES {
                if self.work.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
        }
        queue.waits = Waits::No;
        queue.take(orders);
    }

    /// Waits for those to come again who waited when the last sync ended, for no longer than half of what that took. Else
    /// they fall into two groups, of which one waits while the other's commands are synced: on a slow disk that halves
    /// what gets done.
    fn gather(&self, queue: &mut MutexGuard<'_, Queue>) {
        let crowd = self.crowd.load(Ordering::Relaxed);
        if crowd < 2 {
            return;
        }
        let took = Duration::from_micros(self.sync_took.load(Ordering::Relaxed));
        let until = Instant::now() + (took / 2).min(GATHER_MOST);
        queue.waits = Waits::Gathers;
        self.gathers.store(crowd, Ordering::Relaxed);
        while !queue.urgent && self.waiting.lock().len() < crowd {
            if self.work.wait_until(queue, until).timed_out() {
                break;
            }
        }
        self.gathers.store(0, Ordering::Relaxed);
    }

    /// Whether its writer has done everything that it was told to do.
    pub fn is_at_rest(&self) -> bool {
        let queue = self.queue.lock();
        match queue.stage {
            Stage::Ended => true,
            Stage::New | Stage::Served => queue.orders.is_empty() && queue.waits == Waits::Idle,
        }
    }

    /// Takes the orders that there are.
    pub fn take_orders(&self, orders: &mut VecDeque<Order>) {
        self.queue.lock().take(orders);
    }

    /// A buffer that was written, to be used again.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut queue = self.queue.lock();
        if buffer.capacity() <= 2 * BATCH && buffer.capacity() > queue.spare.capacity() {
            buffer.clear();
            queue.spare = buffer;
        }
    }

    pub(super) fn tell(&self, news: News) {
        if let News::Trouble(trouble) = &news {
            self.trouble.lock().clone_from(trouble);
            self.troubled.store(trouble.is_some(), Ordering::Release);
        }
        self.news.lock().push(news);
        self.has_news.store(true, Ordering::Release);
        if let Some(tell) = self.tell.lock().as_ref() {
            tell();
        }
    }

    pub(super) fn took(&self, what: &'static str, since: Instant) {
        let threshold = self.spikes.load(Ordering::Relaxed);
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        if threshold > 0 && micros >= threshold.saturating_mul(1000) {
            self.tell(News::Took(what, micros));
        }
    }

    /// A sync that somebody waited for has ended.
    pub(super) fn synced_always(&self, began: Instant) {
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.sync_took.store(took, Ordering::Relaxed);
        self.took("aof-fsync-always", began);
    }

    pub(super) fn set_size(&self, bytes: u64) {
        self.size.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_base_size(&self, bytes: u64) {
        self.base_size.store(bytes, Ordering::Relaxed);
    }

    /// Everything up to here is written.
    pub(super) fn set_written(&self, position: u64) {
        self.written.store(position, Ordering::Release);
    }

    /// Everything up to here is on the disk.
    pub(super) fn set_synced(&self, position: u64) {
        self.synced.store(position, Ordering::SeqCst);
        if self.listened.load(Ordering::SeqCst) {
            self.tell(News::Synced);
        }
    }

    /// Wakes those whose position was reached, or will not be.
    pub(super) fn wake(&self) {
        let mut waiting = self.waiting.lock();
        self.crowd.store(waiting.len(), Ordering::Relaxed);
        let (done, still): (Vec<_>, Vec<_>) = std::mem::take(&mut *waiting)
            .into_iter()
            .partition(|(ticket, _)| ticket.reached() != Reached::Later);
        *waiting = still;
        self.progress.notify_all();
        drop(waiting);
        done.iter().for_each(|(_, who)| who.confirmed());
    }
}

impl Queue {
    fn take(&mut self, orders: &mut VecDeque<Order>) {
        self.bytes = 0;
        self.urgent = false;
        if orders.is_empty() {
            std::mem::swap(&mut self.orders, orders);
        } else {
            orders.append(&mut self.orders);
        }
    }
}

/// The disk does not take what is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the append-only file cannot be written")]
pub struct FlushError;

/// A position that must be reached.
#[derive(Debug, Clone)]
pub struct Ticket {
    log: Arc<Log>,
    position: u64,
    /// On the disk, not only written.
    durable: bool,
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Ticket) -> bool {
        Arc::ptr_eq(&self.log, &other.log)
            && (self.position, self.durable) == (other.position, other.durable)
    }
}

impl Eq for Ticket {}

impl Ticket {
    /// Whether it was.
    pub fn reached(&self) -> Reached {
        let log = &self.log;
        let position = match self.durable {
            true => log.synced(),
            false => log.written.load(Ordering::Acquire),
        };
        if position >= self.position {
            Reached::Yes
        } else if log.is_troubled() {
            Reached::Lost
        } else {
            Reached::Later
        }
    }

    /// The same; if it was not yet, `who` is told when that changes.
    pub fn reached_or_tell(&self, who: &Arc<dyn Confirmed>) -> Reached {
        let mut waiting = self.log.waiting.lock();
        // Under the lock: whoever moves the position looks at the list behind that.
        let reached = self.reached();
        if reached == Reached::Later {
            waiting.push((self.clone(), Arc::clone(who)));
            let goal = self.log.gathers.load(Ordering::Relaxed);
            if goal > 0 && waiting.len() >= goal {
                drop(waiting);
                // Whoever holds this lock looks before it waits.
                let _queue = self.log.queue.lock();
                self.log.work.notify_one();
            }
        }
        reached
    }

    /// Waits for it; whether it was reached.
    pub fn wait(&self) -> bool {
        let mut waiting = self.log.waiting.lock();
        loop {
            match self.reached() {
                Reached::Yes => return true,
                Reached::Lost | Reached::TimedOut => return false,
                Reached::Later => self.log.progress.wait(&mut waiting),
            }
        }
    }
}
