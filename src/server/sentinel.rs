//! What a sentinel wants done outside of the engine: its connections and its scripts, on a thread of its own.
//!
//! Each connection and each script is a task, which tells what comes of it under the engine's lock. Orders are carried out in
//! one place, in the order in which they were given.

mod script;
mod start;

use std::collections::{BTreeMap, HashMap};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::{error, warn};

pub(super) use start::{assemble, check_file};

use super::link::lock;
use super::pulse::Pulse;
use super::runtime::{End, Stop};
use super::wire::{Destination, Network, connect};
use crate::embed::Node;
use crate::sentinel::{Input, JobId, Order, SocketId};
use crate::util::system::reason;

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// Bytes written at once.
const WRITE: usize = 64 * 1024;

/// A connection on which more waits to be sent is given up.
const MOST_UNSENT: usize = 4 << 20;

/// Longer than the system tries to connect. The sentinel gives up earlier.
const LONGEST_TRY: Duration = Duration::from_secs(600);

/// How long the end waits for scripts that were killed, in real time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The exit status of a crash that was asked for.
const CRASHED: i32 = 99;

/// Carries out what a sentinel wants done.
pub(super) struct Driver {
    means: Arc<Means>,
    node: Node,
    runs: AtomicBool,
}

/// What orders are carried out with.
struct Means {
    network: Network,
    /// The process is the sentinel's own.
    owns_process: bool,
    stop: Arc<Stop>,
    /// There are orders, or the server stops.
    news: Notify,
}

impl Driver {
    pub(super) fn new(node: &Node, network: Network, owns_process: bool, stop: &Arc<Stop>) -> Self {
        Driver {
            means: Arc::new(Means {
                network,
                owns_process,
                stop: Arc::clone(stop),
                news: Notify::new(),
            }),
            node: node.clone(),
            runs: AtomicBool::new(false),
        }
    }

    /// There are orders.
    pub(super) fn poke(&self) {
        self.means.news.notify_one();
        if !self.runs.swap(true, Ordering::AcqRel) {
            let means = Arc::clone(&self.means);
            self.node
                .spawn("redkeep-sentinel", move |node| run(node, means));
        }
    }

    /// The server stops.
    pub(super) fn end(&self) {
        self.means.news.notify_one();
    }
}

fn run(node: &Node, means: Arc<Means>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let _pulse = Pulse::of(runtime.handle(), means.network.clock());
            let hands = Hands {
                node: node.clone(),
                means,
                sockets: HashMap::new(),
                talks: JoinSet::new(),
                scripts: BTreeMap::new(),
                runs: JoinSet::new(),
            };
            runtime.block_on(hands.work());
            // A name that is still being looked up keeps nobody from ending.
            runtime.shutdown_background();
        }
        Err(e) => error!("Nobody can be watched: {e}"),
    }
}

/// Tells the sentinel what has come of an order.
async fn tell(node: &Node, input: Input<'_>) {
    if let Some(mut engine) = lock(node).await {
        engine.sentinel_input(input);
    }
}

/// Whoever carries out orders.
struct Hands {
    node: Node,
    means: Arc<Means>,
    sockets: HashMap<SocketId, Talk>,
    talks: JoinSet<SocketId>,
    /// What kills each.
    scripts: BTreeMap<JobId, Arc<Notify>>,
    runs: JoinSet<JobId>,
}

/// A connection.
struct Talk {
    unsent: Arc<Unsent>,
    task: AbortHandle,
}

impl Hands {
    async fn work(mut self) {
        let means = Arc::clone(&self.means);
        while let Some(orders) = self.orders().await {
            for order in orders {
                self.carry_out(order).await;
            }
            tokio::select! {
                () = means.news.notified() => {}
                Some(Ok(socket)) = self.talks.join_next() => {
                    self.sockets.remove(&socket);
                }
                Some(Ok(job)) = self.runs.join_next() => {
                    self.scripts.remove(&job);
                }
            }
        }
        self.talks.abort_all();
        self.scripts.values().for_each(|kill| kill.notify_one());
        let all = async { while self.runs.join_next().await.is_some() {} };
        // What cannot be killed is left behind.
        let _ = timeout(PATIENCE, all).await;
    }

