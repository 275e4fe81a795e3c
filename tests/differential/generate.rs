//! Random commands: valid ones with options in any order, and broken ones. Few keys, few values, boundary numbers, so
//! that commands meet each other.
//!
//! What depends on the very millisecond is avoided, because two servers never share one: times to live are long, all
//! different, or over already; idle times are compared with nothing near them; ids of entries are explicit.

use super::common::Argv;
use super::compare::CALL_ARGUMENTS;
use super::syntax::Table;
use rand::Rng;
use rand::rngs::SmallRng;
use redkeep::spec::syntax::Kind;
use std::rc::Rc;

pub struct Generator {
    pub rng: SmallRng,
    table: Rc<Table>,
    /// The time part of the next id of an entry.
    next_id: u64,
}

pub const KEYS: &[&str] = &[
    "a", "b", "c", "s", "t", "u", "l", "m", "h", "i", "e", "f", "z", "y", "p", "q", "o",
];
pub const STRINGS: &[&str] = &["a", "b", "c"];
const STREAMS: &[&str] = &["s", "t", "u"];
pub const LISTS: &[&str] = &["l", "m"];
pub const HASHES: &[&str] = &["h", "i"];
pub const SETS: &[&str] = &["e", "f"];
pub const ZSETS: &[&str] = &["z", "y"];
pub const HLLS: &[&str] = &["p", "q"];
pub const GEOS: &[&str] = &["o"];
const GROUPS: &[&str] = &["g", "h"];
const CONSUMERS: &[&str] = &["x", "y", "z"];
pub const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "7",
    "10",
    "-5",
    "abc",
    "ABC",
    "hello world",
    "3.0",
    "1e3",
    "0.1",
    "-2.5",
    "1.5e-3",
    "0x10",
    " 1",
    "1 ",
    "01",
    "+1",
    "-0",
    "inf",
    "nan",
    "1e400",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "\u{e4}\u{f6}",
    "a\r\nb",
    "a\0b",
    "12345678901234567890123456789012345678901234",
    "123456789012345678901234567890123456789012345",
    "abcabcabdabeabcd",
];
pub const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "-1",
    "-2",
    "-10",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "4294967296",
    "abc",
    "",
    "1.0",
    "+1",
    "01",
    "-0",
    " 1",
    "1 ",
];
const JUNK: &[&str] = &[
    "",
    "abc",
    "-1",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "1.5",
    "a",
    "s",
    "NX",
    "XX",
    "GET",
    "KEEPTTL",
    "EX",
    "COUNT",
    "STREAMS",
    "MATCH",
    "MAXLEN",
    "MINID",
    "~",
    "=",
    "LIMIT",
    ">",
    "$",
    "-",
    "+",
    "*",
    "(1-1",
    "1-1",
    "g",
    "x",
    "JUSTID",
    "FORCE",
    "IDLE",
    "MKSTREAM",
    "NOACK",
    "FULL",
    "TYPE",
    "REPLACE",
    "DB",
    "LEN",
    "IDX",
];
pub const PATTERNS: &[&str] = &[
    "*", "a", "[a-c]", "?", "[^a]", "s*", "", "\\a", "[", "[a", "a*b", "[c-a]", "*?*", "**",
    "[\\a]",
];
/// Scripts whose results depend on their arguments and the keyspace alone.
const SCRIPTS: &[&str] = &[
    "return redis.call('GET', KEYS[1])",
    "return redis.pcall('GET', KEYS[1])",
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end",
    "return {KEYS[1], ARGV[1], #KEYS, #ARGV, 3.7, true, false, {ok = 'x'}}",
    "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'GET')",
    "local n = redis.call('INCRBY', KEYS[1], 2) redis.call('SET', KEYS[2], string.format('%.0f', n)) return n * 1.5",
    "return redis.call('XADD', KEYS[1], ARGV[1], 'f', ARGV[2] or 'v')",
    "return redis.call('XRANGE', KEYS[1], '-', '+')",
    "return redis.pcall('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1]).err or 'fine'",
    "return tostring(redis.call('TYPE', KEYS[1]).ok) .. ':' .. tostring(redis.call('EXISTS', KEYS[1], KEYS[1]))",
    "redis.call('SET', KEYS[1], 'x') error(ARGV[1])",
    "return {err = ARGV[1]}",
    "return redis.error_reply(ARGV[1])",
    "return redis.status_reply(ARGV[1])",
    "return redis.sha1hex(ARGV[1])",
    "return nosuch.field",
    "return redis.call(ARGV[1], KEYS[1])",
    "local t = {} for i = 1, 5 do t[i] = redis.call('GET', KEYS[1]) end return t",
    "return tonumber(ARGV[1])",
    "return redis.call('MGET', unpack(KEYS))",
    "return string.format('%q', ARGV[1])",
    "return {tostring(tonumber(ARGV[1]) or 'none')}",
    "return redis.call('SET', KEYS[1], #(ARGV[1] or ''))",
    "syntax error here",
];

