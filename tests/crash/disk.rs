//! The simulated disk forgets what a real one may forget, and nothing else.

use super::common::sim_disk::{Cut, Data, Fault, Image, Kind, Names, SimDisk, tape};
use redkeep::persist::{Disk, DiskFile};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

const DIR: &str = "/d";
const DATA: [Data; 6] = [
    Data::Lost,
    Data::Kept,
    Data::Torn,
    Data::Zeros,
    Data::Garbage,
    Data::Pages,
];

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn disk() -> SimDisk {
    SimDisk::new(DIR)
}

fn read(disk: &SimDisk, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file: Box<dyn DiskFile> = disk.open(p(path)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A file that is there for good.
fn lasting(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let mut file = disk.create(p(path)).unwrap();
    file.write_all(bytes).unwrap();
    file.sync().unwrap();
    disk.sync_dir(p(DIR)).unwrap();
}

fn left(disk: &SimDisk, data: Data, names: Names, seed: u64) -> Image {
    let tape = disk.tape();
    tape.cut(tape.ops.len(), &Cut { data, names, seed })
}

/// Everything that may be left of a file.
fn all_left(disk: &SimDisk, path: &str, data: Data) -> BTreeSet<Vec<u8>> {
    let of = |seed| left(disk, data, Names::Kept, seed).file(path).to_vec();
    (0..400).map(of).collect()
}

#[test]
fn files_are_written_read_and_renamed() {
    let disk = disk();
    let mut file = disk.create(p("/d/a")).unwrap();
    file.write_all(b"hello").unwrap();
    file.seek(SeekFrom::Start(1)).unwrap();
    file.write_all(b"E").unwrap();
    disk.append(p("/d/./a")).unwrap().write_all(b"!").unwrap();
    assert_eq!(read(&disk, "/d/a"), b"hEllo!");
    assert_eq!(disk.size(p("/d/a")).unwrap(), 6);
    disk.rename(p("/d/a"), p("/d/b")).unwrap();
    // Whoever has it open goes on.
    file.set_len(2).unwrap();
    assert_eq!(read(&disk, "/d/b"), b"hE");
    assert_eq!(
        disk.open(p("/d/a")).err().unwrap().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        disk.create(p("/e/a")).err().unwrap().kind(),
        ErrorKind::NotFound
    );
    assert!(disk.open(p("/d/b")).unwrap().write(b"x").is_err());
    disk.create(p("/d/b")).unwrap();
    assert_eq!(disk.size(p("/d/b")).unwrap(), 0);
    disk.remove(p("/d/b")).unwrap();
    assert!(disk.remove(p("/d/b")).is_err());
    disk.make_dir(p("/d/sub")).unwrap();
    disk.make_dir(p("/d/sub")).unwrap();
    disk.create(p("/d/sub/c")).unwrap();
    assert!(disk.image().has("/d/sub/c"));
    assert_eq!(disk.list(p(DIR)).unwrap(), ["sub"]);
    assert!(disk.list(p("/e")).is_err());
}

#[test]
fn what_is_synced_stays_whatever_the_cut() {
    let disk = disk();
    lasting(&disk, "/d/a", b"kept");
    disk.append(p("/d/a")).unwrap().write_all(b"more").unwrap();
    for data in DATA {
        for names in [Names::Lost, Names::Kept, Names::First(0), Names::Only(0)] {
            for seed in 0..20 {
                let image = left(&disk, data, names, seed);
                assert!(
                    image.file("/d/a").starts_with(b"kept"),
                    "{data:?} {image:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_synced_is_lost_in_many_ways() {
    let disk = disk();
    lasting(&disk, "/d/a", b"12");
    let mut file = disk.append(p("/d/a")).unwrap();
    file.write_all(b"34").unwrap();
    file.write_all(b"5").unwrap();
    let only = |bytes: &[u8]| BTreeSet::from([bytes.to_vec()]);
    assert_eq!(all_left(&disk, "/d/a", Data::Lost), only(b"12"));
    assert_eq!(all_left(&disk, "/d/a", Data::Kept), only(b"12345"));
    assert_eq!(all_left(&disk, "/d/a", Data::Zeros), only(b"12\0\0\0"));
    let torn = all_left(&disk, "/d/a", Data::Torn);
    let prefixes = (2..=5).map(|n| b"12345"[..n].to_vec());
    assert_eq!(torn, prefixes.collect());
    let garbage = all_left(&disk, "/d/a", Data::Garbage);
    assert!(garbage.len() > 100 && garbage.iter().all(|bytes| bytes.len() == 5));
    // Cutting a file off is a change like others.
    file.set_len(1).unwrap();
    assert_eq!(all_left(&disk, "/d/a", Data::Lost), only(b"12"));
    assert_eq!(all_left(&disk, "/d/a", Data::Kept), only(b"1"));
    assert!(all_left(&disk, "/d/a", Data::Torn).contains(&b"1"[..]));
    file.sync().unwrap();
    assert_eq!(all_left(&disk, "/d/a", Data::Lost), only(b"1"));
}

#[test]
fn pages_are_lost_one_by_one() {
    let disk = disk();
    lasting(&disk, "/d/a", &[b'o'; 5000]);
    let mut file = disk.append(p("/d/a")).unwrap();
    file.write_all(&[b'n'; 8000]).unwrap();
    let all = all_left(&disk, "/d/a", Data::Pages);
    // Those of which something was not synced.
    assert_eq!(all.len(), 8);
    for bytes in all {
        assert_eq!(bytes.len(), 13_000);
        assert_eq!(bytes[..5000], [b'o'; 5000]);
        for page in bytes[5000..8192]
            .chunks(3192)
            .chain(bytes[8192..].chunks(4096))
        {
            assert!([b'n', 0].contains(&page[0]) && page.iter().all(|b| *b == page[0]));
        }
    }
}

#[test]
fn names_last_when_their_directory_is_synced() {
    let disk = disk();
    lasting(&disk, "/d/old", b"old");
    let mut file = disk.create(p("/d/new")).unwrap();
    file.write_all(b"new").unwrap();
    let seen = |data, names| {
        let image = left(&disk, data, names, 0);
        let names = image
            .files
            .keys()
            .map(|p| p.file_name().unwrap().to_str().unwrap());
        (
            names.collect::<Vec<_>>().join(" "),
            image.file("/d/old").to_vec(),
        )
    };
    assert_eq!(
        seen(Data::Lost, Names::Lost),
        ("old".into(), b"old".to_vec())
    );
    assert_eq!(
        seen(Data::Lost, Names::Kept),
        ("new old".into(), b"old".to_vec())
    );
    disk.rename(p("/d/new"), p("/d/old")).unwrap();
    // A name may come before the bytes; and a renaming without the making before it.
    assert_eq!(seen(Data::Lost, Names::Kept), ("old".into(), Vec::new()));
    assert_eq!(
        seen(Data::Kept, Names::Kept),
        ("old".into(), b"new".to_vec())
    );
    assert_eq!(
        seen(Data::Kept, Names::Only(1)),
        ("old".into(), b"new".to_vec())
    );
    assert_eq!(
        seen(Data::Kept, Names::Only(0)),
        ("new old".into(), b"old".to_vec())
    );
    assert_eq!(
        seen(Data::Kept, Names::First(1)),
        ("new old".into(), b"old".to_vec())
    );
    file.sync().unwrap();
    assert_eq!(
        seen(Data::Lost, Names::Lost),
        ("old".into(), b"old".to_vec())
    );
    disk.sync_dir(p(DIR)).unwrap();
    assert_eq!(
        seen(Data::Lost, Names::Lost),
        ("old".into(), b"new".to_vec())
    );
    disk.remove(p("/d/old")).unwrap();
    assert_eq!(
        seen(Data::Lost, Names::Lost),
        ("old".into(), b"new".to_vec())
    );
    assert_eq!(seen(Data::Lost, Names::Kept), (String::new(), Vec::new()));
}

#[test]
fn a_directory_is_lost_with_what_is_in_it_until_the_one_above_is_synced() {
    let disk = disk();
    disk.make_dir(p("/d/sub")).unwrap();
    let mut file = disk.create(p("/d/sub/a")).unwrap();
    file.write_all(b"a").unwrap();
    file.sync().unwrap();
    disk.sync_dir(p("/d/sub")).unwrap();
    let has = || left(&disk, Data::Lost, Names::Lost, 0).has("/d/sub/a");
    assert!(!has());
    disk.sync_dir(p(DIR)).unwrap();
    assert!(has());
}

#[test]
fn a_cut_is_possible_behind_each_operation() {
    let disk = disk();
    lasting(&disk, "/d/a", b"1");
    let tape = disk.tape();
    assert_eq!(tape.ops.len(), 4);
    let cut = Cut {
        data: Data::Lost,
        names: Names::Lost,
        seed: 0,
    };
    let whole: Vec<bool> = (0..=4)
        .map(|k| tape.cut(k, &cut).file("/d/a") == b"1")
        .collect();
    assert_eq!(whole, [false, false, false, false, true]);
    // What was left is a disk again.
    let again = SimDisk::from_image(&tape.cut(4, &cut));
    assert_eq!((read(&again, "/d/a"), again.ops()), (b"1".to_vec(), 0));
    again.append(p("/d/a")).unwrap().write_all(b"2").unwrap();
    assert_eq!(
        (read(&again, "/d/a"), read(&disk, "/d/a")),
        (b"12".to_vec(), b"1".to_vec())
    );
    let kinds = tape::cuts(&tape.start(), 1, 5);
    assert!(kinds.len() >= 13);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = disk();
    let mut file = disk.create(p("/d/a")).unwrap();
    disk.leave_room(3);
    assert_eq!(file.write(b"12345").unwrap(), 3);
    let full = file.write(b"45").unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    disk.heal();
    file.write_all(b"45").unwrap();
    assert_eq!(read(&disk, "/d/a"), b"12345");
}

#[test]
fn operations_fail_on_demand() {
    let disk = disk();
    lasting(&disk, "/d/a", b"1");
    let mut file = disk.append(p("/d/a")).unwrap();
    disk.inject(Fault::on(Kind::Write).of("/a").beginning_with(2).once());
    assert!(file.write(b"2").is_ok() && file.write(b"3").is_err() && file.write(b"4").is_ok());
    assert_eq!(read(&disk, "/d/a"), b"124");
    disk.inject(Fault::on(Kind::Rename));
    disk.inject(Fault::on(Kind::SyncDir).once());
    assert!(disk.rename(p("/d/a"), p("/d/b")).is_err() && disk.size(p("/d/a")).is_ok());
    assert!(disk.sync_dir(p(DIR)).is_err() && disk.sync_dir(p(DIR)).is_ok());
    disk.heal();
    disk.make_read_only(DIR);
    let refused = disk.create(p("/d/c")).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(disk.remove(p("/d/a")).is_err() && file.write(b"5").is_ok());
    disk.heal();
    let ops = disk.ops();
    disk.let_die_after(1);
    assert!(file.write(b"6").is_ok() && file.sync().is_err() && file.write(b"7").is_err());
    assert_eq!(disk.ops(), ops + 1);
}

#[test]
fn a_failed_sync_forgets_and_the_next_one_succeeds() {
    let disk = disk();
    lasting(&disk, "/d/a", b"1");
    let mut file = disk.append(p("/d/a")).unwrap();
    file.write_all(b"22").unwrap();
    disk.inject(Fault::on(Kind::Sync).once().drops_pages());
    assert!(file.sync().is_err());
    file.write_all(b"3").unwrap();
    file.sync().unwrap();
    // Whoever reads it finds everything, until the power goes.
    assert_eq!(read(&disk, "/d/a"), b"1223");
    for data in DATA {
        assert_eq!(left(&disk, data, Names::Kept, 0).file("/d/a"), b"1\0\x003");
    }
    disk.evict();
    assert_eq!(read(&disk, "/d/a"), b"1\0\x003");
    // One that fails and forgets nothing.
    file.write_all(b"4").unwrap();
    disk.inject(Fault::on(Kind::Sync).once());
    assert!(file.sync().is_err() && file.sync().is_ok());
    assert_eq!(
        left(&disk, Data::Lost, Names::Kept, 0).file("/d/a"),
        b"1\0\x0034"
    );
}

#[test]
fn a_gate_holds_operations_until_it_is_opened() {
    let disk = disk();
    let mut file = disk.create(p("/d/a")).unwrap();
    let gate = disk.hold(Kind::Sync, "/a");
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| file.sync());
        assert!(gate.wait_for_arrival());
        assert_eq!(disk.ops(), 1);
        disk.create(p("/d/b")).unwrap().sync().unwrap();
        gate.open();
        syncing.join().unwrap().unwrap();
    });
    assert_eq!(disk.ops(), 4);
}

#[test]
fn a_directory_belongs_to_one_at_a_time() {
    let disk = disk();
    let held = disk.lock(p(DIR)).unwrap();
    assert_eq!(disk.lock(p(DIR)).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(held);
    assert!(disk.lock(p(DIR)).is_ok());
    assert!(disk.lock(p("/nowhere")).is_err());
}
