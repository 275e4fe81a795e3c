//! The same random commands go to a real redis-server 7.0.15 and to Redkeep; replies and contents must be the same.
//!
//! `REDKEEP_DIFF=N` sets the number of commands (20,000 by default), `REDKEEP_DIFF_SEED=S` the seed. A difference is
//! shrunk to the few commands that show it.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

/// Builds a command from words.
macro_rules! cmd {
    ($($w:expr),* $(,)?) => { vec![$(Vec::<u8>::from($w.as_bytes())),*] };
}

mod blocking;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod events;
mod families;
mod generate;
mod replica;
mod syntax;

use common::{Argv, Client, Reply, Server, argv, notation};
use compare::Verdict;
use generate::Generator;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use syntax::Table;

/// Commands between two comparisons of everything that is stored.
const ROUND: usize = 500;
/// What each play begins with.
const PREAMBLE: [&str; 3] = ["FLUSHALL", "SCRIPT FLUSH", "SELECT 0"];
/// Limits of encodings, which each round sets. They do not change while there are values, since 7.0 remembers some of
/// them with the value; and they are nothing or much, since 7.2 counts what a command brings before it counts what is
/// new of it.
const LIMITS: [(&str, &[&str]); 9] = [
    ("stream-node-max-entries", &["100", "3", "5"]),
    (
        "list-max-listpack-size",
        &["-2", "-2", "-1", "1", "2", "4", "9", "0", "100"],
    ),
    ("list-compress-depth", &["0", "0", "1", "2"]),
    ("hash-max-listpack-entries", &["512", "0"]),
    ("hash-max-listpack-value", &["64", "3"]),
    ("set-max-intset-entries", &["512", "0"]),
    ("zset-max-listpack-entries", &["128", "0"]),
    ("zset-max-listpack-value", &["64", "3"]),
    ("hll-sparse-max-bytes", &["3000", "3000", "40"]),
];
/// So many different kinds of differences are collected before the test gives up.
const ENOUGH: usize = 20;

#[test]
fn redkeep_answers_as_redis_does() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    run(
        redis,
        Server::redkeep(&[]),
        || Server::redkeep(&[]),
        setting("REDKEEP_DIFF", 20_000),
    );
}

/// What two servers of the same kind never say alike must not count as a difference.
#[test]
fn redis_answers_as_redis_does() {
    let (Some(one), Some(two)) = (Server::redis(&[]), Server::redis(&[])) else {
        return;
    };
    run(
        one,
        two,
        || Server::redis(&[]).unwrap(),
        setting("REDKEEP_DIFF_SELF", 10_000),
    );
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

fn run(redis: Server, other: Server, restart: impl Fn() -> Server, count: u64) {
    let listens = false;
    let pair = Pair {
        redis,
        other,
        listens,
    };
    run_with(pair, restart, count);
}

fn run_with(mut pair: Pair, restart: impl Fn() -> Server, count: u64) {
    let seed = setting("REDKEEP_DIFF_SEED", 7);
    let table = Rc::new(Table::new());
    let mut found = BTreeMap::new();
    let rounds = count.div_ceil(ROUND as u64);
    for round in 0..rounds {
        let commands = round_of(seed, round, &table);
        let Some(first) = pair.play(&commands).difference else {
            continue;
        };
        let commands = pair.shrink(&commands[..(first.at + 1).min(commands.len())], &restart);
        // What does not show again is reported with the command alone.
        let again = pair.play(&commands).difference;
        let (commands, difference) = match again {
            Some(d) => (commands, d),
            None => (Vec::new(), first),
        };
        found
            .entry(difference.kind())
            .or_insert_with(|| report(seed, round, &commands, &difference));
        pair.revive(&restart);
        if found.len() >= ENOUGH {
            break;
        }
    }
    let reports: String = found.into_values().collect();
    assert!(reports.is_empty(), "replies differ\n{reports}");
    println!("{} commands, no difference", rounds * ROUND as u64);
}

fn round_of(seed: u64, round: u64, table: &Rc<Table>) -> Vec<Argv> {
    let rng = SmallRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(round));
    let mut g = Generator::new(rng, Rc::clone(table));
    let mut commands: Vec<Argv> = LIMITS
        .iter()
        .map(|(name, values)| argv(&format!("CONFIG SET {name} {}", g.pick(values))))
        .collect();
    while commands.len() <= ROUND {
        g.add_command(&mut commands);
    }
    commands
}

