//! A real process is killed under load, again and again on the same directory: what it acknowledged is there, and
//! nothing is torn.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::{Client, Reply, Server};
use redkeep::util::rng::Rng;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

const WORKERS: usize = 4;

/// Commands of a step, which each worker takes in this order, on keys of its own.
const COMMANDS: u64 = 6;

/// How often a process is killed: `REDKEEP_KILL_ROUNDS`, or so often.
fn rounds(or: u64) -> u64 {
    let rounds = std::env::var("REDKEEP_KILL_ROUNDS").ok();
    rounds.map_or(or, |n| n.parse().expect("REDKEEP_KILL_ROUNDS is a number"))
}

/// Does the `p`-th command of a worker; whether it was answered.
fn act(client: &mut Client, worker: usize, p: u64) -> bool {
    let n = p / COMMANDS;
    let id = format!("{}-0", n + 1);
    let call = |client: &mut Client, line: String| {
        let reply = client.call(&common::argv(&line)).ok()?;
        assert!(!reply.is_error(), "{line}: {reply:?}");
        Some(reply)
    };
    let answer = match p % COMMANDS {
        0 => call(client, format!("INCR c{worker}")),
        1 => call(client, format!("RPUSH l{worker} {n}")),
        2 => call(client, format!("XADD s{worker} {id} n {n}")),
        3 => {
            let line = format!("XREADGROUP GROUP g me COUNT 1 STREAMS s{worker} >");
            let got = call(client, line);
            if let Some(reply) = &got {
                let entry = &reply.items()[0].items()[1].items()[0].items()[0];
                assert_eq!(entry.text(), id);
            }
            got
        }
        4 => call(client, format!("XACK s{worker} g {id}")),
        _ => {
            let (a, b) = (format!("INCR t{worker}"), format!("SADD u{worker} {n}"));
            let commands = ["MULTI", &a, &b, "EXEC"].map(common::argv);
            let (replies, all) = client.pipeline(&commands);
            all.ok().and_then(|()| replies.into_iter().next_back())
        }
    };
    answer.is_some()
}

/// How many commands of a worker are there, which must be the first so many.
fn progress(client: &mut Client, worker: usize, whole: bool) -> u64 {
    let mut int = |line: &str| -> u64 {
        let reply = client.run(line);
        let text = reply.text();
        let number = reply
            .int()
            .map_or_else(|| text.parse().ok(), |n| u64::try_from(n).ok());
        number.unwrap_or_else(|| panic!("{line}: {reply:?}"))
    };
    let counter = int(&format!("INCRBY c{worker} 0"));
    let list = int(&format!("LLEN l{worker}"));
    let stream = int(&format!("XLEN s{worker}"));
    let twice = (
        int(&format!("INCRBY t{worker} 0")),
        int(&format!("SCARD u{worker}")),
    );
    assert_eq!(twice.0, twice.1, "half of a transaction");
    let groups = client.run(&format!("XINFO GROUPS s{worker}"));
    let group = groups.items()[0].items();
    let field = |name: &str| {
        let at = group.iter().position(|item| item.text() == name).unwrap();
        group[at + 1].int().unwrap_or(0) as u64
    };
    let (read, pending) = (field("entries-read"), field("pending"));
    let done = [counter, list, stream, read, read - pending, twice.0];
    assert!(
        done.is_sorted_by(|a, b| a >= b) && done[0] - done[5] <= 1,
        "not the first of all: {done:?}"
    );
    let from = if whole { 0 } else { list.saturating_sub(50) };
    let items = client.run(&format!("LRANGE l{worker} {from} -1"));
    let expected: Vec<String> = (from..list).map(|n| n.to_string()).collect();
    let found: Vec<String> = items.items().iter().map(Reply::text).collect();
    assert_eq!(found, expected);
    done.iter().sum()
}

/// What a worker was answered: how many commands there are of it, and when the last ones were.
struct Answered {
    commands: u64,
    recent: Vec<(Instant, u64)>,
}

/// The answers that came to all workers, up to a number of them.
struct Answers {
    count: AtomicU64,
    enough: u64,
}

impl Answers {
    fn new(enough: u64) -> Answers {
        let count = AtomicU64::new(0);
        Answers { count, enough }
    }

    /// Works until the connection ends, or, where it `stops`, there are enough answers; `tell` is told of that.
    fn work(
        &self,
        client: &mut Client,
        worker: usize,
        from: u64,
        stops: bool,
        tell: &Sender<()>,
    ) -> Answered {
        let mut answered = Answered {
            commands: from,
            recent: Vec::new(),
        };
        while act(client, worker, answered.commands) {
            answered.commands += 1;
            answered.recent.push((Instant::now(), answered.commands));
            let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
            if count == self.enough {
                // Whoever asked may have given up.
                let _ = tell.send(());
            }
            if stops && count >= self.enough {
                break;
            }
        }
        answered
    }
}

