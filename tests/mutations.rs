//! Files that came to harm: whatever byte of an RDB file or a log is changed, lost or added, it is refused with the place,
//! or loaded as it was; in little memory and time.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

#[path = "fuzz/bodies.rs"]
mod bodies;
mod common;
#[path = "mutations/counting.rs"]
mod counting;
#[path = "dump/legacy.rs"]
mod legacy;
#[path = "dump/samples.rs"]
mod samples;
#[path = "fuzz/samples.rs"]
mod small;
#[path = "dump/target.rs"]
mod target;

use bodies::{Harm, Log, log_of};
use counting::peak_of;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redkeep::embed::{Node, jobs};
use redkeep::engine::{Engine, Options};
use redkeep::exec::Host;
use redkeep::persist::aof::{Entry, Reader};
use redkeep::persist::{Disk, Files, Loaded, Loader};
use redkeep::service::config::{Config, Settings};
use redkeep::util::digest::crc64;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reading takes at most so many times the bytes of a file, …
const TIMES: usize = 20;
/// … and so many more: compressing takes a table.
const MORE: usize = 384 * 1024;
/// No file takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a byte is changed to.
fn others(byte: u8) -> impl Iterator<Item = u8> {
    let flips = (0..8).map(move |bit| byte ^ 1 << bit);
    let near = [byte.wrapping_add(1), byte.wrapping_sub(1)];
    flips
        .chain(near)
        .chain([0, 0x7F, 0x81, 0xC3, 0xFE, 0xFF])
        .chain(*b"1\n")
}

/// Everything that is done to a small file.
fn all_harm(bytes: &[u8]) -> Vec<Harm> {
    let len = bytes.len();
    let mut all = Vec::new();
    for (at, &byte) in bytes.iter().enumerate() {
        all.extend(others(byte).map(|byte| Harm::Set(at, byte)));
        all.extend([0, b'1', 0xFF].map(|byte| Harm::Insert(at, byte)));
        all.extend([Harm::Insert(at, byte), Harm::Remove(at), Harm::Cut(at)]);
        for size in [3, 20] {
            let range = at..(at + size).min(len);
            all.push(Harm::Zeros(range.clone()));
            all.push(Harm::Twice(range.clone()));
            all.push(Harm::Without(range));
        }
    }
    all
}

fn any_harm(rng: &mut SmallRng, len: usize) -> Harm {
    let more = match rng.random_range(0..3) {
        0 => rng.random_range(1..16),
        1 => rng.random_range(1..5000),
        _ => rng.random_range(1..len),
    };
    Harm::of(
        rng.random(),
        rng.random_range(0..len),
        more,
        rng.random(),
        len,
    )
}

/// Reads a file: what it holds, and where it cannot be read on.
fn load(file: &[u8], piece: usize, checked: bool) -> (String, Option<u64>) {
    let mut held = String::new();
    let wrong = each(file, piece, checked, |item| {
        let digest = crc64(0, item().as_bytes());
        write!(held, "{digest:x} ").unwrap();
    });
    (held, wrong)
}

/// Reads a file and calls with each thing in it, to be put in words; where it cannot be read on.
fn each(
    file: &[u8],
    piece: usize,
    checked: bool,
    mut with: impl FnMut(&dyn Fn() -> String),
) -> Option<u64> {
    let limits = bodies::limits();
    let mut loader = Loader::new(checked);
    let mut pieces = file.chunks(piece).chain([&b""[..]]);
    loop {
        match loader.next(&limits, 1_700_000_000_000) {
            Ok(None) => loader.feed(pieces.next().unwrap()),
            Ok(Some(Loaded::End)) => break,
            Ok(Some(loaded)) => with(&|| format!("{loaded:?}")),
            Err(e) => return Some(e.offset),
        }
    }
    // Commands may follow.
    let mut reader = Reader::new(loader.position());
    if !loader.rest().is_empty() {
        reader.feed(loader.rest());
    }
    loop {
        match reader.next_entry() {
            Ok(Some(Entry::Command(words))) => with(&|| format!("{words:?}")),
            Ok(Some(_)) => {}
            Ok(None) => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => return None,
            },
            Err(wrong) => return Some(wrong.offset()),
        }
    }
}

