//! Channels: who subscribes to which, and how a message gets to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::System;
use super::deliver::{Message, deliver};
use super::session::{Session, SessionId, Sessions};
use crate::ds::bytes::SmallBytes;
use crate::resp::ReplyBuf;
use crate::util::glob;

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
}

/// Who is subscribed to what.
#[derive(Debug, Default)]
pub struct PubSub {
    channels: HashMap<SmallBytes, BTreeSet<SessionId>>,
    patterns: BTreeMap<SmallBytes, BTreeSet<SessionId>>,
    shard: HashMap<SmallBytes, BTreeSet<SessionId>>,
}

impl PubSub {
    /// Whether nobody is subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard.is_empty()
    }

    /// Channels that somebody is subscribed to, in no order.
    pub fn channels(&self, kind: Kind) -> impl Iterator<Item = &SmallBytes> {
        match kind {
            Kind::Shard => self.shard.keys(),
            Kind::Channel | Kind::Pattern => self.channels.keys(),
        }
    }

    /// Number of different patterns.
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// How many are subscribed to a channel by its name.
    pub fn subscribers(&self, kind: Kind, channel: &[u8]) -> usize {
        let channels = match kind {
            Kind::Shard => &self.shard,
            Kind::Channel | Kind::Pattern => &self.channels,
        };
        channels.get(channel).map_or(0, BTreeSet::len)
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
        session
            .subscriptions
            .get_or_insert_default()
            .of_mut(kind)
            .insert(name.clone());
        let clients = match kind {
            Kind::Channel => self.channels.entry(name).or_default(),
            Kind::Pattern => self.patterns.entry(name).or_default(),
            Kind::Shard => self.shard.entry(name).or_default(),
        };
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
        if !subscriptions.of_mut(kind).remove(name) {
            return;
        }
        if subscriptions.is_empty() {
            session.subscriptions = None;
        }
        self.part(sid, kind, name);
    }

    /// Ends all subscriptions of a client without a word to it.
    pub(crate) fn forget(&mut self, session: &mut Session, sid: SessionId) {
        let Some(subscriptions) = session.subscriptions.take() else {
            return;
        };
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in subscriptions.of(kind) {
                self.part(sid, kind, name);
            }
        }
    }

    fn part(&mut self, sid: SessionId, kind: Kind, name: &[u8]) {
        let clients = match kind {
            Kind::Channel => self.channels.get_mut(name),
            Kind::Pattern => self.patterns.get_mut(name),
            Kind::Shard => self.shard.get_mut(name),
        };
        let Some(clients) = clients else {
            return;
        };
        clients.remove(&sid);
        if clients.is_empty() {
            match kind {
                Kind::Channel => drop(self.channels.remove(name)),
                Kind::Pattern => drop(self.patterns.remove(name)),
                Kind::Shard => drop(self.shard.remove(name)),
            }
        }
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
    let mut got = 0;
    // Out for the while: sending touches the rest of the system.
    let pubsub = std::mem::take(&mut sys.pubsub);
    if let Some(clients) = pubsub.channels.get(channel) {
        let mut message = Message::new(|out| say(out, &[b"message", channel, text]));
        for &sid in clients {
            deliver(sys, sessions, sid, &mut message);
            got += 1;
        }
    }
    for (pattern, clients) in &pubsub.patterns {
        if glob::matches(pattern, channel, false) {
            let mut message = Message::new(|out| say(out, &[b"pmessage", pattern, channel, text]));
            for &sid in clients {
                deliver(sys, sessions, sid, &mut message);
                got += 1;
            }
        }
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
    let mut message = Message::new(|out| say(out, &[b"smessage", channel, text]));
    for &sid in clients.into_iter().flatten() {
        deliver(sys, sessions, sid, &mut message);
    }
    let got = clients.map_or(0, BTreeSet::len);
    sys.pubsub = pubsub;
    got
}

fn say(out: &mut ReplyBuf, words: &[&[u8]]) {
    out.push(words.len());
    words.iter().for_each(|word| out.bulk(word));
}
