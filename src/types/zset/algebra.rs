//! Unions, intersections and differences of sorted sets, and of sets, whose members all have the score 1.
//!
//! Scores are combined in the same order as in Redis, input after input from the smallest to the largest, so that sums
//! are the same to the last bit.

use std::cmp::Ordering;
use std::ptr;

use super::{Limits, ZSet};
use crate::ds::bytes::SmallBytes;
use crate::ds::listpack::Value;
use crate::ds::table::{Keyed, Slot, Table};
use crate::types::set::Set;

/// Something with members.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A sorted set.
    ZSet(&'a ZSet),
    /// A set.
    Set(&'a Set),
}

/// A source and what its scores are multiplied with. No source is an empty one.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The members.
    pub source: Option<Source<'a>>,
    /// The factor.
    pub weight: f64,
}

/// How several scores of a member become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The sum of the weights, whatever the scores.
    Count,
}

/// A member of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The member.
    pub member: SmallBytes,
    /// Its score.
    pub score: f64,
}

impl Keyed for Scored {
    fn key(&self) -> &[u8] {
        &self.member
    }
}

impl Scored {
    fn new(member: Value<'_>, score: f64) -> Self {
        let member = member.bytes(&mut itoa::Buffer::new()).into();
        Self { member, score }
    }
}

impl Source<'_> {
    fn len(self) -> usize {
        match self {
            Self::ZSet(zset) => zset.len(),
            Self::Set(set) => set.len(),
        }
    }

    fn score(self, member: Value<'_>) -> Option<f64> {
        match self {
            Self::ZSet(zset) => zset.score(member.bytes(&mut itoa::Buffer::new())),
            Self::Set(set) => set.contains_value(member).then_some(1.0),
        }
    }

    /// Visits the members until `visit` returns false.
    fn each(self, mut visit: impl FnMut(Value<'_>, f64) -> bool) {
        match self {
            Self::ZSet(zset) => zset.iter().all(|(member, score)| visit(member, score)),
            Self::Set(set) => set.iter().all(|member| visit(member, 1.0)),
        };
    }

    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::ZSet(a), Self::ZSet(b)) => ptr::eq(a, b),
            (Self::Set(a), Self::Set(b)) => ptr::eq(a, b),
            _ => false,
        }
    }
}

impl Input<'_> {
    fn len(&self) -> usize {
        self.source.map_or(0, Source::len)
    }
}

impl Aggregate {
    /// What a score counts as.
    fn weigh(self, score: f64, weight: f64) -> f64 {
        match self {
            Self::Count => weight,
            Self::Sum | Self::Min | Self::Max => weight * score,
        }
    }

    /// What the first score of a member counts as: a product that is none counts as zero.
    fn begin(self, score: f64, weight: f64) -> f64 {
        zero_for_nan(self.weigh(score, weight))
    }

    fn add(self, so_far: f64, next: f64) -> f64 {
        match self {
            // Infinities that cancel each other give zero.
            Self::Sum | Self::Count => zero_for_nan(so_far + next),
            Self::Min if next < so_far => next,
            Self::Max if next > so_far => next,
            Self::Min | Self::Max => so_far,
        }
    }
}

fn zero_for_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// The members that any input has, in order.
#[must_use]
pub fn union(inputs: &[Input<'_>], aggregate: Aggregate, limits: Limits) -> Vec<Scored> {
    let mut all = Table::<Scored>::new(limits.seed);
    for input in by_size(inputs) {
        let Some(source) = input.source else { continue };
        source.each(|member, score| {
            let score = aggregate.begin(score, input.weight);
            let mut digits = itoa::Buffer::new();
            let bytes = member.bytes(&mut digits);
            match all.slot(all.hash(bytes), bytes) {
                Slot::Occupied(mut found) => {
                    let found = found.get_mut();
                    found.score = aggregate.add(found.score, score);
                }
                Slot::Vacant(place) => _ = place.insert(Scored::new(member, score)),
            }
            true
        });
    }
    sorted(all.into_entries().collect())
}

/// The members that all inputs have, in order.
#[must_use]
pub fn intersection(inputs: &[Input<'_>], aggregate: Aggregate) -> Vec<Scored> {
    let mut common = Vec::new();
    each_in_common(inputs, aggregate, |member, score| {
        common.push(Scored::new(member, score));
        true
    });
    sorted(common)
}

/// How many members all inputs have, at most so many; 0 for no limit.
#[must_use]
pub fn count_in_common(inputs: &[Input<'_>], limit: usize) -> usize {
    let mut n = 0;
    each_in_common(inputs, Aggregate::Sum, |_, _| {
        n += 1;
        n != limit
    });
    n
}

fn each_in_common(
    inputs: &[Input<'_>],
    aggregate: Aggregate,
    mut visit: impl FnMut(Value<'_>, f64) -> bool,
) {
    let inputs = by_size(inputs);
    let Some((smallest, others)) = inputs.split_first() else {
        return;
    };
    let Some(first) = smallest.source else { return };
    first.each(|member, score| {
        let mut total = aggregate.begin(score, smallest.weight);
        for other in others {
            let found = match other.source {
                Some(source) if source.is(first) => Some(score),
                Some(source) => source.score(member),
                None => None,
            };
            let Some(found) = found else { return true };
            total = aggregate.add(total, aggregate.weigh(found, other.weight));
        }
        visit(member, total)
    });
}

/// The members of the first input that none of the others has, in order.
#[must_use]
pub fn difference(inputs: &[Input<'_>]) -> Vec<Scored> {
    let Some((first, others)) = inputs.split_first() else {
        return Vec::new();
    };
    let Some(first) = first.source else {
        return Vec::new();
    };
    let mut others: Vec<Source<'_>> = others.iter().filter_map(|input| input.source).collect();
    if others.iter().any(|other| other.is(first)) {
        return Vec::new();
    }
    // The largest is the likeliest to have a member.
    others.sort_by_key(|other| std::cmp::Reverse(other.len()));
    let mut rest = Vec::new();
    first.each(|member, score| {
        if !others.iter().any(|other| other.score(member).is_some()) {
            rest.push(Scored::new(member, score));
        }
        true
    });
    sorted(rest)
}

/// From the smallest to the largest; those of one size stay in their order.
fn by_size<'a>(inputs: &[Input<'a>]) -> Vec<Input<'a>> {
    let mut inputs = inputs.to_vec();
    inputs.sort_by_key(Input::len);
    inputs
}

fn sorted(mut members: Vec<Scored>) -> Vec<Scored> {
    members.sort_unstable_by(|a, b| {
        let scores = a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal);
        scores.then_with(|| a.member.cmp(&b.member))
    });
    members
}
