//! What clients were told, compared with what there is in the end.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::ledger::{EntryId, Hold, Ledger, Message, Moment, Record};

/// What the leader has in the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) entries: HashSet<(Message, EntryId)>,
    pub(super) records: HashSet<Record>,
    /// The last fencing number of each lock.
    pub(super) fences: HashMap<u32, i64>,
}

/// Writes of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writes {
    /// Entries of the stream.
    pub(super) entries: u64,
    /// Records written under locks.
    pub(super) records: u64,
    /// Fencing numbers drawn.
    pub(super) fences: u64,
    /// Locks taken.
    pub(super) locks: u64,
}

impl Writes {
    pub(super) const fn total(self) -> u64 {
        self.entries + self.records + self.fences + self.locks
    }
}

/// What a drill has found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) acknowledged: Writes,
    pub(super) lost: Writes,
    pub(super) in_doubt: u64,
    pub(super) overlaps: Overlaps,
    pub(super) messages: Messages,
}

/// Locks that were held by two at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overlaps {
    /// How often one was given that another still had.
    pub(super) count: u64,
    /// How long two had one, at most.
    pub(super) longest: Duration,
}

/// What became of acknowledged messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Messages {
    pub(super) acknowledged: u64,
    /// Different ones that were worked off, acknowledged to their producer or not.
    pub(super) delivered: u64,
    /// Acknowledged, and never delivered.
    pub(super) lost: u64,
    /// Worked off more than once.
    pub(super) twice: u64,
}

impl Findings {
    /// Whether something that was acknowledged did not hold.
    pub(super) const fn is_loss(&self) -> bool {
        self.lost.total() > 0 || self.overlaps.count > 0 || self.messages.lost > 0
    }
}

/// Judges what clients were told by what there is in the end.
pub(super) fn judge(ledger: &Ledger, found: &Found) -> Findings {
    Findings {
        acknowledged: Writes {
            entries: ledger.entries.len() as u64,
            records: ledger.records.len() as u64,
            fences: ledger.fences.len() as u64,
            locks: ledger.holds.len() as u64,
        },
        lost: Writes {
            entries: absent(&ledger.entries, &found.entries),
            records: absent(&ledger.records, &found.records),
            fences: lost_fences(&ledger.fences, &found.fences),
            locks: ledger.gone,
        },
        in_doubt: ledger.in_doubt,
        overlaps: overlaps(&ledger.holds),
        messages: messages(&ledger.entries, &ledger.processed),
    }
}

fn absent<T: Eq + std::hash::Hash>(told: &[T], found: &HashSet<T>) -> u64 {
    told.iter().filter(|write| !found.contains(write)).count() as u64
}

/// A counter never gives a number twice, nor one that is above where it stands: as many INCRs are lost at least.
fn lost_fences(told: &[(u32, i64)], found: &HashMap<u32, i64>) -> u64 {
    let mut seen = HashSet::new();
    told.iter()
        .filter(|(lock, number)| {
            let stands = found.get(lock).copied().unwrap_or(0);
            *number > stands || !seen.insert((*lock, *number))
        })
        .count() as u64
}

/// Locks that somebody was given while another certainly had them.
fn overlaps(holds: &[Hold]) -> Overlaps {
    let mut holds: Vec<_> = holds.iter().filter(|h| h.granted < h.until).collect();
    holds.sort_by_key(|hold| (hold.lock, hold.granted));
    let mut out = Overlaps::default();
    let mut before: Option<(u32, Moment)> = None;
    for hold in holds {
        let taken_until = match before {
            Some((lock, until)) if lock == hold.lock => until,
            _ => Moment::ZERO,
        };
        if hold.granted < taken_until {
            out.count += 1;
            out.longest = out.longest.max(taken_until.min(hold.until) - hold.granted);
        }
        before = Some((hold.lock, taken_until.max(hold.until)));
    }
    out
}

