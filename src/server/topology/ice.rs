//! A server that stands still, as a process does that got SIGSTOP.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::embed::{LockError, Node};

/// How long a script that is busy is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Why a server goes on.
#[derive(Debug)]
pub(super) enum NotFrozen {
    /// A script is busy.
    Busy,
    /// The server has stopped, or there is no thread.
    Failed(io::Error),
}

/// Keeps the engine of a server from everybody, until it is dropped. Whatever a server does it does with the engine; what
/// lies beside that, such as taking connections of the kernel, nobody can tell from what the kernel does.
#[derive(Debug)]
pub(super) struct Ice {
    /// Dropped to let go.
    thaw: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ice {
    /// Returns when the server stands still. The engine is kept on a thread of its own, for only who has taken it can give
    /// it back.
    pub(super) fn over(node: &Node) -> Result<Ice, NotFrozen> {
        let (thaw, thawed) = mpsc::channel::<()>();
        let (frozen, done) = mpsc::channel();
        let node = node.clone();
        let thread = std::thread::Builder::new().name("redkeep-ice".into());
        let mut tries = PATIENCE.as_millis() / PAUSE.as_millis();
        let thread = thread.spawn(move || {
            let held = loop {
                match node.lock() {
                    Ok(held) => break Ok(held),
                    Err(LockError::Busy) if tries > 0 => {
                        tries -= 1;
                        std::thread::sleep(PAUSE);
                    }
                    Err(e) => break Err(e),
                }
            };
            // Who asked waits for it.
            let _ = frozen.send(held.as_ref().err().copied());
            if let Ok(held) = held {
                // Nothing is ever sent: this is how the end is waited for.
                let _ = thawed.recv();
                drop(held);
            }
        });
        let ice = Ice {
            thaw: Some(thaw),
            thread: Some(thread.map_err(NotFrozen::Failed)?),
        };
        match done.recv() {
            Ok(None) => Ok(ice),
            Ok(Some(LockError::Busy)) => Err(NotFrozen::Busy),
            Ok(Some(e)) => Err(NotFrozen::Failed(io::Error::other(e))),
            Err(e) => Err(NotFrozen::Failed(io::Error::other(e))),
        }
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        self.thaw.take();
        if let Some(thread) = self.thread.take() {
            // It panics only if the engine does, and then the server knows.
            let _ = thread.join();
        }
    }
}
