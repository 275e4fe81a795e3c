//! Keys on their way to another server (MIGRATE).
//!
//! ```text
//! handler ─ parcel ─► Host::carry ─► socket, without the lock ─ report ─► arrived ─► handler again
//! ```
//! The client waits meanwhile and nobody else does. So keys can change before they are deleted here: the handler compares
//! them with what it sent, and sends again what is not the same any more.

use std::collections::HashMap;
use std::time::Duration;

use super::State;
use super::session::SessionId;

/// What is to be sent to another server, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The client that waits.
    pub client: u64,
    /// Which of its parcels this is.
    pub number: u64,
    /// A name or an address.
    pub host: String,
    /// A port.
    pub port: u16,
    /// How long nothing may happen.
    pub patience: Duration,
    /// Commands.
    pub commands: Vec<u8>,
    /// How many they are.
    pub count: usize,
}

/// Where the way to the other server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It could not be reached.
    Connecting,
    /// It did not take all commands.
    Writing,
    /// It did not answer all of them.
    Reading,
}

/// What the other server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As in the parcel.
    pub client: u64,
    /// As in the parcel.
    pub number: u64,
    /// The answers, in order; errors with their texts.
    pub answers: Vec<Result<(), String>>,
    /// Why there are not more of them.
    pub broken: Option<Broken>,
}

/// A key that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its name.
    pub key: Vec<u8>,
    /// What it was then; none if the other server was told to delete it.
    pub print: Option<Print>,
}

/// What a value was: equal ones are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    /// Of its payload.
    pub sha1: [u8; 20],
    /// When its time is over.
    pub deadline: Option<i64>,
}

/// A client's keys on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    /// Which parcel is out.
    pub number: u64,
    /// When no further one is sent, in unix milliseconds.
    pub until: i64,
    /// Answers that come before those about keys.
    pub greetings: usize,
    /// The keys.
    pub sent: Vec<Sent>,
    /// The first error of the other server.
    pub error: Option<String>,
    /// What came back.
    pub report: Option<Report>,
}

/// All keys on their way.
#[derive(Debug, Default)]
pub struct Migrations {
    by_client: HashMap<u64, Trip>,
    last: u64,
}

impl Migrations {
    /// A number for the next parcel.
    pub fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A client's keys are on their way, whatever of it was before.
    pub fn set_out(&mut self, client: u64, trip: Trip) {
        self.by_client.insert(client, trip);
    }

    /// Takes what came back for a client.
    pub fn take_returned(&mut self, client: u64) -> Option<(Trip, Report)> {
        self.by_client.get(&client)?.report.as_ref()?;
        let mut trip = self.by_client.remove(&client)?;
        let report = trip.report.take()?;
        Some((trip, report))
    }
}

/// The other server has answered, or has not. The command that waits for it runs again with what is due next.
pub fn arrived(state: &mut State, report: Report) {
    let State { sys, sessions, .. } = state;
    let client = report.client;
    let Some(trip) = sys.migrations.by_client.get_mut(&client) else {
        return;
    };
    if trip.number != report.number {
        return;
    }
    trip.report = Some(report);
    let waiting: Option<SessionId> = sessions.by_id(client);
    let blocked = waiting.and_then(|sid| Some((sid, sessions.get_mut(sid)?.blocked.as_mut()?)));
    match blocked {
        Some((sid, blocked)) => {
            let now = sys.now_us / 1000;
            sys.waiters.reschedule(sid, &mut blocked.block, Some(now));
        }
        // It does not wait any more, or is gone: its keys stay.
        None => drop(sys.migrations.by_client.remove(&client)),
    }
}
