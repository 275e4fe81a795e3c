//! The power goes behind every operation of a record, in several ways, and a server is started on what is left.

use super::common::sim_disk::{Cut, Image, SimDisk, Tape, tape};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

/// Servers that are started beside one another.
const WORKERS: usize = 2;

/// Which cuts there are.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Cuts by chance behind each operation, beside those that are always made.
    pub by_chance: usize,
    /// Of so many images one is also cut while the server starts on it.
    pub again_each: u64,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    pub ops: usize,
    pub cuts: usize,
    /// Different images that the cuts left.
    pub images: usize,
    /// Cuts while a server started.
    pub again: usize,
}

/// What a server found on an image.
type Found = Arc<OnceLock<Result<String, String>>>;

struct Work {
    image: Image,
    found: Found,
    again: bool,
}

/// Starts a server on what each cut leaves by `start`, which returns its contents, and has `allows` look at them, with the
/// number of operations that there had been.
pub fn try_all(
    tape: &Tape,
    plan: Plan,
    start: impl Fn(&SimDisk) -> Result<String, String> + Sync,
    allows: impl Fn(&str, usize) -> Result<(), String>,
) -> Tried {
    let mut seen: HashMap<u64, Found> = HashMap::new();
    let mut all: Vec<(usize, Cut, Found)> = Vec::new();
    let again = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, work) = mpsc::sync_channel::<Work>(64);
        let work = Arc::new(Mutex::new(work));
        for _ in 0..WORKERS {
            let (work, start, again) = (Arc::clone(&work), &start, &again);
            scope.spawn(move || {
                loop {
                    let next = work.lock().unwrap_or_else(|e| e.into_inner()).recv();
                    let Ok(work) = next else { return };
                    let found = look(&work, plan, start, again);
                    work.found.set(found).unwrap();
                }
            });
        }
        // The last receivers are the workers': when they fail, sending does.
        drop(work);
        let mut model = tape.start();
        for ops in 0..=tape.ops.len() {
            if let Some(op) = ops.checked_sub(1) {
                model.step(&tape.ops[op]);
            }
            let seed = plan.seed.wrapping_mul(1_000_003) + ops as u64;
            for cut in tape::cuts(&model, seed, plan.by_chance) {
                let image = model.image(&cut);
                let print = image.fingerprint();
                let found = match seen.entry(print) {
                    Entry::Occupied(found) => Arc::clone(found.get()),
                    Entry::Vacant(place) => {
                        let found: Found = Arc::clone(place.insert(Found::default()));
                        let again = print.is_multiple_of(plan.again_each);
                        let found_there = Arc::clone(&found);
                        let work = Work {
                            image,
                            found: found_there,
                            again,
                        };
                        sender.send(work).unwrap();
                        found
                    }
                };
                all.push((ops, cut, found));
            }
        }
        drop(sender);
    });
    for (ops, cut, found) in &all {
        let verdict = match found.get().expect("the workers have ended") {
            Ok(contents) => allows(contents, *ops),
            Err(why) => Err(why.clone()),
        };
        if let Err(why) = verdict {
            let last = ops.checked_sub(1).map(|op| &tape.ops[op]);
            let image = tape.cut(*ops, cut);
            panic!("behind operation {ops}, {last:?}, {cut:?} (plan {plan:?}): {why}\n{image:?}");
        }
    }
    Tried {
        ops: tape.ops.len(),
        cuts: all.len(),
        images: seen.len(),
        again: again.into_inner(),
    }
}

/// Starts a server on an image, and perhaps again on what is left of each moment of that start: it must find the same.
fn look(
    work: &Work,
    plan: Plan,
    start: impl Fn(&SimDisk) -> Result<String, String>,
    again: &AtomicUsize,
) -> Result<String, String> {
    let disk = SimDisk::from_image(&work.image);
    let contents = start(&disk)?;
    if !work.again {
        return Ok(contents);
    }
    let tape = disk.tape();
    let mut model = tape.start();
    for (op, seed) in tape.ops.iter().zip(plan.seed..) {
        model.step(op);
        for cut in tape::cuts(&model, seed, 1) {
            let image = model.image(&cut);
            again.fetch_add(1, Ordering::Relaxed);
            let what = || format!("cut again behind {op:?} of the start, {cut:?}");
            let found = start(&SimDisk::from_image(&image))
                .map_err(|why| format!("{}: {why}\n{image:?}", what()))?;
            if found != contents {
                let what = what();
                return Err(format!("{what}: {found}\nwas before {contents}\n{image:?}"));
            }
        }
    }
    Ok(contents)
}
