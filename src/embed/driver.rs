//! The thread of an instance: it has the engine do what is due, and cleans up at the end.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::error;

use super::node::{Event, LockError, Node};

/// How long to wait for a busy script.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// A running driver.
pub(super) struct Driver {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Default)]
struct Orders {
    told: Mutex<Told>,
    news: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Told {
    /// Something is due earlier than it was.
    earlier: bool,
    end: bool,
}

impl Orders {
    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.told.lock());
        self.news.notify_one();
    }

    /// Waits that long, or for ever, for the next order; whether the driver goes on.
    fn wait(&self, most: Option<Duration>) -> bool {
        let mut told = self.told.lock();
        if !told.earlier && !told.end {
            match most {
                Some(most) => drop(self.news.wait_for(&mut told, most)),
                None => self.news.wait(&mut told),
            }
        }
        told.earlier = false;
        !told.end
    }
}

impl Driver {
    /// Starts to drive an engine.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(node: &Node) -> io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let told = Arc::clone(&orders);
        node.on_event(move |event| match event {
            Event::Deadline => told.tell(|told| told.earlier = true),
            Event::Shutdown => told.tell(|told| told.end = true),
            Event::Failed => {
                error!("A command panicked: nothing can be relied upon any more");
                told.tell(|told| told.end = true);
            }
            // There are no sockets to follow or to watch anybody through.
            Event::Follow | Event::Sentinel => {}
        });
        let (node, its_orders) = (node.clone(), Arc::clone(&orders));
        let thread = std::thread::Builder::new()
            .name("redkeep".into())
            .spawn(move || {
                drive(&node, &its_orders);
                node.stop();
                node.no_more_events();
                node.join_jobs();
                node.leave_surroundings();
            })?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// Ends what it drives, and waits until nothing of it is left.
    pub(super) fn end(&mut self, node: &Node) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        if !node.is_here() {
            // The process was copied, its threads were not: there is nobody to wait for.
            return std::mem::forget(thread);
        }
        self.orders.tell(|told| told.end = true);
        // It cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() {
            // It panics only when the engine did, and then everybody knows.
            let _ = thread.join();
        }
    }
}

/// Has the engine do what is due, whenever something is, until the end.
fn drive(node: &Node, orders: &Orders) {
    loop {
        let wait = match node.tick() {
            Ok(wait) => wait,
            Err(LockError::Busy) => Some(BUSY_PAUSE),
            Err(LockError::Stopped) => return,
        };
        if !orders.wait(wait) {
            return;
        }
    }
}
