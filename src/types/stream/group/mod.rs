//! Consumer groups: what was delivered to whom and not yet acknowledged.
//!
//! A pending entry stands in the group with all that is known of it, and in its consumer by its id. Both are packed,
//! so that it costs about ten bytes in all where entries are read and acknowledged in order. Which one was delivered
//! first of all is found by the bounds of the group's chunks.
//! Consumers are numbered; a number is used again only after its consumer and all it owned are gone.

mod claim;
mod packed;

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

pub use claim::{AutoClaimed, Claim, Claimed, NackMode};
use packed::Packed;

use super::id::StreamId;
use super::log::Log;
use super::node::Fields;
use super::range::Spot;

/// Number of a consumer in its group.
pub type ConsumerNo = u32;

/// The number of no consumer: the owner of entries handed back by XNACK.
const NOBODY: ConsumerNo = u32::MAX;
/// What a name costs in the index: two references, the number, tree overhead.
const NAME_OVERHEAD: usize = 64;

/// An entry delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Last delivery in Unix milliseconds. Below zero for entries handed back: the order in which they were.
    time: i64,
    count: u64,
    owner: ConsumerNo,
}

/// Flips the sign of a time, so that times sort as numbers without one do.
const SIGN: u64 = 1 << 63;

impl Pending {
    /// As a row of the group: id, time, count, and one more than the owner's number, none being zero.
    fn row(self, id: StreamId) -> [u64; 5] {
        let owner = u64::from(self.owner.wrapping_add(1));
        let time = self.time.cast_unsigned() ^ SIGN;
        [id.ms, id.seq, time, self.count, owner]
    }

    fn of_row([ms, seq, time, count, owner]: [u64; 5]) -> (StreamId, Self) {
        let owner = owner.checked_sub(1);
        let owner = owner.and_then(|no| ConsumerNo::try_from(no).ok());
        let pending = Self {
            time: (time ^ SIGN).cast_signed(),
            count,
            owner: owner.unwrap_or(NOBODY),
        };
        (StreamId::new(ms, seq), pending)
    }

    /// Last delivery in Unix milliseconds; 0 for an entry handed back.
    #[must_use]
    pub fn time(self) -> i64 {
        self.time.max(0)
    }

    /// Number of deliveries.
    #[must_use]
    pub fn count(self) -> u64 {
        self.count
    }

    /// Its consumer; none for an entry handed back.
    #[must_use]
    pub fn owner(self) -> Option<ConsumerNo> {
        (self.owner != NOBODY).then_some(self.owner)
    }

    /// Milliseconds since the last delivery; -1 for an entry handed back.
    #[must_use]
    pub fn idle(self, now: i64) -> i64 {
        if self.time < 0 {
            -1
        } else {
            now.saturating_sub(self.time).max(0)
        }
    }

    /// Whether it has not been delivered for `min_idle` milliseconds. An entry handed back never was.
    fn is_idle(self, min_idle: i64, now: i64) -> bool {
        self.time < 0 || now.saturating_sub(self.time) >= min_idle
    }
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    seen: i64,
    active: i64,
    pel: Packed<2>,
}

impl Consumer {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Last time it tried anything, in Unix milliseconds.
    #[must_use]
    pub fn seen(&self) -> i64 {
        self.seen
    }

    /// Last time it was given an entry, in Unix milliseconds; -1 for never.
    #[must_use]
    pub fn active(&self) -> i64 {
        self.active
    }

    /// Number of entries it has not acknowledged.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pel.len()
    }

    fn bytes(&self) -> usize {
        self.pel.bytes() + self.name.len() + size_of::<Self>() + NAME_OVERHEAD
    }
}

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    last_id: StreamId,
    entries_read: Option<u64>,
    /// Where the last entry delivered stands.
    spot: Spot,
    pel: Packed<5>,
    names: BTreeMap<Arc<[u8]>, ConsumerNo>,
    consumers: Vec<Option<Consumer>>,
    /// Numbers to use again.
    free: Vec<ConsumerNo>,
    /// Heap bytes of the consumers.
    consumer_bytes: usize,
    /// Entries handed back and not delivered again.
    nacked: usize,
    /// How many were ever handed back: their order.
    nack_seq: i64,
}

