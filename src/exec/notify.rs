//! Keyspace notifications: events of the change log as messages.

use super::System;
use super::pubsub::publish;
use super::session::Sessions;
use crate::keyspace::event::{Classes, Event};
use crate::util::num;

/// Publishes an event, to the key's channel and to the event's, as `notify-keyspace-events` has it. Events of classes
/// that are off do not get into the log.
pub(crate) fn notify(
    sys: &mut System,
    sessions: &mut Sessions,
    db: usize,
    key: &[u8],
    event: Event,
) {
    if sys.pubsub.is_empty() {
        return;
    }
    let on = sys.cfg.notify_keyspace_events;
    if on.intersects(Classes::KEYSPACE) {
        let channel = channel(b"__keyspace@", db, key);
        publish(sys, sessions, &channel, event.name.as_bytes());
    }
    if on.intersects(Classes::KEYEVENT) {
        let channel = channel(b"__keyevent@", db, event.name.as_bytes());
        publish(sys, sessions, &channel, key);
    }
}

fn channel(prefix: &[u8], db: usize, name: &[u8]) -> Vec<u8> {
    let mut channel = prefix.to_vec();
    num::write_u64(&mut channel, db as u64);
    channel.extend_from_slice(b"__:");
    channel.extend_from_slice(name);
    channel
}
