//! What a machine does for those who are connected to it: clients and replicas alike.

use std::sync::Arc;

use super::machine::Place;
use super::net::{Caller, ConnId, End, Piece};
use super::{Event, News, World, address};
use crate::engine::Outcome;
use crate::exec::output::Unsent;
use crate::exec::session::Peer;
use crate::exec::ticket::Ticket;
use crate::exec::{Args, SessionId};
use crate::resp::{ArgVec, Batch, Decoder, Limits, Proto, ReplyBuf, Value, parse_reply};
use crate::util::waiting::{Confirmed, Reached};

/// A connection, as the machine sees it.
pub(super) struct Served {
    sid: SessionId,
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
    fn new(sid: SessionId, unsent: Unsent) -> Served {
        Served {
            sid,
            decoder: Decoder::new(),
            input: Vec::new(),
            output: Vec::new(),
            unsent,
            held: None,
            votes: Vec::new(),
            phase: Phase::Open,
        }
    }

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

    /// No more is understood of what has come: that is said, and the connection ends.
    fn refuse(&mut self, why: &[u8]) {
        let mut reply = ReplyBuf::new(Proto::Resp2);
        reply.error_bytes(why);
        self.input.clear();
        self.write(reply.as_slice(), None);
        self.enter(Outcome::Close);
    }
}

impl World {
    /// Something has come for a machine from who is connected to it.
    pub(super) fn machine_gets(&mut self, place: Place, conn: ConnId, piece: Piece) {
        match piece {
            Piece::Open => self.accept(place, conn),
            Piece::Bytes(bytes) => {
                if let Some(served) = self.served(place, conn) {
                    served.input.extend_from_slice(&bytes);
                    self.serve(place, conn);
                }
            }
            Piece::End => {
                self.part(place, conn);
                self.net.vanish(conn, End::Called);
            }
        }
    }

    fn served(&mut self, place: Place, conn: ConnId) -> Option<&mut Served> {
        self.machines[place].up.as_mut()?.served.get_mut(&conn)
    }

    fn accept(&mut self, place: Place, conn: ConnId) {
        let Some(called) = self.net.get(conn) else {
            return;
        };
        let (from, caller) = (called.places[0], called.caller);
        let port = self.machines[place].port;
        let Some(up) = self.machines[place].up.as_mut() else {
            // Nobody listens.
            return self.net.close(self.now, conn, End::Called, &mut self.queue);
        };
        let unsent = up.engine.state().sessions.unsent().connection();
        let peer = Peer {
            addr: format!("{}:{}", address(from), 10_000 + conn % 50_000),
            laddr: format!("{}:{port}", address(place)),
            fd: 8,
            local: true,
            trusted: matches!(caller, Caller::Client { trusted: true, .. }),
            unsent: unsent.clone(),
            ..Peer::default()
        };
        let sid = up.hold(|engine| engine.connect(peer));
        up.sessions.insert(sid, conn);
        up.served.insert(conn, Served::new(sid, unsent));
        self.net.answer(self.now, conn, &mut self.queue);
    }

