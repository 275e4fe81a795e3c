//! What is to happen, in the order of virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things to happen, each at a time. What is to happen at the same time happens in the order in which it was added.
#[derive(Debug)]
pub(super) struct Queue<T> {
    heap: BinaryHeap<Reverse<Planned<T>>>,
    added: u64,
}

#[derive(Debug)]
struct Planned<T> {
    at: i64,
    number: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Queue<T> {
        Queue {
            heap: BinaryHeap::new(),
            added: 0,
        }
    }

    pub(super) fn add(&mut self, at: i64, what: T) {
        self.added += 1;
        let number = self.added;
        self.heap.push(Reverse(Planned { at, number, what }));
    }

    /// What is next, and when.
    pub(super) fn pop(&mut self) -> Option<(i64, T)> {
        let Reverse(due) = self.heap.pop()?;
        Some((due.at, due.what))
    }

    /// When something is next.
    pub(super) fn next_at(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }
}

/// Something that is to happen once, at a time that changes: no more than one event is planned for it.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    due: Option<i64>,
    planned: Option<i64>,
}

/// What is to be done when an event of an alarm happens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    /// It is too early; another event is to be planned.
    Later(i64),
    Never,
}

impl Alarm {
    /// It is due at this time, and not when it was before. Whether an event is to be planned for that.
    pub(super) fn is_to_be_planned(&mut self, at: i64) -> bool {
        self.due = Some(at);
        let is_new = self.planned.is_none_or(|planned| planned > at);
        if is_new {
            self.planned = Some(at);
        }
        is_new
    }

    /// It is due at this time at the latest. Whether an event is to be planned for that.
    pub(super) fn is_to_be_planned_earlier(&mut self, at: i64) -> bool {
        let at = self.due.map_or(at, |due| due.min(at));
        self.is_to_be_planned(at)
    }

    /// An event happens.
    pub(super) fn comes(&mut self, now: i64) -> Due {
        if self.planned.is_none_or(|planned| planned > now) {
            // It was planned anew meanwhile.
            return Due::Never;
        }
        self.planned = None;
        match self.due {
            None => Due::Never,
            Some(at) if at > now => {
                self.planned = Some(at);
                Due::Later(at)
            }
            Some(_) => {
                self.due = None;
                Due::Now
            }
        }
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Planned<T> {}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
