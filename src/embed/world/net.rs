//! The network: connections that carry bytes in order, both ways, until something happens to them.
//!
//! What is sent is cut into pieces, each of which takes its time and none of which overtakes another. A way between two
//! places may be blocked: then pieces wait, as they do under TCP, until it is open again or the connection is given up by one of its
//! ends. A way may be long, or lose pieces: those are sent again, as TCP does, and are late. A connection may be cut: what is
//! under way is lost, and both ends learn of it. And it may die: nothing passes any more, and nobody is told.

use std::collections::{BTreeMap, VecDeque};

use super::Event;
use super::machine::Place;
use super::queue::Queue;
use crate::util::rng::Rng;

/// The number of a connection; never used twice.
pub type ConnId = u64;

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Who made it.
    Caller = 0,
    /// Who was called.
    Called = 1,
}

impl End {
    pub(super) const fn other(self) -> End {
        match self {
            End::Caller => End::Called,
            End::Called => End::Caller,
        }
    }
}

/// Who makes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client of the world, by its number.
    Client {
        /// What its owner calls it.
        id: usize,
        /// Nobody keeps it out, and it need not say who it is.
        trusted: bool,
    },
    /// The link of a replica, and the number of the leader that it follows.
    Link {
        /// Where the replica is.
        place: Place,
        /// The number of the leader.
        upstream: u64,
    },
    /// A sentinel, and what it calls the connection.
    Sentinel {
        /// Where it is.
        place: Place,
        /// What it calls the connection.
        socket: u64,
    },
    /// Keys on their way to another machine (MIGRATE).
    Parcel {
        /// Where they come from.
        place: Place,
    },
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The call, or that it was answered.
    Open,
    /// Bytes.
    Bytes(Vec<u8>),
    /// The other end is gone.
    End,
}

#[derive(Debug)]
struct Pipe {
    pieces: VecDeque<(i64, Piece)>,
    /// Bytes under way.
    bytes: usize,
    /// When the last piece arrives: none overtakes another.
    last: i64,
    /// The arrival of the first piece is planned.
    planned: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Conn {
    /// Who made it.
    pub caller: Caller,
    /// Where the two ends are.
    pub places: [Place; 2],
    open: [bool; 2],
    /// By who sends.
    pipes: [Pipe; 2],
    dead: bool,
}

/// How a network behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Microseconds that a piece takes at least.
    pub least: u64,
    /// Microseconds that it takes at most.
    pub most: u64,
    /// Pieces have at most so many bytes, or a sixth of what is sent.
    pub piece: usize,
    /// Bytes that one end may have under way.
    pub window: usize,
}

impl Default for Manners {
    /// Those of a good local network.
    fn default() -> Manners {
        Manners {
            least: 100,
            most: 500,
            piece: 16 * 1024,
            window: 1024 * 1024,
        }
    }
}

/// A way from one place to another.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// Nothing passes.
    blocked: bool,
    /// Microseconds that pieces take beyond what they take anywhere.
    delay: i64,
    /// With this probability a piece is lost, and sent again.
    loss: f64,
}

/// After so many microseconds a lost piece is sent again for the first time; then after twice as long, and so on.
const RESENT_AFTER: i64 = 200_000;

/// A piece is lost so often at most.
const LOST_MOST: u32 = 8;

#[derive(Debug)]
pub(super) struct Net {
    conns: BTreeMap<ConnId, Conn>,
    next: ConnId,
    /// From where to where.
    ways: Vec<Vec<Way>>,
    pub(super) manners: Manners,
    rng: Rng,
}

impl Net {
    pub(super) fn new(places: usize, manners: Manners, seed: u64) -> Net {
        Net {
            conns: BTreeMap::new(),
            next: 1,
            ways: vec![vec![Way::default(); places]; places],
            manners,
            rng: Rng::seed_from_u64(seed),
        }
    }

    fn way(&self, from: Place, to: Place) -> Way {
        let way = self.ways.get(from).and_then(|ways| ways.get(to));
        way.copied().unwrap_or_default()
    }

