//! A server that stands still, as a process does that got SIGSTOP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::node::{Held, LockError, Node};

/// How long a script that is busy is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Why a server goes on.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// A script is busy.
    #[error("a script is running past its limit")]
    Busy,
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
    /// The system gave no thread.
    #[error("there is no thread to freeze the server with: {0}")]
    Thread(#[from] io::Error),
}

/// A server that stands still until this is dropped: it takes connections, as the kernel does for it, hears everything and
/// answers nothing, and its own clock strikes for nobody. Then it goes on, and answers what has come meanwhile. Whoever calls
/// it from inside of this process waits as well.
///
/// It ends with the server, too.
#[derive(Debug)]
#[must_use = "the server goes on when this is dropped"]
pub struct Frozen {
    node: Node,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Frozen {
    /// Returns when the server stands still. The engine is kept on a thread of its own, for only who has taken it can give
    /// it back.
    pub(crate) fn over(node: &Node) -> Result<Frozen, FreezeError> {
        let over = Arc::new(AtomicBool::new(false));
        let (frozen, done) = mpsc::channel();
        let (its_node, its_over) = (node.clone(), Arc::clone(&over));
        let thread = std::thread::Builder::new().name("redkeep-ice".into());
        let thread = thread.spawn(move || {
            let held = take(&its_node);
            // Who asked waits for it.
            let _ = frozen.send(held.as_ref().err().copied());
            if held.is_ok() {
                its_node.stand_still(&its_over, None);
            }
        })?;
        let ice = Frozen {
            node: node.clone(),
            over,
            thread: Some(thread),
        };
        match done.recv() {
            Ok(None) => Ok(ice),
            Ok(Some(LockError::Busy)) => Err(FreezeError::Busy),
            Ok(Some(LockError::Stopped)) => Err(FreezeError::Stopped),
            Err(e) => Err(FreezeError::Thread(io::Error::other(e))),
        }
    }

    /// Lets the server go on, as dropping this does.
    pub fn thaw(self) {}
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.node.melt();
        if let Some(thread) = self.thread.take() {
            // It panics only if the engine does, and then the server knows.
            let _ = thread.join();
        }
    }
}

/// Keeps the engine from everybody for so long, of real time.
pub(super) fn freeze(node: &Node, time: Duration) {
    let until = Instant::now().checked_add(time);
    if let Ok(_held) = take(node) {
        node.stand_still(&AtomicBool::new(false), until);
    }
}

fn take(node: &Node) -> Result<Held<'_>, LockError> {
    let mut tries = PATIENCE.as_millis() / PAUSE.as_millis();
    loop {
        match node.lock() {
            Err(LockError::Busy) if tries > 0 => {
                tries -= 1;
                std::thread::sleep(PAUSE);
            }
            taken => return taken,
        }
    }
}
