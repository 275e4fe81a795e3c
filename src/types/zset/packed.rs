//! Small sorted sets: a listpack of members, each followed by its score, in order.

use std::ops::Range;

use super::range::{LexRange, ScoreRange, compare, stored, whole};
use crate::ds::listpack::{Listpack, Value};
use crate::util::num;

/// Unused bytes that are kept beside as many as are used.
const SLACK: usize = 64;

/// Pairs of member and score in a listpack, byte for byte as Redis lays them out.
#[derive(Clone, Debug, Default)]
pub struct Packed(Listpack);

/// A pair and where it is.
#[derive(Clone, Copy, Debug)]
struct Pair<'a> {
    at: usize,
    member: Value<'a>,
    score: f64,
}

impl Packed {
    /// Takes a listpack, if it is one of a sorted set: members that are all different, with scores, in order.
    pub(super) fn from_listpack(listpack: Listpack) -> Option<Self> {
        let mut members = Vec::new();
        let mut last: Option<(f64, Vec<u8>)> = None;
        let mut elements = listpack.iter();
        while let Some((_, member)) = elements.next() {
            let (_, score) = elements.next()?;
            let next = (stored(score)?, member.to_vec());
            if last.is_some_and(|last| last >= next) {
                return None;
            }
            members.push(next.1.clone());
            last = Some(next);
        }
        members.sort_unstable();
        let distinct = members.windows(2).all(|pair| pair[0] != pair[1]);
        distinct.then_some(Self(listpack))
    }

    /// The listpack.
    #[must_use]
    pub fn listpack(&self) -> &Listpack {
        &self.0
    }

    pub(super) fn heap_size(&self) -> usize {
        size_of::<Self>() + self.0.capacity()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() / 2
    }

    fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        let mut next = self.0.first();
        std::iter::from_fn(move || {
            let at = next?;
            let (member, after) = self.0.step(at)?;
            let (score, after) = self.0.step(after)?;
            next = Some(after);
            let score = stored(score).unwrap_or_default();
            Some(Pair { at, member, score })
        })
    }

    /// Where a member is, and its score.
    pub(super) fn find(&self, member: &[u8]) -> Option<(usize, f64)> {
        let number = num::parse_i64(member);
        let mut at = self.0.first()?;
        loop {
            let (value, score_at) = self.0.step(at)?;
            let found = match (value, number) {
                (Value::Int(n), Some(number)) => n == number,
                (Value::Str(bytes), None) => bytes == member,
                _ => false,
            };
            if found {
                return Some((at, stored(self.0.get(score_at)?)?));
            }
            at = self.0.skip(score_at, 1)?;
        }
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let number = num::parse_i64(member);
        let is = |value| match value {
            Value::Int(n) => Some(n) == number,
            Value::Str(bytes) => bytes == member,
        };
        let found = self.pairs().enumerate().find(|(_, pair)| is(pair.member));
        found.map(|(rank, pair)| (rank, pair.score))
    }

    /// Puts in a member that is not there.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) {
        let comes_after = |pair: &Pair<'_>| {
            pair.score > score || pair.score == score && compare(pair.member, member).is_gt()
        };
        let at = self.pairs().find(comes_after).map(|pair| pair.at);
        self.put(at.unwrap_or_else(|| self.0.end()), member, score);
    }

    /// Appends a member that comes after all others.
    pub(super) fn push(&mut self, member: &[u8], score: f64) {
        self.put(self.0.end(), member, score);
    }

    fn put(&mut self, at: usize, member: &[u8], score: f64) {
        self.0.insert_all(at, |pair| {
            pair.push(member);
            match whole(score) {
                Some(number) => pair.push_int(number),
                None => {
                    let mut text = Vec::with_capacity(24);
                    num::write_f64(&mut text, score);
                    pair.push(&text);
                }
            }
        });
    }

    /// Removes the pair at a position.
    pub(super) fn remove_at(&mut self, at: usize) {
        self.0.remove(at, 2);
        self.give_back();
    }

    /// Removes the pairs of these ranks.
    pub(super) fn remove(&mut self, ranks: Range<usize>) {
        if let Some(at) = self.position(ranks.start) {
            self.0.remove(at, 2 * ranks.len());
            self.give_back();
        }
    }

    /// Frees memory once there is too much of it.
    fn give_back(&mut self) {
        if self.0.capacity() > 2 * self.0.byte_len() + SLACK {
            self.0.shrink();
        }
    }

    /// Where the pair of a rank is.
    fn position(&self, rank: usize) -> Option<usize> {
        self.0.skip(self.0.first()?, 2 * rank)
    }

    pub(super) fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        let start = self.pairs().take_while(|p| range.is_after(p.score)).count();
        let end = self.pairs().take_while(|p| range.reaches(p.score)).count();
        start..end.max(start)
    }

    /// The ranks of the members that a walk meets from the first one in the range on, or backwards from the last one
    /// on, while they are in the range. Where scores differ that need not be the same, nor all of them.
    pub(super) fn lex_ranks(&self, range: &LexRange<'_>, reverse: bool) -> Range<usize> {
        let mut after = Vec::new();
        let mut reached = Vec::new();
        for pair in self.pairs() {
            let mut digits = itoa::Buffer::new();
            let member = pair.member.bytes(&mut digits);
            after.push(range.is_after(member));
            reached.push(range.reaches(member));
        }
        // Redis looks at both ends first.
        if after.last() != Some(&false) || reached.first() != Some(&true) {
            return 0..0;
        }
        if reverse {
            let end = reached.iter().rposition(|&r| r).map_or(0, |at| at + 1);
            let start = after[..end].iter().rposition(|&a| a).map_or(0, |at| at + 1);
            return start..end;
        }
        let start = after.iter().position(|&a| !a).unwrap_or(after.len());
        let rest = reached[start..].iter().position(|&r| !r);
        start..rest.map_or(after.len(), |at| start + at)
    }

    pub(super) fn iter(&self, from: usize, count: usize) -> Iter<'_> {
        Iter {
            listpack: &self.0,
            at: self.position(from).unwrap_or_else(|| self.0.end()),
            left: count,
            back: false,
        }
    }

    pub(super) fn iter_back(&self, from: usize, count: usize) -> Iter<'_> {
        Iter {
            listpack: &self.0,
            at: self.position(from + 1).unwrap_or_else(|| self.0.end()),
            left: count,
            back: true,
        }
    }
}

/// Pairs of a listpack in order, either way.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    listpack: &'a Listpack,
    /// The next pair, or the one after it when going back.
    at: usize,
    left: usize,
    back: bool,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Value<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if self.back {
            self.at = self.listpack.prev(self.listpack.prev(self.at)?)?;
        }
        let (member, after) = self.listpack.step(self.at)?;
        let (score, after) = self.listpack.step(after)?;
        if !self.back {
            self.at = after;
        }
        Some((member, stored(score)?))
    }
}