fn messages(acknowledged: &[(Message, EntryId)], processed: &[Message]) -> Messages {
    let mut times: HashMap<Message, u64> = HashMap::new();
    for message in processed {
        *times.entry(*message).or_default() += 1;
    }
    Messages {
        acknowledged: acknowledged.len() as u64,
        delivered: times.len() as u64,
        lost: acknowledged
            .iter()
            .filter(|(message, _)| !times.contains_key(message))
            .count() as u64,
        twice: times.values().filter(|times| **times > 1).count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64) -> Message {
        Message {
            producer: 1,
            number,
        }
    }

    fn ms(n: u64) -> Moment {
        Moment::from_millis(n)
    }

    fn hold(lock: u32, granted: u64, until: u64) -> Hold {
        Hold {
            lock,
            granted: ms(granted),
            until: ms(until),
        }
    }

    fn record(number: u64) -> Record {
        Record {
            client: 7,
            number,
            fence: 40 + number as i64,
        }
    }

    /// Three of everything, all of it kept.
    fn kept() -> (Ledger, Found) {
        let ledger = Ledger {
            entries: (1..=3).map(|n| (message(n), EntryId(1000, n))).collect(),
            records: (1..=3).map(record).collect(),
            fences: vec![(0, 1), (0, 2), (5, 1)],
            holds: vec![hold(0, 10, 20), hold(0, 20, 30), hold(5, 15, 25)],
            processed: (1..=3).map(message).collect(),
            ..Ledger::default()
        };
        let found = Found {
            entries: ledger.entries.iter().copied().collect(),
            records: ledger.records.iter().copied().collect(),
            fences: HashMap::from([(0, 2), (5, 1)]),
        };
        (ledger, found)
    }

    #[test]
    fn nothing_is_found_where_there_is_nothing() {
        let (ledger, found) = kept();
        let findings = judge(&ledger, &found);
        assert!(!findings.is_loss());
        assert_eq!(findings.acknowledged.total(), 12);
        assert_eq!(findings.lost, Writes::default());
        assert_eq!(findings.overlaps, Overlaps::default());
        let messages = Messages {
            acknowledged: 3,
            delivered: 3,
            lost: 0,
            twice: 0,
        };
        assert_eq!(findings.messages, messages);
        assert!(!judge(&Ledger::default(), &Found::default()).is_loss());
    }

    #[test]
    fn what_was_written_beyond_what_was_acknowledged_is_no_loss() {
        let (ledger, mut found) = kept();
        found.entries.insert((message(4), EntryId(1000, 4)));
        found.records.insert(record(4));
        found.fences.insert(0, 9);
        assert!(!judge(&ledger, &found).is_loss());
    }

    #[test]
    fn a_lost_entry_is_found_and_so_is_one_under_another_id() {
        let (ledger, mut found) = kept();
        found.entries.remove(&(message(2), EntryId(1000, 2)));
        found.entries.insert((message(2), EntryId(2000, 0)));
        found.entries.remove(&(message(3), EntryId(1000, 3)));
        // Somebody else's entry has its id now.
        found.entries.insert((message(9), EntryId(1000, 3)));
        let findings = judge(&ledger, &found);
        assert!(findings.is_loss());
        assert_eq!(findings.lost.entries, 2);
        assert_eq!(findings.lost.total(), 2);
    }

    #[test]
    fn a_lost_record_is_found_and_so_is_one_with_another_value() {
        let (ledger, mut found) = kept();
        found.records.remove(&record(1));
        found.records.remove(&record(2));
        found.records.insert(Record {
            fence: 1,
            ..record(2)
        });
        assert_eq!(judge(&ledger, &found).lost.records, 2);
    }

    #[test]
    fn a_number_given_twice_or_taken_back_is_a_lost_write() {
        let (mut ledger, mut found) = kept();
        ledger.fences.push((0, 2));
        assert_eq!(judge(&ledger, &found).lost.fences, 1);
        found.fences.insert(0, 1);
        assert_eq!(judge(&ledger, &found).lost.fences, 2);
        found.fences.remove(&5);
        assert_eq!(judge(&ledger, &found).lost.fences, 3);
        assert!(judge(&ledger, &found).is_loss());
    }

    #[test]
    fn a_lock_that_was_gone_is_a_lost_write() {
        let (mut ledger, found) = kept();
        ledger.gone = 1;
        assert!(judge(&ledger, &found).is_loss());
    }

    #[test]
    fn two_holders_at_once_are_found() {
        let overlaps = |holds: &[Hold]| {
            let Overlaps { count, longest } = overlaps(holds);
            (count, longest.as_millis())
        };
        // One after the other, and other locks.
        assert_eq!(overlaps(&[hold(1, 0, 10), hold(1, 10, 20)]), (0, 0));
        assert_eq!(overlaps(&[hold(1, 0, 10), hold(2, 5, 20)]), (0, 0));
        assert_eq!(overlaps(&[hold(2, 5, 20), hold(1, 0, 10)]), (0, 0));
        assert_eq!(overlaps(&[hold(1, 0, 10), hold(1, 9, 20)]), (1, 1));
        // In whatever order they were noted, one within the other, and two within a third.
        assert_eq!(overlaps(&[hold(1, 9, 20), hold(1, 0, 10)]), (1, 1));
        assert_eq!(overlaps(&[hold(1, 0, 100), hold(1, 20, 50)]), (1, 30));
        assert_eq!(
            overlaps(&[hold(1, 0, 100), hold(1, 20, 50), hold(1, 60, 70)]),
            (2, 30)
        );
        // Three that began at once.
        assert_eq!(
            overlaps(&[hold(1, 0, 9), hold(1, 0, 9), hold(1, 0, 9)]),
            (2, 9)
        );
    }

    #[test]
    fn a_lock_that_came_too_late_to_be_valid_proves_nothing() {
        assert_eq!(
            overlaps(&[hold(1, 50, 40), hold(1, 0, 60)]),
            Overlaps::default()
        );
        assert_eq!(
            overlaps(&[hold(1, 0, 100), hold(1, 50, 50)]),
            Overlaps::default()
        );
    }

    #[test]
    fn validity_is_counted_from_the_question() {
        let until = Hold::valid_until(ms(500), ms(5000));
        assert_eq!(until, ms(500 + 5000 - 1 - 5));
        assert_eq!(Hold::valid_until(ms(0), ms(0)), ms(0));
    }

    #[test]
    fn a_lost_message_and_one_worked_off_twice_are_found() {
        let (mut ledger, found) = kept();
        ledger.processed = vec![message(1), message(2), message(2), message(2), message(8)];
        let findings = judge(&ledger, &found);
        let messages = Messages {
            acknowledged: 3,
            delivered: 3,
            lost: 1,
            twice: 1,
        };
        assert_eq!(findings.messages, messages);
        assert!(findings.is_loss());
        // Twice alone is what a group may do.
        ledger.processed.push(message(3));
        assert!(!judge(&ledger, &found).is_loss());
    }
}
