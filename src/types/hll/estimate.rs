//! From registers to a cardinality, by the estimator of Otmar Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches" (arXiv:1702.01284).

use super::REGISTERS;
use super::hash::LONGEST_RUN;

/// How many registers hold each value. Six bits hold more than a run can be long; such values count for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram([u32; 64]);

impl Default for Histogram {
    fn default() -> Self {
        Histogram([0; 64])
    }
}

impl Histogram {
    /// Counts registers, four at a time: each of the four has a histogram of its own, so that equal registers next to
    /// each other do not wait for one another.
    pub(super) fn of(fours: impl Iterator<Item = [u8; 4]>) -> Histogram {
        let mut turns = [[0u32; 64]; 4];
        for [a, b, c, d] in fours {
            turns[0][usize::from(a % 64)] += 1;
            turns[1][usize::from(b % 64)] += 1;
            turns[2][usize::from(c % 64)] += 1;
            turns[3][usize::from(d % 64)] += 1;
        }
        let [a, b, c, d] = turns;
        Histogram(std::array::from_fn(|i| a[i] + b[i] + c[i] + d[i]))
    }

    /// Counts registers of a value of six bits.
    pub(super) fn add(&mut self, value: u8, registers: u32) {
        let n = &mut self.0[usize::from(value % 64)];
        *n = n.saturating_add(registers);
    }

    /// The estimate.
    pub fn cardinality(&self) -> u64 {
        const M: f64 = REGISTERS as f64;
        /// 0.5 / ln 2
        const ALPHA: f64 = 0.721_347_520_444_481_7;
        let longest = usize::from(LONGEST_RUN);
        let of = |value: usize| f64::from(self.0[value]);
        let mut z = M * tau((M - of(longest)) / M);
        for value in (1..longest).rev() {
            z = (z + of(value)) * 0.5;
        }
        z += M * sigma(of(0) / M);
        round(ALPHA * M * M / z)
    }
}

/// To the nearest integer, as C does it on x86-64: what is out of range becomes the least integer.
fn round(estimate: f64) -> u64 {
    let rounded = estimate.round();
    if rounded < i64::MAX as f64 {
        (rounded as i64) as u64
    } else {
        i64::MIN as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