struct Difference {
    at: usize,
    command: Argv,
    theirs: String,
    ours: String,
}

impl Difference {
    /// Differences of one kind are reported once.
    fn kind(&self) -> String {
        let name = |i: usize| {
            self.command
                .get(i)
                .map(|w| String::from_utf8_lossy(w).to_uppercase())
                .unwrap_or_default()
        };
        let words = |s: &str| {
            s.split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" ")
                .chars()
                .take(30)
                .collect::<String>()
        };
        format!(
            "{} {} / {}",
            name(0),
            words(&self.theirs),
            words(&self.ours)
        )
    }
}

struct Played {
    difference: Option<Difference>,
}

struct Pair {
    redis: Server,
    other: Server,
    /// Whether keyspace notifications are compared, not replies and contents.
    listens: bool,
}

impl Pair {
    /// Plays commands on two empty servers and compares replies, then contents.
    fn play(&mut self, commands: &[Argv]) -> Played {
        let mut all: Vec<Argv> = PREAMBLE.iter().map(|l| argv(l)).collect();
        if self.listens {
            return Played {
                difference: events::play(self, &all, commands),
            };
        }
        let skip = all.len();
        all.extend_from_slice(commands);
        let (mut a, mut b) = (self.redis.client(), self.other.client());
        let (theirs, _) = a.pipeline(&all);
        let (ours, end) = b.pipeline(&all);
        let mut transaction = Transaction::default();
        for (i, command) in all.iter().enumerate() {
            let (t, o) = (theirs.get(i), ours.get(i));
            let verdict = match (t, o) {
                (Some(t), Some(o)) => transaction.verdict(command, t, o),
                _ => Verdict::Different,
            };
            match verdict {
                Verdict::Same => {}
                Verdict::Apart => return Played { difference: None },
                Verdict::Different => {
                    let show = |r: Option<&Reply>, why: &str| {
                        r.map_or_else(|| why.to_owned(), notation::render)
                    };
                    let why = end
                        .as_ref()
                        .map_or_else(ToString::to_string, |()| "no reply".to_owned());
                    let difference = Difference {
                        at: i.saturating_sub(skip),
                        command: command.clone(),
                        theirs: show(t, "no reply"),
                        ours: show(o, &format!("{why}\n{}", self.other.log())),
                    };
                    return Played {
                        difference: Some(difference),
                    };
                }
            }
        }
        Played {
            difference: contents(&mut a, &mut b, commands.len()),
        }
    }

