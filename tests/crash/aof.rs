//! The append-only log under cuts: what each policy promises is kept, and what is there was once the whole.

use super::common::instance::{DIR, Instance};
use super::common::sim_disk::{Cut, Data, Gate, Image, Kind, Names, SimDisk, Tape};
use super::cuts::{Plan, Tried, try_all};
use super::history::{History, Promise};
use super::rounds;
use super::workload::{COMMANDS, Recorder, by_chance};
use redkeep::util::clock::{Clock, ManualClock};
use redkeep::util::rng::Rng;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When it all begins.
const BEGINNING: i64 = 1_700_000_000_000;

/// Steps of the clock, where it moves.
const STEP_MS: i64 = 100;

/// A run that is recorded.
struct Run {
    r: Recorder,
    rng: Rng,
    policy: &'static str,
    /// Bytes of the log when it was last looked at, and when those must be synced, as the engine has it.
    appended: u64,
    sync_at: Option<i64>,
    rewrites: u64,
}

impl Run {
    fn new(policy: &'static str, seed: u64) -> Run {
        Run::with(policy, &options(policy), seed)
    }

    fn with(policy: &'static str, options: &[(&str, &str)], seed: u64) -> Run {
        let disk = SimDisk::new(DIR);
        let clock = ManualClock::at_ms(BEGINNING);
        disk.keep_time(Arc::new(clock.clone()));
        let instance = Instance::start(&disk, options, &clock).unwrap();
        let r = Recorder::new(instance, &disk);
        let rng = Rng::seed_from_u64(seed);
        Run {
            r,
            rng,
            policy,
            appended: 0,
            sync_at: None,
            rewrites: 0,
        }
    }

    fn line(&mut self, line: &str) {
        self.r.line(line, &mut self.rng);
        self.step();
    }

    fn by_chance(&mut self) {
        // Where the clock moves nothing is to be over soon: servers that are started later would not have it.
        let words = by_chance(&mut self.rng, self.policy == "always");
        self.r.run(&words);
        self.step();
    }

    /// Time goes on, unless everything is safe at once; what is due then is done.
    fn step(&mut self) {
        if self.policy == "always" {
            return;
        }
        let log = self.r.instance.log();
        if std::mem::replace(&mut self.appended, log.appended()) < log.appended() {
            let now = self.r.instance.clock.now_ms();
            self.sync_at.get_or_insert(now + 1000);
        }
        wait(|| log.unwritten() == 0);
        self.r.instance.advance_ms(STEP_MS);
        let now = self.r.instance.clock.now_ms();
        if self.sync_at.take_if(|at| *at <= now).is_some() && self.policy == "everysec" {
            wait(|| log.synced() == log.appended());
        }
    }

    /// Begins a rewrite that stands still at the gate.
    fn begin_rewrite(&mut self) -> Gate {
        self.rewrites += 1;
        let rdb = if self.rewrites.is_multiple_of(2) {
            "no"
        } else {
            "yes"
        };
        self.r.ask(&["CONFIG", "SET", "aof-use-rdb-preamble", rdb]);
        let kind = if self.rewrites.is_multiple_of(3) {
            Kind::Create
        } else {
            Kind::Sync
        };
        let gate = self.r.disk.hold(kind, "temp-rewrite");
        self.r.ask(&["BGREWRITEAOF"]);
        assert!(gate.wait_for_arrival());
        gate
    }

    fn end_rewrite(&mut self, gate: Option<Gate>) {
        drop(gate);
        // News reach the engine when it looks.
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            self.r.instance.advance_ms(0);
            if self
                .r
                .instance
                .tells("persistence", "aof_rewrite_in_progress:0")
            {
                break;
            }
            assert!(Instant::now() < until, "the rewrite does not end");
            std::thread::yield_now();
        }
        let good = "aof_last_bgrewrite_status:ok";
        assert!(self.r.instance.tells("persistence", good));
    }

    /// Everything, with rewrites and saves amid.
    fn play(mut self, chance: usize) -> (Tape, History) {
        let mut gate = None;
        let mut in_multi = false;
        for (n, line) in COMMANDS.iter().enumerate() {
            self.line(line);
            in_multi = *line == "MULTI" || in_multi && *line != "EXEC";
            if in_multi {
                continue;
            }
            match n % 18 {
                6 => gate = Some(self.begin_rewrite()),
                12 => self.end_rewrite(gate.take()),
                16 => {
                    self.r.ask(&["BGSAVE"]);
                    self.r.wait_for("persistence", "rdb_bgsave_in_progress:0");
                }
                _ => {}
            }
        }
        self.end_rewrite(gate.take());
        let rng = &mut self.rng;
        self.r.serve("BLPOP queue 0", "RPUSH queue # b", rng);
        self.r
            .serve("BLMOVE queue2 queue3 LEFT RIGHT 0", "RPUSH queue2 # b", rng);
        self.r
            .serve("BZPOPMIN zqueue 0", "ZADD zqueue 1 a 2 b", rng);
        self.line("XGROUP CREATE jobs g $ MKSTREAM");
        self.line("XGROUP CREATECONSUMER jobs g c");
        let rng = &mut self.rng;
        self.r.serve(
            "XREADGROUP GROUP g c BLOCK 0 STREAMS jobs >",
            "XADD jobs 5-1 f #",
            rng,
        );
        if self.policy == "always" {
            self.r.write_together();
        }
        for n in 0..chance {
            self.by_chance();
            match n % 40 {
                10 => gate = Some(self.begin_rewrite()),
                30 => self.end_rewrite(gate.take()),
                _ => {}
            }
        }
        self.end_rewrite(gate.take());
        let Recorder {
            instance,
            disk,
            history,
            client,
            ..
        } = self.r;
        drop((client, instance));
        (disk.tape(), history)
    }
}

