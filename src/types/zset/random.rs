//! Members drawn at random.

use std::collections::BTreeSet;

use super::ZSet;
use crate::ds::listpack::Value;
use crate::util::rng::Rng;

/// Of a set not larger than so many times the sample, each member is asked whether it belongs to it.
const SPARSE: usize = 8;

impl ZSet {
    /// Draws `count` times, each time any member.
    pub fn draw(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Value<'_>, f64)) {
        if let Self::Packed(_) = self
            && count > 1
        {
            let all: Vec<_> = self.iter().collect();
            for _ in 0..count {
                if let Some(&(member, score)) = all.get(rng.index(all.len())) {
                    visit(member, score);
                }
            }
            return;
        }
        for _ in 0..count {
            if let Some((member, score)) = self.get(rng.index(self.len())) {
                visit(member, score);
            }
        }
    }

    /// Visits `count` different members, or all if there are not so many, in order; each selection is as likely as any
    /// other.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Value<'_>, f64)) {
        let len = self.len();
        let count = count.min(len);
        if matches!(self, Self::Big(_)) && len / SPARSE > count {
            for rank in ranks(count, len, rng) {
                if let Some((member, score)) = self.get(rank) {
                    visit(member, score);
                }
            }
            return;
        }
        let mut missing = count;
        for (rank, (member, score)) in self.iter().enumerate() {
            if rng.index(len - rank) < missing {
                visit(member, score);
                missing -= 1;
            }
        }
    }
}

/// So many different numbers below `len`.
fn ranks(count: usize, len: usize, rng: &mut Rng) -> BTreeSet<usize> {
    let mut ranks = BTreeSet::new();
    // Floyd's way: the last number that is new takes the place of one that was there.
    for last in len - count..len {
        let rank = rng.index(last + 1);
        if !ranks.insert(rank) {
            ranks.insert(last);
        }
    }
    ranks
}
