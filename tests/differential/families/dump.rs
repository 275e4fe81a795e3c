//! DUMP and RESTORE.

use super::super::common::Argv;
use super::super::generate::{Generator, KEYS};
use rand::Rng;
use redkeep::rdb::payload;
use std::sync::OnceLock;

/// What a real server dumped, see tests/dump.rs.
const RECORDED: &str = include_str!("../../data/payloads.txt");
/// Larger ones would only make reports unreadable.
const MOST: usize = 1000;
/// Moves a value to another key, unless it is in the order of a hash table here or there.
const MOVE: &str = "local d = redis.call('DUMP', KEYS[1]) if not d then return 'nothing' end \
     local t, e = redis.call('TYPE', KEYS[1]).ok, redis.call('OBJECT', 'ENCODING', KEYS[1]) \
     if t == 'set' and e ~= 'intset' or t == 'hash' and e == 'hashtable' then return 'unordered' end \
     return redis.call('RESTORE', KEYS[2], ARGV[1], d, 'REPLACE')";
/// What is damaged in a way that any server sees, whether it looks deeply or not.
const BROKEN: &[&[u8]] = &[
    b"",
    // Redis would read on in the footer of most that end too soon.
    b"\x00\xc4\x01",
    b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x01\x00",
    b"\x02\x00",
    b"\x02\x02\x01a\x01a",
    b"\x02\x02\xc0\x07\x017",
    b"\x03\x01\x01a\xfd",
    b"\x04\x00",
    b"\x05\x00",
    b"\x05\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\0",
    b"\x06\x01",
    b"\x08\x01a",
    b"\x0b\x00",
    b"\x0b\x0a\x03\0\0\0\x01\0\0\0\x01\0",
    b"\x0d\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff",
    b"\x10\x07\x07\0\0\0\0\0\xff",
    b"\x11\x07\x08\0\0\0\0\0\xff",
    b"\x12\x01\x03\x01a",
    b"\x63\x01a",
];

fn recorded() -> &'static [Vec<u8>] {
    static PAYLOADS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    PAYLOADS.get_or_init(|| {
        let sections = RECORDED.split("\n== ").skip(1);
        // Of the one Redis 7.0 prints other digits, the other makes commands slow.
        let left_out =
            |section: &&str| section.contains("digits") || section.contains("long matches");
        let sections = sections.filter(|section| !left_out(section));
        let payload = |section: &str| {
            let hex = section.lines().filter_map(|line| line.strip_prefix("> "));
            let hex: String = hex.collect();
            (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[i * 2..i * 2 + 2], 16).unwrap())
                .collect::<Vec<u8>>()
        };
        let payloads = sections.map(payload);
        payloads.filter(|payload| payload.len() < MOST).collect()
    })
}

impl Generator {
    pub fn dump(&mut self) -> Argv {
        let key = self.pick(KEYS);
        match self.rng.random_range(0..8) {
            0..3 => cmd!["DUMP", key],
            3 => {
                let ttl = self.ttl();
                cmd!["EVAL", MOVE, "2", key, self.pick(KEYS), ttl]
            }
            _ => {
                let mut argv = cmd![
                    self.pick(&["RESTORE", "RESTORE", "RESTORE-ASKING"]),
                    key,
                    self.ttl()
                ];
                argv.push(self.payload());
                let all = vec![
                    cmd!["REPLACE"],
                    cmd!["REPLACE"],
                    cmd!["IDLETIME", self.number()],
                    cmd!["FREQ", self.pick(&["0", "5", "255", "256", "-1", "x"])],
                ];
                self.options(&mut argv, all, 3);
                argv
            }
        }
    }

    fn ttl(&mut self) -> String {
        match self.chance(3) {
            true => self.milliseconds(),
            false => "0".to_owned(),
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let all = recorded();
        let mut payload = all[self.rng.random_range(0..all.len())].clone();
        let at = self.rng.random_range(0..payload.len());
        match self.rng.random_range(0..30) {
            0 => payload[at] ^= 1 << self.rng.random_range(0..8),
            1 => payload.truncate(at),
            2 | 3 => {
                payload = BROKEN[self.rng.random_range(0..BROKEN.len())].to_vec();
                payload::seal(&mut payload, self.rng.random_range(1..11));
            }
            4 => {
                payload.truncate(payload.len() - 10);
                payload::seal(
                    &mut payload,
                    [1, 6, 9, 15, 80, 9999][self.rng.random_range(0..6)],
                );
            }
            _ => {}
        }
        payload
    }
}
