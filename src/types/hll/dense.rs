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
const MASK: u8 = (1 << BITS) - 1;
/// Registers that share whole bytes.
const PER_GROUP: usize = 4;
/// Those bytes.
const GROUP: usize = 3;

/// The four registers of a group.
#[inline]
fn unpack([a, b, c]: [u8; GROUP]) -> [u8; PER_GROUP] {
    [
        a & MASK,
        (a >> 6 | b << 2) & MASK,
        (b >> 4 | c << 4) & MASK,
        c >> 2,
    ]
}

/// Four registers as a group.
#[inline]
fn pack([a, b, c, d]: [u8; PER_GROUP]) -> [u8; GROUP] {
    [a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2]
}

fn groups(body: &[u8]) -> &[[u8; GROUP]] {
    body.as_chunks().0
}

/// The value of a register.
pub fn get(body: &[u8], register: usize) -> u8 {
    let group = groups(body).get(register / PER_GROUP).copied();
    unpack(group.unwrap_or_default())[register % PER_GROUP]
}

/// Sets a register to a value of six bits.
pub(super) fn set(body: &mut [u8], register: usize, value: u8) {
    let groups = body.as_chunks_mut::<GROUP>().0;
    if let Some(group) = groups.get_mut(register / PER_GROUP) {
        let mut registers = unpack(*group);
        registers[register % PER_GROUP] = value & MASK;
        *group = pack(registers);
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

/// Counts the values.
pub fn histogram(body: &[u8]) -> Histogram {
    Histogram::of(groups(body).iter().map(|group| unpack(*group)))
}

/// Raises registers to those stored.
pub(super) fn merge_into(body: &[u8], max: &mut [u8; REGISTERS]) {
    let max = max.as_chunks_mut::<PER_GROUP>().0;
    for (max, group) in max.iter_mut().zip(groups(body)) {
        for (max, register) in max.iter_mut().zip(unpack(*group)) {
            *max = register.max(*max);
        }
    }
}

/// All registers of a body.
pub fn registers(body: &[u8]) -> impl Iterator<Item = u8> {
    groups(body).iter().flat_map(|group| unpack(*group))
}

/// Appends registers.
pub(super) fn write(registers: &[u8; REGISTERS], out: &mut Vec<u8>) {
    for four in registers.as_chunks::<PER_GROUP>().0 {
        out.extend_from_slice(&pack(four.map(|r| r & MASK)));
    }
}
