//! Hashes.

use rand::Rng;

use super::super::common::Argv;
use super::super::generate::{Generator, HASHES, NUMBERS, PATTERNS, VALUES};

const FIELDS: &[&str] = &["f", "g", "7", "-3", "", "field", "long", "k"];

impl Generator {
    fn field(&mut self) -> String {
        match self.rng.random_range(0..30) {
            0 => self.pick(VALUES).to_owned(),
            1 => "n".repeat(self.rng.random_range(62..68)),
            2..6 => self.rng.random_range(0..12).to_string(),
            _ => self.pick(FIELDS).to_owned(),
        }
    }

    fn field_value(&mut self) -> String {
        match self.rng.random_range(0..20) {
            0 => "v".repeat(self.rng.random_range(62..68)),
            1..8 => self.pick(VALUES).to_owned(),
            8..12 => self.pick(NUMBERS).to_owned(),
            _ => self.rng.random_range(-20..5000).to_string(),
        }
    }

    fn fields(&mut self, argv: &mut Argv, most: usize) {
        for _ in 0..self.rng.random_range(1..=most) {
            argv.extend(cmd![self.field()]);
        }
    }

    pub fn hash(&mut self) -> Argv {
        let key = self.key(HASHES);
        match self.rng.random_range(0..40) {
            0..9 => self.hset(key),
            9..11 => cmd!["HSETNX", key, self.field(), self.field_value()],
            11..15 => {
                let mut argv = cmd!["HDEL", key];
                self.fields(&mut argv, 4);
                argv
            }
            15..18 => cmd!["HINCRBY", key, self.field(), self.number()],
            18..21 => {
                let by = match self.rng.random_range(0..2) {
                    0 => self.pick(VALUES).to_owned(),
                    _ => format!("{:.3}", self.rng.random_range(-100.0..100.0)),
                };
                cmd!["HINCRBYFLOAT", key, self.field(), by]
            }
            21..23 => cmd!["HGET", key, self.field()],
            23..25 => {
                let mut argv = cmd!["HMGET", key];
                self.fields(&mut argv, 5);
                argv
            }
            25..30 => cmd![self.pick(&["HGETALL", "HKEYS", "HVALS", "HLEN"]), key],
            30..32 => cmd![self.pick(&["HSTRLEN", "HEXISTS"]), key, self.field()],
            32..35 => self.hrandfield(key),
            35..37 => self.hscan(key),
            37 => cmd!["OBJECT", "ENCODING", key],
            38 => cmd!["COPY", key, self.pick(HASHES), "REPLACE"],
            _ => cmd!["DEL", key],
        }
    }

    fn hset(&mut self, key: &str) -> Argv {
        let mut argv = cmd![self.pick(&["HSET", "HSET", "HMSET"]), key];
        let many = match self.rng.random_range(0..60) {
            // About as many as a listpack takes. None of them twice: what counts before 7.2 is how many there are
            // afterwards, and since then how many are given.
            0 => Some(self.rng.random_range(500..520)),
            1 => Some(self.rng.random_range(5..80)),
            _ => None,
        };
        for i in 0..many.unwrap_or_else(|| self.rng.random_range(1..=4)) {
            let field = match many {
                Some(_) => i.to_string(),
                None => self.field(),
            };
            argv.extend(cmd![field, self.field_value()]);
        }
        argv
    }

    fn hrandfield(&mut self, key: &str) -> Argv {
        let mut argv = cmd!["HRANDFIELD", key];
        if self.chance(4) {
            return argv;
        }
        // No number that a real server would be busy with.
        let count = match self.rng.random_range(0..8) {
            0 => self
                .pick(&[
                    "0",
                    "abc",
                    "",
                    "9223372036854775807",
                    "-9223372036854775808",
                    "1.5",
                ])
                .to_owned(),
            _ => self.rng.random_range(-6..100).to_string(),
        };
        argv.extend(cmd![count]);
        if self.chance(2) {
            argv.extend(cmd![self.pick(&["WITHVALUES", "withvalues", "WITHVALUE"])]);
        }
        argv
    }

    fn hscan(&mut self, key: &str) -> Argv {
        let mut argv = cmd!["HSCAN", key, "0"];
        if self.chance(10) {
            argv[2] = self.number().into_bytes();
        }
        if self.chance(2) {
            argv.extend(cmd!["COUNT", "1000"]);
        }
        if self.chance(3) {
            argv.extend(cmd!["MATCH", self.pick(PATTERNS)]);
        }
        if self.chance(8) {
            argv.extend(cmd!["COUNT", self.small()]);
        }
        argv
    }
}
