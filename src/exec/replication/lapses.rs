//! Keys of a replica that is written to: those that its own clients have given a deadline. The leader does not know of
//! them, so nobody but the replica itself ends them.

use std::collections::{BTreeMap, BTreeSet};

use crate::ds::bytes::SmallBytes;

/// A database, and a key in it.
pub type Place = (usize, SmallBytes);

/// Where something is to end, and when.
#[derive(Debug, Default)]
pub struct Lapses {
    known: BTreeMap<Place, i64>,
    /// The same, in the order of time.
    due: BTreeSet<(i64, Place)>,
}

impl Lapses {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Something ends there at this time, in unix milliseconds; or nothing does.
    pub fn set(&mut self, place: Place, at: Option<i64>) {
        if let Some(was) = self.known.remove(&place) {
            self.due.remove(&(was, place.clone()));
        }
        if let Some(at) = at {
            self.known.insert(place.clone(), at);
            self.due.insert((at, place));
        }
    }

    /// Takes one that is over.
    pub fn pop(&mut self, now: i64) -> Option<Place> {
        let (at, _) = self.due.first()?;
        if *at >= now {
            return None;
        }
        let (_, place) = self.due.pop_first()?;
        self.known.remove(&place);
        Some(place)
    }

    /// When the next one is over.
    pub fn next(&self) -> Option<i64> {
        let (at, _) = self.due.first()?;
        Some(at.saturating_add(1))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.known.clear();
        self.due.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(db: usize, key: &str) -> Place {
        (db, key.as_bytes().into())
    }

    #[test]
    fn places_come_once_and_in_the_order_of_time() {
        let mut lapses = Lapses::default();
        lapses.set(place(0, "late"), Some(30));
        lapses.set(place(1, "early"), Some(10));
        lapses.set(place(0, "moved"), Some(5));
        lapses.set(place(0, "moved"), Some(20));
        lapses.set(place(0, "kept"), Some(7));
        lapses.set(place(0, "kept"), None);
        assert_eq!((lapses.len(), lapses.next()), (3, Some(11)));
        assert_eq!(lapses.pop(10), None);
        assert_eq!(lapses.pop(11), Some(place(1, "early")));
        assert_eq!(lapses.pop(40), Some(place(0, "moved")));
        assert_eq!(lapses.pop(40), Some(place(0, "late")));
        assert_eq!(lapses.pop(40), None);
        assert!(lapses.is_empty() && lapses.next().is_none());
    }
}
