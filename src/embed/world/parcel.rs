//! What MIGRATE sends to another machine: each parcel over a connection of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::machine::Place;
use super::net::{Caller, ConnId, End, Piece};
use super::{Event, World, place_of};
use crate::exec::migrate::{Broken, Parcel, Report};
use crate::resp::{Value, parse_reply};

/// What an engine has handed over to be sent.
pub(super) type Outbox = Arc<Mutex<Vec<Parcel>>>;

/// What is on its way, by the connection that it takes.
pub(super) type Parcels = BTreeMap<ConnId, Carried>;

/// A parcel on its way.
pub(super) struct Carried {
    parcel: Parcel,
    /// The other machine has answered the call.
    arrived: bool,
    heard: Vec<u8>,
    answers: Vec<Result<(), String>>,
    /// When it is given up, unless something comes.
    until: i64,
}

impl Carried {
    fn patience(&self) -> i64 {
        i64::try_from(self.parcel.patience.as_micros()).unwrap_or(i64::MAX)
    }

    /// Hears answers; whether nothing more is to come.
    fn hear(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        self.heard.extend_from_slice(bytes);
        while self.answers.len() < self.parcel.count {
            match parse_reply(&self.heard).map_err(|_| Broken::Reading)? {
                None => return Ok(false),
                Some((answer, len)) => {
                    self.heard.drain(..len);
                    self.answers.push(match answer {
                        Value::Error(text) => Err(String::from_utf8_lossy(&text).into_owned()),
                        _ => Ok(()),
                    });
                }
            }
        }
        Ok(true)
    }
}

impl World {
    /// Sets out with what an engine has handed over.
    pub(super) fn carry_parcels(&mut self, place: Place) {
        let Some(up) = self.machines[place].up.as_ref() else {
            return;
        };
        let outbox = std::mem::take(&mut *up.outbox.lock());
        for parcel in outbox {
            self.carry(place, parcel);
        }
    }

    fn carry(&mut self, place: Place, parcel: Parcel) {
        let to = place_of(&parcel.host).filter(|to| {
            let machine = self.machines.get(*to);
            machine.is_some_and(|machine| machine.port == parcel.port)
        });
        let mut carried = Carried {
            parcel,
            arrived: false,
            heard: Vec::new(),
            answers: Vec::new(),
            until: 0,
        };
        let Some(to) = to else {
            return self.report(place, carried, Some(Broken::Connecting));
        };
        carried.until = self.now.saturating_add(carried.patience());
        let (at, starts) = (carried.until, self.machines[place].starts);
        let caller = Caller::Parcel { place };
        let conn = self.net.call(self.now, caller, place, to, &mut self.queue);
        self.queue.add(
            at,
            Event::Patience {
                place,
                starts,
                conn,
            },
        );
        if let Some(up) = self.machines[place].up.as_mut() {
            up.parcels.insert(conn, carried);
        }
    }

    /// Something has come on the connection of a parcel.
    pub(super) fn parcel_gets(&mut self, place: Place, conn: ConnId, piece: Piece) {
        let now = self.now;
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        let Some(carried) = up.parcels.get_mut(&conn) else {
            return;
        };
        carried.until = now.saturating_add(carried.patience());
        let ended = match piece {
            Piece::Open => {
                carried.arrived = true;
                let bytes = std::mem::take(&mut carried.parcel.commands);
                self.net
                    .send(now, conn, End::Caller, &bytes, &mut self.queue);
                return;
            }
            Piece::Bytes(bytes) => match carried.hear(&bytes) {
                Ok(false) => return,
                Ok(true) => None,
                Err(broken) => Some(broken),
            },
            // Where nobody listens, Redis notices when it writes.
            Piece::End => {
                self.net.vanish(conn, End::Caller);
                Some(match carried.arrived {
                    true => Broken::Reading,
                    false => Broken::Writing,
                })
            }
        };
        self.part_with(place, conn, ended);
    }

    /// Nothing may have come for too long.
    pub(super) fn lose_patience(&mut self, place: Place, conn: ConnId) {
        let up = self.machines[place].up.as_ref();
        let Some(carried) = up.and_then(|up| up.parcels.get(&conn)) else {
            return;
        };
        let (until, arrived) = (carried.until, carried.arrived);
        if until > self.now {
            let starts = self.machines[place].starts;
            let patience = Event::Patience {
                place,
                starts,
                conn,
            };
            return self.queue.add(until, patience);
        }
        let broken = match arrived {
            true => Broken::Reading,
            false => Broken::Connecting,
        };
        self.part_with(place, conn, Some(broken));
    }

    /// A parcel has arrived, or never will.
    fn part_with(&mut self, place: Place, conn: ConnId, broken: Option<Broken>) {
        self.net.close(self.now, conn, End::Caller, &mut self.queue);
        let up = self.machines[place].up.as_mut();
        if let Some(carried) = up.and_then(|up| up.parcels.remove(&conn)) {
            self.report(place, carried, broken);
            self.after(place);
        }
    }

    fn report(&mut self, place: Place, carried: Carried, broken: Option<Broken>) {
        let report = Report {
            client: carried.parcel.client,
            number: carried.parcel.number,
            answers: carried.answers,
            broken,
        };
        if let Some(up) = self.machines[place].up.as_mut() {
            up.hold(|engine| engine.arrived(report));
        }
    }
}
