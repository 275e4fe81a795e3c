//! What other clients see while a script runs past its limit.
//!
//! The script holds the engine's lock and goes on holding it. Connections that cannot get the lock look at the
//! gate; while it is shut they post their requests here, and the script's hook serves them through the same
//! pipeline, whose gate answers BUSY to all but SCRIPT KILL and its like.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::args::Argv;
use super::session::SessionId;

/// A request posted while a script is busy.
pub struct BusyRequest {
    /// Who asks.
    pub sid: SessionId,
    /// The commands, in order.
    pub requests: Vec<Argv>,
    /// Takes the replies.
    pub done: Box<dyn FnOnce(Vec<u8>) + Send>,
}

impl std::fmt::Debug for BusyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusyRequest")
            .field("sid", &self.sid)
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}

type Hook = Box<dyn Fn() + Send + Sync>;

/// Shared by the engine and its connections.
#[derive(Default)]
pub struct BusyGate {
    shut: AtomicBool,
    inbox: Mutex<Vec<BusyRequest>>,
    on_busy: Mutex<Option<Arc<Hook>>>,
}

impl std::fmt::Debug for BusyGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusyGate")
            .field("shut", &self.is_shut())
            .finish_non_exhaustive()
    }
}

impl BusyGate {
    /// Sets what is called once, on the script's thread, when a script goes past its limit: the server hands
    /// its worker thread over, so that other connections can be served.
    pub fn on_busy(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.on_busy.lock() = Some(Arc::new(Box::new(hook)));
    }

    /// Whether a script is past its limit.
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Posts a request; gives it back if the script ended meanwhile (take the lock then).
    pub fn post(&self, request: BusyRequest) -> Result<(), BusyRequest> {
        let mut inbox = self.inbox.lock();
        // Checked under the inbox's lock: `open` drains after opening, so that nothing is left behind.
        if !self.is_shut() {
            return Err(request);
        }
        inbox.push(request);
        Ok(())
    }

    /// A script went past its limit.
    pub fn shut(&self) {
        self.shut.store(true, Ordering::Release);
        let hook = self.on_busy.lock().clone();
        if let Some(hook) = hook {
            hook();
        }
    }

    /// The script ended; gives what was posted and not yet served.
    pub fn open(&self) -> Vec<BusyRequest> {
        let mut inbox = self.inbox.lock();
        self.shut.store(false, Ordering::Release);
        std::mem::take(&mut *inbox)
    }

    /// Takes what was posted.
    pub fn take(&self) -> Vec<BusyRequest> {
        std::mem::take(&mut *self.inbox.lock())
    }
}
