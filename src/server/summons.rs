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

/// What a server is asked to end by; none: it has ended already.
pub(super) fn of(node: &Node) -> Option<Arc<Summons>> {
    let mut engine = node.lock().ok()?;
    Some(Arc::clone(&engine.state().sys.summons))
}

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Terminate,
    Interrupt,
    /// The terminal is gone.
    HangUp,
}

/// Signals that were heard and are still to be heeded.
#[derive(Debug)]
pub(super) struct Signals {
    runtime: Runtime,
    #[cfg(unix)]
    streams: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    /// From here on SIGTERM, SIGINT and SIGHUP do not end the process by themselves.
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
        let Some(summons) = of(&node) else {
            return Ok(());
        };
        let called = move |heard| match heard {
            Heard::Terminate => take(Signal::Terminate, &node, &stop, &summons),
            Heard::Interrupt => take(Signal::Interrupt, &node, &stop, &summons),
            Heard::HangUp => {}
        };
        let thread = std::thread::Builder::new().name("redkeep-signals".into());
        thread.spawn(move || self.each(called)).map(drop)
    }

    /// Calls for each signal, for as long as the process lives.
    #[cfg(unix)]
    pub(super) fn each(self, called: impl Fn(Heard)) {
        let [mut terminate, mut interrupt, mut hang_up] = self.streams;
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => called(Heard::Terminate),
                    _ = interrupt.recv() => called(Heard::Interrupt),
                    _ = hang_up.recv() => called(Heard::HangUp)
                }
            }
        });
    }

    /// Calls for each signal, for as long as the process lives.
    #[cfg(not(unix))]
    pub(super) fn each(self, called: impl Fn(Heard)) {
        self.runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                called(Heard::Interrupt);
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

/// Ends the server because nobody is left who started it. It is asked as by SIGTERM; and if it will not, because it cannot
/// save say, it ends all the same: there is nobody to do anything about that.
pub(super) fn orphaned(node: &Node, stop: &Stop, summons: &Summons) {
    warn!("The process that started this one is gone, scheduling shutdown...");
    summons.ask(Signal::Terminate);
    shut_down(node, stop, summons);
    // Where it is heeded it stays, and the process ends.
    while summons.is_pending() {
        std::thread::sleep(PAUSE);
    }
    stop.request(End::Failed);
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
