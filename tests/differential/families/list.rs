//! Lists.

use super::super::common::Argv;
use super::super::generate::{Generator, LISTS, NUMBERS, VALUES};
use rand::Rng;

/// Elements that meet again.
const ELEMENTS: &[&str] = &["a", "b", "c", "1", "2", "-7", "300", "", "elem", "x"];
/// Moves through a list of any form what is longer than a node of the smallest size.
const LARGE: &str = "redis.call('RPUSH', KEYS[1], string.rep('x', tonumber(ARGV[1])), string.rep('y', 5000)) \
     return {redis.call('LLEN', KEYS[1]), #redis.call('LINDEX', KEYS[1], -1), #redis.call('RPOP', KEYS[1])}";

impl Generator {
    fn element(&mut self) -> String {
        match self.rng.random_range(0..40) {
            0 => "n".repeat(self.rng.random_range(60..70)),
            1 => "m".repeat(self.rng.random_range(1000..1500)),
            2..6 => self.pick(VALUES).to_owned(),
            6 => self.pick(NUMBERS).to_owned(),
            7..15 => self.rng.random_range(-200..5000).to_string(),
            _ => self.pick(ELEMENTS).to_owned(),
        }
    }

    fn elements(&mut self, argv: &mut Argv) {
        let most = if self.chance(12) { 60 } else { 4 };
        for _ in 0..self.rng.random_range(1..=most) {
            argv.extend(cmd![self.element()]);
        }
    }

    fn side(&mut self) -> &'static str {
        self.pick(&["LEFT", "RIGHT", "left", "RIGHT", "LEFT", "UP"])
    }

    /// An index: near either end most of the time.
    fn index(&mut self) -> String {
        if self.chance(15) {
            self.number()
        } else {
            self.rng.random_range(-12..12).to_string()
        }
    }

    /// Seconds so short that nobody waits, or none at all.
    fn timeout(&mut self) -> &'static str {
        self.pick(&["0.001", "0.001", "0.002", "1e-3", "-1", "abc", "", "nan"])
    }

    fn list_keys(&mut self) -> Argv {
        (0..self.rng.random_range(1..4))
            .map(|_| self.key(LISTS).into())
            .collect()
    }

    pub fn list(&mut self) -> Argv {
        let k = self.key(LISTS);
        match self.rng.random_range(0..48) {
            0..8 => {
                let name = self.pick(&["LPUSH", "RPUSH"]);
                let mut argv = cmd![name, k];
                self.elements(&mut argv);
                argv
            }
            8 => {
                let name = self.pick(&["LPUSHX", "RPUSHX"]);
                let mut argv = cmd![name, k];
                self.elements(&mut argv);
                argv
            }
            9..12 => cmd![self.pick(&["LPOP", "RPOP"]), k],
            12 | 13 => cmd![self.pick(&["LPOP", "RPOP"]), k, self.small()],
            14 => cmd!["LLEN", k],
            15..18 => cmd!["LRANGE", k, self.index(), self.index()],
            18 => cmd!["LRANGE", k, "0", "-1"],
            19..21 => cmd!["LINDEX", k, self.index()],
            21..25 => cmd!["LSET", k, self.index(), self.element()],
            25..29 => cmd![
                "LINSERT",
                k,
                self.pick(&["BEFORE", "AFTER", "before", "AROUND"]),
                self.element(),
                self.element()
            ],
            29..31 => cmd![
                "LREM",
                k,
                self.rng.random_range(-2..4).to_string(),
                self.element()
            ],
            31 => cmd!["LTRIM", k, self.index(), self.index()],
            32..35 => self.lpos(k),
            35..38 => cmd!["LMOVE", k, self.key(LISTS), self.side(), self.side()],
            38 => cmd!["RPOPLPUSH", k, self.key(LISTS)],
            39 | 40 => {
                let mut argv = cmd!["LMPOP"];
                self.several(&mut argv);
                argv
            }
            41..44 => self.blocking_list(k),
            44 => cmd![
                "EVAL",
                LARGE,
                "1",
                k,
                self.rng.random_range(100..9000).to_string()
            ],
            _ => cmd!["COPY", k, self.key(LISTS), "REPLACE"],
        }
    }

    fn lpos(&mut self, key: &str) -> Argv {
        let mut argv = cmd!["LPOS", key, self.element()];
        let rank = if self.chance(8) {
            self.number()
        } else {
            self.rng.random_range(-3..4).to_string()
        };
        let all = vec![
            cmd!["RANK", rank],
            cmd!["COUNT", self.small()],
            cmd!["MAXLEN", self.small()],
        ];
        self.options(&mut argv, all, 2);
        argv
    }

    /// Number of keys, keys, end, count.
    fn several(&mut self, argv: &mut Argv) {
        let mut keys = self.list_keys();
        let count = if self.chance(10) {
            self.small()
        } else {
            keys.len().to_string()
        };
        argv.extend(cmd![count]);
        argv.append(&mut keys);
        argv.extend(cmd![self.side()]);
        if self.chance(2) {
            argv.extend(cmd!["COUNT", self.small()]);
        }
    }

    fn blocking_list(&mut self, key: &str) -> Argv {
        match self.rng.random_range(0..5) {
            0 | 1 => {
                let mut argv = cmd![self.pick(&["BLPOP", "BRPOP"])];
                argv.append(&mut self.list_keys());
                argv.extend(cmd![self.timeout()]);
                argv
            }
            2 => {
                let mut argv = cmd!["BLMPOP", self.timeout()];
                self.several(&mut argv);
                argv
            }
            3 => cmd![
                "BLMOVE",
                key,
                self.key(LISTS),
                self.side(),
                self.side(),
                self.timeout()
            ],
            _ => cmd!["BRPOPLPUSH", key, self.key(LISTS), self.timeout()],
        }
    }
}
