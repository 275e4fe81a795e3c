//! A replica's link to its leader: makes the connection, moves the bytes, tries again.

use super::machine::hold;
use super::net::{Caller, ConnId, End, Piece};
use super::queue::{Alarm, Due};
use super::world::{Event, World, node_at, note};
use redkeep::engine::follow::{Follower, Work};

/// A link, there or being made.
pub struct Link {
    /// Which of the leaders it is that the instance has been told to follow.
    pub number: u64,
    /// Where it is; none if nobody is there.
    to: Option<usize>,
    conn: Option<ConnId>,
    follower: Option<Follower>,
    /// When there is something to do for it.
    work: Alarm,
    calls: u64,
}

impl Link {
    pub const fn conn(&self) -> Option<ConnId> {
        self.conn
    }
}

impl World {
    /// There may be another leader to follow.
    pub fn follow(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        let upstream = up.hold(|engine| {
            let upstream = engine.state().sys.repl.upstream.as_ref();
            upstream.map(|up| (up.number, up.host.clone(), up.port))
        });
        let number = upstream.as_ref().map(|(number, ..)| *number);
        if number == up.link.as_ref().map(|link| link.number) {
            return;
        }
        self.drop_link(node);
        let Some((number, host, port)) = upstream else {
            note!(self, "node {node} follows nobody");
            return;
        };
        note!(self, "node {node} is to follow {host}:{port}");
        let up = self.nodes[node].up.as_mut().unwrap();
        up.link = Some(Link {
            number,
            to: node_at(&host),
            conn: None,
            follower: None,
            work: Alarm::default(),
            calls: 0,
        });
        self.plan_call(node, 100_000);
    }

    fn drop_link(&mut self, node: usize) {
        self.disconnect_link(node);
        self.nodes[node].up.as_mut().unwrap().link = None;
    }

    /// The connection of a link ends, if there is one.
    fn disconnect_link(&mut self, node: usize) {
        let up = self.nodes[node].up.as_mut().unwrap();
        let Some(link) = &mut up.link else {
            return;
        };
        link.calls += 1;
        let (follower, conn) = (link.follower.take(), link.conn.take());
        if let Some(follower) = follower {
            up.hold(|engine| follower.lost(engine));
        }
        if let Some(conn) = conn {
            self.net.close(self.now, conn, End::Caller, &mut self.queue);
        }
    }

    fn plan_call(&mut self, node: usize, most: u64) {
        let pause = 1000 + self.rng.below(most) as i64;
        if let Some(link) = self.nodes[node].up.as_ref().and_then(|up| up.link.as_ref()) {
            let (number, calls) = (link.number, link.calls);
            let call = Event::Call {
                node,
                number,
                calls,
            };
            self.queue.add(self.now + pause, call);
        }
    }

    fn link(&mut self, node: usize, number: u64, calls: u64) -> Option<&mut Link> {
        let link = self.nodes[node].up.as_mut()?.link.as_mut()?;
        (link.number == number && link.calls == calls).then_some(link)
    }

    /// A replica calls its leader, or gives up that it answers.
    pub fn link_calls(&mut self, node: usize, number: u64, calls: u64) {
        let Some(link) = self.link(node, number, calls) else {
            return;
        };
        if link.follower.is_some() {
            return;
        }
        if link.conn.is_some() {
            // Nobody has answered.
            return self.link_fails(node, "no answer");
        }
        let Some(to) = link.to else {
            return;
        };
        let caller = Caller::Link {
            node,
            upstream: number,
        };
        let conn = self.net.call(self.now, caller, node, to, &mut self.queue);
        let timeout = self.plan.timeout as i64 * 1_000_000;
        let call = Event::Call {
            node,
            number,
            calls,
        };
        self.queue.add(self.now + timeout, call);
        if let Some(link) = self.link(node, number, calls) {
            link.conn = Some(conn);
        }
    }

    /// The link is gone; there will be another one.
    fn link_fails(&mut self, node: usize, why: &str) {
        note!(self, "the link of node {node} ends: {why}");
        self.disconnect_link(node);
        self.after(node);
        self.plan_call(node, 1_000_000);
    }

    /// Something has come from a leader.
    pub fn link_gets(&mut self, node: usize, conn: ConnId, piece: Piece) {
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        let Some(link) = up.link.as_mut().filter(|link| link.conn == Some(conn)) else {
            return;
        };
        match piece {
            Piece::Open => {
                let follower = hold(&mut up.engine, &mut up.actions, Follower::begin);
                if follower.is_none() {
                    return self.link_fails(node, "it cannot be begun");
                }
                link.follower = follower;
                self.link_sends(node);
                self.plan_work(node, self.now);
            }
            Piece::End => {
                self.net.vanish(conn, End::Caller);
                link.conn = None;
                self.link_fails(node, "the connection is gone");
            }
            Piece::Bytes(bytes) => {
                let Some(follower) = &mut link.follower else {
                    return;
                };
                if let Err(e) = follower.receive(&bytes) {
                    return self.link_fails(node, &e.to_string());
                }
                self.link_sends(node);
                let pause = [0, 0, self.rng.below(3000) as i64][self.rng.index(3)];
                self.plan_work(node, self.now + pause);
            }
        }
    }

    /// What is to be said to the leader is sent.
    fn link_sends(&mut self, node: usize) {
        let up = self.nodes[node].up.as_mut().unwrap();
        if let Some(link) = &mut up.link
            && let Some(follower) = &mut link.follower
            && let Some(conn) = link.conn
        {
            let bytes = follower.take_output();
            self.net
                .send(self.now, conn, End::Caller, &bytes, &mut self.queue);
        }
    }

    fn plan_work(&mut self, node: usize, at: i64) {
        let starts = self.nodes[node].starts;
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        if let Some(link) = &mut up.link
            && link.work.is_to_be_planned_earlier(at)
        {
            self.queue.add(at, Event::Work { node, starts });
        }
    }

    /// A replica does what follows from what has come.
    pub fn link_works(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        let Some(link) = up.link.as_mut() else {
            return;
        };
        match link.work.comes(self.now) {
            Due::Now => {}
            Due::Later(at) => {
                let starts = self.nodes[node].starts;
                return self.queue.add(at, Event::Work { node, starts });
            }
            Due::Never => return,
        }
        let Some(follower) = &mut link.follower else {
            return;
        };
        let (engine, actions) = (&mut up.engine, &mut up.actions);
        let work = hold(engine, actions, |engine| follower.work(engine));
        let deadline = follower.next_deadline() * 1000 - self.nodes[node].origin;
        match work {
            Err(e) => return self.link_fails(node, &e.to_string()),
            Ok(Work::More) => self.plan_work(node, self.now + 100),
            Ok(Work::Idle) => self.plan_work(node, deadline.max(self.now + 1000)),
        }
        self.link_sends(node);
        self.after(node);
    }
}
