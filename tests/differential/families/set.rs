//! Sets.

use super::super::common::Argv;
use super::super::generate::{Generator, KEYS, NUMBERS, PATTERNS, SETS, VALUES};
use rand::Rng;

/// A set of one member has only this one to draw.
const DRAW_THE_ONLY_ONE: &str = "redis.call('DEL', KEYS[1]) redis.call('SADD', KEYS[1], ARGV[1]) \
     return {redis.call('SRANDMEMBER', KEYS[1]), redis.call('SRANDMEMBER', KEYS[1], -3), \
     redis.call('SPOP', KEYS[1]), redis.call('EXISTS', KEYS[1])}";
/// What is popped is gone, and was there.
const POP_SOME: &str = "local n = redis.call('SCARD', KEYS[1]) local p = redis.call('SPOP', KEYS[1], ARGV[1]) \
     local m = redis.call('SMISMEMBER', KEYS[1], 'nobody has this', unpack(p)) for i = 1, #m do if m[i] ~= 0 then return 'there' end end \
     if #p > 0 then redis.call('SADD', KEYS[1], unpack(p)) end return {n, #p, redis.call('SCARD', KEYS[1])}";

impl Generator {
    pub fn set(&mut self) -> Argv {
        let (k, l) = (self.key(SETS), self.key(SETS));
        match self.rng.random_range(0..30) {
            0..6 => {
                let mut argv = cmd!["SADD", k];
                self.members(&mut argv, 5);
                argv
            }
            6 => self.many_members("SADD", k),
            7 => self.many_members("SREM", k),
            8..10 => {
                let mut argv = cmd!["SREM", k];
                self.members(&mut argv, 4);
                argv
            }
            10 | 11 => cmd!["SISMEMBER", k, self.member()],
            12 => {
                let mut argv = cmd!["SMISMEMBER", k];
                self.members(&mut argv, 4);
                argv
            }
            13 => cmd!["SCARD", k],
            14 | 15 => cmd!["SMEMBERS", k],
            16 | 17 => cmd!["SMOVE", k, self.key(SETS), self.member()],
            18 => cmd!["SPOP", k, self.pick(&["100000", "0", "-1", "abc", "1 "])],
            19 => cmd!["EVAL", DRAW_THE_ONLY_ONE, "1", l, self.member()],
            20 => cmd!["EVAL", POP_SOME, "1", k, self.small()],
            21 => cmd!["SRANDMEMBER", k],
            22 => cmd!["SRANDMEMBER", k, self.number()],
            23 => {
                let mut argv = cmd!["SSCAN", k, "0"];
                let all = vec![
                    cmd!["MATCH", self.pick(PATTERNS)],
                    cmd!["COUNT", self.pick(&["100000", "1000", "0", "-1", "abc"])],
                ];
                self.options(&mut argv, all, 2);
                argv
            }
            24 | 25 => {
                let keys = self.rng.random_range(1..4);
                let mut argv = cmd![self.pick(&["SINTER", "SUNION", "SDIFF"])];
                argv.extend((0..keys).map(|_| self.key(SETS).into()));
                argv
            }
            26 | 27 => {
                let keys = self.rng.random_range(1..4);
                let name = self.pick(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
                let mut argv = cmd![name, self.key(SETS)];
                argv.extend((0..keys).map(|_| self.key(SETS).into()));
                argv
            }
            28 => {
                let keys = self.rng.random_range(1..4);
                let mut argv = cmd!["SINTERCARD"];
                argv.push(match self.chance(6) {
                    true => self.number().into(),
                    false => keys.to_string().into(),
                });
                argv.extend((0..keys).map(|_| self.key(SETS).into()));
                if self.chance(2) {
                    argv.extend(cmd!["LIMIT", self.pick(NUMBERS)]);
                }
                argv
            }
            _ => cmd!["OBJECT", "ENCODING", self.key(KEYS)],
        }
    }

    /// A member of a set: mostly a small number, now and then something longer than a listpack takes.
    fn member(&mut self) -> String {
        match self.rng.random_range(0..12) {
            0..6 => self.rng.random_range(0..12).to_string(),
            6..8 => self.pick(VALUES).to_owned(),
            8 => "x".repeat(self.rng.random_range(62..68)),
            9 => self.rng.random_range(-70_000..70_000).to_string(),
            _ => format!("m{}", self.rng.random_range(0..9)),
        }
    }

    fn members(&mut self, argv: &mut Argv, most: usize) {
        for _ in 0..self.rng.random_range(1..=most) {
            argv.push(self.member().into());
        }
    }

    /// So many that encodings change.
    fn many_members(&mut self, name: &str, key: &str) -> Argv {
        let mut argv = cmd![name, key];
        let prefix = self.pick(&["", "m"]);
        let first = self.rng.random_range(0..100);
        let count = self.pick(&["20", "125", "130", "510", "515"]);
        let count: u32 = count.parse().unwrap_or(1);
        argv.extend((first..first + count).map(|n| format!("{prefix}{n}").into()));
        argv
    }
}