struct Rounds {
    server: Server,
    rng: Rng,
    /// Commands of each worker that are there.
    done: [u64; WORKERS],
    commands: u64,
}

impl Rounds {
    fn new(policy: &str, seed: u64) -> Rounds {
        let server = Server::redkeep(&[
            "--appendonly",
            "yes",
            "--appendfsync",
            policy,
            "--auto-aof-rewrite-min-size",
            "64kb",
        ]);
        let mut client = server.client();
        for worker in 0..WORKERS {
            let line = format!("XGROUP CREATE s{worker} g 0 MKSTREAM ENTRIESREAD 0");
            assert_eq!(client.run(&line).text(), "OK");
        }
        Rounds {
            server,
            rng: Rng::seed_from_u64(seed),
            done: [0; WORKERS],
            commands: 0,
        }
    }

    /// Works until there are some answers. The process is killed then, in the midst of it, or the work stops. Tells
    /// what each worker was answered, and when the process was killed.
    fn work(&mut self, kill: bool) -> (Vec<Answered>, Instant) {
        let answers = Answers::new(20 + self.rng.below(400));
        let spins = self.rng.below(20_000);
        let rewrites = self.rng.chance(0.3);
        let clients: Vec<_> = (0..WORKERS).map(|_| self.server.client()).collect();
        let (tell, enough) = channel();
        std::thread::scope(|scope| {
            let workers: Vec<_> = clients
                .into_iter()
                .zip(self.done)
                .enumerate()
                .map(|(n, (mut client, from))| {
                    let (answers, tell) = (&answers, tell.clone());
                    scope.spawn(move || answers.work(&mut client, n, from, !kill, &tell))
                })
                .collect();
            if rewrites {
                self.server.client().run("BGREWRITEAOF");
            }
            // If they end before, something is wrong, and they say what.
            drop(tell);
            let _ = enough.recv_timeout(Duration::from_secs(20));
            // Anywhere within a command.
            (0..spins).for_each(|_| std::hint::spin_loop());
            let killed = Instant::now();
            if kill {
                self.server.kill();
            }
            let answered = workers.into_iter().map(|worker| worker.join().unwrap());
            (answered.collect(), killed)
        })
    }

    /// Starts again and looks what is there: at least so much of each worker, and at most one command that was not
    /// answered.
    fn check(&mut self, least: &[u64], answered: &[Answered], whole: bool) {
        assert!(self.server.start_again(), "{}", self.server.log());
        let mut client = self.server.client();
        for worker in 0..WORKERS {
            let there = progress(&mut client, worker, whole);
            let most = answered[worker].commands + 1;
            let log = || self.server.log();
            assert!(
                (least[worker]..=most).contains(&there),
                "{there} of {} to {most}: {}",
                least[worker],
                log()
            );
            self.commands += there - self.done[worker];
            self.done[worker] = there;
        }
    }
}

fn killed_always(seed: u64) {
    let (rounds, began) = (rounds(200) / 2, Instant::now());
    let mut all = Rounds::new("always", seed);
    for round in 1..=rounds {
        let (answered, _) = all.work(true);
        let least: Vec<u64> = answered.iter().map(|a| a.commands).collect();
        all.check(&least, &answered, round % 20 == 0);
    }
    let (took, commands) = (began.elapsed(), all.commands);
    println!("{rounds} rounds in {took:?}, {commands} commands");
    let manifest = "appendonlydir/appendonly.aof.manifest";
    let manifest = std::fs::read_to_string(all.server.dir.path().join(manifest)).unwrap();
    let rewritten = !manifest.contains(".1.base.rdb");
    assert!(
        rewritten || rounds < 20,
        "nothing was rewritten: {manifest}"
    );
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    killed_always(1);
}

#[test]
fn what_was_acknowledged_survives_sigkill_on_another_directory() {
    killed_always(2);
}

#[test]
fn everysec_survives_sigkill_but_for_the_last_moment() {
    let mut all = Rounds::new("everysec", 3);
    for round in 1..=rounds(200) / 20 {
        let before = all.done;
        let (answered, killed) = all.work(true);
        let least: Vec<u64> = (0..WORKERS)
            .map(|worker| {
                let recent = &answered[worker].recent;
                let old = recent
                    .iter()
                    .rfind(|(at, _)| *at + Duration::from_secs(1) < killed);
                old.map_or(before[worker], |(_, commands)| *commands)
            })
            .collect();
        all.check(&least, &answered, round % 5 == 0);
        // What the system was given is there, synced or not.
        let (answered, _) = all.work(false);
        let mut client = all.server.client();
        let until = Instant::now() + Duration::from_secs(20);
        while !client
            .run("INFO persistence")
            .text()
            .contains("aof_buffer_length:0")
        {
            assert!(Instant::now() < until, "the log is not written");
        }
        all.server.kill();
        let least: Vec<u64> = answered.iter().map(|a| a.commands).collect();
        all.check(&least, &answered, false);
    }
}
