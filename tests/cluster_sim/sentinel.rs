//! A sentinel on a machine of its own: its file, its connections, and what is heard of it.

use super::host::{Mutation, OnDisk, configuration};
use super::machine::{Machine, join};
use super::net::{Caller, ConnId, End, Piece, Place};
use super::plan::Watch;
use super::witness::Hello;
use super::world::{PORT, World, address, node_at, note};
use redkeep::engine::{Engine, Options};
use redkeep::exec::{Args, SessionId};
use redkeep::resp::{Proto, ReplyBuf, Value, parse_reply};
use redkeep::sentinel::{self, Input, NoNames, Order, Sentinel, SocketId};
use redkeep::util::clock::Clock;
use redkeep::util::rng::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every sentinel listens on it.
pub const SENTINEL_PORT: u16 = 26379;

/// What the leader is called.
pub const NAME: &str = "mymaster";

/// What only a machine with a sentinel has.
pub struct Lookout {
    /// By what the sentinel calls them.
    sockets: BTreeMap<u64, ConnId>,
    /// What is to be done once the file is written.
    orders: Vec<Order>,
    /// Hears everything that the sentinel publishes.
    listener: SessionId,
}

impl Lookout {
    /// Connections that the sentinel has made.
    pub fn conns(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.sockets.values().copied()
    }

    fn socket_of(&self, conn: ConnId) -> Option<u64> {
        let mut sockets = self.sockets.iter();
        sockets
            .find(|(_, id)| **id == conn)
            .map(|(socket, _)| *socket)
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

/// What makes a sentinel do some things more often.
const HURRY: [&str; 6] = [
    "SENTINEL",
    "DEBUG",
    "info-period",
    "3000",
    "tilt-period",
    "6000",
];

/// What a sentinel forgets that has forgotten its votes.
const VOTES: [&str; 2] = ["sentinel current-epoch", "sentinel leader-epoch"];

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
        let (loaded, settings) = configuration(&self.disk, true)?;
        let own = sentinel::Settings::new(String::new(), loaded.config.port);
        let rng = Rng::seed_from_u64(!seed);
        let mut sentinel = Sentinel::new(own, Box::new(NoNames), rng, self.clock.now_ms());
        let mut lines = loaded.sentinel.unwrap_or_default();
        if mutation == Some(Mutation::ForgetsVotes) {
            lines.retain(|line| !VOTES.iter().any(|vote| line.line.starts_with(vote)));
        }
        let words: Vec<_> = lines.into_iter().map(|line| line.words).collect();
        sentinel.load(&words).map_err(|(_, why)| why)?;
        sentinel.begin(self.clock.now_ms());
        let (host, file) = OnDisk::new(&self.disk, mutation);
        let mut engine = Engine::new(Options {
            settings,
            clock: Arc::new(self.clock.clone()),
            host: Box::new(host),
            seed: Some(seed),
            sentinel: Some(Box::new(sentinel)),
            ..Options::default()
        });
        engine.refresh_time();
        let listener = join(&mut engine);
        let mut reply = ReplyBuf::new(Proto::Resp2);
        engine.execute(listener, Args::new(&[b"PSUBSCRIBE", b"*"]), &mut reply);
        let lookout = Lookout {
            sockets: BTreeMap::new(),
            orders: Vec::new(),
            listener,
        };
        self.run(engine, None, Some(file), Some(lookout));
        Ok(())
    }
}

impl World {
    /// Starts a sentinel on what its disk holds.
    pub fn start_sentinel(&mut self, place: Place) {
        let seed = self.rng.next_u64();
        let mutation = self.mutation;
        note!(self, "sentinel {place} starts");
        let machine = &mut self.nodes[place];
        if machine.starts == 0 {
            let watch = self.plan.watch.as_ref().unwrap();
            machine.put_file(&first_file(watch, place));
        }
        if let Err(e) = machine.start_sentinel(self.now, seed, mutation) {
            return self.wrong(format!("sentinel {place} does not start: {e}"));
        }
        if let Some(sentinel) = &machine.up.as_mut().unwrap().engine.state().sys.sentinel
            && let Some(master) = sentinel.find(NAME)
        {
            let (epoch, config) = (sentinel.epoch, master.config_epoch);
            self.witness.starts(place, epoch, config, master.vote_epoch);
        }
        self.judge_sentinels();
        if self.plan.watch.as_ref().is_some_and(|watch| watch.hurries) {
            let up = self.nodes[place].up.as_mut().unwrap();
            let reply = up.call(&HURRY);
            assert_eq!(reply, Value::Simple(b"OK".to_vec()));
        }
        self.after(place);
    }

    /// What a sentinel wants done waits until that is carried out.
    pub fn take_orders(&mut self, place: Place) {
        if let Some(up) = self.nodes[place].up.as_mut()
            && let Some(lookout) = up.lookout.as_mut()
        {
            lookout.orders.extend(up.engine.sentinel_orders());
        }
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
