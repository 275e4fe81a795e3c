//! The signals of the process. They are heard on a thread of their own, since the others may be busy saving.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tracing::warn;

use super::runtime::{End, Stop};
use crate::embed::{LockError, Node};
use crate::exec::shutdown::{self, Signal, Summons};

/// How long a signal waits for a script that is busy.
const PAUSE: Duration = Duration::from_millis(10);

/// Signals that were heard and are still to be heeded.
#[derive(Debug)]
pub(super) struct Signals {
    runtime: Runtime,
    #[cfg(unix)]
    streams: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    /// From here on SIGTERM and SIGINT do not end the process at once, and a terminal that hangs up does not at all.
    #[cfg(unix)]
    pub(super) fn hear() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let streams = {
            let _context = runtime.enter();
            [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ]
        };
        Ok(Self { runtime, streams })
    }

    /// Here only Ctrl-C ends the server.
    #[cfg(not(unix))]
    pub(super) fn hear() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().build()?;
        Ok(Self { runtime })
    }

    /// From here on they end this server, for as long as the process lives.
    pub(super) fn heed(self, node: Node, stop: Arc<Stop>) -> io::Result<()> {
        let summons = match node.lock() {
            Ok(mut engine) => Arc::clone(&engine.state().sys.summons),
            // It has ended already.
            Err(_) => return Ok(()),
        };
        let called = move |signal| take(signal, &node, &stop, &summons);
        let thread = std::thread::Builder::new().name("redkeep-signals".into());
        thread.spawn(move || self.listen(called)).map(drop)
    }

    #[cfg(unix)]
    fn listen(self, called: impl Fn(Signal)) {
        let [mut terminate, mut interrupt, mut hang_up] = self.streams;
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => called(Signal::Terminate),
                    _ = interrupt.recv() => called(Signal::Interrupt),
                    _ = hang_up.recv() => {}
                }
            }
        });
    }

    #[cfg(not(unix))]
    fn listen(self, called: impl Fn(Signal)) {
        self.runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                called(Signal::Interrupt);
            }
        });
    }
}

fn take(signal: Signal, node: &Node, stop: &Arc<Stop>, summons: &Arc<Summons>) {
    if summons.ask(signal) && signal == Signal::Interrupt {
        warn!("You insist... exiting now.");
        return stop.request(End::Failed);
    }
    let name = match signal {
        Signal::Terminate => "SIGTERM",
        Signal::Interrupt => "SIGINT",
    };
    warn!("Received {name} scheduling shutdown...");
    let (stop, summons) = (Arc::clone(stop), Arc::clone(summons));
    // Not here: whoever interrupts a second time wants to be heard while this saves.
    node.spawn("redkeep-end", move |node| shut_down(node, &stop, &summons));
}

/// Has the engine heed what was asked. A script that is busy is ended if it has not written, and waited for if it has,
/// unless nothing would be saved anyway.
fn shut_down(node: &Node, stop: &Stop, summons: &Summons) {
    while summons.is_pending() {
        match node.lock() {
            Ok(mut engine) => return shutdown::heed(engine.state()),
            Err(LockError::Stopped) => return,
            Err(LockError::Busy) if !summons.keeps_data() => return stop.request(End::Asked),
            Err(LockError::Busy) => {
                node.gate().give_up();
                std::thread::sleep(PAUSE);
            }
        }
    }
}