impl Generator {
    pub fn new(rng: SmallRng, table: Rc<Table>) -> Generator {
        Generator {
            rng,
            table,
            next_id: 1,
        }
    }

    /// Adds a command, now and then broken, now and then called from a script.
    pub fn add_command(&mut self, commands: &mut Vec<Argv>) {
        if self.chance(60) {
            self.add_transaction(commands);
        }
        self.add_one(commands);
    }

    fn add_one(&mut self, commands: &mut Vec<Argv>) {
        let argv = self.command();
        // Since 7.2 a consumer is made even when there is nothing to read or to claim: here it is there before.
        for (key, group, consumer) in consumers_of(&argv) {
            let mut first = cmd!["XGROUP", "CREATECONSUMER"];
            first.extend([key, group, consumer]);
            commands.push(first);
        }
        commands.push(argv);
    }

    /// Adds a transaction, some of them with an error in it or given up.
    fn add_transaction(&mut self, commands: &mut Vec<Argv>) {
        match self.rng.random_range(0..6) {
            0 => commands.push(cmd!["WATCH", self.pick(KEYS)]),
            1 => commands.push(cmd!["UNWATCH"]),
            2 => commands.extend([
                cmd!["WATCH", self.pick(KEYS)],
                cmd!["SET", self.pick(STRINGS), "changed"],
            ]),
            _ => {}
        }
        commands.push(cmd!["MULTI"]);
        for _ in 0..self.rng.random_range(0..5) {
            self.add_one(commands);
        }
        commands.push(cmd![self.pick(&["EXEC", "EXEC", "EXEC", "DISCARD"])]);
    }

    fn command(&mut self) -> Argv {
        let mut argv = self.whole();
        if self.chance(8) {
            self.break_it(&mut argv);
        }
        if self.chance(25) {
            let mut wrapped = cmd!["EVAL", CALL_ARGUMENTS, "0"];
            if !argv.is_empty() && may_be_wrapped(&argv) {
                wrapped.append(&mut argv);
                argv = wrapped;
            }
        }
        self.calm(&mut argv);
        argv
    }

    fn whole(&mut self) -> Argv {
        match self.rng.random_range(0..200) {
            0..32 => self.string(),
            32..50 => self.generic(),
            50..56 => self.script(),
            56..75 => self.stream(),
            75..92 => self.group(),
            92..106 => Rc::clone(&self.table).call(self),
            106..108 => self.connection(),
            108..126 => self.list(),
            126..140 => self.hash(),
            140..154 => self.set(),
            154..176 => self.zset(),
            176..184 => self.bits(),
            184..188 => self.hll(),
            188..193 => self.geo(),
            193..197 => self.sort(),
            _ => self.dump(),
        }
    }

    // ---- Words -------------------------------------------------------------------------------------------------------

