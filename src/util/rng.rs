//! Randomness from a seed, so that a run can be repeated.

use std::io;

use rand::rngs::{OsRng, SmallRng};
use rand::{Rng as _, RngCore as _, SeedableRng as _, TryRngCore as _};

/// A small, fast generator. Not for secrets, but for those of a run that is to be [repeated](Self::secret_hex).
#[derive(Debug, Clone)]
pub struct Rng {
    small: SmallRng,
    /// Whoever chose the seed wants everything to be the same again.
    repeatable: bool,
}

impl Rng {
    /// The generator of a seed, or one that is seeded by the operating system.
    pub fn new(seed: Option<u64>) -> Self {
        seed.map_or_else(Self::from_entropy, Self::seed_from_u64)
    }

    /// The generator of a seed: equal seeds give equal sequences.
    pub fn seed_from_u64(seed: u64) -> Self {
        Self {
            small: SmallRng::seed_from_u64(seed),
            repeatable: true,
        }
    }

    /// A generator seeded by the operating system.
    pub fn from_entropy() -> Self {
        Self {
            small: SmallRng::from_os_rng(),
            repeatable: false,
        }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.small.next_u64()
    }

    /// A number in `0..n`, evenly distributed; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        self.small.random_range(0..n)
    }

    /// An index into something of `len` elements; 0 when it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        if len == 0 {
            return 0;
        }
        self.small.random_range(0..len)
    }

    /// A number in `0.0..1.0`.
    pub fn unit_f64(&mut self) -> f64 {
        self.small.random()
    }

    /// True with probability `p`, which is clamped to 0.0..=1.0.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit_f64() < p
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buf: &mut [u8]) {
        self.small.fill_bytes(buf);
    }

    /// Forty lower-case hex digits, as in run ids and replication ids.
    pub fn hex_id(&mut self) -> [u8; 40] {
        let mut raw = [0; 20];
        self.fill(&mut raw);
        super::digest::hex(&raw)
    }

    /// The same as a string.
    pub fn hex_id_string(&mut self) -> String {
        self.hex_id().iter().copied().map(char::from).collect()
    }

    /// Hex digits in lower case that nobody can guess, from the operating system; unless somebody chose the seed, who
    /// knows them then.
    ///
    /// # Errors
    /// When the system has none.
    pub fn secret_hex(&mut self, digits: usize) -> io::Result<String> {
        let mut raw = vec![0; digits.div_ceil(2)];
        match self.repeatable {
            true => self.fill(&mut raw),
            false => OsRng.try_fill_bytes(&mut raw).map_err(io::Error::other)?,
        }
        Ok(hex_digits(&raw, digits))
    }
}

fn hex_digits(raw: &[u8], digits: usize) -> String {
    let mut text: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let (mut a, mut b) = (Rng::seed_from_u64(7), Rng::seed_from_u64(7));
        for _ in 0..100 {
            assert_eq!(a.next_u64(), b.next_u64());
        }
        assert_eq!(a.hex_id(), b.hex_id());
        assert_ne!(
            Rng::seed_from_u64(8).next_u64(),
            Rng::seed_from_u64(9).next_u64()
        );
    }

    #[test]
    fn draws_stay_below_their_bound_and_reach_every_value() {
        let mut rng = Rng::seed_from_u64(1);
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            seen[rng.index(5)] += 1;
            assert!(rng.below(3) < 3);
        }
        assert!(seen.iter().all(|&n| n > 100), "{seen:?}");
        assert_eq!((rng.below(0), rng.index(0), rng.below(1)), (0, 0, 0));
    }

    #[test]
    fn ids_are_forty_lower_hex_digits() {
        let id = Rng::from_entropy().hex_id_string();
        assert_eq!(id.len(), 40);
        assert!(id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    }

    #[test]
    fn secrets_are_repeated_only_where_somebody_chose_the_seed() {
        let secret = |mut rng: Rng| rng.secret_hex(33).unwrap();
        assert_eq!(secret(Rng::seed_from_u64(7)), secret(Rng::seed_from_u64(7)));
        let mut rng = Rng::from_entropy();
        let (mut same, first) = (rng.clone(), secret(rng.clone()));
        assert_eq!(rng.next_u64(), same.next_u64());
        assert_ne!(secret(rng), secret(same));
        assert_eq!(first.len(), 33);
    }

    #[test]
    fn certain_and_impossible_chances_hold() {
        let mut rng = Rng::seed_from_u64(3);
        assert!((0..100).all(|_| rng.chance(1.0) && !rng.chance(0.0)));
    }
}
