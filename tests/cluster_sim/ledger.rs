//! What clients have written, what they were told of it, and what must therefore be there in the end.
//!
//! Everything written has a tag of its own: the client and a number. So whatever is missing, twice there, half there or
//! out of order has a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A string of its own.
    Set,
    /// A string of its own whose time is over long after the run.
    Far,
    /// An element of a list.
    Push,
    /// An entry of a stream.
    Add,
    /// A field of a hash.
    Field,
    /// One more.
    Count,
    /// A string, an element and one more, in a transaction or a script.
    Together,
    /// Two strings that are always the same.
    Pair,
    /// An element of a queue.
    Enqueue,
}

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was acknowledged.
    Sure,
    /// Somebody was shown it.
    Seen,
    /// It may have been done.
    Maybe,
    /// It was refused.
    Never,
}

/// What a client has written.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub writes: BTreeMap<u64, (Kind, Status)>,
    /// Elements that were taken out of its queue for sure.
    pub taken: BTreeSet<String>,
    /// Elements that may have been.
    pub maybe_taken: u64,
}

/// What is found of it in the end.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub strings: BTreeSet<u64>,
    pub far: BTreeMap<u64, i64>,
    pub list: Vec<String>,
    pub stream: Vec<String>,
    pub fields: Vec<String>,
    pub count: u64,
    pub together: BTreeSet<u64>,
    pub together_list: Vec<String>,
    pub together_count: u64,
    pub pair: (Option<String>, Option<String>),
    pub queue: Vec<String>,
}

/// When the time of what is [far](Kind::Far) is over.
pub fn far_deadline(n: u64) -> i64 {
    redkeep::embed::world::START + 1_000_000_000 + n as i64
}

pub fn tag(client: usize, n: u64) -> String {
    format!("{client}.{n}")
}

fn number(tag: &str) -> Option<u64> {
    tag.split_once('.')?.1.parse().ok()
}

impl Account {
    fn is(&self, n: u64, kind: Kind) -> Option<Status> {
        self.writes
            .get(&n)
            .filter(|(k, _)| *k == kind)
            .map(|(_, status)| *status)
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = (u64, Status)> + '_ {
        self.writes
            .iter()
            .filter(move |(_, (k, _))| *k == kind)
            .map(|(n, (_, status))| (*n, *status))
    }

