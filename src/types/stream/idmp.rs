//! Idempotent production: a repeated XADD by the same producer gives the id of the first.

use std::collections::{BTreeMap, HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_128;

use super::id::StreamId;

/// How long and how many ids of productions are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdmpConfig {
    /// Seconds.
    pub duration: u32,
    /// Per producer.
    pub max_size: u32,
}

impl Default for IdmpConfig {
    fn default() -> Self {
        Self {
            duration: 100,
            max_size: 100,
        }
    }
}

/// What a stream remembers of its producers.
#[derive(Clone, Debug, Default)]
pub struct Idmp {
    config: IdmpConfig,
    producers: BTreeMap<Box<[u8]>, Producer>,
    /// The producer to look at next for what has expired.
    hand: Box<[u8]>,
    bytes: usize,
    added: u64,
    duplicates: u64,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    ids: HashMap<Box<[u8]>, (StreamId, i64)>,
    /// In order of production, with the time in Unix milliseconds.
    order: VecDeque<(i64, Box<[u8]>)>,
}

/// What one remembered production costs beside its id: two boxes, the entry in table and queue.
const IID_OVERHEAD: usize = 96;
/// What one producer costs beside its name.
const PID_OVERHEAD: usize = 160;

impl Idmp {
    /// With these limits.
    #[must_use]
    pub fn new(config: IdmpConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// The limits.
    #[must_use]
    pub fn config(&self) -> IdmpConfig {
        self.config
    }

    /// Sets the limits; forgets all productions when they change.
    pub fn set_config(&mut self, config: IdmpConfig) {
        if config != self.config {
            self.config = config;
            self.producers.clear();
            self.bytes = 0;
        }
    }

    /// The entry remembered for a production.
    #[must_use]
    pub fn peek(&self, pid: &[u8], iid: &[u8], now: i64) -> Option<StreamId> {
        let (id, at) = *self.producers.get(pid)?.ids.get(iid)?;
        (at > self.horizon(now)).then_some(id)
    }

    /// Notes that a repeated production was answered.
    pub fn count_duplicate(&mut self) {
        self.duplicates = self.duplicates.saturating_add(1);
    }

    /// Remembers a production.
    pub fn record(&mut self, pid: &[u8], iid: &[u8], id: StreamId, now: i64) {
        self.expire_some(now);
        self.expire(pid, now);
        self.added = self.added.saturating_add(1);
        let known = self.producers.contains_key(pid);
        self.bytes += if known { 0 } else { pid.len() + PID_OVERHEAD };
        let producer = self.producers.entry(pid.into()).or_default();
        // In order of time, whatever the clock does.
        let at = now.max(producer.order.back().map_or(now, |(newest, _)| *newest));
        if producer.ids.insert(iid.into(), (id, at)).is_some() {
            producer.order.retain(|(_, known)| **known != *iid);
        } else {
            self.bytes += iid.len() * 2 + IID_OVERHEAD;
        }
        producer.order.push_back((at, iid.into()));
        while producer.order.len() > usize::try_from(self.config.max_size).unwrap_or(usize::MAX) {
            self.bytes = self.bytes.saturating_sub(producer.forget_first());
        }
    }

    /// Everything remembered: each producer with its productions, oldest first.
    pub fn producers(&self) -> impl ExactSizeIterator<Item = (&[u8], Vec<(&[u8], StreamId)>)> {
        self.producers.iter().map(|(pid, producer)| {
            let ids = producer.order.iter();
            let ids = ids.filter_map(|(_, iid)| Some((&**iid, producer.ids.get(iid)?.0)));
            (&**pid, ids.collect())
        })
    }

    /// Puts a production back as stored, newer than those of this producer that are there; the time at which it was
    /// made is that of its entry. Whether it was not there.
    pub fn restore(&mut self, pid: &[u8], iid: &[u8], id: StreamId) -> bool {
        let producer = match self.producers.get_mut(pid) {
            Some(producer) => producer,
            None => {
                self.bytes += pid.len() + PID_OVERHEAD;
                self.producers.entry(pid.into()).or_default()
            }
        };
        if producer.ids.contains_key(iid) {
            return false;
        }
        let newest = producer.order.back().map_or(0, |(at, _)| *at);
        let at = i64::try_from(id.ms).unwrap_or(i64::MAX).max(newest);
        producer.ids.insert(iid.into(), (id, at));
        producer.order.push_back((at, iid.into()));
        self.bytes += iid.len() * 2 + IID_OVERHEAD;
        true
    }

    /// Sets the totals as stored.
    pub fn restore_totals(&mut self, added: u64, duplicates: u64) {
        (self.added, self.duplicates) = (added, duplicates);
    }

    /// Producers with anything remembered, and productions in all.
    #[must_use]
    pub fn tracked(&self, now: i64) -> (usize, usize) {
        let horizon = self.horizon(now);
        let live = |p: &Producer| p.order.len() - p.order.partition_point(|(at, _)| *at <= horizon);
        let counts = self.producers.values().map(live).filter(|n| *n > 0);
        counts.fold((0, 0), |(pids, iids), n| (pids + 1, iids + n))
    }

    /// Productions remembered, and repeated ones answered, in all the stream's life.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.added, self.duplicates)
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes + self.hand.len()
    }

