//! What clients do during a drill: some take and release locks, some fill a stream, some empty it, and one does nothing
//! but write, so that it is known when that was possible.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::follow::{Calls, Failed, Place, Session, Streak};
use super::ledger::Ledger;
use super::reach::Side;
use super::wire::Trouble;
use super::{locks, stream};
use crate::resp::Value;
use crate::util::rng::Rng;

/// Between two writes of the one who does nothing else.
const PROBE_PACE: Duration = Duration::from_millis(5);

/// The names of what a drill leaves in the data.
#[derive(Clone, Debug)]
pub(super) struct Names(String);

impl Names {
    /// Names that nobody else has.
    pub(super) fn new() -> Self {
        Self(format!(
            "drill:{:08x}",
            Rng::from_entropy().next_u64() as u32
        ))
    }

    fn of(&self, kind: &str, number: impl Display) -> String {
        format!("{}:{kind}:{number}", self.0)
    }

    pub(super) fn lock(&self, lock: u32) -> String {
        self.of("lock", lock)
    }

    /// The counter of fencing numbers of a lock.
    pub(super) fn fence(&self, lock: u32) -> String {
        self.of("fence", lock)
    }

    /// The hash of what a client has written under locks.
    pub(super) fn records(&self, client: u32) -> String {
        self.of("records", client)
    }

    pub(super) fn stream(&self) -> String {
        format!("{}:stream", self.0)
    }

    pub(super) fn probe(&self) -> String {
        format!("{}:probe", self.0)
    }

    /// Everything that there may be in the end.
    pub(super) fn all(&self, crew: Crew) -> Vec<String> {
        let locks = (0..crew.locks()).flat_map(|lock| [self.lock(lock), self.fence(lock)]);
        let records = (0..crew.clients).map(|client| self.records(client));
        let others = [self.stream(), self.probe()];
        locks.chain(records).chain(others).collect()
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Locker,
    Producer,
    Consumer,
}

/// Who does what, by the client's number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crew {
    pub(super) clients: u32,
}

impl Crew {
    /// Of four clients two work with locks, one fills the stream and one empties it.
    pub(super) const fn role(client: u32) -> Role {
        match client % 4 {
            0 | 1 => Role::Locker,
            2 => Role::Producer,
            _ => Role::Consumer,
        }
    }

    /// Of eight clients four are on the side of the leader, if that is cut off.
    pub(super) const fn side(client: u32) -> Side {
        match client % 8 {
            1 | 4 | 6 | 7 => Side::Leader,
            _ => Side::Sentinels,
        }
    }

    /// As many locks as there are clients for them: each meets another now and then.
    pub(super) const fn locks(self) -> u32 {
        self.clients.div_ceil(2)
    }
}

/// What every client is told.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) place: Arc<Place>,
    pub(super) names: Names,
    pub(super) crew: Crew,
    /// How long a client pauses between two rounds of its work.
    pub(super) pace: Duration,
    /// Becomes true when the time is up.
    pub(super) stop: watch::Receiver<bool>,
}

impl Job {
    pub(super) fn is_over(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits, but not longer than there is time.
    pub(super) async fn rest(&self, time: Duration) {
        let mut stop = self.stop.clone();
        // Over or not, or told by nobody any more: all the same.
        let _ = timeout(time, stop.wait_for(|over| *over)).await;
    }
}

/// A client at its work.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) client: u32,
    pub(super) job: Job,
    pub(super) session: Session,
    pub(super) ledger: Ledger,
    pub(super) rng: Rng,
}

impl Worker {
    fn new(client: u32, side: Side, job: Job) -> Self {
        Self {
            client,
            session: Session::new(Arc::clone(&job.place), side, client as usize),
            job,
            ledger: Ledger::default(),
            rng: Rng::from_entropy(),
        }
    }

    /// A write; one of which nobody knows whether it was done is noted.
    pub(super) async fn write<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Option<Value> {
        match self.session.write(words).await {
            Ok(answer) => Some(answer),
            Err(Failed { in_doubt, .. }) => {
                self.ledger.in_doubt += u64::from(in_doubt);
                None
            }
        }
    }

    fn end(self) -> Worked {
        Worked {
            ledger: self.ledger,
            calls: self.session.calls,
            streak: self.session.streak,
        }
    }
}

/// What a client leaves.
#[derive(Debug)]
pub(super) struct Worked {
    pub(super) ledger: Ledger,
    pub(super) calls: Calls,
    pub(super) streak: Option<Streak>,
}

/// Works until the time is up.
pub(super) async fn client(client: u32, job: Job) -> Worked {
    let mut worker = Worker::new(client, Crew::side(client), job);
    match Crew::role(client) {
        Role::Locker => locks::work(&mut worker).await,
        Role::Producer => stream::produce(&mut worker).await,
        Role::Consumer => stream::consume(&mut worker).await,
    }
    worker.end()
}

/// Writes to whom the sentinels name, as often as is needed to know for how long that was not possible.
pub(super) async fn probe(job: Job) {
    let mut worker = Worker::new(job.crew.clients, Side::Sentinels, job);
    let key = worker.job.names.probe();
    while !worker.job.is_over() {
        worker.write(&["SET", &key, "x"]).await;
        sleep(PROBE_PACE).await;
    }
}

/// Works off what is left of the stream when all others have ended.
pub(super) async fn drain(job: Job, ledger: &mut Ledger) -> Result<(), Trouble> {
    let mut worker = Worker::new(job.crew.clients, Side::Sentinels, job);
    let drained = stream::drain(&mut worker).await;
    ledger.processed.append(&mut worker.ledger.processed);
    drained
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_clients_of_every_kind() {
        for role in [Role::Locker, Role::Producer, Role::Consumer] {
            for side in [Side::Sentinels, Side::Leader] {
                let found = (0..8).any(|n| Crew::role(n) == role && Crew::side(n) == side);
                assert!(found, "{role:?} {side:?}");
            }
        }
        // As few as are allowed have somebody to lose something.
        assert!((0..4).any(|n| Crew::side(n) == Side::Leader));
    }
}
