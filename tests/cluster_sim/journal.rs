//! What is noted in the journal of a run beside what the world notes itself: what instances log, and what happens outside.

use std::cell::RefCell;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// Notes something in the journal of a run.
macro_rules! note {
    ($sim:expr, $($what:tt)*) => {
        if $sim.world.journal.is_kept() {
            let now = $sim.world.now();
            $sim.world.journal.note(now, format_args!($($what)*));
        }
    };
}

pub(crate) use note;

thread_local! {
    /// What the instances of this thread have logged and nobody has fetched.
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Takes what the instances have logged since this was last asked.
pub fn take_logged() -> Vec<String> {
    LOGGED.with_borrow_mut(std::mem::take)
}

/// Keeps what instances log for [`take_logged`].
pub struct Tap;

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0 += &format!("{value:?} "),
            name => self.0 += &format!("{name}={value:?} "),
        }
    }
}

impl Subscriber for Tap {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0.contains("DB loaded from") {
            // That tells how long it really took.
            return;
        }
        LOGGED.with_borrow_mut(|logged| logged.push(message.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
