//! Sets against a plain model, and their encodings.

use super::*;
use crate::util::rng::Rng;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeSet<Vec<u8>>;

fn limits() -> Limits {
    Limits {
        max_intset: 8,
        max_packed: 6,
        max_value: 10,
        seed: Seed::random(|| 7),
    }
}

fn set_of<T: AsRef<[u8]>>(members: impl IntoIterator<Item = T>) -> Set {
    let mut set = Set::ints();
    members.into_iter().for_each(|m| {
        set.add(m.as_ref(), limits());
    });
    set
}

fn model_of(set: &Set) -> Model {
    set.iter().map(Value::to_vec).collect()
}

/// Counts the memory anew.
fn recount(set: &Set) -> usize {
    match set.repr() {
        Repr::Ints(ints) => (ints.as_bytes().len() + 2).next_multiple_of(16),
        Repr::Packed(pack) => {
            let mut members = Elements::new();
            pack.iter().for_each(|(_, v)| members.push_value(v));
            Pack::of(&members).heap_size()
        }
        Repr::Table(members) => {
            let own = |m: &[u8]| crate::ds::bytes::SmallBytes::from(m).heap_size();
            size_of::<Members>()
                + members.memory_of_table()
                + members.iter().map(own).sum::<usize>()
        }
    }
}

#[test]
fn encodings_change_where_redis_changes_them() {
    let numbers = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
    let mut set = set_of(numbers(8));
    assert_eq!(set.encoding(), "intset");
    assert!(!set.add(b"7", limits()));
    assert_eq!(set.encoding(), "intset");
    set.add(b"8", limits());
    assert_eq!((set.encoding(), set.len()), ("hashtable", 9));

    // A string turns few integers into a listpack, many into a table.
    let mut set = set_of(numbers(5));
    set.add(b"a", limits());
    assert_eq!((set.encoding(), set.len()), ("listpack", 6));
    assert!(!set.add(b"a", limits()));
    assert_eq!(set.encoding(), "listpack");
    set.add(b"b", limits());
    assert_eq!((set.encoding(), set.len()), ("hashtable", 7));
    let mut set = set_of(numbers(6));
    set.add(b"a", limits());
    assert_eq!((set.encoding(), set.len()), ("hashtable", 7));

    // So does a long string, or a long integer among them.
    let mut set = set_of(["1"]);
    set.add(b"elevenbytes", limits());
    assert_eq!(set.encoding(), "hashtable");
    let mut set = set_of(["12345678901"]);
    set.add(b"a", limits());
    assert_eq!(set.encoding(), "hashtable");
    let mut set = set_of(["-123456789"]);
    set.add(b"a", limits());
    assert_eq!(set.encoding(), "listpack");

    // Nothing turns back.
    let mut set = set_of(numbers(9));
    (1..9).for_each(|i| assert!(set.remove(i.to_string().as_bytes())));
    assert_eq!((set.encoding(), set.len()), ("hashtable", 1));
}

#[test]
fn what_is_expected_chooses_the_encoding() {
    for (first, count, encoding) in [
        ("1", 8, "intset"),
        ("1", 9, "hashtable"),
        ("a", 6, "listpack"),
        ("a", 7, "hashtable"),
        ("01", 1, "listpack"),
    ] {
        let set = Set::expecting(first.as_bytes(), count, limits());
        assert_eq!(set.encoding(), encoding, "{first} {count}");
    }
    let mut set = set_of(["1"]);
    set.expect(8, limits());
    assert_eq!(set.encoding(), "intset");
    set.expect(9, limits());
    assert_eq!(set.encoding(), "hashtable");
    let mut set = set_of(["a"]);
    set.expect(6, limits());
    assert_eq!(set.encoding(), "listpack");
    set.expect(7, limits());
    assert_eq!(set.encoding(), "hashtable");
}

#[test]
fn a_set_from_parts_has_each_member_once() {
    let mut packed = Listpack::new();
    assert_eq!(Set::from_packed(&packed, limits()).unwrap_err(), Corrupt);
    packed.push(b"a");
    packed.push(b"1");
    let set = Set::from_packed(&packed, limits()).unwrap();
    assert_eq!((set.encoding(), set.len()), ("listpack", 2));
    packed.push(b"a");
    assert_eq!(Set::from_packed(&packed, limits()).unwrap_err(), Corrupt);
    let mut packed = Listpack::new();
    (0..7).for_each(|n| packed.push_int(n));
    let set = Set::from_packed(&packed, limits()).unwrap();
    assert_eq!((set.encoding(), set.len()), ("hashtable", 7));
    let mut ints = Intset::new();
    (0..9).for_each(|n| assert!(ints.add(n)));
    assert_eq!(Set::from_ints(ints, limits()).encoding(), "hashtable");
}

/// Members of each encoding, and what is left of a table.
fn samples() -> Vec<Set> {
    let mut shrunken = set_of((0..300).map(|n| format!("m{n}")));
    (20..300).for_each(|n| assert!(shrunken.remove(format!("m{n}").as_bytes())));
    vec![
        set_of((0..8).map(|n| (n * n).to_string())),
        set_of(["a", "1", "bb", "ccc", "22"]),
        set_of((0..40).map(|n| format!("m{n}"))),
        shrunken,
    ]
}

