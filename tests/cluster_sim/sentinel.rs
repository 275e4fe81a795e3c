//! A sentinel on a machine of its own: its file, its connections, and what is heard of it.

use super::machine::Machine;
use super::net::{Caller, ConnId, End, Piece, Place};
use super::plan::{Plan, Watch};
use super::witness::Hello;
use super::world::{PORT, World, address, node_at, note};
use crate::common::instance::DIR;
use crate::common::sim_disk::SimDisk;
use redkeep::engine::Engine;
use redkeep::exec::{Host, SessionId};
use redkeep::persist::Disk;
use redkeep::resp::{Proto, ReplyBuf, Value, parse_reply};
use redkeep::sentinel::{Input, Order, SocketId};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every sentinel listens on it.
pub const SENTINEL_PORT: u16 = 26379;

/// What the leader is called.
pub const NAME: &str = "mymaster";

/// Where a sentinel keeps what it knows.
const FILE: &str = "/sentinel.conf";

/// What is done to a sentinel so that it fails, to see that this is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Its file is not synced before it is said to be written.
    NoSync,
    /// It does not remember whom it has voted for, nor in which epoch.
    ForgetsVotes,
}

/// What only a machine with a sentinel has.
pub struct Lookout {
    /// By what the sentinel calls them.
    sockets: BTreeMap<u64, ConnId>,
    /// What is to be done once the file is written.
    orders: Vec<Order>,
    /// Hears everything that the sentinel publishes.
    listener: SessionId,
    /// How many operations there were on the disk before the file was written that is not yet known to be safe.
    writing: Option<usize>,
    written: Arc<AtomicUsize>,
}

impl Lookout {
    /// Connections that the sentinel has made.
    pub fn conns(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.sockets.values().copied()
    }

    /// How far the disk was when a file began to be written that may be lost.
    pub const fn writing(&self) -> Option<usize> {
        self.writing
    }

    /// It is.
    pub const fn is_written(&mut self) {
        self.writing = None;
    }

    fn socket_of(&self, conn: ConnId) -> Option<u64> {
        let mut sockets = self.sockets.iter();
        sockets.find(|(_, id)| **id == conn).map(|(socket, _)| *socket)
    }
}

/// The file that a sentinel is started with at first.
fn first_file(watch: &Watch, place: Place) -> String {
    let Watch {
        quorum,
        down_after,
        failover_timeout,
        parallel_syncs,
        ..
    } = watch;
    let mut text = format!(
        "port {SENTINEL_PORT}\n\
         sentinel monitor {NAME} {} {PORT} {quorum}\n\
         sentinel down-after-milliseconds {NAME} {down_after}\n\
         sentinel failover-timeout {NAME} {failover_timeout}\n\
         sentinel parallel-syncs {NAME} {parallel_syncs}\n",
        address(0)
    );
    if watch.announces {
        text += &format!("sentinel announce-ip {}\n", address(place));
    }
    text
}

/// What a sentinel's file is to a simulated disk.
struct OnDisk {
    disk: SimDisk,
    written: Arc<AtomicUsize>,
    mutation: Option<Mutation>,
}

impl Host for OnDisk {
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match self.disk.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?.read_to_end(&mut bytes)?,
        };
        Ok(Some(bytes))
    }

    fn replace_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let before = self.disk.ops() + 1;
        let _ = self
            .written
            .compare_exchange(0, before, Ordering::SeqCst, Ordering::SeqCst);
        let temporary = path.with_extension("tmp");
        let mut file = self.disk.create(&temporary)?;
        file.write_all(bytes)?;
        if self.mutation != Some(Mutation::NoSync) {
            file.sync()?;
        }
        drop(file);
        self.disk.rename(&temporary, path)?;
        match self.mutation {
            Some(Mutation::NoSync) => Ok(()),
            _ => self.disk.sync_dir(Path::new(DIR)),
        }
    }
}