    /// True once in `n` times.
    pub fn chance(&mut self, n: u32) -> bool {
        self.rng.random_range(0..n) == 0
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.random_range(0..from.len())]
    }

    pub fn key(&mut self, home: &[&'static str]) -> &'static str {
        if self.chance(10) {
            self.pick(KEYS)
        } else {
            self.pick(home)
        }
    }

    pub fn number(&mut self) -> String {
        if self.chance(3) {
            self.pick(NUMBERS).to_owned()
        } else {
            self.rng.random_range(-3..20).to_string()
        }
    }

    /// A count or an index: small most of the time.
    pub fn small(&mut self) -> String {
        if self.chance(8) {
            self.number()
        } else {
            self.rng.random_range(0..8).to_string()
        }
    }

    /// Seconds until something far away, no two alike; or something invalid, or over.
    pub fn seconds(&mut self) -> String {
        match self.rng.random_range(0..12) {
            0 => self
                .pick(&[
                    "0",
                    "-1",
                    "abc",
                    "",
                    "9223372036854775807",
                    "9223372036854775",
                    "1.5",
                    "-100",
                ])
                .to_owned(),
            _ => self.rng.random_range(1000..1_000_000_000).to_string(),
        }
    }

    pub fn milliseconds(&mut self) -> String {
        match self.rng.random_range(0..12) {
            0 => self
                .pick(&[
                    "0",
                    "-1",
                    "abc",
                    "",
                    "9223372036854775807",
                    "9223372036854775808",
                    "-100",
                ])
                .to_owned(),
            _ => self
                .rng
                .random_range(1_000_000u64..1_000_000_000_000)
                .to_string(),
        }
    }

    pub fn at_seconds(&mut self) -> String {
        match self.rng.random_range(0..12) {
            0 => self
                .pick(&["0", "-1", "abc", "1", "9223372036854775807", "1600000000"])
                .to_owned(),
            _ => self
                .rng
                .random_range(20_000_000_000u64..40_000_000_000)
                .to_string(),
        }
    }

    pub fn at_milliseconds(&mut self) -> String {
        match self.rng.random_range(0..12) {
            0 => self
                .pick(&[
                    "0",
                    "-1",
                    "abc",
                    "1",
                    "9223372036854775807",
                    "1600000000000",
                ])
                .to_owned(),
            _ => self
                .rng
                .random_range(20_000_000_000_000u64..40_000_000_000_000)
                .to_string(),
        }
    }

    pub fn expiry(&mut self, argv: &mut Argv) {
        match self.rng.random_range(0..6) {
            0 => argv.extend(cmd!["EX", self.seconds()]),
            1 => argv.extend(cmd!["PX", self.milliseconds()]),
            2 => argv.extend(cmd!["EXAT", self.at_seconds()]),
            3 => argv.extend(cmd!["PXAT", self.at_milliseconds()]),
            4 => argv.extend(cmd!["KEEPTTL"]),
            _ => argv.extend(cmd!["PERSIST"]),
        }
    }

    /// The id of an entry to be read, deleted, claimed.
    fn id(&mut self) -> String {
        let near = self.next_id.max(2);
        match self.rng.random_range(0..20) {
            0 => self
                .pick(&[
                    "0",
                    "0-0",
                    "5",
                    "18446744073709551615-18446744073709551615",
                    "18446744073709551616",
                    "abc",
                    "1-",
                    "-1",
                    "",
                    "1-1-1",
                    " 1",
                    "1-abc",
                    "01-01",
                    "1-+1",
                ])
                .to_owned(),
            1 => self
                .pick(&["-", "+", "$", ">", "*", "(1-1", "("])
                .to_owned(),
            _ => {
                let ms = self.rng.random_range(near.saturating_sub(12)..=near);
                match self.rng.random_range(0..4) {
                    0 => ms.to_string(),
                    _ => format!("{ms}-{}", self.rng.random_range(0..4)),
                }
            }
        }
    }

    fn new_id(&mut self) -> String {
        match self.rng.random_range(0..14) {
            0 => self.id(),
            1 => format!("{}-*", self.next_id),
            2 => self.next_id.to_string(),
            _ => {
                self.next_id += u64::from(self.rng.random_range(0..3u32) > 0);
                format!("{}-{}", self.next_id, self.rng.random_range(0..4))
            }
        }
    }

    fn start(&mut self) -> String {
        match self.rng.random_range(0..6) {
            0 | 1 => "-".into(),
            2 => format!("({}", self.id()),
            _ => self.id(),
        }
    }

    fn end(&mut self) -> String {
        match self.rng.random_range(0..6) {
            0..3 => "+".into(),
            3 => format!("({}", self.id()),
            _ => self.id(),
        }
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.rng.random_range(0..=i));
        }
    }

    /// Some of the options, in any order.
    pub fn options(&mut self, argv: &mut Argv, mut all: Vec<Argv>, often: u32) {
        self.shuffle(&mut all);
        for o in all {
            if self.chance(often) {
                argv.extend(o);
            }
        }
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n.max(1))
    }

    /// A value for an argument of a syntax line, by its name, its token and its type.
    pub fn value_for(&mut self, name: &str, token: Option<&str>, kind: &Kind<'_>) -> Vec<u8> {
        let text = match (kind, name) {
            (Kind::Key, _) => self.key(KEYS).to_owned(),
            (Kind::Pattern, _) => self.pick(PATTERNS).to_owned(),
            (_, "seconds") => self.seconds(),
            (_, "milliseconds") => self.milliseconds(),
            (Kind::UnixTime, n) if n.contains("milli") => self.at_milliseconds(),
            (Kind::UnixTime, _) if token == Some("TIME") => "1600000000000".to_owned(),
            (Kind::UnixTime, _) => self.at_seconds(),
            (_, "cursor") => "0".to_owned(),
            (_, "group" | "groupname") => self.pick(GROUPS).to_owned(),
            (_, "consumer" | "consumername") => self.pick(CONSUMERS).to_owned(),
            (_, "start") if !matches!(kind, Kind::Integer) => self.start(),
            (_, "end") if !matches!(kind, Kind::Integer) => self.end(),
            (_, n) if n.contains("idle") || token == Some("IDLE") => self.idle().to_owned(),
            (_, "id" | "lastid" | "last-id" | "threshold" | "max-deleted-id" | "min-idle-time") => {
                self.id()
            }
            (Kind::Integer, n) if n.contains("db") => self.rng.random_range(0..3).to_string(),
            (Kind::Integer, _) => self.number(),
            (Kind::Double, _) => format!("{:.3}", self.rng.random_range(-100.0..100.0)),
            _ => self.pick(VALUES).to_owned(),
        };
        text.into_bytes()
    }

    // ---- Families ----------------------------------------------------------------------------------------------------

    fn string(&mut self) -> Argv {
        let k = self.key(STRINGS);
        let (v, n) = (self.pick(VALUES), self.number());
        match self.rng.random_range(0..26) {
            0..5 => {
                let mut argv = cmd!["SET", k, v];
                let mut expiry = Argv::new();
                self.expiry(&mut expiry);
                self.options(
                    &mut argv,
                    vec![cmd!["NX"], cmd!["XX"], cmd!["GET"], expiry],
                    4,
                );
                argv
            }
            5 | 6 => cmd!["GET", k],
            7 => cmd!["SETNX", k, v],
            8 => cmd!["SETEX", k, self.seconds(), v],
            9 => cmd!["PSETEX", k, self.milliseconds(), v],
            10 => cmd!["GETSET", k, v],
            11 => cmd!["GETDEL", k],
            12 => {
                let mut argv = cmd!["GETEX", k];
                if !self.chance(3) {
                    self.expiry(&mut argv);
                }
                argv
            }
            13 => cmd!["APPEND", k, v],
            14 => cmd!["STRLEN", k],
            15 => cmd!["SETRANGE", k, n, v],
            16 => cmd![self.pick(&["GETRANGE", "SUBSTR"]), k, n, self.number()],
            17 => cmd![self.pick(&["INCR", "DECR"]), k],
            18 => cmd![self.pick(&["INCRBY", "DECRBY"]), k, n],
            19 | 20 => {
                let by = if self.chance(2) {
                    self.pick(VALUES).to_owned()
                } else {
                    let digits = self.rng.random_range(0..6);
                    format!("{:.*}", digits, self.rng.random_range(-1000.0..1000.0))
                };
                cmd!["INCRBYFLOAT", k, by]
            }
            21 => cmd!["MGET", k, self.key(KEYS), self.key(STRINGS)],
            22 => cmd![
                self.pick(&["MSET", "MSETNX"]),
                k,
                v,
                self.key(STRINGS),
                self.pick(VALUES)
            ],
            23 => cmd!["SET", k, self.rng.random_range(-1000..1000).to_string()],
            _ => {
                let mut argv = cmd!["LCS", k, self.key(STRINGS)];
                let all = vec![
                    cmd!["LEN"],
                    cmd!["IDX"],
                    cmd!["MINMATCHLEN", self.small()],
                    cmd!["WITHMATCHLEN"],
                ];
                self.options(&mut argv, all, 3);
                argv
            }
        }
    }

    fn generic(&mut self) -> Argv {
        let (k, l) = (self.key(KEYS), self.key(KEYS));
        match self.rng.random_range(0..30) {
            0 => cmd![self.pick(&["DEL", "UNLINK", "EXISTS", "TOUCH"]), k],
            1 => cmd![self.pick(&["DEL", "UNLINK", "EXISTS", "TOUCH"]), k, l, k],
            2 => cmd!["TYPE", k],
            3 | 4 => cmd![self.pick(&["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]), k],
            5..9 => {
                let (name, time) = match self.rng.random_range(0..4) {
                    0 => ("EXPIRE", self.seconds()),
                    1 => ("PEXPIRE", self.milliseconds()),
                    2 => ("EXPIREAT", self.at_seconds()),
                    _ => ("PEXPIREAT", self.at_milliseconds()),
                };
                let mut argv = cmd![name, k, time];
                self.options(
                    &mut argv,
                    vec![cmd!["NX"], cmd!["XX"], cmd!["GT"], cmd!["LT"]],
                    5,
                );
                argv
            }
            9 => cmd!["PERSIST", k],
            10 => cmd![self.pick(&["RENAME", "RENAMENX"]), k, l],
            11 | 12 => {
                let mut argv = cmd!["COPY", k, l];
                let db = if self.chance(6) {
                    self.number()
                } else {
                    self.rng.random_range(0..3).to_string()
                };
                self.options(&mut argv, vec![cmd!["DB", db], cmd!["REPLACE"]], 3);
                argv
            }
            13 => cmd![
                "MOVE",
                k,
                if self.chance(4) {
                    self.number()
                } else {
                    "1".into()
                }
            ],
            14 => cmd![
                "SELECT",
                if self.chance(4) {
                    self.number()
                } else {
                    self.rng.random_range(0..2).to_string()
                }
            ],
            15 if self.chance(3) => cmd![
                "SWAPDB",
                "0",
                if self.chance(4) {
                    self.number()
                } else {
                    "1".into()
                }
            ],
            16 => cmd!["KEYS", self.pick(PATTERNS)],
            17 | 18 => {
                let mut argv = cmd![
                    "SCAN",
                    if self.chance(10) {
                        self.pick(&["abc", "", "1.5"])
                    } else {
                        "0"
                    }
                ];
                let all = vec![
                    cmd!["MATCH", self.pick(PATTERNS)],
                    cmd![
                        "COUNT",
                        if self.chance(6) {
                            self.pick(NUMBERS)
                        } else {
                            "1000"
                        }
                    ],
                    cmd![
                        "TYPE",
                        self.pick(&["string", "stream", "STREAM", "list", "nosuch"])
                    ],
                ];
                self.options(&mut argv, all, 2);
                argv
            }
            19 => cmd!["RANDOMKEY"],
            20 => cmd!["DBSIZE"],
            21 if self.chance(15) => cmd![
                self.pick(&["FLUSHDB", "FLUSHALL"]),
                self.pick(&["SYNC", "ASYNC", "BOGUS"])
            ],
            22..25 => cmd![
                "OBJECT",
                self.pick(&["ENCODING", "ENCODING", "REFCOUNT", "FREQ", "BOGUS"]),
                k
            ],
            25 => cmd!["WAIT", "0", self.pick(&["0", "abc", "-1", "5"])],
            _ => cmd!["EXISTS", k, l],
        }
    }

    fn script(&mut self) -> Argv {
        let script = self.pick(SCRIPTS);
        let mut argv = match self.rng.random_range(0..8) {
            0 => cmd!["EVAL_RO", script],
            1 => return cmd!["SCRIPT", "LOAD", script],
            2 => cmd![
                self.pick(&["EVALSHA", "EVALSHA_RO"]),
                sha1_hex(script.as_bytes())
            ],
            3 if self.chance(4) => return cmd!["SCRIPT", self.pick(&["FLUSH", "KILL", "BOGUS"])],
            3 => return cmd!["SCRIPT", "EXISTS", sha1_hex(script.as_bytes()), "abc"],
            _ => cmd!["EVAL", script],
        };
        let keys = self.rng.random_range(0..3);
        argv.extend(cmd![if self.chance(12) {
            self.number()
        } else {
            keys.to_string()
        }]);
        for _ in 0..keys {
            argv.extend(cmd![self.key(KEYS)]);
        }
        for _ in 0..self.rng.random_range(0..3) {
            let word = match self.rng.random_range(0..4) {
                0 => self.new_id(),
                1 => self
                    .pick(&[
                        "GET", "DEL", "STRLEN", "XLEN", "INCR", "TYPE", "NOSUCH", "set", "EVAL",
                    ])
                    .to_owned(),
                _ => self.pick(VALUES).to_owned(),
            };
            argv.extend(cmd![word]);
        }
        argv
    }

    fn trimming(&mut self) -> Argv {
        let mut argv = match self.rng.random_range(0..2) {
            0 => cmd!["MAXLEN"],
            _ => cmd!["MINID"],
        };
        let by_length = argv[0] == b"MAXLEN";
        match self.rng.random_range(0..4) {
            0 => argv.extend(cmd!["~"]),
            1 => argv.extend(cmd!["="]),
            _ => {}
        }
        let threshold = match by_length {
            true if self.chance(6) => self.number(),
            true => self.rng.random_range(0..25).to_string(),
            false => self.id(),
        };
        argv.extend(cmd![threshold]);
        if self.chance(5) {
            argv.extend(cmd!["LIMIT", self.small()]);
        }
        argv
    }

    fn stream(&mut self) -> Argv {
        let k = self.key(STREAMS);
        match self.rng.random_range(0..24) {
            0..10 => {
                let mut argv = cmd!["XADD", k];
                let trimming = self.trimming();
                self.options(&mut argv, vec![cmd!["NOMKSTREAM"], trimming], 5);
                argv.extend(cmd![self.new_id()]);
                let fields = if self.chance(3) {
                    self.rng.random_range(1..4)
                } else {
                    1
                };
                for _ in 0..fields {
                    argv.extend(cmd![self.pick(&["f", "g", "field", ""]), self.pick(VALUES)]);
                }
                argv
            }
            10 => cmd!["XLEN", k],
            11 | 12 => {
                let (s, e) = (self.start(), self.end());
                let mut argv = if self.chance(2) {
                    cmd!["XRANGE", k, s, e]
                } else {
                    cmd!["XREVRANGE", k, e, s]
                };
                if self.chance(2) {
                    argv.extend(cmd!["COUNT", self.small()]);
                }
                argv
            }
            13..15 => cmd!["XDEL", k, self.id(), self.id()],
            15..17 => {
                let mut argv = cmd!["XTRIM", k];
                argv.extend(self.trimming());
                argv
            }
            17..20 => {
                let mut argv = cmd!["XREAD"];
                let all = vec![cmd!["COUNT", self.small()]];
                self.options(&mut argv, all, 2);
                argv.extend(cmd!["STREAMS"]);
                if self.chance(2) {
                    argv.extend(cmd![k, self.id()]);
                } else {
                    argv.extend(cmd![k, self.key(STREAMS), self.id(), self.id()]);
                }
                argv
            }
            20 => {
                let mut argv = cmd!["XSETID", k, self.id()];
                let all = vec![
                    cmd!["ENTRIESADDED", self.small()],
                    cmd!["MAXDELETEDID", self.id()],
                ];
                self.options(&mut argv, all, 3);
                argv
            }
            21 => cmd!["XINFO", "STREAM", k],
            22 => {
                let mut argv = cmd!["XINFO", "STREAM", k, "FULL"];
                let all = vec![cmd!["COUNT", self.small()]];
                self.options(&mut argv, all, 2);
                argv
            }
            _ => cmd!["XRANGE", k, "-", "+"],
        }
    }

    /// Idle times: none, or so long that only an explicit IDLE or TIME reaches it.
    fn idle(&mut self) -> &'static str {
        if self.chance(12) {
            return self.pick(&["abc", "-1", "", "9223372036854775808"]);
        }
        self.pick(&["0", "0", "100000000"])
    }

    fn group(&mut self) -> Argv {
        let k = self.key(STREAMS);
        let (g, c) = (self.pick(GROUPS), self.pick(CONSUMERS));
        match self.rng.random_range(0..30) {
            0..4 => {
                let id = if self.chance(2) {
                    "0".to_owned()
                } else {
                    self.pick(&["$", "1", "abc", "0-0", "2-1", "5"]).to_owned()
                };
                let mut argv = cmd!["XGROUP", "CREATE", k, g, id];
                let all = vec![
                    cmd!["MKSTREAM"],
                    cmd!["MKSTREAM"],
                    cmd!["ENTRIESREAD", self.small()],
                ];
                self.options(&mut argv, all, 3);
                argv
            }
            4 => {
                let id = if self.chance(2) {
                    "$".to_owned()
                } else {
                    self.id()
                };
                let mut argv = cmd!["XGROUP", "SETID", k, g, id];
                let all = vec![cmd!["ENTRIESREAD", self.small()]];
                self.options(&mut argv, all, 3);
                argv
            }
            5 if self.chance(3) => cmd!["XGROUP", "DESTROY", k, g],
            6 => cmd![
                "XGROUP",
                self.pick(&["CREATECONSUMER", "DELCONSUMER"]),
                k,
                g,
                c
            ],
            7..14 => {
                let mut argv = cmd!["XREADGROUP"];
                let all = vec![cmd!["COUNT", self.small()], cmd!["NOACK"]];
                let (mut before, mut after) = (Argv::new(), Argv::new());
                for o in all {
                    if self.chance(3) {
                        if self.chance(2) {
                            before.extend(o)
                        } else {
                            after.extend(o)
                        }
                    }
                }
                argv.append(&mut before);
                argv.extend(cmd!["GROUP", g, c]);
                argv.append(&mut after);
                argv.extend(cmd!["STREAMS"]);
                let from = |me: &mut Self| {
                    if me.chance(4) {
                        me.id()
                    } else {
                        ">".to_owned()
                    }
                };
                if self.chance(5) {
                    let l = self.key(STREAMS);
                    argv.extend(cmd![k, l, from(self), from(self)]);
                } else {
                    argv.extend(cmd![k, from(self)]);
                }
                argv
            }
            14..17 => cmd!["XACK", k, g, self.id(), self.id()],
            17 => cmd!["XPENDING", k, g],
            18 | 19 => {
                let mut argv = cmd!["XPENDING", k, g];
                if self.chance(3) {
                    argv.extend(cmd!["IDLE", self.idle()]);
                }
                argv.extend(cmd![self.start(), self.end(), self.small()]);
                if self.chance(3) {
                    argv.extend(cmd![c]);
                }
                argv
            }
            20..23 => {
                let mut argv = cmd!["XCLAIM", k, g, c, self.idle(), self.id(), self.id()];
                let all = vec![
                    cmd!["IDLE", self.pick(&["0", "500000000", "abc"])],
                    cmd![
                        "TIME",
                        self.pick(&["1000", "1600000000000", "99999999999999", "abc"])
                    ],
                    cmd!["RETRYCOUNT", self.small()],
                    cmd!["FORCE"],
                    cmd!["JUSTID"],
                    cmd!["LASTID", self.id()],
                ];
                self.options(&mut argv, all, 6);
                argv
            }
            23..25 => {
                let mut argv = cmd![
                    "XAUTOCLAIM",
                    k,
                    g,
                    c,
                    self.idle(),
                    if self.chance(2) {
                        "0".into()
                    } else {
                        self.start()
                    }
                ];
                let all = vec![cmd!["COUNT", self.small()], cmd!["JUSTID"]];
                self.options(&mut argv, all, 3);
                argv
            }
            25 => cmd!["XINFO", "CONSUMERS", k, g],
            26 | 27 => cmd!["XINFO", "GROUPS", k],
            28 => cmd!["XINFO", "STREAM", k, "FULL", "COUNT", "0"],
            _ => cmd!["XPENDING", k, g, "-", "+", "100"],
        }
    }

    fn connection(&mut self) -> Argv {
        match self.rng.random_range(0..8) {
            0 => cmd!["PING"],
            1 => cmd!["PING", self.pick(VALUES)],
            2 => cmd!["ECHO", self.pick(VALUES)],
            3 => cmd!["NOSUCH", self.pick(VALUES), self.pick(VALUES)],
            4 => cmd!["CLIENT", "GETNAME"],
            5 => cmd![
                "CLIENT",
                "SETNAME",
                self.pick(&["me", "", "bad name", "\u{e4}"])
            ],
            6 => cmd![
                "CONFIG",
                "GET",
                self.pick(&[
                    "timeout",
                    "nosuch",
                    "stream-node-max-bytes",
                    "proto-max-bulk-len"
                ])
            ],
            _ => cmd!["COMMAND", "GETKEYS", "SET", self.pick(KEYS), "v"],
        }
    }

    // ---- Breaking ----------------------------------------------------------------------------------------------------

    fn break_it(&mut self, argv: &mut Argv) {
        let n = argv.len();
        match self.rng.random_range(0..6) {
            0 if n > 1 => _ = argv.remove(self.rng.random_range(1..n)),
            1 => argv.push(self.pick(JUNK).into()),
            2 if n > 1 => argv.insert(self.rng.random_range(1..=n), self.pick(JUNK).into()),
            3 if n > 2 => {
                let (i, j) = (self.rng.random_range(1..n), self.rng.random_range(1..n));
                argv.swap(i, j);
            }
            4 if n > 1 => {
                let i = self.rng.random_range(1..n);
                argv[i] = self.pick(JUNK).into();
            }
            _ => {
                let i = self.rng.random_range(0..n);
                argv[i] = if self.chance(2) {
                    argv[i].to_ascii_lowercase()
                } else {
                    argv[i].to_ascii_uppercase()
                };
            }
        }
    }

    /// Takes out what would make two servers differ by chance: short times, idle times near the real ones, ids from the
    /// clock, strings of megabytes, and waiting.
    fn calm(&mut self, argv: &mut Argv) {
        let wrapped = argv.len() > 3 && argv[1] == CALL_ARGUMENTS.as_bytes();
        let from = if wrapped { 3 } else { 0 };
        let Some(name) = argv.get(from).map(|n| n.to_ascii_uppercase()) else {
            return;
        };
        let number = |a: &[u8]| {
            std::str::from_utf8(a)
                .ok()
                .and_then(|t| t.trim().parse::<i64>().ok())
        };
        if name == b"SPOP" {
            // Whoever pops some but not all leaves others behind.
            const MORE_THAN_ALL: &[u8] = b"1000000";
            if argv.len() == from + 2 {
                argv.push(MORE_THAN_ALL.into());
            } else if argv.get(from + 2).is_some_and(|a| number(a) > Some(0)) {
                argv[from + 2] = MORE_THAN_ALL.into();
            }
        }
        if name == b"SORT" && stores_what_may_tie(&argv[from..]) {
            argv.retain(|a| !a.eq_ignore_ascii_case(b"STORE"));
            argv.push(b"ASC".into());
        }
        if name == b"ZRANK" || name == b"ZREVRANK" {
            // Since 7.2 there may be one more.
            argv.truncate(from + 3);
        }
        let args = &mut argv[from..];
        let timed = args
            .iter()
            .any(|a| [&b"PX"[..], b"EX"].contains(&a.to_ascii_uppercase().as_slice()))
            || [&b"PEXPIRE"[..], b"EXPIRE", b"SETEX", b"PSETEX"].contains(&name.as_slice());
        if name == b"RESTORE"
            && let Some(ttl) = args.get_mut(2)
            && number(ttl).is_some_and(|n| (1..1_000_000).contains(&n))
        {
            *ttl = b"7777777".into();
        }
        for a in args.iter_mut().skip(2) {
            if timed && number(a).is_some_and(|n| (1..1000).contains(&n)) {
                *a = b"7777777".into();
            }
        }
        match name.as_slice() {
            b"SETRANGE" => {
                if let Some(a) = args.get_mut(2)
                    && number(a).is_some_and(|n| (1000..1 << 31).contains(&n))
                {
                    *a = b"9".into();
                }
            }
            b"XADD" => args
                .iter_mut()
                .skip(2)
                .filter(|a| *a == b"*")
                .for_each(|a| *a = b"9-9".into()),
            b"XCLAIM" | b"XAUTOCLAIM" | b"XPENDING" => {
                for i in 3..args.len() {
                    let idle = (i == 4 && name != b"XPENDING")
                        || args[i - 1].eq_ignore_ascii_case(b"IDLE");
                    if idle && number(&args[i]).is_some_and(|n| (1..10_000_000).contains(&n)) {
                        args[i] = b"0".into();
                    }
                }
            }
            b"XREAD" | b"XREADGROUP" => {
                // Since 7.4 `+` means the last entry.
                args.iter_mut()
                    .filter(|a| *a == b"+")
                    .for_each(|a| *a = b"5".into());
                for i in 1..args.len() {
                    if args[i - 1].eq_ignore_ascii_case(b"BLOCK")
                        && number(&args[i]).is_some_and(|n| n >= 0)
                    {
                        args[i] = b"1".into();
                    }
                }
            }
            b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => {
                if let Some(timeout) = args.last_mut() {
                    hurry(timeout);
                }
            }
            b"BLMPOP" | b"BZMPOP" => {
                if let Some(timeout) = args.get_mut(1) {
                    hurry(timeout);
                }
            }
            // A script of the generator may take an id from its arguments.
            b"EVAL" | b"EVALSHA" | b"EVAL_RO" | b"EVALSHA_RO" => args
                .iter_mut()
                .skip(3)
                .filter(|a| *a == b"*")
                .for_each(|a| *a = b"9-9".into()),
            b"CONFIG" => args
                .iter_mut()
                .filter(|a| *a == b"*")
                .for_each(|a| *a = b"timeout".into()),
            b"SETBIT" | b"BITFIELD" => {
                for a in args.iter_mut().skip(2) {
                    let (mark, digits) = match a.strip_prefix(b"#") {
                        Some(rest) => ("#", rest.to_vec()),
                        None => ("", a.clone()),
                    };
                    if number(&digits).is_some_and(|n| (100_000..1 << 33).contains(&n)) {
                        *a = format!("{mark}999").into();
                    }
                }
            }
            // Redis unpacks the string before it looks at the subcommand.
            b"PFDEBUG" => {
                let known = [&b"GETREG"[..], b"DECODE", b"ENCODING", b"TODENSE"];
                if let Some(a) = args.get_mut(1)
                    && !known.contains(&a.to_ascii_uppercase().as_slice())
                {
                    *a = b"ENCODING".into();
                }
            }
            b"WAIT" => {
                for a in args
                    .iter_mut()
                    .skip(1)
                    .filter(|a| number(a).is_some_and(|n| n > 5))
                {
                    *a = b"5".into();
                }
                if args
                    .get(1)
                    .is_some_and(|a| number(a).is_some_and(|n| n > 0))
                {
                    args[1] = b"0".into();
                }
            }
            _ => {}
        }
    }
}

/// The keys, groups and consumers that a command reads or claims for.
fn consumers_of(argv: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let at = |names: &[&[u8]]| {
        argv.iter()
            .position(|w| names.contains(&w.to_ascii_uppercase().as_slice()))
    };
    if let Some(i) = at(&[b"XCLAIM", b"XAUTOCLAIM"])
        && let Some([key, group, consumer]) = argv.get(i + 1..i + 4)
    {
        return vec![(key.clone(), group.clone(), consumer.clone())];
    }
    if at(&[b"XREADGROUP"]).is_some()
        && let (Some(g), Some(s)) = (at(&[b"GROUP"]), at(&[b"STREAMS"]))
        && let Some([group, consumer]) = argv.get(g + 1..g + 3)
    {
        let keys = &argv[s + 1..];
        return keys
            .iter()
            .map(|k| (k.clone(), group.clone(), consumer.clone()))
            .collect();
    }
    Vec::new()
}

/// Whether SORT would store elements whose texts to compare may be the same: their order is up to each server.
fn stores_what_may_tie(args: &[Vec<u8>]) -> bool {
    let has = |token: &[u8]| args.iter().any(|a| a.eq_ignore_ascii_case(token));
    has(b"BY") && has(b"ALPHA") && has(b"STORE")
}

/// A timeout that would be waited for is over at once.
fn hurry(timeout: &mut Vec<u8>) {
    let digit = timeout.iter().any(u8::is_ascii_digit);
    let below = matches!(timeout[..], [b'-', b'1'..=b'9', ..]);
    if digit && !below && timeout.trim_ascii().len() == timeout.len() {
        *timeout = b"0.001".into();
    }
}

/// Commands that wait for a list or a sorted set. Scripts may call them since 7.2.
fn is_blocking(name: &[u8]) -> bool {
    let name = name.to_ascii_uppercase();
    [&b"BL"[..], b"BR", b"BZ"]
        .iter()
        .any(|b| name.starts_with(b))
}

/// Commands that a script may call without ending differently from one server to the next.
fn may_be_wrapped(argv: &[Vec<u8>]) -> bool {
    // Inside a script a command runs at the time of the script, and its error is worded by the caller's line.
    !argv[0].eq_ignore_ascii_case(b"WAIT")
        && !is_blocking(&argv[0])
        && !argv[0].eq_ignore_ascii_case(b"RANDOMKEY")
        && !argv[0].eq_ignore_ascii_case(b"SCAN")
        && !argv[0].eq_ignore_ascii_case(b"KEYS")
        && !argv[0].eq_ignore_ascii_case(b"SELECT")
        && !argv[0].eq_ignore_ascii_case(b"XINFO")
        && !argv[0].eq_ignore_ascii_case(b"XPENDING")
        && !argv[0].to_ascii_uppercase().ends_with(b"TTL")
        && !argv[0].to_ascii_uppercase().ends_with(b"TIME")
}

fn sha1_hex(bytes: &[u8]) -> String {
    use sha1::{Digest, Sha1};
    Sha1::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
