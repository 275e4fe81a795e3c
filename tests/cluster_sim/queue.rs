//! What is to happen, in the order of virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things to happen, each at a time. What is to happen at the same time happens in the order in which it was added.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    added: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: i64,
    number: u64,
    what: T,
}

impl<T> Queue<T> {
    pub fn new() -> Queue<T> {
        Queue {
            heap: BinaryHeap::new(),
            added: 0,
        }
    }

    pub fn add(&mut self, at: i64, what: T) {
        self.added += 1;
        let number = self.added;
        self.heap.push(Reverse(Due { at, number, what }));
    }

    /// What is next, and when.
    pub fn pop(&mut self) -> Option<(i64, T)> {
        let Reverse(due) = self.heap.pop()?;
        Some((due.at, due.what))
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
