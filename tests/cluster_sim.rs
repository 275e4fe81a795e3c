//! Clusters in virtual time: leaders and replicas, clients and an operator on a network that delays, loses and divides, on
//! disks that forget. When nothing goes wrong any more all nodes have the same contents, and nothing is missing of what was
//! acknowledged to have been confirmed by replicas, whoever was promoted meanwhile.
//!
//! A run is a seed: `REDKEEP_SIM_SEED=n` runs one and shows what happens in it, `REDKEEP_SIM_SEEDS=n` runs so many.
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
#[path = "cluster_sim/jobs.rs"]
mod jobs;
#[path = "cluster_sim/journal.rs"]
mod journal;
#[path = "cluster_sim/ledger.rs"]
mod ledger;
#[path = "cluster_sim/link.rs"]
mod link;
#[path = "cluster_sim/machine.rs"]
mod machine;
#[path = "cluster_sim/net.rs"]
mod net;
#[path = "cluster_sim/operator.rs"]
mod operator;
#[path = "cluster_sim/plan.rs"]
mod plan;
#[path = "cluster_sim/queue.rs"]
mod queue;
#[path = "cluster_sim/seek.rs"]
mod seek;
#[path = "cluster_sim/sentinel.rs"]
mod sentinel;
#[path = "cluster_sim/serve.rs"]
mod serve;
#[path = "cluster_sim/verdict.rs"]
mod verdict;
#[path = "cluster_sim/witness.rs"]
mod witness;
#[path = "cluster_sim/world.rs"]
mod world;

use plan::Plan;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::{Counts, World};

/// Whether writes are confirmed by replicas (`sync-replicas`).
const CONFIRMS: bool = true;

/// What came of a run.
struct Run {
    wrong: Vec<String>,
    journal: Vec<String>,
    counts: Counts,
}

fn run(seed: u64, keeps_journal: bool) -> Run {
    let mut world = World::new(Plan::new(seed), keeps_journal);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let wrong = ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        vec![format!("it panicked: {}", text.unwrap_or_default())]
    });
    let run = Run {
        wrong,
        journal: world.journal.take(),
        counts: std::mem::take(&mut world.counts),
    };
    if !run.wrong.is_empty() && run.wrong[0].starts_with("it panicked") {
        // Nobody knows in what state it is.
        std::mem::forget(world);
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
fn run_all(first: u64, seeds: u64) -> (Counts, BTreeMap<u64, String>) {
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
                    let run = run(seed, false);
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

fn show(seed: u64, lines: usize) -> ! {
    let run = tracing::subscriber::with_default(journal::Tap, || run(seed, true));
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

#[test]
fn clusters_agree_and_keep_what_they_have_confirmed() {
    if let Some(seed) = number("REDKEEP_SIM_SEED") {
        show(seed, usize::MAX);
    }
    let seeds = number("REDKEEP_SIM_SEEDS").unwrap_or(2000);
    let first = number("REDKEEP_SIM_FIRST").unwrap_or(0);
    let began = Instant::now();
    let (counts, failed) = run_all(first, seeds);
    println!("{seeds} seeds in {:?}: {counts:#?}", began.elapsed());
    for (seed, what) in &failed {
        let what: String = what.chars().take(500).collect();
        println!("seed {seed} has failed: {what}");
    }
    if let Some(seed) = failed.keys().next() {
        println!("this is the end of seed {seed}; all of it is shown by REDKEEP_SIM_SEED={seed}");
        show(*seed, 300);
    }
}
