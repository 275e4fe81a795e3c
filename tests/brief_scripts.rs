//! Scripts that need no interpreter do the same as if they had one. Each is run twice, at servers of their own: as it is, and
//! with an empty block in front, which takes it to the interpreter.

#![cfg(feature = "lua")]

use redkeep::engine::{Engine, Options};
use redkeep::exec::session::Peer;
use redkeep::exec::{Args, SessionId};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::util::digest;

const INTERPRETED: &str = "do end ";

struct Server {
    engine: Engine,
    client: SessionId,
    proto: Proto,
    prefix: &'static str,
}

impl Server {
    fn new(prefix: &'static str, proto: Proto) -> Server {
        let mut engine = Engine::new(Options::default());
        engine.refresh_time();
        let client = engine.connect(Peer::default());
        let mut server = Server {
            engine,
            client,
            proto,
            prefix,
        };
        if proto == Proto::Resp3 {
            server.call(&[b"HELLO", b"3"]);
        }
        server
    }

    fn call(&mut self, args: &[&[u8]]) -> String {
        let mut reply = ReplyBuf::new(self.proto);
        self.engine
            .execute(self.client, Args::new(args), &mut reply);
        String::from_utf8_lossy(reply.as_slice()).into_owned()
    }

    /// What a script answers, without its name.
    fn eval(&mut self, command: &[u8], script: &str, words: &[&[u8]]) -> String {
        let (flags, code) = match script.split_once('\n') {
            Some((flags, code)) if flags.starts_with("#!") => (format!("{flags}\n"), code),
            _ => (String::new(), script),
        };
        let script = format!("{flags}{}{code}", self.prefix);
        let mut args: Vec<&[u8]> = vec![command, script.as_bytes()];
        args.extend(words);
        let reply = self.call(&args);
        let sha = digest::sha1_hex(script.as_bytes());
        reply.replace(&*String::from_utf8_lossy(&sha), "SHA")
    }

    /// What is left behind: keys, and what was counted.
    fn contents(&mut self) -> String {
        let mut all = String::new();
        for key in ["n", "s", "l", "h", "z", "x"] {
            let key = key.as_bytes();
            for command in [
                &[b"TYPE", key][..],
                &[b"GET", key],
                &[b"LRANGE", key, b"0", b"-1"],
                &[b"HGETALL", key],
            ] {
                all += &self.call(command);
            }
        }
        let counted = self.call(&[b"INFO", b"errorstats"]);
        let stats = self.call(&[b"INFO", b"commandstats"]);
        let calls = stats.lines().filter_map(|line| {
            let (calls, rest) = line.split_once(",usec=")?;
            let (_, failures) = rest.split_once(",rejected_calls")?;
            Some(format!("{calls}{failures}\n"))
        });
        all + &counted + &calls.collect::<String>()
    }
}

/// Runs a script at two servers that are to stay alike.
fn agree(both: &mut [Server; 2], command: &[u8], script: &str, words: &[&[u8]]) -> String {
    let [brief, interpreted] = both;
    let here = brief.eval(command, script, words);
    let there = interpreted.eval(command, script, words);
    assert_eq!(here, there, "{script}");
    here
}

fn pair(proto: Proto) -> [Server; 2] {
    let mut both = ["", INTERPRETED].map(|prefix| Server::new(prefix, proto));
    for server in &mut both {
        for command in [
            "SET s some",
            "SET n 41",
            "RPUSH l a b c",
            "HSET h f v g w",
            "ZADD z 0.5 m 2 o",
        ] {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            server.call(&words);
        }
    }
    both
}

