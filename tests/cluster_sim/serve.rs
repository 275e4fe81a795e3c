//! What a node does for those who are connected to it: clients and replicas alike.

use super::net::{ConnId, End, Piece};
use super::world::{PORT, World, address, note};
use redkeep::engine::Outcome;
use redkeep::exec::output::Unsent;
use redkeep::exec::session::Peer;
use redkeep::exec::ticket::Ticket;
use redkeep::exec::{Args, SessionId};
use redkeep::resp::{ArgVec, Batch, Decoder, Limits, Proto, ReplyBuf, Value, parse_reply};
use redkeep::util::waiting::{Confirmed, Reached};
use std::sync::Arc;

/// A connection, as the node sees it.
pub struct Served {
    pub sid: SessionId,
    decoder: Decoder,
    input: Vec<u8>,
    /// What is to be sent.
    output: Vec<u8>,
    unsent: Unsent,
    /// What may not be sent before something is reached. Nothing is read meanwhile.
    held: Option<(Ticket, Vec<u8>)>,
    /// Answers of a sentinel that was asked for its vote, which have not left.
    votes: Vec<Vec<u8>>,
    phase: Phase,
}

/// Everybody is looked at whenever something has happened.
struct Nobody;

impl Confirmed for Nobody {
    fn confirmed(&self) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// It waits for something.
    Blocked,
    /// It ends when everything is sent.
    Closing,
}

impl Served {
    fn enter(&mut self, outcome: Outcome) {
        self.phase = match outcome {
            _ if self.phase == Phase::Closing => Phase::Closing,
            Outcome::Done => Phase::Open,
            Outcome::Blocked => Phase::Blocked,
            Outcome::Close => Phase::Closing,
            Outcome::Cut => {
                self.output.clear();
                self.held = None;
                Phase::Closing
            }
        };
    }

    /// Something was written that may have to wait.
    fn write(&mut self, bytes: &[u8], ticket: Option<Ticket>) {
        match ticket {
            None => self.output.extend_from_slice(bytes),
            Some(ticket) => {
                let nobody: Arc<dyn Confirmed> = Arc::new(Nobody);
                // The engine is to look at the time when the wait is over.
                ticket.reached_or_tell(&nobody);
                self.held = Some((ticket, bytes.to_vec()));
            }
        }
        self.count();
    }

    /// Tells the engine how much there is.
    fn count(&self) {
        let held = self.held.as_ref().map_or(0, |(_, bytes)| bytes.len());
        self.unsent.set(self.output.len() + held);
    }

    /// Whether nothing has to wait any more.
    fn is_free(&mut self) -> bool {
        let Some((ticket, bytes)) = &self.held else {
            return true;
        };
        match ticket.reached() {
            Reached::Later => return false,
            Reached::Yes => self.output.extend_from_slice(bytes),
            Reached::TimedOut => self.output.extend_from_slice(&ticket.refuse(bytes)),
            Reached::Lost => {
                self.enter(Outcome::Cut);
                return true;
            }
        }
        self.held = None;
        true
    }
}

impl World {
    /// Something has come for a node from who is connected to it.
    pub fn node_gets(&mut self, node: usize, conn: ConnId, piece: Piece) {
        match piece {
            Piece::Open => self.node_accepts(node, conn),
            Piece::Bytes(bytes) => {
                if let Some(served) = self.served(node, conn) {
                    served.input.extend_from_slice(&bytes);
                    self.serve(node, conn);
                }
            }
            Piece::End => {
                self.part(node, conn);
                self.net.vanish(conn, End::Called);
            }
        }
    }

    fn served(&mut self, node: usize, conn: ConnId) -> Option<&mut Served> {
        self.nodes[node].up.as_mut()?.served.get_mut(&conn)
    }

    fn node_accepts(&mut self, node: usize, conn: ConnId) {
        let place = self.net.get(conn).map_or(0, |conn| conn.places[0]);
        let Some(up) = self.nodes[node].up.as_mut() else {
            // Nobody listens.
            return self.net.close(self.now, conn, End::Called, &mut self.queue);
        };
        let unsent = up.engine.state().sessions.unsent().connection();
        let peer = Peer {
            addr: format!("{}:{}", address(place), 10_000 + conn % 50_000),
            laddr: format!("{}:{PORT}", address(node)),
            fd: 8,
            local: true,
            unsent: unsent.clone(),
            ..Peer::default()
        };
        let sid = up.hold(|engine| engine.connect(peer));
        up.sessions.insert(sid, conn);
        up.served.insert(
            conn,
            Served {
                sid,
                decoder: Decoder::new(),
                input: Vec::new(),
                output: Vec::new(),
                unsent,
                held: None,
                votes: Vec::new(),
                phase: Phase::Open,
            },
        );
        self.net.answer(self.now, conn, &mut self.queue);
    }

    /// The connection is gone.
    fn part(&mut self, node: usize, conn: ConnId) {
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        if let Some(served) = up.served.remove(&conn) {
            up.sessions.remove(&served.sid);
            up.hold(|engine| engine.disconnect(served.sid));
            self.after(node);
        }
    }

    /// Runs what has come in.
    fn serve(&mut self, node: usize, conn: ConnId) {
        loop {
            let stalled = self.nodes[node].is_stalled(self.now);
            let Some(served) = self.served(node, conn) else {
                return;
            };
            let idle = served.phase == Phase::Open && served.is_free();
            if stalled || !idle || served.input.is_empty() {
                break;
            }
            let goes_on = self.run_batch(node, conn);
            self.after(node);
            if !goes_on {
                break;
            }
        }
        self.flush(node, conn);
    }

