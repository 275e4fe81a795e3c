//! Which register an element belongs to, and what it raises it to: MurmurHash64A with Redis's seed.

use super::REGISTERS;

const SEED: u64 = 0xadc8_3b19;
const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;
/// Bits of the hash that choose the register.
const INDEX_BITS: u32 = REGISTERS.trailing_zeros();

/// The longest run of the bits that are left: all zeros, and a one that stands behind them.
pub const LONGEST_RUN: u8 = (64 - INDEX_BITS + 1) as u8;

/// The register of an element, and the length of the run `0…01` in the rest of its hash.
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element);
    let register = hash as usize % REGISTERS;
    let run = (hash >> INDEX_BITS).trailing_zeros() as u8 + 1;
    (register, run.min(LONGEST_RUN))
}

fn murmur64a(data: &[u8]) -> u64 {
    let mut hash = SEED ^ (data.len() as u64).wrapping_mul(FACTOR);
    let mut words = data.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        let mut k = word.wrapping_mul(FACTOR);
        k ^= k >> SHIFT;
        hash = (hash ^ k.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ (hash >> SHIFT)
}
