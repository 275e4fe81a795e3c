//! What happened in a run, to be read by people. It is written only when somebody will read it.

use std::cell::RefCell;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// The record of a run, or nothing.
#[derive(Debug)]
pub struct Journal {
    lines: Option<Vec<String>>,
}

impl Journal {
    pub fn new(kept: bool) -> Journal {
        Journal {
            lines: kept.then(Vec::new),
        }
    }

    /// Notes what happened at this time, in microseconds.
    pub fn note(&mut self, now: i64, what: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            lines.push(format!("{seconds:4}.{micros:06} {what}"));
        }
    }

    pub fn is_kept(&self) -> bool {
        self.lines.is_some()
    }

    pub fn take(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}

/// Notes something in the journal of a world.
macro_rules! note {
    ($world:expr, $($what:tt)*) => {
        if $world.journal.is_kept() {
            let now = $world.now;
            $world.journal.note(now, format_args!($($what)*));
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
