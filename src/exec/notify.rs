//! Keyspace notifications: events of the change log as messages.
//!
//! Handlers log an event where Redis would publish it, and settle publishes what was logged, in that order: of each
//! event first the message to the key's channel, then that to the event's. Who calls commands one by one (a script, a
//! transaction) settles one by one, so that listeners hear of things as they happen.

use super::System;
use super::pubsub::publish;
use super::session::Sessions;
use crate::keyspace::Keyspace;
use crate::keyspace::event::{Classes, Event};
use crate::util::num;

/// Lets the keyspace log the events that `notify-keyspace-events` has switched on, as long as anybody is subscribed to
/// anything: what nobody can hear is not even logged.
pub(crate) fn listen(ks: &mut Keyspace, sys: &System) {
    let on = sys.cfg.notify_keyspace_events;
    let heard = !sys.pubsub.is_empty() && on.intersects(Classes::CHANNELS);
    ks.log.notify = if heard { on } else { Classes::default() };
}

/// Publishes an event, to the key's channel and to the event's, as `notify-keyspace-events` has it. Events of classes
/// that are off do not get into the log.
pub(crate) fn notify(
    sys: &mut System,
    sessions: &mut Sessions,
    db: usize,
    key: &[u8],
    event: Event,
) {
    let on = sys.cfg.notify_keyspace_events;
    let name = event.name.as_bytes();
    if on.intersects(Classes::KEYSPACE) {
        publish(sys, sessions, &channel(b"__keyspace@", db, key), name);
    }
    if on.intersects(Classes::KEYEVENT) {
        publish(sys, sessions, &channel(b"__keyevent@", db, name), key);
    }
}

fn channel(prefix: &[u8], db: usize, name: &[u8]) -> Vec<u8> {
    const ROOM: usize = 8;
    let mut channel = Vec::with_capacity(prefix.len() + ROOM + name.len());
    channel.extend_from_slice(prefix);
    num::write_u64(&mut channel, db as u64);
    channel.extend_from_slice(b"__:");
    channel.extend_from_slice(name);
    channel
}
