//! The thread that runs a server: it builds the runtime, waits for the end, and drops the runtime.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::task::Context;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, oneshot};

use tracing::{debug, error, warn};

use super::accept;
use super::link::Linker;
use super::listen::Door;
use super::metrics;
use super::migrate;
use super::pulse::Pulse;
use super::sentinel::Driver;
use super::tls::Tls;
use super::wire::Network;
use crate::embed::{Event, LockError, Node};
use crate::exec::migrate::Parcel;

/// How long tasks may take to end once they are told to.
const PATIENCE: Duration = Duration::from_millis(80);

/// How long the driver waits for a busy script, in real time.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// How long a busy script waits for another thread to take over.
const HAND_OVER: Duration = Duration::from_secs(1);

/// The most connections that are found ready by one look at the sockets: what the runtime asks for.
const READY_AT_ONCE: u32 = 1024;

/// Each how many steps a thread takes from the common queue first. Each step would leave its own queue to wait.
const COMMON_QUEUE: u32 = 3;

thread_local! {
    /// The server whose worker this thread is; 0 for none.
    static WORKER_OF: Cell<u64> = const { Cell::new(0) };
    /// Whether this thread has just been woken and has not run a connection since.
    static JUST_WOKEN: Cell<bool> = const { Cell::new(false) };
}

/// Whether the connection at hand should let others go first, for they were ready before it.
///
/// Of all that is ready when a thread wakes, the runtime runs the last first and then the rest in order. Once put back it
/// has its turn behind them, so that requests of several connections are served in the order in which they arrived.
pub(super) fn is_out_of_turn() -> bool {
    JUST_WOKEN.replace(false)
}

/// Has the task at hand go on when all others have had their turn that are ready by the next look at the sockets.
pub(super) fn put_off(cx: &mut Context<'_>) {
    // It is pending once, and has asked to be woken.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

/// Why a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was asked to: by its owner, by a client, by a signal.
    Asked,
    /// A command panicked.
    Failed,
}

/// Ends a server, once.
#[derive(Default)]
pub(super) struct Stop {
    end: Mutex<Option<End>>,
    ended: Condvar,
    notify: Notify,
}

impl Stop {
    /// The server is to end. The first reason stays.
    pub(super) fn request(&self, end: End) {
        self.end.lock().get_or_insert(end);
        self.ended.notify_all();
        self.notify.notify_one();
    }

    /// Waits until the server is to end.
    pub(super) fn wait(&self) -> End {
        let mut end = self.end.lock();
        loop {
            if let Some(end) = *end {
                return end;
            }
            self.ended.wait(&mut end);
        }
    }
}

/// What a runtime serves.
pub(super) struct Sockets {
    /// Gives the TCP sockets to accept on, each time in place of those before.
    pub(super) tcp: UnboundedReceiver<Vec<Door>>,
    /// What connections through secure doors begin with.
    pub(super) tls: Arc<Tls>,
    #[cfg(unix)]
    pub(super) unix: Option<(
        std::os::unix::net::UnixListener,
        super::listen::unix::SocketFile,
        String,
    )>,
    /// Gives the sockets to serve HTTP on, likewise.
    pub(super) metrics: UnboundedReceiver<Vec<TcpListener>>,
    /// How others are reached.
    pub(super) network: Network,
    /// What is to be sent to them.
    pub(super) parcels: UnboundedReceiver<Parcel>,
    /// The process is the server's own.
    pub(super) owns_process: bool,
}

/// Identifies a server's runtime, and the threads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RuntimeId(u64);

impl RuntimeId {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the calling thread belongs to this runtime.
    pub(super) fn is_here(self) -> bool {
        WORKER_OF.get() == self.0
    }
}

/// Builds the runtime of a server with that many threads for sockets.
pub(super) fn build(threads: usize) -> io::Result<(Runtime, RuntimeId)> {
    let id = RuntimeId::new();
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name("redkeep-io")
        .on_thread_start(move || WORKER_OF.set(id.0))
        .on_thread_unpark(|| JUST_WOKEN.set(true))
        // Whoever is ready is served once before sockets are looked at again, as many as one look may find. Else those that
        // do not fit into the thread's own queue wait in the common one, while all that come later go before them.
        .event_interval(READY_AT_ONCE)
        .global_queue_interval(COMMON_QUEUE)
        .enable_all()
        .build()?;
    Ok((runtime, id))
}

