//! Commands of all types, and the history that comes of them.

use super::common::sim_disk::SimDisk;
use super::history::{History, Point};
use super::instance::{Instance, text};
use redkeep::embed::Client;
use redkeep::resp::Value;
use redkeep::util::clock::Clock;
use redkeep::util::rng::Rng;
use std::time::{Duration, Instant};

/// Each succeeds behind those before it. `\` stands for a space within a word, `#` for many bytes.
pub const COMMANDS: &[&str] = &[
    "SET s one",
    "SET s two EX 1000000",
    "APPEND s more",
    "INCRBYFLOAT f 1.5",
    "INCR n",
    "SETRANGE s 10 hole",
    "SET big #",
    "GETEX s PXAT 99999999999999",
    "GETDEL f",
    "MSET a 1 b 2 c 3",
    "SETBIT bits 100 1",
    "BITFIELD bits SET u8 0 200 INCRBY i5 3 7",
    "PFADD hll a b c d",
    "COPY s s2",
    "RENAME s2 s3",
    "EXPIRE a 1000000",
    "PERSIST s3",
    "HSET h f 1 g 2 i 3",
    "HPEXPIREAT h 9999999999999 FIELDS 2 f g",
    "HSETEX h EX 1000000 FIELDS 1 j 4",
    "HINCRBY h i 5",
    "HDEL h g",
    "HPERSIST h FIELDS 1 f",
    "RPUSH l a b c d",
    "LPUSH l # x",
    "LMOVE l l LEFT RIGHT",
    "LPOP l",
    "LINSERT l BEFORE b z",
    "LREM l 1 c",
    "SADD e 1 2 3 4 5 6 7 8",
    "SADD e2 a b # c d e",
    "SPOP e 2",
    "SPOP e",
    "SPOP e2",
    "SMOVE e2 e3 a",
    "SDIFFSTORE e4 e2 e",
    "ZADD z 1 a 2 b 3.5 c",
    "ZINCRBY z 0.1 a",
    "ZPOPMIN z",
    "ZRANGESTORE z2 z 0 -1",
    "GEOADD geo 13.4 38.1 palermo 15 37.5 catania",
    "XADD x 1-1 f v",
    "XADD x 1-2 f # g w",
    "XADD x MAXLEN ~ 100 * f v",
    "XGROUP CREATE x grp 0",
    "XGROUP CREATECONSUMER x grp idle",
    "XREADGROUP GROUP grp c1 COUNT 2 STREAMS x >",
    "XACK x grp 1-1",
    "XCLAIM x grp c2 0 1-2",
    "XADD x 99999999999999-1 f v",
    "XREADGROUP GROUP grp c2 NOACK COUNT 1 STREAMS x >",
    "XDEL x 1-1",
    "XTRIM x MAXLEN 2",
    "SELECT 1",
    "SET other db",
    "RPUSH there a b",
    "SELECT 0",
    "MOVE s3 1",
    "MULTI",
    "SET t1 1",
    "INCR t1",
    "RPUSH tl # b",
    "HSET th f v",
    "EXEC",
    "EVAL redis.call('set',KEYS[1],ARGV[1],'px',99999999)\\redis.call('rpush',KEYS[2],ARGV[1],'#')\\return\\redis.call('spop','e2') 2 k1 k2 v",
    "FUNCTION LOAD #!lua\\name=lib\nredis.register_function('put',function(keys,args)\\redis.call('incr',keys[1])\\redis.call('xadd',keys[2],'*','f',args[1])\\return\\1\\end)",
    "FCALL put 2 n x v",
    "SORT l ALPHA STORE sorted",
    "SUNIONSTORE e5 e e2",
    "BITOP OR bits2 bits s",
    "PFMERGE hll2 hll",
    "UNLINK e5 nothing",
    "DEL a",
    "SWAPDB 0 1",
    "SWAPDB 0 1",
    "SELECT 1",
    "FLUSHDB",
    "SELECT 0",
];

