//! An instance that is a sentinel: its clock, its configuration file, its events.

use tracing::{debug, info, warn};

use super::{Action, State, System, pubsub};
use crate::sentinel::{Event, Level, Sentinel};
use crate::util::system::reason;

/// What follows from the configuration.
pub(super) fn configure(sys: &mut System) {
    let System { sentinel, cfg, .. } = sys;
    if let Some(sentinel) = sentinel {
        sentinel.settings.port = cfg.announced_port();
        sentinel.settings.requirepass.clone_from(&cfg.requirepass);
    }
}

/// Does what is due.
pub(crate) fn tick(sys: &mut System) {
    let now = sys.now_us / 1000;
    if let Some(sentinel) = &mut sys.sentinel {
        sentinel.tick(now);
    }
}

/// When [`tick`] has something to do next.
#[inline]
pub(crate) fn next_tick(sys: &System) -> Option<i64> {
    sys.sentinel.as_deref().map(Sentinel::next_deadline)
}

/// The end of a batch: what was decided is written before anybody hears of it.
#[cold]
pub(crate) fn settle(state: &mut State) {
    let State { sys, sessions, .. } = state;
    let Some(sentinel) = &mut sys.sentinel else {
        return;
    };
    let changed = sentinel.take_changed();
    let events = sentinel.take_events();
    let has_orders = sentinel.has_orders();
    if changed {
        save(sys);
    }
    for event in events {
        tell(&event);
        if event.level != Level::Debug && !event.name.is_empty() {
            pubsub::publish(sys, sessions, event.name.as_bytes(), event.text.as_bytes());
        }
    }
    if has_orders {
        sys.actions.push(Action::Sentinel);
    }
}

/// Writes the configuration, now or else later.
fn save(sys: &mut System) {
    let Err(e) = super::save_config(sys, false) else {
        return info!("Sentinel new configuration saved on disk");
    };
    let why = reason(&e);
    warn!("WARNING: Sentinel was not able to save the new configuration on disk!!!: {why}");
    if let Some(sentinel) = &mut sys.sentinel {
        sentinel.write_later();
    }
}

fn tell(event: &Event) {
    let Event { level, name, text } = event;
    let space = if name.is_empty() { "" } else { " " };
    match level {
        Level::Debug | Level::Verbose => debug!("{name}{space}{text}"),
        Level::Notice => info!("{name}{space}{text}"),
        Level::Warning => warn!("{name}{space}{text}"),
    }
}