/// Starts serving.
pub(super) fn serve(
    handle: &Handle,
    node: &Node,
    sockets: Sockets,
    stop: &Arc<Stop>,
) -> io::Result<Serving> {
    let _context = handle.enter();
    let deadline = Arc::new(Notify::new());
    let (poke, ender) = (Arc::clone(&deadline), Arc::clone(stop));
    let linker = Arc::new(Linker::new(node, sockets.network.clone()));
    let link = Arc::clone(&linker);
    let network = sockets.network.clone();
    let clock = network.clock().clone();
    handle.spawn(migrate::carry_all(node.clone(), network, sockets.parcels));
    let driver = Driver::new(node, sockets.network, sockets.owns_process, stop);
    let sentinel = Arc::new(driver);
    let driver = Arc::clone(&sentinel);
    node.on_event(move |event| match event {
        Event::Deadline => poke.notify_one(),
        Event::Follow => linker.poke(),
        Event::Sentinel => driver.poke(),
        Event::Shutdown => ender.request(End::Asked),
        Event::Failed => {
            error!("A command panicked: nothing can be relied upon any more");
            ender.request(End::Failed);
        }
    });
    node.gate().on_busy(hand_over);
    let (listening, end) = oneshot::channel();
    let (open, closed) = mpsc::channel();
    let accepting = accept::all(sockets.tcp, node.clone(), sockets.tls, end);
    handle.spawn(async move {
        accepting.await;
        drop(open);
    });
    #[cfg(unix)]
    let file = match sockets.unix {
        Some((listener, file, path)) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            handle.spawn(accept::unix(listener, path, node.clone()));
            Some(file)
        }
        None => None,
    };
    handle.spawn(metrics::serve(sockets.metrics, node.clone()));
    handle.spawn(drive(node.clone(), deadline));
    let pulse = Pulse::of(handle, &clock);
    // Whom to follow may have been known before anybody listened.
    link.poke();
    Ok(Serving {
        listening,
        closed,
        link,
        sentinel,
        _pulse: pulse,
        #[cfg(unix)]
        _socket_file: file,
    })
}

/// What is to be cleaned up when a server ends.
pub(super) struct Serving {
    /// Dropped when no more connections are to be accepted.
    listening: oneshot::Sender<()>,
    /// Hangs up when no more connections are accepted.
    closed: Receiver<()>,
    /// Follows a leader, if there is one.
    link: Arc<Linker>,
    /// Does what a sentinel wants done, if this is one.
    sentinel: Arc<Driver>,
    /// For whoever moves the clock.
    _pulse: Arc<Pulse>,
    #[cfg(unix)]
    _socket_file: Option<super::listen::unix::SocketFile>,
}

/// Waits on the runtime's thread for the end, and ends.
pub(super) fn run_to_end(runtime: Runtime, node: &Node, serving: Serving, stop: &Stop) {
    runtime.block_on(stop.notify.notified());
    // Who sees its connection closed must not be let in again. A script that is to be ended may hold the only thread.
    let Serving {
        listening,
        closed,
        link,
        sentinel,
        ..
    } = serving;
    drop(listening);
    // No timer of the runtime: who has the engine may keep all of its threads waiting.
    if closed.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        debug!("The sockets are still open");
    }
    node.stop();
    node.no_more_events();
    link.poke();
    sentinel.end();
    runtime.shutdown_timeout(PATIENCE);
    node.join_jobs();
    node.leave_surroundings();
}

/// Has the engine do what is due, whenever something is.
async fn drive(node: Node, earlier: Arc<Notify>) {
    let mut clocks = Clocks::now();
    loop {
        clocks.compare();
        let wait = match node.tick() {
            Ok(wait) => wait,
            Err(LockError::Busy) => Some(BUSY_PAUSE),
            Err(LockError::Stopped) => return,
        };
        match wait {
            // There was more to do than one hold of the lock should take.
            Some(Duration::ZERO) => tokio::task::yield_now().await,
            Some(wait) => drop(tokio::time::timeout(wait, earlier.notified()).await),
            None => earlier.notified().await,
        }
    }
}

/// The time of day, and a clock that nobody sets.
struct Clocks {
    day: SystemTime,
    steady: Instant,
}

impl Clocks {
    /// Further apart than this, and than a thousandth of the time between, and somebody has set the clock.
    const JUMP: f64 = 1.0;

    fn now() -> Self {
        Self {
            day: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// Tells the log if the time of day was set since the last time: deadlines of keys are times of day.
    fn compare(&mut self) {
        let before = std::mem::replace(self, Self::now());
        let steady = self.steady.duration_since(before.steady).as_secs_f64();
        let day = match self.day.duration_since(before.day) {
            Ok(forward) => forward.as_secs_f64(),
            Err(back) => -back.duration().as_secs_f64(),
        };
        let jump = day - steady;
        if jump.abs() > Self::JUMP + steady / 1000.0 {
            warn!(
                seconds = jump,
                "The clock of the system was set, or the machine was asleep: keys expire by it"
            );
        }
    }
}

/// Called on the thread of a script that has become busy: if that is a worker, another thread takes over its
/// connections, so that they are served while the script runs.
///
/// The runtime gives the work back to this thread if nobody has taken it when the closure ends, so the closure waits
/// for a sign of life: a task has run, which on a single worker only the other thread can have done.
fn hand_over() {
    if WORKER_OF.get() == 0 {
        return;
    }
    tokio::task::block_in_place(|| {
        let (alive, sign) = mpsc::channel();
        tokio::spawn(async move {
            // The script does not wait for ever.
            let _ = alive.send(());
        });
        let _ = sign.recv_timeout(HAND_OVER);
        // With several workers any of them may have given the sign.
        std::thread::sleep(Duration::from_millis(1));
    });
}
