//! Sorted sets.

use super::super::common::Argv;
use super::super::generate::{Generator, KEYS, NUMBERS, PATTERNS, SETS, VALUES, ZSETS};
use rand::Rng;

/// Calls a command that is about members of one score, unless the scores differ where that makes the reply one of
/// many: in a skip list, and where members are skipped.
const WHERE_SCORES_ARE_ONE: &str = "local key = ARGV[2] or '' \
     if redis.call('TYPE', key).ok == 'zset' then \
     local a, b = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES'), redis.call('ZRANGE', key, -1, -1, 'WITHSCORES') \
     local skips = false for i = 1, #ARGV do skips = skips or string.lower(ARGV[i]) == 'limit' end \
     if tonumber(a[2]) ~= tonumber(b[2]) and (skips or redis.call('OBJECT', 'ENCODING', key) == 'skiplist') then return 'differ' end end \
     return redis.pcall(unpack(ARGV))";
/// What is drawn is there.
const DRAW_SOME: &str = "local m = redis.call('ZRANDMEMBER', KEYS[1], ARGV[1]) \
     if #m == 0 then return 0 end local s = redis.call('ZMSCORE', KEYS[1], unpack(m)) \
     for i = 1, #m do if not s[i] then return 'none' end end return #m";
const SCORES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "1.5",
    "-2.25",
    "0.1",
    "1e3",
    "1e17",
    "1e20",
    "inf",
    "-inf",
    "+inf",
    "9007199254740993",
    "-0",
    "0x10",
    "3.0",
    "5e-324",
    "1.7976931348623157e308",
    "4611686018427387905",
];
const NO_SCORES: &[&str] = &[
    "nan", "abc", "", " 1", "1 ", "1e400", "1e-400", "(1", "--1", "0x",
];
const NO_BOUNDS: &[&str] = &[
    "nan", "abc", "1 ", "((1", "[1", "(abc", "1e400", "", "(", " 1",
];
const MEMBER_BOUNDS: &[&str] = &[
    "-", "+", "[", "(", "[a", "(a", "[m3", "(m3", "[m", "[x", "(x", "[1", "(5", "[9", "a", "",
    "--", "]a",
];