/// Holds counts against the even distribution: five standard deviations of chi-square.
fn assert_even(counts: &BTreeMap<Vec<u8>, u32>, kinds: usize, what: &str) {
    let total: u32 = counts.values().sum();
    let mean = f64::from(total) / kinds as f64;
    let missing = (kinds - counts.len()) as f64 * mean;
    let squares = counts.values().map(|&n| (f64::from(n) - mean).powi(2));
    let chi_square = squares.sum::<f64>() / mean + missing;
    let free = kinds as f64 - 1.0;
    assert!(
        (chi_square - free).abs() <= 5.0 * (2.0 * free).sqrt(),
        "{what}: {chi_square} of {free}"
    );
}

#[test]
fn draws_are_fair() {
    let mut rng = Rng::seed_from_u64(11);
    for set in samples() {
        let (mut single, mut many, mut popped) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let draws = set.draws();
        for _ in 0..200 * set.len() {
            *single
                .entry(set.random(&mut rng).unwrap().to_vec())
                .or_default() += 1;
            *many
                .entry(draws.draw(&mut rng).unwrap().to_vec())
                .or_default() += 1;
            let member = set.clone().pop(&mut rng).unwrap().to_vec();
            *popped.entry(member).or_default() += 1;
        }
        for (counts, what) in [(&single, "random"), (&many, "draws"), (&popped, "pop")] {
            assert_even(counts, set.len(), &format!("{what} of {}", set.encoding()));
        }
    }
}

#[test]
fn samples_are_fair() {
    let mut rng = Rng::seed_from_u64(12);
    for set in samples() {
        for count in 1..set.len() {
            let (mut kept, mut popped) = (BTreeMap::new(), BTreeMap::new());
            for _ in 0..100 * set.len() / count {
                let mut sample = Model::new();
                set.sample(count, &mut rng, |v| {
                    *kept.entry(v.to_vec()).or_default() += 1;
                    assert!(sample.insert(v.to_vec()), "drawn twice");
                });
                assert_eq!(sample.len(), count);
                let mut rest = set.clone();
                rest.pop_many(count, limits(), &mut rng, |v| {
                    *popped.entry(v.to_vec()).or_default() += 1;
                });
                assert_eq!(rest.len(), set.len() - count);
            }
            // The members of one sample are not independent: they differ less than single draws do.
            for (counts, what) in [(&kept, "sample"), (&popped, "pop_many")] {
                let mean = counts.values().sum::<u32>() / set.len() as u32;
                let even = counts.len() == set.len()
                    && counts
                        .values()
                        .all(|&n| n.abs_diff(mean) < mean * 6 / 10 + 10);
                assert!(even, "{what} of {count} of {}: {counts:?}", set.encoding());
            }
        }
    }
}

#[test]
fn what_few_are_left_of_is_put_together_anew() {
    let mut rng = Rng::seed_from_u64(3);
    let mut set = set_of((0..60).map(|n| format!("m{n}")));
    set.pop_many(49, limits(), &mut rng, |_| {});
    assert_eq!((set.encoding(), set.len()), ("hashtable", 11));
    let mut set = set_of((0..60).map(|n| n.to_string()));
    set.pop_many(54, limits(), &mut rng, |_| {});
    assert_eq!((set.encoding(), set.len()), ("listpack", 6));
    let mut set = set_of((0..8).map(|n| n.to_string()));
    set.pop_many(7, limits(), &mut rng, |_| {});
    assert_eq!((set.encoding(), set.len()), ("intset", 1));
}

#[test]
fn an_intersection_of_integers_is_an_intset() {
    let table = set_of((0..9).map(|n| n.to_string()));
    let other = set_of((1..20).map(|n| n.to_string()));
    let common = intersection(&[&table, &other], limits());
    assert_eq!((common.encoding(), common.len()), ("intset", 8));
    let mixed = set_of(["a", "1", "2"]);
    let common = intersection(&[&mixed, &other], limits());
    assert_eq!((common.encoding(), common.len()), ("intset", 2));
    let common = intersection(&[&mixed, &mixed], limits());
    assert_eq!((common.encoding(), common.len()), ("listpack", 3));
    assert!(intersection(&[], limits()).is_empty());
}

/// Short and long strings, and integers small and large.
fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..30u32).prop_map(|n| n.to_string().into_bytes()),
        2 => (0..30u32).prop_map(|n| format!("m{n}").into_bytes()),
        1 => (0..6u32).prop_map(|n| format!("a member of more than ten bytes {n}").into_bytes()),
        1 => prop::sample::select(vec![
            "", "01", "-0", "+1", "-7", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
        ]).prop_map(Vec::from),
    ]
}

