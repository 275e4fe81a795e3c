//! The writer of the append-only file alone, by chance: batches, syncs, rewrites, restarts and faults in any order. Its
//! commands are numbers; a base says how many came before it.

use super::common::sim_disk::{Fault, Kind, SimDisk};
use super::cuts::{Plan, try_all};
use super::rounds;
use redkeep::persist::Disk;
use redkeep::persist::aof::log::Order;
use redkeep::persist::aof::reader::Entry;
use redkeep::persist::aof::{Directory, Log, Place, Policy, Reader, Tail, Writer, Wrong};
use redkeep::util::rng::Rng;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

const TEMPORARY: &str = "temp-base";

/// When each file begins, in unix seconds.
const BEGUN: i64 = 1_700_000_000;

fn place() -> Place {
    Place::new("/", "log", "a")
}

fn command(words: &[String]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        out += &format!("${}\r\n{word}\r\n", word.len());
    }
    out.into_bytes()
}

/// Reads a file: what it holds is added to `count`. How it ends, without what is torn.
fn replay(disk: &SimDisk, path: &Path, count: &mut u64, last: bool) -> Result<Tail, String> {
    let mut bytes = Vec::new();
    let mut file = disk
        .open(path)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    file.read_to_end(&mut bytes).unwrap();
    let mut reader = Reader::new(0);
    reader.feed(&bytes);
    reader.feed(&[]);
    loop {
        match reader.next_entry() {
            Ok(Some(Entry::Command(words))) => {
                let argv = words.argv();
                let word = |n: usize| String::from_utf8_lossy(argv[n]).into_owned();
                let number: u64 = word(1).parse().unwrap();
                match &*word(0) {
                    "BASE" => *count = number,
                    _ if number == *count => *count += 1,
                    _ => return Err(format!("{number} comes where {count} should")),
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(ended(&reader, reader.position())),
            Err(Wrong::Torn(at)) if last => return Ok(ended(&reader, at)),
            Err(wrong) => return Err(format!("{}: {wrong}", path.display())),
        }
    }
}

/// The end of a file that was read and is as long.
fn ended(reader: &Reader, len: u64) -> Tail {
    Tail {
        len,
        vouched: reader.position() == len && !reader.is_unvouched(),
    }
}

/// What a start finds: how many commands, and how the last log ends.
fn load(disk: &SimDisk) -> Result<(Directory, u64, Tail), String> {
    let mut tail = Tail::default();
    let mut count = 0;
    let files = Directory::open(Arc::new(disk.clone()), place()).map_err(|e| e.to_string())?;
    let parts: Vec<_> = files.manifest().parts().collect();
    for (n, (part, _)) in parts.iter().enumerate() {
        let path = files.place().file(&part.name);
        tail = replay(disk, &path, &mut count, n + 1 == parts.len())?;
    }
    Ok((files, count, tail))
}

/// Starts on what is there. What was read must still be there behind it.
fn start(disk: &SimDisk) -> Result<String, String> {
    let (files, count, tail) = load(disk)?;
    let log = Arc::new(Log::new(Policy::Always));
    if files.manifest().base.is_some() {
        Writer::resume(log, files, tail, BEGUN).map_err(|e| e.to_string())?;
        let again = load(disk)?.1;
        if again != count {
            return Err(format!("there were {count}, and of those it kept {again}"));
        }
    }
    Ok(count.to_string())
}

/// A writer that does what chance says.
struct Play {
    disk: SimDisk,
    log: Arc<Log>,
    writer: Writer,
    rng: Rng,
    /// Commands so far, and where each ends in the log of this run of the writer.
    count: u64,
    ends: Vec<(u64, u64)>,
    /// The number of the rewrite that goes on, with what its base holds.
    rewrite: Option<(u64, u64)>,
    acknowledged: u64,
    rewrites: u64,
    marks: Vec<Mark>,
}

/// How far it was when some of it had been done: between so many operations on the disk and so many.
#[derive(Clone, Copy, Debug)]
struct Mark {
    begun: usize,
    done: usize,
    /// Commands that must not be lost.
    acknowledged: u64,
    /// Commands that there were.
    count: u64,
}

impl Play {
    fn new(seed: u64) -> Play {
        let disk = SimDisk::new("/");
        let files = Directory::open(Arc::new(disk.clone()), place()).unwrap();
        let log = Arc::new(Log::new(Policy::Always));
        let writer = Writer::begin(Arc::clone(&log), files);
        let mut play = Play {
            disk,
            log,
            writer,
            rng: Rng::seed_from_u64(seed),
            count: 0,
            ends: Vec::new(),
            rewrite: None,
            acknowledged: 0,
            rewrites: 0,
            marks: Vec::new(),
        };
        play.mark(0);
        play.cut();
        play.rebase();
        play
    }

    /// Lets the writer work, and notes what is acknowledged behind that.
    fn step(&mut self, begun: usize) {
        self.writer.step();
        let synced = self.log.synced();
        if let Some((_, count)) = self.ends.iter().rfind(|(end, _)| *end <= synced) {
            self.acknowledged = self.acknowledged.max(*count);
        }
        self.ends.retain(|(end, _)| *end > synced);
        self.mark(begun);
    }

    fn mark(&mut self, begun: usize) {
        self.marks.push(Mark {
            begun,
            done: self.disk.ops(),
            acknowledged: self.acknowledged,
            count: self.count,
        });
    }

    /// Whether so many commands may be there behind a cut.
    fn allows(&self, contents: &str, ops: usize) -> Result<(), String> {
        let found: u64 = contents.parse().unwrap();
        let done = self.marks.iter().rfind(|mark| mark.done <= ops);
        let begun = self.marks.iter().rfind(|mark| mark.begun < ops);
        let least = done.map_or(0, |mark| mark.acknowledged);
        // What a restart cuts off may still be there while it does.
        let most = done.into_iter().chain(begun).map(|mark| mark.count);
        let most = most.max().unwrap_or(0);
        if (least..=most).contains(&found) {
            return Ok(());
        }
        Err(format!("{found} commands are there, of {least} to {most}"))
    }

    fn append(&mut self) {
        let begun = self.disk.ops();
        for _ in 0..=self.rng.index(3) {
            let most = if self.rng.chance(0.1) { 9000 } else { 30 };
            let filling = "x".repeat(self.rng.index(most));
            let words = ["N".into(), self.count.to_string(), filling];
            self.log.append(&command(&words));
            self.count += 1;
            self.ends.push((self.log.appended(), self.count));
        }
        self.step(begun);
    }

    fn order(&mut self, order: Order) {
        let begun = self.disk.ops();
        self.log.order(order);
        self.step(begun);
    }

    fn cut(&mut self) {
        self.rewrites += 1;
        let id = self.rewrites;
        self.rewrite = Some((id, self.count));
        self.order(Order::Cut { id, time: BEGUN });
    }

    fn rebase(&mut self) {
        let Some((id, count)) = self.rewrite.take() else {
            return;
        };
        let path = place().file(TEMPORARY);
        let written = self.disk.create(&path).and_then(|mut file| {
            file.write_all(&command(&["BASE".into(), count.to_string()]))?;
            file.sync()
        });
        if written.is_ok() {
            self.order(Order::Rebase {
                id,
                temporary: TEMPORARY.into(),
                rdb: false,
            });
        }
    }

    /// The process is killed and started again: what it wrote is there.
    fn restart(&mut self) {
        self.disk.heal();
        // Otherwise it might find, and rely on, what the disk will never have.
        self.disk.evict();
        let begun = self.disk.ops();
        let (files, count, tail) = load(&self.disk).unwrap();
        assert!((self.acknowledged..=self.count).contains(&count));
        self.log = Arc::new(Log::new(Policy::Always));
        self.writer = Writer::resume(Arc::clone(&self.log), files, tail, BEGUN).unwrap();
        // What was killed with it is no longer asked for.
        self.count = count;
        self.acknowledged = count;
        self.ends.clear();
        self.rewrite = None;
        self.mark(begun);
    }

    fn fail(&mut self) {
        let kinds = [
            Kind::Write,
            Kind::Sync,
            Kind::Sync,
            Kind::Rename,
            Kind::Create,
            Kind::SyncDir,
            Kind::SetLen,
            Kind::Remove,
        ];
        let kind = kinds[self.rng.index(kinds.len())];
        let mut fault = Fault::on(kind).beginning_with(1 + self.rng.below(3));
        if self.rng.chance(0.7) {
            fault = fault.once();
        }
        if self.rng.chance(0.5) {
            fault = fault.drops_pages();
        }
        self.disk.inject(fault);
        if self.rng.chance(0.2) {
            self.disk.leave_room(self.rng.below(300));
        }
    }

    fn play(&mut self, steps: usize, faults: bool) {
        for _ in 0..steps {
            match self.rng.index(20) {
                0 => self.cut(),
                1 | 2 => self.rebase(),
                3 => self.restart(),
                4 | 5 if faults => self.fail(),
                6 if faults => self.disk.heal(),
                7 => self.order(Order::Retry),
                8 => self.order(Order::Sync),
                _ => self.append(),
            }
        }
        self.disk.heal();
    }
}

/// Some plays, each cut everywhere.
fn plays(seeds: impl Iterator<Item = u64>, faults: bool) {
    let (mut ops, mut images, mut again) = (0, 0, 0);
    for seed in seeds {
        let mut play = Play::new(seed);
        play.play(60, faults);
        let plan = Plan {
            seed,
            by_chance: 3,
            again_each: 20,
        };
        let tried = try_all(&play.disk.tape(), plan, start, |contents, ops| {
            play.allows(contents, ops)
        });
        ops += tried.ops;
        images += tried.images;
        again += tried.again;
    }
    println!("{ops} operations, {images} images, {again} cuts while starting");
    assert!(images > 1000);
}

#[test]
fn nothing_acknowledged_is_lost_by_the_writer() {
    plays(1..=20 * rounds(), false);
}

#[test]
fn nothing_acknowledged_is_lost_by_the_writer_when_operations_fail() {
    plays((1..=30 * rounds()).map(|seed| 1000 + seed), true);
}
