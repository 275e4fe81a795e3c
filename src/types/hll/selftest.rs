//! PFSELFTEST.

use thiserror::Error;

use super::{HEADER, HllMut, REGISTERS, dense, empty};

/// Rounds of random values in every register.
const ROUNDS: usize = 16;
/// Elements that are counted.
const ELEMENTS: u64 = 100_000;

/// What a self-test found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SelfTestError {
    /// A register does not hold what was put into it.
    #[error("Register {register} should be {wanted} but is {found}")]
    Register {
        /// The register.
        register: usize,
        /// What was put into it.
        wanted: u8,
        /// What it holds.
        found: u8,
    },
    /// Few elements, yet the encoding is not the sparse one.
    #[error("sparse encoding not used")]
    NotSparse,
    /// The two encodings count differently.
    #[error("dense/sparse disagree")]
    Disagree,
    /// The estimate is too far away.
    #[error("Too big error. card:{cardinality} abserr:{error}")]
    Inexact {
        /// What there was to count.
        cardinality: u64,
        /// How far away the estimate is.
        error: u64,
    },
    /// A HyperLogLog of our own making is corrupt.
    #[error("corrupt")]
    Corrupt,
}

/// Tests that registers keep what they are given, that both encodings agree, and that estimates are near.
pub fn self_test(sparse_max: usize, mut random: impl FnMut() -> u64) -> Result<(), SelfTestError> {
    for _ in 0..ROUNDS {
        registers_keep_values(&mut random)?;
    }
    estimates_are_near(sparse_max, random())
}

fn registers_keep_values(random: &mut impl FnMut() -> u64) -> Result<(), SelfTestError> {
    let mut body = vec![0; dense::SIZE];
    let mut values = vec![0; REGISTERS];
    for (register, value) in values.iter_mut().enumerate() {
        *value = (random() % 64) as u8;
        dense::set(&mut body, register, *value);
    }
    for (register, &wanted) in values.iter().enumerate() {
        let found = dense::get(&body, register);
        if found != wanted {
            return Err(SelfTestError::Register {
                register,
                wanted,
                found,
            });
        }
    }
    Ok(())
}

/// Counts more and more elements, and looks at every power of ten.
fn estimates_are_near(sparse_max: usize, seed: u64) -> Result<(), SelfTestError> {
    let corrupt = |_| SelfTestError::Corrupt;
    let (mut first, mut second) = (empty(), empty());
    let mut sparse = HllMut::of(&mut first, sparse_max).map_err(|_| SelfTestError::Corrupt)?;
    let mut dense = HllMut::of(&mut second, sparse_max).map_err(|_| SelfTestError::Corrupt)?;
    dense.make_dense().map_err(corrupt)?;
    let mut checkpoint = 1;
    for n in 1..=ELEMENTS {
        let element = (n ^ seed).to_le_bytes();
        sparse.add_all(&[&element]).map_err(corrupt)?;
        dense.add_all(&[&element]).map_err(corrupt)?;
        if n < checkpoint {
            continue;
        }
        checkpoint *= 10;
        let count = |hll: &HllMut<'_>| match hll.view() {
            Ok(hll) => hll.count().map_err(corrupt),
            Err(_) => Err(SelfTestError::Corrupt),
        };
        let counted = count(&dense)?;
        if dense_is_early(&sparse, n, sparse_max) {
            return Err(SelfTestError::NotSparse);
        }
        if count(&sparse)? != counted {
            return Err(SelfTestError::Disagree);
        }
        let error = counted.abs_diff(n);
        if error > tolerance(n) {
            return Err(SelfTestError::Inexact {
                cardinality: n,
                error,
            });
        }
    }
    Ok(())
}

/// An element needs at most three bytes more.
fn dense_is_early(hll: &HllMut<'_>, elements: u64, sparse_max: usize) -> bool {
    let most = elements.saturating_mul(3).saturating_add(HEADER as u64 + 2);
    hll.encoding() == super::Encoding::Dense && most <= sparse_max as u64
}

/// Six times the standard error; among few elements one may share its register with another.
fn tolerance(elements: u64) -> u64 {
    let standard = 1.04 / (REGISTERS as f64).sqrt();
    (standard * 6.0 * elements as f64).ceil() as u64
}
