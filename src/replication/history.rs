//! Which of two histories is the later one: their names tell.
//!
//! A leader whose acknowledged writes are to outlast it (`sync-replicas`) leads in a *term*: the epoch of the failover that made
//! it the leader. Whenever it begins a new history within its term, because it was started again, say, that is the next
//! *part*. Both stand in the name (`master_replid`), which every replica takes over with the data: so the replica that has
//! most can be found without the leader, and without servers or tools that know only Redis's histories having to know that.
//!
//! ```text
//! ed5afe00 0000000000a1 0002 9f86d081884c7d65    term 161, part 2, and 64 random bits
//! ```

use crate::util::rng::Rng;

/// What the names of histories with a term begin with.
const MARK: &str = "ed5afe00";

/// Digits of the term, and of the part.
const DIGITS: (usize, usize) = (12, 4);

/// A place in the order of histories. Names that say nothing come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct History {
    /// The term of the leader.
    pub term: u64,
    /// The part of the term.
    pub part: u16,
}

impl History {
    /// What a name tells.
    pub fn of(id: &str) -> History {
        let digits = |from: usize, len: usize| id.get(from..from + len);
        let numbers = || {
            let rest = digits(0, MARK.len())
                .filter(|mark| *mark == MARK)
                .map(|_| MARK.len())?;
            let term = u64::from_str_radix(digits(rest, DIGITS.0)?, 16).ok()?;
            let part = u16::from_str_radix(digits(rest + DIGITS.0, DIGITS.1)?, 16).ok()?;
            Some(History { term, part })
        };
        numbers().unwrap_or_default()
    }

    /// The history that a leader begins in this term when it has left this one.
    pub fn next(self, term: u64) -> History {
        match term > self.term {
            true => History { term, part: 0 },
            false => History {
                term: self.term,
                part: self.part.saturating_add(1),
            },
        }
    }

    /// A name for it that no other has.
    pub fn name(self, rng: &mut Rng) -> String {
        const LARGEST: u64 = (1 << 48) - 1;
        let (term, part) = (self.term.min(LARGEST), self.part);
        format!("{MARK}{term:012x}{part:04x}{:016x}", rng.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_order() {
        let mut rng = Rng::seed_from_u64(1);
        let first = History::default();
        let restarted = first.next(0);
        let promoted = restarted.next(7);
        let restarted_again = promoted.next(7);
        let late = restarted_again.next(5);
        let order = [first, restarted, promoted, restarted_again, late];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] != pair[1]));
        for history in [restarted, promoted, restarted_again, late] {
            let name = history.name(&mut rng);
            assert_eq!(name.len(), 40);
            assert!(name.bytes().all(|b| b.is_ascii_hexdigit()));
            assert_eq!(History::of(&name), history);
            assert_ne!(name, history.name(&mut rng));
        }
    }

    #[test]
    fn other_names_come_first() {
        for id in [
            "",
            "ed5afe00",
            "ed5afe00é",
            &"a".repeat(40),
            &"0".repeat(40),
        ] {
            assert_eq!(History::of(id), History::default());
        }
    }
}
