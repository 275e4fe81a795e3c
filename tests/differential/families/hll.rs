//! HyperLogLogs.

use super::super::common::Argv;
use super::super::generate::{Generator, HLLS};
use rand::Rng;

/// Strings that are no HyperLogLogs, corrupt ones, and whole ones. None of the corrupt ones takes some elements and
/// refuses others: Redis would keep the first of them.
const FORGED: &[&[u8]] = &[
    b"HYLL",
    b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80",
    b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0",
    b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff",
    b"HYLL\x00\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff",
    b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff",
    b"HYLL\x01\0\0\0\x07\0\0\0\0\0\0\0\x7f\xff",
    b"HYLL\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f\x7f\xff",
    b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x60\x00\x5f\xff\x80\x80",
    b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x88\x8b\x8c\x7f\xf3\x80\x80\x81\x85",
];

impl Generator {
    pub fn hll(&mut self) -> Argv {
        let k = self.key(HLLS);
        match self.rng.random_range(0..20) {
            0..6 => {
                let mut argv = cmd!["PFADD", k];
                for _ in 0..self.below(5) {
                    argv.extend(cmd![self.below(60).to_string()]);
                }
                argv
            }
            6 => {
                let mut argv = cmd!["PFADD", k];
                let from = self.below(3000);
                argv.extend(
                    (from..from + 200 + self.below(2) * 1500).map(|n| n.to_string().into_bytes()),
                );
                argv
            }
            7..10 => cmd!["PFCOUNT", k],
            10 => cmd!["PFCOUNT", k, self.key(HLLS)],
            11 | 12 => {
                let mut argv = cmd!["PFMERGE", k];
                for _ in 0..self.below(3) {
                    argv.extend(cmd![self.key(HLLS)]);
                }
                argv
            }
            13 => cmd!["PFDEBUG", self.pick(&["ENCODING", "DECODE", "encoding"]), k],
            14 => cmd!["PFDEBUG", self.pick(&["TODENSE", "GETREG", "BOGUS"]), k],
            15 => cmd!["OBJECT", "ENCODING", k],
            16 => {
                let forged = FORGED[self.below(FORGED.len())];
                vec![b"SET".to_vec(), k.into(), forged.into()]
            }
            17 => cmd!["DEL", k],
            18 if self.chance(4) => {
                let max = self.pick(&["0", "20", "40", "300", "3000", "3000"]);
                cmd!["CONFIG", "SET", "hll-sparse-max-bytes", max]
            }
            _ => cmd!["GET", k],
        }
    }
}
