//! Members drawn at random, kept or taken out. Every member, and every choice of several, has the same chance.

use std::collections::HashSet;

use super::{Limits, Members, Repr, Set};
use crate::ds::bytes::SmallBytes;
use crate::ds::intset::Intset;
use crate::ds::listpack::Value;
use crate::ds::pack::{Elements, Pack};
use crate::util::rng::Rng;

/// Picks a number of things out of a number of things that pass by one after the other.
struct Chooser {
    passing: usize,
    picks: usize,
}

impl Chooser {
    fn new(picks: usize, of: usize) -> Chooser {
        Chooser { passing: of, picks }
    }

    /// Whether the next one is among those picked.
    fn picks_next(&mut self, rng: &mut Rng) -> bool {
        let hit = rng.index(self.passing) < self.picks;
        self.passing = self.passing.saturating_sub(1);
        self.picks -= usize::from(hit);
        hit
    }
}

/// One draw after the other from the same set, each from all of it.
#[derive(Debug)]
pub struct Draws<'a>(From<'a>);

#[derive(Debug)]
enum From<'a> {
    Ints(Intset<&'a [u8]>),
    /// The positions of all members, so that a draw need not walk.
    Packed(&'a Pack, Vec<usize>),
    Table(&'a Members),
}

impl<'a> Draws<'a> {
    /// The next one; none if the set is empty.
    pub fn draw(&self, rng: &mut Rng) -> Option<Value<'a>> {
        match &self.0 {
            From::Ints(ints) => ints.get(rng.index(ints.len())).map(Value::Int),
            From::Packed(pack, at) => Some(pack.step(*at.get(rng.index(at.len()))?)?.0),
            From::Table(members) => members.random(rng).map(Value::Str),
        }
    }
}

impl Set {
    /// A member drawn at random; none if the set is empty.
    pub fn random(&self, rng: &mut Rng) -> Option<Value<'_>> {
        match self.repr() {
            Repr::Ints(ints) => ints.get(rng.index(ints.len())).map(Value::Int),
            Repr::Packed(pack) => {
                let at = pack.skip(0, rng.index(pack.len()))?;
                Some(pack.step(at)?.0)
            }
            Repr::Table(members) => members.random(rng).map(Value::Str),
        }
    }

    /// For many draws from the whole set.
    pub fn draws(&self) -> Draws<'_> {
        Draws(match self.repr() {
            Repr::Ints(ints) => From::Ints(ints),
            Repr::Packed(pack) => From::Packed(pack, pack.iter().map(|(pos, _)| pos).collect()),
            Repr::Table(members) => From::Table(members),
        })
    }

    /// Visits `count` different members drawn at random; all of them if there are no more.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Value<'_>)) {
        let len = self.len();
        if count >= len {
            return self.iter().for_each(visit);
        }
        // One walk over a set that is not much larger than the sample beats drawing again and again what was drawn.
        if count >= len / 3 || matches!(self.repr(), Repr::Packed(_)) {
            let mut chooser = Chooser::new(count, len);
            self.iter()
                .filter(|_| chooser.picks_next(rng))
                .for_each(visit);
            return;
        }
        let mut seen = HashSet::with_capacity(count);
        while seen.len() < count {
            match self.repr() {
                Repr::Table(members) => {
                    let Some(member) = members.random(rng) else {
                        return;
                    };
                    if seen.insert(member.as_ptr() as usize) {
                        visit(Value::Str(member));
                    }
                }
                repr => {
                    let index = rng.index(len);
                    if seen.insert(index)
                        && let Repr::Ints(ints) = repr
                        && let Some(n) = ints.get(index)
                    {
                        visit(Value::Int(n));
                    }
                }
            }
        }
    }

    /// Takes out a member drawn at random; none if the set is empty.
    pub fn pop(&mut self, rng: &mut Rng) -> Option<SmallBytes> {
        if let Set::Table(members) = self {
            return members.pop(rng);
        }
        let mut text = itoa::Buffer::new();
        let drawn = SmallBytes::from(self.random(rng)?.bytes(&mut text));
        self.remove(&drawn);
        Some(drawn)
    }

    /// Takes out `count` members drawn at random, which must be fewer than there are. Where few are left, they are put
    /// together anew, and may take a smaller encoding.
    pub fn pop_many(
        &mut self,
        count: usize,
        limits: Limits,
        rng: &mut Rng,
        mut visit: impl FnMut(Value<'_>),
    ) {
        let len = self.len();
        let left = len.saturating_sub(count);
        if left.saturating_mul(5) <= count {
            let mut kept = match self.repr() {
                Repr::Ints(_) => Set::ints(),
                _ => Set::packed(),
            };
            let mut chooser = Chooser::new(left, len);
            for member in self.iter() {
                if chooser.picks_next(rng) {
                    kept.add_value(member, limits);
                } else {
                    visit(member);
                }
            }
            *self = kept;
            return;
        }
        let mut chooser = Chooser::new(count, len);
        match self {
            Set::Small(small) if small.is_ints() => small.edit_ints(|ints| {
                ints.retain(|n| {
                    let goes = chooser.picks_next(rng);
                    if goes {
                        visit(Value::Int(n));
                    }
                    !goes
                });
            }),
            Set::Small(small) => {
                let mut kept = Elements::new();
                for (_, member) in small.pack_mut().iter() {
                    if chooser.picks_next(rng) {
                        visit(member);
                    } else {
                        kept.push_value(member);
                    }
                }
                *small.pack_mut() = Pack::of(&kept);
            }
            Set::Table(members) => {
                let popped = std::iter::from_fn(|| members.pop(rng));
                popped.take(count).for_each(|m| visit(Value::Str(&m)));
            }
        }
    }
}