impl Machine {
    /// Starts a sentinel on what the disk holds.
    fn start_sentinel(
        &mut self,
        now: i64,
        seed: u64,
        mutation: Option<Mutation>,
    ) -> Result<(), String> {
        self.sync_clock(now);
        self.starts += 1;
        let written = Arc::new(AtomicUsize::new(0));
        let host = OnDisk {
            disk: self.disk.clone(),
            written: Arc::clone(&written),
            mutation,
        };
        let file = host.read_file(Path::new(FILE)).map_err(|e| e.to_string())?;
        let file = file.ok_or("there is no file")?;
        todo!();
    }
}

impl World {
    /// Starts a sentinel on what its disk holds.
    pub fn start_sentinel(&mut self, place: Place) {
        let seed = self.rng.next_u64();
        let mutation = self.mutation;
        let machine = &mut self.nodes[place];
        if machine.starts == 0 {
            let watch = self.plan.watch.as_ref().unwrap();
            let mut image = machine.disk.image();
            image.add_file(FILE, first_file(watch, place).as_bytes());
            machine.disk = SimDisk::from_image(&image);
        }
        note!(self, "sentinel {place} starts");
        let machine = &mut self.nodes[place];
        if let Err(e) = machine.start_sentinel(self.now, seed, mutation) {
            return self.wrong(format!("sentinel {place} does not start: {e}"));
        }
        self.after(place);
    }

    /// A sentinel has done something. Whether it may go on, and need not wait for its disk.
    pub fn sentinel_goes_on(&mut self, place: Place) -> bool {
        let Some(up) = self.nodes[place].up.as_mut() else {
            return false;
        };
        let Some(lookout) = up.lookout.as_mut() else {
            return true;
        };
        lookout.orders.extend(up.engine.sentinel_orders());
        let written = lookout.written.swap(0, Ordering::SeqCst);
        if written == 0 {
            return true;
        }
        let slowness = self.plan.watch.as_ref().map_or(0, |watch| watch.slowness);
        let took = match self.rng.below(4) {
            0 => self.rng.below(slowness + 1),
            _ => self.rng.below(slowness / 50 + 1),
        };
        if took == 0 {
            return true;
        }
        lookout.writing = Some(written - 1);
        self.counts.slow_files += 1;
        self.stall(place, took as i64);
        false
    }

    /// Carries out what a sentinel has ordered.
    pub fn carry_out(&mut self, place: Place) {
        let Some(lookout) = self.lookout(place) else {
            return;
        };
        for order in std::mem::take(&mut lookout.orders) {
            match order {
                Order::Connect { socket, host, port } => self.connects(place, socket, &host, port),
                Order::Send { socket, bytes } => self.sends(place, socket, &bytes),
                Order::Close { socket } => {
                    let closed = self.lookout(place).unwrap().sockets.remove(&socket.0);
                    if let Some(conn) = closed {
                        self.net.close(self.now, conn, End::Caller, &mut self.queue);
                    }
                }
                Order::Run { .. } | Order::Kill { .. } | Order::Crash => {
                    self.wrong(format!("sentinel {place} was not asked for {order:?}"));
                }
            }
        }
        self.listen(place);
    }

    fn lookout(&mut self, place: Place) -> Option<&mut Lookout> {
        self.nodes[place].up.as_mut()?.lookout.as_mut()
    }

    fn connects(&mut self, place: Place, socket: SocketId, host: &str, port: u16) {
        let to = node_at(host).filter(|to| {
            let listens = match self.plan.is_sentinel(*to) {
                true => SENTINEL_PORT,
                false => PORT,
            };
            *to < self.plan.machines() && port == listens
        });
        let Some(to) = to else {
            return self.wrong(format!("sentinel {place} calls {host}:{port}"));
        };
        let caller = Caller::Sentinel {
            place,
            socket: socket.0,
        };
        let conn = self.net.call(self.now, caller, place, to, &mut self.queue);
        self.lookout(place).unwrap().sockets.insert(socket.0, conn);
    }

    fn sends(&mut self, place: Place, socket: SocketId, bytes: &[u8]) {
        let Some(conn) = self.lookout(place).unwrap().sockets.get(&socket.0).copied() else {
            return;
        };
        let to = self.net.get(conn).map_or(0, |conn| conn.places[1]);
        self.witness_of_words(place, to, bytes);
        self.net
            .send(self.now, conn, End::Caller, bytes, &mut self.queue);
    }

