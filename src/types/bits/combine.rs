//! Several strings made one, bit by bit. A string that is too short goes on in zeros.

/// The result is built in blocks that stay in the cache while every source passes over them.
const BLOCK: usize = 8 << 10;

/// What becomes of the bits of several strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// Set in all.
    And,
    /// Set in any.
    Or,
    /// Set in an odd number.
    Xor,
    /// Not set in the first, which is the only one.
    Not,
    /// Set in the first and in none of the others.
    Diff,
    /// Set in any of the others and not in the first.
    Diff1,
    /// Set in the first and in any of the others.
    AndOr,
    /// Set in exactly one.
    One,
}

impl Combine {
    /// The combination, as long as the longest source.
    pub fn of(self, sources: &[&[u8]]) -> Vec<u8> {
        let len = sources.iter().map(|s| s.len()).max().unwrap_or(0);
        let mut out = vec![0; len];
        let mut scratch = Vec::new();
        for (i, block) in out.chunks_mut(BLOCK).enumerate() {
            self.fill(block, i * BLOCK, sources, &mut scratch);
        }
        out
    }

    /// Fills a block of zeros with the combination of what the sources hold from `at` on.
    fn fill(self, block: &mut [u8], at: usize, sources: &[&[u8]], scratch: &mut Vec<u8>) {
        let len = block.len();
        let parts = sources.iter().map(|s| {
            let rest = s.get(at..).unwrap_or_default();
            rest.get(..len).unwrap_or(rest)
        });
        let first = parts.clone().next().unwrap_or_default();
        let others = parts.clone().skip(1);
        let or_all = |block: &mut [u8], parts: &mut dyn Iterator<Item = &[u8]>| {
            parts.for_each(|p| zip(block, p, |b, s| *b |= s));
        };
        match self {
            Combine::And => {
                copy(block, first);
                others.for_each(|p| and(block, p));
            }
            Combine::Or => or_all(block, &mut parts.clone()),
            Combine::Xor => parts.for_each(|p| zip(block, p, |b, s| *b ^= s)),
            Combine::Not => {
                copy(block, first);
                block.iter_mut().for_each(|b| *b = !*b);
            }
            Combine::Diff => {
                or_all(block, &mut { others });
                block.iter_mut().for_each(|b| *b = !*b);
                and(block, first);
            }
            Combine::Diff1 => {
                or_all(block, &mut { others });
                zip(block, first, |b, s| *b &= !s);
            }
            Combine::AndOr => {
                or_all(block, &mut { others });
                and(block, first);
            }
            Combine::One => {
                scratch.clear();
                scratch.resize(len, 0);
                for part in parts {
                    for ((once, twice), s) in block.iter_mut().zip(scratch.iter_mut()).zip(part) {
                        *twice |= *once & s;
                        *once |= s;
                    }
                }
                zip(block, scratch, |b, twice| *b &= !twice);
            }
        }
    }
}

fn copy(block: &mut [u8], part: &[u8]) {
    zip(block, part, |b, s| *b = s);
}

/// Keeps what the part has too; it has nothing beyond its end.
fn and(block: &mut [u8], part: &[u8]) {
    zip(block, part, |b, s| *b &= s);
    if let Some(beyond) = block.get_mut(part.len()..) {
        beyond.fill(0);
    }
}

/// Does the same with each byte and its counterpart. The compiler makes loops over the widest words of it.
#[inline(always)]
fn zip(block: &mut [u8], part: &[u8], f: impl Fn(&mut u8, u8)) {
    block.iter_mut().zip(part).for_each(|(b, s)| f(b, *s));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The combination of the bits at one place, in the words of the documentation.
    fn bit(op: Combine, bits: &[bool]) -> bool {
        let set = bits.iter().filter(|b| **b).count();
        let others = bits[1..].contains(&true);
        match op {
            Combine::And => set == bits.len(),
            Combine::Or => set > 0,
            Combine::Xor => set % 2 == 1,
            Combine::Not => !bits[0],
            Combine::Diff => bits[0] && !others,
            Combine::Diff1 => !bits[0] && others,
            Combine::AndOr => bits[0] && others,
            Combine::One => set == 1,
        }
    }

    const ALL: [Combine; 8] = [
        Combine::And,
        Combine::Or,
        Combine::Xor,
        Combine::Not,
        Combine::Diff,
        Combine::Diff1,
        Combine::AndOr,
        Combine::One,
    ];

    fn check(op: Combine, sources: &[&[u8]]) {
        let len = sources.iter().map(|s| s.len()).max().unwrap();
        let out = op.of(sources);
        assert_eq!(out.len(), len);
        for at in 0..len as u64 * 8 {
            let bits: Vec<_> = sources.iter().map(|s| super::super::get(s, at)).collect();
            assert_eq!(
                super::super::get(&out, at),
                bit(op, &bits),
                "{op:?} bit {at}"
            );
        }
    }

    #[test]
    fn blocks_meet() {
        let long: Vec<u8> = (0..BLOCK * 2 + 5).map(|i| (i * 7) as u8).collect();
        let short: Vec<u8> = (0..BLOCK + 3).map(|i| (i * 11) as u8).collect();
        for op in ALL {
            check(op, &[&long, &short]);
            check(op, &[&short, &long]);
        }
    }

    proptest! {
        #[test]
        fn combinations_are_those_of_single_bits(
            sources in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
        ) {
            let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
            ALL.into_iter().for_each(|op| check(op, &sources));
        }
    }
}