    /// Drops commands as long as a difference remains.
    fn shrink(&mut self, commands: &[Argv], restart: &impl Fn() -> Server) -> Vec<Argv> {
        let mut kept = commands.to_vec();
        let mut size = kept.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < kept.len() {
                let mut fewer = kept.clone();
                fewer.drain(at..(at + size).min(kept.len()));
                self.revive(restart);
                match self.play(&fewer).difference {
                    Some(d) => {
                        fewer.truncate(d.at + 1);
                        kept = fewer;
                    }
                    None => at += size,
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        self.revive(restart);
        kept
    }

    /// Starts the server anew when it has died of a command.
    fn revive(&mut self, restart: &impl Fn() -> Server) {
        if !self.other.alive() {
            self.other = restart();
        }
    }
}

/// The commands that wait for EXEC, whose reply is compared one by one.
#[derive(Default)]
struct Transaction<'a> {
    queued: Vec<&'a Argv>,
}

impl<'a> Transaction<'a> {
    fn verdict(&mut self, command: &'a Argv, theirs: &Reply, ours: &Reply) -> Verdict {
        let is = |name: &[u8]| {
            command
                .first()
                .is_some_and(|w| w.eq_ignore_ascii_case(name))
        };
        if *theirs == Reply::ok() && (is(b"MULTI") || is(b"DISCARD")) {
            self.queued.clear();
        } else if theirs.bytes() == b"QUEUED" {
            self.queued.push(command);
        } else if is(b"EXEC") {
            let queued = std::mem::take(&mut self.queued);
            let (t, o) = (theirs.items(), ours.items());
            if t.len() == o.len() && t.len() == queued.len() && !t.is_empty() {
                let each = queued.iter().zip(t.iter().zip(o));
                let each: Vec<_> = each.map(|(c, (t, o))| compare::verdict(c, t, o)).collect();
                let worst = |v: Verdict| each.contains(&v).then_some(v);
                return worst(Verdict::Different)
                    .or(worst(Verdict::Apart))
                    .unwrap_or(Verdict::Same);
            }
        }
        compare::verdict(command, theirs, ours)
    }
}

/// Compares all keys: names, types, encodings, times to live and values.
fn contents(a: &mut Client, b: &mut Client, at: usize) -> Option<Difference> {
    for db in 0..3 {
        let mut ask: Vec<Argv> = vec![argv(&format!("SELECT {db}")), argv("KEYS *")];
        let keys = a
            .pipeline(&ask)
            .0
            .get(1)
            .map(|r| r.items().to_vec())
            .unwrap_or_default();
        for k in keys {
            let of = |words: &[&str]| -> Argv {
                words
                    .iter()
                    .map(|w| {
                        if *w == "KEY" {
                            k.bytes().to_vec()
                        } else {
                            w.as_bytes().to_vec()
                        }
                    })
                    .collect()
            };
            ask.extend([
                of(&["TYPE", "KEY"]),
                of(&["PTTL", "KEY"]),
                of(&["OBJECT", "ENCODING", "KEY"]),
            ]);
            ask.extend([
                of(&["GET", "KEY"]),
                of(&["XINFO", "STREAM", "KEY", "FULL", "COUNT", "0"]),
                of(&["LRANGE", "KEY", "0", "-1"]),
                of(&["HGETALL", "KEY"]),
                of(&["SMEMBERS", "KEY"]),
                of(&["ZRANGE", "KEY", "0", "-1", "WITHSCORES"]),
            ]);
        }
        let (theirs, _) = a.pipeline(&ask);
        let (ours, _) = b.pipeline(&ask);
        for (i, command) in ask.iter().enumerate() {
            let same = matches!((theirs.get(i), ours.get(i)), (Some(t), Some(o)) if compare::verdict(command, t, o) == Verdict::Same);
            if !same {
                let show =
                    |r: Option<&Reply>| r.map_or_else(|| "no reply".to_owned(), notation::render);
                return Some(Difference {
                    at,
                    command: command.clone(),
                    theirs: show(theirs.get(i)),
                    ours: show(ours.get(i)),
                });
            }
        }
    }
    None
}

fn line(command: &Argv) -> String {
    let word = |w: &Vec<u8>| {
        let plain = !w.is_empty()
            && w.iter()
                .all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b));
        if plain {
            String::from_utf8_lossy(w).into_owned()
        } else {
            notation::quote(w)
        }
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn report(seed: u64, round: u64, commands: &[Argv], d: &Difference) -> String {
    let mut out = format!("\n---- REDKEEP_DIFF_SEED={seed}, round {round}\n");
    for c in commands {
        _ = writeln!(out, "{}", line(c));
    }
    _ = writeln!(
        out,
        "  in answer to {}\n  redis  {}\n  other  {}",
        line(&d.command),
        d.theirs,
        d.ours
    );
    out
}
