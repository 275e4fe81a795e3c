use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair(Vec<u8>, u64);

impl Keyed for Pair {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

fn rng(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn key(n: u64) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

fn table(seed: u64) -> Table<Pair> {
    Table::new(Seed::random(rng(seed)))
}

impl<E> Table<E> {
    /// Asserts every invariant of the directory, the segments and the counters.
    fn check_with(&self, hash: impl Fn(&E) -> u64) {
        self.segments
            .iter()
            .for_each(|segment| segment.check(&hash));
        let len: usize = self.segments.iter().map(Segment::len).sum();
        assert_eq!(len, self.len);
        let heap: usize = self.segments.iter().map(Segment::heap).sum();
        assert_eq!(heap, self.heap);
        if self.is_empty() {
            assert_eq!(self.memory(), 0);
            return;
        }
        let deepest = |s: &&Segment<E>| s.depth() == self.depth;
        assert_eq!(self.segments.iter().filter(deepest).count(), self.deepest);
        if self.depth == 0 {
            assert!(self.directory.is_empty() && self.segments.len() == 1);
            return;
        }
        assert_eq!(self.directory.len(), 1 << self.depth);
        for (id, segment) in self.segments.iter().enumerate() {
            let range = self.directory_range(segment);
            assert!(self.directory[range].iter().all(|&to| to as usize == id));
        }
        let shares = |s: &Segment<E>| self.directory_range(s).len();
        let covered: usize = self.segments.iter().map(shares).sum();
        assert_eq!(covered, self.directory.len());
    }
}

impl Table<Pair> {
    fn check(&self) {
        self.check_with(|pair| self.hash(&pair.0));
    }

    fn sorted(&self) -> Vec<Pair> {
        let mut all: Vec<Pair> = self.iter().cloned().collect();
        all.sort();
        all
    }
}

/// What tests do to a table: mostly to runs of keys, so that it grows and shrinks.
#[derive(Clone, Debug)]
enum Op {
    Put { from: u64, count: u64, value: u64 },
    Remove { from: u64, count: u64 },
}

impl Op {
    fn any() -> impl Strategy<Value = Self> {
        let run = (0..2000u64, prop_oneof![4 => 1..4u64, 2 => 1..600u64]);
        prop_oneof![
            (run.clone(), any::<u64>()).prop_map(|((from, count), value)| Self::Put {
                from,
                count,
                value
            }),
            run.prop_map(|(from, count)| Self::Remove { from, count }),
        ]
    }

    /// Applies the operation key by key: `write` is given the key and its new value, or none.
    fn each(&self, mut write: impl FnMut(Vec<u8>, Option<u64>)) {
        match *self {
            Self::Put { from, count, value } => {
                (from..from + count).for_each(|n| write(key(n), Some(value ^ n)));
            }
            Self::Remove { from, count } => (from..from + count).for_each(|n| write(key(n), None)),
        }
    }
}

fn write(table: &mut Table<Pair>, key: Vec<u8>, value: Option<u64>) -> Option<u64> {
    let old = match value {
        Some(value) => table.insert(Pair(key, value)),
        None => table.remove(&key),
    };
    old.map(|pair| pair.1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn behaves_as_a_map(ops in prop::collection::vec(Op::any(), 1..40), seed: u64) {
        let mut table = table(seed);
        let mut model = BTreeMap::new();
        for op in ops {
            op.each(|key, value| {
                let expected = match value {
                    Some(value) => model.insert(key.clone(), value),
                    None => model.remove(&key),
                };
                assert_eq!(table.get(&key).map(|pair| pair.1), expected);
                assert_eq!(write(&mut table, key, value), expected);
            });
            table.check();
            prop_assert_eq!(table.len(), model.len());
            let all: Vec<Pair> = model.iter().map(|(k, v)| Pair(k.clone(), *v)).collect();
            prop_assert_eq!(table.sorted(), all.clone());
            prop_assert_eq!(table.clone().sorted(), all);
        }
        table.clone().check();
        let old = table.take();
        table.check();
        old.check();
        prop_assert_eq!(old.into_entries().count(), model.len());
    }

    #[test]
    fn scan_returns_what_stays_exactly_once(
        before in prop::collection::vec(Op::any(), 0..6),
        during in prop::collection::vec((Op::any(), 1..200usize), 1..40),
        seed: u64,
    ) {
        let mut table = table(seed);
        before.iter().for_each(|op| op.each(|key, value| {
            write(&mut table, key, value);
        }));
        let mut stayed: BTreeSet<Vec<u8>> = table.iter().map(|pair| pair.0.clone()).collect();
        let mut returned = BTreeMap::<Vec<u8>, usize>::new();
        let mut cursor = 0;
        let mut during = during.into_iter();
        loop {
            let count = match during.next() {
                Some((op, count)) => {
                    op.each(|key, value| {
                        if value.is_none() {
                            stayed.remove(&key);
                        }
                        write(&mut table, key, value);
                    });
                    count
                }
                None => 50,
            };
            cursor = table.scan(cursor, count, |pair| {
                *returned.entry(pair.0.clone()).or_default() += 1;
            });
            if cursor == 0 {
                break;
            }
        }
        for key in stayed {
            prop_assert_eq!(returned.get(&key), Some(&1));
        }
    }

    #[test]
    fn a_snapshot_is_what_was_there_when_it_began(
        before in prop::collection::vec(Op::any(), 0..6),
        during in prop::collection::vec((Op::any(), 0..200usize), 1..40),
        again in 0..40usize,
        seed: u64,
    ) {
        let mut table = table(seed);
        before.iter().for_each(|op| op.each(|key, value| {
            write(&mut table, key, value);
        }));
        let mut began = table.sorted();
        let mut seen = Vec::new();
        table.begin_snapshot();
        for (step, (op, walk)) in during.into_iter().enumerate() {
            if step == again {
                // An abandoned snapshot leaves nothing behind.
                began = table.sorted();
                seen.clear();
                table.begin_snapshot();
            }
            op.each(|key, value| {
                let hash = table.hash(&key);
                seen.extend(table.capture(hash, &key).cloned());
                assert_eq!(table.capture(hash, &key), None);
                write(&mut table, key, value);
            });
            if walk > 0 {
                let until = seen.len() + walk;
                table.walk_snapshot(|pair| {
                    seen.push(pair.clone());
                    seen.len() < until
                });
                prop_assert!(seen.len() <= until);
            }
            table.check();
        }
        let walked = table.walk_snapshot(|pair| {
            seen.push(pair.clone());
            true
        });
        prop_assert!(walked);
        prop_assert!(!table.in_snapshot());
        seen.sort();
        prop_assert_eq!(seen, began);
        table.check();
    }

    #[test]
    fn any_number_is_a_cursor(cursor: u64, count: usize, keys in 0..500u64) {
        let mut table = table(7);
        (0..keys).for_each(|n| drop(table.insert(Pair(key(n), n))));
        let mut visited = 0;
        let next = table.scan(cursor, count, |_| visited += 1);
        prop_assert!(next == 0 || next > cursor);
        prop_assert!(visited <= table.len());
    }
}

#[test]
fn grows_to_many_and_shrinks_to_nothing() {
    let mut table = table(1);
    assert_eq!(table.memory(), 0);
    for n in 0..50_000 {
        assert_eq!(table.insert(Pair(key(n), n)), None);
    }
    table.check();
    let full = table.memory();
    for n in 0..49_000 {
        assert_eq!(table.remove(&key(n)), Some(Pair(key(n), n)));
    }
    table.check();
    assert!(table.memory() < full / 10);
    for n in 49_000..50_000 {
        assert_eq!(table.remove(&key(n)), Some(Pair(key(n), n)));
    }
    table.check();
}

#[test]
fn room_that_was_made_in_advance_is_used_or_given_up() {
    for (announced, came) in [
        (3000, 3000),
        (3000, 3400),
        (100_000, 2000),
        (1 << 20, 10),
        (3000, 0),
        (40, 40),
    ] {
        let mut table = table(announced);
        table.expect(announced as usize);
        let room = table.memory();
        assert_eq!(room > 0, announced > 40);
        for n in 0..came {
            let hash = table.hash(&key(n));
            table.glance(hash);
            assert_eq!(table.insert(Pair(key(n), n)), None);
        }
        if came == announced {
            let entries = came as usize * size_of::<Pair>() * 3 / 2;
            assert!(table.memory() < room.max(1000) + entries, "{announced}");
        }
        table.settle();
        table.check();
        assert_eq!(table.len(), came as usize);
        assert!((0..came).all(|n| table.get(&key(n)) == Some(&Pair(key(n), n))));
        // What is there moves into the room that is made later.
        table.expect(1 << 20);
        assert_eq!(table.len(), came as usize);
        assert!((0..came).all(|n| table.get(&key(n)) == Some(&Pair(key(n), n))));
        table.begin_snapshot();
        table.expect(1 << 21);
        assert_eq!(table.in_snapshot(), came > 0);
        table.end_snapshot();
        table.settle();
        table.check();
    }
}

#[test]
fn a_taken_table_carries_its_snapshot_along() {
    let mut table = table(2);
    (0..500).for_each(|n| drop(table.insert(Pair(key(n), n))));
    table.begin_snapshot();
    let mut seen = 0;
    let mut visit = |stop: bool| {
        seen += 1;
        !stop
    };
    assert!(!table.walk_snapshot(|_| visit(true)));
    let mut old = table.take();
    assert!(!table.in_snapshot());
    assert!(old.walk_snapshot(|_| visit(false)));
    assert_eq!(seen, 500);
}

#[test]
fn a_vacant_slot_takes_the_entry_even_when_its_segment_must_split() {
    let mut table = table(3);
    for n in 0..2000 {
        let hash = table.hash(&key(n));
        let Slot::Vacant(place) = table.slot(hash, &key(n)) else {
            panic!("not there yet");
        };
        assert_eq!(place.insert(Pair(key(n), n)).1, n);
        let Slot::Occupied(mut found) = table.slot(hash, &key(n)) else {
            panic!("just added");
        };
        found.get_mut().1 += 1;
        assert_eq!(found.get().1, n + 1);
        found.into_mut().1 -= 1;
        assert_eq!(table.find_of_hash(hash, |_| true), Some(&Pair(key(n), n)));
    }
    table.check();
}

// Keys that hash as the test wants: all alike, or all at the end of the range.
#[test]
fn equal_hashes_stay_together() {
    let hashes = [0, 1 << 63, u64::MAX];
    for (hash, narrow) in hashes
        .into_iter()
        .flat_map(|hash| [(hash, false), (hash, true)])
    {
        // Indices that start out short get longer.
        let mut segment = match narrow {
            true => Segment::narrow(),
            false => Segment::new(),
        };
        for n in 0..60 {
            let Probe::Vacant { slot } = segment.probe(hash, |pair: &Pair| pair.1 == n) else {
                panic!("not there yet");
            };
            segment.insert(hash, slot, Pair(key(n), n));
            segment.check(|_| hash);
        }
        let mut met = 0;
        assert!(segment.visit(
            hash,
            |_| hash,
            |_, _| {
                met += 1;
                true
            }
        ));
        assert_eq!(met, 60);
        for n in (0..60).map(|n| n * 7 % 60).collect::<BTreeSet<u64>>() {
            let Probe::Found { slot, index } = segment.probe(hash, |pair| pair.1 == n) else {
                panic!("still there");
            };
            assert_eq!(segment.remove(slot, index, |_| hash).1, n);
            segment.check(|_| hash);
        }
        assert_eq!(segment.len(), 0);
    }
}

/// Something without a key, but with a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hashed(u64, u64);

/// Hashes as no good function gives them: many agree in more bits than a table goes by.
fn bad_hash() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => (0..8u64, 0..64u32).prop_map(|(n, by)| n.rotate_right(by)),
        2 => (0..400u64).prop_map(|n| 0xabcd_ef01_0000_0000 | n << 20),
        1 => Just(u64::MAX),
        2 => any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the hashes are, each entry is found, and returned once by a scan if it stays.
    #[test]
    fn hashes_may_be_alike(
        entries in prop::collection::vec((bad_hash(), 0..3u64, 1..40u64), 1..120),
        removed in prop::collection::vec((any::<prop::sample::Index>(), 0..40usize), 0..300),
        counts in prop::collection::vec(1..30usize, 1..20),
    ) {
        let hasher = |entry: &Hashed| entry.0;
        let mut table = Table::new(Seed::random(rng(1)));
        let mut model = BTreeSet::new();
        let put = |table: &mut Table<Hashed>, model: &mut BTreeSet<Hashed>, entry: Hashed| {
            match table.slot_where(entry.0, |there| *there == entry) {
                Slot::Occupied(_) => assert!(model.contains(&entry)),
                Slot::Vacant(place) => {
                    place.insert_with(entry.clone(), hasher);
                    assert!(model.insert(entry));
                }
            }
        };
        for (hash, from, count) in entries {
            (from..from + count).for_each(|n| put(&mut table, &mut model, Hashed(hash, n)));
            // Neighbours of it, too.
            put(&mut table, &mut model, Hashed(hash ^ from << 17, 0));
        }
        table.check_with(hasher);
        let (mut stayed, mut returned) = (model.clone(), BTreeMap::<Hashed, usize>::new());
        let (mut cursor, mut counts, mut removed) = (0, counts.iter().cycle(), removed.iter());
        loop {
            cursor = table.scan_with(cursor, *counts.next().unwrap(), hasher, |entry| {
                *returned.entry(entry.clone()).or_default() += 1;
            });
            if cursor == 0 {
                break;
            }
            if let Some((index, more)) = removed.next() {
                let all: Vec<Hashed> = model.iter().cloned().collect();
                let Some(first) = (!all.is_empty()).then(|| index.index(all.len())) else {
                    continue;
                };
                for entry in all.iter().skip(first).take(*more) {
                    match table.slot_where(entry.0, |there| there == entry) {
                        Slot::Occupied(found) => assert_eq!(found.remove_with(hasher), *entry),
                        Slot::Vacant(_) => panic!("it is there"),
                    }
                    model.remove(entry);
                    stayed.remove(entry);
                }
                put(&mut table, &mut model, Hashed(all[first].0 ^ 1 << more, 77));
                table.check_with(hasher);
            }
        }
        for entry in &stayed {
            prop_assert_eq!(returned.get(entry), Some(&1));
        }
        prop_assert!(returned.values().all(|&n| n == 1));
        for entry in &model {
            let found = table.find_by_hash(entry.0, |there| there == entry);
            prop_assert_eq!(found, Some(entry));
        }
        let mut all: Vec<Hashed> = table.iter().cloned().collect();
        all.sort();
        prop_assert!(all.iter().eq(model.iter()));
    }
}

/// A cursor stands between entries that slots told apart, and do not any more once segments are merged.
#[test]
fn a_cursor_stands_where_hashes_are_not_told_apart() {
    let hasher = |entry: &Hashed| entry.0;
    for middle in (37..2000).step_by(89) {
        let mut table = Table::new(Seed::random(rng(1)));
        for n in 0..2048 {
            let entry = Hashed(n << 53, n);
            if let Slot::Vacant(place) = table.slot_where(entry.0, |there| *there == entry) {
                place.insert_with(entry, hasher);
            }
        }
        let (mut cursor, mut seen) = (0, Vec::new());
        while seen.len() < middle as usize {
            cursor = table.scan_with(cursor, 1, hasher, |entry| seen.push(entry.1));
        }
        for n in (0..2048).filter(|n| n + 8 < middle || *n > middle + 8) {
            if let Slot::Occupied(found) = table.slot_where(n << 53, |there| there.1 == n) {
                found.remove_with(hasher);
            }
        }
        table.settle();
        table.check_with(hasher);
        assert!(table.stats().segments <= 2);
        while cursor != 0 {
            cursor = table.scan_with(cursor, 3, hasher, |entry| seen.push(entry.1));
        }
        assert!(seen.into_iter().eq(0..=middle + 8));
    }
}

/// A segment that cannot be split any more takes what comes.
#[test]
fn a_flood_stays_where_it_is() {
    let hasher = |entry: &Hashed| entry.0;
    let mut table = Table::new(Seed::random(rng(1)));
    let entry = |n: u64| Hashed(0x1234_5678_9abc_0000 | (n % 5), n);
    for n in 0..3000 {
        let Slot::Vacant(place) = table.slot_where(entry(n).0, |there| *there == entry(n)) else {
            panic!("not there yet");
        };
        place.insert_with(entry(n), hasher);
    }
    table.check_with(hasher);
    table.begin_snapshot();
    let mut seen = BTreeSet::new();
    while !table.walk_snapshot(|entry| {
        assert!(seen.insert(entry.clone()));
        seen.len() % 100 > 0
    }) {}
    assert_eq!(seen.len(), 3000);
    for n in 0..3000 {
        match table.slot_where(entry(n).0, |there| *there == entry(n)) {
            Slot::Occupied(found) => assert_eq!(found.remove_with(hasher), entry(n)),
            Slot::Vacant(_) => panic!("it is there"),
        }
        if n % 100 == 0 {
            table.check_with(hasher);
        }
    }
    table.check_with(hasher);
}

/// Draws from tables in all states of growth, and holds the counts against the even distribution.
#[test]
fn random_is_fair() {
    for (keys, removed) in [
        (1, 0),
        (40, 0),
        (65, 0),
        (100, 0),
        (700, 0),
        (3000, 2500),
        (1000, 0),
    ] {
        let mut table = table(keys);
        (0..keys).for_each(|n| drop(table.insert(Pair(key(n), n))));
        (0..removed).for_each(|n| drop(table.remove(&key(n))));
        let draws = 200 * table.len();
        let mut counts = vec![0u32; keys as usize];
        let mut rng = rng(keys + 5);
        for _ in 0..draws {
            counts[table.random(&mut rng).unwrap().1 as usize] += 1;
        }
        let squares = counts
            .iter()
            .skip(removed as usize)
            .map(|&n| (f64::from(n) - 200.0).powi(2));
        let chi_square = squares.sum::<f64>() / 200.0;
        let free = table.len() as f64 - 1.0;
        // Five standard deviations of the chi-square distribution.
        assert!(
            (chi_square - free).abs() <= 5.0 * (2.0 * free).sqrt(),
            "{chi_square} of {free}"
        );
    }
    assert_eq!(table(0).random(rng(0)), None);
}