    /// What is to be done. None when the server has stopped.
    async fn orders(&self) -> Option<Vec<Order>> {
        Some(lock(&self.node).await?.sentinel_orders())
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Connect { socket, host, port } => self.connect(socket, host, port).await,
            Order::Send { socket, bytes } => self.send(socket, &bytes).await,
            Order::Close { socket } => self.close(socket),
            Order::Run { job, argv } => {
                let kill = Arc::new(Notify::new());
                self.scripts.insert(job, Arc::clone(&kill));
                self.runs
                    .spawn(script::run(self.node.clone(), job, argv, kill));
            }
            Order::Kill { job } => {
                if let Some(kill) = self.scripts.get(&job) {
                    kill.notify_one();
                }
            }
            Order::Crash => self.crash(),
        }
    }

    async fn connect(&mut self, socket: SocketId, host: String, port: u16) {
        let Some(mut engine) = lock(&self.node).await else {
            return;
        };
        let cfg = &engine.state().sys.cfg;
        let peer = Destination {
            source: cfg.bind_source_addr.clone(),
            host,
            port,
            secure: cfg.tls_replication,
        };
        drop(engine);
        let unsent = Arc::new(Unsent::default());
        let task = self.talks.spawn(talk(
            self.node.clone(),
            Arc::clone(&self.means),
            socket,
            peer,
            Arc::clone(&unsent),
        ));
        self.sockets.insert(socket, Talk { unsent, task });
    }

    async fn send(&mut self, socket: SocketId, bytes: &[u8]) {
        let Some(talk) = self.sockets.get(&socket) else {
            return;
        };
        if !talk.unsent.add(bytes) {
            self.close(socket);
            let why = "too much waits to be sent".to_owned();
            tell(&self.node, Input::Lost { socket, why }).await;
        }
    }

    fn close(&mut self, socket: SocketId) {
        if let Some(talk) = self.sockets.remove(&socket) {
            talk.task.abort();
        }
    }

    /// Ends as a crash would. Whoever merely contains a sentinel goes on.
    fn crash(&self) {
        warn!("Sentinel CRASH because of SENTINEL simulate-failure");
        if self.means.owns_process {
            process::exit(CRASHED);
        }
        self.node.stop();
        self.means.stop.request(End::Asked);
    }
}

/// What waits to be sent.
#[derive(Default)]
struct Unsent {
    bytes: Mutex<BytesMut>,
    more: Notify,
}

impl Unsent {
    /// Whether there was room for these.
    fn add(&self, more: &[u8]) -> bool {
        let mut bytes = self.bytes.lock();
        let fits = bytes.len() + more.len() <= MOST_UNSENT;
        if fits {
            bytes.extend_from_slice(more);
            self.more.notify_one();
        }
        fits
    }

    fn take(&self) -> Bytes {
        let mut bytes = self.bytes.lock();
        let len = bytes.len().min(WRITE);
        bytes.split_to(len).freeze()
    }
}

/// Connects and moves bytes, until the connection is lost.
async fn talk(
    node: Node,
    means: Arc<Means>,
    socket: SocketId,
    peer: Destination,
    unsent: Arc<Unsent>,
) -> SocketId {
    let why = exchange(&node, &means.network, socket, &peer, &unsent).await;
    tell(&node, Input::Lost { socket, why }).await;
    socket
}

/// Says why it ended.
async fn exchange(
    node: &Node,
    network: &Network,
    socket: SocketId,
    peer: &Destination,
    unsent: &Unsent,
) -> String {
    let wire = match connect(network, peer, LONGEST_TRY).await {
        Ok(wire) => wire,
        Err(e) => return reason(&e),
    };
    let local = wire.local_addr().map(|end| end.ip().to_string());
    let local_ip = local.unwrap_or_default();
    tell(node, Input::Connected { socket, local_ip }).await;
    let (mut reader, mut writer) = tokio::io::split(wire);
    let mut bytes = vec![0; READ];
    let mut out = Bytes::new();
    loop {
        if out.is_empty() {
            out = unsent.take();
        }
        tokio::select! {
            read = reader.read(&mut bytes) => match read {
                Err(e) => return reason(&e),
                Ok(0) => return "Server closed the connection".to_owned(),
                Ok(n) => {
                    let bytes = bytes.get(..n).unwrap_or_default();
                    tell(node, Input::Received { socket, bytes }).await;
                }
            },
            written = writer.write_buf(&mut out), if out.has_remaining() => {
                if let Err(e) = written {
                    return reason(&e);
                }
            }
            () = unsent.more.notified(), if !out.has_remaining() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_sent_has_an_end_and_leaves_in_order() {
        let unsent = Unsent::default();
        let piece = [7; 1 << 20];
        assert!((0..4).all(|_| unsent.add(&piece)));
        assert!(!unsent.add(b"x"));
        assert_eq!(unsent.take().len(), WRITE);
        assert!(unsent.add(b"x"));
        let mut last = Bytes::new();
        while let Some(bytes) = Some(unsent.take()).filter(|bytes| !bytes.is_empty()) {
            last = bytes;
        }
        assert_eq!(last.last(), Some(&b'x'));
    }
}