fn members(most: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![
        prop::collection::vec(member(), 0..12),
        prop::collection::vec(member(), 0..most),
        prop::collection::vec((0..40u32).prop_map(|n| n.to_string().into_bytes()), 0..12),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    Expect(usize),
    Pop,
    PopMany(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => member().prop_map(Op::Add),
        4 => member().prop_map(Op::Remove),
        1 => (0..10usize).prop_map(Op::Expect),
        1 => Just(Op::Pop),
        1 => any::<prop::sample::Index>().prop_map(Op::PopMany),
    ]
}

fn apply(set: &mut Set, model: &mut Model, op: Op, rng: &mut Rng) {
    match op {
        Op::Add(m) => assert_eq!(set.add(&m, limits()), model.insert(m)),
        Op::Remove(m) => assert_eq!(set.remove(&m), model.remove(&m)),
        Op::Expect(n) => set.expect(n, limits()),
        Op::Pop => match set.pop(rng) {
            Some(m) => assert!(model.remove(&*m)),
            None => assert!(model.is_empty()),
        },
        Op::PopMany(at) if !model.is_empty() => {
            let count = at.index(model.len());
            let before = model.len();
            set.pop_many(count, limits(), rng, |v| assert!(model.remove(&v.to_vec())));
            assert_eq!(model.len(), before - count);
        }
        Op::PopMany(_) => {}
    }
}

proptest! {
    #[test]
    fn behaves_as_a_set(ops in prop::collection::vec(op(), 0..150), probes in prop::collection::vec(member(), 5), seed: u64) {
        let (mut set, mut model) = (Set::ints(), Model::new());
        let mut rng = Rng::seed_from_u64(seed);
        for op in ops {
            apply(&mut set, &mut model, op, &mut rng);
            prop_assert_eq!(set.heap_size(), recount(&set));
            prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        }
        prop_assert_eq!(set.iter().count(), model.len());
        prop_assert_eq!(model_of(&set), model.clone());
        for probe in probes.iter().chain(&model) {
            prop_assert_eq!(set.contains(probe), model.contains(probe));
        }
        for other in samples() {
            for v in other.iter() {
                prop_assert_eq!(set.contains_value(v), model.contains(&v.to_vec()));
            }
        }
    }

    #[test]
    fn algebra_is_that_of_plain_sets(all in prop::collection::vec(members(60), 1..5), same: bool) {
        let sets: Vec<Set> = all.iter().map(set_of).collect();
        let mut sets: Vec<&Set> = sets.iter().collect();
        if same {
            sets.push(sets[0]);
        }
        let models: Vec<Model> = sets.iter().map(|s| model_of(s)).collect();
        let mut shown = Vec::new();

        let common = models[1..].iter().fold(models[0].clone(), |a, b| &a & b);
        prop_assert_eq!(model_of(&intersection(&sets, limits())), common.clone());
        each_of_intersection(&sets, |v| { shown.push(v.to_vec()); true });
        prop_assert_eq!(shown.len(), common.len());
        prop_assert_eq!(shown.drain(..).collect::<Model>(), common);

        let any = models.iter().fold(Model::new(), |a, b| &a | b);
        prop_assert_eq!(model_of(&union(&sets, limits())), any.clone());
        each_of_union(&sets, limits(), |v| {
            shown.push(v.to_vec());
            true
        });
        prop_assert_eq!(shown.len(), any.len());
        prop_assert_eq!(shown.drain(..).collect::<Model>(), any);

        let rest = models[1..].iter().fold(models[0].clone(), |a, b| &a - b);
        prop_assert_eq!(model_of(&difference(sets[0], &sets[1..], limits())), rest.clone());
        each_of_difference(sets[0], &sets[1..], limits(), |v| {
            shown.push(v.to_vec());
            true
        });
        prop_assert_eq!(shown.len(), rest.len());
        prop_assert_eq!(shown.drain(..).collect::<Model>(), rest);
    }

    #[test]
    fn a_scan_returns_what_stays(
        before in members(400),
        during in prop::collection::vec((prop::collection::vec(op(), 0..40), 1..30usize), 1..20),
        seed: u64,
    ) {
        let mut rng = Rng::seed_from_u64(seed);
        let mut set = set_of(&before);
        let mut model = model_of(&set);
        let mut stayed = model.clone();
        let mut returned = BTreeMap::<Vec<u8>, usize>::new();
        let mut cursor = 0;
        let (mut during, mut rebuilt) = (during.into_iter(), false);
        loop {
            let mut count = 20;
            if let Some((ops, step)) = during.next() {
                count = step;
                for op in ops {
                    let was_table = matches!(set, Set::Table(_));
                    apply(&mut set, &mut model, op, &mut rng);
                    rebuilt |= was_table && !matches!(set, Set::Table(_));
                    stayed.retain(|m| model.contains(m));
                }
            }
            cursor = set.scan(cursor, count, |v| *returned.entry(v.to_vec()).or_default() += 1);
            if cursor == 0 {
                break;
            }
        }
        for m in stayed {
            let times = returned.get(&m).copied().unwrap_or(0);
            // A table that became something smaller is returned as a whole.
            prop_assert!(times == 1 || rebuilt && times > 1, "{} times", times);
        }
    }
}
