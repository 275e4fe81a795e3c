//! The network: connections that carry bytes in order, both ways, until something happens to them.
//!
//! What is sent is cut into pieces, each of which takes its time and none of which overtakes another. A way between two
//! places may be blocked: then pieces wait, as they do under TCP, until it is open again or the connection is given up by one of its
//! ends. A connection may be cut: what is under way is lost, and both ends learn of it. And it may die: nothing passes any
//! more, and nobody is told.

use super::queue::Queue;
use super::world::Event;
use redkeep::util::rng::Rng;
use std::collections::{BTreeMap, VecDeque};

/// Where something is: the number of a node, or of a sentinel behind them; the last place is the operator's.
pub type Place = usize;

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
    pub const fn other(self) -> End {
        match self {
            End::Caller => End::Called,
            End::Called => End::Caller,
        }
    }
}

/// Who makes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client, by its number.
    Client(usize),
    /// The link of a replica, and the number of the leader that it follows.
    Link { node: usize, upstream: u64 },
    /// A sentinel, by its place, and what it calls the connection.
    Sentinel { place: Place, socket: u64 },
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The call, or that it was answered.
    Open,
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

#[derive(Debug)]
pub struct Conn {
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
    /// Microseconds that a piece takes, between these.
    pub least: u64,
    pub most: u64,
    /// Pieces have at most so many bytes.
    pub piece: usize,
    /// Bytes that one end may have under way.
    pub window: usize,
}

#[derive(Debug)]
pub struct Net {
    conns: BTreeMap<ConnId, Conn>,
    next: ConnId,
    /// From where to where nothing passes.
    blocked: Vec<Vec<bool>>,
    pub manners: Manners,
    rng: Rng,
}

impl Net {
    pub fn new(places: usize, manners: Manners, seed: u64) -> Net {
        Net {
            conns: BTreeMap::new(),
            next: 1,
            blocked: vec![vec![false; places]; places],
            manners,
            rng: Rng::seed_from_u64(seed),
        }
    }

    /// Whether pieces pass from one place to another.
    pub fn passes(&self, from: Place, to: Place) -> bool {
        !self.blocked[from][to]
    }

    /// Whether one can talk to the other.
    pub fn reaches(&self, from: Place, to: Place) -> bool {
        self.passes(from, to) && self.passes(to, from)
    }

    /// Nothing passes from one place to another from now on.
    pub fn block(&mut self, from: Place, to: Place) {
        if from != to {
            self.blocked[from][to] = true;
        }
    }

    /// Everything passes again. What waited goes on.
    pub fn unblock_all(&mut self, now: i64, queue: &mut Queue<Event>) {
        self.blocked
            .iter_mut()
            .flatten()
            .for_each(|blocked| *blocked = false);
        let ids: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in ids {
            self.plan(now, id, End::Caller, queue);
            self.plan(now, id, End::Called, queue);
        }
    }

    pub fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id)
    }

    /// Connections between nodes, or of clients with one.
    pub fn all(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.conns.iter().map(|(id, conn)| (*id, conn))
    }

    /// Makes a connection. Whoever is called finds [`Piece::Open`].
    pub fn call(
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
    pub fn room(&self, id: ConnId, from: End) -> usize {
        let under_way = self
            .conns
            .get(&id)
            .map_or(0, |c| c.pipes[from as usize].bytes);
        self.manners.window.saturating_sub(under_way)
    }

    /// Sends bytes, in pieces.
    pub fn send(
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
    pub fn answer(&mut self, now: i64, id: ConnId, queue: &mut Queue<Event>) {
        self.put(now, id, End::Called, Piece::Open, queue);
    }

    fn put(&mut self, now: i64, id: ConnId, from: End, piece: Piece, queue: &mut Queue<Event>) {
        let took = self.manners.least + self.rng.below(self.manners.most - self.manners.least + 1);
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
        pipe.last = pipe.last.max(now + took as i64);
        pipe.pieces.push_back((pipe.last, piece));
        self.plan(now, id, from, queue);
    }

    /// Plans the arrival of the first piece, if it can arrive.
    fn plan(&mut self, now: i64, id: ConnId, from: End, queue: &mut Queue<Event>) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (place, to) = (
            conn.places[from as usize],
            conn.places[from.other() as usize],
        );
        let pipe = &mut conn.pipes[from as usize];
        if pipe.planned || self.blocked[place][to] {
            return;
        }
        if let Some((at, _)) = pipe.pieces.front() {
            pipe.planned = true;
            queue.add(now.max(*at), Event::Arrive { conn: id, from });
        }
    }

    /// The first piece arrives, unless something came between.
    pub fn arrive(
        &mut self,
        now: i64,
        id: ConnId,
        from: End,
        queue: &mut Queue<Event>,
    ) -> Option<Piece> {
        let conn = self.conns.get_mut(&id)?;
        let (place, to) = (
            conn.places[from as usize],
            conn.places[from.other() as usize],
        );
        let pipe = &mut conn.pipes[from as usize];
        pipe.planned = false;
        if self.blocked[place][to] {
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
    pub fn close(&mut self, now: i64, id: ConnId, end: End, queue: &mut Queue<Event>) {
        self.put(now, id, end, Piece::End, queue);
        self.vanish(id, end);
    }

    /// An end is gone, and says nothing.
    pub fn vanish(&mut self, id: ConnId, end: End) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.open[end as usize] = false;
        if conn.open == [false, false] {
            self.conns.remove(&id);
        }
    }

    /// The connection is cut: what is under way is lost, and both ends learn of it, one after the other.
    pub fn cut(&mut self, now: i64, id: ConnId, queue: &mut Queue<Event>) {
        for from in [End::Caller, End::Called] {
            self.lose(id, from);
            self.put(now, id, from, Piece::End, queue);
        }
    }

    /// Nothing passes any more, and nobody learns of it.
    pub fn die(&mut self, id: ConnId) {
        for from in [End::Caller, End::Called] {
            self.lose(id, from);
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.dead = true;
        }
    }

    /// What an end has sent and what has not arrived is lost.
    pub fn lose(&mut self, id: ConnId, from: End) {
        if let Some(conn) = self.conns.get_mut(&id) {
            let pipe = &mut conn.pipes[from as usize];
            pipe.pieces.clear();
            pipe.bytes = 0;
        }
    }
}

impl Conn {
    /// Whether nodes and sentinels have made it, and no client.
    pub fn is_link(&self) -> bool {
        !matches!(self.caller, Caller::Client(_))
    }
}