const SCRIPTS: &[&str] = &[
    "",
    "return",
    "return nil",
    "return 1.9",
    "return -1.9",
    "return 'x'",
    "return true",
    "return false",
    "return 123456789012345",
    "return KEYS[1]",
    "return KEYS[4]",
    "return ARGV[1];",
    "return #KEYS",
    "return #ARGV",
    "return redis.call('ping')",
    "local s = redis.call('ping') return s",
    "local s = redis.call('ping') return s == s",
    "local s = redis.call('ping') return s == redis.call('ping')",
    "return redis.call('lrange', KEYS[3], 0, -1)",
    "local l = redis.call('lrange', 'l', 0, -1) redis.call('ping') return l",
    "return redis.call('hgetall', 'h')",
    "return redis.call('zrange', 'z', 0, -1, 'withscores')",
    "return redis.call('zscore', 'z', 'm')",
    "return redis.call('mget', 's', 'none', 'n')",
    "return redis.call('get', 'none')",
    "return redis.call('lpop', 'none', 2)",
    "return redis.call('xadd', 'x', '1-1', 'f', 'v')",
    "return redis.call('xrange', 'x', '-', '+')",
    "return redis.call('xread', 'streams', 'x', '9')",
    "return redis.call('set', 'big', '9007199254740993') and redis.call('incr', 'big')",
    "return redis.call('incrby', 'big', '9007199254740990')",
    "return redis.call('echo', 1e3)",
    "return redis.call('echo', 1.5)",
    "return redis.call('echo', -0)",
    "return redis.call('get', 'none') == nil",
    "return redis.call('get', 'none') == false",
    "return redis.call('get', KEYS[1]) == ARGV[1]",
    "return redis.call('get', KEYS[2]) < ARGV[2]",
    "return redis.call('get', KEYS[2]) >= '41'",
    "return tonumber(redis.call('get', KEYS[2])) < tonumber(ARGV[2])",
    "return tonumber(redis.call('get', KEYS[2])) > 41",
    "return tonumber(redis.call('get', KEYS[2])) >= 41.0",
    "return redis.call('get', 'n') == 41",
    "return redis.call('get', 'n') < 41",
    "return 41 > redis.call('get', 'n')",
    "return redis.call('get', 'none') > 1",
    "return redis.call('ping') <= redis.call('ping')",
    "return KEYS[9] < KEYS[9]",
    "return true >= false",
    "return tonumber(nil)",
    "return tonumber('0x10')",
    "return tonumber(' 12 ')",
    "return tonumber('1e2')",
    "return tonumber('12x')",
    "return tonumber('')",
    "return tonumber('-7')",
    "return tonumber('12345678901234567890')",
    "return tonumber(redis.call('ping'))",
    "return redis.call('get')",
    "return redis.call('no such command')",
    "return redis.call('incr', 's')",
    "local x = redis.call('incr', 's') return 1",
    "redis.call('incr', 's')",
    "return redis.call('lpush', 's', 1)",
    "return redis.call()",
    "return redis.call('get', nil)",
    "return redis.call('get', true)",
    "return redis.call('get', redis.call('ping'))",
    "return redis.call('get', redis.call('get', 'none'))",
    "return redis.call(nil, redis.call('set', 'n', 7))",
    "return redis.call('set', KEYS[1], redis.call('get', KEYS[2]))",
    "return redis.call('blpop', 'none', 0)",
    "return redis.call('subscribe', 'c')",
    "return redis.call('eval', 'return 1', 0)",
    "return redis.call('select', 1)",
    "redis.call('select', 1) return redis.call('get', 's')",
    "return redis.call('object', 'encoding', 'l')",
    "return redis.call('type', 'l')",
    "return server.call('strlen', 's')",
    "return 1 == 1 and 'yes' or 'no'",
    "return nil and redis.call('del', 's') or 5",
    "return not redis.call('exists', 's') == 1",
    "return not (redis.call('exists', 's') == 1)",
    "return (1 < 2) == true",
    "local a = 1 local a = 'two' return a",
    "local a = 1 if a == 1 then local a = 2 a = 3 end return a",
    "local a if not a then a = 'set' end return a",
    "local KEYS = 'mine' return KEYS",
    "local n = redis.call('incr', KEYS[2])\nif n == 1 then\n  redis.call('pexpire', KEYS[2], ARGV[2])\nend\n\
             if n > tonumber(ARGV[2]) then return 0 else return n end",
    "if redis.call('exists', 'none') == 1 then return 'a' elseif redis.call('exists', 's') == 1 then return 'b' \
             else return 'c' end",
    "-- comment\nlocal v = redis.call('get', KEYS[1]) -- more\n\nreturn redis.call('incr', KEYS[1])",
    "\n\nreturn nil < 1",
    "return redis.call('get',\n'l')",
    "return redis.call(\n'get','l')",
    "return redis.call('incr', 's') == 1 or\n1",
    "#!lua flags=no-writes\nreturn redis.call('set', 's', 'other')",
    "#!lua\nreturn redis.call('incr', 'l')",
];

#[test]
fn scripts_answer_as_they_do_in_the_interpreter() {
    let words: [&[u8]; 6] = [b"3", b"s", b"n", b"l", b"some", b"50"];
    for proto in [Proto::Resp2, Proto::Resp3] {
        let mut both = pair(proto);
        for script in SCRIPTS {
            agree(&mut both, b"EVAL", script, &words);
            agree(&mut both, b"EVAL_RO", script, &words);
            agree(&mut both, b"EVAL", script, &[b"0"]);
        }
        let [brief, interpreted] = &mut both;
        assert_eq!(brief.contents(), interpreted.contents());
    }
}