/// What XREADGROUP asks of a group.
#[derive(Clone, Copy, Debug)]
pub struct Deliver {
    /// The consumer that reads.
    pub to: ConsumerNo,
    /// Unix milliseconds.
    pub now: i64,
    /// Whether new entries are taken as acknowledged.
    pub noack: bool,
    /// At most so many entries.
    pub count: Option<u64>,
    /// First take over what has been pending for so many milliseconds.
    pub claim: Option<i64>,
}

/// An entry on its way to a consumer.
#[derive(Debug)]
pub struct Delivered<'a> {
    /// Its id.
    pub id: StreamId,
    /// Its fields; none when it was deleted meanwhile.
    pub fields: Option<Fields<'a>>,
    /// How long it had been idle (-1 when handed back), 0 for a new one.
    pub idle: i64,
    /// How often it had been delivered, 0 for a new one.
    pub count: u64,
}

/// What a delivery changed.
#[derive(Clone, Debug, Default)]
pub struct Hit {
    /// Entries that are now the consumer's, in the order they were given.
    pub owned: SmallVec<[StreamId; 4]>,
    /// Pending entries dropped since they are no longer in the stream.
    pub dropped: SmallVec<[StreamId; 1]>,
    /// Whether the last delivered id has moved.
    pub advanced: bool,
}

