//! Reading an append-only file: time per command, of those that are vouched for and of those that are not.

#![expect(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redkeep::persist::aof::reader::vouch;
use redkeep::persist::aof::{Entry, Reader};

/// Commands in a log.
const COMMANDS: u64 = 200_000;

/// Bytes that are fed at once.
const PIECE: usize = 256 * 1024;

/// A log of small SETs, with a voucher behind each `batch` of them; 0 is none.
fn log(batch: u64) -> Vec<u8> {
    let (mut log, mut start) = (Vec::new(), 0);
    for n in 1..=COMMANDS {
        let command = format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{n:012}\r\n$8\r\n{n:08}\r\n");
        log.extend(command.bytes());
        if batch > 0 && n % batch == 0 {
            let (sum, len) = (crc32fast::hash(&log[start..]), log.len() - start);
            vouch(&mut log, sum, len as u64, start as u64);
            start = log.len();
        }
    }
    log
}

fn read(log: &[u8]) -> u64 {
    let (mut reader, mut words) = (Reader::new(0), 0);
    let mut pieces = log.chunks(PIECE).chain([&b""[..]]);
    loop {
        match reader.next_entry() {
            Ok(Some(Entry::Command(command))) => words += command.argv().len() as u64,
            Ok(Some(_)) => {}
            Ok(None) => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => return words,
            },
            Err(_) => return 0,
        }
    }
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("read a log");
    group.throughput(Throughput::Elements(COMMANDS));
    for (name, batch) in [
        ("without vouchers", 0),
        ("one for each command", 1),
        ("one for 100 commands", 100),
        ("one for 20000 commands", 20_000),
    ] {
        let log = log(batch);
        assert_eq!(read(&log), 3 * COMMANDS);
        group.bench_function(name, |b| b.iter(|| black_box(read(&log))));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .sample_size(20);
    targets = reading
}
criterion_main!(benches);
