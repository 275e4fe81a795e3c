//! What happened in a run, to be read by people. It is written only when somebody will read it.

use std::fmt;

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