    /// The way from one place to another, unless that is the same or there is none.
    fn change(&mut self, from: Place, to: Place, change: impl FnOnce(&mut Way)) {
        let way = self.ways.get_mut(from).and_then(|ways| ways.get_mut(to));
        if let Some(way) = way.filter(|_| from != to) {
            change(way);
        }
    }

    /// Whether pieces pass from one place to another.
    pub(super) fn passes(&self, from: Place, to: Place) -> bool {
        !self.way(from, to).blocked
    }

    /// Nothing passes from one place to another from now on.
    pub(super) fn block(&mut self, from: Place, to: Place) {
        self.change(from, to, |way| way.blocked = true);
    }

    /// Pieces take so many microseconds longer from now on.
    pub(super) fn delay(&mut self, from: Place, to: Place, micros: i64) {
        self.change(from, to, |way| way.delay = micros);
    }

    /// Pieces are lost with this probability from now on.
    pub(super) fn lose_some(&mut self, from: Place, to: Place, loss: f64) {
        self.change(from, to, |way| way.loss = loss);
    }

    /// Everything passes again. What waited goes on.
    pub(super) fn unblock_all(&mut self, now: i64, queue: &mut Queue<Event>) {
        let ways = self.ways.iter_mut().flatten();
        ways.for_each(|way| way.blocked = false);
        let ids: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in ids {
            self.plan(now, id, End::Caller, queue);
            self.plan(now, id, End::Called, queue);
        }
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.conns.iter().map(|(id, conn)| (*id, conn))
    }

    /// Makes a connection. Whoever is called finds [`Piece::Open`].
    pub(super) fn call(
        &mut self,
        now: i64,
        caller: Caller,
        from: Place,
        to: Place,
        queue: &mut Queue<Event>,
    ) -> ConnId {
        let id = self.next;
        self.next += 1;
        let pipe = || Pipe {
            pieces: VecDeque::new(),
            bytes: 0,
            last: now,
            planned: false,
        };
        self.conns.insert(
            id,
            Conn {
                caller,
                places: [from, to],
                open: [true, true],
                pipes: [pipe(), pipe()],
                dead: false,
            },
        );
        self.put(now, id, End::Caller, Piece::Open, queue);
        id
    }

    /// Bytes that this end may still send before some of them have arrived.
    pub(super) fn room(&self, id: ConnId, from: End) -> usize {
        let conn = self.conns.get(&id);
        let under_way = conn.map_or(0, |conn| conn.pipes[from as usize].bytes);
        self.manners.window.saturating_sub(under_way)
    }

    /// Sends bytes, in pieces.
    pub(super) fn send(
        &mut self,
        now: i64,
        id: ConnId,
        from: End,
        bytes: &[u8],
        queue: &mut Queue<Event>,
    ) {
        let mut rest = bytes;
        // No more than a few, however small pieces are to be.
        let piece = self.manners.piece.max(bytes.len() / 6);
        while !rest.is_empty() {
            let n = (1 + self.rng.index(piece)).min(rest.len());
            let (first, others) = rest.split_at(n);
            rest = others;
            self.put(now, id, from, Piece::Bytes(first.to_vec()), queue);
        }
    }

    /// Answers a call.
    pub(super) fn answer(&mut self, now: i64, id: ConnId, queue: &mut Queue<Event>) {
        self.put(now, id, End::Called, Piece::Open, queue);
    }

    /// How long a piece takes.
    fn takes(&mut self, way: Way) -> i64 {
        let spread = self.manners.most.saturating_sub(self.manners.least);
        let mut took = (self.manners.least + self.rng.below(spread + 1)) as i64 + way.delay;
        let mut lost = 0;
        while way.loss > 0.0 && lost < LOST_MOST && self.rng.chance(way.loss) {
            took += RESENT_AFTER << lost;
            lost += 1;
        }
        took
    }

