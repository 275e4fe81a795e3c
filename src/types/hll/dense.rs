//! The dense encoding: every register has its six bits.
//!
//! Bits are filled from the least significant one of the first byte on, so that four registers share three bytes:
//!
//! ```text
//! |11000000|22221111|33333322|
//! ```

use super::{Histogram, REGISTERS};

/// Bytes of all registers.
pub const SIZE: usize = REGISTERS / PER_GROUP * GROUP;

/// Bits of a register.
const BITS: usize = 6;
const MASK: u32 = (1 << BITS) - 1;
/// Registers that share whole bytes.
const PER_GROUP: usize = 4;
/// Those bytes.
const GROUP: usize = 3;

/// The four registers of a group.
fn unpack(group: &[u8]) -> [u8; PER_GROUP] {
    let bits = match *group {
        [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
        _ => 0,
    };
    std::array::from_fn(|i| (bits >> (i * BITS) & MASK) as u8)
}

/// The value of a register.
pub fn get(body: &[u8], register: usize) -> u8 {
    let at = register / PER_GROUP * GROUP;
    let group = body.get(at..at + GROUP).unwrap_or_default();
    unpack(group)[register % PER_GROUP]
}

/// Sets a register.
pub(super) fn set(body: &mut [u8], register: usize, value: u8) {
    let at = register / PER_GROUP * GROUP;
    let shift = register % PER_GROUP * BITS;
    if let Some([a, b, c]) = body.get_mut(at..at + GROUP) {
        let bits = u32::from_le_bytes([*a, *b, *c, 0]);
        let bits = bits & !(MASK << shift) | (u32::from(value) & MASK) << shift;
        [*a, *b, *c, _] = bits.to_le_bytes();
    }
}

/// Raises a register, if it is lower; returns whether it was.
pub(super) fn raise(body: &mut [u8], register: usize, value: u8) -> bool {
    let lower = get(body, register) < value;
    if lower {
        set(body, register, value);
    }
    lower
}

/// Counts the values. Groups take turns in four histograms, so that equal registers next to each other do not wait for
/// one another.
pub fn histogram(body: &[u8]) -> Histogram {
    let mut turns: [Histogram; PER_GROUP] = Default::default();
    for group in body.chunks_exact(GROUP) {
        for (turn, register) in turns.iter_mut().zip(unpack(group)) {
            turn.add(register, 1);
        }
    }
    let mut sum = Histogram::default();
    turns.iter().for_each(|turn| sum.merge(turn));
    sum
}

/// Raises registers to those stored.
pub(super) fn merge_into(body: &[u8], max: &mut [u8; REGISTERS]) {
    for (four, group) in max
        .chunks_exact_mut(PER_GROUP)
        .zip(body.chunks_exact(GROUP))
    {
        for (max, register) in four.iter_mut().zip(unpack(group)) {
            *max = register.max(*max);
        }
    }
}

/// All registers of a body.
pub fn registers(body: &[u8]) -> impl Iterator<Item = u8> {
    body.chunks_exact(GROUP).flat_map(unpack)
}

/// Appends registers.
pub(super) fn write(registers: &[u8; REGISTERS], out: &mut Vec<u8>) {
    for four in registers.chunks_exact(PER_GROUP) {
        let pack = |bits, (i, r): (usize, &u8)| bits | (u32::from(*r) & MASK) << (i * BITS);
        let bits: u32 = four.iter().enumerate().fold(0, pack);
        out.extend_from_slice(&bits.to_le_bytes()[..GROUP]);
    }
}