/// Looks at what is read of an RDB file that came to harm. It may have a tail of commands from `rdb` on.
fn suffers(file: &[u8], rdb: usize, harm: &Harm, whole: &str, most: &mut Most) {
    let bad = harm.done_to(file);
    let began = Instant::now();
    let (wrong, peak) = peak_of(|| each(&bad, 100, false, |_| ()));
    most.see(peak, bad.len(), began.elapsed(), harm);
    assert!(
        wrong.is_none_or(|offset| offset <= bad.len() as u64),
        "{harm:?}"
    );
    // Old versions have no checksum, and the tail has none.
    let sealed = file.get(5..9) >= Some(b"0005") && bad.get(..rdb) != file.get(..rdb);
    if sealed && wrong.is_none() {
        let (held, wrong) = load(&bad, 100, true);
        assert!(wrong.is_some() || held == whole, "{harm:?}");
    }
}

/// The most that was taken.
#[derive(Default, Debug)]
struct Most {
    runs: usize,
    peak: usize,
    times: f64,
    longest: Duration,
}

impl Most {
    fn see(&mut self, peak: usize, len: usize, took: Duration, harm: &Harm) {
        self.runs += 1;
        self.peak = self.peak.max(peak);
        let more = peak.saturating_sub(MORE);
        self.times = self.times.max(more as f64 / len.max(1) as f64);
        self.longest = self.longest.max(took);
        assert!(
            peak <= len * TIMES + MORE,
            "{peak} bytes for {len}: {harm:?}"
        );
        assert!(took < PATIENCE, "{took:?}: {harm:?}");
    }
}

impl Drop for Most {
    fn drop(&mut self) {
        println!("{self:?}");
    }
}

/// A file of some version with one object, sealed as that version does.
fn file_of(version: u16, payload: &[u8]) -> Vec<u8> {
    let object = &payload[1..payload.len() - 10];
    let mut file = format!("REDIS{version:04}").into_bytes();
    file.extend([0xFE, 0, payload[0], 1, b'k']);
    file.extend(object);
    file.push(0xFF);
    if version >= 5 {
        file.extend(crc64(0, &file).to_le_bytes());
    }
    file
}

/// Small files, with all types, of all versions.
fn small_files() -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = small::rdb_files()
        .pop()
        .map(|file| file[1..].to_vec())
        .into_iter()
        .collect();
    let old = legacy::samples().into_iter().map(|(_, payload, _)| payload);
    let new = samples::all().into_iter().map(|sample| sample.payload);
    for (n, payload) in old.chain(new).enumerate() {
        if payload.len() < 400 {
            files.push(file_of(n as u16 % 12 + 1, &payload));
        }
    }
    files
}

#[test]
fn small_files_are_refused_or_loaded_as_they_were() {
    let mut most = Most::default();
    for file in small_files() {
        let (whole, wrong) = load(&file, 100, true);
        assert_eq!(wrong, None);
        for harm in all_harm(&file) {
            suffers(&file, file.len(), &harm, &whole, &mut most);
        }
    }
}

/// What a program of this kind writes, in about so many bytes.
fn commands(rng: &mut SmallRng, bytes: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut size = 0;
    while size < bytes {
        let n: u32 = rng.random_range(0..100_000);
        let letters = (0..rng.random_range(0..200)).map(|_| rng.random_range('!'..='~'));
        let long: String = letters.collect();
        let words = match n % 7 {
            0 => vec!["SET".into(), format!("key:{n}"), long],
            1 => vec![
                "HSET".into(),
                format!("hash:{}", n % 50),
                n.to_string(),
                long,
            ],
            2 => vec!["RPUSH".into(), format!("list:{}", n % 50), long],
            3 => vec!["SADD".into(), format!("set:{}", n % 50), n.to_string()],
            4 => vec![
                "ZADD".into(),
                format!("zset:{}", n % 50),
                n.to_string(),
                long,
            ],
            5 => vec!["XADD".into(), "stream".into(), "*".into(), "f".into(), long],
            _ => vec![
                "PEXPIREAT".into(),
                format!("key:{n}"),
                "99999999999999".into(),
            ],
        };
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            write!(command, "${}\r\n{word}\r\n", word.len()).unwrap();
        }
        size += command.len();
        all.push(command.into_bytes());
    }
    all
}

#[test]
fn larger_files_are_refused_or_loaded_as_they_were() {
    let mut rng = SmallRng::seed_from_u64(7);
    let commands = commands(&mut rng, 150_000);
    let file = small::rdb_file_of(&commands);
    assert!(file.len() > 50_000, "{}", file.len());
    let tail = [&file[..], &commands[..20].concat()].concat();
    let mut most = Most::default();
    for (bytes, rdb) in [(&file, file.len()), (&tail, file.len())] {
        let (whole, wrong) = load(bytes, 100, true);
        assert_eq!(wrong, None);
        for _ in 0..60 {
            let harm = any_harm(&mut rng, bytes.len());
            suffers(bytes, rdb, &harm, &whole, &mut most);
        }
    }
}

