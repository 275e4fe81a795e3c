//! SORT.

use super::super::common::Argv;
use super::super::generate::{Generator, LISTS, NUMBERS, SETS, VALUES, ZSETS};
use rand::Rng;

/// Patterns of keys and fields; the weights are made beside them.
const PATTERNS: &[&str] = &[
    "w*", "w*", "v*->f", "v*->f", "v*->g", "nosuch_*", "nosort", "#", "*", "", "w*x", "v*->", "v*",
    "w*->f",
];

impl Generator {
    pub fn sort(&mut self) -> Argv {
        let kind = self.pick(&["list", "set", "zset"]);
        let home = match kind {
            "list" => LISTS,
            "set" => SETS,
            _ => ZSETS,
        };
        let key = self.key(home);
        match self.rng.random_range(0..12) {
            0 => {
                let mut argv = cmd!["MSET"];
                for _ in 0..self.rng.random_range(1..8) {
                    argv.extend([self.weighed("w"), self.weight()]);
                }
                argv
            }
            1 => {
                let mut argv = cmd!["HSET"];
                argv.extend([self.weighed("v"), b"f".into(), self.weight()]);
                if self.chance(2) {
                    argv.extend([b"g".into(), self.weight()]);
                }
                argv
            }
            2 => vec![b"DEL".into(), self.weighed("w"), self.weighed("v")],
            3 => self.numbers(kind, key),
            _ => self.sort_call(key),
        }
    }

    fn sort_call(&mut self, key: &str) -> Argv {
        let mut argv = cmd![self.pick(&["SORT", "SORT", "SORT", "SORT_RO"]), key];
        let mut gets = Argv::new();
        for _ in 0..self.rng.random_range(0..3) {
            gets.extend(cmd!["GET", self.pick(PATTERNS)]);
        }
        let limit = match self.chance(4) {
            true => cmd!["LIMIT", self.pick(NUMBERS), self.pick(NUMBERS)],
            false => cmd!["LIMIT", self.small(), self.small()],
        };
        let all = vec![
            cmd!["BY", self.pick(PATTERNS)],
            limit,
            gets,
            cmd![self.pick(&["ASC", "DESC", "asc", "desc"])],
            cmd!["ALPHA"],
        ];
        self.options(&mut argv, all, 3);
        if self.chance(6) {
            argv.extend(cmd!["STORE", self.key(LISTS)]);
        }
        argv
    }

    /// Elements that are numbers, so that sorting succeeds now and then.
    fn numbers(&mut self, kind: &str, key: &str) -> Argv {
        let mut argv = match kind {
            "list" => cmd!["RPUSH", key],
            "set" => cmd!["SADD", key],
            _ => cmd!["ZADD", key],
        };
        for _ in 0..self.rng.random_range(1..10) {
            if kind == "zset" {
                argv.push(self.rng.random_range(-5..5).to_string().into());
            }
            argv.push(self.rng.random_range(-3..12).to_string().into());
        }
        if self.chance(2) {
            argv = cmd!["DEL", key];
        }
        argv
    }

    /// The name of something that belongs to an element.
    fn weighed(&mut self, prefix: &str) -> Vec<u8> {
        format!("{prefix}{}", self.rng.random_range(-3..12)).into()
    }

    fn weight(&mut self) -> Vec<u8> {
        match self.chance(20) {
            true => self.pick(VALUES).into(),
            false => self.rng.random_range(-4..4).to_string().into(),
        }
    }
}
