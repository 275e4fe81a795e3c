//! What clients were told, and when: the facts by which a drill judges.

use std::time::{Duration, Instant};

/// Time since the drill began.
pub(super) type Moment = Duration;

/// One clock for all clients. It never jumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Moment {
        self.0.elapsed()
    }
}

/// What a producer sends. It is sent once: whoever does not know whether it arrived goes on to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) producer: u32,
    pub(super) number: u64,
}

/// The id of an entry of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryId(pub(super) u64, pub(super) u64);

/// Something written under a lock: who, the how manieth, and under which fencing number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) client: u32,
    pub(super) number: u64,
    pub(super) fence: i64,
}

/// A lock that somebody held, as its holder saw it.
///
/// The server gave it between `asked` and `granted`, for a time that began then. So it was certainly held from `granted`
/// until that time had passed since `asked`, or until its holder sent the release: no right server gives it to anybody
/// else meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) lock: u32,
    /// When the answer had come.
    pub(super) granted: Moment,
    /// Until when it was certainly valid.
    pub(super) until: Moment,
}

impl Hold {
    /// Until when a lock for `ttl` is certainly valid that was asked for at `asked`: servers count in milliseconds, and
    /// their clock may run a thousandth faster than ours.
    pub(super) fn valid_until(asked: Moment, ttl: Duration) -> Moment {
        (asked + ttl).saturating_sub(Duration::from_millis(1) + ttl / 1000)
    }
}

/// What became known to one client, or to all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// Acknowledged XADDs.
    pub(super) entries: Vec<(Message, EntryId)>,
    /// Acknowledged HSETs.
    pub(super) records: Vec<Record>,
    /// Acknowledged INCRs: of which lock, and the number that was told.
    pub(super) fences: Vec<(u32, i64)>,
    pub(super) holds: Vec<Hold>,
    /// Locks whose server said at the release that their holder did not have them, while they were valid.
    pub(super) gone: u64,
    /// What consumers have worked off, once for each time.
    pub(super) processed: Vec<Message>,
    /// Writes of which nobody knows whether they were done.
    pub(super) in_doubt: u64,
}

impl Ledger {
    /// Adds what another client knows.
    pub(super) fn absorb(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.records.extend(other.records);
        self.fences.extend(other.fences);
        self.holds.extend(other.holds);
        self.processed.extend(other.processed);
        self.gone += other.gone;
        self.in_doubt += other.in_doubt;
    }
}
