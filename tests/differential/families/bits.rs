//! Bitmaps.

use super::super::common::Argv;
use super::super::generate::{Generator, NUMBERS, STRINGS};
use rand::Rng;

impl Generator {
    pub fn bits(&mut self) -> Argv {
        let k = self.key(STRINGS);
        match self.rng.random_range(0..16) {
            0..4 => cmd!["SETBIT", k, self.bit_offset(), self.bit()],
            4 | 5 => cmd!["GETBIT", k, self.bit_offset()],
            6 | 7 => {
                let mut argv = cmd!["BITCOUNT", k];
                self.bit_range(&mut argv, 3);
                argv
            }
            8 | 9 => {
                let mut argv = cmd!["BITPOS", k, self.bit()];
                self.bit_range(&mut argv, 2);
                argv
            }
            10..12 => {
                let op = self.pick(&["AND", "OR", "XOR", "NOT", "and", "NAND", ""]);
                let sources = if op == "NOT" { 1 } else { self.below(3) + 1 };
                let mut argv = cmd!["BITOP", op, self.key(STRINGS)];
                for _ in 0..sources + usize::from(self.chance(12)) {
                    argv.extend(cmd![self.key(STRINGS)]);
                }
                argv
            }
            12 => {
                let mut argv = cmd!["BITFIELD_RO", k];
                for _ in 0..self.below(4) {
                    argv.extend(cmd!["GET", self.int_type(), self.field_offset()]);
                }
                argv
            }
            _ => {
                let mut argv = cmd!["BITFIELD", k];
                for _ in 0..self.below(5) {
                    self.field_operation(&mut argv);
                }
                argv
            }
        }
    }

    fn bit(&mut self) -> String {
        match self.chance(20) {
            true => self.number(),
            false => self.below(2).to_string(),
        }
    }

    fn bit_offset(&mut self) -> String {
        match self.rng.random_range(0..20) {
            0 => self
                .pick(&["-1", "abc", "4294967296", "9223372036854775807", "#1", ""])
                .to_owned(),
            1 => self.rng.random_range(0..3000).to_string(),
            _ => self.rng.random_range(0..80).to_string(),
        }
    }

    fn bit_range(&mut self, argv: &mut Argv, least: usize) {
        let words = [
            self.bound(),
            self.bound(),
            self.pick(&["BIT", "BYTE", "bit", "BITS", ""]).to_owned(),
            self.pick(&["BIT", "1"]).to_owned(),
        ];
        let many = match self.rng.random_range(0..12) {
            0 => self.below(5),
            1..4 => 0,
            4 | 5 => least - 1,
            6..9 => 2,
            _ => 3,
        };
        argv.extend(words.into_iter().take(many).map(String::into_bytes));
    }

    fn bound(&mut self) -> String {
        match self.chance(12) {
            true => self.pick(NUMBERS).to_owned(),
            false => self.rng.random_range(-40..60).to_string(),
        }
    }

    fn int_type(&mut self) -> String {
        match self.rng.random_range(0..24) {
            0 => self
                .pick(&["u64", "i65", "u0", "i", "8", "", "U8", "u08", "i-1"])
                .to_owned(),
            1..5 => self.pick(&["i64", "u63", "i1", "u1", "i63"]).to_owned(),
            _ => {
                let sign = self.pick(&["i", "u"]);
                format!("{sign}{}", self.rng.random_range(1..64))
            }
        }
    }

    fn field_offset(&mut self) -> String {
        match self.rng.random_range(0..24) {
            0 => self
                .pick(&["-1", "#-1", "#", "#a", "4294967296", "#536870912", ""])
                .to_owned(),
            1..6 => format!("#{}", self.below(5)),
            _ => self.rng.random_range(0..100).to_string(),
        }
    }

    fn int_value(&mut self) -> String {
        match self.rng.random_range(0..8) {
            0 => self.pick(NUMBERS).to_owned(),
            1 => self
                .pick(&[
                    "9223372036854775807",
                    "-9223372036854775808",
                    "-1",
                    "255",
                    "256",
                    "128",
                ])
                .to_owned(),
            2 => self.rng.random::<i64>().to_string(),
            _ => self.rng.random_range(-300..600).to_string(),
        }
    }

    fn field_operation(&mut self, argv: &mut Argv) {
        argv.extend(match self.rng.random_range(0..20) {
            0..6 => cmd!["GET", self.int_type(), self.field_offset()],
            6..11 => cmd![
                "SET",
                self.int_type(),
                self.field_offset(),
                self.int_value()
            ],
            11..16 => cmd![
                "INCRBY",
                self.int_type(),
                self.field_offset(),
                self.int_value()
            ],
            16..19 => cmd!["OVERFLOW", self.pick(&["WRAP", "SAT", "FAIL", "sat"])],
            _ => cmd!["OVERFLOW", self.pick(&["BOGUS", ""])],
        });
    }
}
