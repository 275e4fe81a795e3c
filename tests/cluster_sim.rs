//! Clusters in virtual time: leaders and replicas, clients and an operator, or sentinels in place of it, on a network that
//! delays, loses and divides, on disks that forget, by clocks that jump. When nothing goes wrong any more all nodes have the same
//! contents, and nothing is missing of what was acknowledged to have been confirmed by replicas, whoever was promoted
//! meanwhile. Sentinels agree on who leads, and have never made two leaders in one epoch.
//!
//! A run is a seed: `REDKEEP_SIM_SEED=n` runs one and shows what happens in it, `REDKEEP_SIM_SEEDS=n` runs so many, beginning
//! with `REDKEEP_SIM_FIRST=n`. To be given with the name of the test.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

#[path = "cluster_sim/client.rs"]
mod client;
mod common;
#[path = "cluster_sim/disturb.rs"]
mod disturb;
#[path = "cluster_sim/journal.rs"]
mod journal;
#[path = "cluster_sim/ledger.rs"]
mod ledger;
#[path = "cluster_sim/mutation.rs"]
mod mutation;
#[path = "cluster_sim/operator.rs"]
mod operator;
#[path = "cluster_sim/plan.rs"]
mod plan;
#[path = "cluster_sim/seek.rs"]
mod seek;
#[path = "cluster_sim/sentinel.rs"]
mod sentinel;
#[path = "cluster_sim/sim.rs"]
mod sim;
#[path = "cluster_sim/verdict.rs"]
mod verdict;
#[path = "cluster_sim/witness.rs"]
mod witness;

use mutation::Mutation;
use plan::Plan;
use sim::{Counts, Sim};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Whether writes are confirmed by replicas (`sync-replicas`).
const CONFIRMS: bool = true;

/// What came of a run.
struct Run {
    wrong: Vec<String>,
    journal: Vec<String>,
    counts: Counts,
}

/// A kind of runs.
#[derive(Clone, Copy)]
struct Manner {
    /// The test.
    test: &'static str,
    plan: fn(u64) -> Plan,
    /// How many seeds there are, where nothing else is said.
    seeds: u64,
}

const OPERATED: Manner = Manner {
    test: "clusters_agree_and_keep_what_they_have_confirmed",
    plan: Plan::operated,
    seeds: 2000,
};

const WATCHED: Manner = Manner {
    test: "sentinels_agree_on_one_leader_who_has_what_was_confirmed",
    plan: Plan::watched,
    seeds: 5000,
};

fn run(plan: Plan, mutation: Option<Mutation>, keeps_journal: bool) -> Run {
    let mut sim = Sim::new(plan, keeps_journal);
    sim.mutation = mutation;
    let ran = catch_unwind(AssertUnwindSafe(|| sim.run()));
    let wrong = ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        vec![format!("it panicked: {}", text.unwrap_or_default())]
    });
    let run = Run {
        wrong,
        journal: sim.world.journal.take(),
        counts: std::mem::take(&mut sim.counts),
    };
    if !run.wrong.is_empty() && run.wrong[0].starts_with("it panicked") {
        // Nobody knows in what state it is.
        std::mem::forget(sim);
    }
    run
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// So many that fail are enough.
const FAILURES: usize = 10;

/// Runs seeds on all processors. Gives what there was, and those that failed with what was wrong.
fn run_all(manner: Manner, first: u64, seeds: u64) -> (Counts, BTreeMap<u64, String>) {
    let next = AtomicU64::new(first);
    let all = Mutex::new((Counts::default(), BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let run = run((manner.plan)(seed), None, false);
                    let mut all = all.lock().unwrap();
                    all.0.add(&run.counts);
                    if let Some(what) = run.wrong.into_iter().next() {
                        all.1.insert(seed, what);
                    }
                    if all.1.len() >= FAILURES {
                        return;
                    }
                }
            });
        }
    });
    all.into_inner().unwrap()
}

fn show(manner: Manner, seed: u64, lines: usize) -> ! {
    let plan = (manner.plan)(seed);
    let run = tracing::subscriber::with_default(journal::Tap, || run(plan, None, true));
    let from = run.journal.len().saturating_sub(lines);
    for line in &run.journal[from..] {
        println!("{line}");
    }
    for what in &run.wrong {
        println!("seed {seed}: {what}");
    }
    println!("{:?}", run.counts);
    assert!(run.wrong.is_empty(), "seed {seed}: {}", run.wrong[0]);
    std::process::exit(0);
}

/// Runs the seeds of a test. None may fail.
fn try_all(manner: Manner) -> (u64, Counts) {
    if let Some(seed) = number("REDKEEP_SIM_SEED") {
        show(manner, seed, usize::MAX);
    }
    let seeds = number("REDKEEP_SIM_SEEDS").unwrap_or(manner.seeds);
    let first = number("REDKEEP_SIM_FIRST").unwrap_or(0);
    let began = Instant::now();
    let (counts, failed) = run_all(manner, first, seeds);
    println!("{seeds} seeds in {:?}: {counts:#?}", began.elapsed());
    for (seed, what) in &failed {
        let what: String = what.chars().take(500).collect();
        println!("seed {seed} has failed: {what}");
    }
    if let Some(seed) = failed.keys().next() {
        println!(
            "this is the end of seed {seed}; all of it is shown by \
             REDKEEP_SIM_SEED={seed} cargo test --test cluster_sim {} -- --nocapture",
            manner.test
        );
        show(manner, *seed, 300);
    }
    (seeds, counts)
}

#[test]
fn clusters_agree_and_keep_what_they_have_confirmed() {
    try_all(OPERATED);
}

#[test]
fn sentinels_agree_on_one_leader_who_has_what_was_confirmed() {
    let (seeds, counts) = try_all(WATCHED);
    let slow = counts.slow_elections;
    assert!(
        slow.len() as u64 * 100 <= seeds,
        "elections took more than two rounds in more than one of a hundred seeds: {slow:?}"
    );
}

#[test]
fn what_goes_wrong_is_noticed() {
    for (mutation, what) in [
        (Mutation::NoSync, "has forgotten"),
        (Mutation::ForgetsVotes, "has forgotten"),
        (Mutation::Hasty, "was acknowledged"),
    ] {
        let noticed = |seed: &u64| {
            let run = run(Plan::watched(*seed), Some(mutation), false);
            run.wrong.iter().any(|wrong| wrong.contains(what))
        };
        let seed = (0..200).find(noticed);
        let seed = seed.unwrap_or_else(|| panic!("{mutation:?} is not noticed"));
        println!("{mutation:?} is noticed by seed {seed}");
    }
}