impl Generator {
    pub fn zset(&mut self) -> Argv {
        let k = self.key(ZSETS);
        match self.rng.random_range(0..40) {
            0..7 => self.zadd(k),
            7 => {
                let mut argv = cmd!["ZADD", k];
                self.many_scored(&mut argv);
                argv
            }
            8 => cmd!["ZINCRBY", k, self.score(), self.scored_member()],
            9 | 10 => {
                let mut argv = cmd![self.pick(&["ZREM", "ZREM", "ZMSCORE"]), k];
                let n = self.rng.random_range(1..5);
                argv.extend((0..n).map(|_| self.scored_member().into()));
                argv
            }
            11 => cmd![
                self.pick(&["ZSCORE", "ZRANK", "ZREVRANK"]),
                k,
                self.scored_member()
            ],
            12 => cmd!["ZCARD", k],
            13..16 => self.zrange("ZRANGE", k),
            16 => {
                let mut argv = cmd!["ZREVRANGE", k, self.number(), self.number()];
                self.options(&mut argv, vec![cmd!["WITHSCORES"]], 2);
                argv
            }
            17..19 => {
                let name = self.pick(&["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]);
                let mut argv = cmd![name, k, self.score_bound(), self.score_bound()];
                let all = vec![cmd!["WITHSCORES"], self.limit()];
                self.options(&mut argv, all, 3);
                argv
            }
            19 | 20 => {
                let name = self.pick(&["ZRANGEBYLEX", "ZREVRANGEBYLEX"]);
                let mut argv = cmd![name, k, self.member_bound(), self.member_bound()];
                let limit = self.limit();
                self.options(&mut argv, vec![limit], 3);
                lexical(argv)
            }
            21 => cmd!["ZCOUNT", k, self.score_bound(), self.score_bound()],
            22 => {
                let name = self.pick(&["ZLEXCOUNT", "ZLEXCOUNT", "ZREMRANGEBYLEX"]);
                lexical(cmd![name, k, self.member_bound(), self.member_bound()])
            }
            23 => cmd!["ZREMRANGEBYRANK", k, self.number(), self.number()],
            24 => cmd![
                "ZREMRANGEBYSCORE",
                k,
                self.score_bound(),
                self.score_bound()
            ],
            25 | 26 => {
                let argv = self.zrange("ZRANGESTORE", k);
                let mut stored = cmd!["ZRANGESTORE", self.key(ZSETS)];
                stored.extend_from_slice(&argv[1..]);
                stored
            }
            27..31 => self.set_algebra(),
            31 => {
                let mut argv = cmd!["ZINTERCARD"];
                self.some_keys(&mut argv);
                if self.chance(2) {
                    argv.extend(cmd!["LIMIT", self.pick(NUMBERS)]);
                }
                argv
            }
            32 | 33 => {
                let mut argv = cmd![self.pick(&["ZPOPMIN", "ZPOPMAX"]), k];
                if self.chance(2) {
                    argv.extend(cmd![self.small()]);
                }
                argv
            }
            34 => {
                let mut argv = cmd!["ZMPOP"];
                self.some_keys(&mut argv);
                argv.extend(cmd![self.pick(&["MIN", "MAX", "max", "UP"])]);
                if self.chance(2) {
                    argv.extend(cmd!["COUNT", self.small()]);
                }
                argv
            }
            35 => self.waiting(),
            36 => match self.rng.random_range(0..3) {
                0 => cmd!["ZRANDMEMBER", k],
                1 => cmd![
                    "EVAL",
                    DRAW_SOME,
                    "1",
                    k,
                    self.rng.random_range(-20..200).to_string()
                ],
                _ => {
                    let mut argv = cmd!["ZRANDMEMBER", k, self.number()];
                    self.options(&mut argv, vec![cmd!["WITHSCORES"]], 2);
                    argv
                }
            },
            37 => {
                let mut argv = cmd!["ZSCAN", k, "0"];
                let all = vec![
                    cmd!["MATCH", self.pick(PATTERNS)],
                    cmd!["COUNT", self.pick(&["100000", "1000", "0", "-1", "abc"])],
                ];
                self.options(&mut argv, all, 2);
                argv
            }
            _ => cmd!["OBJECT", "ENCODING", self.key(KEYS)],
        }
    }

    fn zadd(&mut self, key: &str) -> Argv {
        let mut argv = cmd!["ZADD", key];
        let all = ["NX", "XX", "GT", "LT", "CH", "INCR"]
            .map(|o| cmd![o])
            .to_vec();
        self.options(&mut argv, all, 8);
        let one_score = self.chance(3).then_some("0");
        let n = if self.chance(2) {
            1
        } else {
            self.rng.random_range(1..5)
        };
        for _ in 0..n {
            let score = one_score.map_or_else(|| self.score(), str::to_owned);
            argv.extend(cmd![score, self.scored_member()]);
        }
        argv
    }

    /// So many that the encoding changes.
    fn many_scored(&mut self, argv: &mut Argv) {
        let first = self.rng.random_range(0..50);
        let count = self.pick(&["20", "60", "127", "128", "129", "140"]);
        let count: u32 = count.parse().unwrap_or(1);
        let one_score = self.chance(2);
        for n in first..first + count {
            let score = if one_score { 0 } else { n * 7 % 50 };
            argv.extend(cmd![score.to_string(), format!("m{n}")]);
        }
    }

    fn score(&mut self) -> String {
        match self.rng.random_range(0..24) {
            0 => self.pick(NO_SCORES).to_owned(),
            1..6 => self.pick(SCORES).to_owned(),
            _ => self.rng.random_range(-3..9).to_string(),
        }
    }

    fn score_bound(&mut self) -> String {
        let score = match self.rng.random_range(0..12) {
            0 => return self.pick(NO_BOUNDS).to_owned(),
            1 | 2 => "-inf".to_owned(),
            3 | 4 => "+inf".to_owned(),
            _ => self.score(),
        };
        if self.chance(4) {
            format!("({score}")
        } else {
            score
        }
    }

    fn member_bound(&mut self) -> String {
        match self.rng.random_range(0..4) {
            0 => format!("{}{}", self.pick(&["[", "("]), self.scored_member()),
            1 => self.pick(&["-", "+"]).to_owned(),
            _ => self.pick(MEMBER_BOUNDS).to_owned(),
        }
    }

    /// A member: few, so that they meet; now and then longer than a listpack takes.
    fn scored_member(&mut self) -> String {
        match self.rng.random_range(0..14) {
            0..5 => format!("m{}", self.rng.random_range(0..20)),
            5..9 => self.rng.random_range(0..12).to_string(),
            9..11 => self.pick(VALUES).to_owned(),
            11 if self.chance(4) => "x".repeat(self.rng.random_range(62..68)),
            _ => self.pick(&["a", "b", "ab", "c"]).to_owned(),
        }
    }

    fn limit(&mut self) -> Argv {
        let (offset, count) = (self.rng.random_range(-1..5), self.rng.random_range(-2..8));
        match self.rng.random_range(0..6) {
            0 => cmd!["LIMIT", self.number(), self.number()],
            _ => cmd!["LIMIT", offset.to_string(), count.to_string()],
        }
    }

    /// ZRANGE in any of its forms.
    fn zrange(&mut self, name: &str, key: &str) -> Argv {
        let by = self.pick(&["", "", "BYSCORE", "BYSCORE", "BYLEX"]);
        let (start, stop) = match by {
            "BYSCORE" => (self.score_bound(), self.score_bound()),
            "BYLEX" => (self.member_bound(), self.member_bound()),
            _ => (self.number(), self.number()),
        };
        let mut argv = cmd![name, key, start, stop];
        let mut all = vec![cmd!["REV"]];
        if !by.is_empty() {
            argv.extend(cmd![by]);
            all.push(self.limit());
        }
        if by != "BYLEX" && name == "ZRANGE" || self.chance(20) {
            all.push(cmd!["WITHSCORES"]);
        }
        self.options(&mut argv, all, 3);
        if by == "BYLEX" && name == "ZRANGE" {
            return lexical(argv);
        }
        // What is stored by member must not depend on the encoding.
        if by == "BYLEX" {
            argv[4] = b"BYSCORE".into();
        }
        argv
    }

    /// As many keys as the number before them says, or nearly.
    fn some_keys(&mut self, argv: &mut Argv) {
        let n = self.rng.random_range(1..4);
        argv.push(match self.chance(10) {
            true => self.number().into(),
            false => n.to_string().into(),
        });
        for _ in 0..n {
            let of_sets = self.chance(4);
            let home = if of_sets { SETS } else { ZSETS };
            argv.push(self.key(home).into());
        }
    }

    fn set_algebra(&mut self) -> Argv {
        let name = self.pick(&["ZUNION", "ZINTER", "ZDIFF"]);
        let stores = self.chance(2);
        let mut argv = match stores {
            true => cmd![format!("{name}STORE"), self.key(ZSETS)],
            false => cmd![name],
        };
        let at = argv.len();
        self.some_keys(&mut argv);
        let keys = argv.len() - at - 1;
        let mut weights = cmd!["WEIGHTS"];
        weights.extend((0..keys).map(|_| self.score().into()));
        let mut all = vec![cmd!["AGGREGATE", self.pick(&["SUM", "MIN", "MAX", "AVG"])]];
        if name != "ZDIFF" || self.chance(10) {
            all.push(weights);
        }
        if !stores || self.chance(10) {
            all.push(cmd!["WITHSCORES"]);
        }
        self.options(&mut argv, all, 3);
        argv
    }

    fn waiting(&mut self) -> Argv {
        let timeout = self.pick(&["0.001", "0.001", "0", "-1", "abc", "1e400", ""]);
        if self.chance(2) {
            let mut argv = cmd![self.pick(&["BZPOPMIN", "BZPOPMAX"]), self.key(ZSETS)];
            if self.chance(2) {
                argv.extend(cmd![self.key(ZSETS)]);
            }
            argv.extend(cmd![timeout]);
            return argv;
        }
        let mut argv = cmd!["BZMPOP", timeout];
        self.some_keys(&mut argv);
        argv.extend(cmd![self.pick(&["MIN", "MAX"])]);
        if self.chance(2) {
            argv.extend(cmd!["COUNT", self.small()]);
        }
        argv
    }
}

/// Through the script that looks at the scores first.
fn lexical(mut argv: Argv) -> Argv {
    let mut wrapped = cmd!["EVAL", WHERE_SCORES_ARE_ONE, "0"];
    wrapped.append(&mut argv);
    wrapped
}
