//! Channels: who subscribes to which, and how a message gets to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::System;
use super::deliver::{Message, deliver};
use super::session::{Session, SessionId, Sessions};
use crate::ds::bytes::SmallBytes;
use crate::resp::ReplyBuf;
use crate::util::glob;

/// Bytes of a subscription beside its name: the name's place with the client, the client's place with the name.
const SUBSCRIPTION: usize = 2 * (size_of::<SmallBytes>() + size_of::<SessionId>());

/// Bytes of a channel or pattern that somebody is subscribed to, beside its name.
const TOPIC: usize = 2 * (size_of::<SmallBytes>() + size_of::<Clients>());

/// What one subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A channel (SUBSCRIBE).
    Channel,
    /// Every channel that a pattern matches (PSUBSCRIBE).
    Pattern,
    /// A channel of a shard (SSUBSCRIBE).
    Shard,
}

/// What a client is subscribed to.
#[derive(Debug, Default)]
pub struct Subscriptions {
    channels: BTreeSet<SmallBytes>,
    patterns: BTreeSet<SmallBytes>,
    shard: BTreeSet<SmallBytes>,
    bytes: usize,
}

impl Subscriptions {
    /// What it is subscribed to of one kind, in order.
    pub fn of(&self, kind: Kind) -> &BTreeSet<SmallBytes> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shard,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut BTreeSet<SmallBytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shard,
        }
    }

    /// What the reply to a subscription counts: channels and patterns together, or those of shards.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::Shard => self.shard.len(),
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard.is_empty()
    }

    /// Bytes that they take.
    pub fn memory(&self) -> usize {
        self.bytes
    }
}

/// Who is subscribed to one thing.
type Clients = BTreeSet<SessionId>;

/// Who is subscribed to what.
#[derive(Debug, Default)]
pub struct PubSub {
    channels: HashMap<SmallBytes, Clients>,
    patterns: Patterns,
    shard: HashMap<SmallBytes, Clients>,
    /// Clients that are subscribed to something.
    clients: usize,
    bytes: usize,
}

impl PubSub {
    /// Whether nobody is subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.clients == 0
    }

    /// Number of clients that are subscribed to something.
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// Bytes that subscriptions take, here and with the clients.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Channels that somebody is subscribed to, in no order.
    pub fn channels(&self, kind: Kind) -> impl ExactSizeIterator<Item = &SmallBytes> {
        match kind {
            Kind::Shard => self.shard.keys(),
            Kind::Channel | Kind::Pattern => self.channels.keys(),
        }
    }

    /// Number of different patterns.
    pub fn patterns(&self) -> usize {
        self.patterns.count
    }

    /// How many are subscribed to a channel by its name.
    pub fn subscribers(&self, kind: Kind, channel: &[u8]) -> usize {
        let channels = match kind {
            Kind::Shard => &self.shard,
            Kind::Channel | Kind::Pattern => &self.channels,
        };
        channels.get(channel).map_or(0, Clients::len)
    }

    /// Subscribes a client.
    pub(crate) fn subscribe(
        &mut self,
        session: &mut Session,
        sid: SessionId,
        kind: Kind,
        name: &[u8],
    ) {
        let name = SmallBytes::from(name);
        self.clients += usize::from(session.subscriptions.is_none());
        let subscriptions = session.subscriptions.get_or_insert_default();
        if !subscriptions.of_mut(kind).insert(name.clone()) {
            return;
        }
        let cost = SUBSCRIPTION + name.heap_size();
        subscriptions.bytes += cost;
        self.bytes += cost;
        let heap = name.heap_size();
        let clients = match kind {
            Kind::Channel => self.channels.entry(name).or_default(),
            Kind::Pattern => self.patterns.entry(name),
            Kind::Shard => self.shard.entry(name).or_default(),
        };
        if clients.is_empty() {
            self.bytes += TOPIC + heap;
        }
        clients.insert(sid);
    }

    /// Ends a subscription, if there is one.
    pub(crate) fn unsubscribe(
        &mut self,
        session: &mut Session,
        sid: SessionId,
        kind: Kind,
        name: &[u8],
    ) {
        let Some(subscriptions) = &mut session.subscriptions else {
            return;
        };
        let Some(name) = subscriptions.of_mut(kind).take(name) else {
            return;
        };
        let cost = SUBSCRIPTION + name.heap_size();
        subscriptions.bytes -= cost;
        self.bytes -= cost;
        if subscriptions.is_empty() {
            session.subscriptions = None;
            self.clients -= 1;
        }
        self.part(sid, kind, &name);
    }

    /// Ends all subscriptions of a client without a word to it.
    pub(crate) fn forget(&mut self, session: &mut Session, sid: SessionId) {
        let Some(subscriptions) = session.subscriptions.take() else {
            return;
        };
        self.clients -= 1;
        self.bytes -= subscriptions.bytes;
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in subscriptions.of(kind) {
                self.part(sid, kind, name);
            }
        }
    }

    fn part(&mut self, sid: SessionId, kind: Kind, name: &SmallBytes) {
        let gone = match kind {
            Kind::Channel => part_from(&mut self.channels, sid, name),
            Kind::Pattern => self.patterns.part(sid, name),
            Kind::Shard => part_from(&mut self.shard, sid, name),
        };
        if gone {
            self.bytes -= TOPIC + name.heap_size();
        }
    }
}