/// Drawn by chance for longer runs; `@` is one of a few names.
const TEMPLATES: &[&str] = &[
    "SET @s #",
    "SET @s v EX 1000000",
    "INCR n@",
    "APPEND @s tail",
    "DEL @s @h @l",
    "HSET @h f # g 1",
    "HPEXPIRE @h 99999999 FIELDS 1 g",
    "HDEL @h f",
    "RPUSH @l a # b",
    "LPOP @l 2",
    "LMOVE @l other@l LEFT RIGHT",
    "SADD @e 1 2 3 a b c",
    "SPOP @e",
    "SPOP @e 2",
    "ZADD @z 1 a 2 b 3 c",
    "ZPOPMAX @z",
    "XADD @x * f #",
    "XADD @x MAXLEN 3 * f v",
    "XGROUP CREATE @x g 0 MKSTREAM",
    "XREADGROUP GROUP g c COUNT 2 STREAMS @x >",
    "XAUTOCLAIM @x g d 0 0 COUNT 1",
    "PEXPIRE @s 99999999",
    "RENAME @s @s",
    "COPY @l @l REPLACE",
    "EVAL redis.call('incr',KEYS[1])\\redis.call('append',KEYS[2],ARGV[1])\\return\\redis.call('spop',KEYS[3]) 3 n@ @s @e #",
];

/// Runs commands on a server and keeps the history.
pub struct Recorder {
    pub instance: Instance,
    pub disk: SimDisk,
    pub client: Client,
    pub history: History,
    in_multi: bool,
}

/// The words of a command.
pub fn words(line: &str, rng: &mut Rng) -> Vec<String> {
    let word = |word: &str| {
        let mut word = word.replace('\\', " ");
        // Not where it begins the code of a library.
        if !word.starts_with("#!") {
            let many = "x".repeat(200 + rng.index(6000));
            word = word.replace('#', &many);
        }
        word
    };
    line.split(' ').map(word).collect()
}

/// A command by chance.
pub fn by_chance(rng: &mut Rng) -> Vec<String> {
    let line = TEMPLATES[rng.index(TEMPLATES.len())];
    let parts = line.split('@').map(str::to_owned);
    let line = parts.reduce(|line, part| format!("{line}k{}{part}", rng.index(3)));
    words(&line.unwrap(), rng)
}

impl Recorder {
    pub fn new(mut instance: Instance, disk: &SimDisk) -> Recorder {
        let client = instance.client();
        let history = History::new(instance.contents());
        Recorder {
            instance,
            disk: disk.clone(),
            client,
            history,
            in_multi: false,
        }
    }

    /// Runs a command; what it did is history from now on. An error did nothing.
    pub fn run(&mut self, words: &[String]) -> Value {
        let begun = self.disk.ops();
        let reply = self.client.call(words).unwrap();
        match &*words[0] {
            "MULTI" => self.in_multi = true,
            "EXEC" => self.in_multi = false,
            _ => {}
        }
        if !self.in_multi {
            self.note(begun, &words.join(" "));
        }
        reply
    }

    /// What is there now was acknowledged; it began behind so many operations.
    pub fn note(&mut self, begun: usize, what: &str) {
        let done = self.disk.ops();
        self.history.add(Point {
            begun,
            done,
            at: self.instance.clock.now_ms(),
            what: what.chars().take(80).collect(),
            contents: self.instance.contents(),
        });
    }

    /// Runs a line of [`COMMANDS`], which must succeed.
    pub fn line(&mut self, line: &str, rng: &mut Rng) {
        let reply = self.run(&words(line, rng));
        assert!(!matches!(reply, Value::Error(_)), "{line}: {reply}");
    }

    /// Waits until INFO has this line.
    pub fn wait_for(&mut self, section: &str, line: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.instance.tells(section, line) {
            assert!(Instant::now() < until, "{line} does not come");
            std::thread::yield_now();
        }
    }

    /// A command that must succeed and changes nothing.
    pub fn ask(&mut self, words: &[&str]) -> String {
        let reply = self.client.call(words).unwrap();
        assert!(!matches!(reply, Value::Error(_)), "{words:?}: {reply}");
        text(&reply)
    }
}
