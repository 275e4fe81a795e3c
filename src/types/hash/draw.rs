//! Fields drawn at random.

use std::collections::HashSet;

use super::{Entry, Hash};
use crate::ds::listpack::Value;
use crate::util::rng::Rng;

/// So many times more fields than are asked for make it worth to draw until enough different ones were seen;
/// otherwise all are walked over.
const SPARSE: usize = 3;

impl Hash {
    /// Draws fields, each with the same chance, until `take` has enough.
    pub fn draw<'a>(&'a self, now: i64, rng: &mut Rng, mut take: impl FnMut(Entry<'a>) -> bool) {
        match self {
            Hash::Table(fields) if fields.over(now) == 0 => {
                while fields.random(|| rng.next_u64()).is_some_and(&mut take) {}
            }
            _ => {
                let all: Vec<Entry<'_>> = self.iter(now).collect();
                while all.get(rng.index(all.len())).is_some_and(|e| take(*e)) {}
            }
        }
    }

    /// Draws so many different fields, each selection with the same chance; all of them if there are no more.
    pub fn sample<'a>(
        &'a self,
        count: usize,
        now: i64,
        rng: &mut Rng,
        mut take: impl FnMut(Entry<'a>),
    ) {
        if count == 0 {
            return;
        }
        let len = self.len(now);
        let sparse = matches!(self, Hash::Table(_)) && count.saturating_mul(SPARSE) < len;
        if sparse && self.over(now) == 0 {
            let mut seen = HashSet::with_capacity(count);
            self.draw(now, rng, |entry| {
                if let Value::Str(name) = entry.name
                    && seen.insert(name)
                {
                    take(entry);
                }
                seen.len() < count
            });
            return;
        }
        // Of what is still to come, each is as good as any other.
        let (mut wanted, mut left) = (count.min(len), len);
        for entry in self.iter(now) {
            if rng.index(left) < wanted {
                take(entry);
                wanted -= 1;
            }
            left -= 1;
        }
    }
}
