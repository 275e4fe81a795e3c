//! The bodies of the fuzz targets in `fuzz/`, run with mutations of good samples: a short run at each test,
//! `REDKEEP_FUZZ_SECONDS=600 cargo test --test fuzz` for longer ones. `cargo +nightly fuzz run listpack` runs the same
//! bodies guided by coverage; `REDKEEP_FUZZ_CORPUS=$PWD/fuzz/corpus cargo test
//! --test fuzz` writes the samples for it to begin with, and some have a dictionary there.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise"
)]

mod bodies;
mod requests;
mod samples;
mod sessions;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

fn run(name: &str, body: fn(&[u8]), samples: &[Vec<u8>]) {
    let setting = |name: &str, default: u64| {
        let value = std::env::var(name).ok();
        value.and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    if let Ok(corpus) = std::env::var("REDKEEP_FUZZ_CORPUS") {
        let dir = std::path::Path::new(&corpus).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        for (n, sample) in samples.iter().enumerate() {
            std::fs::write(dir.join(format!("sample-{n:04}")), sample).unwrap();
        }
        return;
    }
    let mut rng = SmallRng::seed_from_u64(setting("REDKEEP_FUZZ_SEED", 1));
    let time = Duration::from_secs(setting("REDKEEP_FUZZ_SECONDS", 2));
    let began = Instant::now();
    samples.iter().for_each(|sample| body(sample));
    let mut runs = samples.len();
    while began.elapsed() < time {
        let mut data = samples[rng.random_range(0..samples.len())].clone();
        for _ in 0..rng.random_range(1..6) {
            mutate(&mut rng, &mut data, samples);
        }
        body(&data);
        runs += 1;
    }
    println!("{name}: {runs} runs");
}

fn mutate(rng: &mut SmallRng, data: &mut Vec<u8>, samples: &[Vec<u8>]) {
    if data.is_empty() {
        data.push(rng.random());
        return;
    }
    let at = rng.random_range(0..data.len());
    match rng.random_range(0..8) {
        0 => data[at] = rng.random(),
        1 => data[at] ^= 1 << rng.random_range(0..8),
        2 => data[at] = [0, 1, 0x7F, 0x80, 0xC0, 0xF0, 0xFE, 0xFF][rng.random_range(0..8)],
        3 => data.truncate(at),
        4 => data.insert(at, rng.random()),
        5 => _ = data.remove(at),
        6 => {
            // A piece of another sample.
            let other = &samples[rng.random_range(0..samples.len())];
            if !other.is_empty() {
                let from = rng.random_range(0..other.len());
                let to = rng.random_range(from..=other.len().min(from + 16));
                data.splice(at..at, other[from..to].iter().copied());
            }
        }
        _ => {
            // A length of four bytes.
            let big = [0u32, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, 300][rng.random_range(0..5)];
            for (byte, new) in data.iter_mut().skip(at).zip(big.to_le_bytes()) {
                *byte = new;
            }
        }
    }
}

#[test]
fn listpacks_are_refused_or_hold() {
    run("listpack", bodies::listpack, &samples::listpacks());
}

#[test]
fn rdb_files_are_refused_or_read() {
    run("rdb", bodies::rdb_file, &samples::rdb_files());
}

#[test]
fn logs_are_read_as_far_as_they_are_whole() {
    run("aof", bodies::log, &samples::logs());
}

#[test]
fn leaders_are_refused_or_understood() {
    run("link", bodies::link, &samples::leaders());
}

#[test]
fn compressed_data_is_refused_or_holds() {
    run("lzf", bodies::lzf, &samples::compressed());
}

#[test]
fn requests_mean_the_same_however_they_come() {
    run("request", requests::request, &samples::requests());
}

#[test]
fn sessions_leave_nothing_and_strangers_change_nothing() {
    run("session", sessions::session, &samples::sessions());
}

#[test]
fn lists_hold_whatever_is_done_to_them() {
    run("list", bodies::list, &samples::lists());
}

#[test]
fn intsets_are_refused_or_hold() {
    run("intset", bodies::intset, &samples::intsets());
}

#[test]
fn hyperloglogs_are_refused_or_hold() {
    run("hll", bodies::hll, &samples::hyperloglogs());
}

#[test]
fn payloads_are_refused_or_hold() {
    run("restore", bodies::restore, &samples::payloads());
}

#[test]
#[cfg(feature = "lua")]
fn libraries_are_refused_or_hold() {
    run("functions", bodies::functions, &samples::libraries());
}

#[cfg(feature = "lua")]
#[test]
fn what_scripts_take_apart_is_refused_or_read() {
    run(
        "script_libraries",
        bodies::script_libraries,
        &samples::for_script_libraries(),
    );
}
