//! DUMP and RESTORE: payloads recorded from a real server, payloads of older versions, damaged ones, and values that
//! move between Redkeep and a real server.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;
#[path = "dump/damage.rs"]
mod damage;
#[path = "dump/legacy.rs"]
mod legacy;
#[path = "dump/migrate.rs"]
mod migrate;
#[path = "dump/samples.rs"]
mod samples;
#[path = "dump/target.rs"]
mod target;

use common::{Reply, Server};
use samples::{Mark, Sample};
use target::Target;

#[test]
fn recorded_payloads_restore_and_dump() {
    if std::env::var_os("RECORD").is_some() {
        samples::record();
    }
    let mut here = Target::here();
    let mut wrong = String::new();
    for sample in samples::all() {
        if let Err(e) = check(&mut here, &sample) {
            wrong += &format!("\n== {}\n{e}\n", sample.name);
        }
        here.reset();
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn check(here: &mut Target, sample: &Sample) -> Result<(), String> {
    here.run_all(&sample.commands);
    let made = here.contents(b"k");
    let dumped = here.dump(b"k");
    here.restore(b"r", &sample.payload)?;
    let restored = here.contents(b"r");
    if made != restored {
        return Err(format!("commands give\n{made}\nRESTORE gives\n{restored}"));
    }
    if sample.mark == Mark::None && dumped != sample.payload {
        let (ours, theirs) = (samples::hex(&dumped), samples::hex(&sample.payload));
        return Err(format!("DUMP is\n{ours}\nand not\n{theirs}"));
    }
    let again = here.dump(b"r");
    if sample.mark != Mark::Order && again != sample.payload {
        let (ours, theirs) = (samples::hex(&again), samples::hex(&sample.payload));
        return Err(format!(
            "DUMP of what was restored is\n{ours}\nand not\n{theirs}"
        ));
    }
    here.restore(b"r2", &again)?;
    if here.contents(b"r2") != made {
        return Err("what was dumped restores as something else".into());
    }
    Ok(())
}

/// Every sample, and what has no sample since Redis 7.0 encodes it otherwise, goes to the real server and back.
#[test]
fn values_move_to_a_real_server_and_back() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let (mut here, mut there) = (Target::here(), Target::at(&redis));
    for sample in samples::all() {
        here.run_all(&sample.commands);
        there.run_all(&sample.commands);
        let made = here.contents(b"k");
        assert_eq!(
            made,
            there.contents(b"k"),
            "{}: made by commands",
            sample.name
        );
        let (ours, theirs) = (here.dump(b"k"), there.dump(b"k"));
        there
            .restore(b"r", &ours)
            .unwrap_or_else(|e| panic!("{}: to Redis: {e}", sample.name));
        assert_eq!(there.contents(b"r"), made, "{}: to Redis", sample.name);
        here.restore(b"r", &theirs)
            .unwrap_or_else(|e| panic!("{}: from Redis: {e}", sample.name));
        assert_eq!(here.contents(b"r"), made, "{}: from Redis", sample.name);
        here.reset();
        there.reset();
    }
}

#[test]
fn payloads_of_older_and_newer_versions_restore() {
    let mut here = Target::here();
    let mut wrong = String::new();
    for (name, payload, commands) in legacy::samples() {
        here.run_all(&commands);
        let made = here.contents_and_deadlines(b"k");
        let restored = match here.restore(b"r", &payload) {
            Ok(()) => here.contents_and_deadlines(b"r"),
            Err(e) => e,
        };
        if made != restored {
            wrong += &format!("\n== {name}\ncommands give\n{made}\nRESTORE gives\n{restored}\n");
        }
        here.reset();
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn old_payloads_that_contradict_themselves_are_refused() {
    let mut here = Target::here();
    for (name, payload) in legacy::broken() {
        let refused = here.restore(b"r", &payload);
        assert_eq!(refused, Err("ERR Bad data format".into()), "{name}");
    }
    assert_eq!(here.run("DBSIZE"), Reply::Int(0));
}

/// `REDKEEP_DAMAGE=N` sets the number of damaged payloads, `REDKEEP_DAMAGE_SEED=S` the seed.
#[test]
fn damaged_payloads_are_refused_or_live_on() {
    let count = damage::setting("REDKEEP_DAMAGE", 20_000);
    damage::run(count, damage::setting("REDKEEP_DAMAGE_SEED", 1));
}