#[test]
fn functions_answer_as_they_do_in_the_interpreter() {
    let words: [&[u8]; 6] = [b"3", b"s", b"n", b"l", b"some", b"50"];
    for proto in [Proto::Resp2, Proto::Resp3] {
        let mut both = pair(proto);
        for script in SCRIPTS {
            let code = script.strip_prefix("#!lua\n").unwrap_or(script);
            if code.starts_with("#!") {
                continue;
            }
            for flags in ["", ", flags = {'no-writes'}"] {
                let [here, there] = both.each_mut().map(|server| {
                    let code = format!(
                        "#!lua name=lib\nredis.register_function{{function_name = 'Fun', callback = function(KEYS, ARGV) \
                         {}{code}\nend{flags}}}\nredis.register_function('other', function() {} return 'other' end)",
                        server.prefix, server.prefix
                    );
                    let loaded = server.call(&[b"FUNCTION", b"LOAD", b"REPLACE", code.as_bytes()]);
                    assert_eq!(loaded, "$3\r\nlib\r\n", "{code}");
                    let mut args: Vec<&[u8]> = vec![b"FCALL", b"fun"];
                    args.extend(words);
                    let all = [&args[..], &[b"FCALL", b"Fun", b"0"], &[b"FCALL_RO", b"fun", b"0"]];
                    all.map(|args| server.call(args)).concat() + &server.call(&[b"FCALL", b"other", b"0"])
                });
                assert_eq!(here, there, "{script}");
            }
        }
        let [brief, interpreted] = &mut both;
        assert_eq!(brief.contents(), interpreted.contents());
    }
}

#[test]
fn what_a_script_does_is_told_to_others_as_one() {
    let mut both = pair(Proto::Resp2);
    let logs = both.each_mut().map(|server| {
        server.engine.state().fx.set_wanted(true);
        for script in [
            "redis.call('set', 'a', '1') redis.call('incr', 'a') return redis.call('del', 'n')",
            "redis.call('set', 'a', '1') return redis.call('incr', 'l')",
            "return redis.call('get', 's')",
        ] {
            server.eval(b"EVAL", script, &[b"0"]);
        }
        let log = server.engine.state().fx.take();
        String::from_utf8_lossy(&log).into_owned()
    });
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0].matches("MULTI").count(), 1);
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len() as u64) as usize]
    }

    fn call(&mut self, depth: u64) -> String {
        let name = self.one_of(&[
            "get", "set", "incr", "del", "exists", "lrange", "hgetall", "rpush", "strlen", "type",
            "echo", "mget", "getset",
        ]);
        let mut args = vec![format!("'{name}'")];
        for _ in 0..self.roll(3) + u64::from(self.roll(5) > 0) {
            args.push(self.exp(depth + 1));
        }
        format!("redis.call({})", args.join(", "))
    }

    fn exp(&mut self, depth: u64) -> String {
        let simple = [
            "KEYS[1]", "KEYS[2]", "KEYS[3]", "ARGV[1]", "ARGV[2]", "ARGV[3]", "'s'", "'l'", "'n'",
            "1", "0", "-1", "2.5", "'7'", "nil", "true", "false", "a", "b", "#KEYS",
        ];
        match self.roll(if depth > 3 { 6 } else { 16 }) {
            0..=5 => self.one_of(&simple).to_owned(),
            6..=9 => self.call(depth + 1),
            10 => format!("tonumber({})", self.exp(depth + 1)),
            11 => format!("not {}", self.exp(depth + 4)),
            12 => format!("({})", self.exp(depth + 1)),
            _ => {
                let (left, right) = (self.exp(depth + 1), self.exp(depth + 1));
                let operator = self.one_of(&["==", "==", "~=", "<", "<=", ">", ">=", "and", "or"]);
                format!("{left} {operator} {right}")
            }
        }
    }

    fn block(&mut self, depth: u64) -> String {
        let mut lines = Vec::new();
        for _ in 0..=self.roll(4) {
            let exp = self.exp(1);
            lines.push(match self.roll(8) {
                0 => format!("local a = {exp}"),
                1 => format!("b = {exp}"),
                2..=4 => self.call(1),
                _ if depth > 2 => format!("a = {exp}"),
                5 => format!("if {exp} then {} end", self.block(depth + 1)),
                6 => {
                    let (first, second) = (self.block(depth + 1), self.block(depth + 1));
                    format!("if {exp} then {first} else {second} end")
                }
                _ => {
                    let (first, other) = (self.block(depth + 1), self.exp(2));
                    format!("if {exp} then {first}\nelseif {other} then a = nil end")
                }
            });
        }
        if self.roll(2) == 0 {
            lines.push(format!("return {}", self.exp(0)));
        }
        let between = self.one_of(&["\n", " ", "; "]);
        lines.join(between)
    }
}

#[test]
fn random_scripts_do_as_they_do_in_the_interpreter() {
    let words: [&[u8]; 6] = [b"3", b"s", b"n", b"h", b"some", b"42"];
    let rounds = std::env::var("REDKEEP_SCRIPTS").map_or(60, |n| n.parse().unwrap_or(60));
    let mut failures = 0;
    for seed in 1..=rounds {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let mut both = pair(Proto::Resp2);
        for _ in 0..40 {
            let script = format!("local a, b\n{}", dice.block(0));
            let script = script.replacen("local a, b", "local a local b = 1", 1);
            let reply = agree(&mut both, b"EVAL", &script, &words);
            failures += u32::from(reply.starts_with('-'));
        }
        let [brief, interpreted] = &mut both;
        assert_eq!(brief.contents(), interpreted.contents(), "seed {seed}");
    }
    assert!(failures > 0, "some are to fail");
}