impl Group {
    /// A group that starts after `last_id`.
    #[must_use]
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            last_id,
            entries_read,
            ..Self::default()
        }
    }

    /// The last id delivered.
    #[must_use]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// Sets the last id delivered and how many entries were read up to it.
    pub fn set_id(&mut self, id: StreamId, entries_read: Option<u64>) {
        self.last_id = id;
        self.entries_read = entries_read;
    }

    /// Moves the last id delivered up to `id`. Whether it was below.
    pub fn advance_to(&mut self, id: StreamId) -> bool {
        let below = id > self.last_id;
        self.last_id = self.last_id.max(id);
        below
    }

    /// As [`advance_to`](Self::advance_to), where all entries up to `id` are known to have been delivered elsewhere: they
    /// count as read.
    pub fn catch_up(&mut self, log: &Log, id: StreamId) {
        if id > self.last_id
            && let Some(mut entries) = log.above(self.last_id, self.spot)
        {
            while let Some(entry) = entries.next()
                && entry.id <= id
            {
                self.read_past(log, entry.id);
            }
        }
        self.advance_to(id);
    }

    /// Entries read so far, if that is known.
    #[must_use]
    pub fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    /// Number of pending entries.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pel.len()
    }

    /// Number of pending entries handed back by XNACK.
    #[must_use]
    pub fn nacked(&self) -> usize {
        self.nacked
    }

    /// The pending entries handed back and not delivered again, in the order they were.
    pub fn handed_back(&self) -> impl Iterator<Item = StreamId> {
        let rows = self.pel.below(SIGN).take(self.nacked);
        let mut back: Vec<_> = rows.map(|[ms, seq, time, ..]| (time, ms, seq)).collect();
        back.sort_unstable();
        back.into_iter().map(|(_, ms, seq)| StreamId::new(ms, seq))
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.pel.bytes()
            + self.consumer_bytes
            + self.consumers.len() * size_of::<Option<Consumer>>()
    }

    /// The pending entry with this id.
    #[must_use]
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pel.get(id).map(|row| Pending::of_row(row).1)
    }

    /// The first and the last pending id.
    #[must_use]
    pub fn pending_edges(&self) -> Option<(StreamId, StreamId)> {
        let ([first_ms, first_seq, ..], [ms, seq, ..]) = (self.pel.first()?, self.pel.last()?);
        Some((StreamId::new(first_ms, first_seq), StreamId::new(ms, seq)))
    }

    /// Pending entries between two ids, both included, of one consumer or of all.
    pub fn pending_range(
        &self,
        from: StreamId,
        to: StreamId,
        of: Option<ConsumerNo>,
    ) -> impl Iterator<Item = (StreamId, Pending)> {
        let one = of.map(|no| {
            let own = self.consumer(no).map(|c| c.pel.range(from));
            own.into_iter().flatten().filter_map(|[ms, seq]| {
                let id = StreamId::new(ms, seq);
                Some((id, self.pending(id)?))
            })
        });
        let all = of
            .is_none()
            .then(|| self.pel.range(from).map(Pending::of_row));
        let (one, all) = (one.into_iter().flatten(), all.into_iter().flatten());
        one.chain(all).take_while(move |(id, _)| *id <= to)
    }

    /// Whether anything has been pending for `min_idle` milliseconds.
    #[must_use]
    pub fn has_idle(&self, min_idle: i64, now: i64) -> bool {
        self.idle_at(min_idle).is_some_and(|at| at <= now)
    }

    /// When the first pending entry will have been idle for `min_idle` milliseconds.
    #[must_use]
    pub fn idle_at(&self, min_idle: i64) -> Option<i64> {
        let time = (self.pel.least()? ^ SIGN).cast_signed();
        Some(if time < 0 {
            0
        } else {
            time.saturating_add(min_idle)
        })
    }

    /// Consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerNo, &Consumer)> {
        self.names
            .values()
            .filter_map(|no| Some((*no, self.consumer(*no)?)))
    }

    /// Number of consumers.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// The consumer with this name.
    #[must_use]
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerNo> {
        self.names.get(name).copied()
    }

    /// The consumer with this number.
    #[must_use]
    pub fn consumer(&self, no: ConsumerNo) -> Option<&Consumer> {
        self.consumers.get(usize::try_from(no).ok()?)?.as_ref()
    }

    /// The consumer with this name, made if there was none. Whether it is new.
    pub fn add_consumer(&mut self, name: &[u8], now: i64) -> (ConsumerNo, bool) {
        if let Some(no) = self.find_consumer(name) {
            return (no, false);
        }
        let name: Arc<[u8]> = name.into();
        let consumer = Consumer {
            name: Arc::clone(&name),
            seen: now,
            active: -1,
            pel: Packed::new(),
        };
        self.consumer_bytes += consumer.bytes();
        let no = self.free.pop().unwrap_or_else(|| {
            self.consumers.push(None);
            ConsumerNo::try_from(self.consumers.len() - 1).unwrap_or(NOBODY)
        });
        if let Some(slot) = self.slot(no) {
            *slot = Some(consumer);
        }
        self.names.insert(name, no);
        (no, true)
    }

    /// Notes that a consumer tried something.
    pub fn touch(&mut self, no: ConsumerNo, now: i64) {
        self.with_consumer(no, |c| c.seen = now);
    }

    /// Sets when a consumer was last seen and last active, as stored.
    pub fn restore_times(&mut self, no: ConsumerNo, seen: i64, active: i64) {
        self.with_consumer(no, |c| (c.seen, c.active) = (seen, active));
    }

    /// Puts a pending entry back as stored: with an owner, or handed back.
    pub fn restore_pending(
        &mut self,
        id: StreamId,
        time: i64,
        count: u64,
        owner: Option<ConsumerNo>,
    ) {
        match owner {
            Some(owner) => {
                let time = time.max(0);
                self.put(id, Pending { time, count, owner });
            }
            None => self.hand_back(id, count),
        }
    }

    /// Removes a consumer with all it has pending. How many that were; none when there is no such consumer.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let no = self.names.remove(name)?;
        let ids: Vec<_> = self.consumer(no)?.pel.iter().collect();
        for [ms, seq] in &ids {
            self.take(StreamId::new(*ms, *seq));
        }
        let gone = self.slot(no).and_then(Option::take);
        let bytes = gone.map_or(0, |c| c.bytes());
        self.consumer_bytes = self.consumer_bytes.saturating_sub(bytes);
        self.free.push(no);
        Some(ids.len())
    }

    /// Acknowledges an entry. Whether it was pending.
    pub fn ack(&mut self, id: StreamId) -> bool {
        self.take(id).is_some()
    }

    /// Delivers to a consumer: idle entries first when asked to claim, then new ones. `emit` writes each and
    /// says whether to go on.
    pub fn deliver(
        &mut self,
        log: &Log,
        how: &Deliver,
        mut emit: impl FnMut(Delivered<'_>) -> bool,
    ) -> Hit {
        let mut hit = Hit::default();
        let mut left = how.count.unwrap_or(u64::MAX);
        if let Some(min_idle) = how.claim
            && !self.deliver_idle(log, how, min_idle, &mut left, &mut hit, &mut emit)
        {
            return hit;
        }
        let Some(mut entries) = log.above(self.last_id, self.spot) else {
            return hit;
        };
        while left > 0
            && let Some(entry) = entries.next()
        {
            left -= 1;
            self.read_past(log, entry.id);
            hit.advanced = true;
            if !how.noack {
                self.give(entry.id, how);
                hit.owned.push(entry.id);
            }
            let delivered = Delivered {
                id: entry.id,
                fields: Some(entry.fields),
                idle: 0,
                count: 0,
            };
            if !emit(delivered) {
                break;
            }
        }
        if hit.advanced {
            self.spot = entries.spot(log.resets);
        }
        hit
    }

    /// Delivers what has been pending for long, the longest first. Whether to go on.
    fn deliver_idle(
        &mut self,
        log: &Log,
        how: &Deliver,
        min_idle: i64,
        left: &mut u64,
        hit: &mut Hit,
        emit: &mut impl FnMut(Delivered<'_>) -> bool,
    ) -> bool {
        // What is claimed gets the present time and so moves behind all that was there before. Its old key
        // is gone, but with a minimum of zero it could come up again: the walk ends where it began.
        let mut todo = self.pel.len();
        while todo > 0 && *left > 0 {
            todo -= 1;
            let Some((id, pending)) = self.most_idle(min_idle, how.now) else {
                break;
            };
            let Some(entry) = log.get(id) else {
                self.take(id);
                hit.dropped.push(id);
                continue;
            };
            *left -= 1;
            let (idle, count) = (pending.idle(how.now), pending.count);
            let again = Pending {
                time: how.now,
                count: count.saturating_add(1),
                owner: how.to,
            };
            self.put(id, again);
            self.with_consumer(how.to, |c| c.active = how.now);
            hit.owned.push(id);
            let delivered = Delivered {
                id,
                fields: Some(entry.fields),
                idle,
                count,
            };
            if !emit(delivered) {
                return false;
            }
        }
        true
    }

    fn most_idle(&mut self, min_idle: i64, now: i64) -> Option<(StreamId, Pending)> {
        let (id, pending) = Pending::of_row(self.pel.find_least()?);
        pending.is_idle(min_idle, now).then_some((id, pending))
    }

    /// Gives a new entry to a consumer. One that is pending already, after XGROUP SETID went back, changes
    /// hands and is counted afresh.
    fn give(&mut self, id: StreamId, how: &Deliver) {
        let pending = Pending {
            time: how.now,
            count: 1,
            owner: how.to,
        };
        self.put(id, pending);
        self.with_consumer(how.to, |c| c.active = how.now);
    }

    /// Moves the last delivered id to `id` and keeps the count of entries read, or finds it again.
    fn read_past(&mut self, log: &Log, id: StreamId) {
        match self.entries_read {
            Some(read) if !log.has_tombstone_from(id) => {
                self.entries_read = Some(read.saturating_add(1));
            }
            _ if log.entries_added() > 0 => self.entries_read = log.rank_of(id),
            _ => {}
        }
        self.last_id = id;
    }

    /// Delivers again what a consumer has pending from `from` on; entries that are gone come without fields.
    pub fn deliver_again(
        &mut self,
        log: &Log,
        to: ConsumerNo,
        from: StreamId,
        count: Option<u64>,
        now: i64,
        mut emit: impl FnMut(Delivered<'_>) -> bool,
    ) {
        let mut next = Some(from);
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(id) = next.and_then(|from| self.owned_from(to, from)) else {
                return;
            };
            next = id.next();
            left -= 1;
            let fields = log.get(id).map(|e| e.fields);
            if fields.is_some()
                && let Some(pending) = self.pending(id)
            {
                let count = pending.count.saturating_add(1);
                self.put(
                    id,
                    Pending {
                        time: now,
                        count,
                        ..pending
                    },
                );
            }
            let delivered = Delivered {
                id,
                fields,
                idle: 0,
                count: 0,
            };
            if !emit(delivered) {
                return;
            }
        }
    }

    fn owned_from(&self, no: ConsumerNo, from: StreamId) -> Option<StreamId> {
        let [ms, seq] = self.consumer(no)?.pel.range(from).next()?;
        Some(StreamId::new(ms, seq))
    }

    /// Puts a pending entry in, in place of what was there.
    fn put(&mut self, id: StreamId, new: Pending) {
        let old = self.pel.insert(new.row(id));
        let old = old.map(|row| Pending::of_row(row).1);
        if let Some(old) = old {
            self.nacked -= usize::from(old.time < 0);
            if old.owner != new.owner {
                self.with_consumer(old.owner, |c| c.pel.remove(id));
            }
        }
        self.nacked += usize::from(new.time < 0);
        if old.is_none_or(|old| old.owner != new.owner) {
            self.with_consumer(new.owner, |c| c.pel.insert([id.ms, id.seq]));
        }
    }

    /// Takes a pending entry out.
    fn take(&mut self, id: StreamId) -> Option<Pending> {
        let (_, old) = Pending::of_row(self.pel.remove(id)?);
        self.nacked -= usize::from(old.time < 0);
        self.with_consumer(old.owner, |c| c.pel.remove(id));
        Some(old)
    }

    fn slot(&mut self, no: ConsumerNo) -> Option<&mut Option<Consumer>> {
        self.consumers.get_mut(usize::try_from(no).ok()?)
    }

    /// Changes a consumer and keeps its size accounted.
    fn with_consumer<R>(&mut self, no: ConsumerNo, change: impl FnOnce(&mut Consumer) -> R) {
        if let Some(consumer) = self.slot(no).and_then(Option::as_mut) {
            let before = consumer.bytes();
            change(consumer);
            let after = consumer.bytes();
            self.consumer_bytes = (self.consumer_bytes + after).saturating_sub(before);
        }
    }
}

#[cfg(test)]
impl Group {
    /// Recounts what is kept in running totals and compares the indexes.
    pub(super) fn check(&self) {
        let bytes: usize = self.consumers.iter().flatten().map(Consumer::bytes).sum();
        assert_eq!(self.consumer_bytes, bytes);
        let all = || self.pel.iter().map(Pending::of_row);
        assert_eq!(self.nacked, all().filter(|(_, p)| p.time < 0).count());
        let least = all().map(|(_, p)| p.time).min();
        assert_eq!(self.idle_at(0), least.map(|time| time.max(0)));
        for (id, p) in all() {
            assert_eq!(p.time < 0, p.owner().is_none());
            let owner = p.owner().and_then(|no| self.consumer(no));
            assert!(p.owner().is_none() || owner.is_some_and(|c| c.pel.get(id).is_some()));
        }
        let owned: usize = self.consumers.iter().flatten().map(Consumer::pending).sum();
        assert_eq!(owned + self.nacked, self.pel.len());
    }
}