/// Does harm to a log, measured.
fn log_suffers(log: &Log, harm: &Harm, piece: usize, most: &mut Most) {
    let bad = harm.done_to(&log.bytes);
    let began = Instant::now();
    let ((), peak) = peak_of(|| drain(&bad, piece));
    most.see(peak, bad.len(), began.elapsed(), harm);
    log.suffers(harm, piece);
}

fn drain(log: &[u8], piece: usize) {
    let mut reader = Reader::new(0);
    let mut pieces = log.chunks(piece).chain([&b""[..]]);
    loop {
        match reader.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => return,
            },
            Err(_) => return,
        }
    }
}

#[test]
fn small_logs_are_never_taken_for_others() {
    let mut most = Most::default();
    let shapes: [&[u8]; 7] = [
        &[0x24, 0x04, 0x24, 0x24],
        &[0x20, 0x45, 0x6A, 0x83],
        &[0xE0, 0xE5, 0xEA],
        &[0x21, 0x00, 0x42, 0x63, 0xE3],
        &[0x25, 0x45, 0x65, 0x85],
        &[0x24, 0xE4, 0xE4, 0x44, 0xE4],
        &[0x00, 0x20, 0x05, 0x21],
    ];
    for shape in shapes {
        let log = log_of(shape);
        for harm in all_harm(&log.bytes) {
            log_suffers(&log, &harm, 64, &mut most);
        }
    }
}

#[test]
fn larger_logs_are_never_taken_for_others() {
    let mut rng = SmallRng::seed_from_u64(11);
    let commands = commands(&mut rng, 150_000);
    let commands: Vec<&[u8]> = commands.iter().map(Vec::as_slice).collect();
    let mut most = Most::default();
    let mut log = Log::default();
    let mut rest = &commands[..];
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(rng.random_range(1..100).min(rest.len()));
        log.batch(batch, rng.random_range(0..3) > 0);
        rest = behind;
    }
    for _ in 0..300 {
        let harm = any_harm(&mut rng, log.bytes.len());
        log_suffers(&log, &harm, 4096, &mut most);
    }
}

#[test]
fn what_is_made_to_keep_us_busy_does_not() {
    let claim = b"#CRC:00000000:1000000:1\r\n".repeat(100_000);
    let nested = [&b"*1000000\r\n"[..], &b"$1\r\nx\r\n".repeat(100_000)].concat();
    let far = b"*2\r\n$1\r\nx\r\n$1000000000\r\n".repeat(50_000);
    for bytes in [
        [b"!", &claim[..]].concat(),
        [&[0; 2_000_000], &claim[..]].concat(),
        [b"!", &b"#CRC:".repeat(300_000)[..]].concat(),
        nested,
        far,
        b"#".repeat(1_000_000),
        b"*".repeat(1_000_000),
    ] {
        for piece in [1, 1 << 16] {
            let began = Instant::now();
            let ((), peak) = peak_of(|| drain(&bytes, piece));
            let harm = Harm::Cut(bytes.len());
            Most::default().see(peak, bytes.len(), began.elapsed(), &harm);
        }
    }
}

/// An instance in this process that keeps its data on the disk.
struct OnDisk;

impl Host for OnDisk {
    fn disk(&self) -> Option<Arc<dyn Disk>> {
        Some(Arc::new(Files))
    }
}

#[test]
fn no_room_is_made_for_keys_that_a_file_has_no_bytes_for() {
    let mut file = b"REDIS0010".to_vec();
    for db in 0..16 {
        // So many keys, so many of them with a deadline.
        file.extend([
            0xFE, db, 0xFB, 0x80, 0x7F, 0xFF, 0xFF, 0xFF, 0x80, 0x7F, 0xFF, 0xFF, 0xFF,
        ]);
    }
    file.extend([0, 1, b'k', 0x80, 0, 0x20, 0, 0]);
    file.extend(vec![b'v'; 0x20_0000]);
    file.push(0xFF);
    file.extend(crc64(0, &file).to_le_bytes());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("dump.rdb"), &file).unwrap();
    let config = Config {
        dir: dir.path().to_str().unwrap().to_owned(),
        ..Config::default()
    };
    let engine = Engine::new(Options {
        settings: Settings::new(config, None),
        host: Box::new(OnDisk),
        ..Options::default()
    });
    let node = Node::new(engine);
    let disk: Arc<dyn Disk> = Arc::new(Files);
    let began = Instant::now();
    let (loaded, peak) = peak_of(|| jobs::load_data(&node, &disk));
    loaded.unwrap();
    let harm = Harm::Cut(file.len());
    Most::default().see(peak, file.len(), began.elapsed(), &harm);
}
