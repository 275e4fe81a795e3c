//! Intersections, unions and differences.
//!
//! What is stored is put together as Redis 7.2 does it, step by step, since the encoding of the result shows the steps.
//! What is only shown takes the shorter way: no set is built where members can be told apart without one.

use std::cmp::Reverse;
use std::ptr;

use super::{Limits, Repr, Set};
use crate::ds::listpack::Value;
use crate::util::num::parse_i64;

/// Visits the members that all sets have in common, in the order of the smallest set, until `visit` returns false.
pub fn each_of_intersection(sets: &[&Set], visit: impl FnMut(Value<'_>) -> bool) {
    let (smallest, others) = by_size(sets);
    let Some(smallest) = smallest else { return };
    smallest
        .iter()
        .filter(|&v| others.iter().all(|set| set.contains_value(v)))
        .all(visit);
}

/// The intersection as a set.
pub fn intersection(sets: &[&Set], limits: Limits) -> Set {
    let smallest = by_size(sets).0;
    // A table holds integers as text: they are taken for what they are, as long as there is nothing else.
    let from_table = matches!(smallest, Some(Set::Table(_)));
    let mut only_ints = true;
    let mut common = match smallest {
        Some(set) if matches!(set.repr(), Repr::Ints(_)) => Set::ints(),
        _ => Set::packed(),
    };
    each_of_intersection(sets, |member| {
        if only_ints && let Value::Str(text) = member {
            only_ints = from_table && parse_i64(text).is_some();
        }
        common.add_value(member, limits);
        true
    });
    if only_ints {
        common.make_ints(limits);
    }
    common
}

/// The smallest set, and the others from small to large, as far as they are not that same set.
fn by_size<'a>(sets: &[&'a Set]) -> (Option<&'a Set>, Vec<&'a Set>) {
    let mut sets = sets.to_vec();
    sets.sort_by_key(|set| set.len());
    let smallest = sets.first().copied();
    sets.retain(|set| smallest.is_some_and(|s| !ptr::eq(s, *set)));
    (smallest, sets)
}

/// Visits each member of any of the sets, once.
pub fn each_of_union(sets: &[&Set], limits: Limits, mut visit: impl FnMut(Value<'_>) -> bool) {
    let small = sets.iter().all(|set| !matches!(set, Set::Table(_)));
    let mut ordered = sets.to_vec();
    ordered.sort_by_key(|set| Reverse(set.len()));
    // A member of a set is looked for in all larger ones. Where that is more work than gathering all members once, or
    // where all is small and the order may be noticed, they are gathered.
    let total: usize = ordered.iter().map(|set| set.len()).sum();
    let lookups = ordered.iter().enumerate().map(|(i, set)| i * set.len());
    if small || lookups.sum::<usize>() > total {
        union(sets, limits).iter().all(visit);
        return;
    }
    for (i, set) in ordered.iter().enumerate() {
        let larger = &ordered[..i];
        let goes_on = set
            .iter()
            .filter(|&v| !larger.iter().any(|l| l.contains_value(v)))
            .all(&mut visit);
        if !goes_on {
            return;
        }
    }
}

/// The union as a set.
pub fn union(sets: &[&Set], limits: Limits) -> Set {
    let mut all = Set::ints();
    for member in sets.iter().flat_map(|set| set.iter()) {
        all.add_value(member, limits);
    }
    all
}

/// Visits the members of the first set that none of the others has.
pub fn each_of_difference(
    first: &Set,
    others: &[&Set],
    limits: Limits,
    mut visit: impl FnMut(Value<'_>) -> bool,
) {
    match Plan::of(first, others) {
        Plan::Nothing => {}
        Plan::Look(others) if matches!(first, Set::Table(_)) => {
            remaining(first, &others).all(&mut visit);
        }
        plan => {
            plan.carry_out(first, limits).iter().all(visit);
        }
    }
}

/// The difference as a set.
pub fn difference(first: &Set, others: &[&Set], limits: Limits) -> Set {
    Plan::of(first, others).carry_out(first, limits)
}

/// The ways to a difference.
enum Plan<'a> {
    /// A set less itself.
    Nothing,
    /// Look for each member in the other sets, the largest first, since it is the likeliest to have it.
    Look(Vec<&'a Set>),
    /// Take the members of the others out of a copy.
    Strike(Vec<&'a Set>),
}

impl<'a> Plan<'a> {
    /// The cheaper way, as Redis reckons: a look costs half as much as striking out a member.
    fn of(first: &Set, others: &[&'a Set]) -> Plan<'a> {
        if others.iter().any(|other| ptr::eq(first, *other)) {
            return Plan::Nothing;
        }
        let looks = first.len().saturating_mul(others.len() + 1) / 2;
        let strikes = others.iter().fold(first.len(), |n, set| n + set.len());
        let mut others = others.to_vec();
        if looks > strikes {
            return Plan::Strike(others);
        }
        others.sort_by_key(|set| Reverse(set.len()));
        Plan::Look(others)
    }

    fn carry_out(self, first: &Set, limits: Limits) -> Set {
        let mut rest = Set::ints();
        match self {
            Plan::Nothing => {}
            Plan::Look(others) => remaining(first, &others).for_each(|v| {
                rest.add_value(v, limits);
            }),
            Plan::Strike(others) => {
                first.iter().for_each(|v| {
                    rest.add_value(v, limits);
                });
                for other in others {
                    if rest.is_empty() {
                        break;
                    }
                    other.iter().for_each(|v| {
                        rest.remove_value(v);
                    });
                }
            }
        }
        rest
    }
}

fn remaining<'a>(first: &'a Set, others: &[&Set]) -> impl Iterator<Item = Value<'a>> {
    first
        .iter()
        .filter(|&v| !others.iter().any(|other| other.contains_value(v)))
}