    /// Productions at or before this time are forgotten.
    fn horizon(&self, now: i64) -> i64 {
        now.saturating_sub(i64::from(self.config.duration) * 1000)
    }

    /// Drops what has expired of two producers in turn, so that their number stays bounded by what is live.
    fn expire_some(&mut self, now: i64) {
        use std::ops::Bound::{Excluded, Unbounded};
        for _ in 0..2 {
            let mut after = self
                .producers
                .range::<[u8], _>((Excluded(&*self.hand), Unbounded));
            self.hand = after.next().map(|(pid, _)| pid.clone()).unwrap_or_default();
            let pid = self.hand.clone();
            self.expire(&pid, now);
        }
    }

    fn expire(&mut self, pid: &[u8], now: i64) {
        let horizon = self.horizon(now);
        let Some(producer) = self.producers.get_mut(pid) else {
            return;
        };
        while producer.order.front().is_some_and(|(at, _)| *at <= horizon) {
            self.bytes = self.bytes.saturating_sub(producer.forget_first());
        }
        if producer.order.is_empty() {
            self.producers.remove(pid);
            self.bytes = self.bytes.saturating_sub(pid.len() + PID_OVERHEAD);
        }
    }
}

impl Producer {
    /// Forgets the oldest production; gives its bytes.
    fn forget_first(&mut self) -> usize {
        let Some((_, iid)) = self.order.pop_front() else {
            return 0;
        };
        self.ids.remove(&iid);
        iid.len() * 2 + IID_OVERHEAD
    }
}

/// The id of a production made from its fields and values, whatever their order.
pub fn digest<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> [u8; 16] {
    let mut pair = Vec::new();
    let sum = fields.fold(0u128, |sum, (name, value)| {
        pair.clear();
        pair.extend_from_slice(&name.len().to_le_bytes());
        pair.extend_from_slice(name);
        pair.extend_from_slice(value);
        sum.wrapping_add(xxh3_128(&pair))
    });
    sum.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    #[test]
    fn repeats_are_known_until_they_expire() {
        let mut idmp = Idmp::default();
        idmp.record(b"p", b"a", id(1), 1000);
        assert_eq!(idmp.peek(b"p", b"a", 100_999), Some(id(1)));
        assert_eq!(idmp.peek(b"q", b"a", 1000), None);
        assert_eq!(idmp.peek(b"p", b"a", 101_000), None);
        assert_eq!(idmp.tracked(101_000), (0, 0));
        idmp.record(b"p", b"a", id(2), 101_000);
        assert_eq!(idmp.peek(b"p", b"a", 101_000), Some(id(2)));
        assert_eq!(idmp.totals(), (2, 0));
    }

    #[test]
    fn the_oldest_go_when_a_producer_has_too_many() {
        let mut idmp = Idmp::new(IdmpConfig {
            duration: 60,
            max_size: 2,
        });
        for (i, iid) in [b"a", b"b", b"c"].into_iter().enumerate() {
            idmp.record(b"p", iid, id(i as u64), 0);
        }
        let known = [b"a", b"b", b"c"].map(|iid| idmp.peek(b"p", iid, 1).is_some());
        assert_eq!(known, [false, true, true]);
    }

    #[test]
    fn expired_producers_do_not_pile_up() {
        let mut idmp = Idmp::default();
        for i in 0..10_000i64 {
            idmp.record(i.to_string().as_bytes(), b"x", id(1), i * 1000);
        }
        assert!(idmp.producers.len() < 300);
        idmp.set_config(IdmpConfig {
            duration: 1,
            max_size: 1,
        });
        assert_eq!(idmp.bytes, 0);
    }

    #[test]
    fn the_digest_ignores_order_only() {
        let pairs: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
        let same = digest(pairs.iter().rev().copied());
        assert_eq!(digest(pairs.iter().copied()), same);
        let other: [(&[u8], &[u8]); 2] = [(b"a", b"2"), (b"b", b"1")];
        assert_ne!(digest(other.iter().copied()), same);
        let shifted: [(&[u8], &[u8]); 1] = [(b"a1", b"b2")];
        assert_ne!(
            digest(shifted.iter().copied()),
            digest([(&b"a"[..], &b"1b2"[..])].into_iter())
        );
    }
}
