//! What the sentinels tell: everybody who subscribes hears of it, and so does the drill.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::follow::Place;
use super::ledger::Moment;
use super::wire::{Conn, Trouble, text};
use crate::server::ask::Address;

/// How long it waits before it subscribes again.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Events that are kept.
const MOST: usize = 10_000;

/// Something that a sentinel has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) at: Moment,
    pub(super) sentinel: Address,
    /// The channel, which is the name of the event.
    pub(super) event: String,
    pub(super) payload: String,
}

/// All that was told so far.
pub(super) type Events = Arc<Mutex<Vec<Told>>>;

/// Listens to one sentinel until it is aborted.
pub(super) async fn listen(sentinel: Address, place: Arc<Place>, events: Events) {
    loop {
        // Whatever went wrong, it is tried again.
        let _ = subscribed(&sentinel, &place, &events).await;
        sleep(BACK_OFF).await;
    }
}

async fn subscribed(sentinel: &Address, place: &Place, events: &Events) -> Result<(), Trouble> {
    let mut conn = Conn::open(sentinel, &place.sentinel_login, place.patience).await?;
    conn.call(&["PSUBSCRIBE", "*"], place.patience).await?;
    loop {
        let message = conn.next().await?;
        let [_, _, event, payload] = message.as_array().unwrap_or_default() else {
            continue;
        };
        let (Some(event), Some(payload)) = (text(event), text(payload)) else {
            continue;
        };
        if !concerns(payload, &place.master) {
            continue;
        }
        if event == "+switch-master" {
            place.switches.fetch_add(1, Ordering::Relaxed);
        }
        let mut events = events.lock();
        if events.len() < MOST {
            events.push(Told {
                at: place.clock.now(),
                sentinel: sentinel.clone(),
                event: event.to_owned(),
                payload: payload.to_owned(),
            });
        }
    }
}

/// Whether a payload names that master: in front (`+switch-master`), behind the kind, or behind an `@`.
fn concerns(payload: &str, master: &str) -> bool {
    let mut words = payload.split(' ');
    let first = words.next();
    let named = match payload.split_once(" @ ") {
        Some((_, owner)) => owner.split(' ').next(),
        None if first == Some("master") => words.next(),
        None => first,
    };
    named == Some(master)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_other_masters_are_none_of_ours() {
        for payload in [
            "mymaster 127.0.0.1 7000 127.0.0.1 7001",
            "master mymaster 127.0.0.1 7000",
            "master mymaster 127.0.0.1 7000 #quorum 2/2",
            "slave 127.0.0.1:7001 127.0.0.1 7001 @ mymaster 127.0.0.1 7000",
        ] {
            assert!(concerns(payload, "mymaster"), "{payload}");
            assert!(!concerns(payload, "other"), "{payload}");
        }
        assert!(!concerns("", "mymaster"));
        assert!(!concerns("slave a:1 a 1 @ other a 2", "a:1"));
    }
}