    fn put(&mut self, now: i64, id: ConnId, from: End, piece: Piece, queue: &mut Queue<Event>) {
        let places = self.conns.get(&id).map_or([0, 0], |conn| conn.places);
        let way = self.way(places[from as usize], places[from.other() as usize]);
        let took = self.takes(way);
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if conn.dead {
            return;
        }
        let pipe = &mut conn.pipes[from as usize];
        if let Piece::Bytes(bytes) = &piece {
            pipe.bytes += bytes.len();
        }
        pipe.last = pipe.last.max(now + took);
        pipe.pieces.push_back((pipe.last, piece));
        self.plan(now, id, from, queue);
    }

    /// Plans the arrival of the first piece, if it can arrive.
    fn plan(&mut self, now: i64, id: ConnId, from: End, queue: &mut Queue<Event>) {
        let passes = self.passes_over(id, from);
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let pipe = &mut conn.pipes[from as usize];
        if pipe.planned || !passes {
            return;
        }
        if let Some((at, _)) = pipe.pieces.front() {
            pipe.planned = true;
            queue.add(now.max(*at), Event::Arrive { conn: id, from });
        }
    }

    /// Whether what an end sends can arrive.
    fn passes_over(&self, id: ConnId, from: End) -> bool {
        self.conns.get(&id).is_some_and(|conn| {
            let (place, to) = (from as usize, from.other() as usize);
            self.passes(conn.places[place], conn.places[to])
        })
    }

    /// The first piece arrives, unless something came between.
    pub(super) fn arrive(
        &mut self,
        now: i64,
        id: ConnId,
        from: End,
        queue: &mut Queue<Event>,
    ) -> Option<Piece> {
        let passes = self.passes_over(id, from);
        let conn = self.conns.get_mut(&id)?;
        let pipe = &mut conn.pipes[from as usize];
        pipe.planned = false;
        if !passes {
            return None;
        }
        // What was cut may have made room for something later.
        if pipe.pieces.front().is_none_or(|(at, _)| *at > now) {
            self.plan(now, id, from, queue);
            return None;
        }
        let (_, piece) = pipe.pieces.pop_front()?;
        if let Piece::Bytes(bytes) = &piece {
            pipe.bytes -= bytes.len();
        }
        let is_open = conn.open[from.other() as usize];
        if !is_open && piece != Piece::End && conn.open[from as usize] {
            // Nobody is there.
            self.put(now, id, from.other(), Piece::End, queue);
        }
        self.plan(now, id, from, queue);
        is_open.then_some(piece)
    }

    /// An end closes the connection. The other one learns of it, if anything passes.
    pub(super) fn close(&mut self, now: i64, id: ConnId, end: End, queue: &mut Queue<Event>) {
        self.put(now, id, end, Piece::End, queue);
        self.vanish(id, end);
    }

    /// An end is gone, and says nothing.
    pub(super) fn vanish(&mut self, id: ConnId, end: End) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.open[end as usize] = false;
        if conn.open == [false, false] {
            self.conns.remove(&id);
        }
    }

    /// The connection is cut: what is under way is lost, and both ends learn of it, one after the other.
    pub(super) fn cut(&mut self, now: i64, id: ConnId, queue: &mut Queue<Event>) {
        for from in [End::Caller, End::Called] {
            self.lose(id, from);
            self.put(now, id, from, Piece::End, queue);
        }
    }

    /// Nothing passes any more, and nobody learns of it.
    pub(super) fn die(&mut self, id: ConnId) {
        for from in [End::Caller, End::Called] {
            self.lose(id, from);
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.dead = true;
        }
    }

    /// What an end has sent and what has not arrived is lost.
    pub(super) fn lose(&mut self, id: ConnId, from: End) {
        if let Some(conn) = self.conns.get_mut(&id) {
            let pipe = &mut conn.pipes[from as usize];
            pipe.pieces.clear();
            pipe.bytes = 0;
        }
    }
}

impl Conn {
    /// Whether nodes and sentinels have made it, and no client.
    pub const fn is_link(&self) -> bool {
        !matches!(self.caller, Caller::Client { .. })
    }
}
