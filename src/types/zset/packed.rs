//! Small sorted sets: members, each followed by its score, in order.

use std::ops::Range;

use smallvec::SmallVec;

use super::range::{LexRange, ScoreRange, compare, stored, whole};
use crate::ds::listpack::{Listpack, Value};
use crate::ds::pack::{Elements, Pack};
use crate::util::num;

/// Pairs of member and score.
#[derive(Clone, Debug, Default)]
pub struct Packed(Pack);

/// Elements of a pair.
const PAIR: usize = 2;

/// A pair and where it is.
#[derive(Clone, Copy, Debug)]
struct Pair<'a> {
    at: usize,
    member: Value<'a>,
    score: f64,
}

impl Packed {
    /// See [`Value::glance`](crate::types::Value).
    pub(in crate::types) fn glance(&self) {
        self.0.glance();
    }

    /// Takes a listpack, if it is one of a sorted set: members that are all different, with scores, in order.
    pub(super) fn from_listpack(listpack: &Listpack) -> Option<Self> {
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
        distinct.then(|| Self(Pack::from_listpack(listpack)))
    }

    /// The pairs as Redis has them in a listpack.
    #[must_use]
    pub fn to_listpack(&self) -> Listpack {
        self.0.to_listpack()
    }

    /// Bytes allocated.
    pub(super) fn heap_size(&self) -> usize {
        self.0.heap_size()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.len() / PAIR
    }

    /// The pair at a position, and the position behind it; none at the end.
    #[inline]
    fn pair(&self, at: usize) -> Option<(Pair<'_>, usize)> {
        let (member, behind) = self.0.step(at)?;
        let (score, behind) = self.0.step(behind)?;
        let score = stored(score).unwrap_or_default();
        Some((Pair { at, member, score }, behind))
    }

    fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (pair, behind) = self.pair(at)?;
            at = behind;
            Some(pair)
        })
    }

    /// Where a member is, and its score.
    pub(super) fn find(&self, member: &[u8]) -> Option<(usize, f64)> {
        let at = self.0.find(member, PAIR)?;
        Some((at, self.pair(at)?.0.score))
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let (at, score) = self.find(member)?;
        Some((self.pairs().take_while(|pair| pair.at < at).count(), score))
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
        let mut pair = Elements::new();
        pair.push(member);
        match whole(score) {
            Some(number) => pair.push_int(number),
            None => {
                let mut text = Vec::with_capacity(24);
                num::write_f64(&mut text, score);
                pair.push(&text);
            }
        }
        self.0.splice(at..at, 0, &pair);
    }

    /// Removes the pair at a position.
    pub(super) fn remove_at(&mut self, at: usize) {
        if let Some(behind) = self.0.skip(at, PAIR) {
            self.0.remove(at..behind, PAIR);
        }
    }

    /// Removes the pairs of these ranks.
    pub(super) fn remove(&mut self, ranks: Range<usize>) {
        let ranks = ranks.start..ranks.end.min(self.len());
        if ranks.is_empty() {
            return;
        }
        if let Some(at) = self.position(ranks.start)
            && let Some(behind) = self.0.skip(at, PAIR * ranks.len())
        {
            self.0.remove(at..behind, PAIR * ranks.len());
        }
    }

    /// Where the pair of a rank is; the end for the rank behind the last.
    fn position(&self, rank: usize) -> Option<usize> {
        self.0.skip(0, PAIR * rank)
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

    /// So many pairs from a rank on.
    pub(super) fn iter(&self, from: usize, count: usize) -> Iter<'_> {
        let at = self.position(from).unwrap_or_else(|| self.0.end());
        Iter {
            packed: self,
            way: Way::On { at, left: count },
        }
    }

    /// So many pairs from a rank backwards.
    pub(super) fn iter_back(&self, from: usize, count: usize) -> Iter<'_> {
        let behind = from.saturating_add(1).min(self.len());
        let pairs = self.positions(behind.saturating_sub(count));
        Iter {
            packed: self,
            way: Way::Back(pairs.take(behind.min(count)).collect()),
        }
    }

    /// Positions of the pairs from a rank on.
    fn positions(&self, from: usize) -> impl Iterator<Item = u32> {
        let mut next = self.position(from);
        std::iter::from_fn(move || {
            let at = next.filter(|&at| at < self.0.end())?;
            next = self.0.skip(at, PAIR);
            u32::try_from(at).ok()
        })
    }
}

/// Pairs in order, either way.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    packed: &'a Packed,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    /// Where the next pair is, and how many are to come.
    On { at: usize, left: usize },
    /// Where the pairs are that are to come, the next one last: there is no walking backwards.
    Back(SmallVec<[u32; 4]>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Value<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let packed = self.packed;
        let pair = match &mut self.way {
            Way::On { at, left } => {
                *left = left.checked_sub(1)?;
                let (pair, behind) = packed.pair(*at)?;
                *at = behind;
                pair
            }
            Way::Back(positions) => packed.pair(positions.pop()? as usize)?.0,
        };
        Some((pair.member, pair.score))
    }
}
