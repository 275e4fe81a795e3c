//! Snapshots alone: after a cut the last one that was completed is there, or one that was about to be.

use super::common::instance::{DIR, Instance};
use super::common::sim_disk::{Kind, SimDisk};
use super::cuts::{Plan, try_all};
use super::history::{History, Point, Promise};
use super::rounds;
use super::workload::{COMMANDS, Recorder};
use redkeep::util::clock::{Clock, ManualClock};
use redkeep::util::rng::Rng;

/// A save, in the foreground or not, with writes while it is written; the contents it holds.
fn save(r: &mut Recorder, background: bool, rng: &mut Rng) -> Point {
    let begun = r.disk.ops();
    let contents = r.instance.contents();
    if background {
        let gate = r.disk.hold(Kind::Sync, "temp-");
        r.ask(&["BGSAVE"]);
        assert!(gate.wait_for_arrival());
        r.line("RPUSH meanwhile a b c", rng);
        r.line("INCR n", rng);
        gate.open();
        r.wait_for("persistence", "rdb_bgsave_in_progress:0");
        assert!(r.instance.tells("persistence", "rdb_last_bgsave_status:ok"));
    } else {
        r.ask(&["SAVE"]);
    }
    Point {
        begun,
        done: r.disk.ops(),
        at: r.instance.clock.now_ms(),
        what: "a save".to_owned(),
        contents,
    }
}

#[test]
fn the_last_snapshot_is_there_after_any_cut() {
    for seed in 1..=rounds() {
        let mut rng = Rng::seed_from_u64(seed);
        let disk = SimDisk::new(DIR);
        let clock = ManualClock::at_ms(1_700_000_000_000);
        let instance = Instance::start(&disk, &[], &clock).unwrap();
        let mut r = Recorder::new(instance, &disk);
        let mut saves = History::new(r.instance.contents());
        for (n, line) in COMMANDS.iter().enumerate() {
            r.line(line, &mut rng);
            if n % 16 == 15 {
                saves.add(save(&mut r, n % 32 == 31, &mut rng));
            }
        }
        saves.add(save(&mut r, true, &mut rng));
        assert_eq!(saves.len(), COMMANDS.len() / 16 + 2);
        let plan = Plan {
            seed,
            by_chance: 10,
            again_each: 10,
        };
        let tried = try_all(
            &disk.tape(),
            plan,
            |disk| Instance::start(disk, &[], &clock).map(|mut instance| instance.contents()),
            |contents, ops| saves.allows(contents, ops, 0, Promise::All),
        );
        println!("{tried:?}");
        assert!(tried.ops > 20 && tried.images > 20, "{tried:?}");
    }
}
