//! Several clients at once, some of them blocked: after each step the same clients must have been woken, with the same
//! replies, on both servers, and the same keyspace events must have been heard.
//!
//! Left out is what 7.2 does otherwise on purpose: a stream that goes away or is replaced under a reader, an entry that is
//! trimmed at once, a group that is set back, one reader of several streams that get entries in one step. So it is with
//! lists: who waits for two of them, waits for two that nothing moves an element between, and that hold nothing else.

use super::common::listener::{Listener, show};
use super::common::{Argv, Client, Reply, Server, argv, notation};
use super::{compare, compare::Verdict, line, setting};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

const CLIENTS: usize = 6;
const STEPS: usize = 120;
const SIDES: &[&str] = &["LEFT", "RIGHT"];

#[test]
fn blocked_readers_are_woken_as_in_redis() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let other = Server::redkeep(&[]);
    let seed = setting("REDKEEP_DIFF_SEED", 7);
    for round in 0..setting("REDKEEP_DIFF_BLOCKING", 20) {
        let rng = SmallRng::seed_from_u64(seed.wrapping_mul(31_337).wrapping_add(round));
        let mut stage = Stage::new(rng, &redis, &other);
        for step in 0..STEPS {
            if let Err(why) = stage.step() {
                let done: String = stage
                    .done
                    .iter()
                    .map(|(c, argv)| format!("c{c}> {}\n", line(argv)))
                    .collect();
                panic!("REDKEEP_DIFF_SEED={seed}, round {round}, step {step}\n{done}{why}");
            }
        }
    }
}

struct Stage {
    rng: SmallRng,
    /// Asked how many clients are blocked.
    observers: [Client; 2],
    listeners: [Listener; 2],
    /// The same clients at both servers.
    clients: Vec<[Client; 2]>,
    /// What a client that is blocked waits with.
    waiting: Vec<Option<Argv>>,
    next_id: u64,
    done: Vec<(usize, Argv)>,
}

