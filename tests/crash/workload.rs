//! Commands of all types, and the history that comes of them.

use super::common::history;
use super::common::instance::{Instance, text};
use super::common::sim_disk::{Kind, Op, SimDisk};
use super::history::{History, Point};
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

/// Runs commands on a server and keeps the history.
pub struct Recorder {
    pub instance: Instance,
    pub disk: SimDisk,
    pub client: Client,
    pub history: History,
    /// What is acknowledged must not be lost.
    pub safe: bool,
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

/// Whether a command makes something that is over soon, or may.
fn ends_soon(words: &[String]) -> bool {
    let name = &words[0];
    let option = |word: &String| ["EX", "PX"].contains(&&**word);
    name.contains("EXPIRE") || name.ends_with("SETEX") || name == "EVAL" || words.iter().any(option)
}

/// A command by chance, of those that do not wait. What it makes may be over soon or not.
pub fn by_chance(rng: &mut Rng, soon: bool) -> Vec<String> {
    loop {
        let words = history::command(rng);
        let waits = words[0].starts_with('B') && !words[0].starts_with("BIT");
        if !waits && (soon || !ends_soon(&words)) {
            return words;
        }
    }
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
            safe: true,
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
        let done = if self.safe {
            self.disk.ops()
        } else {
            usize::MAX
        };
        let contents = self.instance.contents();
        self.point(begun, done, what, contents);
    }

    /// So it may be behind a cut from now on, but nobody was told.
    pub fn may_be(&mut self, begun: usize, what: &str, contents: String) {
        self.point(begun, usize::MAX, what, contents);
    }

    fn point(&mut self, begun: usize, done: usize, what: &str, contents: String) {
        self.history.add(Point {
            begun,
            done,
            at: self.instance.clock.now_ms(),
            what: what.chars().take(80).collect(),
            contents,
        });
    }

    /// The contents after some commands, had each been run alone.
    pub fn each_alone(&mut self, commands: &[Vec<String>]) -> Vec<String> {
        let log = self.instance.log();
        let until = Instant::now() + Duration::from_secs(20);
        while log.unwritten() > 0 {
            assert!(Instant::now() < until, "the log is not written");
            std::thread::yield_now();
        }
        let disk = SimDisk::from_image(&self.disk.image());
        let options = [("appendonly", "yes"), ("appendfsync", "no")];
        let mut twin = Instance::start(&disk, &options, &self.instance.clock).unwrap();
        let mut client = twin.client();
        let run = |words: &Vec<String>| {
            let reply = client.call(words).unwrap();
            assert!(!matches!(reply, Value::Error(_)), "{words:?}: {reply}");
            twin.contents()
        };
        commands.iter().map(run).collect()
    }

    /// A client that waits is served by another one.
    pub fn serve(&mut self, waits: &str, gives: &str, rng: &mut Rng) {
        let (waits, gives) = (words(waits, rng), words(gives, rng));
        let begun = self.disk.ops();
        let between = self.each_alone(std::slice::from_ref(&gives));
        self.may_be(begun, "what was given", between[0].clone());
        let mut waiter = self.instance.client();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| waiter.call(&waits).unwrap());
            let until = Instant::now() + Duration::from_secs(20);
            while !self.instance.tells("clients", "blocked_clients:1") {
                assert!(Instant::now() < until, "nobody waits");
                std::thread::yield_now();
            }
            let reply = self.client.call(&gives).unwrap();
            assert!(!matches!(reply, Value::Error(_)), "{gives:?}: {reply}");
            let got = waiting.join().unwrap();
            assert!(matches!(got, Value::Array(_) | Value::Bulk(_)), "{got}");
        });
        self.note(begun, &waits.join(" "));
    }

    /// Several clients write while the disk is busy: one sync is for all of them.
    pub fn write_together(&mut self) {
        let commands: Vec<Vec<String>> = (0..4)
            .map(|n| vec!["RPUSH".into(), "together".into(), n.to_string()])
            .collect();
        let begun = self.disk.ops();
        for (command, contents) in commands.iter().zip(self.each_alone(&commands)) {
            self.may_be(begun, &command.join(" "), contents);
        }
        let log = self.instance.log();
        let gate = self.disk.hold(Kind::Sync, "incr");
        std::thread::scope(|scope| {
            for command in &commands {
                let before = log.appended();
                let mut client = self.instance.client();
                scope.spawn(move || client.call(command).unwrap());
                let until = Instant::now() + Duration::from_secs(20);
                while log.appended() == before {
                    assert!(Instant::now() < until, "nothing is added");
                    std::thread::yield_now();
                }
            }
            gate.open();
        });
        self.note(begun, "all together");
        let syncs = self.disk.tape().ops[begun..]
            .iter()
            .filter(|op| matches!(op, Op::Sync { .. }))
            .count();
        assert_eq!(syncs, 2, "of the first, and of the others");
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