/// Takes a client from a channel; whether it was the last.
fn part_from(
    channels: &mut HashMap<SmallBytes, Clients>,
    sid: SessionId,
    name: &SmallBytes,
) -> bool {
    let Some(clients) = channels.get_mut(name) else {
        return false;
    };
    clients.remove(&sid);
    let gone = clients.is_empty();
    if gone {
        channels.remove(name);
    }
    gone
}

/// Patterns by the bytes they begin with, so that a message is held only against those that begin as its channel does.
#[derive(Debug, Default)]
struct Patterns {
    /// By what stands before the first byte that is not plain.
    by_head: HashMap<SmallBytes, BTreeMap<SmallBytes, Clients>>,
    /// The lengths of the heads, and how many heads have them.
    lengths: BTreeMap<usize, usize>,
    count: usize,
}

impl Patterns {
    fn head(pattern: &[u8]) -> &[u8] {
        let special = memchr::memchr3(b'*', b'?', b'[', pattern);
        let head = pattern.get(..special.unwrap_or(pattern.len()));
        let head = head.unwrap_or_default();
        let escape = memchr::memchr(b'\\', head);
        head.get(..escape.unwrap_or(head.len())).unwrap_or_default()
    }

    /// The clients of a pattern, which is made if there was none.
    fn entry(&mut self, pattern: SmallBytes) -> &mut Clients {
        let head = SmallBytes::from(Self::head(&pattern));
        let length = head.len();
        let patterns = self.by_head.entry(head).or_insert_with(|| {
            *self.lengths.entry(length).or_default() += 1;
            BTreeMap::new()
        });
        patterns.entry(pattern).or_insert_with(|| {
            self.count += 1;
            Clients::new()
        })
    }

    /// Takes a client from a pattern; whether it was the last.
    fn part(&mut self, sid: SessionId, pattern: &SmallBytes) -> bool {
        let head = Self::head(pattern);
        let Some(patterns) = self.by_head.get_mut(head) else {
            return false;
        };
        let Some(clients) = patterns.get_mut(pattern) else {
            return false;
        };
        clients.remove(&sid);
        if !clients.is_empty() {
            return false;
        }
        self.count -= 1;
        patterns.remove(pattern);
        if patterns.is_empty() {
            self.by_head.remove(head);
            if let Some(heads) = self.lengths.get_mut(&head.len()) {
                *heads -= 1;
                if *heads == 0 {
                    self.lengths.remove(&head.len());
                }
            }
        }
        true
    }

    /// The patterns that match a channel, the most general first.
    fn matching<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a SmallBytes, &'a Clients)> {
        self.lengths
            .keys()
            .filter_map(|&length| self.by_head.get(channel.get(..length)?))
            .flatten()
            .filter(|(pattern, _)| glob::matches(pattern, channel, false))
    }
}

/// Sends a message to everybody subscribed to a channel, or to a pattern that matches it; returns how many got it. A
/// client gets it once for each subscription that fits.
pub(crate) fn publish(
    sys: &mut System,
    sessions: &mut Sessions,
    channel: &[u8],
    text: &[u8],
) -> usize {
    if sys.pubsub.is_empty() {
        return 0;
    }
    // Out for the while: sending touches the rest of the system, but ends no subscription.
    let pubsub = std::mem::take(&mut sys.pubsub);
    let mut got = 0;
    if let Some(clients) = pubsub.channels.get(channel) {
        got += send(sys, sessions, clients, &[b"message", channel, text]);
    }
    for (pattern, clients) in pubsub.patterns.matching(channel) {
        let words = [b"pmessage", &pattern[..], channel, text];
        got += send(sys, sessions, clients, &words);
    }
    sys.pubsub = pubsub;
    got
}

/// Sends a message to everybody subscribed to a channel of a shard; returns how many got it.
pub(crate) fn publish_to_shard(
    sys: &mut System,
    sessions: &mut Sessions,
    channel: &[u8],
    text: &[u8],
) -> usize {
    let pubsub = std::mem::take(&mut sys.pubsub);
    let clients = pubsub.shard.get(channel);
    let got = clients.map_or(0, |clients| {
        send(sys, sessions, clients, &[b"smessage", channel, text])
    });
    sys.pubsub = pubsub;
    got
}

fn send(sys: &mut System, sessions: &mut Sessions, clients: &Clients, words: &[&[u8]]) -> usize {
    let mut message = Message::new(|out: &mut ReplyBuf| {
        out.push(words.len());
        words.iter().for_each(|word| out.bulk(word));
    });
    for &sid in clients {
        deliver(sys, sessions, sid, &mut message);
    }
    clients.len()
}