impl Stage {
    fn new(rng: SmallRng, a: &Server, b: &Server) -> Stage {
        let clients: Vec<_> = (0..CLIENTS).map(|_| [a.client(), b.client()]).collect();
        let mut stage = Stage {
            rng,
            observers: [a.client(), b.client()],
            listeners: [a, b].map(Listener::new),
            clients,
            waiting: vec![None; CLIENTS],
            next_id: 1,
            done: Vec::new(),
        };
        let mut first = vec![argv("FLUSHALL"), argv("RPUSH source 1 2 3")];
        for k in ["s", "t"] {
            for g in ["g", "h"] {
                first.push(argv(&format!("XGROUP CREATE {k} {g} $ MKSTREAM")));
                // Since 7.2 a consumer is made also when it reads nothing.
                first.extend(
                    ["x", "y", "z"].map(|c| argv(&format!("XGROUP CREATECONSUMER {k} {g} {c}"))),
                );
            }
        }
        for c in first {
            for server in &mut stage.clients[0] {
                server.call(&c).unwrap();
            }
        }
        for listener in &mut stage.listeners {
            listener.heard().unwrap();
        }
        stage
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.random_range(0..from.len())]
    }

    /// A client that is free does something; everybody's replies are compared.
    fn step(&mut self) -> Result<(), String> {
        let free: Vec<_> = (0..CLIENTS)
            .filter(|i| self.waiting[*i].is_none())
            .collect();
        let who = free[self.rng.random_range(0..free.len())];
        let blocks = free.len() > 1 && self.rng.random_range(0..5) < 2;
        let command = if blocks {
            self.blocking()
        } else {
            self.action()
        };
        self.done.push((who, command.clone()));
        for server in &mut self.clients[who] {
            server.send(&command).map_err(|e| e.to_string())?;
        }
        self.waiting[who] = Some(command);
        self.settle(who, blocks)
    }

    fn blocking(&mut self) -> Argv {
        match self.rng.random_range(0..3) {
            0 => self.blocking_stream(),
            1 => self.blocking_list(),
            _ => self.blocking_zset(),
        }
    }

    fn action(&mut self) -> Argv {
        match self.rng.random_range(0..3) {
            0 => self.action_on_stream(),
            1 => self.action_on_list(),
            _ => self.action_on_zset(),
        }
    }

    fn blocking_stream(&mut self) -> Argv {
        let (k, l) = self.pick(&["s t", "t s"]).split_once(' ').unwrap();
        let two = self.rng.random_range(0..4) == 0;
        let count = self.pick(&["", "COUNT 1 ", "COUNT 2 "]);
        let keys = if two {
            format!("{k} {l}")
        } else {
            k.to_owned()
        };
        if self.rng.random_range(0..3) == 0 {
            let ids = if two { "$ $" } else { "$" };
            argv(&format!("XREAD {count}BLOCK 0 STREAMS {keys} {ids}"))
        } else {
            let (g, c) = (self.pick(&["g", "h"]), self.pick(&["x", "y", "z"]));
            let noack = self.pick(&["", "", "NOACK "]);
            let ids = if two { "> >" } else { ">" };
            argv(&format!(
                "XREADGROUP GROUP {g} {c} {count}BLOCK 0 {noack}STREAMS {keys} {ids}"
            ))
        }
    }

    fn action_on_stream(&mut self) -> Argv {
        let (k, g, c) = (
            self.pick(&["s", "t"]),
            self.pick(&["g", "h"]),
            self.pick(&["x", "y", "z"]),
        );
        let old = self.rng.random_range(1..=self.next_id);
        match self.rng.random_range(0..14) {
            0..7 => {
                self.next_id += 1;
                argv(&format!("XADD {k} {}-0 f v", self.next_id))
            }
            7 | 8 => {
                let (from, n) = (self.next_id + 1, self.rng.random_range(1..5));
                self.next_id += n;
                let mut command = argv("EVAL");
                let script = "for i = ARGV[1], ARGV[2] do redis.call('XADD', KEYS[1], i .. '-0', 'i', i) end return 1";
                command.push(script.into());
                command.extend(argv(&format!("1 {k} {from} {}", from + n - 1)));
                command
            }
            9 => argv(&format!("XACK {k} {g} {old}-0")),
            10 => argv(&format!("XDEL {k} {old}-0")),
            11 => argv(&format!("XGROUP SETID {k} {g} $")),
            12 => argv(&format!("XAUTOCLAIM {k} {g} {c} 0 0 COUNT 3 JUSTID")),
            _ => argv(&format!("XPENDING {k} {g}")),
        }
    }

    /// Elements go from `l` and `m` to `n`, and from there to `o` and around in it.
    fn blocking_list(&mut self) -> Argv {
        let keys = self.pick(&["l", "m", "l m", "m l", "l l", "n", "n", "o"]);
        let source = self.pick(&["l", "m", "n", "o"]);
        let target = if matches!(source, "l" | "m") {
            "n"
        } else {
            "o"
        };
        let (from, to) = (self.pick(SIDES), self.pick(SIDES));
        let count = self.pick(&["", "", " COUNT 1", " COUNT 3"]);
        let line = match self.rng.random_range(0..8) {
            0..2 => format!("BLPOP {keys} 0"),
            2 => format!("BRPOP {keys} 0"),
            3 => format!("BLMPOP 0 {} {keys} {from}{count}", keys.split(' ').count()),
            4..7 => format!("BLMOVE {source} {target} {from} {to} 0"),
            _ => format!("BRPOPLPUSH {source} {target} 0"),
        };
        argv(&line)
    }

    fn action_on_list(&mut self) -> Argv {
        let k = self.pick(&["l", "m", "n", "o"]);
        let (push, pop) = (self.pick(&["LPUSH", "RPUSH"]), self.pick(&["LPOP", "RPOP"]));
        self.next_id += 3;
        let (a, b, c) = (self.next_id, self.next_id + 1, self.next_id + 2);
        match self.rng.random_range(0..20) {
            0..6 => argv(&format!("{push} {k} {a}")),
            6 => argv(&format!("{push} {k} {a} {b} {c}")),
            7..9 => {
                let mut command = argv("EVAL");
                let script = "redis.call(ARGV[1], KEYS[1], ARGV[3]) redis.call(ARGV[1], KEYS[1], ARGV[4], ARGV[5]) \
                              return redis.call(ARGV[2], KEYS[1])";
                command.push(script.into());
                command.extend(argv(&format!("1 {k} {push} {pop} {a} {b} {c}")));
                command
            }
            9 => argv(&format!("{pop} {k} 2")),
            10 => argv(&format!("DEL {k}")),
            11 => argv(&format!("COPY source {k} REPLACE")),
            // Over a string it would wake nobody in Redis.
            12 if k != "o" => argv(&format!("SORT source BY nosort STORE {k}")),
            13 => argv(&format!("{push} other {a}")),
            14 => argv(&format!("RENAME other {k}")),
            15 => argv(&format!("LMOVE other {k} LEFT RIGHT")),
            16 => argv("SET o string"),
            17 => argv(&format!("LTRIM {k} 1 -1")),
            18 => argv(&format!("LINSERT {k} BEFORE {a} {b}")),
            _ => argv(&format!("LRANGE {k} 0 -1")),
        }
    }

    fn blocking_zset(&mut self) -> Argv {
        let keys = self.pick(&["z", "y", "z y", "y z", "z z", "x"]);
        let end = self.pick(&["MIN", "MAX"]);
        let count = self.pick(&["", "", " COUNT 1", " COUNT 3"]);
        let line = match self.rng.random_range(0..3) {
            0 => format!("BZMPOP 0 {} {keys} {end}{count}", keys.split(' ').count()),
            _ => format!("BZPOP{end} {keys} 0"),
        };
        argv(&line)
    }

    fn action_on_zset(&mut self) -> Argv {
        let k = self.pick(&["z", "y", "x"]);
        let pop = self.pick(&["ZPOPMIN", "ZPOPMAX"]);
        self.next_id += 3;
        let (a, b, c) = (self.next_id, self.next_id + 1, self.next_id + 2);
        match self.rng.random_range(0..20) {
            0..5 => argv(&format!("ZADD {k} {} {a}", self.rng.random_range(0..5))),
            5 | 6 => argv(&format!("ZADD {k} 3 {a} 1 {b} 2 {c}")),
            7 => argv(&format!("ZINCRBY {k} 1 {a}")),
            8 | 9 => {
                let mut command = argv("EVAL");
                let script = "redis.call('ZADD', KEYS[1], 2, ARGV[2]) redis.call('ZADD', KEYS[1], 1, ARGV[3], 3, ARGV[4]) \
                              return redis.call(ARGV[1], KEYS[1])";
                command.push(script.into());
                command.extend(argv(&format!("1 {k} {pop} {a} {b} {c}")));
                command
            }
            10 => argv(&format!("{pop} {k} 2")),
            11 => argv(&format!("DEL {k}")),
            12 => argv(&format!("ZADD spare 1 {a} 2 {b}")),
            13 => argv(&format!("RENAME spare {k}")),
            // Over a string they would wake nobody in Redis.
            14 if k != "x" => argv(&format!("ZUNIONSTORE {k} 1 spare")),
            15 if k != "x" => argv(&format!("ZRANGESTORE {k} spare 0 1")),
            16 => argv(&format!("COPY spare {k} REPLACE")),
            17 => argv("SET x string"),
            18 => argv(&format!("ZREMRANGEBYRANK {k} 0 0")),
            _ => argv(&format!("ZRANGE {k} 0 -1 WITHSCORES")),
        }
    }

    /// Takes replies until both servers have answered the same clients.
    fn settle(&mut self, who: usize, blocks: bool) -> Result<(), String> {
        let mut got: Vec<[Option<Reply>; 2]> = vec![[None, None]; CLIENTS];
        let start = Instant::now();
        loop {
            for (i, pair) in self.clients.iter_mut().enumerate() {
                for (server, slot) in pair.iter_mut().zip(&mut got[i]) {
                    if self.waiting[i].is_some() && slot.is_none() {
                        *slot = server.poll().map_err(|e| format!("c{i}: {e}"))?;
                    }
                }
            }
            let same = got.iter().all(|[a, b]| a.is_some() == b.is_some());
            // Whoever has no reply must be blocked by now, not still on its way.
            if same && self.all_blocked(&got) && (blocks || got[who].iter().all(Option::is_some)) {
                break;
            }
            if start.elapsed() > Duration::from_secs(2) {
                return Err(self.difference(&got));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        for (i, replies) in got.iter().enumerate() {
            if let ([Some(a), Some(b)], Some(command)) = (replies, &self.waiting[i]) {
                if compare::verdict(command, a, b) != Verdict::Same {
                    return Err(self.difference(&got));
                }
                self.waiting[i] = None;
            }
        }
        self.compare_events()
    }

    fn compare_events(&mut self) -> Result<(), String> {
        let heard = self.listeners.each_mut().map(|listener| {
            let mut events = listener.heard().unwrap();
            // Since 7.2 who is woken runs its call again, and misses once more what is missing.
            events.retain(|e| e.name != "keymiss");
            events
        });
        if heard[0] == heard[1] {
            return Ok(());
        }
        let [redis, redkeep] = heard.map(|events| show(&events));
        Err(format!(
            "  events of redis   {redis}\n            redkeep {redkeep}\n"
        ))
    }

    fn all_blocked(&mut self, got: &[[Option<Reply>; 2]]) -> bool {
        (0..2).all(|server| {
            let left =
                (0..CLIENTS).filter(|i| self.waiting[*i].is_some() && got[*i][server].is_none());
            let info = self.observers[server].run("INFO clients").text();
            info.contains(&format!("blocked_clients:{}\r\n", left.count()))
        })
    }

    fn difference(&self, got: &[[Option<Reply>; 2]]) -> String {
        let show = |r: &Option<Reply>| {
            r.as_ref()
                .map_or_else(|| "(waiting)".to_owned(), notation::render)
        };
        let lines = got
            .iter()
            .enumerate()
            .filter(|(i, [a, b])| self.waiting[*i].is_some() && a != b);
        lines
            .map(|(i, [a, b])| format!("  c{i} redis   {}\n     redkeep {}\n", show(a), show(b)))
            .collect()
    }
}
