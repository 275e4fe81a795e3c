//! Claims: pending entries change hands, or are handed back for anyone to take.

use super::{ConsumerNo, Group, NOBODY, Pending};
use crate::types::stream::id::StreamId;
use crate::types::stream::log::Log;

/// Terms of an XCLAIM or XAUTOCLAIM.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The new owner.
    pub to: ConsumerNo,
    /// Entries delivered less than so many milliseconds ago stay with their owner.
    pub min_idle: i64,
    /// The time of delivery to set.
    pub time: i64,
    /// The number of deliveries to set.
    pub count: Option<u64>,
    /// Also take entries that are not pending.
    pub force: bool,
    /// Do not count this as a delivery.
    pub just_id: bool,
    /// Unix milliseconds.
    pub now: i64,
}

/// What became of a claim to one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is not pending, or not long enough.
    No,
    /// It was pending and is no longer in the stream, so it is no longer pending.
    Dropped,
    /// It has the new owner.
    Yes,
}

/// What XAUTOCLAIM found.
#[derive(Clone, Debug, Default)]
pub struct AutoClaimed {
    /// Where to go on; 0-0 at the end.
    pub cursor: StreamId,
    /// Entries that are now the consumer's.
    pub claimed: Vec<StreamId>,
    /// Pending entries dropped since they are no longer in the stream.
    pub dropped: Vec<StreamId>,
}

/// What handing an entry back does to its number of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NackMode {
    /// One less.
    Silent,
    /// As it is.
    Fail,
    /// The greatest.
    Fatal,
}

impl Group {
    /// Claims one entry.
    pub fn claim(&mut self, log: &Log, id: StreamId, terms: &Claim) -> Claimed {
        if !log.contains(id) {
            return if self.take(id).is_some() {
                Claimed::Dropped
            } else {
                Claimed::No
            };
        }
        let had = match self.pending(id) {
            Some(had) if !had.is_idle(terms.min_idle, terms.now) => return Claimed::No,
            Some(had) => had.count,
            None if terms.force => 1,
            None => return Claimed::No,
        };
        self.hand_over(id, had, terms);
        Claimed::Yes
    }

    /// Claims what is idle among the pending entries from `start` on: at most `count`, dropped ones
    /// included, out of ten times as many looked at.
    pub fn autoclaim(
        &mut self,
        log: &Log,
        start: StreamId,
        count: u64,
        terms: &Claim,
    ) -> AutoClaimed {
        let mut found = AutoClaimed::default();
        let (mut attempts, mut left) = (count.saturating_mul(10), count);
        let mut next = Some(start);
        loop {
            let Some((id, pending)) = next.and_then(|from| self.pending_from(from)) else {
                return found;
            };
            if attempts == 0 || left == 0 {
                found.cursor = id;
                return found;
            }
            attempts -= 1;
            next = id.next();
            if !log.contains(id) {
                self.take(id);
                found.dropped.push(id);
                left -= 1;
            } else if pending.is_idle(terms.min_idle, terms.now) {
                self.hand_over(id, pending.count, terms);
                found.claimed.push(id);
                left -= 1;
            }
        }
    }

    fn pending_from(&self, from: StreamId) -> Option<(StreamId, Pending)> {
        self.pel.range(from).next().map(Pending::of_row)
    }

    fn hand_over(&mut self, id: StreamId, had: u64, terms: &Claim) {
        let count = match terms.count {
            Some(count) => count,
            None if terms.just_id => had,
            None => had.saturating_add(1),
        };
        let pending = Pending {
            time: terms.time.max(0),
            count,
            owner: terms.to,
        };
        self.put(id, pending);
        self.with_consumer(terms.to, |c| c.active = terms.now);
    }

    /// Hands a pending entry back for anyone to claim; with `force` also one that is not pending but in the
    /// stream. Whether it is handed back now.
    pub fn nack(
        &mut self,
        log: &Log,
        id: StreamId,
        mode: NackMode,
        count: Option<u64>,
        force: bool,
    ) -> bool {
        let had = match self.pending(id) {
            Some(pending) => pending.count,
            None if force && log.contains(id) => 0,
            None => return false,
        };
        let by_mode = match mode {
            NackMode::Silent => had.saturating_sub(1),
            NackMode::Fail => had,
            NackMode::Fatal => i64::MAX.cast_unsigned(),
        };
        self.hand_back(id, count.unwrap_or(by_mode));
        true
    }

    pub(super) fn hand_back(&mut self, id: StreamId, count: u64) {
        let time = i64::MIN + self.nack_seq;
        self.nack_seq += 1;
        self.put(
            id,
            Pending {
                time,
                count,
                owner: NOBODY,
            },
        );
    }
}