fn options(policy: &'static str) -> [(&'static str, &'static str); 2] {
    [("appendonly", "yes"), ("appendfsync", policy)]
}

fn wait(done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "the writer does not come to it");
        std::thread::yield_now();
    }
}

/// Starts on a disk; the contents.
fn start(disk: &SimDisk, clock: &ManualClock) -> Result<String, String> {
    let mut instance = Instance::start(disk, &options("always"), clock)?;
    Ok(instance.contents())
}

/// Cuts a run everywhere.
fn cut(policy: &'static str, promise: Promise, seed: u64, chance: usize) -> Tried {
    let run = Run::new(policy, seed);
    let clock = run.r.instance.clock.clone();
    let (tape, history) = run.play(chance);
    let plan = Plan {
        seed,
        by_chance: 2,
        again_each: 150,
    };
    let tried = try_all(
        &tape,
        plan,
        |disk| start(disk, &clock),
        |contents, ops| {
            // The power may go at any time before the next operation.
            let next = tape.times.get(ops).copied().unwrap_or(i64::MAX / 2);
            history.allows(contents, ops, next - 1, promise)
        },
    );
    // Who ends in good order loses nothing, whatever the policy.
    let end = tape.cut(
        tape.ops.len(),
        &Cut {
            data: Data::Lost,
            names: Names::Lost,
            seed,
        },
    );
    let contents = start(&SimDisk::from_image(&end), &clock).unwrap();
    let all = history.allows(&contents, tape.ops.len(), 0, Promise::All);
    assert_eq!(all, Ok(()));
    println!("{policy}: {} points, {tried:?}", history.len());
    assert!(tried.cuts > 10 * tried.ops);
    tried
}

#[test]
fn always_means_that_nothing_acknowledged_is_lost() {
    for seed in 1..=rounds() {
        let tried = cut("always", Promise::All, seed, 100);
        assert!(tried.ops > 300 && tried.again > 50, "{tried:?}");
    }
}

#[test]
fn everysec_loses_a_second_at_most() {
    for seed in 1..=rounds() {
        let tried = cut("everysec", Promise::Since(1000), seed, 60);
        assert!(tried.ops > 150 && tried.again > 50, "{tried:?}");
    }
}

#[test]
fn without_syncs_there_is_what_once_was() {
    for seed in 1..=rounds() {
        let tried = cut("no", Promise::Nothing, seed, 60);
        assert!(tried.ops > 100, "{tried:?}");
    }
}

#[test]
fn a_log_that_is_switched_on_holds_all_that_is_acknowledged_once_it_has_a_base() {
    for seed in 1..=rounds() {
        let mut run = Run::with("always", &[("appendfsync", "always")], seed);
        let some = |run: &mut Run, safe: bool| {
            run.r.safe = safe;
            (0..15).for_each(|_| run.by_chance());
        };
        some(&mut run, false);
        let begun = run.r.disk.ops();
        run.r.ask(&["SAVE"]);
        run.r.safe = true;
        run.r.note(begun, "SAVE");
        for _ in 0..2 {
            some(&mut run, false);
            let gate = run.r.disk.hold(Kind::Sync, "temp-rewrite");
            run.r.ask(&["CONFIG", "SET", "appendonly", "yes"]);
            assert!(gate.wait_for_arrival());
            some(&mut run, false);
            run.end_rewrite(Some(gate));
            some(&mut run, true);
            run.r.ask(&["CONFIG", "SET", "appendonly", "no"]);
        }
        some(&mut run, false);
        let clock = run.r.instance.clock.clone();
        let tape = run.r.disk.tape();
        let plan = Plan {
            seed,
            by_chance: 2,
            again_each: 50,
        };
        let tried = try_all(
            &tape,
            plan,
            |disk| start(disk, &clock),
            |contents, ops| run.r.history.allows(contents, ops, 0, Promise::All),
        );
        println!("{tried:?}");
        assert!(tried.ops > 60, "{tried:?}");
    }
}

/// What is left of a server that was told to end, with these options; and its contents.
fn ended(options: &[(&str, &str)], rdb: bool) -> (Image, String) {
    let mut run = Run::with("always", options, 1);
    for line in &COMMANDS[..40] {
        run.line(line);
    }
    if rdb {
        run.r.ask(&["SAVE"]);
    }
    let contents = run.r.instance.contents();
    let disk = run.r.disk.clone();
    drop(run);
    (disk.image(), contents)
}

#[test]
fn a_log_is_begun_from_what_is_there_whatever_comes_between() {
    let (rdb, in_rdb) = ended(&[], true);
    let (dir, in_dir) = ended(&options("always"), false);
    // A log as it was before there were directories: all in one file.
    let mut old = Image::default();
    old.add_dir(DIR);
    let part = |name: &str| dir.file(&format!("/appendonlydir/appendonly.aof.1.{name}"));
    let both = [part("base.rdb"), part("incr.aof")].concat();
    assert!(both.starts_with(b"REDIS"));
    old.add_file("/appendonly.aof", &both);
    for (image, expected) in [(rdb, in_rdb), (dir, in_dir.clone()), (old, in_dir)] {
        let clock = ManualClock::at_ms(BEGINNING);
        let disk = SimDisk::from_image(&image);
        assert_eq!(start(&disk, &clock).unwrap(), expected);
        let plan = Plan {
            seed: 1,
            by_chance: 5,
            again_each: 10,
        };
        let tried = try_all(
            &disk.tape(),
            plan,
            |disk| start(disk, &clock),
            |contents, _| match contents == expected {
                true => Ok(()),
                false => Err(contents.to_owned()),
            },
        );
        println!("{tried:?}");
    }
}
