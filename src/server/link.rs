//! The link of a replica to its leader: a socket, on a thread of its own, for what comes may take long to be loaded.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::channel::Channel;
use super::pulse::Pulse;
use super::timer::{sleep, timeout};
use super::wire::{Destination, Network, connect};
use crate::embed::{Held, LockError, Node};
use crate::engine::follow::{Follower, Parted, Work};
use crate::exec::replication::replica::{self, LinkState};
use crate::exec::session::Peer;
use crate::util::clock::ManualClock;

/// Bytes read at once.
const READ: usize = 256 * 1024;

/// How long it waits before it connects again, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The same after what a leader said was refused: that takes more of both sides.
const REFUSED_MOST: Duration = Duration::from_secs(10);

/// How long it waits for a busy script, in real time.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Follows the leader that an instance has, whenever it has one.
pub(super) struct Linker {
    node: Node,
    network: Network,
    changed: Arc<Notify>,
    runs: AtomicBool,
}

impl Linker {
    pub(super) fn new(node: &Node, network: Network) -> Linker {
        Linker {
            node: node.clone(),
            network,
            changed: Arc::default(),
            runs: AtomicBool::new(false),
        }
    }

    /// There is another leader, or none any more; or the server stops.
    pub(super) fn poke(&self) {
        self.changed.notify_one();
        if self.runs.load(Ordering::Acquire) {
            return;
        }
        let is_replica = |engine: Result<Held<'_>, LockError>| match engine {
            Ok(mut engine) => engine.state().sys.repl.is_replica(),
            Err(LockError::Busy) => true,
            Err(LockError::Stopped) => false,
        };
        if is_replica(self.node.lock()) && !self.runs.swap(true, Ordering::AcqRel) {
            let changed = Arc::clone(&self.changed);
            let network = self.network.clone();
            self.node
                .spawn("redkeep-link", move |node| run(node, &changed, &network));
        }
    }
}

fn run(node: &Node, changed: &Notify, network: &Network) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let _pulse = Pulse::of(runtime.handle(), network.clock());
            runtime.block_on(follow(node, changed, network));
            // A name that is still being looked up keeps nobody from ending.
            runtime.shutdown_background();
        }
        Err(e) => tracing::error!("Nobody can be followed: {e}"),
    }
}

