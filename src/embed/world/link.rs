//! A replica's link to its leader: makes the connection, moves the bytes, tries again.

use super::machine::{Machine, Place, hold};
use super::net::{Caller, ConnId, End, Piece};
use super::queue::{Alarm, Due};
use super::{Event, World, note, place_of};
use crate::engine::follow::{Follower, Work};

/// A link, there or being made.
pub(super) struct Link {
    /// Which of the leaders it is that the instance has been told to follow.
    number: u64,
    /// Where it is; none if nobody is there.
    to: Option<Place>,
    pub(super) conn: Option<ConnId>,
    follower: Option<Follower>,
    /// When there is something to do for it.
    work: Alarm,
    calls: u64,
}

impl World {
    /// There may be another leader to follow.
    pub(super) fn follow(&mut self, place: Place) {
        let Some(up) = self.machines[place].up.as_mut() else {
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
        self.drop_link(place);
        let name = &self.machines[place].name;
        let Some((number, host, port)) = upstream else {
            note!(self, "{name} follows nobody");
            return;
        };
        note!(self, "{name} is to follow {host}:{port}");
        let to = place_of(&host).filter(|to| {
            let machine = self.machines.get(*to);
            machine.is_some_and(|machine| machine.port == port)
        });
        if let Some(up) = self.machines[place].up.as_mut() {
            up.link = Some(Link {
                number,
                to,
                conn: None,
                follower: None,
                work: Alarm::default(),
                calls: 0,
            });
        }
        self.plan_call(place, 100_000);
    }

    fn drop_link(&mut self, place: Place) {
        self.disconnect_link(place);
        if let Some(up) = self.machines[place].up.as_mut() {
            up.link = None;
        }
    }

    /// The connection of a link ends, if there is one.
    fn disconnect_link(&mut self, place: Place) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
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

    fn plan_call(&mut self, place: Place, most: u64) {
        let pause = 1000 + self.rng.below(most) as i64;
        let up = self.machines[place].up.as_ref();
        if let Some(link) = up.and_then(|up| up.link.as_ref()) {
            let (number, calls) = (link.number, link.calls);
            let call = Event::Call {
                place,
                number,
                calls,
            };
            self.queue.add(self.now + pause, call);
        }
    }

    fn link(&mut self, place: Place, number: u64, calls: u64) -> Option<&mut Link> {
        let link = self.machines[place].up.as_mut()?.link.as_mut()?;
        (link.number == number && link.calls == calls).then_some(link)
    }

    /// A replica calls its leader, or gives up that it answers.
    pub(super) fn link_calls(&mut self, place: Place, number: u64, calls: u64) {
        let Some(link) = self.link(place, number, calls) else {
            return;
        };
        if link.follower.is_some() {
            return;
        }
        if link.conn.is_some() {
            // Nobody has answered.
            return self.link_fails(place, "no answer");
        }
        let Some(to) = link.to else {
            return;
        };
        let caller = Caller::Link {
            place,
            upstream: number,
        };
        let conn = self.net.call(self.now, caller, place, to, &mut self.queue);
        let call = Event::Call {
            place,
            number,
            calls,
        };
        let up = self.machines[place].up.as_mut();
        let timeout = up.map_or(0, |up| up.engine.state().sys.cfg.repl_timeout);
        let timeout = i64::from(timeout);
        self.queue.add(self.now + timeout * 1_000_000, call);
        if let Some(link) = self.link(place, number, calls) {
            link.conn = Some(conn);
        }
    }

    /// The link is gone; there will be another one.
    fn link_fails(&mut self, place: Place, why: &str) {
        let name = &self.machines[place].name;
        note!(self, "the link of {name} ends: {why}");
        self.disconnect_link(place);
        self.after(place);
        self.plan_call(place, 1_000_000);
    }

    /// Something has come from a leader.
    pub(super) fn link_gets(&mut self, place: Place, conn: ConnId, piece: Piece) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        let Some(link) = up.link.as_mut().filter(|link| link.conn == Some(conn)) else {
            return;
        };
        match piece {
            Piece::Open => {
                let follower = hold(&mut up.engine, &mut up.actions, Follower::begin);
                if follower.is_none() {
                    return self.link_fails(place, "it cannot be begun");
                }
                link.follower = follower;
                self.link_sends(place);
                self.plan_work(place, self.now);
            }
            Piece::End => {
                self.net.vanish(conn, End::Caller);
                link.conn = None;
                self.link_fails(place, "the connection is gone");
            }
            Piece::Bytes(bytes) => {
                let Some(follower) = &mut link.follower else {
                    return;
                };
                if let Err(e) = follower.receive(&bytes) {
                    return self.link_fails(place, &e.to_string());
                }
                self.link_sends(place);
                let pause = [0, 0, self.rng.below(3000) as i64][self.rng.index(3)];
                self.plan_work(place, self.now + pause);
            }
        }
    }

    /// What is to be said to the leader is sent.
    fn link_sends(&mut self, place: Place) {
        if let Some(up) = self.machines[place].up.as_mut()
            && let Some(link) = &mut up.link
            && let Some(follower) = &mut link.follower
            && let Some(conn) = link.conn
        {
            let bytes = follower.take_output();
            self.net
                .send(self.now, conn, End::Caller, &bytes, &mut self.queue);
        }
    }

    fn plan_work(&mut self, place: Place, at: i64) {
        let starts = self.machines[place].starts;
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        if let Some(link) = &mut up.link
            && link.work.is_to_be_planned_earlier(at)
        {
            self.queue.add(at, Event::Work { place, starts });
        }
    }

    /// A replica does what follows from what has come.
    pub(super) fn link_works(&mut self, place: Place) {
        let Machine {
            up, starts, origin, ..
        } = &mut self.machines[place];
        let Some(up) = up else {
            return;
        };
        let Some(link) = up.link.as_mut() else {
            return;
        };
        match link.work.comes(self.now) {
            Due::Now => {}
            Due::Later(at) => {
                let starts = *starts;
                return self.queue.add(at, Event::Work { place, starts });
            }
            Due::Never => return,
        }
        let Some(follower) = &mut link.follower else {
            return;
        };
        let (engine, actions) = (&mut up.engine, &mut up.actions);
        let work = hold(engine, actions, |engine| follower.work(engine));
        let deadline = follower.next_deadline() * 1000 - *origin;
        match work {
            Err(e) => return self.link_fails(place, &e.to_string()),
            Ok(Work::More) => self.plan_work(place, self.now + 100),
            Ok(Work::Idle) => self.plan_work(place, deadline.max(self.now + 1000)),
        }
        self.link_sends(place);
        self.after(place);
    }
}
