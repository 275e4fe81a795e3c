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

/// From here on SIGTERM and SIGINT end the server, and a terminal that hangs up does not.
pub(super) fn heed(node: Node, stop: Arc<Stop>) -> io::Result<()> {
    let summons = match node.lock() {
        Ok(mut engine) => Arc::clone(&engine.state().sys.summons),
        // It has ended already.
        Err(_) => return Ok(()),
    };
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let called = move |signal| take(signal, &node, &stop, &summons);
    start(runtime, called)
}

#[cfg(unix)]
fn start(runtime: Runtime, called: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _context = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        )
    };
    run(runtime, async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => called(Signal::Terminate),
                _ = interrupt.recv() => called(Signal::Interrupt),
                _ = hang_up.recv() => {}
            }
        }
    })
}

/// Here only Ctrl-C ends the server.
#[cfg(not(unix))]
fn start(runtime: Runtime, called: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    run(runtime, async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            called(Signal::Interrupt);
        }
    })
}

/// Listens for as long as the process lives.
fn run(runtime: Runtime, listen: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("redkeep-signals".into());
    thread.spawn(move || runtime.block_on(listen)).map(drop)
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