/// The engine, once no script is in the way. None when the server has stopped.
pub(super) async fn lock(node: &Node) -> Option<Held<'_>> {
    loop {
        match node.lock() {
            Ok(held) => return Some(held),
            Err(LockError::Stopped) => return None,
            Err(LockError::Busy) => {}
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
}

/// Whom to follow.
struct Target {
    number: u64,
    destination: Destination,
    timeout: Duration,
}

async fn target(node: &Node) -> Option<Target> {
    let mut engine = lock(node).await?;
    let sys = &mut engine.state().sys;
    if sys.persist.loading.is_some() {
        return None;
    }
    let up = sys.repl.upstream.as_ref().filter(|up| !up.is_nobody())?;
    let target = Target {
        number: up.number,
        destination: Destination {
            source: sys.cfg.bind_source_addr.clone(),
            host: up.host.clone(),
            port: up.port,
            secure: sys.cfg.tls_replication,
        },
        timeout: Duration::from_secs(u64::from(sys.cfg.repl_timeout)),
    };
    replica::set_state(sys, LinkState::Connecting);
    Some(target)
}

async fn follow(node: &Node, changed: &Notify, network: &Network) {
    let mut last = 0;
    let mut wait = BACK_OFF.0;
    while !node.is_stopped() {
        let Some(target) = target(node).await else {
            if !node.is_stopped() {
                changed.notified().await;
            }
            continue;
        };
        if target.number != last {
            last = target.number;
            wait = BACK_OFF.0;
        }
        let ended = follow_once(node, changed, network, &target).await;
        let most = match ended {
            Ended::Superseded => continue,
            Ended::AfterSync => {
                wait = BACK_OFF.0;
                BACK_OFF.1
            }
            Ended::Early => BACK_OFF.1,
            Ended::Refused => REFUSED_MOST,
        };
        tokio::select! {
            () = sleep(network.clock(), wait) => wait = (wait * 2).min(most),
            () = changed.notified() => {}
        }
    }
}

/// How a link ended.
enum Ended {
    /// There is another leader, or none, or the server stops.
    Superseded,
    /// There was no connection, or it did not last.
    Early,
    /// It was lost after it had been online.
    AfterSync,
    /// What the leader said made no sense.
    Refused,
}

async fn follow_once(node: &Node, changed: &Notify, network: &Network, target: &Target) -> Ended {
    info!("MASTER <-> REPLICA sync started");
    let connected = tokio::select! {
        connected = connect(network, &target.destination, target.timeout) => connected,
        () = superseded(node, changed, target.number) => return Ended::Superseded,
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(e) => {
            warn!("Error condition on socket for SYNC: {e}");
            set_down(node, target.number).await;
            return Ended::Early;
        }
    };
    let follower = {
        let Some(mut engine) = lock(node).await else {
            return Ended::Superseded;
        };
        Follower::begin(&mut engine).map(|follower| follower.between(ends(&stream)))
    };
    let Some(mut follower) = follower.filter(|follower| follower.number() == target.number) else {
        return Ended::Superseded;
    };
    info!("Non blocking connect for SYNC fired the event.");
    let mut online = false;
    let clock = network.clock();
    let parted = serve(node, changed, clock, stream, &mut follower, &mut online).await;
    let Some(mut engine) = lock(node).await else {
        return Ended::Superseded;
    };
    follower.lost(&mut engine);
    drop(engine);
    match parted {
        Parted::Superseded => Ended::Superseded,
        Parted::Refused { why, transient } => {
            if online {
                warn!("Connection with master lost: {why}");
            } else {
                warn!("MASTER aborted replication: {why}");
            }
            match (online, transient) {
                (_, false) => Ended::Refused,
                (true, true) => Ended::AfterSync,
                (false, true) => Ended::Early,
            }
        }
    }
}

fn ends(stream: &Channel) -> Peer {
    let told = |end: io::Result<SocketAddr>| end.map(|end| end.to_string()).unwrap_or_default();
    Peer {
        addr: told(stream.peer_addr()),
        laddr: told(stream.local_addr()),
        fd: stream.descriptor(),
        ..Peer::default()
    }
}

/// Waits until this leader is not the one to follow any more.
async fn superseded(node: &Node, changed: &Notify, number: u64) {
    loop {
        changed.notified().await;
        let Some(mut engine) = lock(node).await else {
            return;
        };
        let up = engine.state().sys.repl.upstream.as_ref();
        if up.is_none_or(|up| up.number != number) {
            return;
        }
    }
}

async fn set_down(node: &Node, number: u64) {
    if let Some(mut engine) = lock(node).await {
        let sys = &mut engine.state().sys;
        if sys
            .repl
            .upstream
            .as_ref()
            .is_some_and(|up| up.number == number)
        {
            replica::set_state(sys, LinkState::Down);
        }
    }
}

/// The connection is of no use any more.
fn gone(follower: &Follower, e: impl fmt::Display) -> Parted {
    Parted::Refused {
        why: format!("{e}, where {} was expected", follower.is_waiting_for()),
        transient: true,
    }
}

/// Moves bytes until the link ends.
async fn serve(
    node: &Node,
    changed: &Notify,
    clock: &ManualClock,
    mut stream: Channel,
    follower: &mut Follower,
    online: &mut bool,
) -> Parted {
    let mut bytes = vec![0; READ];
    loop {
        let (wait, patience) = match work(node, follower, online).await {
            Ok(both) => both,
            Err(parted) => return parted,
        };
        let out = follower.take_output();
        if !out.is_empty() {
            let sending = async {
                stream.write_all(&out).await?;
                stream.flush().await
            };
            let written = tokio::select! {
                written = timeout(clock, patience, sending) => written,
                () = superseded(node, changed, follower.number()) => return Parted::Superseded,
            };
            match written {
                Err(_) => return gone(follower, "the master takes nothing any more"),
                Ok(Err(e)) => return gone(follower, e),
                Ok(Ok(())) => {}
            }
        }
        if let Some(pause) = follower.pause() {
            tokio::select! {
                () = sleep(clock, pause) => {}
                () = changed.notified() => {}
            }
            continue;
        }
        tokio::select! {
            read = stream.read(&mut bytes), if follower.reads() => match read {
                Err(e) => return gone(follower, e),
                Ok(0) => return gone(follower, "the master closed the connection"),
                Ok(n) => {
                    let received = follower.receive(bytes.get(..n).unwrap_or_default());
                    if let Err(parted) = received {
                        return parted;
                    }
                }
            },
            () = sleep(clock, wait) => {}
            () = changed.notified() => {}
        }
    }
}

/// Has the engine do what has come; says how long there will be nothing else to do.
async fn work(
    node: &Node,
    follower: &mut Follower,
    online: &mut bool,
) -> Result<(Duration, Duration), Parted> {
    loop {
        let mut engine = lock(node).await.ok_or(Parted::Superseded)?;
        let step = follower.work(&mut engine)?;
        let sys = &engine.state().sys;
        *online |= sys.repl.upstream.as_ref().is_some_and(|up| up.is_online());
        let now = sys.now_us / 1000;
        let patience = Duration::from_secs(u64::from(sys.cfg.repl_timeout));
        drop(engine);
        if step == Work::Idle {
            let wait = u64::try_from(follower.next_deadline() - now).unwrap_or(0);
            return Ok((Duration::from_millis(wait), patience));
        }
    }
}