    /// What a sentinel says to others tells what it believes and does.
    fn witness_of_words(&mut self, place: Place, to: Place, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if let Some((_, said)) = text.split_once("__sentinel__:hello\r\n")
            && let Some(hello) = said.split("\r\n").nth(1).and_then(Hello::parse)
        {
            self.witness.says(place, &hello);
        }
        if text.contains("\r\nNO\r\n$3\r\nONE\r\n") && !self.plan.is_sentinel(to) {
            note!(self, "sentinel {place} tells node {to} to lead");
            self.counts.promotions += 1;
            self.witness.tells_to_lead(place, to);
        }
        self.judge_sentinels();
    }

    /// What was found to be wrong with sentinels ends the run.
    pub fn judge_sentinels(&mut self) {
        for what in self.witness.take_wrong() {
            self.wrong(what);
        }
    }

    /// Something has come for a sentinel on a connection that it has made.
    pub fn sentinel_gets(&mut self, place: Place, conn: ConnId, piece: Piece) {
        let Some(up) = self.nodes[place].up.as_mut() else {
            return;
        };
        let Some(lookout) = &mut up.lookout else {
            return;
        };
        let Some(socket) = lookout.socket_of(conn) else {
            return;
        };
        if piece == Piece::End {
            lookout.sockets.remove(&socket);
            self.net.vanish(conn, End::Caller);
        }
        let socket = SocketId(socket);
        up.hold(|engine| {
            engine.sentinel_input(match &piece {
                Piece::Open => Input::Connected {
                    socket,
                    local_ip: address(place),
                },
                Piece::Bytes(bytes) => Input::Received { socket, bytes },
                Piece::End => Input::Lost {
                    socket,
                    why: "Connection reset by peer".to_owned(),
                },
            });
        });
        self.after(place);
    }

    /// Hears what a sentinel has published.
    fn listen(&mut self, place: Place) {
        let Some(up) = self.nodes[place].up.as_mut() else {
            return;
        };
        let Some(listener) = up.lookout.as_ref().map(|lookout| lookout.listener) else {
            return;
        };
        let mut out = ReplyBuf::new(Proto::Resp2);
        up.engine.take(listener, &mut out, true);
        let mut rest = out.as_slice();
        while let Some((value, used)) = parse_reply(rest).unwrap() {
            rest = &rest[used..];
            if let Value::Array(parts) = &value
                && let [_, _, event, text] = &parts[..]
            {
                self.hears(place, &as_text(event), &as_text(text));
            }
        }
    }

    fn hears(&mut self, place: Place, event: &str, text: &str) {
        note!(self, "sentinel {place}: {event} {text}");
        *self.counts.heard.entry(event.to_owned()).or_default() += 1;
        self.witness.hears(place, event, text);
        if matches!(event, "+switch-master" | "+promoted-slave") {
            let view = self.view(place);
            self.witness.holds(place, view.since, &view.leader);
        }
        self.judge_sentinels();
    }

    /// What a sentinel answers to who asks for the state of the leader.
    pub fn view(&mut self, place: Place) -> View {
        let up = self.nodes[place].up.as_mut().unwrap();
        let told = up.call(&["SENTINEL", "MASTER", NAME]);
        let mut fields = BTreeMap::new();
        if let Value::Array(words) = told {
            for pair in words.chunks_exact(2) {
                fields.insert(as_text(&pair[0]), as_text(&pair[1]));
            }
        }
        let address = up.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let leader = match &address {
            Value::Array(parts) => parts.iter().map(as_text).collect::<Vec<_>>().join(":"),
            _ => String::new(),
        };
        let number = |name: &str| fields.get(name).and_then(|n| n.parse().ok()).unwrap_or(0);
        View {
            leader,
            since: number("config-epoch"),
            flags: fields.get("flags").cloned().unwrap_or_default(),
            replicas: number("num-slaves"),
            others: number("num-other-sentinels"),
        }
    }
}

/// What a sentinel knows of the group that it watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `ip:port` of who leads.
    pub leader: String,
    /// The epoch of that.
    pub since: u64,
    pub flags: String,
    pub replicas: u64,
    pub others: u64,
}

fn as_text(value: &Value) -> String {
    crate::common::instance::text(value)
}