    /// The connection is gone.
    fn part(&mut self, place: Place, conn: ConnId) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        if let Some(served) = up.served.remove(&conn) {
            up.sessions.remove(&served.sid);
            up.hold(|engine| engine.disconnect(served.sid));
            self.after(place);
        }
    }

    /// Runs what has come in.
    pub(super) fn serve(&mut self, place: Place, conn: ConnId) {
        loop {
            let stalled = self.machines[place].is_stalled(self.now);
            let Some(served) = self.served(place, conn) else {
                return;
            };
            let idle = served.phase == Phase::Open && served.is_free();
            if stalled || !idle || served.input.is_empty() {
                break;
            }
            let goes_on = self.run_batch(place, conn);
            self.after(place);
            if !goes_on {
                break;
            }
        }
        self.flush(place, conn);
    }

    /// Runs the requests that are whole; whether there may be more.
    fn run_batch(&mut self, place: Place, conn: ConnId) -> bool {
        let Some(up) = self.machines[place].up.as_mut() else {
            return false;
        };
        let Some(served) = up.served.get_mut(&conn) else {
            return false;
        };
        let mut batch = Batch::new();
        served
            .decoder
            .decode(&served.input, &Limits::default(), &mut batch);
        let engine = &mut up.engine;
        engine.refresh_time();
        if batch.is_empty() {
            if let Some(error) = batch.error() {
                served.refuse(&error.wire_text());
                return false;
            }
            if batch.consumed() > 0 {
                engine.heard(served.sid);
            }
            up.actions.extend(engine.take_actions());
            served.input.drain(..batch.consumed());
            return false;
        }
        let mut reply = ReplyBuf::new(Proto::Resp2);
        if let Some(session) = engine.state().sessions.get(served.sid) {
            reply.set_proto(session.proto);
        }
        let mut used = batch.consumed();
        let mut ended = None;
        for i in 0..batch.len() {
            let argv: ArgVec<'_> = batch.argv(i, &served.input);
            let before = reply.len();
            let outcome = engine.execute(served.sid, Args::new(&argv), &mut reply);
            if asks_for_vote(&argv) {
                let vote = reply.as_slice().get(before..).unwrap_or_default();
                served.votes.push(vote.to_vec());
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
    fn note_vote(&mut self, place: Place, reply: &[u8]) {
        if let Ok(Some((Value::Array(parts), _))) = parse_reply(reply)
            && let [_, Value::Bulk(whom), Value::Int(epoch)] = &parts[..]
            && whom != b"*"
        {
            let whom = String::from_utf8_lossy(whom).into_owned();
            let epoch = u64::try_from(*epoch).unwrap_or_default();
            self.tell(News::Voted { place, whom, epoch });
        }
    }

    /// Sends what there is, as far as there is room; and ends what is to end.
    pub(super) fn flush(&mut self, place: Place, conn: ConnId) {
        if self.machines[place].is_stalled(self.now) {
            return;
        }
        if let Some(served) = self.served(place, conn) {
            for vote in std::mem::take(&mut served.votes) {
                self.note_vote(place, &vote);
            }
        }
        while self.flush_once(place, conn) {}
    }

    /// Sends what fits; whether there may be more that does.
    fn flush_once(&mut self, place: Place, conn: ConnId) -> bool {
        let room = self.net.room(conn, End::Called);
        let Some(up) = self.machines[place].up.as_mut() else {
            return false;
        };
        let Some(served) = up.served.get_mut(&conn) else {
            return false;
        };
        if !served.is_free() {
            return false;
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
                self.queue.add(self.now, Event::Serve { place, conn });
            }
            if !served.is_free() {
                return false;
            }
        }
        if served.output.len() > room && room < self.net.manners.window / 2 {
            // Little by little is not worth it.
            return false;
        }
        let n = served.output.len().min(room);
        let bytes: Vec<u8> = served.output.drain(..n).collect();
        let (rest, closing) = (served.output.len(), served.phase == Phase::Closing);
        served.count();
        self.net
            .send(self.now, conn, End::Called, &bytes, &mut self.queue);
        if closing && rest == 0 {
            self.net.close(self.now, conn, End::Called, &mut self.queue);
            self.part(place, conn);
            return false;
        }
        more && n > 0
    }

    /// Those whose answers were held look whether they still are.
    pub(super) fn look_at_held(&mut self, place: Place) {
        let Some(up) = self.machines[place].up.as_mut() else {
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
            self.flush(place, conn);
            self.serve(place, conn);
        }
    }

    /// What is to be told to whom is told.
    pub(super) fn wake(&mut self, place: Place, sid: SessionId) {
        let up = self.machines[place].up.as_ref();
        let conn = up.and_then(|up| up.sessions.get(&sid));
        if let Some(conn) = conn.copied() {
            self.flush(place, conn);
        }
    }
}

/// Whether a sentinel asks another one for its vote.
fn asks_for_vote(argv: &[&[u8]]) -> bool {
    argv.get(1)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"is-master-down-by-addr"))
}
