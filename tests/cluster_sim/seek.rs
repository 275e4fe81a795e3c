//! How clients find the leader where there are sentinels: they ask one of them, and may listen for news.

use super::client::{Client, encode_command, words};
use super::sim::{Sim, note};
use crate::common::instance::text;
use redkeep::embed::world::{ConnId, Piece, place_of};
use redkeep::resp::{Value, parse_reply};
use redkeep::util::rng::Rng;

/// What a client knows of sentinels, and how it goes about them.
pub struct Seek {
    /// The node that was named last, if it was not called yet.
    target: Option<usize>,
    /// Which sentinel is asked next.
    next: usize,
    /// It asks a node whether it leads before it goes on.
    pub checks_role: bool,
    /// It is told when somebody else leads.
    listens: bool,
    /// On this connection, to this sentinel.
    conn: Option<ConnId>,
    heard: Vec<u8>,
}

impl Seek {
    pub fn new(rng: &mut Rng) -> Seek {
        Seek {
            target: None,
            next: rng.index(5),
            checks_role: rng.chance(0.7),
            listens: rng.chance(0.4),
            conn: None,
            heard: Vec::new(),
        }
    }

    pub fn listens_on(&self, conn: ConnId) -> bool {
        self.conn == Some(conn)
    }

    /// Another sentinel may do better.
    pub const fn was_refused(&mut self) {
        self.next += 1;
    }
}

impl Client {
    /// Where it connects to next: to the node that a sentinel has named, or to a sentinel. Some do not ask.
    pub fn whom_to_call(&mut self, nodes: usize, sentinels: usize) -> usize {
        if let Some(target) = self.seek.target.take() {
            return target;
        }
        match self.rng.below(20) {
            0 => self.rng.index(nodes),
            1 => self.site,
            _ => nodes + self.seek.next % sentinels,
        }
    }
}

impl Sim {
    /// A sentinel has answered where the leader is.
    pub fn client_is_told(&mut self, id: usize, answer: &Value) {
        let client = &mut self.clients[id];
        let host = answer.as_array().and_then(|parts| parts.first()).map(text);
        client.seek.target = host.and_then(|host| place_of(&host));
        if client.seek.target.is_none() {
            client.seek.was_refused();
        }
        if let Some((conn, _)) = client.conn.take() {
            self.world.close(conn);
        }
    }

    /// A client that wants to be told begins to listen, unless it does.
    pub fn client_listens(&mut self, id: usize) {
        let (nodes, sentinels) = (self.plan.nodes, self.plan.sentinels());
        let client = &self.clients[id];
        if sentinels == 0 || !client.seek.listens || client.seek.conn.is_some() {
            return;
        }
        let (site, to) = (client.site, nodes + client.seek.next % sentinels);
        let conn = self.world.call(id, false, site, to);
        let seek = &mut self.clients[id].seek;
        seek.conn = Some(conn);
        seek.heard.clear();
    }

    /// Something has come for a client that listens.
    pub fn client_hears(&mut self, id: usize, conn: ConnId, piece: Piece) {
        let seek = &mut self.clients[id].seek;
        match piece {
            Piece::Open => {
                let mut out = Vec::new();
                encode_command(&mut out, &words("SUBSCRIBE +switch-master"));
                self.world.send(conn, &out);
            }
            Piece::Bytes(bytes) => {
                seek.heard.extend_from_slice(&bytes);
                while let Some((value, used)) = parse_reply(&self.clients[id].seek.heard).unwrap() {
                    self.clients[id].seek.heard.drain(..used);
                    self.client_learns_of(id, &value);
                }
            }
            Piece::End => {
                seek.conn = None;
                self.world.forget(conn);
            }
        }
    }

    /// Somebody else leads: `name old-host old-port new-host new-port`.
    fn client_learns_of(&mut self, id: usize, message: &Value) {
        let Some([kind, _, payload]) = message.as_array() else {
            return;
        };
        if text(kind) != "message" {
            return;
        }
        let payload = text(payload);
        let Some(leader) = payload.split(' ').nth(3).and_then(place_of) else {
            return self.wrong(format!("+switch-master is told as {payload}"));
        };
        note!(self, "client {id} is told that {leader} leads");
        let client = &mut self.clients[id];
        client.seek.target = Some(leader);
        client.is_elsewhere |= client.conn.is_some_and(|(_, node)| node != leader);
    }
}