    fn sure(&self, kind: Kind) -> impl Iterator<Item = u64> + '_ {
        self.of(kind)
            .filter(|(_, status)| matches!(status, Status::Sure | Status::Seen))
            .map(|(n, _)| n)
    }

    /// Somebody was shown it; whether that is news.
    pub fn seen(&mut self, tag: &str) -> bool {
        let write = number(tag).and_then(|n| self.writes.get_mut(&n));
        let Some((_, status @ Status::Maybe)) = write else {
            return false;
        };
        *status = Status::Seen;
        true
    }

    /// Everything that is wrong with what was found; if `keeps`, nothing that is sure may be missing.
    pub fn check(&self, found: &Found, keeps: bool) -> Vec<String> {
        let mut wrong = Wrong(Vec::new());
        for (kind, there) in [
            (Kind::Set, &found.strings),
            (Kind::Together, &found.together),
        ] {
            let numbers = there.iter().copied();
            self.check_numbers(kind, numbers, keeps, &mut wrong);
        }
        self.check_numbers(Kind::Far, found.far.keys().copied(), keeps, &mut wrong);
        for (n, deadline) in &found.far {
            if *deadline != far_deadline(*n) {
                wrong.add(format_args!("{n} ends at {deadline}"));
            }
        }
        for (kind, there) in [
            (Kind::Push, &found.list),
            (Kind::Add, &found.stream),
            (Kind::Field, &found.fields),
            (Kind::Together, &found.together_list),
        ] {
            self.check_row(kind, there, keeps, &mut wrong);
        }
        self.check_together(found, &mut wrong);
        self.check_count(found, keeps, &mut wrong);
        if found.pair.0 != found.pair.1 {
            wrong.add(format_args!("a pair is {:?}", found.pair));
        }
        self.check_pair(found, keeps, &mut wrong);
        self.check_queue(found, keeps, &mut wrong);
        wrong.0
    }

    fn check_numbers(
        &self,
        kind: Kind,
        there: impl Iterator<Item = u64>,
        keeps: bool,
        wrong: &mut Wrong,
    ) {
        let there: BTreeSet<u64> = there.collect();
        for n in &there {
            match self.is(*n, kind) {
                None => wrong.add(format_args!("{kind:?} {n} was never written")),
                Some(Status::Never) => {
                    wrong.add(format_args!("{kind:?} {n} was refused, and is there"))
                }
                Some(_) => {}
            }
        }
        if keeps {
            for n in self.sure(kind).filter(|n| !there.contains(n)) {
                wrong.add(format_args!(
                    "{kind:?} {n} was acknowledged, and is missing"
                ));
            }
        }
    }

    /// Each once, and those that were acknowledged in order.
    fn check_row(&self, kind: Kind, there: &[String], keeps: bool, wrong: &mut Wrong) {
        let numbers: Vec<u64> = there.iter().filter_map(|tag| number(tag)).collect();
        let mut seen = BTreeSet::new();
        for n in &numbers {
            if !seen.insert(*n) {
                wrong.add(format_args!("{kind:?} {n} is there twice"));
            }
        }
        self.check_numbers(kind, numbers.iter().copied(), keeps, wrong);
        if kind != Kind::Field {
            let sure = |n: &&u64| self.is(**n, kind) == Some(Status::Sure);
            let sure: Vec<u64> = numbers.iter().filter(sure).copied().collect();
            if !sure.is_sorted() {
                wrong.add(format_args!("{kind:?} is in this order: {sure:?}"));
            }
        }
    }

    /// Either all of it or nothing.
    fn check_together(&self, found: &Found, wrong: &mut Wrong) {
        let listed: BTreeSet<u64> = found
            .together_list
            .iter()
            .filter_map(|tag| number(tag))
            .collect();
        if listed != found.together || found.together_count != listed.len() as u64 {
            let differs: Vec<u64> = listed
                .symmetric_difference(&found.together)
                .copied()
                .collect();
            wrong.add(format_args!(
                "half of a transaction is there: {differs:?}, {} and {} counted",
                listed.len(),
                found.together_count
            ));
        }
    }

    fn check_count(&self, found: &Found, keeps: bool, wrong: &mut Wrong) {
        let most = self
            .of(Kind::Count)
            .filter(|(_, s)| *s != Status::Never)
            .count() as u64;
        let least = self.sure(Kind::Count).count() as u64;
        if found.count > most || keeps && found.count < least {
            wrong.add(format_args!(
                "{} counted, and it must be between {least} and {most}",
                found.count
            ));
        }
    }

    /// The last that is sure, or one of which nobody knows when it was done.
    fn check_pair(&self, found: &Found, keeps: bool, wrong: &mut Wrong) {
        let last = self.sure(Kind::Pair).last();
        let there = found.pair.0.as_deref().and_then(number);
        let status = there.map(|n| self.is(n, Kind::Pair));
        let known = status.is_none_or(|s| s.is_some_and(|status| status != Status::Never));
        let may_be_late = status == Some(Some(Status::Maybe));
        if !known || keeps && there < last && !may_be_late {
            wrong.add(format_args!(
                "a pair is {there:?}, and {last:?} was acknowledged"
            ));
        }
    }

    fn check_queue(&self, found: &Found, keeps: bool, wrong: &mut Wrong) {
        let there: BTreeSet<&String> = found.queue.iter().collect();
        if there.len() != found.queue.len() {
            wrong.add(format_args!(
                "something is twice in the queue: {:?}",
                found.queue
            ));
        }
        if !keeps {
            return;
        }
        for tag in found.queue.iter().filter(|tag| self.taken.contains(*tag)) {
            wrong.add(format_args!(
                "{tag} was taken out of the queue, and is back"
            ));
        }
        let numbers: BTreeSet<u64> = there.iter().filter_map(|tag| number(tag)).collect();
        let taken: BTreeSet<u64> = self.taken.iter().filter_map(|tag| number(tag)).collect();
        let gone = |n: &u64| !numbers.contains(n) && !taken.contains(n);
        let gone: Vec<u64> = self.sure(Kind::Enqueue).filter(gone).collect();
        if gone.len() as u64 > self.maybe_taken {
            wrong.add(format_args!(
                "{gone:?} are gone from the queue, and at most {} were taken",
                self.maybe_taken
            ));
        }
    }
}

struct Wrong(Vec<String>);

impl Wrong {
    fn add(&mut self, what: fmt::Arguments<'_>) {
        self.0.push(what.to_string());
    }
}
