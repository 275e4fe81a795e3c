//! The sparse encoding: runs of equal registers.
//!
//! ```text
//! 00llllll           ZERO   a run of l + 1 registers that are zero
//! 01llllll llllllll  XZERO  the same, up to all of them
//! 1vvvvvll           VAL    a run of l + 1 registers with the value v + 1
//! ```
//!
//! Which of the possible sequences of runs stands for the registers depends on the order in which they were raised;
//! `raise` splits and joins runs exactly where Redis does, so that the bytes are the same.
//! A string that ends in the midst of an XZERO is read as if a zero byte followed.

use super::{Corrupt, HEADER, Histogram, REGISTERS};

const XZERO: u8 = 0x40;
const VAL: u8 = 0x80;
const MAX_ZERO: usize = 64;
const MAX_VAL: usize = 4;
/// The greatest value that a run can have.
const MAX_VALUE: u8 = 32;
/// Most bytes of what one run is split into: XZERO, VAL, XZERO.
const MAX_SPLIT: usize = 5;
/// Runs that are looked at, from the one before the change on, to join equal ones.
const JOINED: usize = 5;
/// Bytes to spare when a string grows; small ones double instead.
const GREED: usize = 300;

/// A run of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// What they hold.
    pub value: u8,
    /// How many they are.
    pub len: usize,
    /// Whether it takes two bytes.
    pub wide: bool,
}

impl Run {
    /// Reads the run that begins at `at`.
    fn at(bytes: &[u8], at: usize) -> Option<Run> {
        let first = *bytes.get(at)?;
        let low = usize::from(first & 0x3f);
        Some(if first & VAL != 0 {
            Run {
                value: (first >> 2 & 0x1f) + 1,
                len: usize::from(first & 3) + 1,
                wide: false,
            }
        } else if first & XZERO != 0 {
            let second = bytes.get(at + 1).copied().unwrap_or(0);
            Run {
                value: 0,
                len: (low << 8 | usize::from(second)) + 1,
                wide: true,
            }
        } else {
            Run {
                value: 0,
                len: low + 1,
                wide: false,
            }
        })
    }

    fn size(self) -> usize {
        1 + usize::from(self.wide)
    }
}

/// The runs of a body.
pub fn runs(body: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = Run::at(body, at)?;
        at += run.size();
        Some(run)
    })
}

fn val(value: u8, len: usize) -> u8 {
    // Values and lengths count from one.
    VAL | (value - 1) << 2 | (len - 1) as u8
}

/// Appends one run of zeros that covers every register.
pub(super) fn write_empty(out: &mut Vec<u8>) {
    let mut run = Split::default();
    run.zeros(REGISTERS);
    out.extend_from_slice(run.bytes());
}

/// Counts the values.
pub fn histogram(body: &[u8]) -> Result<Histogram, Corrupt> {
    let mut histogram = Histogram::default();
    let mut covered = 0;
    for run in runs(body) {
        covered += run.len;
        histogram.add(run.value, run.len as u32);
    }
    if covered == REGISTERS {
        Ok(histogram)
    } else {
        Err(Corrupt)
    }
}

/// Raises registers to those stored. On an error some of them are raised.
pub(super) fn merge_into(body: &[u8], max: &mut [u8; REGISTERS]) -> Result<(), Corrupt> {
    let mut at = 0;
    for run in runs(body) {
        let end = at + run.len;
        if run.value > 0 {
            for register in max.get_mut(at..end).ok_or(Corrupt)? {
                *register = run.value.max(*register);
            }
        }
        at = end;
    }
    if at == REGISTERS {
        Ok(())
    } else {
        Err(Corrupt)
    }
}

/// How an attempt to raise a register ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// It is as high already.
    No,
    /// It was raised.
    Yes,
    /// It can be raised only in the dense encoding.
    NoRoom,
}

/// The beginning of a run in a string with its header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Position of the run.
    at: usize,
    /// Its first register.
    first: usize,
    /// Position of the run before it.
    previous: Option<usize>,
}

impl Place {
    /// The first run.
    pub(super) const START: Place = Place {
        at: HEADER,
        first: 0,
        previous: None,
    };
}

/// Raises a register, if it is lower, in a string of at most `max` bytes, header included. Looks for it `from` a place
/// on, which is moved to one from which registers behind this one can be looked for.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    from: &mut Place,
    register: usize,
    value: u8,
    max: usize,
) -> Result<Raised, Corrupt> {
    if value > MAX_VALUE {
        return Ok(Raised::NoRoom);
    }
    let (place, run) = find(bytes, from, register)?;
    if run.value >= value {
        return Ok(Raised::No);
    }
    let mut split = Split::default();
    split.piece(run, register - place.first);
    split.push(val(value, 1));
    split.piece(run, place.first + run.len - 1 - register);
    let new = split.bytes();
    // A run in the midst of which the string ends has fewer bytes than it takes, and becomes a whole one.
    let end = (place.at + run.size()).min(bytes.len());
    let old = end - place.at;
    if new.len() > old {
        if bytes.len() - old + new.len() > max {
            return Ok(Raised::NoRoom);
        }
        reserve(bytes, max);
    }
    bytes.splice(place.at..end, new.iter().copied());
    join(bytes, place.previous.unwrap_or(HEADER));
    if place.at == from.at {
        // What was there may have become a part of the run before it.
        *from = Place::START;
    }
    Ok(Raised::Yes)
}

/// Finds the run that covers a register. `from` is moved to the run before it, which begins there whatever is split and
/// joined behind.
fn find(bytes: &[u8], from: &mut Place, register: usize) -> Result<(Place, Run), Corrupt> {
    let mut place = *from;
    loop {
        let run = Run::at(bytes, place.at).ok_or(Corrupt)?;
        let next = place.first + run.len;
        if register < next {
            return Ok((place, run));
        }
        *from = place;
        place = Place {
            at: place.at + run.size(),
            first: next,
            previous: Some(place.at),
        };
    }
}

/// Makes room for one split and for some to come, but for no more than the string may hold.
fn reserve(bytes: &mut Vec<u8>, max: usize) {
    let needed = bytes.len() + MAX_SPLIT - 1;
    if bytes.capacity() < needed {
        let wanted = (needed + needed.min(GREED)).min(max.max(needed));
        bytes.reserve_exact(wanted - bytes.len());
    }
}

/// Joins runs with the same value that stand next to each other, if one run can hold them.
fn join(bytes: &mut Vec<u8>, from: usize) {
    let mut at = from;
    for _ in 0..JOINED {
        let Some(run) = Run::at(bytes, at) else {
            return;
        };
        let next = Run::at(bytes, at + 1);
        match next {
            Some(next)
                if run.value > 0 && next.value == run.value && run.len + next.len <= MAX_VAL =>
            {
                bytes[at + 1] = val(run.value, run.len + next.len);
                bytes.remove(at);
            }
            _ => at += run.size(),
        }
    }
}

/// What a run is split into.
#[derive(Default)]
struct Split {
    bytes: [u8; MAX_SPLIT],
    len: usize,
}

impl Split {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Adds a shorter piece of a run, if anything is left of it.
    fn piece(&mut self, run: Run, len: usize) {
        match (len, run.value) {
            (0, _) => {}
            (_, 0) => self.zeros(len),
            (_, value) => self.push(val(value, len)),
        }
    }

    fn zeros(&mut self, len: usize) {
        let [high, low] = ((len - 1) as u16).to_be_bytes();
        if len > MAX_ZERO {
            self.push(XZERO | high);
            self.push(low);
        } else {
            self.push(low);
        }
    }
}
