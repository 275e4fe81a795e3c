//! What happened in a world, to be read by people. It is written only when somebody will read it.

use std::collections::VecDeque;
use std::fmt;

/// No more lines are kept: the oldest go.
const MOST: usize = 1_000_000;

/// The record of what happened, or nothing. The same seed and the same requests give the same lines.
#[derive(Debug)]
pub struct Journal {
    lines: Option<VecDeque<String>>,
}

impl Journal {
    /// One that is kept, or none.
    pub fn new(kept: bool) -> Journal {
        Journal {
            lines: kept.then(VecDeque::new),
        }
    }

    /// Notes what happened at this time, in microseconds.
    pub fn note(&mut self, now: i64, what: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            if lines.len() >= MOST {
                lines.pop_front();
            }
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            lines.push_back(format!("{seconds:4}.{micros:06} {what}"));
        }
    }

    /// Whether anything is noted.
    pub const fn is_kept(&self) -> bool {
        self.lines.is_some()
    }

    /// What was noted so far, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }

    /// Takes what was noted. Nothing more is.
    pub fn take(&mut self) -> Vec<String> {
        self.lines.take().map(Vec::from).unwrap_or_default()
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

pub(super) use note;
