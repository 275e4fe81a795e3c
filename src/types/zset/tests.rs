use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::util::rng::Rng;

fn limits(entries: usize, value: usize) -> Limits {
    let seed = Seed::random(|| 5);
    Limits {
        entries,
        value,
        seed,
    }
}

/// A plain model: scores by member, sorted when asked.
#[derive(Clone, Default)]
struct Model(BTreeMap<Vec<u8>, f64>);

impl Model {
    fn sorted(&self) -> Vec<(Vec<u8>, f64)> {
        let mut all: Vec<_> = self.0.iter().map(|(m, s)| (m.clone(), *s)).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

fn collect(pairs: Iter<'_>) -> Vec<(Vec<u8>, f64)> {
    pairs.map(|(m, s)| (m.to_vec(), s)).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Add(Vec<u8>, f64),
    Increment(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveRanks(usize, usize),
    Pop(bool),
    Fill(u32, f64),
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..60i32).prop_map(|n| n.to_string().into_bytes()),
        4 => "[a-c]{0,3}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..90),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-4..5i32).prop_map(f64::from),
        1 => prop::sample::select(vec![0.1, 1.5, -2.25, 1e20, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        10 => (member(), score()).prop_map(|(m, s)| Op::Add(m, s)),
        3 => (member(), (-3..3i32).prop_map(f64::from)).prop_map(|(m, s)| Op::Increment(m, s)),
        8 => member().prop_map(Op::Remove),
        1 => (0..80usize, 0..30usize).prop_map(|(from, n)| Op::RemoveRanks(from, n)),
        1 => any::<bool>().prop_map(Op::Pop),
        1 => (0..80u32, score()).prop_map(|(n, s)| Op::Fill(n, s)),
    ];
    prop::collection::vec(op, 1..120)
}

/// Does the same to a set and to the model, and compares what both say.
fn apply(set: &mut ZSet, model: &mut Model, limits: Limits, op: &Op) {
    match op {
        Op::Add(member, score) => {
            let change = match model.0.insert(member.clone(), *score) {
                None => Change::Added,
                Some(old) if old == *score => Change::None,
                Some(_) => Change::Updated,
            };
            assert_eq!(set.add(member, *score, limits), change);
        }
        Op::Increment(member, by) => {
            let change = set.update(member, limits, |old| old.map(|old| old + by));
            match model.0.get_mut(member) {
                Some(score) => {
                    let before = *score;
                    *score += by;
                    assert_eq!(change == Change::Updated, before != *score);
                }
                None => assert_eq!(change, Change::None),
            }
        }
        Op::Remove(member) => assert_eq!(set.remove(member), model.0.remove(member)),
        Op::RemoveRanks(from, n) => {
            let sorted = model.sorted();
            let from = (*from).min(sorted.len());
            let to = (from + n).min(sorted.len());
            let mut seen = Vec::new();
            set.remove_ranks(from..to, |m, s| seen.push((m.to_vec(), s)));
            assert_eq!(seen, sorted[from..to]);
            model
                .0
                .retain(|m, _| !seen.iter().any(|(gone, _)| gone == m));
        }
        Op::Pop(max) => {
            let sorted = model.sorted();
            let (end, want) = if *max {
                (End::Max, sorted.last())
            } else {
                (End::Min, sorted.first())
            };
            assert_eq!(set.pop(end).as_ref(), want);
            want.map(|(m, _)| model.0.remove(m));
        }
        Op::Fill(n, score) => (0..*n).for_each(|i| {
            let member = format!("fill:{i}").into_bytes();
            set.add(&member, *score, limits);
            model.0.insert(member, *score);
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn behaves_as_a_sorted_map(ops in ops(), entries in prop::sample::select(vec![0, 5, 1000])) {
        let limits = limits(entries, 64);
        let (mut set, mut model) = (ZSet::new(limits, 1, 1), Model::default());
        for op in &ops {
            apply(&mut set, &mut model, limits, op);
            let sorted = model.sorted();
            prop_assert_eq!(set.len(), sorted.len());
            prop_assert_eq!(&collect(set.iter()), &sorted);
            if set.encoding() == "listpack" {
                prop_assert!(sorted.len() <= entries && sorted.iter().all(|(m, _)| m.len() <= 64));
            }
        }
        let sorted = model.sorted();
        for (rank, (member, score)) in sorted.iter().enumerate() {
            prop_assert_eq!(set.score(member), Some(*score));
            prop_assert_eq!(set.rank(member), Some((rank, *score)));
            let (found, s) = set.get(rank).unwrap();
            prop_assert_eq!((found.to_vec(), s), (member.clone(), *score));
        }
        prop_assert_eq!(set.rank(b"missing"), None);
        let mut back = collect(set.iter_rev());
        back.reverse();
        prop_assert_eq!(&back, &sorted);
        let copy = set.clone();
        prop_assert_eq!(collect(copy.iter()), sorted);
    }

    #[test]
    fn ranges_are_those_of_a_filter(
        ops in ops(),
        (min, max) in (score(), score()),
        (min_out, max_out) in any::<(bool, bool)>(),
        big: bool,
    ) {
        let limits = limits(if big { 0 } else { 1000 }, 100);
        let (mut set, mut model) = (ZSet::new(limits, 1, 1), Model::default());
        ops.iter().for_each(|op| apply(&mut set, &mut model, limits, op));
        let range = ScoreRange {
            min: ScoreBound { score: min, exclusive: min_out },
            max: ScoreBound { score: max, exclusive: max_out },
        };
        let inside = |s: f64| {
            (if min_out { s > min } else { s >= min }) && if max_out { s < max } else { s <= max }
        };
        let want: Vec<_> = model.sorted().into_iter().filter(|(_, s)| inside(*s)).collect();
        let ranks = set.score_ranks(&range);
        prop_assert_eq!(&collect(set.range(ranks.clone())), &want);
        let mut back = collect(set.range_rev(ranks));
        back.reverse();
        prop_assert_eq!(back, want);
    }

    #[test]
    fn ranges_of_members_are_those_of_a_filter(
        members in prop::collection::btree_set("[a-d]{0,3}", 0..60),
        (min, max) in ("[a-d]{0,3}", "[a-d]{0,3}"),
        (min_kind, max_kind) in (0..3u8, 0..3u8),
        big: bool,
    ) {
        let limits = limits(if big { 0 } else { 1000 }, 100);
        let mut set = ZSet::new(limits, 1, 1);
        for member in &members {
            set.add(member.as_bytes(), 1.0, limits);
        }
        let bound = |kind, member: &'static [u8]| match kind {
            0 => LexBound::Included(member),
            1 => LexBound::Excluded(member),
            _ => LexBound::First,
        };
        let leak = |text: String| -> &'static [u8] { Box::leak(text.into_bytes().into_boxed_slice()) };
        let max_bound = match bound(max_kind, leak(max.clone())) {
            LexBound::First => LexBound::Last,
            other => other,
        };
        let range = LexRange { min: bound(min_kind, leak(min.clone())), max: max_bound };
        let inside = |m: &String| {
            let after = match min_kind { 0 => *m >= min, 1 => *m > min, _ => true };
            let before = match max_kind { 0 => *m <= max, 1 => *m < max, _ => true };
            after && before
        };
        let want: Vec<Vec<u8>> = members.iter().filter(|m| inside(m)).map(|m| m.clone().into_bytes()).collect();
        for reverse in [false, true] {
            let ranks = set.lex_ranks(&range, reverse);
            let got: Vec<Vec<u8>> = set.range(ranks).map(|(m, _)| m.to_vec()).collect();
            prop_assert_eq!(&got, &want);
        }
    }

    #[test]
    fn a_scan_sees_what_stays_exactly_once(before in ops(), during in ops(), counts in prop::collection::vec(1..20usize, 1..60)) {
        let limits = limits(0, 0);
        let (mut set, mut model) = (ZSet::new(limits, 1, 1), Model::default());
        before.iter().for_each(|op| apply(&mut set, &mut model, limits, op));
        let mut stayed: Vec<Vec<u8>> = model.0.keys().cloned().collect();
        let mut seen = BTreeMap::<Vec<u8>, usize>::new();
        let (mut cursor, mut during, mut counts) = (0, during.iter(), counts.iter());
        loop {
            let count = *counts.next().unwrap_or(&50);
            cursor = set.scan(cursor, count, |m, _| *seen.entry(m.to_vec()).or_default() += 1);
            if cursor == 0 {
                break;
            }
            if let Some(op) = during.next() {
                apply(&mut set, &mut model, limits, op);
                stayed.retain(|m| model.0.contains_key(m));
            }
        }
        // What was removed and added again in between may be seen twice.
        for member in stayed {
            prop_assert!(seen.get(&member).is_some_and(|n| *n >= 1));
        }
    }

    #[test]
    fn a_listpack_comes_back_as_the_set_it_is_of(ops in ops()) {
        let limits = limits(1000, 100);
        let (mut set, mut model) = (ZSet::new(limits, 1, 1), Model::default());
        ops.iter().for_each(|op| apply(&mut set, &mut model, limits, op));
        let ZSet::Packed(packed) = &set else { panic!("it is small") };
        let bytes = packed.to_listpack().into_bytes();
        let again = ZSet::from_listpack(&Listpack::from_bytes(bytes).unwrap(), limits).unwrap();
        prop_assert_eq!(collect(again.iter()), model.sorted());
    }
}

#[test]
fn scores_are_stored_as_redis_stores_them() {
    let limits = limits(128, 64);
    let mut set = ZSet::new(limits, 1, 1);
    for (member, score) in [
        (&b"a"[..], -3.0),
        (b"b", -0.0),
        (b"c", 0.1),
        (b"d", 1e3),
        (b"e", 1e17),
        (b"f", 1e20),
        (b"g", f64::INFINITY),
    ] {
        set.add(member, score, limits);
    }
    let ZSet::Packed(packed) = &set else {
        panic!("it is small")
    };
    let elements: Vec<Vec<u8>> = packed
        .to_listpack()
        .iter()
        .map(|(_, v)| v.to_vec())
        .collect();
    let want = [
        "a",
        "-3",
        "b",
        "0",
        "c",
        "0.1",
        "d",
        "1000",
        "e",
        "100000000000000000",
        "f",
        "1e+20",
        "g",
        "inf",
    ];
    assert_eq!(elements, want.map(|w| w.as_bytes().to_vec()));
}

#[test]
fn a_zero_keeps_its_sign_in_a_tree() {
    let limits = limits(0, 0);
    let mut set = ZSet::new(limits, 1, 1);
    set.add(b"a", -0.0, limits);
    assert!(set.score(b"a").unwrap().is_sign_negative());
    assert_eq!(set.add(b"a", 0.0, limits), Change::None);
}

#[test]
fn an_encoding_changes_at_its_limits_and_not_back() {
    let limits = limits(3, 5);
    let mut set = ZSet::new(limits, 3, 5);
    for member in ["a", "b", "12345"] {
        set.add(member.as_bytes(), 1.0, limits);
    }
    assert_eq!(set.encoding(), "listpack");
    let mut more = set.clone();
    more.add(b"c", 1.0, limits);
    let mut longer = set.clone();
    longer.remove(b"a");
    longer.add(b"123456", 1.0, limits);
    for set in [&mut more, &mut longer] {
        assert_eq!(set.encoding(), "skiplist");
        set.remove_ranks(1..usize::MAX, |_, _| {});
        assert_eq!((set.encoding(), set.len()), ("skiplist", 1));
    }
    assert_eq!(ZSet::new(limits, 4, 1).encoding(), "skiplist");
    assert_eq!(ZSet::new(limits, 1, 6).encoding(), "skiplist");
    let pairs = [(&b"a"[..], 1.0), (b"b", 1.0)];
    let packed = ZSet::from_sorted(pairs.into_iter(), limits);
    assert_eq!((packed.encoding(), packed.len()), ("listpack", 2));
}

#[test]
fn what_is_no_sorted_set_is_refused() {
    let limits = limits(128, 64);
    for elements in [
        &["a"][..],
        &["a", "x"],
        &["a", "nan"],
        &["b", "1", "a", "1"],
        &["a", "2", "b", "1"],
        &["a", "1", "a", "1"],
        &["a", "1", "b", "2", "a", "3"],
    ] {
        let mut listpack = Listpack::new();
        elements.iter().for_each(|e| listpack.push(e.as_bytes()));
        assert!(
            ZSet::from_listpack(&listpack, limits).is_err(),
            "{elements:?}"
        );
    }
}

#[test]
fn members_come_and_go_without_holding_on_to_memory() {
    let limits = limits(0, 0);
    let mut rng = Rng::seed_from_u64(3);
    let mut set = ZSet::new(limits, 1, 1);
    for round in 0..20u64 {
        for n in 0..500u64 {
            let member = format!("{}:{round}:{n}", "x".repeat(rng.index(40)));
            set.add(member.as_bytes(), n as f64, limits);
        }
        while set.len() > 500 {
            let rank = rng.index(set.len());
            set.remove_ranks(rank..rank + 1, |_, _| {});
        }
    }
    assert!(set.heap_size() < 500 * 200, "{}", set.heap_size());
}