    /// Runs the requests that are whole; whether there may be more.
    fn run_batch(&mut self, node: usize, conn: ConnId) -> bool {
        let up = self.nodes[node].up.as_mut().unwrap();
        let served = up.served.get_mut(&conn).unwrap();
        let mut batch = Batch::new();
        served
            .decoder
            .decode(&served.input, &Limits::default(), &mut batch);
        if let Some(e) = batch.error() {
            panic!("node {node} cannot read what it was sent: {e}");
        }
        let engine = &mut up.engine;
        engine.refresh_time();
        if batch.is_empty() {
            if batch.consumed() > 0 {
                engine.heard(served.sid);
            }
            up.actions.extend(engine.take_actions());
            served.input.drain(..batch.consumed());
            return false;
        }
        let mut reply = ReplyBuf::new(Proto::Resp2);
        let mut used = batch.consumed();
        let mut ended = None;
        for i in 0..batch.len() {
            let argv: ArgVec<'_> = batch.argv(i, &served.input);
            let before = reply.len();
            let outcome = engine.execute(served.sid, Args::new(&argv), &mut reply);
            if asks_for_vote(&argv) {
                served.votes.push(reply.as_slice()[before..].to_vec());
            }
            if outcome != Outcome::Done {
                used = batch.end(i);
                ended = Some(outcome);
                break;
            }
        }
        let ticket = engine.settle();
        up.actions.extend(engine.take_actions());
        served.input.drain(..used);
        served.write(reply.as_slice(), ticket);
        if let Some(outcome) = ended {
            served.decoder = Decoder::new();
            served.enter(outcome);
        }
        served.phase == Phase::Open
    }

    /// A sentinel tells whom it has voted for.
    fn note_vote(&mut self, node: usize, reply: &[u8]) {
        if let Ok(Some((Value::Array(parts), _))) = parse_reply(reply)
            && let [_, Value::Bulk(whom), Value::Int(epoch)] = &parts[..]
            && whom != b"*"
        {
            let whom = String::from_utf8_lossy(whom);
            let epoch = u64::try_from(*epoch).unwrap();
            self.witness.voted(node, &whom, epoch);
            self.judge_sentinels();
        }
    }

    /// Sends what there is, as far as there is room; and ends what is to end.
    pub fn flush(&mut self, node: usize, conn: ConnId) {
        if self.nodes[node].is_stalled(self.now) {
            return;
        }
        if let Some(served) = self.served(node, conn) {
            for vote in std::mem::take(&mut served.votes) {
                self.note_vote(node, &vote);
            }
        }
        loop {
            let room = self.net.room(conn, End::Called);
            let Some(up) = self.nodes[node].up.as_mut() else {
                return;
            };
            let Some(served) = up.served.get_mut(&conn) else {
                return;
            };
            if !served.is_free() {
                return;
            }
            let mut more = false;
            if served.output.is_empty() && served.phase != Phase::Closing {
                let mut out = ReplyBuf::new(Proto::Resp2);
                let taken = up.engine.take(served.sid, &mut out, room > 0);
                let was_blocked = served.phase == Phase::Blocked;
                if !out.is_empty() {
                    served.write(out.as_slice(), taken.ticket);
                }
                served.enter(taken.outcome);
                more = taken.more && room > 0;
                if was_blocked && served.phase == Phase::Open && !served.input.is_empty() {
                    let (now, conn) = (self.now, conn);
                    self.queue
                        .add(now, super::world::Event::Serve { node, conn });
                }
                if !served.is_free() {
                    return;
                }
            }
            if served.output.len() > room && room < self.net.manners.window / 2 {
                // Little by little is not worth it.
                return;
            }
            let n = served.output.len().min(room);
            let bytes: Vec<u8> = served.output.drain(..n).collect();
            let (rest, closing) = (served.output.len(), served.phase == Phase::Closing);
            served.count();
            self.net
                .send(self.now, conn, End::Called, &bytes, &mut self.queue);
            if closing && rest == 0 {
                self.net.close(self.now, conn, End::Called, &mut self.queue);
                return self.part(node, conn);
            }
            if !more || n == 0 {
                return;
            }
        }
    }

    /// What was said goes on: a client waits no longer.
    pub fn serve_on(&mut self, node: usize, conn: ConnId) {
        self.serve(node, conn);
    }

    /// Those whose answers were held look whether they still are.
    pub fn look_at_held(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        let held = up
            .served
            .iter_mut()
            .filter(|(_, served)| served.held.is_some());
        let free: Vec<ConnId> = held
            .filter_map(|(conn, served)| served.is_free().then_some(*conn))
            .collect();
        for conn in free {
            self.flush(node, conn);
            self.serve(node, conn);
        }
    }

    /// What is to be told to whom is told.
    pub fn wake(&mut self, node: usize, sid: SessionId) {
        let conn = self.nodes[node]
            .up
            .as_ref()
            .and_then(|up| up.sessions.get(&sid));
        if let Some(conn) = conn.copied() {
            self.flush(node, conn);
        }
    }
}

/// Whether a sentinel asks another one for its vote.
fn asks_for_vote(argv: &[&[u8]]) -> bool {
    argv.get(1)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"is-master-down-by-addr"))
}

/// For the journal: what is told of a connection.
pub fn describe(world: &World, conn: ConnId) -> String {
    match world.net.get(conn) {
        Some(conn) => format!(
            "{:?} at {} to {}",
            conn.caller, conn.places[0], conn.places[1]
        ),
        None => "nobody".to_owned(),
    }
}

#[allow(dead_code, reason = "used where something is to be told")]
fn told(world: &mut World, conn: ConnId) {
    let what = describe(world, conn);
    note!(world, "{what}");
}
